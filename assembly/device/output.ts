/**
 * What a port's device gets: packets into its ring, or into a sink. A device that cannot take a packet as it is gets it
 * segmented, completed or gathered first.
 */
import {
  BURST, DESC_CSUM_OFFSET, DESC_CSUM_START, DESC_DATA, DESC_FLAGS, DESC_GSO_KIND, DESC_LENGTH, DESC_NEXT,
  DESC_MARK, DESC_PACKET_LENGTH, DROP_BAD_DESCRIPTOR, DROP_BAD_PORT, DROP_NO_BUFFER, DROP_SEGMENT_INVALID, DROP_TOO_LARGE, DROP_TX_RING_FULL,
  FLAG_ACE, FLAG_CSUM_PARTIAL, HEADER_DESCRIPTORS, HEADER_HEADROOM, HEADER_STRIDE, KIND_GENERATOR, KIND_RINGS, NONE, PORT_FLAGS, PORT_KIND,
  PORT_STAT_TX_BYTES, PORT_STAT_TX_DROPPED, PORT_STAT_TX_PACKETS, PORT_TAKES_ACE, PORT_TAKES_CHAINS, PORT_TAKES_GSO, PORT_TAKES_PARTIAL,
  STAT_COPIED_BYTES, STAT_TRANSMITTED, STAT_TRANSMITTED_BYTES, VEC_ONE, VEC_OUT,
} from "../abi";
import { privateHead } from "../core/head";
import { add64, count, descriptorAt, header, portStats } from "../core/layout";
import { drop } from "../core/packet";
import { release, takeBuffer } from "../core/pool";
import { ringPush } from "../core/ring";
import { sumChain } from "../wire/checksum";
import { segmentPacket } from "../wire/segment";
import { sinkBurst } from "./sink";

/** Sends `n` packets out of a port; `ring` is what its device takes from. */
export function output(worker: usize, port: usize, portIndex: u32, ring: usize, ids: usize, n: u32): void {
  const stats = portStats(worker, portIndex), flags = <u32>load<u16>(port, PORT_FLAGS);
  if (<u32>load<u8>(port, PORT_KIND) == KIND_GENERATOR) {
    const bytes = sinkBurst(worker, port, portIndex, ids, n);
    countSent(worker, stats, n, bytes);
    return;
  }
  if (<u32>load<u8>(port, PORT_KIND) != KIND_RINGS) { dropAll(worker, stats, ids, n, DROP_BAD_PORT); return; }
  const fits = PORT_TAKES_CHAINS | PORT_TAKES_GSO | PORT_TAKES_PARTIAL;
  const takesAll = (flags & fits) == fits && ((flags & PORT_TAKES_ACE) != 0 || !hasAce(ids, n));
  if (takesAll || isPlain(ids, n)) push(worker, stats, ring, ids, n);
  else for (let i: u32 = 0; i < n; i++) prepare(worker, stats, ring, flags, load<u32>(ids + (<usize>i << 2)));
}

/** Must a packet be segmented for a device with these flags? One that cannot take chains or open checksums cannot take a large segment either. */
export function needsSegments(d: usize, flags: u32): bool {
  if (<u32>load<u16>(d, DESC_GSO_KIND) == 0) return false;
  const large = PORT_TAKES_GSO | PORT_TAKES_CHAINS | PORT_TAKES_PARTIAL;
  return (flags & large) != large || ((flags & PORT_TAKES_ACE) == 0 && needsAce(d));
}

/** Segments a packet for a device: ids at VEC_OUT, their number; 0 when it was dropped. They come with whole checksums, and in one buffer each where chains are not taken. */
export function segmentFor(worker: usize, stats: usize, flags: u32, id: u32): u32 {
  const n = segmentPacket(worker, id, worker + VEC_OUT, 2 * BURST, (flags & PORT_TAKES_CHAINS) == 0);
  if (n >= 0) return n;
  drop(worker, id, n == -1 ? DROP_SEGMENT_INVALID : n == -2 ? DROP_NO_BUFFER : DROP_TOO_LARGE);
  add64(stats + PORT_STAT_TX_DROPPED, 1);
  return 0;
}

/** Is there a large segment whose CWR a device would take off all segments but the first? */
function hasAce(ids: usize, n: u32): bool {
  let found: bool = false;
  for (let i: u32 = 0; i < n; i++) found = needsAce(descriptorAt(load<u32>(ids + (<usize>i << 2)))) || found;
  return found;
}

@inline
function needsAce(d: usize): bool {
  return (load<u32>(d, DESC_FLAGS) & FLAG_ACE) != 0 && <u32>load<u16>(d, DESC_GSO_KIND) != 0;
}

/** True when every packet is one segment with nothing left to do. */
function isPlain(ids: usize, n: u32): bool {
  let odd: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const d = descriptorAt(load<u32>(ids + (<usize>i << 2)));
    odd |= <u32>(load<u32>(d, DESC_NEXT) != NONE) | (load<u32>(d, DESC_FLAGS) & FLAG_CSUM_PARTIAL) | <u32>load<u16>(d, DESC_GSO_KIND);
  }
  return odd == 0;
}

function push(worker: usize, stats: usize, ring: usize, ids: usize, n: u32): void {
  // Lengths are read before the other side owns the packets; what the ring refuses is taken off again.
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < n; i++) bytes += load<u32>(descriptorAt(load<u32>(ids + (<usize>i << 2))), DESC_PACKET_LENGTH);
  const sent = ringPush(ring, ids, n);
  for (let i = sent; i < n; i++) bytes -= load<u32>(descriptorAt(load<u32>(ids + (<usize>i << 2))), DESC_PACKET_LENGTH);
  countSent(worker, stats, sent, bytes);
  if (sent < n) dropAll(worker, stats, ids + (<usize>sent << 2), n - sent, DROP_TX_RING_FULL);
}

@inline
function countSent(worker: usize, stats: usize, n: u32, bytes: u64): void {
  add64(stats + PORT_STAT_TX_PACKETS, n);
  add64(stats + PORT_STAT_TX_BYTES, bytes);
  count(worker, STAT_TRANSMITTED, n);
  count(worker, STAT_TRANSMITTED_BYTES, bytes);
}

export function dropAll(worker: usize, stats: usize, ids: usize, n: u32, reason: u32): void {
  for (let i: u32 = 0; i < n; i++) drop(worker, load<u32>(ids + (<usize>i << 2)), reason);
  add64(stats + PORT_STAT_TX_DROPPED, n);
}

/** One packet for a device that lacks an offload it would need. */
function prepare(worker: usize, stats: usize, ring: usize, flags: u32, id: u32): void {
  let d = descriptorAt(id);
  if (needsSegments(d, flags)) {
    push(worker, stats, ring, worker + VEC_OUT, segmentFor(worker, stats, flags, id));
    return;
  }
  if ((load<u32>(d, DESC_FLAGS) & FLAG_CSUM_PARTIAL) != 0 && (flags & PORT_TAKES_PARTIAL) == 0) {
    // Others may hold the same bytes, still open: the checksum goes into a head of our own.
    const mine = privateHead(worker, id);
    if (mine == NONE || !completeChecksum(mine)) {
      drop(worker, mine == NONE ? id : mine, mine == NONE ? DROP_NO_BUFFER : DROP_BAD_DESCRIPTOR);
      add64(stats + PORT_STAT_TX_DROPPED, 1);
      return;
    }
    id = mine;
    d = descriptorAt(id);
  }
  if (load<u32>(d, DESC_NEXT) != NONE && (flags & PORT_TAKES_CHAINS) == 0) { gatherAndPush(worker, stats, ring, id); return; }
  const one = worker + VEC_ONE;
  store<u32>(one, id);
  push(worker, stats, ring, one, 1);
}

function gatherAndPush(worker: usize, stats: usize, ring: usize, id: u32): void {
  const one = worker + VEC_ONE;
  const whole = gather(worker, id);
  if (whole == NONE) {
    const tooLarge = load<u32>(descriptorAt(id), DESC_PACKET_LENGTH) > header(HEADER_STRIDE) - header(HEADER_HEADROOM);
    drop(worker, id, tooLarge ? DROP_TOO_LARGE : DROP_NO_BUFFER);
    add64(stats + PORT_STAT_TX_DROPPED, 1);
    return;
  }
  store<u32>(one, whole);
  push(worker, stats, ring, one, 1);
}

/** Makes a chain contiguous in one fresh buffer; the bytes are counted. NONE when it does not fit or none is free. */
export function gather(worker: usize, id: u32): u32 {
  const d = descriptorAt(id);
  if (load<u32>(d, DESC_NEXT) == NONE) return id;
  const length = load<u32>(d, DESC_PACKET_LENGTH);
  if (length > header(HEADER_STRIDE) - header(HEADER_HEADROOM)) return NONE;
  const fresh = takeBuffer(worker);
  if (fresh == NONE) return NONE;
  const f = descriptorAt(fresh);
  const start = <usize>load<u32>(f, DESC_DATA);
  let at = start;
  for (let s = id, left = header(HEADER_DESCRIPTORS); s != NONE && left != 0; left--) {
    const piece = descriptorAt(s), n = load<u32>(piece, DESC_LENGTH);
    if (<u32>(at - start) + n > length) break;
    memory.copy(at, <usize>load<u32>(piece, DESC_DATA), n);
    at += n;
    s = load<u32>(piece, DESC_NEXT);
  }
  memory.copy(f + DESC_PACKET_LENGTH, d + DESC_PACKET_LENGTH, 36);
  store<u32>(f, load<u32>(d, DESC_MARK), DESC_MARK);
  store<u32>(f, <u32>(at - start), DESC_LENGTH);
  store<u32>(f, <u32>(at - start), DESC_PACKET_LENGTH);
  count(worker, STAT_COPIED_BYTES, at - start);
  release(worker, id);
  return fresh;
}

/** Completes a checksum whose field holds only the pseudo-header's sum (csum_start, csum_offset). False when these lie outside the head. */
export function completeChecksum(id: u32): bool {
  const d = descriptorAt(id);
  const start = <u32>load<u16>(d, DESC_CSUM_START), field = start + <u32>load<u16>(d, DESC_CSUM_OFFSET);
  const total = load<u32>(d, DESC_PACKET_LENGTH);
  if (start >= total || field + 2 > load<u32>(d, DESC_LENGTH)) return false;
  store<u32>(d, load<u32>(d, DESC_FLAGS) & ~FLAG_CSUM_PARTIAL, DESC_FLAGS);
  let value = ~sumChain(id, start, total - start) & 0xffff;
  // UDP sends a computed zero as ~0 (RFC 768); for TCP the two are equal.
  if (value == 0) value = 0xffff;
  store<u16>(<usize>load<u32>(d, DESC_DATA) + field, <u16>value);
  return true;
}
