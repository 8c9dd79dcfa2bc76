/**
 * IPv6 forwarding table, complete to /128.
 *
 *   address: [ 16 bits root ][ 10 bits page ][ 6 bits node ][ 16-bit words of search trees … ]
 *
 * Down to /32 the steps are those of the IPv4 trie, with pages (1,024 words) between root and node; uniform
 * stretches share a page and a node per hop, so these steps need no branch. What is longer than /32 sits in
 * 9-ary search trees (see search-tree.ts), walked for a burst at a time over a shrinking worklist.
 *
 * A change up to /32 makes a new node and swaps one word of a page; a longer one makes a new tree for its
 * /32 and swaps one leaf. Routes are kept apart: up to /16 in a heap-ordered array, /17 to /26 in one per
 * page, longer ones in a sorted list per /26.
 */
import {
  ARENA_SCRATCH, BURST, FIB6_PAGE_BITS, FIB6_ROOT_BITS, REGION_FIB, REGION_RIB, ROUTE_ABSENT, ROUTE_ADDED,
  ROUTE_BAD_ARGUMENT, ROUTE_BUSY, ROUTE_NO_MEMORY, ROUTE_REMOVED, ROUTE_REPLACED, TABLE_DEFERRED, TABLE_DIRTY,
  TABLE_HOP_LIMIT, TABLE_PAGES, TABLE_ROOT, TABLE_ROUTES, TABLE_SHORTS, TABLE_UNIFORM,
} from "../abi";
import { advanceEpoch, allocate, free, limboRoom, collect, retire } from "../core/arena";
import { region } from "../core/layout";
import { storeRelease } from "../core/sync";
import { fillRange, rank, runs, writeLeaves } from "./nodes";
import {
  count6, find6, insert6At, list6, position6, remove6At, ROUTE6_HOP, ROUTE6_LENGTH, ROUTE6_SIZE, SLOT6_SIZE,
} from "./route-list6";
import { buildTree, NO_TREE, retireTree, step, TREE_BIT } from "./search-tree";

const ROOT_SIZE: u32 = 1 << FIB6_ROOT_BITS;
const PAGE_SIZE: u32 = 1 << FIB6_PAGE_BITS;
/** Cold side of a page: heap of /17–/26 (u16), then the slots, then how many routes it holds. */
const PAGE_HEAP: u32 = PAGE_SIZE * 2 * 2;
const PAGE_ROUTES: u32 = PAGE_HEAP + PAGE_SIZE * SLOT6_SIZE;
const COLD_PAGE_SIZE: u32 = PAGE_ROUTES + 8;
/** Every tree node of one /26 may go into limbo at once. */
const LIMBO_ROOM: u32 = 4096;
/** No leaf is an escape here: trees are told apart by bit 31 and never equal their neighbours. */
const NO_ESCAPE: u32 = u32.MAX_VALUE;

// ── Lookup ──────────────────────────────────────────────────────────────────────────────────────

/** Leaf for the first 32 bits (two biased words) of a query. */
@inline
function leafOf(root: usize, query: usize): u32 {
  const w0 = <u32>load<u16>(query) ^ 0x8000, w1 = <u32>load<u16>(query, 2) ^ 0x8000;
  const page = <usize>load<u32>(root + (<usize>w0 << 2));
  const node = <usize>load<u32>(page + (<usize>(w1 >>> 6) << 2));
  return load<u32>(node + (<usize>rank(load<u64>(node), w1) << 2), 4);
}

/** Looks up `n` queries of 16 bytes (see search-tree.ts) and writes hops (u32); `work` holds BURST u16. */
export function lookup6Burst(table: usize, queries: usize, out: usize, work: usize, n: u32): void {
  const root = <usize>load<u32>(table, TABLE_ROOT);
  let left: u32 = 0, i: u32 = 0;
  for (; i + 4 <= n; i += 4) {
    const q = queries + (<usize>i << 4), o = out + (<usize>i << 2);
    const l0 = leafOf(root, q), l1 = leafOf(root, q + 16), l2 = leafOf(root, q + 32), l3 = leafOf(root, q + 48);
    store<u32>(o, l0); store<u32>(o, l1, 4); store<u32>(o, l2, 8); store<u32>(o, l3, 12);
    store<u16>(work + (<usize>left << 1), <u16>i); left += l0 >>> 31;
    store<u16>(work + (<usize>left << 1), <u16>(i + 1)); left += l1 >>> 31;
    store<u16>(work + (<usize>left << 1), <u16>(i + 2)); left += l2 >>> 31;
    store<u16>(work + (<usize>left << 1), <u16>(i + 3)); left += l3 >>> 31;
  }
  for (; i < n; i++) {
    const leaf = leafOf(root, queries + (<usize>i << 4));
    store<u32>(out + (<usize>i << 2), leaf);
    if (leaf & TREE_BIT) { store<u16>(work + (<usize>left << 1), <u16>i); left++; }
  }
  while (left != 0) left = stepAll(queries, out, work, left);
}

/** One step for everything on the worklist; returns what is left on it. */
@inline
function stepAll(queries: usize, out: usize, work: usize, n: u32): u32 {
  let kept: u32 = 0;
  for (let w: u32 = 0; w < n; w++) {
    const i = <usize>load<u16>(work + (<usize>w << 1));
    const at = out + (i << 2);
    const value = step(load<u32>(at), queries + (i << 4));
    store<u32>(at, value);
    store<u16>(work + (<usize>kept << 1), <u16>i);
    kept += value >>> 31;
  }
  return kept;
}

export function lookup6(table: usize, query: usize): u32 {
  let value = leafOf(<usize>load<u32>(table, TABLE_ROOT), query);
  while (value & TREE_BIT) value = step(value, query);
  return value;
}

/** The query form of 16 address bytes in network order. */
@inline
export function toQuery(at: usize): v128 {
  return asQuery(v128.load(at));
}

@inline
export function asQuery(address: v128): v128 {
  return v128.xor(
    v128.shuffle<u8>(address, address, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14),
    i16x8.splat(<i16>-32768),
  );
}

// ── Building ────────────────────────────────────────────────────────────────────────────────────

export function create6(table: usize): i32 {
  const cold = region(REGION_RIB), limit = load<u32>(table, TABLE_HOP_LIMIT);
  const root = allocate(region(REGION_FIB), ROOT_SIZE * 4);
  const shorts = allocate(cold, ROOT_SIZE * 2 * 2);
  const pages = allocate(cold, ROOT_SIZE * 4);
  // Two words a hop: its uniform node and its uniform page.
  const uniform = allocate(cold, limit * 8);
  if (root == 0 || shorts == 0 || pages == 0 || uniform == 0) return ROUTE_NO_MEMORY;
  memory.fill(<usize>shorts, 0, ROOT_SIZE * 4);
  memory.fill(<usize>pages, 0, ROOT_SIZE * 4);
  memory.fill(<usize>uniform, 0, <usize>limit * 8);
  store<u32>(table, root, TABLE_ROOT);
  store<u32>(table, shorts, TABLE_SHORTS);
  store<u32>(table, pages, TABLE_PAGES);
  store<u32>(table, uniform, TABLE_UNIFORM);
  store<u32>(table, 0, TABLE_ROUTES);
  const none = uniformPage(table, 0);
  if (none == 0) return ROUTE_NO_MEMORY;
  for (let i: u32 = 0; i < ROOT_SIZE; i++) store<u32>(<usize>root + (<usize>i << 2), none);
  return ROUTE_ADDED;
}

function uniformNode(table: usize, hop: u32): u32 {
  const at = <usize>load<u32>(table, TABLE_UNIFORM) + (<usize>hop << 3);
  let node = load<u32>(at);
  if (node != 0) return node;
  node = allocate(region(REGION_FIB), 12);
  if (node == 0) return 0;
  store<u64>(<usize>node, 1);
  store<u32>(<usize>node, hop, 8);
  store<u32>(at, node);
  return node;
}

function uniformPage(table: usize, hop: u32): u32 {
  const at = <usize>load<u32>(table, TABLE_UNIFORM) + (<usize>hop << 3) + 4;
  let page = load<u32>(at);
  if (page != 0) return page;
  const node = uniformNode(table, hop);
  if (node == 0) return 0;
  page = allocate(region(REGION_FIB), PAGE_SIZE * 4);
  if (page == 0) return 0;
  fillRange(<usize>page, 0, PAGE_SIZE, node);
  store<u32>(at, page);
  return page;
}

@inline
function ancestor(heap: usize, index: u32): u32 {
  for (; index != 0; index >>= 1) {
    const hop = <u32>load<u16>(heap + (<usize>index << 1));
    if (hop != 0) return hop;
  }
  return 0;
}

/** Best route up to /16 over a root slot. */
function coverOfRoot(table: usize, slot: u32): u32 {
  return ancestor(<usize>load<u32>(table, TABLE_SHORTS), ROOT_SIZE + slot);
}

@inline
function coldPage(table: usize, slot: u32): usize {
  return <usize>load<u32>(<usize>load<u32>(table, TABLE_PAGES) + (<usize>slot << 2));
}

@inline
function slot6(cold: usize, sub: u32): usize {
  return cold + PAGE_HEAP + <usize>sub * SLOT6_SIZE;
}

/** Gives a root slot a page of its own, filled with what covers it; returns its cold side or 0. */
function ownPage(table: usize, slot: u32): usize {
  let cold = coldPage(table, slot);
  if (cold != 0) return cold;
  const node = uniformNode(table, coverOfRoot(table, slot));
  if (node == 0) return 0;
  cold = <usize>allocate(region(REGION_RIB), COLD_PAGE_SIZE);
  if (cold == 0) return 0;
  const page = allocate(region(REGION_FIB), PAGE_SIZE * 4);
  if (page == 0) { free(region(REGION_RIB), <u32>cold, COLD_PAGE_SIZE); return 0; }
  memory.fill(cold, 0, COLD_PAGE_SIZE);
  fillRange(<usize>page, 0, PAGE_SIZE, node);
  store<u32>(<usize>load<u32>(table, TABLE_PAGES) + (<usize>slot << 2), <u32>cold);
  storeRelease(<usize>load<u32>(table, TABLE_ROOT) + (<usize>slot << 2), page);
  return cold;
}

/** Keeps a page's own count; the last route takes the page with it. */
function countOnPage(table: usize, slot: u32, cold: usize, before: u32, after: u32): void {
  const left = load<u32>(cold + PAGE_ROUTES) + <u32>(before == 0) - <u32>(after == 0);
  store<u32>(cold + PAGE_ROUTES, left);
  if (left != 0) return;
  const shared = uniformPage(table, coverOfRoot(table, slot));
  if (shared == 0) return; // without memory for it the page stays, correct if larger
  const at = <usize>load<u32>(table, TABLE_ROOT) + (<usize>slot << 2);
  const page = load<u32>(at);
  storeRelease(at, shared);
  store<u32>(<usize>load<u32>(table, TABLE_PAGES) + (<usize>slot << 2), 0);
  if (load<u32>(table, TABLE_DEFERRED) != 0) {
    // Nodes were not kept up with the lists: whatever the page still names goes with it.
    for (let sub: u32 = 0; sub < PAGE_SIZE; sub++) discard(table, <usize>load<u32>(<usize>page + (<usize>sub << 2)), 0, 64);
  }
  retire(region(REGION_FIB), page, PAGE_SIZE * 4);
  free(region(REGION_RIB), <u32>cold, COLD_PAGE_SIZE);
}

/** The word of the page that names a /26's node. */
@inline
function nodeWord(table: usize, slot: u32, sub: u32): usize {
  return <usize>load<u32>(<usize>load<u32>(table, TABLE_ROOT) + (<usize>slot << 2)) + (<usize>sub << 2);
}

/** Best route up to /26 over a /26. */
function coverOfSub(table: usize, slot: u32, sub: u32): u32 {
  const cold = coldPage(table, slot);
  const hop = cold == 0 ? 0 : ancestor(cold, PAGE_SIZE + sub);
  return hop != 0 ? hop : coverOfRoot(table, slot);
}

/**
 * Rebuilds the node of one /26. Trees of the /32s in [from, to) are made anew, the others are kept.
 * Old blocks go to limbo; on failure nothing has changed.
 */
function emit(table: usize, slot: u32, sub: u32, from: u32, to: u32): i32 {
  const cold = coldPage(table, slot);
  const at = nodeWord(table, slot, sub);
  const before = <usize>load<u32>(at);
  const list = slot6(cold, sub);
  const cover = coverOfSub(table, slot, sub);
  let node: u32;
  if (count6(list) == 0) node = uniformNode(table, cover);
  else node = build(table, list, cover, before, from, to);
  if (node == 0) return ROUTE_NO_MEMORY;
  if (node == <u32>before) return ROUTE_ADDED;
  storeRelease(at, node);
  discard(table, before, from, to);
  return ROUTE_ADDED;
}

@inline
function leafAt(node: usize, j: u32): u32 {
  return load<u32>(node + (<usize>rank(load<u64>(node), j) << 2), 4);
}

function build(table: usize, list: usize, cover: u32, before: usize, from: u32, to: u32): u32 {
  const vector = <usize>load<u32>(region(REGION_RIB), ARENA_SCRATCH);
  fillRange(vector, 0, 64, cover);
  const n = count6(list), routes = list6(list);
  let i: u32 = 0, madeTo: u32 = 0, failed = false;
  while (i < n && !failed) {
    const route = routes + <usize>i * ROUTE6_SIZE;
    const length = <u32>load<u8>(route, ROUTE6_LENGTH), j = <u32>(load<u64>(route) >> 32) & 63;
    if (length <= 32) {
      fillRange(vector, j, j + (1 << (32 - length)), <u32>load<u16>(route, ROUTE6_HOP));
      i++;
      continue;
    }
    const first = i;
    while (i < n && (<u32>(load<u64>(routes + <usize>i * ROUTE6_SIZE) >> 32) & 63) == j
      && <u32>load<u8>(routes + <usize>i * ROUTE6_SIZE, ROUTE6_LENGTH) > 32) i++;
    const place = vector + (<usize>j << 2);
    let value: u32;
    if (j >= from && j < to) {
      value = buildTree(routes, first, i, 2, load<u32>(place));
      if (value == NO_TREE) { failed = true; break; }
      madeTo = j + 1;
    } else value = leafAt(before, j);
    store<u32>(place, value);
  }
  let block: u32 = 0;
  if (!failed) {
    const bitmap = runs(vector, NO_ESCAPE);
    const leaves = <u32>popcnt<u64>(bitmap);
    if (leaves == 1 && (load<u32>(vector) & TREE_BIT) == 0) return uniformNode(table, load<u32>(vector));
    block = allocate(region(REGION_FIB), 8 + leaves * 4);
    if (block != 0) {
      store<u64>(<usize>block, bitmap);
      writeLeaves<u32>(<usize>block + 8, vector, bitmap);
      return block;
    }
  }
  for (let j = from; j < madeTo; j++) retireTree(load<u32>(vector + (<usize>j << 2)));
  return 0;
}

/** Retires a node the page no longer names, and its trees in [from, to). */
function discard(table: usize, node: usize, from: u32, to: u32): void {
  const bitmap = load<u64>(node);
  const leaves = <u32>popcnt<u64>(bitmap);
  const only = load<u32>(node, 8);
  if (leaves == 1 && (only & TREE_BIT) == 0) return; // shared
  for (let j = from; j < to; j++) if ((bitmap >> <u64>j) & 1) retireTree(leafAt(node, j));
  retire(region(REGION_FIB), <u32>node, 8 + leaves * 4);
}

// ── Changes ─────────────────────────────────────────────────────────────────────────────────────

@inline
function mask64(length: u32): u64 {
  return length == 0 ? 0 : u64.MAX_VALUE << <u64>(64 - length);
}

@inline
function countChange(table: usize, before: u32, after: u32): void {
  store<u32>(table, load<u32>(table, TABLE_ROUTES) + <u32>(before == 0) - <u32>(after == 0), TABLE_ROUTES);
}

@inline
function resultOf(before: u32, after: u32): i32 {
  return before == 0 ? ROUTE_ADDED : after == 0 ? ROUTE_REMOVED : ROUTE_REPLACED;
}

/** Adds or replaces a route (address as two halves in host order); hop 0 removes. */
export function insert6(table: usize, high: u64, low: u64, length: u32, hop: u32): i32 {
  if (length > 128 || hop >= load<u32>(table, TABLE_HOP_LIMIT)) return ROUTE_BAD_ARGUMENT;
  high &= mask64(min<u32>(length, 64));
  low &= length <= 64 ? 0 : mask64(length - 64);
  if (length <= <u32>FIB6_ROOT_BITS) return changeRoot(table, high, length, hop);
  if (length <= <u32>(FIB6_ROOT_BITS + FIB6_PAGE_BITS)) return changePage(table, high, length, hop);
  return changeList(table, high, low, length, hop);
}

/** /0 to /16: every slot below that has no better route. */
function changeRoot(table: usize, high: u64, length: u32, hop: u32): i32 {
  const index = (<u32>1 << length) | (length == 0 ? 0 : <u32>(high >> <u64>(64 - length)));
  const at = <usize>load<u32>(table, TABLE_SHORTS) + (<usize>index << 1);
  const before = <u32>load<u16>(at);
  if (before == hop) return hop == 0 ? ROUTE_ABSENT : ROUTE_REPLACED;
  collect(region(REGION_FIB));
  store<u16>(at, <u16>hop);
  countChange(table, before, hop);
  if (load<u32>(table, TABLE_DEFERRED) != 0) return resultOf(before, hop);
  const first = <u32>(high >> 48), last = first + ((<u32>1) << (16 - length)) - 1;
  for (let slot = first; slot <= last; slot++) if (emitRoot(table, slot) < 0) { undo(table, at, before, hop); return ROUTE_NO_MEMORY; }
  advanceEpoch();
  return resultOf(before, hop);
}

/** Memory ran out half-way: the route is as it was, and the next change makes all nodes agree with that first. */
function undo(table: usize, at: usize, before: u32, hop: u32): void {
  store<u16>(at, <u16>before);
  countChange(table, hop, before);
  store<u32>(table, 1, TABLE_DIRTY);
}

function emitRoot(table: usize, slot: u32): i32 {
  if (coldPage(table, slot) != 0) return emitSubs(table, slot, 0, PAGE_SIZE);
  const page = uniformPage(table, coverOfRoot(table, slot));
  if (page == 0) return ROUTE_NO_MEMORY;
  storeRelease(<usize>load<u32>(table, TABLE_ROOT) + (<usize>slot << 2), page);
  return ROUTE_ADDED;
}

function emitSubs(table: usize, slot: u32, from: u32, to: u32): i32 {
  for (let sub = from; sub < to; sub++) if (emit(table, slot, sub, 0, 64) < 0) return ROUTE_NO_MEMORY;
  return ROUTE_ADDED;
}

/** /17 to /26. */
function changePage(table: usize, high: u64, length: u32, hop: u32): i32 {
  const slot = <u32>(high >> 48), bits = length - FIB6_ROOT_BITS;
  const cold = hop == 0 ? coldPage(table, slot) : ownPage(table, slot);
  if (cold == 0) return hop == 0 ? ROUTE_ABSENT : ROUTE_NO_MEMORY;
  const within = <u32>(high >> 38) & (PAGE_SIZE - 1);
  const at = cold + (<usize>(((<u32>1) << bits) | (within >>> (FIB6_PAGE_BITS - bits))) << 1);
  const before = <u32>load<u16>(at);
  if (before == hop) return hop == 0 ? ROUTE_ABSENT : ROUTE_REPLACED;
  collect(region(REGION_FIB));
  store<u16>(at, <u16>hop);
  countChange(table, before, hop);
  if (load<u32>(table, TABLE_DEFERRED) != 0) { countOnPage(table, slot, cold, before, hop); return resultOf(before, hop); }
  if (emitSubs(table, slot, within, within + ((<u32>1) << (FIB6_PAGE_BITS - bits))) < 0) { undo(table, at, before, hop); return ROUTE_NO_MEMORY; }
  countOnPage(table, slot, cold, before, hop);
  advanceEpoch();
  return resultOf(before, hop);
}

/** /27 to /128. */
function changeList(table: usize, high: u64, low: u64, length: u32, hop: u32): i32 {
  const deferred = load<u32>(table, TABLE_DEFERRED) != 0;
  if (!deferred && limboRoom(region(REGION_FIB)) < LIMBO_ROOM) { advanceEpoch(); return ROUTE_BUSY; }
  const slot = <u32>(high >> 48), sub = <u32>(high >> 38) & (PAGE_SIZE - 1);
  const cold = hop == 0 ? coldPage(table, slot) : ownPage(table, slot);
  if (cold == 0) return hop == 0 ? ROUTE_ABSENT : ROUTE_NO_MEMORY;
  const list = slot6(cold, sub);
  const before = hop == 0 ? <i32>remove6At(list, high, low, length) : insert6At(list, high, low, length, hop);
  if (before < 0) return before;
  if (<u32>before == hop) return hop == 0 ? ROUTE_ABSENT : ROUTE_REPLACED;
  if (!deferred) {
    const j = <u32>(high >> 32) & 63;
    const to = length >= 32 ? j + 1 : j + ((<u32>1) << (32 - length));
    if (emit(table, slot, sub, j, to) < 0) {
      if (before == 0) remove6At(list, high, low, length);
      else insert6At(list, high, low, length, <u32>before);
      return ROUTE_NO_MEMORY;
    }
  }
  countOnPage(table, slot, cold, <u32>before, hop);
  if (!deferred) advanceEpoch();
  countChange(table, <u32>before, hop);
  return resultOf(<u32>before, hop);
}

/** Ends a bulk load: one pass over all pages. */
export function rebuild6(table: usize): i32 {
  for (let slot: u32 = 0; slot < ROOT_SIZE; slot++) if (emitRoot(table, slot) < 0) return ROUTE_NO_MEMORY;
  advanceEpoch();
  return ROUTE_ADDED;
}

/** The hop of exactly this route, or 0. */
export function exact6(table: usize, high: u64, low: u64, length: u32): u32 {
  if (length > 128) return 0;
  high &= mask64(min<u32>(length, 64));
  low &= length <= 64 ? 0 : mask64(length - 64);
  if (length <= <u32>FIB6_ROOT_BITS) {
    const index = (<u32>1 << length) | (length == 0 ? 0 : <u32>(high >> <u64>(64 - length)));
    return <u32>load<u16>(<usize>load<u32>(table, TABLE_SHORTS) + (<usize>index << 1));
  }
  const cold = coldPage(table, <u32>(high >> 48));
  if (cold == 0) return 0;
  const within = <u32>(high >> 38) & (PAGE_SIZE - 1), bits = length - FIB6_ROOT_BITS;
  if (bits <= <u32>FIB6_PAGE_BITS) {
    return <u32>load<u16>(cold + (<usize>(((<u32>1) << bits) | (within >>> (FIB6_PAGE_BITS - bits))) << 1));
  }
  return find6(slot6(cold, within), high, low, length);
}

/** Routes that name a hop. */
export function uses6(table: usize, hop: u32): u32 {
  const shorts = <usize>load<u32>(table, TABLE_SHORTS);
  let uses: u32 = 0;
  for (let i: usize = 1; i < <usize>ROOT_SIZE * 2; i++) uses += <u32>(<u32>load<u16>(shorts + (i << 1)) == hop);
  for (let slot: u32 = 0; slot < ROOT_SIZE; slot++) {
    const cold = coldPage(table, slot);
    if (cold == 0) continue;
    for (let i: usize = 1; i < <usize>PAGE_SIZE * 2; i++) uses += <u32>(<u32>load<u16>(cold + (i << 1)) == hop);
    for (let sub: u32 = 0; sub < PAGE_SIZE; sub++) {
      const list = slot6(cold, sub), n = count6(list);
      for (let i: u32 = 0; i < n; i++) uses += <u32>(<u32>load<u16>(list6(list) + <usize>i * ROUTE6_SIZE, ROUTE6_HOP) == hop);
    }
  }
  return uses;
}
