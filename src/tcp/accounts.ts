/**
 * What TCP_INFO counts besides what a connection needs itself; kept for owners that may ask. Three clocks (Linux's
 * tcp_chrono): data waits for its acknowledgement; of that time, the peer's window or the send buffer held the sender back.
 */
import type { SendMarks } from "./send-marks.ts";

export const IDLE = 0;
export const BUSY = 1;
export const BY_WINDOW = 2;
export const BY_BUFFER = 3;

export class Accounts {
  /** What is to be told of what leaves and arrives, if anything ever was. */
  marks: SendMarks | undefined;
  segmentsOut = 0;
  segmentsIn = 0;
  dataSegmentsOut = 0;
  dataSegmentsIn = 0;
  /** Of data, with repetitions; and of repetitions. */
  bytesSent = 0;
  bytesResent = 0;
  /** Times that a peer reported a duplicate (RFC 2883). */
  duplicateReports = 0;
  /** Retransmission timeouts. */
  timeouts = 0;
  private state = IDLE;
  private since = 0;
  private busy = 0;
  private byWindow = 0;
  private byBuffer = 0;

  /** Is the send buffer what is waited for? */
  get isByBuffer(): boolean {
    return this.state === BY_BUFFER;
  }

  /** From now on one of IDLE, BUSY, BY_WINDOW, BY_BUFFER. */
  enter(state: number, now: number): void {
    if (state === this.state) return;
    this.settle(now);
    this.state = state;
  }

  private settle(now: number): void {
    const spent = now - this.since;
    if (this.state !== IDLE) this.busy += spent;
    if (this.state === BY_WINDOW) this.byWindow += spent;
    if (this.state === BY_BUFFER) this.byBuffer += spent;
    this.since = now;
  }

  /** Milliseconds so far. */
  times(now: number): { busy: number; byWindow: number; byBuffer: number } {
    this.settle(now);
    return { busy: this.busy, byWindow: this.byWindow, byBuffer: this.byBuffer };
  }

  /** A segment, or several in one, has left. */
  departed(segments: number, length: number): void {
    this.segmentsOut += segments;
    if (length === 0) return;
    this.dataSegmentsOut += segments;
    this.bytesSent += length;
  }

  arrived(length: number, piece: number): void {
    const segments = length > 0 ? Math.max(1, Math.ceil(length / Math.max(piece, 1))) : 1;
    this.segmentsIn += segments;
    if (length > 0) this.dataSegmentsIn += segments;
  }
}
