/** Rates, in virtual time: within one percent over a second whatever the packets' sizes and the polls' distances are. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Shaped } from "./queue-support.ts";

const within = (got: number, want: number, share: number, what = "") =>
  assert.ok(Math.abs(got / want - 1) <= share, `${what} ${got} instead of ${want}`);

describe("tbf", () => {
  for (const rateBps of [1e6, 10e6, 100e6, 1e9]) {
    for (const step of [0, 0.05, 1]) {
      it(`sends ${rateBps / 1e6} Mbit/s, polled ${step === 0 ? "when it is due" : `every ${step} ms`}`, async () => {
        const shaped = await Shaped.of({ kind: "tbf", rateBps, burstBytes: 3000, limitBytes: 1e6 });
        shaped.saturate(100, [{ bytes: 1500 }], { step: step || 0.01, depth: Math.min(400, Math.ceil(rateBps / 8e5)) });
        const before = shaped.leftBytes;
        shaped.saturate(1000, [{ bytes: 1500 }], { step: step || 0.05, depth: Math.min(400, Math.ceil(rateBps / 8e5)) });
        within((shaped.leftBytes - before) * 8, rateBps, 0.01);
        await shaped.close();
      });
    }
  }

  it("lets a burst through at once, then no more than the rate", async () => {
    const shaped = await Shaped.of({ kind: "tbf", rateBps: 8e6, burstBytes: 5000, limitBytes: 1e6 });
    shaped.send({ bytes: 1000 }, 20);
    assert.equal(shaped.departures.length, 5);
    shaped.run(100);
    assert.equal(shaped.departures.length, 20);
    // One packet of 1000 bytes each millisecond from then on.
    shaped.departures.slice(5).forEach(({ ms }, i) => assert.ok(Math.abs(ms - (i + 1)) < 1e-3, `${i}: ${ms}`));
    await shaped.close();
  });
});
