/**
 * The address table of a learning bridge: MAC and VLAN → member port, four stations to a cache line.
 *
 * Workers write it while others read. A key is one 64-bit word, so an entry is seen whole or not at all; the
 * member beside it may be one burst old, which a learning bridge forgives.
 */
import {
  BRIDGE_AGEING, BRIDGE_BUCKETS, BRIDGE_MASK, BRIDGE_MAX_MEMBERS, BRIDGE_PORTS, NO_PORT, SEEN_STATIC, STATIONS_PER_BUCKET, STATION_KEY,
  STATION_MEMBER, STATION_SEEN, STATION_SIZE,
} from "../abi";

const BUCKET_SIZE: u32 = STATION_SIZE * STATIONS_PER_BUCKET;
export const UNKNOWN: u32 = 0xffffffff;

/** Key of a station: 48 bits MAC, 12 bits VLAN; never zero because bit 63 is set. */
@inline
export function stationKey(mac: u64, vlan: u32): u64 {
  return mac | (<u64>vlan << 48) | (<u64>1 << 63);
}

@inline
function bucketOf(bridge: usize, key: u64): usize {
  const mixed = (key ^ (key >> 29)) * 0x9e3779b97f4a7c15;
  return bridge + BRIDGE_BUCKETS + <usize>(<u32>(mixed >> 40) & load<u32>(bridge, BRIDGE_MASK)) * BUCKET_SIZE;
}

/** The entry of a station in its bucket, or 0: four comparisons, no branch among them. */
@inline
export function findEntry(bridge: usize, key: u64): usize {
  const bucket = bucketOf(bridge, key);
  const hit = <usize>(load<u64>(bucket) == key) | (<usize>(load<u64>(bucket, 16) == key) << 1)
    | (<usize>(load<u64>(bucket, 32) == key) << 2) | (<usize>(load<u64>(bucket, 48) == key) << 3);
  return hit == 0 ? 0 : bucket + (<usize>ctz<u32>(<u32>hit) << 4);
}

@inline
export function hasExpired(bridge: usize, seen: u32, now: u32): bool {
  // Signed: another worker's clock may be a second ahead.
  return seen != SEEN_STATIC && <i32>(now - seen) > <i32>load<u32>(bridge, BRIDGE_AGEING);
}

/** Member port of a station, or UNKNOWN when it was never seen or has aged out. */
@inline
export function findStation(bridge: usize, key: u64, now: u32): u32 {
  const bucket = bucketOf(bridge, key);
  for (let i: usize = 0; i < BUCKET_SIZE; i += STATION_SIZE) {
    if (load<u64>(bucket + i, STATION_KEY) != key) continue;
    if (hasExpired(bridge, load<u32>(bucket + i, STATION_SEEN), now)) return UNKNOWN;
    return load<u32>(bucket + i, STATION_MEMBER);
  }
  return UNKNOWN;
}

/** Notes where a station is. 0 = known already, 1 = new or moved, 2 = no room in its bucket. */
@inline
export function learnStation(bridge: usize, key: u64, member: u32, now: u32): u32 {
  const bucket = bucketOf(bridge, key);
  let place: usize = 0;
  for (let i: usize = 0; i < BUCKET_SIZE; i += STATION_SIZE) {
    const at = bucket + i;
    const stands = load<u64>(at, STATION_KEY);
    if (stands == key) {
      const seen = load<u32>(at, STATION_SEEN);
      const there = load<u32>(at, STATION_MEMBER);
      if (there == member && seen == now) return 0;
      if (seen == SEEN_STATIC) return 0;
      // Written once a second at most, so that lines stay shared between workers.
      store<u32>(at, now, STATION_SEEN);
      if (there == member) return 0;
      store<u32>(at, member, STATION_MEMBER);
      return 1;
    }
    if (place == 0 && (stands == 0 || hasExpired(bridge, load<u32>(at, STATION_SEEN), now))) place = at;
  }
  if (place == 0) return 2;
  store<u64>(place, 0, STATION_KEY);
  store<u32>(place, member, STATION_MEMBER);
  store<u32>(place, now, STATION_SEEN);
  store<u64>(place, key, STATION_KEY);
  return 1;
}

/** Sets a static station (kept until removed) or removes one (`member` UNKNOWN). False when there is no room. */
export function setStation(bridge: usize, key: u64, member: u32, now: u32): bool {
  const bucket = bucketOf(bridge, key);
  let place: usize = 0;
  for (let i: usize = 0; i < BUCKET_SIZE; i += STATION_SIZE) {
    const at = bucket + i, stands = load<u64>(at, STATION_KEY);
    if (stands == key) {
      if (member == UNKNOWN) { store<u64>(at, 0, STATION_KEY); return true; }
      place = at;
      break;
    }
    if (place == 0 && (stands == 0 || hasExpired(bridge, load<u32>(at, STATION_SEEN), now))) place = at;
  }
  if (member == UNKNOWN) return true;
  // What is pinned counts more than what was learned.
  for (let i: usize = 0; place == 0 && i < BUCKET_SIZE; i += STATION_SIZE) if (load<u32>(bucket + i, STATION_SEEN) != SEEN_STATIC) place = bucket + i;
  if (place == 0 || member >= <u32>BRIDGE_MAX_MEMBERS || load<u16>(bridge + (<usize>member << 1), BRIDGE_PORTS) == NO_PORT) return false;
  store<u32>(place, member, STATION_MEMBER);
  store<u32>(place, SEEN_STATIC, STATION_SEEN);
  store<u64>(place, key, STATION_KEY);
  return true;
}

/** Forgets what was learned behind some members (a bit each), and with `pinned` what was pinned there too. */
export function forgetMembers(bridge: usize, members: u64, pinned: bool): void {
  const end = bridge + BRIDGE_BUCKETS + <usize>(load<u32>(bridge, BRIDGE_MASK) + 1) * BUCKET_SIZE;
  for (let at = bridge + BRIDGE_BUCKETS; at < end; at += STATION_SIZE) {
    if (load<u64>(at, STATION_KEY) == 0 || ((members >> <u64>load<u32>(at, STATION_MEMBER)) & 1) == 0) continue;
    if (pinned || load<u32>(at, STATION_SEEN) != SEEN_STATIC) store<u64>(at, 0, STATION_KEY);
  }
}
