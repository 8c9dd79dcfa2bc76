/** NewReno: slow start, congestion avoidance, half on loss (RFC 5681, RFC 3465 with L = 2 segments per ACK's worth). */
import { type AckSample, type CongestionControl, type Flow, mayGrow } from "./control.ts";

export class Reno implements CongestionControl {
  readonly name = "reno";
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
    this.before = { cwnd: flow.cwnd, ssthresh: flow.ssthresh };
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
    return {};
  }
}
