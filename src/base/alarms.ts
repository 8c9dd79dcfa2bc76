/** "Call me then": what protocols wait with that know no stack. A host lends its timers, a program those of its runtime. */
import { Timer, type Timers } from "./timers.ts";

export interface Alarms {
  /** Milliseconds, monotonic. */
  now(): number;
  /** Runs once after `ms` milliseconds, unless what it returns is called before. */
  after(ms: number, run: () => void): () => void;
}

/** Alarms on the timers of a stack; `now` reads its clock anew. */
export function alarmsOn(timers: Timers, now: () => number): Alarms {
  return {
    now,
    after(ms, run) {
      const timer = new Timer(run);
      timers.arm(timer, now() + ms);
      return () => timers.remove(timer);
    },
  };
}
