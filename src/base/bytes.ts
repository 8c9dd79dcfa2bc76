/** Bytes in network order: numbers in and out of them, parts put together, and a reader that never leaves its bounds. */
import { LoomError } from "./errors.ts";

export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value);
}

/** The two bytes of a number. */
export const be16 = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value);

/** The four bytes of a number. */
export const be32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

/** Network order in a word of little-endian memory, or back. */
export function swap32(x: number): number {
  return ((x & 0xff) << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Reads from `at` to `end`; what would go beyond is an EPROTO. */
export class ByteReader {
  readonly bytes: Uint8Array;
  at: number;
  /** Nothing is read from here on. */
  end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  /** What is said of `n` bytes that are not there. */
  protected beyond(n: number): LoomError {
    return new LoomError("EPROTO", `needs ${n} bytes, has ${this.left}`);
  }

  /** Where the `n` bytes begin that are passed over. */
  protected take(n: number): number {
    const { at } = this;
    if (n < 0 || at + n > this.end) throw this.beyond(n);
    this.at += n;
    return at;
  }

  skip(n: number): void {
    this.take(n);
  }

  u8(): number {
    return this.bytes[this.take(1)];
  }

  u16(): number {
    return u16(this.bytes, this.take(2));
  }

  u32(): number {
    return u32(this.bytes, this.take(4));
  }

  /** A copy of `n` bytes; of all that are left by default. */
  raw(n = this.left): Uint8Array {
    const at = this.take(n);
    // A copy of a Buffer too, whose own slice is a view.
    return new Uint8Array(this.bytes.subarray(at, at + n));
  }
}
