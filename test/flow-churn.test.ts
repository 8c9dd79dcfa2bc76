/**
 * The table of flows at full load: every packet begins a flow, and as many end in their time. CHURN=100000000 is the hundred
 * million that the table is built for (a minute and a half); two million otherwise.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { VirtualClock } from "../src/base/clock.ts";
import { attachGenerator } from "../src/link/generator.ts";
import { Conntrack } from "../src/track/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { engineOf, mac } from "./support.ts";

/** Different flows, met in turn; of them so many live at a time that each is over before it comes again. */
const TEMPLATES = 262_144;
const BURST = 8192;
const ROUNDS_ALIVE = 16;
const TIMEOUT_MS = 16_000;

describe("flows that come and go", () => {
  it("none is lost, none is there twice, and memory stays what it was", { timeout: 600_000 }, async (t) => {
    const wanted = Number(process.env.CHURN ?? 2_000_000);
    const clock = new VirtualClock();
    const engine = await engineOf("shared", {
      ports: 2,
      flows: 200_000,
      flowAccounting: 0,
      flowExtensions: 1,
      generatorBytes: TEMPLATES * 192,
      clock,
    });
    t.after(() => engine.close());
    const conntrack = new Conntrack(engine).configure({ timeouts: { udp: TIMEOUT_MS / 1000 } });
    const table4 = engine.createTable(4);
    table4.set("0.0.0.0/0", table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2) }));
    engine.createNetwork().configure({ track: true }).add(engine.port(0).configure({ table4 }));
    const destinations = Uint32Array.from({ length: TEMPLATES }, (_, i) => 0x14000000 + i);
    attachGenerator(engine, engine.port(0), { family: 4, frameSize: 64, flows: TEMPLATES, destinations });
    engine.memory.u8[engine.memory.port(1) + abi.PORT_KIND] = abi.KIND_GENERATOR;
    engine.memory.setU32(engine.memory.port(1) + abi.PORT_RX, 0);

    let made = 0;
    let records = 0;
    for (let round = 0; made < wanted; round++) {
      for (let sent = 0; sent < BURST; ) sent += engine.plane.poll(0, clock.now() / 1000, BURST - sent);
      made += BURST;
      clock.advance(TIMEOUT_MS / ROUNDS_ALIVE);
      while (engine.plane.flowsTurn(0, clock.now() >>> 0, 65_536) === 0);
      const { insert, expired, insertFailed, drop, earlyDrop, entries } = conntrack.stats();
      assert.deepEqual([insert + insertFailed, drop, earlyDrop], [made >>> 0, 0, 0]);
      assert.equal(entries, (insert - expired) >>> 0);
      // The wheel turns in quarters of a second: what is over may stay for one more round.
      assert.ok(
        round < ROUNDS_ALIVE || (entries >= (ROUNDS_ALIVE - 1) * BURST && entries <= (ROUNDS_ALIVE + 1) * BURST),
        `${entries} flows`,
      );
      if (round % 1024 !== 100) continue;
      const audit = auditFlows(engine);
      if (records !== 0) assert.ok(audit.fresh <= records + 1024, `records: ${records}, then ${audit.fresh}`);
      records = audit.fresh;
    }
    clock.advance(2 * TIMEOUT_MS);
    while (engine.plane.flowsTurn(0, clock.now() >>> 0, 65_536) === 0);
    assert.equal(auditFlows(engine).count, 0);
    t.diagnostic(`${made} flows, ${records} records`);
  });
});
