/** UDP sockets: batches, errors about what was sent, who gets what on a shared port, groups and broadcasts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import { Random } from "../src/index.ts";
import { Lab } from "../src/lab/lab.ts";
import type { DatagramSocket } from "../src/socket/datagram.ts";
import { serializeIpv6 } from "../src/wire/index.ts";
import { SEED } from "./support.ts";

const bytes = (length: number, seed = 5) => new Random(seed).fill(new Uint8Array(length));
const address = (text: string) => IpAddress.parse(text);

async function pair(): Promise<{ lab: Lab; a: Host; b: Host }> {
  const lab = await Lab.create({ seed: SEED });
  const [a, b] = [
    await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "2001:db8::1/64"] }] }),
    await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"] }] }),
  ];
  lab.link(a, b, { delay: 1 });
  // Neighbours first: what is counted below is not about them.
  for (const to of ["10.0.0.2", "2001:db8::2"]) a.ping(to);
  await lab.run(10);
  return { lab, a, b };
}

const drain = (socket: DatagramSocket) => {
  const got: string[] = [];
  socket.tryReceiveMany((data) => got.push(Buffer.from(data).toString()));
  return got;
};
const text = (value: string) => new TextEncoder().encode(value);

describe("a first datagram to a neighbour that nobody has asked for yet", () => {
  for (const [to, most] of [
    ["10.0.0.2", 65_507],
    ["2001:db8::2", 65_527],
  ] as const) {
    it(`arrives whole, however many fragments it takes: ${to}`, async () => {
      const lab = await Lab.create({ seed: SEED });
      const mtu = 1280;
      const [a, b] = [
        await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "2001:db8::1/64"], mtu }] }),
        await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"], mtu }] }),
      ];
      lab.link(a, b, { delay: 1 });
      const inbox = b.datagram({ port: 7 });
      const data = bytes(most);
      a.datagram().send(data, { address: to, port: 7 });
      const ping = a.ping(to, { size: 30_000 });
      await lab.run(50);
      assert.deepEqual(inbox.tryReceive()?.data, data);
      assert.equal((await ping).bytes, 30_000);
      assert.equal(a.ip.neighbours.counters.queueDrops, 0);
      assert.equal(lab.engine.pool().inFlight, 0);
    });
  }

  it("has bounds: the oldest of what waits goes first, and nothing is kept of it", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] });
    lab.link(a, b, { delay: 1 });
    const inbox = b.datagram({ port: 7 });
    const socket = a.datagram();
    const count = 400;
    for (let i = 0; i < count; i++) socket.send(Uint8Array.of(i >> 8, i & 255, ...new Uint8Array(1000)), { address: "10.0.0.2", port: 7 });
    const dropped = a.ip.neighbours.counters.queueDrops;
    // 212,992 bytes, each packet with its headers and what is counted beside it.
    assert.equal(dropped, count - Math.floor(212_992 / (1002 + 28 + 256)));
    await lab.run(50);
    const numbers: number[] = [];
    inbox.tryReceiveMany((data) => numbers.push((data[0] << 8) | data[1]));
    assert.deepEqual(
      numbers,
      Array.from({ length: count - dropped }, (_, i) => dropped + i),
    );
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});

describe("UDP in batches", () => {
  for (const to of ["10.0.0.2", "2001:db8::2"]) {
    it(`one call sends up to 64 segments to ${to}; each arrives as the datagram it is`, async () => {
      const { lab, a, b } = await pair();
      const inbox = b.datagram({ port: 7 });
      const socket = a.datagram();
      socket.send(text("hello"), { address: to, port: 7 });
      await lab.run(10);
      assert.deepEqual(drain(inbox), ["hello"]);
      const data = bytes(64 * 500 - 77);
      socket.send(data, { address: to, port: 7 }, { segmentSize: 500 });
      await lab.run(10);
      const sizes: number[] = [];
      const whole: Uint8Array[] = [];
      inbox.tryReceiveMany((piece, from) => {
        sizes.push(piece.length);
        whole.push(piece);
        assert.equal(String(from.address), to.includes(":") ? "2001:db8::1" : "10.0.0.1");
      });
      assert.deepEqual(sizes, [...new Array(63).fill(500), 423]);
      assert.deepEqual(new Uint8Array(Buffer.concat(whole)), data);
      assert.throws(() => socket.send(data, { address: to, port: 7 }, { segmentSize: 100 }), { code: "EINVAL" });
      assert.throws(() => socket.send(data, { address: to, port: 7 }, { segmentSize: 1600 }), { code: "EMSGSIZE" });
      assert.equal(lab.engine.pool().inFlight, 0);
    });

    it(`sendMany keeps every datagram's bounds and order on the way to ${to}`, async () => {
      const { lab, a, b } = await pair();
      const inbox = b.datagram({ port: 7 }).configure({ receiveBuffer: 1 << 24 });
      const socket = a.datagram();
      socket.connect({ address: to, port: 7 });
      const random = new Random(SEED);
      const sent: Uint8Array[] = [];
      for (let i = 0; i < 400; i++) {
        // Runs of one size, with odd ones, empty ones and ones that need fragments between them.
        const size = i % 50 === 49 ? [0, 1, 3000, 1472][random.below(4)] : i % 7 === 0 ? random.below(1400) : 300;
        sent.push(bytes(size, i));
      }
      socket.sendMany(sent);
      await lab.run(20);
      const got: Uint8Array[] = [];
      inbox.tryReceiveMany((piece) => got.push(piece));
      assert.equal(got.length, sent.length);
      const key = (list: Uint8Array[]) => list.map((each) => Buffer.from(each).toString("base64")).sort();
      assert.deepEqual(key(got), key(sent), `SEED=${SEED}`);
      const small = (list: Uint8Array[]) => list.filter((each) => each.length < 1400).map((each) => Buffer.from(each).toString("base64"));
      assert.deepEqual(small(got), small(sent), "in order, but for what was put together from fragments");
      assert.ok(a.udp.counters.out_datagrams === 400);
      assert.equal(lab.engine.pool().inFlight, 0);
    });
  }

  it("hands over a coalesced batch in one piece", async () => {
    const { lab, a, b } = await pair();
    const inbox = b.datagram({ port: 7 });
    const socket = a.datagram();
    socket.connect({ address: "10.0.0.2", port: 7 });
    socket.send(new Uint8Array(1));
    await lab.run(10);
    inbox.tryReceive();
    const data = bytes(10_000);
    socket.send(data, undefined, { segmentSize: 1000 });
    await lab.run(10);
    const batch = inbox.tryReceiveBatch();
    assert.equal(batch?.segmentSize, 1000);
    assert.deepEqual(batch?.data, data);
    assert.equal(inbox.tryReceiveBatch(), undefined);
  });

  it("bounds what waits, empty datagrams too", async () => {
    const { lab, a, b } = await pair();
    const inbox = b.datagram({ port: 7 }).configure({ receiveBuffer: 10_000 });
    const socket = a.datagram();
    for (let i = 0; i < 300; i++) socket.send(new Uint8Array(0), { address: "10.0.0.2", port: 7 });
    await lab.run(20);
    const got = inbox.tryReceiveMany(() => {});
    assert.ok(got > 10 && got <= 40, `${got}`);
    assert.ok(b.udp.counters.rcvbuf_errors >= 200);
  });
});

describe("the sender of what receiveMany hands over", () => {
  for (const [from, to] of [
    ["10.0.0.1", "10.0.0.2"],
    ["2001:db8::1", "2001:db8::2"],
  ]) {
    it(`is an address that shows as ${from}, the text that receive gives`, async () => {
      const { lab, a, b } = await pair();
      const inbox = b.datagram({ port: 7 });
      const sender = a.datagram();
      const shown: string[][] = [];
      sender.send(text("many"), { address: to, port: 7 });
      await lab.run(10);
      await inbox.receiveMany((_, { address: of }) => shown.push([`${of}`, JSON.stringify(of), inspect(of)]));
      assert.deepEqual(shown, [[from, `"${from}"`, `IpAddress(${from})`]]);
      sender.send(text("one"), { address: to, port: 7 });
      await lab.run(10);
      assert.equal((await inbox.receive()).address, from);
      await lab.engine.close();
    });
  }
});

describe("a batch and a full receive queue", () => {
  it("is let in below the limit whatever its size, and is counted by its datagrams when it is not", async () => {
    const { lab, a, b } = await pair();
    const inbox = b.datagram({ port: 7 }).configure({ receiveBuffer: 8192 });
    const socket = a.datagram();
    const to = { address: "10.0.0.2", port: 7 };
    socket.send(text("x"), to);
    await lab.run(10);
    inbox.tryReceive();
    const eight = Array.from({ length: 8 }, () => bytes(1000));
    for (let round = 0; round < 3; round++) {
      socket.sendMany(eight, to);
      await lab.run(10);
      assert.equal(
        inbox.tryReceiveMany(() => {}),
        8,
      );
    }
    assert.equal(inbox.drops, 0);
    for (let round = 0; round < 3; round++) {
      socket.sendMany(eight, to);
      await lab.run(10);
    }
    const got = inbox.tryReceiveMany(() => {});
    assert.equal(got, 8);
    assert.deepEqual([inbox.drops, b.udp.counters.rcvbuf_errors], [16, 16]);
  });
});

describe("UDP settings", () => {
  it("TOS and hop limit are sent as set and told to the receiver, with where the datagram was sent to", async () => {
    const { lab, a, b } = await pair();
    const inbox = b.datagram({ port: 7 });
    const socket = a.datagram({ hopLimit: 9, trafficClass: 0xb9 });
    for (const to of ["10.0.0.2", "2001:db8::2"]) {
      socket.send(text("x"), { address: to, port: 7 });
      socket.send(text("y"), { address: to, port: 7 }, { hopLimit: 3, trafficClass: 2 });
      await lab.run(10);
      const [x, y] = [inbox.tryReceive(), inbox.tryReceive()];
      assert.deepEqual([x?.hopLimit, x?.trafficClass, x?.destination, x?.interface], [9, 0xb9, to, "eth0"]);
      assert.deepEqual([y?.hopLimit, y?.trafficClass], [3, 2]);
    }
  });

  it("without leave to cut, what is larger than the path is an error", async () => {
    const { a } = await pair();
    const socket = a.datagram({ fragment: false });
    assert.throws(() => socket.send(bytes(1473), { address: "10.0.0.2", port: 7 }), { code: "EMSGSIZE" });
    socket.send(bytes(1472), { address: "10.0.0.2", port: 7 });
  });

  it("a checksum of zero is none over IPv4, and an error over IPv6 (RFC 8200 §8.1)", async () => {
    const { lab, a, b } = await pair();
    const inbox = b.datagram({ port: 7 });
    const datagram = Uint8Array.of(0, 9, 0, 7, 0, 9, 0, 0, 65);
    for (const [from, to] of [
      ["10.0.0.1", "10.0.0.2"],
      ["2001:db8::1", "2001:db8::2"],
    ]) {
      a.ip.sendPacket(a.ip.packetOf(address(from), address(to), 17, datagram), a.ip.pathTo(address(to)));
    }
    a.ip.flush();
    await lab.run(50);
    assert.equal(inbox.tryReceive()?.address, "10.0.0.1");
    assert.equal(inbox.tryReceive(), undefined);
    assert.equal(lab.engine.counters().drops.l4_bad_checksum, 1);
  });
});

describe("errors about datagrams", () => {
  for (const to of ["10.0.0.2", "2001:db8::2"]) {
    it(`an unconnected socket that asks for it gets them, with what it sent to ${to}`, async () => {
      const { lab, a } = await pair();
      const silent = a.datagram();
      const asking = a.datagram();
      asking.keepErrors();
      silent.send(text("lost"), { address: to, port: 9 });
      asking.send(text("the question"), { address: to, port: 9 });
      await lab.run(50);
      assert.equal(silent.tryReceive(), undefined);
      assert.throws(() => asking.tryReceive(), { code: "ECONNREFUSED" });
      const error = asking.readError();
      assert.equal(error?.code, "ECONNREFUSED");
      assert.equal(String(error?.address), to);
      assert.equal(String(error?.offender), to);
      assert.equal(error?.port, 9);
      assert.equal(Buffer.from(error?.data ?? []).toString(), "the question");
      assert.equal(asking.readError(), undefined);
    });
  }

  it("errors about what was never sent change nothing", async () => {
    const { lab, a, b } = await pair();
    const socket = a.datagram();
    socket.keepErrors();
    socket.connect({ address: "10.0.0.2", port: 9 });
    const inner = b.ip.packetOf(address("10.0.0.1"), address("10.0.0.2"), 17, Uint8Array.of(0x30, 0x39, 0, 9, 0, 8, 0, 0));
    b.ip.sendIcmp(undefined, undefined, address("10.0.0.1"), 3, 3, 0, inner);
    b.ip.flush();
    await lab.run(50);
    assert.equal(socket.tryReceive(), undefined);
    assert.equal(socket.readError(), undefined);
  });
});

describe("sockets on one port", () => {
  it("SO_REUSEPORT spreads flows, each always to the same socket", async () => {
    const { lab, a, b } = await pair();
    const group = [1, 2, 3, 4].map(() => b.datagram({ port: 7, reusePort: true }));
    assert.throws(() => b.datagram({ port: 7 }), { code: "EADDRINUSE" });
    const senders = Array.from({ length: 200 }, () => a.datagram());
    for (const round of ["a", "b"]) {
      senders.forEach((sender, i) => {
        sender.send(text(`${round}${i}`), { address: "10.0.0.2", port: 7 });
      });
    }
    await lab.run(100);
    const got = group.map(drain);
    assert.equal(got.flat().length, 400);
    for (const each of got) {
      assert.ok(each.length > 40, `${got.map((list) => list.length)}`);
      for (const name of each) assert.ok(each.includes(name.replace(/[ab]/, (round) => (round === "a" ? "b" : "a"))));
    }
  });

  it("SO_REUSEADDR: the last takes what is for one, everybody what is for many", async () => {
    const { lab, a, b } = await pair();
    const [first, second] = [1, 2].map(() => b.datagram({ port: 7, reuseAddress: true }));
    for (const each of [first, second]) each.join("224.1.2.3");
    const socket = a.datagram({ broadcast: true });
    socket.send(text("one"), { address: "10.0.0.2", port: 7 });
    await lab.run(50);
    assert.deepEqual([drain(first), drain(second)], [[], ["one"]]);
    socket.send(text("group"), { address: "224.1.2.3", port: 7 });
    socket.send(text("all"), { address: "255.255.255.255", port: 7 });
    socket.send(text("subnet"), { address: "10.0.0.255", port: 7 });
    await lab.run(50);
    for (const each of [first, second]) assert.deepEqual(drain(each), ["group", "all", "subnet"]);
  });

  it("a connected socket comes before a bound one, a bound address before any", async () => {
    const { lab, a, b } = await pair();
    const any = b.datagram({ port: 7, reuseAddress: true });
    const bound = b.datagram({ hostname: "10.0.0.2", port: 7, reuseAddress: true });
    const connected = b.datagram({ port: 7, reuseAddress: true });
    connected.connect({ address: "10.0.0.1", port: 1234 });
    a.datagram({ port: 1234 }).send(text("mine"), { address: "10.0.0.2", port: 7 });
    a.datagram().send(text("bound"), { address: "10.0.0.2", port: 7 });
    a.datagram().send(text("any"), { address: "2001:db8::2", port: 7 });
    await lab.run(50);
    assert.deepEqual([drain(connected), drain(bound), drain(any)], [["mine"], ["bound"], ["any"]]);
  });

  it("IPv4 and IPv6 share a port when the IPv6 socket leaves IPv4 alone", async () => {
    const { b } = await pair();
    b.datagram({ hostname: "::", port: 7, v6Only: true });
    b.datagram({ hostname: "0.0.0.0", port: 7 });
    b.datagram({ hostname: "::", port: 8 });
    assert.throws(() => b.datagram({ hostname: "0.0.0.0", port: 8 }), { code: "EADDRINUSE" });
  });
});

describe("groups and broadcasts", () => {
  for (const group of ["239.1.2.3", "ff15::77"]) {
    it(`${group}: members hear it, others do not, sources are filtered`, async () => {
      const { lab, a, b } = await pair();
      const [own, other] = group.includes(":") ? ["2001:db8::1", "2001:db8::99"] : ["10.0.0.1", "10.0.0.99"];
      const all = b.datagram({ port: 7, reuseAddress: true });
      const some = b.datagram({ port: 7, reuseAddress: true });
      const others = b.datagram({ port: 7, reuseAddress: true });
      const socket = a.datagram();
      const send = async (what: string) => {
        socket.send(text(what), { address: group, port: 7 });
        await lab.run(50);
        return [drain(all), drain(some), drain(others)];
      };
      assert.deepEqual(await send("nobody"), [[], [], []]);
      all.join(group);
      some.join(group, { sources: [own] });
      others.join(group, { sources: [other] });
      assert.deepEqual(await send("both"), [["both"], ["both"], []]);
      some.leave(group, { sources: [own] });
      others.join(group, { sources: [own] });
      assert.deepEqual((await send("changed"))[2], ["changed"]);
      all.leave(group);
      others.leave(group);
      assert.deepEqual(await send("gone"), [[], [], []]);
      assert.throws(() => all.leave(group), { code: "EADDRNOTAVAIL" });
      assert.equal(lab.engine.pool().inFlight, 0);
    });

    it(`${group}: the sender's own host hears it unless told not to, and TTL 0 stays at home`, async () => {
      const { lab, a, b } = await pair();
      const [here, there] = [a.datagram({ port: 7 }), b.datagram({ port: 7 })];
      for (const each of [here, there]) each.join(group);
      const socket = a.datagram();
      const send = async (what: string) => {
        socket.send(text(what), { address: group, port: 7 });
        await lab.run(50);
        return [drain(here), drain(there)];
      };
      assert.deepEqual(await send("loop"), [["loop"], ["loop"]]);
      socket.configure({ multicastLoop: false });
      assert.deepEqual(await send("far"), [[], ["far"]]);
      socket.configure({ multicastLoop: true, multicastTtl: 0 });
      assert.deepEqual(await send("near"), [["near"], []]);
      assert.equal(lab.engine.pool().inFlight, 0);
    });
  }

  it("broadcast needs leave", async () => {
    const { a } = await pair();
    const socket = a.datagram();
    for (const to of ["255.255.255.255", "10.0.0.255"]) {
      assert.throws(() => socket.send(text("x"), { address: to, port: 7 }), { code: "EACCES" });
      assert.throws(() => socket.connect({ address: to, port: 7 }), { code: "EACCES" });
    }
  });

  it("sending to many groups leaves the neighbour table bounded and useful", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ neighbours: 64, interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] });
    lab.link(a, b);
    const socket = a.datagram();
    for (let i = 0; i < 1000; i++) socket.send(new Uint8Array(4), { address: `239.0.${i >> 8}.${i & 255}`, port: 7 });
    await lab.run(10);
    assert.ok(a.ip.neighbours.size <= 64);
    let got = 0;
    a.ping("10.0.0.2").then(() => got++);
    await lab.run(100);
    assert.equal(got, 1);
  });

  it("a group's packet with a hostile source address is dropped", async () => {
    const { lab, a, b } = await pair();
    const inbox = b.datagram({ port: 7 });
    inbox.join("ff15::77");
    const packet = serializeIpv6({
      source: address("ff02::1").bytes(),
      destination: address("ff15::77").bytes(),
      protocol: 17,
      payload: Uint8Array.of(0, 9, 0, 7, 0, 8, 0, 0),
    });
    a.ip.sendPacket(packet, a.ip.pathTo(address("ff15::77")));
    a.ip.flush();
    await lab.run(10);
    assert.equal(inbox.tryReceive(), undefined);
    assert.equal(lab.engine.counters().drops.ip6_martian_source, 1);
  });
});
