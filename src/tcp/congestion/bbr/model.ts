/**
 * BBR's model of the path (draft-ietf-ccwg-bbr §5.5): how fast it delivers, how long it takes, how much may be in flight.
 * Names are the draft's; `bwLo` and `inflightLo` are its short-term, `inflightHi` its long-term bounds. Bytes, milliseconds,
 * bytes a second.
 */
import { type AckSample, type Flow, initialWindow, sendQuantum } from "../control.ts";

export const STARTUP = 0;
export const DRAIN = 1;
export const DOWN = 2;
export const CRUISE = 3;
export const REFILL = 4;
export const UP = 5;
export const PROBE_RTT = 6;
/** Names, and the gains of pacing and window (§5.6.1). */
export const STATES = [
  { mode: "STARTUP", phase: "", pacing: 2.77, cwnd: 2 },
  { mode: "DRAIN", phase: "", pacing: 0.5, cwnd: 2 },
  { mode: "PROBE_BW", phase: "DOWN", pacing: 0.9, cwnd: 2 },
  { mode: "PROBE_BW", phase: "CRUISE", pacing: 1, cwnd: 2 },
  { mode: "PROBE_BW", phase: "REFILL", pacing: 1, cwnd: 2 },
  { mode: "PROBE_BW", phase: "UP", pacing: 1.25, cwnd: 2.25 },
  { mode: "PROBE_RTT", phase: "", pacing: 1, cwnd: 0.5 },
] as const;

/** What acknowledgements mean to the probing of bandwidth (§2.11). */
export const ACKS_INIT = 0;
export const ACKS_REFILLING = 1;
export const ACKS_PROBE_STARTING = 2;
export const ACKS_PROBE_FEEDBACK = 3;
export const ACKS_PROBE_STOPPING = 4;

/** §2.7. */
export const LOSS_THRESH = 0.02;
export const BETA = 0.7;
const HEADROOM = 0.15;
const MIN_PIPE_SEGMENTS = 4;
const EXTRA_ACKED_ROUNDS = 10;
const NEVER = Number.POSITIVE_INFINITY;

export class BbrModel {
  state = STARTUP;

  // ── Rate: the most of this and the previous probing cycle, and its bound after losses ──
  maxBw = 0;
  bwLo = NEVER;
  bw = 0;
  private bwBefore = 0;
  private bwNow = 0;

  // ── Time: the least of the last ten seconds; the least of the last five schedules PROBE_RTT ──
  minRtt = NEVER;
  minRttAt = 0;
  probeRttMin = NEVER;
  probeRttMinAt = 0;

  // ── Volume ──
  inflightHi = NEVER;
  inflightLo = NEVER;
  private readonly extraAcked = new Float64Array(EXTRA_ACKED_ROUNDS);
  private extraDelivered = 0;
  extraSince = 0;

  // ── Rounds: from a segment's departure to its acknowledgement ──
  rounds = 0;
  roundStart = false;
  roundEnd = 0;
  roundsSinceProbe = 0;

  // ── Congestion in the round: what was delivered at most, whether something was lost or marked ──
  bwLatest = 0;
  inflightLatest = 0;
  lossRoundEnd = 0;
  lossRoundStart = false;
  lossInRound = false;
  lossEvents = 0;
  markedInRound = 0;

  // ── Is the pipe full? ──
  fullBw = 0;
  fullBwCount = 0;
  fullBwNow = false;
  fullBwReached = false;

  // ── Probing of bandwidth ──
  ackPhase = ACKS_INIT;
  isProbeSample = false;
  upAcked = 0;
  upAckedPerStep = NEVER;
  upRounds = 0;
  cycleAt = 0;
  probeWait = 0;
  wasTooHigh = false;
  wasPrecautionary = false;

  startRound(flow: Flow): void {
    this.roundEnd = flow.delivered;
  }

  /** §5.5.1. */
  updateRound(flow: Flow, sample: AckSample): void {
    this.roundStart = sample.priorDelivered >= this.roundEnd;
    if (!this.roundStart) return;
    this.startRound(flow);
    this.rounds++;
    this.roundsSinceProbe++;
    this.extraAcked[this.rounds % EXTRA_ACKED_ROUNDS] = 0;
  }

  /** §5.5.5: what the application held back counts only when it is more. */
  updateMaxBw(sample: AckSample): void {
    if (sample.rate <= 0 || (sample.rate < this.maxBw && sample.appLimited)) return;
    this.bwNow = Math.max(this.bwNow, sample.rate);
    this.maxBw = Math.max(this.bwNow, this.bwBefore);
  }

  /** §5.5.6: a probing cycle is over. */
  advanceMaxBw(): void {
    if (this.bwNow === 0) return;
    this.bwBefore = this.bwNow;
    this.bwNow = 0;
    this.maxBw = this.bwBefore;
  }

  boundBw(): void {
    this.bw = Math.min(this.maxBw, this.bwLo);
  }

  /** §5.5.9: bytes acknowledged in a burst, beyond what the rate would have brought. */
  updateAggregation(flow: Flow, sample: AckSample): void {
    let expected = (this.bw * (sample.now - this.extraSince)) / 1000;
    if (this.extraDelivered <= expected) {
      this.extraDelivered = expected = 0;
      this.extraSince = sample.now;
    }
    this.extraDelivered += sample.delivered;
    const extra = Math.min(this.extraDelivered - expected, flow.cwnd);
    const slot = this.rounds % EXTRA_ACKED_ROUNDS;
    this.extraAcked[slot] = Math.max(this.extraAcked[slot], extra);
  }

  /** The most of the last ten rounds; in startup, of this one. */
  get aggregation(): number {
    if (!this.fullBwReached) return this.extraAcked[this.rounds % EXTRA_ACKED_ROUNDS];
    let most = 0;
    for (let i = 0; i < EXTRA_ACKED_ROUNDS; i++) most = Math.max(most, this.extraAcked[i]);
    return most;
  }

  /** §5.3.1.2: three rounds in which the rate grew by less than a quarter. */
  checkFullBw(sample: AckSample): void {
    if (this.fullBwNow || !this.roundStart || sample.appLimited) return;
    if (sample.rate >= this.fullBw * 1.25) {
      this.resetFullBw(sample.rate);
      return;
    }
    this.fullBwCount++;
    this.fullBwNow = this.fullBwCount >= 3;
    if (this.fullBwNow) this.fullBwReached = true;
  }

  resetFullBw(baseline = 0): void {
    this.fullBw = baseline;
    this.fullBwCount = 0;
    this.fullBwNow = false;
  }

  resetShortTerm(): void {
    this.bwLo = NEVER;
    this.inflightLo = NEVER;
  }

  // ── Volumes (§5.6.4.2) ──

  minPipe(flow: Flow): number {
    return MIN_PIPE_SEGMENTS * flow.mss;
  }

  /** `gain` times what the path holds at `bw`. */
  bdp(flow: Flow, bw = this.bw, gain = 1): number {
    return this.minRtt === NEVER ? initialWindow(flow.mss) : (gain * bw * this.minRtt) / 1000;
  }

  /** Enough for three units: one leaving, one on the way, one unacknowledged. */
  withQuanta(flow: Flow, volume: number): number {
    const floor = Math.max(volume, 3 * sendQuantum(flow), this.minPipe(flow));
    return this.state === UP ? floor + 2 * flow.mss : floor;
  }

  inflight(flow: Flow, bw = this.bw): number {
    return this.withQuanta(flow, this.bdp(flow, bw));
  }

  /** Leaves room for others (§5.3.3.6). */
  withHeadroom(flow: Flow): number {
    if (this.inflightHi === NEVER) return NEVER;
    const headroom = Math.max(flow.mss, HEADROOM * this.inflightHi);
    return Math.max(this.inflightHi - headroom, this.minPipe(flow));
  }

  targetInflight(flow: Flow): number {
    return Math.min(this.bdp(flow), flow.cwnd);
  }
}
