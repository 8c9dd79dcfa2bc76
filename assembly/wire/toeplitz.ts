/** The Toeplitz hash of receive-side scaling, as Microsoft's RSS verification suite defines it. */
import {
  HEADER, HEADER_RSS_KEY,
} from "../abi";
import { load32 } from "./bytes";

/** Hash of `length` bytes at `at` with the header's key; 36 bytes of input at most (a 52-byte key). */
export function toeplitz(at: usize, length: u32): u32 {
  const key = <usize>HEADER + HEADER_RSS_KEY;
  let hash: u32 = 0;
  for (let i: u32 = 0; i < length; i++) {
    let window = (<u64>load32(key + i) << 32) | <u64>load32(key + i + 4);
    let byte = <u32>load<u8>(at + i) << 24;
    while (byte != 0) {
      const skip = clz<u32>(byte);
      window <<= skip;
      byte <<= skip;
      hash ^= <u32>(window >> 32);
      window <<= 1;
      byte <<= 1;
    }
  }
  return hash;
}
