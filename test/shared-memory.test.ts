/** Memory that all sockets of an engine share: however many there are and whoever stops reading, what is sent can arrive. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SLAB_BYTES } from "../src/engine/slabs.ts";
import { Engine } from "../src/index.ts";
import { Lab } from "../src/lab/lab.ts";
import type { TcpSocket } from "../src/socket/stream.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { inject, inState } from "./attack-support.ts";
import { random, SEED } from "./support.ts";

const CHUNK = new Uint8Array(50_000).map((_, i) => i * 7);

async function pairs(count: number, appBytes: number, link = { delay: 1 }) {
  const lab = await Lab.create({ seed: SEED, memory: { appBytes } });
  const [a, b] = [
    await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] }),
    await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] }),
  ];
  lab.link(a, b, link);
  const listener = b.listen({ port: 80, backlog: count });
  const near: TcpSocket[] = [];
  const far: TcpSocket[] = [];
  const all = Promise.all(
    Array.from({ length: count }, async () => {
      near.push(await a.connect({ hostname: "10.0.0.2", port: 80 }));
      far.push(await listener.accept());
    }),
  );
  await lab.run(5000);
  await all;
  return { lab, a, b, near, far };
}

/** Reads up to the end; how many bytes, each at its place. */
async function readAll(socket: TcpSocket): Promise<number> {
  const space = new Uint8Array(40_000);
  let position = 0;
  for (let n = await socket.read(space); n !== null; n = await socket.read(space)) {
    for (let i = 0; i < n; i += 997) assert.equal(space[i], CHUNK[(position + i) % CHUNK.length]);
    position += n;
  }
  return position;
}

async function writeAll(socket: TcpSocket, chunks: number): Promise<void> {
  for (let i = 0; i < chunks; i++) await socket.write(CHUNK);
  await socket.closeWrite();
}

describe("memory that many share", () => {
  it("is enough for a hundred writers and their readers at once, although each alone may take all of it", async (t) => {
    random(t);
    const { lab, near, far } = await pairs(100, 2 << 20);
    const read = Promise.all(far.map(readAll));
    const written = Promise.all(near.map((socket) => writeAll(socket, 5)));
    let isDone = false;
    void written.then(() => (isDone = true));
    for (let i = 0; i < 600 && !isDone; i++) await lab.run(100);
    assert.ok(isDone, "all of it was written within a minute");
    await lab.run(2000);
    assert.deepEqual(await read, Array(100).fill(250_000));
    for (const socket of far) void socket.closeWrite();
    await lab.run(1000);
    assert.equal(lab.engine.slabs.available, lab.engine.slabs.total);
  });

  it("goes through a host that reads no further before it has written", async (t) => {
    random(t);
    const lab = await Lab.create({ seed: SEED, memory: { appBytes: 8 << 20 } });
    const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const proxy = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }, { addresses: ["10.0.1.2/24"] }] });
    const b = await lab.host({ interfaces: [{ addresses: ["10.0.1.3/24"] }] });
    lab.link(a, proxy, { delay: 1 });
    lab.link(proxy, b, { delay: 1 }, ["eth1", "eth0"]);
    const [front, back] = [proxy.listen({ port: 80, backlog: 60 }), b.listen({ port: 80, backlog: 60 })];
    const relay = async (from: TcpSocket, to: TcpSocket) => {
      const space = new Uint8Array(40_000);
      for (let n = await from.read(space); n !== null; n = await from.read(space)) await to.write(space.subarray(0, n));
      await to.closeWrite();
    };
    const got = Array.from({ length: 60 }, async () => {
      const near = a.connect({ hostname: "10.0.0.2", port: 80 });
      void near.then((socket) => writeAll(socket, 5));
      const from = await front.accept();
      void relay(from, await proxy.connect({ hostname: "10.0.1.3", port: 80 }));
      return readAll(await back.accept());
    });
    let isDone = false;
    const all = Promise.all(got).then((bytes) => {
      isDone = true;
      return bytes;
    });
    for (let i = 0; i < 600 && !isDone; i++) await lab.run(100);
    assert.ok(isDone, "all of it arrived within a minute");
    assert.deepEqual(await all, Array(60).fill(250_000));
  });

  it("holds what readers who pause were promised: nothing is lost, and they go on at once", async (t) => {
    random(t);
    const { lab, near, far, a, b } = await pairs(20, 8 << 20, { delay: 10 });
    for (const socket of near) void writeAll(socket, 1000).catch(() => {});
    const tcbs = b.tcp.list();
    const space = new Uint8Array(1 << 20);
    const read = () => tcbs.reduce((bytes, tcb) => bytes + user.read(tcb, space), 0);
    for (let i = 0; i < 300; i++) {
      await lab.run(10);
      read();
    }
    assert.ok(
      tcbs.some((tcb) => tcb.receiveSpace > 200_000),
      `the paths want more than the buffers that they began with: ${tcbs.map((tcb) => tcb.receiveSpace)}`,
    );
    const { timeouts } = a.tcp.counters;
    await lab.run(20_000);
    const held = tcbs.reduce((bytes, tcb) => bytes + user.readable(tcb), 0);
    assert.equal(b.tcp.counters.memory_drops, 0);
    assert.equal(a.tcp.counters.timeouts, timeouts);
    assert.ok(held > lab.engine.slabs.total * SLAB_BYTES * 0.4, `${held} bytes wait, of what the engine has`);
    read();
    await lab.run(100);
    for (const tcb of tcbs) assert.ok(user.readable(tcb) > 0, "each goes on within two round trips");
    void far;
  });

  it("lets one flow grow beside many that received a little just before", async (t) => {
    random(t);
    const { lab, near, far, a, b } = await pairs(600, 64 << 20, { delay: 10 });
    const requests = near.map((socket) => socket.write(CHUNK.subarray(0, 100)));
    const heard = far.map((socket) => socket.read(new Uint8Array(200)));
    await lab.run(200);
    await Promise.all([...requests, ...heard]);
    const listener = b.listen({ port: 81 });
    const bulk = a.connect({ hostname: "10.0.0.2", port: 81 });
    await lab.run(100);
    void writeAll(await bulk, 10_000).catch(() => {});
    const reader = await listener.accept();
    let bytes = 0;
    void (async () => {
      const space = new Uint8Array(100_000);
      for (;;) bytes += (await reader.read(space)) ?? 0;
    })().catch(() => {});
    await lab.run(1000);
    // A window of its share alone, a slab, would be 0.8 MB a second.
    assert.ok(bytes > 5e6, `${bytes} bytes in a second`);
  });

  it("announces no window below two segments, however large they are: many flows over loopback", async (t) => {
    random(t);
    const lab = await Lab.create({ seed: SEED, memory: { appBytes: 16 << 20 } });
    const host = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const listener = host.listen({ port: 80, backlog: 100 });
    const flows = Promise.all(
      Array.from({ length: 70 }, async () => {
        const near = host.connect({ hostname: "127.0.0.1", port: 80 });
        const far = await listener.accept();
        void near.then((socket) => writeAll(socket, 20));
        return readAll(far);
      }),
    );
    let got: number[] | undefined;
    void flows.then((bytes) => {
      got = bytes;
    });
    for (let i = 0; i < 100 && !got; i++) await lab.run(100);
    assert.deepEqual(got, Array(70).fill(1_000_000));
  });

  it("is borrowed again when those who had it are idle", async (t) => {
    random(t);
    const { lab, near, far } = await pairs(8, 4 << 20, { delay: 25 });
    const times: number[] = [];
    for (const [i, socket] of near.entries()) {
      const start = lab.clock.now();
      let isThere = false;
      const written = socket.write(new Uint8Array(20_000_000));
      const read = (async () => {
        const space = new Uint8Array(100_000);
        for (let bytes = 0; bytes < 20_000_000; ) bytes += (await far[i].read(space)) ?? 0;
        isThere = true;
      })();
      for (let k = 0; k < 1000 && !isThere; k++) await lab.run(100);
      await Promise.all([written, read]);
      times.push(lab.clock.now() - start);
      await lab.run(6000);
    }
    assert.ok(Math.max(...times) < 1.5 * Math.min(...times), `milliseconds for each in turn: ${times}`);
  });

  it("gives up what came early for what comes next", async (t) => {
    random(t);
    const { lab, b, server } = await inState("ESTABLISHED", SEED);
    const tcb = server as Tcb;
    const start = tcb.received;
    const segment = (offset: number, payload: Uint8Array) => {
      const options = new Uint8Array(12);
      new DataView(options.buffer).setUint32(0, 0x0101080a);
      new DataView(options.buffer).setUint32(4, tcb.tsRecent >>> 0);
      inject(b, {
        sourcePort: 4000,
        destinationPort: 80,
        sequence: (start + offset) >>> 0,
        acknowledgement: tcb.nxt >>> 0,
        flags: 0x10,
        options,
        payload,
      });
      lab.settle();
    };
    const { slabs } = lab.engine;
    // All that there is, but one slab: it goes to what came early.
    const others: number[] = [];
    while (slabs.available > 1) others.push(slabs.take("receiving"));
    segment(20_000, CHUNK.subarray(0, 1000));
    assert.equal(tcb.flight.early.length, 1);
    assert.equal(slabs.available, 0);
    segment(0, CHUNK.subarray(0, 1000));
    assert.equal(user.readable(tcb), 1000);
    assert.equal(b.tcp.counters.ofo_pruned, 1);
    assert.equal(tcb.flight.early.length, 0);
    assert.equal(tcb.received, (start + 1000) | 0);
    // There is none for this, and nothing to give up: it is counted, and may come again.
    segment(20_000, CHUNK.subarray(0, 1000));
    assert.equal(b.tcp.counters.memory_drops, 1);
    for (const slab of others) slabs.give(slab, "receiving");
    segment(1000, CHUNK.subarray(0, 1000));
    assert.equal(user.readable(tcb), 2000);
  });

  it("is divided by what each direction may hold", async () => {
    const engine = await Engine.create({ ports: 1, tables: 2, appBytes: 100 * (SLAB_BYTES + 64) });
    const { slabs } = engine;
    assert.equal(slabs.total, 100);
    const taken: number[] = [];
    for (let slab = slabs.take("sending"); slab !== 0; slab = slabs.take("sending")) taken.push(slab);
    assert.equal(taken.length, 50);
    assert.equal(slabs.sendRoom, 0);
    // What is sent leaves half: a quarter is anybody's, the other is there to be borrowed.
    assert.equal(slabs.borrow(1 << 30), 25 * SLAB_BYTES);
    assert.equal(slabs.borrow(1), 0);
    for (const slab of taken) slabs.give(slab, "sending");
    assert.equal(slabs.borrow(1 << 30), 25 * SLAB_BYTES);
    assert.equal(slabs.sendRoom, 25);
    slabs.repay(50 * SLAB_BYTES);
    assert.equal(slabs.sendRoom, 50);
    // The share falls with those who receive, down to a slab, and rises when they have not been heard of for two seconds.
    assert.equal(slabs.share, 8 * SLAB_BYTES);
    let period = slabs.countArrival(-1, 1000);
    assert.equal(slabs.countArrival(period, 1500), period);
    assert.equal(slabs.share, 8 * SLAB_BYTES);
    for (let i = 0; i < 4; i++) slabs.countArrival(-1, 1500);
    assert.equal(slabs.share, 4 * SLAB_BYTES);
    for (let i = 0; i < 95; i++) slabs.countArrival(-1, 1500);
    assert.equal(slabs.share, SLAB_BYTES);
    period = slabs.countArrival(period, 2500);
    assert.equal(slabs.share, SLAB_BYTES);
    slabs.countArrival(period, 5000);
    assert.equal(slabs.share, 8 * SLAB_BYTES);
    await engine.close();
  });

  it("keeps no more for connections that are gone than for none", async (t) => {
    random(t);
    const { lab, near, far } = await pairs(10, 8 << 20, { delay: 10 });
    const read = Promise.all(far.map(readAll));
    for (const socket of near) void writeAll(socket, 40);
    await lab.run(60_000);
    assert.deepEqual(await read, Array(10).fill(2_000_000));
    for (const socket of far) void socket.closeWrite();
    await lab.run(70_000);
    const { slabs } = lab.engine;
    assert.equal(slabs.available, slabs.total);
    assert.equal(slabs.borrow(1 << 30), Math.floor(slabs.total / 2) * SLAB_BYTES);
    slabs.countArrival(-1, Number.MAX_SAFE_INTEGER);
    assert.equal(slabs.firstShare, 8 * SLAB_BYTES);
  });
});
