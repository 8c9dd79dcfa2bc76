/**
 * Packetization layer path MTU discovery (RFC 4821, RFC 8899) with the connection's own data, for paths that drop what
 * is too large and do not say so. Between a size that passes and one that is not known to, one segment of the size in
 * the middle goes first: acknowledged it is the new MSS, lost it bounds the search, and is no sign of congestion.
 * Sizes are bytes of payload; timestamps, where they are in use, come on top. Modes and numbers as in Linux.
 */
import type { MtuSearch } from "./mtu-search.ts";
import { optionBytes, ownMss } from "./output.ts";
import { distance } from "./sequence.ts";
import type { Tcb } from "./tcb.ts";

/** Segments that the window holds at least, so that the loss of one shows by what follows it. */
const LEAST_WINDOW = 11;

/** A window larger than this is filled by two segments at least: Linux's TCP_MSS_DEFAULT. */
const SMALL_WINDOW = 536;
const LEAST_PACKET = 68;

/**
 * Largest payload that the peer and the path, as far as anybody has told, take; not smaller than `minSendMss`. A window that was never as large as two of them is sent in
 * halves, so that it can be used to its end (Linux's tcp_bound_to_half_wnd).
 */
export function largestPayload(tcb: Tcb): number {
  const options = tcb.timestampsOk ? 12 : 0;
  const most = Math.max(Math.min(tcb.peerMss, ownMss(tcb)), tcb.world.settings.minSendMss) - options;
  const bound = tcb.maxWindow > SMALL_WINDOW ? tcb.maxWindow >>> 1 : tcb.maxWindow;
  return bound > 0 && most > bound ? Math.max(bound, LEAST_PACKET - 20 - options) : most;
}

/** Searches from `low` upwards. */
function search(tcb: Tcb, low: number): void {
  const limit = largestPayload(tcb);
  tcb.search = { low: Math.min(low, limit), high: limit, limit, size: 0, start: 0, end: 0, at: tcb.now };
}

/** The handshake is over, where the host always searches. Like Linux's, a connection that was asked for begins as the path says. */
export function beginSearch(tcb: Tcb, isActive: boolean): void {
  const { mtuProbing, baseMss } = tcb.world.settings;
  if (mtuProbing < 2) return;
  search(tcb, baseMss);
  if (isActive) tcb.mss = Math.min(tcb.mss, baseMss);
}

/**
 * The timer of a segment of `bytes` expired: nothing is learnt about a probe. When it was full-sized, and for the second
 * time, the path may be a black hole: what is smaller is tried, less and less with each second timeout (RFC 4821 §7.7).
 */
export function suspectBlackHole(tcb: Tcb, bytes: number, size: number): void {
  if (tcb.search) tcb.search.size = 0;
  const { mtuProbing, baseMss, mtuProbeFloor } = tcb.world.settings;
  if (mtuProbing === 0 || bytes < size || tcb.flight.retries % 2 === 0) return;
  const smaller = tcb.mss > baseMss ? baseMss : Math.max(tcb.mss >> 1, mtuProbeFloor);
  if (smaller >= tcb.mss) return;
  tcb.world.counters.mtu_black_holes++;
  tcb.mss = smaller;
  search(tcb, smaller);
}

/** The size of the probe that may go now, into `room` bytes of the congestion window; 0: none; below 0: as soon as there is more room. */
export function probeDue(tcb: Tcb, room: number): number {
  const { search } = tcb;
  if (!search || search.size > 0 || !isCalm(tcb) || tcb.cwnd < LEAST_WINDOW * tcb.mss) return 0;
  const size = nextSize(tcb, search);
  if (size === 0) return 0;
  // Enough behind it for a loss to show by duplicates (RFC 4821 §7.4).
  const needed = size + (tcb.reordering + 1) * tcb.mss;
  if (tcb.unsent < needed || tcb.window < needed) return 0;
  if (tcb.window - distance(tcb.nxt, tcb.una) >= needed && room >= size + tcb.mss) return size;
  return tcb.sent.pipe > 0 ? -1 : 0;
}

/** Nothing is missing in either direction, so that a loss can only be the probe's. */
function isCalm(tcb: Tcb): boolean {
  const { sent } = tcb;
  if (
    tcb.flight.inRecovery ||
    tcb.flight.afterTimeout ||
    tcb.flight.inCwr ||
    tcb.flight.probing ||
    tcb.flight.early.length > 0 ||
    tcb.hasDsack
  )
    return false;
  return sent.lostBytes === 0 && sent.sackedBytes === 0 && tcb.flight.duplicateAcks === 0;
}

/** The middle of what is not known; 0 when that is little, until it is time to ask anew. */
function nextSize(tcb: Tcb, search: MtuSearch): number {
  const { mtuProbeThreshold, mtuProbeIntervalMs } = tcb.world.settings;
  const limit = largestPayload(tcb);
  const isOver = search.high - search.low < mtuProbeThreshold && tcb.now - search.at >= mtuProbeIntervalMs;
  if (limit !== search.limit || isOver) {
    search.limit = search.high = limit;
    search.low = Math.min(search.low, limit);
    search.at = tcb.now;
  }
  let size = (search.low + search.high) >> 1;
  if (size <= tcb.mss) {
    // Segments of that size go already: should they not arrive, timeouts tell.
    search.low = Math.min(Math.max(search.low, tcb.mss), search.high);
    size = (search.low + search.high) >> 1;
  }
  return search.high - search.low < mtuProbeThreshold ? 0 : size;
}

/** Payload of a probe of this size now: options that not every segment has come off. */
export function probeLength(tcb: Tcb, size: number): number {
  return size - (optionBytes(tcb) - (tcb.timestampsOk ? 12 : 0));
}

export function probeSent(tcb: Tcb, size: number, start: number, end: number): void {
  const { search } = tcb;
  if (!search) return;
  search.size = size;
  search.start = start;
  search.end = end;
  tcb.world.counters.mtu_probes++;
}

/** Everything before `una` has arrived. */
export function noteProbeArrival(tcb: Tcb): void {
  const { search } = tcb;
  if (!search || search.size === 0 || distance(tcb.una, search.end) < 0) return;
  tcb.world.counters.mtu_probe_successes++;
  search.low = search.size;
  search.size = 0;
  search.at = tcb.now;
  tcb.mss = Math.max(tcb.mss, Math.min(search.low, largestPayload(tcb)));
}

/** True when these are the bytes of the probe under way. */
export function isProbe(tcb: Tcb, start: number): boolean {
  return tcb.search !== undefined && tcb.search.size > 0 && tcb.search.start === start;
}

/** Something was lost. True when it was the probe alone, which shows that it was too large (RFC 4821 §7.6.2). */
export function probeFailed(tcb: Tcb): boolean {
  const { search, sent } = tcb;
  if (!search || search.size === 0) return false;
  const isAlone = sent.first?.lost === true && sent.first.start === search.start && sent.lostBytes === distance(search.end, search.start);
  if (isAlone && !tcb.flight.inCwr) {
    tcb.world.counters.mtu_probe_failures++;
    search.high = search.size - 1;
    search.at = tcb.now;
  }
  search.size = 0;
  return isAlone && !tcb.flight.inCwr;
}
