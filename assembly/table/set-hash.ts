/**
 * Sets of exact keys: open addressing over groups of 16 tags that one SIMD compare looks at (the idea of Abseil's "Swiss tables").
 *
 * Keys are words under a secret multiplier, so that nobody outside can choose keys that fall together. A set grows by doubling up to its
 * limit; where expired elements could make room they are looked for, no more often than the set's interval, so that a flood of new keys
 * does not buy a search with each packet. Elements move when a set grows: no address of one outlives the packet.
 */
import {
  HEADER, HEADER_SECRET, REGION_FILTER, SET_BLOCK, SET_COUNT, SET_ELEMENTS, SET_EXPIRY, SET_EXPRESSIONS, SET_EXPRESSION_BYTES, SET_FLOWS,
  SET_GROUP, SET_KEY_WORDS, SET_LEFT, SET_LIFE, SET_LIMIT, SET_MASK, SET_NEXT_SEARCH, SET_REFUSED, SET_SEARCH_INTERVAL, SET_STRIDE,
  SET_TAGS, SET_TEMPLATE,
} from "../abi";
import { allocateNow, retire } from "../core/arena";
import { region } from "../core/layout";
import { freeList } from "./limit";

const FREE: u8 = 0;
const DELETED: u8 = 1;

@inline
function mix(h: u64, word: u32, secret: u64): u64 {
  h = (h ^ word) * (secret | 1);
  return h ^ (h >> 32);
}

function hashOf(key: usize, words: u32): u64 {
  const secret = load<u64>(<usize>HEADER + HEADER_SECRET) * 0x9e3779b97f4a7c15;
  let h = secret;
  for (const end = key + (<usize>words << 2); key < end; key += 4) h = mix(h, load<u32>(key), secret);
  return h * 0xc2b2ae3d27d4eb4f >> 20;
}

function sameKey(a: usize, b: usize, words: u32): bool {
  for (const end = a + (<usize>words << 2); a < end; a += 4, b += 4) if (load<u32>(a) != load<u32>(b)) return false;
  return true;
}

@inline
export function hasExpired(set: usize, element: usize, now: u64): bool {
  const at = load<u32>(set, SET_EXPIRY);
  if (at == 0) return false;
  const when = load<u64>(element + at);
  return when != 0 && when <= now;
}

/** The element of a key, expired or not, or 0. */
function find(set: usize, key: usize, words: u32, hash: u64): usize {
  const tags = <usize>load<u32>(set, SET_TAGS), mask = load<u32>(set, SET_MASK), stride = load<u32>(set, SET_STRIDE);
  const elements = <usize>load<u32>(set, SET_ELEMENTS), wanted = i8x16.splat(<u8>(hash & 127) | 128);
  let group = <u32>(hash >> 7) & mask, step: u32 = 1;
  while (true) {
    const found = v128.load(tags + (<usize>group << 4));
    for (let hits = <u32>i8x16.bitmask(i8x16.eq(found, wanted)); hits != 0; hits &= hits - 1) {
      const element = elements + (<usize>((group << 4) + ctz<u32>(hits))) * stride;
      if (sameKey(element, key, words)) return element;
    }
    if (i8x16.bitmask(i8x16.eq(found, i8x16.splat(0))) != 0) return 0;
    // Triangular steps visit every group of a power of two; some place is always free.
    group = (group + step++) & mask;
  }
}

/** The live element of a key, or 0. */
export function findHashed(set: usize, key: usize, now: u64): usize {
  const words = <u32>load<u16>(set, SET_KEY_WORDS), element = find(set, key, words, hashOf(key, words));
  return element == 0 || hasExpired(set, element, now) ? 0 : element;
}

/** A fresh element for a key (or the expired one of the same key, made new), or 0 when the set is full. The key must have no live one. */
export function insertHashed(set: usize, key: usize, now: u64): usize {
  const words = <u32>load<u16>(set, SET_KEY_WORDS), hash = hashOf(key, words);
  let element = find(set, key, words, hash);
  if (element == 0) {
    const limit = load<u32>(set, SET_LIMIT), full = limit != 0 && load<u32>(set, SET_COUNT) >= limit;
    if (full) expire(set, now);
    if ((full && load<u32>(set, SET_COUNT) >= limit) || (load<u32>(set, SET_LEFT) == 0 && !makeRoom(set, now))) {
      store<u32>(set, load<u32>(set, SET_REFUSED) + 1, SET_REFUSED);
      return 0;
    }
    element = place(set, hash);
    store<u32>(set, load<u32>(set, SET_COUNT) + 1, SET_COUNT);
  } else dropFlows(set, element);
  renew(set, element, key, words, now);
  return element;
}

/** What an element is before anything is known of it but its key. */
function renew(set: usize, element: usize, key: usize, words: u32, now: u64): void {
  memory.fill(element, 0, load<u32>(set, SET_STRIDE));
  memory.copy(element, key, <usize>words << 2);
  const expiry = load<u32>(set, SET_EXPIRY), life = load<u64>(set, SET_LIFE), template = load<u32>(set, SET_TEMPLATE);
  if (expiry != 0 && life != 0) {
    store<u64>(element + expiry, now + life);
    store<u64>(element + expiry, life, 8);
  }
  if (template != 0) memory.copy(element + load<u32>(set, SET_EXPRESSIONS), <usize>template, load<u32>(set, SET_EXPRESSION_BYTES));
}

/** Claims the first place that is not taken on a hash's road. */
function place(set: usize, hash: u64): usize {
  const tags = <usize>load<u32>(set, SET_TAGS), mask = load<u32>(set, SET_MASK);
  let group = <u32>(hash >> 7) & mask, step: u32 = 1;
  while (true) {
    const taken = <u32>i8x16.bitmask(v128.load(tags + (<usize>group << 4)));
    if (taken != 0xffff) {
      const index = (group << 4) + ctz<u32>(~taken), tag = tags + index;
      if (load<u8>(tag) == FREE) store<u32>(set, load<u32>(set, SET_LEFT) - 1, SET_LEFT);
      store<u8>(tag, <u8>(hash & 127) | 128);
      return <usize>load<u32>(set, SET_ELEMENTS) + <usize>index * load<u32>(set, SET_STRIDE);
    }
    group = (group + step++) & mask;
  }
}

/** Removes the element of a key; false when there was none alive. */
export function removeHashed(set: usize, key: usize, now: u64): bool {
  const words = <u32>load<u16>(set, SET_KEY_WORDS), element = find(set, key, words, hashOf(key, words));
  if (element == 0) return false;
  const alive = !hasExpired(set, element, now);
  vacate(set, <u32>(element - <usize>load<u32>(set, SET_ELEMENTS)) / load<u32>(set, SET_STRIDE));
  return alive;
}

function vacate(set: usize, index: u32): void {
  const tags = <usize>load<u32>(set, SET_TAGS);
  dropFlows(set, <usize>load<u32>(set, SET_ELEMENTS) + <usize>index * load<u32>(set, SET_STRIDE));
  // Where the group has a free place no search goes past it, so this one may be free too.
  const open = i8x16.bitmask(i8x16.eq(v128.load(tags + (<usize>index & ~15)), i8x16.splat(0))) != 0;
  store<u8>(tags + index, open ? FREE : DELETED);
  if (open) store<u32>(set, load<u32>(set, SET_LEFT) + 1, SET_LEFT);
  store<u32>(set, load<u32>(set, SET_COUNT) - 1, SET_COUNT);
}

function dropFlows(set: usize, element: usize): void {
  const at = load<u32>(set, SET_FLOWS);
  if (at != 0) freeList(element + at);
}

/** Removes what has expired, unless it was searched for a moment ago. */
export function expire(set: usize, now: u64): void {
  if (load<u32>(set, SET_EXPIRY) == 0 || now < load<u64>(set, SET_NEXT_SEARCH)) return;
  store<u64>(set, now + load<u64>(set, SET_SEARCH_INTERVAL), SET_NEXT_SEARCH);
  const tags = <usize>load<u32>(set, SET_TAGS), places = (load<u32>(set, SET_MASK) + 1) * SET_GROUP;
  const elements = <usize>load<u32>(set, SET_ELEMENTS), stride = load<u32>(set, SET_STRIDE);
  for (let i: u32 = 0; i < places; i++) {
    if (load<u8>(tags + i) >= 128 && hasExpired(set, elements + <usize>i * stride, now)) vacate(set, i);
  }
}

/** With no free place left: the expired go, then the deleted, then the set doubles. */
function makeRoom(set: usize, now: u64): bool {
  expire(set, now);
  const groups = load<u32>(set, SET_MASK) + 1, count = load<u32>(set, SET_COUNT);
  return resize(set, count > groups * (SET_GROUP / 2) ? groups * 2 : groups);
}

/** Moves a set into `groups` groups (a power of two, with room for its elements); false without memory, and then nothing has changed. */
export function resize(set: usize, groups: u32): bool {
  const arena = region(REGION_FILTER), stride = load<u32>(set, SET_STRIDE), places = groups * SET_GROUP;
  const size = <u64>places * (<u64>stride + 1);
  if (size >= 0x80000000) return false;
  const block = <usize>allocateNow(arena, (<u32>size + 63) & ~63);
  if (block == 0) return false;
  const oldTags = <usize>load<u32>(set, SET_TAGS), oldElements = <usize>load<u32>(set, SET_ELEMENTS);
  const oldPlaces: u32 = oldTags == 0 ? 0 : (load<u32>(set, SET_MASK) + 1) * SET_GROUP, oldSize = load<u32>(set, SET_BLOCK);
  memory.fill(block, 0, places);
  store<u32>(set, <u32>block, SET_TAGS);
  store<u32>(set, <u32>block + places, SET_ELEMENTS);
  store<u32>(set, groups - 1, SET_MASK);
  store<u32>(set, places - (places >>> 3), SET_LEFT);
  store<u32>(set, (<u32>size + 63) & ~63, SET_BLOCK);
  const words = <u32>load<u16>(set, SET_KEY_WORDS);
  for (let i: u32 = 0; i < oldPlaces; i++) {
    if (load<u8>(oldTags + i) < 128) continue;
    const from = oldElements + <usize>i * stride;
    memory.copy(place(set, hashOf(from, words)), from, stride);
  }
  if (oldTags != 0) retire(arena, <u32>oldTags, oldSize);
  return true;
}

/** Gives everything of a set back but its header. */
export function clearHashed(set: usize): void {
  const tags = <usize>load<u32>(set, SET_TAGS), places = (load<u32>(set, SET_MASK) + 1) * SET_GROUP;
  if (tags == 0) return;
  for (let i: u32 = 0; i < places; i++) {
    if (load<u8>(tags + i) >= 128) dropFlows(set, <usize>load<u32>(set, SET_ELEMENTS) + <usize>i * load<u32>(set, SET_STRIDE));
  }
  retire(region(REGION_FILTER), <u32>tags, load<u32>(set, SET_BLOCK));
  store<u32>(set, 0, SET_TAGS);
}
