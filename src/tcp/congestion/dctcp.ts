/**
 * DCTCP (RFC 8257), for data centers whose switches mark early: the window shrinks by the share of bytes that were marked,
 * not by half. Losses, growth and what a receiver without marks sees are Reno's.
 */
import type { AckSample, Flow } from "./control.ts";
import { Reno } from "./reno.ts";

/** §4.2: weight of the newest window in the estimate. */
const G = 1 / 16;

export class Dctcp extends Reno {
  override readonly name = "dctcp";
  readonly ecn = "ect0";
  readonly usesEcn = true;
  /** Estimate of the share that is marked; at first the worst (§3.3). */
  private alpha = 1;
  private windowBytes = 0;
  private windowMarked = 0;
  private windowEnd = 0;
  private hasWindow = false;
  /** Until this is acknowledged the window was reduced already and does not grow (RFC 3168 §6.1.2). */
  private reducedUntil = 0;
  private isReduced = false;

  override acked(flow: Flow, sample: AckSample): void {
    this.estimate(sample);
    if (this.isReduced && ((sample.ackSeq - this.reducedUntil) | 0) >= 0) this.isReduced = false;
    if (sample.ce > 0 && !this.isReduced && !sample.inRecovery) {
      this.isReduced = true;
      this.reducedUntil = sample.sendSeq;
      flow.cwnd = flow.ssthresh = Math.max(flow.cwnd * (1 - this.alpha / 2), 2 * flow.mss);
    }
    if (!this.isReduced) super.acked(flow, sample);
  }

  /** Once in a window (§3.3, steps 1–8). */
  private estimate(sample: AckSample): void {
    if (!this.hasWindow) {
      this.hasWindow = true;
      this.windowEnd = sample.sendSeq;
    }
    this.windowBytes += sample.delivered;
    this.windowMarked += sample.ce;
    if (((sample.ackSeq - this.windowEnd) | 0) < 0 || this.windowBytes === 0) return;
    this.alpha += G * (this.windowMarked / this.windowBytes - this.alpha);
    this.windowBytes = this.windowMarked = 0;
    this.windowEnd = sample.sendSeq;
  }

  override state(): Record<string, number> {
    return { ...super.state(), alpha: this.alpha, window_bytes: this.windowBytes, window_marked: this.windowMarked };
  }
}
