/**
 * A shaper for the edge of a home or a site, after CAKE (Høiland-Jørgensen, Täht and Morton, "Piece of CAKE", 2018): one
 * rate with compensation for what the link adds, tins by DSCP, in each tin flows with CoDel, and the turns of a host's flows
 * divided among them, so that hosts share first and flows after.
 *
 * Not here: COBALT's BLUE half (CoDel alone decides), filtering of acknowledgements, ingress mode and autorate.
 */
import {
  NONE, QCAKE_ATM, QCAKE_CELLS, QCAKE_DEPARTS, QCAKE_ISOLATION, QCAKE_LEAST, QCAKE_LENGTHS, QCAKE_MEMORY,
  QCAKE_MOST_MEMORY, QCAKE_OVERHEAD, QCAKE_PEAK_MEMORY, QCAKE_PTM, QCAKE_RATE, QCAKE_REST, QCAKE_TIN, QCAKE_TINS, QCAKE_TIN_OF, QCAKE_WASH,
  QDISC_DROPPED, QDISC_MARKED, QDISC_OVERLIMITS, QFLOW_BYTES, QFLOW_DEFICIT, QFLOW_IDLE, QFLOW_NEW, QFLOW_OLD, QFLOW_STATE, QKEY_TOS,
  QROOT_KEY, QTIN_AVERAGE_DELAY, QTIN_BASE_DELAY, QTIN_CODEL, QTIN_DEFICIT, QTIN_DEPARTS, QTIN_DROPPED, QTIN_FLOWS,
  QTIN_FLOW_COUNT, QTIN_MARKED, QTIN_NEW, QTIN_OLD, QTIN_PACKETS, QTIN_PEAK_DELAY, QTIN_QUANTUM, QTIN_RATE, QTIN_REST, QTIN_SENT_BYTES,
  QTIN_SENT_PACKETS, QTIN_WEIGHT, QLINK_SEGMENTS,
} from "../abi";
import { add64 } from "../core/layout";
import { cakeFlow, countHosts, hostLoad } from "./cake-hash";
import { codelDequeue, flowAppend, waited } from "./codel";
import { dissect } from "./dissect";
import { firstFlow, pushFlow, removeFlow } from "./flows";
import { cutFlow, longest } from "./fq-codel";
import { lengthOf, linkAt } from "./link";
import { setDscp } from "./remark";
import { bump, chance, wakeAt } from "./root";
import { spend } from "./tokens";

/** Packets dropped at once when the memory is used up. */
const BATCH: u32 = 64;

@inline
function tinAt(qdisc: usize, index: u32): usize {
  return <usize>load<u32>(qdisc + (<usize>index << 2), QCAKE_TIN);
}

export function cakeEnqueue(root: usize, qdisc: usize, id: u32): void {
  dissect(root + QROOT_KEY, id);
  const dscp = <u32>load<u8>(root + QROOT_KEY, QKEY_TOS) >>> 2;
  const tin = tinAt(qdisc, load<u8>(qdisc + dscp, QCAKE_TIN_OF));
  const flow = cakeFlow(root + QROOT_KEY, tin, load<u32>(qdisc, QCAKE_ISOLATION));
  flowAppend(flow, tin + QTIN_CODEL, tin + QTIN_PACKETS, qdisc + QCAKE_MEMORY, id);
  const memory = load<u32>(qdisc, QCAKE_MEMORY);
  if (memory > load<u32>(qdisc, QCAKE_PEAK_MEMORY)) store<u32>(qdisc, memory, QCAKE_PEAK_MEMORY);
  if (load<u32>(flow, QFLOW_STATE) != QFLOW_IDLE) return;
  store<u32>(flow, share(root, tin, flow), QFLOW_DEFICIT);
  pushFlow(tin + QTIN_NEW, flow, QFLOW_NEW);
}

/** A flow's turn: its part of the host's. Rounded by chance, up as often as it should be, or many flows would lose what is cut off. */
function share(root: usize, tin: usize, flow: usize): u32 {
  const flows = hostLoad(flow), quantum = load<u32>(tin, QTIN_QUANTUM);
  return flows == 1 ? quantum : max<u32>(1, <u32>(<f64>quantum / <f64>flows + chance(root)));
}

/** After a packet was taken and booked: out of memory, the longest of all flows loses from its head. */
export function cakeTrim(worker: usize, root: usize, qdisc: usize): void {
  if (load<u32>(qdisc, QCAKE_MEMORY) <= load<u32>(qdisc, QCAKE_MOST_MEMORY)) return;
  let worst: usize = 0, tinOfWorst: usize = 0, most: u32 = 0;
  for (let t: u32 = 0; t < load<u32>(qdisc, QCAKE_TINS); t++) {
    const tin = tinAt(qdisc, t), flow = longest(<usize>load<u32>(tin, QTIN_FLOWS), load<u32>(tin, QTIN_FLOW_COUNT));
    if (load<u32>(flow, QFLOW_BYTES) <= most) continue;
    most = load<u32>(flow, QFLOW_BYTES);
    worst = flow;
    tinOfWorst = tin;
  }
  if (worst == 0) return;
  const n = cutFlow(worker, root, qdisc, worst, tinOfWorst + QTIN_PACKETS, qdisc + QCAKE_MEMORY, BATCH);
  store<u32>(tinOfWorst, load<u32>(tinOfWorst, QTIN_DROPPED) + n, QTIN_DROPPED);
}

export function cakeDequeue(worker: usize, root: usize, qdisc: usize, now: u64): u32 {
  const rate = load<u64>(qdisc, QCAKE_RATE), departs = load<u64>(qdisc, QCAKE_DEPARTS);
  if (rate != 0 && now < departs) {
    bump(qdisc + QDISC_OVERLIMITS);
    wakeAt(root, departs);
    return NONE;
  }
  while (true) {
    const tin = rate == 0 ? tinByTurn(qdisc) : tinByTime(qdisc, now);
    if (tin == 0) return NONE;
    const id = fromTin(worker, root, qdisc, tin, now);
    if (id == NONE) continue;
    observe(tin, id, now);
    charge(qdisc, tin, id, rate, now);
    return load<u32>(qdisc, QCAKE_WASH) != 0 ? setDscp(worker, id, 0) : id;
  }
}

/** Without a rate: tins take turns by their weights. */
function tinByTurn(qdisc: usize): usize {
  const tins = load<u32>(qdisc, QCAKE_TINS);
  let busy: u32 = 0;
  for (let t: u32 = 0; t < tins; t++) busy += load<u32>(tinAt(qdisc, t), QTIN_PACKETS);
  if (busy == 0) return 0;
  while (true) {
    for (let t: u32 = 0; t < tins; t++) {
      const tin = tinAt(qdisc, t);
      if (load<u32>(tin, QTIN_PACKETS) != 0 && load<i32>(tin, QTIN_DEFICIT) > 0) return tin;
    }
    for (let t: u32 = 0; t < tins; t++) {
      const tin = tinAt(qdisc, t), weight = load<i32>(tin, QTIN_WEIGHT);
      store<i32>(tin, min<i32>(load<i32>(tin, QTIN_DEFICIT) + weight, weight), QTIN_DEFICIT);
    }
  }
}

/** With a rate: the last tin that is within its share of it; when none is, the one that will be first. */
function tinByTime(qdisc: usize, now: u64): usize {
  let best: usize = 0, soonest: u64 = u64.MAX_VALUE;
  for (let t: u32 = 0; t < load<u32>(qdisc, QCAKE_TINS); t++) {
    const tin = tinAt(qdisc, t);
    if (load<u32>(tin, QTIN_PACKETS) == 0) continue;
    const departs = max<u64>(load<u64>(tin, QTIN_DEPARTS), now);
    if (departs <= soonest) { soonest = departs; best = tin; }
  }
  return best;
}

/** The next packet by the round of a tin's flows, or NONE when CoDel has dropped the last of them. */
function fromTin(worker: usize, root: usize, qdisc: usize, tin: usize, now: u64): u32 {
  const fresh = tin + QTIN_NEW, old = tin + QTIN_OLD;
  while (true) {
    const isFresh = firstFlow(fresh) != 0, list = isFresh ? fresh : old, flow = firstFlow(list);
    if (flow == 0) return NONE;
    const deficit = load<i32>(flow, QFLOW_DEFICIT);
    if (deficit <= 0) {
      removeFlow(list, flow);
      if (isFresh) countHosts(flow, 1);
      store<i32>(flow, deficit + <i32>share(root, tin, flow), QFLOW_DEFICIT);
      pushFlow(old, flow, QFLOW_OLD);
      continue;
    }
    const dropped = load<u32>(qdisc, QDISC_DROPPED), marked = load<u32>(qdisc, QDISC_MARKED);
    const id = codelDequeue(worker, root, qdisc, flow, tin + QTIN_CODEL, tin + QTIN_PACKETS, qdisc + QCAKE_MEMORY, now);
    store<u32>(tin, load<u32>(tin, QTIN_DROPPED) + load<u32>(qdisc, QDISC_DROPPED) - dropped, QTIN_DROPPED);
    store<u32>(tin, load<u32>(tin, QTIN_MARKED) + load<u32>(qdisc, QDISC_MARKED) - marked, QTIN_MARKED);
    if (id != NONE) {
      store<i32>(flow, load<i32>(flow, QFLOW_DEFICIT) - <i32>lengthOf(id), QFLOW_DEFICIT);
      return id;
    }
    removeFlow(list, flow);
    if (isFresh && firstFlow(old) != 0) {
      countHosts(flow, 1);
      pushFlow(old, flow, QFLOW_OLD);
    } else {
      if (!isFresh) countHosts(flow, <u32>-1);
      store<u32>(flow, QFLOW_IDLE, QFLOW_STATE);
    }
  }
}

// ── What a packet costs ─────────────────────────────────────────────────────────────────────────

/** Bytes that `length` takes on the link: what the link adds, its least, and its cells (ATM 48 in 53, PTM 64 in 65). */
export function chargeFor(qdisc: usize, length: u32): u32 {
  let bytes = <u32>max<i32>(<i32>length + load<i32>(qdisc, QCAKE_OVERHEAD), <i32>load<u32>(qdisc, QCAKE_LEAST));
  const cells = load<u32>(qdisc, QCAKE_CELLS);
  if (cells == QCAKE_ATM) bytes = (bytes + 47) / 48 * 53;
  else if (cells == QCAKE_PTM) bytes += (bytes + 63) / 64;
  return bytes;
}

function charge(qdisc: usize, tin: usize, id: u32, rate: u64, now: u64): void {
  const length = lengthOf(id), segments = <u32>load<u16>(linkAt(id), QLINK_SEGMENTS);
  // A large segment is charged as the packets it becomes.
  const bytes = segments <= 1 ? chargeFor(qdisc, length) : chargeFor(qdisc, length / segments) * segments;
  noteLengths(qdisc + QCAKE_LENGTHS, length / segments, bytes / segments);
  store<i32>(tin, load<i32>(tin, QTIN_DEFICIT) - <i32>bytes, QTIN_DEFICIT);
  add64(tin + QTIN_SENT_BYTES, length);
  add64(tin + QTIN_SENT_PACKETS, segments);
  if (rate == 0) return;
  store<u64>(qdisc, max<u64>(load<u64>(qdisc, QCAKE_DEPARTS), now) + spend(bytes, rate, qdisc + QCAKE_REST), QCAKE_DEPARTS);
  store<u64>(tin, max<u64>(load<u64>(tin, QTIN_DEPARTS), now) + spend(bytes, load<u64>(tin, QTIN_RATE), tin + QTIN_REST), QTIN_DEPARTS);
}

function noteLengths(at: usize, length: u32, charged: u32): void {
  const least = load<u32>(at), leastCharged = load<u32>(at, 8);
  if (least == 0 || length < least) store<u32>(at, length);
  if (length > load<u32>(at, 4)) store<u32>(at, length, 4);
  if (leastCharged == 0 || charged < leastCharged) store<u32>(at, charged, 8);
  if (charged > load<u32>(at, 12)) store<u32>(at, charged, 12);
}

@inline
function blend(at: usize, sample: u64, shift: u64): void {
  const before = load<u64>(at);
  store<u64>(at, before - (before >> shift) + (sample >> shift));
}

/** Delays as moving averages: the peak follows up quickly and down slowly, the base the other way round. */
function observe(tin: usize, id: u32, now: u64): void {
  const delay = <u64>max<i64>(waited(id, now), 0);
  blend(tin + QTIN_AVERAGE_DELAY, delay, 8);
  blend(tin + QTIN_PEAK_DELAY, delay, delay > load<u64>(tin, QTIN_PEAK_DELAY) ? 2 : 8);
  blend(tin + QTIN_BASE_DELAY, delay, delay < load<u64>(tin, QTIN_BASE_DELAY) ? 2 : 8);
}
