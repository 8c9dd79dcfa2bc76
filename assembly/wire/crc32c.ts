/** SCTP's checksum (RFC 9260 appendix A: CRC32c, least significant bit first) over a packet's chain, its own field taken as zero. */
import { DESC_DATA, DESC_LENGTH, DESC_NEXT, HEADER_DESCRIPTORS, NONE } from "../abi";
import { descriptorAt, header } from "../core/layout";

const POLYNOMIAL: u32 = 0x82f63b78;
/** Where the checksum stands in SCTP's header. */
const FIELD: u32 = 8;

/** Bit by bit: a table would be a data segment, and SCTP is rare. */
@inline
function step(crc: u32, byte: u32): u32 {
  crc ^= byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & (0 - (crc & 1)));
  return crc;
}

/** As it stands in the packet (its first byte lowest). */
export function crc32c(id: u32, offset: u32, length: u32): u32 {
  let crc: u32 = 0xffffffff, done: u32 = 0;
  for (let left = header(HEADER_DESCRIPTORS); left != 0 && id != NONE && done < length; left--) {
    const d = descriptorAt(id), have = load<u32>(d, DESC_LENGTH), data = <usize>load<u32>(d, DESC_DATA);
    id = load<u32>(d, DESC_NEXT);
    for (; offset < have && done < length; offset++, done++) crc = step(crc, done - FIELD < 4 ? 0 : <u32>load<u8>(data + offset));
    offset -= min<u32>(offset, have);
  }
  return ~crc;
}
