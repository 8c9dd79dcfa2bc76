/**
 * Socket options as tables: level and name to what reads and what writes. A value is the bytes that Linux would take
 * and give (little-endian); an int may be a number.
 */
import { EDOM, EINVAL } from "./errno.ts";

/** `place`: the caller's memory, for what is asked by it. Reads as an int (a number) or as a struct (bytes); throws LoomError for what Linux would refuse. */
export interface SocketOption<S> {
  get?(socket: S, place?: Uint8Array): number | Uint8Array;
  /** 0, or a negative error. */
  set?(socket: S, value: OptionValue): number;
}

export type OptionTable<S> = Readonly<Record<number, SocketOption<S>>>;

export class OptionValue {
  readonly bytes: Uint8Array;

  constructor(value: number | Uint8Array) {
    this.bytes = typeof value === "number" ? intBytes(value) : value;
  }

  /** Fewer than four bytes are no int: Linux says EINVAL, and so does `setOption`. */
  get isInt(): boolean {
    return this.bytes.length >= 4;
  }

  get int(): number {
    return this.word(0);
  }

  word(index: number): number {
    const { bytes } = this;
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getInt32(4 * index, true);
  }

  get text(): string {
    const end = this.bytes.indexOf(0);
    // A copy: memory that threads share is not decoded.
    return new TextDecoder().decode(this.bytes.slice(0, end < 0 ? undefined : end));
  }
}

export function intBytes(...values: number[]): Uint8Array {
  const out = new Uint8Array(4 * values.length);
  const view = new DataView(out.buffer);
  for (const [i, value] of values.entries()) view.setInt32(4 * i, value, true);
  return out;
}

/** An on/off option. */
export function flag<S>(get: (socket: S) => boolean, set?: (socket: S, on: boolean) => void): SocketOption<S> {
  return {
    get: (socket) => Number(get(socket)),
    set:
      set &&
      ((socket, value) => {
        if (!value.isInt) return -EINVAL;
        set(socket, value.int !== 0);
        return 0;
      }),
  };
}

/** An int from `low` to `high`. */
export function int<S>(
  get: (socket: S) => number,
  set?: (socket: S, value: number) => void,
  low = Number.NEGATIVE_INFINITY,
  high = Number.POSITIVE_INFINITY,
): SocketOption<S> {
  return {
    get,
    set:
      set &&
      ((socket, value) => {
        if (!value.isInt || value.int < low || value.int > high) return -EINVAL;
        set(socket, value.int);
        return 0;
      }),
  };
}

/** struct timeval with 64-bit fields, in milliseconds here. */
export function timeval<S>(get: (socket: S) => number, set: (socket: S, ms: number) => void): SocketOption<S> {
  return {
    get(socket) {
      const out = new Uint8Array(16);
      const view = new DataView(out.buffer);
      view.setBigInt64(0, BigInt(Math.floor(get(socket) / 1000)), true);
      view.setBigInt64(8, BigInt(Math.round((get(socket) % 1000) * 1000)), true);
      return out;
    },
    set(socket, { bytes }) {
      if (bytes.length < 16) return -EINVAL;
      const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
      const seconds = Number(view.getBigInt64(0, true));
      const micros = Number(view.getBigInt64(8, true));
      if (micros < 0 || micros >= 1_000_000) return -EDOM;
      set(socket, seconds < 0 ? 0 : seconds * 1000 + micros / 1000);
      return 0;
    },
  };
}
