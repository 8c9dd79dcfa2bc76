/** Several tables and rules: what a host sends, and what it forwards by the interface it came in by. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/lab.ts";
import { SEED } from "./support.ts";

const address = (text: string) => IpAddress.parse(text);

describe("rules for what a host sends", () => {
  const make = async () => {
    const lab = await Lab.create({ seed: SEED, hosts: 8 });
    const host = await lab.host({
      interfaces: [
        { addresses: ["10.1.0.1/24", "2001:db8:1::1/64"], gateway: ["10.1.0.254", "2001:db8:1::fe"] },
        { addresses: ["10.2.0.1/24", "2001:db8:2::1/64"] },
      ],
    });
    return { lab, host };
  };
  const via = (host: Host, to: string, hint = {}) => String(host.ip.pathTo(address(to), undefined, hint).neighbour?.address);

  it("by source, destination and mark, in their order, until a table has a route", async () => {
    const { host } = await make();
    host.addRoute({ to: "0.0.0.0/0", via: "10.2.0.254", table: 100 });
    host.addRoute({ to: "192.0.2.0/24", via: "10.2.0.253", table: 101 });
    host.addRoute({ to: "::/0", via: "2001:db8:2::fe", table: 100 });
    assert.equal(via(host, "198.51.100.1"), "10.1.0.254");
    host.addRule({ priority: 100, from: "10.2.0.1", table: 100 });
    host.addRule({ priority: 101, from: "2001:db8:2::/64", table: 100 });
    host.addRule({ priority: 50, mark: 7, table: 101 });
    host.addRule({ priority: 40, to: "203.0.113.0/24", action: "prohibit" });
    assert.equal(via(host, "198.51.100.1"), "10.1.0.254");
    assert.equal(via(host, "198.51.100.1", { source: address("10.2.0.1") }), "10.2.0.254");
    assert.equal(via(host, "2001:db8:9::1", { source: address("2001:db8:2::1") }), "2001:db8:2::fe");
    assert.equal(via(host, "2001:db8:9::1", { source: address("2001:db8:1::1") }), "2001:db8:1::fe");
    assert.equal(via(host, "192.0.2.1", { mark: 7 }), "10.2.0.253");
    assert.equal(via(host, "192.0.2.1", { mark: 7, source: address("10.2.0.1") }), "10.2.0.253");
    assert.equal(via(host, "198.51.100.1", { mark: 7 }), "10.1.0.254", "the table has no such route: the next rule");
    assert.equal(host.ip.pathTo(address("203.0.113.9")).iface, undefined);
    assert.equal(
      host.ip.pathTo(address("10.2.0.1"), undefined, { source: address("10.2.0.1") }).isLocal,
      true,
      "own addresses are in every table",
    );
    host.addAddress("eth1", "10.2.0.7/24");
    assert.equal(host.ip.pathTo(address("10.2.0.7"), undefined, { source: address("10.2.0.1") }).isLocal, true);
    host.removeRule(100);
    assert.equal(via(host, "198.51.100.1", { source: address("10.2.0.1") }), "10.1.0.254");
    assert.throws(() => host.removeRule(100), { code: "ENOENT" });
    assert.throws(() => host.addRule({ priority: 50 }), { code: "EEXIST" });
  });

  it("by protocol, ports, bits of a mark and the socket's interface, and by what is not so", async () => {
    const { host } = await make();
    const peer = "198.51.100.1";
    for (let n = 0; n < 5; n++) host.addRoute({ to: "0.0.0.0/0", via: `10.2.0.${100 + n}`, table: 100 + n });
    host.addRoute({ to: "::/0", via: "2001:db8:2::fe", table: 100 });
    host.addRule({ priority: 10, protocol: "udp", destinationPort: [5000, 5999], table: 100 });
    host.addRule({ priority: 20, protocol: 6, sourcePort: 22, table: 101 });
    host.addRule({ priority: 30, mark: 0x10, markMask: 0xf0, table: 102 });
    host.addRule({ priority: 40, boundTo: "eth1", table: 103 });
    const udp = (destinationPort: number) => via(host, peer, { protocol: 17, destinationPort });
    assert.deepEqual([4999, 5000, 5999, 6000].map(udp), ["10.1.0.254", "10.2.0.100", "10.2.0.100", "10.1.0.254"]);
    assert.equal(via(host, peer, { protocol: 6, destinationPort: 5000 }), "10.1.0.254");
    assert.equal(via(host, "2001:db8:9::1", { protocol: 17, destinationPort: 5000 }), "2001:db8:2::fe", "both families");
    assert.equal(via(host, peer, { protocol: 6, sourcePort: 22, mark: 0x10 }), "10.2.0.101", "the lower priority first");
    assert.equal(via(host, peer, { mark: 0x1f }), "10.2.0.102");
    assert.equal(via(host, peer, { mark: 0x2f }), "10.1.0.254");
    const path = host.ip.pathTo(address(peer), host.ip.interface("eth1"));
    assert.equal(String(path.neighbour?.address), "10.2.0.103");
    host.addRule({ priority: 50, not: true, from: "10.1.0.0/24", table: 104 });
    assert.equal(via(host, peer, { source: address("10.1.0.1") }), "10.1.0.254");
    assert.equal(via(host, peer, { source: address("10.2.0.1") }), "10.2.0.104");
    assert.equal(via(host, "2001:db8:9::1", { source: address("2001:db8:2::1") }), "2001:db8:1::fe", "no rule of that family");
    assert.throws(() => host.addRule({ priority: 60, destinationPort: [9, 8] }), { code: "EINVAL" });
    assert.throws(() => host.addRule({ priority: 60, protocol: 256 }), { code: "EINVAL" });
  });

  it("sockets tell their protocol and ports", async () => {
    const { host } = await make();
    for (let n = 0; n < 2; n++) host.addRoute({ to: "0.0.0.0/0", via: `10.2.0.${100 + n}`, table: 100 + n });
    host.addRule({ priority: 10, protocol: "udp", destinationPort: 53, table: 100 });
    host.addRule({ priority: 20, protocol: "tcp", destinationPort: 80, table: 101 });
    const asked = (gateway: string) => host.ip.neighbours.list().some((each) => String(each.address) === gateway && each.probes > 0);
    const socket = host.udp.bind(undefined, 0);
    socket.send(new Uint8Array(1), address("203.0.113.1"), 54);
    assert.ok(asked("10.1.0.254") && !asked("10.2.0.100"));
    socket.send(new Uint8Array(1), address("203.0.113.1"), 53);
    assert.ok(asked("10.2.0.100") && !asked("10.2.0.101"));
    host.connect({ hostname: "203.0.113.1", port: 80 }).catch(() => {});
    await new Promise(setImmediate);
    assert.ok(asked("10.2.0.101"));
  });

  it("a connection goes the way of its address, whoever began it", async () => {
    const lab = await Lab.create({ seed: SEED });
    const host = await lab.host({
      interfaces: [{ addresses: ["10.1.0.1/24"], gateway: "10.1.0.254" }, { addresses: ["10.2.0.1/24"] }],
    });
    const peer = await lab.host({
      interfaces: [{ addresses: ["10.1.0.254/24"] }, { addresses: ["10.2.0.254/24", "192.0.2.1/32"], gateway: "10.2.0.1" }],
    });
    // The first link is cut: only what goes by the second arrives.
    lab.link(host, peer, { cut: true });
    lab.link(host, peer, {}, ["eth1", "eth1"]);
    host.addRoute({ to: "0.0.0.0/0", via: "10.2.0.254", table: 100 });
    host.addRule({ priority: 100, from: "10.2.0.0/24", table: 100 });
    peer.listen({ port: 80 });
    host.listen({ port: 81 });
    let opened = 0;
    host.connect({ hostname: "192.0.2.1", port: 80, localAddress: "10.2.0.1" }).then(() => opened++);
    peer.connect({ hostname: "10.2.0.1", port: 81, localAddress: "192.0.2.1" }).then(() => opened++);
    await lab.run(1000);
    assert.equal(opened, 2);
  });

  it("a peer that only a rule's table leads to may connect", async () => {
    const lab = await Lab.create({ seed: SEED });
    const host = await lab.host({ interfaces: [{ addresses: ["10.2.0.1/24"] }] });
    const peer = await lab.host({ interfaces: [{ addresses: ["10.2.0.254/24", "192.0.2.1/32"] }] });
    lab.link(host, peer);
    host.addRoute({ to: "192.0.2.0/24", via: "10.2.0.254", table: 100 });
    host.addRule({ priority: 100, from: "10.2.0.1", protocol: "tcp", sourcePort: 81, table: 100 });
    for (const port of [81, 82]) host.listen({ port });
    const opened: number[] = [];
    const refused: number[] = [];
    host.addRule({ priority: 101, from: "10.2.0.1", protocol: "tcp", sourcePort: 83, table: 100 });
    for (const port of [81, 82, 83]) {
      peer.connect({ hostname: "10.2.0.1", port, localAddress: "192.0.2.1" }).then(
        () => opened.push(port),
        ({ code }) => code === "ECONNREFUSED" && refused.push(port),
      );
    }
    await lab.run(3000);
    assert.deepEqual([opened, refused], [[81], [83]], "resets go that way too");
  });

  it("a socket's own address and mark choose its way; so does the interface it is bound to", async () => {
    const { host } = await make();
    host.addRoute({ to: "0.0.0.0/0", via: "10.2.0.254", table: 100 });
    host.addRoute({ to: "198.51.100.0/24", via: "10.2.0.253", metric: 50 });
    host.addRule({ priority: 100, from: "10.2.0.0/24", table: 100 });
    const asked = (gateway: string) => host.ip.neighbours.list().some((each) => String(each.address) === gateway && each.probes > 0);
    const bound = host.udp.bind(address("10.2.0.1"), 0);
    bound.send(new Uint8Array(1), address("203.0.113.1"), 9);
    assert.ok(asked("10.2.0.254") && !asked("10.1.0.254"));
    const free = host.udp.bind(undefined, 0);
    free.send(new Uint8Array(1), address("203.0.113.1"), 9);
    assert.ok(asked("10.1.0.254"));
    const tied = host.udp.bind(undefined, 0);
    tied.device = host.ip.interface("eth1");
    assert.throws(() => tied.send(new Uint8Array(1), address("203.0.113.1"), 9), { code: "ENETUNREACH" });
    tied.send(new Uint8Array(1), address("198.51.100.1"), 9);
    assert.ok(asked("10.2.0.253"));
  });
});

describe("rules for what a router forwards", () => {
  it("everything but what one interface brings may be refused, and packets to the router itself are not", async () => {
    const lab = await Lab.create({ seed: SEED, interfaces: 12, hosts: 8 });
    const customer = (n: number) => lab.host({ interfaces: [{ addresses: [`10.${n}.0.1/24`], gateway: `10.${n}.0.254` }] });
    const [c, d, x] = [await customer(1), await customer(2), await customer(3)];
    const router = await lab.host({ forwarding: true, interfaces: [1, 2, 3].map((n) => ({ addresses: [`10.${n}.0.254/24`] })) });
    [c, d, x].forEach((host, i) => {
      lab.link(host, router, {}, ["eth0", `eth${i}`]);
    });
    const inbox = x.datagram({ port: 7 });
    const own = router.datagram({ port: 7 });
    const heard = async () => {
      for (const to of ["10.3.0.1", "10.3.0.254"])
        for (const host of [c, d]) host.datagram().send(new Uint8Array(4), { address: to, port: 7 });
      await lab.run(200);
      return [inbox, own].map((each) => {
        const from: string[] = [];
        each.tryReceiveMany((_data, { address: source }) => from.push(String(source)));
        return from.sort();
      });
    };
    const both = ["10.1.0.1", "10.2.0.1"];
    assert.deepEqual(await heard(), [both, both]);
    router.addRule({ priority: 10, not: true, interface: "eth0", action: "blackhole" });
    assert.deepEqual(await heard(), [["10.1.0.1"], both]);
    router.removeRule(10);
    router.addRule({ priority: 10, mark: 1, action: "blackhole" });
    router.addRule({ priority: 11, boundTo: "eth2", action: "blackhole" });
    assert.deepEqual(await heard(), [both, both], "forwarded packets have no mark and no socket");
    router.addRule({ priority: 12, interface: "eth0", action: "blackhole" });
    assert.deepEqual(await heard(), [["10.2.0.1"], both]);
  });

  it("each interface has a table of its own: two customers, two ways, and a subnet on the link", async () => {
    const lab = await Lab.create({ seed: SEED, interfaces: 12, hosts: 8 });
    const customer = (n: number) => lab.host({ interfaces: [{ addresses: [`10.${n}.0.1/24`], gateway: `10.${n}.0.254` }] });
    const [c, d] = [await customer(1), await customer(2)];
    const upstream = (n: number) => lab.host({ interfaces: [{ addresses: [`10.${n}.0.1/24`, "192.0.2.1/32"], gateway: `10.${n}.0.254` }] });
    const [x, y] = [await upstream(3), await upstream(4)];
    const router = await lab.host({ forwarding: true, interfaces: [1, 2, 3, 4].map((n) => ({ addresses: [`10.${n}.0.254/24`] })) });
    [c, d, x, y].forEach((host, i) => {
      lab.link(host, router, {}, ["eth0", `eth${i}`]);
    });
    router.addRoute({ to: "0.0.0.0/0", via: "10.3.0.1" });
    router.addRoute({ to: "0.0.0.0/0", via: "10.4.0.1", table: 7 });
    router.addRoute({ to: "10.4.0.0/24", interface: "eth3", table: 7 });
    router.addRoute({ to: "10.2.0.0/24", interface: "eth1", table: 7 });
    router.addRule({ priority: 10, interface: "eth1", table: 7 });
    const inboxes = [x, y].map((host) => host.datagram({ port: 7 }));
    const heard = async () => {
      await lab.run(200);
      return inboxes.map((inbox) => {
        const from: string[] = [];
        inbox.tryReceiveMany((_data, { address: source }) => from.push(String(source)));
        return from;
      });
    };
    const send = (host: Host, to: string) => host.datagram().send(new Uint8Array(4), { address: to, port: 7 });
    for (const host of [c, d]) for (let i = 0; i < 3; i++) send(host, "192.0.2.1");
    assert.deepEqual(await heard(), [new Array(3).fill("10.1.0.1"), new Array(3).fill("10.2.0.1")]);
    const asked = () => lab.engine.counters().punts.neighbour ?? 0;
    const before = asked();
    for (let i = 0; i < 20; i++) send(d, "10.4.0.1");
    assert.deepEqual(await heard(), [[], new Array(20).fill("10.2.0.1")]);
    assert.ok(asked() - before < 20, "the data plane knows the neighbour in that table too");
    let replies = 0;
    for (const host of [c, d]) host.ping("192.0.2.1").then(() => replies++);
    await lab.run(1000);
    assert.equal(replies, 2);
    router.removeRule(10);
    send(d, "192.0.2.1");
    assert.deepEqual(await heard(), [["10.2.0.1"], []]);
    router.removeInterface("eth3");
    assert.ok(
      !router.ip.rules
        .table(7)
        .list()
        .some(({ nextHops }) => nextHops.length > 0 && nextHops[0].iface.name === "eth3"),
    );
    await lab.run(100);
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});
