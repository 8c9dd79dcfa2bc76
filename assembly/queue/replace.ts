/**
 * One tree instead of another, or none: what waits in the old one goes through the new one's classification again, in the
 * order in which it stood in each list; without a new one it is given back. Nothing is lost track of.
 */
import {
  DROP_QUEUE_REMOVED, HCLASS_LEVEL, HCLASS_QDISC, NONE, QCAKE_MEMORY, QCAKE_TIN, QCAKE_TINS, QDISC_FIRST, QDISC_KIND, QDISC_PACKETS, QFC_FLOWS, QFC_FLOW_COUNT,
  QFC_MEMORY, QFLOW_FIRST, QFLOW_PACKETS,  QFLOW_SIZE, QFQ_CONTROL_FIRST, QFQ_FLOWS, QFQ_USED, QHTB_DIRECTORY, QHTB_MASK, QKIND_CAKE, QKIND_FQ, QKIND_FQ_CODEL, QKIND_HTB,
  QKIND_PRIO, QKIND_TBF, QLINK_NEXT, QPRIO_BANDS, QPRIO_CHILDREN, QROOT_BLOCKED, QROOT_MOVING, QROOT_NEXT, QROOT_QDISC, QTBF_CHILD, QTBF_HAND, QTIN_FLOWS,
  QTIN_FLOW_COUNT, QTIN_PACKETS,
} from "../abi";
import { drop } from "../core/packet";
import { append, linkAt, takeFirst } from "./link";
import { NEVER, refuse, release } from "./root";
import { enqueue } from "./tree";

/** Puts all of one list behind another. */
function move(from: usize, to: usize): void {
  const first = load<u32>(from);
  if (first == NONE) return;
  if (load<u32>(to) == NONE) store<u32>(to, first);
  else store<u32>(linkAt(load<u32>(to, 4)), first, QLINK_NEXT);
  store<u32>(to, load<u32>(from, 4), 4);
  store<u32>(from, NONE);
}

function moveFlows(flows: usize, count: u32, to: usize): void {
  for (let i: u32 = 0; i < count; i++, flows += QFLOW_SIZE) {
    move(flows + QFLOW_FIRST, to);
    store<u64>(flows, 0, QFLOW_PACKETS); // and bytes
  }
}

/** Takes everything out of a tree, which is then empty; flows and classes that stand somewhere are found so by the next look. */
function collect(qdisc: usize, to: usize): void {
  if (load<u32>(qdisc, QDISC_PACKETS) == 0) return;
  const kind = load<u32>(qdisc, QDISC_KIND);
  store<u64>(qdisc, 0, QDISC_PACKETS); // and bytes
  move(qdisc + QDISC_FIRST, to);
  if (kind == QKIND_FQ_CODEL) {
    store<u32>(qdisc, 0, QFC_MEMORY);
    moveFlows(<usize>load<u32>(qdisc, QFC_FLOWS), load<u32>(qdisc, QFC_FLOW_COUNT), to);
  } else if (kind == QKIND_FQ) {
    move(qdisc + QFQ_CONTROL_FIRST, to);
    moveFlows(<usize>load<u32>(qdisc, QFQ_FLOWS), load<u32>(qdisc, QFQ_USED), to);
  } else if (kind == QKIND_CAKE) {
    store<u32>(qdisc, 0, QCAKE_MEMORY);
    for (let t: u32 = 0; t < load<u32>(qdisc, QCAKE_TINS); t++) {
      const tin = <usize>load<u32>(qdisc + (<usize>t << 2), QCAKE_TIN);
      store<u64>(tin, 0, QTIN_PACKETS); // and bytes
      moveFlows(<usize>load<u32>(tin, QTIN_FLOWS), load<u32>(tin, QTIN_FLOW_COUNT), to);
    }
  } else if (kind == QKIND_TBF) {
    const inHand = load<u32>(qdisc, QTBF_HAND);
    if (inHand != NONE) append(to, inHand);
    store<u32>(qdisc, NONE, QTBF_HAND);
    collect(<usize>load<u32>(qdisc, QTBF_CHILD), to);
  } else if (kind == QKIND_PRIO) {
    for (let band: u32 = 0; band < load<u32>(qdisc, QPRIO_BANDS); band++) collect(<usize>load<u32>(qdisc + (<usize>band << 2), QPRIO_CHILDREN), to);
  } else if (kind == QKIND_HTB) {
    const slots = load<u32>(qdisc, QHTB_MASK) + 1, directory = <usize>load<u32>(qdisc, QHTB_DIRECTORY);
    for (let i: u32 = 0; i < slots; i++) {
      const cls = <usize>load<u32>(directory + (<usize>i << 2));
      if (cls != 0 && load<u32>(cls, HCLASS_LEVEL) == 0) collect(<usize>load<u32>(cls, HCLASS_QDISC), to);
    }
  }
}

/** The lock is held. Gives the root another tree, or none (0): what waited goes to it, or ends here. */
export function replaceTree(worker: usize, root: usize, fresh: usize, now: u64): void {
  const moving = takeAll(root);
  store<u32>(root, <u32>fresh, QROOT_QDISC);
  store<u32>(root, 0, QROOT_BLOCKED);
  store<u64>(root, NEVER, QROOT_NEXT);
  for (let id = takeFirst(moving); id != NONE; id = takeFirst(moving)) {
    release(root, id);
    if (fresh == 0) drop(worker, id, DROP_QUEUE_REMOVED);
    else enqueue(worker, root, id, now);
  }
}

/** The lock is held. Drops everything that waits, by its books; the tree stays. */
export function emptyTree(worker: usize, root: usize, reason: u32): void {
  const moving = takeAll(root), top = <usize>load<u32>(root, QROOT_QDISC);
  store<u64>(root, NEVER, QROOT_NEXT);
  for (let id = takeFirst(moving); id != NONE; id = takeFirst(moving)) {
    release(root, id);
    refuse(worker, root, top, id, reason);
  }
}

/** Everything that waits, as one list. */
function takeAll(root: usize): usize {
  const tree = <usize>load<u32>(root, QROOT_QDISC), moving = root + QROOT_MOVING;
  store<u32>(moving, NONE);
  if (tree != 0) collect(tree, moving);
  return moving;
}
