/**
 * Polling on the calling thread: busy under load, asleep when idle, and never in the way of the program's
 * own timers and I/O. A slice of work ends with a macrotask; empty slices lengthen the pause.
 */
import type { Clock } from "../base/clock.ts";

export type RunnerState = "stopped" | "polling" | "sleeping" | "failed";

/** Longest stretch (ms) without giving the event loop a turn. */
const SLICE_MS = 1;
/** Empty turns before the first sleep, and the longest sleep (ms). */
const EMPTY_TURNS = 64;
const LONGEST_SLEEP_MS = 8;
/** A runtime's timers are no finer than this. */
const SHORTEST_SLEEP_MS = 1;

export class Runner {
  private readonly clock: Clock;
  private readonly work: () => number;
  private readonly next: () => number;
  private current: RunnerState = "stopped";
  private finished: Promise<void> = Promise.resolve();
  /** A stop that nobody awaited must not leave two loops behind the next start. */
  private generation = 0;
  private interrupt: (() => void) | undefined;
  /** The process lives as long as this polls. */
  private keeps = true;
  private holds = 0;
  /** How often the runner went to sleep. */
  sleeps = 0;

  /** `next`: when there will be work without anybody's doing (ms of the clock). */
  constructor(clock: Clock, work: () => number, next: () => number = () => Number.POSITIVE_INFINITY) {
    this.clock = clock;
    this.work = work;
    this.next = next;
  }

  get state(): RunnerState {
    return this.current;
  }

  start(): void {
    if (this.current === "polling" || this.current === "sleeping") return;
    this.current = "polling";
    const before = this.finished;
    const generation = ++this.generation;
    this.finished = before.then(() => this.loop(generation));
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

  /** With false the process may end while this polls, unless somebody holds it. */
  keepAlive(on: boolean): void {
    this.keeps = on;
    this.hasten();
  }

  /** Something is open that the process should wait for: +1, or −1 when it is no longer. */
  hold(change: 1 | -1): void {
    this.holds += change;
    if (change > 0 && this.holds === 1) this.hasten();
  }

  private get isKept(): boolean {
    return this.keeps || this.holds > 0;
  }

  /** The wait that is going on may not keep the process: another one does, until the loop comes round. */
  private hasten(): void {
    if (!this.isRunning() || !this.isKept) return;
    void this.clock.turn();
    this.wake();
  }

  private async loop(generation: number): Promise<void> {
    const goesOn = () => this.isRunning() && generation === this.generation;
    let empty = 0;
    while (goesOn()) {
      const worked = await this.sliceOrFail(goesOn);
      empty = worked ? 0 : empty + 1;
      // Whoever was told of something may have stopped it.
      if (!goesOn()) return;
      if (empty < EMPTY_TURNS) await this.clock.turn(this.isKept);
      else await this.rest(Math.min(2 ** (empty - EMPTY_TURNS), LONGEST_SLEEP_MS));
    }
  }

  // A method, so that the compiler does not believe the state cannot change across an await.
  private isRunning(): boolean {
    return this.current !== "stopped" && this.current !== "failed";
  }

  /**
   * Works until there is nothing left or the slice is over; true if there was something. Between rounds the program's
   * promises run, so that what it answers goes on in the same slice.
   */
  private async slice(goesOn: () => boolean): Promise<boolean> {
    const end = this.clock.now() + SLICE_MS;
    let worked = false;
    do {
      if (this.work() === 0) break;
      worked = true;
      await this.clock.breath?.();
    } while (goesOn() && this.clock.now() < end);
    return worked;
  }

  /** An error of a device or a handler ends the loop and is the program's to see. */
  private async sliceOrFail(goesOn: () => boolean): Promise<boolean> {
    try {
      return await this.slice(goesOn);
    } catch (error) {
      this.current = "failed";
      throw error;
    }
  }

  /** Sleeps, but not past what is due; what is due sooner than a timer can be set for is waited for in turns. */
  private async rest(ms: number): Promise<void> {
    const left = this.next() - this.clock.now();
    if (left < SHORTEST_SLEEP_MS) await this.clock.turn(this.isKept);
    else await this.nap(Math.min(ms, left));
  }

  private async nap(ms: number): Promise<void> {
    this.current = "sleeping";
    this.sleeps++;
    const woken = new Promise<void>((resolve) => {
      this.interrupt = resolve;
    });
    await Promise.race([this.clock.sleep(ms, this.isKept), woken]);
    this.interrupt = undefined;
    if (this.isRunning()) this.current = "polling";
  }
}
