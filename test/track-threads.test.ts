/** Two workers on one table of flows: the same packets from both sides at once make each flow once, and lose none. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { attachGenerator, clearGenerators } from "../src/link/generator.ts";
import { Conntrack } from "../src/track/index.ts";
import { engineOf, mac } from "./support.ts";

const FLOWS = 20_000;
const ROUNDS = 5;
/** A record is taken when a flow begins, before it is in the table: two workers hold a burst of them each, of flows the other may have made. */
const CAPACITY = FLOWS + 2 * abi.BURST;

describe("two workers on one table", () => {
  it("make every flow once while both see all of them", async () => {
    const engine = await engineOf("shared", { ports: 3, threads: 2, flows: CAPACITY, buffers: 4096, generatorBytes: 3 * FLOWS * 100 });
    const conntrack = new Conntrack(engine).configure({ timeouts: { udp: 1000 } });
    const table4 = engine.createTable(4);
    table4.set("0.0.0.0/0", table4.addNextHop({ kind: "forward", port: 2, destinationMac: mac(1), sourceMac: mac(2) }));
    const network = engine.createNetwork().configure({ track: true });
    engine.memory.u8[engine.memory.port(2) + abi.PORT_KIND] = abi.KIND_GENERATOR;
    for (let w = 0; w < 3; w++) engine.memory.setU32(engine.memory.port(2) + abi.PORT_RX + 4 * w, 0);
    for (const p of [0, 1]) {
      engine.port(p).configure({ table4 });
      network.add(engine.port(p));
      engine.assignPorts(p + 1, [p]);
    }
    engine.assignPorts(0, []);
    try {
      for (let round = 1; round <= ROUNDS; round++) {
        conntrack.flush();
        clearGenerators(engine);
        const destinations = Uint32Array.from({ length: FLOWS }, (_, i) => 0x14000000 + i);
        const before = engine.counters();
        for (const p of [0, 1]) {
          attachGenerator(engine, engine.port(p), { family: 4, frameSize: 64, flows: FLOWS, destinations, count: BigInt(2 * FLOWS) }, [
            p + 1,
          ]);
          // Both make the same flows: those of the first worker's share.
          const generator = engine.memory.getU32(engine.memory.port(p) + abi.PORT_RX + 4 * (p + 1));
          assert.notEqual(generator, 0);
        }
        engine.start();
        const wanted = 4 * FLOWS;
        for (let turn = 0; turn < 400 && handled(engine.counters()) - handled(before) < wanted; turn++) await engine.clock.sleep(10);
        await engine.stop();
        const { drops } = engine.counters();
        assert.equal(handled(engine.counters()) - handled(before), wanted, JSON.stringify(drops));
        const tuples = [...conntrack.list()].map(({ original }) => `${original.src}:${original.sport} ${original.dst}`);
        assert.equal(new Set(tuples).size, tuples.length, "a tuple is there twice");
        assert.equal(tuples.length, FLOWS);
        assert.equal(conntrack.count, FLOWS);
        assert.equal(drops.flow_table_full ?? 0, 0, JSON.stringify(conntrack.stats()));
        assert.equal(conntrack.stats().earlyDrop, 0);
      }
    } finally {
      await engine.close();
    }
  });
});

function handled({ stats, dropped }: { stats: { sunk: number }; dropped: number }): number {
  return stats.sunk + dropped;
}
