/** By when something has to have happened, on the clock of a host: what waits then does so no longer. */
import { LoomError } from "../base/errors.ts";
import { Timer } from "../base/timers.ts";
import type { IpStack } from "../ip/stack.ts";

export class Deadline {
  /** It is over: what would have to wait fails at once. */
  isOver = false;
  private readonly stack: IpStack;
  private readonly timer: Timer;

  /** `expire` ends what waits. */
  constructor(stack: IpStack, expire: (error: LoomError) => void) {
    this.stack = stack;
    this.timer = new Timer(() => {
      this.isOver = true;
      expire(late());
    });
  }

  /** In so many milliseconds from now, instead of whenever it was; undefined: never. */
  set(ms: number | undefined): void {
    const { stack, timer } = this;
    this.isOver = false;
    if (ms === undefined) {
      stack.timers.remove(timer);
      return;
    }
    stack.touch();
    stack.timers.arm(timer, stack.now + ms);
  }
}

export function late(): LoomError {
  return new LoomError("ETIMEDOUT", "the deadline is over");
}
