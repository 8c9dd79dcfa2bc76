/**
 * Weighted round robin, smooth: by nginx's rule, so that weights 5, 1, 1 give a a b a c a a and not a a a a a b c.
 *
 * The rule: at each turn everybody's credit grows by its weight, whoever has most takes the flow and pays the sum of all
 * weights; of equals the first. That looks at every member for every flow, but its sequence repeats after as many turns as the
 * weights sum to (their common divisor taken out): it is written down once per change and walked through then.
 */
import { type Member, SLOTS, TurnScheduler } from "./scheduler.ts";

/** Steps that writing the sequence down may take, members times turns: some ten milliseconds. */
const MOST_STEPS = 1 << 23;
/** Slow start goes in tenths. */
const PARTS = 10;

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

/** Whole weights in the members' proportions, in lowest terms; rounded (never to 0) where their sequence would be too long. */
export function wholeWeights(members: readonly Member[], mostTurns: number): number[] {
  const inParts = members.some(({ fraction }) => fraction !== 1);
  const exact = members.map(({ weight, fraction }) => (inParts ? Math.max(1, Math.round(weight * fraction * PARTS)) : weight));
  const shared = exact.reduce(divisor, 0);
  const weights = exact.map((weight) => weight / shared);
  const sum = weights.reduce((a, b) => a + b, 0);
  // Rounding up from nothing may add a turn for each member.
  if (sum <= mostTurns) return weights;
  const factor = Math.max(mostTurns - members.length, 1) / sum;
  return weights.map((weight) => Math.max(1, Math.floor(weight * factor)));
}

export class WeightedRoundRobin extends TurnScheduler {
  protected fill(): Uint16Array {
    const members = this.available();
    if (members.length === 0) return new Uint16Array(0);
    const mostTurns = Math.max(members.length, Math.min(SLOTS, Math.floor(MOST_STEPS / members.length)));
    const weights = Int32Array.from(wholeWeights(members, mostTurns));
    const sum = weights.reduce((a, b) => a + b, 0);
    const credit = new Int32Array(weights.length);
    const slots = new Uint16Array(sum);
    for (let turn = 0; turn < sum; turn++) {
      let best = 0;
      for (let i = 0; i < credit.length; i++) {
        credit[i] += weights[i];
        if (credit[i] > credit[best]) best = i;
      }
      credit[best] -= sum;
      slots[turn] = members[best].id;
    }
    return slots;
  }
}
