import {
  ARENA_USED, BRIDGE_AGEING, BRIDGE_MASK, BRIDGE_PORTS, HEADER, HEADER_EPOCH, HEADER_WORKERS, SEEN_STATIC,
} from "../abi";
import { advanceEpoch, allocate, blockSize, collect, free, initArena, limboRoom, retire } from "../core/arena";
import { rank, runs, writeLeaves } from "../table/nodes";
import { findEntry, findStation, learnStation, setStation, stationKey, UNKNOWN } from "../table/stations";

const ARENA: usize = 1 << 20;
const VECTOR: usize = 1 << 16;
const BRIDGE: usize = 1 << 21;

describe("nodes", () => {
  it("finds every value again through bitmap and leaves", () => {
    for (let i: usize = 0; i < 64; i++) store<u32>(VECTOR + (i << 2), <u32>((i * 7) >> 4) & 3);
    const bitmap = runs(VECTOR, u32.MAX_VALUE);
    writeLeaves<u8>(VECTOR + 512, VECTOR, bitmap);
    let wrong = 0;
    for (let i: u32 = 0; i < 64; i++) {
      const leaf = <u32>load<u8>(VECTOR + 511 + rank(bitmap, i));
      if (leaf != load<u32>(VECTOR + (<usize>i << 2))) wrong++;
    }
    expect(wrong).toBe(0);
  });

  it("gives an escape a leaf of its own each time", () => {
    for (let i: usize = 0; i < 64; i++) store<u32>(VECTOR + (i << 2), 255);
    expect(<u32>popcnt<u64>(runs(VECTOR, 255))).toBe(64);
    expect(<u32>popcnt<u64>(runs(VECTOR, 1))).toBe(1);
  });
});

describe("arena", () => {
  beforeEach(() => {
    store<u32>(HEADER + HEADER_WORKERS, 0);
    store<u32>(HEADER + HEADER_EPOCH, 1);
    initArena(ARENA, 1 << 19, 64);
  });

  it("hands freed blocks out again and counts bytes in use", () => {
    const a = allocate(ARENA, 100);
    expect(load<u32>(ARENA, ARENA_USED)).toBe(blockSize(100));
    free(ARENA, a, 100);
    expect(allocate(ARENA, 100)).toBe(a);
  });

  it("keeps search nodes on cache lines", () => {
    allocate(ARENA, 4);
    expect(allocate(ARENA, 64) & 63).toBe(0);
    allocate(ARENA, 12);
    expect(allocate(ARENA, 64) & 63).toBe(0);
  });

  it("does not reuse a retired block before readers have moved on", () => {
    const a = allocate(ARENA, 32);
    retire(ARENA, a, 32);
    collect(ARENA);
    expect(allocate(ARENA, 32)).not.toBe(a);
    advanceEpoch();
    collect(ARENA);
    expect(allocate(ARENA, 32)).toBe(a);
    expect(limboRoom(ARENA)).toBe(64);
  });

  it("says no when it is full, and cuts larger blocks before that", () => {
    let n = 0;
    while (allocate(ARENA, 1024) != 0) n++;
    expect(n).toBeGreaterThan(400);
    expect(allocate(ARENA, 4096)).toBe(0);
  });
});

describe("stations", () => {
  beforeEach(() => {
    memory.fill(BRIDGE, 0, 1 << 18);
    store<u32>(BRIDGE, 15, BRIDGE_MASK);
    store<u32>(BRIDGE, 300, BRIDGE_AGEING);
    memory.fill(BRIDGE + BRIDGE_PORTS + 8, 0xff, 120);
  });

  it("learns, moves and forgets", () => {
    const key = stationKey(0x010203040506, 7);
    expect(findStation(BRIDGE, key, 10)).toBe(UNKNOWN);
    expect(learnStation(BRIDGE, key, 2, 10)).toBe(1);
    expect(learnStation(BRIDGE, key, 2, 10)).toBe(0);
    expect(findStation(BRIDGE, key, 310)).toBe(2);
    expect(learnStation(BRIDGE, key, 3, 20)).toBe(1);
    expect(findStation(BRIDGE, key, 20)).toBe(3);
    expect(findStation(BRIDGE, key, 321)).toBe(UNKNOWN);
  });

  it("keeps VLANs apart and static stations still", () => {
    const key = stationKey(0x010203040506, 7), other = stationKey(0x010203040506, 8);
    expect(setStation(BRIDGE, key, 1, 0)).toBe(true);
    expect(learnStation(BRIDGE, key, 3, 5)).toBe(0);
    expect(findStation(BRIDGE, key, 1000000)).toBe(1);
    expect(findStation(BRIDGE, other, 0)).toBe(UNKNOWN);
    expect(load<u32>(findEntry(BRIDGE, key), 8)).toBe(<u32>SEEN_STATIC);
    expect(setStation(BRIDGE, key, 9, 0)).toBe(false);
  });

  it("reports a full bucket instead of evicting", () => {
    store<u32>(BRIDGE, 0, BRIDGE_MASK);
    for (let i: u64 = 0; i < 4; i++) expect(learnStation(BRIDGE, stationKey(2 + i * 2, 0), 0, 1)).toBe(1);
    expect(learnStation(BRIDGE, stationKey(0x99, 0), 0, 1)).toBe(2);
    expect(learnStation(BRIDGE, stationKey(0x99, 0), 0, 1000)).toBe(1);
  });
});
