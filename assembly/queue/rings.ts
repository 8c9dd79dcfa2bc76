/**
 * Rings of htb's classes that take turns, in the order of their minors. Whoever leaves while it is its turn is remembered by
 * its minor, and goes on when it comes back before others have had theirs: classes come and go with their tokens, and
 * shares would follow that instead of the quanta.
 */
import {
  HCLASS_FEED, HCLASS_MINOR, HCLASS_NEXT, HCLASS_PREVIOUS, HRING_HEAD, HRING_MINOR, HRING_SIZE, HRING_TURN, HTB_PRIORITIES, QHTB_ROWS,
} from "../abi";

/** Those who may send with tokens of their own, by level and priority. */
@inline
export function rowAt(qdisc: usize, level: u32, priority: u32): usize {
  return qdisc + QHTB_ROWS + <usize>(level * HTB_PRIORITIES + priority) * HRING_SIZE;
}

/** Those who borrow from a class. */
@inline
export function feedAt(cls: usize, priority: u32): usize {
  return cls + HCLASS_FEED + <usize>priority * HRING_SIZE;
}

@inline
export function isEmpty(ring: usize): bool {
  return load<u32>(ring, HRING_HEAD) == 0;
}

@inline
function minorOf(cls: usize): u32 {
  return load<u32>(cls, HCLASS_MINOR);
}

export function join(ring: usize, cls: usize, priority: u32): void {
  const at = <usize>priority << 2, head = <usize>load<u32>(ring, HRING_HEAD);
  if (head == 0) {
    store<u32>(ring, <u32>cls, HRING_HEAD);
    store<u32>(cls + at, <u32>cls, HCLASS_NEXT);
    store<u32>(cls + at, <u32>cls, HCLASS_PREVIOUS);
    return;
  }
  // In front of the first that is greater, or behind everybody, which in a ring is in front of the head.
  let next = head, last = <usize>load<u32>(head + at, HCLASS_PREVIOUS);
  if (minorOf(last) > minorOf(cls)) while (minorOf(next) < minorOf(cls)) next = <usize>load<u32>(next + at, HCLASS_NEXT);
  last = <usize>load<u32>(next + at, HCLASS_PREVIOUS);
  store<u32>(cls + at, <u32>next, HCLASS_NEXT);
  store<u32>(cls + at, <u32>last, HCLASS_PREVIOUS);
  store<u32>(last + at, <u32>cls, HCLASS_NEXT);
  store<u32>(next + at, <u32>cls, HCLASS_PREVIOUS);
  if (minorOf(cls) < minorOf(head)) store<u32>(ring, <u32>cls, HRING_HEAD);
}

export function part(ring: usize, cls: usize, priority: u32): void {
  const at = <usize>priority << 2, next = <usize>load<u32>(cls + at, HCLASS_NEXT), previous = <usize>load<u32>(cls + at, HCLASS_PREVIOUS);
  if (<usize>load<u32>(ring, HRING_TURN) == cls) {
    store<u32>(ring, 0, HRING_TURN);
    store<u32>(ring, minorOf(cls), HRING_MINOR);
  }
  if (next == cls) { store<u32>(ring, 0, HRING_HEAD); return; }
  store<u32>(previous + at, <u32>next, HCLASS_NEXT);
  store<u32>(next + at, <u32>previous, HCLASS_PREVIOUS);
  if (<usize>load<u32>(ring, HRING_HEAD) == cls) store<u32>(ring, <u32>next, HRING_HEAD);
}

/** Whose turn it is, or 0. */
export function turnOf(ring: usize, priority: u32): usize {
  const turn = <usize>load<u32>(ring, HRING_TURN);
  if (turn != 0) return turn;
  const head = <usize>load<u32>(ring, HRING_HEAD), minor = load<u32>(ring, HRING_MINOR);
  let cls = head;
  while (cls != 0 && minorOf(cls) < minor) {
    cls = <usize>load<u32>(cls + (<usize>priority << 2), HCLASS_NEXT);
    if (cls == head) break;
  }
  store<u32>(ring, <u32>cls, HRING_TURN);
  return cls;
}

/** Passes the turn on, if it is this class's; true when the round begins anew with that. */
export function pass(ring: usize, cls: usize, priority: u32): bool {
  if (turnOf(ring, priority) != cls) return false;
  const next = load<u32>(cls + (<usize>priority << 2), HCLASS_NEXT);
  store<u32>(ring, next, HRING_TURN);
  return next == load<u32>(ring, HRING_HEAD);
}
