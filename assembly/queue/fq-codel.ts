/**
 * FlowQueue-CoDel (RFC 8290): flows by hash, each with a CoDel of its own; those that have just begun to send go before
 * those that stand in the round, by deficits of a quantum of bytes.
 */
import {
  DROP_QUEUE_FULL, NONE, QDISC_MOST_PACKETS, QDISC_PACKETS, QFC_BATCH, QFC_CODEL, QFC_FLOWS, QFC_FLOW_COUNT, QFC_MEMORY,
  QFC_MOST_MEMORY, QFC_NEW, QFC_OLD, QFC_QUANTUM, QFC_STAT_CE, QFC_STAT_NEW_FLOWS, QFC_STAT_OVERLIMIT, QFC_STAT_OVERMEMORY, QFLOW_BYTES,
  QFLOW_COUNT, QFLOW_DEFICIT, QFLOW_DROPPED, QFLOW_IDLE, QFLOW_NEW, QFLOW_OLD, QFLOW_SIZE, QFLOW_STATE, QROOT_KEY,
} from "../abi";
import { codelDequeue, flowAppend, flowTake, markLate } from "./codel";
import { dissect, flowHash } from "./dissect";
import { firstFlow, pushFlow, removeFlow } from "./flows";
import { lengthOf } from "./link";
import { bump, lose } from "./root";

export function fqCodelEnqueue(root: usize, qdisc: usize, id: u32): void {
  dissect(root + QROOT_KEY, id);
  const index = <u32>(((flowHash(root + QROOT_KEY) & 0xffffffff) * <u64>load<u32>(qdisc, QFC_FLOW_COUNT)) >> 32);
  const flow = <usize>load<u32>(qdisc, QFC_FLOWS) + <usize>index * QFLOW_SIZE;
  flowAppend(flow, qdisc + QFC_CODEL, 0, qdisc + QFC_MEMORY, id);
  if (load<u32>(flow, QFLOW_STATE) != QFLOW_IDLE) return;
  pushFlow(qdisc + QFC_NEW, flow, QFLOW_NEW);
  bump(qdisc + QFC_STAT_NEW_FLOWS);
  store<u32>(flow, load<u32>(qdisc, QFC_QUANTUM), QFLOW_DEFICIT);
  store<u32>(flow, 0, QFLOW_DROPPED);
}

/** After a packet was taken and booked: over a limit, the longest flow loses from its head. */
export function fqCodelTrim(worker: usize, root: usize, qdisc: usize): void {
  const isOverMemory = load<u32>(qdisc, QFC_MEMORY) > load<u32>(qdisc, QFC_MOST_MEMORY);
  if (!isOverMemory && load<u32>(qdisc, QDISC_PACKETS) <= load<u32>(qdisc, QDISC_MOST_PACKETS)) return;
  const flow = longest(<usize>load<u32>(qdisc, QFC_FLOWS), load<u32>(qdisc, QFC_FLOW_COUNT));
  const dropped = cutFlow(worker, root, qdisc, flow, 0, qdisc + QFC_MEMORY, load<u32>(qdisc, QFC_BATCH));
  store<u32>(qdisc, load<u32>(qdisc, QFC_STAT_OVERLIMIT) + dropped, QFC_STAT_OVERLIMIT);
  if (isOverMemory) store<u32>(qdisc, load<u32>(qdisc, QFC_STAT_OVERMEMORY) + dropped, QFC_STAT_OVERMEMORY);
}

/** The flow with the most bytes; looked for among all, which is why many are dropped at once. */
export function longest(flows: usize, count: u32): usize {
  let best = flows, most: u32 = 0;
  for (let i: u32 = 0; i < count; i++, flows += QFLOW_SIZE) {
    const bytes = load<u32>(flows, QFLOW_BYTES);
    if (bytes > most) { most = bytes; best = flows; }
  }
  return best;
}

/** Drops from a flow's head, up to `batch` packets or half of its bytes; returns how many. */
export function cutFlow(worker: usize, root: usize, qdisc: usize, flow: usize, tally: usize, memory: usize, batch: u32): u32 {
  const half = load<u32>(flow, QFLOW_BYTES) >>> 1;
  let bytes: u32 = 0, n: u32 = 0;
  do {
    const id = flowTake(flow, tally, memory);
    if (id == NONE) break;
    bytes += lengthOf(id);
    n++;
    lose(worker, root, qdisc, id, DROP_QUEUE_FULL);
  } while (n < batch && bytes < half);
  store<u32>(flow, load<u32>(flow, QFLOW_DROPPED) + n, QFLOW_DROPPED);
  // As the kernel does: CoDel is told, so that it drops sooner.
  store<u32>(flow, load<u32>(flow, QFLOW_COUNT) + n, QFLOW_COUNT);
  return n;
}

export function fqCodelDequeue(worker: usize, root: usize, qdisc: usize, now: u64): u32 {
  const fresh = qdisc + QFC_NEW, old = qdisc + QFC_OLD, quantum = load<i32>(qdisc, QFC_QUANTUM);
  while (true) {
    const isFresh = firstFlow(fresh) != 0, list = isFresh ? fresh : old, flow = firstFlow(list);
    if (flow == 0) return NONE;
    const deficit = load<i32>(flow, QFLOW_DEFICIT);
    if (deficit <= 0) {
      store<i32>(flow, deficit + quantum, QFLOW_DEFICIT);
      removeFlow(list, flow);
      pushFlow(old, flow, QFLOW_OLD);
      continue;
    }
    const id = codelDequeue(worker, root, qdisc, flow, qdisc + QFC_CODEL, 0, qdisc + QFC_MEMORY, now);
    if (id == NONE) {
      removeFlow(list, flow);
      // RFC 8290 §4.2: an emptied new flow goes round once, or it could stay new for ever.
      if (isFresh && firstFlow(old) != 0) pushFlow(old, flow, QFLOW_OLD);
      else store<u32>(flow, QFLOW_IDLE, QFLOW_STATE);
      continue;
    }
    store<i32>(flow, load<i32>(flow, QFLOW_DEFICIT) - <i32>lengthOf(id), QFLOW_DEFICIT);
    return markLate(worker, qdisc + QFC_CODEL, id, now, qdisc + QFC_STAT_CE);
  }
}
