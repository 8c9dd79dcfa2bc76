/**
 * What was sent and not yet acknowledged: one record for each transmission unit (up to a large segment), in sequence
 * order, split where a SACK block or a loss cuts through. Records are recycled: none is made in steady state.
 */
import { after, distance } from "./sequence.ts";

export class SentRecord {
  start = 0;
  end = 0;
  /** When it was last sent (ms), and the bytes of each segment but the last. */
  sentAt = 0;
  /** Which departure of the connection that was. */
  order = 0;
  size = 0;
  sacked = false;
  lost = false;
  /** Deemed lost at least once. */
  wasLost = false;
  retransmitted = false;
  /** Segments in it when it was SACKed. */
  segments = 0;
  /** Counted in the pipe. */
  inFlight = false;
  isSyn = false;
  isFin = false;
  /** The application's data ended here when it was sent. */
  pushes = false;
  // What rate.ts noted when it was last sent.
  firstSentAt = 0;
  deliveredAt = 0;
  delivered = 0;
  priorLost = 0;
  txInFlight = 0;
  appLimited = false;
  next: SentRecord | undefined;
  prev: SentRecord | undefined;
}

/**
 * Was the first sent after the second? By the order of departures, within one of them by sequence number (RFC 8985 §6.1).
 * Not by time: new data and a retransmission of older leave within one reading of the clock, in either order.
 */
export function sentLater(order: number, end: number, otherOrder: number, otherEnd: number): boolean {
  return order > otherOrder || (order === otherOrder && after(end, otherEnd));
}

/** Spare records, shared by all connections of a host. */
const spare: SentRecord[] = [];
const MOST_SPARE = 4096;

/** Segments of a record: a SYN or a FIN alone is one. */
export function segmentsOf(record: SentRecord): number {
  return Math.max(1, Math.ceil((distance(record.end, record.start) - (record.isFin ? 1 : 0)) / record.size));
}

export class Scoreboard {
  first: SentRecord | undefined;
  last: SentRecord | undefined;
  /** Bytes in flight: sent, and neither acknowledged, SACKed nor deemed lost. */
  pipe = 0;
  sackedBytes = 0;
  sackedSegments = 0;
  lostBytes = 0;
  private departures = 0;

  append(start: number, end: number, now: number, size: number): SentRecord {
    const record = spare.pop() ?? new SentRecord();
    record.start = start;
    record.end = end;
    record.sentAt = now;
    record.order = ++this.departures;
    record.size = size;
    record.sacked = record.lost = record.wasLost = record.retransmitted = record.isSyn = record.isFin = record.pushes = false;
    record.inFlight = true;
    record.next = undefined;
    record.prev = this.last;
    if (this.last) this.last.next = record;
    else this.first = record;
    this.last = record;
    this.pipe += distance(end, start);
    return record;
  }

  /** Cuts a record in two at `seq`; the second half is its `next`. */
  split(record: SentRecord, seq: number): SentRecord {
    const rest = spare.pop() ?? new SentRecord();
    rest.start = seq;
    rest.end = record.end;
    rest.sentAt = record.sentAt;
    rest.order = record.order;
    rest.size = record.size;
    rest.sacked = record.sacked;
    rest.segments = 0;
    rest.lost = record.lost;
    rest.wasLost = record.wasLost;
    rest.retransmitted = record.retransmitted;
    rest.inFlight = record.inFlight;
    rest.isFin = record.isFin;
    rest.pushes = record.pushes;
    rest.isSyn = false;
    rest.firstSentAt = record.firstSentAt;
    rest.deliveredAt = record.deliveredAt;
    rest.delivered = record.delivered;
    rest.priorLost = record.priorLost;
    rest.appLimited = record.appLimited;
    // The first half left before the second.
    rest.txInFlight = record.txInFlight;
    record.txInFlight -= distance(rest.end, seq);
    rest.prev = record;
    rest.next = record.next;
    if (record.next) record.next.prev = rest;
    else this.last = rest;
    record.next = rest;
    record.end = seq;
    record.isFin = record.pushes = false;
    return rest;
  }

  /** Forgets a record that was acknowledged. */
  remove(record: SentRecord): void {
    const bytes = distance(record.end, record.start);
    if (record.inFlight) this.pipe -= bytes;
    if (record.sacked) this.unsack(record, bytes);
    if (record.lost) this.lostBytes -= bytes;
    if (record.prev) record.prev.next = record.next;
    else this.first = record.next;
    if (record.next) record.next.prev = record.prev;
    else this.last = record.prev;
    record.next = record.prev = undefined;
    if (spare.length < MOST_SPARE) spare.push(record);
  }

  private unsack(record: SentRecord, bytes: number): void {
    this.sackedBytes -= bytes;
    this.sackedSegments -= record.segments;
  }

  markSacked(record: SentRecord): void {
    const bytes = distance(record.end, record.start);
    if (record.inFlight) this.pipe -= bytes;
    if (record.lost) this.lostBytes -= bytes;
    record.inFlight = record.lost = false;
    record.sacked = true;
    this.sackedBytes += bytes;
    record.segments = segmentsOf(record);
    this.sackedSegments += record.segments;
  }

  markLost(record: SentRecord): void {
    if (record.lost || record.sacked) return;
    const bytes = distance(record.end, record.start);
    if (record.inFlight) this.pipe -= bytes;
    record.inFlight = false;
    record.lost = record.wasLost = true;
    this.lostBytes += bytes;
  }

  /** It was not lost after all. */
  unmarkLost(record: SentRecord): void {
    const bytes = distance(record.end, record.start);
    this.lostBytes -= bytes;
    this.pipe += bytes;
    record.lost = record.wasLost = false;
    record.inFlight = true;
  }

  /** A record goes out once more, in segments of `size` bytes. */
  markResent(record: SentRecord, now: number, size: number): void {
    const bytes = distance(record.end, record.start);
    if (record.lost) this.lostBytes -= bytes;
    if (!record.inFlight) this.pipe += bytes;
    record.lost = false;
    record.inFlight = true;
    record.retransmitted = true;
    record.sentAt = now;
    record.order = ++this.departures;
    record.size = size;
  }

  /** What the receiver said it had, it may have thrown away (RFC 2018 §8): after a timeout nothing is believed. */
  forgetSacks(): void {
    for (let record = this.first; record; record = record.next) {
      if (!record.sacked) continue;
      record.sacked = false;
      this.unsack(record, distance(record.end, record.start));
    }
  }

  firstLost(): SentRecord | undefined {
    if (this.lostBytes === 0) return undefined;
    for (let record = this.first; record; record = record.next) if (record.lost) return record;
    return undefined;
  }

  clear(): void {
    while (this.first) this.remove(this.first);
  }
}
