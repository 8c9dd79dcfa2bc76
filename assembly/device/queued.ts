/**
 * Ports with a queue (queue/): what is flushed waits there, and leaves when the qdisc says so and the device's ring has
 * room: a full ring holds packets back instead of losing them. Policers, in and out, drop or mark and hold nothing.
 *
 * With several workers everybody fills a port's queue and everybody empties it, one at a time under the root's lock, always
 * into the first worker's ring, so that a flow keeps its order. Its usual producer is the calling thread, which is also the
 * one that gives a port its queue and takes it away.
 */
import {
  BURST, DESC_GSO_KIND, DESC_INGRESS, DESC_PACKET_LENGTH, DROP_PORT_DOWN, HEADER_RING_CAPACITY, KIND_GENERATOR, PORT_FLAGS, PORT_KIND, PORT_NETNS,
  PORT_POLICE_IN, PORT_QUEUE, PORT_STAT_RX_BYTES, PORT_STAT_RX_PACKETS, PORT_STAT_TX_DROPPED, PORT_TX, PORT_UP, QDISC_PACKETS, QLINK_DEPARTURE, QLINK_PRIORITY,
  QROOT_BLOCKED, QROOT_CLOCK, QROOT_DUE, QROOT_NEXT, QROOT_QDISC, QROOT_SPLIT, STAT_RECEIVED, STAT_RECEIVED_BYTES, VEC_IDS, VEC_OUT,
  VEC_PRIORITY, WORKER_ID, WORKER_PORTS, WORKER_PORT_COUNT, WORKER_TIME,
} from "../abi";
import { add64, count, descriptorAt, header, portAt, portStats } from "../core/layout";
import { ringUsed } from "../core/ring";
import { linkAt } from "../queue/link";
import { policeBurst } from "../queue/police";
import { emptyTree, replaceTree } from "../queue/replace";
import { enter, leave, NEVER, rootAt, tryEnter } from "../queue/root";
import { dequeueDue, enqueue } from "../queue/tree";
import { needsSegments, output, segmentFor } from "./output";

// ── In ──────────────────────────────────────────────────────────────────────────────────────────

/** A packet is about to wait: the priority that it was given, and no time yet before which it must not leave. */
@inline
export function ready(id: u32, priority: u32): void {
  store<u64>(linkAt(id), 0, QLINK_DEPARTURE);
  store<u32>(linkAt(id), priority, QLINK_PRIORITY);
}

/** The same for `n` packets of the burst: rules give priorities, where the network they came in by has any. */
export function readyRun(worker: usize, first: u32, n: u32): void {
  const head = load<u32>(worker + (<usize>first << 2), VEC_IDS);
  const ruled = load<u16>(portAt(load<u16>(descriptorAt(head), DESC_INGRESS)), PORT_NETNS) != 0;
  for (let i = <usize>first; i < <usize>(first + n); i++) {
    ready(load<u32>(worker + (i << 2), VEC_IDS), ruled ? load<u32>(worker + (i << 2), VEC_PRIORITY) : 0);
  }
}

/** `waits`: the words at PORT_QUEUE and PORT_POLICE_OUT, one of them not 0. */
export function outputQueued(worker: usize, port: usize, portIndex: u32, waits: u64, ids: usize, n: u32): void {
  const now = load<u64>(worker, WORKER_TIME), root = <usize><u32>waits, policer = <usize>(waits >> 32);
  if (policer != 0) {
    const kept = policeBurst(worker, policer, ids, n, now);
    add64(portStats(worker, portIndex) + PORT_STAT_TX_DROPPED, n - kept);
    n = kept;
  }
  if (root == 0) { output(worker, port, portIndex, ringOf(worker, port), ids, n); return; }
  enter(root);
  // It may have been taken away while we waited for the lock.
  if (load<u32>(root, QROOT_QDISC) == 0) {
    leave(root);
    output(worker, port, portIndex, ringOf(worker, port), ids, n);
    return;
  }
  // What was due before these came leaves before they are there.
  if (load<u64>(root, QROOT_NEXT) <= now) sendDue(worker, port, portIndex, root, now);
  const time = max<u64>(now, load<u64>(root, QROOT_CLOCK)), flags = <u32>load<u16>(port, PORT_FLAGS), split = load<u32>(root, QROOT_SPLIT);
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(ids + (<usize>i << 2)), d = descriptorAt(id);
    const isTooLong = <u32>load<u16>(d, DESC_GSO_KIND) != 0 && load<u32>(d, DESC_PACKET_LENGTH) > split;
    if (isTooLong || needsSegments(d, flags)) enqueueSegments(worker, portStats(worker, portIndex), root, flags, id, time);
    else enqueue(worker, root, id, time);
  }
  sendDue(worker, port, portIndex, root, now);
  leave(root);
}

@inline
function ringOf(worker: usize, port: usize): usize {
  return <usize>load<u32>(port + (<usize>load<u32>(worker, WORKER_ID) << 2), PORT_TX);
}

/** Segments wait one by one, each with what its packet was given. */
function enqueueSegments(worker: usize, stats: usize, root: usize, flags: u32, id: u32, now: u64): void {
  const departure = load<u64>(linkAt(id), QLINK_DEPARTURE), priority = load<u32>(linkAt(id), QLINK_PRIORITY);
  const n = segmentFor(worker, stats, flags, id);
  for (let i: u32 = 0; i < n; i++) {
    const segment = load<u32>(worker + (<usize>i << 2), VEC_OUT);
    ready(segment, priority);
    store<u64>(linkAt(segment), departure, QLINK_DEPARTURE);
    enqueue(worker, root, segment, now);
  }
}

// ── Out ─────────────────────────────────────────────────────────────────────────────────────────

/** Sends what may leave, as much as the ring takes; the lock is held. Returns how many. */
function sendDue(worker: usize, port: usize, portIndex: u32, root: usize, now: u64): u32 {
  const isSink = <u32>load<u8>(port, PORT_KIND) == KIND_GENERATOR;
  const ring = <usize>load<u32>(port, PORT_TX), due = root + QROOT_DUE;
  let sent: u32 = 0;
  while (true) {
    const room = isSink ? <u32>BURST : min<u32>(header(HEADER_RING_CAPACITY) - ringUsed(ring), BURST);
    if (room == 0) {
      store<u32>(root, <u32>(load<u32>(<usize>load<u32>(root, QROOT_QDISC), QDISC_PACKETS) != 0), QROOT_BLOCKED);
      return sent;
    }
    const n = dequeueDue(worker, root, now, due, room);
    if (n != 0) output(worker, port, portIndex, ring, due, n);
    sent += n;
    if (n < room) return sent;
  }
}

/** Gives every queue of the worker's ports a turn; returns how many packets left. */
export function serveQueues(worker: usize): u32 {
  const now = load<u64>(worker, WORKER_TIME), ports = load<u32>(worker, WORKER_PORT_COUNT);
  let sent: u32 = 0;
  for (let p: u32 = 0; p < ports; p++) {
    const index = <u32>load<u16>(worker + (<usize>p << 1), WORKER_PORTS), port = portAt(index);
    const root = <usize>load<u32>(port, PORT_QUEUE);
    if (root == 0) continue;
    // Whoever holds the lock is doing just this.
    if (load<u64>(root, QROOT_NEXT) > now || !tryEnter(root)) continue;
    if (load<u32>(root, QROOT_QDISC) != 0) {
      if ((<u32>load<u16>(port, PORT_FLAGS) & PORT_UP) == 0) emptyTree(worker, root, DROP_PORT_DOWN);
      else sent += sendDue(worker, port, index, root, now);
    }
    leave(root);
  }
  return sent;
}

/** When a queue of the worker's ports has something to send next: seconds of the engine's clock, infinity for never. */
export function nextDeparture(worker: usize): f64 {
  const ports = load<u32>(worker, WORKER_PORT_COUNT);
  let next = NEVER;
  for (let p: u32 = 0; p < ports; p++) {
    const root = <usize>load<u32>(portAt(<u32>load<u16>(worker + (<usize>p << 1), WORKER_PORTS)), PORT_QUEUE);
    // A full ring is emptied by its device, which wakes us.
    if (root != 0 && load<u32>(root, QROOT_BLOCKED) == 0) next = min<u64>(next, load<u64>(root, QROOT_NEXT));
  }
  return next == NEVER ? Infinity : <f64>(next + 1) / 1e9;
}

/** Gives a port another tree, or none; what waited goes over to it, or is given back. */
export function setTree(worker: usize, portIndex: u32, tree: usize): void {
  const root = rootAt(portIndex), port = portAt(portIndex);
  enter(root);
  replaceTree(worker, root, tree, max<u64>(load<u64>(worker, WORKER_TIME), load<u64>(root, QROOT_CLOCK)));
  store<u32>(port, tree == 0 ? 0 : <u32>root, PORT_QUEUE);
  leave(root);
}

// ── Policers of what comes in ───────────────────────────────────────────────────────────────────

/** Lets the burst through the port's policers; returns how many packets are left. What they drop was received all the same. */
export function policeInput(worker: usize, port: usize, portIndex: u32, n: u32): u32 {
  const before = bytesOf(worker, n);
  const kept = policeBurst(worker, <usize>load<u32>(port, PORT_POLICE_IN), worker + VEC_IDS, n, load<u64>(worker, WORKER_TIME));
  if (kept == n) return n;
  const stats = portStats(worker, portIndex), bytes = before - bytesOf(worker, kept);
  add64(stats + PORT_STAT_RX_PACKETS, n - kept);
  add64(stats + PORT_STAT_RX_BYTES, bytes);
  count(worker, STAT_RECEIVED, n - kept);
  count(worker, STAT_RECEIVED_BYTES, bytes);
  return kept;
}

function bytesOf(worker: usize, n: u32): u64 {
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < n; i++) bytes += load<u32>(descriptorAt(load<u32>(worker + (<usize>i << 2), VEC_IDS)), DESC_PACKET_LENGTH);
  return bytes;
}
