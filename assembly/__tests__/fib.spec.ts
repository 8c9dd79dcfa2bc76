import {
  ARENA_USED, REGION_APP, REGION_FIB, ROUTE_ABSENT, ROUTE_ADDED, ROUTE_REMOVED, ROUTE_REPLACED, TABLE_ROUTES,
} from "../abi";
import { advanceEpoch, collect } from "../core/arena";
import { region, tableAt } from "../core/layout";
import { exact4, insert4, lookup4, lookup4Burst, uses4 } from "../table/fib4";
import { asQuery, exact6, insert6, lookup6, lookup6Burst, uses6 } from "../table/fib6";
import { store32 } from "../wire/bytes";
import { HOPS, layOut } from "./small-engine";

let state: u32 = 1;

/** xorshift32 (Marsaglia, 2003). */
function random(): u32 {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state;
}

/** A list of routes that is searched from end to end: {high, low} left-aligned in 64 bits each, length, hop. */
class Oracle {
  high: u64[] = [];
  low: u64[] = [];
  length: u32[] = [];
  hop: u32[] = [];

  set(high: u64, low: u64, length: u32, hop: u32): void {
    for (let i = 0; i < this.high.length; i++) {
      if (this.high[i] == high && this.low[i] == low && this.length[i] == length) { this.hop[i] = hop; return; }
    }
    this.high.push(high);
    this.low.push(low);
    this.length.push(length);
    this.hop.push(hop);
  }

  find(high: u64, low: u64): u32 {
    let best: i32 = -1, hop: u32 = 0;
    for (let i = 0; i < this.high.length; i++) {
      const n = this.length[i];
      if (this.hop[i] == 0 || <i32>n <= best) continue;
      if (((high ^ this.high[i]) & mask(n)) != 0 || (n > 64 && ((low ^ this.low[i]) & mask(n - 64)) != 0)) continue;
      best = <i32>n;
      hop = this.hop[i];
    }
    return hop;
  }
}

/** The first `n` bits of 64; all of them from 64 on. */
function mask(n: u32): u64 {
  return n == 0 ? 0 : n >= 64 ? u64.MAX_VALUE : ~(u64.MAX_VALUE >> <u64>n);
}

describe("IPv4 trie", () => {
  beforeEach(layOut);

  it("adds, replaces, withdraws and says which", () => {
    const table = tableAt(0);
    expect(insert4(table, 0x0a000000, 8, 3)).toBe(ROUTE_ADDED);
    expect(insert4(table, 0x0a000000, 8, 4)).toBe(ROUTE_REPLACED);
    expect(lookup4(table, 0x0a123456)).toBe(4);
    expect(exact4(table, 0x0a000000, 8)).toBe(4);
    expect(exact4(table, 0x0a000000, 9)).toBe(0);
    expect(uses4(table, 4)).toBe(1);
    expect(insert4(table, 0x0a000000, 8, 0)).toBe(ROUTE_REMOVED);
    expect(insert4(table, 0x0a000000, 8, 0)).toBe(ROUTE_ABSENT);
    expect(lookup4(table, 0x0a123456)).toBe(0);
    expect(load<u32>(table, TABLE_ROUTES)).toBe(0);
  });

  it("finds the longest match at every length from 0 to 32", () => {
    const table = tableAt(0), address: u32 = 0xc0a80155;
    for (let length: u32 = 0; length <= 32; length++) {
      insert4(table, length == 0 ? 0 : address & ~<u32>(u64(0xffffffff) >> length), length, 1 + (length % 15));
      expect(lookup4(table, address)).toBe(1 + (length % 15));
    }
    expect(lookup4(table, address ^ 1)).toBe(1 + (31 % 15));
    expect(lookup4(table, 0)).toBe(1);
  });

  it("agrees with a linear search through random changes, alone and in bursts", () => {
    const table = tableAt(0), oracle = new Oracle(), app = region(REGION_APP);
    let wrong = 0;
    for (let i = 0; i < 400; i++) {
      const length = random() % 33, prefix = length == 0 ? 0 : (random() & 0x0f0f0fff) & ~<u32>(u64(0xffffffff) >> length);
      const hop = random() % HOPS;
      insert4(table, prefix, length, hop);
      oracle.set(<u64>prefix << 32, 0, length, hop);
      for (let k: usize = 0; k < 11; k++) store<u32>(app + (k << 2), random() & 0x0f0f0fff);
      lookup4Burst(table, app, app + 256, 11);
      for (let k: usize = 0; k < 11; k++) {
        const address = load<u32>(app + (k << 2)), right = oracle.find(<u64>address << 32, 0);
        if (load<u32>(app + (k << 2), 256) != right || lookup4(table, address) != right) wrong++;
      }
    }
    expect(wrong).toBe(0);
  });

  it("gives its memory back when the routes are gone", () => {
    const table = tableAt(0), hot = region(REGION_FIB);
    insert4(table, 0x0a000000, 32, 1);
    insert4(table, 0x0a000000, 32, 0);
    advanceEpoch();
    collect(hot);
    const before = load<u32>(hot, ARENA_USED);
    for (let i: u32 = 0; i < 500; i++) insert4(table, 0x0a000000 + i * 77, 32, 1);
    expect(load<u32>(hot, ARENA_USED)).toBeGreaterThan(before);
    for (let i: u32 = 0; i < 500; i++) insert4(table, 0x0a000000 + i * 77, 32, 0);
    advanceEpoch();
    collect(hot);
    expect(load<u32>(hot, ARENA_USED)).toBe(before);
  });
});

/** Writes an address as a query and looks it up both ways; all ones when the two differ. */
function find6(table: usize, high: u64, low: u64): u32 {
  const app = region(REGION_APP);
  store32(app, <u32>(high >> 32));
  store32(app + 4, <u32>high);
  store32(app + 8, <u32>(low >> 32));
  store32(app + 12, <u32>low);
  v128.store(app + 16, asQuery(v128.load(app)));
  const one = lookup6(table, app + 16);
  lookup6Burst(table, app + 16, app + 64, app + 128, 1);
  return load<u32>(app + 64) == one ? one : u32.MAX_VALUE;
}

describe("IPv6 trie", () => {
  beforeEach(layOut);

  it("adds, replaces, withdraws and says which", () => {
    const table = tableAt(1), net: u64 = 0x20010db800000000;
    expect(insert6(table, net, 0, 32, 3)).toBe(ROUTE_ADDED);
    expect(insert6(table, net, 0, 32, 4)).toBe(ROUTE_REPLACED);
    expect(find6(table, net, 99)).toBe(4);
    expect(exact6(table, net, 0, 32)).toBe(4);
    expect(uses6(table, 4)).toBe(1);
    expect(insert6(table, net, 0, 32, 0)).toBe(ROUTE_REMOVED);
    expect(insert6(table, net, 0, 32, 0)).toBe(ROUTE_ABSENT);
    expect(find6(table, net, 99)).toBe(0);
  });

  it("finds the longest match at every length from 0 to 128", () => {
    const table = tableAt(1), high: u64 = 0x20010db812345678, low: u64 = 0xdeadbeefcafe0155;
    for (let length: u32 = 0; length <= 128; length++) {
      insert6(table, high & mask(length), length > 64 ? low & mask(length - 64) : 0, length, 1 + (length % 15));
      expect(find6(table, high, low)).toBe(1 + (length % 15));
    }
    expect(find6(table, high, low ^ 1)).toBe(1 + (127 % 15));
  });

  it("agrees with a linear search through random changes", () => {
    const table = tableAt(1), oracle = new Oracle();
    let wrong = 0;
    for (let i = 0; i < 300; i++) {
      const length = random() % 129;
      const high = (0x2001000000000000 | (<u64>random() & 0x0f0f) << 16 | <u64>(random() & 0xf00f)) & mask(length);
      const low = length > 64 ? (<u64>random() << 32) & 0x00ff00ff00000000 & mask(length - 64) : 0;
      const hop = random() % HOPS;
      insert6(table, high, low, length, hop);
      oracle.set(high, low, length, hop);
      for (let k = 0; k < 5; k++) {
        const h = 0x2001000000000000 | (<u64>random() & 0x0f0f) << 16 | <u64>(random() & 0xf00f);
        const l = (<u64>random() << 32) & 0x00ff00ff00000000;
        if (find6(table, h, l) != oracle.find(h, l)) wrong++;
        if (find6(table, high, low) != oracle.find(high, low)) wrong++;
      }
    }
    expect(wrong).toBe(0);
  });
});
