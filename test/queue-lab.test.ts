/** TCP hosts over a shaped port: the delay that others meet, with a fifo and with what is made against it. Figures: docs/queue.md. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Lab } from "../src/index.ts";
import { attachQueue, type QdiscOptions } from "../src/queue/index.ts";

const RATE = 10e6;
const shaped = (child: QdiscOptions): QdiscOptions => ({ kind: "htb", default: 1, classes: [{ id: 1, rateBps: RATE, qdisc: child }] });

interface Figures {
  /** Mbit/s of the transfer's payload. */
  goodput: number;
  /** Round trips of pings meanwhile (ms). */
  median: number;
  worst: number;
}

/** Ten seconds of TCP from one host to another, 20 ms away, with a ping every 50 ms. */
async function transfer(queue: QdiscOptions): Promise<Figures> {
  const lab = await Lab.create({ seed: 3, hosts: 2, interfaces: 2, memory: { queueBytes: 4 << 20 } });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] });
  lab.link(a, b, { delay: 10 });
  attachQueue(lab.engine, lab.engine.port(0), queue);
  const listener = await b.listen({ port: 80 });
  const connecting = a.connect({ hostname: "10.0.0.2", port: 80 });
  await lab.run(200);
  const socket = await connecting;
  let received = 0;
  void (async () => {
    for await (const peer of listener) for await (const chunk of peer.readable) received += chunk.length;
  })().catch(() => {});
  const writer = socket.writable.getWriter();
  void (async () => {
    for (;;) await writer.write(new Uint8Array(65_536));
  })().catch(() => {});
  await lab.run(3000);
  const [before, trips] = [received, [] as number[]];
  for (let i = 0; i < 140; i++) {
    const from = lab.clock.now();
    void a.ping("10.0.0.2").then(
      () => trips.push(lab.clock.now() - from),
      () => {},
    );
    await lab.run(50);
  }
  const goodput = ((received - before) * 8) / 7 / 1e6;
  await lab.run(1000);
  trips.sort((x, y) => x - y);
  await lab.engine.close().catch(() => {});
  return { goodput, median: trips[trips.length >> 1], worst: trips[trips.length - 1] };
}

describe("a shaped port", () => {
  it("fills a fifo to its end, and keeps a ping short with fq_codel and cake", async (t) => {
    const fifo = await transfer(shaped({ kind: "pfifo", limitPackets: 300 }));
    const codel = await transfer(shaped({ kind: "fq_codel" }));
    const cake = await transfer({ kind: "cake", bandwidthBps: RATE });
    for (const [name, { goodput, median, worst }] of Object.entries({ fifo, codel, cake }))
      t.diagnostic(`${name}: ${goodput.toFixed(2)} Mbit/s, ping ${median.toFixed(1)} ms, at worst ${worst.toFixed(1)} ms`);
    for (const { goodput } of [fifo, codel, cake]) assert.ok(goodput > 0.9 * RATE * 0.95e-6, `${goodput} Mbit/s`);
    assert.ok(fifo.median > 100, `a fifo of 300 packets makes pings wait: ${fifo.median} ms`);
    for (const { median, worst } of [codel, cake]) assert.ok(median < 25 && worst < 60, `${median} ms, at worst ${worst} ms`);
  });
});
