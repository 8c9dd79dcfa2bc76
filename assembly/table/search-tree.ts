/**
 * 9-ary search trees over 16-bit words, for what lies deeper than /32 in an IPv6 table.
 *
 *   node (64 bytes): eight keys (i16, biased) | nine children (u32) | word offset | height | spare
 *
 * One SIMD comparison of the query's word with eight keys and a popcount choose the child. A child is a
 * hop, or, with bit 31 set, another node (address >> 6): deeper in the same word's tree, or the tree of the
 * next word. The word a node looks at is stored in it, so all steps are alike and a burst can take them
 * together, without branches.
 *
 * Query form: 16 bytes, each 16-bit word in host order and biased by 0x8000.
 */
import {
  ARENA_SCRATCH, ARENA_SCRATCH_SIZE, REGION_FIB, REGION_RIB,
} from "../abi";
import { allocate, retire } from "../core/arena";
import { region } from "../core/layout";
import { load64Be, ROUTE6_HOP, ROUTE6_LENGTH, ROUTE6_SIZE } from "./route-list6";

export const TREE_BIT: u32 = 0x80000000;
const NODE_SIZE: u32 = 64;
const CHILDREN: usize = 16;
const WORD_OFFSET: usize = 52;
/** 1 where the children are values of this word, more above. */
const NODE_HEIGHT: usize = 56;
const NODE_CHILDREN: usize = 60;

@inline
export function nodeOf(reference: u32): usize {
  return <usize>reference << 6; // bit 31 falls out
}

/** One step of a lookup: the child of `reference` for the query at `query`. */
@inline
export function step(reference: u32, query: usize): u32 {
  const node = nodeOf(reference);
  const word = i16x8.splat(load<i16>(query + load<u32>(node, WORD_OFFSET)));
  const child = <usize>popcnt<u32>(i16x8.bitmask(i16x8.ge_s(word, v128.load(node))));
  return load<u32>(node + CHILDREN + (child << 2));
}

// ── Building ────────────────────────────────────────────────────────────────────────────────────
// The scratch area is a stack of (key u32, value u32) pairs: a deeper word's list lies on top of its parent's.

@inline
function scratchBase(): usize {
  return <usize>load<u32>(region(REGION_RIB), ARENA_SCRATCH) + 4096;
}

/** Word `k` of a stored route's address. */
@inline
function wordOf(route: usize, k: u32): u32 {
  return <u32>(load64Be(route, k >>> 2) >> <u64>(48 - ((k & 3) << 4))) & 0xffff;
}

/** Appends a boundary; joins equal neighbours and overwrites one at the same key. Returns the new top. */
function append(base: usize, top: usize, key: u32, value: u32): usize {
  while (top != base) {
    const last = top - 8;
    if (load<u32>(last) == key) { top = last; continue; }
    if (load<u32>(last, 4) == value) return top;
    break;
  }
  store<u32>(top, key);
  store<u32>(top, value, 4);
  return top + 8;
}

/**
 * A tree for routes [from, to) of a sorted list, all of which share the words before `k`, over `cover`.
 * Returns a hop where one value is enough, a reference with TREE_BIT, or NO_TREE when memory is short.
 */
export const NO_TREE: u32 = 0x7fffffff;

export function buildTree(routes: usize, from: u32, to: u32, k: u32, cover: u32): u32 {
  return buildWord(routes, from, to, k, cover, scratchBase());
}

function buildWord(routes: usize, from: u32, to: u32, k: u32, cover: u32, base: usize): u32 {
  // At most 16 prefixes of one word nest: {end, value} pairs in front of the list.
  const limit = <usize>load<u32>(region(REGION_RIB), ARENA_SCRATCH) + load<u32>(region(REGION_RIB), ARENA_SCRATCH_SIZE);
  if (base + 256 + <usize>(to - from) * 16 + 16 > limit) return NO_TREE;
  const nest = base;
  base += 144;
  let depth: usize = 0, top = base;
  store<u32>(nest, 65536);
  store<u32>(nest, cover, 4);
  top = append(base, top, 0, cover);
  const bits = (k + 1) << 4;
  let i = from;
  while (i < to) {
    const route = routes + <usize>i * ROUTE6_SIZE;
    const word = wordOf(route, k), length = <u32>load<u8>(route, ROUTE6_LENGTH);
    while (load<u32>(nest + (depth << 3)) <= word) {
      const end = load<u32>(nest + (depth << 3));
      depth--;
      top = append(base, top, end, load<u32>(nest + (depth << 3), 4));
    }
    if (length <= bits) {
      const hop = <u32>load<u16>(route, ROUTE6_HOP);
      depth++;
      store<u32>(nest + (depth << 3), word + ((<u32>1) << (bits - length)));
      store<u32>(nest + (depth << 3), hop, 4);
      top = append(base, top, word, hop);
      i++;
      continue;
    }
    const first = i;
    while (i < to && wordOf(routes + <usize>i * ROUTE6_SIZE, k) == word) i++;
    const around = load<u32>(nest + (depth << 3), 4);
    const below = buildWord(routes, first, i, k + 1, around, top + 8);
    if (below == NO_TREE) { dropValues(base, top); return NO_TREE; }
    top = append(base, top, word, below);
    if (word != 0xffff) top = append(base, top, word + 1, around);
  }
  while (depth != 0) {
    const end = load<u32>(nest + (depth << 3));
    depth--;
    if (end < 65536) top = append(base, top, end, load<u32>(nest + (depth << 3), 4));
  }
  return pack(base, <u32>((top - base) >> 3), k);
}

function dropValues(base: usize, top: usize): void {
  for (; base != top; base += 8) retireTree(load<u32>(base, 4));
}

/** Packs a list of (key, value) into nodes, nine values each, level by level, in place. */
function pack(base: usize, n: u32, k: u32): u32 {
  let height: u32 = 1;
  while (n != 1) {
    const groups = (n + 8) / 9;
    for (let g: u32 = 0; g < groups; g++) {
      const first = base + <usize>g * 72;
      const reference = makeNode(first, min<u32>(9, n - g * 9), k, height);
      if (reference == NO_TREE) {
        dropValues(base, base + (<usize>g << 3));
        dropValues(first, base + (<usize>n << 3));
        return NO_TREE;
      }
      // The group's pair is written where group g's own pairs no longer matter (g ≤ 9g).
      store<u32>(base + (<usize>g << 3), load<u32>(first));
      store<u32>(base + (<usize>g << 3), reference, 4);
    }
    n = groups;
    height++;
  }
  return load<u32>(base, 4);
}

function makeNode(pairs: usize, n: u32, k: u32, height: u32): u32 {
  const block = allocate(region(REGION_FIB), NODE_SIZE);
  if (block == 0) return NO_TREE;
  const node = <usize>block;
  const last = load<u32>(pairs + (<usize>(n - 1) << 3), 4);
  for (let i: u32 = 0; i < 9; i++) {
    store<u32>(node + CHILDREN + (<usize>i << 2), i < n ? load<u32>(pairs + (<usize>i << 3), 4) : last);
    // Key i stands between children i and i + 1. Padding keys are the largest: what they choose equals `last`.
    if (i < 8) {
      const key = i + 1 < n ? load<u32>(pairs + (<usize>(i + 1) << 3)) : 0xffff;
      store<u16>(node + (<usize>i << 1), <u16>(key ^ 0x8000));
    }
  }
  store<u32>(node, k << 1, WORD_OFFSET);
  store<u32>(node, height, NODE_HEIGHT);
  store<u32>(node, n, NODE_CHILDREN);
  return TREE_BIT | (block >>> 6);
}

/** Retires a tree and everything below it; a hop is left alone. */
export function retireTree(value: u32): void {
  if ((value & TREE_BIT) == 0) return;
  const node = nodeOf(value);
  const n = load<u32>(node, NODE_CHILDREN);
  for (let i: u32 = 0; i < n; i++) retireTree(load<u32>(node + CHILDREN + (<usize>i << 2)));
  retire(region(REGION_FIB), <u32>node, NODE_SIZE);
}
