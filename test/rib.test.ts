/** Route files: text, `ip route`, MRT, compact; right, damaged, and hostile. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { Columns6, decodeCompact, encodeCompact, loadRoutes, parse4, type RouteSet, RouteSet as Routes } from "../src/index.ts";
import { fixture, SEED } from "./support.ts";

const text = (lines: string) => new TextEncoder().encode(lines);
const rows4 = ({ v4, nextHops }: RouteSet) =>
  Array.from({ length: v4.count }, (_, i) => `${v4.prefix(i)} ${nextHops[v4.hops[i] - 1].kind} ${nextHops[v4.hops[i] - 1].name}`);
const rows6 = ({ v6, nextHops }: RouteSet) =>
  Array.from({ length: v6.count }, (_, i) => `${v6.prefix(i)} ${nextHops[v6.hops[i] - 1].kind} ${nextHops[v6.hops[i] - 1].name}`);

describe("route text", () => {
  it("reads prefixes and next hops with any white space and comments", async () => {
    const routes = await loadRoutes(
      text("# a table\n10.0.0.0/8 1\r\n\n10.1.0.0/16\r 2\n192.0.2.0/24\tcore # edge\n2001:db8::/32 fe80::1\n0.0.0.0/0 1"),
      "rib.txt",
    );
    assert.deepEqual(rows4(routes), ["10.0.0.0/8 forward 1", "10.1.0.0/16 forward 2", "192.0.2.0/24 forward core", "0.0.0.0/0 forward 1"]);
    assert.deepEqual(rows6(routes), ["2001:db8::/32 forward fe80::1"]);
  });

  it("reads what ip route and ip -6 route print", async () => {
    const printed = `default via 192.168.1.1 dev eth0 proto dhcp src 192.168.1.7 metric 100
10.0.0.0/24 dev eth1 proto kernel scope link src 10.0.0.1
10.9.0.0/16 via inet6 fe80::1 dev eth1
blackhole 10.8.0.0/16
unreachable 10.7.0.0/16 metric 4278198272
prohibit 10.6.0.0/16
broadcast 10.0.0.255 dev eth1 table local proto kernel scope link src 10.0.0.1
local 10.0.0.1 dev eth1 table local proto kernel scope host src 10.0.0.1
10.5.0.0/16 proto static
\tnexthop via 10.0.0.2 dev eth1 weight 1
\tnexthop via 10.0.0.3 dev eth1 weight 3
default via fe80::1 dev eth0 proto ra metric 1024 pref medium
fe80::/64 dev eth0 proto kernel metric 256 pref medium
multicast ff00::/8 dev eth0 table local proto kernel metric 256 pref medium
`;
    const routes = await loadRoutes(text(printed), "routes");
    const numberOf = (name: string) => routes.nextHops.findIndex((hop) => hop.name === name) + 1;
    assert.deepEqual(rows4(routes), [
      "0.0.0.0/0 forward 192.168.1.1 dev eth0",
      "10.0.0.0/24 forward dev eth1",
      "10.9.0.0/16 forward fe80::1 dev eth1",
      "10.8.0.0/16 blackhole blackhole",
      "10.7.0.0/16 unreachable unreachable",
      "10.6.0.0/16 prohibit prohibit",
      "10.0.0.255/32 broadcast dev eth1",
      "10.0.0.1/32 local dev eth1",
      `10.5.0.0/16 group ${numberOf("10.0.0.2 dev eth1")}×1 ${numberOf("10.0.0.3 dev eth1")}×3`,
    ]);
    assert.deepEqual(rows6(routes), ["::/0 forward fe80::1 dev eth0", "fe80::/64 forward dev eth0"]);
    assert.deepEqual(routes.warnings, []);
  });

  for (const [line, message] of [
    ["10.0.0.0/33 1", /rib, line 2: "10.0.0.0\/33" has no valid length; expected a number from 0 to 32/],
    ["10.0.0.1/8 1", /rib, line 2: "10.0.0.1\/8" has bits set behind its length/],
    ["10.0.0.0/8", /rib, line 2: "10.0.0.0\/8" has no next hop/],
    ["hello world", /rib, line 2: "hello" is not an IPv4 or IPv6 address/],
    ["2001:db8::1::/32 1", /rib, line 2: "2001:db8::1::" is not an IPv6 address/],
    ["010.0.0.0/8 1", /rib, line 2: "010.0.0.0" is not an IPv4/],
  ] as const) {
    it(`names the line of "${line}"`, async () => {
      await assert.rejects(loadRoutes(text(`192.0.2.0/24 1\n${line}\n`), "rib"), message);
    });
  }

  it("refuses other files with one sentence", async () => {
    await assert.rejects(loadRoutes(new Uint8Array(0), "x"), /x is empty/);
    await assert.rejects(loadRoutes(text("# nothing\n"), "x"), /x holds no routes/);
    await assert.rejects(
      loadRoutes(
        Uint8Array.from({ length: 100 }, (_, i) => i * 3),
        "x",
      ),
      /x is neither text/,
    );
  });
});

// ── MRT, written by hand from RFC 6396 ─────────────────────────────────────────────────────────
const u16 = (x: number) => [x >>> 8, x & 255];
const u32 = (x: number) => [...u16(x >>> 16), ...u16(x & 0xffff)];
const ip = (address: string) => u32(parse4(address));
const record = (type: number, subtype: number, body: number[]) => [...u32(1), ...u16(type), ...u16(subtype), ...u32(body.length), ...body];
const attribute = (type: number, body: number[]) => [0x40, type, body.length, ...body];
const path2 = (...list: number[]) => attribute(2, [2, list.length, ...list.flatMap(u16)]);
const path4 = (...list: number[]) => attribute(2, [2, list.length, ...list.flatMap(u32)]);
const hop = (address: string) => attribute(3, ip(address));

function v1(prefix: string, length: number, peer: string, attributes: number[]): number[] {
  return record(12, 1, [
    ...u16(0),
    ...u16(0),
    ...ip(prefix),
    length,
    1,
    ...u32(0),
    ...ip(peer),
    ...u16(65000),
    ...u16(attributes.length),
    ...attributes,
  ]);
}

function v2(prefix: number[], entries: number[][]): number[] {
  const rows = entries.flatMap((attributes, peer) => [...u16(peer), ...u32(0), ...u16(attributes.length), ...attributes]);
  return record(13, 2, [...u32(0), ...prefix, ...u16(entries.length), ...rows]);
}

function update(peer: string, withdrawn: number[], attributes: number[], announced: number[]): number[] {
  const body = [...u16(withdrawn.length), ...withdrawn, ...u16(attributes.length), ...attributes, ...announced];
  const message = [...new Array(16).fill(255), ...u16(19 + body.length), 2, ...body];
  return record(16, 4, [...u32(65001), ...u32(65002), ...u16(0), ...u16(1), ...ip(peer), ...ip("10.0.0.9"), ...message]);
}

const load = (bytes: number[]) => loadRoutes(Uint8Array.from(bytes), "dump");

describe("MRT", () => {
  it("reads TABLE_DUMP and takes the shortest AS path", async () => {
    const routes = await load([
      ...v1("10.0.0.0", 8, "192.0.2.1", [...path2(1, 2, 3), ...hop("192.0.2.1")]),
      ...v1("10.0.0.0", 8, "192.0.2.2", [...path2(1, 2), ...hop("192.0.2.2")]),
      ...v1("10.0.0.0", 8, "192.0.2.3", [...path2(4, 5), ...hop("192.0.2.3")]),
    ]);
    assert.deepEqual(rows4(routes), ["10.0.0.0/8 forward 192.0.2.2"]);
  });

  it("reads TABLE_DUMP_V2 of both families", async () => {
    const reach6 = [16, ...new Array(15).fill(0), 9];
    const six = record(13, 4, [
      ...u32(0),
      32,
      0x20,
      1,
      0x0d,
      0xb8,
      ...u16(1),
      ...u16(0),
      ...u32(0),
      ...u16(reach6.length + 3),
      ...attribute(14, reach6),
    ]);
    const routes = await load([
      ...record(13, 1, [0]),
      ...v2(
        [24, 192, 0, 2],
        [
          [...path4(1, 2), ...hop("10.0.0.1")],
          [...path4(1), ...hop("10.0.0.2")],
        ],
      ),
      ...six,
    ]);
    assert.deepEqual(rows4(routes), ["192.0.2.0/24 forward 10.0.0.2"]);
    assert.deepEqual(rows6(routes), ["2001:db8::/32 forward ::9"]);
  });

  it("applies BGP4MP updates in order, withdrawals by their own peer only", async () => {
    const attributes = [...path4(1), ...hop("10.0.0.1")];
    const routes = await load([
      ...update("192.0.2.1", [], attributes, [8, 10, 16, 172, 16]),
      ...update("192.0.2.2", [8, 10], [], []),
      ...update("192.0.2.1", [16, 172, 16], [], []),
    ]);
    assert.deepEqual(rows4(routes), ["10.0.0.0/8 forward 10.0.0.1"]);
  });

  it("names the record that is broken, and keeps what came before a cut", async () => {
    const good = v2([8, 10], [[...path4(1), ...hop("10.0.0.1")]]);
    await assert.rejects(load([...good, ...v2([99, 10], [])]), /dump, record 2 at byte \d+ \(type 13, subtype 2\): a prefix of 99 bits/);
    const cut = await load([...good, ...good.slice(0, 20)]);
    assert.equal(cut.size, 1);
    assert.match(cut.warnings[0], /dump, record 2 at byte \d+: the file ends \d+ bytes short/);
  });

  it("answers any damage with a sentence", async () => {
    const bytes = [
      ...v1("10.0.0.0", 8, "192.0.2.1", [...path2(1, 2, 3), ...hop("192.0.2.1")]),
      ...v2([24, 192, 0, 2], [[...path4(1, 2), ...hop("10.0.0.1")]]),
      ...update("192.0.2.1", [], [...path4(1), ...hop("10.0.0.1")], [8, 10]),
    ];
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 4 }), async (changes) => {
        const damaged = Uint8Array.from(bytes);
        for (const [at, value] of changes) damaged[at] = value;
        await loadRoutes(damaged, "x").catch((error) => assert.ok(["EPROTO", "EINVAL"].includes(error.code), error.stack));
      }),
      { seed: SEED, numRuns: 1000 },
    );
  });

  const data = process.env.PACKETLOOM_DATA ? join(process.env.PACKETLOOM_DATA, "mrt") : "";
  for (const [name, least, warning] of [
    ["bview.20020722.2337.gz", 10_000, undefined],
    ["rib.20140523.0600_firstMB.bz2", 1000, /cut off/],
    ["rib6.20151101.0600_firstMB.bz2", 1000, /cut off/],
    ["updates.20160811.1600.gz", 1000, undefined],
  ] as const) {
    it(`reads the genuine ${name}`, {
      skip: existsSync(join(data, name)) && data ? false : "PACKETLOOM_DATA names no folder with it",
    }, async (t) => {
      const routes = await loadRoutes(new Uint8Array(readFileSync(join(data, name))), name);
      t.diagnostic(`${routes.size} routes, ${routes.nextHops.length} next hops`);
      assert.ok(routes.size >= least, `${routes.size} routes`);
      if (warning)
        assert.ok(
          routes.warnings.some((sentence) => warning.test(sentence)),
          routes.warnings.join(),
        );
    });
  }
});

describe("compact tables", () => {
  it("hold what was put in", () => {
    const set = new Routes();
    for (const [i, address] of [0, 1, 127, 128, 0x0a000000, 0xffffffff].entries()) set.v4.add(address, 32, i + 1);
    const { v4 } = decodeCompact(encodeCompact(set.v4), "x");
    assert.deepEqual([...v4.addresses.subarray(0, 6)], [0, 1, 127, 128, 0x0a000000, 0xffffffff]);
    assert.deepEqual([...v4.hops.subarray(0, 6)], [1, 2, 3, 4, 5, 6]);
  });

  it("hold IPv6 addresses of any distance", () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt(0n, (1n << 128n) - 1n), { maxLength: 30 }), (list) => {
        const sorted = [...list].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
        const columns = new Columns6();
        for (const address of sorted) columns.add(address >> 64n, address & 0xffffffffffffffffn, 128, 5);
        const { v6 } = decodeCompact(encodeCompact(columns), "x");
        assert.deepEqual(
          Array.from({ length: v6.count }, (_, i) => (v6.high[i] << 64n) | v6.low[i]),
          sorted,
        );
      }),
      { seed: SEED },
    );
  });

  it("say so when they are cut off", async () => {
    const bytes = fixture("data/internet6.bin.gz");
    const routes = await loadRoutes(bytes, "internet6");
    assert.equal(routes.v6.count, 167_903);
    const plain = encodeCompact(routes.v6);
    await assert.rejects(
      loadRoutes(gzipSync(plain.subarray(0, plain.length - 10)), "internet6"),
      /internet6: the table is cut off at route/,
    );
  });
});

describe("what an attack on the parsers found", () => {
  it("a default route of ip -6 route belongs to IPv6, with or without a gateway", async () => {
    const routes = await loadRoutes(text("default dev wg0 metric 1024 pref medium\n"), "x");
    assert.deepEqual(rows6(routes), ["::/0 forward dev wg0"]);
  });

  it("the best metric wins, not the last line", async () => {
    const routes = await loadRoutes(text("default via 10.0.0.1 dev a metric 100\ndefault via 10.0.0.2 dev b metric 600\n"), "x");
    assert.deepEqual(rows4(routes), ["0.0.0.0/0 forward 10.0.0.1 dev a"]);
  });

  for (const lines of [
    "10.0.0.0/8 proto bgp metric 20\n",
    "11.0.0.0/8 nhid 12\n",
    "unicast 12.0.0.0/8\n11.0.0.0/8 1\n",
    "\tnexthop via 1.1.1.1\n",
    "10.0.0.0/8 via\n",
    "constructor 10.0.0.0/8 via 1.2.3.4\n",
  ]) {
    it(`no route is lost silently: ${JSON.stringify(lines)}`, async () => {
      await assert.rejects(loadRoutes(text(lines), "x"), /^LoomError: x, line 1: /);
    });
  }

  it("lines may end in a carriage return alone, and comments stand between a route and its next hops", async () => {
    assert.equal((await loadRoutes(text("1.0.0.0/8 via 1.1.1.1 dev a\r2.0.0.0/8 via 1.1.1.1 dev a\r"), "x")).size, 2);
    assert.equal((await loadRoutes(text("1.0.0.0/8 proto bgp\n# two\n\tnexthop via 1.1.1.1 dev a\n"), "x")).size, 1);
  });

  it("text that gzip cut off loses its half line, and says so", async () => {
    const whole = gzipSync(text(Array.from({ length: 5000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24 ${1000 + i}`).join("\n")));
    for (let at = 6000; at < 6400; at += 10) {
      const routes = await loadRoutes(whole.subarray(0, at), "x");
      const last = routes.v4.count - 1;
      assert.equal(routes.nextHops[routes.v4.hops[last] - 1].name, String(1000 + last));
      assert.match(routes.warnings[0], /the gzip data is cut off/);
    }
  });

  it("hostile compact tables are refused at once", async () => {
    const head = [0x4c, 0x4f, 0x4f, 0x4d, 1, 6, 0, 0, 1, 0, 0, 0, 64, 1];
    await assert.rejects(loadRoutes(Uint8Array.from([...head, ...new Array(250_000).fill(255), 1]), "x"), /more than 128 bits/);
    await assert.rejects(
      loadRoutes(Uint8Array.from([0x4c, 0x4f, 0x4f, 0x4d, 1, 4, 0, 0, 1, 0, 0, 0, 8, 1, 0x80]), "x"),
      /cut off at route 0/,
    );
  });

  it("an update with both families keeps their next hops apart", async () => {
    const reach = attribute(14, [0, 2, 1, 16, 0x20, 1, 0x0d, 0xb8, ...new Array(11).fill(0), 1, 0, 32, 0x20, 1, 0x0d, 0xb8]);
    const routes = await load(update("192.0.2.1", [], [...reach, ...path4(1), ...hop("9.9.9.9")], [8, 10]));
    assert.deepEqual([...rows4(routes), ...rows6(routes)], ["10.0.0.0/8 forward 9.9.9.9", "2001:db8::/32 forward 2001:db8::1"]);
  });

  it("IPv4 in MP_REACH_NLRI is read", async () => {
    const reach = attribute(14, [0, 1, 1, 4, 10, 0, 0, 7, 0, 16, 172, 16]);
    assert.deepEqual(rows4(await load(update("192.0.2.1", [], [...path4(1), ...reach], []))), ["172.16.0.0/16 forward 10.0.0.7"]);
  });
});
