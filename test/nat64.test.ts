/** IPv4 for a host that has IPv6 alone (RFC 6146, 7915, 6052, 6147): what passes, what errors become, what does not pass and why. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { dns64, embedded, RCODE, Zone } from "../src/dns/index.ts";
import { serveDns } from "../src/host/index.ts";
import { IpAddress, Lab } from "../src/index.ts";
import { Router, type RouterConfig } from "../src/router/index.ts";
import { checksum, pseudoSum } from "../src/wire/index.ts";
import { until } from "./nat-rig.ts";
import { SEED } from "./support.ts";

const CONFIG: RouterConfig = {
  interfaces: [
    { name: "wan", addresses: ["192.0.2.1/24"] },
    { name: "lan", addresses: ["fd64::1/64"] },
  ],
  nat: { masquerade: ["wan"] },
  nat64: {},
  dns: { dns64: true, upstreams: ["192.0.2.2"] },
};
const SERVER = "64:ff9b::192.0.2.2";
const SERVER6 = "64:ff9b::c000:202";
const bytes = (text: string) => new TextEncoder().encode(text);

async function world(more: Partial<RouterConfig> = {}, wan = 1500) {
  const lab = await Lab.create({ seed: SEED, interfaces: 10, memory: { flows: 2048, filterBytes: 8 << 20, appBytes: 64 << 20 } });
  const client = await lab.host({ interfaces: [{ addresses: ["fd64::2/64"], gateway: "fd64::1" }] });
  const server = await lab.host({ interfaces: [{ addresses: ["192.0.2.2/24"], mtu: wan }] });
  const config = { ...CONFIG, ...more };
  config.interfaces = config.interfaces.map((each) => (each.name === "wan" ? { ...each, mtu: wan } : each));
  const ports = { wan: lab.engine.port(6), lan: lab.engine.port(7), nat64: lab.engine.port(8) };
  const router = await Router.create(config, { engine: lab.engine, ports, seed: SEED });
  lab.link(client, router.host, {}, ["eth0", "lan"]);
  lab.link(server, router.host, {}, ["eth0", "wan"]);
  await lab.run(3000);
  return { lab, client, server, router };
}
/** A frame with an empty datagram of somebody's to the server's port 7. */
function datagram6(mac: Uint8Array, source: string): Uint8Array {
  const frame = new Uint8Array(62);
  frame.set(mac);
  frame.set([2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64], 6);
  frame.set(IpAddress.parse(source).bytes(), 22);
  frame.set(IpAddress.parse(SERVER).bytes(), 38);
  frame.set([0, 9, 0, 7, 0, 8], 54);
  new DataView(frame.buffer).setUint16(60, checksum(frame.subarray(54), pseudoSum(frame.subarray(22, 38), frame.subarray(38, 54), 17, 8)));
  return frame;
}

/** The server's ICMP error about a datagram of the router's, as if a header of that many words had come. */
function unreachable(mac: Uint8Array, words: number, port: number): Uint8Array {
  const frame = new Uint8Array(14 + 20 + 8 + 4 * words + 8);
  const view = new DataView(frame.buffer);
  frame.set(mac);
  frame.set([2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 0, frame.length - 14, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1, 3, 3], 6);
  view.setUint16(24, checksum(frame.subarray(14, 34)));
  frame.set([0x40 | words, 0, 0, 4 * words + 9, 0, 0, 0x40, 0, 60, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2], 42);
  frame.fill(1, 62, 42 + 4 * words);
  view.setUint16(52, checksum(frame.subarray(42, 42 + 4 * words)));
  view.setUint16(42 + 4 * words, port);
  view.setUint16(44 + 4 * words, 9999);
  view.setUint16(46 + 4 * words, 9);
  view.setUint16(36, checksum(frame.subarray(34)));
  return frame;
}

const drops = (router: Router) => router.host.engine.counters().drops;

describe("addresses within addresses (RFC 6052 §2.4)", () => {
  for (const [prefix, length, text] of [
    ["2001:db8::", 32, "2001:db8:c000:221::"],
    ["2001:db8:100::", 40, "2001:db8:1c0:2:21::"],
    ["2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"],
    ["2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"],
    ["2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"],
    ["2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"],
    ["64:ff9b::", 96, "64:ff9b::192.0.2.33"],
  ] as const)
    it(`${prefix}/${length}`, async () => {
      const address = embedded(IpAddress.parse("192.0.2.33"), { prefix: IpAddress.parse(prefix), length });
      assert.equal(String(address), String(IpAddress.parse(text)));
      // And the data plane has it the same way.
      const { lab, client, server } = await world({ nat64: { prefix: `${prefix}/${length}` } });
      server.addAddress("eth0", "192.0.2.33/24");
      const inbox = server.datagram({ port: 7 });
      client.datagram({ port: 5000 }).send(bytes("x"), { address: String(address), port: 7 });
      await lab.run(50);
      assert.equal(inbox.tryReceive()?.destination, "192.0.2.33");
    });
});

describe("a host of IPv6 alone", () => {
  it("talks TCP with one of IPv4: as much as there is, both ways", async () => {
    const { lab, client, server, router } = await world();
    const listener = server.listen({ port: 80 });
    const [accepted, socket] = await until(lab, Promise.all([listener.accept(), client.connect({ hostname: SERVER, port: 80 })]));
    assert.equal(accepted.remoteAddress.address, "192.0.2.1");
    for (const [from, to] of [
      [socket, accepted],
      [accepted, socket],
    ] as const) {
      const sent = new Uint8Array(300_000).map((_, i) => i * 7);
      void from.write(sent).then(() => from.closeWrite());
      const got: number[] = [];
      const read = async () => {
        for await (const chunk of to.readable) got.push(...chunk);
      };
      await until(lab, read());
      assert.deepEqual(Uint8Array.from(got), sent);
    }
    // Each side is tracked as what it is.
    const flows = [...router.host.conntrack.list({ protocol: "tcp" })];
    assert.deepEqual(flows.map(({ family }) => family).sort(), [4, 6]);
    const [host] = [...router.host.conntrack.mappings.list()].filter(({ protocol }) => protocol === 0);
    assert.equal(String(host.inner.address), "fd64::2");
    assert.match(String(host.outer.address), /^198\.18\./);
    assert.equal(drops(router).l4_bad_checksum ?? 0, 0);
  });

  it("sends datagrams and gets answers, large ones in fragments", async () => {
    const { lab, client, server } = await world();
    const [inbox, socket] = [server.datagram({ port: 7 }), client.datagram({ port: 5000 })];
    for (const size of [0, 1, 1200, 1432, 1433, 1452, 1473, 3000, 9000]) {
      const data = new Uint8Array(size).map((_, i) => i);
      // The first of a size may be what tells how large they may be (RFC 8201).
      if (size > 1400) socket.send(data, { address: SERVER, port: 7 });
      await lab.run(100);
      while (inbox.tryReceive()) {}
      socket.send(data, { address: SERVER, port: 7 });
      await lab.run(100);
      const got = inbox.tryReceive();
      assert.equal(got?.data.length, size, `to IPv4, ${size} bytes`);
      inbox.send(got.data, { address: got.address, port: got.port });
      await lab.run(100);
      const back = socket.tryReceive();
      assert.equal(back?.data.length, size, `from IPv4, ${size} bytes`);
      assert.deepEqual(back.data, data);
      assert.equal(back.address, SERVER6);
    }
  });

  it("pings, and hears that nothing listens, that there is no way, that the hops are used up", async () => {
    const { lab, client, router } = await world();
    assert.equal((await until(lab, client.ping(SERVER))).from, SERVER6);
    assert.equal((await until(lab, client.ping(SERVER, { size: 1400 }))).bytes, 1400);
    const socket = client.datagram();
    socket.connect({ address: SERVER, port: 9 });
    socket.send(bytes("?"));
    await lab.run(100);
    assert.throws(() => socket.send(bytes("?")), { code: "ECONNREFUSED" });
    await assert.rejects(until(lab, client.connect({ hostname: SERVER, port: 9 })), { code: "ECONNREFUSED" });
    await assert.rejects(until(lab, client.ping("64:ff9b::203.0.113.1")), { code: "EHOSTUNREACH" });
    await assert.rejects(until(lab, client.ping(SERVER, { hopLimit: 2 })), /the hop limit was used up/);
    assert.equal(drops(router).nat64_untranslatable ?? 0, 0);
  });

  it("learns how large its packets may be on a narrow way", async () => {
    const { lab, client, server } = await world({}, 1300);
    const listener = server.listen({ port: 80 });
    const [accepted, socket] = await until(lab, Promise.all([listener.accept(), client.connect({ hostname: SERVER, port: 80 })]));
    void socket.write(new Uint8Array(100_000)).then(() => socket.closeWrite());
    let total = 0;
    const read = async () => {
      for await (const chunk of accepted.readable) total += chunk.length;
    };
    await until(lab, read());
    assert.equal(total, 100_000);
  });

  it("keeps its address of the pool, and other hosts have others", async () => {
    const { lab, client, server, router } = await world({ nat: { masquerade: [] } });
    server.addRoute({ to: "198.18.0.0/16", via: "192.0.2.1" });
    for (let i = 10; i < 20; i++) client.addAddress("eth0", `fd64::${i}/64`);
    await lab.run(3000);
    const inbox = server.datagram({ port: 7 });
    const seen = new Map<string, string>();
    for (let round = 0; round < 2; round++)
      for (let i = 10; i < 20; i++) {
        const socket = client.datagram({ hostname: `fd64::${i}` });
        socket.send(bytes("x"), { address: SERVER, port: 7 });
        await lab.run(20);
        const from = inbox.tryReceive()?.address as string;
        assert.equal(seen.get(`${i}`) ?? from, from);
        seen.set(`${i}`, from);
        socket.close();
      }
    assert.equal(new Set(seen.values()).size, 10);
    // And can be reached by it while it has it.
    const service = client.datagram({ hostname: "fd64::10", port: 53 });
    inbox.send(bytes("y"), { address: seen.get("10") as string, port: 53 });
    await lab.run(50);
    assert.equal(service.tryReceive()?.address, SERVER6);
    inbox.send(bytes("y"), { address: "198.18.255.250", port: 53 });
    await lab.run(50);
    assert.ok((drops(router).nat64_unmapped ?? 0) >= 1, "nobody has that one");
  });

  it("is refused by name when the pool is used up, and let in when somebody has been silent for long", async () => {
    const { lab, client, server, router } = await world({ nat64: { pool: "198.18.0.0/29" } });
    const inbox = server.datagram({ port: 7 });
    for (let i = 10; i < 17; i++) client.addAddress("eth0", `fd64::${i}/64`);
    await lab.run(3000);
    const sends = async (i: number) => {
      const socket = client.datagram({ hostname: `fd64::${i}` });
      socket.send(bytes("x"), { address: SERVER, port: 7 });
      await lab.run(20);
      const got = inbox.tryReceive();
      if (got) inbox.send(bytes("y"), got);
      await lab.run(20);
      socket.close();
      return got !== undefined;
    };
    const got: boolean[] = [];
    for (let i = 10; i < 17; i++) got.push(await sends(i));
    assert.deepEqual(got, [true, true, true, true, true, false, false]);
    assert.equal(drops(router).nat64_pool_full, 2);
    await lab.run(7_500_000);
    assert.equal(await sends(16), true);
  });

  it("is not shut out by sources that somebody makes up", async () => {
    const { lab, client, server, router } = await world({ nat64: { pool: "198.18.0.0/28" } });
    const listener = server.listen({ port: 80 });
    const [accepted, socket] = await until(lab, Promise.all([listener.accept(), client.connect({ hostname: SERVER, port: 80 })]));
    const lan = router.host.ip.interface("lan").port;
    for (let i = 0; i < 5000; i++) {
      lan.receive(datagram6(lan.macBytes, `fd64::7:${i.toString(16)}`));
      if (i % 50 === 49) await lab.run(1);
    }
    assert.ok([...router.host.conntrack.mappings.list()].length <= 16);
    client.addAddress("eth0", "fd64::99/64");
    await lab.run(3000);
    const inbox = server.datagram({ port: 7 });
    client.datagram({ hostname: "fd64::99" }).send(bytes("x"), { address: SERVER, port: 7 });
    await lab.run(20);
    assert.equal(String.fromCharCode(...(inbox.tryReceive()?.data ?? [])), "x", "a newcomer gets an address");
    await socket.write(bytes("still here"));
    await lab.run(100);
    assert.equal(await until(lab, accepted.read(new Uint8Array(99))), 10, "who was answered keeps his");
  });

  it("has an address of another pool when there is another", async () => {
    const { lab, client, server, router } = await world({ nat: { masquerade: [] } });
    const socket = client.datagram();
    const inbox = server.datagram({ port: 7 });
    const seen: string[] = [];
    for (const pool of ["198.18.0.0/16", "198.19.0.0/24"]) {
      await router.reload({ ...CONFIG, nat: { masquerade: [] }, nat64: { pool } });
      socket.send(bytes("x"), { address: SERVER, port: 7 });
      await lab.run(3000);
      seen.push(inbox.tryReceive()?.address.replace(/\.\d+\.\d+$/, "") ?? "nothing");
    }
    assert.deepEqual(seen, ["198.18", "198.19"]);
  });

  it("is not believed to be one of IPv4 (RFC 6146 §3.5)", async () => {
    const { lab, server, router } = await world();
    const lan = router.host.ip.interface("lan").port;
    const inbox = server.datagram({ port: 7 });
    lan.receive(datagram6(lan.macBytes, "64:ff9b::203.0.113.9"));
    await lab.run(20);
    assert.equal(drops(router).nat64_untranslatable, 1);
    assert.equal(inbox.tryReceive(), undefined);
  });

  it("hears of errors that cite headers with options, whatever their length", async () => {
    const { lab, client, server, router } = await world();
    const wan = router.host.ip.interface("wan").port;
    server.datagram({ port: 9999 });
    for (let words = 5; words <= 15; words++) {
      const socket = client.datagram({ port: 5000 + words });
      socket.connect({ address: SERVER, port: 9999 });
      socket.send(bytes("?"));
      await lab.run(20);
      wan.receive(unreachable(wan.macBytes, words, 5000 + words));
      await lab.run(20);
      assert.throws(() => socket.send(bytes("?")), { code: "ECONNREFUSED" }, `${words} words`);
      socket.close();
    }
  });

  it("hears of errors about its echoes, with the checksums that they had", async () => {
    const { lab, client } = await world();
    let cited: Uint8Array | undefined;
    client.firewall.apply(
      "table ip6 t { chain c { type filter hook input priority 0; icmpv6 type destination-unreachable queue to 5; }; }",
    );
    client.onQueue(5, ({ bytes: packet }) => {
      cited = packet.slice(48);
      return "accept";
    });
    await assert.rejects(until(lab, client.ping("64:ff9b::203.0.113.1")), { code: "EHOSTUNREACH" });
    assert.ok(cited);
    assert.equal(checksum(cited.subarray(40), pseudoSum(cited.subarray(8, 24), cited.subarray(24, 40), 58, cited.length - 40)), 0);
  });

  it("gets addresses for names that have none of IPv6", async () => {
    const { lab, client, server } = await world();
    serveDns(server, {
      zones: [
        new Zone("test", [
          { name: "old.test", type: "A", address: "192.0.2.2" },
          { name: "both.test", type: "A", address: "192.0.2.2" },
          { name: "both.test", type: "AAAA", address: "2001:db8:5::5" },
          { name: "alias.test", type: "CNAME", target: "old.test" },
          { name: "text.test", type: "TXT", entries: [bytes("x")] },
        ]),
      ],
    });
    client.resolver.servers = ["fd64::1"];
    const lookup = async (name: string) => (await until(lab, client.lookup(name, { family: 6 }))).map(({ address }) => address);
    assert.deepEqual(await lookup("old.test"), [SERVER6]);
    assert.deepEqual(await lookup("alias.test"), [SERVER6]);
    assert.deepEqual(await lookup("both.test"), ["2001:db8:5::5"]);
    await assert.rejects(until(lab, client.resolver.resolve("text.test", "AAAA")), { code: "ENODATA" });
    await assert.rejects(until(lab, client.lookup("nobody.test", { family: 6 })), { code: "ENOTFOUND" });
    assert.deepEqual((await until(lab, client.resolver.resolve("old.test", "A"))).length, 1, "IPv4 stays what it is");
  });
});

describe("DNS64", () => {
  const answer = (records: object[], rcode: number = RCODE.NOERROR) =>
    ({ rcode, found: records.length > 0, records, authority: [], canonical: "x.test", ttl: 60 }) as never;
  const pref64 = { prefix: IpAddress.parse("64:ff9b::"), length: 96 };
  const four = answer([{ name: "x.test", type: "A", ttl: 60, address: "192.0.2.2" }]);
  it("does not believe in mapped addresses (§5.1.4)", async () => {
    const mapped = answer([{ name: "x.test", type: "AAAA", ttl: 60, address: "::ffff:192.0.2.9" }]);
    const found = await dns64({ name: "x.test", type: "AAAA" }, pref64, async ({ type }) => (type === "A" ? four : mapped));
    assert.equal((found.records[0] as { address: string }).address, SERVER6);
  });
  it("asks for IPv4 when IPv6 is no answer (§5.1.2), and says what was wrong when neither is", async () => {
    const wrong = new Error("broken");
    const ask = async ({ type }: { type: unknown }) => {
      if (type === "A") return four;
      throw wrong;
    };
    assert.equal((await dns64({ name: "x.test", type: "AAAA" }, pref64, ask)).found, true);
    const neither = async () => {
      throw wrong;
    };
    await assert.rejects(dns64({ name: "x.test", type: "AAAA" }, pref64, neither), wrong);
  });
});

describe("what comes to the way between the families", () => {
  it("is translated or dropped by name, whatever it is: nothing is lost, nothing breaks", async () => {
    const { lab, client, router } = await world();
    const { engine } = lab;
    client.datagram().send(bytes("x"), { address: SERVER, port: 7 });
    await lab.run(100);
    const before = engine.pool().inFlight;
    const [wan, lan] = ["wan", "lan"].map((name) => router.host.ip.interface(name).port);
    const [host] = [...router.host.conntrack.mappings.list()];
    const v4 = (destination: Uint8Array, protocol: number, rest: Uint8Array, more: { options?: number; cut?: number } = {}) => {
      const header = new Uint8Array(20 + 4 * (more.options ?? 0));
      const view = new DataView(header.buffer);
      header[0] = 0x40 | (header.length / 4);
      view.setUint16(2, header.length + rest.length);
      view.setUint16(6, more.cut ?? 0);
      header[8] = 64;
      header[9] = protocol;
      header.set([192, 0, 2, 2], 12);
      header.set(destination, 16);
      view.setUint16(10, checksum(header));
      return [0x0800, header, rest] as const;
    };
    const v6 = (destination: Uint8Array, next: number, rest: Uint8Array) => {
      const header = new Uint8Array(40);
      header[0] = 0x60;
      new DataView(header.buffer).setUint16(4, rest.length);
      header[6] = next;
      header[7] = 64;
      header.set(IpAddress.parse("fd64::2").bytes(), 8);
      header.set(destination, 24);
      return [0x86dd, header, rest] as const;
    };
    const protocols = fc.constantFrom(0, 1, 6, 17, 43, 44, 47, 50, 51, 58, 60, 132, 136);
    const rest = fc.uint8Array({ maxLength: 200 });
    const outer = host.outer.address.bytes();
    const inner = IpAddress.parse(SERVER).bytes();
    let sent = 0;
    await fc.assert(
      fc.asyncProperty(
        protocols,
        rest,
        fc.boolean(),
        fc.nat(3),
        fc.constantFrom(0, 0x4000, 0x2000, 0x2001, 0x0001),
        fc.nat(255),
        async (protocol, tail, is4, options, cut, cutAt) => {
          const [type, header, payload] = is4 ? v4(outer, protocol, tail, { options, cut }) : v6(inner, protocol, tail);
          const frame = new Uint8Array(14 + header.length + payload.length);
          const port = is4 ? wan : lan;
          frame.set(port.macBytes);
          frame.set([2, 0, 0, 0, 0, 9, type >>> 8, type & 255], 6);
          frame.set(header, 14);
          frame.set(payload, 14 + header.length);
          // Now and then cut off somewhere.
          if (port.receive(cutAt < 60 ? frame.subarray(0, cutAt) : frame)) sent++;
          await lab.run(1);
        },
      ),
      { seed: SEED, numRuns: 3000 },
    );
    await lab.run(70_000);
    assert.ok(sent > 2900, String(sent));
    const { nat64_untranslatable: refused = 0, nat64_unmapped: unknown = 0 } = drops(router);
    assert.ok(refused > 50, `${refused} ${unknown}: hardly anything came there`);
    assert.equal(engine.pool().inFlight, before, "packets were lost");
    assert.equal(engine.counters().stats.double_frees, 0);
    assert.equal((await until(lab, client.ping(SERVER))).from, SERVER6);
  });
});
