/**
 * What a TCP stream has gained or lost because its text was changed on the way: a sender's numbers move by that, the acknowledgements
 * of the other side move back (nf_conntrack_seqadj's part). A text is changed where it begins with a segment; it is not put together.
 */
import type { Engine } from "../../engine/engine.ts";
import type { Ends } from "./announcer.ts";
import { acknowledgementOf, isOpening, isSynchronizing, type Opened, payloadOf, seal, sequenceOf, shift, withPayload } from "./payload.ts";

/** Bytes that one direction of a flow has gained, from a sequence number on; and before the last change. */
interface Shift {
  from: number;
  before: number;
  after: number;
}
interface Side {
  shift: Shift;
  /** Where a text begins; undefined where we came into the middle of one: nothing is read until a segment ends one. */
  next: number | undefined;
  /** The last change, for the same bytes when they are sent again. */
  changed: { readonly sequence: number; readonly payload: Uint8Array; readonly instead: Uint8Array } | undefined;
}
interface Known {
  /** Ends of the flow: its number may be another's by now. */
  readonly name: string;
  readonly sides: readonly [Side, Side];
}
export type Change = (payload: Uint8Array) => Uint8Array | undefined;

export class Streams {
  private readonly known = new Map<number, Known>();

  constructor(private readonly engine: Engine) {}

  /** The segment to be sent instead. `change`: of a payload that begins a text, another one or undefined; `isWhole`: does one end it? */
  receive(ends: Ends, direction: number, opened: Opened, change: Change, isWhole: (payload: Uint8Array) => boolean): Uint8Array {
    const { flow } = ends;
    const sequence = sequenceOf(opened);
    const payload = payloadOf(opened);
    if (isOpening(opened) && direction === 0) this.known.delete(flow);
    const sides = this.sidesOf(ends, direction);
    const mine = sides[direction];
    if (isSynchronizing(opened)) mine.next = (sequence + 1) >>> 0;
    const again = payload.length === 0 ? undefined : repeated(mine, sequence, payload);
    const changed = again ?? (payload.length > 0 && mine.next === sequence ? change(payload) : undefined);
    const out = changed ? withPayload(opened, changed) : opened;
    if (payload.length > 0 && !again) mine.next = isWhole(payload) ? (sequence + payload.length) >>> 0 : undefined;
    adjust(sides, direction, out, sequence, acknowledgementOf(opened));
    const grown = out.packet.length - opened.packet.length;
    if (changed && !again) {
      mine.changed = { sequence, payload: payload.slice(), instead: changed };
      if (grown !== 0) {
        this.engine.plane.flowLiberal(flow);
        mine.shift = { from: (sequence + 1) >>> 0, before: mine.shift.after, after: mine.shift.after + grown };
      }
    }
    return seal(out);
  }

  private sidesOf({ flow, mine, theirs }: Ends, direction: number): readonly [Side, Side] {
    const { src, dst, sport, dport } = direction === 0 ? mine : theirs;
    const name = `${src} ${sport} ${dst} ${dport}`;
    const found = this.known.get(flow);
    if (found?.name === name) return found.sides;
    const side = (): Side => ({ shift: { from: 0, before: 0, after: 0 }, next: undefined, changed: undefined });
    const sides = [side(), side()] as const;
    this.known.delete(flow);
    this.known.set(flow, { name, sides });
    // Flows that are gone go from here too, a few with each that comes.
    for (const each of this.known.keys()) {
      if (each === flow || this.engine.plane.flowHelper(each) !== 0) break;
      this.known.delete(each);
    }
    return sides;
  }
}

/** What stood in place of these bytes when they were sent before, and what follows them now. */
function repeated({ changed }: Side, sequence: number, payload: Uint8Array): Uint8Array | undefined {
  if (changed?.sequence !== sequence || payload.length < changed.payload.length) return undefined;
  if (!changed.payload.every((byte, i) => byte === payload[i])) return undefined;
  const rest = payload.subarray(changed.payload.length);
  const whole = new Uint8Array(changed.instead.length + rest.length);
  whole.set(changed.instead);
  whole.set(rest, changed.instead.length);
  return whole;
}

function adjust(sides: readonly [Side, Side], direction: number, out: Opened, sequence: number, acknowledgement: number): void {
  const [mine, other] = [sides[direction].shift, sides[1 - direction].shift];
  const gained = ((sequence - mine.from) | 0) >= 0 ? mine.after : mine.before;
  const back = ((acknowledgement - other.after - other.from) | 0) >= 0 ? other.after : other.before;
  if (gained !== 0 || back !== 0) shift(out, gained, -back);
}
