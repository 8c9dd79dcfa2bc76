/** Choices of the generators, from one seeded source. */
import type { Random } from "../../src/base/random.ts";

export class Dice {
  readonly random: Random;
  constructor(random: Random) {
    this.random = random;
  }
  /** From `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.random.below(high - low + 1);
  }
  chance(share: number): boolean {
    return this.random.float() < share;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.random.below(from.length)];
  }
  /** One of several by weight. */
  weighted<T>(from: readonly (readonly [weight: number, value: T])[]): T {
    let left = this.random.float() * from.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of from) {
      left -= weight;
      if (left < 0) return value;
    }
    return from[from.length - 1][1];
  }
  /** Some of them, each once, at least `least`. */
  some<T>(from: readonly T[], least = 1, most = from.length): T[] {
    const rest = [...from];
    const out: T[] = [];
    for (let n = this.between(least, Math.min(most, from.length)); n > 0; n--) out.push(...rest.splice(this.random.below(rest.length), 1));
    return out;
  }
}
