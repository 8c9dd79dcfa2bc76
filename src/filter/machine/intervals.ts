/**
 * Builds what assembly/table/set-intervals.ts searches: for each field of the key, the places at which another set of elements begins to
 * hold; behind them nodes over the next field, the same node for the same elements; behind the last, the first element that holds.
 */
import * as abi from "../../../assembly/abi.ts";
import { LoomError } from "../../base/errors.ts";
import type { Bytes } from "../expressions.ts";
import type { Block, Space } from "./space.ts";

export interface Box {
  readonly from: Bytes;
  /** Included. */
  readonly to: Bytes;
  /** Address of the element. */
  readonly element: number;
}

interface FieldPlace {
  readonly offset: number;
  readonly bytes: number;
}

/** Nodes that a set may need at most: boxes that overlap in every field multiply. */
const MOST_STARTS = 4_000_000;
/** Boxes looked at for all starts together: half a second's work. */
const MOST_WORK = 20_000_000;

const tooMany = () => new LoomError("ENOMEM", "the set's ranges overlap in too many ways; split it by one of its fields");

/** Where each field stands in a key: padded to whole words. */
export function placesOf(fields: readonly number[]): FieldPlace[] {
  let offset = 0;
  return fields.map((bytes) => {
    const place = { offset, bytes };
    offset += Math.ceil(bytes / 4) * 4;
    return place;
  });
}

/** A field as a number whose order is that of its bytes: to the left in 32 or 128 bits. */
function numberOf(bytes: Bytes, { offset, bytes: length }: FieldPlace): bigint {
  let value = 0n;
  const width = length <= 4 ? 4 : 16;
  for (let i = 0; i < width; i++) value = (value << 8n) | BigInt(i < length ? (bytes[offset + i] ?? 0) : 0);
  return value;
}

export class IntervalBuilder {
  readonly blocks: Block[] = [];
  private readonly space: Space;
  private readonly places: readonly FieldPlace[];
  private readonly boxes: readonly Box[];
  private readonly nodes = new Map<string, number>();
  private starts = 0;
  private work = 0;

  constructor(space: Space, fields: readonly number[], boxes: readonly Box[]) {
    this.space = space;
    this.places = placesOf(fields);
    this.boxes = boxes;
  }

  /** Address of the root, or 0 for a set without elements. */
  build(): number {
    if (this.boxes.length === 0) return 0;
    try {
      return this.node(
        0,
        this.boxes.map((_, i) => i),
      );
    } catch (error) {
      this.space.retire(this.blocks);
      throw error;
    }
  }

  /** The node over field `level` of those boxes (by number, rising). */
  private node(level: number, members: readonly number[]): number {
    const key = `${level}:${members}`;
    const known = this.nodes.get(key);
    if (known !== undefined) return known;
    const place = this.places[level];
    const last = level === this.places.length - 1;
    const starts: bigint[] = [];
    const values: number[] = [];
    for (const { start, active } of sweep(this.boxes, members, place)) {
      this.work += active.length;
      if (this.work > MOST_WORK) throw tooMany();
      const value = active.length === 0 ? 0 : last ? this.boxes[active[0]].element : this.node(level + 1, active);
      if (values.length > 0 && values.at(-1) === value) continue;
      starts.push(start);
      values.push(value);
    }
    this.starts += starts.length;
    if (this.starts > MOST_STARTS) throw tooMany();
    const address = this.write(place, last, starts, values);
    this.nodes.set(key, address);
    return address;
  }

  private write({ offset, bytes }: FieldPlace, last: boolean, starts: readonly bigint[], values: readonly number[]): number {
    const wide = bytes > 4;
    const width = wide ? 16 : 4;
    const block = this.space.allocate(abi.NODE_STARTS + starts.length * (width + 4));
    this.blocks.push(block);
    const { view } = this.space;
    const at = block.address;
    view.setUint32(at + abi.NODE_COUNT, starts.length, true);
    view.setUint16(at + abi.NODE_FIELD, offset, true);
    view.setUint16(at + abi.NODE_KIND, (wide ? abi.NODE_IS_WIDE : 0) | (last ? abi.NODE_IS_LAST : 0), true);
    const mask = ((1n << BigInt(8 * bytes)) - 1n) << BigInt(128 - 8 * bytes);
    view.setBigUint64(at + abi.NODE_MASKS, mask >> 64n, true);
    view.setBigUint64(at + abi.NODE_MASKS + 8, mask & ((1n << 64n) - 1n), true);
    const first = at + abi.NODE_STARTS;
    for (const [i, start] of starts.entries()) {
      if (wide) {
        view.setBigUint64(first + 16 * i, start >> 64n, true);
        view.setBigUint64(first + 16 * i + 8, start & ((1n << 64n) - 1n), true);
      } else view.setUint32(first + 4 * i, Number(start), true);
      view.setUint32(first + width * starts.length + 4 * i, values[i], true);
    }
    return at;
  }
}

/** Where the set of boxes that hold changes along one field, from 0 on, and which hold from there (rising numbers). */
function* sweep(boxes: readonly Box[], members: readonly number[], place: FieldPlace): Generator<{ start: bigint; active: number[] }> {
  const limit = 1n << BigInt(8 * (place.bytes <= 4 ? 4 : 16));
  // The last bytes of a field may be fewer than its number has: what is behind them is all ones at an end.
  const unused = BigInt(8 * ((place.bytes <= 4 ? 4 : 16) - place.bytes));
  const events: { at: bigint; box: number; begins: boolean }[] = [];
  for (const box of members) {
    events.push({ at: numberOf(boxes[box].from, place), box, begins: true });
    const end = numberOf(boxes[box].to, place) + (1n << unused);
    if (end < limit) events.push({ at: end, box, begins: false });
  }
  events.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const active = new Set<number>();
  if (events[0].at !== 0n) yield { start: 0n, active: [] };
  for (let i = 0; i < events.length; ) {
    const { at } = events[i];
    for (; i < events.length && events[i].at === at; i++) {
      if (events[i].begins) active.add(events[i].box);
      else active.delete(events[i].box);
    }
    yield { start: at, active: [...active].sort((a, b) => a - b) };
  }
}
