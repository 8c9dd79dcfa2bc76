/** Faults that a review of the data plane found, each by its shortest trigger. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { ETHERTYPE, serializeEthernet, serializeIpv6 } from "../src/wire/index.ts";
import { plainFrame } from "./frames.ts";
import { BUILDS, engineOf, mac, through } from "./support.ts";

const frame6 = (destination: Uint8Array) =>
  serializeEthernet({
    destination,
    source: mac(9),
    type: ETHERTYPE.ipv6,
    payload: serializeIpv6({
      source: new Uint8Array(16).fill(0x20),
      destination: new Uint8Array(16).fill(0x21),
      protocol: 59,
      payload: new Uint8Array(20),
    }),
  });

for (const build of BUILDS) {
  describe(`regressions, ${build} build`, () => {
    it("a port without a table for a family drops by name", async () => {
      const engine = await engineOf(build);
      engine.port(0).configure({ table4: engine.createTable(4) });
      through(
        engine,
        Array.from({ length: 50 }, () => frame6(engine.port(0).macBytes)),
      );
      through(engine, [plainFrame(engine.port(1).macBytes)], 1);
      assert.deepEqual(engine.counters().drops, { no_route: 51 });
      assert.equal(engine.pool().inFlight, 0);
    });

    it("a handler may receive while it is being given frames, and may throw", async () => {
      const engine = await engineOf(build, { ports: 3 });
      const table = engine.createTable(4);
      table.set("0.0.0.0/0", table.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2) }));
      engine.port(0).configure({ table4: table });
      for (let i = 0; i < 5; i++) engine.port(0).receive(plainFrame(engine.port(0).macBytes));
      engine.poll();
      engine.port(1).transmitted((bytes) => assert.ok(engine.port(2).receive(bytes)));
      assert.equal(engine.pool().inFlight, 5);
      engine.poll();
      assert.equal(engine.pool().inFlight, 0);
      for (let i = 0; i < 5; i++) engine.port(0).receive(plainFrame(engine.port(0).macBytes));
      engine.poll();
      assert.throws(() =>
        engine.port(1).transmitted(() => {
          throw new Error("mine");
        }),
      );
      assert.equal(engine.pool().inFlight, 0);
      assert.equal(engine.counters().stats.double_frees, 0);
      engine.punted = () => {
        throw new Error("mine");
      };
      table.set("10.0.0.0/8", table.addNextHop({ kind: "local" }));
      for (let i = 0; i < 5; i++) engine.port(0).receive(plainFrame(engine.port(0).macBytes));
      assert.throws(() => engine.poll(), /mine/);
      assert.equal(engine.pool().inFlight, 1, "only the packet of the call that threw");
    });

    it("flapping a route above many others does not use memory up", async () => {
      const engine = await engineOf(build);
      const [four, six] = [engine.createTable(4), engine.createTable(6)];
      for (let i = 0; i < 64; i++) four.set({ family: 4, address: 0x0a000000 + (i << 8), length: 24 }, 1 + (i & 1));
      for (let i = 0; i < 40; i++) six.set({ family: 6, high: 0x20010db800000000n + (BigInt(i) << 16n), low: 0n, length: 48 }, 1 + (i & 1));
      for (let i = 0; i < 80_000; i++) four.set("10.0.0.0/18", 3 + (i & 1));
      for (let i = 0; i < 20_000; i++) six.set("2001:d80::/26", 3 + (i & 1));
      for (let i = 0; i < 20; i++) six.set("::/0", 3 + (i & 1));
      assert.equal(four.lookup("10.0.63.200"), 2);
      assert.equal(six.lookup("2001:db8:100::1"), 4);
    });

    it("after running out of memory routes and lookups still agree", async () => {
      const engine = await engineOf(build, { routes6: 0, tables: 1 });
      const table = engine.createTable(6);
      const kept: bigint[] = [];
      assert.throws(
        () => {
          for (let i = 0n; ; i++) {
            const high = 0x2000000000000000n + (i << 48n);
            table.set({ family: 6, high, low: 0n, length: 26 }, 1 + Number(i & 1n));
            kept.push(high);
          }
        },
        { code: "ENOMEM" },
      );
      for (const [i, high] of kept.entries()) assert.equal(table.lookup6(high, 1n), 1 + (i & 1));
      const spare = kept.pop() as bigint;
      assert.equal(table.delete({ family: 6, high: spare, low: 0n, length: 26 }), "removed");
      assert.equal(table.lookup6(spare, 1n), 0);
      assert.equal(table.size, kept.length);
    });

    it("a next hop in use is not given away, and a changed MTU reaches next hops", async () => {
      const engine = await engineOf(build);
      const table = engine.createTable(4);
      const hop = table.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2) });
      table.set("10.0.0.0/8", hop);
      assert.throws(() => table.removeNextHop(hop), /named by 1 routes and 0 groups/);
      engine.port(0).configure({ table4: table });
      engine.port(1).configure({ mtu: 100 });
      assert.equal(
        through(engine, [plainFrame(engine.port(0).macBytes, 0x0a000001, new Uint8Array(200))]).punted[0].reason,
        "fragmentation_needed",
      );
      table.delete("10.0.0.0/8");
      table.removeNextHop(hop);
      assert.equal(table.addNextHop({ kind: "local" }), hop);
    });

    it("descriptors that point anywhere are dropped before they are read", async () => {
      const engine = await engineOf(build);
      const { memory, plane } = engine;
      const spoil: ((d: number) => void)[] = [
        (d) => memory.setU32(d + abi.DESC_DATA, memory.base(abi.REGION_PORTS)),
        (d) => memory.setU32(d + abi.DESC_LENGTH, 0xfffffff0),
        (d) => memory.setU32(d + abi.DESC_NEXT, 0x7fffffff),
        (d) => memory.setU32(d + abi.DESC_PACKET_LENGTH, 5),
      ];
      for (const change of spoil) {
        engine.port(0).receive(plainFrame(engine.port(0).macBytes));
        const ring = memory.ring(0, 0, false);
        const id = memory.getU32(ring + abi.RING_IDS + 4 * ((memory.getU32(ring + abi.RING_TAIL) - 1) & 1023));
        change(memory.descriptor(id));
        plane.poll(0, 0, 16);
      }
      assert.deepEqual(engine.counters().drops, { bad_descriptor: 4 });
      assert.equal(engine.pool().inFlight, 0);
    });

    it("a pinned station counts in its port's VLAN", async () => {
      const engine = await engineOf(build, { ports: 3, bridges: 1, tables: 0 });
      const bridge = engine.createBridge({ vlanFiltering: true });
      for (let p = 0; p < 3; p++) bridge.add(engine.port(p));
      bridge.pin("02:00:00:00:01:07", engine.port(2));
      assert.deepEqual(
        through(engine, [plainFrame(mac(7))]).sent.map(({ port }) => port),
        [2],
      );
    });
  });
}

describe("regressions with threads", () => {
  it("what threads drop comes back to the receiver", async () => {
    const engine = await engineOf("shared", { threads: 2, buffers: 512 });
    engine.start();
    let refused = 0;
    for (let i = 0; i < 20_000; i++) {
      if (!engine.port(0).receive(plainFrame(engine.port(0).macBytes, 0x0a000000 + i))) {
        refused++;
        await new Promise((resolve) => setTimeout(resolve, 1));
        if (refused > 5000) break;
      }
    }
    assert.ok(refused < 5000, "the pool starved");
    for (let i = 0; engine.pool().inFlight !== 0 && i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(engine.pool().inFlight, 0);
    await engine.close();
  });

  it("a thread that fails does not hang stop, and says why", async () => {
    const engine = await engineOf("shared", { threads: 1 });
    assert.throws(() => engine.addProgram(() => 0), /without threads/);
    engine.port(0).configure({ table4: engine.createTable(4) });
    // An entry that no thread's table has: the call traps.
    engine.port(0).setProgram(9);
    engine.start();
    engine.port(0).receive(plainFrame(engine.port(0).macBytes));
    while (engine.workerState(1) !== "failed") await new Promise((resolve) => setTimeout(resolve, 1));
    await engine.stop();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.match(engine.workerFailure(1) as string, /^failed: /);
    await engine.close();
  });

  it("a next hop that changes is the old one or the new one", async () => {
    const engine = await engineOf("shared", { threads: 1, ports: 3, buffers: 2048, ringCapacity: 4096 });
    const table = engine.createTable(4);
    const meaning = (n: number) => ({
      kind: "forward" as const,
      port: n,
      destinationMac: new Uint8Array(6).fill(2 * n),
      sourceMac: new Uint8Array(6).fill(2 * n),
    });
    const hop = table.addNextHop(meaning(1));
    table.set("10.0.0.0/8", hop);
    engine.port(0).configure({ table4: table });
    engine.start();
    let [seen, wrong] = [0, 0];
    for (let i = 0; i < 3000; i++) {
      for (let k = 0; k < 20; k++) engine.port(0).receive(plainFrame(engine.port(0).macBytes, 0x0a000000 + k));
      table.setNextHop(hop, meaning(1 + (i & 1)));
      for (const port of [1, 2]) {
        engine.port(port).transmitted((bytes) => {
          seen++;
          for (let b = 0; b < 12; b++) if (bytes[b] !== 2 * port) wrong++;
        }, 1000);
      }
      if ((i & 63) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await engine.close();
    assert.ok(seen > 1000, String(seen));
    assert.equal(wrong, 0);
    assert.deepEqual(engine.counters().drops, {});
  });
});
