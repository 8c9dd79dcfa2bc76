/** Every fuzz target for a while: FUZZ_SECONDS in all, 8 by default. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { fuzz } from "./fuzz/fuzzer.ts";
import { frames, TARGETS } from "./fuzz/targets.ts";
import { BUILDS, mac, SEED } from "./support.ts";

const SECONDS = Number(process.env.FUZZ_SECONDS ?? 8);

describe("fuzzing", () => {
  const names = Object.keys(TARGETS);
  for (const name of names) {
    it(`${name} holds`, async (t) => {
      const { runs, failure } = await fuzz(await TARGETS[name](), SEED, (SECONDS * 1000) / names.length);
      t.diagnostic(`${runs} runs, SEED=${SEED}`);
      if (failure) assert.fail(`${failure.error.stack}\nSEED=${SEED}, input in ${failure.path}`);
    });
  }
});

/** Any bytes; and any bytes behind a header that leads them into a parser. */
const anyFrame = fc.oneof(
  fc.uint8Array({ maxLength: 2100 }),
  fc
    .tuple(
      fc.constantFrom(0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8),
      fc.constantFrom(0x45, 0x4f, 0x60, 0x00),
      fc.uint8Array({ maxLength: 200 }),
    )
    .map(([type, first, rest]) => Uint8Array.of(...mac(0), 2, 9, 9, 9, 9, 9, type >>> 8, type & 255, first, ...rest)),
);

describe("any byte string as a frame", () => {
  for (const build of BUILDS) {
    it(`neither traps, nor writes beside a buffer, nor loses one (${build} build)`, async () => {
      const target = await frames(build);
      await fc.assert(
        fc.asyncProperty(anyFrame, async (frame) => target.run(frame)),
        { seed: SEED, numRuns: 3000 },
      );
    });
  }
});
