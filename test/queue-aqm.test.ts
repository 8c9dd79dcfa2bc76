/** CoDel's schedule of drops against a slow model of RFC 8289, RED's probability against its formula, policers against RFC 2697 and 2698. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Random } from "../src/index.ts";
import { attachPolicers, attachQueue, type PolicerOptions } from "../src/queue/index.ts";
import { Shaped } from "./queue-support.ts";
import { random } from "./support.ts";

// ── CoDel ───────────────────────────────────────────────────────────────────────────────────────

const BYTES = 1000;
const COST = 1e6; // ns: 1000 bytes at 8 Mbit/s
const TARGET = 5e6;
const INTERVAL = 100e6;

interface Waiting {
  number: number;
  at: number;
}

/** RFC 8289 §5, one step after the other, over a queue of packets of one length. Times are nanoseconds. */
class Codel {
  readonly queue: Waiting[] = [];
  readonly dropped: number[] = [];
  private firstAbove = 0;
  private dropNext = 0;
  private count = 0;
  private lastCount = 0;
  private dropping = false;

  private take(now: number): { packet: Waiting | undefined; mayDrop: boolean } {
    const packet = this.queue.shift();
    if (!packet || now - packet.at < TARGET || this.queue.length * BYTES <= BYTES) {
      this.firstAbove = 0;
      return { packet, mayDrop: false };
    }
    if (this.firstAbove === 0) this.firstAbove = now + INTERVAL;
    else if (now >= this.firstAbove) return { packet, mayDrop: true };
    return { packet, mayDrop: false };
  }

  private later(from: number): number {
    return from + Math.floor(INTERVAL / Math.sqrt(this.count));
  }

  next(now: number): Waiting | undefined {
    let { packet, mayDrop } = this.take(now);
    if (this.dropping) {
      if (!mayDrop) this.dropping = false;
      while (this.dropping && now >= this.dropNext) {
        this.dropped.push((packet as Waiting).number);
        this.count++;
        ({ packet, mayDrop } = this.take(now));
        if (mayDrop) this.dropNext = this.later(this.dropNext);
        else this.dropping = false;
      }
    } else if (mayDrop) {
      this.dropped.push((packet as Waiting).number);
      ({ packet } = this.take(now));
      this.dropping = true;
      const delta = this.count - this.lastCount;
      this.count = delta > 1 && now - this.dropNext < 16 * INTERVAL ? delta : 1;
      this.dropNext = this.later(now);
      this.lastCount = this.count;
    }
    return packet;
  }
}

/** A server of one packet each millisecond behind it: the packet in hand leaves when its time has come. */
class Server {
  readonly codel = new Codel();
  readonly left: number[] = [];
  private hand: Waiting | undefined;
  private ready = 0;
  private last = Number.NEGATIVE_INFINITY;

  private advance(now: number): void {
    while (this.hand) {
      const leaves = Math.max(this.last + COST, this.ready);
      if (leaves > now) return;
      this.left.push(this.hand.number);
      this.last = leaves;
      this.ready = leaves;
      this.hand = this.codel.next(leaves);
    }
  }

  arrive(number: number, at: number): void {
    this.advance(at);
    this.codel.queue.push({ number, at });
    if (this.hand) return;
    this.ready = at;
    this.hand = this.codel.next(at);
    this.advance(at);
  }

  finish(now: number): void {
    this.advance(now);
  }
}

/** Phases of overload and rest: gaps (ms) between arrivals, and how long each lasts. */
function arrivals(rng: Random): number[] {
  const times: number[] = [];
  let ms = 1;
  for (let phase = 0; phase < 6; phase++) {
    const gap = [0.5, 0.7, 0.9, 0.95, 1.2, 3][rng.below(6)];
    const end = ms + 100 + rng.below(900);
    for (; ms < end && times.length < 8000; ms += gap * (0.8 + 0.4 * rng.float())) times.push(ms);
  }
  return times;
}

describe("CoDel", () => {
  it("drops what a model of RFC 8289 drops, packet by packet", async (t) => {
    const rng = random(t);
    let drops = 0;
    for (let run = 0; run < 8; run++) {
      const shaped = await Shaped.of({
        kind: "tbf",
        rateBps: 8e6,
        burstBytes: BYTES,
        child: { kind: "fq_codel", flows: 1, ecn: false, targetMs: TARGET / 1e6, intervalMs: INTERVAL / 1e6 },
      });
      const server = new Server();
      for (const at of arrivals(rng)) {
        shaped.clock.skip(at - shaped.clock.now());
        shaped.poll();
        server.arrive(shaped.sent, Math.floor((shaped.clock.now() / 1000) * 1e9));
        shaped.send({ bytes: BYTES });
      }
      shaped.run(10_000);
      server.finish(Number.POSITIVE_INFINITY);
      assert.deepEqual(
        shaped.departures.map(({ number }) => number),
        server.left,
      );
      assert.equal(shaped.queue.stats().dropped, server.codel.dropped.length);
      drops += server.codel.dropped.length;
      await shaped.close();
    }
    assert.ok(drops > 50, `the runs had ${drops} drops`);
  });
});

// ── RED ─────────────────────────────────────────────────────────────────────────────────────────

describe("RED", () => {
  it("drops with the probability of Floyd and Jacobson's formula, between the thresholds, below and above", async () => {
    const [least, most, probability, weight] = [10_000, 60_000, 0.1, 2 ** -5];
    let [expected, variance, got, between] = [0, 0, 0, 0];
    const shaped = await Shaped.of({ kind: "pfifo" });
    for (let round = 0; round < 60; round++) {
      shaped.queue.remove();
      // burst 27 and this least make a weight of 1/32: nothing leaves, the average follows the backlog.
      const red = {
        kind: "red",
        limitBytes: 1e6,
        minBytes: least,
        maxBytes: most,
        avpktBytes: 1000,
        burstPackets: 27,
        probability,
      } as const;
      shaped.queue = attachQueue(shaped.engine, shaped.port, { kind: "tbf", rateBps: 8, burstBytes: 1000, child: red });
      let [average, backlog, since] = [0, 0, -1];
      for (let i = 0; i < 250; i++) {
        average += (backlog - average) * weight;
        const before = shaped.queue.stats().dropped;
        shaped.send({ bytes: 1000 });
        const dropped = shaped.queue.stats().dropped - before;
        // The first has left, the second is in tbf's hand.
        if (i >= 2 && !dropped) backlog += 1000;
        if (average < least) {
          assert.equal(dropped, 0, `dropped at an average of ${average}`);
          since = -1;
        } else if (average >= most) {
          assert.equal(dropped, 1, `not dropped at an average of ${average}`);
          since = -1;
        } else {
          since++;
          const pb = (probability * (average - least)) / (most - least);
          const pa = 1 - since * pb <= pb ? 1 : pb / (1 - since * pb);
          expected += pa;
          variance += pa * (1 - pa);
          got += dropped;
          between++;
          if (dropped) since = 0;
        }
      }
      assert.ok(Math.abs((shaped.queue.report()[1].red?.average ?? 0) - average) < 1e-6 * average);
    }
    await shaped.close();
    assert.ok(between > 2000 && expected > 100, `${between} packets, ${expected} expected drops`);
    assert.ok(Math.abs(got - expected) < 4.5 * Math.sqrt(variance), `${got} drops, ${expected} ± ${Math.sqrt(variance)} expected`);
  });

  it("forgets while it is idle, and marks with ECN", async () => {
    const shaped = await Shaped.of({
      kind: "tbf",
      rateBps: 10e6,
      burstBytes: 1514,
      child: { kind: "red", limitBytes: 400_000, minBytes: 5000, maxBytes: 50_000, avpktBytes: 1000, probability: 0.5, ecn: true },
    });
    shaped.saturate(1000, [{ bytes: 1000, tos: 2 }], { depth: 30 });
    const busy = shaped.queue.report()[1];
    assert.ok(busy.own.marked > 20 && busy.own.early === 0, `${busy.own.marked} marked`);
    assert.ok((busy.red?.average ?? 0) > 10_000);
    shaped.run(2000);
    shaped.send({ bytes: 1000, tos: 2 });
    assert.ok((shaped.queue.report()[1].red?.average ?? 1e9) < 100);
    await shaped.close();
  });

  it("adaptive: keeps the average between its thresholds under a load that a fixed probability does not hold", async () => {
    const red = {
      kind: "red",
      limitBytes: 400_000,
      minBytes: 10_000,
      maxBytes: 50_000,
      avpktBytes: 1000,
      probability: 0.01,
      ecn: false,
    } as const;
    const averages: number[] = [];
    for (const adaptive of [false, true]) {
      const shaped = await Shaped.of({ kind: "tbf", rateBps: 8e6, burstBytes: 1514, child: { ...red, adaptive } });
      let last = 0;
      // 8% more than there is room for.
      shaped.run(20_000, {
        step: 1,
        each: () => {
          last += 1.08;
          for (; last >= 1; last--) shaped.send({ bytes: 1000 });
        },
      });
      averages.push(shaped.queue.report()[1].red?.average ?? 0);
      await shaped.close();
    }
    assert.ok(averages[0] > 45_000, `fixed: ${averages[0]}`);
    assert.ok(averages[1] > 15_000 && averages[1] < 45_000, `adaptive: ${averages[1]}`);
  });
});

// ── Policers ────────────────────────────────────────────────────────────────────────────────────

const GREEN = 10;
const COLOURS = [GREEN, 12, 14];

/** RFC 2697 §3 and RFC 2698 §3 with exact fractions: tokens are bytes × 10⁹. */
class Meter {
  private readonly options: PolicerOptions;
  private c: bigint;
  private e: bigint;
  private last = 0n;

  constructor(options: PolicerOptions) {
    this.options = options;
    this.c = BigInt(options.burstBytes) * 10n ** 9n;
    this.e = BigInt(options.excessBytes ?? options.peakBurstBytes ?? 0) * 10n ** 9n;
  }

  colour(bytes: number, came: number, now: bigint): number {
    const { options } = this;
    const unit = 10n ** 9n;
    const [cbs, ebs] = [BigInt(options.burstBytes) * unit, BigInt(options.excessBytes ?? options.peakBurstBytes ?? 0) * unit];
    const [elapsed, need] = [now - this.last, BigInt(bytes) * unit];
    this.last = now;
    const least = (a: bigint, b: bigint) => (a < b ? a : b);
    if (options.kind === "srtcm") {
      const filled = this.c + elapsed * BigInt(options.rateBps / 8);
      this.c = least(filled, cbs);
      this.e = least(this.e + (filled - this.c), ebs);
      if (came === 0 && this.c >= need) return this.take("c", need, 0);
      return came <= 1 && this.e >= need ? this.take("e", need, 1) : 2;
    }
    this.c = least(this.c + elapsed * BigInt(options.rateBps / 8), cbs);
    this.e = least(this.e + elapsed * BigInt((options.peakBps ?? 0) / 8), ebs);
    if (came === 2 || this.e < need) return 2;
    this.e -= need;
    return came === 1 || this.c < need ? 1 : this.take("c", need, 0);
  }

  private take(bucket: "c" | "e", need: bigint, colour: number): number {
    this[bucket] -= need;
    return colour;
  }
}

const CASES: PolicerOptions[] = [
  { kind: "srtcm", rateBps: 8e6, burstBytes: 4000, excessBytes: 8000 },
  { kind: "srtcm", rateBps: 8e6, burstBytes: 4000, excessBytes: 0 },
  { kind: "srtcm", rateBps: 8e6, burstBytes: 4000, excessBytes: 8000, colourAware: true },
  { kind: "trtcm", rateBps: 4e6, burstBytes: 3000, peakBps: 8e6, peakBurstBytes: 4000 },
  { kind: "trtcm", rateBps: 4e6, burstBytes: 3000, peakBps: 8e6, peakBurstBytes: 4000, colourAware: true },
];

describe("policers", () => {
  for (const options of CASES)
    it(`${options.kind}${options.colourAware ? ", colour-aware" : ""}, excess ${options.excessBytes ?? "-"}: the colours of the RFC`, async (t) => {
      const rng = random(t);
      const shaped = await Shaped.of({ kind: "pfifo" });
      shaped.queue.remove();
      const [green, yellow, red] = COLOURS.map((dscp) => ({ dscp }));
      const police = attachPolicers(shaped.engine, shaped.port, "out", [{ ...options, green, yellow, red }]);
      const meter = new Meter(options);
      const want: number[] = [];
      for (let i = 0; i < 1500; i++) {
        shaped.clock.skip(rng.below(4) === 0 ? 3 * rng.float() : 0.7 * rng.float());
        shaped.poll();
        const [bytes, came] = [60 + rng.below(1400), rng.below(3)];
        shaped.send({ bytes, tos: COLOURS[came] << 2 });
        want.push(meter.colour(bytes, options.colourAware ? came : 0, BigInt(Math.floor((shaped.clock.now() / 1000) * 1e9))));
      }
      const got = shaped.departures.map(({ tos }) => COLOURS.indexOf(tos >> 2));
      assert.deepEqual(got, want);
      const counted = Object.values(police.stats()[0]).map(({ packets }) => packets);
      assert.deepEqual(
        counted,
        [0, 1, 2].map((colour) => want.filter((each) => each === colour).length),
      );
      for (const n of counted.slice(0, options.excessBytes === 0 ? 1 : 3)) assert.ok(n > 5, `${counted}`);
      await shaped.close();
    });

  it("holds a rate within 1%, names what it drops, and lets other traffic pass", async () => {
    const shaped = await Shaped.of({ kind: "pfifo" });
    const police = attachPolicers(shaped.engine, shaped.port, "out", [
      { kind: "srtcm", rateBps: 4e6, burstBytes: 2000, match: { source: "10.0.0.1/32" } },
    ]);
    shaped.run(3000, {
      step: 1,
      each: () => {
        shaped.send({ bytes: 1000, from: 1 });
        shaped.send({ bytes: 1000, from: 2 });
      },
    });
    const shares = shaped.bytesBy(({ from }) => from);
    assert.ok(Math.abs(((shares.get(1) ?? 0) * 8) / 3 / 4e6 - 1) < 0.01, `${shares.get(1)}`);
    assert.equal(shares.get(2), 3e6);
    const { drops } = shaped.engine.counters();
    assert.equal(drops.policed, police.stats()[0].red.packets);
    police.remove();
    shaped.send({ bytes: 1000, from: 1 }, 50);
    assert.equal(shaped.engine.counters().drops.policed, drops.policed);
    await shaped.close();
  });

  it("polices what comes in before anything else sees it", async () => {
    const shaped = await Shaped.of({ kind: "pfifo" });
    const { engine, port } = shaped;
    attachPolicers(engine, port, "in", [{ kind: "srtcm", rateBps: 8000, burstBytes: 1000 }]);
    const before = port.counters().rxPackets;
    for (let i = 0; i < 5; i++) port.receive(new Uint8Array(400));
    engine.poll();
    assert.equal(engine.counters().drops.policed, 3);
    assert.equal(port.counters().rxPackets - before, 5);
    assert.equal(engine.pool().inFlight, 0);
    await shaped.close();
  });
});
