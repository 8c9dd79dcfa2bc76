/**
 * Rulesets in nft's language, by chance. Addresses, ports and marks come from the same few that the conversations use (generate-talk.ts),
 * so that most packets meet a rule. Only what has one result: no lots, no rates, no clock.
 */
import type { Dice } from "./dice.ts";
import { generateNat } from "./generate-nat.ts";
import { type Family, TableMaker } from "./generate-table.ts";

const FILTER_HOOKS: readonly (readonly [weight: number, hook: string, priority: string])[] = [
  [5, "forward", "filter"],
  [2, "forward", "mangle"],
  [2, "prerouting", "mangle"],
  [1, "prerouting", "filter"],
  [2, "input", "filter"],
  [1, "output", "filter"],
  [1, "output", "mangle"],
  [1, "postrouting", "mangle"],
  [1, "postrouting", "200"],
];

/** A ruleset: filtering, often NAT, sometimes without tracking. */
export function generateRules(dice: Dice): string {
  const tables: string[] = [];
  const family = dice.weighted<Family>([
    [5, "inet"],
    [2, "ip"],
    [1, "ip6"],
  ]);
  const filter = new TableMaker(dice, family);
  if (dice.chance(0.2)) filter.base("filter", "prerouting", "raw", filter.rules("raw", dice.between(1, 2)));
  for (let n = dice.between(1, 3); n > 0; n--) {
    const [hook, priority] = dice.weighted(FILTER_HOOKS.map(([weight, ...rest]) => [weight, rest] as const));
    const rules =
      (dice.chance(0.4)
        ? `    ct state ${dice.pick(["established,related accept", "invalid counter drop", "vmap { established : accept, related : accept, invalid : drop }"])}\n`
        : "") + filter.rules(hook, dice.between(1, 6));
    filter.base("filter", hook, priority, rules);
  }
  tables.push(filter.print("f"));
  for (const six of [false, true]) {
    if (!dice.chance(six ? 0.3 : 0.6)) continue;
    tables.push(generateNat(dice, six));
  }
  return tables.join("");
}
