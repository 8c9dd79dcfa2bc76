/** IPv4-mapped addresses in IPv6 packets and messages: nobody's, or what is said over IPv6 would change what IPv4 does. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatPrefix } from "../src/base/address.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import { decodeDhcp6, encodeDhcp6, TYPE6 } from "../src/dhcp/message6.ts";
import type { Host } from "../src/host/host.ts";
import { parseError } from "../src/ip/icmp.ts";
import { Lab } from "../src/lab/lab.ts";
import { ETHERTYPE, serializeEthernet, serializeIpv6 } from "../src/wire/index.ts";
import { serializeIcmp, serializeTcp, serializeUdp } from "../src/wire/l4.ts";
import { SEED } from "./support.ts";

const EVIL = Uint8Array.of(2, 0, 0, 0, 0, 9);
const six = (text: string) => {
  const { a, b, c, d } = IpAddress.parse(text);
  const out = new DataView(new ArrayBuffer(16));
  for (const [i, word] of [a, b, c, d].entries()) out.setInt32(4 * i, word);
  return new Uint8Array(out.buffer);
};

async function pair(): Promise<{ lab: Lab; a: Host; b: Host }> {
  const lab = await Lab.create({ seed: SEED });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "2001:db8::1/64"] }] });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"], gateway: "10.0.0.1", autoconf: true }] });
  lab.link(a, b, { delay: 1 });
  await lab.run(5000);
  return { lab, a, b };
}

function put(host: Host, source: Uint8Array, destination: Uint8Array, protocol: number, payload: Uint8Array): void {
  const { port, mac } = host.ip.interfaces[0];
  const packet = serializeIpv6({ source, destination, protocol, hopLimit: 255, payload });
  const to = destination[0] === 0xff ? Uint8Array.of(0x33, 0x33, ...destination.subarray(12)) : mac;
  port.receive(serializeEthernet({ destination: to, source: EVIL, type: ETHERTYPE.ipv6, payload: packet }));
}

function icmp(host: Host, from: string, to: string, type: number, rest: number, payload: readonly number[]): void {
  const [source, destination] = [six(from), six(to)];
  put(host, source, destination, 58, serializeIcmp({ type, code: 0, rest, payload: Uint8Array.from(payload) }, { source, destination }));
}

const hour = [0, 0, 14, 16];
const prefixOption = (prefix: string, length: number) => [3, 4, length, 0xc0, ...hour, ...hour, 0, 0, 0, 0, ...six(prefix)];
const routeOption = (prefix: string, length: number) => [24, 3, length, 0, 0, 0, 2, 88, ...six(prefix)];

const stateOf = (host: Host) => ({
  routes: host.ip.routes.list().map((route) => `${formatPrefix(route.prefix)} ${route.metric}`),
  addresses: host.addresses().map((each) => each.address),
  servers: host.names.resolver.servers,
  onLink: host.ip.interfaces[0].onLink.map(({ address, length }) => `${address}/${length}`),
  neighbours: host.ip.neighbours
    .list()
    .filter(({ address }) => address.family === 4)
    .map(({ address, mac }) => `${address} ${mac}`),
});

describe("IPv4-mapped addresses over IPv6", () => {
  it("router advertisements, solicitations and advertisements of neighbours, redirects change nothing of IPv4", async () => {
    const { lab, a, b } = await pair();
    a.ping("10.0.0.2").catch(() => {});
    await lab.run(50);
    // The router itself may be learnt.
    icmp(b, "fe80::9", "ff02::1", 134, 0x40000708, [0, 0, 0, 0, 0, 0, 0, 0]);
    await lab.run(50);
    const before = stateOf(b);
    const options = [
      ...prefixOption("::ffff:0.0.0.0", 1),
      ...prefixOption("::ffff:10.9.9.0", 64),
      ...prefixOption("::ffff:10.9.9.0", 24),
      ...routeOption("::ffff:10.8.8.8", 32),
      ...routeOption("::ffff:10.8.0.0", 112),
      ...[25, 3, 0, 0, 0, 0, 1, 0, ...six("::ffff:6.6.6.6")],
    ];
    icmp(b, "fe80::9", "ff02::1", 134, 0x40000708, [0, 0, 0, 0, 0, 0, 0, 0, ...options]);
    icmp(b, "fe80::9", "2001:db8::2", 135, 0, [...six("::ffff:10.0.0.2"), 1, 1, ...EVIL]);
    icmp(b, "fe80::9", "2001:db8::2", 136, 0x60000000, [...six("::ffff:10.0.0.1"), 2, 1, ...EVIL]);
    icmp(b, "fe80::9", "2001:db8::2", 137, 0, [...six("fe80::9"), ...six("::ffff:10.0.0.77"), 2, 1, ...EVIL]);
    await lab.run(5000);
    assert.deepEqual(stateOf(b), before);
    assert.equal(lab.engine.pool().inFlight, 0);
  });

  it("packets from and to them are martians, whatever they carry", async () => {
    const { lab, b } = await pair();
    const undisturbed = await pair();
    const inbox = b.udp.bind(undefined, 4000);
    b.tcp.listen(undefined, 80);
    const tcp = {
      sequence: 1,
      acknowledgement: 0,
      flags: 2,
      window: 1000,
      urgentPointer: 0,
      options: new Uint8Array(0),
      payload: new Uint8Array(0),
    };
    for (const [from, to] of [
      ["::ffff:10.0.0.77", "2001:db8::2"],
      ["2001:db8::1", "::ffff:10.0.0.2"],
      ["::ffff:10.0.0.1", "ff02::1"],
    ]) {
      const addresses = { source: six(from), destination: six(to) };
      const udp = serializeUdp({ sourcePort: 1, destinationPort: 4000, payload: new Uint8Array(3) }, addresses);
      put(b, addresses.source, addresses.destination, 17, udp);
      put(b, addresses.source, addresses.destination, 6, serializeTcp({ sourcePort: 1234, destinationPort: 80, ...tcp }, addresses));
      icmp(b, from, to, 128, 1, [0, 0, 0, 0]);
    }
    await lab.run(100);
    await undisturbed.lab.run(100);
    assert.equal(inbox.readable, false);
    assert.equal(b.tcp.list().length, 0);
    // Router solicitations go on (RFC 7559): what it sends is what the same host sends when nothing comes.
    assert.equal(b.ip.counters.out_requests, undisturbed.b.ip.counters.out_requests);
    const { drops } = lab.engine.counters();
    assert.equal(drops.ip6_martian_source, 6);
    assert.equal(drops.ip6_martian_destination, 3);
  });

  it("an ICMPv6 error that quotes them is about nothing", () => {
    const quoted = (from: string, to: string) => {
      const inner = serializeIpv6({ source: six(from), destination: six(to), protocol: 17, payload: new Uint8Array(8) });
      const message = serializeIcmp(
        { type: 2, code: 0, rest: 1280, payload: inner },
        { source: six("fe80::9"), destination: six("2001:db8::2") },
      );
      return parseError(message, IpAddress.parse("fe80::9"));
    };
    assert.equal(quoted("2001:db8::2", "2001:db8::1")?.kind, "tooBig");
    assert.equal(quoted("2001:db8::2", "::ffff:10.0.0.1"), undefined);
    assert.equal(quoted("::ffff:10.0.0.2", "2001:db8::1"), undefined);
  });

  it("DHCPv6 grants none, and names no server by one", () => {
    const lifetimes = { preferred: 100, valid: 200 };
    const reply = encodeDhcp6({
      type: TYPE6.REPLY,
      xid: 1,
      dns: ["2001:db8::53", "2001:db8::54"],
      associations: [{ kind: "na", iaid: 1, t1: 0, t2: 0, grants: [{ address: "2001:db8::7", length: 128, ...lifetimes }] }],
    });
    const replace = (from: string) => {
      const at = Buffer.from(reply).indexOf(six(from));
      const out = reply.slice();
      out.set(six("::ffff:10.0.0.1"), at);
      return out;
    };
    assert.deepEqual(decodeDhcp6(replace("2001:db8::53")).dns, ["2001:db8::54"]);
    assert.throws(() => decodeDhcp6(replace("2001:db8::7")), /IPv4-mapped/);
  });

  it("a route that cannot be made leaves nothing behind", async () => {
    const { b } = await pair();
    const before = b.ip.routes.list().length;
    const nextHops = [{ via: IpAddress.parse("10.0.0.1"), iface: b.ip.interfaces[0] }];
    const prefix = { family: 6, high: 0n, low: 0n, length: 64 } as const;
    assert.throws(() => b.ip.routes.add({ prefix, kind: "unicast", nextHops, metric: 1, protocol: "static" }), /gateway/);
    assert.equal(b.ip.routes.list().length, before);
    nextHops[0] = { via: IpAddress.parse("fe80::9"), iface: b.ip.interfaces[0] };
    b.ip.routes.add({ prefix, kind: "unicast", nextHops, metric: 1, protocol: "static" });
    assert.equal(b.ip.routes.list().length, before + 1);
  });
});
