/** Whole frames through the data plane and through the oracle: the same verdicts, the same bytes, nothing lost. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Engine, type NextHop, Random, type RouteTable } from "../src/index.ts";
import {
  addressBytes4,
  ETHERTYPE,
  EXTENSION,
  type OracleHop,
  PROTOCOL,
  route,
  serializeArp,
  serializeEthernet,
  serializeIpv4,
  serializeIpv6,
  serializeTcp,
  serializeUdp,
  type Verdict,
} from "../src/wire/index.ts";
import { BUILDS, engineOf, mac, random, through } from "./support.ts";

const ROUTER = Uint8Array.of(2, 0, 0, 0, 0, 0);
const SENDER = mac(99);

/** A router with every kind of next hop, and the same as the oracle sees it. */
interface Router {
  engine: Engine;
  hops4: Map<number, OracleHop>;
  hops6: Map<number, OracleHop>;
  table4: RouteTable;
  table6: RouteTable;
}

const HOPS: NextHop[] = [
  { kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(11) },
  { kind: "forward", port: 2, destinationMac: mac(2), sourceMac: mac(12), vlan: 42 },
  { kind: "forward", port: 1, destinationMac: mac(3), sourceMac: mac(13), mtu: 300 },
  { kind: "local" },
  { kind: "blackhole" },
  { kind: "unreachable" },
  { kind: "prohibit" },
  { kind: "glean", port: 1 },
  { kind: "broadcast" },
];
const NETS4 = [
  "10.0.0.0/8",
  "20.0.0.0/8",
  "30.0.0.0/8",
  "40.0.0.0/8",
  "50.0.0.0/8",
  "60.0.0.0/8",
  "70.0.0.0/8",
  "80.0.0.0/8",
  "90.0.0.0/8",
];
const NETS6 = NETS4.map((_, i) => `2001:db8:${i + 1}::/48`);

function oracleHop(hop: NextHop): OracleHop {
  const blank = { kind: hop.kind, port: 0, mtu: 1500, destinationMac: mac(0), sourceMac: mac(0) };
  return hop.kind === "forward" ? { ...blank, ...hop, mtu: hop.mtu ?? 1500 } : blank;
}

async function routerOf(build: "shared" | "plain"): Promise<Router> {
  const engine = await engineOf(build, { ports: 3 });
  const [table4, table6] = [engine.createTable(4), engine.createTable(6)];
  const hops4 = new Map<number, OracleHop>();
  const hops6 = new Map<number, OracleHop>();
  HOPS.forEach((hop, i) => {
    const [index4, index6] = [table4.addNextHop(hop), table6.addNextHop(hop)];
    table4.set(NETS4[i], index4);
    table6.set(NETS6[i], index6);
    hops4.set(index4, oracleHop(hop));
    hops6.set(index6, oracleHop(hop));
  });
  engine.port(0).configure({ mac: ROUTER, table4, table6 });
  return { engine, hops4, hops6, table4, table6 };
}

function oracle(frame: Uint8Array, { hops4, hops6, table4, table6 }: Router): Verdict {
  return route(frame, {
    mac: ROUTER,
    // The tries are held against their own oracle elsewhere (fib.test.ts).
    lookup4: (address) => hops4.get(table4.lookup(address)),
    lookup6: (address) => {
      const view = new DataView(address.buffer, address.byteOffset, 16);
      return hops6.get(table6.lookup6(view.getBigUint64(0), view.getBigUint64(8)));
    },
  });
}

/** A frame with everything drawn at random but likely to be sound. */
function frame(r: Random): Uint8Array {
  const is6 = r.below(2) === 0;
  const payload = new Uint8Array(r.below(8) === 0 ? r.below(1480) : r.below(64));
  r.fill(payload);
  const net = 1 + r.below(10);
  const destination = r.below(8) === 0 ? ODD4[r.below(ODD4.length)] : ((net * 10) << 24) + r.below(0x1000000);
  const source = r.below(12) === 0 ? ODD4[r.below(ODD4.length)] : 0xc0000200 + r.below(256);
  const packet = is6 ? packet6(r, net, payload) : packet4(r, source >>> 0, destination >>> 0, payload);
  const tags = r.below(8) === 0 ? [tag(r), ...(r.below(2) ? [tag(r)] : [])] : [];
  const link =
    r.below(12) === 0
      ? [mac(7), Uint8Array.of(255, 255, 255, 255, 255, 255), Uint8Array.of(1, 128, 194, 0, 0, r.below(20))][r.below(3)]
      : ROUTER;
  const out = serializeEthernet({ destination: link, source: SENDER, tags, type: is6 ? ETHERTYPE.ipv6 : ETHERTYPE.ipv4, payload: packet });
  // Padding behind the packet, as Ethernet's minimum brings it.
  return r.below(4) === 0 ? new Uint8Array([...out, ...new Uint8Array(r.below(20))]) : out;
}

const ODD4 = [0, 0x7f000001, 0xe0000001, 0xffffffff, 0xf0000001, 0xa9fe0101, 0x00000001, 0xa9000001, 0xefffffff];

function tag(r: Random) {
  return {
    protocol: r.below(3) === 0 ? ETHERTYPE.qinq : ETHERTYPE.vlan,
    vlan: r.below(4096),
    priority: r.below(8),
    dropEligible: r.below(2) === 0,
  };
}

function l4(
  r: Random,
  addresses: { source: Uint8Array; destination: Uint8Array },
  payload: Uint8Array,
): { protocol: number; payload: Uint8Array } {
  const ports = { sourcePort: r.below(65536), destinationPort: r.below(65536) };
  if (r.below(2)) return { protocol: PROTOCOL.udp, payload: serializeUdp({ ...ports, payload }, addresses) };
  const tcp = { ...ports, sequence: r.u32(), acknowledgement: r.u32(), flags: r.below(256), window: 1, urgentPointer: 0 };
  return { protocol: PROTOCOL.tcp, payload: serializeTcp({ ...tcp, options: new Uint8Array(4 * r.below(4)), payload }, addresses) };
}

function packet4(r: Random, source: number, destination: number, payload: Uint8Array): Uint8Array {
  const upper = l4(r, { source: addressBytes4(source), destination: addressBytes4(destination) }, payload);
  return serializeIpv4({
    ...upper,
    source,
    destination,
    tos: r.below(256),
    id: r.below(65536),
    ttl: r.below(6) === 0 ? r.below(3) : 64,
    dontFragment: r.below(2) === 0,
    moreFragments: r.below(8) === 0,
    fragmentOffset: r.below(8) === 0 ? 8 * r.below(8192) : 0,
    options: r.below(6) === 0 ? new Uint8Array(4 * r.below(11)).fill(1) : new Uint8Array(0),
  });
}

const ODD6 = ["::", "::1", "ff02::1", "ff01::1", "ff0e::1", "fe80::1", "fe90::5", "fd00::1", "::2", "::ffff:a00:1", "::fffe:a00:1"];

function packet6(r: Random, net: number, payload: Uint8Array): Uint8Array {
  const words = (text: string) => {
    const out = new Uint8Array(16);
    const view = new DataView(out.buffer);
    const parts = text.includes("::") ? expand(text) : [];
    parts.forEach((word, i) => view.setUint16(2 * i, word));
    return out;
  };
  const near = words(`2001:db8:${net}::`);
  r.fill(near.subarray(6));
  const destination = r.below(8) === 0 ? words(ODD6[r.below(ODD6.length)]) : near;
  const source = r.below(12) === 0 ? words(ODD6[r.below(ODD6.length)]) : words("2001:db8:ffff::5");
  const extensions = r.below(4) === 0 ? Array.from({ length: r.below(4) + (r.below(20) === 0 ? 8 : 0) }, () => extension(r)) : [];
  const common = {
    source,
    destination,
    trafficClass: r.below(256),
    flowLabel: r.below(1 << 20),
    hopLimit: r.below(6) === 0 ? r.below(3) : 64,
  };
  return serializeIpv6({ ...common, extensions, ...l4(r, { source, destination }, payload) });
}

function expand(text: string): number[] {
  const [front, back] = text.split("::").map((half) => (half ? half.split(":").map((w) => Number.parseInt(w, 16)) : []));
  return [...front, ...new Array(8 - front.length - back.length).fill(0), ...back];
}

function extension(r: Random): { type: number; bytes: Uint8Array } {
  const type = Object.values(EXTENSION)[r.below(5)];
  if (type === EXTENSION.fragment) {
    const offset = r.below(3) === 0 ? 8 * r.below(100) : 0;
    return { type, bytes: Uint8Array.of(0, 0, offset >>> 8, (offset & 255) | r.below(2), 1, 2, 3, 4) };
  }
  const units = r.below(3);
  const bytes = new Uint8Array(type === EXTENSION.authentication ? (units * 2 + 4) * 4 : (units + 1) * 8);
  bytes[1] = type === EXTENSION.authentication ? units * 2 + 2 : units;
  return { type, bytes };
}

/** Damage: a byte changed, or the end cut off. */
function damage(r: Random, bytes: Uint8Array): Uint8Array {
  const out = bytes.slice(0, r.below(3) === 0 ? r.below(bytes.length + 1) : bytes.length);
  for (let n = r.below(3); n > 0 && out.length; n--) out[r.below(Math.min(out.length, 80))] = r.below(256);
  return out;
}

/** What the engine did with one frame, in the oracle's words. */
function verdictOf(engine: Engine, bytes: Uint8Array): Verdict {
  const before = engine.counters();
  const { sent, punted } = through(engine, [bytes]);
  if (sent.length === 1 && punted.length === 0) return { verdict: "forward", ...sent[0] };
  if (punted.length === 1 && sent.length === 0) return { verdict: "punt", reason: punted[0].reason };
  const after = engine.counters();
  const reasons = Object.entries(after.drops).filter(([name, n]) => n !== (before.drops as Record<string, number>)[name]);
  assert.equal(sent.length + punted.length, 0, "one packet in, at most one out");
  assert.equal(reasons.length, 1, "a packet that vanished has exactly one reason");
  return { verdict: "drop", reason: reasons[0][0] };
}

for (const build of BUILDS) {
  describe(`forwarding, ${build} build`, () => {
    it("does with 20,000 random and damaged frames what the oracle does", async (t) => {
      const r = random(t);
      const router = await routerOf(build);
      const { engine } = router;
      const seen = new Map<string, number>();
      for (let i = 0; i < 20_000; i++) {
        const sound = frame(r);
        const bytes = r.below(3) === 0 ? damage(r, sound) : sound;
        const expected = oracle(bytes, router);
        const got = verdictOf(engine, bytes);
        const hex = Buffer.from(bytes).toString("hex");
        assert.deepEqual(plain(got), plain(expected), `frame ${i}: ${hex}`);
        const name = expected.verdict === "forward" ? "forward" : `${expected.verdict} ${expected.reason}`;
        seen.set(name, (seen.get(name) ?? 0) + 1);
      }
      // The generator reaches the rules it is meant to test.
      for (const name of [
        "forward",
        "punt ttl_exceeded",
        "punt fragmentation_needed",
        "punt packet_too_big",
        "drop ip4_bad_checksum",
        "drop ip6_bad_extension",
        "drop ip6_too_many_extensions",
        "punt local",
        "punt neighbour",
        "punt link_local",
        "punt beyond_scope",
        "drop ip4_martian_source",
        "drop ip6_martian_source",
        "drop ip6_martian_destination",
        "drop l2_broadcast_of_unicast",
      ]) {
        assert.ok((seen.get(name) ?? 0) > 0, `no frame led to "${name}" (${[...seen].join(" ")})`);
      }
      assert.equal(engine.pool().inFlight, 0);
      assert.equal(engine.pool("bare").inFlight, 0);
      assert.equal(engine.counters().stats.copied_bytes, 0, "nothing is copied on the forwarding path");
    });

    it("handles a burst of mixed frames in order, and N in = N out + named drops + punts", async (t) => {
      const r = random(t);
      const router = await routerOf(build);
      const { engine } = router;
      const frames = Array.from({ length: 250 }, () => (r.below(4) ? frame(r) : damage(r, frame(r))));
      for (const bytes of frames) assert.ok(engine.port(0).receive(bytes));
      engine.punted = (punt) => punt.release();
      engine.poll();
      const expected = frames.map((bytes) => oracle(bytes, router));
      for (const port of [1, 2]) {
        const sent: string[] = [];
        engine.port(port).transmitted((bytes) => sent.push(Buffer.from(bytes).toString("hex")));
        const wanted = expected.flatMap((v) => (v.verdict === "forward" && v.port === port ? [Buffer.from(v.bytes).toString("hex")] : []));
        assert.deepEqual(sent, wanted);
      }
      const { stats, dropped, punted } = engine.counters();
      assert.equal(stats.received, 250);
      assert.equal(stats.transmitted + dropped + punted, 250);
      assert.equal(engine.pool().inFlight, 0);
    });
  });
}

function plain(verdict: Verdict): unknown {
  return verdict.verdict === "forward" ? { ...verdict, bytes: Buffer.from(verdict.bytes).toString("hex") } : verdict;
}

describe("rules that need a setting", () => {
  const udp4 = (source: number, destination: number) =>
    serializeEthernet({
      destination: ROUTER,
      source: SENDER,
      type: ETHERTYPE.ipv4,
      payload: serializeIpv4({ protocol: 17, source, destination, payload: new Uint8Array(26) }),
    });

  it("checks the reverse path strictly, loosely or not at all", async () => {
    const { engine } = await routerOf("shared");
    const from = (net: number) => udp4((net << 24) >>> 0, 0x0a000001);
    const dropped = () => engine.counters().drops.rpf ?? 0;
    engine.port(0).configure({ rpf: "loose" });
    through(engine, [from(20), from(99)]);
    assert.equal(dropped(), 1, "99/8 has no route");
    engine.port(0).configure({ rpf: "strict" });
    through(engine, [from(20)]);
    assert.equal(dropped(), 2, "20/8 leaves by another port");
    engine.port(1).configure({ mac: ROUTER, rpf: "strict", table4: (engine as unknown as { tables: never[] }).tables[0] });
    through(engine, [from(10)], 1);
    assert.equal(dropped(), 2, "10/8 leaves by this one");
    engine.port(0).configure({ rpf: "off" });
    assert.equal(through(engine, [from(99)]).sent.length, 1);
  });

  it("punts ARP with the frame kept", async () => {
    const { engine } = await routerOf("plain");
    const arp = serializeArp({ operation: "request", senderMac: SENDER, senderAddress: 1, targetMac: new Uint8Array(6), targetAddress: 2 });
    const bytes = serializeEthernet({ destination: new Uint8Array(6).fill(255), source: SENDER, type: ETHERTYPE.arp, payload: arp });
    const { punted } = through(engine, [bytes]);
    assert.deepEqual(punted, [{ reason: "arp", bytes }]);
  });

  it("punts options only where the port asks for it", async () => {
    const { engine } = await routerOf("plain");
    const packet = serializeIpv4({
      protocol: 17,
      source: 0xc0000201,
      destination: 0x0a000001,
      options: Uint8Array.of(1, 1, 1, 1),
      payload: new Uint8Array(8),
    });
    const bytes = serializeEthernet({ destination: ROUTER, source: SENDER, type: ETHERTYPE.ipv4, payload: packet });
    assert.equal(through(engine, [bytes]).sent.length, 1);
    engine.port(0).configure({ puntOptions: true });
    assert.equal(through(engine, [bytes]).punted[0].reason, "options");
  });

  it("spreads flows over a group by weight, and moves only a departed member's flows", async () => {
    const { engine } = await routerOf("shared");
    const table = (engine as unknown as { tables: import("../src/index.ts").RouteTable[] }).tables[0];
    const members = [1, 2, 3].map((i) => table.addNextHop({ kind: "forward", port: 1, destinationMac: mac(100 + i), sourceMac: mac(0) }));
    const group = table.addNextHop({
      kind: "group",
      members: [{ hop: members[0], weight: 2 }, { hop: members[1] }, { hop: members[2] }],
      buckets: 256,
    });
    table.set("11.0.0.0/8", group);
    const r = new Random(7);
    const frames = Array.from({ length: 4000 }, () => udp4(0xc0000200 + r.below(256), 0x0b000000 + r.below(1 << 24)));
    const chosen = () => through(engine, frames).sent.map(({ bytes }) => bytes[5] - 100);
    const before = chosen();
    const share = (n: number, list: number[]) => list.filter((x) => x === n).length / list.length;
    assert.ok(Math.abs(share(1, before) - 0.5) < 0.06 && Math.abs(share(2, before) - 0.25) < 0.06, "shares follow weights");
    table.setNextHop(group, { kind: "group", members: [{ hop: members[0], weight: 2 }, { hop: members[2] }], buckets: 256 });
    const after = chosen();
    const moved = before.filter((member, i) => member !== 2 && member !== after[i]).length;
    assert.ok(moved / before.length < 0.1, `${moved} flows of staying members moved`);
    assert.ok(!after.includes(2));
  });

  it("runs an ingress program compiled at run time over the same memory", async () => {
    const { engine } = await routerOf("plain");
    // (func (param i32 i32) (result i32) i32.const 0): keeps nothing of the lists.
    const bytes = Uint8Array.of(
      0,
      97,
      115,
      109,
      1,
      0,
      0,
      0,
      1,
      7,
      1,
      96,
      2,
      127,
      127,
      1,
      127,
      3,
      2,
      1,
      0,
      7,
      5,
      1,
      1,
      102,
      0,
      0,
      10,
      6,
      1,
      4,
      0,
      65,
      0,
      11,
    );
    const { instance } = await WebAssembly.instantiate(bytes);
    engine.port(0).setProgram(engine.addProgram(instance.exports.f as () => number));
    assert.equal(through(engine, [udp4(0xc0000201, 0x0a000001)]).sent.length, 0);
    engine.port(0).setProgram(undefined);
    assert.equal(through(engine, [udp4(0xc0000201, 0x0a000001)]).sent.length, 1);
  });
});
