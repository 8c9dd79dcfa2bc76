/** Simulated time: one hour with a fresh seed, shorter runs with fixed ones, and one of them twice. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { simulate } from "./simulation/simulate.ts";
import { SEED } from "./support.ts";

describe("a simulated network", () => {
  it("delivers everything for an hour", async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    const summary = await simulate({ seed: SEED, hours: 1 });
    t.diagnostic(JSON.stringify(summary));
    assert.deepEqual(summary.problems, []);
    assert.ok(summary.connections > 50 && summary.faults.lost > 100);
  });

  for (let seed = 1; seed <= 10; seed++) {
    it(`delivers everything with seed ${seed}`, async () => {
      assert.deepEqual((await simulate({ seed, hours: 0.2 })).problems, []);
    });
  }

  it("happens the same way twice", async () => {
    assert.deepEqual(await simulate({ seed: 99, hours: 0.1 }), await simulate({ seed: 99, hours: 0.1 }));
  });
});
