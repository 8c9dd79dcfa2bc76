/** Several workers on one port's queue: nothing is lost, flows keep their order, and replacing it under traffic is safe. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Engine } from "../src/index.ts";
import { attachQueue, type QdiscOptions } from "../src/queue/index.ts";
import { plainFrame } from "./frames.ts";
import { mac } from "./support.ts";

const TREES: QdiscOptions[] = [
  { kind: "fq_codel", targetMs: 10_000 },
  { kind: "htb", default: 1, classes: [{ id: 1, rateBps: 1e9, burstBytes: 1e5, cburstBytes: 1e5 }] },
  { kind: "pfifo", limitPackets: 10_000 },
];

describe("a queue and two threads", () => {
  it("lose nothing and keep flows in order", async () => {
    const engine = await Engine.create({
      ports: 2,
      threads: 2,
      buffers: 4096,
      routes4: 100,
      routes6: 100,
      appBytes: 0,
      queueBytes: 2 << 20,
    });
    const table4 = engine.createTable(4);
    table4.set("0.0.0.0/0", table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2) }));
    engine.port(0).configure({ mac: mac(9), table4 });
    const queue = attachQueue(engine, engine.port(1), TREES[0]);
    engine.start();
    const last = new Map<number, number>();
    let [left, wrong] = [0, 0];
    const collect = () =>
      void engine.port(1).transmitted((bytes) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        const [flow, number] = [view.getUint32(30), view.getUint32(42)];
        if ((last.get(flow) ?? -1) >= number) wrong++;
        last.set(flow, number);
        left++;
      }, 1000);
    let sent = 0;
    for (let round = 0; round < 300; round++) {
      for (let i = 0; i < 32; i++) {
        const payload = new Uint8Array(18);
        new DataView(payload.buffer).setUint32(0, round);
        if (engine.port(0).receive(plainFrame(mac(9), 0x0a000000 + i, payload))) sent++;
      }
      collect();
      await engine.clock.turn();
      if (round % 50 === 49) queue.replace(TREES[((round / 50) % TREES.length) | 0]);
    }
    for (let i = 0; i < 2000 && left + engine.counters().dropped < sent; i++) {
      collect();
      await engine.clock.sleep(1);
    }
    assert.equal(left + engine.counters().dropped, sent);
    assert.equal(wrong, 0, "packets that overtook others of their flow");
    assert.ok(left > sent / 2 && queue.stats().backlogPackets === 0);
    await engine.stop();
    queue.remove();
    assert.equal(engine.pool().inFlight, 0);
    await engine.close();
  });
});
