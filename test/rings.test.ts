/** Rings and buffers under real threads: nothing lost, nothing twice, nothing out of order. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import * as abi from "../assembly/abi.ts";
import type { Engine } from "../src/index.ts";
import { BUILDS, engineOf, random } from "./support.ts";

/** Transfers through the ring: 10^7 here, RING_TRANSFERS=1e9 by hand. */
const TRANSFERS = Number(process.env.RING_TRANSFERS ?? 1e7);

/** Pushes ids 0, 1, 2 … modulo the pool in bursts of changing size. */
const PRODUCER = `
const { workerData: { module, memory, ring, scratch, limit, total } } = require("node:worker_threads");
WebAssembly.instantiate(module, { env: { memory, table: new WebAssembly.Table({ initial: 1, element: "anyfunc" }) } }).then(({ exports }) => {
  const words = new Uint32Array(memory.buffer);
  for (let sent = 0, size = 1; sent < total; size = (size * 7 + 3) % 255 + 1) {
    const n = Math.min(size, total - sent);
    for (let i = 0; i < n; i++) words[scratch / 4 + i] = (sent + i) % limit;
    for (let done = 0; done < n; ) done += exports.ringPush(ring, scratch + 4 * done, n - done);
    sent += n;
  }
});`;

/** Takes and gives back buffers as its own worker, holding a few; ends with none. */
const CHURNER = `
const { workerData: { module, memory, worker, rounds } } = require("node:worker_threads");
WebAssembly.instantiate(module, { env: { memory, table: new WebAssembly.Table({ initial: 1, element: "anyfunc" }) } }).then(({ exports }) => {
  const held = [];
  let x = worker + 1;
  for (let i = 0; i < rounds; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    if (x & 0x10000 && held.length < 300) {
      const id = exports.bufferTake(worker) >>> 0;
      if (id !== ${abi.NONE}) {
        held.push(id);
        if (x & 0x20000) { const clone = exports.packetClone(worker, id) >>> 0; if (clone !== ${abi.NONE}) held.push(clone); }
      }
    } else if (held.length) exports.packetRelease(worker, held.splice((x >>> 20) % held.length, 1)[0]);
  }
  for (const id of held) exports.packetRelease(worker, id);
});`;

/** Punts records that carry the producer and its own sequence number. */
const PUNTER = `
const { workerData: { module, memory, worker, total } } = require("node:worker_threads");
WebAssembly.instantiate(module, { env: { memory, table: new WebAssembly.Table({ initial: 1, element: "anyfunc" }) } }).then(({ exports }) => {
  for (let i = 0; i < total; i++) while (!exports.puntPush(worker, 65, i)) {}
});`;

function wasmOf(engine: Engine): { module: WebAssembly.Module; memory: WebAssembly.Memory } {
  return (engine as unknown as { wasm: { module: WebAssembly.Module; memory: WebAssembly.Memory } }).wasm;
}

const ended = (worker: Worker) =>
  new Promise<void>((resolve, reject) => {
    worker.once("exit", () => resolve());
    worker.once("error", reject);
  });

describe("rings between threads", () => {
  it(`moves ${TRANSFERS.toLocaleString("en-US")} ids in order, none lost or twice`, async () => {
    const engine = await engineOf("shared", { appBytes: 8192 });
    const { plane, memory } = engine;
    const ring = memory.ring(0, 0, false);
    const app = memory.base(abi.REGION_APP);
    const limit = memory.layout.descriptors;
    const producer = new Worker(PRODUCER, { eval: true, workerData: { ...wasmOf(engine), ring, scratch: app, limit, total: TRANSFERS } });
    const exit = ended(producer);
    const out = app + 4096;
    let next = 0;
    let wrong = 0;
    let idle = 0;
    while (next < TRANSFERS) {
      const n = plane.ringPop(ring, out, 200);
      for (let i = 0; i < n; i++) if (memory.u32[out / 4 + i] !== (next + i) % limit) wrong++;
      next += n;
      if (n === 0 && (++idle & 1023) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await exit;
    assert.equal(wrong, 0);
    assert.equal(plane.ringUsed(ring), 0);
    assert.equal(engine.counters().stats.ring_rejected, 0);
  });

  it("takes punts from three threads, each producer's in order", async () => {
    const engine = await engineOf("shared", { puntCapacity: 64 });
    const { plane, memory } = engine;
    const total = 200_000;
    const producers = [1, 2, 3].map((worker) => new Worker(PUNTER, { eval: true, workerData: { ...wasmOf(engine), worker, total } }));
    const exits = producers.map(ended);
    const at = memory.base(abi.REGION_HOST);
    const next = [0, 0, 0, 0];
    for (let seen = 0; seen < 3 * total; ) {
      const n = plane.puntPop(at, 64);
      for (let i = 0; i < n; i++) {
        const producer = memory.u32[at / 4 + 4 * i + 1];
        assert.equal(memory.u32[at / 4 + 4 * i + 3], next[producer]++);
      }
      seen += n;
      if (n === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(exits);
    assert.deepEqual(next, [0, total, total, total]);
  });

  it("shares one pool of buffers between threads: free + in flight = total", async () => {
    const engine = await engineOf("shared", {
      buffers: 600,
      threads: 2,
      spawn: async () => ({ end: async () => {}, failure: () => undefined }),
    });
    const churners = [1, 2].map(
      (worker) => new Worker(CHURNER, { eval: true, workerData: { ...wasmOf(engine), worker, rounds: 400_000 } }),
    );
    await Promise.all(churners.map(ended));
    assert.deepEqual(engine.pool(), { total: 600, free: 600, inFlight: 0 });
    assert.equal(engine.pool("bare").inFlight, 0);
    assert.equal(engine.counters().stats.double_frees, 0);
  });
});

for (const build of BUILDS) {
  describe(`hostile neighbours, ${build} build`, () => {
    it("rejects indices that a ring cannot have, instead of following them", async (t) => {
      const r = random(t);
      const engine = await engineOf(build);
      const { plane, memory } = engine;
      const ring = memory.ring(0, 0, false);
      const out = memory.base(abi.REGION_HOST);
      for (let i = 0; i < 2000; i++) {
        const distance = 1025 + r.below(2 ** 31);
        memory.setU32(ring + abi.RING_HEAD, r.u32());
        memory.setU32(ring + abi.RING_TAIL, (memory.getU32(ring + abi.RING_HEAD) + distance) >>> 0);
        assert.equal(plane.ringPop(ring, out, 256), 0);
        assert.equal(plane.ringPush(ring, out, 256), 0);
        assert.equal(plane.ringUsed(ring), 0);
      }
      assert.equal(memory.getU32(ring + abi.RING_REJECTED), 4000);
    });

    it("rejects ids outside the pool and keeps the good ones", async () => {
      const engine = await engineOf(build);
      const { plane, memory } = engine;
      const ring = memory.ring(0, 0, false);
      const out = memory.base(abi.REGION_HOST);
      [5, 0xffffffff, 7, memory.layout.descriptors, 9].forEach((id, i) => memory.setU32(ring + abi.RING_IDS + 4 * i, id));
      memory.setU32(ring + abi.RING_TAIL, 5);
      assert.equal(plane.ringPop(ring, out, 256), 3);
      assert.deepEqual([...memory.u32.slice(out / 4, out / 4 + 3)], [5, 7, 9]);
      assert.equal(engine.counters().stats.ring_rejected, 2);
    });

    it("sees a second release and refuses it", async () => {
      const engine = await engineOf(build);
      const { plane } = engine;
      const id = plane.bufferTake(0) >>> 0;
      plane.packetRelease(0, id);
      plane.packetRelease(0, id);
      assert.equal(engine.counters().stats.double_frees, 1);
      assert.equal(engine.pool().inFlight, 0);
    });

    it("survives a chain that bites its own tail", async () => {
      const engine = await engineOf(build);
      const { plane, memory } = engine;
      const id = plane.bufferTake(0) >>> 0;
      memory.setU32(memory.descriptor(id) + abi.DESC_NEXT, id);
      plane.packetRelease(0, id);
      assert.equal(engine.pool().inFlight, 0);
    });

    it("counts a full ring and frees what did not fit", async () => {
      const engine = await engineOf(build, { ringCapacity: 16 });
      const table = engine.createTable(4);
      const hop = table.addNextHop({ kind: "forward", port: 1, destinationMac: new Uint8Array(6), sourceMac: new Uint8Array(6) });
      table.set("0.0.0.0/0", hop);
      engine.port(0).configure({ table4: table });
      const { plainFrame } = await import("./frames.ts");
      for (let i = 0; i < 40; i++) {
        engine.port(0).receive(plainFrame(engine.port(0).macBytes));
        engine.plane.poll(0, 0, 16);
      }
      assert.equal(engine.counters().drops.tx_ring_full, 24);
      assert.equal(engine.port(1).counters().txDropped, 24);
      assert.equal(engine.pool().inFlight, 16);
      assert.equal(
        engine.port(1).transmitted(() => {}, 100),
        16,
      );
      assert.equal(engine.pool().inFlight, 0);
    });
  });
}
