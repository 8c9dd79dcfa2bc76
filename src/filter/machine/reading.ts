/** How values come into words of registers: shared by payload, meta and ct. */
import type { Code } from "./code.ts";
import type { Emitter } from "./emitter.ts";

/** Bytes of each word of a value. */
export function wordsOf(length: number): number[] {
  return Array.from({ length: Math.ceil(length / 4) }, (_, i) => Math.min(4, length - 4 * i));
}

/** Loads `length` bytes at a local's address plus `offset` into words. */
export function loadWords(code: Code, at: number, offset: number, length: number, to: readonly number[]): void {
  for (const [i, bytes] of wordsOf(length).entries()) {
    const from = offset + 4 * i;
    if (bytes === 3)
      code
        .get(at)
        .load(2, from)
        .get(at)
        .load(1, from + 2)
        .i32(16)
        .shl()
        .or();
    else code.get(at).load(bytes as 1 | 2 | 4, from);
    code.set(to[i]);
  }
}

/** The scratch memory's part that loads go to. */
export const LOADED = 192;

type Emit = (e: Emitter, to: readonly number[]) => void;
export interface Known {
  readonly bytes: number;
  readonly certain: boolean;
  readonly emit: Emit;
}

export const descriptor = (e: Emitter): Code => e.code.get(e.base("descriptor"));
export const always = (bytes: number, push: (e: Emitter) => void): Known => ({
  bytes,
  certain: true,
  emit(e, [to]) {
    push(e);
    e.code.set(to);
  },
});
export const never: Known = { bytes: 4, certain: false, emit: (e) => e.fail() };
