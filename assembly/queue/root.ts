/**
 * The root of what waits at one port: its lock, its time, its share of the buffers, and the books that all qdiscs keep
 * alike. Statistics and their names follow the kernel's (struct gnet_stats_basic, gnet_stats_queue): a qdisc counts what its
 * children hold, and what they drop.
 *
 * Time is served, not read. A shaper says when its next packet is due (`wakeAt`); a poll that comes later plays what was
 * missed in order, as of the moments at which it was due, so that rates do not depend on how often somebody polls.
 */
import {
  PORT_STAT_TX_DROPPED, QDISC_BYTES, QDISC_CLASS, QDISC_DROPPED, QDISC_PACKETS, QDISC_PARENT, QDISC_SENT_BYTES,
  QDISC_SENT_PACKETS, HCLASS_DROPPED, QLINK_LENGTH, QLINK_PIECES, QLINK_SEGMENTS, QROOT_CHANCE, QROOT_HELD, QROOT_LOCK, QROOT_NEXT, QROOT_PORT,
  QROOT_SIZE, QROOT_TOLD, QUEUES_HELD, QUEUES_LINKS, QUEUES_SHARE, REGION_QUEUES, HEADER_DESCRIPTORS, QLINK_SIZE,
} from "../abi";
import { add64, header, portStats, region } from "../core/layout";
import { drop } from "../core/packet";
import { compareExchange, fetchAdd, loadAcquire, lock, unlock } from "../core/sync";
import { linkAt } from "./link";

/** No time at all: nothing waits, or nobody knows when it may leave. */
export const NEVER: u64 = u64.MAX_VALUE;

@inline
export function rootAt(port: u32): usize {
  return region(REGION_QUEUES) + QUEUES_LINKS + <usize>header(HEADER_DESCRIPTORS) * QLINK_SIZE + <usize>port * QROOT_SIZE;
}

@inline
export function enter(root: usize): void {
  lock(root + QROOT_LOCK);
}

@inline
export function tryEnter(root: usize): bool {
  return compareExchange(root + QROOT_LOCK, 0, 1) == 0;
}

/** Leaves, and tells the whole what has come and gone. */
export function leave(root: usize): void {
  const held = load<u32>(root, QROOT_HELD), change = held - load<u32>(root, QROOT_TOLD);
  if (change != 0) {
    fetchAdd(region(REGION_QUEUES) + QUEUES_HELD, change);
    store<u32>(root, held, QROOT_TOLD);
  }
  unlock(root + QROOT_LOCK);
}

/**
 * Is there room for `pieces` more? All queues together hold a share of the buffers; one of them as much as it leaves to the
 * others (dynamic threshold with α = 1: Choudhury and Hahne, 1998), so that one full port does not shut the rest.
 */
export function hasRoom(root: usize, pieces: u32): bool {
  const whole = region(REGION_QUEUES), share = load<u32>(whole, QUEUES_SHARE);
  const own = load<u32>(root, QROOT_HELD) + pieces;
  const all = loadAcquire(whole + QUEUES_HELD) + own - load<u32>(root, QROOT_TOLD);
  return all < share && own <= share - all;
}

/** Something may leave at `time`: the next look is then at the latest. */
@inline
export function wakeAt(root: usize, time: u64): void {
  if (time < load<u64>(root, QROOT_NEXT)) store<u64>(root, time, QROOT_NEXT);
}

/** A uniform number below one (xorshift64*, Vigna). */
export function chance(root: usize): f64 {
  let x = load<u64>(root, QROOT_CHANCE);
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  store<u64>(root, x, QROOT_CHANCE);
  return <f64>((x * 0x2545f4914f6cdd1d) >> 11) / 9007199254740992.0;
}

// ── Books ───────────────────────────────────────────────────────────────────────────────────────

@inline
export function bump(at: usize): void {
  store<u32>(at, load<u32>(at) + 1);
}

/** A packet came into `qdisc`, and so into everything above it. */
export function book(root: usize, qdisc: usize, id: u32): void {
  const link = linkAt(id), length = load<u32>(link, QLINK_LENGTH);
  store<u32>(root, load<u32>(root, QROOT_HELD) + load<u16>(link, QLINK_PIECES), QROOT_HELD);
  for (let q = qdisc; q != 0; q = <usize>load<u32>(q, QDISC_PARENT)) {
    store<u32>(q, load<u32>(q, QDISC_PACKETS) + 1, QDISC_PACKETS);
    store<u32>(q, load<u32>(q, QDISC_BYTES) + length, QDISC_BYTES);
  }
}

@inline
function unbook(qdisc: usize, length: u32): void {
  store<u32>(qdisc, load<u32>(qdisc, QDISC_PACKETS) - 1, QDISC_PACKETS);
  store<u32>(qdisc, load<u32>(qdisc, QDISC_BYTES) - length, QDISC_BYTES);
}

/** A packet left `qdisc` (not yet what is above it). */
export function bookSent(qdisc: usize, id: u32): void {
  const link = linkAt(id), length = load<u32>(link, QLINK_LENGTH);
  unbook(qdisc, length);
  add64(qdisc + QDISC_SENT_BYTES, length);
  add64(qdisc + QDISC_SENT_PACKETS, load<u16>(link, QLINK_SEGMENTS));
}

/** A packet is nobody's any more: neither the root's, nor held. */
export function release(root: usize, id: u32): void {
  store<u32>(root, load<u32>(root, QROOT_HELD) - load<u16>(linkAt(id), QLINK_PIECES), QROOT_HELD);
}

@inline
function end(worker: usize, root: usize, id: u32, reason: u32): void {
  drop(worker, id, reason);
  add64(portStats(worker, load<u32>(root, QROOT_PORT)) + PORT_STAT_TX_DROPPED, 1);
}

@inline
function countDrop(qdisc: usize): void {
  bump(qdisc + QDISC_DROPPED);
  const cls = <usize>load<u32>(qdisc, QDISC_CLASS);
  if (cls != 0) bump(cls + HCLASS_DROPPED);
}

/** Drops a packet that `qdisc` does not take. */
export function refuse(worker: usize, root: usize, qdisc: usize, id: u32, reason: u32): void {
  for (let q = qdisc; q != 0; q = <usize>load<u32>(q, QDISC_PARENT)) countDrop(q);
  end(worker, root, id, reason);
}

/** Drops a packet that `qdisc` and everything above it count; it is out of its list already. */
export function lose(worker: usize, root: usize, qdisc: usize, id: u32, reason: u32): void {
  const length = load<u32>(linkAt(id), QLINK_LENGTH);
  release(root, id);
  for (let q = qdisc; q != 0; q = <usize>load<u32>(q, QDISC_PARENT)) {
    unbook(q, length);
    countDrop(q);
  }
  end(worker, root, id, reason);
}
