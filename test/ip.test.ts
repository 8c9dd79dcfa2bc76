/** The network layer of hosts: neighbours, forwarding, errors, fragments, path MTU. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { IpAddress } from "../src/base/ip-address.ts";
import { Timers } from "../src/base/timers.ts";
import type { Host } from "../src/host/host.ts";
import { Random } from "../src/index.ts";
import { fragmentPacket, Reassembly } from "../src/ip/reassembly.ts";
import { Lab } from "../src/lab/lab.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { serializeIpv4, serializeIpv6 } from "../src/wire/index.ts";
import { SEED, stateName } from "./support.ts";

const bytes = (length: number) => new Random(5).fill(new Uint8Array(length));

/** a — router — b, the second link with an MTU of its own. */
async function routed(mtu = 1500): Promise<{ lab: Lab; a: Host; router: Host; b: Host }> {
  const lab = await Lab.create({ seed: SEED });
  const a = await lab.host({ interfaces: [{ addresses: ["10.1.0.1/24", "2001:db8:1::1/64"], gateway: ["10.1.0.254", "2001:db8:1::fe"] }] });
  const b = await lab.host({
    interfaces: [{ mtu, addresses: ["10.2.0.1/24", "2001:db8:2::1/64"], gateway: ["10.2.0.254", "2001:db8:2::fe"] }],
  });
  const router = await lab.host({
    forwarding: true,
    interfaces: [{ addresses: ["10.1.0.254/24", "2001:db8:1::fe/64"] }, { mtu, addresses: ["10.2.0.254/24", "2001:db8:2::fe/64"] }],
  });
  lab.link(a, router, { delay: 1 });
  lab.link(router, b, { delay: 1 }, ["eth1", "eth0"]);
  return { lab, a, router, b };
}

/** What a promise came to after some virtual time. */
async function outcome<T>(lab: Lab, promise: Promise<T>, ms = 5000): Promise<T | { code: string; message: string }> {
  let result: T | { code: string; message: string } | undefined;
  promise.then(
    (value) => {
      result = value;
    },
    (error) => {
      result = error;
    },
  );
  await lab.run(ms, () => result !== undefined);
  assert.ok(result !== undefined, "nothing happened");
  return result;
}

describe("hosts and routers", () => {
  for (const to of ["10.2.0.1", "2001:db8:2::1"]) {
    it(`ping crosses a router to ${to}, one hop less`, async () => {
      const { lab, a } = await routed();
      const reply = (await outcome(lab, a.ping(to))) as { hopLimit: number };
      assert.equal(reply.hopLimit, 63);
    });

    it(`a hop limit of one is answered by the router on the way to ${to}`, async () => {
      const { lab, a } = await routed();
      const error = (await outcome(lab, a.ping(to, { hopLimit: 1 }))) as { code: string; message: string };
      assert.equal(error.code, "EHOSTUNREACH");
      assert.match(error.message, /(10\.1\.0\.254|2001:db8:1::fe) says .* hop limit/);
    });

    it(`a neighbour that nobody has is reported unreachable beside ${to}`, async () => {
      const { lab, a } = await routed();
      const error = (await outcome(lab, a.ping(to.replace(/1$/, "77"), { timeout: 9000 }), 10_000)) as { code: string; message: string };
      assert.equal(error.code, "EHOSTUNREACH");
    });

    it(`TCP finds the path's MTU to ${to} without waiting for a timeout`, async () => {
      const { lab, a, b } = await routed(1300);
      const listener = b.tcp.listen(undefined, 80, undefined, { maxMss: 1460 });
      const client = a.tcp.connect(IpAddress.parse(to), 80);
      await lab.run(100);
      const server = listener.accept() as Tcb;
      const sent = bytes(200_000);
      // The announced MSS hides the small link, so that only the router can tell.
      client.mss = 1448;
      user.write(client, sent);
      const got = new Uint8Array(sent.length);
      let n = 0;
      server.events.readable = () => {
        n += user.read(server, got.subarray(n));
      };
      n += user.read(server, got);
      await lab.run(2000, () => n === sent.length);
      assert.equal(n, sent.length);
      assert.deepEqual(got, sent);
      assert.equal(client.mss, 1300 - (to.includes(":") ? 60 : 40) - 12);
      assert.equal(a.tcp.counters.timeouts, 0);
      assert.equal(stateName(client), "ESTABLISHED");
    });

    it(`a datagram larger than the MTU arrives whole at ${to}`, async () => {
      const { lab, a, b } = await routed();
      const inbox = b.datagram({ port: 7 });
      const socket = a.datagram();
      const data = bytes(20_000);
      socket.send(data, { address: to, port: 7 });
      const got = (await outcome(lab, inbox.receive())) as { data: Uint8Array };
      assert.deepEqual(got.data, data);
      assert.equal(b.ip.reassembly.counters.reasm_oks, 1);
      assert.equal(b.ip.reassembly.size, 0);
      assert.equal(lab.engine.pool().inFlight, 0);
    });
  }

  it("a router cuts IPv4 packets that may be cut", async () => {
    const { lab, a, b, router } = await routed(1000);
    const inbox = b.datagram({ port: 7 });
    const packet = a.ip.packetOf(
      IpAddress.parse("10.1.0.1"),
      IpAddress.parse("10.2.0.1"),
      17,
      Uint8Array.of(0, 9, 0, 7, 5, 0, 0, 0, ...bytes(1272)),
    );
    a.ip.sendPacket(packet, a.ip.pathTo(IpAddress.parse("10.2.0.1")));
    a.ip.flush();
    const got = (await outcome(lab, inbox.receive())) as { data: Uint8Array };
    assert.deepEqual(got.data, bytes(1272));
    assert.equal(router.engine.counters().punts.fragmentation_needed, 1);
  });

  it("a host that does not forward keeps what is not for it to itself", async () => {
    const { lab, a, b } = await routed();
    b.addRoute({ to: "10.9.0.0/24", via: "10.2.0.254" });
    const packet = a.ip.packetOf(IpAddress.parse("10.1.0.1"), IpAddress.parse("10.9.0.1"), 17, new Uint8Array(20));
    const [router] = lab.hosts.filter((host) => host.ip.interfaces.length === 2);
    router.addRoute({ to: "10.9.0.0/24", via: "10.2.0.1" });
    a.ip.sendPacket(packet, a.ip.pathTo(IpAddress.parse("10.9.0.1")));
    a.ip.flush();
    await lab.run(100);
    assert.equal(lab.engine.counters().drops.not_forwarding, 1);
  });

  it("a scan of a /16 leaves the neighbour table bounded", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ neighbours: 256, interfaces: [{ addresses: ["10.3.0.1/16"] }] });
    const b = await lab.host({ interfaces: [{ addresses: ["10.3.0.2/16"] }] });
    lab.link(a, b, {});
    const socket = a.datagram();
    for (let i = 3; i < 5000; i++) socket.send(Uint8Array.of(1), { address: `10.3.${i >> 8}.${i & 255}`, port: 9 });
    await lab.run(1);
    assert.ok(a.ip.neighbours.size <= 256, `${a.ip.neighbours.size} neighbours`);
    await lab.run(10_000);
    assert.equal(lab.engine.pool().inFlight, 0);
    const reply = (await outcome(lab, a.ping("10.3.0.2"))) as { from: string };
    assert.equal(reply.from, "10.3.0.2");
  });

  it("neighbours grow stale and are asked again when they are used", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ interfaces: [{ addresses: ["10.3.0.1/16"] }] });
    const b = await lab.host({ interfaces: [{ addresses: ["10.3.0.2/16"] }] });
    const link = lab.link(a, b, {});
    await outcome(lab, a.ping("10.3.0.2"));
    const state = () => a.ip.neighbours.list().find((each) => String(each.address) === "10.3.0.2")?.state;
    assert.equal(state(), "REACHABLE");
    await lab.run(50_000);
    assert.equal(state(), "STALE");
    await outcome(lab, a.ping("10.3.0.2"));
    assert.equal(state(), "DELAY");
    await lab.run(6000);
    assert.equal(state(), "REACHABLE");
    await lab.run(50_000);
    link.set({ cut: true });
    await outcome(lab, a.ping("10.3.0.2"));
    await lab.run(5500);
    assert.equal(state(), "PROBE");
    await lab.run(5000);
    assert.equal(state(), undefined, "forgotten");
  });
});

describe("reassembly", () => {
  const packet4 = (payload: Uint8Array) => serializeIpv4({ source: 0x0a000001, destination: 0x0a000002, protocol: 17, id: 9, payload });
  const packet6 = (payload: Uint8Array) =>
    serializeIpv6({ source: new Uint8Array(16).fill(1), destination: new Uint8Array(16).fill(2), protocol: 17, payload });

  for (const [family, whole] of [
    [4, packet4],
    [6, packet6],
  ] as const) {
    it(`undoes fragmentation in any order, with repetitions (IPv${family})`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 1300, max: 60_000 }), fc.integer({ min: 1280, max: 9000 }), fc.integer(), (length, mtu, seed) => {
          const random = new Random(seed);
          const packet = whole(bytes(length));
          const pieces = fragmentPacket(packet, mtu, 77);
          if (pieces.length < 2) return;
          const order = [...pieces, pieces[random.below(pieces.length)]].sort(() => random.float() - 0.5);
          const reassembly = new Reassembly(new Timers(), () => {});
          const out = order.map((piece) => reassembly.add(piece, 0)).filter((each) => each !== undefined);
          assert.ok(out.length >= 1);
          assert.deepEqual(out[0].subarray(family === 4 ? 20 : 40), packet.subarray(family === 4 ? 20 : 40));
        }),
        { seed: SEED, numRuns: 100 },
      );
    });

    it(`lets an overlap end the packet (IPv${family}, RFC 5722)`, () => {
      const reassembly = new Reassembly(new Timers(), () => {});
      const pieces = fragmentPacket(whole(bytes(4000)), 1300, 77);
      const shifted = fragmentPacket(whole(bytes(4000)), 1284, 77);
      reassembly.add(pieces[0], 0);
      assert.equal(reassembly.add(shifted[1], 0), undefined);
      assert.equal(reassembly.counters.reasm_overlaps, 1);
      assert.equal(reassembly.size, 0);
    });
  }

  it("forgets what does not become whole in time, and holds one source to a limit", () => {
    const timers = new Timers();
    let expired = 0;
    const reassembly = new Reassembly(timers, () => expired++);
    for (let id = 0; id < 1000; id++) {
      reassembly.add(
        fragmentPacket(serializeIpv4({ source: 1, destination: 2, protocol: 17, id: id + 1, payload: bytes(3000) }), 1500, 0)[0],
        0,
      );
    }
    assert.equal(reassembly.size, 64);
    timers.run(31_000);
    assert.equal(reassembly.size, 0);
    assert.equal(expired, 64);
  });

  it("a flood from many sources gives way to who comes after it, and stays bounded", () => {
    const reassembly = new Reassembly(new Timers(), () => {});
    const piece = (source: number, id: number, length: number) =>
      fragmentPacket(serializeIpv4({ source, destination: 2, protocol: 17, id, payload: bytes(length) }), 600, 0);
    for (let i = 0; i < 30_000; i++) reassembly.add(piece(i + 10, 7, 600)[0], 0);
    assert.ok(reassembly.size * (576 + 256) <= 4 << 20, `${reassembly.size} unfinished packets`);
    const honest = piece(5, 9, 1500).map((each) => reassembly.add(each, 0));
    assert.equal(honest.at(-1)?.length, 1520);
  });
});

describe("path MTU", () => {
  it("is forgotten after ten minutes, and larger packets are tried again", async () => {
    const { lab, a } = await routed(1300);
    const socket = a.datagram();
    socket.send(bytes(1400), { address: "10.2.0.1", port: 9 });
    socket.send(bytes(1400), { address: "2001:db8:2::1", port: 9 });
    await lab.run(100);
    const mtus = () => ["10.2.0.1", "2001:db8:2::1"].map((to) => a.ip.pathTo(IpAddress.parse(to)).mtu);
    assert.deepEqual(mtus(), [1300, 1300]);
    await lab.run(590_000);
    assert.deepEqual(mtus(), [1300, 1300]);
    const { generation } = a.ip.routes;
    await lab.run(11_000);
    assert.deepEqual(mtus(), [1500, 1500]);
    assert.ok(a.ip.routes.generation > generation, "who had looked it up looks again");
  });
});
