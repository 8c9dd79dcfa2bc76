/**
 * Source hash: the client's address alone decides, so that a client keeps its backend without a table of clients.
 *
 * Slots are dealt to the configured members, by weight, whether they are up or not. A slot whose member cannot take flows is
 * looked for again from other places (what IPVS calls "sh-fallback"): clients of others stay where they are, and its own come back
 * with it. Adding or removing a member deals anew and moves most clients; Maglev is for those who mind.
 */
import { HashScheduler, mix, SLOTS, slotOf } from "./scheduler.ts";

/** Places tried for a slot whose member is out; then those that are not, in turn. */
const TRIES = 64;

export class SourceHash extends HashScheduler {
  protected fill(): Uint16Array {
    const ready = this.available();
    if (ready.length === 0) return new Uint16Array(0);
    const dealt = this.deal();
    const isOut = (id: number) => this.member(id).fraction === 0;
    return dealt.map((id, slot) => (isOut(id) ? (substitute(dealt, slot, isOut) ?? ready[slot % ready.length].id) : id));
  }

  /** To each member the slots of its share, to the nearest one, in the order of configuration. */
  private deal(): Uint16Array {
    const members = [...this.members.values()].filter(({ weight }) => weight > 0);
    const sum = members.reduce((total, { weight }) => total + weight, 0);
    const slots = new Uint16Array(SLOTS);
    let passed = 0;
    let from = 0;
    for (const member of members) {
      passed += member.weight;
      const to = Math.round((passed / sum) * SLOTS);
      slots.fill(member.id, from, to);
      from = to;
    }
    return slots;
  }
}

function substitute(slots: Uint16Array, slot: number, isOut: (id: number) => boolean): number | undefined {
  for (let i = 1; i <= TRIES; i++) {
    const id = slots[slotOf(mix(slot) + i, slots.length)];
    if (!isOut(id)) return id;
  }
  return undefined;
}
