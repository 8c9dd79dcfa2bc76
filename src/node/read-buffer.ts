/** Memory that reads go into: pieces of up to 64 KiB, small ones side by side in one block. */
import { Buffer } from "node:buffer";

const BLOCK = 65_536;
/** What is larger has a block of its own: a block is not kept for the sake of one small piece of it. */
const SHARED = 16_384;

let block = Buffer.allocUnsafeSlow(BLOCK);
let used = 0;

/** A buffer of `bytes` bytes, at most 64 KiB. */
export function buffer(bytes: number): Buffer {
  if (bytes > SHARED) return Buffer.allocUnsafeSlow(Math.min(bytes, BLOCK));
  if (used + bytes > BLOCK) {
    block = Buffer.allocUnsafeSlow(BLOCK);
    used = 0;
  }
  const piece = block.subarray(used, used + bytes);
  used += (bytes + 7) & ~7;
  return piece;
}
