/**
 * What happens to connections is told outside the engine's rounds. A listener may do anything: write, close, throw.
 * Inside a round it would do so in the middle of a segment; so a round only notes who has something to tell, and they
 * are all heard in the next tick.
 */
import process from "node:process";

export interface Teller {
  /** True while it waits for its turn. */
  noted: boolean;
  /** Tells its owner what happened since the last time. */
  tell(): void;
}

export class EventQueue {
  private tellers: Teller[] = [];
  private at = 0;
  private scheduled = false;

  note(teller: Teller): void {
    if (teller.noted) return;
    teller.noted = true;
    this.tellers.push(teller);
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    process.nextTick(() => this.drain());
  }

  private drain(): void {
    this.scheduled = false;
    try {
      while (this.at < this.tellers.length) {
        const teller = this.tellers[this.at++];
        teller.noted = false;
        teller.tell();
      }
    } finally {
      // One that throws is the program's to see; the others still have their turn.
      if (this.at < this.tellers.length) this.schedule();
      else {
        this.tellers = [];
        this.at = 0;
      }
    }
  }
}
