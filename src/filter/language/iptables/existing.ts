/** Rules that are there already: what `-D` and `-C` look for, and `-X` without a name. */
import type { Family } from "../../expressions.ts";
import { NftError } from "../faults.ts";
import { showRule } from "../list.ts";
import type { Ruleset } from "../ruleset.ts";
import type { HeldChain, HeldRule } from "../tables.ts";

export interface Place {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
}
export interface Existing {
  /** Handles of a chain's rules, in order. */
  handles(place: Place): readonly number[];
  /** The first of them that is the same rule as this one, in nft's words; `sets`: commands that make those which it names. */
  find(place: Place, rule: string, sets: readonly string[], except: ReadonlySet<number>): number | undefined;
  /** Sets that rules of a chain (or the one with that handle) keep something in, made for them alone. */
  ownSets(place: Place, handle?: number): readonly string[];
  hasSet(family: Family, table: string, name: string): boolean;
  chains(family: Family, table: string): readonly string[];
  /** Chains of a table that hang on no hook. */
  userChains(family: Family, table: string): readonly string[];
}

export function existingRules(ruleset: Ruleset): Existing {
  const chainsOf = (family: Family, table: string): ReadonlyMap<string, HeldChain> =>
    ruleset.tables.find((each) => each.family === family && each.name === table)?.chains ?? new Map();
  const rulesOf = ({ family, table, chain }: Place) => chainsOf(family, table).get(chain)?.rules ?? [];
  return {
    handles: (place) => rulesOf(place).map(({ handle }) => handle),
    find(place, rule, sets, except) {
      const { family, table, chain } = place;
      const rules = rulesOf(place);
      if (rules.length === 0) return undefined;
      // Added where nobody sees it, it is shown as the others are.
      const trial = ruleset.fork();
      try {
        trial.apply([...sets, `add rule ${family} ${table} "${chain}" ${rule}`, ""].join("\n"));
      } catch (error) {
        // What cannot be added is not there: it names a set of its own, or a chain that is none.
        if (error instanceof NftError) return undefined;
        throw error;
      }
      const added = trial.tables
        .find((each) => each.family === family && each.name === table)
        ?.chains.get(chain)
        ?.rules.at(-1);
      // Sets that rules keep something in are numbered as they come.
      const shown = ({ rule }: HeldRule) => showRule(rule, family, ruleset.names).replace(/@([a-z]+)\d+/g, "@$1");
      const text = added && shown(added);
      return rules.find((each) => !except.has(each.handle) && shown(each) === text)?.handle;
    },
    ownSets: (place, handle) =>
      rulesOf(place)
        .filter((each) => handle === undefined || each.handle === handle)
        .flatMap(({ rule }) =>
          rule.statements.flatMap((each) => (each.k === "dynset" && /^[a-z]+\d+$/.test(each.set.name) ? [each.set.name] : [])),
        ),
    hasSet: (family, table, name) => ruleset.tables.find((each) => each.family === family && each.name === table)?.sets.has(name) ?? false,
    chains: (family, table) => [...chainsOf(family, table).keys()],
    userChains: (family, table) => [...chainsOf(family, table).values()].filter(({ base }) => !base).map(({ name }) => name),
  };
}
