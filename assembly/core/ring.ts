/**
 * Single-producer single-consumer rings of descriptor ids, one atomic publish per burst.
 *
 * The other side may be hostile: a distance between head and tail that a ring cannot have is counted and
 * the ring treated as full or empty; nothing is read through it. Ids are checked by the receiver.
 */
import {
  BURST, HEADER_DESCRIPTORS, HEADER_PUNT_CAPACITY, HEADER_RING_CAPACITY, PUNT_ARGUMENT, PUNT_ID, PUNT_REASON, PUNT_SEQUENCE,
  PUNT_SIZE, REGION_PUNTS, RING_HEAD, RING_HEADER_SIZE, RING_IDS, RING_REJECTED, RING_TAIL,
} from "../abi";
import { header, region } from "./layout";
import { compareExchange, fetchAdd, loadAcquire, storeRelease } from "./sync";

/** Copies `n` words in or out of the ring at `index`, wrapping once. */
@inline
function copyIn(ring: usize, index: u32, capacity: u32, from: usize, n: u32): void {
  const at = index & (capacity - 1), straight = min<u32>(n, capacity - at);
  memory.copy(ring + RING_IDS + (<usize>at << 2), from, <usize>straight << 2);
  if (straight < n) memory.copy(ring + RING_IDS, from + (<usize>straight << 2), <usize>(n - straight) << 2);
}

/** Pushes up to `n` ids; returns how many went in. The caller owns the rest. */
export function ringPush(ring: usize, ids: usize, n: u32): u32 {
  const capacity = header(HEADER_RING_CAPACITY);
  const tail = load<u32>(ring, RING_TAIL);
  const used = tail - loadAcquire(ring + RING_HEAD);
  if (used > capacity) { fetchAdd(ring + RING_REJECTED, 1); return 0; }
  const room = capacity - used;
  if (n > room) n = room;
  if (n == 0) return 0;
  copyIn(ring, tail, capacity, ids, n);
  storeRelease(ring + RING_TAIL, tail + n);
  return n;
}

/** Pops up to `n` ids into `out`; returns how many came. Ids outside the pool are rejected here. */
export function ringPop(ring: usize, out: usize, n: u32): u32 {
  const capacity = header(HEADER_RING_CAPACITY), limit = header(HEADER_DESCRIPTORS);
  const head = load<u32>(ring, RING_HEAD);
  const available = loadAcquire(ring + RING_TAIL) - head;
  if (available > capacity) { fetchAdd(ring + RING_REJECTED, 1); return 0; }
  if (n > available) n = available;
  if (n == 0) return 0;
  let kept: u32 = 0, rejected: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(ring + RING_IDS + (<usize>((head + i) & (capacity - 1)) << 2));
    store<u32>(out + (<usize>kept << 2), id);
    const good = <u32>(id < limit);
    kept += good;
    rejected += 1 - good;
  }
  if (rejected != 0) fetchAdd(ring + RING_REJECTED, rejected);
  storeRelease(ring + RING_HEAD, head + n);
  return kept;
}

/** Entries waiting in a ring; 0 when its indices make no sense. */
export function ringUsed(ring: usize): u32 {
  const used = loadAcquire(ring + RING_TAIL) - loadAcquire(ring + RING_HEAD);
  return used > header(HEADER_RING_CAPACITY) ? 0 : used;
}

/*
 * The punt ring takes from many workers: each record carries the sequence number at which it may be
 * written (index) or read (index + 1), so producers only race for the tail.
 */
export function initPunts(): void {
  const ring = region(REGION_PUNTS), capacity = header(HEADER_PUNT_CAPACITY);
  for (let i: u32 = 0; i < capacity; i++) store<u32>(ring + RING_HEADER_SIZE + <usize>i * PUNT_SIZE, i, PUNT_SEQUENCE);
}

/** False when the ring is full: the caller keeps the packet. */
export function puntPush(id: u32, reason: u32, argument: u32): bool {
  const ring = region(REGION_PUNTS), capacity = header(HEADER_PUNT_CAPACITY);
  let tail = loadAcquire(ring + RING_TAIL);
  for (;;) {
    const at = ring + RING_HEADER_SIZE + <usize>(tail & (capacity - 1)) * PUNT_SIZE;
    const lead = <i32>(loadAcquire(at + PUNT_SEQUENCE) - tail);
    if (lead < 0) return false;
    if (lead > 0) { tail = loadAcquire(ring + RING_TAIL); continue; }
    const seen = compareExchange(ring + RING_TAIL, tail, tail + 1);
    if (seen != tail) { tail = seen; continue; }
    store<u32>(at, id, PUNT_ID);
    store<u32>(at, reason, PUNT_REASON);
    store<u32>(at, argument, PUNT_ARGUMENT);
    storeRelease(at + PUNT_SEQUENCE, tail + 1);
    return true;
  }
}

/** Does something wait, and leave less room than the packets of a burst may need? */
export function puntsCrowded(): bool {
  const ring = region(REGION_PUNTS);
  const used = loadAcquire(ring + RING_TAIL) - load<u32>(ring, RING_HEAD);
  return used != 0 && used + BURST > header(HEADER_PUNT_CAPACITY);
}

/** Copies up to `n` records (16 bytes each) to `out` and frees their places; one consumer. */
export function puntPop(out: usize, n: u32): u32 {
  const ring = region(REGION_PUNTS), capacity = header(HEADER_PUNT_CAPACITY);
  let head = load<u32>(ring, RING_HEAD), taken: u32 = 0;
  while (taken < n) {
    const at = ring + RING_HEADER_SIZE + <usize>(head & (capacity - 1)) * PUNT_SIZE;
    if (loadAcquire(at + PUNT_SEQUENCE) != head + 1) break;
    memory.copy(out + <usize>taken * PUNT_SIZE, at, PUNT_SIZE);
    storeRelease(at + PUNT_SEQUENCE, head + capacity);
    head++;
    taken++;
  }
  storeRelease(ring + RING_HEAD, head);
  return taken;
}
