/**
 * Fair queue with pacing, as the kernel's fq: a queue for each flow, sent by turns of a quantum of bytes, flows that begin
 * first; a flow leaves no faster than the greatest rate, and a packet no earlier than the time it was given (EDT).
 */
import {
  DROP_QUEUE_FULL, NONE, QDISC_MOST_PACKETS, QDISC_PACKETS, QFLOW_BYTES, QFLOW_CHAIN, QFLOW_DEFICIT, QFLOW_DEPARTS, QFLOW_FIRST,
  QFLOW_IDLE, QFLOW_KEY, QFLOW_LAST, QFLOW_NEW, QFLOW_OLD, QFLOW_PACKETS, QFLOW_REST, QFLOW_SEEN, QFLOW_SIZE, QFLOW_STATE,
  QFLOW_THROTTLED, QFQ_BUCKETS, QFQ_CE_THRESHOLD, QFQ_CONTROL_FIRST, QFQ_FLOWS, QFQ_FLOW_COUNT, QFQ_FLOW_LIMIT, QFQ_HEAP, QFQ_HORIZON,
  QFQ_HORIZON_DROP, QFQ_IDLE, QFQ_INITIAL, QFQ_MASK, QFQ_MAX_RATE, QFQ_NEW, QFQ_OLD, QFQ_QUANTUM, QFQ_REFILL,
  QFQ_STAT_CONTROL, QFQ_STAT_FLOW_LIMIT, QFQ_STAT_GC, QFQ_STAT_HORIZON_CAPS, QFQ_STAT_HORIZON_DROPS, QFQ_STAT_MARKED,
  QFQ_STAT_THROTTLED, QFQ_USED, QLINK_DEPARTURE, QLINK_NEXT, QLINK_TIME, QROOT_KEY,
} from "../abi";
import { dissect, flowHash } from "./dissect";
import { priorityOf } from "./filter";
import { firstFlow, pushFlow, removeFlow } from "./flows";
import { heapFirst, heapRemove, heapSet } from "./heap";
import { append, lengthOf, linkAt, nextOf, takeFirst } from "./link";
import { markCongestion } from "./remark";
import { bump, refuse, wakeAt } from "./root";
import { spend } from "./tokens";

/** TC_PRIO_CONTROL: goes before all flows. */
const CONTROL: u32 = 7;

export function fqEnqueue(worker: usize, root: usize, qdisc: usize, id: u32, now: u64): bool {
  if (load<u32>(qdisc, QDISC_PACKETS) >= load<u32>(qdisc, QDISC_MOST_PACKETS)) return no(worker, root, qdisc, id);
  const link = linkAt(id), horizon = load<u64>(qdisc, QFQ_HORIZON);
  if (horizon != 0 && load<u64>(link, QLINK_DEPARTURE) > now + horizon) {
    if (load<u32>(qdisc, QFQ_HORIZON_DROP) != 0) {
      bump(qdisc + QFQ_STAT_HORIZON_DROPS);
      return no(worker, root, qdisc, id);
    }
    bump(qdisc + QFQ_STAT_HORIZON_CAPS);
    store<u64>(link, now + horizon, QLINK_DEPARTURE);
  }
  if ((priorityOf(id) & 15) == CONTROL) {
    append(qdisc + QFQ_CONTROL_FIRST, id);
    bump(qdisc + QFQ_STAT_CONTROL);
    return true;
  }
  dissect(root + QROOT_KEY, id);
  const flow = flowOf(qdisc, flowHash(root + QROOT_KEY));
  if (flow == 0 || load<u32>(flow, QFLOW_PACKETS) >= load<u32>(qdisc, QFQ_FLOW_LIMIT)) {
    bump(qdisc + QFQ_STAT_FLOW_LIMIT);
    return no(worker, root, qdisc, id);
  }
  insert(flow, id);
  store<u32>(flow, load<u32>(flow, QFLOW_PACKETS) + 1, QFLOW_PACKETS);
  store<u32>(flow, load<u32>(flow, QFLOW_BYTES) + lengthOf(id), QFLOW_BYTES);
  const state = load<u32>(flow, QFLOW_STATE);
  if (state == QFLOW_IDLE) begin(qdisc, flow, now);
  else if (state == QFLOW_THROTTLED && load<u64>(qdisc, QFQ_MAX_RATE) == 0) hasten(qdisc, flow);
  return true;
}

function no(worker: usize, root: usize, qdisc: usize, id: u32): bool {
  refuse(worker, root, qdisc, id, DROP_QUEUE_FULL);
  return false;
}

/** A flow that had nothing to send has something: it is new, and after a rest its credit is whole. */
function begin(qdisc: usize, flow: usize, now: u64): void {
  removeFlow(qdisc + QFQ_IDLE, flow);
  const quantum = load<i32>(qdisc, QFQ_QUANTUM);
  if (now >= load<u64>(flow, QFLOW_SEEN) + load<u64>(qdisc, QFQ_REFILL) && load<i32>(flow, QFLOW_DEFICIT) < quantum) store<i32>(flow, quantum, QFLOW_DEFICIT);
  pushFlow(qdisc + QFQ_NEW, flow, QFLOW_NEW);
}

/** A flow that waits for its first packet's time has another first packet now, perhaps. */
function hasten(qdisc: usize, flow: usize): void {
  const departs = load<u64>(linkAt(load<u32>(flow, QFLOW_FIRST)), QLINK_DEPARTURE);
  if (departs >= load<u64>(flow, QFLOW_DEPARTS)) return;
  store<u64>(flow, departs, QFLOW_DEPARTS);
  heapSet(qdisc + QFQ_HEAP, flow);
}

/** Behind all packets that depart no later; nearly always that is the end. */
function insert(flow: usize, id: u32): void {
  const list = flow + QFLOW_FIRST, departure = load<u64>(linkAt(id), QLINK_DEPARTURE);
  const last = load<u32>(flow, QFLOW_LAST);
  if (load<u32>(list) == NONE || load<u64>(linkAt(last), QLINK_DEPARTURE) <= departure) { append(list, id); return; }
  let before: u32 = NONE, at = load<u32>(list);
  while (load<u64>(linkAt(at), QLINK_DEPARTURE) <= departure) { before = at; at = nextOf(at); }
  store<u32>(linkAt(id), at, QLINK_NEXT);
  if (before == NONE) store<u32>(list, id);
  else store<u32>(linkAt(before), id, QLINK_NEXT);
}

// ── Flows by their key ──────────────────────────────────────────────────────────────────────────

@inline
function bucketOf(qdisc: usize, key: u64): usize {
  return <usize>load<u32>(qdisc, QFQ_BUCKETS) + (<usize>(<u32>key & load<u32>(qdisc, QFQ_MASK)) << 2);
}

/** The flow with this key: found, made, or taken from whoever has been idle the longest; 0 when all have something to send. */
function flowOf(qdisc: usize, key: u64): usize {
  const bucket = bucketOf(qdisc, key);
  for (let flow = <usize>load<u32>(bucket); flow != 0; flow = <usize>load<u32>(flow, QFLOW_CHAIN)) {
    if (load<u64>(flow, QFLOW_KEY) == key) return flow;
  }
  const flow = freeFlow(qdisc);
  if (flow == 0) return 0;
  memory.fill(flow, 0, QFLOW_SIZE);
  store<u32>(flow, NONE, QFLOW_FIRST);
  store<u64>(flow, key, QFLOW_KEY);
  store<u32>(flow, load<u32>(qdisc, QFQ_INITIAL), QFLOW_DEFICIT);
  store<u32>(flow, load<u32>(bucket), QFLOW_CHAIN);
  store<u32>(bucket, <u32>flow);
  pushFlow(qdisc + QFQ_IDLE, flow, QFLOW_IDLE);
  return flow;
}

function freeFlow(qdisc: usize): usize {
  const used = load<u32>(qdisc, QFQ_USED);
  if (used < load<u32>(qdisc, QFQ_FLOW_COUNT)) {
    store<u32>(qdisc, used + 1, QFQ_USED);
    return <usize>load<u32>(qdisc, QFQ_FLOWS) + <usize>used * QFLOW_SIZE;
  }
  const idle = firstFlow(qdisc + QFQ_IDLE);
  if (idle == 0) return 0;
  removeFlow(qdisc + QFQ_IDLE, idle);
  let at = bucketOf(qdisc, load<u64>(idle, QFLOW_KEY));
  while (<usize>load<u32>(at) != idle) at = <usize>load<u32>(at) + QFLOW_CHAIN;
  store<u32>(at, load<u32>(idle, QFLOW_CHAIN));
  bump(qdisc + QFQ_STAT_GC);
  return idle;
}

// ── Out ─────────────────────────────────────────────────────────────────────────────────────────

/** Flows whose time has come stand in the round again. */
function awake(qdisc: usize, now: u64): void {
  const heap = qdisc + QFQ_HEAP;
  for (let flow = heapFirst(heap); flow != 0 && load<u64>(flow, QFLOW_DEPARTS) <= now; flow = heapFirst(heap)) {
    heapRemove(heap, flow);
    pushFlow(qdisc + QFQ_OLD, flow, QFLOW_OLD);
  }
}

export function fqDequeue(worker: usize, root: usize, qdisc: usize, now: u64): u32 {
  const urgent = takeFirst(qdisc + QFQ_CONTROL_FIRST);
  if (urgent != NONE) return urgent;
  awake(qdisc, now);
  const fresh = qdisc + QFQ_NEW, old = qdisc + QFQ_OLD;
  while (true) {
    const isFresh = firstFlow(fresh) != 0, list = isFresh ? fresh : old, flow = firstFlow(list);
    if (flow == 0) break;
    const credit = load<i32>(flow, QFLOW_DEFICIT);
    if (credit <= 0) {
      store<i32>(flow, credit + load<i32>(qdisc, QFQ_QUANTUM), QFLOW_DEFICIT);
      removeFlow(list, flow);
      pushFlow(old, flow, QFLOW_OLD);
      continue;
    }
    const id = load<u32>(flow, QFLOW_FIRST);
    if (id == NONE) {
      rest(qdisc, list, flow, isFresh && firstFlow(old) != 0, now);
      continue;
    }
    const departs = max<u64>(load<u64>(flow, QFLOW_DEPARTS), load<u64>(linkAt(id), QLINK_DEPARTURE));
    if (now < departs) {
      store<u64>(flow, departs, QFLOW_DEPARTS);
      removeFlow(list, flow);
      store<u32>(flow, QFLOW_THROTTLED, QFLOW_STATE);
      heapSet(qdisc + QFQ_HEAP, flow);
      bump(qdisc + QFQ_STAT_THROTTLED);
      continue;
    }
    return take(worker, qdisc, flow, now);
  }
  const sleeper = heapFirst(qdisc + QFQ_HEAP);
  if (sleeper != 0) wakeAt(root, load<u64>(sleeper, QFLOW_DEPARTS));
  return NONE;
}

/** A flow without packets: round once more if it was new, or it is idle. */
function rest(qdisc: usize, list: usize, flow: usize, again: bool, now: u64): void {
  removeFlow(list, flow);
  if (again) { pushFlow(qdisc + QFQ_OLD, flow, QFLOW_OLD); return; }
  store<u64>(flow, now, QFLOW_SEEN);
  pushFlow(qdisc + QFQ_IDLE, flow, QFLOW_IDLE);
}

function take(worker: usize, qdisc: usize, flow: usize, now: u64): u32 {
  const id = takeFirst(flow + QFLOW_FIRST), length = lengthOf(id), rate = load<u64>(qdisc, QFQ_MAX_RATE);
  store<u32>(flow, load<u32>(flow, QFLOW_PACKETS) - 1, QFLOW_PACKETS);
  store<u32>(flow, load<u32>(flow, QFLOW_BYTES) - length, QFLOW_BYTES);
  store<i32>(flow, load<i32>(flow, QFLOW_DEFICIT) - <i32>length, QFLOW_DEFICIT);
  if (rate != 0 && rate != u64.MAX_VALUE) {
    // What it is late by is made up for, half of a packet's time at most: a pause is not sent after.
    const cost = spend(length, rate, flow + QFLOW_REST), departs = load<u64>(flow, QFLOW_DEPARTS);
    const late = departs != 0 && now > departs ? min<u64>(now - departs, cost >> 1) : 0;
    store<u64>(flow, now + cost - late, QFLOW_DEPARTS);
  }
  const threshold = load<i64>(qdisc, QFQ_CE_THRESHOLD), link = linkAt(id);
  const ready = max<u64>(load<u64>(link, QLINK_TIME), load<u64>(link, QLINK_DEPARTURE));
  if (threshold == 0 || <i64>(now - ready) <= threshold) return id;
  const marked = markCongestion(worker, id);
  if (marked == NONE) return id;
  bump(qdisc + QFQ_STAT_MARKED);
  return marked;
}
