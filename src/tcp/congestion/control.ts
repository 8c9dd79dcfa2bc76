/**
 * The interface of congestion controllers: what one sees and steers. Bytes, milliseconds, and bytes a second. Objects
 * passed in are the caller's and are used again for the next call.
 */
const LARGEST_QUANTUM = 65_536;

export interface Flow {
  cwnd: number;
  ssthresh: number;
  /** Bytes a second to pace at; 0: not paced. */
  pacingRate: number;
  readonly mss: number;
  /** Bytes in flight: sent, and neither acknowledged, SACKed nor deemed lost. */
  readonly pipe: number;
  /** The window, not the application, the peer or pacing, held the last flight back. */
  readonly cwndLimited: boolean;
  /** Most bytes that were in flight in the last round trip. */
  readonly usedMost: number;
  readonly inRecovery: boolean;
  readonly now: number;
  readonly sackOk: boolean;
  /** Bytes that arrived and bytes deemed lost since the connection began. */
  readonly delivered: number;
  readonly lost: number;
  /** Smoothed RTT, 0 while none was measured. */
  readonly srtt: number;
  /** The application had nothing more to send, and what left before that is still in flight. */
  readonly appLimited: boolean;
  /** Rate samples say nothing until what is in flight now has arrived. */
  markAppLimited(): void;
  /** From 0 to 1, from the host's seeded generator. */
  random(): number;
}

/** What one acknowledgement brought. */
export interface AckSample {
  now: number;
  /** Bytes newly acknowledged or selectively acknowledged. */
  delivered: number;
  /** Bytes newly deemed lost. */
  lost: number;
  /** Of `delivered`, bytes that routers had marked (ECN's CE). */
  ce: number;
  /** RTT of this acknowledgement, 0 when it gave none. */
  rtt: number;
  srtt: number;
  minRtt: number;
  inRecovery: boolean;
  /** The acknowledgement covers this; for round counting. */
  ackSeq: number;
  sendSeq: number;

  // ── Delivery rate (draft-ietf-ccwg-bbr §4.1), by the newest segment that this acknowledgement covers ──
  /** Bytes a second; 0 when there is no reliable sample. */
  rate: number;
  /** Time that the sample spans, and the bytes that arrived in it. */
  interval: number;
  rateDelivered: number;
  /** `Flow.delivered` when that segment left; -1 when nothing arrived. */
  priorDelivered: number;
  /** Bytes in flight when it left, itself included. */
  txInFlight: number;
  /** Bytes deemed lost since it left. */
  lostSince: number;
  /** It left while the application had nothing more to send. */
  appLimited: boolean;
}

/** A segment that is deemed lost, as it was when it left. */
export interface LostSegment {
  readonly txInFlight: number;
  /** `Flow.lost` then. */
  readonly priorLost: number;
  readonly appLimited: boolean;
}

/** One flow's controller. `name` is what `ss` shows. */
export interface CongestionControl {
  readonly name: string;
  /** It sets window and pacing rate itself, always: nobody reduces for it, and `acked` is called in recovery too. */
  readonly steers?: boolean;
  /**
   * It wants every mark: ECN is asked for, all segments say so by this codepoint (RFC 3168 §5, RFC 9331), and as receiver
   * it echoes each mark (RFC 8257 §3.2). Absent: ECN as the connection's options have it.
   */
  readonly ecn?: "ect0" | "ect1";
  /** It answers marks itself, by `AckSample.ce`; otherwise a mark is a `reduce`, once in a window (RFC 3168 §6.1.2). */
  readonly usesEcn?: boolean;
  /** An acknowledgement arrived outside or inside recovery. */
  acked(flow: Flow, sample: AckSample): void;
  /** A segment of `bytes` is deemed lost; it is counted in `flow.lost` already. */
  segmentLost?(flow: Flow, segment: LostSegment, bytes: number): void;
  /** Loss (or a CE mark): returns the window to fall to; the caller sets ssthresh and reduces, unless it `steers`. */
  reduce(flow: Flow, now: number): number;
  /** The retransmission timer expired. */
  timedOut(flow: Flow, now: number): void;
  /** Everything that was lost has arrived. */
  recovered?(flow: Flow, now: number): void;
  /** A reduction turned out to be for nothing. */
  undone(flow: Flow): void;
  /** The connection was idle for a retransmission timeout. */
  idled?(flow: Flow, now: number): void;
  /** Data is about to leave while none is in flight. */
  starting?(flow: Flow, now: number): void;
  /** What is inside, by the names of its RFC or draft. */
  state(): Record<string, number | string>;
}

/**
 * Has the window been used, so that it may grow (RFC 9438 §5.8, RFC 7661)? In slow start it may be twice what was in
 * flight: at the pace of slow start that is what the next round trip needs (Linux's tcp_is_cwnd_limited).
 */
export function mayGrow(flow: Flow): boolean {
  return flow.cwndLimited || (flow.cwnd < flow.ssthresh && flow.cwnd < 2 * flow.usedMost);
}

/** Most bytes that leave as one unit: what the pace gives in a millisecond, at least two segments, at most 64 KiB. */
export function sendQuantum(flow: Flow): number {
  if (flow.pacingRate === 0) return LARGEST_QUANTUM;
  return Math.max(Math.min(flow.pacingRate / 1000, LARGEST_QUANTUM), 2 * flow.mss);
}

/** RFC 6928: at most ten segments of at most 14,600 bytes. */
export function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600));
}

/** A sample that says nothing, to be filled in. */
export function emptySample(): AckSample {
  return {
    now: 0,
    delivered: 0,
    lost: 0,
    ce: 0,
    rtt: 0,
    srtt: 0,
    minRtt: 0,
    inRecovery: false,
    ackSeq: 0,
    sendSeq: 0,
    rate: 0,
    interval: 0,
    rateDelivered: 0,
    priorDelivered: -1,
    txInFlight: 0,
    lostSince: 0,
    appLimited: false,
  };
}
