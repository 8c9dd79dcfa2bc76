/**
 * Memory for tables: size classes over a bump pointer, and a limbo for blocks that readers may still see.
 *
 * One control thread allocates. `retire` puts a block into limbo with the current epoch; it is reused when
 * every worker has left the burst in which it could have seen the block. Nothing is ever given back to the
 * bump pointer: under steady churn the classes reach their high-water mark and stay there.
 */
import {
  ARENA_BUMP, ARENA_CLASSES, ARENA_END, ARENA_HEADER_SIZE, ARENA_LIMBO, ARENA_LIMBO_CAPACITY, ARENA_LIMBO_HEAD,
  ARENA_LIMBO_TAIL, ARENA_USED, HEADER, HEADER_EPOCH, HEADER_WORKERS, LIMBO_SIZE, WORKER_EPOCH,
} from "../abi";
import { header, workerAt } from "./layout";
import { fetchAdd, loadAcquire } from "./sync";

/** Blocks up to 1 KiB have classes of 4 bytes, larger ones of powers of two. */
const FINE_LIMIT: u32 = 1024;
const FINE_CLASSES: u32 = 256;

@inline
function classOf(size: u32): u32 {
  return size <= FINE_LIMIT ? (size + 3) >> 2 : FINE_CLASSES + 32 - <u32>clz<u32>(size - 1);
}

@inline
function classSize(index: u32): u32 {
  return index <= FINE_CLASSES ? index << 2 : <u32>1 << (index - FINE_CLASSES);
}

/** Lays out an arena over `size` bytes at `arena`; the limbo takes `limbo` entries from its start. */
export function initArena(arena: usize, size: u32, limbo: u32): void {
  memory.fill(arena, 0, ARENA_HEADER_SIZE);
  const queue = <u32>((arena + ARENA_HEADER_SIZE + 63) & ~63);
  store<u32>(arena, queue, ARENA_LIMBO);
  store<u32>(arena, limbo, ARENA_LIMBO_CAPACITY);
  store<u32>(arena, (queue + limbo * LIMBO_SIZE + 63) & ~63, ARENA_BUMP);
  store<u32>(arena, <u32>arena + size, ARENA_END);
}

/** A block of at least `size` bytes, 4-aligned (64-aligned from 64 bytes on when the size is a multiple of 64), or 0. */
export function allocate(arena: usize, size: u32): u32 {
  const block = allocateNow(arena, size);
  if (block != 0) return block;
  const index = classOf(size), waited = waitForReaders(arena, index);
  if (waited != 0) store<u32>(arena, load<u32>(arena, ARENA_USED) + classSize(index), ARENA_USED);
  return waited;
}

/** The same without waiting for readers: for a worker within its burst, which would wait for itself. */
export function allocateNow(arena: usize, size: u32): u32 {
  const index = classOf(size), list = arena + ARENA_CLASSES + (<usize>index << 2), bytes = classSize(index);
  let block = load<u32>(list);
  if (block != 0) store<u32>(list, load<u32>(<usize>block));
  else {
    block = carve(arena, bytes);
    if (block == 0) block = split(arena, index);
    if (block == 0) return 0;
  }
  store<u32>(arena, load<u32>(arena, ARENA_USED) + bytes, ARENA_USED);
  return block;
}

/** Turns of waiting for readers to leave a burst before memory counts as used up: some ten milliseconds. */
const PATIENCE: u32 = 100000;

/** With nothing free: what is in limbo comes back as readers move on. */
function waitForReaders(arena: usize, index: u32): u32 {
  const list = arena + ARENA_CLASSES + (<usize>index << 2);
  advanceEpoch();
  for (let turn: u32 = 0; turn < PATIENCE && load<u32>(arena, ARENA_LIMBO_HEAD) != load<u32>(arena, ARENA_LIMBO_TAIL); turn++) {
    collect(arena);
    const block = load<u32>(list);
    if (block == 0) continue;
    store<u32>(list, load<u32>(<usize>block));
    return block;
  }
  return split(arena, index);
}

/** What was retired comes back, as far as readers move on within that time: for the control thread, before it makes do without. */
export function settle(arena: usize): void {
  advanceEpoch();
  for (let turn: u32 = 0; turn < PATIENCE && load<u32>(arena, ARENA_LIMBO_HEAD) != load<u32>(arena, ARENA_LIMBO_TAIL); turn++) collect(arena);
}

/** True when every reader that might have seen what was unpublished at `epoch` has moved on. */
export function hasPassed(epoch: u32): bool {
  return <i32>(oldestReader() - epoch) > 0;
}

function carve(arena: usize, bytes: u32): u32 {
  let at = load<u32>(arena, ARENA_BUMP);
  if ((bytes & 63) == 0) at = (at + 63) & ~63;
  if (<u64>at + bytes > <u64>load<u32>(arena, ARENA_END)) return 0;
  store<u32>(arena, at + bytes, ARENA_BUMP);
  return at;
}

/** With the bump exhausted: the smallest larger fine block is cut in two. */
function split(arena: usize, index: u32): u32 {
  if (index > FINE_CLASSES) return 0;
  const bytes = classSize(index), aligned = (bytes & 63) == 0;
  for (let i = index + 1; i <= FINE_CLASSES; i++) {
    const list = arena + ARENA_CLASSES + (<usize>i << 2);
    const block = load<u32>(list);
    if (block == 0 || (aligned && (block & 63) != 0)) continue;
    // Classes of whole cache lines hold aligned blocks only, the remainder included.
    if (((classSize(i) - bytes) & 63) == 0 && ((block + bytes) & 63) != 0) continue;
    store<u32>(list, load<u32>(<usize>block));
    pushFree(arena, block + bytes, i - index);
    return block;
  }
  return 0;
}

@inline
function pushFree(arena: usize, block: u32, index: u32): void {
  const list = arena + ARENA_CLASSES + (<usize>index << 2);
  store<u32>(<usize>block, load<u32>(list));
  store<u32>(list, block);
}

/** Gives a block back at once: only for blocks that no reader has ever been shown. */
export function free(arena: usize, block: u32, size: u32): void {
  const index = classOf(size);
  pushFree(arena, block, index);
  store<u32>(arena, load<u32>(arena, ARENA_USED) - classSize(index), ARENA_USED);
}

/** Bytes that a block of `size` really takes. */
@inline
export function blockSize(size: u32): u32 {
  return classSize(classOf(size));
}

/** Room for that many more retired blocks, after collecting what readers have left. */
export function limboRoom(arena: usize): u32 {
  collect(arena);
  return load<u32>(arena, ARENA_LIMBO_CAPACITY)
    - (load<u32>(arena, ARENA_LIMBO_TAIL) - load<u32>(arena, ARENA_LIMBO_HEAD));
}

/** Frees a block when no reader can hold it any more. The caller has made sure of room in the limbo. */
export function retire(arena: usize, block: u32, size: u32): void {
  const capacity = load<u32>(arena, ARENA_LIMBO_CAPACITY);
  let tail = load<u32>(arena, ARENA_LIMBO_TAIL);
  while (tail - load<u32>(arena, ARENA_LIMBO_HEAD) >= capacity) { advanceEpoch(); collect(arena); }
  const at = <usize>load<u32>(arena, ARENA_LIMBO) + <usize>(tail % capacity) * LIMBO_SIZE;
  store<u32>(at, block);
  store<u32>(at, size, 4);
  store<u32>(at, loadAcquire(HEADER + HEADER_EPOCH), 8);
  store<u32>(arena, tail + 1, ARENA_LIMBO_TAIL);
}

/** After a change has been published: readers that start from now on cannot see what was retired before. */
export function advanceEpoch(): void {
  // 0 means "not reading", so the epoch steps over it when it wraps.
  if (fetchAdd(HEADER + HEADER_EPOCH, 1) == u32.MAX_VALUE) fetchAdd(HEADER + HEADER_EPOCH, 1);
}

/** The oldest epoch in which a worker may still be reading (epochs wrap; compare by difference). */
function oldestReader(): u32 {
  const now = loadAcquire(HEADER + HEADER_EPOCH);
  let oldest = now;
  const workers = header(HEADER_WORKERS);
  for (let i: u32 = 0; i < workers; i++) {
    const epoch = loadAcquire(workerAt(i) + WORKER_EPOCH);
    if (epoch != 0 && <i32>(epoch - oldest) < 0) oldest = epoch;
  }
  return oldest;
}

/** Frees all retired blocks that no reader can hold. */
export function collect(arena: usize): void {
  let head = load<u32>(arena, ARENA_LIMBO_HEAD);
  const tail = load<u32>(arena, ARENA_LIMBO_TAIL);
  if (head == tail) return;
  const oldest = oldestReader(), capacity = load<u32>(arena, ARENA_LIMBO_CAPACITY), queue = load<u32>(arena, ARENA_LIMBO);
  while (head != tail) {
    const at = <usize>queue + <usize>(head % capacity) * LIMBO_SIZE;
    if (<i32>(oldest - load<u32>(at, 8)) <= 0) break;
    free(arena, load<u32>(at), load<u32>(at, 4));
    head++;
  }
  store<u32>(arena, head, ARENA_LIMBO_HEAD);
}
