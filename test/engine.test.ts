/** The engine as a program meets it: polling that yields and sleeps, threads, pairs, both builds. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Host } from "../src/host/host.ts";
import { attachGenerator, type Clock, Engine, generatorBytes, joinPorts, realClock } from "../src/index.ts";
import { plainFrame } from "./frames.ts";
import { engineOf, mac, through } from "./support.ts";

const DESTINATIONS = Uint32Array.of(0x0a000001, 0x0a000002);

async function loaded(options: Parameters<typeof engineOf>[1] = {}, workers = [0]): Promise<Engine> {
  const engine = await engineOf("shared", { generatorBytes: generatorBytes({ destinations: DESTINATIONS }, 4) + 4096, ...options });
  const table = engine.createTable(4);
  table.set("10.0.0.0/8", table.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2) }));
  engine.port(0).configure({ table4: table });
  attachGenerator(engine, engine.port(1), { family: 4, frameSize: 64, destinations: DESTINATIONS, count: 0n }, workers);
  attachGenerator(engine, engine.port(0), { family: 4, frameSize: 64, destinations: DESTINATIONS }, workers);
  return engine;
}

describe("polling", () => {
  it("gives the program's timers a turn after each slice of a millisecond, at full load", async () => {
    const [turns, naps]: number[][] = [[], []];
    let now = 0;
    // A clock that moves when it is looked at: slices are as long as the engine counts them.
    const clock: Clock = {
      now: () => (now += 1 / 64),
      sleep: (ms, keepAlive) => {
        naps.push(ms);
        return realClock.sleep(ms, keepAlive);
      },
      turn: (keepAlive) => {
        turns.push(now);
        return realClock.turn(keepAlive);
      },
    };
    const engine = await loaded({ clock });
    engine.start();
    // Ends only when timers get their turn.
    while (turns.length <= 20) await new Promise((resolve) => setTimeout(resolve, 1));
    const slices = turns.map((at, i) => at - turns[i - 1]).slice(1);
    await engine.stop();
    assert.ok(
      slices.every((length) => length > 0.9 && length < 1.5),
      `${slices}`,
    );
    assert.deepEqual(naps, []);
    assert.ok(engine.counters().stats.received > slices.length);
  });

  it("sleeps when idle, is seen to, and wakes for a device", async () => {
    const engine = await engineOf("plain", { tables: 0 });
    engine.start();
    while (engine.workerState(0) !== "sleeping") await new Promise((resolve) => setTimeout(resolve, 5));
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { user, system } = process.cpuUsage(before);
    assert.ok((user + system) / 1000 < 150, `${(user + system) / 1000} ms of CPU in 300 ms idle`);
    let polled = 0;
    engine.attach({ name: "probe", poll: () => (polled++ < 1 ? 1 : 0) });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(polled > 0);
    await engine.stop();
    assert.equal(engine.workerState(0), "stopped");
  });

  it("gives every port its turns, however many are busy", async () => {
    const PORTS = 40;
    const engine = await engineOf("shared", { ports: PORTS, buffers: 1 << 15, ringCapacity: 512 });
    const frame = plainFrame(mac(1));
    const fill = () => {
      for (let p = 0; p < PORTS; p++) while (engine.port(p).receive(frame));
    };
    for (let round = 0; round < 50; round++) {
      fill();
      engine.poll(1024);
    }
    // 50 × 1024 packets, four bursts of 256 at a time: 200 bursts, five for each port.
    const received = Array.from({ length: PORTS }, (_, p) => engine.port(p).counters().rxPackets);
    assert.deepEqual(received, Array(PORTS).fill(1280));
    await engine.close();
  });

  it("leaves what the host has no time for in its port's ring: who floods one port takes nothing from another", async () => {
    const engine = await engineOf("shared", {
      ports: 3,
      tables: 6,
      buffers: 8192,
      ringCapacity: 1024,
      puntCapacity: 512,
      appBytes: 1 << 20,
    });
    const host = (i: number) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.${i}.1/24`] }] });
    const [flooded, quiet] = [await host(0), await host(1)];
    const [a, b] = [flooded.datagram({ port: 2000 }), quiet.datagram({ port: 2000 })];
    const frames = [0, 1].map((i) => plainFrame(engine.port(i).macBytes, 0x0a000001 + 256 * i));
    let [heard, sent] = [0, 0];
    void (async () => {
      for (;;) heard += (await b.receive()).data.length > 0 ? 1 : 0;
    })().catch(() => {});
    for (let round = 0; round < 100; round++) {
      while (engine.port(0).receive(frames[0]));
      sent += engine.port(1).receive(frames[1]) ? 1 : 0;
      engine.poll();
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (let i = 0; i < 20; i++) {
      engine.poll();
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(sent, 100);
    assert.equal(heard, 100);
    assert.equal(engine.counters().drops.punt_ring_full ?? 0, 0);
    a.close();
    await engine.close();
  });

  it("stops, starts again and loses nothing", async () => {
    const engine = await loaded();
    for (let i = 0; i < 3; i++) {
      engine.start();
      await new Promise((resolve) => setTimeout(resolve, 20));
      await engine.stop();
    }
    const { stats, dropped, punted } = engine.counters();
    assert.equal(stats.generated, stats.sunk + dropped + punted);
    assert.equal(engine.pool().inFlight, 0);
  });
});

describe("threads", () => {
  it("forward over one memory, account for every packet, and sleep when there is nothing", async () => {
    const engine = await loaded({ threads: 2, buffers: 4096 }, [1, 2]);
    engine.start();
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(engine.workerState(1), "polling");
    await engine.stop();
    const { stats, dropped } = engine.counters();
    assert.ok(stats.generated > 100_000);
    assert.equal(stats.generated, stats.sunk + dropped);
    assert.equal(engine.pool().inFlight, 0);
    engine.port(0).configure({ up: false });
    engine.start();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(engine.workerState(1), "sleeping");
    await engine.close();
  });

  it("see route changes as the old or the new route, never a third thing", async () => {
    const engine = await loaded({ threads: 1, buffers: 2048, ports: 3 }, [1]);
    const table = (engine as unknown as { tables: import("../src/index.ts").RouteTable[] }).tables[0];
    const other = table.addNextHop({ kind: "forward", port: 2, destinationMac: mac(3), sourceMac: mac(2) });
    attachGenerator(engine, engine.port(2), { family: 4, frameSize: 64, destinations: DESTINATIONS, count: 0n, flows: 1 }, [1]);
    engine.start();
    for (let i = 0; i < 60_000; i++) {
      // The /8 always covers it; more specific routes of every kind of depth come and go.
      const length = [9, 18, 20, 24, 27, 32][i % 6];
      const prefix = { family: 4 as const, address: length === 32 ? 0x0a000001 : 0x0a000000, length };
      if (i % 2) table.set(prefix, other);
      else table.delete(prefix);
      if ((i & 1023) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await engine.stop();
    const { stats, dropped, punted } = engine.counters();
    assert.deepEqual([dropped, punted], [0, 0]);
    assert.equal(stats.generated, engine.port(1).counters().txPackets + engine.port(2).counters().txPackets);
    assert.ok(engine.port(2).counters().txPackets > 0);
    await engine.close();
  });

  it("spread received flows by RSS, each flow to one queue", async () => {
    const engine = await engineOf("shared", { threads: 2, spawn: async () => ({ end: async () => {}, failure: () => undefined }) });
    const { plane, memory } = engine;
    for (let i = 0; i < 200; i++) engine.port(0).receive(plainFrame(engine.port(0).macBytes, 0x0a000000 + (i % 50)));
    const queues = [0, 1, 2].map((w) => plane.ringUsed(memory.ring(0, w, false)));
    assert.equal(queues[0], 0);
    assert.equal(queues[1] + queues[2], 200);
    assert.ok(queues[1] > 40 && queues[2] > 40, queues.join());
    assert.equal(queues[1] % 4, 0, "the four packets of a flow are together");
  });

  it("need memory that can be shared", async () => {
    await assert.rejects(Engine.create({ build: "plain", threads: 1 }), /threads need the shared build/);
  });
});

describe("pairs", () => {
  it("carry packets between two ports without a copy, chains and all", async () => {
    const engine = await engineOf("plain", { ports: 4 });
    const table = engine.createTable(4);
    table.set(
      "10.0.0.0/8",
      table.addNextHop({ kind: "forward", port: 1, destinationMac: engine.port(2).macBytes, sourceMac: engine.port(1).macBytes }),
    );
    const second = engine.createTable(4);
    second.set("10.0.0.0/8", second.addNextHop({ kind: "forward", port: 3, destinationMac: mac(1), sourceMac: mac(2) }));
    engine.port(0).configure({ table4: table });
    engine.port(2).configure({ table4: second });
    joinPorts(engine, engine.port(1), engine.port(2));
    const { sent } = through(engine, [plainFrame(engine.port(0).macBytes)]);
    assert.equal(sent.length, 1);
    assert.equal(sent[0].port, 3);
    assert.equal(sent[0].bytes[22], 62, "two routers took one from the TTL each");
    assert.equal(engine.counters().stats.copied_bytes, 0);
    assert.throws(() => joinPorts(engine, engine.port(1), engine.port(1)), /joined to itself/);
  });
});

describe("settings", () => {
  it("answer mistakes with a sentence", async () => {
    const engine = await engineOf("plain");
    assert.throws(() => engine.port(9), /there is no port 9; this engine has ports 0 to 1/);
    assert.throws(() => engine.port(0).configure({ mac: "zz" }), /"zz" is not a MAC address/);
    assert.throws(() => engine.port(0).configure({ mac: "01:00:00:00:00:01" }), /a group address/);
    assert.throws(() => engine.port(0).configure({ mtu: 10 }), /mtu is 10; expected/);
    assert.throws(() => engine.createBridge(), /raise bridges/);
    const table = engine.createTable(4);
    assert.throws(
      () => table.addNextHop({ kind: "forward", port: 7, destinationMac: mac(1), sourceMac: mac(1) }),
      /port 7; expected 0 to 1/,
    );
    assert.throws(() => table.addNextHop({ kind: "group", members: [] }), /at least one member/);
    assert.throws(() => table.addNextHop({ kind: "group", members: [{ hop: 5 }] }), /group member 5 is no next hop/);
    assert.throws(() => table.setNextHop(5, { kind: "local" }), /no next hop 5/);
    assert.throws(() => table.lookup("300.1.1.1"), /"300.1.1.1" is not an IPv4 address/);
  });
});
