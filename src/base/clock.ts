/**
 * Time is an argument. Everything that waits or stamps takes a `Clock`; the real one and a virtual one are
 * interchangeable. This file alone knows the timers of the runtime.
 */
import type { Alarms } from "./alarms.ts";

export interface Clock {
  /** Milliseconds, monotonic. */
  now(): number;
  /** Resolves after at least `ms` milliseconds. */
  sleep(ms: number): Promise<void>;
  /** Gives timers and I/O of the program a turn: a macrotask, never a microtask. */
  turn(): Promise<void>;
}

type Immediate = (callback: () => void) => unknown;

/** A macrotask as soon as possible: setImmediate where there is one, else a message to oneself. */
function macrotask(): (callback: () => void) => void {
  const immediate = (globalThis as { setImmediate?: Immediate }).setImmediate;
  if (immediate) return (callback) => void immediate(callback);
  const queue: (() => void)[] = [];
  const channel = new MessageChannel();
  channel.port1.onmessage = () => queue.shift()?.();
  return (callback) => {
    queue.push(callback);
    channel.port2.postMessage(0);
  };
}

class RealClock implements Clock {
  private schedule: ((callback: () => void) => void) | undefined;

  now(): number {
    return performance.now();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  turn(): Promise<void> {
    this.schedule ??= macrotask();
    const schedule = this.schedule;
    return new Promise((resolve) => schedule(resolve));
  }
}

export const realClock: Clock = new RealClock();

/** Alarms of the runtime, for protocols that run without a stack. */
export const realAlarms: Alarms = {
  now: () => performance.now(),
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
