/** BBR over a bottleneck in virtual time: the test cases that the draft (draft-ietf-ccwg-bbr, appendix A) names, and figures. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as user from "../src/tcp/user.ts";
import { type Bottleneck, type Flow, Flows } from "./congestion/flows.ts";

const SEED = 20;
/** 10 Mbit/s; of each frame of 1514 bytes 1448 are data. */
const RATE = 10e6;
const GOODPUT = (RATE * 1448) / 1514;
const RTT = 40;
/** Bytes that the path holds. */
const BDP = (RATE / 8) * (RTT / 1000);
const PATH: Bottleneck = { rtt: RTT, rate: RATE, queue: 4 * BDP };
const BBR = { congestion: "bbr" };

interface State {
  mode: string;
  phase?: string;
  bw_hi: number;
  min_rtt: number;
  inflight_hi: number;
  extra_acked: number;
  full_bw_reached: number;
}
const stateOf = (flow: Flow) => flow.client.control.state() as unknown as State;
const nameOf = (flow: Flow) => {
  const { mode, phase } = stateOf(flow);
  return phase ? `${mode}:${phase}` : mode;
};

/** Runs until the flow is in a state; milliseconds that this took. */
function until(flows: Flows, flow: Flow, name: string, most = 20_000): number {
  const start = flows.lab.clock.now();
  while (nameOf(flow) !== name) {
    if (flows.lab.clock.now() - start > most) throw new Error(`not in ${name} after ${most} ms but in ${nameOf(flow)}`);
    flows.lab.runNow(1);
  }
  return flows.lab.clock.now() - start;
}

/** Every state that the flow passes through, with the time of its beginning. */
function trace(flows: Flows, flow: Flow, ms: number): { name: string; at: number }[] {
  const seen = [{ name: nameOf(flow), at: flows.lab.clock.now() }];
  for (const end = flows.lab.clock.now() + ms; flows.lab.clock.now() < end; ) {
    flows.lab.runNow(1);
    const name = nameOf(flow);
    if (name !== seen[seen.length - 1].name) seen.push({ name, at: flows.lab.clock.now() });
  }
  return seen;
}

const within = (actual: number, wanted: number, share: number, what: string) =>
  assert.ok(Math.abs(actual - wanted) <= share * wanted, `${what}: ${actual}, expected ${wanted} ± ${100 * share}%`);

describe("BBR", () => {
  it("finds the rate in STARTUP, empties the queue in DRAIN, goes round in PROBE_BW", async () => {
    const flows = await Flows.create(PATH, SEED);
    const flow = flows.add(BBR);
    const [first, ...then] = trace(flows, flow, 9000);
    assert.equal(first.name, "STARTUP");
    const order = then.map(({ name }) => name);
    // After DRAIN there is no queue: the acknowledgement that ends it goes through DOWN to CRUISE at once.
    assert.deepEqual(order.slice(0, 5), ["DRAIN", "PROBE_BW:CRUISE", "PROBE_BW:REFILL", "PROBE_BW:UP", "PROBE_BW:DOWN"]);
    within(stateOf(flow).bw_hi * 8, GOODPUT, 0.02, "bw_hi");
    within(stateOf(flow).min_rtt, RTT + 2, 0.05, "min_rtt");
    // From one look upwards to the next, two to three seconds, or 63 rounds.
    const ups = then.filter(({ name }) => name === "PROBE_BW:UP").map(({ at }) => at);
    for (let i = 1; i < ups.length; i++) assert.ok(ups[i] - ups[i - 1] < 3500, `a cycle of ${ups[i] - ups[i - 1]} ms`);
    assert.equal(flow.client.retransmissions, 0, "nothing was lost on the way");
  });

  it("keeps a deep queue short, and the link busy", async () => {
    const flows = await Flows.create({ ...PATH, queue: 20 * BDP }, SEED);
    const flow = flows.add(BBR);
    flows.measure(3000);
    const [rate] = flows.measure(12_000);
    within(rate, GOODPUT, 0.05, "rate");
    assert.ok(flow.client.rtt.srtt < 2 * RTT, `srtt ${flow.client.rtt.srtt}`);
  });

  it("looks at the empty path every five seconds, for 200 ms", async () => {
    // Two flows: each one's queue hides the path from the other.
    const flows = await Flows.create(PATH, SEED);
    const flow = flows.add(BBR);
    flows.add(BBR);
    const seen = trace(flows, flow, 20_000);
    const looks = seen.filter(({ name }) => name === "PROBE_RTT");
    assert.ok(looks.length >= 2, `${looks.length} times`);
    for (const look of looks) {
      const next = seen[seen.indexOf(look) + 1];
      if (!next) continue;
      assert.equal(next.name, "PROBE_BW:CRUISE");
      assert.ok(next.at - look.at >= 200 && next.at - look.at < 500, `${next.at - look.at} ms`);
    }
    within(stateOf(flow).min_rtt, RTT, 0.15, "min_rtt");
  });

  it("needs no look after a silence", async () => {
    const flows = await Flows.create(PATH, SEED);
    const flow = flows.add(BBR);
    until(flows, flow, "PROBE_BW:CRUISE");
    const { events } = flow.client;
    flow.client.events = {};
    flows.lab.runNow(8000);
    assert.equal(flow.client.pipe, 0);
    flow.client.events = events;
    events.writable?.();
    const seen = trace(flows, flow, 1000);
    assert.ok(!seen.some(({ name }) => name === "PROBE_RTT"), JSON.stringify(seen));
    const [rate] = flows.measure(1000);
    within(rate, GOODPUT, 0.1, "the rate is remembered");
  });

  it("finds ten times the rate, and a tenth", async () => {
    const flows = await Flows.create({ rtt: RTT, rate: 2e6, queue: 4 * BDP }, SEED);
    const flow = flows.add(BBR);
    until(flows, flow, "PROBE_BW:CRUISE");
    flows.set({ rtt: RTT, rate: 20e6, queue: 4 * BDP });
    flows.lab.runNow(12_000);
    within(stateOf(flow).bw_hi * 8, 2 * GOODPUT, 0.05, "bw_hi up");
    flows.set({ rtt: RTT, rate: 2e6, queue: BDP });
    flows.lab.runNow(12_000);
    within(stateOf(flow).bw_hi * 8, GOODPUT / 5, 0.05, "bw_hi down");
    const [rate] = flows.measure(5000);
    within(rate, GOODPUT / 5, 0.1, "rate");
  });

  it("ends STARTUP by losses where the queue is shallow, and still fills the link", async () => {
    const flows = await Flows.create({ ...PATH, queue: BDP / 10 }, SEED);
    const flow = flows.add(BBR);
    until(flows, flow, "PROBE_BW:CRUISE");
    assert.ok(stateOf(flow).inflight_hi < 2 * BDP, `inflight_hi ${stateOf(flow).inflight_hi}`);
    const [rate] = flows.measure(10_000);
    assert.ok(rate > 0.9 * GOODPUT, `${rate}`);
    // Losses of the probes only.
    assert.ok(flow.client.retransmissions < 0.01 * (flow.received / 1448), `${flow.client.retransmissions} retransmissions`);
  });

  it("stays in STARTUP while the application has little to send", async () => {
    const flows = await Flows.create(PATH, SEED);
    const flow = flows.add(BBR);
    const little = new Uint8Array(4000);
    flow.client.events = {};
    flows.lab.runNow(100);
    for (let i = 0; i < 400; i++) {
      user.write(flow.client, little);
      flows.lab.runNow(20);
    }
    assert.equal(nameOf(flow), "STARTUP");
    assert.equal(stateOf(flow).full_bw_reached, 0);
  });

  it("keeps four segments in flight where the path holds less than one", async () => {
    const flows = await Flows.create({ rtt: 4, rate: 1e6, queue: 50_000 }, SEED);
    const flow = flows.add(BBR);
    flows.measure(2000);
    const [rate] = flows.measure(5000);
    within(rate, GOODPUT / 10, 0.05, "rate");
    assert.ok(flow.client.cwnd >= 4 * flow.client.mss);
  });

  it("sees acknowledgements that come in bursts, and is not slowed by them", async () => {
    const flows = await Flows.create(PATH, SEED);
    flows.lab.links[0].set({ delay: RTT / 2, jitter: 30 }, 1);
    const flow = flows.add(BBR);
    flows.measure(3000);
    const [rate] = flows.measure(8000);
    within(rate, GOODPUT, 0.1, "rate");
    assert.ok(stateOf(flow).extra_acked > 4 * 1448, `extra_acked ${stateOf(flow).extra_acked}`);
  });

  it("goes back to what it knew when a timeout was for nothing", async () => {
    const flows = await Flows.create(PATH, SEED);
    const flow = flows.add(BBR);
    until(flows, flow, "PROBE_BW:CRUISE");
    const before = { ...stateOf(flow), cwnd: flow.client.cwnd };
    // The path stands still for longer than the timeout, and loses nothing.
    flows.set({ ...PATH, rtt: RTT + 1500 });
    flows.lab.runNow(100);
    flows.set(PATH);
    flows.lab.runNow(4000);
    assert.equal(flows.hosts[0].tcp.counters.spurious_rtos, 1);
    assert.ok(flow.client.cwnd >= 0.8 * before.cwnd, `cwnd ${flow.client.cwnd}, before ${before.cwnd}`);
    within(stateOf(flow).bw_hi, before.bw_hi, 0.1, "bw_hi");
    const [rate] = flows.measure(4000);
    within(rate, GOODPUT, 0.1, "rate");
  });

  it("paces: what leaves within a millisecond is no more than the rate allows", async () => {
    const flows = await Flows.create(PATH, SEED);
    const flow = flows.add(BBR);
    until(flows, flow, "PROBE_BW:CRUISE");
    let most = 0;
    let before = flow.client.nxt;
    for (let i = 0; i < 1000; i++) {
      flows.lab.runNow(1);
      most = Math.max(most, (flow.client.nxt - before) | 0);
      before = flow.client.nxt;
    }
    // At 10 Mbit/s 1250 bytes a millisecond: one unit of two segments, never two.
    assert.ok(most <= 2 * 1448, `${most} bytes in a millisecond`);
  });
});
