/** Attacks on what passes between the hooks: packets that this host makes about others', zones of one direction, pieces that wait for their whole. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/index.ts";
import { Lab } from "../src/lab/index.ts";
import { ETHERTYPE, PROTOCOL, serializeEthernet, serializeIpv4, serializeIpv6, serializeUdp } from "../src/wire/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { lanAndServer } from "./nat-rig.ts";
import { BUILDS, SEED, through } from "./support.ts";
import { ACK, crossing, FIN, SYN, tcp, udp } from "./track-rig.ts";

const CLIENT = IpAddress.parse("10.0.0.1");
const SERVER = IpAddress.parse("20.0.0.1");
const STRANGER = Uint8Array.of(2, 9, 9, 9, 9, 9);

const counts = (host: Host): number[] => host.firewall.counters().map(({ packets = 0 }) => packets);

for (const build of BUILDS)
  describe(`answers of rules and the rules they meet (${build})`, () => {
    for (const rule of ["log group 1", "dup to 10.0.0.2", "queue num 1", "drop", "reject", "meta mark set 7"])
      for (const priority of [0, "raw"])
        it(`a reset meets "${rule}" in output, priority ${priority}`, async () => {
          const lab = await Lab.create({ seed: SEED, interfaces: 4, hosts: 2, memory: { flows: 64, filterBytes: 4 << 20, build } });
          const host = await lab.host({ interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24"] }] });
          const peer = await lab.host({ interfaces: [{ name: "eth0", addresses: ["10.0.0.2/24"] }] });
          lab.link(host, peer, { delay: 1 }, ["eth0", "eth0"]);
          host.firewall.apply(`table ip t {
            chain i { type filter hook input priority 0; tcp dport 80 ct state established counter reject with tcp reset; }
            chain o { type filter hook output priority ${priority}; tcp flags rst counter ${rule}; }
            chain p { type filter hook postrouting priority 0; tcp flags rst ct state related counter; }
          }`);
          host.onQueue(1, () => "accept");
          host.listen({ port: 80 });
          await lab.run(100);
          const { memory } = host.ip.engine;
          const low = memory.u8.slice(0, 256);
          for (let i = 0; i < 3; i++) peer.connect({ hostname: "10.0.0.1", port: 80 }).catch(() => undefined);
          await lab.run(2000);
          const [rejected, seen, related] = counts(host);
          assert.ok(rejected >= 3 && seen >= 3, `${rejected} rejected, ${seen} resets`);
          if (rule !== "drop" && rule !== "reject") assert.equal(related, seen, "whatever it waited for, a reset is of its connection");
          // Addresses of the engine's memory are small numbers too, and numbers of flows are no addresses.
          assert.deepEqual(memory.u8.slice(0, 256), low);
          await lab.run(700_000);
          assert.deepEqual([host.ip.engine.pool().inFlight, host.ip.engine.pool("bare").inFlight], [0, 0]);
          auditFlows(host.ip.engine);
        });
  });

/** A crossing whose packets are in a zone one way only. */
async function oneWay(build: "shared" | "plain") {
  const rules = "table ip t { chain raw { type filter hook prerouting priority raw; ct original zone set 7; }; }";
  const { engine, clock, conntrack } = await crossing(build, rules);
  const list = () => [...conntrack.list()].map(({ original, zone, zoneOf }) => `${original.src} ${zone} ${zoneOf}`);
  return { engine, clock, list };
}

for (const build of BUILDS)
  describe(`what begins where a flow in a zone of one direction was (${build})`, () => {
    it("another connection, begun by the server", async () => {
      const { engine, list } = await oneWay(build);
      const sides = [
        { from: CLIENT.v4, to: SERVER.v4, ports: [1000, 80] },
        { from: SERVER.v4, to: CLIENT.v4, ports: [80, 1000] },
      ];
      const segment = (p: 0 | 1, flags: number, sequence: number, acknowledgement = 0) => {
        const { from, to, ports } = sides[p];
        through(engine, [tcp(p, from, to, { ports: [ports[0], ports[1]], flags, sequence, acknowledgement })], p);
      };
      segment(0, SYN, 100);
      segment(1, SYN | ACK, 500, 101);
      segment(0, ACK, 101, 501);
      segment(0, FIN | ACK, 101, 501);
      segment(1, FIN | ACK, 501, 102);
      segment(0, ACK, 102, 502);
      assert.deepEqual(list(), ["10.0.0.1 7 original"]);
      segment(1, SYN, 9000);
      assert.deepEqual(list(), ["20.0.0.1 7 original"]);
      auditFlows(engine);
    });

    it("datagrams of the server, when its client's flow is over", async () => {
      const { engine, clock, list } = await oneWay(build);
      through(engine, [udp(0, CLIENT.v4, SERVER.v4, 1000, 53)], 0);
      clock.advance(200_000);
      through(engine, [udp(1, SERVER.v4, CLIENT.v4, 53, 1000)], 1);
      assert.deepEqual(list(), ["20.0.0.1 7 original"]);
      auditFlows(engine);
    });
  });

describe("what is announced, in a zone of one direction", () => {
  for (const zone of ["ct zone set 7", "ct original zone set 7", "ct reply zone set 7"])
    it(zone, async () => {
      const { lab, client, router, server } = await lanAndServer(`table ip t {
        ct helper h { type "tftp" protocol udp; }
        chain raw { type filter hook prerouting priority raw; ${zone}; }
        chain pre { type filter hook prerouting priority filter; udp dport 69 ct helper set "h"; }
        chain f { type filter hook forward priority filter; policy drop; udp sport 4000 ct state related counter; ct state established,related accept; iifname "lan" accept; }
      }`);
      server.addRoute({ to: "10.0.0.0/24", via: "192.0.2.1" });
      const inbox = client.datagram({ port: 5000 });
      inbox.send(Uint8Array.of(0, 1, 97, 0, 111, 99, 116, 101, 116, 0), { address: "192.0.2.2", port: 69 });
      await lab.run(100);
      server.datagram({ port: 4000 }).send(Uint8Array.of(0, 3, 0, 1, 65), { address: "10.0.0.2", port: 5000 });
      await lab.run(2000);
      assert.deepEqual([inbox.tryReceive()?.data.length, counts(router)], [5, [1]]);
    });
});

/** A router, and a way to have frames of a stranger arrive at its first interface. */
async function routed(rules: string, mtu = 1500) {
  const lab = await Lab.create({ seed: SEED, interfaces: 4, hosts: 2, memory: { flows: 64, filterBytes: 4 << 20 } });
  const router = await lab.host({
    forwarding: true,
    interfaces: [
      { name: "m0", addresses: ["10.0.0.254/8", "2001:db8:1::1/64"] },
      { name: "m1", addresses: ["20.0.0.254/8", "2001:db8:2::1/64"], mtu },
    ],
  });
  const peer = await lab.host({ interfaces: [{ name: "e0", addresses: ["20.0.0.1/8", "2001:db8:2::2/64"], mtu }] });
  lab.link(router, peer, { delay: 1 }, ["m1", "e0"]);
  router.firewall.apply(rules);
  await lab.run(3000);
  const iface = router.ip.interface("m0");
  assert.ok(iface?.port);
  const { port, mac: destination } = iface;
  const arrive = (payload: Uint8Array) => {
    const type = payload[0] >>> 4 === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
    router.ip.engine.port(port.index).receive(serializeEthernet({ destination, source: STRANGER, type, payload }));
  };
  return { lab, router, peer, arrive };
}

/** A datagram of 3,000 bytes in three pieces. */
function pieces(): Uint8Array[] {
  const ends = { source: CLIENT.bytes(), destination: SERVER.bytes() };
  const whole = serializeUdp({ sourcePort: 1000, destinationPort: 53, payload: new Uint8Array(3000) }, ends);
  return [0, 1480, 2960].map((at) => {
    const header = { source: CLIENT.v4, destination: SERVER.v4, protocol: PROTOCOL.udp, id: 77 };
    return serializeIpv4({ ...header, fragmentOffset: at, moreFragments: at < 2960, payload: whole.subarray(at, at + 1480) });
  });
}

describe("pieces and the first rules of prerouting", () => {
  it("who is not to be tracked is not put together", async () => {
    const { lab, router, peer, arrive } = await routed(`table ip t {
      chain first { type filter hook prerouting priority -450; counter notrack; }
      chain f { type filter hook forward priority 0; ct state untracked counter; ct state new counter; }
    }`);
    const inbox = peer.datagram({ port: 53 });
    for (const piece of pieces()) arrive(piece);
    await lab.run(100);
    assert.deepEqual([counts(router), inbox.tryReceive()?.data.length], [[3, 3, 0], 3000]);
  });

  it("a whole packet has the mark of its first piece", async () => {
    const { lab, router, arrive } = await routed(`table ip t {
      chain first { type filter hook prerouting priority -450; ip frag-off & 0x1fff == 0 meta mark set 7; ip frag-off & 0x1fff != 0 meta mark set 9; }
      chain f { type filter hook forward priority 0; ct state new meta mark 7 counter; meta mark != 7 counter; }
    }`);
    for (const piece of pieces().reverse()) arrive(piece);
    await lab.run(100);
    assert.deepEqual(counts(router), [1, 0]);
  });

  it("what was its own only piece, and has grown, is cut for the link that it goes by", async () => {
    const { lab, router, peer, arrive } = await routed(
      "table inet t { chain f { type filter hook forward priority 0; ct state new counter queue num 1; }; }",
      1280,
    );
    const [source, destination] = [IpAddress.parse("2001:db8:1::5").bytes(), IpAddress.parse("2001:db8:2::2").bytes()];
    router.onQueue(1, () => {
      const payload = serializeUdp({ sourcePort: 1, destinationPort: 9, payload: new Uint8Array(2000) }, { source, destination });
      return { bytes: serializeIpv6({ source, destination, protocol: PROTOCOL.udp, hopLimit: 63, payload }) };
    });
    const frag = "exthdr frag exists";
    peer.firewall.apply(`table ip6 t { chain first {
      type filter hook prerouting priority -450;
      ${frag} meta length 1280 counter; ${frag} meta length 824 counter; ${frag} counter;
    }; }`);
    const inbox = peer.datagram({ port: 9 });
    const payload = serializeUdp({ sourcePort: 1, destinationPort: 9, payload: new Uint8Array(100) }, { source, destination });
    const extensions = [{ type: 44, bytes: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1) }];
    arrive(serializeIpv6({ source, destination, protocol: PROTOCOL.udp, hopLimit: 64, extensions, payload }));
    await lab.run(3000);
    assert.deepEqual([counts(router), inbox.tryReceive()?.data.length, counts(peer)], [[1], 2000, [1, 1, 2]]);
  });
});

describe("who says that he is this host", () => {
  it("to a group, a broadcast address or this host: rules of prerouting meet it, no others, and no socket", async () => {
    const { lab, router, arrive } = await routed(`table ip t {
      chain p { type filter hook prerouting priority 0; udp dport 9 counter; }
      chain i { type filter hook input priority 0; udp dport 9 counter; }
    }`);
    const inbox = router.datagram({ port: 9 });
    const say = async (from: string, to: string) => {
      const [source, destination] = [IpAddress.parse(from), IpAddress.parse(to)];
      const ends = { source: source.bytes(), destination: destination.bytes() };
      const payload = serializeUdp({ sourcePort: 1, destinationPort: 9, payload: new Uint8Array(4) }, ends);
      arrive(serializeIpv4({ source: source.v4, destination: destination.v4, protocol: PROTOCOL.udp, payload }));
      await lab.run(50);
    };
    for (const from of ["10.0.0.254", "20.0.0.254"]) for (const to of ["224.0.0.1", "255.255.255.255", "10.0.0.254"]) await say(from, to);
    assert.deepEqual([counts(router), inbox.tryReceive(), lab.engine.counters().drops.ip4_martian_source], [[6, 0], undefined, 6]);
    await say("10.0.0.7", "224.0.0.1");
    assert.deepEqual(counts(router), [7, 1]);
  });
});

describe("who is asked for a neighbour", () => {
  it("hears the address that the waiting packet is from, whichever interface has it (Linux's arp_announce 0)", async () => {
    const { lab, router, peer } = await routed("flush ruleset");
    peer.firewall.apply(`table arp t { chain i { type filter hook input priority 0;
      arp operation request arp saddr ip 10.0.0.254 counter; arp operation request counter; }; }`);
    router.datagram({ hostname: "10.0.0.254" }).send(Uint8Array.of(1), { address: "20.0.0.1", port: 9 });
    await lab.run(100);
    assert.deepEqual(counts(peer), [1, 1]);
  });
});

describe("checksums that rules have looked at", () => {
  for (const rules of ["", "table inet t { chain i { type filter hook input priority 0; ct state new counter; }; }"])
    it(`a datagram of IPv6 without one is not delivered, ${rules ? "tracked" : "not tracked"} (RFC 8200 §8.1)`, async () => {
      const { lab, router, arrive } = await routed(rules || "flush ruleset");
      const inbox = router.datagram({ port: 9 });
      const [source, destination] = [IpAddress.parse("2001:db8:1::5").bytes(), IpAddress.parse("2001:db8:1::1").bytes()];
      const payload = serializeUdp({ sourcePort: 1, destinationPort: 9, payload: new Uint8Array(4) }, { source, destination });
      arrive(serializeIpv6({ source, destination, protocol: PROTOCOL.udp, hopLimit: 64, payload }));
      payload[6] = payload[7] = 0;
      arrive(serializeIpv6({ source, destination, protocol: PROTOCOL.udp, hopLimit: 64, payload }));
      await lab.run(50);
      assert.deepEqual([inbox.tryReceive()?.data.length, inbox.tryReceive()], [4, undefined]);
    });
});
