/** Round robin: everybody in turn, weights ignored (but for 0, which takes no flows). */
import { TurnScheduler } from "./scheduler.ts";

export class RoundRobin extends TurnScheduler {
  protected fill(): Uint16Array {
    return Uint16Array.from(this.available(), ({ id }) => id);
  }
}
