/** What RFCs say in half a sentence about addresses, neighbours, paths and errors. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import { Random } from "../src/base/random.ts";
import { Timers } from "../src/base/timers.ts";
import type { Host } from "../src/host/host.ts";
import { icmpMessage } from "../src/ip/icmp.ts";
import { Identifications } from "../src/ip/identification.ts";
import { PolicyTable } from "../src/ip/policy-table.ts";
import { Reassembly } from "../src/ip/reassembly.ts";
import { type Destination, orderDestinations } from "../src/ip/source-address.ts";
import { Lab } from "../src/lab/lab.ts";
import { CaptureWriter, readCapture } from "../src/link/pcap.ts";
import { ETHERTYPE, serializeEthernet, serializeIpv4, serializeIpv6 } from "../src/wire/index.ts";
import { serializeUdp } from "../src/wire/l4.ts";
import { SEED } from "./support.ts";

const address = (text: string) => IpAddress.parse(text);
const EVIL = Uint8Array.of(2, 0, 0, 0, 0, 9);

async function pair() {
  const lab = await Lab.create({ seed: SEED });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "2001:db8::1/64"] }] });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"] }] });
  lab.link(a, b, { delay: 1 });
  return { lab, a, b };
}

function put(host: Host, packet: Uint8Array): void {
  const { port, mac } = host.ip.interfaces[0];
  const type = packet[0] >>> 4 === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
  port.receive(serializeEthernet({ destination: mac, source: EVIL, type, payload: packet }));
}

function icmp6(host: Host, from: string, to: string, type: number, code: number, rest: number, data: Uint8Array, hopLimit = 255): void {
  const [source, destination] = [address(from), address(to)];
  const payload = icmpMessage(type, code, rest, data, source, destination);
  put(host, serializeIpv6({ source: source.bytes(), destination: destination.bytes(), protocol: 58, hopLimit, payload }));
}

describe("Packet Too Big (RFC 8201 §4)", () => {
  it("with less than every link takes is discarded", async () => {
    const { lab, a, b } = await pair();
    b.listen({ port: 80 });
    const opening = a.connect({ hostname: "2001:db8::2", port: 80 });
    await lab.run(100);
    const socket = await opening;
    const tcb = a.tcp.list()[0];
    const before = tcb.mss;
    await socket.write(new Uint8Array(4000));
    const segment = serializeIpv6({
      source: address("2001:db8::1").bytes(),
      destination: address("2001:db8::2").bytes(),
      protocol: 6,
      payload: tcpHead(tcb),
    });
    for (const mtu of [0, 68, 1279]) icmp6(a, "2001:db8::ffff", "2001:db8::1", 2, 0, mtu, segment);
    lab.settle();
    assert.equal(tcb.mss, before);
    assert.equal(a.ip.pathTo(address("2001:db8::2")).mtu, 1500);
    icmp6(a, "2001:db8::ffff", "2001:db8::1", 2, 0, 1280, segment);
    lab.settle();
    assert.equal(a.ip.pathTo(address("2001:db8::2")).mtu, 1280);
    assert.equal(tcb.mss < before, true);
  });
});

it("routers that name no MTU: the next plateau below the packet that did not fit (RFC 1191 §5, §7.1)", async () => {
  for (const [bytes, expected] of [
    [1472, 1492],
    [1400, 1006],
    [900, 552],
    [300, 552],
  ]) {
    const { lab, a, b } = await pair();
    b.datagram({ port: 9 });
    const socket = a.datagram({ port: 7 });
    socket.send(new Uint8Array(bytes), { address: "10.0.0.2", port: 9 });
    await lab.run(100);
    const [source, destination] = [address("10.0.0.1"), address("10.0.0.2")];
    const ends = { source: source.bytes(), destination: destination.bytes() };
    const datagram = serializeUdp({ sourcePort: 7, destinationPort: 9, payload: new Uint8Array(bytes) }, ends);
    const cited = serializeIpv4({ source: source.v4, destination: destination.v4, protocol: 17, payload: datagram }).subarray(0, 28);
    const payload = icmpMessage(3, 4, 0, cited, address("10.0.0.254"), source);
    put(a, serializeIpv4({ source: address("10.0.0.254").v4, destination: source.v4, protocol: 1, payload }));
    lab.settle();
    assert.equal(a.ip.pathTo(destination).mtu, expected, `${bytes} bytes`);
    await lab.engine.close();
  }
});

/** The first bytes of a segment that is under way. */
function tcpHead({ localPort, remotePort, una }: { localPort: number; remotePort: number; una: number }): Uint8Array {
  const out = new Uint8Array(20);
  const view = new DataView(out.buffer);
  view.setUint16(0, localPort);
  view.setUint16(2, remotePort);
  view.setInt32(4, una);
  return out;
}

describe("neighbour advertisements (RFC 4861 §7.2.5)", () => {
  const advertisement = (router: boolean, solicited: boolean, override: boolean) =>
    (((router ? 0x80 : 0) | (solicited ? 0x40 : 0) | (override ? 0x20 : 0)) << 24) >>> 0;

  it("with another MAC and no override change nothing but REACHABLE to STALE", async () => {
    const { lab, a, b } = await pair();
    const ping = a.ping("2001:db8::2");
    await lab.run(100);
    await ping;
    const neighbour = a.ip.neighbours.find(a.ip.interfaces[0], address("2001:db8::2"));
    assert.ok(neighbour);
    neighbour.isRouter = true;
    a.addRoute({ to: "2001:db8:9::/48", via: "2001:db8::2" });
    const [mac] = [neighbour.mac?.slice()];
    const said = (word: number, from: Uint8Array) =>
      icmp6(a, "2001:db8::2", "2001:db8::1", 136, 0, word, Uint8Array.of(...address("2001:db8::2").bytes(), 2, 1, ...from));
    for (const solicited of [true, false]) {
      a.ip.neighbours.confirm(neighbour);
      assert.equal(neighbour.state, "REACHABLE");
      said(advertisement(false, solicited, false), EVIL);
      lab.settle();
      assert.deepEqual([neighbour.state, neighbour.mac, neighbour.isRouter], ["STALE", mac, true]);
      said(advertisement(false, solicited, false), EVIL);
      lab.settle();
      assert.deepEqual([neighbour.state, neighbour.mac, neighbour.isRouter], ["STALE", mac, true]);
    }
    said(advertisement(false, false, true), b.ip.interfaces[0].mac);
    lab.settle();
    assert.equal(neighbour.isRouter, false);
  });
});

describe("rule 9 of RFC 6724 §6", () => {
  const order = (...list: [string, string, number][]) => {
    const destinations = list.map(
      ([to, source, sourceLength]): Destination => ({ address: address(to), source: address(source), sourceLength, isDeprecated: false }),
    );
    return orderDestinations(destinations, new PolicyTable()).map((each) => String(each.address));
  };

  it("looks no further than the source's prefix", () => {
    // Both share the whole prefix of the source: they stay as they came, though the identifiers of one are more alike.
    assert.deepEqual(order(["2001:db8::ffff:1", "2001:db8::2", 64], ["2001:db8::3", "2001:db8::2", 64]), [
      "2001:db8::ffff:1",
      "2001:db8::3",
    ]);
    assert.deepEqual(order(["2001:db8:f::1", "2001:db8::2", 64], ["2001:db8:1::1", "2001:db8::2", 64]), ["2001:db8:1::1", "2001:db8:f::1"]);
  });

  it("of IPv4 only the own subnet counts", () => {
    assert.deepEqual(order(["198.51.100.7", "10.0.0.2", 24], ["11.0.0.1", "10.0.0.2", 24]), ["198.51.100.7", "11.0.0.1"]);
    assert.deepEqual(order(["10.0.1.7", "10.0.0.2", 24], ["10.0.0.9", "10.0.0.2", 24]), ["10.0.0.9", "10.0.1.7"]);
  });
});

describe("the hop limit that routers say (RFC 4861 §6.3.2)", () => {
  it("holds for TCP, UDP and ICMPv6, unless another is asked for", async () => {
    const lab = await Lab.create({ seed: SEED });
    const advertise = { hopLimit: 7, prefixes: [{ prefix: "2001:db8::/64" }] };
    const router = await lab.host({ forwarding: true, interfaces: [{ addresses: ["2001:db8::1/64"], advertise }] });
    const host = await lab.host({ interfaces: [{ autoconf: true, addresses: ["10.0.0.2/24"] }] });
    lab.link(router, host, { delay: 1 });
    await lab.run(20_000);
    router.addAddress("eth0", "10.0.0.1/24");
    router.listen({ port: 80 });
    const seen: number[] = [];
    const receive = router.tcp.receive.bind(router.tcp);
    router.tcp.receive = (id) => {
      seen.push(router.ip.words[0] >>> 24);
      receive(id);
    };
    const connect = async (hostname: string, hopLimit?: number) => {
      seen.length = 0;
      const opening = host.connect({ hostname, port: 80, hopLimit });
      await lab.run(100);
      const socket = await opening;
      socket.abort();
      await lab.run(100);
      return [...new Set(seen)];
    };
    assert.deepEqual(await connect("2001:db8::1"), [7]);
    assert.deepEqual(await connect("10.0.0.1"), [64]);
    assert.deepEqual(await connect("2001:db8::1", 9), [9]);
    const inbox = router.datagram({ port: 9 });
    host.datagram().send(new Uint8Array(1), { address: "2001:db8::1", port: 9 });
    const ping = router.ping(host.addresses().find(({ origin }) => origin === "ra")?.address ?? "");
    await lab.run(3000);
    assert.equal(inbox.tryReceive()?.hopLimit, 7);
    assert.equal((await ping).hopLimit, 7);
  });
});

describe("what programs are told of unreachable destinations (icmp_err_convert)", () => {
  const CODES4 =
    "ENETUNREACH EHOSTUNREACH ENOPROTOOPT! ECONNREFUSED! EMSGSIZE ENOTSUP ENETUNREACH! EHOSTDOWN! ENONET! ENETUNREACH! EHOSTUNREACH! ENETUNREACH EHOSTUNREACH EHOSTUNREACH! EHOSTUNREACH! EHOSTUNREACH!";
  const CODES6 = "ENETUNREACH EACCES! EHOSTUNREACH EHOSTUNREACH ECONNREFUSED! EACCES! EACCES!";

  for (const [family, to, codes] of [
    [4, "10.0.0.2", CODES4],
    [6, "2001:db8::2", CODES6],
  ] as const) {
    it(`IPv${family}: each ends connect() at once, and hard ones reach a connected UDP socket`, async () => {
      const { lab, a } = await pair();
      const ping = a.ping(to);
      await lab.run(10);
      await ping;
      lab.links[0].set({ cut: true });
      const own = a.ip.sourceFor(address(to), a.ip.pathTo(address(to))) as IpAddress;
      const type = family === 4 ? 3 : 1;
      /** An error about a packet of ours with these first bytes of its transport header. */
      const fail = (code: number, protocol: number, transport: Uint8Array) => {
        const quote = a.ip.packetOf(own, address(to), protocol, transport);
        if (family === 6) icmp6(a, "2001:db8::ffff", String(own), type, code, 0, quote);
        else put(a, a.ip.packetOf(address("10.0.0.254"), own, 1, icmpMessage(type, code, 0, quote, address("10.0.0.254"), own)));
        lab.settle();
      };
      for (const [code, expected] of codes.split(" ").entries()) {
        // A packet that was too big is another story.
        if (expected === "EMSGSIZE") continue;
        let ended = "pending";
        a.connect({ hostname: to, port: 80 }).catch((error) => (ended = error.code));
        await lab.run(1);
        fail(code, 6, tcpHead(a.tcp.list()[0]));
        await lab.run(1);
        assert.equal(`${ended}${expected.endsWith("!") ? "!" : ""}`, expected, `TCP, code ${code}`);
        assert.equal(a.tcp.list().length, 0);

        const endpoint = a.udp.bind(undefined, 0);
        endpoint.connect(address(to), 53);
        endpoint.send(new Uint8Array(8));
        const head = Uint8Array.of(endpoint.port >> 8, endpoint.port, 0, 53, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        let told = "";
        const read = () => {
          try {
            endpoint.read();
            return "";
          } catch (error) {
            return (error as { code: string }).code;
          }
        };
        fail(code, 17, head);
        told = read();
        assert.equal(told, expected.endsWith("!") ? expected.slice(0, -1) : "", `UDP, code ${code}`);
        endpoint.receiveErrors = true;
        fail(code, 17, head);
        assert.equal(read(), expected.replace("!", ""));
        assert.equal(endpoint.readError()?.code, expected.replace("!", ""));
        endpoint.close();
      }
      assert.equal(lab.engine.pool().inFlight, 0);
    });
  }
});

describe("a UDP length that is less than its packet's (RFC 768)", () => {
  it("says what is summed and what is the application's; beyond the packet it is refused", async () => {
    const { lab, a } = await pair();
    const inbox = a.udp.bind(undefined, 9);
    const [source, destination] = [address("10.0.0.2"), address("10.0.0.1")];
    const bytes = { source: source.bytes(), destination: destination.bytes() };
    const send = (behind: number, change: (datagram: Uint8Array) => void = () => {}) => {
      const datagram = serializeUdp({ sourcePort: 9, destinationPort: 9, payload: Uint8Array.of(1, 2, 3) }, bytes);
      change(datagram);
      put(a, a.ip.packetOf(source, destination, 17, Uint8Array.of(...datagram, ...new Uint8Array(behind).fill(7))));
      lab.settle();
    };
    send(5);
    assert.deepEqual(inbox.read()?.data, Uint8Array.of(1, 2, 3));
    send(5, (datagram) => {
      datagram[10] ^= 1;
    });
    send(0, (datagram) => {
      datagram[5] += 1;
    });
    send(0, (datagram) => {
      datagram[5] = 7;
    });
    assert.equal(inbox.readable, false);
    const { drops } = lab.engine.counters();
    assert.deepEqual([drops.l4_bad_checksum, drops.l4_bad_length], [1, 2]);
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});

describe("sources that cannot be (RFC 1122 §3.2.1.3)", () => {
  it("own addresses and subnet broadcasts from the link are dropped and counted", async () => {
    const { lab, a } = await pair();
    const inbox = a.udp.bind(undefined, 9);
    const refused = () => [lab.engine.counters().drops.ip4_martian_source ?? 0, a.ip.counters.in_martian_sources];
    const send = (from: string, to = "10.0.0.1") => {
      const addresses = { source: address(from), destination: address(to) };
      const bytes = { source: addresses.source.bytes(), destination: addresses.destination.bytes() };
      const datagram = serializeUdp({ sourcePort: 9, destinationPort: 9, payload: new Uint8Array(3) }, bytes);
      put(a, a.ip.packetOf(addresses.source, addresses.destination, 17, datagram));
      lab.settle();
    };
    for (const from of ["10.0.0.1", "10.0.0.255"]) send(from);
    assert.equal(inbox.readable, false);
    assert.deepEqual(refused(), [2, 0], "by the data plane, before there is a route");
    send("10.0.0.1", "224.0.0.1");
    assert.deepEqual(refused(), [2, 1], "groups are no matter of routes");
    send("10.0.0.7");
    assert.equal(String(inbox.read()?.address), "10.0.0.7");
    // What the host sends to itself is none of that.
    inbox.send(new Uint8Array(4), address("10.0.0.1"), 9);
    lab.settle();
    assert.equal(inbox.read()?.data.length, 4);
    a.removeAddress("eth0", "10.0.0.1");
    a.addAddress("eth0", "10.0.0.5/16");
    put(
      a,
      a.ip.packetOf(
        address("10.0.255.255"),
        address("10.0.0.5"),
        1,
        icmpMessage(8, 0, 1, new Uint8Array(8), address("10.0.0.1"), address("10.0.0.5")),
      ),
    );
    lab.settle();
    assert.deepEqual(refused(), [3, 1]);
    send("10.0.0.1", "10.0.0.5");
    assert.equal(String(inbox.read()?.address), "10.0.0.1", "somebody else's by now");
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});

describe("identifications and flow labels", () => {
  it("of one pair of addresses count, of different pairs tell nothing about each other", () => {
    const ids = new Identifications(new Random(SEED));
    const [me, you, other] = [address("10.0.0.1"), address("10.0.0.2"), address("192.0.2.77")];
    const first = ids.next(me, you, 17);
    assert.equal(ids.next(me, you, 17), (first + 1) >>> 0);
    const elsewhere = [1, 2, 3].map(() => ids.next(me, other, 17));
    assert.equal(ids.next(me, you, 17), (first + 2) >>> 0, "packets to others are not counted");
    assert.ok(!elsewhere.includes((first + 2) >>> 0));
    const again = new Identifications(new Random(SEED + 1));
    assert.notEqual(again.next(me, you, 17), first);
  });

  it("a flow has one label that is not 0, flows have different ones (RFC 6437 §3)", async () => {
    const { lab, a, b } = await pair();
    b.listen({ port: 80 });
    b.datagram({ port: 9 });
    const labels = new Map<string, Set<number>>();
    for (const layer of [b.tcp, b.udp]) {
      const receive = layer.receive.bind(layer);
      layer.receive = (id: number) => {
        const { words } = b.ip;
        const flow = `${(words[0] >>> 8) & 255} ${words[abi.SEG_SOURCE_PORT / 4]}`;
        labels.set(flow, (labels.get(flow) ?? new Set()).add(words[abi.SEG_FLOW_LABEL / 4]));
        receive(id);
      };
    }
    const opening = [1, 2, 3, 4].map(() => a.connect({ hostname: "2001:db8::2", port: 80 }));
    await lab.run(100);
    for (const socket of await Promise.all(opening)) await socket.write(new Uint8Array(20_000));
    for (let i = 0; i < 4; i++) {
      const socket = a.datagram();
      for (let n = 0; n < 3; n++) socket.send(new Uint8Array(8), { address: "2001:db8::2", port: 9 });
    }
    await lab.run(1000);
    assert.equal(labels.size, 8);
    const all = [...labels.values()].flatMap((set) => [...set]);
    assert.equal(all.length, 8, "one label for each flow");
    assert.equal(new Set(all).size, 8);
    assert.ok(all.every((label) => label > 0 && label < 1 << 20));
  });
});

describe("fragments", () => {
  const parts = (fields: readonly number[]) =>
    fields.map((ecn, i) =>
      serializeIpv4({
        tos: 0x28 | ecn,
        protocol: 17,
        source: 0x0a000002,
        destination: 0x0a000001,
        id: 7,
        fragmentOffset: 8 * i,
        moreFragments: i < fields.length - 1,
        payload: new Uint8Array(8).fill(i),
      }),
    );
  const whole = (fields: readonly number[], order = fields.map((_, i) => i)) => {
    const reassembly = new Reassembly(new Timers(), () => {});
    const pieces = parts(fields);
    let out: Uint8Array | undefined;
    for (const i of order) out = reassembly.add(pieces[i], 0) ?? out;
    return out?.[1];
  };

  it("with ECN fields that differ (RFC 3168 §5.3, Linux's ip_frag_ecn_table)", () => {
    for (const [fields, expected] of [
      [[0, 0, 0], 0x28],
      [[2, 2, 2], 0x2a],
      [[2, 3, 2], 0x2b],
      [[3, 1, 2], 0x2b],
      [[1, 2, 1], 0x29],
      [[3, 3, 3], 0x2b],
      [[2, 0, 2], undefined],
      [[0, 3, 0], undefined],
    ] as const) {
      assert.equal(whole(fields), expected, String(fields));
      assert.equal(whole(fields, [2, 0, 1]), expected, `${fields}, out of order`);
    }
  });

  it("never make a packet whose length field would wrap", () => {
    const reassembly = new Reassembly(new Timers(), () => {});
    const add = (fragmentOffset: number, bytes: number, moreFragments: boolean) =>
      reassembly.add(
        serializeIpv4({ protocol: 17, source: 1, destination: 2, id: 9, fragmentOffset, moreFragments, payload: new Uint8Array(bytes) }),
        0,
      );
    let out: Uint8Array | undefined;
    for (let at = 0; at < 65_512; at += 8 * 1023) out = add(at, Math.min(8 * 1023, 65_512 - at), true) ?? out;
    assert.equal(out, undefined);
    assert.equal(add(65_512, 8, false), undefined, "65,520 bytes and a header of 20");
    assert.equal(add(65_512, 3, false)?.length, 65_535);
  });
});

it("ways that take less than 552 bytes: what goes there is cut on the way, and arrives", async () => {
  for (const mtu of [296, 68]) {
    const lab = await Lab.create({ interfaces: 4, hosts: 3, seed: mtu });
    const near = await lab.host({ interfaces: [{ addresses: ["10.0.1.2/24"], gateway: "10.0.1.1" }] });
    const router = await lab.host({
      forwarding: true,
      interfaces: [{ addresses: ["10.0.1.1/24"] }, { addresses: ["10.0.2.1/24"], mtu }],
    });
    const far = await lab.host({ interfaces: [{ addresses: ["10.0.2.2/24"], gateway: "10.0.2.1" }] });
    lab.link(near, router, { delay: 5 });
    lab.link(router, far, { delay: 5 }, ["eth1", "eth0"]);
    const [inbox, out] = [far.datagram({ port: 53 }), near.datagram()];
    const arrived: (number | undefined)[] = [];
    for (const bytes of [400, 400, 1000, 400]) {
      out.send(new Uint8Array(bytes), { address: "10.0.2.2", port: 53 });
      await lab.run(1000);
      arrived.push(inbox.tryReceive()?.data.length);
    }
    // The first one tells what the way takes, as in Linux.
    assert.deepEqual(arrived, [undefined, 400, 1000, 400], `${mtu} bytes`);
    const listener = far.listen({ port: 80 });
    const received = listener.accept().then(async (socket) => {
      let sum = 0;
      for await (const chunk of socket.readable) sum += chunk.length;
      return sum;
    });
    const sent = near.connect({ hostname: "10.0.2.2", port: 80 }).then(async (socket) => {
      await socket.write(new Uint8Array(20_000));
      await socket.closeWrite();
    });
    let sum = 0;
    void received.then((bytes) => {
      sum = bytes;
    });
    await lab.run(10_000, () => sum > 0);
    await sent;
    assert.equal(sum, 20_000, `${mtu} bytes`);
    await lab.engine.close();
  }
});

it("links of labs carry what their interfaces' MTU allows", async () => {
  const lab = await Lab.create({});
  const [near, far] = [
    await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"], mtu: 9000 }] }),
    await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"], mtu: 9000 }] }),
  ];
  lab.link(near, far, { delay: 1 });
  const [inbox, out] = [far.datagram({ port: 9 }), near.datagram()];
  for (const bytes of [1500, 2020, 2100, 5000, 8972, 20_000]) {
    out.send(new Uint8Array(bytes).fill(bytes), { address: "10.0.0.2", port: 9 });
    await lab.run(100);
    assert.deepEqual(inbox.tryReceive()?.data, new Uint8Array(bytes).fill(bytes));
  }
  assert.deepEqual(lab.engine.counters().drops, {});
  await lab.engine.close();
});

it("links of labs tell what they are given, for captures", async () => {
  const lab = await Lab.create({ seed: SEED });
  const near = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
  const far = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] });
  const kindOf = (frame: Uint8Array) => (frame[12] << 8) | frame[13];
  const writer = new CaptureWriter();
  const from: number[] = [];
  const stop = lab.link(near, far, { delay: 1 }).tap((frame, end) => {
    writer.write(frame, BigInt(Math.round(lab.engine.clock.now() * 1e6)));
    if (kindOf(frame) === ETHERTYPE.ipv4) from.push(end);
  });
  void near.ping("10.0.0.2").catch(() => {});
  await lab.run(50);
  const kinds = readCapture(writer.bytes(), "link.pcap").packets.map(({ bytes }) => kindOf(bytes));
  assert.ok(kinds.includes(ETHERTYPE.arp));
  assert.deepEqual([kinds.filter((kind) => kind === ETHERTYPE.ipv4).length, from], [2, [0, 1]]);
  stop();
  void near.ping("10.0.0.2").catch(() => {});
  await lab.run(50);
  assert.equal(from.length, 2);
  await lab.engine.close();
});

describe("an address that is taken away", () => {
  for (const [old, other, peer] of [
    ["10.0.0.1/24", "10.0.0.3/24", "10.0.0.2"],
    ["2001:db8::1/64", "2001:db8::3/64", "2001:db8::2"],
  ] as const) {
    it(`${old}: nothing comes from it any more; connections go on when it is back`, async () => {
      const lab = await Lab.create({ seed: SEED });
      const near = await lab.host({ interfaces: [{ addresses: [old, other] }] });
      const far = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"] }] });
      const gone = address(old.split("/")[0]);
      let heard = 0;
      lab.link(near, far, { delay: 1 }).tap((frame, end) => {
        const at = gone.family === 4 ? 26 : 22;
        const isFrom = gone.bytes().every((byte, i) => frame[at + i] === byte);
        if (end === 0 && isFrom && ((frame[12] << 8) | frame[13]) !== ETHERTYPE.arp) heard++;
      });
      const listener = far.listen({ port: 80 });
      const opening = near.connect({ hostname: peer, port: 80, localAddress: String(gone) });
      const [bound, connected] = [near.datagram({ hostname: String(gone) }), near.datagram({ hostname: String(gone) })];
      connected.connect({ address: peer, port: 9 });
      await lab.run(100);
      const [socket, accepted] = [await opening, await listener.accept()];
      bound.send(Uint8Array.of(1), { address: peer, port: 9 });
      await lab.run(100);
      assert.ok(heard >= 3);

      near.removeAddress("eth0", String(gone));
      await lab.run(10);
      heard = 0;
      await socket.write(new Uint8Array(10_000));
      const refused = { code: "EINVAL", message: `${gone}, which the socket is bound to, is not an address of this host` };
      assert.throws(() => bound.send(Uint8Array.of(2), { address: peer, port: 9 }), refused);
      assert.throws(() => connected.send(Uint8Array.of(2)), refused);
      near.datagram().send(Uint8Array.of(3), { address: peer, port: 9 });
      await lab.run(5000);
      assert.equal(heard, 0);

      near.addAddress("eth0", old);
      let received = 0;
      const reading = (async () => {
        for await (const chunk of accepted.readable) {
          received += chunk.length;
          if (received === 10_000) return;
        }
      })();
      await lab.run(10_000);
      await reading;
      assert.equal(received, 10_000);
      bound.send(Uint8Array.of(4), { address: peer, port: 9 });
      await lab.engine.close();
    });
  }

  it("addresses that a route says are here can be bound to and sent from (AnyIP)", async () => {
    const { lab, a, b } = await pair();
    a.addRoute({ to: "192.0.2.0/24", kind: "local" });
    b.addRoute({ to: "192.0.2.0/24", via: "10.0.0.1" });
    const inbox = b.datagram({ port: 9 });
    const from = a.datagram({ hostname: "192.0.2.7", port: 7 });
    from.send(Uint8Array.of(1), { address: "10.0.0.2", port: 9 });
    a.listen({ hostname: "192.0.2.8", port: 80 });
    const opening = b.connect({ hostname: "192.0.2.8", port: 80 });
    await lab.run(100);
    assert.equal(String(inbox.tryReceive()?.address), "192.0.2.7");
    await opening;
    const pinging = b.ping("192.0.2.9");
    await lab.run(100);
    await pinging;
    assert.throws(() => a.datagram({ hostname: "198.51.100.1" }), { code: "EADDRNOTAVAIL" });
    await lab.engine.close();
  });
});
