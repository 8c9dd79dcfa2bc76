/** Headers in bytes: one that is cut off is a `WireError` that says what was being read. */
import { concat as join } from "../base/bytes.ts";

export { put16, put32, u16, u32 } from "../base/bytes.ts";

export class WireError extends Error {
  constructor(what: string) {
    super(what);
    this.name = "WireError";
  }
}

export function need(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length < length) throw new WireError(`${what}: ${bytes.length} bytes, expected at least ${length}`);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  return join(parts);
}
