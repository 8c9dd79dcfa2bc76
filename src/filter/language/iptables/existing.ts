/** Rules that are there already: what `-D` and `-C` look for, and `-X` without a name. */
import type { Family } from "../../expressions.ts";
import { showRule } from "../list.ts";
import type { Ruleset } from "../ruleset.ts";
import type { HeldChain } from "../tables.ts";

export interface Place {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
}
export interface Existing {
  /** Handles of a chain's rules, in order. */
  handles(place: Place): readonly number[];
  /** The first of them that is the same rule as this one, in nft's words. */
  find(place: Place, rule: string, except: ReadonlySet<number>): number | undefined;
  /** Chains of a table that hang on no hook. */
  userChains(family: Family, table: string): readonly string[];
}

export function existingRules(ruleset: Ruleset): Existing {
  const chainsOf = (family: Family, table: string): ReadonlyMap<string, HeldChain> =>
    ruleset.tables.find((each) => each.family === family && each.name === table)?.chains ?? new Map();
  const rulesOf = ({ family, table, chain }: Place) => chainsOf(family, table).get(chain)?.rules ?? [];
  return {
    handles: (place) => rulesOf(place).map(({ handle }) => handle),
    find(place, rule, except) {
      const { family, table, chain } = place;
      const rules = rulesOf(place);
      if (rules.length === 0) return undefined;
      // Added where nobody sees it, it is shown as the others are.
      const trial = ruleset.fork();
      trial.apply(`add rule ${family} ${table} "${chain}" ${rule}\n`);
      const added = trial.tables
        .find((each) => each.family === family && each.name === table)
        ?.chains.get(chain)
        ?.rules.at(-1);
      const text = added && showRule(added.rule, family, ruleset.names);
      return rules.find((each) => !except.has(each.handle) && showRule(each.rule, family, ruleset.names) === text)?.handle;
    },
    userChains: (family, table) => [...chainsOf(family, table).values()].filter(({ base }) => !base).map(({ name }) => name),
  };
}
