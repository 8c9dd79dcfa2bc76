/**
 * What a TCP stream has gained or lost because its text was changed on the way: a sender's numbers move by that, the acknowledgements
 * of the other side move back (nf_conntrack_seqadj's part). A text is changed where it begins with a segment; it is not put together.
 */
import type { Engine } from "../../engine/engine.ts";
import { acknowledgementOf, isOpening, type Opened, payloadOf, seal, sequenceOf, shift, withPayload } from "./payload.ts";

/** Bytes that one direction of a flow has gained, from a sequence number on; and before the last change. */
interface Shift {
  from: number;
  before: number;
  after: number;
}
interface Side {
  shift: Shift;
  /** Where the text that is being sent begins: what we come into the middle of is not read. */
  next: number | undefined;
}
export type Change = (payload: Uint8Array) => Uint8Array | undefined;

export class Streams {
  private readonly sides = new Map<number, [Side, Side]>();

  constructor(private readonly engine: Engine) {}

  /** The segment to be sent instead. `change`: of a payload that begins a text, another one or undefined; `isWhole`: does one end it? */
  receive(flow: number, direction: number, opened: Opened, change: Change, isWhole: (payload: Uint8Array) => boolean): Uint8Array {
    if (isOpening(opened)) this.sides.delete(flow);
    const sides = this.sidesOf(flow);
    const mine = sides[direction];
    const sequence = sequenceOf(opened);
    const payload = payloadOf(opened);
    const isStart = payload.length > 0 && (mine.next === undefined || mine.next === sequence);
    const changed = isStart ? change(payload) : undefined;
    const out = changed ? withPayload(opened, changed) : opened;
    if (payload.length > 0) mine.next = isWhole(payload) ? (sequence + payload.length) >>> 0 : undefined;
    adjust(sides, direction, out, sequence, acknowledgementOf(opened));
    const grown = out.packet.length - opened.packet.length;
    if (grown !== 0) {
      this.engine.plane.flowLiberal(flow);
      mine.shift = { from: (sequence + 1) >>> 0, before: mine.shift.after, after: mine.shift.after + grown };
    }
    return seal(out);
  }

  private sidesOf(flow: number): [Side, Side] {
    let sides = this.sides.get(flow);
    if (!sides) {
      const side = (): Side => ({ shift: { from: 0, before: 0, after: 0 }, next: undefined });
      sides = [side(), side()];
      this.sides.set(flow, sides);
      // Flows that are gone go from here too, a few with each that comes.
      for (const each of this.sides.keys()) {
        if (each === flow || this.engine.plane.flowHelper(each) !== 0) break;
        this.sides.delete(each);
      }
    }
    return sides;
  }
}

function adjust(sides: [Side, Side], direction: number, out: Opened, sequence: number, acknowledgement: number): void {
  const [mine, other] = [sides[direction].shift, sides[1 - direction].shift];
  const gained = ((sequence - mine.from) | 0) >= 0 ? mine.after : mine.before;
  const back = ((acknowledgement - other.after - other.from) | 0) >= 0 ? other.after : other.before;
  if (gained !== 0 || back !== 0) shift(out, gained, -back);
}
