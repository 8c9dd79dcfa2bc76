/**
 * A link between two ports that does what real ones do: it takes time, has a rate and a queue, loses, repeats,
 * reorders and damages frames, and can be cut. All chance comes from one seeded generator, all time from the clock.
 */
import { amount, checkOptions, type Shape, shaped, share, whole, yesNo } from "../base/options.ts";
import type { Random } from "../base/random.ts";
import { Timer, Timers } from "../base/timers.ts";
import type { Device, Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { markCongestion, mayBeMarked } from "./mark.ts";

export interface Impairment {
  /** One-way delay (ms), and how much more at most, uniformly. Frames keep their order unless `reorder` says otherwise. */
  delay?: number;
  jitter?: number;
  /** Bits a second of the frames (without preamble); absent: infinite. */
  rate?: number;
  /** Bytes that wait at most when the rate is used up; what comes then is dropped. Default: 256 KiB. */
  queue?: number;
  /** Bytes that wait before frames that may be are marked (ECN's CE), as a switch for DCTCP does; absent: never. */
  mark?: number;
  /** Shares from 0 to 1. */
  loss?: number;
  duplicate?: number;
  /** Frames that overtake: they skip the delay. */
  reorder?: number;
  /** One random bit is flipped. */
  corrupt?: number;
  /** Burst loss (Gilbert and Elliott): chance to enter the bad state, to leave it, and the loss inside it. */
  burst?: { enter: number; leave: number; loss: number };
  /** Exactly every so many frames one is lost. */
  lossEvery?: number;
  /** Bytes of the largest frame that passes; a larger one is lost, and nobody says so. */
  largestFrame?: number;
  /** Nothing passes. */
  cut?: boolean;
}

const IMPAIRMENT: Shape<Impairment> = {
  delay: amount("milliseconds"),
  jitter: amount("milliseconds"),
  rate: (value) => (typeof value === "number" && value > 0 ? undefined : "bits a second, more than 0 (`cut: true` lets nothing pass)"),
  queue: amount("bytes"),
  mark: amount("bytes"),
  loss: share,
  duplicate: share,
  reorder: share,
  corrupt: share,
  burst: shaped("burst", { enter: share, leave: share, loss: share }, ["enter", "leave", "loss"]),
  lossEvery: whole(0),
  largestFrame: whole(0),
  cut: yesNo,
};

/** Throws EINVAL for what no link can do. */
export function checkImpairment(impairment: Impairment): void {
  checkOptions("link", IMPAIRMENT, impairment);
}

export interface LinkCounters {
  frames: number;
  lost: number;
  queueDrops: number;
  marked: number;
  duplicated: number;
  reordered: number;
  corrupted: number;
}

const QUEUE = 256 << 10;

/** One direction. */
class Lane {
  readonly counters: LinkCounters = { frames: 0, lost: 0, queueDrops: 0, marked: 0, duplicated: 0, reordered: 0, corrupted: 0 };
  impairment: Impairment = {};
  private readonly to: Port;
  private readonly random: Random;
  private readonly timers: Timers;
  private readonly now: () => number;
  /** When the transmitter is free again, and when the last frame in order arrives. */
  private freeAt = 0;
  private lastArrival = 0;
  private bad = false;

  constructor(to: Port, random: Random, timers: Timers, now: () => number) {
    this.to = to;
    this.random = random;
    this.timers = timers;
    this.now = now;
  }

  carry(frame: Uint8Array): void {
    const { impairment, counters, random } = this;
    counters.frames++;
    if (impairment.cut || frame.length > (impairment.largestFrame ?? frame.length) || this.isLost()) {
      counters.lost++;
      return;
    }
    const now = this.now();
    const start = Math.max(now, this.freeAt);
    const rate = impairment.rate ?? Number.POSITIVE_INFINITY;
    const waiting = rate === Number.POSITIVE_INFINITY ? 0 : ((start - now) * rate) / 8000;
    if (waiting > (impairment.queue ?? QUEUE)) {
      counters.queueDrops++;
      return;
    }
    this.freeAt = start + (frame.length * 8000) / rate;
    const copies = random.float() < (impairment.duplicate ?? 0) ? 2 : 1;
    if (copies === 2) counters.duplicated++;
    const isMarked = waiting > (impairment.mark ?? Number.POSITIVE_INFINITY) && mayBeMarked(frame);
    if (isMarked) counters.marked++;
    for (let i = 0; i < copies; i++) {
      const copy = this.damaged(frame.slice());
      if (isMarked) markCongestion(copy);
      this.schedule(copy);
    }
  }

  private isLost(): boolean {
    const { loss = 0, burst, lossEvery } = this.impairment;
    if (lossEvery && this.counters.frames % lossEvery === 0) return true;
    if (burst) {
      this.bad = this.random.float() < (this.bad ? 1 - burst.leave : burst.enter);
      if (this.bad && this.random.float() < burst.loss) return true;
    }
    return loss > 0 && this.random.float() < loss;
  }

  private damaged(frame: Uint8Array): Uint8Array {
    const { corrupt = 0 } = this.impairment;
    if (corrupt === 0 || this.random.float() >= corrupt) return frame;
    this.counters.corrupted++;
    frame[this.random.below(frame.length)] ^= 1 << this.random.below(8);
    return frame;
  }

  private schedule(frame: Uint8Array): void {
    const { delay = 0, jitter = 0, reorder = 0 } = this.impairment;
    let at = this.freeAt;
    if (reorder > 0 && this.random.float() < reorder) this.counters.reordered++;
    else {
      at = Math.max(at + delay + jitter * this.random.float(), this.lastArrival);
      this.lastArrival = at;
    }
    if (at <= this.now()) this.to.receive(frame);
    else this.timers.arm(new Timer(() => void this.to.receive(frame)), at);
  }
}

/** Ethernet's, with a tag of 802.1Q. */
const LINK_HEADER = 18;

export class ImpairedLink implements Device {
  readonly name: string;
  /** What is on the way. */
  readonly timers = new Timers();
  private readonly engine: Engine;
  readonly ends: readonly [Port, Port];
  private readonly lanes: readonly [Lane, Lane];

  private readonly takesChains = [false, false];
  private readonly taps = new Set<(frame: Uint8Array, from: 0 | 1) => void>();

  constructor(engine: Engine, a: Port, b: Port, random: Random, impairment: Impairment = {}) {
    this.engine = engine;
    this.name = `link ${a.index}–${b.index}`;
    this.ends = [a, b];
    const now = () => engine.clock.now();
    this.lanes = [new Lane(b, random, this.timers, now), new Lane(a, random, this.timers, now)];
    this.set(impairment);
    for (const i of [0, 1] as const) this.makeRoom(i);
  }

  /** Changes both directions, or one: 0 from the first port, 1 from the second. */
  set(impairment: Impairment, direction?: 0 | 1): this {
    checkImpairment(impairment);
    for (const i of direction === undefined ? [0, 1] : [direction]) this.lanes[i].impairment = { ...impairment };
    return this;
  }

  counters(direction: 0 | 1): LinkCounters {
    return this.lanes[direction].counters;
  }

  /**
   * Hears of every frame that is given to the link, before anything happens to it, and by which end (0: the first); for captures. The bytes are the
   * link's: who keeps them copies them. Returns how to stop.
   */
  tap(hears: (frame: Uint8Array, from: 0 | 1) => void): () => void {
    this.taps.add(hears);
    return () => this.taps.delete(hears);
  }

  poll(budget: number): number {
    let moved = this.timers.run(this.engine.clock.now());
    for (const i of [0, 1] as const) {
      this.makeRoom(i);
      moved += this.ends[i].transmitted((frame) => {
        for (const hears of this.taps) hears(frame, i);
        this.lanes[i].carry(frame);
      }, budget);
    }
    return moved;
  }

  /** Frames that no buffer holds come in several: only where there can be such, for they are put together by hand here. */
  private makeRoom(i: 0 | 1): void {
    const port = this.ends[i];
    if (this.takesChains[i] || port.mtu + LINK_HEADER <= port.frameLimit) return;
    this.takesChains[i] = true;
    port.configure({ offload: { chains: true } });
  }
}
