/** Headers of one's own for a packet whose bytes others see. */
import {
  DESC_CSUM_START, DESC_DATA, DESC_FLAGS, FLAG_CSUM_PARTIAL, DESC_L3, DESC_L4, DESC_LENGTH, DESC_MARK, DESC_NEXT, DESC_PACKET_LENGTH, NONE, STAT_COPIED_BYTES,
} from "../abi";
import { count, descriptorAt } from "./layout";
import { isExclusive, reference, release, releaseSegment, takeBuffer } from "./pool";

/**
 * A packet whose head is shared (a clone, or application memory) gets headers of its own: they are copied,
 * the payload stays where it is. Returns the new head or NONE; the old one is then still whole.
 */
export function privateHead(worker: usize, id: u32): u32 {
  if (isExclusive(id)) return id;
  const d = descriptorAt(id);
  const length = load<u32>(d, DESC_LENGTH);
  const headers = min<u32>(length, 128);
  const fresh = takeBuffer(worker);
  if (fresh == NONE) return NONE;
  let rest = load<u32>(d, DESC_NEXT);
  if (headers < length) {
    const tail = reference(worker, id, load<u32>(d, DESC_DATA) + headers, length - headers);
    if (tail == NONE) { releaseSegment(worker, fresh); return NONE; }
    store<u32>(descriptorAt(tail), rest, DESC_NEXT);
    rest = tail;
  }
  const f = descriptorAt(fresh);
  memory.copy(<usize>load<u32>(f, DESC_DATA), <usize>load<u32>(d, DESC_DATA), headers);
  count(worker, STAT_COPIED_BYTES, headers);
  store<u32>(f, headers, DESC_LENGTH);
  store<u32>(f, rest, DESC_NEXT);
  memory.copy(f + DESC_PACKET_LENGTH, d + DESC_PACKET_LENGTH, 36);
  store<u32>(f, load<u32>(d, DESC_MARK), DESC_MARK);
  store<u32>(d, NONE, DESC_NEXT);
  release(worker, id);
  return fresh;
}

/** The link-layer header grew by `bytes` (or shrank): everything counted from the frame's start moves along. */
export function moveOffsets(d: usize, bytes: u32): void {
  store<u16>(d, <u16>(<u32>load<u16>(d, DESC_L3) + bytes), DESC_L3);
  store<u16>(d, <u16>(<u32>load<u16>(d, DESC_L4) + bytes), DESC_L4);
  if ((load<u32>(d, DESC_FLAGS) & FLAG_CSUM_PARTIAL) == 0) return;
  store<u16>(d, <u16>(<u32>load<u16>(d, DESC_CSUM_START) + bytes), DESC_CSUM_START);
}
