/**
 * What a packet that waits has beside its descriptor (QLINK_*), and lists of such packets: singly linked through that
 * record, so that waiting takes no memory that is not there already. A list is two words, its first and its last id.
 */
import {
  DESC_GSO_KIND, DESC_GSO_SIZE, DESC_L4, DESC_LENGTH, DESC_NEXT, DESC_PACKET_LENGTH, DESC_DATA, GSO_TCP4, GSO_TCP6, HEADER_DESCRIPTORS,
  NONE, QLINK_LENGTH, QLINK_NEXT, QLINK_PIECES, QLINK_SEGMENTS, QLINK_SIZE, QLINK_TIME, QUEUES_LINKS, REGION_QUEUES,
} from "../abi";
import { descriptorAt, header, region } from "../core/layout";

@inline
export function linkAt(id: u32): usize {
  return region(REGION_QUEUES) + QUEUES_LINKS + <usize>id * QLINK_SIZE;
}

@inline
export function lengthOf(id: u32): u32 {
  return load<u32>(linkAt(id), QLINK_LENGTH);
}

@inline
export function nextOf(id: u32): u32 {
  return load<u32>(linkAt(id), QLINK_NEXT);
}

/** Notes what a packet weighs: descriptors, segments it becomes, and the bytes of all of them on the wire. */
export function weigh(id: u32, now: u64): void {
  const link = linkAt(id), d = descriptorAt(id), length = load<u32>(d, DESC_PACKET_LENGTH);
  let pieces: u32 = 1;
  for (let next = load<u32>(d, DESC_NEXT), left = header(HEADER_DESCRIPTORS); next < left && pieces < 0xffff; pieces++) {
    next = load<u32>(descriptorAt(next), DESC_NEXT);
  }
  const segments = segmentsOf(d, length);
  store<u32>(link, NONE, QLINK_NEXT);
  store<u32>(link, length + (segments - 1) * headersOf(d), QLINK_LENGTH);
  store<u64>(link, now, QLINK_TIME);
  store<u16>(link, <u16>pieces, QLINK_PIECES);
  store<u16>(link, <u16>segments, QLINK_SEGMENTS);
}

/** Bytes that each segment of a large packet begins with. */
function headersOf(d: usize): u32 {
  const l4 = <u32>load<u16>(d, DESC_L4), kind = <u32>load<u16>(d, DESC_GSO_KIND);
  if (kind != GSO_TCP4 && kind != GSO_TCP6) return l4 + 8;
  if (l4 + 13 > load<u32>(d, DESC_LENGTH)) return l4 + 20;
  return l4 + (<u32>(load<u8>(<usize>load<u32>(d, DESC_DATA) + l4, 12) >>> 4) << 2);
}

function segmentsOf(d: usize, length: u32): u32 {
  const size = <u32>load<u16>(d, DESC_GSO_SIZE);
  if (<u32>load<u16>(d, DESC_GSO_KIND) == 0 || size == 0) return 1;
  const headers = headersOf(d);
  return length <= headers + size ? 1 : min<u32>((length - headers + size - 1) / size, 0xffff);
}

/** Puts a packet behind the others of a list whose first and last id lie at `list`. */
export function append(list: usize, id: u32): void {
  store<u32>(linkAt(id), NONE, QLINK_NEXT);
  const first = load<u32>(list);
  if (first == NONE) store<u32>(list, id);
  else store<u32>(linkAt(load<u32>(list, 4)), id, QLINK_NEXT);
  store<u32>(list, id, 4);
}

/** Takes the first packet off a list, or NONE. */
export function takeFirst(list: usize): u32 {
  const id = load<u32>(list);
  if (id == NONE) return NONE;
  store<u32>(list, nextOf(id));
  return id;
}
