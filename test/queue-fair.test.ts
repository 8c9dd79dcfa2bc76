/** Who shares with whom: fq, fq_codel, cake and prio, in virtual time behind a shaper. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import type { QdiscOptions } from "../src/queue/index.ts";
import { type Given, jain, Shaped } from "./queue-support.ts";

const behind = (rateBps: number, child: QdiscOptions): QdiscOptions => ({ kind: "tbf", rateBps, burstBytes: 1514, child });
const mbit = (bytes: number, seconds: number) => (bytes * 8) / seconds / 1e6;
const near = (got: number, want: number, share: number, what = "") =>
  assert.ok(Math.abs(got / want - 1) <= share, `${what} ${got} instead of ${want}`);

/** Mean and longest time (ms) from sending to leaving of the packets that `send` sent; it is called every `every` ms. */
function delays(shaped: Shaped, ms: number, every: number, send: () => number): { mean: number; most: number } {
  const sentAt = new Map<number, number>();
  const first = shaped.departures.length;
  let next = shaped.clock.now();
  shaped.run(ms, {
    step: 0.1,
    each: () => {
      if (shaped.clock.now() < next) return;
      next += every;
      sentAt.set(send(), shaped.clock.now());
    },
  });
  shaped.run(500);
  const waits = shaped.departures.slice(first).flatMap(({ number, ms }) => {
    const at = sentAt.get(number);
    return at === undefined ? [] : [ms - at];
  });
  assert.ok(waits.length > 0.9 * sentAt.size, `${waits.length} of ${sentAt.size} arrived`);
  return { mean: waits.reduce((a, b) => a + b, 0) / waits.length, most: Math.max(...waits) };
}

describe("fq", () => {
  it("shares a rate equally between flows of packets of all sizes", async () => {
    const shaped = await Shaped.of(behind(10e6, { kind: "fq" }));
    const kinds = Array.from({ length: 10 }, (_, i): Given => ({ flow: 100 + i, bytes: 150 + 136 * i }));
    shaped.saturate(3000, kinds, { step: 0.5, depth: 60 });
    const shares = [...shaped.bytesBy(({ flow }) => flow, 500).values()];
    assert.equal(shares.length, 10);
    assert.ok(jain(shares) >= 0.99, `Jain's index ${jain(shares)}`);
    await shaped.close();
  });

  for (const step of [0.05, 0.5, 5])
    it(`paces each flow by the greatest rate, polled every ${step} ms`, async () => {
      const shaped = await Shaped.of({ kind: "fq", maxRateBps: 3e6 });
      const kinds = [1, 2, 3].map((flow): Given => ({ flow, bytes: 1250 }));
      shaped.saturate(200, kinds, { step, depth: 40 });
      shaped.saturate(2000, kinds, { step, depth: 40 });
      for (const [flow, bytes] of shaped.bytesBy(({ flow }) => flow, 200.01)) near(mbit(bytes, 2), 3, 0.01, `flow ${flow}`);
      await shaped.close();
    });

  it("holds a packet until its own time, and what is beyond the horizon not at all", async () => {
    const shaped = await Shaped.of({ kind: "fq", horizonMs: 1000 });
    const { engine, port } = shaped;
    const times = [50, 20.5, 35, 70];
    shaped.send({ flow: 9 });
    const frame = new Uint8Array(100);
    for (const [i, ms] of [...times, 5000].entries()) {
      const id = port.buffersOf(frame);
      engine.memory.u8[engine.memory.getU32(engine.memory.descriptor(id) + abi.DESC_DATA) + 29] = i;
      engine.plane.packetSendAt(0, port.index, id, ms / 1000);
    }
    shaped.run(100);
    const left = shaped.departures.slice(1);
    assert.deepEqual(
      left.map(({ from }) => from),
      [1, 2, 0, 3],
    );
    left.forEach(({ ms }, i) => assert.ok(ms >= [20.5, 35, 50, 70][i] && ms < [20.5, 35, 50, 70][i] + 1e-3, `${ms}`));
    assert.equal(shaped.queue.stats().own.horizon_drops, 1);
    await shaped.close();
  });

  it("forgets flows that are idle, and never those that have something to send", async () => {
    const shaped = await Shaped.of(behind(1e6, { kind: "fq", flows: 8, buckets: 2 }));
    for (let flow = 1; flow <= 100; flow++) {
      shaped.send({ flow, bytes: 100 });
      shaped.run(5);
    }
    assert.equal(shaped.departures.length, 100);
    shaped.send({ flow: 1, bytes: 1500 }, 2);
    for (let flow = 200; flow < 220; flow++) shaped.send({ flow, bytes: 100 });
    const fq = shaped.queue.report()[1];
    assert.ok(fq.own.gc > 50);
    assert.ok(fq.own.flows_plimit >= 12, `${fq.own.flows_plimit}`);
    await shaped.close();
  });
});

describe("fq_codel", () => {
  it("lets a sparse flow pass ten that fill the queue, where a fifo makes it wait for them all", async () => {
    const measured: number[] = [];
    for (const child of [
      { kind: "fq_codel", ecn: false },
      { kind: "pfifo", limitPackets: 200 },
    ] satisfies QdiscOptions[]) {
      const shaped = await Shaped.of(behind(10e6, child));
      for (let i = 0; i < 180; i++) shaped.send({ flow: 100 + (i % 10), bytes: 1500 });
      // The ten are new themselves at first.
      shaped.run(30);
      const { most } = delays(shaped, 100, 20, () => {
        shaped.send({ flow: 7, bytes: 100 });
        return shaped.sent - 1;
      });
      measured.push(most);
      await shaped.close();
    }
    const [fair, fifo] = measured;
    // At most the packet in hand and one that has just begun: 2 × 1.2 ms, and a poll.
    assert.ok(fair < 2.7, `${fair} ms behind fq_codel`);
    assert.ok(fifo > 90, `${fifo} ms behind a fifo`);
  });

  it("shares equally", async () => {
    const shaped = await Shaped.of(behind(10e6, { kind: "fq_codel", targetMs: 1000 }));
    const kinds = Array.from({ length: 8 }, (_, i): Given => ({ flow: 10 + 7 * i, bytes: 1500 - 150 * i }));
    shaped.saturate(3000, kinds, { step: 0.5, depth: 40 });
    const shares = [...shaped.bytesBy(({ flow }) => flow, 500).values()];
    assert.ok(jain(shares) >= 0.99, `Jain's index ${jain(shares)}`);
    await shaped.close();
  });

  it("marks those who allow it, with a checksum that is right, and drops the others", async () => {
    for (const [tos, marks] of [
      [2, true],
      [1, true],
      [0, false],
    ] as const) {
      const shaped = await Shaped.of(behind(2e6, { kind: "fq_codel", ecn: true }));
      shaped.saturate(1000, [{ tos, bytes: 1500 }], { depth: 30 });
      const { own, dropped } = shaped.queue.report()[1];
      const ce = shaped.departures.filter((each) => (each.tos & 3) === 3).length;
      assert.ok(Math.abs(ce - own.ecn_mark) <= 1, `${ce} left, ${own.ecn_mark} counted`);
      assert.equal(ce > 5, marks);
      assert.equal(dropped > 5, !marks);
      await shaped.close();
    }
  });

  it("drops from the longest flow when it is full, many at once", async () => {
    const shaped = await Shaped.of(behind(1e6, { kind: "fq_codel", limitPackets: 100 }));
    shaped.send({ flow: 1 }, 90);
    shaped.send({ flow: 2 }, 30);
    const { own, dropped, backlogPackets } = shaped.queue.report()[1];
    assert.ok(dropped >= 40 && own.drop_overlimit === dropped, `${dropped}`);
    assert.ok(backlogPackets <= 100);
    shaped.run(2000);
    const left = shaped.departures.filter(({ flow }) => flow === 2).length;
    assert.ok(left > 25, `the short flow kept ${left} of 30`);
    await shaped.close();
  });
});

describe("cake", () => {
  const BANDWIDTH = 10e6;
  // ECN-capable, so that nobody loses packets that the test counts as waiting.
  const hosts = (flows: readonly number[]): Given[] =>
    flows.flatMap((n, host) =>
      Array.from({ length: n }, (_, i): Given => ({ from: host + 1, to: host + 1, flow: 1000 + i, bytes: 1400, tos: 2 })),
    );

  for (const isolation of ["triple-isolate", "dual-srchost", "dual-dsthost"] as const)
    it(`${isolation}: a host with one flow gets as much as a host with 32`, async () => {
      const shaped = await Shaped.of({ kind: "cake", bandwidthBps: BANDWIDTH, isolation });
      shaped.saturate(4000, hosts([1, 32]), { step: 0.5, depth: 12 });
      const shares = shaped.bytesBy(({ from }) => from, 1000);
      near(shares.get(1) ?? 0, shares.get(2) ?? 0, 0.03);
      const flows = [...shaped.bytesBy(({ from, flow }) => (from === 2 ? flow : 0), 1000)].filter(([flow]) => flow > 0).map(([, n]) => n);
      assert.equal(flows.length, 32);
      assert.ok(jain(flows) > 0.99, `the 32 among themselves: ${jain(flows)}`);
      await shaped.close();
    });

  it("flows: the host with 32 gets 32 shares", async () => {
    const shaped = await Shaped.of({ kind: "cake", bandwidthBps: BANDWIDTH, isolation: "flows" });
    shaped.saturate(4000, hosts([1, 32]), { step: 0.5, depth: 12 });
    const shares = shaped.bytesBy(({ from }) => from, 1000);
    near((shares.get(2) ?? 0) / (shares.get(1) ?? 1), 32, 0.1);
    await shaped.close();
  });

  const OVERHEADS: [string, Partial<Extract<QdiscOptions, { kind: "cake" }>>, number, (bytes: number) => number][] = [
    ["frames as they are", {}, 1000, (bytes) => bytes],
    ["38 bytes of Ethernet on the wire", { overheadBytes: 38, mpuBytes: 84 }, 1000, (bytes) => bytes - 14 + 38],
    ["the least length", { overheadBytes: 38, mpuBytes: 84 }, 50, () => 84],
    ["cells of ATM", { overheadBytes: 32, cells: "atm" }, 600, (bytes) => Math.ceil((bytes - 14 + 32) / 48) * 53],
    ["cells of PTM", { overheadBytes: 30, cells: "ptm" }, 600, (bytes) => bytes - 14 + 30 + Math.ceil((bytes - 14 + 30) / 64)],
  ];
  for (const [name, more, bytes, charged] of OVERHEADS)
    it(`shapes what the link carries: ${name}`, async () => {
      const shaped = await Shaped.of({ kind: "cake", bandwidthBps: BANDWIDTH, ...more });
      shaped.saturate(200, [{ bytes }], { step: 1, depth: 60 });
      shaped.saturate(1000, [{ bytes }], { step: 1, depth: 60 });
      const n = shaped.departures.filter(({ ms }) => ms > 200.01).length;
      near(n * charged(bytes) * 8, BANDWIDTH, 0.01);
      await shaped.close();
    });

  it("diffserv3: voice passes, as long as it stays in its share; bulk yields but does not starve", async () => {
    const shaped = await Shaped.of({ kind: "cake", bandwidthBps: BANDWIDTH, diffserv: "diffserv3" });
    const kinds: Given[] = [
      { flow: 1, bytes: 1400, tos: 2 },
      { flow: 2, bytes: 1400, tos: 0x22 },
    ];
    shaped.saturate(300, kinds, { depth: 10 });
    shaped.send({ flow: 1, bytes: 1400, tos: 2 }, 60);
    const { most } = delays(shaped, 40, 5, () => {
      shaped.send({ flow: 3, tos: 0xb8, bytes: 200 });
      return shaped.sent - 1;
    });
    assert.ok(most < 2.6, `voice waited ${most} ms`);
    shaped.saturate(2000, kinds, { depth: 10 });
    const shares = shaped.bytesBy(({ flow }) => flow, 400);
    const bulk = (shares.get(2) ?? 0) / ((shares.get(1) ?? 0) + (shares.get(2) ?? 0));
    assert.ok(bulk > 1 / 16 - 0.01 && bulk < 0.1, `bulk got ${bulk}`);
    const names = shaped.queue.stats().tins.map(({ name }) => name);
    assert.deepEqual(names, ["Best Effort", "Bulk", "Voice"]);
    await shaped.close();
  });
});

describe("prio", () => {
  it("serves bands strictly, by type of service, filter and priority map", async () => {
    const shaped = await Shaped.of(behind(1e6, { kind: "prio", handle: 1, filters: [{ match: { mark: 5 }, class: 1 }] }));
    shaped.send({ flow: 1, bytes: 1000 }); // takes the tokens
    shaped.send({ flow: 1, bytes: 1000 }); // in tbf's hand
    shaped.send({ flow: 2, tos: 0x08 }, 2); // throughput: bulk, band 2
    shaped.send({ flow: 3 }, 2); // band 1
    shaped.send({ flow: 4, tos: 0x10 }, 2); // low delay: interactive, band 0
    shaped.send({ flow: 5, mark: 5, tos: 0x08 }, 2); // filter: band 0
    shaped.run(200);
    assert.deepEqual(
      shaped.departures.map(({ flow }) => flow),
      [1, 1, 4, 4, 5, 5, 3, 3, 2, 2],
    );
    await shaped.close();
  });
});
