/**
 * NewReno (RFC 5681, RFC 6582): slow start, congestion avoidance by bytes that were acknowledged (RFC 3465), half on loss.
 * Half of the window, not of what is in flight (RFC 5681 §3.1): the window does not grow beyond what is used.
 */
import { type AckSample, type CongestionControl, type Flow, mayGrow } from "./control.ts";

export class Reno implements CongestionControl {
  readonly name: string = "reno";
  /** Bytes acknowledged towards the next segment of the window. */
  private credit = 0;
  private before = { cwnd: 0, ssthresh: 0 };

  acked(flow: Flow, sample: AckSample): void {
    if (sample.inRecovery || !mayGrow(flow)) return;
    if (flow.cwnd < flow.ssthresh) {
      flow.cwnd += Math.min(sample.delivered, Math.max(flow.ssthresh - flow.cwnd, flow.mss));
      return;
    }
    this.credit += sample.delivered;
    while (this.credit >= flow.cwnd) {
      this.credit -= flow.cwnd;
      flow.cwnd += flow.mss;
    }
  }

  reduce(flow: Flow): number {
    this.before.cwnd = flow.cwnd;
    this.before.ssthresh = flow.ssthresh;
    this.credit = 0;
    return Math.max(flow.cwnd / 2, 2 * flow.mss);
  }

  timedOut(): void {
    this.credit = 0;
  }

  undone(flow: Flow): void {
    flow.cwnd = Math.max(flow.cwnd, this.before.cwnd);
    flow.ssthresh = Math.max(flow.ssthresh, this.before.ssthresh);
  }

  state(): Record<string, number> {
    return { credit: this.credit };
  }
}
