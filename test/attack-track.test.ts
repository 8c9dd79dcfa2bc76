/** Attacks on what keeps state: a full table, helpers that are talked into holes, forged errors, checksums left open, rules that never end. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { VirtualClock } from "../src/base/clock.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Engine } from "../src/engine/engine.ts";
import { Firewall, Ruleset } from "../src/filter/index.ts";
import { parseConfig } from "../src/router/config.ts";
import { type End, writeTuple } from "../src/track/flow.ts";
import { announcedIn } from "../src/track/helpers/ftp.ts";
import { Conntrack, flowText } from "../src/track/index.ts";
import { PROTOCOL, parseEthernet, serializeIcmp } from "../src/wire/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { helperRules, lanAndServer } from "./nat-rig.ts";
import { BUILDS, engineOf, mac, through } from "./support.ts";
import { ACK, FIN, frame, ROUTER, RST, SYN, tcp, udp } from "./track-rig.ts";

const v4 = (text: string) => IpAddress.parse(text).v4;

/** 10/8 behind port 0 ("lan"), 20/8 behind port 1 ("wan", 20.0.0.99), with rules. */
async function middle(build: "shared" | "plain", rules: string, flows = 64, secret?: Uint8Array) {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 2, flows, flowEvents: 64, filterBytes: 4 << 20, clock, secret });
  const table4 = engine.createTable(4);
  table4.set("10.0.0.0/8", table4.addNextHop({ kind: "forward", port: 0, destinationMac: mac(1), sourceMac: ROUTER[0] }));
  table4.set("20.0.0.0/8", table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(2), sourceMac: ROUTER[1] }));
  const network = engine.createNetwork().configure({ track: true });
  for (const p of [0, 1]) {
    engine.port(p).configure({ table4 });
    network
      .add(engine.port(p))
      .describe(p, { name: p ? "wan" : "lan", index: p + 1, type: 1, address4: IpAddress.parse(p ? "20.0.0.99" : "10.0.0.254") });
  }
  const firewall = new Firewall(engine, network);
  if (rules) firewall.apply(rules);
  return { engine, clock, firewall, conntrack: new Conntrack(engine) };
}
function segment(
  port: number,
  source: number,
  destination: number,
  ports: [number, number],
  flags: number,
  [sequence, acknowledgement]: [number, number],
  window = 1000,
  options = new Uint8Array(),
): Uint8Array {
  return tcp(port, source, destination, { ports, flags, sequence, acknowledgement, window, options });
}
/** Where the data plane would look for a UDP flow: its first bucket and its other one. */
function bucketsOf(engine: Engine, src: End, dst: End): number {
  const { memory, plane } = engine;
  const scratch = memory.base(abi.REGION_HOST);
  writeTuple(memory, scratch, { protocol: PROTOCOL.udp, zone: 0, src, dst });
  plane.flowFind(scratch);
  const hash = memory.getU32(scratch + abi.TUPLE_HASH);
  const count = memory.getU32(memory.base(abi.REGION_FLOWS) + abi.FLOWS_BUCKETS);
  const place = (of: number) => Math.floor((of * count) / 2 ** 32);
  return place(hash) * count + place(Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 0);
}

/** So many ports and addresses of one sender that a table with this secret would keep in the same two buckets. */
function colliding(engine: Engine, many: number): { host: number; port: number }[] {
  const dst = { address: IpAddress.v4(v4("20.0.0.1")), port: 53 };
  const groups = new Map<number, { host: number; port: number }[]>();
  for (let host = v4("10.0.0.1"); ; host++) {
    for (let port = 1024; port < 65_536; port++) {
      const pair = bucketsOf(engine, { address: IpAddress.v4(host), port }, dst);
      const group = groups.get(pair) ?? [];
      groups.set(pair, group);
      if (group.push({ host, port }) === many) return group;
    }
  }
}

const passes = (engine: Engine, port: number, bytes: Uint8Array) => through(engine, [bytes], port).sent.length;

for (const build of BUILDS)
  describe(`attacks on tracking (${build})`, () => {
    it("a full table gives a new flow the place of another, and nothing of what that was", async () => {
      const { engine, conntrack } = await middle(build, "");
      for (let i = 0; i < 64; i++) passes(engine, 0, udp(0, v4("10.66.66.66"), v4("20.66.66.66"), 1000 + i, 53));
      assert.equal(passes(engine, 0, segment(0, v4("10.0.0.1"), v4("20.0.0.1"), [40_000, 443], SYN, [100, 0])), 1);
      assert.equal(conntrack.stats().earlyDrop, 1);
      assert.equal(passes(engine, 1, segment(1, v4("20.0.0.1"), v4("10.0.0.1"), [443, 40_000], SYN | ACK, [500, 101])), 1);
      const [flow, ...others] = [...conntrack.list({ protocol: 6 })].map((each) => flowText(each));
      assert.match(
        flow,
        /tcp {6}6 \d+ SYN_RECV src=10\.0\.0\.1 dst=20\.0\.0\.1 sport=40000 dport=443 .*src=20\.0\.0\.1 dst=10\.0\.0\.1 sport=443 dport=40000/,
      );
      assert.deepEqual([others, conntrack.stats().invalid], [[], 0]);
      auditFlows(engine);
    });

    it("an error about a flow that goes to somebody else is not of the flow", async () => {
      const { engine } = await middle(
        build,
        "table ip f { chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname lan accept; }; }",
      );
      const sent = udp(0, v4("10.0.0.1"), v4("20.0.0.1"), 5000, 53);
      assert.equal(passes(engine, 0, sent), 1);
      const error = (to: string) =>
        frame(1, v4("20.0.0.7"), v4(to), PROTOCOL.icmp, serializeIcmp({ type: 3, code: 1, rest: 0, payload: parseEthernet(sent).payload }));
      assert.deepEqual([passes(engine, 1, error("10.9.9.9")), passes(engine, 1, error("10.0.0.1"))], [0, 1]);
    });

    it("what is out of the window makes no flow's time longer", async () => {
      const { engine, clock, conntrack } = await middle(build, "");
      const [client, server] = [v4("10.0.0.1"), v4("20.0.0.1")];
      const out = (flags: number, numbers: [number, number]) => passes(engine, 0, segment(0, client, server, [1000, 80], flags, numbers));
      const back = (flags: number, numbers: [number, number]) => passes(engine, 1, segment(1, server, client, [80, 1000], flags, numbers));
      out(SYN, [100, 0]);
      back(SYN | ACK, [500, 101]);
      out(ACK, [101, 501]);
      out(FIN | ACK, [101, 501]);
      back(FIN | ACK, [501, 102]);
      out(ACK, [102, 502]);
      clock.advance(110_000);
      out(FIN | ACK, [900_000_000, 502]);
      back(FIN | ACK, [900_000_000, 102]);
      const [flow] = [...conntrack.list()];
      assert.ok(flow.expiresMs <= 10_000, `${flow.state} for ${flow.expiresMs} ms`);
    });

    it("a window whose scaled size ends in sixteen zeros is not a closed one", async () => {
      const { engine, conntrack } = await middle(build, "");
      const [client, server] = [v4("10.0.0.1"), v4("20.0.0.1")];
      const scale = Uint8Array.of(3, 3, 8, 1);
      passes(engine, 0, segment(0, client, server, [1000, 80], SYN, [100, 0], 64_240, scale));
      passes(engine, 1, segment(1, server, client, [80, 1000], SYN | ACK, [500, 101], 64_240, scale));
      passes(engine, 0, segment(0, client, server, [1000, 80], ACK, [101, 501], 1024));
      const [flow] = [...conntrack.list()];
      assert.deepEqual([flow.state, Math.round(flow.expiresMs / 1000)], ["ESTABLISHED", 432_000]);
    });

    it("a flow that a reset ends says so once, and last", async () => {
      const { engine, conntrack } = await middle(build, "");
      passes(engine, 0, segment(0, v4("10.0.0.1"), v4("20.0.0.1"), [1000, 80], SYN, [100, 0]));
      passes(engine, 1, segment(1, v4("20.0.0.1"), v4("10.0.0.1"), [80, 1000], RST | ACK, [0, 101]));
      assert.deepEqual(
        [...conntrack.events()].map(({ kind }) => kind),
        ["new", "destroy"],
      );
      auditFlows(engine);
    });

    it("SCTP leaves with the checksum of its new ports", async () => {
      const { engine } = await middle(
        build,
        "table ip n { chain out { type nat hook postrouting priority srcnat; oifname wan meta l4proto sctp masquerade to :4000-4999; }; }",
      );
      const chunk = Uint8Array.of(1, 0, 0, 20, 1, 2, 3, 4, 0, 0, 128, 0, 0, 5, 0, 5, 9, 9, 9, 9);
      const sctp = new Uint8Array(12 + chunk.length);
      sctp.set(chunk, 12);
      const view = new DataView(sctp.buffer);
      view.setUint16(0, 5000);
      view.setUint16(2, 80);
      view.setUint32(8, crc32c(sctp), true);
      const { sent } = through(engine, [frame(0, v4("10.0.0.1"), v4("20.0.0.1"), 132, sctp)], 0);
      const out = parseEthernet(sent[0].bytes).payload.slice(20, 20 + sctp.length);
      const port = new DataView(out.buffer).getUint16(0);
      assert.ok(port >= 4000 && port <= 4999, `port ${port}`);
      const sum = new DataView(out.buffer).getUint32(8, true);
      new DataView(out.buffer).setUint32(8, 0);
      assert.equal(sum, crc32c(out));
    });

    it("chains at ingress and egress meet packets of their devices, and what meets none is refused", async () => {
      const { engine, firewall } = await middle(
        build,
        `table netdev f {
          chain in { type filter hook ingress device "lan" priority 0; policy accept; udp dport 53 counter drop; }
          chain out { type filter hook egress device "wan" priority 0; policy accept; udp dport 54 counter drop; }
        }`,
      );
      const tries = [53, 54, 55].map((port) => passes(engine, 0, udp(0, v4("10.0.0.1"), v4("20.0.0.1"), 1000, port)));
      assert.deepEqual(tries, [0, 0, 1]);
      assert.equal(passes(engine, 1, udp(1, v4("20.0.0.1"), v4("10.0.0.1"), 1000, 53)), 1);
      assert.match(firewall.list(), /udp dport 53 counter packets 1 .*\n(?:.*\n)*.*udp dport 54 counter packets 1 /);
      for (const [text, why] of [
        ["table bridge b { chain c { type filter hook forward priority 0; }; }", /table bridge b, chain c: this engine has no bridges/],
        ["table ip t { ct timeout x { protocol udp; policy = { unreplied : 7 }; }; }", /ct timeout x: timeouts are those/],
      ] as const)
        assert.throws(() => firewall.apply(text), why);
    });

    it("a flood of SYNs leaves connections that were made before alone, and memory as it is", async () => {
      const { engine, conntrack } = await middle(build, "", 1000);
      const honest = Array.from({ length: 300 }, (_, i) => v4("10.1.0.1") + i);
      const server = v4("20.0.0.1");
      for (const client of honest) {
        passes(engine, 0, segment(0, client, server, [1000, 80], SYN, [100, 0]));
        passes(engine, 1, segment(1, server, client, [80, 1000], SYN | ACK, [500, 101]));
        passes(engine, 0, segment(0, client, server, [1000, 80], ACK, [101, 501]));
      }
      let through = 0;
      for (let i = 0; i < 20_000; i++)
        through += passes(engine, 0, segment(0, v4("10.200.0.0") + (i & 0xffff), server, [1024 + i, 80], SYN, [i, 0]));
      assert.ok(conntrack.count <= 1000 && through > 15_000, `${through} of 20000 SYNs`);
      const alive = honest.filter((client) => passes(engine, 1, segment(1, server, client, [80, 1000], ACK, [501, 101])) === 1);
      assert.equal(alive.length, honest.length);
      assert.deepEqual([...conntrack.list({ state: "ESTABLISHED" })].length, honest.length);
      auditFlows(engine);
    });

    it("flows made to collide do so where the secret is known, and nowhere else", async () => {
      const [known, secret] = [1, 2].map((value) => new Uint8Array(16).fill(value));
      const attacked = await middle(build, "", 512, known);
      const flood = colliding(attacked.engine, 40);
      const entries = ({ engine, conntrack }: typeof attacked) => {
        for (const { host, port } of flood) passes(engine, 0, udp(0, host, v4("20.0.0.1"), port, 53));
        auditFlows(engine);
        return conntrack.count;
      };
      // Two buckets are all there is room for; a packet's way through the table is as short as ever.
      assert.ok(entries(attacked) <= 2 * abi.FLOW_BUCKET_SLOTS);
      assert.equal(entries(await middle(build, "", 512, secret)), flood.length);
    });

    it("ports that are used up are used up for one far end alone, and come back with time", async () => {
      const { engine, clock } = await middle(
        build,
        "table ip n { chain out { type nat hook postrouting priority srcnat; oifname wan meta l4proto udp masquerade to :2000-2063; }; }",
        1000,
      );
      const begin = (server: string, i: number) => passes(engine, 0, udp(0, v4("10.0.0.1") + (i >> 8), v4(server), 3000 + (i & 255), 53));
      const count = (server: string, from: number) =>
        Array.from({ length: 100 }, (_, i) => begin(server, from + i)).reduce((sum, each) => sum + each, 0);
      assert.equal(count("20.0.0.1", 0), 64);
      assert.equal(engine.counters().drops.nat_exhausted, 36);
      assert.equal(count("20.0.0.2", 1000), 64, "another far end");
      clock.advance(31_000);
      engine.poll();
      assert.equal(count("20.0.0.1", 2000), 64, "after their time");
      auditFlows(engine);
    });

    it("queue with bypass lets packets go on, as nobody listens", async () => {
      const { engine } = await middle(
        build,
        "table ip q { chain forward { type filter hook forward priority 0; udp dport 1 queue; udp dport 2 queue flags bypass to 0; }; }",
      );
      assert.deepEqual(
        [1, 2].map((port) => passes(engine, 0, udp(0, v4("10.0.0.1"), v4("20.0.0.1"), 9, port))),
        [0, 1],
      );
    });
  });

/** CRC32c (RFC 9260 appendix A), of a packet whose checksum field is zero. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** A control connection from behind the router; what its server reads, and how many data connections are expected. */
async function controlled() {
  const { lab, client, router, server, wan } = await lanAndServer(helperRules("ftp", "tcp", 21));
  const listener = server.listen({ port: 21 });
  const accepting = listener[Symbol.asyncIterator]().next();
  const opening = client.connect({ hostname: "192.0.2.2", port: 21 });
  await lab.run(200);
  const socket = await opening;
  const { value: accepted } = await accepting;
  let heard = "";
  void (async () => {
    for await (const chunk of accepted?.readable ?? []) heard += new TextDecoder().decode(chunk as Uint8Array);
  })();
  const writer = socket.writable.getWriter();
  const say = async (text: string) => {
    const from = heard.length;
    void writer.write(new TextEncoder().encode(text));
    await lab.run(100);
    return heard.slice(from);
  };
  const expected = () => router.engine.memory.getU32(router.engine.memory.base(abi.REGION_FLOWS) + abi.FLOWS_EXPECTATION_COUNT);
  return { lab, say, expected, wan, all: () => heard };
}

describe("attacks on FTP's helper", () => {
  it("what stands in the middle of a line, a service's port and another's address are announced to nobody", async () => {
    const { say, expected } = await controlled();
    assert.equal(await say("POST / HTTP/1.1 aaaa"), "POST / HTTP/1.1 aaaa");
    assert.equal(await say("PORT 10,0,0,2,117,48\r\n"), "PORT 10,0,0,2,117,48\r\n");
    assert.equal(await say("PORT 10,0,0,2,0,22\r\n"), "PORT 10,0,0,2,0,22\r\n");
    assert.equal(await say("PORT 10,0,0,9,117,48\r\n"), "PORT 10,0,0,9,117,48\r\n");
    assert.equal(expected(), 0);
    assert.equal(await say("PORT 10,0,0,2,117,48\r\n"), "PORT 192,0,2,1,117,48\r\n");
    assert.equal(expected(), 1);
  });

  it("one connection expects one other, however much it announces", async () => {
    const { say, expected } = await controlled();
    for (let i = 0; i < 20; i++) assert.equal(await say(`PORT 10,0,0,2,100,${i}\r\n`), `PORT 192,0,2,1,100,${i}\r\n`);
    assert.equal(expected(), 1);
  });

  it("a line that was lost is sent again as it was written anew", async () => {
    const { lab, say, all, wan } = await controlled();
    wan.set({ loss: 1 }, 0);
    assert.equal(await say("PORT 10,0,0,2,117,48\r\n"), "");
    wan.set({ loss: 0 }, 0);
    await lab.run(3000);
    await say("NOOP\r\n");
    assert.equal(all(), "PORT 192,0,2,1,117,48\r\nNOOP\r\n");
  });

  it("answers of any length are read in no time", () => {
    const start = performance.now();
    assert.equal(announcedIn(`227 ${"1".repeat(65_000)}\r\n`, true), undefined);
    assert.equal(announcedIn(`229 ${"(".repeat(65_000)}\r\n`, true), undefined);
    assert.ok(performance.now() - start < 500);
    assert.equal(announcedIn("227 Entering Passive Mode (10,0,0,2,4,1).\r\n", true)?.port, 1025);
  });
});

describe("texts that are written against their reader", () => {
  const refused = (text: string) => {
    const start = performance.now();
    assert.throws(() => new Ruleset().apply(text), /Error: .+/, text.slice(0, 60));
    assert.ok(performance.now() - start < 3000, `${text.slice(0, 60)} took ${performance.now() - start} ms`);
  };
  it("rules: one sentence, soon, whatever it is", () => {
    const chain = (rule: string, family = "ip") => `table ${family} t { chain c { ${rule}; }; }`;
    refused("{".repeat(3000));
    refused(chain(`ip saddr ${"{ ".repeat(2000)}1.1.1.1${" }".repeat(2000)}`));
    refused(chain(`meta mark ${"(".repeat(5000)}1${")".repeat(5000)}`));
    refused(chain(`meta mark ${Array(20_000).fill(1).join("|")}`));
    refused(chain("arp saddr 1", "arp"));
    refused(chain("arp saddr { 22 }", "bridge"));
    refused(`table ip t { set s { type ipv4_addr; timeout ${"9".repeat(300)}s; }; }`);
    refused("table ip t { set s { type ipv4_addr; size 99999999999999999999; }; }");
    refused("table ip t { chain c { type filter hook input priority 99999999999; }; }");
    refused(chain("limit rate 99999999999999999999999/second"));
    const defines = Array.from({ length: 25 }, (_, i) => `define a${i + 1} = $a${i} | $a${i}\n`).join("");
    refused(`define a0 = 1\n${defines}${chain("meta mark $a25")}`);
    const sets = Array.from({ length: 8 }, (_, i) => `define s${i + 1} = { ${Array(9).fill(`$s${i}`).join(", ")} }\n`).join("");
    refused(`define s0 = { 1.1.1.1 }\n${sets}${chain("ip saddr $s8")}`);
  });

  it("a mistake in a line that no screen holds is shown with what is around it", () => {
    const error = (() => {
      try {
        new Ruleset().apply(`table ip t { chain c { ip saddr { ${"1.2.3.4, ".repeat(10_000)} nonsense! } accept; }; }`);
      } catch (caught) {
        return caught as Error;
      }
    })();
    assert.ok(error && error.message.length < 1500, error?.message.slice(0, 100));
    assert.match(error.message, /\n.*1\.2\.3\.4.*\n *\^/);
  });

  it("chains that send a packet round for seconds are refused, ranges that multiply too", async () => {
    const { firewall } = await middle("shared", "");
    const chains = Array.from({ length: 14 }, (_, i) => `chain c${i} {\n${i < 13 ? `jump c${i + 1}\n`.repeat(300) : ""}}`);
    assert.throws(
      () => firewall.apply(`table ip t {\n${chains.reverse().join("\n")}\n}`),
      /sends a packet through more than 10000000 rules/,
    );
    const random = (i: number) => (i * 2654435761) % 200;
    const range = (i: number) =>
      `10.0.0.${random(i)}-10.0.1.${random(i + 7)} . 10.0.0.${random(i + 3)}-10.0.1.${random(i + 5)} . ${random(i)}-${300 + random(i)}`;
    const elements = Array.from({ length: 400 }, (_, i) => range(i + 1)).join(", ");
    const start = performance.now();
    assert.throws(
      () =>
        firewall.apply(`table ip t { set s { type ipv4_addr . ipv4_addr . inet_service; flags interval; elements = { ${elements} }; }; }`),
      /File exists/,
    );
    assert.ok(performance.now() - start < 5000);
  });

  it("YAML: aliases that multiply, and mistakes by the thousand", () => {
    const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${"bcdefgh"
      .split("")
      .map((name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdefg"[i]}`).join(", ")}]\n`)
      .join("")}`;
    for (const text of [bomb, "a: *nobody\n", "<<: *x\n"]) assert.throws(() => parseConfig(text), { code: "EINVAL" });
    const many = Array.from({ length: 20_000 }, (_, i) => `key${i}: 1\n`).join("");
    const start = performance.now();
    assert.throws(() => parseConfig(many), /there is no router option "key0"/);
    assert.throws(() => parseConfig("interfaces: []\nname: a\nname: b\n"), /router\.yaml:3:1: "name" is there twice/);
    assert.throws(() => parseConfig(`interfaces: [${"{}, ".repeat(2000)}{}]\n`), /and \d+ more mistakes$/);
    assert.ok(performance.now() - start < 3000);
  });
});
