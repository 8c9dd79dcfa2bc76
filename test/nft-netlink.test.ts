/** Rules become the expressions that nft makes of them, word for word; what nft refuses is refused at the same place. */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { features, recordedOf, rulesOf } from "./nft/corpus.ts";
import { generatedRules } from "./nft/generate.ts";
import { missingNft, NftNamespace } from "./nft/kernel.ts";
import { difference } from "./nft/ours.ts";
import { record } from "./nft/record.ts";

describe("expressions of the corpus, as nft 1.0.6 was recorded to make them", () => {
  for (const feature of features())
    it(feature, () => {
      const recorded = recordedOf(feature);
      assert.deepEqual(
        recorded.map(({ rule }) => rule),
        rulesOf(feature),
        "the recording is of another corpus: run dist/test/nft/record.js",
      );
      const differences = recorded.map(difference).filter((each) => each !== undefined);
      assert.deepEqual(differences.slice(0, 3), [], `${differences.length} rules differ`);
    });
});

const missing = missingNft();
describe("expressions of generated rules, as nft makes them now", { skip: missing }, () => {
  const namespace = missing ? undefined : new NftNamespace();
  after(() => namespace?.remove());
  const seed = Number(process.env.NFT_SEED ?? 20_260_101);
  it(`seed ${seed}`, () => {
    const rules = generatedRules(seed, Number(process.env.NFT_RULES ?? 150));
    const differences = rules.map((rule) => difference(record(namespace as NftNamespace, rule))).filter((each) => each !== undefined);
    assert.deepEqual(differences.slice(0, 3), [], `${differences.length} rules differ, NFT_SEED=${seed}`);
  });
});
