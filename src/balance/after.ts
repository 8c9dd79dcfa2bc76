/** "Call me then" on a clock, without keeping the process; what it returns calls it off. */
import type { Clock } from "../base/clock.ts";

export function after(clock: Clock, ms: number, run: () => void): () => void {
  let isOff = false;
  clock.sleep(ms, false).then(() => {
    if (!isOff) run();
  });
  return () => {
    isOff = true;
  };
}
