/** Congestion controllers against the formulas of their RFCs, step by step; DCTCP over a switch that marks; pacing. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { emptySample, type Flow } from "../src/tcp/congestion/control.ts";
import { Cubic } from "../src/tcp/congestion/cubic.ts";
import { CONGESTION_NAMES, congestionControl } from "../src/tcp/congestion/index.ts";
import * as user from "../src/tcp/user.ts";
import { Flows, jain } from "./congestion/flows.ts";

const MSS = 1000;
const RTT = 100;

/** A sender whose window is always full, and whose path loses when it is told to. */
class Sender implements Flow {
  cwnd = 10 * MSS;
  ssthresh = Number.MAX_SAFE_INTEGER;
  pacingRate = 0;
  mss = MSS;
  cwndLimited = true;
  usedMost = 0;
  inRecovery = false;
  sackOk = true;
  delivered = 0;
  lost = 0;
  srtt = RTT;
  appLimited = false;
  now = 0;
  private readonly control;
  private readonly sample = emptySample();

  constructor(control: ReturnType<typeof congestionControl>) {
    this.control = control;
  }

  get pipe(): number {
    return this.cwnd;
  }

  markAppLimited(): void {}

  random(): number {
    return 0.5;
  }

  /** A round trip: the window is acknowledged, a segment at a time. */
  round(marked = 0, rtt = RTT): void {
    const segments = Math.floor(this.cwnd / MSS);
    const start = this.delivered;
    this.usedMost = this.cwnd;
    for (let i = 0; i < segments; i++) {
      this.now += rtt / segments;
      this.delivered += MSS;
      const fields = { now: this.now, delivered: MSS, ce: i < marked * segments ? MSS : 0, rtt, srtt: RTT, minRtt: RTT };
      Object.assign(this.sample, fields, { ackSeq: this.delivered, sendSeq: start + segments * MSS + (i + 1) * MSS });
      this.control.acked(this, this.sample);
    }
  }

  lose(): void {
    this.ssthresh = this.control.reduce(this, this.now);
    this.cwnd = this.ssthresh;
  }
}

const near = (actual: number, wanted: number, by: number, what: string) =>
  assert.ok(Math.abs(actual - wanted) <= by, `${what}: ${actual}, expected ${wanted} ± ${by}`);

describe("CUBIC", () => {
  it("follows C (t − K)³ + W_max after a loss (RFC 9438 §4.2)", () => {
    const flow = new Sender(new Cubic());
    flow.cwnd = 1000 * MSS;
    flow.lose();
    near(flow.cwnd / MSS, 700, 1e-9, "β");
    const k = Math.cbrt((1000 * 0.3) / 0.4);
    // The stage begins with the first acknowledgement.
    const start = flow.now + RTT / 700;
    for (let i = 0; i < 120; i++) {
      flow.round();
      const t = (flow.now - start) / 1000;
      const wanted = 0.4 * (t - k) ** 3 + 1000;
      // A round trip late at most, as far as the function rises in one.
      const slope = 1.2 * (t - k) ** 2 * (RTT / 1000);
      near(flow.cwnd / MSS, wanted, slope + 2, `after ${t.toFixed(1)} s`);
    }
  });

  it("grows as Reno with α = 9/17 on a short path, with 1 beyond the last peak (§4.3)", () => {
    const flow = new Sender(new Cubic());
    flow.cwnd = 20 * MSS;
    flow.lose();
    for (let i = 0; i < 11; i++) flow.round();
    near(flow.cwnd / MSS, 14 + (11 * 9) / 17, 0.7, "W_est");
    while (flow.cwnd < 20.5 * MSS) flow.round();
    const before = flow.cwnd;
    flow.round();
    near((flow.cwnd - before) / MSS, 1, 0.15, "a segment a round");
  });

  it("gives way when its peak shrinks (§4.7), starts at its own plateau after a timeout (§4.8)", () => {
    const control = new Cubic();
    const flow = new Sender(control);
    flow.cwnd = 100 * MSS;
    flow.lose();
    flow.lose();
    near(control.state().W_max, 70 * 0.85, 1e-9, "W_max");
    flow.lose();
    control.timedOut();
    flow.cwnd = MSS;
    while (flow.cwnd < flow.ssthresh) flow.round();
    flow.round();
    assert.equal(control.state().K, 0);
    near(control.state().W_max, flow.ssthresh / MSS, 1, "W_max is where slow start ended");
  });

  it("forgets a reduction that was for nothing, exactly (§4.9.2)", () => {
    const control = new Cubic();
    const flow = new Sender(control);
    flow.cwnd = 100 * MSS;
    flow.lose();
    for (let i = 0; i < 5; i++) flow.round();
    const before = { ...control.state(), cwnd: flow.cwnd, ssthresh: flow.ssthresh };
    flow.lose();
    control.undone(flow);
    assert.deepEqual({ ...control.state(), cwnd: flow.cwnd, ssthresh: flow.ssthresh }, before);
  });

  it("does not count time in which the window was not used (§5.8)", () => {
    const flow = new Sender(new Cubic());
    flow.cwnd = 1000 * MSS;
    flow.lose();
    for (let i = 0; i < 20; i++) flow.round();
    const before = flow.cwnd;
    flow.cwndLimited = false;
    for (let i = 0; i < 100; i++) flow.round();
    assert.equal(flow.cwnd, before, "no growth");
    flow.cwndLimited = true;
    flow.round();
    assert.ok(flow.cwnd - before < 20 * MSS, `no leap either: ${(flow.cwnd - before) / MSS} segments`);
  });

  it("leaves slow start by way of a slower one when the RTT rises (RFC 9406)", () => {
    const control = new Cubic();
    const flow = new Sender(control);
    flow.round();
    flow.round();
    assert.equal(flow.cwnd, 40 * MSS);
    flow.round(0, RTT + 13);
    assert.equal(control.state().css, 1);
    const before = flow.cwnd;
    flow.round(0, RTT + 13);
    near(flow.cwnd / before, 1.25, 0.02, "a quarter of slow start's growth");
    for (let i = 0; i < 4; i++) flow.round(0, RTT + 13);
    assert.ok(flow.ssthresh <= flow.cwnd, "after five rounds it is over");
  });
});

describe("DCTCP", () => {
  it("estimates the share of marks with a weight of 1/16, and shrinks by half of it (RFC 8257 §3.3)", () => {
    const control = congestionControl("dctcp");
    const flow = new Sender(control);
    flow.cwnd = flow.ssthresh = 100 * MSS;
    let alpha = 1;
    for (let i = 0; i < 60; i++) {
      flow.round(0.2);
      flow.cwnd = flow.ssthresh = 100 * MSS;
      alpha += (0.2 - alpha) / 16;
    }
    near(Number(control.state().alpha), alpha, 0.03, "α");
    for (let i = 0; i < 100; i++) flow.round();
    flow.cwnd = flow.ssthresh = 100 * MSS;
    const small = Number(control.state().alpha);
    assert.ok(small < 0.001, `α without marks: ${small}`);
  });

  it("keeps the link busy and the queue at the threshold of a switch that marks, and loses nothing", async () => {
    // 100 Mbit/s, 1 ms, marks above 30 KB: 2.4 ms of queue.
    const flows = await Flows.create({ rtt: 1, rate: 100e6, queue: 1e6, mark: 30_000 }, 1);
    const { client } = flows.add({ congestion: "dctcp" });
    flows.measure(300);
    const [rate] = flows.measure(700);
    assert.ok(rate > 0.98 * ((100e6 * 1448) / 1514), `${rate}`);
    assert.ok(client.rtt.srtt < 1 + 2.4 * 1.3, `srtt ${client.rtt.srtt}`);
    assert.equal(client.retransmissions, 0);
    const alpha = Number(client.control.state().alpha);
    assert.ok(alpha > 0.03 && alpha < 0.5, `α ${alpha}`);
  });

  it("shares with another one, and halves like Reno where nobody marks", async () => {
    const flows = await Flows.create({ rtt: 1, rate: 50e6, queue: 1e6, mark: 30_000 }, 1);
    for (let i = 0; i < 2; i++) flows.add({ congestion: "dctcp" });
    flows.measure(500);
    assert.ok(jain(flows.measure(2000)) > 0.95);
    const plain = await Flows.create({ rtt: 20, rate: 10e6, queue: 25_000 }, 1);
    plain.add({ congestion: "dctcp" });
    plain.measure(2000);
    const [rate] = plain.measure(4000);
    assert.ok(rate > 0.9 * ((10e6 * 1448) / 1514), `${rate}`);
  });
});

describe("marks and the others", () => {
  for (const congestion of ["cubic", "bbr"]) {
    it(`${congestion} slows down by marks before anything is lost`, async () => {
      const flows = await Flows.create({ rtt: 20, rate: 20e6, queue: 200_000, mark: 50_000 }, 1);
      const { client } = flows.add({ congestion, ecnRequest: "ecn" });
      flows.measure(2000);
      const [rate] = flows.measure(4000);
      assert.ok(rate > 0.9 * ((20e6 * 1448) / 1514), `${rate}`);
      assert.equal(client.retransmissions, 0);
      assert.ok(flows.lab.links[0].counters(0).marked > 0);
      assert.ok(client.rtt.srtt < 60, `srtt ${client.rtt.srtt}`);
    });
  }
});

describe("pacing", () => {
  it("keeps to SO_MAX_PACING_RATE whatever the congestion control", async () => {
    for (const congestion of CONGESTION_NAMES) {
      const flows = await Flows.create({ rtt: 20 }, 1);
      flows.add({ congestion, maxPacingRate: 250_000 });
      flows.measure(1000);
      const [rate] = flows.measure(4000);
      assert.ok(rate <= 2.02e6 && rate > 1.9e6, `${congestion}: ${rate}`);
    }
  });

  it("spreads a window over the round trip, and is off unless asked for", async () => {
    const burst = async (pacing: boolean) => {
      const flows = await Flows.create({ rtt: 100 }, 1);
      const { client } = flows.add({ congestion: "reno", pacing, sendBuffer: 100_000 });
      flows.measure(2000);
      let most = 0;
      for (let i = 0, before = client.nxt; i < 300; i++, before = client.nxt) {
        flows.lab.runNow(1);
        most = Math.max(most, (client.nxt - before) | 0);
      }
      assert.equal(client.pacingRate > 0, pacing);
      return most;
    };
    // A window of 100 KB in 100 ms, at twice its rate in slow start; or all at once.
    const [paced, unpaced] = [await burst(true), await burst(false)];
    assert.ok(paced < 15_000 && unpaced > 50_000, `${paced} and ${unpaced} bytes in a millisecond`);
  });

  it("changes the congestion control of a connection that lives", async () => {
    const flows = await Flows.create({ rtt: 20, rate: 10e6, queue: 100_000 }, 1);
    const { client } = flows.add({ congestion: "reno" });
    for (const name of ["bbr", "cubic", "dctcp", "reno"]) {
      flows.measure(1500);
      user.setCongestion(client, name);
      const [rate] = flows.measure(3000);
      assert.equal(user.status(client).congestion, name);
      assert.equal(client.pacingRate > 0, name === "bbr");
      assert.ok(rate > 0.8 * ((10e6 * 1448) / 1514), `${name}: ${rate}`);
    }
    assert.throws(() => user.setCongestion(client, "vegas"), { code: "EINVAL" });
  });
});
