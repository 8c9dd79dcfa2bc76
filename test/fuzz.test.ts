/** Every fuzz target for a while: FUZZ_SECONDS in all, 8 by default. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fuzz } from "./fuzz/fuzzer.ts";
import { TARGETS } from "./fuzz/targets.ts";
import { SEED } from "./support.ts";

const SECONDS = Number(process.env.FUZZ_SECONDS ?? 8);

describe("fuzzing", () => {
  const names = Object.keys(TARGETS);
  for (const name of names) {
    it(`${name} holds`, async (t) => {
      const { runs, failure } = await fuzz(name, await TARGETS[name](), SEED, (SECONDS * 1000) / names.length);
      t.diagnostic(`${runs} runs, SEED=${SEED}`);
      if (failure) assert.fail(`${failure.error.stack}\nSEED=${SEED}, input in ${failure.path}`);
    });
  }
});
