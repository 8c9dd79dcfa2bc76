/**
 * Connection tracking in the road of a packet: which flow is it of, and what does that make of it (`ct state`).
 *
 * Flows that are known go together, in passes over the burst, so that the memory of many of them is on its way at
 * once: hashes, tags, records, then what the packet changes. What is not known (and ICMP, and what is odd) is left to the
 * caller one packet at a time, so that the second packet of a new flow finds what the first one made.
 */
import {
  CT_ESTABLISHED, CT_ESTABLISHED_REPLY, CT_INVALID, CT_NEW, CT_RELATED, CT_RELATED_REPLY, CT_UNTRACKED, DESC_DATA, DESC_FLAGS, DESC_L3,
  DESC_L4, DESC_LENGTH, DESC_NEXT, DESC_PACKET_LENGTH, DESC_PROTOCOL, DESC_SHIFT, DROP_FLOW_TABLE_FULL, EVENT_UPDATE,
  EXPECTATION_HELPER, EXPECTATION_MASTER, EXPECTATION_NAT, EXTENSION_HELPER, EXTENSION_MASTER, EXTENSION_MASTER_HELPER, EXTENSION_NAT, EXTENSION_SEQUENCE, FLAG_CSUM_GOOD,
  FLAG_CSUM_PARTIAL, FLAG_FRAGMENT, FLAG_L4, FLAG_OPTIONS, FLOWS_BUCKETS, FLOWS_BUCKET_BASE, FLOWS_CHECKSUM, FLOWS_COUNTERS, FLOWS_FLAGS, FLOWS_HOT, FLOW_EXPIRES, FLOW_EXTENSION,
  FLOW_MARK, FLOW_PHASE, FLOW_PORTS, FLOW_PROTOCOL, FLOW_SIZE, FLOW_STATUS, FLOW_STAT_FOUND, FLOW_STAT_INVALID, FLOW_KIND, IPS_ASSURED,
  IPS_CONFIRMED, IPS_DYING, IPS_EXPECTED, IPS_HELPER, IPS_SEEN_REPLY, KIND_IP6, NETNS_FLAGS, NETNS_KIND, NETNS_ZONES, NONE, IPS_SEQ_ADJUST, PHASE_ONE_SIDED, PHASE_PROXIED, PHASE_ZONE_ORIGINAL, PHASE_ZONE_REPLY, ZONE_NOT_ORIGINAL, ZONE_NOT_REPLY, REGION_DESCRIPTORS, TIMEOUT_UDP, TIMEOUT_UDP_STREAM,
  TUPLE_KIND, TUPLE_PORTS, TUPLE_SIZE, VEC_CTINFO, VEC_FLOW, VEC_IDS, VEC_MISSES, VEC_OIF, VEC_PRIORITY, VEC_ZONE, WORKER_SCRATCH, WORKER_TICKS,
  WORKER_TUPLES, WORKER_TURNS, IPS_DST_NAT, IPS_SRC_NAT,
} from "../abi";
import { descriptorAt, region } from "../core/layout";
import { abandon, begin, refresh, stateOf, timeoutAt, trackOther } from "../flow/begin";
import { beginSctp, trackSctp } from "../flow/sctp";
import { beginTcp, flagsValid, TRACK_AGAIN, TRACK_END, TRACK_IGNORED, TRACK_INVALID, TRACK_OK, trackOneSided, trackTcp } from "../flow/tcp";
import { invert, isSound, mayBegin, readTuple, TUPLE_ERROR, TUPLE_INVALID, TUPLE_NONE } from "../flow/tuples";
import { expected } from "../table/expectations";
import { areAddresses6, bucketOf, candidate, candidateIn, coldAt, countersAt, countFlow, extend, extensionAt, find, flowAt, flows, hasOverflown, hash4, hash6, hashTuple, lockFlow, otherBucket, setStatus, unlockFlow } from "../table/flow";
import { tell } from "../table/flow-events";
import { destroy } from "../table/wheel";
import { load16 } from "../wire/bytes";
import { ICMP, ICMP6, SCTP, TCP, UDP } from "../wire/l4";

/** So many buckets, 128 KiB, stay in a core's own cache: nothing is gained by touching them beforehand. */
const CACHED_BUCKETS: u32 = 2048;
const ZONE_WAYS: u32 = PHASE_ZONE_ORIGINAL | PHASE_ZONE_REPLY;

/** Nothing is known of the packets of a list: all positions up to the burst's last, which costs less than a list of them. */
export function forget(worker: usize, net: usize, list: usize, n: u32): void {
  const count: usize = n == 0 ? 0 : <usize>load<u16>(list + (<usize>(n - 1) << 1)) + 1;
  memory.fill(worker + VEC_FLOW, 0, count << 2);
  memory.fill(worker + VEC_PRIORITY, 0, count << 2);
  memory.fill(worker + VEC_OIF, 0xff, count << 1);
  memory.fill(worker + VEC_CTINFO, <u8>CT_INVALID, count);
  if ((load<u32>(net, NETNS_FLAGS) & NETNS_ZONES) != 0) memory.fill(worker + VEC_ZONE, 0, count << 2);
}

@inline
function idAt(worker: usize, position: u32): u32 {
  return load<u32>(worker + (<usize>position << 2), VEC_IDS);
}

/**
 * Finds the flows of a list. What is known stays on the list, in order; positions of what is not go to VEC_MISSES. Returns both
 * lengths: known | unknown << 16.
 */
export function trackBurst(worker: usize, net: usize, list: usize, n: u32, is4: bool): u32 {
  const ticks = load<u32>(worker, WORKER_TICKS), kind = load<u32>(net, NETNS_KIND), cached = load<u32>(flows(), FLOWS_BUCKETS) <= CACHED_BUCKETS;
  const zoned = (load<u32>(net, NETNS_FLAGS) & NETNS_ZONES) != 0;
  for (let k: u32 = 0; (k = zoned ? k : is4 ? guess4(worker, list, kind, k, n, cached) : guess6(worker, list, kind, k, n, cached)) < n; k++) {
    guessSlow(worker, list, kind, zoned, k, is4, cached);
  }
  if (!cached) candidates(worker, list, n);
  if (zoned) checkZoned(worker, kind, list, n, is4, ticks);
  else if (is4) check4(worker, kind, list, n, ticks);
  else check6(worker, kind, list, n, ticks);
  const records = <usize>load<u32>(flows(), FLOWS_HOT);
  let kept: u32 = 0, missed: u32 = 0, turns: u32 = 0;
  const udp = timeoutAt(TIMEOUT_UDP), stream = timeoutAt(TIMEOUT_UDP_STREAM), counts = load<u32>(flows(), FLOWS_COUNTERS) != 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
    const hot = records + <usize>(ref >>> 1) * FLOW_SIZE, status = load<u32>(hot, FLOW_STATUS), way = ref & 1;
    // Answers are translated where the others are not: IPS_DST_NAT of theirs is in the place of IPS_SRC_NAT, and the other way round.
    turns |= (status << way) & IPS_DST_NAT | (status >>> way) & IPS_SRC_NAT;
    const known = ref != 0 ? quickly(worker, p, ref, hot, status, ticks, udp, stream, counts) || proceed(worker, p, ref, ticks)
      : <u32>load<u8>(worker + <usize>p, VEC_CTINFO) == CT_UNTRACKED;
    if (known) { store<u16>(list + (<usize>kept << 1), <u16>p); kept++; }
    else {
      store<u32>(worker + (<usize>p << 2), 0, VEC_FLOW);
      store<u16>(worker + (<usize>missed << 1), <u16>p, VEC_MISSES);
      missed++;
    }
  }
  store<u32>(worker, turns, WORKER_TURNS);
  return kept | (missed << 16);
}

/**
 * First pass, the common road: hashes of whole TCP segments and UDP datagrams, of a cached table what tags say of them. Returns the place of the first
 * packet that is out of the ordinary, or `n`. No call stands in this loop.
 */
@inline
function guess(worker: usize, list: usize, kind: u32, k: u32, n: u32, cached: bool, is4: bool): u32 {
  const checked = (load<u32>(flows(), FLOWS_FLAGS) & FLOWS_CHECKSUM) != 0, descriptors = region(REGION_DESCRIPTORS);
  for (; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), d = descriptors + (<usize>idAt(worker, p) << DESC_SHIFT);
    const flags = load<u32>(d, DESC_FLAGS), protocol = <u32>load<u8>(d, DESC_PROTOCOL), data = <usize>load<u32>(d, DESC_DATA);
    const l3 = <u32>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4), at = data + l3, head = data + l4;
    const have = load<u32>(d, DESC_LENGTH) - l4, odd = flags & (FLAG_FRAGMENT | FLAG_OPTIONS) | (is4 ? 0 : (l4 - l3) ^ 40);
    let length: u32, sum: u32;
    if (protocol == UDP) {
      length = load16(head + 4);
      sum = <u32>load<u16>(head, 6);
    } else {
      // The top half of TCP's 13th byte is the header's length in words.
      length = <u32>(load<u8>(head, 12) >>> 4) << 2;
      sum = 1;
      if (protocol != TCP || length < 20 || !flagsValid(<u32>load<u8>(head, 13))) return k;
    }
    if (odd != 0 || length < 8 || length > have || load<u32>(d, DESC_NEXT) != NONE) return k;
    if (checked && sum != 0 && (flags & (FLAG_CSUM_GOOD | FLAG_CSUM_PARTIAL)) == 0) return k;
    if (<u32>load<u8>(worker + <usize>p, VEC_CTINFO) == CT_UNTRACKED) continue;
    store<u32>(d, flags | FLAG_L4, DESC_FLAGS);
    const hash = hashAt(at, is4, load<u32>(head), kind, protocol);
    store<u32>(worker + (<usize>p << 2), cached ? candidate(hash) : hash, VEC_FLOW);
  }
  return k;
}

function guess4(worker: usize, list: usize, kind: u32, k: u32, n: u32, cached: bool): u32 {
  return guess(worker, list, kind, k, n, cached, true);
}

function guess6(worker: usize, list: usize, kind: u32, k: u32, n: u32, cached: bool): u32 {
  return guess(worker, list, kind, k, n, cached, false);
}

/** Hash of the tuple of a packet whose network header begins at `at`. */
@inline
function hashAt(at: usize, is4: bool, ports: u32, kind: u32, protocol: u32): u32 {
  const whole = kind | (protocol << 16);
  return is4 ? hash4(load<u64>(at, 12), ports, whole) : hash6(at + 8, ports, whole | KIND_IP6);
}

/** With the zone that rules have put the packet into. */
@inline
function inZone(worker: usize, kind: u32, zoned: bool, p: u32): u32 {
  return zoned ? kind | <u32>load<u16>(worker + (<usize>p << 2), VEC_ZONE) : kind;
}

/** A zone of one direction: such packets, and flows, take the long road. */
@inline
function isOneWay(worker: usize, zoned: bool, p: u32): bool {
  return zoned && load<u32>(worker + (<usize>p << 2), VEC_ZONE) >>> 16 != 0;
}

/** What the kind of a packet's tuple begins with, as one of its flow's first direction or of the other: its network, and the zone that rules have put it into. */
export function kindOf(worker: usize, net: usize, p: u32, direction: u32): u32 {
  const kind = load<u32>(net, NETNS_KIND);
  if ((load<u32>(net, NETNS_FLAGS) & NETNS_ZONES) == 0) return kind;
  const zone = load<u32>(worker + (<usize>p << 2), VEC_ZONE), isNot: u32 = direction == 0 ? ZONE_NOT_ORIGINAL : ZONE_NOT_REPLY;
  return (zone & isNot) == 0 ? kind | (zone & 0xffff) : kind;
}

/** The same for one packet, with every rule: what cannot be guessed is left to trackOne. */
function guessSlow(worker: usize, list: usize, kind: u32, zoned: bool, k: u32, is4: bool, cached: bool): void {
  const p = <u32>load<u16>(list + (<usize>k << 1)), id = idAt(worker, p), d = descriptorAt(id);
  const protocol = <u32>load<u8>(d, DESC_PROTOCOL), at = <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L3);
  if ((protocol != TCP && protocol != UDP) || (load<u32>(d, DESC_FLAGS) & FLAG_FRAGMENT) != 0) return;
  if (<u32>load<u8>(worker + <usize>p, VEC_CTINFO) == CT_UNTRACKED) return;
  if (isOneWay(worker, zoned, p) || !isSound(id, d, at, is4, protocol, (load<u32>(flows(), FLOWS_FLAGS) & FLOWS_CHECKSUM) != 0)) return;
  const ports = load<u32>(<usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L4)), hash = hashAt(at, is4, ports, inZone(worker, kind, zoned, p), protocol);
  store<u32>(worker + (<usize>p << 2), cached ? candidate(hash) : hash, VEC_FLOW);
}

/** What VEC_FLOW has of one of four positions that a word of a list holds. */
@inline
function foundOf(worker: usize, four: u64, i: u32): u32 {
  return load<u32>(worker + (<usize>(<u32>(four >> (i << 4)) & 0xffff) << 2), VEC_FLOW);
}

/** Reads the first bucket of each hash of a list. What is returned means nothing: without it nothing would be read. */
function touchBuckets(worker: usize, list: usize, n: u32): u32 {
  const buckets = <usize>load<u32>(flows(), FLOWS_BUCKET_BASE), count = load<u32>(flows(), FLOWS_BUCKETS);
  const end = list + (<usize>n << 1), fours = end - (<usize>(n & 3) << 1);
  let at = list, touched: u32 = 0;
  for (; at < fours; at += 8) {
    const four = load<u64>(at);
    touched ^= load<u32>(bucketOf(buckets, count, foundOf(worker, four, 0))) ^ load<u32>(bucketOf(buckets, count, foundOf(worker, four, 1)))
      ^ load<u32>(bucketOf(buckets, count, foundOf(worker, four, 2))) ^ load<u32>(bucketOf(buckets, count, foundOf(worker, four, 3)));
  }
  for (; at < end; at += 2) touched ^= load<u32>(bucketOf(buckets, count, foundOf(worker, <u64>load<u16>(at), 0)));
  return touched;
}

/** The same for the records that a list's candidates are in. */
function touchRecords(worker: usize, list: usize, n: u32): u32 {
  const records = <usize>load<u32>(flows(), FLOWS_HOT), end = list + (<usize>n << 1), fours = end - (<usize>(n & 3) << 1);
  let at = list, touched: u32 = 0;
  for (; at < fours; at += 8) {
    const four = load<u64>(at);
    touched ^= load<u32>(records + <usize>(foundOf(worker, four, 0) >>> 1) * FLOW_SIZE) ^ load<u32>(records + <usize>(foundOf(worker, four, 1) >>> 1) * FLOW_SIZE)
      ^ load<u32>(records + <usize>(foundOf(worker, four, 2) >>> 1) * FLOW_SIZE) ^ load<u32>(records + <usize>(foundOf(worker, four, 3) >>> 1) * FLOW_SIZE);
  }
  for (; at < end; at += 2) touched ^= load<u32>(records + <usize>(foundOf(worker, <u64>load<u16>(at), 0) >>> 1) * FLOW_SIZE);
  return touched;
}

/**
 * Second pass of a table that no cache holds: from hashes to what their tags point at. In front of a loop that needs memory from all
 * over the table stands one that only touches it: so short that a core has many of its misses under way at once (1,000,000 flows:
 * 5.5 → 9.8 million packets a second; four at a time: 11.1 → 11.5).
 */
function candidates(worker: usize, list: usize, n: u32): void {
  const buckets = <usize>load<u32>(flows(), FLOWS_BUCKET_BASE), count = load<u32>(flows(), FLOWS_BUCKETS);
  let touched = touchBuckets(worker, list, n), others: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <usize>load<u16>(list + (<usize>k << 1)), at = worker + (p << 2), hash = load<u32>(at, VEC_FLOW), bucket = bucketOf(buckets, count, hash);
    // Without a hash (untracked, not whole, another protocol) there is nothing to guess.
    const ref = hash == 0 ? 0 : candidateIn(bucket, hash), elsewhere = u32(ref == 0) & u32(hash != 0) & u32(hasOverflown(bucket));
    store<u16>(worker + (<usize>others << 1), <u16>p, VEC_MISSES);
    others += elsewhere;
    store<u32>(at, select<u32>(hash, ref, elsewhere != 0), VEC_FLOW);
  }
  for (let m: u32 = 0; m < others; m++) {
    const p = <usize>load<u16>(worker + (<usize>m << 1), VEC_MISSES);
    touched ^= load<u32>(otherBucket(load<u32>(worker + (p << 2), VEC_FLOW)));
  }
  for (let m: u32 = 0; m < others; m++) {
    const p = <usize>load<u16>(worker + (<usize>m << 1), VEC_MISSES), at = worker + (p << 2), hash = load<u32>(at, VEC_FLOW);
    store<u32>(at, candidateIn(otherBucket(hash), hash), VEC_FLOW);
  }
  store<u32>(worker, touched ^ touchRecords(worker, list, n), WORKER_SCRATCH);
}

/** Third pass: is the guess right, and does the flow still live? */
function check4(worker: usize, own: u32, list: usize, n: u32, ticks: u32): void {
  const descriptors = region(REGION_DESCRIPTORS), records = <usize>load<u32>(flows(), FLOWS_HOT);
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
    const d = descriptors + (<usize>idAt(worker, p) << DESC_SHIFT), data = <usize>load<u32>(d, DESC_DATA);
    const kind = own | (<u32>load<u8>(d, DESC_PROTOCOL) << 16), hot = records + <usize>(ref >>> 1) * FLOW_SIZE, way = <usize>(ref & 1);
    const other = (load<u64>(hot + (way << 3)) ^ load<u64>(data + <usize>load<u16>(d, DESC_L3), 12))
      | <u64>(load<u32>(hot + (way << 2), FLOW_PORTS) ^ load<u32>(data + <usize>load<u16>(d, DESC_L4))) | <u64>(load<u32>(hot, FLOW_KIND) ^ kind);
    if (other != 0 || <i32>(load<u32>(hot, FLOW_EXPIRES) - ticks) <= 0) store<u32>(worker + (<usize>p << 2), 0, VEC_FLOW);
  }
}

/** The same for IPv6. */
function check6(worker: usize, own: u32, list: usize, n: u32, ticks: u32): void {
  const descriptors = region(REGION_DESCRIPTORS), records = <usize>load<u32>(flows(), FLOWS_HOT);
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
    const d = descriptors + (<usize>idAt(worker, p) << DESC_SHIFT), data = <usize>load<u32>(d, DESC_DATA);
    const kind = own | (<u32>load<u8>(d, DESC_PROTOCOL) << 16) | KIND_IP6, hot = records + <usize>(ref >>> 1) * FLOW_SIZE, way = <usize>(ref & 1);
    const other = (load<u32>(hot + (way << 2), FLOW_PORTS) ^ load<u32>(data + <usize>load<u16>(d, DESC_L4))) | (load<u32>(hot, FLOW_KIND) ^ kind);
    const isIt = other == 0 && <i32>(load<u32>(hot, FLOW_EXPIRES) - ticks) > 0 && areAddresses6(hot, ref & 1, data + <usize>load<u16>(d, DESC_L3) + 8);
    if (!isIt) store<u32>(worker + (<usize>p << 2), 0, VEC_FLOW);
  }
}

/** The same where packets are in zones: each with its own. */
function checkZoned(worker: usize, kind: u32, list: usize, n: u32, is4: bool, ticks: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const one = list + (<usize>k << 1), p = <u32>load<u16>(one), own = inZone(worker, kind, true, p);
    if (is4) check4(worker, own, one, 1, ticks);
    else check6(worker, own, one, 1, ticks);
    const at = worker + (<usize>p << 2);
    if ((load<u32>(flowAt(load<u32>(at, VEC_FLOW) >>> 1), FLOW_PHASE) & ZONE_WAYS) != 0) store<u32>(at, 0, VEC_FLOW);
  }
}

/** A datagram of a UDP flow that has nothing to learn from it but the time; false when it needs more thought. */
@inline
function quickly(worker: usize, p: u32, ref: u32, hot: usize, status: u32, ticks: u32, udp: u32, stream: u32, counts: bool): bool {
  const flow = ref >>> 1, way = ref & 1, replied = status & IPS_SEEN_REPLY;
  if (<u32>load<u8>(hot, FLOW_PROTOCOL) != UDP || (way != 0 && replied == 0) || (replied != 0 && (status & IPS_ASSURED) == 0)) return false;
  const expires = ticks + (replied != 0 ? stream : udp), info: u32 = way != 0 ? CT_ESTABLISHED_REPLY : replied != 0 ? CT_ESTABLISHED : infoOf(status, 0);
  // A time that becomes shorter moves the flow in the wheel.
  if (<i32>(load<u32>(hot, FLOW_EXPIRES) - expires) > 0) return false;
  store<u32>(hot, expires, FLOW_EXPIRES);
  store<u8>(worker + <usize>p, <u8>info, VEC_CTINFO);
  if (counts) account(flow, way, descriptorAt(idAt(worker, p)));
  return true;
}

/** A packet of a known flow; false when it begins another one (the flow is gone then). */
function proceed(worker: usize, p: u32, ref: u32, ticks: u32): bool {
  const flow = ref >>> 1, way = ref & 1, hot = flowAt(flow), d = descriptorAt(idAt(worker, p));
  const status = load<u32>(hot, FLOW_STATUS);
  // A packet before this one in its burst has ended the flow.
  if ((status & IPS_DYING) != 0) return false;
  store<u32>(worker + (<usize>p << 2), ref, VEC_FLOW);
  store<u8>(worker + <usize>p, <u8>infoOf(status, way), VEC_CTINFO);
  let counts = true;
  const protocol = <u32>load<u8>(d, DESC_PROTOCOL), state = stateOf(flow);
  if (protocol == TCP || protocol == SCTP) {
    const result = protocol == TCP ? tcp(worker, p, flow, way, hot, d, ticks) : sctp(worker, flow, way, hot, d, ticks);
    if (result == TRACK_AGAIN) return false;
    if (result == TRACK_END) return true;
    // What is let pass without being believed prolongs nothing and counts for nothing.
    counts = result != TRACK_IGNORED;
    if (result == TRACK_INVALID) {
      countFlow(FLOW_STAT_INVALID);
      store<u32>(worker + (<usize>p << 2), 0, VEC_FLOW);
      store<u8>(worker + <usize>p, CT_INVALID, VEC_CTINFO);
          return true;
    }
  } else trackOther(flow, hot, ticks);
  if (counts) account(flow, way, d);
  if (way == 1 && (status & IPS_SEEN_REPLY) == 0) setStatus(hot, IPS_SEEN_REPLY);
  if ((status & IPS_CONFIRMED) != 0 && (load<u32>(hot, FLOW_STATUS) != status || stateOf(flow) != state)) tell(flow, EVENT_UPDATE, ticks);
  return true;
}

@inline
function infoOf(status: u32, way: u32): u32 {
  if (way == 1) return CT_ESTABLISHED_REPLY;
  if ((status & IPS_SEEN_REPLY) != 0) return CT_ESTABLISHED;
  return (status & IPS_EXPECTED) != 0 ? CT_RELATED : CT_NEW;
}

/** How far the server's numbers are ahead of those that the client has been told, where a handshake was answered for it. */
@inline
function aheadOf(hot: usize): u32 {
  if ((load<u32>(hot, FLOW_PHASE) & PHASE_PROXIED) == 0 || (load<u32>(hot, FLOW_STATUS) & IPS_SEQ_ADJUST) == 0) return 0;
  return load<u32>(extensionAt(load<u32>(hot, FLOW_EXTENSION)), EXTENSION_SEQUENCE);
}

function tcp(worker: usize, p: u32, flow: u32, way: u32, hot: usize, d: usize, ticks: u32): u32 {
  const data = <usize>load<u32>(d, DESC_DATA), l4 = <u32>load<u16>(d, DESC_L4), scratch = worker + WORKER_TUPLES;
  if ((load<u32>(hot, FLOW_PHASE) & PHASE_ONE_SIDED) != 0) {
    if (trackOneSided(flow, data + l4, scratch) && (load<u32>(hot, FLOW_STATUS) & IPS_SEEN_REPLY) != 0) {
      store<u8>(worker + <usize>p, <u8>(way == 0 ? CT_ESTABLISHED : CT_ESTABLISHED_REPLY), VEC_CTINFO);
    }
    refresh(flow, hot, ticks, load<u32>(scratch));
    return TRACK_OK;
  }
  lockFlow(hot);
  const result = trackTcp(flow, way, data + l4, load<u32>(d, DESC_PACKET_LENGTH) - l4, way == 0 ? aheadOf(hot) : 0, scratch), timeout = load<u32>(scratch);
  unlockFlow(hot);
  if (result == TRACK_AGAIN || result == TRACK_END) {
    if (result == TRACK_END) account(flow, way, d);
    if ((load<u32>(hot, FLOW_STATUS) & IPS_CONFIRMED) != 0) destroy(flow, ticks, scratch);
    return result;
  }
  if (timeout == 0) return result == TRACK_OK ? TRACK_IGNORED : result;
  // What is invalid may make a flow's time shorter, never longer.
  if (result == TRACK_OK || <i32>(load<u32>(hot, FLOW_EXPIRES) - (ticks + timeout)) > 0) refresh(flow, hot, ticks, timeout);
  return result;
}

function sctp(worker: usize, flow: u32, way: u32, hot: usize, d: usize, ticks: u32): u32 {
  const l4 = <u32>load<u16>(d, DESC_L4), scratch = worker + WORKER_TUPLES;
  lockFlow(hot);
  const result = trackSctp(flow, way, <usize>load<u32>(d, DESC_DATA) + l4, endOf(d) - l4, scratch), timeout = load<u32>(scratch);
  unlockFlow(hot);
  if (result == TRACK_OK) refresh(flow, hot, ticks, timeout);
  return result;
}

/** Where the bytes end that lie ready, and belong to the packet. */
@inline
function endOf(d: usize): u32 {
  return min<u32>(load<u32>(d, DESC_LENGTH), load<u32>(d, DESC_PACKET_LENGTH));
}

/** Packets and bytes, as `ct packets` and `ct bytes` count them: from the network header on. */
@inline
function account(flow: u32, way: u32, d: usize): void {
  const counters = countersAt(flow);
  if (counters == 0) return;
  const at = counters + (<usize>way << 3), packets = counters + 16 + (<usize>way << 2), before = load<u32>(packets);
  store<u32>(packets, before + 1);
  const bytes = load<u64>(at) + (load<u32>(d, DESC_PACKET_LENGTH) - <u32>load<u16>(d, DESC_L3));
  store<u64>(at, before == 0xffffffff ? bytes + ((<u64>1) << 48) : bytes);
}

/** One packet, whatever it is: known after all, related, or the first of a flow. 0, or why it is to be dropped. */
export function trackOne(worker: usize, net: usize, p: u32, is4: bool): u32 {
  const ticks = load<u32>(worker, WORKER_TICKS), tuple = worker + WORKER_TUPLES + TUPLE_SIZE, id = idAt(worker, p);
  const checked = (load<u32>(flows(), FLOWS_FLAGS) & FLOWS_CHECKSUM) != 0;
  const mine = kindOf(worker, net, p, 0), theirs = kindOf(worker, net, p, 1), what = readTuple(id, mine, checked, tuple);
  if (what == TUPLE_NONE) { store<u8>(worker + <usize>p, CT_UNTRACKED, VEC_CTINFO); return 0; }
  if (what == TUPLE_INVALID) return invalid(worker, p);
  const turn = mine ^ theirs, kind = load<u32>(tuple, TUPLE_KIND);
  for (let tries = 0; tries < 2; tries++) {
    let ref = turn == 0 ? findOf(tuple) : findWay(tuple, kind, turn);
    if (ref != 0 && <i32>(load<u32>(flowAt(ref >>> 1), FLOW_EXPIRES) - ticks) <= 0) {
      destroy(ref >>> 1, ticks, worker + WORKER_TUPLES + 2 * TUPLE_SIZE);
      ref = 0;
    }
    if (what == TUPLE_ERROR) return relate(worker, p, ref, is4, tuple);
    if (ref == 0) {
      if (turn != 0) { store<u32>(tuple, kind, TUPLE_KIND); hashTuple(tuple); }
      return first(worker, p, id, tuple, turn, ticks, is4);
    }
    countFlow(FLOW_STAT_FOUND);
    if (proceed(worker, p, ref, ticks)) return 0;
  }
  return invalid(worker, p);
}

function invalid(worker: usize, p: u32): u32 {
  countFlow(FLOW_STAT_INVALID);
  store<u32>(worker + (<usize>p << 2), 0, VEC_FLOW);
  store<u8>(worker + <usize>p, CT_INVALID, VEC_CTINFO);
  return 0;
}

/**
 * An ICMP error is of the flow whose packet it cites, in the direction of that packet's answers (`tuple`), if it goes to who sent that
 * packet: what goes to somebody else says nothing about a flow of theirs.
 */
function relate(worker: usize, p: u32, ref: u32, is4: bool, tuple: usize): u32 {
  if (ref == 0) return invalid(worker, p);
  const d = descriptorAt(idAt(worker, p)), l3 = <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L3);
  const isTheirs = is4 ? load<u32>(l3, 16) == load<u32>(tuple, 4) : !v128.any_true(v128.xor(v128.load(l3, 24), v128.load(tuple, 16)));
  if (!isTheirs) return invalid(worker, p);
  store<u32>(worker + (<usize>p << 2), ref, VEC_FLOW);
  store<u8>(worker + <usize>p, <u8>((ref & 1) == 0 ? CT_RELATED : CT_RELATED_REPLY), VEC_CTINFO);
  return 0;
}

@inline
function findOf(tuple: usize): u32 {
  hashTuple(tuple);
  return find(tuple);
}

/** Of a packet that is in a zone one way only: as one of that zone it is of a flow's first direction, or else of its second. `turn`: from one kind to the other, which stays in the tuple. */
function findWay(tuple: usize, kind: u32, turn: u32): u32 {
  store<u32>(tuple, kind, TUPLE_KIND);
  const there = findOf(tuple);
  if (there != 0 && (there & 1) == 0) return there;
  store<u32>(tuple, kind ^ turn, TUPLE_KIND);
  const back = findOf(tuple);
  return (back & 1) != 0 ? back : 0;
}

/** `turn`: what the kinds of its tuples differ in. */
function first(worker: usize, p: u32, id: u32, tuple: usize, turn: u32, ticks: u32, is4: bool): u32 {
  const answers = tuple + TUPLE_SIZE, d = descriptorAt(id), protocol = <u32>load<u8>(d, DESC_PROTOCOL);
  if (!invert(tuple, answers)) return invalid(worker, p);
  store<u32>(answers, load<u32>(answers, TUPLE_KIND) ^ turn, TUPLE_KIND);
  if (protocol == (is4 ? ICMP : ICMP6) && !mayBegin((load<u32>(tuple, TUPLE_PORTS) >>> 16) & 0xff, is4)) return invalid(worker, p);
  const flow = begin(tuple, answers, ticks, answers + TUPLE_SIZE);
  if (flow == 0) return DROP_FLOW_TABLE_FULL;
  const data = <usize>load<u32>(d, DESC_DATA), l4 = <u32>load<u16>(d, DESC_L4);
  if (protocol == TCP) memory.fill(coldAt(flow), 0, 32);
  if (protocol == TCP && !beginTcp(flow, data + l4, load<u32>(d, DESC_PACKET_LENGTH) - l4)) { abandon(flow); return invalid(worker, p); }
  if (protocol == SCTP && !beginSctp(flow, data + l4, endOf(d) - l4)) { abandon(flow); return invalid(worker, p); }
  // Which way a zone holds makes no difference to who was announced.
  const kind = load<u32>(tuple, TUPLE_KIND);
  store<u32>(tuple, kind | turn, TUPLE_KIND);
  if (expected(tuple, ticks, worker + WORKER_SCRATCH)) follow(flow, worker + WORKER_SCRATCH);
  store<u32>(tuple, kind, TUPLE_KIND);
  if (proceed(worker, p, flow << 1, ticks) && load<u32>(worker + (<usize>p << 2), VEC_FLOW) == 0) abandon(flow);
  return 0;
}

/** A flow that a helper has announced belongs to the one that announced it: its mark, its helper, and the translation wanted for it. */
function follow(flow: u32, expectation: usize): void {
  const hot = flowAt(flow), master = load<u32>(expectation, EXPECTATION_MASTER), extension = extend(flow);
  setStatus(hot, IPS_EXPECTED);
  store<u32>(hot, load<u32>(flowAt(master), FLOW_MARK), FLOW_MARK);
  if (extension == 0) return;
  const at = extensionAt(extension), helper = load<u16>(expectation, EXPECTATION_HELPER), announcer = load<u32>(flowAt(master), FLOW_EXTENSION);
  store<u32>(at, master, EXTENSION_MASTER);
  if (announcer != 0) store<u16>(at, load<u16>(extensionAt(announcer), EXTENSION_HELPER), EXTENSION_MASTER_HELPER);
  memory.copy(at + EXTENSION_NAT, expectation + EXPECTATION_NAT, 20);
  if (helper == 0) return;
  store<u16>(at, helper, EXTENSION_HELPER);
  setStatus(hot, IPS_HELPER);
}
