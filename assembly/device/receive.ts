/**
 * What a ring brings is believed only after a look: the device on its other side may be anybody. Each segment's
 * bytes must lie in the buffers or in the application's memory, chains must end and add up.
 */
import {
  BURST, DESC_DATA, DESC_LENGTH, DESC_NEXT, DESC_PACKET_LENGTH, DESC_REFS, DROP_BAD_DESCRIPTOR, HEADER_DESCRIPTORS,
  NONE, REGION_APP, REGION_BUFFERS, VEC_IDS,
} from "../abi";
import { count, descriptorAt, header, region, regionSize } from "../core/layout";
import { releaseSegment } from "../core/pool";
import { ringPop } from "../core/ring";

/** Segments of one packet, at most. */
const MAX_CHAIN: u32 = 512;

/** Pops up to `wanted` packets into VEC_IDS and keeps the sound ones; returns how many. */
export function receiveBurst(worker: usize, ring: usize, wanted: u32): u32 {
  const n = ringPop(ring, worker + VEC_IDS, min<u32>(wanted, BURST));
  let kept: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
    if (isSound(id)) {
      store<u32>(worker + (<usize>kept << 2), id, VEC_IDS);
      kept++;
    } else {
      count(worker, DROP_BAD_DESCRIPTOR, 1);
      releaseSegment(worker, id); // and nothing it points at
    }
  }
  return kept;
}

@inline
function within(at: u32, length: u32, index: u32): bool {
  const base = <u32>region(index);
  return at >= base && <u64>at + length <= <u64>base + regionSize(index);
}

function isSound(id: u32): bool {
  const limit = header(HEADER_DESCRIPTORS), whole = load<u32>(descriptorAt(id), DESC_PACKET_LENGTH);
  let sum: u64 = 0;
  for (let left = MAX_CHAIN; left != 0 && id < limit; left--) {
    const d = descriptorAt(id);
    const data = load<u32>(d, DESC_DATA), length = load<u32>(d, DESC_LENGTH);
    if (load<u32>(d, DESC_REFS) == 0) return false;
    if (!within(data, length, REGION_BUFFERS) && !within(data, length, REGION_APP)) return false;
    sum += length;
    id = load<u32>(d, DESC_NEXT);
    if (id == NONE) return sum == whole;
  }
  return false;
}
