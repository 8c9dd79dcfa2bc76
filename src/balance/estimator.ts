/**
 * Rates as IPVS estimates them: every two seconds the rate of those two seconds moves the average by a quarter of the
 * difference. What is shown half settles within five seconds, and one burst does not make a rate.
 */
import { noTraffic, type Traffic } from "./plane.ts";

export const ESTIMATE_MS = 2000;
const GAIN = 0.25;

/** In ipvsadm's words. */
export interface Rates {
  readonly cps: number;
  readonly inPps: number;
  readonly outPps: number;
  readonly inBps: number;
  readonly outBps: number;
}

export class Estimator {
  private before: Traffic;
  private at: number;
  private readonly perSecond = noTraffic();

  constructor(traffic: Traffic, now: number) {
    this.before = traffic;
    this.at = now;
  }

  /** Tells the counters as they are now. */
  sample(traffic: Traffic, now: number): void {
    const seconds = (now - this.at) / 1000;
    if (seconds <= 0) return;
    for (const name of Object.keys(traffic) as (keyof Traffic)[]) {
      const rate = Math.max(0, traffic[name] - this.before[name]) / seconds;
      this.perSecond[name] += (rate - this.perSecond[name]) * GAIN;
    }
    this.before = traffic;
    this.at = now;
  }

  /** Bytes, not bits: "bps" is ipvsadm's. */
  get rates(): Rates {
    const { flows, inPackets, outPackets, inBytes, outBytes } = this.perSecond;
    return { cps: flows, inPps: inPackets, outPps: outPackets, inBps: inBytes, outBps: outBytes };
  }
}
