/**
 * The table of flows: both tuples of each connection in one hash table of cache-line buckets.
 *
 * A tuple has two buckets to be in. It goes to the first unless that is nearly full; when both are full, one of their
 * entries moves to its own other bucket. So a lookup reads one line, sometimes two, never more, and compares ten tags at
 * once; and no entry is ever refused before the table is full in earnest. Readers take no lock: they compare the tuple
 * itself, and records are reused only when every worker has left the burst in which it could have seen them (core/arena.ts).
 *
 * The hash is multilinear over 32-bit words with random 64-bit keys (Carter and Wegman; Lemire and Kaser, "Strongly
 * universal string hashing is fast", 2014): any two tuples an attacker chooses share it with probability 2^-32, whatever
 * he knows but the keys.
 */
import {
  BURST, COLD_SIZE, COLD_STATE, COLD_WHEEL_NEXT, COLD_WHEEL_SLOT, EXTENSION_ADDRESSES, EXTENSION_NEXT, EXTENSION_SIZE, FLOWS_BUCKETS, FLOWS_BUCKET_BASE,
  FLOWS_CAPACITY, FLOWS_COLD, FLOWS_COUNT, FLOWS_COUNTERS, FLOWS_EXTENSIONS, FLOWS_EXTENSION_COUNT, FLOWS_EXTENSION_FREE,
  FLOWS_EXTENSION_FRESH, FLOWS_FREE, FLOWS_FRESH, FLOWS_HOT, FLOWS_KEYS, FLOWS_LOCK, FLOWS_RECORDS, FLOWS_RETIRED_FIRST, FLOWS_RETIRED_LAST,
  FLOWS_RETIRED_NOW, FLOWS_STATS, FLOWS_USED, FLOW_BUCKET_META, FLOW_BUCKET_REFS, FLOW_BUCKET_SIZE, FLOW_BUCKET_SLOTS, FLOW_COUNTER_SIZE,
  FLOW_EXTENSION, FLOW_PHASE, FLOW_PORTS, FLOW_PROTOCOL, FLOW_SIZE, FLOW_STATUS, HEADER, HEADER_EPOCH, HEADER_WORKERS, PHASE_BUSY, PHASE_ENDING,
  PHASE_LINKED, REGION_FLOWS, TCP_CLOSE, TCP_TIME_WAIT, TUPLE_HASH, TUPLE_KIND, TUPLE_PORTS, FLOW_KIND, FLOW_SPACE, KIND_IP6, PHASE_ZONE_ORIGINAL, PHASE_ZONE_REPLY, SPACE_IP6,
} from "../abi";
import { advanceEpoch, hasPassed } from "../core/arena";
import { header, region } from "../core/layout";
import { compareExchange, fetchAdd, fetchAnd, fetchOr, loadAcquire, lock, storeRelease, storeRelease16, unlock } from "../core/sync";
import { TCP } from "../wire/l4";

/** A first bucket with so many entries leaves its last places to tuples that have no choice. */
const CROWDED: u32 = 8;
const LOCKED: u32 = 0x80000000;

export const INSERTED: u32 = 0;
/** The same tuple is in the table already. */
export const CLASH: u32 = 1;
export const NO_ROOM: u32 = 2;

@inline
export function flows(): usize {
  return region(REGION_FLOWS);
}

@inline
export function flowAt(flow: u32): usize {
  return <usize>load<u32>(flows(), FLOWS_HOT) + <usize>flow * FLOW_SIZE;
}

@inline
export function coldAt(flow: u32): usize {
  return <usize>load<u32>(flows(), FLOWS_COLD) + <usize>flow * COLD_SIZE;
}

/** Packets and bytes of a flow, or 0 when nobody counts. */
@inline
export function countersAt(flow: u32): usize {
  const base = load<u32>(flows(), FLOWS_COUNTERS);
  return base == 0 ? 0 : <usize>base + <usize>flow * FLOW_COUNTER_SIZE;
}

@inline
export function extensionAt(extension: u32): usize {
  return <usize>load<u32>(flows(), FLOWS_EXTENSIONS) + <usize>extension * EXTENSION_SIZE;
}

export function countFlow(what: u32): void {
  fetchAdd(flows() + FLOWS_STATS + (<usize>what << 2), 1);
}

// ── Hash ────────────────────────────────────────────────────────────────────────────────────────
@inline
function term(keys: usize, index: usize, word: u32): u64 {
  return load<u64>(keys + (index << 3)) * <u64>word;
}

/** Hash of an IPv4 tuple: addresses and ports as they lie in the packet; `kind` is zone, protocol and space. */
@inline
export function hash4(addresses: u64, ports: u32, kind: u32): u32 {
  const keys = flows() + FLOWS_KEYS;
  const sum = load<u64>(keys) + term(keys, 1, <u32>addresses) + term(keys, 2, <u32>(addresses >> 32)) + term(keys, 3, ports) + term(keys, 4, kind);
  return <u32>(sum >> 32);
}

@inline
export function hash6(addresses: usize, ports: u32, kind: u32): u32 {
  const keys = flows() + FLOWS_KEYS, a = load<u64>(addresses), b = load<u64>(addresses, 8), c = load<u64>(addresses, 16), d = load<u64>(addresses, 24);
  const source = term(keys, 1, <u32>a) + term(keys, 2, <u32>(a >> 32)) + term(keys, 3, <u32>b) + term(keys, 4, <u32>(b >> 32));
  const destination = term(keys, 5, <u32>c) + term(keys, 6, <u32>(c >> 32)) + term(keys, 7, <u32>d) + term(keys, 8, <u32>(d >> 32));
  return <u32>((load<u64>(keys) + source + destination + term(keys, 9, ports) + term(keys, 10, kind)) >> 32);
}

/** Hash of a tuple in hand; kept in it. */
export function hashTuple(tuple: usize): u32 {
  const ports = load<u32>(tuple, TUPLE_PORTS), kind = load<u32>(tuple, TUPLE_KIND);
  const hash = (kind & KIND_IP6) == 0 ? hash4(load<u64>(tuple), ports, kind) : hash6(tuple, ports, kind);
  store<u32>(tuple, hash, TUPLE_HASH);
  return hash;
}

@inline
function tagOf(hash: u32): u32 {
  return max<u32>(hash & 0xffff, 1);
}

@inline
export function firstBucket(hash: u32): usize {
  const at = flows();
  return bucketOf(<usize>load<u32>(at, FLOWS_BUCKET_BASE), load<u32>(at, FLOWS_BUCKETS), hash);
}

/** The same for a loop that has the table's place and size in hand. */
@inline
export function bucketOf(base: usize, count: u32, hash: u32): usize {
  return base + (<usize>((<u64>hash * count) >> 32) << 6);
}

/** The other bucket of a hash; it may be the first again, which then holds twice as much. */
@inline
export function otherBucket(hash: u32): usize {
  const at = flows(), turned = (hash ^ (hash >>> 15)) * 0x85ebca6b;
  return <usize>load<u32>(at, FLOWS_BUCKET_BASE) + (<usize>((<u64>turned * load<u32>(at, FLOWS_BUCKETS)) >> 32) << 6);
}

// ── Tuples ──────────────────────────────────────────────────────────────────────────────────────
@inline
export function isFlow4(hot: usize): bool {
  return (load<u8>(hot, FLOW_SPACE) & SPACE_IP6) == 0;
}

/** The kind of a flow's tuple: of a direction that its zone does not count for, with zone 0. */
@inline
function kindOf(hot: usize, direction: u32): u32 {
  const kind = load<u32>(hot, FLOW_KIND), elsewhere: u32 = direction == 0 ? PHASE_ZONE_REPLY : PHASE_ZONE_ORIGINAL;
  return (load<u32>(hot, FLOW_PHASE) & elsewhere) == 0 ? kind : kind & 0xffff0000;
}

/** Which direction's tuple alone is in the zone of a flow (PHASE_ZONE_*); 0: both, or neither. */
export function zoneWay(original: usize, answers: usize): u32 {
  const there = load<u16>(original, TUPLE_KIND), back = load<u16>(answers, TUPLE_KIND);
  return there == back ? 0 : back == 0 ? PHASE_ZONE_ORIGINAL : PHASE_ZONE_REPLY;
}

/** Writes a tuple of a flow: direction 0 as its first packet had it, 1 as answers have it. */
export function tupleOf(flow: u32, direction: u32, out: usize): void {
  const hot = flowAt(flow);
  store<u32>(out, load<u32>(hot + (<usize>direction << 2), FLOW_PORTS), TUPLE_PORTS);
  store<u32>(out, kindOf(hot, direction), TUPLE_KIND);
  if (isFlow4(hot)) { store<u64>(out, load<u64>(hot + (<usize>direction << 3))); return; }
  if (direction == 0) { memory.copy(out, hot, 32); return; }
  replyAddresses(flow, out);
}

/** Source and destination of an IPv6 flow's answers. */
export function replyAddresses(flow: u32, out: usize): void {
  const hot = flowAt(flow), extension = load<u32>(hot, FLOW_EXTENSION);
  if (extension != 0) { memory.copy(out, extensionAt(extension) + EXTENSION_ADDRESSES, 32); return; }
  v128.store(out, v128.load(hot, 16));
  v128.store(out, v128.load(hot), 16);
}

/** Writes the original or reply tuple of a flow that is not in the table. IPv6 answers other than the mirror need an extension. */
export function setTuple(flow: u32, direction: u32, tuple: usize): void {
  const hot = flowAt(flow);
  store<u32>(hot + (<usize>direction << 2), load<u32>(tuple, TUPLE_PORTS), FLOW_PORTS);
  if (isFlow4(hot)) store<u64>(hot + (<usize>direction << 3), load<u64>(tuple));
  else if (direction == 0) memory.copy(hot, tuple, 32);
  else {
    const extension = load<u32>(hot, FLOW_EXTENSION);
    if (extension != 0) memory.copy(extensionAt(extension) + EXTENSION_ADDRESSES, tuple, 32);
  }
}

function isTuple(ref: u32, tuple: usize): bool {
  const hot = flowAt(ref >>> 1), direction = <usize>(ref & 1);
  if (kindOf(hot, ref & 1) != load<u32>(tuple, TUPLE_KIND)) return false;
  if (load<u32>(hot + (direction << 2), FLOW_PORTS) != load<u32>(tuple, TUPLE_PORTS)) return false;
  if (isFlow4(hot)) return load<u64>(hot + (direction << 3)) == load<u64>(tuple);
  return areAddresses6(hot, ref & 1, tuple);
}

/** Are these the addresses, source and destination, of one direction of an IPv6 flow? */
@inline
export function areAddresses6(hot: usize, direction: u32, addresses: usize): bool {
  if (direction == 0) return same32(hot, 0, 16, addresses);
  const extension = load<u32>(hot, FLOW_EXTENSION);
  return extension != 0 ? same32(extensionAt(extension) + EXTENSION_ADDRESSES, 0, 16, addresses) : same32(hot, 16, 0, addresses);
}

@inline
function same32(at: usize, source: usize, destination: usize, tuple: usize): bool {
  const a = v128.xor(v128.load(at + source), v128.load(tuple)), b = v128.xor(v128.load(at + destination), v128.load(tuple, 16));
  return !v128.any_true(v128.or(a, b));
}

// ── Lookup ──────────────────────────────────────────────────────────────────────────────────────
/** Slots of a bucket with that tag, one bit each. */
@inline
function slotsWith(bucket: usize, tag: u32): u32 {
  const wanted = i16x8.splat(<i16>tag);
  return <u32>i16x8.bitmask(i16x8.eq(v128.load(bucket), wanted)) | (<u32>i16x8.bitmask(i16x8.eq(v128.load(bucket, 4), wanted)) << 2);
}

@inline
function refAt(bucket: usize, slot: u32): u32 {
  return load<u32>(bucket + (<usize>slot << 2), FLOW_BUCKET_REFS);
}

/** The flow of one place of a bucket, or 0. */
export function entryOf(bucket: usize, slot: u32): u32 {
  return load<u16>(bucket + (<usize>slot << 1)) == 0 ? 0 : refAt(bucket, slot) >>> 1;
}

/** The bucket behind one, round the table. */
export function nextBucket(bucket: usize): usize {
  const at = flows(), base = <usize>load<u32>(at, FLOWS_BUCKET_BASE), next = bucket + FLOW_BUCKET_SIZE;
  return next == base + <usize>load<u32>(at, FLOWS_BUCKETS) * FLOW_BUCKET_SIZE ? base : next;
}

/** What the tag of a hash points at in one of its buckets: a guess to be checked, 0 without one. For bursts, which look ahead: no branch. */
@inline
export function candidateIn(bucket: usize, hash: u32): u32 {
  const slots = slotsWith(bucket, tagOf(hash)), slot = <u32>ctz<u32>(slots | (1 << FLOW_BUCKET_SLOTS));
  return select<u32>(refAt(bucket, slot), 0, slots != 0);
}

/** The same in both: what a burst asks of a table that a core's own cache holds. */
@inline
export function candidate(hash: u32): u32 {
  const tag = tagOf(hash);
  let bucket = firstBucket(hash), slots = slotsWith(bucket, tag);
  if (slots == 0 && hasOverflown(bucket)) {
    bucket = otherBucket(hash);
    slots = slotsWith(bucket, tag);
  }
  return slots == 0 ? 0 : refAt(bucket, <u32>ctz<u32>(slots));
}

/** Have entries that belong into this bucket gone to their other one? */
@inline
export function hasOverflown(bucket: usize): bool {
  return (load<u32>(bucket, FLOW_BUCKET_META) & 0xffff) != 0;
}

function findIn(bucket: usize, tag: u32, tuple: usize): u32 {
  for (let slots = slotsWith(bucket, tag); slots != 0; slots &= slots - 1) {
    const ref = refAt(bucket, <u32>ctz<u32>(slots));
    if (isTuple(ref, tuple)) return ref;
  }
  return 0;
}

/**
 * Flow × 2 + direction of a tuple whose hash is set, or 0. An entry that moves between its two buckets meanwhile can be missed in
 * both; its first bucket has changed then, and is looked at again.
 */
export function find(tuple: usize): u32 {
  const hash = load<u32>(tuple, TUPLE_HASH), tag = tagOf(hash), first = firstBucket(hash);
  while (true) {
    const before = loadAcquire(first + FLOW_BUCKET_META);
    let found = findIn(first, tag, tuple);
    if (found != 0) return found;
    const after = loadAcquire(first + FLOW_BUCKET_META);
    if ((after & 0xffff) != 0) {
      found = findIn(otherBucket(hash), tag, tuple);
      if (found != 0) return found;
    }
    if ((before & LOCKED) == 0 && loadAcquire(first + FLOW_BUCKET_META) == before) return 0;
  }
}

// ── Insertion and removal ───────────────────────────────────────────────────────────────────────
@inline
function lockBucket(bucket: usize): void {
  while (!tryLock(bucket)) {}
}

function tryLock(bucket: usize): bool {
  const meta = loadAcquire(bucket + FLOW_BUCKET_META);
  return (meta & LOCKED) == 0 && compareExchange(bucket + FLOW_BUCKET_META, meta, meta | LOCKED) == meta;
}

/** Unlocks, adds to the count of tuples that live elsewhere (bits 0 to 15), and moves the version on (bits 16 to 30). */
@inline
function unlockBucket(bucket: usize, elsewhere: i32): void {
  const meta = load<u32>(bucket, FLOW_BUCKET_META) + elsewhere;
  storeRelease(bucket + FLOW_BUCKET_META, (meta & 0xffff) | ((meta + 0x10000) & 0x7fff0000));
}

function lockBoth(first: usize, other: usize): void {
  lockBucket(min(first, other));
  if (first != other) lockBucket(max(first, other));
}

function unlockBoth(first: usize, other: usize, elsewhere: i32): void {
  unlockBucket(first, elsewhere);
  if (first != other) unlockBucket(other, 0);
}

@inline
function used(bucket: usize): u32 {
  return FLOW_BUCKET_SLOTS - <u32>popcnt<u32>(slotsWith(bucket, 0));
}

function put(bucket: usize, tag: u32, ref: u32): void {
  const slot = <usize>ctz<u32>(slotsWith(bucket, 0));
  store<u32>(bucket + (slot << 2), ref, FLOW_BUCKET_REFS);
  // The tag is what readers look for: it comes last.
  storeRelease16(bucket + (slot << 1), tag);
}

/** Puts one tuple of a flow into the table. The tuple's hash is set. */
function insertTuple(ref: u32, tuple: usize, scratch: usize): u32 {
  const hash = load<u32>(tuple, TUPLE_HASH), tag = tagOf(hash), first = firstBucket(hash), other = otherBucket(hash);
  lockBoth(first, other);
  if (findIn(first, tag, tuple) != 0 || findIn(other, tag, tuple) != 0) { unlockBoth(first, other, 0); return CLASH; }
  const here = used(first), there = used(other);
  if (here == FLOW_BUCKET_SLOTS && there == FLOW_BUCKET_SLOTS && !makeRoom(first, other, scratch) && !makeRoom(other, first, scratch)) {
    unlockBoth(first, other, 0);
    return NO_ROOM;
  }
  const elsewhere = first != other && (used(first) == FLOW_BUCKET_SLOTS || (here >= CROWDED && there < here));
  put(elsewhere ? other : first, tag, ref);
  unlockBoth(first, other, elsewhere ? 1 : 0);
  return INSERTED;
}

/** Moves one entry of a full bucket to its own other bucket; both `bucket` and `partner` are locked by the caller. */
function makeRoom(bucket: usize, partner: usize, scratch: usize): bool {
  for (let slot: u32 = 0; slot < <u32>FLOW_BUCKET_SLOTS; slot++) {
    const ref = refAt(bucket, slot);
    tupleOf(ref >>> 1, ref & 1, scratch);
    const hash = hashTuple(scratch), home = firstBucket(hash), away = otherBucket(hash), to = home == bucket ? away : home;
    if (to == bucket || to == partner || !tryLock(to)) continue;
    if (used(to) == FLOW_BUCKET_SLOTS) { unlockBucket(to, 0); continue; }
    put(to, tagOf(hash), ref);
    // The entry's home counts it while it is away, and before it has left.
    if (home == bucket) addElsewhere(bucket, 1);
    storeRelease16(bucket + (<usize>slot << 1), 0);
    unlockBucket(to, home == bucket ? 0 : -1);
    return true;
  }
  return false;
}

@inline
function addElsewhere(bucket: usize, n: i32): void {
  store<u32>(bucket, load<u32>(bucket, FLOW_BUCKET_META) + n, FLOW_BUCKET_META);
}

function removeTuple(ref: u32, tuple: usize): bool {
  const hash = hashTuple(tuple), tag = tagOf(hash), first = firstBucket(hash), other = otherBucket(hash);
  lockBoth(first, other);
  let removed = clear(first, tag, ref), elsewhere = 0;
  if (!removed && first != other) {
    removed = clear(other, tag, ref);
    elsewhere = removed ? -1 : 0;
  }
  unlockBoth(first, other, elsewhere);
  return removed;
}

function clear(bucket: usize, tag: u32, ref: u32): bool {
  for (let slots = slotsWith(bucket, tag); slots != 0; slots &= slots - 1) {
    const slot = <u32>ctz<u32>(slots);
    if (refAt(bucket, slot) != ref) continue;
    store<u16>(bucket + (<usize>slot << 1), 0);
    return true;
  }
  return false;
}

/**
 * Puts both tuples of a flow into the table: all or nothing. `scratch`: two tuples. INSERTED, CLASH (one of them is somebody
 * else's) or NO_ROOM.
 */
export function insertFlow(flow: u32, scratch: usize): u32 {
  const other = scratch + 48;
  tupleOf(flow, 0, scratch);
  hashTuple(scratch);
  let result = insertTuple(flow << 1, scratch, other);
  if (result != INSERTED) return result;
  tupleOf(flow, 1, scratch);
  hashTuple(scratch);
  result = insertTuple((flow << 1) | 1, scratch, other);
  if (result == INSERTED) { fetchAdd(flows() + FLOWS_COUNT, 1); return result; }
  tupleOf(flow, 0, scratch);
  removeTuple(flow << 1, scratch);
  return result;
}

/** Takes both tuples out: for the one who ends the flow. */
export function removeFlow(flow: u32, scratch: usize): void {
  tupleOf(flow, 0, scratch);
  removeTuple(flow << 1, scratch);
  tupleOf(flow, 1, scratch);
  removeTuple((flow << 1) | 1, scratch);
  fetchAdd(flows() + FLOWS_COUNT, <u32>-1);
}

/** Sets bits of a flow's status (IPS_*), whoever else does so now. */
@inline
export function setStatus(hot: usize, bits: u32): void {
  fetchOr(hot + FLOW_STATUS, bits);
}

/** The flow is in the table and in the wheel: it may be ended. */
@inline
export function setLinked(flow: u32): void {
  fetchOr(flowAt(flow) + FLOW_PHASE, PHASE_LINKED);
}

@inline
export function isLinked(flow: u32): bool {
  return (loadAcquire(flowAt(flow) + FLOW_PHASE) & PHASE_LINKED) != 0;
}

/** True for the one caller that may end the flow; false while it is being made. */
export function claimEnd(flow: u32): bool {
  const phase = flowAt(flow) + FLOW_PHASE;
  return (loadAcquire(phase) & (PHASE_LINKED | PHASE_ENDING)) == PHASE_LINKED && (fetchOr(phase, PHASE_ENDING) & PHASE_ENDING) == 0;
}

/** What is kept of a flow's TCP is read and written by one worker at a time; where there is one, nothing is locked. */
@inline
export function lockFlow(hot: usize): void {
  if (header(HEADER_WORKERS) > 1) while ((fetchOr(hot + FLOW_PHASE, PHASE_BUSY) & PHASE_BUSY) != 0) {}
}

@inline
export function unlockFlow(hot: usize): void {
  if (header(HEADER_WORKERS) > 1) fetchAnd(hot + FLOW_PHASE, ~PHASE_BUSY);
}

/** Both ends of a TCP connection are done with it, and only stragglers are waited for. */
export function isOver(flow: u32): bool {
  if (<u32>load<u8>(flowAt(flow), FLOW_PROTOCOL) != TCP) return false;
  const state = <u32>load<u8>(coldAt(flow), COLD_STATE);
  return state == TCP_TIME_WAIT || state == TCP_CLOSE;
}

// ── Records ─────────────────────────────────────────────────────────────────────────────────────
/** A record of its own for a new flow, or 0 when as many as there may be exist. */
export function allocateFlow(): u32 {
  const at = flows();
  lock(at + FLOWS_LOCK);
  const flow = load<u32>(at, FLOWS_USED) < load<u32>(at, FLOWS_CAPACITY) ? takeRecord(at) : 0;
  if (flow != 0) store<u32>(at, load<u32>(at, FLOWS_USED) + 1, FLOWS_USED);
  unlock(at + FLOWS_LOCK);
  if (flow == 0) return 0;
  memory.fill(flowAt(flow), 0, FLOW_SIZE);
  memory.fill(coldAt(flow), 0, COLD_SIZE);
  store<u32>(coldAt(flow), 0xffffffff, COLD_WHEEL_SLOT);
  const counters = countersAt(flow);
  if (counters != 0) memory.fill(counters, 0, FLOW_COUNTER_SIZE);
  return flow;
}

function takeRecord(at: usize): u32 {
  reclaim(at);
  const free = load<u32>(at, FLOWS_FREE);
  if (free != 0) { store<u32>(at, load<u32>(coldAt(free), COLD_WHEEL_NEXT), FLOWS_FREE); return free; }
  const fresh = load<u32>(at, FLOWS_FRESH);
  if (fresh < load<u32>(at, FLOWS_RECORDS)) { store<u32>(at, fresh + 1, FLOWS_FRESH); return fresh; }
  return 0;
}

/** Retired records that nobody can hold any more become free: two for each that is wanted, so that they never pile up. */
function reclaim(at: usize): void {
  for (let turn = 0; turn < 2; turn++) {
    const first = load<u32>(at, FLOWS_RETIRED_FIRST);
    if (first == 0) return;
    const cold = coldAt(first);
    if (!hasPassed(load<u32>(cold))) { letGo(at, load<u32>(cold)); return; }
    store<u32>(at, load<u32>(cold, COLD_WHEEL_NEXT), FLOWS_RETIRED_FIRST);
    if (load<u32>(cold, COLD_WHEEL_NEXT) == 0) store<u32>(at, 0, FLOWS_RETIRED_LAST);
    releaseExtension(at, first);
    store<u32>(cold, load<u32>(at, FLOWS_FREE), COLD_WHEEL_NEXT);
    store<u32>(at, first, FLOWS_FREE);
  }
}

/** Ends the epoch in which records were retired, when it still lasts: bursts that begin from now on cannot hold them. */
function letGo(at: usize, epoch: u32): void {
  store<u32>(at, 0, FLOWS_RETIRED_NOW);
  if (loadAcquire(HEADER + HEADER_EPOCH) == epoch) advanceEpoch();
}

/**
 * Gives a record back that is in no table (any more); it is reused when no reader can hold it. No more than a burst of them
 * share an epoch: else one reader that the system puts to sleep would keep all of them, and the newcomers would find none.
 */
export function retireFlow(flow: u32): void {
  const at = flows(), cold = coldAt(flow), epoch = loadAcquire(HEADER + HEADER_EPOCH);
  lock(at + FLOWS_LOCK);
  store<u32>(cold, epoch);
  store<u32>(cold, 0, COLD_WHEEL_NEXT);
  const last = load<u32>(at, FLOWS_RETIRED_LAST);
  if (last == 0) store<u32>(at, flow, FLOWS_RETIRED_FIRST);
  else store<u32>(coldAt(last), flow, COLD_WHEEL_NEXT);
  store<u32>(at, flow, FLOWS_RETIRED_LAST);
  store<u32>(at, load<u32>(at, FLOWS_USED) - 1, FLOWS_USED);
  const now = load<u32>(at, FLOWS_RETIRED_NOW) + 1;
  store<u32>(at, now, FLOWS_RETIRED_NOW);
  if (now >= <u32>BURST) letGo(at, epoch);
  unlock(at + FLOWS_LOCK);
}

/** Are there as many flows as there may be? (A record may be missing for another reason: that those retired are still held.) */
@inline
export function isFull(): bool {
  const at = flows();
  return load<u32>(at, FLOWS_USED) >= load<u32>(at, FLOWS_CAPACITY);
}

/** The extension of a flow, made when it has none yet; 0 when there are no more. Its addresses are the mirror of the original's. */
export function extend(flow: u32): u32 {
  const hot = flowAt(flow), had = load<u32>(hot, FLOW_EXTENSION);
  if (had != 0) return had;
  const at = flows();
  lock(at + FLOWS_LOCK);
  let extension = load<u32>(at, FLOWS_EXTENSION_FREE);
  if (extension != 0) store<u32>(at, load<u32>(extensionAt(extension), EXTENSION_NEXT), FLOWS_EXTENSION_FREE);
  else {
    const fresh = load<u32>(at, FLOWS_EXTENSION_FRESH);
    if (fresh < load<u32>(at, FLOWS_EXTENSION_COUNT)) {
      store<u32>(at, fresh + 1, FLOWS_EXTENSION_FRESH);
      extension = fresh;
    }
  }
  unlock(at + FLOWS_LOCK);
  if (extension == 0) return 0;
  const e = extensionAt(extension);
  memory.fill(e, 0, EXTENSION_SIZE);
  if (!isFlow4(hot)) {
    v128.store(e, v128.load(hot, 16));
    v128.store(e, v128.load(hot), 16);
  }
  store<u32>(hot, extension, FLOW_EXTENSION);
  return extension;
}

function releaseExtension(at: usize, flow: u32): void {
  const hot = flowAt(flow), extension = load<u32>(hot, FLOW_EXTENSION);
  if (extension == 0) return;
  store<u32>(hot, 0, FLOW_EXTENSION);
  store<u32>(extensionAt(extension), load<u32>(at, FLOWS_EXTENSION_FREE), EXTENSION_NEXT);
  store<u32>(at, extension, FLOWS_EXTENSION_FREE);
}

