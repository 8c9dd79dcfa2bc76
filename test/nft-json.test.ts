/** `nft -j list ruleset`: the same objects. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { Ruleset } from "../src/filter/language/index.ts";
import { features, file, type Recorded, recordedOf } from "./nft/corpus.ts";
import { ours } from "./nft/ours.ts";

type Entry = Readonly<Record<string, Readonly<Record<string, unknown>>>>;
const entries = (ruleset: Ruleset): readonly Entry[] => (ruleset.json() as { nftables: readonly Entry[] }).nftables;

/** What nft's JSON leaves out or gets wrong, and ours does not. */
const MISTAKES_OF_NFT = new Set([
  "ip ct original daddr 192.168.0.0/24",
  "inet tcp flags & (fin | syn | rst | psh | ack | urg) == { fin, ack, psh | ack, fin | psh | ack }",
  "inet update @mdyn { ip saddr : meta mark }", // given as text
  "inet add @mdyn { ip saddr : 5 }",
]);
function difference({ rule, json }: Recorded): string | undefined {
  if (json === undefined || json === null || MISTAKES_OF_NFT.has(rule)) return undefined;
  const expr = entries(ours(rule).ruleset).find((each) => each.rule?.chain === "c")?.rule.expr;
  try {
    assert.deepEqual(expr, json);
    return undefined;
  } catch {
    return `${rule}\nnft:  ${JSON.stringify(json)}\nours: ${JSON.stringify(expr)}`;
  }
}
describe("rules as JSON", () => {
  for (const feature of features())
    it(feature, () => {
      const differences = recordedOf(feature)
        .map(difference)
        .filter((each) => each !== undefined);
      assert.equal(differences.slice(0, 20).join("\n"), "", `${differences.length} rules differ`);
    });
});
it("a ruleset of every kind of set, object and chain as JSON", () => {
  const ruleset = new Ruleset();
  ruleset.apply(readFileSync(file("ruleset.nft"), "utf8"));
  const known = (each: Entry): unknown => {
    const [[kind, body]] = Object.entries(each);
    // Tables are numbered from the machine's start; their flags come out as their name, and their comments not at all.
    const { handle, flags, comment, ...others } = body;
    const rest = kind === "table" || comment === undefined ? others : { ...others, comment };
    return kind === "table"
      ? { table: rest }
      : kind === "set" || kind === "map"
        ? { [kind]: { handle, flags, ...rest } }
        : { [kind]: { handle, ...rest } };
  };
  const recorded = JSON.parse(readFileSync(file("ruleset.list.json"), "utf8")) as readonly Entry[];
  assert.deepEqual(entries(ruleset).map(known), recorded.map(known));
});
