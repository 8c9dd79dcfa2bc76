/** Two workers on one table of flows: the same packets from both sides at once make each flow once; floods and lack of room harm nothing that lives. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { attachGenerator } from "../src/link/generator.ts";
import { Conntrack } from "../src/track/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { engineOf, mac } from "./support.ts";

const FLOWS = 20_000;
const ROUNDS = 5;
/** A record is taken when a flow begins, before it is in the table: two workers hold a burst of them each, of flows the other may have made. */
const CAPACITY = FLOWS + 2 * abi.BURST;

/** Two threads, each with a port whose generator makes the same flows; what leaves is swallowed by a third. */
async function twoWorkers(flows: number, capacity: number) {
  const engine = await engineOf("shared", { ports: 3, threads: 2, flows: capacity, buffers: 4096, generatorBytes: 3 * flows * 100 });
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

  /** Both send every flow twice; what became of the packets. */
  const round = async () => {
    const before = engine.counters();
    for (const p of [0, 1]) {
      const destinations = Uint32Array.from({ length: flows }, (_, i) => 0x14000000 + i);
      attachGenerator(engine, engine.port(p), { family: 4, frameSize: 64, flows, destinations, count: BigInt(2 * flows) }, [p + 1]);
      assert.notEqual(engine.memory.getU32(engine.memory.port(p) + abi.PORT_RX + 4 * (p + 1)), 0);
    }
    engine.start();
    const done = () => handled(engine.counters()) - handled(before);
    for (let turn = 0; turn < 1000 && done() < 4 * flows; turn++) await engine.clock.sleep(10);
    await engine.stop();
    const { drops, stats } = engine.counters();
    assert.equal(done(), 4 * flows, JSON.stringify(drops));
    const lost = (reason: "flow_table_full" | "flow_clash") => (drops[reason] ?? 0) - (before.drops[reason] ?? 0);
    return { sunk: stats.sunk - before.stats.sunk, full: lost("flow_table_full"), clash: lost("flow_clash") };
  };
  return { engine, conntrack, round };
}

describe("two workers on one table", () => {
  it("make every flow once while both see all of them, and lose no packet", async (t) => {
    const { engine, conntrack, round } = await twoWorkers(FLOWS, CAPACITY);
    t.after(() => engine.close());
    for (let i = 0; i < ROUNDS; i++) {
      conntrack.flush();
      assert.deepEqual(await round(), { sunk: 4 * FLOWS, full: 0, clash: 0 });
      const tuples = [...conntrack.list()].map(({ original }) => `${original.src}:${original.sport} ${original.dst}`);
      assert.equal(new Set(tuples).size, tuples.length, "a tuple is there twice");
      assert.equal(tuples.length, FLOWS);
      assert.equal(conntrack.stats().earlyDrop, 0);
      assert.equal(auditFlows(engine).count, FLOWS);
    }
    assert.equal(conntrack.stats().insertFailed, 0);
  });

  for (const capacity of [64, 512, 5000])
    it(`leave a table of ${capacity} whole when both flood it`, async (t) => {
      const { engine, conntrack, round } = await twoWorkers(FLOWS, capacity);
      t.after(() => engine.close());
      for (let i = 0; i < ROUNDS; i++) {
        const { sunk, full, clash } = await round();
        assert.equal(sunk + full + clash, 4 * FLOWS);
        assert.ok(auditFlows(engine).count <= capacity);
        assert.equal([...conntrack.list()].length, conntrack.count);
      }
      conntrack.flush();
      assert.equal(auditFlows(engine).count, 0);
      assert.ok((await round()).sunk > 0, "nothing passes any more");
    });
});

function handled({ stats, dropped }: { stats: { sunk: number }; dropped: number }): number {
  return stats.sunk + dropped;
}
