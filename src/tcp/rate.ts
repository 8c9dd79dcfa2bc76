/**
 * Delivery rate (draft-ietf-ccwg-bbr §4.1, before it draft-cheng-iccrg-delivery-rate-estimation): each segment remembers
 * what had arrived when it left; when it arrives, the difference over the longer of the two times, sending and
 * acknowledging, is what the path delivers.
 */
import type { AckSample } from "./congestion/control.ts";
import { type SentRecord, sentLater } from "./scoreboard.ts";

/** The newest segment of the acknowledgement in hand: one for all connections, acknowledgements do not nest. */
const newest = {
  known: false,
  order: 0,
  end: 0,
  priorDelivered: 0,
  sendElapsed: 0,
  ackElapsed: 0,
  txInFlight: 0,
  priorLost: 0,
  limited: false,
};

export class RateSampler {
  /** Bytes that arrived, ever; when the last of them did. */
  delivered = 0;
  lost = 0;
  /** The last sample, bytes a second; 0 before the first. */
  latest = 0;
  private deliveredAt = 0;
  /** When the segment left that arrived most recently. */
  private firstSentAt = 0;
  /** `delivered` when the last segment arrives that left while the application had no more; 0: none is on the way. */
  private limitedUntil = 0;

  get appLimited(): boolean {
    return this.limitedUntil !== 0;
  }

  /** The application has nothing more: what is in flight says nothing of the path's rate. */
  markAppLimited(pipe: number): void {
    this.limitedUntil = Math.max(this.delivered + pipe, 1);
  }

  /** A record leaves, for the first time or again; `pipe` counts it already. */
  sent(record: SentRecord, pipe: number, bytes: number, now: number): void {
    if (pipe <= bytes) this.firstSentAt = this.deliveredAt = now;
    record.firstSentAt = this.firstSentAt;
    record.deliveredAt = this.deliveredAt;
    record.delivered = this.delivered;
    record.priorLost = this.lost;
    record.txInFlight = pipe;
    record.appLimited = this.limitedUntil !== 0;
  }

  /** An acknowledgement begins. */
  begin(): void {
    newest.known = false;
  }

  /** It covers this record, with so many bytes of data. */
  arrived(record: SentRecord, bytes: number, now: number): void {
    this.delivered += bytes;
    this.deliveredAt = now;
    if (newest.known && !sentLater(record.order, record.end, newest.order, newest.end)) return;
    newest.known = true;
    newest.order = record.order;
    newest.end = record.end;
    newest.priorDelivered = record.delivered;
    newest.sendElapsed = record.sentAt - record.firstSentAt;
    newest.ackElapsed = now - record.deliveredAt;
    newest.txInFlight = record.txInFlight;
    newest.priorLost = record.priorLost;
    newest.limited = record.appLimited;
    this.firstSentAt = record.sentAt;
  }

  /** What the acknowledgement says of the rate, after all its records have arrived. */
  finish(sample: AckSample, minRtt: number): void {
    if (this.limitedUntil !== 0 && this.delivered > this.limitedUntil) this.limitedUntil = 0;
    sample.rate = sample.interval = sample.rateDelivered = sample.txInFlight = sample.lostSince = 0;
    sample.priorDelivered = -1;
    sample.appLimited = this.limitedUntil !== 0;
    if (!newest.known) return;
    sample.priorDelivered = newest.priorDelivered;
    sample.rateDelivered = this.delivered - newest.priorDelivered;
    sample.txInFlight = newest.txInFlight;
    sample.lostSince = this.lost - newest.priorLost;
    sample.appLimited = newest.limited;
    const interval = Math.max(newest.sendElapsed, newest.ackElapsed);
    // Shorter than any round trip: the acknowledgement was of the original, not of what was sent again.
    if (interval < minRtt || interval <= 0) return;
    sample.interval = interval;
    sample.rate = this.latest = (sample.rateDelivered * 1000) / interval;
  }
}
