/**
 * TCP as the one in the middle sees it: states by the flags of both sides, and windows by what they said (Guido van Rooij,
 * "Real Stateful TCP Packet Filtering in IP Filter", 2001), with the transitions and the exceptions of Linux's
 * nf_conntrack_proto_tcp, so that the same packet gets the same `ct state`.
 *
 * A segment is within the window when (I) it begins at most where the receiver's window ends, (II) it ends at least where
 * that window may begin, (III) it acknowledges nothing that was not sent and (IV) nothing that is too long ago. Old data and
 * old acknowledgements pass without changing anything; what lies ahead is invalid.
 */
import {
  COLD_FLAGS, COLD_LAST, COLD_SCALES, COLD_STATE, COLD_TCP, COLD_TCP_SIZE, FLOWS_FLAGS, FLOWS_IGNORE_INVALID_RST, FLOWS_TCP_LIBERAL,
  EVENT_UPDATE, FLOWS_TCP_LOOSE, FLOWS_TIMEOUTS, FLOW_PROTOCOL, FLOW_STATUS, IPS_ASSURED, IPS_CONFIRMED, IPS_SEEN_REPLY, TCP_CLOSE, TCP_TIME_WAIT, TIMEOUT_TCP, TIMEOUT_TCP_RETRANS, TIMEOUT_TCP_UNACK,
} from "../abi";
import { coldAt, flowAt, flows, lockFlow, setStatus, unlockFlow } from "../table/flow";
import { tell } from "../table/flow-events";
import { load16, load32 } from "../wire/bytes";
import { TCP } from "../wire/l4";
import { refresh } from "./begin";

export const NONE: u32 = 0;
export const SYN_SENT: u32 = 1;
export const SYN_RECV: u32 = 2;
export const ESTABLISHED: u32 = 3;
export const FIN_WAIT: u32 = 4;
export const CLOSE_WAIT: u32 = 5;
export const LAST_ACK: u32 = 6;
export const TIME_WAIT: u32 = TCP_TIME_WAIT;
export const CLOSE: u32 = TCP_CLOSE;
/** Both sides sent a SYN. */
export const SYN_SENT2: u32 = 9;
/** The packet passes and changes nothing. */
const IGNORE: u32 = 10;
const INVALID: u32 = 11;

/** What a segment is, by its flags. */
const KIND_SYN: u32 = 0;
const KIND_SYNACK: u32 = 1;
const KIND_FIN: u32 = 2;
const KIND_ACK: u32 = 3;
const KIND_RST: u32 = 4;
const KIND_NONE: u32 = 5;

const FIN: u32 = 1;
const SYN: u32 = 2;
const RST: u32 = 4;
const ACK: u32 = 16;
const URG: u32 = 32;

/** Of one side (COLD_FLAGS). */
const SCALES: u32 = 1;
const SACKS: u32 = 2;
/** It closed first. */
const CLOSE_INIT: u32 = 4;
/** Its beginning was not seen: windows are not believed. */
const LIBERAL: u32 = 8;
const UNACKNOWLEDGED: u32 = 16;
const ACK_SEEN: u32 = 32;

const END: usize = 0;
const MAX_END: usize = 4;
const MAX_WINDOW: usize = 8;
const MAX_ACK: usize = 12;

const LAST_SEQUENCE: usize = COLD_LAST;
const LAST_ACKNOWLEDGEMENT: usize = COLD_LAST + 4;
const LAST_END: usize = COLD_LAST + 8;
const LAST_WINDOW: usize = COLD_LAST + 12;
/** Kind in the low half, scale of an ignored SYN in the high half. */
const LAST_KIND: usize = COLD_LAST + 14;
/** In LAST_DIRECTION: both sides sent a SYN of their own. */
const BOTH_OPEN: u32 = 64;
/** Direction in bit 7, both open in bit 6, flags of an ignored SYN in bits 4 to 5, retransmissions below. */
const LAST_DIRECTION: usize = COLD_LAST + 15;

/** Acknowledgements may be that far behind, however small windows are. */
const OLDEST_ACK: u32 = 66000;
const MOST_RETRANSMISSIONS: u32 = 3;

/** Results of `trackTcp`. */
export const TRACK_OK: u32 = 0;
export const TRACK_INVALID: u32 = 1;
/** The flow is over and this begins another: end it and look again. */
export const TRACK_AGAIN: u32 = 2;
/** Passes, and says nothing. */
export const TRACK_IGNORED: u32 = 4;
/** Answered by nothing but a reset: end it, let the packet pass. */
export const TRACK_END: u32 = 3;

/**
 * Next state by direction, kind and state, four bits each, state 0 lowest: i = ignore, x = invalid.
 * Columns (right to left): none, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2.
 */
@inline
function transition(reply: bool, kind: u32, state: u32): u32 {
  let row: u64;
  if (!reply) {
    row = kind == KIND_SYN ? 0x911aaaaa11
      : kind == KIND_SYNACK ? 0x2bbbbbb2bb
      : kind == KIND_FIN ? 0xb8766644bb
      : kind == KIND_ACK ? 0xb8775533b3
      : kind == KIND_RST ? 0x888888888b : 0xbbbbbbbbbb;
  } else {
    row = kind == KIND_SYN ? 0x9b1bbbbb9b
      : kind == KIND_SYNACK ? 0x2aaaaaaa2b
      : kind == KIND_FIN ? 0xb8766644bb
      : kind == KIND_ACK ? 0xa8775532ab
      : kind == KIND_RST ? 0x888888888b : 0xbbbbbbbbbb;
  }
  return <u32>(row >> (<u64>state << 2)) & 15;
}

@inline
function kindOf(flags: u32): u32 {
  if ((flags & RST) != 0) return KIND_RST;
  if ((flags & SYN) != 0) return (flags & ACK) != 0 ? KIND_SYNACK : KIND_SYN;
  if ((flags & FIN) != 0) return KIND_FIN;
  return (flags & ACK) != 0 ? KIND_ACK : KIND_NONE;
}

/** One bit for each combination of FIN, SYN, RST, ACK and URG that a TCP sends. */
const SENDABLE: u64 = (1 << SYN) | ((<u64>1) << (SYN | URG)) | (1 << (SYN | ACK)) | (1 << RST) | (1 << (RST | ACK))
  | (1 << (FIN | ACK)) | ((<u64>1) << (FIN | ACK | URG)) | (1 << ACK) | ((<u64>1) << (ACK | URG));

@inline
export function flagsValid(flags: u32): bool {
  return ((SENDABLE >> (flags & (FIN | SYN | RST | ACK | URG))) & 1) != 0;
}

@inline
function before(a: u32, b: u32): bool {
  return <i32>(a - b) < 0;
}

@inline
function after(a: u32, b: u32): bool {
  return <i32>(b - a) < 0;
}

@inline
function side(cold: usize, direction: u32): usize {
  return cold + COLD_TCP + <usize>direction * COLD_TCP_SIZE;
}

@inline
function flagsOf(cold: usize, direction: u32): u32 {
  return <u32>load<u8>(cold + <usize>direction, COLD_FLAGS);
}

@inline
function setFlags(cold: usize, direction: u32, flags: u32): void {
  store<u8>(cold + <usize>direction, <u8>flags, COLD_FLAGS);
}

@inline
function scaleOf(cold: usize, direction: u32): u32 {
  return (<u32>load<u8>(cold, COLD_SCALES) >>> (direction << 2)) & 15;
}

function setScale(cold: usize, direction: u32, scale: u32): void {
  const shift = direction << 2;
  store<u8>(cold, <u8>((<u32>load<u8>(cold, COLD_SCALES) & ~(15 << shift)) | (scale << shift)), COLD_SCALES);
}

@inline
function endOf(tcp: usize, length: u32, flags: u32): u32 {
  const header = <u32>(load<u8>(tcp, 12) >>> 4) << 2;
  return load32(tcp + 4) + length - header + <u32>((flags & SYN) != 0) + <u32>((flags & FIN) != 0);
}

/** Flags of SACK and window scaling that a SYN carries, and its scale in bits 8 to 11; 0x8000 when it has options at all. */
function synOptions(tcp: usize): u32 {
  const end = tcp + (<usize>(load<u8>(tcp, 12) >>> 4) << 2);
  let at = tcp + 20, found: u32 = at < end ? 0x8000 : 0;
  while (at < end) {
    const kind = load<u8>(at);
    if (kind == 0) break;
    if (kind == 1) { at++; continue; }
    if (at + 1 >= end) break;
    const size = <usize>load<u8>(at, 1);
    if (size < 2 || at + size > end) break;
    if (kind == 4 && size == 2) found |= SACKS;
    else if (kind == 3 && size == 3) found = (found & ~0xf00) | SCALES | (min<u32>(load<u8>(at, 2), 14) << 8);
    at += size;
  }
  return found;
}

/** The highest sequence number that a segment acknowledges, selectively too; `ahead`: of what the segment says. */
function highestAck(tcp: usize, ack: u32, ahead: u32): u32 {
  const end = tcp + (<usize>(load<u8>(tcp, 12) >>> 4) << 2);
  let at = tcp + 20;
  // Timestamps alone, as RFC 7323 appendix A lays them out.
  if (end - at == 12 && load<u32>(at) == 0x0a080101) return ack;
  while (at + 1 < end) {
    const kind = load<u8>(at);
    if (kind == 0) break;
    if (kind == 1) { at++; continue; }
    const size = <usize>load<u8>(at, 1);
    if (size < 2 || at + size > end) break;
    if (kind == 5 && size >= 10 && ((size - 2) & 7) == 0) {
      for (let block: usize = 2; block < size; block += 8) {
        const right = load32(at + block + 4) + ahead;
        if (after(right, ack)) ack = right;
      }
      break;
    }
    at += size;
  }
  return ack;
}

function takeOptions(cold: usize, direction: u32, tcp: usize): void {
  const options = synOptions(tcp);
  if ((options & 0x8000) == 0) return;
  setFlags(cold, direction, options & (SCALES | SACKS));
  setScale(cold, direction, (options >>> 8) & 15);
}

/** The first segment of a flow; false when it begins none (and is invalid). */
export function beginTcp(flow: u32, tcp: usize, length: u32): bool {
  const cold = coldAt(flow), flags = load16(tcp + 12) & 0x1ff, state = transition(false, kindOf(flags), NONE);
  if (state >= IGNORE) return false;
  const sender = side(cold, 0), end = endOf(tcp, length, flags), window = max<u32>(load16(tcp + 14), 1);
  store<u32>(sender, end, END);
  store<u32>(sender, window, MAX_WINDOW);
  store<u8>(cold, <u8>KIND_NONE, LAST_KIND);
  if (state == SYN_SENT) {
    store<u32>(sender, end, MAX_END);
    takeOptions(cold, 0, tcp);
    return true;
  }
  if ((load<u32>(flows(), FLOWS_FLAGS) & FLOWS_TCP_LOOSE) == 0) return false;
  store<u32>(sender, end + window, MAX_END);
  setFlags(cold, 0, SACKS | LIBERAL);
  setFlags(cold, 1, SACKS | LIBERAL);
  return true;
}

/**
 * One segment of a flow; `length` is that of the TCP segment with its header, which is whole; `ahead`: the other side's numbers are that far
 * ahead of what this one has been told (SYNPROXY). One of TRACK_*; the new timeout in `timeoutOut`.
 */
export function trackTcp(flow: u32, direction: u32, tcp: usize, length: u32, ahead: u32, timeoutOut: usize): u32 {
  const cold = coldAt(flow), hot = flowAt(flow), flags = load16(tcp + 12) & 0x1ff, kind = kindOf(flags);
  let old = <u32>load<u8>(cold, COLD_STATE), state = transition(direction != 0, kind, old);
  store<u32>(timeoutOut, 0);
  let inWindow = false;
  if (state == SYN_SENT && old >= TIME_WAIT && reopens(cold, direction)) return TRACK_AGAIN;
  if (state == IGNORE || (state == SYN_SENT && old >= TIME_WAIT)) {
    if (!resynchronises(cold, direction, kind, tcp)) { annotate(cold, direction, kind, tcp, length, flags); return TRACK_OK; }
    resynchronise(cold, direction);
    old = SYN_SENT;
    state = SYN_RECV;
  } else if (state == INVALID) return TRACK_INVALID;
  else if (state == SYN_SENT2) store<u8>(cold, load<u8>(cold, LAST_DIRECTION) | <u8>BOTH_OPEN, LAST_DIRECTION);
  else if (state == SYN_RECV && direction == 1 && kind == KIND_ACK && (<u32>load<u8>(cold, LAST_DIRECTION) & BOTH_OPEN) != 0) state = ESTABLISHED;
  else if (state == CLOSE && kind == KIND_RST) {
    const verdict = judgeReset(cold, hot, direction, tcp, ahead, old);
    if (verdict == RESET_INVALID) return TRACK_INVALID;
    if (verdict == RESET_KEEPS) state = old;
    inWindow = verdict == RESET_OF_IGNORED;
  }
  if (!inWindow) {
    const result = judgeWindow(cold, direction, kind, tcp, length, ahead, flags, old);
    if (result == WINDOW_PASSES) return TRACK_OK;
    if (result == WINDOW_INVALID) { noteInvalid(cold, hot, direction, kind, timeoutOut); return TRACK_INVALID; }
  }
  remember(cold, direction, kind);
  store<u8>(cold, <u8>state, COLD_STATE);
  if (old != state && state == FIN_WAIT) setFlags(cold, direction, flagsOf(cold, direction) | CLOSE_INIT);
  const status = load<u32>(hot, FLOW_STATUS);
  const usual = timeoutOf(cold, state, kind), answered = (status & IPS_SEEN_REPLY) != 0;
  // The same SYN again, and the first one that crosses it, prolong nothing.
  if (kind == KIND_SYN && !answered && old == SYN_SENT) return TRACK_OK;
  // Picked up in the middle: not for days until somebody answers.
  store<u32>(timeoutOut, answered || state != ESTABLISHED ? usual : min<u32>(usual, timeout(TIMEOUT_TCP_UNACK)));
  if (!answered) return (flags & RST) != 0 ? TRACK_END : TRACK_OK;
  if ((status & IPS_ASSURED) == 0 && (old == SYN_RECV || old == ESTABLISHED) && state == ESTABLISHED) {
    setStatus(hot, IPS_ASSURED);
  }
  return TRACK_OK;
}

/**
 * A segment of a flow of which only one direction comes by: its state by what the client says alone, windows are not known. The new
 * timeout in `timeoutOut`; true for what cannot begin a connection.
 */
export function trackOneSided(flow: u32, tcp: usize, timeoutOut: usize): bool {
  const cold = coldAt(flow), kind = kindOf(load16(tcp + 12) & 0x1ff), old = <u32>load<u8>(cold, COLD_STATE);
  let state = old;
  if (kind == KIND_RST) state = CLOSE;
  else if (kind == KIND_FIN) state = FIN_WAIT;
  else if (kind == KIND_SYN) state = old == ESTABLISHED ? old : SYN_SENT;
  else if (old <= SYN_RECV) state = ESTABLISHED;
  store<u8>(cold, <u8>state, COLD_STATE);
  store<u32>(timeoutOut, timeout(TIMEOUT_TCP + state));
  // Who goes on has been answered.
  if (state == ESTABLISHED) setStatus(flowAt(flow), IPS_SEEN_REPLY | IPS_ASSURED);
  return kind != KIND_SYN;
}

@inline
function lastKind(cold: usize): u32 {
  return <u32>load<u8>(cold, LAST_KIND) & 15;
}

@inline
function lastDirection(cold: usize): u32 {
  return <u32>load<u8>(cold, LAST_DIRECTION) >>> 7;
}

@inline
function remember(cold: usize, direction: u32, kind: u32): void {
  store<u8>(cold, <u8>((<u32>load<u8>(cold, LAST_KIND) & 0xf0) | kind), LAST_KIND);
  store<u8>(cold, <u8>((<u32>load<u8>(cold, LAST_DIRECTION) & 0x7f) | (direction << 7)), LAST_DIRECTION);
}

/** RFC 9293 §3.6.1, RFC 1122 §4.2.2.13: a SYN may open again what was closed by either side, or reset by this one. */
function reopens(cold: usize, direction: u32): bool {
  if (((flagsOf(cold, 0) | flagsOf(cold, 1)) & CLOSE_INIT) != 0) return true;
  return lastDirection(cold) == direction && lastKind(cold) == KIND_RST;
}

/** A SYN/ACK to a SYN that passed unnoticed: both ends agree, and this table does not. */
function resynchronises(cold: usize, direction: u32, kind: u32, tcp: usize): bool {
  return kind == KIND_SYNACK && lastKind(cold) == KIND_SYN && lastDirection(cold) != direction
    && load32(tcp + 8) == load<u32>(cold, LAST_END);
}

function resynchronise(cold: usize, direction: u32): void {
  const other = lastDirection(cold), sender = side(cold, other), end = load<u32>(cold, LAST_END);
  store<u32>(sender, end, END);
  store<u32>(sender, end, MAX_END);
  store<u32>(sender, max<u32>(load<u16>(cold, LAST_WINDOW), 1), MAX_WINDOW);
  setScale(cold, other, <u32>load<u8>(cold, LAST_KIND) >>> 4);
  setFlags(cold, other, (<u32>load<u8>(cold, LAST_DIRECTION) >>> 4) & (SCALES | SACKS));
  memory.fill(side(cold, direction), 0, COLD_TCP_SIZE);
  setScale(cold, direction, 0);
  setFlags(cold, direction, 0);
}

/** What an ignored segment was, in case the ends turn out to know better. */
function annotate(cold: usize, direction: u32, kind: u32, tcp: usize, length: u32, flags: u32): void {
  store<u32>(cold, load32(tcp + 4), LAST_SEQUENCE);
  store<u32>(cold, endOf(tcp, length, flags), LAST_END);
  store<u16>(cold, <u16>load16(tcp + 14), LAST_WINDOW);
  remember(cold, direction, kind);
  if (kind != KIND_SYN || direction != 0) return;
  const options = synOptions(tcp);
  store<u8>(cold, <u8>(kind | (options >>> 8 & 15) << 4), LAST_KIND);
  store<u8>(cold, <u8>((options & (SCALES | SACKS)) << 4), LAST_DIRECTION);
}

const RESET_FITS: u32 = 0;
const RESET_INVALID: u32 = 1;
/** Not exactly at the edge: the flow stays as it is, in case the other side answers with a challenge ACK (RFC 5961 §3.2). */
const RESET_KEEPS: u32 = 2;
const RESET_OF_IGNORED: u32 = 3;

function judgeReset(cold: usize, hot: usize, direction: u32, tcp: usize, ahead: u32, old: u32): u32 {
  const other = 1 - direction, sequence = load32(tcp + 4), established = old >= ESTABLISHED && old <= TIME_WAIT;
  let keeps = false;
  if ((flagsOf(cold, other) & ACK_SEEN) != 0 && (sequence != 0 || old == ESTABLISHED)) {
    const expected = load<u32>(side(cold, other), MAX_ACK);
    if (before(sequence, expected) && (load<u32>(flows(), FLOWS_FLAGS) & FLOWS_IGNORE_INVALID_RST) == 0) return RESET_INVALID;
    const follows = lastKind(cold) == KIND_ACK && lastDirection(cold) == direction && sequence == load<u32>(cold, LAST_END);
    keeps = established && old == ESTABLISHED && sequence != expected && !follows;
  }
  const status = load<u32>(hot, FLOW_STATUS);
  const ofSyn = (status & IPS_SEEN_REPLY) != 0 && lastKind(cold) == KIND_SYN;
  const ofAck = (status & IPS_ASSURED) == 0 && lastKind(cold) == KIND_ACK;
  if ((ofSyn || ofAck) && load32(tcp + 8) + ahead == load<u32>(cold, LAST_END)) return RESET_OF_IGNORED;
  return keeps ? RESET_KEEPS : RESET_FITS;
}

const WINDOW_FITS: u32 = 0;
const WINDOW_INVALID: u32 = 1;
/** Old data, or an old acknowledgement: it passes and changes nothing. */
const WINDOW_PASSES: u32 = 2;

function judgeWindow(cold: usize, direction: u32, kind: u32, tcp: usize, length: u32, shift: u32, flags: u32, old: u32): u32 {
  const sender = side(cold, direction), other = 1 - direction, receiver = side(cold, other);
  const window = load16(tcp + 14);
  let sequence = load32(tcp + 4), ack = load32(tcp + 8) + shift, end = endOf(tcp, length, flags);
  let sack = (flagsOf(cold, other) & SACKS) != 0 ? highestAck(tcp, ack, shift) : ack;
  if (load<u32>(sender, MAX_WINDOW) == 0) {
    if ((flags & SYN) != 0) {
      beginSide(cold, direction, tcp, end, window);
      // A SYN of both sides at once: there is nothing to compare it with.
      if ((flags & ACK) == 0) return WINDOW_FITS;
    } else pickUp(cold, direction, end, window, sack);
  } else if ((flags & SYN) != 0 && after(end, load<u32>(sender, END)) && (old == SYN_SENT || old == SYN_RECV)) {
    beginSide(cold, direction, tcp, end, window);
    if (direction == 1 && (flags & ACK) == 0) return WINDOW_FITS;
  }
  const received = load<u32>(receiver, END);
  // Without ACK, or with one of zero in a reset: as if it were right.
  if ((flags & ACK) == 0 || ((flags & RST) != 0 && load32(tcp + 8) == 0)) ack = sack = received;
  // A reset that answers a SYN.
  if ((flags & RST) != 0 && sequence == 0 && old == SYN_SENT) sequence = end = load<u32>(sender, END);
  const maxEnd = load<u32>(sender, MAX_END), maxWindow = load<u32>(receiver, MAX_WINDOW);
  const ahead = !before(sequence, maxEnd + 1);
  const stale = maxWindow != 0 && !after(end, load<u32>(sender, END) - maxWindow - 1);
  const belated = !after(sack, received - max<u32>(load<u32>(sender, MAX_WINDOW), OLDEST_ACK) - 1);
  const unsent = !before(sack, received + 1);
  if (ahead || stale || belated || unsent) {
    if ((flagsOf(cold, direction) & LIBERAL) == 0 && (load<u32>(flows(), FLOWS_FLAGS) & FLOWS_TCP_LIBERAL) == 0) {
      // A little beyond the edge (no more than a window): the receiver will know what to do with it, and may acknowledge it.
      if (ahead && !stale && !belated && !unsent && end - maxEnd <= maxWindow) {
        store<u32>(sender, end, END);
        setFlags(cold, direction, flagsOf(cold, direction) | UNACKNOWLEDGED);
        return WINDOW_PASSES;
      }
      return ahead || unsent ? WINDOW_INVALID : WINDOW_PASSES;
    }
    return WINDOW_FITS;
  }
  update(cold, direction, sequence, ack, sack, end, (flags & SYN) == 0 ? window << scaleOf(cold, direction) : window, flags);
  // The window as it stands in the header: 0 is a closed one, whatever the scale makes of others.
  if (kind == KIND_ACK) countRetransmission(cold, direction, sequence, ack, end, window);
  return WINDOW_FITS;
}

/** First SYN of a side. Window scaling is on when both have said so (RFC 7323 §2.2). */
function beginSide(cold: usize, direction: u32, tcp: usize, end: u32, window: u32): void {
  const sender = side(cold, direction);
  store<u32>(sender, end, END);
  store<u32>(sender, end, MAX_END);
  store<u32>(sender, max<u32>(window, 1), MAX_WINDOW);
  takeOptions(cold, direction, tcp);
  if (direction == 1 && (flagsOf(cold, 0) & flagsOf(cold, 1) & SCALES) == 0) store<u8>(cold, 0, COLD_SCALES);
}

/** A side that is seen for the first time in the middle: what it says is taken as it is. */
function pickUp(cold: usize, direction: u32, end: u32, window: u32, sack: u32): void {
  const sender = side(cold, direction), receiver = side(cold, 1 - direction);
  const scaled = max<u32>(window << scaleOf(cold, direction), 1);
  store<u32>(sender, end, END);
  store<u32>(sender, scaled, MAX_WINDOW);
  store<u32>(sender, end + scaled, MAX_END);
  if (load<u32>(receiver, MAX_WINDOW) == 0) {
    store<u32>(receiver, sack, END);
    store<u32>(receiver, sack, MAX_END);
  } else if (sack == load<u32>(receiver, END) + 1) {
    // An answer to a keepalive that was sent one byte back.
    store<u32>(receiver, sack, END);
  }
}

function update(cold: usize, direction: u32, sequence: u32, ack: u32, sack: u32, end: u32, window: u32, flags: u32): void {
  const sender = side(cold, direction), other = 1 - direction, receiver = side(cold, other);
  const wide = window + (sack - ack);
  if (load<u32>(sender, MAX_WINDOW) < wide) store<u32>(sender, wide, MAX_WINDOW);
  let mine = flagsOf(cold, direction);
  if (after(end, load<u32>(sender, END))) {
    store<u32>(sender, end, END);
    mine |= UNACKNOWLEDGED;
  }
  if ((flags & ACK) != 0 && ((mine & ACK_SEEN) == 0 || after(ack, load<u32>(sender, MAX_ACK)))) {
    store<u32>(sender, ack, MAX_ACK);
    mine |= ACK_SEEN;
  }
  setFlags(cold, direction, mine);
  if (load<u32>(receiver, MAX_WINDOW) != 0 && after(end, load<u32>(sender, MAX_END))) {
    store<u32>(receiver, load<u32>(receiver, MAX_WINDOW) + end - load<u32>(sender, MAX_END), MAX_WINDOW);
  }
  if (after(sack + window, load<u32>(receiver, MAX_END) - 1)) store<u32>(receiver, sack + window + <u32>(window == 0), MAX_END);
  if (ack == load<u32>(receiver, END)) setFlags(cold, other, flagsOf(cold, other) & ~UNACKNOWLEDGED);
}

function countRetransmission(cold: usize, direction: u32, sequence: u32, ack: u32, end: u32, window: u32): void {
  const last = <u32>load<u8>(cold, LAST_DIRECTION), again = last >>> 7 == direction && load<u32>(cold, LAST_SEQUENCE) == sequence
    && load<u32>(cold, LAST_ACKNOWLEDGEMENT) == ack && load<u32>(cold, LAST_END) == end && <u32>load<u16>(cold, LAST_WINDOW) == window;
  if (again) { store<u8>(cold, <u8>((last & 0xf0) | min<u32>((last & 15) + 1, 15)), LAST_DIRECTION); return; }
  store<u8>(cold, <u8>((last & 0x70) | (direction << 7)), LAST_DIRECTION);
  store<u32>(cold, sequence, LAST_SEQUENCE);
  store<u32>(cold, ack, LAST_ACKNOWLEDGEMENT);
  store<u32>(cold, end, LAST_END);
  store<u16>(cold, <u16>window, LAST_WINDOW);
}

@inline
function timeout(index: u32): u32 {
  return load<u32>(<usize>load<u32>(flows(), FLOWS_TIMEOUTS) + (<usize>index << 2));
}

/** Shorter while data stays unacknowledged, or the same segment comes again and again. */
function timeoutOf(cold: usize, state: u32, kind: u32): u32 {
  const usual = timeout(TIMEOUT_TCP + state);
  if ((<u32>load<u8>(cold, LAST_DIRECTION) & 15) >= MOST_RETRANSMISSIONS && usual > timeout(TIMEOUT_TCP_RETRANS)) return timeout(TIMEOUT_TCP_RETRANS);
  if (kind == KIND_RST) return timeout(TIMEOUT_TCP + CLOSE);
  if (((flagsOf(cold, 0) | flagsOf(cold, 1)) & UNACKNOWLEDGED) != 0) return min<u32>(usual, timeout(TIMEOUT_TCP_UNACK));
  // A window of 0, and a flow whose windows are not known: it may be over for all that is seen of it.
  return load<u16>(cold, LAST_WINDOW) == 0 ? min<u32>(usual, timeout(TIMEOUT_TCP_RETRANS)) : usual;
}

/** FINs or resets of both sides that did not fit: the ends are done, whatever this table thinks; it must not wait for days. */
function noteInvalid(cold: usize, hot: usize, direction: u32, kind: u32, timeoutOut: usize): void {
  if ((load<u32>(hot, FLOW_STATUS) & IPS_ASSURED) == 0 || (kind != KIND_RST && kind != KIND_FIN)) return;
  const last = lastKind(cold);
  if (lastDirection(cold) != direction && (last == KIND_FIN || last == KIND_RST)) store<u32>(timeoutOut, timeout(TIMEOUT_TCP_UNACK));
  else remember(cold, direction, kind);
}

/** From now on windows of neither side are believed. */
export function believe(flow: u32): void {
  const cold = coldAt(flow);
  setFlags(cold, 0, flagsOf(cold, 0) | LIBERAL);
  setFlags(cold, 1, flagsOf(cold, 1) | LIBERAL);
}

/** What an answer to a flow's SYN acknowledges. */
export function afterSyn(flow: u32): u32 {
  return load<u32>(side(coldAt(flow), 0), END);
}

/** Somebody here has ended a connection: it is as good as over (nf_ct_set_closing). */
export function close(flow: u32, ticks: u32): void {
  const hot = flowAt(flow);
  if (<u32>load<u8>(hot, FLOW_PROTOCOL) != TCP) return;
  lockFlow(hot);
  store<u8>(coldAt(flow), <u8>CLOSE, COLD_STATE);
  unlockFlow(hot);
  refresh(flow, hot, ticks, timeout(TIMEOUT_TCP + CLOSE));
  tell(flow, EVENT_UPDATE, ticks);
}

/** Timeout of a flow that has just begun. */
export function initialTimeoutTcp(state: u32): u32 {
  return timeout(TIMEOUT_TCP + state);
}
