/** What a congestion controller sees and steers: bytes, milliseconds. */
export interface Flow {
  cwnd: number;
  ssthresh: number;
  readonly mss: number;
  /** Bytes in flight. */
  readonly pipe: number;
  /** Bytes a second to pace at; 0: not paced. */
  pacingRate: number;
  /** The application, not the window, held the last flight back. */
  readonly appLimited: boolean;
}

/** What one acknowledgement brought. */
export interface AckSample {
  now: number;
  /** Bytes newly acknowledged or selectively acknowledged. */
  delivered: number;
  /** RTT of this acknowledgement, 0 when it gave none. */
  rtt: number;
  srtt: number;
  minRtt: number;
  inRecovery: boolean;
  /** The acknowledgement covers this; for round counting. */
  ackSeq: number;
  sendSeq: number;
}

/** One flow's controller. `name` is what `ss` shows. */
export interface CongestionControl {
  readonly name: string;
  /** An acknowledgement arrived outside or inside recovery. */
  acked(flow: Flow, sample: AckSample): void;
  /** Loss (or a CE mark): returns the window to fall to; the caller sets ssthresh and reduces. */
  reduce(flow: Flow, now: number): number;
  /** The retransmission timer expired. */
  timedOut(flow: Flow, now: number): void;
  /** A reduction turned out to be for nothing. */
  undone(flow: Flow): void;
  /** The connection was idle for a retransmission timeout. */
  idled?(flow: Flow, now: number): void;
  /** What is inside, by the names of its RFC or draft. */
  state(): Record<string, number | string>;
}

/** RFC 6928: at most ten segments of at most 14,600 bytes. */
export function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600));
}
