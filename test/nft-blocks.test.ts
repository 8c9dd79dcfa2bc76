/** Whole tables, as nft takes or refuses them now: their listing, their JSON and their expressions. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, describe, it } from "node:test";
import { NftError, printNetlink, Ruleset } from "../src/filter/language/index.ts";
import type { Element } from "../src/filter/language/model.ts";
import { overlappingBoxes } from "../src/filter/language/sets.ts";
import { file } from "./nft/corpus.ts";
import { missingNft, NftNamespace } from "./nft/kernel.ts";
import { random } from "./support.ts";

interface Shown {
  readonly list: string;
  readonly json: unknown;
  readonly expressions: readonly string[];
}

const lines = (text: string): readonly string[] => text.split("\n").filter((line) => line.startsWith("  ["));
/** Without handles, which the kernel hands out on its own, and what it says of itself. */
function tidyJson(text: string): unknown {
  const all = JSON.parse(text, (key, value) => (key === "handle" ? undefined : value)) as { nftables: readonly Record<string, unknown>[] };
  return all.nftables.filter((each) => !("metainfo" in each));
}
const unnumbered = (text: string): string => text.replace(/__(set|map|objmap)\d+/g, "__$1%d");

function kernel(namespace: NftNamespace, text: string): Shown | undefined {
  namespace.nft("flush", "ruleset");
  const { status, stdout } = namespace.feed(text, "--debug=netlink");
  if (status !== 0) return undefined;
  return {
    list: namespace.nft("list", "ruleset").stdout,
    json: tidyJson(namespace.nft("-j", "list", "ruleset").stdout),
    expressions: lines(unnumbered(stdout)),
  };
}
function ours(text: string): Shown | undefined {
  const ruleset = new Ruleset();
  try {
    ruleset.apply(text);
  } catch (error) {
    if (error instanceof NftError) return undefined;
    throw error;
  }
  const netlink = ruleset.tables.flatMap((table) =>
    [...table.chains.values()].flatMap((chain) => chain.rules.map((rule) => printNetlink(table, chain.name, rule))),
  );
  return { list: ruleset.list(), json: tidyJson(JSON.stringify(ruleset.json())), expressions: lines(netlink.join("")) };
}

const missing = missingNft();
describe("tables, as nft takes and shows them", { skip: missing }, () => {
  const namespace = missing ? undefined : new NftNamespace();
  after(() => namespace?.remove());
  const cases = readFileSync(file("blocks.txt"), "utf8").split(/^---\n/m);
  for (const text of cases)
    it(text.split("\n")[0], () => {
      const theirs = kernel(namespace as NftNamespace, text);
      assert.deepEqual(ours(text), theirs);
      assert.equal(theirs === undefined, text.startsWith("# refused"), "whether nft takes it is said at the head of the case");
    });
});

it("boxes overlap where the slow way says so", (t) => {
  const r = random(t);
  for (let round = 0; round < 400; round++) {
    const range = (most: number) => {
      const from = r.below(most);
      return { from: BigInt(from), to: BigInt(r.below(2) === 0 ? from : from + r.below(3)) };
    };
    const elements = Array.from({ length: 2 + r.below(7) }, () => ({ key: [range(2), range(12), range(6)] })) as unknown as Element[];
    const has = (box: Element, point: readonly bigint[]) => box.key.every(({ from, to }, i) => from <= point[i] && point[i] <= to);
    const isRefused = elements.some((later, i) =>
      elements.slice(0, i).some((each) =>
        (["from", "to"] as const).some((end) =>
          has(
            each,
            later.key.map((field) => field[end]),
          ),
        ),
      ),
    );
    assert.equal(overlappingBoxes(elements) !== undefined, isRefused);
  }
});
