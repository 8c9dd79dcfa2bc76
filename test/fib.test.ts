/** The tries against maps per prefix length: random changes, lookups at every edge, memory that stays put. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type Engine, loadRoutes, mask4, mask64, PrefixMap4, PrefixMap6, type Random, type RouteTable } from "../src/index.ts";
import { BUILDS, engineOf, fixture, random } from "./support.ts";

/** IPv4 prefixes crowded into a few places, so that they nest and collide. */
function prefix4(r: Random): { address: number; length: number } {
  const length = r.below(4) === 0 ? r.below(33) : 14 + r.below(19);
  const base = [0x0a000000, 0x0a010000, 0xc0a80000, 0][r.below(4)];
  const address = ((base ^ (r.u32() >>> (8 + r.below(18)))) & mask4(length)) >>> 0;
  return { address, length };
}

function word64(r: Random): bigint {
  return (BigInt(r.u32()) << 32n) | BigInt(r.u32());
}

function prefix6(r: Random): { high: bigint; low: bigint; length: number } {
  const length = r.below(5) === 0 ? r.below(129) : [20, 26, 29, 32, 36, 48, 48, 56, 64, 80, 128][r.below(11)];
  const base = [0x20010db800000000n, 0x2a00000000000000n, 0x20010db8ffff0000n][r.below(3)];
  const high = (base ^ (word64(r) >> BigInt(16 + r.below(40)))) & mask64(Math.min(length, 64));
  const low = (word64(r) >> BigInt(r.below(60))) & mask64(Math.max(length - 64, 0));
  return { high, low, length };
}

/** The first and last address of a prefix and the ones just outside. */
function edges4({ address, length }: { address: number; length: number }): number[] {
  const last = address + 2 ** (32 - length) - 1;
  return [address, last, Math.max(address - 1, 0), Math.min(last + 1, 0xffffffff)];
}

function edges6({ high, low, length }: { high: bigint; low: bigint; length: number }): [bigint, bigint][] {
  const all = (1n << 128n) - 1n;
  const first = (high << 64n) | low;
  const last = first | (all >> BigInt(length));
  const split = (x: bigint): [bigint, bigint] => [(x & all) >> 64n, x & 0xffffffffffffffffn];
  return [split(first), split(last), split(first === 0n ? 0n : first - 1n), split(last === all ? all : last + 1n)];
}

function churn4(table: RouteTable, r: Random, changes: number, limit: number): void {
  const oracle = new PrefixMap4();
  const known: { address: number; length: number }[] = [];
  for (let i = 0; i < changes; i++) {
    const p = known.length > limit || (known.length && r.below(3) === 0) ? known[r.below(known.length)] : prefix4(r);
    const prefix = { family: 4 as const, ...p };
    if (known.length > limit || r.below(3) === 0) {
      table.delete(prefix);
      oracle.delete(p.address, p.length);
    } else {
      const hop = 1 + r.below(table.leafHops);
      table.set(prefix, hop);
      oracle.set(p.address, p.length, hop);
      known.push(p);
    }
    if (known.length > limit) known.splice(0, 1);
    for (const address of edges4(p)) assert.equal(table.lookup(address), oracle.lookup(address), `change ${i}: ${address}`);
    const any = r.u32();
    assert.equal(table.lookup(any), oracle.lookup(any), `change ${i}: ${any}`);
  }
}

function churn6(table: RouteTable, r: Random, changes: number): void {
  const oracle = new PrefixMap6();
  const known: ReturnType<typeof prefix6>[] = [];
  for (let i = 0; i < changes; i++) {
    const p = known.length && r.below(3) === 0 ? known[r.below(known.length)] : prefix6(r);
    const prefix = { family: 6 as const, ...p };
    if (r.below(3) === 0) {
      table.delete(prefix);
      oracle.delete(p.high, p.low, p.length);
    } else {
      const hop = 1 + r.below(254);
      table.set(prefix, hop);
      oracle.set(p.high, p.low, p.length, hop);
      known.push(p);
    }
    for (const [high, low] of edges6(p)) {
      assert.equal(table.lookup6(high, low), oracle.lookup(high, low), `change ${i}: ${high.toString(16)}:${low.toString(16)}`);
    }
  }
}

for (const build of BUILDS) {
  describe(`routing tables, ${build} build`, () => {
    it("answers IPv4 lookups like the oracle through 20,000 changes", async (t) => {
      const engine = await engineOf(build);
      churn4(engine.createTable(4), random(t), 20_000, 400);
    });

    it("does so with two-byte leaves", async (t) => {
      const engine = await engineOf(build, { nextHops: 5000, tables: 1 });
      churn4(engine.createTable(4), random(t), 5_000, 300);
    });

    it("answers IPv6 lookups like the oracle through 10,000 changes", async (t) => {
      const engine = await engineOf(build);
      churn6(engine.createTable(6), random(t), 10_000);
    });

    it("gives all memory back when the last route goes", async (t) => {
      const engine = await engineOf(build);
      const r = random(t);
      for (const family of [4, 6] as const) {
        const table = engine.createTable(family);
        table.set(family === 4 ? "10.0.0.0/8" : "2001:db8::/32", 1);
        table.delete(family === 4 ? "10.0.0.0/8" : "2001:db8::/32");
        const before = engine.tableMemory();
        const prefixes = Array.from({ length: 500 }, () => ({ family, ...(family === 4 ? prefix4(r) : prefix6(r)) })) as never[];
        for (const prefix of prefixes) table.set(prefix, 1);
        for (const prefix of prefixes) table.delete(prefix);
        engine.plane.tablesCollect();
        assert.equal(table.size, 0);
        const after = engine.tableMemory();
        // Uniform nodes and pages of hop 1 stay for the next time.
        assert.ok(after.hot - before.hot <= 4200, `hot ${before.hot} → ${after.hot}`);
        assert.equal(after.cold, before.cold);
      }
    });
  });
}

describe("routing table edges", () => {
  it("tells a full table from a bad argument", async () => {
    const engine = await engineOf("plain", { routes4: 0, routes6: 0, tables: 1, nextHops: 3 });
    const table = engine.createTable(4);
    assert.throws(() => table.set("10.0.0.0/8", 3), /expected a number that addNextHop returned/);
    assert.throws(() => table.set("10.0.0.1/8", 1), /bits set behind its length/);
    assert.throws(() => table.set("2001:db8::/32", 1), /IPv6 prefix for a table of IPv4/);
    let code = "";
    try {
      for (let i = 0; i < 5_000_000; i++) table.set({ family: 4, address: ((i * 2654435761) >>> 0) & 0xffffff80, length: 25 }, 1 + (i & 1));
    } catch (error) {
      code = (error as { code: string }).code;
    }
    assert.equal(code, "ENOMEM");
    // What was refused is not half there.
    const size = table.size;
    table.delete("10.0.0.0/8");
    assert.equal(table.size, size);
  });

  it("keeps several tables of one memory apart", async () => {
    const engine = await engineOf("plain", { tables: 3 });
    const [a, b, six] = [engine.createTable(4), engine.createTable(4), engine.createTable(6)];
    a.set("10.0.0.0/8", 1);
    b.set("10.0.0.0/8", 2);
    six.set("::/0", 3);
    assert.deepEqual([a.lookup("10.1.1.1"), b.lookup("10.1.1.1"), six.lookup("2001:db8::1")], [1, 2, 3]);
    assert.throws(() => engine.createTable(4), /raise tables/);
  });
});

async function compareWhole(engine: Engine, bytes: Uint8Array, name: string, r: Random, probes: number): Promise<void> {
  const routes = await loadRoutes(bytes, name);
  const { v4, v6 } = routes;
  if (v4.count) {
    const table = engine.createTable(4);
    table.load(v4);
    assert.ok(table.size <= v4.count);
    const oracle = PrefixMap4.from(v4);
    for (let i = 0; i < probes; i++) {
      const row = r.below(v4.count);
      const inside = (v4.addresses[row] + Math.floor(r.float() * 2 ** (32 - v4.lengths[row]))) >>> 0;
      for (const address of [inside, r.u32()]) assert.equal(table.lookup(address), oracle.lookup(address), String(address));
    }
  }
  if (v6.count) {
    const table = engine.createTable(6);
    table.load(v6);
    const oracle = PrefixMap6.from(v6);
    for (let i = 0; i < probes; i++) {
      const row = r.below(v6.count);
      const host = word64(r);
      const high = v6.lengths[row] >= 64 ? v6.high[row] : v6.high[row] | (word64(r) & ~mask64(v6.lengths[row]) & 0xffffffffffffffffn);
      assert.equal(table.lookup6(high, host), oracle.lookup(high, host));
    }
  }
}

describe("real tables", () => {
  const sizes = { routes4: 1_000_000, routes6: 250_000, tables: 2 };

  it("forwards the shipped tables like the oracle", async (t) => {
    const engine = await engineOf("shared", sizes);
    for (const family of [4, 6])
      await compareWhole(engine, fixture(`data/internet${family}.bin.gz`), `internet${family}`, random(t), 100_000);
  });

  const data = process.env.PACKETLOOM_DATA;
  for (const name of ["full4", "rv2014-4", "full6", "rv2015-6"]) {
    const path = data ? join(data, "rib", `${name}.txt.gz`) : "";
    const skip = data && existsSync(path) ? false : "PACKETLOOM_DATA names no folder with it";
    it(`forwards ${name} like the oracle`, { skip }, async (t) => {
      const engine = await engineOf("shared", sizes);
      await compareWhole(engine, new Uint8Array(readFileSync(path)), name, random(t), 100_000);
    });
  }

  /** 10^6 changes here, FIB_CHANGES=1e7 by hand. */
  const CHANGES = Number(process.env.FIB_CHANGES ?? 1e6);
  it(`stays flat and right through ${CHANGES.toLocaleString("en-US")} random changes to the shipped table`, async (t) => {
    const r = random(t);
    const engine = await engineOf("shared", sizes);
    const { v4 } = await loadRoutes(fixture("data/internet4.bin.gz"), "internet4");
    const table = engine.createTable(4);
    table.load(v4);
    const oracle = PrefixMap4.from(v4);
    let warm = 0;
    for (let i = 0; i < CHANGES; i++) {
      const row = r.below(v4.count);
      const prefix = { family: 4 as const, address: v4.addresses[row], length: v4.lengths[row] };
      if (r.below(4) === 0) {
        table.delete(prefix);
        oracle.delete(prefix.address, prefix.length);
      } else {
        const hop = 1 + r.below(250);
        table.set(prefix, hop);
        oracle.set(prefix.address, prefix.length, hop);
      }
      if ((i & 15) === 0) {
        const address = (prefix.address + Math.floor(r.float() * 2 ** (32 - prefix.length))) >>> 0;
        assert.equal(table.lookup(address), oracle.lookup(address));
      }
      if (i === CHANGES / 2) warm = engine.tableMemory().hot;
    }
    const end = engine.tableMemory().hot;
    assert.ok(end < warm * 1.05, `hot memory ${warm} → ${end}`);
  });
});
