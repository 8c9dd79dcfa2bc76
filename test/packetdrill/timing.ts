/** When events are to happen, and whether they did: absolute, relative and in ranges, with a tolerance. Milliseconds. */
import type { Config } from "./config.ts";
import { type EventTime, Mismatch } from "./script.ts";

export class Timing {
  /** The script's zero on the run's clock. */
  start = 0;
  /** Of the event in hand, on the run's clock; `until` is later for ranges. */
  at = 0;
  until = 0;
  private kind: EventTime["kind"] = "now";
  private base = 0;
  private before: number | undefined;
  private beforeWasInbound = false;
  private readonly config: Config;
  private readonly now: () => number;

  constructor(config: Config, now: () => number) {
    this.config = config;
    this.now = now;
  }

  begin(): void {
    this.start = this.now();
  }

  /** Goes on to the next event. Relative times count from now; from one inbound packet to the next, from its time. */
  next(time: EventTime, isInbound: boolean): void {
    const last = this.kind === "now" ? undefined : this.at;
    const from = this.beforeWasInbound && isInbound && last !== undefined ? last : this.now();
    const base = time.kind.startsWith("relative") ? from : this.start;
    this.base = base;
    this.before = last;
    this.kind = time.kind;
    this.at = "at" in time ? base + time.at : "from" in time ? base + time.from : this.now();
    this.until = "to" in time ? base + time.to : this.at;
    this.beforeWasInbound = isInbound;
  }

  get isFree(): boolean {
    return this.kind === "any";
  }

  /** A share of the time since the event before, when that is more. */
  private get tolerance(): number {
    const since = this.before === undefined ? 0 : this.at - this.before;
    return Math.max(this.config.tolerance, (this.config.tolerancePercent / 100) * since);
  }

  verify(at: number, what: string): void {
    const error = this.error(at);
    if (error) throw new Mismatch(`${what}: ${error}`);
  }

  /** What is wrong with an event at this time. */
  error(at: number): string | undefined {
    if (this.isFree || this.kind === "now") return undefined;
    // A little room for what floating point makes of milliseconds.
    const tolerance = this.tolerance + 1e-6;
    if (at >= this.at - tolerance && at <= this.until + tolerance) return undefined;
    const expected = this.until > this.at ? `${this.show(this.at)}~${this.show(this.until)}` : this.show(this.at);
    return `time: expected ${expected} s, got ${this.show(at)} s (tolerance ${(this.tolerance / 1000).toFixed(3)} s)`;
  }

  /** The end of a call of the event in hand, on the run's clock: counted from where the event's own time is. */
  endOf(end: number): number {
    return this.base + end;
  }

  /** Is the end of a call that began at `began` where the script says? */
  endError(began: number, end: number, at: number): string | undefined {
    const tolerance = Math.max(this.config.tolerance, (this.config.tolerancePercent / 100) * (end - began)) + 1e-6;
    return Math.abs(at - end) <= tolerance ? undefined : `time: expected to return at ${this.show(end)} s, got ${this.show(at)} s`;
  }

  /** Seconds of the script. */
  show(at: number): string {
    return ((at - this.start) / 1000).toFixed(6);
  }

  /** For the clock of TCP timestamps the whole time counts. */
  get timestampTolerance(): number {
    return Math.max(this.config.tolerance, (this.config.tolerancePercent / 100) * (this.at - this.start));
  }
}
