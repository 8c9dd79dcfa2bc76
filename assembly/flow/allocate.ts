/**
 * Which address and port a translated flow gets (RFC 4787 §4, RFC 7857). Uniqueness is that of the answers' tuple in the
 * table of flows, so one port serves as many flows as have different far ends, and finding one is a few lookups: the port that the
 * flow has already if it can stay, otherwise from a random place in the range on. Ports below 512, and those up to 1023, stay
 * among themselves (RFC 4787 REQ-3 a). The choice of an address out of several follows the client's, so that it keeps it.
 */
import {
  HEADER, HEADER_SECRET, NATREQ_FLAGS, NATREQ_MAX, NATREQ_MAX_PORT, NATREQ_MIN, NATREQ_MIN_PORT, NAT_SOURCE, TUPLE_HASH, TUPLE_KIND,
  TUPLE_PORTS, WORKER_TIME, KIND_IP6,
} from "../abi";
import { find, hashTuple } from "../table/flow";
import { load32, store32, swap16 } from "../wire/bytes";
import { jhash } from "../wire/jhash";
import { hasPorts, ICMP, ICMP6 } from "../wire/l4";
import { invert } from "./tuples";

/** NF_NAT_RANGE_* (linux/netfilter/nf_nat.h). */
export const RANGE_ADDRESSES: u32 = 1;
export const RANGE_PORTS: u32 = 2;
export const RANGE_RANDOM: u32 = 4;
export const RANGE_PERSISTENT: u32 = 8;
export const RANGE_FULLY_RANDOM: u32 = 16;
export const RANGE_PREFIX: u32 = 64;

/** Tries before a range counts as used up: 128, then 64, 32 and 16 from other places. */
const TRIES: u32 = 128;

/** Is the answers' tuple of this one anybody's? `scratch`: one tuple. */
export function isUsed(tuple: usize, scratch: usize): bool {
  if (!invert(tuple, scratch)) return false;
  hashTuple(scratch);
  return find(scratch) != 0;
}

/** A number that cannot be guessed from outside: keyed by the engine's secret, moved by the clock. */
function chance(worker: usize, tuple: usize): u32 {
  let x = load<u64>(<usize>HEADER + HEADER_SECRET) ^ load<u64>(worker, WORKER_TIME) ^ (<u64>hashTuple(tuple) << 32);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return <u32>((x ^ (x >> 31)) >> 32);
}

/**
 * Changes a tuple (as its packets will leave) to one that the request allows and that nobody uses. False when there is none.
 * `scratch`: one tuple.
 */
export function choose(worker: usize, tuple: usize, request: usize, kind: u32, scratch: usize): bool {
  const flags = <u32>load<u16>(request, NATREQ_FLAGS);
  if ((flags & RANGE_ADDRESSES) != 0) chooseAddress(tuple, request, kind, flags, scratch);
  return choosePort(worker, tuple, request, kind, flags, scratch);
}

/** The address of the range that belongs to the client; with a prefix, the same host of another network. */
function chooseAddress(tuple: usize, request: usize, kind: u32, flags: u32, scratch: usize): void {
  const is4 = (load<u32>(tuple, TUPLE_KIND) & KIND_IP6) == 0, width: usize = is4 ? 4 : 16, at = tuple + (kind == NAT_SOURCE ? 0 : width);
  const low = request + NATREQ_MIN, high = request + NATREQ_MAX;
  const one = is4 ? load<u32>(low) == load<u32>(high) : !v128.any_true(v128.xor(v128.load(low), v128.load(high)));
  if (one) { memory.copy(at, low, width); return; }
  if ((flags & RANGE_PREFIX) != 0) { mapPrefix(at, low, high, width); return; }
  // Clients keep their address whatever they talk to, when that is asked for.
  pick(at, low, high, width, tuple, (flags & RANGE_PERSISTENT) != 0, scratch);
}

/** NETMAP: bits that the ends of the range share are the network's, the others stay the host's. */
function mapPrefix(at: usize, low: usize, high: usize, width: usize): void {
  for (let i: usize = 0; i < width; i += 4) {
    const network = ~(load<u32>(low + i) ^ load<u32>(high + i));
    store<u32>(at + i, (load<u32>(at + i) & ~network) | (load<u32>(low + i) & network));
  }
}

/**
 * An address of the range by the client's, so that it keeps it, and without `persistent` by whom it talks to: the one that
 * nf_nat_core's find_best_ips_proto gives. Words that both ends of the range share stay; behind one that is not the range's last,
 * every value is within it.
 */
function pick(at: usize, low: usize, high: usize, width: usize, tuple: usize, persistent: bool, scratch: usize): void {
  const far = tuple + width;
  // Before anything is written: the address in hand is part of the tuple.
  v128.store(scratch, width == 4 ? i32x4.replace_lane(i32x4.splat(0), 0, <i32>load<u32>(tuple)) : v128.load(tuple));
  let hash = jhash(scratch, 16, persistent ? 0 : load<u32>(far + width - 4)), full = false;
  for (let i: usize = 0; i < width; i += 4) {
    const from: u32 = full ? 0 : load32(low + i), span: u32 = full ? 0xffffffff : load32(high + i) - from + 1;
    const there = load<u32>(far + i), value = from + <u32>((<u64>hash * span) >> 32);
    store32(at + i, value);
    if (value != load32(high + i)) full = true;
    if (!persistent) hash ^= there;
  }
}

function choosePort(worker: usize, tuple: usize, request: usize, kind: u32, flags: u32, scratch: usize): bool {
  const kindWord = load<u32>(tuple, TUPLE_KIND), protocol = (kindWord >>> 16) & 0xff, is4 = (kindWord & KIND_IP6) == 0;
  const icmp = protocol == (is4 ? ICMP : ICMP6), given = (flags & RANGE_PORTS) != 0;
  if (!icmp && !hasPorts(protocol)) return !isUsed(tuple, scratch);
  const at = tuple + TUPLE_PORTS + (kind == NAT_SOURCE || icmp ? 0 : 2), now = swap16(<u32>load<u16>(at));
  let low: u32, high: u32;
  if (given) {
    low = load<u16>(request, NATREQ_MIN_PORT);
    high = load<u16>(request, NATREQ_MAX_PORT);
    if (high < low) { const swap = low; low = high; high = swap; }
  } else if (icmp) { low = 0; high = 65535; }
  else if (now >= 1024) { low = 1024; high = 65535; }
  else if (now >= 512) { low = 600; high = 1023; }
  else { low = 1; high = 511; }
  const random = (flags & (RANGE_RANDOM | RANGE_FULLY_RANDOM)) != 0;
  if (!random) {
    if (!given) { if (!isUsed(tuple, scratch)) return true; }
    else if (now >= low && now <= high && (low == high || !isUsed(tuple, scratch))) return true;
  }
  // A destination's port is only ever changed when somebody asked for it.
  if (kind != NAT_SOURCE && !given) return true;
  const size = high - low + 1;
  // Destinations take the first that is free, sources one that cannot be guessed.
  let start = kind != NAT_SOURCE && !random ? 0 : chance(worker, tuple), tries = min<u32>(TRIES, size);
  while (true) {
    for (let i: u32 = 0; i < tries; i++) {
      store<u16>(at, <u16>swap16(low + <u32>(<u64>(start + i) % size)));
      if (!isUsed(tuple, scratch)) return true;
    }
    // A destination that cannot be unique is made so by its source, later.
    if (tries >= size || tries < 16) return kind != NAT_SOURCE;
    tries >>>= 1;
    start = start * 0x9e3779b1 + load<u32>(scratch, TUPLE_HASH);
  }
}

/** For a request that names nothing: the tuple as it is, or with another source port when it is somebody's. */
export function keepOrChange(worker: usize, tuple: usize, scratch: usize): bool {
  if (!isUsed(tuple, scratch)) return true;
  return choosePort(worker, tuple, 0, NAT_SOURCE, 0, scratch);
}

