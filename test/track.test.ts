/** Connection tracking: the table under load against a plain Map, the states that packets go through, and times. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { VirtualClock } from "../src/base/clock.ts";
import type { Engine, Random } from "../src/index.ts";
import { Conntrack, flowText } from "../src/track/index.ts";
import { PROTOCOL, serializeIcmp } from "../src/wire/index.ts";
import { BUILDS, engineOf, mac, random, through } from "./support.ts";
import { ACK, FIN, frame, ROUTER, RST, SYN, tcp, udp } from "./track-rig.ts";

const CLIENT = 0x0a000001;
const SERVER = 0x14000001;

/** Two ports with a network that tracks: 10/8 behind the first, 20/8 behind the second. */
async function tracker(build: "shared" | "plain", flows = 1000, threads = 0) {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 2, threads, flows, flowEvents: 64, clock });
  const table4 = engine.createTable(4);
  table4.set("10.0.0.0/8", table4.addNextHop({ kind: "forward", port: 0, destinationMac: mac(1), sourceMac: ROUTER[0] }));
  table4.set("20.0.0.0/8", table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(2), sourceMac: ROUTER[1] }));
  const network = engine.createNetwork().configure({ track: true });
  for (const p of [0, 1]) {
    engine.port(p).configure({ table4 });
    network.add(engine.port(p));
  }
  return { engine, clock, conntrack: new Conntrack(engine) };
}

function segment(port: number, flags: number, sequence: number, acknowledgement: number, payload = new Uint8Array()): Uint8Array {
  const [source, destination] = port === 0 ? [CLIENT, SERVER] : [SERVER, CLIENT];
  return tcp(port, source, destination, { ports: port === 0 ? [1000, 80] : [80, 1000], flags, sequence, acknowledgement, payload });
}

const send = (engine: Engine, port: number, bytes: Uint8Array) => through(engine, [bytes], port).sent.length;

for (const build of BUILDS) {
  describe(`connection tracking (${build})`, () => {
    it("follows a TCP connection through its states", async () => {
      const { engine, conntrack } = await tracker(build);
      const steps: [number, Uint8Array, string][] = [
        [0, segment(0, SYN, 100, 0), "SYN_SENT"],
        [1, segment(1, SYN | ACK, 500, 101), "SYN_RECV"],
        [0, segment(0, ACK, 101, 501), "ESTABLISHED"],
        [0, segment(0, ACK, 101, 501, new Uint8Array(10)), "ESTABLISHED"],
        [0, segment(0, FIN | ACK, 111, 501), "FIN_WAIT"],
        [1, segment(1, ACK, 501, 112), "CLOSE_WAIT"],
        [1, segment(1, FIN | ACK, 501, 112), "LAST_ACK"],
        [0, segment(0, ACK, 112, 502), "TIME_WAIT"],
      ];
      for (const [port, bytes, state] of steps) {
        assert.equal(send(engine, port, bytes), 1);
        const [flow, ...others] = [...conntrack.list()];
        assert.deepEqual([flow.state, others.length], [state, 0]);
      }
      const [flow] = [...conntrack.list()];
      assert.equal(flow.isAssured, true);
      assert.equal(flow.original.packets + flow.reply.packets, steps.length);
      assert.match(flowText(flow), /^ipv4 {5}2 tcp {6}6 1\d\d TIME_WAIT src=10\.0\.0\.1 dst=20\.0\.0\.1 sport=1000 dport=80 packets=5/);
      // As the kernel tells of them: an event for each packet that changes the state or what is known of it.
      assert.deepEqual(
        [...conntrack.events()].map(({ kind, state, status }) => `${kind} ${state}${status & abi.IPS_ASSURED ? " assured" : ""}`),
        [
          "new SYN_SENT",
          "update SYN_RECV",
          "update ESTABLISHED assured",
          "update FIN_WAIT assured",
          "update CLOSE_WAIT assured",
          "update LAST_ACK assured",
          "update TIME_WAIT assured",
        ],
      );
    });

    it("takes a reset as the only answer for the end", async () => {
      const { engine, conntrack } = await tracker(build);
      send(engine, 0, segment(0, SYN, 100, 0));
      assert.equal(send(engine, 1, segment(1, RST | ACK, 0, 101)), 1);
      assert.equal(conntrack.count, 0);
    });

    it("ends flows in their time, by protocol and state", async () => {
      const { engine, clock, conntrack } = await tracker(build);
      send(engine, 0, udp(0, CLIENT, SERVER, 5000, 53));
      assert.match(flowText([...conntrack.list()][0]), /^ipv4 {5}2 udp {6}17 \d+ .*\[UNREPLIED\]/);
      clock.advance(29_000);
      engine.poll();
      assert.equal(conntrack.count, 1);
      send(engine, 1, udp(1, SERVER, CLIENT, 53, 5000));
      clock.advance(29_000);
      send(engine, 1, udp(1, SERVER, CLIENT, 53, 5000));
      const [flow] = [...conntrack.list()];
      assert.deepEqual([flow.isAssured, Math.round(flow.expiresMs / 1000)], [true, 120]);
      clock.advance(119_000);
      engine.poll();
      assert.equal(conntrack.count, 1);
      clock.advance(2_000);
      engine.poll();
      assert.deepEqual([conntrack.count, conntrack.stats().expired], [0, 1]);
    });

    it("tells echo requests apart by their identifier and knows their answers", async () => {
      const { engine, conntrack } = await tracker(build);
      const echo = (type: number, id: number) => serializeIcmp({ type, code: 0, rest: id << 16, payload: new Uint8Array(8) });
      send(engine, 0, frame(0, CLIENT, SERVER, PROTOCOL.icmp, echo(8, 7)));
      send(engine, 0, frame(0, CLIENT, SERVER, PROTOCOL.icmp, echo(8, 9)));
      send(engine, 1, frame(1, SERVER, CLIENT, PROTOCOL.icmp, echo(0, 7)));
      const flows = [...conntrack.list()].sort((a, b) => (a.original.id as number) - (b.original.id as number));
      assert.deepEqual(
        flows.map(({ original, isReplied }) => [original.id, isReplied]),
        [
          [7, true],
          [9, false],
        ],
      );
    });

    it("lets unassured flows go when it is full, and never an assured one", async () => {
      const { engine, clock, conntrack } = await tracker(build, 64);
      for (let i = 0; i < 32; i++) {
        send(engine, 0, udp(0, CLIENT, SERVER, 10_000 + i, 53));
        send(engine, 1, udp(1, SERVER, CLIENT, 53, 10_000 + i));
      }
      clock.advance(3000);
      for (let i = 0; i < 32; i++) send(engine, 0, udp(0, CLIENT, SERVER, 10_000 + i, 53));
      let passed = 0;
      for (let i = 0; i < 1000; i++) passed += send(engine, 0, udp(0, CLIENT + 1 + i, SERVER, 4000, 53));
      const stats = conntrack.stats();
      assert.ok(passed > 900, `${passed} of 1000 new flows passed`);
      assert.equal(passed + stats.drop, 1000);
      assert.ok(stats.earlyDrop > 800 && conntrack.count <= 64);
      assert.equal([...conntrack.list()].filter((flow) => flow.isAssured).length, 32);
    });

    it("keeps every flow it was given and no other, through churn", async (t) => {
      const { engine, clock, conntrack } = await tracker(build, 5000);
      const chance: Random = random(t);
      const alive = new Map<string, number>();
      for (let round = 0; round < 60; round++) {
        const frames: Uint8Array[] = [];
        for (let i = 0; i < 200; i++) {
          const [client, port] = [CLIENT + chance.below(200), 1 + chance.below(60_000)];
          frames.push(udp(0, client, SERVER, port, 53));
          alive.set(`${client}:${port}`, clock.now() + 30_000);
        }
        for (const bytes of frames) engine.port(0).receive(bytes);
        engine.poll();
        engine.port(1).transmitted(() => {});
        clock.advance(chance.below(4000));
        engine.poll();
        for (const [key, until] of alive) if (until <= clock.now()) alive.delete(key);
        const listed = [...conntrack.list()].map(({ original }) => `${original.src.v4 >>> 0}:${original.sport}`);
        assert.equal(new Set(listed).size, listed.length, "a tuple is there twice");
        assert.deepEqual(listed.sort(), [...alive.keys()].sort());
      }
      assert.ok(conntrack.count > 500);
    });
  });
}

describe("records that a sleeping reader holds", () => {
  it("are missed by newcomers, which are counted, and paid for by no flow that lives", async (t) => {
    const { engine, conntrack } = await tracker("shared", 1000, 1);
    t.after(() => engine.close());
    engine.spreadQueues([0]);
    const { memory } = engine;
    const begin = (port: number) => send(engine, 0, udp(0, CLIENT, SERVER, port, 53));
    for (let i = 0; i < 100; i++) begin(1000 + i);
    // The other worker fell asleep within a burst; since then flows have come and gone.
    memory.setU32(memory.worker(1) + abi.WORKER_EPOCH, memory.getU32(abi.HEADER + abi.HEADER_EPOCH));
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      if (begin(2000 + i) === 0) refused++;
      else conntrack.delete({ sport: 2000 + i });
    }
    assert.ok(refused > 500 && refused < 1500, `${refused} of 3000 found no record`);
    assert.deepEqual([conntrack.count, conntrack.stats().earlyDrop], [100, 0]);
    assert.equal(engine.counters().drops.flow_table_full, refused);
    memory.setU32(memory.worker(1) + abi.WORKER_EPOCH, 0);
    assert.equal(begin(9000), 1);
  });
});
