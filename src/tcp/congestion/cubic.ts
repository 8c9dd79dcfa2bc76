/** CUBIC (RFC 9438) with HyStart++ (RFC 9406). Windows in bytes here, in segments inside the cubic function. */
import { type AckSample, type CongestionControl, type Flow, mayGrow } from "./control.ts";
import { HyStart } from "./hystart.ts";

/** RFC 9438 §4.1, §4.6. */
const C = 0.4;
const BETA = 0.7;
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

export class Cubic implements CongestionControl {
  readonly name = "cubic";
  private wMax = 0;
  private k = 0;
  private origin = 0;
  private epoch = -1;
  private wEst = 0;
  private cwndPrior = 0;
  private hystart: HyStart | undefined = new HyStart();
  private saved = { cwnd: 0, ssthresh: 0, wMax: 0, k: 0, origin: 0, epoch: -1, cwndPrior: 0 };

  acked(flow: Flow, sample: AckSample): void {
    if (sample.inRecovery) return;
    if (flow.cwnd < flow.ssthresh) {
      this.slowStart(flow, sample);
      return;
    }
    // Time in which the application did not fill the window does not count (RFC 9438 §5.8).
    if (!mayGrow(flow)) {
      if (this.epoch >= 0) this.epoch += Math.min(sample.rtt, sample.srtt);
      return;
    }
    this.avoid(flow, sample);
  }

  private slowStart(flow: Flow, sample: AckSample): void {
    const divisor = this.hystart?.acked(sample.ackSeq, sample.sendSeq, sample.rtt) ?? 1;
    if (divisor === 0) {
      flow.ssthresh = flow.cwnd;
      this.hystart = undefined;
      return;
    }
    if (!mayGrow(flow)) return;
    flow.cwnd += Math.min(sample.delivered / divisor, Math.max(flow.ssthresh - flow.cwnd, flow.mss));
  }

  private avoid(flow: Flow, sample: AckSample): void {
    const cwnd = flow.cwnd / flow.mss;
    if (this.epoch < 0) this.begin(cwnd, sample.now);
    const t = (sample.now - this.epoch) / 1000;
    const rtt = sample.srtt / 1000;
    this.wEst += ((cwnd >= this.cwndPrior ? 1 : ALPHA) * (sample.delivered / flow.mss)) / cwnd;
    const cubic = C * (t - this.k) ** 3 + this.origin;
    if (cubic < this.wEst) {
      // The Reno-friendly region (§4.3).
      flow.cwnd = Math.max(flow.cwnd, this.wEst * flow.mss);
      return;
    }
    const target = Math.min(Math.max(C * (t + rtt - this.k) ** 3 + this.origin, cwnd), 1.5 * cwnd);
    flow.cwnd += ((target - cwnd) / cwnd) * sample.delivered;
  }

  /** Begins an epoch at the present window (§4.2). */
  private begin(cwnd: number, now: number): void {
    this.epoch = now;
    if (cwnd < this.wMax) {
      this.k = Math.cbrt((this.wMax - cwnd) / C);
      this.origin = this.wMax;
    } else {
      this.k = 0;
      this.origin = cwnd;
    }
    this.wEst = cwnd;
  }

  reduce(flow: Flow): number {
    this.saved = {
      cwnd: flow.cwnd,
      ssthresh: flow.ssthresh,
      wMax: this.wMax,
      k: this.k,
      origin: this.origin,
      epoch: this.epoch,
      cwndPrior: this.cwndPrior,
    };
    const cwnd = flow.cwnd / flow.mss;
    // Fast convergence (§4.7): a smaller peak than last time leaves room for newcomers.
    this.wMax = cwnd < this.wMax ? (cwnd * (1 + BETA)) / 2 : cwnd;
    this.cwndPrior = cwnd;
    this.epoch = -1;
    this.hystart = undefined;
    return Math.max(flow.cwnd * BETA, 2 * flow.mss);
  }

  timedOut(): void {
    this.epoch = -1;
    this.hystart = undefined;
  }

  undone(flow: Flow): void {
    const { cwnd, ssthresh, ...inner } = this.saved;
    flow.cwnd = Math.max(flow.cwnd, cwnd);
    flow.ssthresh = Math.max(flow.ssthresh, ssthresh);
    Object.assign(this, inner);
  }

  idled(_flow: Flow, now: number): void {
    if (this.epoch >= 0) this.epoch = now;
  }

  state(): Record<string, number> {
    return { W_max: this.wMax, K: this.k, W_est: this.wEst, css: this.hystart?.inCss ? 1 : 0 };
  }
}
