/** Neighbours under routes that name them, tables that are full, and packets that wait: no loop, no loss, no throw. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { LoomError } from "../src/base/errors.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import { serveDhcp } from "../src/host/dhcp-server.ts";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/lab.ts";
import { ETHERTYPE, serializeEthernet, serializeIpv4 } from "../src/wire/index.ts";
import { serializeUdp } from "../src/wire/l4.ts";
import { SEED } from "./support.ts";

const address = (text: string) => IpAddress.parse(text);

async function answers(lab: Lab, host: Host, to: string): Promise<boolean> {
  const reply = host.ping(to, { timeout: 1000 }).then(
    () => true,
    () => false,
  );
  await lab.run(2000);
  return reply;
}

const at = (host: Host, to: string) => host.ip.neighbours.find(host.ip.interfaces[0], address(to));

async function pair(): Promise<{ lab: Lab; a: Host; b: Host }> {
  const lab = await Lab.create({ seed: SEED });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "10.9.9.9/32", "2001:db8::1/64"] }] });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"] }] });
  lab.link(a, b, { delay: 1 });
  return { lab, a, b };
}

describe("host routes on the link", () => {
  for (const [to, before] of [
    ["10.9.9.9/32", false],
    ["10.0.0.1/32", true],
    ["2001:db8::1/128", true],
  ] as const) {
    it(`${to} leads to the neighbour${before ? ", known before," : ""} and goes without a trace`, async () => {
      const { lab, b } = await pair();
      const [name] = to.split("/");
      assert.equal(await answers(lab, b, name), before);
      b.addRoute({ to, interface: "eth0" });
      assert.equal(await answers(lab, b, name), true);
      b.ip.neighbours.flush(b.ip.interfaces[0]);
      assert.equal(await answers(lab, b, name), true, "after the neighbour was forgotten");
      b.removeRoute(to);
      assert.equal(await answers(lab, b, name), before);
      if (before) {
        const neighbour = at(b, name);
        assert.equal(b.ip.routes.lookup(address(name)), neighbour?.hop, "the neighbour has its own way in the table again");
        assert.equal(neighbour?.uses, 0);
      }
      assert.equal(lab.engine.pool().inFlight, 0);
    });
  }

  it("a gateway outside of any subnet, as clouds give it by DHCP (RFC 3442)", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "10.9.9.9/32", "192.0.2.1/32"] }] });
    const routes = [
      { to: "10.9.9.9/32", via: "0.0.0.0" },
      { to: "0.0.0.0/0", via: "10.9.9.9" },
    ];
    serveDhcp(a, { pools: [{ subnet: "10.0.0.0/24", range: ["10.0.0.100", "10.0.0.110"], routes }] });
    const c = await lab.host({ interfaces: [{ dhcp: "v4" }] });
    lab.link(a, c, { delay: 1 });
    await lab.run(20_000);
    assert.equal(await answers(lab, c, "10.9.9.9"), true);
    assert.equal(await answers(lab, c, "192.0.2.1"), true);
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});

describe("packets that wait for a neighbour", () => {
  it("go where they were sent: by another interface, by a policy's table", async () => {
    const lab = await Lab.create({ seed: SEED, interfaces: 12, memory: { tables: 16 } });
    const host = await lab.host({ interfaces: [{ addresses: ["10.1.0.1/24"] }, { addresses: ["10.2.0.1/24"] }] });
    const x = await lab.host({ interfaces: [{ addresses: ["10.1.0.2/24"] }] });
    const y = await lab.host({ interfaces: [{ addresses: ["10.2.0.2/24", "192.0.2.1/32"] }] });
    lab.link(host, x, { delay: 1 });
    lab.link(host, y, { delay: 1 }, ["eth1", "eth0"]);
    await lab.run(3000);
    const received = y.datagram({ port: 53 });
    const sender = host.udp.bind(undefined, 0);
    sender.send(new Uint8Array(3), y.ip.interfaces[0].linkLocal, 53, { iface: host.ip.interface("eth1") });
    await lab.run(900);
    assert.equal(received.tryReceive()?.data.length, 3);
    host.addRoute({ to: "0.0.0.0/0", via: "10.2.0.2", interface: "eth1", table: 100 });
    host.addRule({ priority: 100, from: "10.2.0.0/24", table: 100 });
    const bound = host.udp.bind(address("10.2.0.1"), 0);
    bound.send(new Uint8Array(4), address("192.0.2.1"), 53);
    await lab.run(900);
    assert.equal(received.tryReceive()?.data.length, 4);
    assert.equal(host.ip.counters.out_no_routes, 0);
    assert.equal(lab.engine.pool().inFlight, 0);
  });

  it("with no room in the data plane's table the host leads its own, and a router drops instead of turning in circles", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ interfaces: [{ addresses: ["10.1.0.1/24"], gateway: "10.1.0.254" }] });
    const router = await lab.host({ forwarding: true, interfaces: [{ addresses: ["10.1.0.254/24"] }, { addresses: ["10.2.0.254/24"] }] });
    const b = await lab.host({ interfaces: [{ addresses: ["10.2.0.2/24"], gateway: "10.2.0.254" }] });
    lab.link(a, router, { delay: 1 });
    lab.link(b, router, { delay: 1 }, ["eth0", "eth1"]);
    router.ip.tables[4].set = () => {
      throw new LoomError("ENOMEM", "full");
    };
    assert.equal(await answers(lab, router, "10.2.0.2"), true);
    assert.ok(router.ip.neighbours.counters.noRoom > 0);
    assert.equal(await answers(lab, a, "10.2.0.2"), false);
    assert.ok(router.ip.counters.out_no_routes > 0);
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});

describe("a full neighbour table", () => {
  it("keeps its gateways, and forgets one of the others instead", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/16", "192.0.2.1/32"] }] });
    const b = await lab.host({ neighbours: 16, interfaces: [{ addresses: ["10.0.0.2/16"], gateway: "10.0.0.1" }] });
    lab.link(a, b, { delay: 1 });
    // The gateway itself is the oldest unresolved one.
    const socket = b.datagram({});
    for (let i = 0; i < 64; i++) socket.send(new Uint8Array(1), { address: `10.0.1.${i}`, port: 9 });
    lab.settle();
    assert.notEqual(at(b, "10.0.0.1")?.state, "FAILED");
    assert.ok(b.ip.neighbours.size <= 16);
    assert.ok(b.ip.neighbours.counters.evicted > 0);
    assert.equal(await answers(lab, b, "192.0.2.1"), true);
    for (let i = 64; i < 128; i++) socket.send(new Uint8Array(1), { address: `10.0.1.${i}`, port: 9 });
    assert.equal(at(b, "10.0.0.1")?.state, "REACHABLE");
    await lab.run(10_000);
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});

describe("frames made in JavaScript", () => {
  it("never reach beyond a buffer: chained up to the MTU, counted and dropped beyond it", async () => {
    const lab = await Lab.create({ seed: SEED, memory: { buffers: 128 } });
    const a = await lab.host({ interfaces: [{ mtu: 9000, addresses: ["10.0.0.1/24"] }] });
    const b = await lab.host({ interfaces: [{ mtu: 9000, addresses: ["10.0.0.2/24"] }] });
    lab.join(a, b);
    await lab.run(10);
    const { memory } = lab.engine;
    const { stride, sizes } = memory.layout;
    const base = memory.base(abi.REGION_BUFFERS);
    const zones = () =>
      Array.from({ length: sizes.buffers }, (_, i) => memory.u8.slice(base + (i + 1) * stride - 64, base + (i + 1) * stride));
    const before = zones();
    const inbox = b.datagram({ port: 67 });
    const addresses = { source: address("10.0.0.9").bytes(), destination: address("10.0.0.2").bytes() };
    for (const length of [60_000, 9000 - 28, 1]) {
      const datagram = serializeUdp({ sourcePort: 68, destinationPort: 67, payload: new Uint8Array(length).fill(0x41) }, addresses);
      const packet = serializeIpv4({
        protocol: 17,
        source: address("10.0.0.9").v4,
        destination: address("10.0.0.2").v4,
        payload: datagram,
      });
      const link = { destination: b.ip.interfaces[0].mac, source: a.ip.interfaces[0].mac, type: ETHERTYPE.ipv4 };
      a.ip.sendFrame(a.ip.interfaces[0], serializeEthernet({ ...link, payload: packet }));
    }
    await lab.run(100);
    assert.deepEqual([inbox.tryReceive()?.data.length, inbox.tryReceive()?.data.length], [9000 - 28, 1]);
    assert.equal(a.ip.counters.out_too_big, 1);
    assert.deepEqual(zones(), before);
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});
