/** The boundary: names, alignment, no overlap; and a Wasm module that keeps its promises. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { layout } from "../src/engine/layout.ts";
import { BUILDS, engineOf, fixture } from "./support.ts";

const entries = Object.entries(abi) as [string, number][];
const starting = (prefix: string) => entries.filter(([name]) => name.startsWith(prefix));

describe("abi.ts", () => {
  it("holds plain whole numbers only", () => {
    for (const [name, value] of entries) assert.ok((Number.isInteger(value) && value >= 0) || name.startsWith("ROUTE_"), name);
    const text = readFileSync("assembly/abi.ts", "utf8");
    const code = text
      .replace(/\/\*[\s\S]*?\*\//g, "")
      .split("\n")
      .map((line) => line.replace(/\/\/.*/, "").trim())
      .filter(Boolean);
    for (const line of code) assert.match(line, /^export const [A-Z0-9_]+ = -?[A-Z0-9x_a-f +*]+;$/);
  });

  it("is read by name alone: the build puts the numbers there, and nothing else of it remains (decision 5)", () => {
    const sources = (readdirSync("src", { recursive: true }) as string[]).filter((name) => name.endsWith(".ts"));
    const others = sources.filter((name) => {
      const text = readFileSync(`src/${name}`, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*|"[^"\n]*"|import \* as abi|typeof abi\b/g, "");
      return /\babi\b(?!\.[A-Z])/.test(text);
    });
    assert.deepEqual(others, ["engine/abi-names.ts"]);
  });

  it("numbers counters without a clash", () => {
    const counters = [...starting("DROP_"), ...starting("PUNT_"), ...starting("STAT_")].filter(
      ([name]) => !/_(COUNT|SIZE|SEQUENCE|ID|REASON|ARGUMENT|NONE)$/.test(name),
    );
    const seen = new Map<number, string>();
    for (const [name, value] of counters) {
      assert.ok(!seen.has(value), `${name} and ${seen.get(value)} are both ${value}`);
      assert.ok(value < abi.COUNTER_COUNT);
      seen.set(value, name);
    }
  });

  it("keeps 64-bit fields aligned and structs whole lines", () => {
    for (const size of [abi.DESC_SIZE, abi.HOP_SIZE, abi.TABLE_SIZE, abi.PORT_SIZE, abi.PORT_STAT_SIZE, abi.GENERATOR_SIZE]) {
      assert.equal(size % 64, 0);
    }
    for (const at of [abi.WORKER_COUNTERS, abi.WORKER_BURST_BYTES, abi.HEADER_SECRET, abi.GEN_LEFT, abi.BRIDGE_VLANS])
      assert.equal(at % 8, 0);
    for (const [, field] of starting("VEC_")) assert.equal(field % 16, 0);
    assert.ok(abi.DESC_SHIFT === Math.log2(abi.DESC_SIZE));
    for (const [prefix, size] of [
      ["DESC_", abi.DESC_SIZE],
      ["TABLE_", abi.TABLE_SIZE],
    ] as const) {
      const fields = starting(prefix).filter(([name]) => !/_(SIZE|SHIFT)$/.test(name));
      assert.equal(new Set(fields.map(([, at]) => at)).size, fields.length, `two fields of ${prefix} share a place`);
      for (const [name, at] of fields) assert.ok(at < size, name);
    }
  });

  it("gives the vectors of a worker room for a burst and no overlap", () => {
    const sizes: [number, number][] = [
      [abi.WORKER_PORTS, 2 * abi.MAX_PORTS],
      [abi.WORKER_COUNTERS, 8 * abi.COUNTER_COUNT],
      [abi.WORKER_BUFFER_CACHE, 4 * abi.CACHE_CAPACITY],
      [abi.WORKER_BARE_CACHE, 4 * abi.CACHE_CAPACITY],
      [abi.VEC_IDS, 4 * abi.BURST],
      [abi.VEC_NEXT, 2 * abi.BURST],
      [abi.VEC_LIST4, 2 * abi.BURST],
      [abi.VEC_LIST6, 2 * abi.BURST],
      [abi.VEC_ADDR4, 4 * abi.BURST],
      [abi.VEC_SRC4, 4 * abi.BURST],
      [abi.VEC_ADDR6, 16 * abi.BURST],
      [abi.VEC_SRC6, 16 * abi.BURST],
      [abi.VEC_RESULT, 4 * abi.BURST],
      [abi.VEC_WORK, 2 * abi.BURST],
      [abi.VEC_OUT, 8 * abi.BURST],
      [abi.VEC_ONE, 4],
      [abi.VEC_TOUCHED, 2 * abi.MAX_PORTS],
      [abi.STAGE_COUNTS, 4 * abi.MAX_PORTS],
      [abi.WORKER_GRO, abi.GRO_SIZE * abi.GRO_FLOWS],
      [abi.WORKER_SIZE, 0],
    ];
    for (let i = 0; i + 1 < sizes.length; i++) assert.ok(sizes[i][0] + sizes[i][1] <= sizes[i + 1][0], `field ${i}`);
    assert.notEqual(Math.log2(abi.WORKER_SIZE) % 1, 0, "workers a power of two apart share cache sets");
  });
});

describe("the memory map", () => {
  it("lays regions out apart, on cache lines, within the memory", () => {
    const map = layout({ ports: 7, threads: 3, bridges: 2, samples: 10, appBytes: 1000, generatorBytes: 500 });
    assert.equal(map.regions.length, abi.REGION_COUNT);
    let end = abi.HEADER + abi.HEADER_SIZE;
    for (const { base, size } of map.regions) {
      assert.equal(base % 64, 0);
      assert.ok(base >= end + 1);
      end = base + size;
    }
    assert.ok(end <= map.bytes);
    assert.ok(abi.HEADER_REGIONS >= abi.HEADER_BARE_LIMIT + 4 && abi.HEADER_REGIONS + 8 * abi.REGION_COUNT <= abi.HEADER_SIZE);
    assert.notEqual(Math.log2(map.stride) % 1, 0, "buffers a power of two apart share cache sets");
  });

  it("refuses sizes that make no sense, each with a sentence", () => {
    for (const [options, message] of [
      [{ ports: 0 }, /ports is 0; expected a whole number from 1 to 256/],
      [{ ringCapacity: 1000 }, /ringCapacity is 1000; expected a power of two/],
      [{ headroom: 100 }, /headroom is 100; expected a multiple of 64/],
      [{ buffers: 1.5 }, /buffers is 1.5/],
      [{ buffers: 1_000_000, routes4: 16_000_000, appBytes: 2 ** 31 }, /expected less than 4 GiB/],
    ] as const) {
      assert.throws(() => layout(options), message);
    }
  });
});

describe("the Wasm modules", () => {
  for (const build of BUILDS) {
    it(`import a memory and a table and hold no state of their own, ${build} build`, async () => {
      const module = await WebAssembly.compile(fixture(`dist/wasm/packetloom.${build}.wasm`) as Uint8Array<ArrayBuffer>);
      const imports = WebAssembly.Module.imports(module).map(({ name, kind }) => `${kind} ${name}`);
      assert.deepEqual(imports.sort(), ["memory memory", "table table"]);
      assert.ok(WebAssembly.Module.exports(module).every(({ kind }) => kind === "function"));
    });

    const wat = `build/wasm/packetloom.${build}.wat`;
    it(`are free of the AssemblyScript runtime, mutable globals and data, ${build} build`, {
      skip: existsSync(wat) ? false : "built elsewhere",
    }, () => {
      const text = readFileSync(wat, "utf8");
      assert.doesNotMatch(text, /~lib\/rt/);
      assert.doesNotMatch(text, /\(global \$\S+ \(mut/);
      assert.doesNotMatch(text, /^ \(data /m);
      assert.doesNotMatch(text, /memory\.grow/);
    });
  }

  it("several instances over one memory see the same state", async () => {
    const engine = await engineOf("shared");
    const table = engine.createTable(4);
    table.set("10.0.0.0/8", 7);
    const module = await WebAssembly.compile(fixture("dist/wasm/packetloom.shared.wasm") as Uint8Array<ArrayBuffer>);
    const wasm = (engine as unknown as { wasm: { memory: WebAssembly.Memory } }).wasm;
    const again = await WebAssembly.instantiate(module, {
      env: { memory: wasm.memory, table: new WebAssembly.Table({ initial: 1, element: "anyfunc" }) },
    });
    const lookup = again.exports.route4Lookup as (table: number, address: number) => number;
    assert.equal(lookup(0, 0x0a010203), 7);
    assert.equal(table.lookup("10.1.2.3"), 7);
  });
});
