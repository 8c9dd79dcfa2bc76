/** The calls a user of a connection makes (RFC 9293 §3.9.1): SEND, RECEIVE, CLOSE, ABORT, STATUS. */
import { LoomError } from "../base/errors.ts";
import type { ByteQueue } from "../engine/slabs.ts";
import { congestionControl } from "./congestion/index.ts";
import { abort, awaitFin, destroy } from "./end.ts";
import { AT_REST } from "./flight.ts";
import { QUICK_ACKS } from "./input.ts";
import { beginKeepAlive } from "./keepalive.ts";
import { transmit } from "./output.ts";
import { checkAppLimited } from "./pacing.ts";
import { acknowledgeSoon, noteRead, worthUpdate } from "./receiver.ts";
import { sendLimit, waitsForTurn } from "./send-limit.ts";
import { restartAfterIdle, send } from "./sender.ts";
import { ACK, after, distance } from "./sequence.ts";
import { CLOSE_WAIT, CLOSED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, STATES, SYN_RECEIVED, SYN_SENT, TIME_WAIT } from "./states.ts";
import type { Tcb } from "./tcb.ts";
import { markUrgent, passMark, toMark } from "./urgent.ts";

/**
 * Queues bytes and sends what may go; returns how many were taken (0: wait for `writable`). With `more` a small rest waits;
 * what ends a record (MSG_EOR) shares no segment with what follows; the last byte taken may be `urgent` (RFC 9293 §3.8.5).
 */
export function write(tcb: Tcb, bytes: Uint8Array, more = false, endsRecord = false, urgent = false): number {
  const room = roomIn(tcb);
  const taken = room <= 0 || !tcb.queue ? 0 : tcb.queue.append(bytes.length <= room ? bytes : bytes.subarray(0, room));
  tcb.more = more;
  tcb.pushesEnd = !more;
  if (endsRecord && taken === bytes.length && taken > 0 && tcb.queue) {
    tcb.recordEnds ??= [];
    tcb.recordEnds.push((tcb.queueStart + tcb.queue.length) | 0);
  }
  if (urgent && taken > 0 && tcb.queue) markUrgent(tcb, (tcb.queueStart + tcb.queue.length) | 0);
  wrote(tcb, taken, bytes.length, room);
  return taken;
}

/**
 * Queues a part of a larger write, in the unit that began at `unitStart`. When that is full, one packet of it leaves if nothing waits before it;
 * or all that may go, with a push at its end, when half the largest window was written without one (Linux's tcp_push_one, forced_push).
 */
export function writePart(tcb: Tcb, bytes: Uint8Array, unitStart: number, isFull: boolean): number {
  const room = roomIn(tcb);
  const start = writtenTo(tcb);
  const taken = room <= 0 || !tcb.queue ? 0 : tcb.queue.append(bytes.length <= room ? bytes : bytes.subarray(0, room));
  const end = (start + taken) | 0;
  tcb.pushMarks ??= [];
  const marks = tcb.pushMarks;
  // The push is at the unit's end, wherever that is now.
  if (start !== unitStart && marks.at(-1) === start) marks[marks.length - 1] = end;
  const forced = isFull && distance(end, tcb.pushedTo) > tcb.maxWindow / 2;
  if (forced) {
    if (marks.at(-1) !== end) marks.push(end);
    tcb.pushedTo = end;
  }
  tcb.more = true;
  tcb.pushesEnd = false;
  wrote(tcb, taken, bytes.length, room, forced ? "all" : isFull && !after(unitStart, tcb.nxt) ? "one" : "nothing");
  return taken;
}

/** Nothing is added to what `writePart` has queued, for now: it goes, with a push at its end. */
export function endParts(tcb: Tcb): void {
  tcb.pushesEnd = true;
  const waiting = Math.max(tcb.unsent, 0);
  wrote(tcb, waiting, waiting, 0);
}

/** As `write`, for an owner who goes on the moment it is told of room: of many flows on a near path each takes large writes in its turn. */
export function writeInTurn(tcb: Tcb, bytes: Uint8Array): number {
  if (!waitsForTurn(tcb, bytes.length)) return write(tcb, bytes);
  tcb.wantsRoom = true;
  return 0;
}

/** Bytes that the send buffer takes now. Throws EPIPE when nothing may be written any more. */
function roomIn(tcb: Tcb): number {
  if (tcb.finQueued || tcb.state === CLOSED || tcb.state > CLOSE_WAIT || tcb.state === FIN_WAIT_1 || tcb.state === FIN_WAIT_2) {
    throw new LoomError("EPIPE", "the connection cannot be written any more");
  }
  tcb.world.stack.touch();
  checkAppLimited(tcb);
  tcb.queue ??= tcb.world.newQueue("sending");
  restartAfterIdle(tcb);
  return sendLimit(tcb) - tcb.queue.length;
}

/** `taken` of `wanted` bytes are in the send buffer: they go if they may, and the owner hears when there is room for the rest. */
function wrote(tcb: Tcb, taken: number, wanted: number, room: number, goes: "all" | "one" | "nothing" = "all"): void {
  if (taken < wanted) tcb.wantsRoom = true;
  if (taken < Math.min(wanted, room)) tcb.world.stack.starve(tcb);
  if (taken > 0 && goes !== "nothing" && (tcb.state === ESTABLISHED || tcb.state === CLOSE_WAIT || tcb.isFastOpened)) {
    send(tcb, goes === "one");
    tcb.world.stack.flush();
  }
  tcb.more = false;
}

/**
 * Room in the send buffer itself, `most` bytes at the most and no more than lie in one piece: what is written there goes out
 * by `commit`, and nothing copies it before it leaves. Empty when there is none: wait for `writable`.
 */
export function reserve(tcb: Tcb, most: number): Uint8Array {
  const room = roomIn(tcb);
  const space = (tcb.queue as ByteQueue).space(Math.min(most, room));
  if (space.length > 0) return space;
  tcb.wantsRoom = true;
  if (room > 0) tcb.world.stack.starve(tcb);
  return space;
}

/** Sends the first `bytes` of what `reserve` gave last. */
export function commit(tcb: Tcb, bytes: number): void {
  const room = roomIn(tcb);
  (tcb.queue as ByteQueue).extend(bytes);
  tcb.pushesEnd = true;
  wrote(tcb, bytes, bytes, room);
}

/** Sequence number behind what was written last. */
export function writtenTo(tcb: Tcb): number {
  return (tcb.queueStart + (tcb.queue?.length ?? 0)) | 0;
}

/** What arrived, in place, as far as it lies in one piece; `discard` takes it out of the buffer. */
export function arrivedInPlace(tcb: Tcb, most: number): Uint8Array | undefined {
  return tcb.inbox?.front(most);
}

/** Bytes that can be read now. */
export function readable(tcb: Tcb): number {
  return tcb.inbox?.length ?? 0;
}

/** Something can be read, and the peer can send hardly more before it was (Linux's tcp_stream_is_readable): who waits for more waits in vain. */
export function isNearlyFull(tcb: Tcb): boolean {
  return readable(tcb) > 0 && distance(tcb.announced, tcb.received) <= tcb.receivedMss;
}

/** True when the peer has closed its side and everything was read. */
export function ended(tcb: Tcb): boolean {
  return tcb.finReceived && readable(tcb) === 0;
}

/** Copies what arrived into `out`; returns the bytes, and opens the window. */
export function read(tcb: Tcb, out: Uint8Array): number {
  const { inbox } = tcb;
  if (!inbox || inbox.length === 0) return 0;
  const n = inbox.copy(0, out);
  inbox.drop(n);
  consumed(tcb, n);
  return n;
}

/** The first `n` bytes were read: room for more, of which the peer is told when it is worth it. */
function consumed(tcb: Tcb, n: number): void {
  if (tcb.urgent) passMark(tcb, tcb.urgent);
  if (tcb.state === CLOSED) return;
  tcb.world.stack.touch();
  noteRead(tcb, n);
  // Before the handshake is over there is nobody to tell: data in a SYN may be a spoofer's (RFC 7413 §5.1).
  if (!tcb.ackSoon && worthUpdate(tcb) && !tcb.finReceived && tcb.state !== SYN_RECEIVED) {
    acknowledgeSoon(tcb);
    tcb.world.stack.engine.wake();
  }
}

/** Copies what lies `from` bytes ahead into `out`, and leaves it there. */
export function peek(tcb: Tcb, from: number, out: Uint8Array): number {
  const { inbox } = tcb;
  return inbox && from < inbox.length ? inbox.copy(from, out) : 0;
}

/** As `read`, but nobody sees the bytes. */
export function discard(tcb: Tcb, bytes: number): number {
  const n = Math.min(bytes, readable(tcb));
  if (n === 0) return 0;
  tcb.inbox?.drop(n);
  consumed(tcb, n);
  return n;
}

/** Moves what arrived on one connection to what another of the same engine sends, in place where it fits; returns the bytes. */
export function splice(from: Tcb, to: Tcb, bytes: number): number {
  const wanted = Math.min(bytes, readable(from), toMark(from));
  const room = roomIn(to);
  const n = Math.min(wanted, room);
  const moved = n > 0 && from.inbox && to.queue ? from.inbox.moveTo(to.queue, n) : 0;
  wrote(to, moved, wanted, room);
  if (moved > 0) consumed(from, moved);
  return moved;
}

/** Sends what may go now: the owner has changed what small segments wait for. */
export function push(tcb: Tcb): void {
  tcb.world.stack.touch();
  if (tcb.flight === AT_REST) return;
  tcb.flight.pushing = true;
  send(tcb);
  tcb.flight.pushing = false;
  tcb.world.stack.flush();
}

/** Small segments wait for nothing any more, and what has waited goes; or they wait from now on (TCP_NODELAY). */
export function setNoDelay(tcb: Tcb, on: boolean): void {
  tcb.ownOptions.noDelay = on;
  if (on && tcb.state >= ESTABLISHED) push(tcb);
}

/** On: what is owed is acknowledged now, and the next segments at once (TCP_QUICKACK). Off: acknowledgements wait for company. */
export function quickAck(tcb: Tcb, on: boolean): void {
  tcb.quickAcks = on ? Math.max(tcb.quickAcks, QUICK_ACKS) : 0;
  if (!on || tcb.unackedBytes === 0 || tcb.state < ESTABLISHED) return;
  tcb.world.stack.touch();
  transmit(tcb, tcb.nxt, 0, ACK);
  tcb.world.stack.flush();
  tcb.rest();
}

/** Tells the peer, with the next segment, that data may stay unacknowledged so long (RFC 5482). Throws EINVAL for what the option cannot say. */
export function advertiseTimeout(tcb: Tcb, seconds: number): void {
  if (!(seconds >= 1 && seconds <= 1_966_020)) throw new LoomError("EINVAL", `a user timeout of ${seconds} s; expected 1 to 1966020`);
  tcb.ownOptions.advertisedTimeout = seconds;
  tcb.timeouts = { remote: tcb.timeouts?.remote ?? 0, due: true };
}

/** Asks the peer to use the key whose identifier we receive is `recvId` (RFC 5925 §6.1). Throws ENOENT when there is none. */
export function setNextKey(tcb: Tcb, recvId: number): void {
  const key = tcb.ao?.receiving(recvId);
  if (!tcb.ao || !key) throw new LoomError("ENOENT", `no key with identifier ${recvId} to receive`);
  tcb.ao.next = key;
}

/** Takes a key from an open connection; what comes with it is refused. Throws ENOENT when there is none, EBUSY while it is used. */
export function removeKey(tcb: Tcb, sendId: number, recvId: number): void {
  const { ao } = tcb;
  const at = ao?.keys.findIndex(({ key }) => key.sendId === sendId && key.recvId === recvId) ?? -1;
  if (!ao || at < 0) throw new LoomError("ENOENT", `no key with the identifiers ${sendId} and ${recvId}`);
  if (ao.keys[at] === ao.current || ao.keys[at] === ao.next) throw new LoomError("EBUSY", "the key is in use");
  ao.keys.splice(at, 1);
}

/** The options of keepalive were changed: its timer starts anew, or stops. */
export function keepAliveChanged(tcb: Tcb): void {
  if (tcb.state < ESTABLISHED || tcb.state === TIME_WAIT || tcb.orphan) return;
  tcb.keepProbes = 0;
  if (tcb.hasStateTimer) tcb.world.stack.timers.cancel(tcb.stateTimer);
  beginKeepAlive(tcb);
}

/** No more will be sent: the FIN follows the last byte. Reading goes on. */
export function shutdown(tcb: Tcb): void {
  if (tcb.finQueued || tcb.state === CLOSED) return;
  tcb.world.stack.touch();
  if (tcb.state === SYN_SENT) {
    destroy(tcb, undefined);
    return;
  }
  tcb.finQueued = true;
  if (tcb.state === ESTABLISHED) tcb.state = FIN_WAIT_1;
  else if (tcb.state === CLOSE_WAIT) tcb.state = LAST_ACK;
  else if (tcb.state !== SYN_RECEIVED) return;
  // Not before the handshake is over, unless the SYN alone opened it.
  else if (tcb.isFastOpened) tcb.state = FIN_WAIT_1;
  send(tcb);
  tcb.world.stack.flush();
}

/** Its owner closes it when the peer has taken what is being written: who takes nothing is waited for no longer than for an orphan. */
export function leave(tcb: Tcb): void {
  tcb.leftAt = tcb.world.stack.now;
}

/** Nobody reads or writes any more: an orderly end, or a reset when unread data is lost by it (RFC 2525 §2.17). */
export function close(tcb: Tcb): void {
  if (tcb.state === CLOSED || tcb.state === TIME_WAIT) {
    tcb.orphan = true;
    tcb.inbox?.clear();
    return;
  }
  if (tcb.orphan) return;
  if (readable(tcb) > 0) {
    abort(tcb, "ECONNABORTED", "closed with unread data");
    return;
  }
  shutdown(tcb);
  if ((tcb.state as number) === CLOSED) return;
  tcb.orphan = true;
  if (!tcb.world.orphaned(tcb)) {
    tcb.world.counters.abort_on_memory++;
    abort(tcb, "ENOMEM", "there are too many connections that nobody owns");
    return;
  }
  if ((tcb.state as number) === FIN_WAIT_2) awaitFin(tcb);
}

/** Changes the congestion control of a connection, whenever; window and threshold stay (TCP_CONGESTION). EINVAL: no such name. */
export function setCongestion(tcb: Tcb, name: string): void {
  if (tcb.control.name === name) return;
  tcb.control = congestionControl(name);
  tcb.ownOptions.congestion = name;
  tcb.pacingRate = 0;
}

/** What `ss -i` and TCP_INFO show. Bytes, milliseconds, bytes a second. */
export function status(tcb: Tcb) {
  const { rtt } = tcb;
  return {
    state: STATES[tcb.state],
    cwnd: tcb.cwnd,
    ssthresh: tcb.ssthresh === Number.MAX_SAFE_INTEGER ? undefined : tcb.ssthresh,
    mss: tcb.mss,
    rcvMss: tcb.receivedMss,
    srtt: rtt.srtt,
    rttvar: rtt.rttvar,
    minRtt: Number.isFinite(rtt.min) ? rtt.min : undefined,
    rto: rtt.rto,
    pacingRate: tcb.pacingRate || undefined,
    delivered: tcb.rate.delivered,
    deliveryRate: tcb.rate.latest || undefined,
    appLimited: tcb.rate.appLimited,
    unacked: distance(tcb.nxt, tcb.una),
    inFlight: tcb.sent.pipe,
    sacked: tcb.sent.sackedBytes,
    lost: tcb.sent.lostBytes,
    retransmissions: tcb.retransmissions,
    sendWindow: tcb.window,
    receiveSpace: tcb.receiveSpace,
    notSent: tcb.unsent,
    unread: readable(tcb),
    bytesAcked: tcb.bytesAcked,
    bytesReceived: tcb.bytesReceived,
    sack: tcb.sackOk,
    timestamps: tcb.timestampsOk,
    windowScale: [tcb.sendScale, tcb.receiveScale] as const,
    congestion: tcb.control.name,
    inRecovery: tcb.flight.inRecovery,
    control: tcb.control.state(),
  };
}
