/**
 * Polling on the calling thread: busy under load, asleep when idle, and never in the way of the program's
 * own timers and I/O. A slice of work ends with a macrotask; empty slices lengthen the pause.
 */
import type { Clock } from "../base/clock.ts";

export type RunnerState = "stopped" | "polling" | "sleeping";

/** Longest stretch (ms) without giving the event loop a turn. */
const SLICE_MS = 1;
/** Empty turns before the first sleep, and the longest sleep (ms). */
const EMPTY_TURNS = 64;
const LONGEST_SLEEP_MS = 8;

export class Runner {
  private readonly clock: Clock;
  private readonly work: () => number;
  private current: RunnerState = "stopped";
  private finished: Promise<void> = Promise.resolve();
  private interrupt: (() => void) | undefined;
  /** How often the runner went to sleep. */
  sleeps = 0;

  constructor(clock: Clock, work: () => number) {
    this.clock = clock;
    this.work = work;
  }

  get state(): RunnerState {
    return this.current;
  }

  start(): void {
    if (this.current !== "stopped") return;
    this.current = "polling";
    this.finished = this.loop();
  }

  async stop(): Promise<void> {
    this.current = "stopped";
    this.wake();
    await this.finished;
  }

  /** Ends a sleep early: there is something to do. */
  wake(): void {
    this.interrupt?.();
  }

  private async loop(): Promise<void> {
    let empty = 0;
    while (this.isRunning()) {
      if (this.slice()) {
        empty = 0;
        await this.clock.turn();
      } else if (++empty < EMPTY_TURNS) await this.clock.turn();
      else await this.nap(Math.min(2 ** (empty - EMPTY_TURNS), LONGEST_SLEEP_MS));
    }
  }

  // A method, so that the compiler does not believe the state cannot change across an await.
  private isRunning(): boolean {
    return this.current !== "stopped";
  }

  /** Works until there is nothing left or the slice is over; true if there was something. */
  private slice(): boolean {
    const end = this.clock.now() + SLICE_MS;
    let worked = false;
    do {
      if (this.work() === 0) break;
      worked = true;
    } while (this.clock.now() < end);
    return worked;
  }

  private async nap(ms: number): Promise<void> {
    this.current = "sleeping";
    this.sleeps++;
    const woken = new Promise<void>((resolve) => {
      this.interrupt = resolve;
    });
    await Promise.race([this.clock.sleep(ms), woken]);
    this.interrupt = undefined;
    if (this.isRunning()) this.current = "polling";
  }
}
