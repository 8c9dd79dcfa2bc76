/**
 * Qdiscs in one another: how a packet goes down to the leaf that keeps it, and how the next one comes up. All that calls
 * itself stands here, so that each kind is a file that knows of no other.
 *
 * A packet that was taken is counted by its leaf and by everything above it (root.ts); one that leaves is counted out by
 * each qdisc that it passes.
 */
import {
  DROP_QUEUE_FULL, HCLASS_LEVEL, HCLASS_MINOR, HCLASS_QDISC, HTB_LEVELS, NONE, QDISC_CLASS, QDISC_HANDLE, QDISC_KIND, QDISC_OVERLIMITS,
  QDISC_PACKETS, QDISC_PARENT, QHTB_ACTIVE, QHTB_DEFAULT, QHTB_DIRECT, QHTB_DIRECTORY, QHTB_MASK, QKIND_CAKE, QKIND_FIFO, QKIND_FQ,
  QKIND_FQ_CODEL, QKIND_HTB, QKIND_PRIO, QKIND_RED, QKIND_TBF, QLINK_DEPARTURE, QLINK_PIECES, QLINK_PRIORITY, QPRIO_BANDS, QPRIO_CHILDREN,
  QPRIO_MAP, QROOT_BLOCKED, QROOT_CLOCK, QROOT_NEXT, QROOT_QDISC, QTBF_CHILD, QTBF_HAND, QTBF_MOST,
} from "../abi";
import { cakeDequeue, cakeEnqueue, cakeTrim } from "./cake";
import { filtered, namedClass, priorityOf, priorityOrTos } from "./filter";
import { fifoDequeue, fifoEnqueue } from "./fifo";
import { fqDequeue, fqEnqueue } from "./fq";
import { fqCodelDequeue, fqCodelEnqueue, fqCodelTrim } from "./fq-codel";
import { htbActivate, htbAwake, htbCharge, htbDeactivate, htbLeaf, htbTurn, passTurn } from "./htb";
import { lengthOf, linkAt, weigh } from "./link";
import { redDequeue, redEnqueue } from "./red";
import { book, bookSent, bump, hasRoom, NEVER, refuse, release, wakeAt } from "./root";
import { tbfWait } from "./tbf";

/** A poll that comes later than this (ns) has lost the time before: what was missed is made up for, but not without end. */
const MOST_LATE: u64 = 10000000;

/** Gives a packet to the root's tree, which owns it from then on; the lock is held. */
export function enqueue(worker: usize, root: usize, id: u32, now: u64): void {
  const top = <usize>load<u32>(root, QROOT_QDISC);
  weigh(id, now);
  if (!hasRoom(root, load<u16>(linkAt(id), QLINK_PIECES))) { refuse(worker, root, top, id, DROP_QUEUE_FULL); return; }
  const leaf = descend(worker, root, top, id);
  if (leaf == 0) return;
  const kind = load<u32>(leaf, QDISC_KIND);
  const kept = keep(worker, root, leaf, kind, id, now);
  if (kept == NONE) return;
  book(root, leaf, kept);
  for (let q = leaf; load<u32>(q, QDISC_PARENT) != 0; q = <usize>load<u32>(q, QDISC_PARENT)) {
    const cls = <usize>load<u32>(q, QDISC_CLASS);
    if (cls != 0) htbActivate(<usize>load<u32>(q, QDISC_PARENT), cls);
  }
  if (kind == QKIND_FQ_CODEL) fqCodelTrim(worker, root, leaf);
  else if (kind == QKIND_CAKE) cakeTrim(worker, root, leaf);
  wakeAt(root, now);
}

/** The qdisc that is to keep the packet; 0 when it was dropped on the way. */
function descend(worker: usize, root: usize, qdisc: usize, id: u32): usize {
  while (true) {
    const kind = load<u32>(qdisc, QDISC_KIND);
    if (kind == QKIND_PRIO) qdisc = bandOf(root, qdisc, id);
    else if (kind == QKIND_TBF) {
      // As the kernel: what is longer than the bucket would never leave.
      if (lengthOf(id) > load<u32>(qdisc, QTBF_MOST)) { refuse(worker, root, qdisc, id, DROP_QUEUE_FULL); return 0; }
      qdisc = <usize>load<u32>(qdisc, QTBF_CHILD);
    } else if (kind == QKIND_HTB) {
      const cls = classOf(root, qdisc, id);
      if (cls == 0) return qdisc;
      qdisc = <usize>load<u32>(cls, HCLASS_QDISC);
    } else return qdisc;
  }
}

function bandOf(root: usize, qdisc: usize, id: u32): usize {
  const named = namedClass(qdisc, id);
  if (named != 0 && named <= load<u32>(qdisc, QPRIO_BANDS)) return childAt(qdisc, named - 1);
  const chosen = <usize>filtered(root, qdisc, id);
  if (chosen != 0) return chosen;
  return childAt(qdisc, load<u8>(qdisc + (named != 0 ? 0 : priorityOrTos(root, id) & 15), QPRIO_MAP));
}

@inline
function childAt(qdisc: usize, band: u32): usize {
  return <usize>load<u32>(qdisc + (<usize>band << 2), QPRIO_CHILDREN);
}

/** The leaf class, or 0: the packet is sent without one. */
function classOf(root: usize, qdisc: usize, id: u32): usize {
  if (priorityOf(id) == load<u32>(qdisc, QDISC_HANDLE)) return 0;
  const minor = namedClass(qdisc, id), named: usize = minor == 0 ? 0 : find(qdisc, minor);
  if (isLeaf(named)) return named;
  const chosen = <usize>filtered(root, qdisc, id);
  if (isLeaf(chosen)) return chosen;
  const usual = <usize>load<u32>(qdisc, QHTB_DEFAULT);
  return isLeaf(usual) ? usual : 0;
}

@inline
function isLeaf(cls: usize): bool {
  return cls != 0 && load<u32>(cls, HCLASS_LEVEL) == 0;
}

function find(qdisc: usize, minor: u32): usize {
  const mask = load<u32>(qdisc, QHTB_MASK), directory = <usize>load<u32>(qdisc, QHTB_DIRECTORY);
  let at = minor & mask;
  while (true) {
    const cls = <usize>load<u32>(directory + (<usize>at << 2));
    if (cls == 0 || load<u32>(cls, HCLASS_MINOR) == minor) return cls;
    at = (at + 1) & mask;
  }
}

/** The packet as it was kept (marked it may have another id), or NONE. */
function keep(worker: usize, root: usize, leaf: usize, kind: u32, id: u32, now: u64): u32 {
  if (kind == QKIND_FQ_CODEL) fqCodelEnqueue(root, leaf, id);
  else if (kind == QKIND_CAKE) cakeEnqueue(root, leaf, id);
  else if (kind == QKIND_RED) return redEnqueue(worker, root, leaf, id, now);
  else if (kind == QKIND_FQ) return fqEnqueue(worker, root, leaf, id, now) ? id : NONE;
  else return fifoEnqueue(worker, root, leaf, id) ? id : NONE;
  return id;
}

// ── Out ─────────────────────────────────────────────────────────────────────────────────────────

/**
 * Writes up to `most` packets that may have left by `now` to `out`, the lock is held; returns how many. What was due while
 * nobody asked is served as of then, one after the other.
 */
export function dequeueDue(worker: usize, root: usize, now: u64, out: usize, most: u32): u32 {
  const top = <usize>load<u32>(root, QROOT_QDISC);
  let clock = load<u64>(root, QROOT_CLOCK), n: u32 = 0;
  // While the ring was full nothing could leave: that time is gone.
  if (load<u32>(root, QROOT_BLOCKED) != 0 || now > clock + MOST_LATE) clock = max<u64>(clock, load<u32>(root, QROOT_BLOCKED) != 0 ? now : now - MOST_LATE);
  store<u32>(root, 0, QROOT_BLOCKED);
  while (n < most) {
    clock = max<u64>(clock, load<u64>(root, QROOT_NEXT));
    if (clock > now) break;
    store<u64>(root, clock, QROOT_CLOCK);
    store<u64>(root, NEVER, QROOT_NEXT);
    const id = dequeue(worker, root, top, clock);
    if (id == NONE) {
      if (load<u64>(root, QROOT_NEXT) <= clock) wakeLater(root, clock);
      continue;
    }
    store<u64>(root, clock, QROOT_NEXT);
    release(root, id);
    store<u64>(linkAt(id), 0, QLINK_DEPARTURE);
    store<u32>(linkAt(id), 0, QLINK_PRIORITY);
    store<u32>(out + (<usize>n << 2), id);
    n++;
  }
  return n;
}

/** Nobody who sends nothing now may ask to be asked again at once. */
function wakeLater(root: usize, clock: u64): void {
  store<u64>(root, clock + 1, QROOT_NEXT);
}

function dequeue(worker: usize, root: usize, qdisc: usize, now: u64): u32 {
  if (load<u32>(qdisc, QDISC_PACKETS) == 0) return NONE;
  const kind = load<u32>(qdisc, QDISC_KIND);
  let id: u32;
  if (kind == QKIND_FIFO) id = fifoDequeue(qdisc);
  else if (kind == QKIND_FQ_CODEL) id = fqCodelDequeue(worker, root, qdisc, now);
  else if (kind == QKIND_FQ) id = fqDequeue(worker, root, qdisc, now);
  else if (kind == QKIND_HTB) id = fromHtb(worker, root, qdisc, now);
  else if (kind == QKIND_TBF) id = fromTbf(worker, root, qdisc, now);
  else if (kind == QKIND_CAKE) id = cakeDequeue(worker, root, qdisc, now);
  else if (kind == QKIND_PRIO) id = fromPrio(worker, root, qdisc, now);
  else id = redDequeue(qdisc, now);
  if (id != NONE) bookSent(qdisc, id);
  return id;
}

function fromPrio(worker: usize, root: usize, qdisc: usize, now: u64): u32 {
  const bands = load<u32>(qdisc, QPRIO_BANDS);
  for (let band: u32 = 0; band < bands; band++) {
    const id = dequeue(worker, root, childAt(qdisc, band), now);
    if (id != NONE) return id;
  }
  return NONE;
}

/** The packet that has left the child waits in tbf's hand for its tokens. */
function fromTbf(worker: usize, root: usize, qdisc: usize, now: u64): u32 {
  let id = load<u32>(qdisc, QTBF_HAND);
  if (id == NONE) id = dequeue(worker, root, <usize>load<u32>(qdisc, QTBF_CHILD), now);
  if (id == NONE) return NONE;
  const wait = tbfWait(qdisc, id, now);
  store<u32>(qdisc, wait == 0 ? NONE : id, QTBF_HAND);
  if (wait == 0) return id;
  bump(qdisc + QDISC_OVERLIMITS);
  wakeAt(root, now + wait);
  return NONE;
}

function fromHtb(worker: usize, root: usize, qdisc: usize, now: u64): u32 {
  const direct = fifoDequeue(qdisc);
  if (direct != NONE) {
    bump(qdisc + QHTB_DIRECT);
    return direct;
  }
  const next = htbAwake(qdisc, now);
  for (let level: u32 = 0; level < <u32>HTB_LEVELS; level++) {
    for (let left = load<u32>(qdisc + (<usize>level << 2), QHTB_ACTIVE); left != 0; left &= left - 1) {
      const id = fromRow(worker, root, qdisc, level, ctz(left), now);
      if (id != NONE) return id;
    }
  }
  wakeAt(root, next);
  return NONE;
}

/** The next packet of those who stand in a row; NONE when all their qdiscs hold theirs back. */
function fromRow(worker: usize, root: usize, qdisc: usize, level: u32, priority: u32, now: u64): u32 {
  let first: usize = 0;
  while (true) {
    const leaf = htbLeaf(qdisc, level, priority);
    if (leaf == 0 || leaf == first) return NONE;
    const child = <usize>load<u32>(leaf, HCLASS_QDISC);
    const id = dequeue(worker, root, child, now), isEmpty = load<u32>(child, QDISC_PACKETS) == 0;
    if (id != NONE) {
      htbTurn(qdisc, leaf, level, priority, lengthOf(id));
      if (isEmpty) htbDeactivate(qdisc, leaf);
      htbCharge(qdisc, leaf, level, id, now);
      return id;
    }
    if (isEmpty) htbDeactivate(qdisc, leaf);
    else {
      if (first == 0) first = leaf;
      passTurn(qdisc, leaf, level, priority);
    }
  }
}
