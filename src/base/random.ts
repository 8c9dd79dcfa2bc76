/**
 * Chance is an argument: a seeded generator (xoshiro128**, Blackman and Vigna), the same sequence on every
 * machine. Not for secrets; those come from `SecretRandom` and `secret()`.
 */
export class Random {
  readonly seed: number;
  private readonly state = new Uint32Array(4);

  constructor(seed: number) {
    this.seed = seed >>> 0;
    // splitmix32 spreads one word over the state.
    let s = this.seed;
    for (let i = 0; i < 4; i++) {
      s = (s + 0x9e3779b9) >>> 0;
      let z = s;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.state[i] = (z ^ (z >>> 16)) >>> 0;
    }
  }

  /** A uniform 32-bit word. */
  u32(): number {
    const s = this.state;
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** Uniform in [0, 1). */
  float(): number {
    return this.u32() / 0x1_0000_0000;
  }

  /** Uniform in [0, n). */
  below(n: number): number {
    return Math.floor(this.float() * n);
  }

  fill(bytes: Uint8Array): Uint8Array {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.u32() >>> 24;
    return bytes;
  }
}

/** Unpredictable bytes for keys that an attacker must not guess. */
export function secret(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** The same face over the runtime's secrets: for ids that must not be guessed and need not be repeated. */
export class SecretRandom extends Random {
  private readonly words = new Uint32Array(64);
  private left = 0;

  constructor() {
    super(0);
  }

  override u32(): number {
    if (this.left === 0) {
      crypto.getRandomValues(this.words);
      this.left = this.words.length;
    }
    return this.words[--this.left];
  }
}
