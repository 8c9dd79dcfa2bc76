/** Sets of rules on the data plane's side: growth, deletion, expiry, and no byte outside of their own blocks. */
import {
  ARENA_USED, HEADER, HEADER_REGIONS, LIMIT_COST, LIMIT_MOST, LIMIT_TOKENS, REGION_FILTER, REGION_RIB, SET_COUNT, SET_DATA, SET_EXPIRY, SET_HEADER_SIZE, SET_KEY_WORDS, SET_LIFE, SET_LIMIT,
  SET_REFUSED, SET_SEARCH_INTERVAL, SET_STRIDE,
} from "../abi";
import { advanceEpoch, allocate, collect, initArena } from "../core/arena";
import { region } from "../core/layout";
import { findSet, freeSet, insertSet, removeSet, sizeSet, updateSet } from "../table/set";
import { takeTokens } from "../table/limit";
import { layOut } from "./small-engine";

const SIZE: u32 = 1 << 20;
let set: usize = 0;
let key: usize = 0;

/** A set of one-word keys whose elements live `life` ns. */
function create(limit: u32, life: u64): void {
  layOut();
  // The routes' cold memory is free here.
  const base = <u32>region(REGION_RIB);
  store<u32>(HEADER + HEADER_REGIONS + (REGION_FILTER << 3), base);
  store<u32>(HEADER + HEADER_REGIONS + (REGION_FILTER << 3) + 4, SIZE);
  initArena(region(REGION_FILTER), SIZE, 256);
  set = <usize>allocate(region(REGION_FILTER), SET_HEADER_SIZE);
  key = <usize>allocate(region(REGION_FILTER), 64);
  memory.fill(set, 0, SET_HEADER_SIZE);
  store<u16>(set, 1, SET_KEY_WORDS);
  store<u32>(set, life == 0 ? 8 : 24, SET_STRIDE);
  store<u32>(set, 4, SET_DATA);
  store<u32>(set, life == 0 ? 0 : 8, SET_EXPIRY);
  store<u32>(set, limit, SET_LIMIT);
  store<u64>(set, life, SET_LIFE);
  store<u64>(set, 100, SET_SEARCH_INTERVAL);
  sizeSet(set, 1);
}

function keyOf(n: u32): usize {
  store<u32>(key, n);
  return key;
}

describe("hashed sets", () => {
  test("find what is in them and nothing else, through growth", () => {
    create(0, 0);
    for (let n: u32 = 0; n < 2000; n++) expect(insertSet(set, keyOf(n * 7), 0)).not.toBe(0);
    expect(load<u32>(set, SET_COUNT)).toBe(2000);
    for (let n: u32 = 0; n < 14000; n++) expect(findSet(set, keyOf(n), 0) != 0).toBe(n % 7 == 0);
    for (let n: u32 = 0; n < 2000; n += 2) expect(removeSet(set, keyOf(n * 7), 0)).toBe(1);
    for (let n: u32 = 0; n < 2000; n++) expect(findSet(set, keyOf(n * 7), 0) != 0).toBe(n % 2 == 1);
    expect(removeSet(set, keyOf(0), 0)).toBe(0);
  });

  test("stay as large as they are under steady churn", () => {
    create(0, 0);
    for (let n: u32 = 0; n < 200; n++) insertSet(set, keyOf(n), 0);
    for (let n: u32 = 200; n < 5000; n++) {
      removeSet(set, keyOf(n - 200), 0);
      insertSet(set, keyOf(n), 0);
    }
    const used = load<u32>(region(REGION_FILTER), ARENA_USED);
    for (let n: u32 = 5000; n < 50000; n++) {
      removeSet(set, keyOf(n - 200), 0);
      insertSet(set, keyOf(n), 0);
    }
    expect(load<u32>(region(REGION_FILTER), ARENA_USED)).toBe(used);
    expect(load<u32>(set, SET_COUNT)).toBe(200);
  });

  test("refuse what is over their limit until something expires", () => {
    create(10, 1000);
    for (let n: u32 = 0; n < 12; n++) insertSet(set, keyOf(n), 500);
    expect(load<u32>(set, SET_COUNT)).toBe(10);
    expect(load<u32>(set, SET_REFUSED)).toBe(2);
    expect(findSet(set, keyOf(9), 1499)).not.toBe(0);
    expect(findSet(set, keyOf(9), 1500)).toBe(0);
    expect(insertSet(set, keyOf(50), 1500)).not.toBe(0);
    expect(load<u32>(set, SET_COUNT)).toBe(1);
  });

  test("begin an element's life anew when a rule updates it, not when it adds it", () => {
    create(10, 1000);
    updateSet(set, keyOf(1), key, 0, 0, 0, 0);
    updateSet(set, keyOf(1), key, 0, 0, 0, 900);
    expect(findSet(set, keyOf(1), 1000)).toBe(0);
    updateSet(set, keyOf(2), key, 0, 0, 1, 0);
    updateSet(set, keyOf(2), key, 0, 0, 1, 900);
    expect(findSet(set, keyOf(2), 1899)).not.toBe(0);
    updateSet(set, keyOf(2), key, 0, 5000, 1, 1899);
    expect(findSet(set, keyOf(2), 6898)).not.toBe(0);
  });

  test("give all their memory back", () => {
    create(0, 0);
    const used = load<u32>(region(REGION_FILTER), ARENA_USED);
    freeSet(set);
    advanceEpoch();
    collect(region(REGION_FILTER));
    expect(load<u32>(region(REGION_FILTER), ARENA_USED)).toBeLessThan(used);
  });
});

test("a token bucket fills with time and never beyond its most", () => {
  create(0, 0);
  const limit = <usize>allocate(region(REGION_FILTER), 48);
  memory.fill(limit, 0, 48);
  store<u64>(limit, 300, LIMIT_MOST);
  store<u64>(limit, 300, LIMIT_TOKENS);
  store<u64>(limit, 100, LIMIT_COST);
  for (let i = 0; i < 3; i++) expect(takeTokens(limit, 60, 0)).toBe(true);
  expect(takeTokens(limit, 60, 0)).toBe(false);
  expect(takeTokens(limit, 60, 99)).toBe(false);
  expect(takeTokens(limit, 60, 100)).toBe(true);
  for (let i = 0; i < 3; i++) expect(takeTokens(limit, 60, 1000000)).toBe(true);
  expect(takeTokens(limit, 60, 1000000)).toBe(false);
});
