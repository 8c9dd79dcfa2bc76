/**
 * Hierarchical token bucket, by the rules of the kernel's (M. Devera): a class sends by its own rate while it has tokens;
 * without them it borrows from the nearest ancestor that has, up to its ceiling. Whoever may send with own tokens stands in
 * the row of its level and priority; who must borrow stands in the feed of its parent. Lower levels go first, in a level the
 * lower number of a priority; among equals, turns of a quantum. A class that has neither waits in a heap for its time.
 *
 * Here is the arithmetic and the standing; who asks a leaf's own qdisc for its packet is tree.ts.
 */
import {
  HCLASS_ACTIVE, HCLASS_BORROWS, HCLASS_CEIL, HCLASS_CEIL_DEPTH, HCLASS_CEIL_TOKENS, HCLASS_DEFICIT, HCLASS_DEPTH,
  HCLASS_LENDS, HCLASS_LEVEL, HCLASS_MODE, HCLASS_OVERLIMITS, HCLASS_PARENT, HCLASS_PRIORITY, HCLASS_QUANTUM,
  HCLASS_RATE, HCLASS_SENT_BYTES, HCLASS_SENT_PACKETS, HCLASS_TIME, HCLASS_TOKENS, HCLASS_UNTIL, HTB_CANT_SEND, HTB_CAN_SEND,
  HTB_MAY_BORROW, QDISC_OVERLIMITS, QHTB_ACTIVE, QHTB_HEAP, QLINK_LENGTH, QLINK_SEGMENTS,
} from "../abi";
import { add64 } from "../core/layout";
import { heapFirst, heapRemove, heapSet } from "./heap";
import { linkAt } from "./link";
import { feedAt, isEmpty, join, part, pass, rowAt, turnOf } from "./rings";
import { bump } from "./root";
import { refill, timeFor, UNIT } from "./tokens";

/** Debts are not remembered without end. */
const MOST_DEBT: i64 = -(1 << 61);

// ── Standing ────────────────────────────────────────────────────────────────────────────────────

/** A class has something to send by the priorities of `mask`: it takes its place, and lenders above it theirs. */
function stand(qdisc: usize, cls: usize, mask: u32): void {
  while (load<u32>(cls, HCLASS_MODE) == HTB_MAY_BORROW) {
    const parent = <usize>load<u32>(cls, HCLASS_PARENT);
    if (parent == 0 || mask == 0) return;
    let up: u32 = 0;
    for (let left = mask; left != 0; left &= left - 1) {
      const priority = ctz(left), feed = feedAt(parent, priority);
      if (isEmpty(feed)) up |= 1 << priority;
      join(feed, cls, priority);
    }
    store<u32>(parent, load<u32>(parent, HCLASS_ACTIVE) | up, HCLASS_ACTIVE);
    cls = parent;
    mask = up;
  }
  if (load<u32>(cls, HCLASS_MODE) != HTB_CAN_SEND) return;
  const level = load<u32>(cls, HCLASS_LEVEL), active = qdisc + QHTB_ACTIVE + (<usize>level << 2);
  for (let left = mask; left != 0; left &= left - 1) join(rowAt(qdisc, level, ctz(left)), cls, ctz(left));
  store<u32>(active, load<u32>(active) | mask);
}

/** The other way: it leaves its place, and lenders that nobody asks any more theirs. */
function unstand(qdisc: usize, cls: usize, mask: u32): void {
  while (load<u32>(cls, HCLASS_MODE) == HTB_MAY_BORROW) {
    const parent = <usize>load<u32>(cls, HCLASS_PARENT);
    if (parent == 0 || mask == 0) return;
    let up: u32 = 0;
    for (let left = mask; left != 0; left &= left - 1) {
      const priority = ctz(left), feed = feedAt(parent, priority);
      part(feed, cls, priority);
      if (isEmpty(feed)) up |= 1 << priority;
    }
    store<u32>(parent, load<u32>(parent, HCLASS_ACTIVE) & ~up, HCLASS_ACTIVE);
    cls = parent;
    mask = up;
  }
  if (load<u32>(cls, HCLASS_MODE) != HTB_CAN_SEND) return;
  const level = load<u32>(cls, HCLASS_LEVEL), active = qdisc + QHTB_ACTIVE + (<usize>level << 2);
  for (let left = mask; left != 0; left &= left - 1) {
    const row = rowAt(qdisc, level, ctz(left));
    part(row, cls, ctz(left));
    if (isEmpty(row)) store<u32>(active, load<u32>(active) & ~(1 << ctz(left)));
  }
}

/** A leaf got something to send. */
export function htbActivate(qdisc: usize, cls: usize): void {
  if (load<u32>(cls, HCLASS_ACTIVE) != 0) return;
  const mask: u32 = 1 << load<u32>(cls, HCLASS_PRIORITY);
  store<u32>(cls, mask, HCLASS_ACTIVE);
  stand(qdisc, cls, mask);
}

/** A leaf has nothing left. */
export function htbDeactivate(qdisc: usize, cls: usize): void {
  const mask = load<u32>(cls, HCLASS_ACTIVE);
  if (mask == 0) return;
  unstand(qdisc, cls, mask);
  store<u32>(cls, 0, HCLASS_ACTIVE);
}

// ── Tokens ──────────────────────────────────────────────────────────────────────────────────────

/** Nanoseconds until the class is in a better mode than it is. */
function settle(qdisc: usize, cls: usize, now: u64): u64 {
  const ceilTokens = load<i64>(cls, HCLASS_CEIL_TOKENS), tokens = load<i64>(cls, HCLASS_TOKENS), was = load<u32>(cls, HCLASS_MODE);
  const mode: u32 = ceilTokens < 0 ? HTB_CANT_SEND : tokens >= 0 ? HTB_CAN_SEND : HTB_MAY_BORROW;
  if (mode != was) {
    const mask = load<u32>(cls, HCLASS_ACTIVE);
    if (mode == HTB_CANT_SEND) {
      bump(cls + HCLASS_OVERLIMITS);
      bump(qdisc + QDISC_OVERLIMITS);
    }
    if (mask != 0) unstand(qdisc, cls, mask);
    store<u32>(cls, mode, HCLASS_MODE);
    if (mask != 0) stand(qdisc, cls, mask);
  }
  if (mode == HTB_CAN_SEND) return 0;
  return mode == HTB_CANT_SEND ? timeFor(-ceilTokens, load<u64>(cls, HCLASS_CEIL)) : timeFor(-tokens, load<u64>(cls, HCLASS_RATE));
}

/** Sets mode and place in the heap by the tokens there are. */
function review(qdisc: usize, cls: usize, now: u64): void {
  const wait = settle(qdisc, cls, now);
  if (wait == 0) { heapRemove(qdisc + QHTB_HEAP, cls); return; }
  store<u64>(cls, now + wait, HCLASS_UNTIL);
  heapSet(qdisc + QHTB_HEAP, cls);
}

@inline
function elapse(cls: usize, now: u64): void {
  const elapsed = now - load<u64>(cls, HCLASS_TIME);
  store<u64>(cls, now, HCLASS_TIME);
  store<i64>(cls, refill(load<i64>(cls, HCLASS_TOKENS), load<i64>(cls, HCLASS_DEPTH), load<u64>(cls, HCLASS_RATE), elapsed), HCLASS_TOKENS);
  store<i64>(cls, refill(load<i64>(cls, HCLASS_CEIL_TOKENS), load<i64>(cls, HCLASS_CEIL_DEPTH), load<u64>(cls, HCLASS_CEIL), elapsed), HCLASS_CEIL_TOKENS);
}

/** Classes whose time has come are looked at again. The time of the next one, or u64.MAX_VALUE. */
export function htbAwake(qdisc: usize, now: u64): u64 {
  const heap = qdisc + QHTB_HEAP;
  while (true) {
    const cls = heapFirst(heap);
    if (cls == 0) return u64.MAX_VALUE;
    const until = load<u64>(cls, HCLASS_UNTIL);
    if (until > now) return until;
    elapse(cls, now);
    review(qdisc, cls, now);
  }
}

/** `level` lent the tokens for what `leaf` sends: everybody from there up pays; all pay by their ceilings. */
export function htbCharge(qdisc: usize, leaf: usize, level: u32, id: u32, now: u64): void {
  const link = linkAt(id), length = load<u32>(link, QLINK_LENGTH), cost = <i64>length * UNIT;
  for (let cls = leaf; cls != 0; cls = <usize>load<u32>(cls, HCLASS_PARENT)) {
    const own = load<u32>(cls, HCLASS_LEVEL);
    elapse(cls, now);
    if (own == level) bump(cls + HCLASS_LENDS);
    if (own < level) bump(cls + HCLASS_BORROWS);
    else store<i64>(cls, max<i64>(load<i64>(cls, HCLASS_TOKENS) - cost, MOST_DEBT), HCLASS_TOKENS);
    store<i64>(cls, max<i64>(load<i64>(cls, HCLASS_CEIL_TOKENS) - cost, MOST_DEBT), HCLASS_CEIL_TOKENS);
    add64(cls + HCLASS_SENT_BYTES, length);
    add64(cls + HCLASS_SENT_PACKETS, load<u16>(link, QLINK_SEGMENTS));
    review(qdisc, cls, now);
  }
}

// ── Turns ───────────────────────────────────────────────────────────────────────────────────────

/** The leaf whose turn it is in a row: down the feeds. 0: nobody stands there. */
export function htbLeaf(qdisc: usize, level: u32, priority: u32): usize {
  let cls = turnOf(rowAt(qdisc, level, priority), priority);
  while (cls != 0 && load<u32>(cls, HCLASS_LEVEL) != 0) cls = turnOf(feedAt(cls, priority), priority);
  return cls;
}

/**
 * After a leaf has sent: it goes on until its quantum is used, then the turn passes to the next of its ring; and when that
 * ring has been round once, to the next of the ring above, up to the row that it was found in.
 */
export function htbTurn(qdisc: usize, leaf: usize, level: u32, priority: u32, length: u32): void {
  const at = leaf + HCLASS_DEFICIT + (<usize>level << 2), deficit = load<i32>(at) - <i32>length;
  store<i32>(at, deficit >= 0 ? deficit : deficit + load<i32>(leaf, HCLASS_QUANTUM));
  if (deficit < 0) passTurn(qdisc, leaf, level, priority);
}

export function passTurn(qdisc: usize, leaf: usize, level: u32, priority: u32): void {
  let cls = leaf;
  while (true) {
    const isTop = load<u32>(cls, HCLASS_LEVEL) == level, parent = <usize>load<u32>(cls, HCLASS_PARENT);
    const ring = isTop ? rowAt(qdisc, level, priority) : feedAt(parent, priority);
    if (!pass(ring, cls, priority) || isTop) return;
    cls = parent;
  }
}
