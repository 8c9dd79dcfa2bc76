/**
 * The sending half: what may go out now, and in which pieces. Lost data first, then new data as far as both windows
 * reach; Nagle with Minshall's variant, silly-window avoidance, FIN (RFC 9293 §3.7.4, §3.8.6.2.1; RFC 1122 §4.2.3.4).
 */
import { judge } from "./chronograph.ts";
import { initialWindow, sendQuantum } from "./congestion/control.ts";
import { synAckFlags, synFlags } from "./ecn.ts";
import { AT_REST } from "./flight.ts";
import { probeDue, probeLength, probeSent } from "./mtu-probe.ts";
import { optionBytes, pathOf, transmit } from "./output.ts";
import { holdsBack, noteDeparture, noteUse, setPace } from "./pacing.ts";
import type { SentRecord } from "./scoreboard.ts";
import { isCrowded } from "./send-limit.ts";
import { ACK, after, distance, FIN, later, PSH, SYN } from "./sequence.ts";
import { CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, LAST_ACK, SYN_RECEIVED, SYN_SENT } from "./states.ts";
import type { Tcb } from "./tcb.ts";
import { noteForUndo } from "./undo.ts";
import { isUrging } from "./urgent.ts";
import { userTimeout } from "./user-timeout.ts";

/** Largest unit handed down at once: what IPv4's length field leaves, in whole segments. */
const LARGEST = 65_535 - 120;
/** RFC 8985 §7.2: an ACK may be delayed this long (ms) when only one segment is in flight. */
const WORST_DELAYED_ACK = 200;
/** Data sent so soon (ms) after some was received answers it (Linux's TCP_ATO_MIN). */
const ANSWER_WITHIN = 40;
/** Timers of the sender wait this long at least (ms). */
const SOONEST = 1;
/** A peer that has thrown away what it had reported is sent it again after half a round trip, and so long (ms) at least. */
const RENEGING_MS = 10;
const PERSIST_MIN = 200;
const PERSIST_MAX = 60_000;
/** What this host itself could not send is tried again after so long (ms; Linux's TCP_RESOURCE_PROBE_INTERVAL). */
const LOCAL_RETRY = 500;

/** Sends whatever may be sent, or one unit of it, and sees to it that the right timer runs. */
export function send(tcb: Tcb, one = false): void {
  const { state } = tcb;
  const open = state === ESTABLISHED || state === CLOSE_WAIT || state === FIN_WAIT_1 || state === CLOSING || state === LAST_ACK;
  if (open || (state === SYN_RECEIVED && tcb.isFastOpened)) {
    if (tcb.unsent > 0 || tcb.finQueued !== tcb.finSent) tcb.busy();
    else if (tcb.flight === AT_REST) return;
    let sentNew = false;
    let held = false;
    const path = pathOf(tcb);
    if (tcb.sent.pipe === 0) starting(tcb);
    if (tcb.flight.triesNew) {
      tcb.flight.triesNew = false;
      sentNew = sendInsteadOfLost(tcb);
    }
    while (tcb.world.stack.hasRoom(path, tcb)) {
      held = holdsBack(tcb);
      if (held) break;
      const lost = tcb.sent.firstLost();
      if (lost && sentNew && tcb.flight.frto) break;
      if (lost ? !resend(tcb, lost) : !sendNew(tcb)) break;
      sentNew = true;
      if (one) break;
    }
    tcb.flight.heldBack = held;
    const room = congestionRoom(tcb);
    if (sentNew || room < tcb.mss) noteUse(tcb, room);
    if (tcb.accounts) judge(tcb.accounts, tcb, sentNew, room);
    arm(tcb, sentNew || tcb.flight.rearm);
    tcb.flight.rearm = false;
  }
}

/** Nothing is in flight, and something is about to be. */
function starting(tcb: Tcb): void {
  if (tcb.unsent <= 0 && tcb.sent.lostBytes === 0) return;
  tcb.control.starting?.(tcb, tcb.now);
  setPace(tcb);
}

/** F-RTO's second step (RFC 5682 §2.1): new data first, so that its acknowledgement tells whether the timeout was right. */
function sendInsteadOfLost(tcb: Tcb): boolean {
  const before = tcb.nxt;
  while (sendNew(tcb));
  if (tcb.nxt === before) tcb.flight.frto = false;
  return tcb.nxt !== before;
}

/** Bytes that the congestion window leaves. */
function congestionRoom(tcb: Tcb): number {
  return tcb.cwnd - tcb.underWay;
}

/** Retransmits a lost record, or as much of its front as the window takes. */
export function resend(tcb: Tcb, record: SentRecord, force = false): boolean {
  const { mss, sent } = tcb;
  const room = force ? mss : congestionRoom(tcb);
  const bytes = distance(record.end, record.start);
  if (room < Math.min(mss, bytes) && sent.pipe > 0) return false;
  if (record.isSyn) return resendSyn(tcb, record);
  const size = segmentSize(tcb);
  const most = Math.max(size, Math.floor(Math.min(room, unitBytes(tcb, size)) / size) * size);
  if (bytes - (record.isFin ? 1 : 0) > most) sent.split(record, (record.start + most) | 0);
  const length = distance(record.end, record.start) - (record.isFin ? 1 : 0);
  const flags = ACK | (record.isFin ? FIN : 0) | (length > size || record.pushes ? PSH : 0);
  if (!transmit(tcb, record.start, length, flags, size)) return false;
  sent.markResent(record, tcb.now, size);
  noteForUndo(tcb, record);
  noteDeparture(tcb, record);
  if (tcb.accounts) tcb.accounts.bytesResent += length;
  const segments = Math.max(1, Math.ceil(length / size));
  tcb.retransmissions += segments;
  tcb.world.counters.retrans_segs += segments;
  tcb.flight.prrOut += length;
  return true;
}

/** Data that went in our SYN and was not acknowledged with it goes again at once: no loss, only a peer that does not take it. */
export function resendSynData(tcb: Tcb): void {
  const { sent } = tcb;
  for (let record = sent.first; record; record = record.next) sent.markLost(record);
  for (let record = sent.firstLost(); record; record = sent.firstLost()) if (!resend(tcb, record, true)) return;
}

function resendSyn(tcb: Tcb, record: SentRecord): boolean {
  tcb.synRepeats++;
  tcb.rtt.synRepeated();
  const flags = tcb.state === SYN_SENT ? SYN | synFlags(tcb) : SYN | ACK | synAckFlags(tcb);
  if (!transmit(tcb, record.start, 0, flags)) return false;
  tcb.sent.markResent(record, tcb.now, tcb.mss);
  noteDeparture(tcb, record);
  tcb.retransmissions++;
  tcb.world.counters.retrans_segs++;
  return true;
}

/** Bytes by which this segment's options, a signature among them, exceed the timestamps that `mss` allows for. */
function extraOptions(tcb: Tcb): number {
  return optionBytes(tcb) - (tcb.timestampsOk ? 12 : 0);
}

/** Largest payload of a segment now; on a loopback with an MTU of 65,535 the unit is the limit. */
function segmentSize(tcb: Tcb): number {
  return Math.min(tcb.mss - extraOptions(tcb), LARGEST);
}

/**
 * Most bytes that go down as one unit, to be segmented below: what the rate gives in a millisecond, more on near paths, two
 * segments at least, and half the window at most, so that acknowledgements do not come in one burst (Linux's
 * tcp_tso_autosize). Each unit of several segments ends in PSH, so that a receiver does not wait for more of it.
 */
function unitBytes(tcb: Tcb, size: number): number {
  // A signature and an urgent pointer hold for one segment: nobody below can make several of it.
  if (tcb.md5Secret || tcb.ao || tcb.urgent?.sends) return size;
  const { srtt, min } = tcb.rtt;
  let bytes = sendQuantum(tcb);
  if (tcb.pacingRate === 0 && srtt > 0) {
    const ratio = tcb.cwnd < tcb.ssthresh / 2 ? 2 : 1.2;
    bytes = (ratio * tcb.cwnd) / (srtt * 1.024) + LARGEST / 2 ** Math.floor((min * 1000) / 512);
  }
  const least = tcb.world.settings.minTsoSegments * size;
  const half = Math.max(Math.floor(tcb.cwnd / size / 2), 1) * size;
  return Math.floor(Math.min(Math.max(bytes, least), half, LARGEST) / size) * size || size;
}

/** Sends one unit of new data, or the FIN; false when nothing may go. */
function sendNew(tcb: Tcb): boolean {
  const { sent } = tcb;
  if (tcb.finSent) return false;
  const unsent = tcb.unsent;
  if (unsent === 0 && !tcb.finQueued) return false;
  const window = tcb.window - distance(tcb.nxt, tcb.una);
  const room = congestionRoom(tcb);
  // What may share a segment: up to the end of a record.
  const joined = Math.min(unsent, toRecordEnd(tcb));
  const due = tcb.search ? probeDue(tcb, room) : 0;
  if (due < 0) return false;
  const probe = due <= joined ? due : 0;
  const size = probe > 0 ? probeLength(tcb, probe) : segmentSize(tcb);
  let length = probe > 0 ? size : Math.min(joined, window, room, unitBytes(tcb, size));
  if (unsent > 0 && length <= 0) return false;
  if (length > size) {
    const whole = length - (length % size);
    // A rest that is all there is may go along; a rest that the windows cut off waits.
    if (length !== joined || (joined === unsent && !mayBeSmall(tcb, unsent % size))) length = whole;
  } else if (length < size && (length < joined || joined === unsent) && !maySendSmall(tcb, length, unsent, room)) return false;
  const fin = tcb.finQueued && length === Math.max(unsent, 0);
  if (unsent === 0 && window < 1 && sent.first) return false;
  const start = tcb.nxt;
  const end = (start + length + (fin ? 1 : 0)) | 0;
  // The data ends here, or half the largest window was sent without a push (Linux's forced_push).
  const ends = length === joined && (joined < unsent || tcb.pushesEnd);
  const pushes = length > 0 && (ends || isMarked(tcb, end) || distance(end, tcb.pushedTo) > tcb.maxWindow / 2);
  const flags = ACK | (length > size || pushes ? PSH : 0) | (fin ? FIN : 0);
  if (!transmit(tcb, start, length, flags, size)) return false;
  if (pushes) pushed(tcb, end);
  if (!sent.first) tcb.flight.stalledSince = tcb.now;
  const record = sent.append(start, end, tcb.now, size);
  record.isFin = fin;
  record.pushes = pushes;
  if (tcb.recordEnds?.[0] === end) tcb.recordEnds.shift();
  tcb.lastSentAt = tcb.now;
  if (tcb.now - tcb.lastTextAt < ANSWER_WITHIN) tcb.pingPong = true;
  tcb.nxt = end;
  if (probe > 0) probeSent(tcb, probe, start, end);
  if (fin) tcb.finSent = true;
  if (length % size !== 0) tcb.smallEnd = end;
  noteDeparture(tcb, record);
  tcb.flight.prrOut += length;
  return true;
}

/** A window that has not been used for a timeout says nothing about the path any more (RFC 5681 §4.1). */
export function restartAfterIdle(tcb: Tcb): void {
  if (tcb.sent.first || tcb.unsent > 0 || tcb.lastSentAt === 0 || !tcb.world.settings.slowStartAfterIdle) return;
  let idle = tcb.now - tcb.lastSentAt;
  if (idle <= tcb.rtt.rto) return;
  tcb.control.idled?.(tcb, tcb.now);
  if (tcb.control.steers) return;
  // RFC 2861: half for every timeout that passed, down to where a new connection begins.
  const restart = Math.min(tcb.cwnd, tcb.options.initialWindow * tcb.mss || initialWindow(tcb.mss));
  tcb.ssthresh = Math.max(tcb.ssthresh, 0.75 * tcb.cwnd);
  for (idle -= tcb.rtt.rto; idle > 0 && tcb.cwnd > restart; idle -= tcb.rtt.rto) tcb.cwnd /= 2;
  tcb.cwnd = Math.max(tcb.cwnd, restart);
}

/** Nagle with Minshall's variant: a small segment waits only for a small one that is still unacknowledged. */
function mayBeSmall(tcb: Tcb, rest: number): boolean {
  if (isUrging(tcb)) return true;
  if (isCorked(tcb)) return rest === 0;
  if (rest === 0 || tcb.options.noDelay || tcb.finQueued) return true;
  // In a crowd the rest of what was written goes with what is written next (Linux's autocorking).
  return !after(tcb.smallEnd, tcb.una) && !(tcb.sent.first && isCrowded(tcb));
}

/** The owner wants small segments to wait (TCP_CORK, MSG_MORE); the end of the stream waits for nothing. */
function isCorked(tcb: Tcb): boolean {
  return (tcb.options.cork || tcb.more) && !tcb.finQueued && !tcb.flight.pushing && !isUrging(tcb);
}

/** Does a unit that was written to be pushed end here, or before? */
function isMarked({ pushMarks }: Tcb, end: number): boolean {
  return pushMarks !== undefined && pushMarks.length > 0 && !after(pushMarks[0], end);
}

function pushed(tcb: Tcb, end: number): void {
  tcb.pushedTo = later(tcb.pushedTo, end);
  while (isMarked(tcb, end)) tcb.pushMarks?.shift();
}

/** Bytes from what is sent next to the end of a record. */
function toRecordEnd(tcb: Tcb): number {
  const { recordEnds } = tcb;
  return recordEnds?.length ? distance(recordEnds[0], tcb.nxt) : Number.POSITIVE_INFINITY;
}

/** Less than a segment: the end of the data, if Nagle agrees; or half the largest window there ever was (RFC 1122 §4.2.3.4). */
function maySendSmall(tcb: Tcb, length: number, unsent: number, room: number): boolean {
  if (isCorked(tcb)) return false;
  if (length === unsent) return mayBeSmall(tcb, length) || !tcb.sent.first;
  // Cut by the congestion window: whole segments come with the next ACK.
  if (room === length) return !tcb.sent.first;
  return length >= tcb.maxWindow / 2 || tcb.flight.pushing;
}

// ── Timers of the sender ────────────────────────────────────────────────────────────────────────

/** Runs the timer that fits: tail-loss probe, retransmission, or persist; `restart` counts from now. */
export function arm(tcb: Tcb, restart: boolean): void {
  const { timers } = tcb.world.stack;
  if (!tcb.sent.first) {
    // A FIN for which there was no buffer is tried again, too.
    if ((tcb.unsent > 0 || tcb.finQueued !== tcb.finSent) && tcb.state >= ESTABLISHED && !tcb.flight.heldBack) armPersist(tcb);
    else {
      tcb.flight.timerMode = "none";
      timers.cancel(tcb.flight.retransmitTimer);
    }
    return;
  }
  if (restart && tcb.sent.first.sacked) {
    // It acknowledges all up to what it has reported, and not that: it has thrown it away (RFC 2018 §8, Linux's tcp_check_sack_reneging).
    tcb.flight.timerMode = "rto";
    timers.arm(tcb.flight.retransmitTimer, tcb.now + Math.max(tcb.rtt.srtt / 2, RENEGING_MS));
    return;
  }
  if (tcb.flight.timerMode === "rack" && tcb.flight.retransmitTimer.armed) return;
  if (!restart && tcb.flight.retransmitTimer.armed && (tcb.flight.timerMode === "rto" || tcb.flight.timerMode === "tlp")) return;
  if (probeFits(tcb)) {
    const oneInFlight = tcb.sent.first === tcb.sent.last && distance(tcb.nxt, tcb.una) <= tcb.mss;
    const wait = tcb.rtt.srtt > 0 ? 2 * tcb.rtt.srtt + (oneInFlight ? WORST_DELAYED_ACK : 2) : 1000;
    tcb.flight.timerMode = "tlp";
    // Never later than the timeout it takes the place of (RFC 8985 §7.2).
    timers.arm(tcb.flight.retransmitTimer, Math.max(Math.min(tcb.now + wait, tcb.sent.first.sentAt + tcb.rtt.rto), tcb.now + SOONEST));
    return;
  }
  // A timer that took the timeout's place counts as part of it (Linux's tcp_rearm_rto).
  const since = tcb.flight.timerMode === "rto" ? tcb.now : tcb.sent.first.sentAt;
  const most = userTimeout(tcb);
  const last = most > 0 ? tcb.flight.stalledSince + most : Number.POSITIVE_INFINITY;
  tcb.flight.timerMode = "rto";
  timers.arm(tcb.flight.retransmitTimer, Math.max(Math.min(since + tcb.rtt.rto, last), tcb.now + SOONEST));
}

/** RFC 8985 §7.2: a probe instead of a timeout, once, while nothing is known to be missing. */
function probeFits(tcb: Tcb): boolean {
  return (
    tcb.sackOk &&
    tcb.world.settings.tailLossProbe &&
    !tcb.flight.probing &&
    !tcb.flight.inRecovery &&
    !tcb.flight.afterTimeout &&
    tcb.sent.sackedBytes === 0 &&
    tcb.state > SYN_RECEIVED &&
    tcb.state !== SYN_SENT
  );
}

function armPersist(tcb: Tcb): void {
  if (tcb.flight.timerMode === "persist" && tcb.flight.retransmitTimer.armed) return;
  // It stands still since the first probe.
  if (tcb.flight.timerMode !== "persist") tcb.flight.stalledSince = Number.POSITIVE_INFINITY;
  tcb.flight.timerMode = "persist";
  retryAfter(tcb, Math.min(Math.max(tcb.rtt.rto * 2 ** tcb.flight.retries, PERSIST_MIN), PERSIST_MAX));
}

/** The timer that runs expires after so long instead (ms), at the latest when the user timeout is over. */
export function retryAfter(tcb: Tcb, wait: number = LOCAL_RETRY): void {
  const most = userTimeout(tcb);
  const last = most > 0 ? tcb.flight.stalledSince + most : Number.POSITIVE_INFINITY;
  tcb.world.stack.timers.arm(tcb.flight.retransmitTimer, Math.max(Math.min(tcb.now + wait, last), tcb.now + SOONEST));
}

/** An old sequence number, which must be answered (RFC 9293 §3.8.6.1); before it one that announces what is urgent. False when it could not leave. */
export function probeWindow(tcb: Tcb): boolean {
  if (isUrging(tcb)) transmit(tcb, tcb.una, 0, ACK);
  return transmit(tcb, (tcb.una - 1) | 0, 0, ACK);
}

/** A tail-loss probe: new data if the window allows it, else the last segment again (RFC 8985 §7.3). */
export function probeTail(tcb: Tcb): void {
  tcb.world.counters.loss_probes++;
  const { last } = tcb.sent;
  if (!last) return;
  tcb.flight.probing = true;
  tcb.flight.probeEnd = tcb.nxt;
  const window = tcb.window - distance(tcb.nxt, tcb.una);
  if (tcb.unsent > 0 && window >= Math.min(tcb.unsent, tcb.mss)) {
    const { cwnd } = tcb;
    tcb.cwnd = tcb.sent.pipe + tcb.mss;
    tcb.flight.probeWasRetransmission = !sendNew(tcb);
    tcb.cwnd = cwnd;
    if (!tcb.flight.probeWasRetransmission) {
      tcb.flight.probeEnd = tcb.nxt;
      return;
    }
  }
  tcb.flight.probeWasRetransmission = true;
  const { size } = last;
  const bytes = distance(last.end, last.start);
  const tail = bytes > size ? tcb.sent.split(last, (last.end - (bytes % size || size)) | 0) : last;
  resend(tcb, tail, true);
}
