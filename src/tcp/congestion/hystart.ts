/** HyStart++ (RFC 9406): leaves slow start when the RTT of a round rises, by way of conservative slow start. */
const MIN_RTT_THRESH = 4;
const MAX_RTT_THRESH = 16;
const MIN_RTT_DIVISOR = 8;
const N_RTT_SAMPLE = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

export class HyStart {
  inCss = false;
  private roundEnd = 0;
  private started = false;
  private lastMin = Number.POSITIVE_INFINITY;
  private currentMin = Number.POSITIVE_INFINITY;
  private samples = 0;
  private cssBaseline = Number.POSITIVE_INFINITY;
  private cssRounds = 0;

  /** Divisor of slow start's growth (1, or 4 in conservative slow start); 0 when slow start is over. */
  acked(ackSeq: number, sendSeq: number, rtt: number): number {
    if (!this.started || ((ackSeq - this.roundEnd) | 0) >= 0) {
      this.started = true;
      this.roundEnd = sendSeq;
      this.lastMin = this.currentMin;
      this.currentMin = Number.POSITIVE_INFINITY;
      this.samples = 0;
      if (this.inCss && ++this.cssRounds >= CSS_ROUNDS) return 0;
    }
    if (rtt > 0) {
      this.currentMin = Math.min(this.currentMin, rtt);
      this.samples++;
    }
    if (this.inCss) {
      if (this.samples >= N_RTT_SAMPLE && this.currentMin < this.cssBaseline) {
        this.inCss = false;
        this.cssBaseline = Number.POSITIVE_INFINITY;
      }
    } else if (this.samples >= N_RTT_SAMPLE && Number.isFinite(this.currentMin) && Number.isFinite(this.lastMin)) {
      const threshold = Math.max(MIN_RTT_THRESH, Math.min(this.lastMin / MIN_RTT_DIVISOR, MAX_RTT_THRESH));
      if (this.currentMin >= this.lastMin + threshold) {
        this.inCss = true;
        this.cssBaseline = this.currentMin;
        this.cssRounds = 0;
      }
    }
    return this.inCss ? CSS_GROWTH_DIVISOR : 1;
  }
}
