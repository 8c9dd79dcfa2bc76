/**
 * Bytes of a stream whose owner wants to hear when they leave and when they are acknowledged (Linux's tskey of the last byte
 * of a send): a few at a time, in sequence order.
 */
import { after, distance } from "./sequence.ts";

export interface SendMark {
  /** Sequence number behind the byte. */
  end: number;
  /** For whom the mark is; not looked at here. */
  readonly flags: number;
}

export interface MarkEvents {
  /** The byte leaves, for the first time or again. */
  departed(mark: SendMark): void;
  acknowledged(mark: SendMark): void;
}

export class SendMarks {
  private readonly marks: SendMark[] = [];
  private readonly events: MarkEvents;

  constructor(events: MarkEvents) {
    this.events = events;
  }

  add(end: number, flags: number): SendMark {
    const mark = { end, flags };
    this.marks.push(mark);
    return mark;
  }

  /** Less was taken than was wanted: the mark stands at `end`, or nowhere; `sent` is what has left already. */
  settle(mark: SendMark, end: number | undefined, sent: number): void {
    if (mark.end === end) return;
    if (end === undefined) {
      const at = this.marks.indexOf(mark);
      if (at >= 0) this.marks.splice(at, 1);
      return;
    }
    mark.end = end;
    if (!after(end, sent)) this.events.departed(mark);
  }

  /** So many bytes from `start` on leave. */
  departed(start: number, length: number): void {
    for (const mark of this.marks) {
      const at = distance(mark.end, start);
      if (at > 0 && at <= length) this.events.departed(mark);
    }
  }

  /** Everything before `una` has arrived. */
  acknowledged(una: number): void {
    for (let mark = this.marks[0]; mark && !after(mark.end, una); mark = this.marks[0]) {
      this.marks.shift();
      this.events.acknowledged(mark);
    }
  }
}
