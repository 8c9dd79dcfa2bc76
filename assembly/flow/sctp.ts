/**
 * SCTP as the one in the middle sees it: states by the chunks of both sides and their verification tags (RFC 9260 §8.5), with the transitions and
 * the exceptions of Linux's nf_conntrack_proto_sctp.
 */
import {
  COLD_FLAGS, COLD_STATE, FLOWS_TIMEOUTS, FLOW_STATUS, IPS_ASSURED, IPS_CONFIRMED, TIMEOUT_SCTP,
} from "../abi";
import { coldAt, flowAt, flows, setStatus } from "../table/flow";
import { load16, load32 } from "../wire/bytes";
import { TRACK_IGNORED, TRACK_INVALID, TRACK_OK } from "./tcp";

const NONE: u32 = 0;
const CLOSED: u32 = 1;
const ESTABLISHED: u32 = 4;
const INVALID: u32 = 15;

/** Types of chunks (RFC 9260 §3.2). */
const DATA: u32 = 0;
const INIT: u32 = 1;
const INIT_ACK: u32 = 2;
const HEARTBEAT: u32 = 4;
const HEARTBEAT_ACK: u32 = 5;
const ABORT: u32 = 6;
const SHUTDOWN: u32 = 7;
const SHUTDOWN_ACK: u32 = 8;
const ERROR: u32 = 9;
const COOKIE_ECHO: u32 = 10;
const COOKIE_ACK: u32 = 11;
const SHUTDOWN_COMPLETE: u32 = 14;
/** Of a packet with these, its tag is looked at chunk by chunk. */
const TAG_BY_CHUNK: u32 = (1 << INIT) | (1 << SHUTDOWN_COMPLETE) | (1 << COOKIE_ECHO) | (1 << ABORT) | (1 << SHUTDOWN_ACK) | (1 << HEARTBEAT) | (1 << HEARTBEAT_ACK);
/** No flow begins with them (RFC 9260 §8.4). */
const NEVER_FIRST: u32 = (1 << ABORT) | (1 << SHUTDOWN_COMPLETE) | (1 << COOKIE_ACK);

const COMMON: u32 = 12;
const T_BIT: u32 = 1;
/** Chunks looked at in one packet. */
const MOST_CHUNKS: u32 = 64;

/** In the cold record: the tag that packets of a direction must carry (two u32), and flags. */
const TAGS: usize = 0;
/** An INIT of direction 0, of direction 1; a heartbeat's tag was another one; which direction that was. */
const INIT_SEEN: u32 = 1;
const HEARTBEAT_FAILED: u32 = 4;
const HEARTBEAT_DIRECTION: u32 = 8;

/**
 * Next state by chunk and state, four bits each, state 0 lowest: f = invalid. Columns (right to left): none, closed, cookie wait, cookie echoed,
 * established, shutdown sent, shutdown received, shutdown ack sent, heartbeat sent.
 */
function transition(reply: bool, type: u32, state: u32): u32 {
  let row: u64;
  if (!reply) {
    row = type == INIT ? 0x271143211
      : type == INIT_ACK ? 0x176543211
      : type == ABORT ? 0x111111111
      : type == SHUTDOWN ? 0x176553211
      : type == SHUTDOWN_ACK ? 0x777743217
      : type == ERROR ? 0x176543211
      : type == COOKIE_ECHO ? 0x176543311
      : type == COOKIE_ACK ? 0x176544211
      : type == SHUTDOWN_COMPLETE ? 0x116543211
      : type == HEARTBEAT ? 0x876543218
      : type == HEARTBEAT_ACK ? 0x876543211 : 0;
  } else {
    row = type == INIT ? 0xf7654321f
      : type == INIT_ACK ? 0xf7654322f
      : type == ABORT ? 0xf1111111f
      : type == SHUTDOWN ? 0xf7656321f
      : type == SHUTDOWN_ACK ? 0xf7774321f
      : type == ERROR ? 0xf7654121f
      : type == COOKIE_ECHO ? 0xf7654331f
      : type == COOKIE_ACK ? 0xf7654421f
      : type == SHUTDOWN_COMPLETE ? 0xf1654321f
      : type == HEARTBEAT ? 0x87654321f
      : type == HEARTBEAT_ACK ? 0x47654321f : 0;
  }
  // Of data and the rest, nothing follows.
  return row == 0 ? state : <u32>(row >> (<u64>state << 2)) & 15;
}

@inline
function lengthOf(chunk: usize): u32 {
  return load16(chunk + 2);
}

/** The types that a packet carries, a bit each; 0 when it carries none, or what may not stand together. `have`: bytes from its header on. */
function chunksOf(sctp: usize, have: u32): u32 {
  let map: u32 = 0, alone = false;
  for (let at: u32 = COMMON, n: u32 = 0; at + 4 <= have && n < MOST_CHUNKS; n++) {
    const type = <u32>load<u8>(sctp + at), length = lengthOf(sctp + at);
    alone = alone || type == INIT || type == INIT_ACK || type == SHUTDOWN_COMPLETE;
    if (length == 0 || (n != 0 && (alone || type == COOKIE_ACK || type == COOKIE_ECHO))) return 0;
    // Higher types say nothing about the flow; that there was one does.
    map |= type < 31 ? (<u32>1) << type : 0x80000000;
    at += (length + 3) & ~3;
  }
  return map;
}

/** The first packet of a flow; false when it begins none (and is invalid). */
export function beginSctp(flow: u32, sctp: usize, have: u32): bool {
  const cold = coldAt(flow), tag = load32(sctp + 4), map = chunksOf(sctp, have);
  if (map == 0 || (map & NEVER_FIRST) != 0) return false;
  memory.fill(cold, 0, 16);
  store<u8>(cold, <u8>NONE, COLD_STATE);
  store<u8>(cold, 0, COLD_FLAGS);
  for (let at: u32 = COMMON, n: u32 = 0; at + 4 <= have && n < MOST_CHUNKS; n++) {
    const type = <u32>load<u8>(sctp + at), state = transition(false, type, NONE);
    if (state == NONE || state == INVALID) return false;
    if (type == INIT) {
      if (tag != 0 || at + 8 > have) return false;
      store<u32>(cold + 4, load32(sctp + at + 4), TAGS);
    } else store<u32>(cold + (type == HEARTBEAT || type == HEARTBEAT_ACK ? 0 : 4), tag, TAGS);
    at += (lengthOf(sctp + at) + 3) & ~3;
  }
  return true;
}

/** One packet of a flow; one of TRACK_*, the new timeout in `timeoutOut`. */
export function trackSctp(flow: u32, direction: u32, sctp: usize, have: u32, timeoutOut: usize): u32 {
  const cold = coldAt(flow), map = chunksOf(sctp, have), tag = load32(sctp + 4), mine = cold + TAGS + (<usize>direction << 2);
  store<u32>(timeoutOut, 0);
  if (map == 0 || ((map & TAG_BY_CHUNK) == 0 && tag != load<u32>(mine))) return TRACK_INVALID;
  let old: u32 = NONE, state: u32 = NONE, ignored = false;
  for (let at: u32 = COMMON, n: u32 = 0; at + 4 <= have && n < MOST_CHUNKS; n++) {
    const chunk = sctp + at, type = <u32>load<u8>(chunk);
    at += (lengthOf(chunk) + 3) & ~3;
    const fits = judgeTag(cold, direction, chunk, type, tag, map, ignored);
    if (fits == TAG_WRONG) return TRACK_INVALID;
    if (fits == TAG_IGNORED) { ignored = true; continue; }
    old = <u32>load<u8>(cold, COLD_STATE);
    state = transition(direction != 0, type, old);
    if (state == INVALID) return TRACK_INVALID;
    if ((type == INIT || type == INIT_ACK) && (chunk + 8 > sctp + have || !takeTag(cold, direction, type, load32(chunk + 4)))) return TRACK_INVALID;
    // An INIT that comes again prolongs nothing.
    if (type == INIT && state == CLOSED && old == CLOSED && (load<u32>(flowAt(flow), FLOW_STATUS) & IPS_CONFIRMED) != 0) ignored = true;
    store<u8>(cold, <u8>state, COLD_STATE);
    if (old != state && state == ESTABLISHED) setStatus(flowAt(flow), IPS_ASSURED);
  }
  if (ignored) return TRACK_IGNORED;
  store<u32>(timeoutOut, load<u32>(<usize>load<u32>(flows(), FLOWS_TIMEOUTS) + (<usize>(TIMEOUT_SCTP + state) << 2)));
  return TRACK_OK;
}

const TAG_FITS: u32 = 0;
const TAG_WRONG: u32 = 1;
const TAG_IGNORED: u32 = 2;

/** RFC 9260 §8.5.1: some chunks are known by another tag than their direction's. */
function judgeTag(cold: usize, direction: u32, chunk: usize, type: u32, tag: u32, map: u32, ignored: bool): u32 {
  const mine = load<u32>(cold + (<usize>direction << 2), TAGS), theirs = load<u32>(cold + (<usize>(1 - direction) << 2), TAGS);
  if (type == INIT) return tag == 0 ? TAG_FITS : TAG_WRONG;
  if (type == ABORT || type == SHUTDOWN_COMPLETE) return tag == ((<u32>load<u8>(chunk, 1) & T_BIT) == 0 ? mine : theirs) ? TAG_FITS : TAG_WRONG;
  if (type == COOKIE_ECHO) return tag == mine ? TAG_FITS : TAG_WRONG;
  // The association stands: whoever says another tag now does not belong to it.
  if (type == COOKIE_ACK) store<u8>(cold, <u8>(<u32>load<u8>(cold, COLD_FLAGS) & ~(INIT_SEEN | (INIT_SEEN << 1))), COLD_FLAGS);
  return type == HEARTBEAT || type == HEARTBEAT_ACK ? judgeHeartbeat(cold, direction, type, tag, mine, map, ignored) : TAG_FITS;
}

/** Heartbeats may be all that is heard of an association that was made by another way, or made anew. */
function judgeHeartbeat(cold: usize, direction: u32, type: u32, tag: u32, mine: u32, map: u32, ignored: bool): u32 {
  const flags = <u32>load<u8>(cold, COLD_FLAGS), failed = (flags & HEARTBEAT_FAILED) != 0;
  if (mine == 0) { store<u32>(cold + (<usize>direction << 2), tag, TAGS); return TAG_FITS; }
  if (tag == mine) { store<u8>(cold, <u8>(flags & ~HEARTBEAT_FAILED), COLD_FLAGS); return TAG_FITS; }
  if ((map & (1 << DATA)) != 0 || ignored) return TAG_WRONG;
  if (type == HEARTBEAT) {
    store<u8>(cold, <u8>((flags & ~HEARTBEAT_DIRECTION) | HEARTBEAT_FAILED | (direction != 0 ? HEARTBEAT_DIRECTION : 0)), COLD_FLAGS);
    return TAG_IGNORED;
  }
  if (!failed || ((flags & HEARTBEAT_DIRECTION) != 0) == (direction != 0)) return TAG_WRONG;
  store<u8>(cold, <u8>(flags & ~HEARTBEAT_FAILED), COLD_FLAGS);
  store<u32>(cold + (<usize>direction << 2), tag, TAGS);
  store<u32>(cold + (<usize>(1 - direction) << 2), 0, TAGS);
  return TAG_FITS;
}

/** What an INIT or its answer says is the tag of the other direction; false when that contradicts what was said. */
function takeTag(cold: usize, direction: u32, type: u32, said: u32): bool {
  const at = cold + (<usize>(1 - direction) << 2), before = load<u32>(at, TAGS), flags = <u32>load<u8>(cold, COLD_FLAGS);
  const own = INIT_SEEN << direction, other = INIT_SEEN << (1 - direction), isOwn = (flags & own) != 0, isOther = (flags & other) != 0;
  if (type == INIT) store<u8>(cold, <u8>((isOwn && isOther ? flags & ~other : flags) | own), COLD_FLAGS);
  else if ((!isOther && before != 0 && before != said) || (isOwn && isOther && before != said)) return false;
  store<u32>(at, said, TAGS);
  return true;
}
