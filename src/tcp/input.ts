/**
 * A segment arrives: RFC 9293 §3.10.7, in its order of steps, with RFC 5961's defences, RFC 7323's PAWS and RFC 2883's
 * reports. The segment stands in the stack's transport record.
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import { initialWindow } from "./congestion/control.ts";
import {
  arrival,
  noteArrival,
  noteDuplicate as noteEcnDuplicate,
  reflecting,
  synAckFlags,
  takeSyn,
  takeSynAck,
  takeSynAgain,
  takeThirdAck,
} from "./ecn.ts";
import { awaitFin, destroy, peerOf, release, stopTimers } from "./end.ts";
import { AT_REST } from "./flight.ts";
import { isGenuineFor, type Signing } from "./genuine.ts";
import { beginKeepAlive } from "./keepalive.ts";
import { beginSearch, largestPayload } from "./mtu-probe.ts";
import { noCounters, readOptions, SackBlocks, type SynOptions } from "./options.ts";
import { announcedMss, transmit } from "./output.ts";
import { acknowledgeSoon, freeSpace, giveBack, reportDuplicate, takeData, worthTelling } from "./receiver.ts";
import { acknowledge } from "./recovery.ts";
import type { Segment } from "./segment.ts";
import { sendLimit } from "./send-limit.ts";
import { resendSynData, send } from "./sender.ts";
import { ACK, after, before, distance, FIN, later, PSH, RST, SYN, URG } from "./sequence.ts";
import { CLOSE_WAIT, CLOSED, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, SYN_RECEIVED, SYN_SENT, TIME_WAIT } from "./states.ts";
import type { Tcb } from "./tcb.ts";
import { takeUrgent } from "./urgent.ts";
import { takeUserTimeout } from "./user-timeout.ts";

/** RFC 7323 §5.5: a timestamp older than this says nothing. */
const TIMESTAMP_LIFE = 24 * 24 * 3600 * 1000;
export const QUICK_ACKS = 16;
/** A segment of so many bytes is a full one even when it ends a write: RFC 9293 §3.7.1's default, without options. */
const LEAST_FULL = 524;
/** Linux's TCP_MIN_MSS. */
const LEAST_MSS = 88;
const ANSWER_MS = 500;

export const options: SynOptions = {
  mss: 0,
  windowScale: -1,
  sackPermitted: false,
  timestamps: false,
  tsval: 0,
  tsecr: 0,
  cookie: undefined,
  counters: arrival.counters,
  signature: 0,
  userTimeout: 0,
  authentication: 0,
};
export const sack = new SackBlocks();

/** The segment in hand, read once. */
const segment: Segment = { seq: 0, ack: 0, flags: 0, window: 0, offset: 0, length: 0, hasTimestamps: false, tsval: 0, tsecr: 0, piece: 0 };

/** Reads the record (and the options, when there are others than timestamps). */
export function readSegment(words: Int32Array, bytes: Uint8Array): Segment {
  segment.seq = words[abi.SEG_SEQUENCE / 4];
  segment.ack = words[abi.SEG_ACKNOWLEDGEMENT / 4];
  segment.flags = words[abi.SEG_FLAGS / 4];
  segment.window = words[abi.SEG_WINDOW / 4];
  segment.offset = words[abi.SEG_PAYLOAD / 4];
  segment.length = words[abi.SEG_PAYLOAD_LENGTH / 4];
  segment.piece = words[abi.SEG_PIECE / 4];
  const kinds = words[abi.SEG_OPTION_KINDS / 4];
  segment.hasTimestamps = (kinds & abi.SEG_TIMESTAMPS) !== 0;
  segment.tsval = words[abi.SEG_TSVAL / 4];
  segment.tsecr = words[abi.SEG_TSECR / 4];
  sack.count = 0;
  options.mss = 0;
  options.windowScale = -1;
  options.sackPermitted = options.timestamps = false;
  options.cookie = undefined;
  options.signature = options.userTimeout = options.authentication = 0;
  arrival.flags = segment.flags;
  arrival.isHandshake = false;
  arrival.field = (words[abi.SEG_TRAFFIC_CLASS >> 2] >>> 16) & 3;
  if (arrival.hasCounters) noCounters(arrival.counters);
  arrival.hasCounters = (kinds & abi.SEG_OTHER_OPTIONS) !== 0;
  if (kinds & abi.SEG_OTHER_OPTIONS) {
    readOptions(bytes, words[abi.SEG_OPTIONS / 4], words[abi.SEG_OPTIONS_LENGTH / 4], options, sack);
    if (options.timestamps) {
      segment.hasTimestamps = true;
      segment.tsval = options.tsval;
      segment.tsecr = options.tsecr;
    }
  }
  return segment;
}

/** What the handshake's options settle, for both roles. */
export function agree(tcb: Tcb): void {
  const own = tcb.options;
  if (options.userTimeout > 0) takeUserTimeout(tcb, options.userTimeout);
  tcb.scaleOffered = options.windowScale >= 0;
  if (own.windowScaling && tcb.scaleOffered) tcb.sendScale = options.windowScale;
  else tcb.receiveScale = 0;
  tcb.sackOk = own.sack && options.sackPermitted;
  tcb.timestampsOk = own.timestamps && segment.hasTimestamps;
  if (tcb.timestampsOk) {
    tcb.tsRecent = segment.tsval;
    tcb.tsRecentAt = tcb.now;
  }
  if (!(own.windowScaling && tcb.scaleOffered)) tcb.receiveSpace = Math.min(tcb.receiveSpace, 65_535);
  // RFC 6691: the MSS option leaves out options, so what every segment carries comes off in `largestPayload`.
  tcb.peerMss = options.mss || (tcb.remote.family === 4 ? 536 : 1220);
  tcb.mss = largestPayload(tcb);
  beginSearch(tcb, tcb.state === SYN_SENT);
  // What was seen, not what was promised, tells how large segments are (Linux's tcp_initialize_rcv_mss).
  tcb.receivedMss = Math.min(tcb.mss, 536);
  tcb.cwnd = tcb.options.initialWindow * tcb.mss || initialWindow(tcb.mss);
}

export function receive(tcb: Tcb, id: number): void {
  const { stack } = tcb.world;
  const s = readSegment(stack.words, stack.engine.memory.u8);
  if (tcb.options.minHopLimit !== 0 && tcb.world.isFromAfar(tcb.options.minHopLimit)) return;
  if ((tcb.md5Secret ?? tcb.ao) !== undefined || (options.signature | options.authentication) !== 0) {
    if (!isGenuineFor(tcb, tcb, tcb.state === SYN_SENT, stack, id, s, options, tcb.world.counters)) return;
  }
  tcb.accounts?.arrived(s.length, s.piece);
  if (tcb.state === SYN_SENT) {
    receiveInSynSent(tcb, id);
    return;
  }
  if (!isFresh(tcb)) return;
  if (tcb.state === SYN_RECEIVED && (s.flags & (SYN | ACK)) === (SYN | ACK) && s.seq === tcb.irs) {
    // The other half of a simultaneous open: its SYN is known, its acknowledgement is not.
    reportDuplicate(tcb, s.seq, (s.seq + 1) | 0);
    tcb.ackNow = true;
    s.seq = (s.seq + 1) | 0;
    s.flags &= ~SYN;
  }
  const { flags } = s;
  if (tcb.ecn && flags & SYN && s.seq === tcb.irs) takeSynAgain(tcb, flags, arrival.field);
  if (!isAcceptable(tcb)) {
    if (flags & RST) return;
    if (tcb.state === SYN_RECEIVED && flags & SYN && s.seq === tcb.irs) transmit(tcb, tcb.iss, 0, SYN | ACK | synAckFlags(tcb));
    else if (flags & SYN && s.seq === tcb.irs && tcb.ecn?.isAccurate) answerSynAck(tcb);
    else if (flags & SYN) challenge(tcb);
    else {
      if (s.length > 0) noteDuplicate(tcb);
      if (tcb.ecn) noteArrival(tcb, s.length, 1);
      answer(tcb);
      // The acknowledgement itself may be news, even behind a closed window (RFC 9293 §3.10.7.4).
      if (s.seq === tcb.received && flags & ACK) takeAck(tcb);
      tcb.rest();
    }
    return;
  }
  if (flags & RST) {
    receiveReset(tcb);
    return;
  }
  if (flags & SYN) {
    challenge(tcb);
    return;
  }
  if (!(flags & ACK)) return;
  if (tcb.una === tcb.iss && !finishHandshake(tcb)) return;
  if (tcb.ecn && noteArrival(tcb, s.length, Math.max(1, Math.ceil(s.length / Math.max(s.piece, 1))))) tcb.ackNow = true;
  const unaBefore = tcb.una;
  if (!takeAck(tcb)) return;
  if (options.userTimeout > 0) takeUserTimeout(tcb, options.userTimeout);
  if (flags & URG || tcb.urgent) takeUrgent(tcb, id, s);
  const moved = s.length > 0 ? takeText(tcb, id) : 0;
  // Data for nobody has ended it, and was answered.
  if ((tcb.state as number) === CLOSED) return;
  if (flags & FIN) takeFin(tcb);
  const ended = processFin(tcb);
  acknowledgeWhenDue(tcb, moved);
  send(tcb);
  if (tcb.ackNow) transmit(tcb, tcb.nxt, 0, ACK);
  if (tcb.wantsRoom && tcb.una !== unaBefore) tellRoom(tcb);
  tcb.rest();
  if (moved > 0 || ended) tcb.events.readable?.();
}

// ── Before anything is believed ─────────────────────────────────────────────────────────────────

/** What signs a reset of this connection; before both initial sequence numbers are known nothing can but MD5. */
function signingOf(tcb: Tcb): Signing | undefined {
  const { ao } = tcb;
  if (!ao || tcb.state === SYN_SENT) return tcb.md5Secret;
  return { authenticate: (stack, seq) => ao.authenticate(stack, tcb, seq, false) };
}

/** PAWS (RFC 7323 §5.3): a timestamp that went back belongs to an old incarnation. */
function isFresh(tcb: Tcb): boolean {
  if (!tcb.timestampsOk || segment.flags & RST) return true;
  // RFC 7323 §3.2 would have a segment without the option that was agreed on dropped; like Linux we take it: boxes on the way lose options.
  if (!segment.hasTimestamps) return true;
  if (!before(segment.tsval, tcb.tsRecent) || tcb.now - tcb.tsRecentAt > TIMESTAMP_LIFE) return true;
  tcb.world.counters.paws_rejected++;
  noteDuplicate(tcb);
  answer(tcb);
  return false;
}

/** RFC 9293 §3.10.7.4, first step, over the window that was announced. */
function isAcceptable(tcb: Tcb): boolean {
  const { seq, flags, length } = segment;
  const window = Math.max(0, distance(tcb.announced, tcb.received));
  const size = length + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
  const offset = distance(seq, tcb.received);
  // At the right edge, too: the peer has nothing it may send, and acknowledges from there (Linux's tcp_sequence).
  if (size === 0) return offset >= 0 && offset <= window;
  // A FIN alone takes no room, and stacks that send it into a shut window would repeat it until that opens (as Linux has it).
  if (window === 0) return offset === 0 && length === 0 && (flags & FIN) !== 0;
  return offset < window && offset + size > 0;
}

function noteDuplicate(tcb: Tcb): void {
  noteEcnDuplicate(tcb);
  const end = (segment.seq + segment.length) | 0;
  if (segment.length > 0 && !after(end, tcb.received)) reportDuplicate(tcb, segment.seq, end);
  tcb.pingPong = false;
  tcb.quickAcks = Math.max(tcb.quickAcks, 2);
}

/** The end of all that arrived: a peer that resets from there has not seen our acknowledgements (Linux takes it, too). */
function rightEdge(tcb: Tcb): number {
  const { early } = tcb.flight;
  return tcb.sackOk && early.length > 0 ? early[early.length - 1].end : tcb.received;
}

/** RFC 5961 §3.2: only the exact sequence number resets; anything else in the window is asked to prove itself. */
function receiveReset(tcb: Tcb): void {
  if (segment.seq !== tcb.received && segment.seq !== rightEdge(tcb)) {
    challenge(tcb);
    return;
  }
  const refused = tcb.state === SYN_RECEIVED && !tcb.listener;
  destroy(tcb, refused ? refusal(tcb) : new LoomError("ECONNRESET", `${peerOf(tcb)} reset the connection`));
}

function refusal(tcb: Tcb): LoomError {
  return new LoomError("ECONNREFUSED", `${peerOf(tcb)} refused the connection`);
}

/**
 * Says what is expected to somebody who sent something else. To segments without text only every half second: two ends
 * that disagree would otherwise answer each other's answers for ever (Linux's tcp_invalid_ratelimit).
 */
function answer(tcb: Tcb): void {
  if (segment.length === 0 && !mayAnswer(tcb)) return;
  transmit(tcb, tcb.nxt, 0, ACK);
}

function mayAnswer(tcb: Tcb): boolean {
  if (tcb.now - tcb.lastAnswerAt < ANSWER_MS) return false;
  tcb.lastAnswerAt = tcb.now;
  return true;
}

/** The SYN-ACK came again, so our answer to it was lost: the same answer (RFC 9768 §3.2.2.1). */
function answerSynAck(tcb: Tcb): void {
  if (mayAnswer(tcb)) transmit(tcb, tcb.nxt, 0, ACK | reflecting(tcb));
}

/** RFC 5961 §7 wants a limit: each connection has its own. One that all share tells strangers what others do (CVE-2016-5696). */
function challenge(tcb: Tcb): void {
  if (!mayAnswer(tcb)) return;
  tcb.world.counters.challenge_acks++;
  transmit(tcb, tcb.nxt, 0, ACK);
}

// ── Handshake ───────────────────────────────────────────────────────────────────────────────────

/** §3.10.7.3. */
function receiveInSynSent(tcb: Tcb, id: number): void {
  const { seq, ack, flags } = segment;
  const { stack } = tcb.world;
  const hasAck = (flags & ACK) !== 0;
  if (hasAck && (!after(ack, tcb.iss) || after(ack, tcb.nxt) || !isEchoOurs(tcb))) {
    if (!(flags & RST)) tcb.world.resetUnknown(flags, signingOf(tcb));
    return;
  }
  if (flags & RST) {
    if (hasAck) destroy(tcb, refusal(tcb));
    return;
  }
  if (!(flags & SYN)) return;
  tcb.irs = seq;
  tcb.received = tcb.lastAckSent = (seq + 1) | 0;
  agree(tcb);
  tcb.announced = (tcb.received + freeSpace(tcb)) | 0;
  if (!hasAck) {
    // Simultaneous open: both SYNs cross.
    tcb.state = SYN_RECEIVED;
    tcb.window = segment.window;
    takeSyn(tcb, flags, arrival.field);
    transmit(tcb, tcb.iss, 0, SYN | ACK | synAckFlags(tcb));
    tcb.answeredSyn = true;
    return;
  }
  takeSynAck(tcb, flags, arrival.field);
  arrival.isHandshake = true;
  sack.count = 0;
  acknowledge(tcb, ack, sack, false, segment.tsecr);
  tcb.window = segment.window;
  establish(tcb);
  acknowledgeSoon(tcb);
  if (tcb.asked || tcb.synData > 0) learnFastOpen(tcb);
  segment.seq = (seq + 1) | 0;
  if (flags & URG) takeUrgent(tcb, id, segment);
  if (segment.length > 0) takeText(tcb, id);
  if (flags & FIN) takeFin(tcb);
  const ended = processFin(tcb);
  if (tcb.ecn?.isAccurate) transmit(tcb, tcb.nxt, 0, ACK | reflecting(tcb));
  send(tcb);
  if (tcb.ackNow) transmit(tcb, tcb.nxt, 0, ACK);
  else if (tcb.ackSoon && tcb.wantsRoom) {
    // Whoever waits to write does so at once, however long that takes: the acknowledgement goes along.
    tcb.ackSoon = false;
    tcb.lastTextAt = tcb.now;
    stack.timers.arm(tcb.busy().ackTimer, tcb.now + tcb.options.ackDelay);
  }
  tcb.rest();
  tcb.events.established?.();
  if (ended || segment.length > 0) tcb.events.readable?.();
}

/** RFC 7323 §3.2 with RFC 9293 §3.10.7.3: an echo of a time before our SYN, or of one that has not come, answers somebody else's. */
function isEchoOurs(tcb: Tcb): boolean {
  if (!segment.hasTimestamps || segment.tsecr === 0 || !tcb.options.timestamps) return true;
  return !before(segment.tsecr, tcb.synStamp) && !after(segment.tsecr, tcb.tsval);
}

/** What the SYN-ACK says about Fast Open (RFC 7413 §4.2.1): a cookie for the next time, and how much of the data was taken. */
function learnFastOpen(tcb: Tcb): void {
  const { world } = tcb;
  world.cookies.answered(tcb.remote, options.mss, tcb.asked, options.cookie, tcb.synRepeats > 0);
  if (tcb.synData === 0) return;
  tcb.synDataTaken = tcb.una === tcb.nxt;
  if (tcb.synDataTaken) {
    // One packet brought both.
    tcb.packetsDelivered--;
    return;
  }
  world.counters.fastopen_active_fail++;
  if (tcb.synRepeats > 0) world.cookies.lost(tcb.remote, tcb.now);
  resendSynData(tcb);
}

/** The data of a SYN that opens a connection at once (RFC 7413 §4.2.2), and its window, which is not scaled. */
export function takeSynData(tcb: Tcb, id: number): void {
  // It begins behind our SYN, which is not acknowledged yet.
  tcb.window = segment.window + 1;
  tcb.maxWindow = segment.window;
  tcb.wl1 = segment.seq;
  tcb.wl2 = tcb.iss;
  if (segment.length > 0) {
    tcb.announced = (tcb.received + tcb.receiveSpace) | 0;
    tcb.synDataTaken = takeData(tcb, id, segment.offset, tcb.received, segment.length) === segment.length;
    // The SYN-ACK's window does not count it (as Linux has it).
    tcb.announced = (tcb.received + tcb.receiveSpace) | 0;
  }
  if (!(segment.flags & FIN)) return;
  segment.seq = (segment.seq + 1) | 0;
  takeFin(tcb);
  processFin(tcb);
}

function finishHandshake(tcb: Tcb): boolean {
  if (!after(segment.ack, tcb.una) || after(segment.ack, tcb.nxt)) {
    tcb.world.resetUnknown(segment.flags, signingOf(tcb));
    return false;
  }
  if (tcb.listener && !tcb.isFastOpened && segment.length === 0 && !(segment.flags & FIN) && tcb.flight.retries < tcb.options.deferAccept) {
    // TCP_DEFER_ACCEPT: an acknowledgement alone does not wake anybody.
    tcb.deferred = true;
    return false;
  }
  if (tcb.listener?.isFull && !tcb.isFastOpened) {
    // No room to wait in: the handshake stays where it is, and the peer may say it again.
    tcb.world.counters.listen_overflows++;
    return false;
  }
  tcb.window = segment.window << tcb.sendScale;
  arrival.isHandshake = true;
  takeThirdAck(tcb, segment.flags, segment.length);
  establish(tcb);
  if (tcb.listener) tcb.world.accepted(tcb);
  else tcb.events.established?.();
  return tcb.state !== CLOSED;
}

function establish(tcb: Tcb): void {
  // Closed before it was open: the FIN follows what is queued.
  if (tcb.state <= SYN_RECEIVED) tcb.state = tcb.finQueued ? FIN_WAIT_1 : ESTABLISHED;
  tcb.wl1 = segment.seq;
  tcb.wl2 = segment.ack;
  tcb.maxWindow = tcb.window;
  const mss = largestPayload(tcb);
  if (mss < tcb.mss) {
    tcb.mss = mss;
    tcb.cwnd = tcb.options.initialWindow * mss || initialWindow(mss);
  }
  tcb.quickAcks = QUICK_ACKS;
  tcb.queueStart = (tcb.iss + 1) | 0;
  tcb.pushedTo = tcb.nxt;
  tcb.measuredAt = tcb.lastReceivedAt = tcb.now;
  tcb.flight.retries = 0;
  // A handshake that took several attempts says that the path is full (RFC 5681 §3.1); one repetition, or an echo of
  // the first SYN, may have been for nothing, as Linux has it.
  const wasSpurious = tcb.timestampsOk && segment.tsecr === tcb.synStamp;
  if (tcb.synRepeats > 1 && !wasSpurious) tcb.cwnd = tcb.mss;
  beginKeepAlive(tcb);
}

// ── Acknowledgement, window ─────────────────────────────────────────────────────────────────────

/** The largest window so far: segments may be half of it (`largestPayload`). */
function widen(tcb: Tcb, window: number): void {
  tcb.maxWindow = window;
  const mss = largestPayload(tcb);
  if (mss <= tcb.mss || tcb.search) return;
  // As many segments as before, as Linux counts them.
  if (tcb.nxt === ((tcb.iss + 1) | 0)) tcb.cwnd = (tcb.cwnd / tcb.mss) * mss;
  tcb.mss = mss;
}

/** Step five; false when the segment is to be dropped. */
function takeAck(tcb: Tcb): boolean {
  const { ack, seq, length, flags } = segment;
  // RFC 5961 §5.2: only what was sent, and not older than the largest window.
  if (after(ack, tcb.nxt) || before(ack, (tcb.una - tcb.maxWindow) | 0)) {
    challenge(tcb);
    return false;
  }
  tcb.keepProbes = 0;
  arrival.isNewer = segment.hasTimestamps && tcb.timestampsOk && after(segment.tsval, tcb.tsRecent);
  // Only what is acceptable in every way moves the clock that PAWS compares with (RFC 7323 §4.3).
  if (segment.hasTimestamps && tcb.timestampsOk && !after(seq, tcb.lastAckSent)) {
    tcb.tsRecent = segment.tsval;
    tcb.tsRecentAt = tcb.now;
  }
  const window = segment.window << tcb.sendScale;
  const repeats = ack === tcb.una && length === 0 && window === tcb.window && !(flags & FIN);
  if (!before(ack, tcb.una)) tcb.lastReceivedAt = tcb.now;
  // Not older than what is acknowledged (RFC 9293 §3.10.7.4), and the newest of those.
  if (!before(ack, tcb.una) && (before(tcb.wl1, seq) || (tcb.wl1 === seq && !after(tcb.wl2, ack)))) {
    if (tcb.window === 0 && window > 0 && tcb.flight !== AT_REST) tcb.flight.retries = 0;
    tcb.window = window;
    tcb.wl1 = seq;
    tcb.wl2 = ack;
    if (window > tcb.maxWindow) widen(tcb, window);
  }
  const unaBefore = tcb.una;
  if (acknowledge(tcb, ack, sack, repeats, segment.hasTimestamps ? segment.tsecr : 0)) {
    tcb.flight.rearm = true;
    freeQueue(tcb, unaBefore);
    tcb.accounts?.marks?.acknowledged(tcb.una);
    const { path } = tcb;
    if (path && path.generation === tcb.world.stack.routes.generation) tcb.world.confirm(path);
  }
  return !closeOnAck(tcb);
}

/** Acknowledged bytes leave the queue. */
function freeQueue(tcb: Tcb, unaBefore: number): void {
  const { queue } = tcb;
  if (!queue) return;
  const bytes = Math.min(distance(tcb.una, tcb.queueStart), queue.length);
  if (bytes <= 0 || tcb.una === unaBefore) return;
  queue.drop(bytes);
  tcb.queueStart = (tcb.queueStart + bytes) | 0;
}

/** Its turn on a path that many share: its owner may have more for it. */
export function takeTurn(tcb: Tcb): void {
  if (tcb.wantsRoom && (tcb.state === ESTABLISHED || tcb.state === CLOSE_WAIT)) tellRoom(tcb);
  send(tcb);
}

/** Its owner waits for room, and there may be some. */
function tellRoom(tcb: Tcb): void {
  const { queue, events } = tcb;
  const isRoomy = events.hasRoom ? events.hasRoom() : !queue || isRoomyEnough(tcb, queue.length);
  if (!isRoomy) return;
  tcb.wantsRoom = false;
  events.writable?.();
}

function isRoomyEnough(tcb: Tcb, queued: number): boolean {
  const { notSentLowWater } = tcb.options;
  if (notSentLowWater > 0 && tcb.unsent >= notSentLowWater) return false;
  return queued < (sendLimit(tcb) * 2) / 3;
}

/** Our FIN was acknowledged: the states that follow. True when the connection is gone. */
function closeOnAck(tcb: Tcb): boolean {
  if (!tcb.finSent || tcb.una !== tcb.nxt) return false;
  if (tcb.state === FIN_WAIT_1) {
    tcb.state = FIN_WAIT_2;
    if (tcb.orphan) awaitFin(tcb);
  } else if (tcb.state === CLOSING) enterTimeWait(tcb);
  else if (tcb.state === LAST_ACK) {
    destroy(tcb, undefined);
    return true;
  }
  return false;
}

export function enterTimeWait(tcb: Tcb): void {
  tcb.state = TIME_WAIT;
  stopTimers(tcb);
  release(tcb, tcb.orphan);
  tcb.world.timeWait(tcb);
  tcb.events.closed?.(undefined);
}

// ── Text, FIN ───────────────────────────────────────────────────────────────────────────────────

/** Trims to the window and takes the rest; bytes by which the stream moved. */
function takeText(tcb: Tcb, id: number): number {
  const { state } = tcb;
  let { seq, offset, length } = segment;
  if (state !== ESTABLISHED && state !== FIN_WAIT_1 && state !== FIN_WAIT_2) return 0;
  const isShut = tcb.orphan || (tcb.readShut && state !== ESTABLISHED);
  if (isShut && after((seq + length) | 0, tcb.received)) {
    // Nobody will read what is new: the peer should know (RFC 2525 §2.17).
    tcb.world.resetUnknown(segment.flags, signingOf(tcb));
    destroy(tcb, new LoomError("ECONNRESET", "data arrived after close"));
    return 0;
  }
  const old = distance(tcb.received, seq);
  if (old > 0) {
    reportDuplicate(tcb, seq, old >= length ? (seq + length) | 0 : tcb.received);
    seq = tcb.received;
    offset += old;
    length -= old;
  }
  // Whoever sends beyond the window is not made to send it again when all was read (Linux's tcp_sequence).
  const room = tcb.inbox?.length ? distance(tcb.announced, seq) : length;
  if (length > room) length = room;
  if (length <= 0) {
    tcb.ackNow = true;
    return 0;
  }
  measureSegments(tcb);
  tcb.lastTextAt = tcb.lastReceivedAt = tcb.now;
  const hadEarly = tcb.flight.early.length > 0;
  const moved = takeData(tcb, id, offset, seq, length);
  // Out of order, or the gap closed: at once (RFC 5681 §4.2).
  if (moved === 0 || hadEarly) tcb.ackNow = true;
  return moved;
}

/** How large the peer's segments are: the largest, until two smaller ones in a row are of one size (Linux's tcp_measure_rcv_mss). */
function measureSegments(tcb: Tcb): void {
  const { piece, flags } = segment;
  if (piece === tcb.receivedMss) return;
  if (piece > tcb.receivedMss) {
    tcb.receivedMss = Math.min(piece, announcedMss(tcb));
    return;
  }
  // The end of a write may be as small as it likes.
  if (piece < LEAST_FULL && (flags & (PSH | FIN | URG)) !== 0) return;
  if (piece === tcb.lastPiece) tcb.receivedMss = Math.max(piece, LEAST_MSS);
  tcb.lastPiece = piece;
}

function takeFin(tcb: Tcb): void {
  const at = (segment.seq + segment.length) | 0;
  if (tcb.hasFinSequence || after(at, tcb.announced)) return;
  tcb.hasFinSequence = true;
  tcb.finSequence = at;
}

/** The FIN's turn has come: everything before it is here. True then. */
function processFin(tcb: Tcb): boolean {
  if (!tcb.hasFinSequence || tcb.finReceived || tcb.received !== tcb.finSequence) {
    if (tcb.hasFinSequence && !tcb.finReceived) tcb.ackNow = true;
    return false;
  }
  tcb.finReceived = true;
  tcb.received = (tcb.received + 1) | 0;
  giveBack(tcb);
  // Nothing comes any more that a report could spare (Linux's tcp_fin).
  tcb.hasDsack = false;
  // It had come before what it stands behind: a gap has closed (RFC 5681 §4.2). Or into a shut window, where its sender waits for us.
  if (!(segment.flags & FIN) || !after(tcb.announced, tcb.received)) tcb.ackNow = true;
  if (tcb.state === ESTABLISHED) {
    tcb.state = CLOSE_WAIT;
    tcb.pingPong = true;
    // What its owner has left to say, or its own end, takes the acknowledgement along.
    if (tcb.lastTextAt < 0 || tcb.ackSoon || segment.length > 0) acknowledgeSoon(tcb);
    else tcb.world.stack.timers.arm(tcb.busy().ackTimer, tcb.now + tcb.options.ackDelay);
  } else tcb.ackNow = true;
  tcb.announced = later(tcb.announced, tcb.received);
  if (tcb.state === FIN_WAIT_1) tcb.state = CLOSING;
  else if (tcb.state === FIN_WAIT_2) enterTimeWait(tcb);
  return true;
}

/** Every second full segment at once, the others within the delay (RFC 1122 §4.2.3.2, RFC 5681 §4.2). */
function acknowledgeWhenDue(tcb: Tcb, moved: number): void {
  if (moved === 0) return;
  tcb.unackedBytes += moved;
  if (tcb.quickAcks > 0 && !tcb.pingPong) {
    tcb.quickAcks--;
    acknowledgeSoon(tcb);
  } else if (tcb.unackedBytes >= worthTelling(tcb)) tcb.ackNow = true;
  const { timers } = tcb.world.stack;
  if (!tcb.ackNow && !tcb.flight.ackTimer.armed) timers.arm(tcb.busy().ackTimer, tcb.now + tcb.options.ackDelay);
}
