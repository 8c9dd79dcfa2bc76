/** The RSS input of a frame: IPv4 or IPv6 addresses, and ports where TCP or UDP follows at once. */
import {
  DESC_DATA, DESC_LENGTH,
} from "../abi";
import { load16 } from "./bytes";
import { TCP, UDP } from "./l4";
import { toeplitz } from "./toeplitz";

@inline
function hasPorts(protocol: u32): bool {
  return protocol == TCP || protocol == UDP;
}

/** Hash of the frame at a descriptor; fragments hash by addresses alone, so that all of them go one way. */
export function frameHash(d: usize): u32 {
  const data = <usize>load<u32>(d, DESC_DATA), length = load<u32>(d, DESC_LENGTH);
  if (length < 18) return 0;
  let l3: u32 = 14, type = load16(data + 12);
  if (type == 0x8100) { l3 = 18; type = load16(data + 16); }
  const at = data + l3;
  if (type == 0x0800 && length >= l3 + 20) {
    const plain = load<u8>(at) == 0x45 && (load<u16>(at, 6) & 0xff3f) == 0 && length >= l3 + 24;
    return toeplitz(at + 12, plain && hasPorts(load<u8>(at, 9)) ? 12 : 8);
  }
  if (type == 0x86dd && length >= l3 + 40) {
    return toeplitz(at + 8, length >= l3 + 44 && hasPorts(load<u8>(at, 6)) ? 36 : 32);
  }
  return 0;
}
