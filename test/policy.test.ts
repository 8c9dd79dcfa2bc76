/** Rules of policy routing where memory, interfaces, neighbours and a ruleset meet them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Host } from "../src/host/host.ts";
import { Engine, type EngineOptions } from "../src/index.ts";
import { ETHERTYPE, serializeEthernet, serializeIpv4, serializeIpv6, serializeUdp } from "../src/wire/index.ts";
import { mac } from "./support.ts";

const LINKS = 4;
const own = (family: 4 | 6, link: number, host: number) => (family === 4 ? `10.1.${link}.${host}` : `fd00:1:${link}::${host}`);

/** A router with a neighbour (.2) on each of its links. */
async function router(options: EngineOptions = {}, ruleset = "", links = LINKS) {
  const engine = await Engine.create({ ports: LINKS, tables: 12, buffers: 1024, filterBytes: 1 << 20, flows: 4096, ...options });
  const interfaces = Array.from({ length: links }, (_, i) => ({
    name: `e${i}`,
    port: engine.port(i),
    addresses: [`${own(4, i, 1)}/24`, `${own(6, i, 1)}/64`],
  }));
  const host = await Host.create({ engine, forwarding: true, interfaces });
  for (const iface of host.ip.interfaces) {
    for (const family of [4, 6] as const)
      host.ip.neighbours.setPermanent(iface, IpAddress.parse(own(family, iface.port.index, 2)), mac(100 + iface.port.index));
  }
  if (ruleset) host.firewall.apply(ruleset);
  return { engine, host };
}

/** The interface by which a datagram leaves. */
function send(engine: Engine, link: number, from: string, to: string): string {
  const [source, destination] = [IpAddress.parse(from), IpAddress.parse(to)];
  const between = { source: source.bytes(), destination: destination.bytes() };
  const packet = { protocol: 17, payload: serializeUdp({ sourcePort: 1000, destinationPort: 53, payload: new Uint8Array(9) }, between) };
  const is4 = source.family === 4;
  const payload = is4
    ? serializeIpv4({ ...packet, source: source.v4 >>> 0, destination: destination.v4 >>> 0 })
    : serializeIpv6({ ...packet, ...between });
  const type = is4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
  engine.port(link).receive(serializeEthernet({ destination: engine.port(link).macBytes, source: mac(50 + link), type, payload }));
  for (let round = 0; round < 6; round++) engine.poll();
  const wanted = destination.bytes();
  const at = is4 ? 30 : 38;
  let out = "nowhere";
  for (let i = 0; i < LINKS; i++) {
    engine.port(i).transmitted((bytes) => {
      if (Buffer.from(bytes.subarray(at, at + wanted.length)).equals(wanted)) out = `e${i}`;
    });
  }
  return out;
}

describe("rules of policy routing", () => {
  it("take no more memory the more often they are changed", async () => {
    const { engine, host } = await router();
    for (let i = 0; i < 10_000; i++) {
      host.addRule({ priority: 100, from: "20.0.0.0/8", table: 101 });
      host.removeRule(100);
    }
    host.addRoute({ to: "30.0.0.0/8", nextHops: [{ via: "10.1.1.2" }, { via: "10.1.2.2" }] });
    for (let i = 0; i < 40; i++) host.addRule({ priority: 100 + i, from: `20.0.0.${i}/32`, table: 101 });
    for (let i = 0; i < 40; i++) host.removeRule(100 + i);
    await host.close();
    await engine.close();
  });

  it("fill the memory that there is, and can be taken away and closed all the same", async () => {
    const { engine, host } = await router({ groupBytes: 4096 }, "", 2);
    host.addRoute({ to: "0.0.0.0/0", via: "10.1.1.2" });
    host.addRule({ priority: 50, from: "20.0.0.1/32", action: "blackhole" });
    let added = 0;
    const fill = () => {
      for (; added < 1000; added++) host.addRule({ priority: 100 + added, from: `21.0.${added >> 8}.${added & 255}/32`, table: 101 });
    };
    assert.throws(fill, { code: "ENOMEM", message: /raise groupBytes/ });
    assert.equal(host.ip.rules.list().length, added + 2);
    assert.deepEqual([send(engine, 0, "20.0.0.1", "40.0.0.1"), send(engine, 0, "20.0.0.2", "40.0.0.1")], ["nowhere", "e1"]);
    // A new interface has the rules too.
    host.ip.addInterface("e2", engine.port(2));
    assert.deepEqual([send(engine, 2, "20.0.0.1", "40.0.0.1"), send(engine, 2, "20.0.0.2", "40.0.0.1")], ["nowhere", "e1"]);
    host.removeRule(50);
    assert.equal(send(engine, 0, "20.0.0.1", "40.0.0.1"), "e1");
    for (let i = 0; i < added; i++) host.removeRule(100 + i);
    await host.close();
    const again = await Host.create({ engine, forwarding: true, interfaces: [{ port: engine.port(0), addresses: ["10.1.0.1/24"] }] });
    await again.close();
    await engine.close();
  });

  it("that are none lead nowhere, as in Linux", async () => {
    const { engine, host } = await router();
    host.addRoute({ to: "0.0.0.0/0", via: own(4, 1, 2) });
    host.addRoute({ to: "::/0", via: own(6, 1, 2) });
    host.addRule({ priority: 100, from: "20.0.0.0/8", table: 254 });
    host.removeRule(32_766);
    assert.equal(send(engine, 0, "20.0.0.1", "40.0.0.1"), "e1");
    assert.equal(send(engine, 0, "2001:db8::1", "2001:db8:4::1"), "nowhere");
    host.removeRule(100);
    assert.equal(send(engine, 0, "20.0.0.1", "40.0.0.1"), "nowhere");
    await engine.close();
  });

  it("are asked by nft's fib too", async () => {
    const { engine, host } = await router(
      {},
      "table ip f { chain c { type filter hook prerouting priority raw; fib saddr oif missing drop; }; }",
    );
    host.addRoute({ to: "0.0.0.0/0", via: "10.1.1.2", table: 101 });
    host.addRule({ priority: 100, table: 101 });
    assert.equal(send(engine, 0, "20.0.0.1", "40.0.0.1"), "e1");
    host.removeRule(100);
    assert.equal(send(engine, 0, "20.0.0.1", "40.0.0.1"), "nowhere");
    await engine.close();
  });

  it("find the neighbours of a subnet that only their table has on a link", async () => {
    const { engine, host } = await router();
    const [, e1] = host.ip.interfaces;
    host.addRoute({ to: "10.1.1.78/32", via: "10.1.2.2" });
    host.ip.neighbours.setPermanent(e1, IpAddress.parse("10.1.1.77"), mac(77));
    host.ip.neighbours.setPermanent(e1, IpAddress.parse("10.1.1.78"), mac(78));
    host.addRule({ priority: 100, table: 101, interface: "e0" });
    host.addRoute({ to: "10.1.1.0/24", interface: "e1", table: 101 });
    for (const to of ["10.1.1.77", "10.1.1.78"]) assert.equal(send(engine, 0, "20.0.0.1", to), "e1");
    const asked = () => engine.counters().punts.neighbour ?? 0;
    const before = asked();
    for (let i = 0; i < 10; i++) for (const to of ["10.1.1.77", "10.1.1.78"]) assert.equal(send(engine, 0, "20.0.0.1", to), "e1");
    assert.equal(asked(), before, "the data plane knows them");
    await engine.close();
  });

  it("come behind this host's own addresses", async (t) => {
    const { engine, host } = await router();
    t.after(() => engine.close());
    engine.start();
    host.addRule({ priority: 50, action: "blackhole" });
    assert.equal((await host.ping("10.1.2.1")).from, "10.1.2.1");
    await assert.rejects(host.ping("10.1.2.2", { timeout: 100 }), { code: "ENETUNREACH" });
  });
});
