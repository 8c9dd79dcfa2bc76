/** Bursts of many flows, known and new, of both families, in a small table and in one that no cache holds, against plain counting. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { VirtualClock } from "../src/base/clock.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Random } from "../src/index.ts";
import { Conntrack } from "../src/track/index.ts";
import {
  ETHERTYPE,
  EXTENSION,
  type Ipv6Extension,
  l4Checksum,
  PROTOCOL,
  serializeEthernet,
  serializeIpv4,
  serializeIpv6,
  serializeTcp,
  serializeUdp,
} from "../src/wire/index.ts";
import { BUILDS, engineOf, mac, random } from "./support.ts";
import { ACK, ROUTER, RST, SYN } from "./track-rig.ts";

/** A destination option of padding alone (RFC 8200 §4.2): the transport header stands eight bytes further on. */
const PADDING: Ipv6Extension = { type: EXTENSION.destination, bytes: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) };

interface Flow {
  readonly ends: readonly [client: IpAddress, server: IpAddress];
  readonly ports: readonly [client: number, server: number];
  readonly protocol: number;
  /** Packets that were sent: from the client, from the server. */
  readonly packets: [number, number];
}

function message({ ends, ports, protocol, packets }: Flow, way: 0 | 1): Uint8Array {
  const [source, destination] = way === 0 ? ends : [ends[1], ends[0]];
  const [sourcePort, destinationPort] = way === 0 ? ports : [ports[1], ports[0]];
  const between = { source: source.bytes(), destination: destination.bytes() };
  if (protocol === PROTOCOL.udp) return serializeUdp({ sourcePort, destinationPort, payload: new Uint8Array(4) }, between);
  const opens = packets[way] === 0;
  const flags = opens ? (way === 0 ? SYN : SYN | ACK) : ACK;
  const sequence = opens ? 100 : 101;
  const rest = { window: 1000, options: new Uint8Array(), payload: new Uint8Array(), urgentPointer: 0 };
  return serializeTcp({ sourcePort, destinationPort, flags, sequence, acknowledgement: flags === SYN ? 0 : 101, ...rest }, between);
}

function frame(flow: Flow, way: 0 | 1, chance: Random): Uint8Array {
  const [source, destination] = way === 0 ? flow.ends : [flow.ends[1], flow.ends[0]];
  const packet = { protocol: flow.protocol, payload: message(flow, way) };
  const is4 = source.family === 4;
  const extensions = chance.below(8) === 0 ? [PADDING] : [];
  const bytes = is4
    ? serializeIpv4({ ...packet, source: source.v4 >>> 0, destination: destination.v4 >>> 0 })
    : serializeIpv6({ ...packet, source: source.bytes(), destination: destination.bytes(), extensions });
  return serializeEthernet({
    destination: ROUTER[way],
    source: mac(50 + way),
    type: is4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6,
    payload: bytes,
  });
}

/** Clients at port 0, servers at port 1, a router between them that follows flows of both families. */
async function tracker(build: "shared" | "plain", flows: number) {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 2, flows, clock });
  const tables = { table4: engine.createTable(4), table6: engine.createTable(6) };
  const sides = [
    ["10.0.0.0/8", "20.0.0.0/8"],
    ["2001:db8:a::/48", "2001:db8:b::/48"],
  ];
  for (const [i, table] of [tables.table4, tables.table6].entries()) {
    for (const port of [0, 1]) {
      table.set(sides[i][port], table.addNextHop({ kind: "forward", port, destinationMac: mac(1 + port), sourceMac: ROUTER[port] }));
    }
  }
  const network = engine.createNetwork().configure({ track: true });
  for (const p of [0, 1]) {
    engine.port(p).configure(tables);
    network.add(engine.port(p));
  }
  return { engine, conntrack: new Conntrack(engine) };
}

/** A flow that there is not yet. */
function invent(chance: Random, serial: number): Flow {
  const hosts = [serial % 251, chance.below(250)].map((host) => host + 1);
  const ends =
    chance.below(2) === 0 ? [`10.0.0.${hosts[0]}`, `20.0.0.${hosts[1]}`] : [`2001:db8:a::${hosts[0]}`, `2001:db8:b::${hosts[1]}`];
  return {
    ends: [IpAddress.parse(ends[0]), IpAddress.parse(ends[1])],
    ports: [1 + serial, 1 + chance.below(9)],
    protocol: chance.below(2) === 0 ? PROTOCOL.udp : PROTOCOL.tcp,
    packets: [0, 0],
  };
}

const keyOf = ({ ends, ports, protocol }: Flow) => `${ends[0]} ${ends[1]} ${ports} ${protocol}`;

for (const build of BUILDS) {
  for (const room of [1500, 50_000]) {
    describe(`bursts through a table of ${room} flows (${build})`, () => {
      it("meet the flows that they belong to, each packet once", async (t) => {
        const { engine, conntrack } = await tracker(build, room);
        const chance = random(t);
        const flows: Flow[] = [];
        let sent = 0;
        let passed = 0;
        for (let round = 0; round < 60; round++) {
          for (const way of [0, 1] as const) {
            for (let i = 0; i < 200; i++) {
              const isNew = way === 0 && (flows.length === 0 || (flows.length < 1200 && chance.below(4) === 0));
              const flow = isNew ? invent(chance, flows.length) : flows[chance.below(flows.length)];
              if (isNew) flows.push(flow);
              // A client waits for the answer to its SYN, a server for what opens the handshake's third step.
              const { protocol, packets } = flow;
              if (protocol === PROTOCOL.tcp && packets[1] === 0 && packets[0] > 0 && way === 0) continue;
              engine.port(way).receive(frame(flow, way, chance));
              packets[way]++;
              sent++;
            }
            engine.poll();
            for (const port of [0, 1]) engine.port(port).transmitted(() => passed++);
          }
        }
        assert.equal(passed, sent);
        const known = new Map(flows.map((flow) => [keyOf(flow), flow.packets]));
        let listed = 0;
        for (const { original, reply, protocol } of conntrack.list()) {
          const ends = `${original.src} ${original.dst} ${original.sport},${original.dport} ${protocol}`;
          assert.deepEqual([original.packets, reply.packets], known.get(ends), ends);
          listed++;
        }
        assert.equal(listed, flows.length);
        assert.equal(conntrack.stats().invalid, 0);
        await engine.close();
      });
    });
  }
}

describe("a burst of packets", () => {
  const ends = [IpAddress.parse("2001:db8:a::1"), IpAddress.parse("2001:db8:b::1")] as const;
  const between = { source: ends[0].bytes(), destination: ends[1].bytes() };
  const framed = (protocol: number, payload: Uint8Array, padding: readonly number[] = []) => {
    const packet = serializeIpv6({ protocol, payload, ...between });
    return Uint8Array.of(
      ...serializeEthernet({ destination: ROUTER[0], source: mac(50), type: ETHERTYPE.ipv6, payload: packet }),
      ...padding,
    );
  };
  const segment = (flags: number, sequence: number, acknowledgement = 0) => {
    const rest = { window: 1000, options: new Uint8Array(), payload: new Uint8Array(), urgentPointer: 0 };
    return framed(PROTOCOL.tcp, serializeTcp({ sourcePort: 1, destinationPort: 2, flags, sequence, acknowledgement, ...rest }, between));
  };

  it("behind one that ends their flow is tracked as if it came alone", async () => {
    const found: unknown[] = [];
    for (const together of [false, true]) {
      const { engine, conntrack } = await tracker("plain", 1500);
      for (const [i, frame] of [segment(SYN, 100), segment(RST, 101), segment(ACK, 101, 1)].entries()) {
        engine.port(0).receive(frame);
        if (i === 0 || !together) engine.poll();
      }
      engine.poll();
      found.push([[...conntrack.list()].map(({ state }) => state), conntrack.stats().invalid]);
      await engine.close();
    }
    assert.deepEqual(found[1], found[0]);
  });

  it("shorter than eight bytes above IP is of no flow: what lies behind them is no part of them", async () => {
    const { engine, conntrack } = await tracker("plain", 1500);
    for (let id = 1; id < 4; id++) {
      const echo = Uint8Array.of(128, 0, 0, 0);
      const sum = l4Checksum(between.source, between.destination, PROTOCOL.icmpv6, echo);
      echo.set([sum >> 8, sum & 255], 2);
      engine.port(0).receive(framed(PROTOCOL.icmpv6, echo, [id, id, id, id]));
      engine.port(0).receive(framed(33, new Uint8Array(), [id, id, id, id, 0, 0, 0, 0]));
    }
    engine.poll();
    assert.equal(conntrack.count, 0);
    assert.equal(conntrack.stats().invalid, 6);
    await engine.close();
  });
});
