/** Commands in JSON: what is listed can be read again, and is read as nft reads it. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Firewall } from "../src/filter/index.ts";
import { fromJson, NftError, parseRuleset, printNetlink, Ruleset } from "../src/filter/language/index.ts";
import { Engine } from "../src/index.ts";
import { features, file, preludeOf, recordedOf, split, tidy } from "./nft/corpus.ts";
import { missingNft, NftNamespace } from "./nft/kernel.ts";
import { withPrelude } from "./nft/ours.ts";

type Entry = Readonly<Record<string, Readonly<Record<string, unknown>>>>;
const textOf = (...commands: readonly unknown[]) => JSON.stringify({ nftables: commands });
const entries = (ruleset: Ruleset): readonly Entry[] => (ruleset.json() as { nftables: readonly Entry[] }).nftables;
const apply = (ruleset: Ruleset, text: string) => ruleset.apply(parseRuleset(fromJson({ name: "rules.json", text })));
const where = { family: "ip", table: "t" };

/** A set of one element is that element once it has been read, in nft as here. */
const bare = (json: unknown) =>
  JSON.stringify(json).replace(/\{"set":\[("[^"]*"|\{"(?:range|prefix)":(?:\{[^{}]*\}|\[[^[\]]*\])\})\]\}/g, "$1");

/** What the corpus has of rules in JSON; two of them nft gives as text, which it does not read. */
const rules = features().flatMap((feature) =>
  recordedOf(feature)
    .filter(({ json }) => Array.isArray(json) && json.every((each) => typeof each === "object"))
    .map(({ rule, json }) => ({ rule, family: split(rule)[0], expr: json as readonly unknown[] })),
);
/** Nft lists another address; another order. */
const MISLISTED = new Set([
  "ip ct original daddr 192.168.0.0/24",
  "inet tcp flags & (fin | syn | rst | psh | ack | urg) == { fin, ack, psh | ack, fin | psh | ack }",
]);
const added = ({ family, expr }: (typeof rules)[number]) => textOf({ add: { rule: { family, table: "t", chain: "c", expr } } });

it("rules as nft lists them are the same rules when they are read", () => {
  assert.ok(rules.length > 700);
  for (const each of rules) {
    const ruleset = withPrelude(each.family);
    apply(ruleset, added(each));
    if (MISLISTED.has(each.rule)) continue;
    assert.equal(bare(entries(ruleset).find(({ rule }) => rule?.chain === "c")?.rule.expr), bare(each.expr), each.rule);
  }
});

it("a ruleset of every kind of set, object and chain is the same when it is read", () => {
  const ruleset = new Ruleset();
  ruleset.apply(readFileSync(file("ruleset.nft"), "utf8"));
  const read = new Ruleset();
  // Chains first: sets may name them, and listings have them last.
  // And of which devices a chain is, they do not say.
  const listed = entries(ruleset).filter(({ chain }) => !/gress/.test(String(chain?.hook)));
  const chains = listed.filter(({ table, chain }) => table || chain);
  apply(read, textOf(...chains, ...listed.filter((each) => !chains.includes(each))));
  const known = (all: readonly Entry[]) => all.map((each) => JSON.stringify(each).replace(/"handle":\d+,?/g, "")).sort();
  assert.deepEqual(known(entries(read)), known(listed));
});

const missing = missingNft();
describe("JSON as nft itself reads it", { skip: missing }, () => {
  const namespace = missing ? undefined : new NftNamespace();
  const folder = mkdtempSync(join(tmpdir(), "nft-json-"));
  after(() => {
    namespace?.remove();
    rmSync(folder, { recursive: true });
  });
  const theirs = (text: string) => {
    const path = join(folder, "rules.json");
    writeFileSync(path, text);
    return (namespace as NftNamespace).nft("-j", "--debug=netlink", "-f", path);
  };
  const seed = Number(process.env.NFT_SEED ?? 3);

  it(`rules of the corpus, some of them (NFT_SEED=${seed})`, () => {
    for (const each of rules.filter((_, i) => i % 8 === seed % 8)) {
      namespace?.nft("flush", "ruleset");
      namespace?.feed(preludeOf(each.family));
      const wanted = theirs(added(each));
      assert.equal(wanted.status, 0, `${each.rule}: ${wanted.stderr}`);
      const ruleset = withPrelude(each.family);
      apply(ruleset, added(each));
      const [table] = ruleset.tables;
      const [rule] = table.chains.get("c")?.rules ?? [];
      assert.equal(tidy(printNetlink(table, "c", rule)), tidy(wanted.stdout), each.rule);
    }
  });

  it("commands: what is there afterwards", () => {
    const rule = (more: object) => ({ ...where, chain: "c", ...more });
    const accept = [{ accept: null }];
    const counted = [{ counter: null }, { drop: null }];
    const steps: readonly (readonly unknown[])[] = [
      [
        { metainfo: { json_schema_version: 1 } },
        { add: { table: { family: "ip", name: "t" } } },
        { add: { chain: { ...where, name: "c", type: "filter", hook: "input", prio: -5, policy: "drop" } } },
        { create: { chain: { ...where, name: "d" } } },
        { rule: rule({ handle: 77, expr: accept }) },
        { add: { rule: rule({ expr: counted, comment: "counted" }) } },
      ],
      [
        { add: { rule: rule({ index: 0, expr: [{ return: null }] }) } },
        { insert: { rule: rule({ expr: [{ continue: null }] }) } },
        { add: { rule: { ...where, chain: "d", expr: [{ jump: { target: "e" } }] } } },
      ],
      [{ add: { chain: { ...where, name: "e" } } }, { add: { rule: { ...where, chain: "d", expr: [{ goto: { target: "e" } }] } } }],
      [
        {
          add: {
            set: {
              ...where,
              name: "s",
              type: "ipv4_addr",
              flags: ["interval"],

              elem: ["1.1.1.1", { prefix: { addr: "3.0.0.0", len: 8 } }],
            },
          },
        },
        {
          add: {
            set: { ...where, name: "u", type: ["ipv4_addr", "inet_service"], flags: ["timeout"], timeout: 60, size: 100, policy: "memory" },
          },
        },
        {
          add: {
            element: { ...where, name: "u", elem: [{ elem: { val: { concat: ["1.2.3.4", "ssh"] }, timeout: 5000, comment: "x y" } }] },
          },
        },
        {
          add: {
            map: {
              ...where,
              name: "m",
              type: "inet_service",
              map: "verdict",
              elem: [
                ["ssh", { jump: { target: "e" } }],
                [{ range: [80, 90] }, { drop: null }],
              ],
              flags: ["interval"],
            },
          },
        },
        { add: { counter: { ...where, name: "n", packets: 5, bytes: 6 } } },
        { add: { quota: { ...where, name: "q", bytes: 1000, used: 10, inv: true } } },
        { add: { limit: { ...where, name: "l", rate: 400, per: "hour", burst: 5 } } },
        { add: { limit: { ...where, name: "k", rate: 2, rate_unit: "kbytes", per: "second", burst: 9, burst_unit: "mbytes" } } },
        { add: { "ct helper": { ...where, name: "f", type: "ftp", protocol: "tcp", l3proto: "ip" } } },
      ],
      [
        { rename: { chain: { ...where, name: "e", newname: "f" } } },
        { delete: { element: { ...where, name: "u", elem: [{ concat: ["1.2.3.4", 22] }] } } },
        { flush: { chain: { ...where, name: "c" } } },
        { delete: { counter: { ...where, name: "n" } } },
      ],
      [{ delete: { table: { family: "ip", name: "t" } } }, { add: { table: { family: "ip6", name: "t" } } }],
      [{ flush: { ruleset: null } }],
    ];
    const ruleset = new Ruleset();
    const list = () => (namespace as NftNamespace).nft("list", "ruleset").stdout.replace(/ expires [\dhms]+/g, "");
    namespace?.nft("flush", "ruleset");
    for (const [i, step] of steps.entries()) {
      const wanted = theirs(textOf(...step));
      let said: unknown;
      try {
        apply(ruleset, textOf(...step));
      } catch (error) {
        said = error;
      }
      assert.equal(said === undefined, wanted.status === 0, `step ${i}: ${said} / ${wanted.stderr}`);
      assert.equal(ruleset.list(), list(), `step ${i}`);
    }
  });
});

describe("what cannot be read is told with its place", () => {
  const rule = (...expr: readonly unknown[]) => ({ add: { rule: { ...where, chain: "c", expr } } });
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["no JSON", '{"nftables": [', /^rules\.json: .*JSON/],
    ["no commands", '{"nftables": {}}', /^rules\.json: nftables is \{\}; expected an array of commands$/],
    ["no command", textOf({ ad: {} }), /^rules\.json: nftables\[0\]: Error: there is no command ad\n/],
    ["two commands in one", textOf({ add: {}, list: {} }), /nftables\[0\]: Error: a command has 2 members; expected one/],
    ["a thing that is none", textOf({ add: { tbl: {} } }), /nftables\[0\]: Error: add: there is no tbl to add/],
    [
      "a statement that is none",
      textOf({ metainfo: {} }, rule({ accept: null }, { conter: null })),
      /nftables\[1\]: Error: add: rule.expr\[1\]: there is no statement conter/,
    ],
    ["a match without an end", textOf(rule({ match: { op: "==", left: 1 } })), /expr\[0\]: match has no right/],
    ["words behind a name", textOf(rule({ jump: { target: "c accept" } })), /target is "c accept"; expected a name/],
    ["text that ends its quotes", textOf(rule({ log: { prefix: 'a" drop' } })), /prefix is .* without quotes/],
    ["a number that is none", textOf(rule({ limit: { rate: 1.5, per: "second" } })), /rate is 1\.5; expected a whole number/],
    ["a newer language", textOf({ metainfo: { json_schema_version: 2 } }), /json_schema_version is 2; expected 1/],
    [
      "what only the language finds",
      textOf({ add: { table: { family: "ip", name: "t" } } }, rule({ accept: null })),
      /^rules\.json: nftables\[1\]: Error: Could not process rule: No such file or directory\n\{"add"/,
    ],
    [
      "a field that is none",
      textOf(
        { add: { table: { family: "ip", name: "t" } } },
        rule({ match: { op: "==", left: { payload: { protocol: "tcp", field: "dprt" } }, right: 1 } }),
      ),
      /nftables\[1\]: Error: .*string/,
    ],
    ["a prototype's member", textOf({ constructor: {} }), /there is no command constructor/],
    [
      "a comment too long",
      textOf({ add: { table: { family: "ip", name: "t", comment: "x".repeat(129) } } }),
      /nftables\[0\]: Error: comment too long/,
    ],
  ];
  for (const [name, text, wanted] of cases)
    it(name, () => {
      assert.throws(
        () => apply(new Ruleset(), text),
        (error: Error) => wanted.test(error.message) || assert.fail(error.message),
      );
    });
});

it("a firewall takes JSON where it lists JSON, and language still", async () => {
  const engine = await Engine.create({ ports: 1, filterBytes: 1 << 20, flows: 64 });
  const network = engine.createNetwork().add(engine.port(0));
  const firewall = new Firewall(engine, network);
  const output = firewall.apply(
    textOf({ add: { table: { family: "ip", name: "t" } } }, { list: { tables: null } }, { list: { ruleset: null } }),
    { json: true },
  );
  assert.deepEqual(
    output.split("\n").map((line) => JSON.parse(line).nftables[1]),
    [{ table: { family: "ip", name: "t", handle: 1 } }, { table: { family: "ip", name: "t", handle: 1 } }],
  );
  firewall.apply("add table ip6 u", { json: true });
  assert.throws(() => firewall.apply('{"nftables": []}'), NftError, "no JSON was announced");
  assert.throws(
    () => firewall.apply(textOf({ add: { table: { family: "ip", name: "x" } } }, { add: { nothing: null } }), { json: true }),
    NftError,
  );
  assert.deepEqual([firewall.has("ip6", "u"), firewall.has("ip", "x")], [true, false]);
  await engine.close();
});
