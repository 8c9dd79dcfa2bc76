/**
 * The IPv6 routes of one /26: sorted by address, then length.
 *
 *   slot:  +0 entries (address) | count u32 | capacity u32 | spare
 *   route: +0 address, high u64 | low u64 | length u8, spare, hop u16, spare   (24 bytes)
 */
import {
  REGION_RIB, ROUTE_NO_MEMORY,
} from "../abi";
import { allocate, free } from "../core/arena";
import { region } from "../core/layout";

export const SLOT6_SIZE: u32 = 16;
export const ROUTE6_SIZE: u32 = 24;
export const ROUTE6_LENGTH: usize = 16;
export const ROUTE6_HOP: usize = 18;

@inline
export function list6(slot: usize): usize {
  return <usize>load<u32>(slot);
}

@inline
export function count6(slot: usize): u32 {
  return load<u32>(slot, 4);
}

/** High (0) or low (1) half of a stored address. */
@inline
export function load64Be(route: usize, half: u32): u64 {
  return load<u64>(route + (<usize>half << 3));
}

@inline
function below(route: usize, high: u64, low: u64, length: u32): bool {
  const h = load<u64>(route);
  if (h != high) return h < high;
  const l = load<u64>(route, 8);
  if (l != low) return l < low;
  return <u32>load<u8>(route, ROUTE6_LENGTH) < length;
}

/** First position that is not below the given route. */
export function position6(slot: usize, high: u64, low: u64, length: u32): u32 {
  const routes = list6(slot);
  let from: u32 = 0, to = count6(slot);
  if (to != 0 && below(routes + <usize>(to - 1) * ROUTE6_SIZE, high, low, length)) return to;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (below(routes + <usize>middle * ROUTE6_SIZE, high, low, length)) from = middle + 1;
    else to = middle;
  }
  return from;
}

@inline
function stands(slot: usize, at: u32, high: u64, low: u64, length: u32): bool {
  if (at >= count6(slot)) return false;
  const route = list6(slot) + <usize>at * ROUTE6_SIZE;
  return load<u64>(route) == high && load<u64>(route, 8) == low && <u32>load<u8>(route, ROUTE6_LENGTH) == length;
}

/** The hop of exactly this route, or 0. */
export function find6(slot: usize, high: u64, low: u64, length: u32): u32 {
  const at = position6(slot, high, low, length);
  return stands(slot, at, high, low, length) ? <u32>load<u16>(list6(slot) + <usize>at * ROUTE6_SIZE, ROUTE6_HOP) : 0;
}

/** Returns the hop that stood there before (0 = none) or ROUTE_NO_MEMORY. */
export function insert6At(slot: usize, high: u64, low: u64, length: u32, hop: u32): i32 {
  const at = position6(slot, high, low, length);
  if (stands(slot, at, high, low, length)) {
    const route = list6(slot) + <usize>at * ROUTE6_SIZE;
    const before = <i32>load<u16>(route, ROUTE6_HOP);
    store<u16>(route, <u16>hop, ROUTE6_HOP);
    return before;
  }
  const n = count6(slot);
  if (n == load<u32>(slot, 8) && !grow(slot, n)) return ROUTE_NO_MEMORY;
  const route = list6(slot) + <usize>at * ROUTE6_SIZE;
  memory.copy(route + ROUTE6_SIZE, route, <usize>(n - at) * ROUTE6_SIZE);
  store<u64>(route, high);
  store<u64>(route, low, 8);
  store<u8>(route, <u8>length, ROUTE6_LENGTH);
  store<u16>(route, <u16>hop, ROUTE6_HOP);
  store<u32>(slot, n + 1, 4);
  return 0;
}

function grow(slot: usize, n: u32): bool {
  const capacity = n == 0 ? 2 : n + (n >> 1) + 1;
  const cold = region(REGION_RIB);
  const list = allocate(cold, capacity * ROUTE6_SIZE);
  if (list == 0) return false;
  if (n != 0) {
    memory.copy(<usize>list, list6(slot), <usize>n * ROUTE6_SIZE);
    free(cold, load<u32>(slot), n * ROUTE6_SIZE);
  }
  store<u32>(slot, list);
  store<u32>(slot, capacity, 8);
  return true;
}

/** Returns the hop that was removed, or 0. */
export function remove6At(slot: usize, high: u64, low: u64, length: u32): u32 {
  const at = position6(slot, high, low, length);
  if (!stands(slot, at, high, low, length)) return 0;
  const n = count6(slot), route = list6(slot) + <usize>at * ROUTE6_SIZE;
  const before = <u32>load<u16>(route, ROUTE6_HOP);
  memory.copy(route, route + ROUTE6_SIZE, <usize>(n - at - 1) * ROUTE6_SIZE);
  store<u32>(slot, n - 1, 4);
  if (n == 1) {
    free(region(REGION_RIB), load<u32>(slot), load<u32>(slot, 8) * ROUTE6_SIZE);
    store<u64>(slot, 0);
    store<u32>(slot, 0, 8);
  }
  return before;
}
