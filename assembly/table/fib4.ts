/**
 * IPv4 forwarding table: a level-compressed trie.
 *
 *   address: [ 18 bits root ][ 6 bits node ][ 8 bits escape ]
 *
 * root[slot] is the address of a node; uniform slots share one node per next hop, which removes the
 * unpredictable branch. Routes longer than /24 hide behind an escape leaf: a 256-value block referenced
 * from the front of the same node. A change builds a new node beside the old one and swaps one word of the
 * root; so a lookup sees the table before or after a change, never between.
 *
 * The routes themselves are kept apart from the hot nodes: prefixes up to /18 in a heap-ordered array
 * (index = 1 << length | prefix), longer ones in one sorted list per root slot.
 */
import {
  ARENA_SCRATCH, FIB4_ROOT_BITS, REGION_FIB, REGION_RIB, ROUTE_ABSENT, ROUTE_ADDED, ROUTE_BAD_ARGUMENT, ROUTE_BUSY,
  ROUTE_NO_MEMORY, ROUTE_REMOVED, ROUTE_REPLACED, TABLE_DEFERRED, TABLE_DIRTY, TABLE_HOP_LIMIT, TABLE_LEAF_BYTES,
  TABLE_ROOT, TABLE_ROUTES, TABLE_SHORTS, TABLE_SLOTS, TABLE_UNIFORM,
} from "../abi";
import { advanceEpoch, allocate, free, limboRoom, collect, retire } from "../core/arena";
import { region } from "../core/layout";
import { storeRelease } from "../core/sync";
import { fillRange, rank, runs, writeLeaves } from "./nodes";
import { listInsert, listRemove, SLOT_SIZE, slotCount, slotEntry } from "./route-list";

const ROOT_BITS: u32 = FIB4_ROOT_BITS;
const ROOT_SIZE: u32 = 1 << FIB4_ROOT_BITS;
const LOW_BITS: u32 = 32 - FIB4_ROOT_BITS;
/** 4 × u64 bitmap, then four running ranks (u16), then leaves. */
const ESCAPE_LEAVES: u32 = 40;

// ── Lookup ──────────────────────────────────────────────────────────────────────────────────────

@inline
function leafOf<T>(root: usize, address: u32): u32 {
  const node = <usize>load<u32>(root + (<usize>(address >>> LOW_BITS) << 2));
  const r = rank(load<u64>(node), address >>> 8);
  return <u32>load<T>(node + (<usize>r - 1) * sizeof<T>(), 8);
}

/** Full lookup of one address, escapes included. */
function lookupDeep<T>(root: usize, address: u32): u32 {
  const escape: u32 = sizeof<T>() == 1 ? 0xff : 0xffff;
  const node = <usize>load<u32>(root + (<usize>(address >>> LOW_BITS) << 2));
  const r = rank(load<u64>(node), address >>> 8);
  const leaf = <u32>load<T>(node + (<usize>r - 1) * sizeof<T>(), 8);
  if (leaf != escape) return leaf;
  let k: usize = 0;
  for (let i: usize = 0; i < <usize>r - 1; i++) k += <usize>(<u32>load<T>(node + i * sizeof<T>(), 8) == escape);
  const block = <usize>load<u32>(node - 4 - (k << 2));
  const low = address & 0xff, word = <usize>(low >>> 6);
  const deep = <usize>load<u16>(block + (word << 1), 32) + rank(load<u64>(block + (word << 3)), low);
  return <u32>load<T>(block + (deep - 1) * sizeof<T>(), ESCAPE_LEAVES);
}

/** Looks up `n` addresses (u32, host order) and writes next-hop indices (u32). Branch-free but for escapes. */
function lookupBurst<T>(table: usize, addresses: usize, out: usize, n: u32): void {
  const escape: u32 = sizeof<T>() == 1 ? 0xff : 0xffff;
  const root = <usize>load<u32>(table, TABLE_ROOT);
  let escapes: u32 = 0, i: u32 = 0;
  for (; i + 8 <= n; i += 8) {
    const a = addresses + (<usize>i << 2), o = out + (<usize>i << 2);
    // Unrolled so that eight independent chains of loads are in flight.
    const l0 = leafOf<T>(root, load<u32>(a)), l1 = leafOf<T>(root, load<u32>(a, 4));
    const l2 = leafOf<T>(root, load<u32>(a, 8)), l3 = leafOf<T>(root, load<u32>(a, 12));
    const l4 = leafOf<T>(root, load<u32>(a, 16)), l5 = leafOf<T>(root, load<u32>(a, 20));
    const l6 = leafOf<T>(root, load<u32>(a, 24)), l7 = leafOf<T>(root, load<u32>(a, 28));
    store<u32>(o, l0); store<u32>(o, l1, 4); store<u32>(o, l2, 8); store<u32>(o, l3, 12);
    store<u32>(o, l4, 16); store<u32>(o, l5, 20); store<u32>(o, l6, 24); store<u32>(o, l7, 28);
    escapes |= <u32>(l0 == escape) | <u32>(l1 == escape) | <u32>(l2 == escape) | <u32>(l3 == escape)
      | <u32>(l4 == escape) | <u32>(l5 == escape) | <u32>(l6 == escape) | <u32>(l7 == escape);
  }
  for (; i < n; i++) {
    const leaf = leafOf<T>(root, load<u32>(addresses + (<usize>i << 2)));
    store<u32>(out + (<usize>i << 2), leaf);
    escapes |= <u32>(leaf == escape);
  }
  if (escapes == 0) return;
  for (i = 0; i < n; i++) {
    const o = out + (<usize>i << 2);
    if (load<u32>(o) == escape) store<u32>(o, lookupDeep<T>(root, load<u32>(addresses + (<usize>i << 2))));
  }
}

export function lookup4Burst(table: usize, addresses: usize, out: usize, n: u32): void {
  if (load<u32>(table, TABLE_LEAF_BYTES) == 1) lookupBurst<u8>(table, addresses, out, n);
  else lookupBurst<u16>(table, addresses, out, n);
}

export function lookup4(table: usize, address: u32): u32 {
  const root = <usize>load<u32>(table, TABLE_ROOT);
  return load<u32>(table, TABLE_LEAF_BYTES) == 1 ? lookupDeep<u8>(root, address) : lookupDeep<u16>(root, address);
}

// ── Building ────────────────────────────────────────────────────────────────────────────────────

@inline
function escapeLeaf(table: usize): u32 {
  return load<u32>(table, TABLE_LEAF_BYTES) == 1 ? 0xff : 0xffff;
}

/** Makes an empty table: every slot points at the shared node of hop 0. */
export function create4(table: usize): i32 {
  const hot = region(REGION_FIB), cold = region(REGION_RIB);
  const root = allocate(hot, ROOT_SIZE * 4);
  const shorts = allocate(cold, ROOT_SIZE * 2 * 2);
  const slots = allocate(cold, ROOT_SIZE * SLOT_SIZE);
  const uniform = allocate(cold, load<u32>(table, TABLE_HOP_LIMIT) * 4);
  if (root == 0 || shorts == 0 || slots == 0 || uniform == 0) return ROUTE_NO_MEMORY;
  memory.fill(<usize>shorts, 0, ROOT_SIZE * 4);
  memory.fill(<usize>slots, 0, ROOT_SIZE * SLOT_SIZE);
  memory.fill(<usize>uniform, 0, <usize>load<u32>(table, TABLE_HOP_LIMIT) * 4);
  store<u32>(table, root, TABLE_ROOT);
  store<u32>(table, shorts, TABLE_SHORTS);
  store<u32>(table, slots, TABLE_SLOTS);
  store<u32>(table, uniform, TABLE_UNIFORM);
  store<u32>(table, 0, TABLE_ROUTES);
  const none = uniformNode(table, 0);
  if (none == 0) return ROUTE_NO_MEMORY;
  for (let i: u32 = 0; i < ROOT_SIZE; i++) store<u32>(<usize>root + (<usize>i << 2), none);
  return ROUTE_ADDED;
}

/** The one-leaf node that all slots with nothing but this hop share; made on first use, 0 without memory. */
function uniformNode(table: usize, hop: u32): u32 {
  const at = <usize>load<u32>(table, TABLE_UNIFORM) + (<usize>hop << 2);
  let node = load<u32>(at);
  if (node != 0) return node;
  node = allocate(region(REGION_FIB), 12);
  if (node == 0) return 0;
  store<u64>(<usize>node, 1);
  if (load<u32>(table, TABLE_LEAF_BYTES) == 1) store<u8>(<usize>node, <u8>hop, 8);
  else store<u16>(<usize>node, <u16>hop, 8);
  store<u32>(at, node);
  return node;
}

/** Best route of at most 18 bits that covers a slot: the nearest ancestor in the heap. */
function coverOf(table: usize, slot: u32): u32 {
  const shorts = <usize>load<u32>(table, TABLE_SHORTS);
  for (let i = ROOT_SIZE + slot; i != 0; i >>= 1) {
    const hop = <u32>load<u16>(shorts + (<usize>i << 1));
    if (hop != 0) return hop;
  }
  return 0;
}

/** Rebuilds one slot's node from its routes and swaps it in. */
function emit(table: usize, slot: u32, cover: u32): i32 {
  const hot = region(REGION_FIB);
  const at = <usize>load<u32>(table, TABLE_ROOT) + (<usize>slot << 2);
  const list = <usize>load<u32>(table, TABLE_SLOTS) + <usize>slot * SLOT_SIZE;
  const before = load<u32>(at);
  const node = slotCount(list) == 0 ? uniformNode(table, cover) : build(table, list, cover);
  if (node == 0) return ROUTE_NO_MEMORY;
  if (node == before) return ROUTE_ADDED;
  storeRelease(at, node);
  discard(table, hot, before);
  return ROUTE_ADDED;
}

/** A node for the routes of a list over `cover`. */
function build(table: usize, list: usize, cover: u32): u32 {
  const hot = region(REGION_FIB);
  const escape = escapeLeaf(table);
  const vector = <usize>load<u32>(region(REGION_RIB), ARENA_SCRATCH);
  const references = vector + 256, deep = vector + 512;
  fillRange(vector, 0, 64, cover);
  const n = slotCount(list);
  let escapes: u32 = 0, i: u32 = 0;
  while (i < n) {
    const entry = slotEntry(list, i);
    const low = <u32>(entry >> 24) & 0x3fff, length = <u32>(entry >> 16) & 0xff;
    const j = low >>> 8;
    if (length <= 24) {
      fillRange(vector, j, j + (1 << (24 - length)), <u32>entry & 0xffff);
      i++;
      continue;
    }
    fillRange(deep, 0, 256, load<u32>(vector + (<usize>j << 2)));
    for (; i < n; i++) {
      const inner = slotEntry(list, i);
      if ((<u32>(inner >> 32) & 0x3f) != j) break;
      const from = <u32>(inner >> 24) & 0xff;
      fillRange(deep, from, from + (1 << (32 - (<u32>(inner >> 16) & 0xff))), <u32>inner & 0xffff);
    }
    const block = buildEscape(table, deep);
    if (block == 0) return abandon(table, references, escapes);
    if (block == 1) { store<u32>(vector + (<usize>j << 2), load<u32>(deep)); continue; }
    store<u32>(vector + (<usize>j << 2), escape);
    store<u32>(references + (<usize>escapes << 2), block);
    escapes++;
  }
  const bitmap = runs(vector, escape);
  const leaves = <u32>popcnt<u64>(bitmap);
  if (leaves == 1 && escapes == 0) return uniformNode(table, load<u32>(vector));
  const block = allocate(hot, escapes * 4 + 8 + leaves * load<u32>(table, TABLE_LEAF_BYTES));
  if (block == 0) return abandon(table, references, escapes);
  const node = <usize>block + (<usize>escapes << 2);
  for (let k: u32 = 0; k < escapes; k++) store<u32>(node - 4 - (<usize>k << 2), load<u32>(references + (<usize>k << 2)));
  store<u64>(node, bitmap);
  if (load<u32>(table, TABLE_LEAF_BYTES) == 1) writeLeaves<u8>(node + 8, vector, bitmap);
  else writeLeaves<u16>(node + 8, vector, bitmap);
  return <u32>node;
}

/** Frees escape blocks that were built for a node that could not be; always returns 0. */
function abandon(table: usize, references: usize, escapes: u32): u32 {
  for (let k: u32 = 0; k < escapes; k++) {
    const block = load<u32>(references + (<usize>k << 2));
    free(region(REGION_FIB), block, escapeSize(table, <usize>block));
  }
  return 0;
}

/** The block behind an escape for 256 values; 1 when they are all the same, 0 without memory. */
function buildEscape(table: usize, values: usize): u32 {
  const leafBytes = load<u32>(table, TABLE_LEAF_BYTES);
  let leaves: u32 = 1;
  for (let i: usize = 4; i < 1024; i += 4) leaves += <u32>(load<u32>(values + i) != load<u32>(values + i - 4));
  if (leaves == 1) return 1;
  const block = <usize>allocate(region(REGION_FIB), ESCAPE_LEAVES + leaves * leafBytes);
  if (block == 0) return 0;
  let before: u32 = u32.MAX_VALUE, written: usize = 0;
  for (let word: usize = 0; word < 4; word++) {
    store<u16>(block + (word << 1), <u16>written, 32);
    let bitmap: u64 = 0;
    for (let bit: usize = 0; bit < 64; bit++) {
      const value = load<u32>(values + ((word << 8) | (bit << 2)));
      if (value == before) continue;
      bitmap |= <u64>1 << <u64>bit;
      if (leafBytes == 1) store<u8>(block + written, <u8>value, ESCAPE_LEAVES);
      else store<u16>(block + (written << 1), <u16>value, ESCAPE_LEAVES);
      written++;
      before = value;
    }
    store<u64>(block + (word << 3), bitmap);
  }
  return <u32>block;
}

function escapeSize(table: usize, block: usize): u32 {
  const leaves = <u32>load<u16>(block, 38) + <u32>popcnt<u64>(load<u64>(block, 24));
  return ESCAPE_LEAVES + leaves * load<u32>(table, TABLE_LEAF_BYTES);
}

/** Retires a node that the root no longer names, with the blocks behind its escapes. */
function discard(table: usize, hot: usize, node: u32): void {
  const leafBytes = load<u32>(table, TABLE_LEAF_BYTES), escape = escapeLeaf(table);
  const at = <usize>node;
  const leaves = <u32>popcnt<u64>(load<u64>(at));
  if (leaves == 1) {
    const only = leafBytes == 1 ? <u32>load<u8>(at, 8) : <u32>load<u16>(at, 8);
    if (only != escape) return; // shared
  }
  let escapes: u32 = 0;
  for (let i: u32 = 0; i < leaves; i++) {
    const leaf = leafBytes == 1 ? <u32>load<u8>(at + i, 8) : <u32>load<u16>(at + (<usize>i << 1), 8);
    if (leaf != escape) continue;
    const block = load<u32>(at - 4 - (<usize>escapes << 2));
    retire(hot, block, escapeSize(table, <usize>block));
    escapes++;
  }
  retire(hot, node - escapes * 4, escapes * 4 + 8 + leaves * leafBytes);
}

// ── Changes ─────────────────────────────────────────────────────────────────────────────────────

@inline
function maskOf(length: u32): u32 {
  return length == 0 ? 0 : u32.MAX_VALUE << (32 - length);
}

/** 14 address bits, length, hop: sorts by address, then outer before inner. */
@inline
function entryOf(prefix: u32, length: u32, hop: u32): u64 {
  return (<u64>(prefix & 0x3fff) << 24) | (<u64>length << 16) | <u64>hop;
}

/** Adds or replaces a route. `hop` is an index below the table's limit; 0 removes. */
export function insert4(table: usize, prefix: u32, length: u32, hop: u32): i32 {
  if (length > 32 || hop >= load<u32>(table, TABLE_HOP_LIMIT)) return ROUTE_BAD_ARGUMENT;
  prefix &= maskOf(length);
  return length <= ROOT_BITS ? changeShort(table, prefix, length, hop) : changeLong(table, prefix, length, hop);
}

function changeShort(table: usize, prefix: u32, length: u32, hop: u32): i32 {
  const index = (<u32>1 << length) | (length == 0 ? 0 : prefix >>> (32 - length));
  const at = <usize>load<u32>(table, TABLE_SHORTS) + (<usize>index << 1);
  const before = <u32>load<u16>(at);
  if (before == hop) return hop == 0 ? ROUTE_ABSENT : ROUTE_REPLACED;
  collect(region(REGION_FIB));
  store<u16>(at, <u16>hop);
  countChange(table, before, hop);
  const result = before == 0 ? ROUTE_ADDED : hop == 0 ? ROUTE_REMOVED : ROUTE_REPLACED;
  if (load<u32>(table, TABLE_DEFERRED) != 0) return result;
  const span = <u32>1 << (ROOT_BITS - length), first = prefix >>> LOW_BITS;
  for (let slot = first; slot < first + span; slot++) {
    if ((slot & 1023) == 0 && limboRoom(region(REGION_FIB)) < 1024 * 66) advanceEpoch();
    if (emit(table, slot, coverOf(table, slot)) < 0) { undoShort(table, at, before, hop); return ROUTE_NO_MEMORY; }
  }
  advanceEpoch();
  return result;
}

/** Memory ran out half-way: the route is as it was, and the next change makes all nodes agree with that first. */
function undoShort(table: usize, at: usize, before: u32, hop: u32): void {
  store<u16>(at, <u16>before);
  countChange(table, hop, before);
  store<u32>(table, 1, TABLE_DIRTY);
}

function changeLong(table: usize, prefix: u32, length: u32, hop: u32): i32 {
  const slot = prefix >>> LOW_BITS;
  const list = <usize>load<u32>(table, TABLE_SLOTS) + <usize>slot * SLOT_SIZE;
  const deferred = load<u32>(table, TABLE_DEFERRED) != 0;
  // Room for the old node and all its escape blocks; readers that stay in a burst hold it up.
  if (!deferred && limboRoom(region(REGION_FIB)) < 66) { advanceEpoch(); return ROUTE_BUSY; }
  const entry = entryOf(prefix, length, hop);
  const before = hop == 0 ? listRemove(list, entry) : listInsert(list, entry);
  if (before < 0) return before;
  if (<u32>before == hop) return hop == 0 ? ROUTE_ABSENT : ROUTE_REPLACED;
  if (!deferred) {
    if (emit(table, slot, coverOf(table, slot)) < 0) {
      // Put the list back as it was: the table answers as before the call.
      if (before == 0) listRemove(list, entry);
      else listInsert(list, entryOf(prefix, length, <u32>before));
      return ROUTE_NO_MEMORY;
    }
    advanceEpoch();
  }
  countChange(table, <u32>before, hop);
  return before == 0 ? ROUTE_ADDED : hop == 0 ? ROUTE_REMOVED : ROUTE_REPLACED;
}

@inline
function countChange(table: usize, before: u32, after: u32): void {
  store<u32>(table, load<u32>(table, TABLE_ROUTES) + <u32>(before == 0) - <u32>(after == 0), TABLE_ROUTES);
}

/** Ends a bulk load: one pass over all slots. */
export function rebuild4(table: usize): i32 {
  const shorts = <usize>load<u32>(table, TABLE_SHORTS);
  let cover: u32 = 0, coverOfBlock: u32 = u32.MAX_VALUE;
  for (let slot: u32 = 0; slot < ROOT_SIZE; slot++) {
    // Ancestors above /10 are the same for 256 slots: the walk stays short.
    if ((slot >>> 8) != coverOfBlock) {
      coverOfBlock = slot >>> 8;
      cover = ancestor(shorts, (ROOT_SIZE + slot) >>> 8);
    }
    let hop: u32 = 0;
    for (let i = ROOT_SIZE + slot, up = 0; up < 8 && hop == 0; up++, i >>= 1) hop = <u32>load<u16>(shorts + (<usize>i << 1));
    if (emit(table, slot, hop != 0 ? hop : cover) < 0) return ROUTE_NO_MEMORY;
  }
  advanceEpoch();
  return ROUTE_ADDED;
}

function ancestor(shorts: usize, index: u32): u32 {
  for (; index != 0; index >>= 1) {
    const hop = <u32>load<u16>(shorts + (<usize>index << 1));
    if (hop != 0) return hop;
  }
  return 0;
}

/** The hop of exactly this route, or 0. */
export function exact4(table: usize, prefix: u32, length: u32): u32 {
  if (length > 32) return 0;
  prefix &= maskOf(length);
  if (length <= ROOT_BITS) {
    const index = (<u32>1 << length) | (length == 0 ? 0 : prefix >>> (32 - length));
    return <u32>load<u16>(<usize>load<u32>(table, TABLE_SHORTS) + (<usize>index << 1));
  }
  const list = <usize>load<u32>(table, TABLE_SLOTS) + <usize>(prefix >>> LOW_BITS) * SLOT_SIZE;
  const key = entryOf(prefix, length, 0) >> 16;
  const n = slotCount(list);
  for (let i: u32 = 0; i < n; i++) if (slotEntry(list, i) >> 16 == key) return <u32>slotEntry(list, i) & 0xffff;
  return 0;
}

/** Routes that name a hop. */
export function uses4(table: usize, hop: u32): u32 {
  const shorts = <usize>load<u32>(table, TABLE_SHORTS), slots = <usize>load<u32>(table, TABLE_SLOTS);
  let uses: u32 = 0;
  for (let i: usize = 1; i < <usize>ROOT_SIZE * 2; i++) uses += <u32>(<u32>load<u16>(shorts + (i << 1)) == hop);
  for (let slot: usize = 0; slot < <usize>ROOT_SIZE; slot++) {
    const list = slots + slot * SLOT_SIZE, n = slotCount(list);
    for (let i: u32 = 0; i < n; i++) uses += <u32>((<u32>slotEntry(list, i) & 0xffff) == hop);
  }
  return uses;
}
