/** Round-trip time and retransmission timeout (RFC 6298), with the smallest RTT of the last minutes. Milliseconds. */
const RTO_INITIAL = 1000;
/** Linux's TCP_RTO_MIN; RFC 6298 §2.4 says a second "until research shows otherwise", and §5 of RFC 8961 allows less. */
export const RTO_MIN = 200;
/** Before a first measurement, when a SYN had to be repeated. */
const RTO_AFTER_SYN = 3000;
/** Linux's TCP_RTO_MAX. */
export const RTO_MAX = 120_000;
const MIN_WINDOW = 300_000;

export class RttEstimator {
  /** Smoothed RTT, 0 before the first measurement. */
  srtt = 0;
  rttvar = 0;
  rto = RTO_INITIAL;
  min = Number.POSITIVE_INFINITY;
  latest = 0;
  private minAt = 0;
  private initial = RTO_INITIAL;
  /** What the variance term adds at least, and the timeout at most. */
  least: number;
  most: number;

  constructor(least = RTO_MIN, most = RTO_MAX) {
    this.least = least;
    this.most = most;
  }

  sample(rtt: number, now: number): void {
    this.latest = rtt;
    if (rtt < this.min || now - this.minAt > MIN_WINDOW) {
      this.min = rtt;
      this.minAt = now;
    }
    if (this.srtt === 0) {
      this.srtt = Math.max(rtt, 0.001);
      this.rttvar = rtt / 2;
    } else {
      this.rttvar = 0.75 * this.rttvar + 0.25 * Math.abs(this.srtt - rtt);
      this.srtt = 0.875 * this.srtt + 0.125 * rtt;
    }
    this.reset();
  }

  /** The timeout without back-off; the variance term is at least `least`, as in Linux. */
  reset(): void {
    const rto = this.srtt === 0 ? this.initial : this.srtt + Math.max(4 * this.rttvar, this.least);
    this.rto = Math.min(rto, this.most);
  }

  /** The timeout was too short for a SYN: without a measurement data begins with more (RFC 6298 §5.7). */
  synRepeated(): void {
    this.initial = RTO_AFTER_SYN;
  }

  backOff(): void {
    this.rto = Math.min(this.rto * 2, this.most);
  }
}
