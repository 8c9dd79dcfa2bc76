/**
 * What happens to connections is told outside the engine's rounds. A listener may do anything: write, close, throw.
 * Inside a round it would do so in the middle of a segment; so a round only notes who has something to tell, and they
 * are all heard in the next tick, of one thing each.
 */
import process from "node:process";

export interface Teller {
  /** True while it waits for its turn. */
  noted: boolean;
  /** Tells its owner one thing that happened; notes itself again where that is not all. */
  tell(): void;
}

export class EventQueue {
  private tellers: Teller[] = [];
  private at = 0;
  /** Those that have more to tell when all of this turn have told one thing. */
  private again: Teller[] = [];
  private isScheduled = false;
  private isTelling = false;

  note(teller: Teller): void {
    if (teller.noted) return;
    teller.noted = true;
    (this.isTelling ? this.again : this.tellers).push(teller);
    if (!this.isTelling) this.schedule();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    process.nextTick(() => this.drain());
  }

  /**
   * What is told next waits until there are neither ticks nor promises any more, nor what these have brought about: whoever awaits one event after
   * the other misses none. Not for a turn of the loop, as libuv has it: of 100 datagrams that came in one, one would be heard.
   */
  private scheduleAgain(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    const later = (then: () => void) => queueMicrotask(() => process.nextTick(then));
    later(() => later(() => this.drain()));
  }

  private drain(): void {
    this.isScheduled = false;
    this.isTelling = true;
    try {
      while (this.at < this.tellers.length) {
        const teller = this.tellers[this.at++];
        teller.noted = false;
        teller.tell();
      }
    } finally {
      this.isTelling = false;
      // One that throws is the program's to see; the others still have their turn.
      this.tellers = [...this.tellers.slice(this.at), ...this.again];
      this.at = 0;
      this.again = [];
      if (this.tellers.length > 0) this.scheduleAgain();
    }
  }
}
