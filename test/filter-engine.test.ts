/** Rules in the road of packets: an engine that forwards, tracks and translates, with rules compiled for its hooks. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { VirtualClock } from "../src/base/clock.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Engine } from "../src/engine/engine.ts";
import type { ChainSpec, Expression, RulesetSpec } from "../src/filter/expressions.ts";
import { Machine } from "../src/filter/machine/machine.ts";
import { addressBytes4, ETHERTYPE, PROTOCOL, serializeEthernet, serializeIpv4, serializeUdp } from "../src/wire/index.ts";
import { rulesetOf, tableOf } from "./filter-rig.ts";
import { BUILDS, engineOf, mac, through } from "./support.ts";

const CLIENT = 0x0a000001;
const SERVER = 0x14000001;
const OUTSIDE = 0x14000063;

async function router(build: "shared" | "plain") {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 2, flows: 1000, filterBytes: 1 << 20, clock });
  const table4 = engine.createTable(4);
  table4.set("10.0.0.0/8", table4.addNextHop({ kind: "forward", port: 0, destinationMac: mac(1), sourceMac: mac(10) }));
  table4.set("20.0.0.0/8", table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(2), sourceMac: mac(11) }));
  const network = engine.createNetwork().configure({ track: true, nat: true });
  for (const p of [0, 1]) {
    engine.port(p).configure({ table4 });
    network
      .add(engine.port(p))
      .describe(p, { name: p ? "wan0" : "lan0", index: p + 1, type: 1, address4: IpAddress.parse(p ? "20.0.0.99" : "10.0.0.254") });
  }
  return { engine, clock, machine: new Machine(engine, network) };
}

function udp(port: number, source: number, destination: number, sourcePort: number, destinationPort: number): Uint8Array {
  const addresses = { source: addressBytes4(source), destination: addressBytes4(destination) };
  const payload = serializeUdp({ sourcePort, destinationPort, payload: new Uint8Array(8) }, addresses);
  const packet = serializeIpv4({ protocol: PROTOCOL.udp, source, destination, payload });
  return serializeEthernet({
    destination: Uint8Array.of(2, 0, 0, 0, 0, port),
    source: mac(50 + port),
    type: ETHERTYPE.ipv4,
    payload: packet,
  });
}

const sentBy = (engine: Engine, port: number, bytes: Uint8Array) => through(engine, [bytes], port).sent;
const passes = (engine: Engine, port: number, bytes: Uint8Array) => sentBy(engine, port, bytes).length === 1;
const u32 = (bytes: Uint8Array, at: number) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
const u16 = (bytes: Uint8Array, at: number) => new DataView(bytes.buffer, bytes.byteOffset).getUint16(at);

const state = (bits: number): Expression[] => [
  { op: "ct", dreg: 1, key: "state" },
  { op: "bitwise", sreg: 1, dreg: 1, len: 4, mask: Uint8Array.of(bits, 0, 0, 0), xor: new Uint8Array(4) },
  { op: "cmp", sreg: 1, cmp: "neq", data: new Uint8Array(4) },
];
const dport = (to: number): Expression[] => [
  { op: "meta", dreg: 1, key: "l4proto" },
  { op: "cmp", sreg: 1, cmp: "eq", data: Uint8Array.of(17) },
  { op: "payload", dreg: 1, base: "transport", offset: 2, len: 2 },
  { op: "cmp", sreg: 1, cmp: "eq", data: Uint8Array.of(to >> 8, to) },
];
const from = (name: string): Expression[] => [
  { op: "meta", dreg: 1, key: "iifname" },
  { op: "cmp", sreg: 1, cmp: "eq", data: Uint8Array.from({ length: 16 }, (_, i) => name.charCodeAt(i) || 0) },
];
const accept: Expression = { op: "verdict", verdict: { code: "accept" } };
const counter: Expression = { op: "counter", packets: 0, bytes: 0 };

function chain(name: string, base: ChainSpec["base"], ...rules: Expression[][]): ChainSpec {
  return { name, base, rules: rules.map((expressions, i) => ({ handle: i + 1, expressions })) };
}
const forward = (...rules: Expression[][]) => chain("forward", { type: "filter", hook: "forward", priority: 0, policy: "drop" }, ...rules);
const firewall = (...more: Expression[][]): RulesetSpec =>
  rulesetOf(
    tableOf([], {
      family: "ip",
      chains: [forward([...state(2 | 4), counter, accept], [...from("lan0"), ...state(8), ...dport(53), accept], ...more)],
    }),
  );

for (const build of BUILDS) {
  describe(`rules in an engine (${build})`, () => {
    it("let answers in and nothing else", async () => {
      const { engine, machine } = await router(build);
      machine.load(firewall());
      assert.ok(!passes(engine, 1, udp(1, SERVER, CLIENT, 53, 1000)), "nobody asked yet");
      assert.ok(!passes(engine, 0, udp(0, CLIENT, SERVER, 1000, 80)), "not to that port");
      assert.ok(passes(engine, 0, udp(0, CLIENT, SERVER, 1000, 53)));
      assert.ok(passes(engine, 1, udp(1, SERVER, CLIENT, 53, 1000)));
      assert.ok(passes(engine, 0, udp(0, CLIENT, SERVER, 1000, 53)));
      assert.ok(!passes(engine, 1, udp(1, SERVER, CLIENT, 53, 1001)));
      assert.equal(machine.counters()[0].packets, 2);
      assert.equal(engine.counters().drops.filter, 3);
      machine.flush();
      assert.ok(passes(engine, 1, udp(1, SERVER, CLIENT, 53, 1001)), "without rules everything passes");
      assert.equal(engine.pool("buffers").inFlight, 0);
      await engine.close();
    });

    it("translate the first packet's flow, and all that follow it", async () => {
      const { engine, machine } = await router(build);
      const postrouting = chain("post", { type: "nat", hook: "postrouting", priority: 100, policy: "accept" }, [
        { op: "meta", dreg: 1, key: "oifname" },
        { op: "cmp", sreg: 1, cmp: "eq", data: Uint8Array.from({ length: 16 }, (_, i) => "wan0".charCodeAt(i) || 0) },
        counter,
        { op: "masq", flags: 0 },
      ]);
      const prerouting = chain("pre", { type: "nat", hook: "prerouting", priority: -100, policy: "accept" }, [
        ...from("wan0"),
        ...dport(8080),
        { op: "immediate", dreg: 1, data: Uint8Array.of(10, 0, 0, 5) },
        { op: "immediate", dreg: 2, data: Uint8Array.of(0, 80) },
        { op: "nat", kind: "dnat", family: 4, addrMin: 1, protoMin: 2, flags: 0 },
      ]);
      machine.load(rulesetOf(tableOf([], { family: "ip", chains: [postrouting, prerouting] })));
      for (let n = 0; n < 3; n++) {
        const [out] = sentBy(engine, 0, udp(0, CLIENT, SERVER, 1000, 53));
        assert.equal(u32(out.bytes, 26), OUTSIDE);
        const [back] = sentBy(engine, 1, udp(1, SERVER, OUTSIDE, 53, u16(out.bytes, 34)));
        assert.equal(back.port, 0);
        assert.equal(u32(back.bytes, 30), CLIENT);
        assert.equal(u16(back.bytes, 36), 1000);
      }
      assert.equal(machine.counters()[0].packets, 1, "the chain saw the first packet alone");
      const [inside] = sentBy(engine, 1, udp(1, SERVER, OUTSIDE, 4000, 8080));
      assert.deepEqual([u32(inside.bytes, 30), u16(inside.bytes, 36)], [0x0a000005, 80]);
      await engine.close();
    });

    it("give the host a copy of what they log", async () => {
      const { engine, machine } = await router(build);
      machine.load(firewall([counter, { op: "log", prefix: "refused: ", level: 4 }]));
      const seen: [string, unknown][] = [];
      engine.punted = (punt) => {
        seen.push([punt.reason, machine.statement(punt.nextHop)]);
        punt.release();
      };
      engine.port(0).receive(udp(0, CLIENT, SERVER, 1000, 80));
      engine.poll();
      assert.deepEqual(seen, [["log", { op: "log", prefix: "refused: ", level: 4 }]]);
      assert.equal(engine.pool("buffers").inFlight, 0);
      assert.equal(engine.pool("bare").inFlight, 0);
      await engine.close();
    });

    it("keep a mark on the connection", async () => {
      const { engine, machine } = await router(build);
      const mark = (value: number): Expression => ({ op: "immediate", dreg: 1, data: Uint8Array.of(value, 0, 0, 0) });
      const rules: Expression[][] = [
        [...state(8), mark(7), { op: "ct-set", sreg: 1, key: "mark" }],
        [{ op: "ct", dreg: 1, key: "mark" }, { op: "cmp", sreg: 1, cmp: "eq", data: Uint8Array.of(7, 0, 0, 0) }, counter, accept],
      ];
      machine.load(rulesetOf(tableOf([], { family: "ip", chains: [forward(...rules)] })));
      assert.ok(passes(engine, 0, udp(0, CLIENT, SERVER, 1000, 80)));
      assert.ok(passes(engine, 1, udp(1, SERVER, CLIENT, 80, 1000)));
      assert.equal(machine.counters()[0].packets, 2);
      await engine.close();
    });

    it("count connections at once, and forget those that ended", async () => {
      const { engine, machine, clock } = await router(build);
      machine.load(
        rulesetOf(tableOf([], { family: "ip", chains: [forward([...state(8), { op: "connlimit", count: 2, over: false }, accept])] })),
      );
      const open = (port: number) => passes(engine, 0, udp(0, CLIENT, SERVER, port, 80));
      assert.deepEqual([open(1), open(2), open(3)], [true, true, false]);
      // A UDP flow without an answer lives 30 seconds.
      await clock.advance(40_000);
      engine.poll();
      assert.deepEqual([open(4), open(5), open(6)], [true, true, false]);
      await engine.close();
    });
  });
}

it("a word for each segment names its function", async () => {
  const { engine, machine } = await router("plain");
  machine.load(firewall());
  const at = engine.memory.base(abi.REGION_NETNS) + abi.NETNS_PROGRAMS;
  const words = Array.from({ length: abi.SEGMENT_COUNT }, (_, s) => engine.memory.getU32(at + 4 * s) !== 0);
  assert.deepEqual(
    words.flatMap((on, s) => (on ? [s] : [])),
    [abi.SEGMENT_FORWARD],
  );
  await engine.close();
});
