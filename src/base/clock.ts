/**
 * Time is an argument. Everything that waits or stamps takes a `Clock`; the real one and a virtual one are
 * interchangeable. This file alone knows the timers of the runtime.
 */
import type { Alarms } from "./alarms.ts";

export interface Clock {
  /** Milliseconds since 1970 at 0 of `now`; without it the clock's beginning is all there is. */
  readonly epoch?: number;
  /** Milliseconds, monotonic. */
  now(): number;
  /** Resolves after at least `ms` milliseconds. With `keepAlive` false the process may end meanwhile. */
  sleep(ms: number, keepAlive?: boolean): Promise<void>;
  /** Gives timers and I/O of the program a turn: a macrotask, never a microtask. */
  turn(keepAlive?: boolean): Promise<void>;
  /** Lets the program's promises (and Node's ticks) run, but neither timers nor I/O. */
  breath?(): Promise<void>;
}

/** Promises that follow one another before a program has its answer: of an `await` in a function that is awaited, and so on. */
const LONGEST_CHAIN = 8;

type Immediate = (callback: () => void) => unknown;

/** Lets the process end although a timer is waiting, where the runtime has such a thing. */
function unref(timer: unknown): void {
  const { Deno } = globalThis as { Deno?: { unrefTimer(id: number): void } };
  if (typeof timer === "number") Deno?.unrefTimer(timer);
  else (timer as { unref?(): void } | undefined)?.unref?.();
}

/** A macrotask as soon as possible: setImmediate where there is one, else a message to oneself. */
function macrotask(): (callback: () => void) => unknown {
  const immediate = (globalThis as { setImmediate?: Immediate }).setImmediate;
  if (immediate) return immediate;
  const queue: (() => void)[] = [];
  const channel = new MessageChannel();
  channel.port1.onmessage = () => queue.shift()?.();
  return (callback) => {
    queue.push(callback);
    channel.port2.postMessage(0);
  };
}

/** Behind all promises where the runtime has such a queue, else behind a chain of some. */
const afterPromises: (callback: () => void) => void =
  (globalThis as { process?: { nextTick?: Immediate } }).process?.nextTick ??
  (async (callback) => {
    for (let i = 0; i < LONGEST_CHAIN; i++) await undefined;
    callback();
  });

/** Looked up once: `performance` is an accessor of the global object in Node, and every read of the clock would call it. */
const time = performance;

class RealClock implements Clock {
  readonly epoch = time.timeOrigin;
  private schedule: ((callback: () => void) => unknown) | undefined;

  now(): number {
    return time.now();
  }

  sleep(ms: number, keepAlive = true): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      if (!keepAlive) unref(timer);
    });
  }

  turn(keepAlive = true): Promise<void> {
    this.schedule ??= macrotask();
    const schedule = this.schedule;
    return new Promise((resolve) => {
      const handle = schedule(resolve);
      if (!keepAlive) unref(handle);
    });
  }

  breath(): Promise<void> {
    return new Promise(afterPromises);
  }
}

export const realClock: Clock = new RealClock();

/** Alarms of the runtime, for protocols that run without a stack. */
export const realAlarms: Alarms = {
  now: () => time.now(),
  after(ms, run) {
    // A runtime's timer counts in 31 bits: what is further away is waited for in turns.
    const once = Math.min(ms, 0x7fffffff);
    let handle = setTimeout(() => {
      if (ms > once) handle = setTimeout(run, ms - once);
      else run();
    }, once);
    return () => clearTimeout(handle);
  },
};

/** A clock that stands still until it is told to move; sleepers wake in order of their time. */
export class VirtualClock implements Clock {
  private time = 0;
  private sleepers: { at: number; wake: () => void }[] = [];

  now(): number {
    return this.time;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => {
      this.sleepers.push({ at: this.time + ms, wake });
      this.sleepers.sort((a, b) => a.at - b.at);
    });
  }

  turn(): Promise<void> {
    return Promise.resolve();
  }

  /** Moves on by `ms` at once; whoever is due wakes when the caller has returned. */
  skip(ms: number): void {
    this.time += ms;
    while (this.sleepers[0]?.at <= this.time) this.sleepers.shift()?.wake();
  }

  /** Moves on by `ms`, waking whoever is due, each at its own time. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    for (let next = this.sleepers[0]; next && next.at <= end; next = this.sleepers[0]) {
      this.sleepers.shift();
      this.time = next.at;
      next.wake();
      await Promise.resolve();
    }
    this.time = end;
  }
}
