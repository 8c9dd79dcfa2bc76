/** Raw sockets between hosts: what they hear and send, errors about it, and that the protocol they are about goes on. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { u16 } from "../src/base/bytes.ts";
import type { Host } from "../src/host/host.ts";
import { Random } from "../src/index.ts";
import { Lab } from "../src/lab/lab.ts";
import type { DatagramSocket, ReceivedDatagram } from "../src/socket/datagram.ts";
import { checksum, pseudoSum } from "../src/wire/index.ts";
import { SEED } from "./support.ts";

const ADDRESSES = { 4: ["10.0.0.1", "10.0.0.2"], 6: ["2001:db8::1", "2001:db8::2"] } as const;
const OSPF = 89;
const text = (value: string) => new TextEncoder().encode(value);
const all = (socket: DatagramSocket): ReceivedDatagram[] => {
  const got: ReceivedDatagram[] = [];
  for (let each = socket.tryReceive(); each; each = socket.tryReceive()) got.push(each);
  return got;
};
/** What is behind the IP header. */
const payloadOf = ({ data }: ReceivedDatagram, family: 4 | 6) => data.subarray(family === 4 ? (data[0] & 15) * 4 : 0);
const words = (each: ReceivedDatagram, family: 4 | 6) => Buffer.from(payloadOf(each, family)).toString();

async function pair(): Promise<{ lab: Lab; a: Host; b: Host }> {
  const lab = await Lab.create({ seed: SEED });
  const host = (i: number) => lab.host({ interfaces: [{ addresses: [`${ADDRESSES[4][i]}/24`, `${ADDRESSES[6][i]}/64`] }] });
  const [a, b] = [await host(0), await host(1)];
  lab.link(a, b, { delay: 1 });
  return { lab, a, b };
}

for (const family of [4, 6] as const) {
  const [here, there] = ADDRESSES[family];

  describe(`raw sockets, IPv${family}`, () => {
    it("a protocol that nobody speaks is answered, until somebody has a raw socket for it", async () => {
      const { lab, a, b } = await pair();
      const sender = a.raw({ protocol: OSPF, family });
      sender.connect({ address: there });
      // Errors need eight bytes to be about something.
      sender.send(text("the first"));
      await lab.run(50);
      await assert.rejects(sender.receive(), { code: family === 4 ? "ENOPROTOOPT" : "EPROTO" });
      assert.equal(b.ip.counters.in_unknown_protos, 1);
      const receiver = b.raw({ protocol: OSPF, family });
      sender.send(text("second"));
      await lab.run(50);
      const [got, ...rest] = all(receiver);
      assert.equal(words(got, family), "second");
      assert.deepEqual([got.address, got.port, got.destination, got.hopLimit, rest.length], [here, 0, there, 64, 0]);
      receiver.close();
      sender.send(text("third"));
      await lab.run(50);
      assert.equal(b.ip.counters.in_unknown_protos, 2);
      assert.equal(b.ip.raw, undefined, "packets are looked at though nobody listens");
      assert.equal(lab.engine.pool().inFlight, 0);
    });

    it("payloads larger than the path's MTU go in fragments, unless that is not wanted", async () => {
      const { lab, a, b } = await pair();
      const [sender, receiver] = [a.raw({ protocol: OSPF, family }), b.raw({ protocol: OSPF, family })];
      const data = new Random(SEED).fill(new Uint8Array(20_000));
      sender.send(data, { address: there });
      await lab.run(50);
      assert.deepEqual(
        all(receiver).map((each) => payloadOf(each, family)),
        [data],
      );
      sender.configure({ fragment: false });
      assert.throws(() => sender.send(data, { address: there }), { code: "EMSGSIZE" });
      assert.throws(() => sender.send(new Uint8Array(70_000), { address: there }), { code: "EMSGSIZE" });
    });

    it("hears TCP and UDP without taking anything from their sockets, datagram by datagram", async () => {
      const { lab, a, b } = await pair();
      const [tcp, udp] = [b.raw({ protocol: "tcp", family }), b.raw({ protocol: "udp", family })];
      const inbox = b.datagram({ port: 7 });
      const sent = Array.from({ length: 40 }, (_, i) => new Random(i + 1).fill(new Uint8Array(i === 39 ? 300 : 700)));
      a.datagram({ port: 9 }).sendMany(sent, { address: there, port: 7 });
      const listener = b.listen({ port: 80 });
      const both = Promise.all([a.connect({ hostname: there, port: 80 }), listener.accept()]);
      await lab.run(50);
      await both;
      const datagrams = all(udp).map((each) => payloadOf(each, family));
      assert.deepEqual(
        datagrams.map((each) => each.subarray(8)),
        sent,
      );
      for (const each of datagrams) {
        assert.deepEqual([u16(each, 0), u16(each, 2), u16(each, 4)], [9, 7, each.length]);
        assert.equal(checksum(each, pseudoSum(addressBytes(a, here), addressBytes(a, there), 17, each.length)), 0);
      }
      assert.deepEqual(
        all(inbox).map(({ data }) => data),
        sent,
      );
      const flags = all(tcp).map((each) => payloadOf(each, family)[13]);
      assert.equal(flags[0], 2, "no SYN in front");
      assert.equal(flags[1] & 16, 16);
    });

    it("hears groups that it joined, and what its interface alone brings", async () => {
      const { lab, a, b } = await pair();
      const group = family === 4 ? "224.0.0.5" : "ff02::5";
      const member = b.raw({ protocol: OSPF, family });
      member.join(group);
      const sender = a.raw({ protocol: OSPF, family, interface: "eth0", multicastTtl: 1 });
      sender.send(text("hello"), { address: group });
      await lab.run(50);
      const heard = all(member);
      assert.deepEqual([words(heard[0], family), heard[0].destination.split("%")[0], heard[0].hopLimit], ["hello", group, 1]);
      assert.throws(() => b.raw({ protocol: OSPF, interface: "eth7" }), /eth7/);
    });

    it("is bounded, and counts what it had no room for", async () => {
      const { lab, a, b } = await pair();
      const [sender, receiver] = [a.raw({ protocol: OSPF, family }), b.raw({ protocol: OSPF, family, receiveBuffer: 3000 })];
      for (let i = 0; i < 10; i++) sender.send(new Uint8Array(1000), { address: there });
      await lab.run(50);
      assert.equal(all(receiver).length + receiver.drops, 10);
      assert.ok(receiver.drops > 0);
      assert.equal(b.rawSockets.counters.rcvbuf_errors, receiver.drops);
    });

    it("ends with its host", async () => {
      const { a } = await pair();
      const socket = a.raw({ protocol: OSPF, family });
      await a.close();
      await assert.rejects(socket.receive(), { code: "ENETDOWN" });
      assert.throws(() => a.raw({ protocol: OSPF }), { code: "ENETDOWN" });
    });
  });
}

function addressBytes(host: Host, address: string): Uint8Array {
  return host.ip.parse(address).address.bytes();
}

describe("raw sockets", () => {
  it("hear of ICMP what they ask for, and echo is answered all the same", async () => {
    const { lab, a, b } = await pair();
    const requests = b.raw({ protocol: "icmp", types: [8] });
    const errors = a.raw({ protocol: "icmpv6", types: [1] });
    const replies = [a.ping("10.0.0.2"), a.ping("2001:db8::2")];
    a.datagram().send(text("?"), { address: "2001:db8::2", port: 9 });
    await lab.run(50);
    assert.deepEqual(
      (await Promise.all(replies)).map(({ from }) => from),
      ["10.0.0.2", "2001:db8::2"],
    );
    assert.deepEqual(
      all(requests).map((each) => payloadOf(each, 4)[0]),
      [8],
    );
    // Port unreachable, with what it is about.
    assert.deepEqual(
      all(errors).map(({ data }) => [data[0], data[1], u16(data, 50)]),
      [[1, 4, 9]],
    );
  });

  it("send packets with a header of the program's own: another source, a used-up TTL", async () => {
    const { lab, a, b } = await pair();
    const receiver = b.raw({ protocol: OSPF });
    const sender = a.raw({ protocol: 255 });
    const packet = new Uint8Array(24);
    packet.set([0x45, 0, 0, 0, 0, 0, 0, 0, 1, OSPF, 0, 0, 10, 0, 0, 77, 10, 0, 0, 2]);
    packet.set(text("mine"), 20);
    sender.send(packet, { address: "10.0.0.2" });
    await lab.run(50);
    const [got] = all(receiver);
    assert.deepEqual([got.address, got.hopLimit, words(got, 4)], ["10.0.0.77", 1, "mine"]);
    assert.equal(checksum(got.data.subarray(0, 20)), 0);
    assert.equal(u16(got.data, 2), 24);
    for (const wrong of [new Uint8Array(10), Uint8Array.of(0x60, ...new Uint8Array(40)), Uint8Array.of(0x44, ...new Uint8Array(30))])
      assert.throws(() => sender.send(wrong, { address: "10.0.0.2" }), { code: "EINVAL" });
    const large = new Uint8Array(1600);
    large[0] = 0x45;
    assert.throws(() => sender.send(large, { address: "10.0.0.2" }), { code: "EMSGSIZE" });
  });

  it("verify and write the checksum of a protocol over IPv6", async () => {
    const { lab, a, b } = await pair();
    const [summing, plain] = [a.raw({ protocol: OSPF, family: 6, checksumAt: 2 }), a.raw({ protocol: OSPF, family: 6 })];
    const receiver = b.raw({ protocol: OSPF, family: 6, checksumAt: 2 });
    for (const socket of [summing, plain]) socket.send(text("abcdef"), { address: "2001:db8::2" });
    await lab.run(50);
    assert.equal(all(receiver).length, 1);
    assert.equal(b.rawSockets.counters.in_csum_errors, 1);
    assert.throws(() => summing.send(text("a"), { address: "2001:db8::2" }), { code: "EINVAL" });
  });

  it("find a path's routers as traceroute does", async () => {
    const lab = await Lab.create({ seed: SEED, hosts: 3, interfaces: 4 });
    const [a, router, b] = [
      await lab.host({ interfaces: [{ addresses: ["10.0.1.2/24"], gateway: "10.0.1.1" }] }),
      await lab.host({ forwarding: true, interfaces: [{ addresses: ["10.0.1.1/24"] }, { addresses: ["10.0.2.1/24"] }] }),
      await lab.host({ interfaces: [{ addresses: ["10.0.2.2/24"], gateway: "10.0.2.1" }] }),
    ];
    lab.link(a, router, { delay: 1 });
    lab.link(router, b, { delay: 1 }, ["eth1", "eth0"]);
    const icmp = a.raw({ protocol: "icmp", types: [3, 11] });
    const probe = a.datagram();
    const hops: string[] = [];
    for (let hopLimit = 1; hopLimit <= 2; hopLimit++) {
      probe.send(text("probe"), { address: "10.0.2.2", port: 33_434 }, { hopLimit });
      await lab.run(50);
      for (const each of all(icmp)) hops.push(`${payloadOf(each, 4)[0]} ${each.address}`);
    }
    assert.deepEqual(hops, ["11 10.0.1.1", "3 10.0.2.2"]);
  });

  it("get bytes of their own, of the largest packets too", async () => {
    const { lab, a, b } = await pair();
    const receivers = [4, 4, 6, 6].map((family) => b.raw({ protocol: OSPF, family: family as 4 | 6 }));
    const [most4, most6] = [new Random(1).fill(new Uint8Array(65_515)), new Random(2).fill(new Uint8Array(65_535))];
    a.raw({ protocol: OSPF }).send(most4, { address: "10.0.0.2" });
    a.raw({ protocol: OSPF, family: 6 }).send(most6, { address: "2001:db8::2" });
    await lab.run(100);
    const got = receivers.map((each) => all(each)[0]);
    assert.deepEqual(payloadOf(got[0], 4), most4);
    assert.deepEqual(got[2].data, most6);
    for (const i of [0, 2]) {
      got[i].data.fill(0xee);
      assert.deepEqual(payloadOf(got[i + 1], i === 0 ? 4 : 6), i === 0 ? most4 : most6);
    }
    const echo = a.ping("2001:db8::2", { size: 65_507 });
    await lab.run(100);
    assert.equal((await echo).bytes, 65_507);
  });

  it("that cannot be set up as asked are not open", async () => {
    const { lab, a, b } = await pair();
    assert.throws(() => b.raw({ protocol: OSPF, multicastInterface: "eth9" }), /eth9/);
    assert.throws(() => b.datagram({ port: 9, multicastInterface: "eth9" }), /eth9/);
    assert.equal(b.ip.raw, undefined);
    b.datagram({ port: 9 });
    a.raw({ protocol: OSPF }).send(text("anybody?"), { address: "10.0.0.2" });
    await lab.run(50);
    assert.equal(b.ip.counters.in_unknown_protos, 1);
  });

  it("and pings believe nobody who says that what was not sent was too big", async () => {
    const { lab, a, b } = await pair();
    const heard = b.raw({ protocol: "icmp", types: [8] });
    a.raw({ protocol: "tcp" });
    const reply = a.ping("10.0.0.2");
    await lab.run(50);
    await reply;
    const echo = payloadOf(all(heard)[0], 4).slice(0, 8);
    const forger = b.raw({ protocol: "icmp" });
    const forge = (protocol: number, transport: Uint8Array, to: readonly number[]) => {
      const cited = Uint8Array.of(0x45, 0, 5, 220, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, ...to, ...transport);
      const message = Uint8Array.of(3, 4, 0, 0, 0, 0, 2, 88, ...cited);
      const sum = checksum(message);
      message.set([sum >>> 8, sum & 255], 2);
      forger.send(message, { address: "10.0.0.1" });
    };
    echo[7] += 1;
    forge(1, echo, [10, 0, 0, 2]);
    forge(6, Uint8Array.of(0, 80, 156, 64, 0, 0, 0, 1), [10, 0, 0, 2]);
    await lab.run(50);
    assert.equal(a.ip.counters.in_icmp_errors, 2);
    assert.equal(a.ip.pathTo(a.ip.parse("10.0.0.2").address).mtu, 1500);
  });

  it("say what is wrong with what they are asked for", async () => {
    const { a } = await pair();
    const cases: [Parameters<Host["raw"]>[0], RegExp][] = [
      [{} as never, /raw: protocol is missing/],
      [{ protocol: 0 }, /raw: protocol is 0; expected/],
      [{ protocol: "ospf" as never }, /raw: protocol is "ospf"; expected/],
      [{ protocol: 1, types: [300] }, /raw: types/],
      [{ protocol: "udp", types: [8] }, /types are those of ICMP; expected protocol icmp/],
      [{ protocol: 89, family: 6, checksumAt: 3 }, /checksumAt is 3; expected an even number/],
      [{ protocol: 89, hostname: "10.0.0.9" }, /10\.0\.0\.9 is not an address of this host/],
      [{ protocol: 89, hostname: "10.0.0.1", family: 6 }, /10\.0\.0\.1 is no IPv6 address/],
      [{ protocol: 89, checksumAt: 2 }, /checksumAt is for IPv6/],
    ];
    for (const [options, message] of cases) assert.throws(() => a.raw(options), message);
    const socket = a.raw({ protocol: 89 });
    assert.throws(() => socket.send(text("x"), { address: "2001:db8::2" }), /2001:db8::2 is no IPv4 address/);
    assert.throws(() => socket.send(text("x"), { address: "10.0.0.2" }, { segmentSize: 1 }), /segments/);
    assert.throws(() => socket.send(text("x")), { code: "ENOTCONN" });
    assert.equal(a.rawSockets.counters.out_datagrams, 0);
  });
});
