/** The same few rules in the kernel's nftables and here, over the same packets: order of chains, limits, quotas, hashes, maps. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import type { Expression, RulesetSpec } from "../src/filter/expressions.ts";
import type { Packet } from "../src/filter/machine/oracle/packet.ts";
import { chainOf, INTERFACES, Rig, rulesetOf, setOf, tableOf } from "./filter-rig.ts";
import { missing, Namespace } from "./kernel-support.ts";

/** ICMP echo requests of 84 bytes over the loopback interface: what `ping` sends. */
function echo(from: number): Packet {
  const bytes = new Uint8Array(98);
  bytes.set([0x45, 0, 0, 84, 0, 0, 0x40, 0, 64, 1, 0, 0, 127, 0, 0, from, 127, 0, 0, 1, 8], 14);
  const known = { l3: 14, l4: 34, family: 4, protocol: 1, laterFragment: false, openChecksum: false, group: false } as const;
  return { bytes, ...known, input: INTERFACES[0], output: undefined, mark: 0, priority: 0, ctinfo: abi.CT_INVALID };
}

const source: Expression = { op: "payload", dreg: 1, base: "network", offset: 12, len: 4 };
const counter: Expression = { op: "counter", packets: 0, bytes: 0 };
const request: Expression[] = [
  { op: "payload", dreg: 1, base: "transport", offset: 0, len: 1 },
  { op: "cmp", sreg: 1, cmp: "eq", data: Uint8Array.of(8) },
];
const SOURCES = [1, 2, 3, 4, 5, 6, 7, 8];
const input = { hook: "input" } as const;

interface Case {
  readonly about: string;
  /** As nft reads it: each counter is one that is compared. */
  readonly nft: string;
  readonly ruleset: RulesetSpec;
}

const chains = (...rules: Expression[][]) => rulesetOf(tableOf([], { chains: [chainOf(rules, input)] }));
const table = (body: string) => `table inet t {\n chain c {\n  type filter hook input priority 0\n  ${body}\n }\n}\n`;
const hash = (seed: number): Expression[] => [source, { op: "hash", kind: "jhash", dreg: 1, sreg: 1, len: 4, seed, modulus: 4, offset: 0 }];
const is = (value: number): Expression => ({ op: "cmp", sreg: 1, cmp: "eq", data: Uint8Array.of(value, 0, 0, 0) });

const CASES: Case[] = [
  {
    about: "of chains with one priority the last one added comes first",
    nft: ["a", "b", "c"]
      .map(
        (name) => `table inet ${name} {\n chain c {\n  type filter hook input priority 0\n  icmp type echo-request counter drop\n }\n}\n`,
      )
      .join(""),
    ruleset: rulesetOf(
      ...["a", "b", "c"].map((name) =>
        tableOf([], { name, chains: [chainOf([[...request, counter, { op: "verdict", verdict: { code: "drop" } }]], input)] }),
      ),
    ),
  },
  {
    about: "a limit lets its burst through, and takes what is over it",
    nft: table(
      "icmp type echo-request limit rate 1/hour burst 3 packets counter\n  icmp type echo-request limit rate over 1/hour burst 3 packets counter",
    ),
    ruleset: chains(
      [...request, { op: "limit", rate: 1, per: 3600, burst: 3, unit: "packets", over: false }, counter],
      [...request, { op: "limit", rate: 1, per: 3600, burst: 3, unit: "packets", over: true }, counter],
    ),
  },
  {
    about: "a limit of bytes has its unit and its burst",
    nft: table("icmp type echo-request limit rate 100 bytes/hour burst 300 bytes counter"),
    ruleset: chains([...request, { op: "limit", rate: 100, per: 3600, burst: 300, unit: "bytes", over: false }, counter]),
  },
  {
    about: "a quota is over when more than it has passed",
    nft: table("icmp type echo-request quota until 252 bytes counter\n  icmp type echo-request quota over 252 bytes counter"),
    ruleset: chains(
      [...request, { op: "quota", bytes: 252, used: 0, over: false }, counter],
      [...request, { op: "quota", bytes: 252, used: 0, over: true }, counter],
    ),
  },
  {
    about: "jhash",
    nft: table([0, 1, 2, 3].map((n) => `icmp type echo-request jhash ip saddr mod 4 seed 0x3039 == ${n} counter`).join("\n  ")),
    ruleset: chains(...[0, 1, 2, 3].map((n) => [...request, ...hash(0x3039), is(n), counter])),
  },
  {
    about: "numgen inc",
    nft: table("icmp type echo-request numgen inc mod 3 == 0 counter\n  icmp type echo-request numgen inc mod 3 offset 5 == 7 counter"),
    ruleset: chains(
      [...request, { op: "numgen", dreg: 1, kind: "inc", modulus: 3, offset: 0 }, is(0), counter],
      [...request, { op: "numgen", dreg: 1, kind: "inc", modulus: 3, offset: 5 }, is(7), counter],
    ),
  },
  {
    about: "length is that of the packet without its link header; ranges take their ends in",
    nft: table(
      "icmp type echo-request meta length 84 counter\n  icmp type echo-request ip saddr 127.0.0.3-127.0.0.5 counter\n  icmp type echo-request ip saddr != 127.0.0.3-127.0.0.5 counter",
    ),
    ruleset: chains(
      [...request, { op: "meta", dreg: 1, key: "len" }, { op: "cmp", sreg: 1, cmp: "eq", data: Uint8Array.of(84, 0, 0, 0) }, counter],
      ...(["eq", "neq"] as const).map((cmp): Expression[] => [
        ...request,
        source,
        { op: "range", sreg: 1, cmp, from: Uint8Array.of(127, 0, 0, 3), to: Uint8Array.of(127, 0, 0, 5) },
        counter,
      ]),
    ),
  },
  {
    about: "a set that is added to is full at its size",
    nft: "table inet t {\n set s {\n  type ipv4_addr\n  size 5\n  flags dynamic\n }\n chain c {\n  type filter hook input priority 0\n  icmp type echo-request add @s { ip saddr } counter\n  icmp type echo-request ip saddr @s counter\n  icmp type echo-request ip saddr != @s counter\n }\n}\n",
    ruleset: rulesetOf(
      tableOf([], {
        sets: [setOf("s", { dynamic: true, size: 5 })],
        chains: [
          chainOf(
            [
              [...request, source, { op: "dynset", action: "add", set: "s", key: 1, invert: false, expressions: [] }, counter],
              [...request, source, { op: "lookup", sreg: 1, set: "s", invert: false }, counter],
              [...request, source, { op: "lookup", sreg: 1, set: "s", invert: true }, counter],
            ],
            input,
          ),
        ],
      }),
    ),
  },
];

describe("rules here and in the kernel", { skip: missing("nft", "ping", "ip") }, () => {
  for (const { about, nft, ruleset } of CASES) {
    it(about, async () => {
      const namespace = new Namespace();
      const rig = await Rig.create();
      try {
        const made = await namespace.run("nft -f -", new TextEncoder().encode(nft));
        assert.equal(made.code, 0, made.out);
        for (const n of SOURCES) await namespace.run(`ping -c 1 -W 0.2 -I 127.0.0.${n} 127.0.0.1`);
        const { out } = await namespace.run("nft list ruleset");
        const theirs = [...out.matchAll(/counter packets (\d+) bytes (\d+)/g)].map(([, packets, bytes]) => `${packets} ${bytes}`);
        rig.machine.load(ruleset);
        for (const n of SOURCES) rig.run(abi.SEGMENT_INPUT, [echo(n)]);
        const ours = rig.machine.counters().filter(({ op }) => op === "counter");
        assert.deepEqual(
          ours.map(({ packets, bytes }) => `${packets} ${bytes}`),
          theirs,
          out,
        );
        assert.ok(
          theirs.some((line) => line !== "0 0"),
          "the kernel counted something",
        );
      } finally {
        await rig.engine.close();
        await namespace.remove();
      }
    });
  }
});
