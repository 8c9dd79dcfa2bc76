/** Floods and sieges: more than a host can keep, by those who never meant it. What it keeps stays bounded, and honest peers get through. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Host } from "../src/host/host.ts";
import { Engine, Random } from "../src/index.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { addressBytes4, ETHERTYPE, PROTOCOL, serializeEthernet, serializeIpv4, serializeIpv6, serializeTcp } from "../src/wire/index.ts";
import { A, B, inject, inState, twoHosts } from "./attack-support.ts";
import { SEED } from "./support.ts";

const OTHER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 9);

/** A SYN to port 80 of B from anywhere. */
function synFrame(random: Random, mac: Uint8Array): Uint8Array {
  const source = 0x0a000100 + random.below(0xfeff00);
  const segment = {
    sourcePort: 1024 + random.below(60_000),
    destinationPort: 80,
    sequence: random.u32(),
    acknowledgement: 0,
    flags: 2,
    window: 65_535,
    urgentPointer: 0,
    options: Uint8Array.of(2, 4, 5, 0xb4),
    payload: new Uint8Array(0),
  };
  const payload = serializeTcp(segment, { source: addressBytes4(source), destination: addressBytes4(B) });
  const packet = serializeIpv4({ protocol: 6, source, destination: B, payload });
  return serializeEthernet({ destination: mac, source: OTHER_MAC, type: ETHERTYPE.ipv4, payload: packet });
}

/** One piece of an IP packet that never becomes whole. */
function fragment(random: Random, family: 4 | 6): Uint8Array {
  const payload = random.fill(new Uint8Array(8 * (1 + random.below(4))));
  const fragmentOffset = 8 * random.below(1000);
  if (family === 4) {
    const source = 0x0a000100 + random.below(0xfeff00);
    return serializeIpv4({ protocol: 17, source, destination: B, id: random.below(65_536), moreFragments: true, fragmentOffset, payload });
  }
  const bytes = random.fill(new Uint8Array(8));
  bytes[0] = 17;
  bytes[1] = 0;
  bytes[2] = fragmentOffset >>> 8;
  bytes[3] = (fragmentOffset & 0xf8) | 1;
  const source = random.fill(IpAddress.parse("2001:db8::").bytes().slice());
  source.set(IpAddress.parse("2001:db8::").bytes().subarray(0, 8));
  const destination = IpAddress.parse("2001:db8::2").bytes();
  return serializeIpv6({ protocol: PROTOCOL.udp, source, destination, extensions: [{ type: 44, bytes }], payload });
}

describe("floods", () => {
  it("SYNs as fast as the engine takes them, in real time: honest handshakes finish, memory stays flat", async (t) => {
    const engine = await Engine.create({ ports: 2, tables: 4, buffers: 8192, ringCapacity: 2048, appBytes: 16 << 20, nextHops: 2048 });
    const make = (i: number) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/8`] }] });
    const [a, b] = [await make(0), await make(1)];
    t.after(() => engine.close());
    // One wire for everybody: what a sends stands in the same queue as the flood. Of what b sends a gets what is addressed to it, not the questions
    // for all the flood's senders: broadcasts at this rate are another attack (and told apart by all six bytes, since a MAC may end in ff).
    const isForA = (frame: Uint8Array) => engine.port(0).macBytes.every((byte, i) => frame[i] === byte);
    const random = new Random(SEED);
    const frames = Array.from({ length: 4096 }, () => synFrame(random, engine.port(1).macBytes));
    let floods = 0;
    let flooding = true;
    engine.attach({
      name: "wire",
      poll: () => {
        const moved = engine.port(0).transmitted((frame) => void engine.port(1).receive(frame));
        const back = engine.port(1).transmitted((frame) => void (isForA(frame) && engine.port(0).receive(frame)));
        for (let i = 0; flooding && i < 256; i++) engine.port(1).receive(frames[floods++ & 4095]);
        return moved + back + (flooding ? 1 : 0);
      },
    });
    const listener = b.listen({ port: 80, backlog: 1000 });
    engine.start();
    const times: number[] = [];
    const start = performance.now();
    const honest = Array.from({ length: 100 }, async (_, i) => {
      await new Promise((resolve) => setTimeout(resolve, 10 * i));
      const begun = performance.now();
      const socket = await a.connect({ hostname: "10.0.0.2", port: 80, signal: AbortSignal.timeout(3000) });
      times.push(performance.now() - begun);
      return socket;
    });
    await Promise.allSettled(honest);
    const rate = floods / (performance.now() - start);
    flooding = false;
    t.diagnostic(`${rate.toFixed(0)} thousand SYNs a second; slowest handshake ${Math.max(...times).toFixed(0)} ms`);
    assert.ok(times.filter((ms) => ms < 3000).length >= 99, `${times.length} handshakes`);
    assert.ok(b.tcp.size <= 1024 + 100, `${b.tcp.size} connections are kept`);
    assert.ok(b.ip.neighbours.list().length <= 1024, "neighbours are bounded");
    assert.equal(engine.slabs.total - engine.slabs.available, 0, "no slab is held");
    listener.close();
  });

  for (const family of [4, 6] as const) {
    it(`IPv${family} fragments of packets that never become whole: a bound, and honest ones get through when it is over`, async () => {
      const { lab, a, b } = await twoHosts(SEED);
      a.addAddress("eth0", "2001:db8::1/64");
      b.addAddress("eth0", "2001:db8::2/64");
      await lab.run(3000);
      const { port, mac } = b.ip.interface("eth0");
      const random = new Random(SEED);
      const type = family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
      for (let i = 0; i < 30_000; i++) {
        port.receive(serializeEthernet({ destination: mac, source: OTHER_MAC, type, payload: fragment(random, family) }));
        if (i % 100 === 99) lab.settle();
      }
      assert.ok(b.ip.reassembly.size <= 1024, `${b.ip.reassembly.size} packets are waited for`);
      assert.equal(lab.engine.pool().inFlight, 0, "fragments hold no buffers");
      await lab.run(70_000);
      assert.equal(b.ip.reassembly.size, 0);
      let bytes = 0;
      a.ping(family === 4 ? "10.0.0.2" : "2001:db8::2", { size: 5000 }).then((reply) => {
        bytes = reply.bytes;
      });
      await lab.run(1000);
      assert.equal(bytes, 5000);
    });
  }

  it("neighbours who introduce themselves by the thousand: a bound, and the one in use stays", async () => {
    const { lab, a, b } = await twoHosts(SEED);
    const { port, mac } = b.ip.interface("eth0");
    const random = new Random(SEED);
    const listener = b.tcp.listen(undefined, 80);
    const client = a.tcp.connect(IpAddress.v4(B), 80);
    await lab.run(100);
    const server = listener.accept() as Tcb;
    for (let i = 0; i < 3000; i++) {
      // An ARP request for us, from a sender who may be anybody (RFC 826: it is worth remembering).
      const payload = Uint8Array.of(
        0,
        1,
        8,
        0,
        6,
        4,
        0,
        1,
        2,
        1,
        1,
        1,
        i >> 8,
        i & 255,
        10,
        0,
        1 + (random.u32() & 127),
        1 + (random.u32() & 127),
        0,
        0,
        0,
        0,
        0,
        0,
        10,
        0,
        0,
        2,
      );
      port.receive(serializeEthernet({ destination: mac, source: payload.slice(8, 14), type: ETHERTYPE.arp, payload }));
      if (i % 50 === 49) lab.settle();
    }
    assert.ok(b.ip.neighbours.list().length <= 1024, `${b.ip.neighbours.list().length} neighbours`);
    user.write(server, new Uint8Array(100_000));
    await lab.run(500);
    assert.equal(user.readable(client), 100_000);
  });

  it("land: a SYN from the host to itself, in every state of a listener", async () => {
    const { lab, b } = await twoHosts(SEED);
    b.tcp.listen(undefined, 80);
    for (let i = 0; i < 100; i++) inject(b, { sourcePort: 80, destinationPort: 80, sequence: 1000 + i, flags: 2 }, B);
    await lab.run(300_000);
    assert.equal(b.tcp.size, 0, "nothing is left of it");
    assert.equal(lab.engine.pool().inFlight, 0);
  });

  it("teardrop: fragments inside and across each other, ends that contradict, lengths beyond 65,535", async () => {
    const { lab, a, b } = await twoHosts(SEED);
    const { port, mac } = b.ip.interface("eth0");
    const send = (id: number, fragmentOffset: number, length: number, moreFragments: boolean) => {
      const payload = serializeIpv4({
        protocol: 17,
        source: A,
        destination: B,
        id,
        moreFragments,
        fragmentOffset,
        payload: new Uint8Array(length),
      });
      port.receive(serializeEthernet({ destination: mac, source: OTHER_MAC, type: ETHERTYPE.ipv4, payload }));
      lab.settle();
    };
    const random = new Random(SEED);
    for (let id = 1; id < 2000; id++) {
      send(id, 0, 40, true);
      send(id, 24, 4, false);
      send(id, 8 * random.below(8191), 8 * random.below(100), random.below(2) === 1);
      send(id, 65_528, 1000, false);
    }
    await lab.run(70_000);
    assert.equal(b.ip.reassembly.size, 0);
    assert.equal(b.ip.reassembly.counters.reasm_oks, 0);
    let bytes = 0;
    a.ping("10.0.0.2", { size: 3000 }).then((reply) => {
      bytes = reply.bytes;
    });
    await lab.run(1000);
    assert.equal(bytes, 3000);
  });
});

describe("sieges", () => {
  /** A client that completes handshakes with a window of zero and keeps acknowledging probes, as sockstress does. */
  async function besieged(count: number, bytes: number) {
    const hosts = await twoHosts(SEED);
    const { lab, a, b } = hosts;
    const listener = b.tcp.listen(undefined, 80, 4096);
    const servers: Tcb[] = [];
    listener.onConnection = () => {
      const tcb = listener.accept() as Tcb;
      servers.push(tcb);
      const page = new Uint8Array(bytes);
      let sent = 0;
      const pump = () => {
        while (sent < bytes) {
          const n = user.write(tcb, page.subarray(sent));
          sent += n;
          if (n === 0) return;
        }
        user.close(tcb);
      };
      tcb.events = { writable: pump };
      pump();
    };
    const clients: Tcb[] = [];
    for (let i = 0; i < count; i++) clients.push(a.tcp.connect(IpAddress.v4(B), 80, {}, { receiveBuffer: 2000, windowScaling: false }));
    await lab.run(2000);
    return { ...hosts, servers, clients };
  }

  it("windows that stay at zero: closed connections are given up in bounded time, however often the peer answers", async () => {
    const { lab, b, servers, clients } = await besieged(200, 50_000);
    assert.equal(servers.length, 200);
    // Two minutes of probes (Linux: tcp_orphan_retries) and the longest back-off.
    await lab.run(600_000);
    assert.equal(b.tcp.size, 0, `${b.tcp.size} connections are still held`);
    for (const client of clients) user.close(client);
    assert.equal(lab.engine.slabs.available, lab.engine.slabs.total, "slabs");
  });

  it("readers of a byte a second hold what their window holds, and no more", async () => {
    const { lab, a, clients } = await besieged(100, 1_000_000);
    const one = new Uint8Array(1);
    for (let i = 0; i < 20; i++) {
      for (const client of clients) user.read(client, one);
      await lab.run(1000);
    }
    const held = lab.engine.slabs.total - lab.engine.slabs.available;
    assert.ok(held <= 100 * (262_144 / 16_384 + 2), `${held} slabs`);
    for (const client of clients) user.close(client);
    await lab.run(200_000);
    assert.equal(a.tcp.size, 0);
  });

  it("handshakes that nobody accepts wait up to the backlog, with no more data than a window each", async () => {
    const { lab, a, b } = await twoHosts(SEED);
    const listener = b.tcp.listen(undefined, 80, 50);
    for (let i = 0; i < 200; i++) {
      const tcb = a.tcp.connect(IpAddress.v4(B), 80);
      tcb.events.established = () => user.write(tcb, new Uint8Array(500_000));
    }
    await lab.run(20_000);
    assert.equal(listener.waiting, 51, "the backlog, and one more");
    assert.ok(b.tcp.size <= 51 + 1024);
    let held = 0;
    for (let tcb = listener.accept(); tcb; tcb = listener.accept()) held = Math.max(held, user.readable(tcb));
    assert.ok(held > 0 && held <= 131_072 + 128, `${held} bytes for one`);
  });

  it("a tiny MSS does not turn one page into ten thousand segments", async () => {
    for (const mss of [0, 1, 8, 48, 87]) {
      const { lab, b } = await twoHosts(SEED);
      const listener = b.tcp.listen(undefined, 80);
      inject(b, { sourcePort: 4000, destinationPort: 80, sequence: 1, flags: 2, options: Uint8Array.of(2, 4, 0, mss) });
      lab.settle();
      const [tcb] = b.tcp.list();
      inject(b, { sourcePort: 4000, destinationPort: 80, sequence: 2, acknowledgement: tcb.nxt >>> 0, flags: 0x10 });
      lab.settle();
      const server = listener.accept() as Tcb;
      const before = b.tcp.counters.out_segs;
      user.write(server, new Uint8Array(10_000));
      lab.settle();
      assert.ok(server.mss >= 48, `MSS ${server.mss} of ${mss}`);
      assert.ok(b.tcp.counters.out_segs - before <= 10_000 / 48 + 1);
      await lab.run(1);
    }
  });

  it("a byte at the far end of many windows does not take the memory of all of them", async () => {
    const { lab, a, b, server } = await inState("ESTABLISHED", SEED);
    assert.ok(server);
    // Someone who may send sends one byte, as far ahead as the window allows.
    const stamp = new Uint8Array(12);
    new DataView(stamp.buffer).setUint32(0, 0x0101080a);
    new DataView(stamp.buffer).setUint32(4, server.tsRecent >>> 0);
    inject(b, {
      sourcePort: 4000,
      destinationPort: 80,
      sequence: (server.announced - 1) >>> 0,
      acknowledgement: server.nxt >>> 0,
      flags: 0x10,
      options: stamp,
      payload: Uint8Array.of(1),
    });
    lab.settle();
    assert.equal(server.flight.early.length, 1);
    const held = lab.engine.slabs.total - lab.engine.slabs.available;
    assert.ok(held <= 2, `${held} slabs for one byte`);
    assert.equal(a.tcp.size, 1);
  });
});
