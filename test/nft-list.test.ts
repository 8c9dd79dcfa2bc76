/** `list ruleset` and JSON: the texts nft prints for what it was given. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, describe, it } from "node:test";
import { Ruleset } from "../src/filter/language/index.ts";
import type { Wording } from "../src/filter/language/types.ts";

import { features, file, preludeOf, type Recorded, recordedOf, split } from "./nft/corpus.ts";
import { generatedRules } from "./nft/generate.ts";
import { missingNft, NftNamespace } from "./nft/kernel.ts";
import { ours, withPrelude } from "./nft/ours.ts";
import { record } from "./nft/record.ts";

/** What nft prints of a rule is not always what was meant: there we print what was. */
const MISTAKES_OF_NFT = new Set([
  "ip ct original daddr 192.168.0.0/24", // printed as an address, 0.192.168.0
  "inet ip dscp . tcp dport { cs1 . 22 }", // printed with a shift
  // Elements of several flags are printed in another order than single ones.
  "inet tcp flags & (fin | syn | rst | psh | ack | urg) == { fin, ack, psh | ack, fin | psh | ack }",
]);
function listed(rule: string): string {
  const { ruleset } = ours(rule);
  const lines = ruleset.list().split("\n");
  return lines[lines.indexOf("\tchain c {") + 1].trim();
}
function difference({ rule, list }: Recorded): string | undefined {
  if (list === undefined || MISTAKES_OF_NFT.has(rule)) return undefined;
  const text = listed(rule);
  return text === list ? undefined : `${rule}\nnft:  ${list}\nours: ${text}`;
}

describe("rules as they are listed", () => {
  for (const feature of features())
    it(feature, () => {
      const differences = recordedOf(feature)
        .map(difference)
        .filter((each) => each !== undefined);
      assert.equal(differences.slice(0, 20).join("\n"), "", `${differences.length} rules differ`);
    });
  it("what is listed can be read again, and lists the same", () => {
    for (const { rule, list } of features().flatMap(recordedOf))
      if (list !== undefined && !MISTAKES_OF_NFT.has(rule)) {
        const again = (text: string) => listed(`${rule.split(" ")[0]} ${text}`);
        // A set that has shrunk to one element is read as that element.
        assert.equal(again(again(listed(rule))), again(listed(rule)));
      }
  });
});
describe("a ruleset of every kind of set, object and chain", () => {
  const ruleset = new Ruleset();
  ruleset.apply(readFileSync(file("ruleset.nft"), "utf8"));
  it("list", () => assert.equal(ruleset.list(), readFileSync(file("ruleset.list.txt"), "utf8")));
  it("read again, lists the same", () => {
    const again = new Ruleset();
    again.apply(ruleset.list());
    assert.equal(again.list(), ruleset.list());
  });
});

const missing = missingNft();
/** What nft prints of a number is not always what it would read: there we print what was meant. */
const WORDINGS: readonly (readonly [option: string, wording: Wording])[] = [
  ["-n", { numeric: true }],
  ["-T", { numericTime: true }],
  ["-y", { numericPriority: true }],
  ["-p", { numericProtocol: true }],
  ["-u", { userNames: true }],
  ["-S", { serviceNames: true }],
];
describe("numbers by name and names by number, as nft lists them now", { skip: missing }, () => {
  const namespace = missing ? undefined : new NftNamespace();
  after(() => namespace?.remove());
  const taken = features()
    .flatMap(recordedOf)
    .filter(({ rule, list }) => list !== undefined && !MISTAKES_OF_NFT.has(rule))
    .map(({ rule }) => split(rule));
  for (const family of new Set(taken.map(([name]) => name)))
    it(family, () => {
      const nft = namespace as NftNamespace;
      const rules = taken.filter(([name]) => name === family).map(([, rule]) => `add rule ${family} t c ${rule}\n`);
      const base = family === "netdev" || family === "arp" ? "" : `add chain ${family} t base { type filter hook input priority -5; }\n`;
      const text = base + rules.join("");
      nft.nft("flush", "ruleset");
      nft.feed(preludeOf(family));
      assert.equal(nft.feed(text).stderr, "");
      const ruleset = withPrelude(family);
      ruleset.apply(text);
      for (const [option, wording] of WORDINGS) {
        const [theirs, own] = [nft.nft(option, "list", "ruleset").stdout, ruleset.list(wording)].map((all) => all.split("\n"));
        // Users of this machine, and the small numbers of AppleTalk in its list of services (4 is "echo" there), are known to nft alone.
        const isElsewhere = (line: string) => /sk[ug]id "(?!root")|"(nbp|zip)"|3 \. "echo"/.test(line);
        const differences = theirs.flatMap((line, i) =>
          line === own[i] || isElsewhere(line) ? [] : [`${option} ${line}\n  ours: ${own[i]}`],
        );
        assert.equal(differences.slice(0, 20).join("\n"), "", `${differences.length} lines differ`);
      }
    });
});
describe("generated rules, as nft lists them now", { skip: missing }, () => {
  const namespace = missing ? undefined : new NftNamespace();
  after(() => namespace?.remove());
  const seed = Number(process.env.NFT_SEED ?? 20_260_102);
  it(`seed ${seed}`, () => {
    const rules = generatedRules(seed, Number(process.env.NFT_RULES ?? 100));
    const differences = rules.map((rule) => difference(record(namespace as NftNamespace, rule))).filter((each) => each !== undefined);
    assert.equal(differences.slice(0, 5).join("\n"), "", `${differences.length} rules differ, NFT_SEED=${seed}`);
  });
});
