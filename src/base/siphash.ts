/** SipHash-2-4 (Aumasson and Bernstein, 2012) over 32-bit words, first half of its output: keyed, for values that must not be guessed. */
export class SipHash {
  private readonly key: Int32Array;
  private readonly v = new Int32Array(8);

  /** Sixteen secret bytes. */
  constructor(key: Uint8Array) {
    const view = new DataView(key.buffer, key.byteOffset, 16);
    this.key = Int32Array.from({ length: 4 }, (_, i) => view.getInt32(4 * i, true));
  }

  /** Second half of the last hash: with the first, SipHash's 64 bits, low word first. */
  high = 0;

  /** Hash of the first `n` words, an even number; a 32-bit value. */
  hash(words: Int32Array, n: number): number {
    const { v, key } = this;
    v[0] = key[0] ^ 0x70736575;
    v[1] = key[1] ^ 0x736f6d65;
    v[2] = key[2] ^ 0x6e646f6d;
    v[3] = key[3] ^ 0x646f7261;
    v[4] = key[0] ^ 0x6e657261;
    v[5] = key[1] ^ 0x6c796765;
    v[6] = key[2] ^ 0x79746573;
    v[7] = key[3] ^ 0x74656462;
    for (let i = 0; i < n; i += 2) this.absorb(words[i], words[i + 1]);
    // The last block holds the length in its top byte (n words of four bytes).
    this.absorb(0, (4 * n) << 24);
    v[4] ^= 0xff;
    for (let i = 0; i < 4; i++) this.round();
    this.high = v[1] ^ v[3] ^ v[5] ^ v[7];
    return v[0] ^ v[2] ^ v[4] ^ v[6];
  }

  private absorb(low: number, high: number): void {
    const { v } = this;
    v[6] ^= low;
    v[7] ^= high;
    this.round();
    this.round();
    v[0] ^= low;
    v[1] ^= high;
  }

  private round(): void {
    const { v } = this;
    add(v, 0, 2);
    rotate(v, 2, 13);
    v[2] ^= v[0];
    v[3] ^= v[1];
    swap(v, 0);
    add(v, 4, 6);
    rotate(v, 6, 16);
    v[6] ^= v[4];
    v[7] ^= v[5];
    add(v, 0, 6);
    rotate(v, 6, 21);
    v[6] ^= v[0];
    v[7] ^= v[1];
    add(v, 4, 2);
    rotate(v, 2, 17);
    v[2] ^= v[4];
    v[3] ^= v[5];
    swap(v, 4);
  }
}

/** 64-bit sum of two pairs {low, high} into the first. */
function add(v: Int32Array, a: number, b: number): void {
  const low = (v[a] >>> 0) + (v[b] >>> 0);
  v[a + 1] = v[a + 1] + v[b + 1] + (low > 0xffffffff ? 1 : 0);
  v[a] = low;
}

function rotate(v: Int32Array, at: number, bits: number): void {
  const low = v[at];
  const high = v[at + 1];
  v[at] = (low << bits) | (high >>> (32 - bits));
  v[at + 1] = (high << bits) | (low >>> (32 - bits));
}

function swap(v: Int32Array, at: number): void {
  const low = v[at];
  v[at] = v[at + 1];
  v[at + 1] = low;
}
