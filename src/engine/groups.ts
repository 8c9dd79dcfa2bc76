/**
 * Groups of next hops (equal-cost multipath): each member has a share of a group's buckets, which flows are hashed to. When
 * members change, only buckets that must move do, so that most flows keep their way.
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import type { EngineMemory } from "./memory.ts";

/** A member of an ECMP group: a "forward" hop of the same table, and its share. */
export interface GroupMember {
  readonly hop: number;
  /** Relative share, at least 1. Default 1. */
  readonly weight?: number;
}

/** Hands out memory for what workers read while it is replaced: groups' buckets, ports' rules. One per engine. */
export class BucketSpace {
  private next: number;
  private readonly end: number;
  private readonly free = new Map<number, { at: number; epoch: number }[]>();

  constructor(memory: EngineMemory) {
    this.next = memory.base(abi.REGION_GROUPS);
    this.end = this.next + memory.size(abi.REGION_GROUPS);
  }

  /** `passed` waits until nobody reads a reused array any more. */
  take(buckets: number, passed: (epoch: number) => void): number {
    // What was given back comes first: pieces of one size would use up the room for all others.
    const reused = this.free.get(buckets)?.shift();
    const at = this.next;
    if (!reused && at + 2 * buckets <= this.end) {
      this.next += 2 * buckets;
      return at;
    }
    if (!reused) throw new LoomError("ENOMEM", `no room for ${2 * buckets} bytes of a group or of rules; raise groupBytes`);
    passed(reused.epoch);
    return reused.at;
  }

  give(at: number, buckets: number, epoch: number): void {
    const list = this.free.get(buckets) ?? [];
    list.push({ at, epoch });
    this.free.set(buckets, list);
  }
}

/** Gives each member its share of buckets, moving only those that must move. */
export function fillBuckets(buckets: Uint16Array, members: readonly GroupMember[]): void {
  const shares = sharesOf(buckets.length, members);
  const spare: number[] = [];
  for (let b = 0; b < buckets.length; b++) {
    const left = shares.get(buckets[b]) ?? 0;
    if (left > 0) shares.set(buckets[b], left - 1);
    else spare.push(b);
  }
  for (const [hop, left] of shares) {
    for (let i = 0; i < left; i++) buckets[spare.pop() as number] = hop;
  }
}

/** Buckets by weight, largest remainders first, so that they sum to the whole. */
function sharesOf(buckets: number, members: readonly GroupMember[]): Map<number, number> {
  const weights = new Map<number, number>();
  for (const { hop, weight } of members) weights.set(hop, (weights.get(hop) ?? 0) + (weight ?? 1));
  const total = [...weights.values()].reduce((a, b) => a + b, 0);
  const exact = [...weights].map(([hop, weight]) => ({ hop, exact: (buckets * weight) / total }));
  const shares = new Map(exact.map(({ hop, exact }) => [hop, Math.floor(exact)]));
  let left = buckets - [...shares.values()].reduce((a, b) => a + b, 0);
  exact.sort((a, b) => (b.exact % 1) - (a.exact % 1));
  for (const { hop } of exact) {
    if (left-- <= 0) break;
    shares.set(hop, (shares.get(hop) as number) + 1);
  }
  return shares;
}
