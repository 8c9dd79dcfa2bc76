/**
 * What a scheduler is: members with weights in, one of them for a new flow out.
 *
 * Every scheduler can be written down as a table of members and a rule for choosing a slot, and that is how the data plane
 * reads it (assembly/table/balance.ts, PICK_* in abi.ts):
 *
 *   hash   the flow's hash names the slot: consistent hashes
 *   turn   a cursor shared by all workers names it: round robins, whose order is the table
 *   least  a few slots are drawn by the hash, and the member with the fewest flows for its weight wins
 *
 * A table is built when it is first asked for after a change, so that a hundred changes at once cost one. Picking allocates nothing.
 */
import { BALANCE_NOBODY, BALANCE_SLOTS } from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";

/** "no member can take a flow". */
export const NOBODY = BALANCE_NOBODY;
/** Slots of the tables that hashes are looked up in: Maglev's prime. */
export const SLOTS = BALANCE_SLOTS;

export type PickRule = "hash" | "turn" | "least";

export interface PickTable {
  readonly rule: PickRule;
  /** Ids of members. */
  readonly slots: Uint16Array;
}

export interface Member {
  readonly id: number;
  /** What consistent hashes hash, "10.0.0.1:80": the same on every machine. */
  readonly name: string;
  /** Its share, a whole number; as configured. */
  weight: number;
  /** How much of the share it takes now: 0 while it is not to have new flows, between 0 and 1 in slow start. */
  fraction: number;
}

export interface Scheduler {
  readonly members: ReadonlyMap<number, Member>;
  add(id: number, name: string, weight?: number): void;
  remove(id: number): void;
  reweigh(id: number, weight: number): void;
  /** Takes a member out for a while (0), back in (1), or in parts. */
  scale(id: number, fraction: number): void;
  /** The id of a member for a new flow, or NOBODY. */
  pick(hash: number): number;
  /** A flow of this member began (ended); schedulers that count nothing do not mind. */
  opened(id: number): void;
  closed(id: number): void;
  table(): PickTable;
}

export const MOST_WEIGHT = 65_535;

export function checkWeight(weight: number): number {
  if (!Number.isInteger(weight) || weight < 0 || weight > MOST_WEIGHT)
    throw invalid(`weight is ${weight}; expected a whole number from 0 to ${MOST_WEIGHT}`);
  return weight;
}

/** A 32-bit hash in which every bit of the input counts (the finalizer of MurmurHash3): flows hash to slots by their upper bits. */
export function mix(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Slot of a hash among `length`, without a division: the product's upper word. */
export function slotOf(hash: number, length: number): number {
  return Math.floor((mix(hash) * length) / 0x1_0000_0000);
}

/** Members and their table; what differs is how the table is filled. */
export abstract class TableScheduler implements Scheduler {
  readonly members = new Map<number, Member>();
  protected abstract readonly rule: PickRule;
  private built: PickTable | undefined;

  add(id: number, name: string, weight = 1): void {
    if (this.members.has(id)) throw new LoomError("EEXIST", `there is a member ${id} already, ${this.member(id).name}`);
    if (!Number.isInteger(id) || id < 0 || id >= NOBODY) throw invalid(`a member has the id ${id}; expected 0 to ${NOBODY - 1}`);
    this.members.set(id, { id, name, weight: checkWeight(weight), fraction: 1 });
    this.changed();
  }

  remove(id: number): void {
    this.member(id);
    this.members.delete(id);
    this.changed();
  }

  reweigh(id: number, weight: number): void {
    this.member(id).weight = checkWeight(weight);
    this.changed();
  }

  scale(id: number, fraction: number): void {
    if (!(fraction >= 0 && fraction <= 1)) throw invalid(`a member's fraction is ${fraction}; expected 0 to 1`);
    this.member(id).fraction = fraction;
    this.changed();
  }

  abstract pick(hash: number): number;

  opened(_id: number): void {}

  closed(_id: number): void {}

  table(): PickTable {
    this.built ??= { rule: this.rule, slots: this.fill() };
    return this.built;
  }

  /** The table as the members are now; empty when nobody can take a flow. */
  protected abstract fill(): Uint16Array;

  protected changed(): void {
    this.built = undefined;
  }

  /** Members that take flows. */
  protected available(): Member[] {
    return [...this.members.values()].filter(({ weight, fraction }) => weight * fraction > 0);
  }

  protected member(id: number): Member {
    const member = this.members.get(id);
    if (!member) throw new LoomError("ENOENT", `there is no member ${id}`);
    return member;
  }
}

/** Those whose order says nothing, so that machines configured in different orders agree. */
export function byName(members: Member[]): Member[] {
  return members.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
}

/** Picks by the flow's hash. */
export abstract class HashScheduler extends TableScheduler {
  protected readonly rule = "hash";

  pick(hash: number): number {
    const { slots } = this.table();
    return slots.length === 0 ? NOBODY : slots[slotOf(hash, slots.length)];
  }
}

/** Picks in turn. The cursor goes on when members change: each change starting at the front would favour who stands there. */
export abstract class TurnScheduler extends TableScheduler {
  protected readonly rule = "turn";
  private cursor = 0;

  pick(_hash: number): number {
    const { slots } = this.table();
    if (slots.length === 0) return NOBODY;
    const id = slots[this.cursor % slots.length];
    this.cursor = (this.cursor + 1) >>> 0;
    return id;
  }
}
