/**
 * The routes of one IPv4 root slot: a sorted list of u64 entries whose low 16 bits are the hop.
 *
 *   slot: +0 entries (address) | count u16, capacity u16
 */
import {
  REGION_RIB, ROUTE_NO_MEMORY,
} from "../abi";
import { allocate, free } from "../core/arena";
import { region } from "../core/layout";

export const SLOT_SIZE: u32 = 8;

@inline
export function slotCount(slot: usize): u32 {
  return load<u16>(slot, 4);
}

@inline
export function slotEntry(slot: usize, i: u32): u64 {
  return load<u64>(<usize>load<u32>(slot) + (<usize>i << 3));
}

/** First position whose key (entry without hop) is not below `key`. */
@inline
function position(slot: usize, key: u64): u32 {
  let low: u32 = 0, high = slotCount(slot);
  // Sorted input appends: look at the last one first.
  if (high != 0 && slotEntry(slot, high - 1) >> 16 < key) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (slotEntry(slot, middle) >> 16 < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Returns the hop that stood there before (0 = none) or ROUTE_NO_MEMORY. */
export function listInsert(slot: usize, entry: u64): i32 {
  const n = slotCount(slot), at = position(slot, entry >> 16);
  if (at < n && slotEntry(slot, at) >> 16 == entry >> 16) {
    const place = <usize>load<u32>(slot) + (<usize>at << 3);
    const before = <i32>(load<u64>(place) & 0xffff);
    store<u64>(place, entry);
    return before;
  }
  if (n == <u32>load<u16>(slot, 6) && !grow(slot, n)) return ROUTE_NO_MEMORY;
  const place = <usize>load<u32>(slot) + (<usize>at << 3);
  memory.copy(place + 8, place, <usize>(n - at) << 3);
  store<u64>(place, entry);
  store<u16>(slot, <u16>(n + 1), 4);
  return 0;
}

function grow(slot: usize, n: u32): bool {
  const capacity = min<u32>(n == 0 ? 2 : n + (n >> 1) + 1, 0xffff);
  const cold = region(REGION_RIB);
  const list = allocate(cold, capacity << 3);
  if (list == 0) return false;
  if (n != 0) {
    memory.copy(<usize>list, <usize>load<u32>(slot), <usize>n << 3);
    free(cold, load<u32>(slot), n << 3);
  }
  store<u32>(slot, list);
  store<u16>(slot, <u16>capacity, 6);
  return true;
}

/** Returns the hop that was removed, or 0. */
export function listRemove(slot: usize, entry: u64): i32 {
  const n = slotCount(slot), at = position(slot, entry >> 16);
  if (at >= n || slotEntry(slot, at) >> 16 != entry >> 16) return 0;
  const place = <usize>load<u32>(slot) + (<usize>at << 3);
  const before = <i32>(load<u64>(place) & 0xffff);
  memory.copy(place, place + 8, <usize>(n - at - 1) << 3);
  store<u16>(slot, <u16>(n - 1), 4);
  if (n == 1) {
    free(region(REGION_RIB), load<u32>(slot), <u32>load<u16>(slot, 6) << 3);
    store<u64>(slot, 0);
  }
  return before;
}
