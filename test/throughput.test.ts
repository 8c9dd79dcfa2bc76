/**
 * How fast each congestion control is, in virtual time: the table of docs/throughput.md measured again, what theory says
 * within 15% where theory exists, and how two flows share.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { type Bottleneck, type FlowOptions, Flows, jain } from "./congestion/flows.ts";
import { CONTROLS, cubicRate, GOODPUT, MSS, measureAll, RATE, read, renoRate } from "./congestion/table.ts";

/** Bits a second over so many frames of the way there, after others that are not counted. */
async function overFrames(path: Bottleneck, options: FlowOptions, warmUp: number, frames: number, seed: number, ssthresh?: number) {
  const flows = await Flows.create(path, seed);
  const flow = flows.add(options);
  // What an earlier connection knew: no overshoot that takes cycles to be forgotten.
  if (ssthresh) flow.client.ssthresh = ssthresh;
  const { lab } = flows;
  const until = (count: number) => {
    while (lab.links[0].counters(0).frames < count) lab.runNow(path.rtt);
  };
  until(warmUp);
  const [before, start] = [flow.received, lab.clock.now()];
  until(warmUp + frames);
  return ((flow.received - before) * 8000) / (lab.clock.now() - start);
}

async function over(path: Bottleneck, options: FlowOptions[], warmUp: number, ms: number, seed = 1): Promise<number[]> {
  const flows = await Flows.create(path, seed);
  for (const each of options) flows.add(each);
  flows.measure(warmUp);
  return flows.measure(ms);
}

function within15(actual: number, theory: number): void {
  const ratio = actual / theory;
  assert.ok(Math.abs(ratio - 1) <= 0.15, `${(actual / 1e6).toFixed(3)} Mbit/s is ${ratio.toFixed(3)} of ${(theory / 1e6).toFixed(3)}`);
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const held = (rate: number, rtt: number) => ((rate / 8) * rtt) / 1000;

describe("throughput", () => {
  it("is what docs/throughput.md says (npm run throughput writes it anew)", async () => {
    const written = read(readFileSync(new URL("../../docs/throughput.md", import.meta.url), "utf8"));
    const rows = await measureAll();
    assert.equal(written.length, rows.length);
    for (const [i, row] of rows.entries()) {
      assert.deepEqual([row.rtt, row.loss], [written[i].rtt, written[i].loss]);
      row.measured.forEach((rate, k) => {
        // A segment more or less somewhere, and chance strikes elsewhere: few losses make a rough mean.
        const tolerance = row.loss === 0 ? 0.03 : 0.3;
        const there = written[i].measured[k];
        const what = `${CONTROLS[k]}, RTT ${row.rtt} ms, loss ${100 * row.loss}%: ${rate.toFixed(2)} Mbit/s, in the table ${there}`;
        assert.ok(Math.abs(rate - there) <= tolerance * there, what);
      });
    }
  });
});

describe("throughput and theory", () => {
  for (const [rtt, loss, frames] of [
    [100, 0.01, 12_000],
    [50, 0.002, 20_000],
  ]) {
    it(`Reno with ${100 * loss}% random loss at ${rtt} ms: MSS / RTT × 1.31 / √loss`, async () => {
      const rates: number[] = [];
      for (let seed = 1; seed <= 12; seed++) rates.push(await overFrames({ rtt, loss }, { congestion: "reno" }, 4 / loss, frames, seed));
      within15(mean(rates), renoRate(rtt, loss));
    });
  }

  it("Reno that loses every thousandth frame: MSS / RTT × √(3/2) / √loss", async () => {
    const rate = await overFrames({ rtt: 100, lossEvery: 1000 }, { congestion: "reno" }, 5000, 12_000, 1, 39 * MSS);
    within15(rate, renoRate(100, 0.001, Math.sqrt(1.5)));
  });

  for (const [rtt, every] of [
    [200, 1000],
    [400, 1000],
    [100, 10_000],
  ]) {
    it(`CUBIC that loses every ${every}th frame at ${rtt} ms: RFC 9438 §5.1`, async () => {
      const theory = cubicRate(rtt, 1 / every);
      const ssthresh = (theory * rtt) / 8000;
      // Paced, so that a flight has no tail whose loss only a timer finds.
      const options = { congestion: "cubic", pacing: true };
      within15(await overFrames({ rtt, lossEvery: every }, options, 4 * every, 8 * every, 1, ssthresh), theory);
    });
  }

  it("CUBIC on a short path is Reno (RFC 9438 §4.3): every thousandth frame at 10 ms", async () => {
    const rate = await overFrames({ rtt: 10, lossEvery: 1000 }, { congestion: "cubic" }, 5000, 12_000, 1, 39 * MSS);
    within15(rate, renoRate(10, 0.001, Math.sqrt(1.5)));
  });

  it("CUBIC with 1% random loss at 100 ms is Reno, too", async () => {
    const rates: number[] = [];
    for (const seed of [1, 2, 3, 4]) rates.push(await overFrames({ rtt: 100, loss: 0.01 }, { congestion: "cubic" }, 400, 12_000, seed));
    within15(mean(rates), renoRate(100, 0.01));
  });

  for (const congestion of CONTROLS) {
    it(`${congestion} behind a window of 64 KB at 100 ms: window / RTT`, async () => {
      const [rate] = await over({ rtt: 100 }, [{ congestion, windowScaling: false, receiveBuffer: 65_535 }], 2000, 4000);
      within15(rate, (65_535 * 8000) / 100);
    });

    it(`${congestion} over a bottleneck with a queue of what the path holds: its rate`, async () => {
      const [rate] = await over({ rtt: 30, rate: RATE, queue: held(RATE, 30) }, [{ congestion }], 3000, 8000);
      // A hole that is filled as the measurement ends delivers what waited behind it.
      assert.ok(rate <= GOODPUT * 1.02 && rate >= 0.93 * GOODPUT, `${rate}`);
    });
  }

  it("BBR with 1% random loss, and with a queue of a tenth: nine tenths of what the bottleneck gives", async () => {
    const bbr = [{ congestion: "bbr" }];
    const rates: number[] = [];
    // One seed's mean is within 0.03 of GOODPUT of another's.
    for (let seed = 1; seed <= 8; seed++)
      rates.push((await over({ rtt: 20, rate: RATE, queue: held(RATE, 20), loss: 0.01 }, bbr, 3000, 8000, seed))[0]);
    assert.ok(mean(rates) >= 0.9 * GOODPUT, `loss: ${rates}`);
    const [shallow] = await over({ rtt: 40, rate: RATE, queue: held(RATE, 4) }, bbr, 3000, 8000);
    assert.ok(shallow >= 0.9 * GOODPUT, `queue: ${shallow}`);
  });

  it("BBR with 1% random loss at 100 ms: five times Reno and more", async () => {
    const path = { rtt: 100, rate: RATE, queue: held(RATE, 100), loss: 0.01 };
    const [rate] = await over(path, [{ congestion: "bbr" }], 4000, 12_000);
    assert.ok(rate >= 0.82 * GOODPUT && rate > 5 * renoRate(100, 0.01), `${rate}`);
  });
});

describe("two flows share a bottleneck", () => {
  for (const [first, second, rtt, queue, least] of [
    ["cubic", "cubic", 20, 1, 0.95],
    ["bbr", "bbr", 40, 2, 0.95],
    ["reno", "cubic", 20, 1, 0.85],
    ["bbr", "cubic", 40, 1, 0.85],
  ] as const) {
    it(`${first} and ${second} at ${rtt} ms: Jain's index of at least ${least}`, async () => {
      // The second comes when the first has everything.
      const path = { rtt, rate: RATE, queue: queue * held(RATE, rtt) };
      const fairness: number[] = [];
      for (const seed of [1, 2, 3]) {
        const flows = await Flows.create(path, seed);
        flows.add({ congestion: first });
        flows.measure(4000);
        flows.add({ congestion: second });
        flows.measure(10_000);
        const shares = flows.measure(20_000);
        fairness.push(jain(shares));
        assert.ok(shares[0] + shares[1] >= 0.93 * GOODPUT, "the link is busy");
      }
      assert.ok(mean(fairness) >= least, fairness.map((each) => each.toFixed(3)).join(" "));
    });
  }
});
