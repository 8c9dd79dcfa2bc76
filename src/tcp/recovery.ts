/**
 * Acknowledgements: what they free, what they show to be lost, and how fast to go on. SACK (RFC 2018, RFC 2883),
 * RACK-TLP (RFC 8985), PRR (RFC 6937); NewReno (RFC 6582) where the peer has no SACK; Eifel detection (RFC 3522).
 */
import { emptySample } from "./congestion/control.ts";
import { reportedMarks } from "./ecn.ts";
import { AT_REST } from "./flight.ts";
import { isProbe, noteProbeArrival, probeFailed } from "./mtu-probe.ts";
import type { SackBlocks } from "./options.ts";
import { checkAppLimited, setPace } from "./pacing.ts";
import { type SentRecord, segmentsOf, sentLater } from "./scoreboard.ts";
import { after, before, distance, later } from "./sequence.ts";
import type { Tcb } from "./tcb.ts";
import { beginUndo, checkDelayed, takeDuplicate } from "./undo.ts";
import { urgentArrived } from "./urgent.ts";

/** Nothing waits shorter than this (ms): what is left of a difference of large numbers. */
const SOON = 1e-3;
/** The reordering timer waits so much longer (ms), for the granularity of clocks (Linux's TCP_TIMEOUT_MIN_US). */
const RACK_SLACK = 2;
/** Linux's tcp_max_reordering. */
const MOST_REORDERING = 300;
/** Recoveries without a D-SACK after which RACK's window is the first one (RFC 8985 §6.2 step 4). */
const REORDER_WINDOW_PERSIST = 16;
/** A path this short (ms) is this machine: the first send buffer fills it at 4 Gbit/s and more, and a larger one leaves the cache. */
export const NEAR = 0.5;
const sample = emptySample();
/** What one acknowledgement did; one is enough, acknowledgements do not nest. */
const seen = {
  delivered: 0,
  packets: 0,
  marks: 0,
  rtt: 0,
  acked: 0,
  freshAfterTimeout: false,
  repeated: false,
  lost: 0,
  reordering: 0,
  forward: 0,
};

/**
 * Takes an acknowledgement of `ack` with the SACK blocks that came along; `repeats`: without anything new, the window neither.
 * True when it acknowledged something new.
 */
export function acknowledge(tcb: Tcb, ack: number, sack: SackBlocks, repeats: boolean, tsecr: number): boolean {
  if (tcb.flight === AT_REST) {
    // Nothing can be acknowledged; a report of a duplicate or of marks is still worth reading.
    if (sack.count === 0 && !tcb.ecn) return false;
    tcb.busy();
  }
  const { sent, now } = tcb;
  const opens = tcb.una === tcb.iss;
  const isDuplicate = repeats && sent.first !== undefined;
  begin(tcb);
  const flight = distance(tcb.nxt, tcb.una);
  if (tcb.sackOk && sack.count > 0) applySack(tcb, ack, sack);
  if (after(ack, tcb.una)) advance(tcb, ack);
  else if (isDuplicate && !tcb.sackOk) {
    tcb.flight.duplicateAcks++;
    seen.delivered += Math.min(tcb.mss, sent.pipe);
  }
  if (seen.rtt > 0) tcb.rtt.sample(seen.rtt, now);
  else if (seen.acked > 0 && tcb.timestampsOk && tsecr !== 0) sampleByTimestamp(tcb, tsecr);
  if (seen.acked > 0) {
    // The timeout stays backed off until there is a measurement (RFC 6298 §5, Karn): `sample` ends that. Data begins anew (§5.7).
    if (opens && tcb.rtt.srtt === 0) tcb.rtt.reset();
    tcb.flight.retries = 0;
    tcb.flight.stalledSince = now;
    checkSpurious(tcb, tsecr);
    checkDelayed(tcb, tsecr);
    growSendSpace(tcb);
  }
  if (seen.reordering > 0) {
    tcb.reorderings++;
    tcb.reordering = Math.min(Math.max(tcb.reordering, seen.reordering), MOST_REORDERING);
  }
  if (tcb.flight.frto) judgeTimeout(tcb, ack, isDuplicate || sack.count > 0);
  if (tcb.ecn) seen.marks = reportedMarks(tcb, seen.packets, seen.delivered, seen.acked > 0 || seen.delivered > 0);
  if (tcb.flight.probing) endProbe(tcb, ack, repeats);
  if (tcb.sackOk) detectLosses(tcb);
  else detectByDuplicates(tcb, ack);
  steer(tcb, ack, flight);
  return seen.acked > 0;
}

function begin(tcb: Tcb): void {
  seen.delivered = seen.packets = seen.marks = seen.rtt = seen.acked = seen.lost = seen.reordering = 0;
  seen.freshAfterTimeout = seen.repeated = false;
  seen.forward = tcb.flight.forwardAck;
  tcb.rate.begin();
  checkAppLimited(tcb);
}

/** Cumulative part: records that are covered go. */
function advance(tcb: Tcb, ack: number): void {
  const { sent } = tcb;
  seen.acked = distance(ack, tcb.una);
  tcb.bytesAcked += seen.acked;
  for (let record = sent.first; record && before(record.start, ack); record = sent.first) {
    if (after(record.end, ack)) sent.split(record, ack);
    if (!record.sacked) arrived(tcb, record);
    sent.remove(record);
  }
  tcb.una = ack;
  if (tcb.search) noteProbeArrival(tcb);
  if (tcb.urgent) urgentArrived(tcb.urgent, ack);
  if (!tcb.sackOk) settleDuplicates(tcb, ack);
}

/** Without SACK, duplicates have counted as segments that arrived: what they stood for is not counted again. */
function settleDuplicates(tcb: Tcb, ack: number): void {
  const segments = Math.ceil(seen.acked / tcb.mss);
  seen.delivered = Math.max(seen.delivered - tcb.flight.duplicateAcks * tcb.mss, Math.min(seen.delivered, tcb.mss));
  const left = Math.max(0, tcb.flight.duplicateAcks - Math.max(segments - 1, 0));
  tcb.flight.duplicateAcks = tcb.flight.inRecovery && !before(ack, tcb.flight.recoveryEnd) ? 0 : left;
}

/** A record is known to have arrived: delivery, RTT (never of what was sent twice), RACK's newest. */
function arrived(tcb: Tcb, record: SentRecord): void {
  const { now } = tcb;
  const bytes = distance(record.end, record.start) - (record.isSyn ? 1 : 0);
  if (bytes > 0) {
    seen.delivered += bytes;
    tcb.rate.arrived(record, bytes, now);
  }
  const packets = segmentsOf(record);
  seen.packets += packets;
  tcb.packetsDelivered += packets;
  const rtt = now - record.sentAt;
  if (record.retransmitted) seen.repeated = true;
  if (!record.retransmitted) {
    seen.rtt = seen.rtt === 0 ? Math.max(rtt, 0.001) : Math.min(seen.rtt, Math.max(rtt, 0.001));
    if (tcb.flight.afterTimeout && record.lost) seen.freshAfterTimeout = true;
  } else if (rtt < tcb.rtt.min) return;
  // Sent later than the newest known to have arrived (RFC 8985 §6.2 step 2).
  tcb.flight.rackRtt = rtt;
  if (sentLater(record.order, record.end, tcb.flight.rackOrder, tcb.flight.rackEnd)) {
    tcb.flight.rackTime = record.sentAt;
    tcb.flight.rackOrder = record.order;
    tcb.flight.rackEnd = record.end;
  }
  // Step 3: something older than what had arrived before this acknowledgement was never sent twice, so the network reorders.
  if (before(record.end, seen.forward) && !record.retransmitted) {
    const degree = Math.ceil(distance(seen.forward, record.start) / tcb.mss);
    if (degree > seen.reordering) seen.reordering = degree;
  }
  tcb.flight.forwardAck = later(tcb.flight.forwardAck, record.end);
}

function applySack(tcb: Tcb, ack: number, sack: SackBlocks): void {
  const { edges, count } = sack;
  for (let i = 0; i < count; i++) {
    const start = edges[2 * i];
    const end = edges[2 * i + 1];
    // Not a range, or one that was never sent: ignored (RFC 2018 §8 with RFC 5961's caution).
    if (!after(end, start) || after(end, tcb.nxt)) continue;
    if (i === 0 && isDsack(ack, start, end, sack)) {
      tcb.world.counters.dsack_received++;
      if (tcb.accounts) tcb.accounts.duplicateReports++;
      // The probe is the timer's doing: its duplicate says nothing of RACK's patience.
      if (tcb.flight.probing && end === tcb.flight.probeEnd && distance(end, start) <= tcb.mss) tcb.flight.probeCameTwice = true;
      else widenReorderWindow(tcb);
      takeDuplicate(tcb, start, end);
      continue;
    }
    if (before(start, tcb.una)) continue;
    markSacked(tcb, start, end);
  }
}

/** RFC 2883 §4: the first block repeats what is acknowledged already, or what a later block holds. */
function isDsack(ack: number, start: number, end: number, sack: SackBlocks): boolean {
  if (!after(end, ack) || before(start, ack)) return true;
  return sack.count > 1 && !before(start, sack.edges[2]) && !after(end, sack.edges[3]);
}

function markSacked(tcb: Tcb, start: number, end: number): void {
  const { sent } = tcb;
  for (let record = sent.first; record && before(record.start, end); record = record.next) {
    if (record.sacked || !after(record.end, start)) continue;
    // A segment that is SACKed in part is not: records are cut between segments only, however fine the blocks are.
    const bytes = distance(record.end, record.start);
    const { size } = record;
    const from = Math.ceil(Math.max(0, distance(start, record.start)) / size) * size;
    if (from >= bytes) continue;
    if (from > 0) {
      sent.split(record, (record.start + from) | 0);
      continue;
    }
    if (after(record.end, end)) {
      const whole = Math.floor(distance(end, record.start) / size) * size;
      if (whole === 0) continue;
      sent.split(record, (record.start + whole) | 0);
    }
    arrived(tcb, record);
    sent.markSacked(record);
  }
}

/**
 * Room for four times what the path holds (rate × smallest RTT), so that slow start can double: a long path gets its
 * window, a short one keeps its data in the cache (loopback over real segments: 13.6 Gbit/s with 1 MiB, 19.6 with 256 KiB).
 */
function growSendSpace(tcb: Tcb): void {
  const elapsed = tcb.now - tcb.flight.spaceAt;
  if (elapsed < tcb.rtt.srtt || elapsed <= 0 || tcb.rtt.min < NEAR) return;
  const rate = (tcb.bytesAcked - tcb.flight.spaceMark) / elapsed;
  const wanted = 4 * rate * Math.min(tcb.rtt.min, tcb.rtt.srtt);
  if (wanted > tcb.sendSpace) tcb.sendSpace = Math.min(wanted, tcb.options.sendBuffer);
  tcb.flight.spaceAt = tcb.now;
  tcb.flight.spaceMark = tcb.bytesAcked;
}

function sampleByTimestamp(tcb: Tcb, tsecr: number): void {
  const rtt = distance(tcb.tsval, tsecr);
  if (rtt >= 0 && rtt < 600_000) tcb.rtt.sample(Math.max(rtt, 0.5), tcb.now);
}

/** RACK: whatever was sent long enough before something that arrived is lost (RFC 8985 §6.2 step 5). */
export function detectLosses(tcb: Tcb): void {
  const { sent, now } = tcb;
  const wait = reorderWindow(tcb);
  let soonest = 0;
  for (let record = sent.first; record; record = record.next) {
    if (!record.retransmitted && record.sentAt > tcb.flight.rackTime) break;
    if (record.sacked || record.lost) continue;
    if (!sentLater(tcb.flight.rackOrder, tcb.flight.rackEnd, record.order, record.end)) continue;
    const left = record.sentAt + tcb.flight.rackRtt + wait - now;
    if (left < SOON) lose(tcb, record);
    else soonest = Math.max(soonest, left);
  }
  if (soonest > 0) {
    tcb.flight.timerMode = "rack";
    tcb.world.stack.timers.arm(tcb.flight.retransmitTimer, now + soonest + RACK_SLACK);
  } else if (tcb.flight.timerMode === "rack") {
    tcb.flight.timerMode = "none";
    tcb.world.stack.timers.cancel(tcb.flight.retransmitTimer);
  }
}

/** RFC 8985 §6.2 step 4: something was sent again for nothing, so there is more patience; once in a round trip. */
function widenReorderWindow(tcb: Tcb): void {
  if (tcb.bytesAcked <= tcb.dsackRound) return;
  tcb.dsackRound = tcb.bytesAcked + distance(tcb.nxt, tcb.una);
  tcb.reorderWindowMult++;
  tcb.reorderWindowPersist = REORDER_WINDOW_PERSIST;
}

/** A recovery is over; after so many without such news patience is what it was at first. */
function narrowReorderWindow(tcb: Tcb): void {
  if (tcb.reorderWindowMult > 1 && --tcb.reorderWindowPersist <= 0) tcb.reorderWindowMult = 1;
}

/** §6.2 step 4: no patience when three segments beyond arrived and the network never reordered. */
function reorderWindow(tcb: Tcb): number {
  if (tcb.reorderings === 0 && (tcb.flight.inRecovery || tcb.sent.sackedSegments >= tcb.reordering)) return 0;
  const { min, srtt } = tcb.rtt;
  return Number.isFinite(min) ? Math.min((tcb.reorderWindowMult * min) / 4, srtt) : 0;
}

/** RFC 6582: three duplicates, or a partial acknowledgement during recovery, name the first segment lost. */
function detectByDuplicates(tcb: Tcb, ack: number): void {
  const { sent } = tcb;
  const { first } = sent;
  if (!first || first.lost) return;
  const partial = tcb.flight.inRecovery && seen.acked > 0 && before(ack, tcb.flight.recoveryEnd);
  if (!partial && (tcb.flight.inRecovery || tcb.flight.afterTimeout || tcb.flight.duplicateAcks < tcb.reordering)) return;
  if (distance(first.end, first.start) > first.size) sent.split(first, (first.start + first.size) | 0);
  lose(tcb, first);
}

/** A record is deemed lost. */
function lose(tcb: Tcb, record: SentRecord): void {
  if (record.lost || record.sacked) return;
  const bytes = distance(record.end, record.start);
  tcb.sent.markLost(record);
  if (isProbe(tcb, record.start)) return;
  seen.lost += bytes;
  tcb.rate.lost += bytes;
  tcb.control.segmentLost?.(tcb, record, bytes);
}

/**
 * The tail-loss probe's answer (RFC 8985 §7.4.2): the probe came twice, or an acknowledgement repeats itself for it, so nothing
 * was lost; an acknowledgement of more without either says that the probe repaired a loss, and that loss counts.
 */
function endProbe(tcb: Tcb, ack: number, repeats: boolean): void {
  const { flight } = tcb;
  if (before(ack, flight.probeEnd)) return;
  const isSettled = !flight.probeWasRetransmission || flight.probeCameTwice;
  if (!isSettled && !after(ack, flight.probeEnd)) {
    if (repeats && seen.acked === 0 && seen.delivered === 0) flight.probing = false;
    return;
  }
  flight.probing = flight.probeCameTwice = false;
  if (isSettled || flight.inRecovery) return;
  reduce(tcb);
  if (tcb.control.steers) tcb.control.recovered?.(tcb, tcb.now);
  else tcb.cwnd = tcb.ssthresh;
}

/** Into recovery, through it and out of it; and the window meanwhile. */
function steer(tcb: Tcb, ack: number, flight: number): void {
  const { sent, control } = tcb;
  if ((tcb.flight.inRecovery || tcb.flight.afterTimeout || tcb.flight.inCwr) && !before(ack, tcb.flight.recoveryEnd)) {
    if (reducesFor(tcb)) tcb.cwnd = tcb.ssthresh;
    if (!tcb.flight.inCwr || tcb.flight.inRecovery) control.recovered?.(tcb, tcb.now);
    if (!tcb.flight.inCwr || tcb.flight.inRecovery) narrowReorderWindow(tcb);
    tcb.flight.inRecovery = tcb.flight.afterTimeout = tcb.flight.inCwr = false;
  }
  if (sent.lostBytes > 0 && !tcb.flight.inRecovery && !tcb.flight.afterTimeout) {
    if (probeFailed(tcb)) shrink(tcb, tcb.mss);
    else enterRecovery(tcb, flight);
  }
  if (seen.marks > 0 && !tcb.flight.inRecovery && !tcb.flight.afterTimeout && !tcb.flight.inCwr) enterCwr(tcb, flight);
  if (seen.delivered > 0 || seen.lost > 0) tell(tcb, ack);
  if (reducesFor(tcb)) proportional(tcb);
  setPace(tcb);
}

/** The window falls now, and it is not the controller that sees to it. */
function reducesFor(tcb: Tcb): boolean {
  const { steers, usesEcn } = tcb.control;
  return !steers && (tcb.flight.inRecovery || (tcb.flight.inCwr && !usesEcn));
}

/** Routers have marked: the window falls as for a loss, once in a round trip, and the peer is told (RFC 3168 §6.1.2). */
function enterCwr(tcb: Tcb, flight: number): void {
  if (!tcb.control.usesEcn) reduce(tcb);
  tcb.flight.inCwr = true;
  if (tcb.ecn) tcb.ecn.slowedDown = true;
  beginReduction(tcb, flight);
}

function enterRecovery(tcb: Tcb, flight: number): void {
  tcb.world.counters.fast_retrans++;
  // A window that marks have halved in this round trip is not reduced again.
  if (!tcb.flight.inCwr || tcb.control.usesEcn) {
    reduce(tcb);
    beginUndo(tcb);
  }
  tcb.flight.inCwr = false;
  tcb.flight.inRecovery = true;
  if (tcb.ecn) tcb.ecn.slowedDown = true;
  beginReduction(tcb, flight);
}

function beginReduction(tcb: Tcb, flight: number): void {
  // The window falls already, whatever the probe's answer will be.
  tcb.flight.probing = tcb.flight.probeCameTwice = false;
  tcb.flight.recoveryEnd = tcb.nxt;
  tcb.flight.prrDelivered = 0;
  tcb.flight.prrOut = 0;
  tcb.flight.recoverFlight = Math.max(flight, tcb.mss);
}

function reduce(tcb: Tcb): void {
  const target = tcb.control.reduce(tcb, tcb.now);
  if (!tcb.control.steers) tcb.ssthresh = target;
}

/** Proportional rate reduction (RFC 6937 §3, RFC 9937). */
function proportional(tcb: Tcb): void {
  const pipe = tcb.underWay;
  tcb.flight.prrDelivered += seen.delivered;
  let count: number;
  if (pipe > tcb.ssthresh) count = Math.ceil((tcb.flight.prrDelivered * tcb.ssthresh) / tcb.flight.recoverFlight) - tcb.flight.prrOut;
  else {
    // RFC 9937's safe acknowledgement: it moved on, and nothing more is lost.
    const isSafe = seen.acked > 0 && seen.lost === 0;
    const limit = Math.max(tcb.flight.prrDelivered - tcb.flight.prrOut, seen.delivered) + (isSafe ? tcb.mss : 0);
    count = Math.min(tcb.ssthresh - pipe, limit);
  }
  // The first retransmission always goes (§3: "fast retransmit").
  if (tcb.flight.prrOut === 0 && tcb.flight.inRecovery) count = Math.max(count, tcb.mss);
  tcb.cwnd = Math.max(pipe + Math.max(count, 0), tcb.mss);
}

/** The controller hears of it. */
function tell(tcb: Tcb, ack: number): void {
  sample.now = tcb.now;
  sample.delivered = seen.delivered;
  sample.rtt = seen.rtt;
  sample.srtt = tcb.rtt.srtt;
  sample.minRtt = tcb.rtt.min;
  sample.lost = seen.lost;
  sample.ce = seen.marks > 0 ? Math.min(seen.delivered, tcb.ecn?.isAccurate ? seen.marks * tcb.mss : seen.delivered) : 0;
  sample.inRecovery = tcb.flight.inRecovery;
  sample.ackSeq = ack;
  sample.sendSeq = tcb.nxt;
  tcb.rate.finish(sample, tcb.rtt.min);
  // What only SACK reports does not open the window, unless the network is known to reorder (Linux's tcp_may_raise_cwnd).
  if (tcb.control.steers || seen.acked > 0 || tcb.reorderings > 0) tcb.control.acked(tcb, sample);
}

// ── Timeout ─────────────────────────────────────────────────────────────────────────────────────

/** The retransmission timer expired (RFC 6298 §5.4–5.7, RFC 5681 §3.1): everything unacknowledged counts as lost. */
export function timedOut(tcb: Tcb): void {
  const { sent } = tcb;
  tcb.world.counters.timeouts++;
  if (tcb.accounts) tcb.accounts.timeouts++;
  seen.lost = 0;
  if (!tcb.flight.afterTimeout) {
    // Within a recovery it is the same congestion (Linux's tcp_enter_loss).
    if (!tcb.flight.inRecovery) {
      reduce(tcb);
      beginUndo(tcb);
    }
    tcb.flight.recoveryEnd = tcb.nxt;
    tcb.flight.timeoutStamp = tcb.tsval || 1;
  }
  const wasRecovering = tcb.flight.inRecovery;
  tcb.control.timedOut(tcb, tcb.now);
  tcb.flight.inRecovery = tcb.flight.inCwr = false;
  tcb.flight.afterTimeout = true;
  tcb.flight.frto = tcb.world.settings.frto && (tcb.sackOk || !wasRecovering);
  tcb.flight.triesNew = false;
  tcb.flight.probing = tcb.flight.probeCameTwice = false;
  tcb.flight.duplicateAcks = 0;
  // A receiver that threw away what it had SACKed shows by not acknowledging the first (RFC 2018 §8).
  if (sent.first?.sacked) {
    sent.forgetSacks();
    tcb.flight.frto = false;
  }
  for (let record = sent.first; record; record = record.next) lose(tcb, record);
  tcb.cwnd = tcb.mss;
  tcb.flight.retries++;
}

/**
 * F-RTO, with SACK (RFC 5682 §3.1) and without (§2.1): what was sent once and deemed lost has arrived, so the timeout was wrong; new data sent
 * instead of old brings duplicates, so it was right.
 */
function judgeTimeout(tcb: Tcb, ack: number, isDuplicate: boolean): void {
  if (!tcb.flight.afterTimeout) {
    tcb.flight.frto = false;
    return;
  }
  // Without SACK an acknowledgement of both may be the repetition's: the rest had come before.
  if (seen.freshAfterTimeout && (tcb.sackOk || !seen.repeated)) {
    undoTimeout(tcb);
    return;
  }
  if (after(tcb.nxt, tcb.flight.recoveryEnd)) {
    if (isDuplicate) tcb.flight.frto = false;
  } else if (seen.acked > 0 && before(ack, tcb.flight.recoveryEnd)) {
    tcb.flight.recoveryEnd = tcb.nxt;
    tcb.flight.triesNew = tcb.unsent > 0 && tcb.window > distance(tcb.nxt, ack);
    if (!tcb.flight.triesNew) tcb.flight.frto = false;
  }
}

function undoTimeout(tcb: Tcb): void {
  tcb.world.counters.spurious_rtos++;
  tcb.flight.afterTimeout = tcb.flight.frto = false;
  for (let record = tcb.sent.first; record; record = record.next) if (record.lost) tcb.sent.unmarkLost(record);
  tcb.control.undone(tcb);
}

/** Eifel (RFC 3522): the first acknowledgement after a timeout echoes a time before it, so the original had arrived. */
function checkSpurious(tcb: Tcb, tsecr: number): void {
  if (!tcb.flight.afterTimeout || !tcb.timestampsOk || tcb.flight.timeoutStamp === 0) return;
  const stamp = tcb.flight.timeoutStamp;
  tcb.flight.timeoutStamp = 0;
  if (tsecr === 0 || distance(tsecr, stamp) >= 0) return;
  undoTimeout(tcb);
}

/** The time that reordering was allowed is over (RFC 8985 §6.3). */
export function rackExpired(tcb: Tcb): void {
  begin(tcb);
  const flight = distance(tcb.nxt, tcb.una);
  detectLosses(tcb);
  steer(tcb, tcb.una, flight);
}

/** The path takes less than was thought (RFC 1191 §6.5): what is too large goes again, and nobody is to blame. */
export function shrink(tcb: Tcb, mss: number): void {
  tcb.cwnd = Math.max(tcb.cwnd, 2 * mss);
  tcb.mss = mss;
  for (let record = tcb.sent.first; record; record = record.next) {
    if (Math.min(distance(record.end, record.start), record.size) > mss && !record.sacked) tcb.sent.markLost(record);
  }
  if (tcb.sent.lostBytes > 0 && !tcb.flight.inRecovery && !tcb.flight.afterTimeout) {
    tcb.flight.inRecovery = true;
    tcb.flight.recoveryEnd = tcb.nxt;
    tcb.ssthresh = Math.min(tcb.ssthresh, tcb.cwnd);
    tcb.flight.prrDelivered = tcb.flight.prrOut = 0;
    tcb.flight.recoverFlight = Math.max(distance(tcb.nxt, tcb.una), mss);
  }
}
