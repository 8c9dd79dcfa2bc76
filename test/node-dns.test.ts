/** `dns` by type: one suite over Node's own resolver (c-ares), which is the oracle, and over a host's; both ask our server. */
import assert from "node:assert/strict";
import * as dgram from "node:dgram";
import { createSocket } from "node:dgram";
import * as dns from "node:dns";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import * as net from "node:net";
import { after, before, describe, it } from "node:test";
import { DnsServer, Zone } from "../src/dns/index.ts";
import { Engine, Host, joinPorts, serveDns } from "../src/index.ts";
import { forHost } from "../src/node/index.ts";

const latin = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const zones = () => [
  new Zone("test", [
    { name: "a.test", type: "A", address: "192.0.2.1", ttl: 77 },
    { name: "a.test", type: "A", address: "192.0.2.2", ttl: 77 },
    { name: "a.test", type: "AAAA", address: "2001:db8::1", ttl: 78 },
    { name: "alias.test", type: "CNAME", target: "a.test" },
    { name: "m.test", type: "MX", preference: 10, exchange: "mail.test" },
    { name: "m.test", type: "MX", preference: 20, exchange: "mail2.test" },
    { name: "t.test", type: "TXT", entries: [latin("one"), latin("two")] },
    { name: "t.test", type: "TXT", entries: [latin("three")] },
    { name: "_s._tcp.test", type: "SRV", priority: 1, weight: 2, port: 3, target: "a.test" },
    { name: "test", type: "NS", target: "ns1.test" },
    { name: "p.test", type: "PTR", target: "a.test" },
    { name: "c.test", type: "CAA", critical: false, tag: "issue", value: "ca.example" },
    { name: "c.test", type: "CAA", critical: true, tag: "iodef", value: "mailto:a@b.c" },
    { name: "u.test", type: "NAPTR", order: 1, preference: 2, flags: "s", services: "SIP+D2U", regexp: "", replacement: "_sip._udp.test" },
  ]),
  new Zone("2.0.192.in-addr.arpa", [{ name: "1.2.0.192.in-addr.arpa", type: "PTR", target: "a.test" }]),
];

interface Place {
  readonly module: Pick<typeof dns, "Resolver" | "promises">;
  /** Our server, a name server that says nothing and one that is not there. */
  readonly servers: readonly [string, string, string];
  close(): Promise<unknown>;
}

const places: Record<string, () => Promise<Place>> = {
  async "node:dns"() {
    const server = new DnsServer({ zones: zones() });
    const [socket, silent, gone] = await Promise.all(
      [0, 1, 2].map(async () => {
        const made = createSocket("udp4").bind(0, "127.0.0.1");
        await once(made, "listening");
        return made;
      }),
    );
    socket.on("message", async (data, from) => {
      const answer = await server.answer(data, false);
      if (answer) socket.send(answer, from.port, from.address);
    });
    const [a, b, c] = [socket, silent, gone].map((each) => `127.0.0.1:${(each.address() as AddressInfo).port}`);
    gone.close();
    return { module: dns, servers: [a, b, c], close: async () => [socket, silent].map((each) => each.close()) };
  },
  async packetloom() {
    const engine = await Engine.create({ ports: 2, tables: 4, appBytes: 8 << 20 });
    const host = (i: number) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`] }] });
    const [client, server] = [await host(0), await host(1)];
    joinPorts(engine, engine.port(0), engine.port(1));
    engine.start();
    serveDns(server, { zones: zones() });
    server.datagram({ port: 5353 });
    const module = forHost(client).dns as unknown as Place["module"];
    return { module, servers: ["10.0.0.2", "10.0.0.2:5353", "10.0.0.2:5354"], close: () => engine.close() };
  },
};

for (const [name, make] of Object.entries(places)) {
  describe(`records by ${name}`, { timeout: 30_000 }, () => {
    let place: Place;
    let resolver: dns.promises.Resolver;
    before(async () => {
      place = await make();
      resolver = new place.module.promises.Resolver();
      resolver.setServers([place.servers[0]]);
    });
    after(() => place.close());

    const sorted = (list: readonly unknown[]) => [...list].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

    it("of every type come in Node's shapes", async () => {
      assert.deepEqual((await resolver.resolve4("a.test")).sort(), ["192.0.2.1", "192.0.2.2"]);
      assert.deepEqual(sorted(await resolver.resolve4("a.test", { ttl: true }))[0], { address: "192.0.2.1", ttl: 77 });
      assert.deepEqual(await resolver.resolve6("a.test"), ["2001:db8::1"]);
      assert.deepEqual((await resolver.resolve4("alias.test")).sort(), ["192.0.2.1", "192.0.2.2"]);
      assert.deepEqual(await resolver.resolveCname("alias.test"), ["a.test"]);
      assert.deepEqual(sorted(await resolver.resolveMx("m.test")), [
        { exchange: "mail.test", priority: 10 },
        { exchange: "mail2.test", priority: 20 },
      ]);
      assert.deepEqual(sorted(await resolver.resolveTxt("t.test")), [["one", "two"], ["three"]]);
      assert.deepEqual(await resolver.resolveSrv("_s._tcp.test"), [{ name: "a.test", port: 3, priority: 1, weight: 2 }]);
      assert.deepEqual(await resolver.resolveNs("test"), ["ns1.test"]);
      assert.deepEqual(await resolver.resolvePtr("p.test"), ["a.test"]);
      assert.deepEqual(sorted(await resolver.resolveCaa("c.test")), [
        { critical: 0, issue: "ca.example" },
        { critical: 128, iodef: "mailto:a@b.c" },
      ]);
      assert.deepEqual(await resolver.resolveNaptr("u.test"), [
        { flags: "s", service: "SIP+D2U", regexp: "", replacement: "_sip._udp.test", order: 1, preference: 2 },
      ]);
      assert.deepEqual(await resolver.resolveSoa("test"), {
        nsname: "ns.test",
        hostmaster: "hostmaster.test",
        serial: 1,
        refresh: 3600,
        retry: 600,
        expire: 604_800,
        minttl: 300,
      });
      assert.deepEqual(await resolver.reverse("192.0.2.1"), ["a.test"]);
    });

    it("by the general call, and by call-backs", async () => {
      assert.deepEqual((await resolver.resolve("a.test")).sort(), ["192.0.2.1", "192.0.2.2"]);
      assert.deepEqual(await resolver.resolve("test", "NS"), ["ns1.test"]);
      const plain = new place.module.Resolver();
      plain.setServers([place.servers[0]]);
      const found = await new Promise((resolve, reject) =>
        plain.resolve6("a.test", (error, list) => (error ? reject(error) : resolve(list))),
      );
      assert.deepEqual(found, ["2001:db8::1"]);
      const error = await new Promise<unknown>((resolve) => plain.resolve("nobody.test", "MX", resolve));
      assert.equal((error as Error).message, "queryMx ENOTFOUND nobody.test");
    });

    const failure = async (asking: Promise<unknown>) => {
      const error = await asking.then(
        () => assert.fail("it found something"),
        (reason) => reason,
      );
      return [error.message, error.code, error.syscall, error.hostname, error.errno];
    };

    it("are missed with Node's errors", async () => {
      assert.deepEqual(await failure(resolver.resolve4("nobody.test")), [
        "queryA ENOTFOUND nobody.test",
        "ENOTFOUND",
        "queryA",
        "nobody.test",
        undefined,
      ]);
      assert.deepEqual(await failure(resolver.resolveMx("a.test")), ["queryMx ENODATA a.test", "ENODATA", "queryMx", "a.test", undefined]);
      assert.deepEqual(await failure(resolver.resolve6("elsewhere.example")), [
        "queryAaaa EREFUSED elsewhere.example",
        "EREFUSED",
        "queryAaaa",
        "elsewhere.example",
        undefined,
      ]);
      assert.equal((await failure(resolver.reverse("192.0.2.9")))[0], "getHostByAddr ENOTFOUND 192.0.2.9");
    });

    it("of servers that do not answer, or are not there, or are not waited for", async () => {
      const impatient = new place.module.promises.Resolver({ timeout: 50, tries: 1 });
      impatient.setServers([place.servers[1]]);
      assert.equal((await failure(impatient.resolve4("a.test")))[1], "ETIMEOUT");
      impatient.setServers([place.servers[2]]);
      assert.equal((await failure(impatient.resolve4("a.test")))[1], "ECONNREFUSED");
      const cancelled = new place.module.promises.Resolver();
      cancelled.setServers([place.servers[1]]);
      const asking = failure(cancelled.resolveTxt("a.test"));
      cancelled.cancel();
      assert.deepEqual((await asking)[0], "queryTxt ECANCELLED a.test");
    });

    it("from the servers that are set", () => {
      const other = new place.module.Resolver();
      other.setServers(["192.0.2.53", "192.0.2.54:5353", "2001:db8::53", "[2001:db8::54]:5353"]);
      assert.deepEqual(other.getServers(), ["192.0.2.53", "192.0.2.54:5353", "2001:db8::53", "[2001:db8::54]:5353"]);
      assert.throws(() => other.setServers(["nonsense"]), { code: "ERR_INVALID_IP_ADDRESS", message: "Invalid IP address: nonsense" });
      assert.throws(() => other.setServers([5 as never]), { code: "ERR_INVALID_ARG_TYPE" });
      assert.throws(() => other.resolve("a.test", "NONSENSE" as never, () => {}), { code: "ERR_INVALID_ARG_VALUE" });
      assert.throws(() => other.resolve4("a.test", undefined as never), { code: "ERR_INVALID_ARG_TYPE" });
      assert.throws(() => other.resolve4(5 as never, () => {}), { code: "ERR_INVALID_ARG_TYPE" });
    });
  });
}

describe("names that Node's modules have", () => {
  it("are all there, but for what is Node's own underneath", async () => {
    const host = await Host.create({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const ours = forHost(host);
    const missing = (a: object, b: object) => Object.keys(a).filter((name) => !(name in b) && !name.startsWith("_") && name !== "default");
    assert.deepEqual(missing(dns, ours.dns), []);
    assert.deepEqual(missing(dns.promises, ours.dns.promises), []);
    assert.deepEqual(missing(net, ours.net), []);
    assert.deepEqual(missing(dgram, ours.dgram), []);
    await host.close();
  });

  it("set what others mean by default, as in Node", async () => {
    const host = await Host.create({ interfaces: [{ addresses: ["10.0.0.1/24"] }], hosts: { both: ["2001:db8::1", "192.0.2.1"] } });
    const ours = forHost(host);
    for (const each of [dns, ours.dns]) {
      assert.equal(each.getDefaultResultOrder(), "verbatim");
      assert.throws(() => each.setDefaultResultOrder("none" as never), {
        code: "ERR_INVALID_ARG_VALUE",
        message: "The argument 'dnsOrder' must be one of: 'verbatim', 'ipv4first', 'ipv6first'. Received 'none'",
      });
      const empty = await new Promise((resolve) => each.lookup("", (...told: unknown[]) => resolve(told)));
      assert.deepEqual(empty, [null, null, 4]);
      assert.deepEqual(await each.promises.lookup(""), { address: null, family: 4 });
    }
    ours.dns.setDefaultResultOrder("ipv4first");
    assert.deepEqual(await ours.dns.promises.lookup("both", { all: true }), [
      { address: "192.0.2.1", family: 4 },
      { address: "2001:db8::1", family: 6 },
    ]);
    ours.dns.promises.setDefaultResultOrder("ipv6first");
    assert.deepEqual(await ours.dns.promises.lookup("both"), { address: "2001:db8::1", family: 6 });
    for (const each of [net, ours.net]) {
      assert.equal(each.getDefaultAutoSelectFamily(), true);
      const before = each.getDefaultAutoSelectFamilyAttemptTimeout();
      each.setDefaultAutoSelectFamilyAttemptTimeout(1);
      assert.equal(each.getDefaultAutoSelectFamilyAttemptTimeout(), 10);
      each.setDefaultAutoSelectFamilyAttemptTimeout(before);
      assert.throws(() => each.setDefaultAutoSelectFamily(1 as never), { code: "ERR_INVALID_ARG_TYPE" });
      assert.throws(() => each.setDefaultAutoSelectFamilyAttemptTimeout(0), { code: "ERR_OUT_OF_RANGE" });
    }
    await host.close();
  });
});
