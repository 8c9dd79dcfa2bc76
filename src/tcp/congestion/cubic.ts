/**
 * CUBIC (RFC 9438) with HyStart++ (RFC 9406). Windows in bytes here, in segments inside the cubic function, which counts
 * seconds. Names are the RFC's.
 */
import { type AckSample, type CongestionControl, type Flow, mayGrow } from "./control.ts";
import { HyStart } from "./hystart.ts";

/** §4.1, §4.6. */
const C = 0.4;
const BETA = 0.7;
/** §4.3: grows as fast on average as Reno does. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

/** What a reduction changes, and what is there again when it was for nothing (§4.9.2). */
interface Memory {
  cwnd: number;
  ssthresh: number;
  wMax: number;
  k: number;
  epoch: number;
  wEst: number;
  cwndPrior: number;
  hystart: HyStart | undefined;
  isFirstStart: boolean;
}

export class Cubic implements CongestionControl {
  readonly name = "cubic";
  private wMax = 0;
  private k = 0;
  /** When this stage of congestion avoidance began, moved on by times that do not count; -1: it has not begun. */
  private epoch = -1;
  private wEst = 0;
  private cwndPrior = 0;
  /** HyStart++ holds for the first slow start only; made when the window is used for the first time, which it seldom is. */
  private isFirstStart = true;
  private hystart: HyStart | undefined;
  private undo: Memory | undefined;
  /** The last acknowledgement. */
  private heardAt = 0;

  acked(flow: Flow, sample: AckSample): void {
    const elapsed = sample.now - this.heardAt;
    this.heardAt = sample.now;
    if (sample.inRecovery || sample.delivered === 0) return;
    if (flow.cwnd < flow.ssthresh) this.slowStart(flow, sample);
    else if (mayGrow(flow)) this.avoid(flow, sample);
    // Time in which the application did not use the window does not count (§4.2, §5.8).
    else if (this.epoch >= 0) this.epoch += elapsed;
  }

  /** Nor does the time before sending begins again. */
  starting(_flow: Flow, now: number): void {
    if (this.epoch >= 0) this.epoch += now - this.heardAt;
    this.heardAt = now;
  }

  /** No limit to what one acknowledgement adds (RFC 9406 §4.2's L): receivers coalesce, and answer 64 KiB with one. */
  private slowStart(flow: Flow, sample: AckSample): void {
    this.epoch = -1;
    const isUsed = mayGrow(flow);
    if (this.isFirstStart && isUsed) this.hystart ??= new HyStart();
    const divisor = this.hystart?.acked(sample.ackSeq, sample.sendSeq, sample.rtt) ?? 1;
    if (divisor === 0) {
      flow.ssthresh = flow.cwnd;
      this.leaveFirstStart();
      return;
    }
    if (!isUsed) return;
    flow.cwnd += Math.min(sample.delivered / divisor, Math.max(flow.ssthresh - flow.cwnd, flow.mss));
  }

  private avoid(flow: Flow, sample: AckSample): void {
    const cwnd = flow.cwnd / flow.mss;
    if (this.epoch < 0) this.begin(cwnd, sample.now);
    const t = (sample.now - this.epoch) / 1000;
    const alpha = this.wEst >= this.cwndPrior ? 1 : ALPHA;
    this.wEst += (alpha * (sample.delivered / flow.mss)) / cwnd;
    if (this.wCubic(t) < this.wEst) {
      // The Reno-friendly region (§4.3).
      flow.cwnd = Math.max(flow.cwnd, this.wEst * flow.mss);
      return;
    }
    const target = Math.min(Math.max(this.wCubic(t + sample.srtt / 1000), cwnd), 1.5 * cwnd);
    flow.cwnd += ((target - cwnd) / cwnd) * sample.delivered;
  }

  private wCubic(t: number): number {
    return C * (t - this.k) ** 3 + this.wMax;
  }

  /** A stage of congestion avoidance begins (§4.2); after slow start or a timeout at the plateau (§4.8, §4.10). */
  private begin(cwnd: number, now: number): void {
    this.epoch = now;
    this.wMax = Math.max(this.wMax, cwnd);
    this.k = Math.cbrt((this.wMax - cwnd) / C);
    this.wEst = cwnd;
  }

  reduce(flow: Flow): number {
    const { wMax, k, epoch, wEst, cwndPrior, hystart, isFirstStart } = this;
    this.undo = { cwnd: flow.cwnd, ssthresh: flow.ssthresh, wMax, k, epoch, wEst, cwndPrior, hystart, isFirstStart };
    const cwnd = flow.cwnd / flow.mss;
    // Fast convergence (§4.7): a peak that is smaller than last time, by a segment, leaves room for newcomers.
    this.wMax = cwnd <= wMax - 1 ? (cwnd * (1 + BETA)) / 2 : cwnd;
    this.cwndPrior = cwnd;
    this.epoch = -1;
    this.leaveFirstStart();
    return Math.max(flow.cwnd * BETA, 2 * flow.mss);
  }

  /** §4.8: the next stage begins at its own plateau, wherever slow start ends. */
  timedOut(): void {
    this.epoch = -1;
    this.wMax = 0;
    this.leaveFirstStart();
  }

  private leaveFirstStart(): void {
    this.isFirstStart = false;
    this.hystart = undefined;
  }

  /** §4.9: unless the window has grown beyond what it was. */
  undone(flow: Flow): void {
    const { undo } = this;
    if (!undo || flow.cwnd >= undo.cwnd) return;
    const { cwnd, ssthresh, ...inner } = undo;
    flow.cwnd = cwnd;
    flow.ssthresh = ssthresh;
    Object.assign(this, inner);
    this.undo = undefined;
  }

  state(): Record<string, number> {
    return { W_max: this.wMax, K: this.k, W_est: this.wEst, css: this.hystart?.inCss ? 1 : 0 };
  }
}
