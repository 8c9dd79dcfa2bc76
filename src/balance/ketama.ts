/**
 * Ketama: consistent hashing on a ring of 2³² places (R. Jones, libketama, 2007).
 *
 * Points: the k-th point of a member is the (k mod 4)-th little-endian word of MD5("name-⌊k/4⌋"), name being "address:port".
 * A key belongs to the first point at or behind it, around the ring; of members with the same point the first by name has it.
 * With 160 points for each member that is the ring of libketama and of spymemcached's KetamaNodeLocator for equal weights. For unequal
 * ones libketama rounds everybody's share of the whole, which moves others' points when one weight changes; here a member has
 * `virtualNodes` × weight points (as in nginx), so that only its own move.
 *
 * `locate` asks that ring. What flows are picked by is a table: the ring's owners at 65,537 even places, with bounded loads (Mirrokni,
 * Thorup and Zadimoghaddam, 2018): who has `mostLoad` times its share already passes a slot on to the next point that has room.
 * 150 points alone leave the fullest of a hundred members at 1.28 times its share. Without a bound (Infinity) a slot changes hands only when
 * its owner goes, or somebody puts a point in front of it; with one, a few others do too.
 */
import { invalid } from "../base/errors.ts";
import { md5 } from "../base/md5.ts";
import { byName, HashScheduler, type Member, NOBODY, SLOTS } from "./scheduler.ts";

const text = new TextEncoder();
/** Points of a member of weight 1. */
export const VIRTUAL_NODES = 150;
/** Fullest member's part of the table, as a multiple of its share. */
export const MOST_LOAD = 1.05;
const MOST_POINTS = 1 << 22;
const RING = 2 ** 32;

export interface Ring {
  /** Rising. */
  readonly points: Uint32Array;
  readonly owners: Uint16Array;
}

export class Ketama extends HashScheduler {
  private readonly virtualNodes: number;
  private readonly mostLoad: number;
  private readonly known = new Map<string, Uint32Array>();
  private made: Ring | undefined;

  constructor(virtualNodes = VIRTUAL_NODES, mostLoad = MOST_LOAD) {
    super();
    if (!Number.isInteger(virtualNodes) || virtualNodes < 1 || virtualNodes > 65_536)
      throw invalid(`virtualNodes is ${virtualNodes}; expected a whole number from 1 to 65536`);
    if (!(mostLoad >= 1)) throw invalid(`mostLoad is ${mostLoad}; expected 1 or more`);
    this.virtualNodes = virtualNodes;
    this.mostLoad = mostLoad;
  }

  /** Who has a key, exactly as other implementations say: the ring is asked, in O(log n). */
  locate(key: string): number {
    const { points, owners } = this.ring();
    if (points.length === 0) return NOBODY;
    const hash = new DataView(md5(text.encode(key)).buffer).getUint32(0, true);
    return owners[atOrBehind(points, hash) % points.length];
  }

  ring(): Ring {
    this.made ??= this.makeRing();
    return this.made;
  }

  override remove(id: number): void {
    this.known.delete(this.member(id).name);
    super.remove(id);
  }

  protected override changed(): void {
    super.changed();
    this.made = undefined;
  }

  protected fill(): Uint16Array {
    const { points, owners } = this.ring();
    if (points.length === 0) return new Uint16Array(0);
    const room = this.room();
    const slots = new Uint16Array(SLOTS);
    let first = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      const place = (slot * RING) / SLOTS;
      while (first < points.length && points[first] < place) first++;
      let at = first % points.length;
      while (room[owners[at]] === 0) at = (at + 1) % points.length;
      slots[slot] = owners[at];
      room[owners[at]]--;
    }
    return slots;
  }

  /** Slots that each may have, by id; together never fewer than there are. */
  private room(): Float64Array {
    const members = this.available();
    const sum = members.reduce((total, { weight, fraction }) => total + weight * fraction, 0);
    const room = new Float64Array(NOBODY);
    for (const { id, weight, fraction } of members) {
      const share = (SLOTS * weight * fraction) / sum;
      room[id] = Math.max(Math.floor(share * this.mostLoad), Math.floor(share) + 1);
    }
    return room;
  }

  private makeRing(): Ring {
    const members = byName(this.available());
    const counts = this.counts(members);
    const keys = new Float64Array(counts.reduce((a, b) => a + b, 0));
    let n = 0;
    for (const [order, { name }] of members.entries()) {
      const points = this.pointsOf(name, counts[order]);
      // Point and owner in one number, which sorts faster than pairs do.
      for (let k = 0; k < counts[order]; k++) keys[n++] = points[k] * 65_536 + order;
    }
    keys.sort();
    return {
      points: Uint32Array.from(keys, (key) => Math.floor(key / 65_536)),
      owners: Uint16Array.from(keys, (key) => members[key % 65_536].id),
    };
  }

  /** Points of each; fewer for all when weights are so large that they would fill the memory. */
  private counts(members: readonly Member[]): number[] {
    const wanted = members.map(({ weight, fraction }) => this.virtualNodes * weight * fraction);
    const sum = wanted.reduce((a, b) => a + b, 0);
    const factor = sum > MOST_POINTS ? MOST_POINTS / sum : 1;
    return wanted.map((count) => Math.max(1, Math.round(count * factor)));
  }

  private pointsOf(name: string, count: number): Uint32Array {
    const known = this.known.get(name);
    if (known && known.length >= count) return known;
    const points = new Uint32Array(Math.ceil(count / 4) * 4);
    for (let i = 0; 4 * i < count; i++) {
      const digest = new DataView(md5(text.encode(`${name}-${i}`)).buffer);
      for (let k = 0; k < 4; k++) points[4 * i + k] = digest.getUint32(4 * k, true);
    }
    this.known.set(name, points);
    return points;
  }
}

/** Index of the first point at or behind `hash`; the number of points when there is none. */
function atOrBehind(points: Uint32Array, hash: number): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (points[middle] < hash) low = middle + 1;
    else high = middle;
  }
  return low;
}
