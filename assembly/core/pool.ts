/**
 * Buffers and descriptors.
 *
 * Descriptor `i` below HEADER_BUFFERS is at home in buffer `i`; those above are "bare" and stand for a
 * clone of somebody's bytes or for application memory. DESC_REFS of a home descriptor counts the
 * descriptors that point into its buffer. A free descriptor has no references, so a second release is
 * seen and counted, and free + in flight = total at any quiet moment.
 */
import {
  DESC_COOKIE, DESC_DATA, DESC_FLAGS, DESC_GSO_SIZE, DESC_LENGTH, DESC_MARK, DESC_NEXT, DESC_OWNER, DESC_PACKET_LENGTH,
  DESC_REFS, DESC_SHIFT, DESC_SIZE, HEADER_BARE_LIMIT, HEADER_BUFFERS, HEADER_BUFFER_LIMIT, HEADER_DESCRIPTORS, NONE,
  POOL_BARE, POOL_BUFFERS, REGION_DESCRIPTORS, REGION_RESERVES, RESERVE_COUNT, RESERVE_HEADER_SIZE, RESERVE_IDS,
  RESERVE_LOCK, STAT_CLONES, STAT_DOUBLE_FREES, WORKER_BARE_CACHE, WORKER_BARE_COUNT, WORKER_BUFFER_CACHE,
  WORKER_BUFFER_COUNT,
} from "../abi";
import { count, descriptorAt, frameAt, header, region } from "./layout";
import { fetchAdd, lock, unlock } from "./sync";

@inline
function reserveOf(pool: u32): usize {
  const first = region(REGION_RESERVES);
  return pool == POOL_BUFFERS ? first : first + RESERVE_HEADER_SIZE + 4 * <usize>((header(HEADER_BUFFERS) + 15) & ~15);
}

@inline
function countField(pool: u32): usize {
  return pool == POOL_BUFFERS ? WORKER_BUFFER_COUNT : WORKER_BARE_COUNT;
}

@inline
function cacheField(pool: u32): usize {
  return pool == POOL_BUFFERS ? WORKER_BUFFER_CACHE : WORKER_BARE_CACHE;
}

@inline
function cacheLimit(pool: u32): u32 {
  return header(pool == POOL_BUFFERS ? HEADER_BUFFER_LIMIT : HEADER_BARE_LIMIT);
}

/** Puts every descriptor into the shared reserves; once, before any worker runs. */
export function initPools(): void {
  const buffers = header(HEADER_BUFFERS), total = header(HEADER_DESCRIPTORS);
  fillReserve(reserveOf(POOL_BUFFERS), 0, buffers);
  fillReserve(reserveOf(POOL_BARE), buffers, total);
}

function fillReserve(reserve: usize, from: u32, to: u32): void {
  for (let id = from; id < to; id++) {
    store<u32>(descriptorAt(id), 0, DESC_REFS);
    store<u32>(reserve + RESERVE_IDS + (<usize>(id - from) << 2), id);
  }
  store<u32>(reserve, to - from, RESERVE_COUNT);
  store<u32>(reserve, 0, RESERVE_LOCK);
}

/** Moves a batch from the reserve to the worker's cache. */
function refill(worker: usize, pool: u32): void {
  const reserve = reserveOf(pool);
  lock(reserve + RESERVE_LOCK);
  const have = load<u32>(reserve, RESERVE_COUNT);
  const take = min<u32>(have, cacheLimit(pool) >>> 1);
  const cached = load<u32>(worker + countField(pool));
  memory.copy(
    worker + cacheField(pool) + (<usize>cached << 2),
    reserve + RESERVE_IDS + (<usize>(have - take) << 2), <usize>take << 2,
  );
  store<u32>(reserve, have - take, RESERVE_COUNT);
  unlock(reserve + RESERVE_LOCK);
  store<u32>(worker + countField(pool), cached + take);
}

/** Gives the oldest batch of the worker's cache back to the reserve. */
function spill(worker: usize, pool: u32): void {
  const reserve = reserveOf(pool);
  const cached = load<u32>(worker + countField(pool));
  const cache = worker + cacheField(pool), batch = cacheLimit(pool) >>> 1;
  lock(reserve + RESERVE_LOCK);
  const have = load<u32>(reserve, RESERVE_COUNT);
  memory.copy(reserve + RESERVE_IDS + (<usize>have << 2), cache, <usize>batch << 2);
  store<u32>(reserve, have + batch, RESERVE_COUNT);
  unlock(reserve + RESERVE_LOCK);
  memory.copy(cache, cache + (<usize>batch << 2), <usize>(cached - batch) << 2);
  store<u32>(worker + countField(pool), cached - batch);
}

/** Writes up to `wanted` fresh buffer ids to `out`; they hold one reference and nothing else. */
export function takeBuffers(worker: usize, out: usize, wanted: u32): u32 {
  let cached = load<u32>(worker, WORKER_BUFFER_COUNT);
  if (cached < wanted) {
    refill(worker, POOL_BUFFERS);
    cached = load<u32>(worker, WORKER_BUFFER_COUNT);
    if (wanted > cached) wanted = cached;
  }
  let from = worker + WORKER_BUFFER_CACHE + (<usize>cached << 2);
  for (let i: u32 = 0; i < wanted; i++) {
    from -= 4;
    store<u32>(out + (<usize>i << 2), load<u32>(from));
  }
  store<u32>(worker, cached - wanted, WORKER_BUFFER_COUNT);
  return wanted;
}

/** One buffer, ready to be written at its frame address, or NONE. */
export function takeBuffer(worker: usize): u32 {
  let cached = load<u32>(worker, WORKER_BUFFER_COUNT);
  if (cached == 0) {
    refill(worker, POOL_BUFFERS);
    cached = load<u32>(worker, WORKER_BUFFER_COUNT);
    if (cached == 0) return NONE;
  }
  const id = load<u32>(worker + WORKER_BUFFER_CACHE + (<usize>(cached - 1) << 2));
  store<u32>(worker, cached - 1, WORKER_BUFFER_COUNT);
  resetDescriptor(id);
  return id;
}

/** A descriptor without a buffer, or NONE. */
export function takeBare(worker: usize): u32 {
  let cached = load<u32>(worker, WORKER_BARE_COUNT);
  if (cached == 0) {
    refill(worker, POOL_BARE);
    cached = load<u32>(worker, WORKER_BARE_COUNT);
    if (cached == 0) return NONE;
  }
  const id = load<u32>(worker + WORKER_BARE_CACHE + (<usize>(cached - 1) << 2));
  store<u32>(worker, cached - 1, WORKER_BARE_COUNT);
  const d = descriptorAt(id);
  memory.fill(d, 0, DESC_SIZE);
  store<u32>(d, NONE, DESC_NEXT);
  store<u32>(d, NONE, DESC_OWNER);
  store<u32>(d, 1, DESC_REFS);
  return id;
}

/** A home descriptor as it is when its buffer has just been taken: empty frame, one reference. */
@inline
export function resetDescriptor(id: u32): void {
  const d = descriptorAt(id);
  store<u32>(d, <u32>frameAt(id), DESC_DATA);
  store<u32>(d, 0, DESC_LENGTH);
  store<u32>(d, NONE, DESC_NEXT);
  store<u32>(d, id, DESC_OWNER);
  store<u32>(d, 1, DESC_REFS);
  store<u32>(d, 0, DESC_PACKET_LENGTH);
  store<u32>(d, 0, DESC_FLAGS);
  store<u32>(d, 0, DESC_GSO_SIZE);
  store<u32>(d, 0, DESC_COOKIE);
  store<u32>(d, 0, DESC_MARK);
}

function pushFree(worker: usize, id: u32, pool: u32): void {
  let cached = load<u32>(worker + countField(pool));
  if (cached >= cacheLimit(pool)) {
    spill(worker, pool);
    cached = load<u32>(worker + countField(pool));
  }
  store<u32>(worker + cacheField(pool) + (<usize>cached << 2), id);
  store<u32>(worker + countField(pool), cached + 1);
}

/** Drops one reference of a buffer; the last one frees it. */
@inline
function dropReference(worker: usize, home: u32): void {
  const d = descriptorAt(home);
  const refs = load<u32>(d, DESC_REFS);
  if (refs == 1) {
    store<u32>(d, 0, DESC_REFS);
    pushFree(worker, home, POOL_BUFFERS);
  } else if (refs == 0) {
    count(worker, STAT_DOUBLE_FREES, 1);
  } else if (fetchAdd(d + DESC_REFS, <u32>-1) == 1) {
    pushFree(worker, home, POOL_BUFFERS);
  }
}

/** Releases one segment (not the rest of its chain). */
export function releaseSegment(worker: usize, id: u32): void {
  const d = descriptorAt(id);
  const owner = load<u32>(d, DESC_OWNER);
  if (owner == id) { dropReference(worker, id); return; }
  if (load<u32>(d, DESC_REFS) != 1) { count(worker, STAT_DOUBLE_FREES, 1); return; }
  store<u32>(d, 0, DESC_REFS);
  const cookie = load<u32>(d, DESC_COOKIE);
  if (cookie != 0) fetchAdd(<usize>cookie, <u32>-1);
  if (owner != NONE) dropReference(worker, owner);
  pushFree(worker, id, POOL_BARE);
}

/** Releases `n` packets and returns their bytes. */
export function releaseBurst(worker: usize, ids: usize, n: u32): u64 {
  const descriptors = region(REGION_DESCRIPTORS);
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    bytes += load<u32>(descriptors + (<usize>load<u32>(ids + (<usize>i << 2)) << DESC_SHIFT), DESC_PACKET_LENGTH);
  }
  for (let i: u32 = 0; (i = releaseRun(worker, ids, i, n)) < n; i++) release(worker, load<u32>(ids + (<usize>i << 2)));
  return bytes;
}

/** The usual packet (one segment, its own buffer, nobody else's) takes a few words; stops at the first other one. */
function releaseRun(worker: usize, ids: usize, i: u32, n: u32): u32 {
  const descriptors = region(REGION_DESCRIPTORS), cache = worker + WORKER_BUFFER_CACHE, limit = cacheLimit(POOL_BUFFERS);
  let cached = load<u32>(worker, WORKER_BUFFER_COUNT);
  for (; i < n; i++) {
    const id = load<u32>(ids + (<usize>i << 2));
    const d = descriptors + (<usize>id << DESC_SHIFT);
    const odd = (load<u64>(d, DESC_NEXT) ^ (<u64>NONE | (<u64>id << 32))) | <u64>((load<u32>(d, DESC_REFS) ^ 1) | <u32>(cached >= limit));
    if (odd != 0) break;
    store<u32>(d, 0, DESC_REFS);
    store<u32>(cache + (<usize>cached << 2), id);
    cached++;
  }
  store<u32>(worker, cached, WORKER_BUFFER_COUNT);
  return i;
}

/** Releases a whole packet. */
export function release(worker: usize, id: u32): void {
  const total = header(HEADER_DESCRIPTORS);
  for (let left = total; left != 0 && id < total; left--) {
    const next = load<u32>(descriptorAt(id), DESC_NEXT);
    releaseSegment(worker, id);
    id = next;
  }
}

/** A second descriptor for `length` bytes at `data` that belong to the segment `id`; no bytes move. */
export function reference(worker: usize, id: u32, data: u32, length: u32): u32 {
  const clone = takeBare(worker);
  if (clone == NONE) return NONE;
  const from = descriptorAt(id), to = descriptorAt(clone);
  const owner = load<u32>(from, DESC_OWNER);
  const cookie = load<u32>(from, DESC_COOKIE);
  store<u32>(to, data, DESC_DATA);
  store<u32>(to, length, DESC_LENGTH);
  store<u32>(to, owner, DESC_OWNER);
  store<u32>(to, cookie, DESC_COOKIE);
  if (cookie != 0) fetchAdd(<usize>cookie, 1);
  if (owner != NONE) fetchAdd(descriptorAt(owner) + DESC_REFS, 1);
  return clone;
}

/** Clones a packet without copying a byte; NONE when descriptors run out. */
export function clonePacket(worker: usize, id: u32): u32 {
  let first: u32 = NONE, last: usize = 0, left = header(HEADER_DESCRIPTORS);
  for (let from = id; from != NONE && left != 0; left--, from = load<u32>(descriptorAt(from), DESC_NEXT)) {
    const d = descriptorAt(from);
    const clone = reference(worker, from, load<u32>(d, DESC_DATA), load<u32>(d, DESC_LENGTH));
    if (clone == NONE) { if (first != NONE) release(worker, first); return NONE; }
    const to = descriptorAt(clone);
    if (first == NONE) {
      first = clone;
      memory.copy(to + DESC_PACKET_LENGTH, d + DESC_PACKET_LENGTH, DESC_COOKIE - DESC_PACKET_LENGTH);
      store<u32>(to, load<u32>(d, DESC_MARK), DESC_MARK);
    } else store<u32>(last, clone, DESC_NEXT);
    last = to;
  }
  count(worker, STAT_CLONES, 1);
  return first;
}

/** True when nobody else sees this segment's bytes, so that they may be written. */
@inline
export function isExclusive(id: u32): bool {
  const d = descriptorAt(id);
  const owner = load<u32>(d, DESC_OWNER);
  if (owner == NONE) return false;
  return load<u32>(descriptorAt(owner), DESC_REFS) == 1;
}

/** Free descriptors of a pool in the reserve and in every worker's cache; for accounting at rest. */
export function freeInReserve(pool: u32): u32 {
  return load<u32>(reserveOf(pool), RESERVE_COUNT);
}
