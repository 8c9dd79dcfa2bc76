/**
 * The kernel's netfilter as an oracle: the rig that asks it (test/netfilter/), and what it answered. With root the recorded
 * cases are asked again, so that a kernel that answers otherwise is noticed.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { put16, u16 } from "../src/base/bytes.ts";
import { missing } from "./kernel-support.ts";
import { frameIn, frameOut, parseCases, printCase } from "./netfilter/case.ts";
import { generateCorpus } from "./netfilter/corpus.ts";
import { describe as describePacket } from "./netfilter/describe.ts";
import { KernelRouter } from "./netfilter/kernel-router.ts";
import { OurRouter } from "./netfilter/ours.ts";
import { packet } from "./netfilter/packet.ts";
import { CORPUS, differenceOf, files, openTitles, readCases } from "./netfilter/recorded.ts";
import { listing, type Router } from "./netfilter/router.ts";
import { shrink } from "./netfilter/shrink.ts";
import { portOf } from "./netfilter/topology.ts";
import { fromHex, toHex } from "./netfilter/words.ts";
import { SEED } from "./support.ts";

describe("packets as text", () => {
  it("what is described is built again, byte for byte", () => {
    const header = fc.uint8Array({ minLength: 20, maxLength: 20 });
    fc.assert(
      fc.property(
        header,
        fc.constantFrom(1, 6, 17, 58, 136, 0, 43, 44, 60, 99),
        fc.uint8Array({ maxLength: 80 }),
        (head, protocol, body) => {
          const v4 = Buffer.concat([head, body]);
          v4[0] = 0x45 + (head[0] & 1);
          v4[9] = protocol;
          const v6 = Buffer.concat([head, head, body]);
          v6[0] = 0x60 | (head[0] & 15);
          v6[6] = protocol;
          for (const bytes of [v4, v6]) assert.equal(toHex(packet(describePacket(bytes))), toHex(bytes));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("cases are printed as they were read", () => {
    for (const file of files) assert.equal(readCases(file).map(printCase).join("\n"), readFileSync(file, "utf8"), file);
  });

  it("a mistake is named", () => {
    assert.throws(() => packet("ip 10.0.0.1 > 10.0.0.2 / tcp 1 > 2 S sequence 5"), /no option is called "sequence"/);
    assert.throws(() => packet("ip 10.0.0.1 > 10.0.0.2 ttl x"), /expected a number instead of "x"/);
    assert.throws(() => packet("tcp 1 2 S"), /expected ">" instead of "2"/);
  });
});

describe("packetloom as a router, against what the kernel answered", { timeout: 100_000 }, () => {
  let router: OurRouter;

  before(async () => {
    router = await OurRouter.create();
  });
  after(() => router?.close());

  for (const file of [...files, CORPUS]) {
    it(`answers as it is written in ${file}, but for the open cases`, async (t) => {
      const open = openTitles();
      const solved: string[] = [];
      for (const it of readCases(file)) {
        const difference = await differenceOf(router, it);
        if (difference && !open.has(it.title)) assert.fail(`${it.title}: ${difference}`);
        if (!difference && open.has(it.title)) solved.push(it.title);
      }
      if (solved.length > 0) t.diagnostic(`no longer open (main.js open): ${solved.join("; ")}`);
    });
  }
});

/** RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). */
function updated(sum: number, before: Uint8Array, after: Uint8Array): number {
  let total = ~sum & 0xffff;
  for (let i = 0; i < before.length; i += 2) total += (~u16(before, i) & 0xffff) + u16(after, i);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

describe("the kernel as a router", { skip: missing("nft", "conntrack", "ethtool", "python3"), timeout: 100_000 }, () => {
  let router: KernelRouter;

  before(async () => {
    router = await KernelRouter.create();
  });
  after(() => router?.close());

  it("masquerade gives the bytes that RFC 1624 says", async () => {
    await router.begin('table ip nat {\n chain post {\n type nat hook postrouting priority srcnat;\n oifname "wan" masquerade\n }\n }');
    const sent = packet("ip 192.168.1.10 > 198.51.100.7 id 7 ttl 9 / tcp 40000 > 80 PA seq 5 ack 6 / data 33");
    const expected = sent.slice();
    const [from, to] = [Uint8Array.of(192, 168, 1, 10), Uint8Array.of(203, 0, 113, 1)];
    expected.set(to, 12);
    expected[8]--;
    put16(expected, 10, updated(updated(u16(sent, 10), from, to), Uint8Array.of(9, 6), Uint8Array.of(8, 6)));
    put16(expected, 36, updated(u16(sent, 36), from, to));
    const [out] = await router.send([{ port: "lan", frame: frameIn(portOf("lan"), sent) }]);
    assert.deepEqual(out, [{ port: "wan", frame: frameOut(portOf("wan"), expected) }]);
    assert.equal(fromHex(out[0].frame).length, 14 + sent.length);
  });

  it("a packet leaves nothing behind for the next case", async () => {
    await router.begin("table ip t {\n chain f {\n type filter hook forward priority 0;\n ct state new counter\n }\n }");
    await router.send([{ port: "lan", frame: frameIn(portOf("lan"), packet("ip 192.168.1.10 > 198.51.100.7 / udp 1 > 2")) }]);
    assert.equal((await router.connections()).length, 1);
    assert.deepEqual(await router.counters(), ["ip t f 0 packets 1 bytes 28"]);
    await router.begin("");
    assert.deepEqual([await router.connections(), await router.counters()], [[], []]);
  });

  it("connections are listed in the words of conntrack -L", async () => {
    const rules = "table inet t {\n chain f {\n type filter hook prerouting priority 0;\n ct zone 0 ct mark set 7\n }\n }";
    await router.begin(rules);
    const there = ["tcp 40000 > 80 S", "udp 40000 > 53", "icmp 8 0 id 9 seq 1", "tcp 40001 > 80 A"].map(
      (layer) => `ip 192.168.1.10 > 198.51.100.7 / ${layer}`,
    );
    const six = "ip6 2001:db8:1::10 > 2001:db8:ff::7 / icmp6 128 0 id 5";
    const gre = "ip 192.168.1.10 > 198.51.100.7 proto 47 / hex 2001880b000400050000000000000000";
    await router.send([...there, six, gre].map((text) => ({ port: "lan", frame: frameIn(portOf("lan"), packet(text)) })));
    const back = packet("ip 198.51.100.7 > 192.168.1.10 / udp 53 > 40000");
    await router.send([{ port: "wan", frame: frameIn(portOf("wan"), back) }]);
    const connections = await router.connections();
    const { out } = await router.shell("for f in ipv4 ipv6; do conntrack -L -f $f -o extended 2>/dev/null; done");
    const timeless = (line: string) => line.replace(/ \d+/, "");
    assert.equal(connections.length, 6);
    assert.deepEqual(connections.map(timeless).sort(), out.trim().split("\n").map(listing).map(timeless).sort());
  });

  it("what nft refuses is said", async () => {
    await assert.rejects(router.begin("table ip t { chain }"), /syntax error/);
  });

  it("generated cases are answered twice alike, but where ports are drawn by lot", { timeout: 60_000 }, async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    const { cases, unsteady } = await generateCorpus(router, 40, SEED);
    const packets = cases.flatMap(({ events }) => events.flatMap((event) => (event.kind === "packet" ? [event] : [])));
    assert.ok(packets.some(({ out }) => out.length === 0) && packets.filter(({ out }) => out.length > 0).length > packets.length / 4);
    for (const text of unsteady) assert.match(text, /(tcp|udp) \d+ > |icmp6? \d+ \d+ id/, text);
    assert.ok(unsteady.length <= 4, unsteady.join("\n"));
  });

  it("a difference is shrunk to the rule and the packet that make it", async () => {
    const rules = (verdict: string) =>
      `table ip t {\n  chain f {\n    type filter hook forward priority 0;\n    tcp dport 81 accept\n    udp dport 53 ${verdict}\n    tcp dport 82 accept\n  }\n}`;
    const lines = ["udp 1 > 54", "udp 2 > 53", "tcp 3 > 81 S", "udp 4 > 55"].map(
      (layer) => `lan> ip 192.168.1.10 > 198.51.100.7 / ${layer}`,
    );
    const [whole] = parseCases(`=== two routers\n[ruleset]\n${rules("drop")}\n[packets]\n${lines.join("\n")}\n`);
    // The other router reads "accept" where it says "drop".
    const other: Router = {
      begin: (ruleset, sysctls) => router.begin(ruleset.replace("53 drop", "53 accept"), sysctls),
      send: (frames) => router.send(frames),
      wait: (ms) => router.wait(ms),
      connections: () => router.connections(),
      counters: () => router.counters(),
    };
    const { it: small } = await shrink(whole, router, other);
    assert.deepEqual(small.events, [{ kind: "packet", in: small.events[0].kind === "packet" && small.events[0].in, out: [] }]);
    assert.equal(
      printCase(small)
        .split("\n")
        .filter((line) => /^lan>|dport/.test(line.trim()))
        .join("\n"),
      `    udp dport 53 drop\n${lines[1]}`,
    );
  });

  for (const file of files) {
    it(`answers as it is written in ${file}`, async () => {
      for (const it of readCases(file)) {
        const difference = await differenceOf(router, it);
        if (difference) assert.fail(`${it.title}: ${difference}`);
      }
    });
  }
});
