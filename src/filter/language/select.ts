/** What a `list` or `reset` command names: tables, with no more in them than was asked for. */
import type { Family, ObjectType } from "../expressions.ts";
import type { Command } from "./ast.ts";
import { Fault } from "./faults.ts";
import { KERNEL_MISSING } from "./rule-scope.ts";
import { type HeldTable, objectKey } from "./tables.ts";
import type { Span } from "./vocabulary.ts";

export interface Selection {
  readonly tables: readonly HeldTable[];
  /** `ruleset` and `table` show tables whole, `tables` their names, all else what is in them. */
  readonly show: "whole" | "names" | "parts";
}
type ListCommand = Command & { readonly c: "list" };

const FAMILIES: readonly string[] = ["ip", "ip6", "inet", "arp", "bridge", "netdev"] satisfies Family[];
const OBJECTS: readonly string[] = [
  "counter",
  "quota",
  "limit",
  "secmark",
  "synproxy",
  "ct helper",
  "ct timeout",
  "ct expectation",
] satisfies ObjectType[];
const LISTED = ["ruleset", "table", "chain", "set", "map", "meter", "flowtable", ...OBJECTS];
const RESET = ["counter", "quota", "rule", "rules"];

/** Names of a command: `list counters table inet t`, `list set inet t s`, `list ruleset ip`. */
interface Wanted {
  /** In the singular. */
  readonly kind: string;
  readonly all: boolean;
  readonly family?: string;
  readonly table?: string;
  readonly name?: string;
}

function parse({ op, what, rest, at }: ListCommand): Wanted {
  const words = `${what} ${rest}`
    .trim()
    .split(/\s+/)
    .filter((word) => word !== "");
  const first = words.shift() ?? "";
  const kind = first === "ct" ? `ct ${words.shift() ?? ""}` : first;
  const known = op === "reset" ? RESET : LISTED;
  const single = known.includes(kind) ? kind : known.find((each) => `${each}s` === kind);
  if (single === undefined) {
    const expected = known.flatMap((each) => (each === "ruleset" ? [each] : [each, `${each}s`])).join(", ");
    throw new Fault(at, `syntax error, unexpected ${kind}, expecting one of ${expected}`);
  }
  const all = single !== kind || kind === "ruleset" || kind === "rules";
  if (all && words[0] === "table") words.shift();
  const family = FAMILIES.includes(words[0]) ? words.shift() : undefined;
  const [table, name, ...more] = words;
  if (more.length > 0) throw new Fault(at, `syntax error, unexpected ${more[0]}`);
  if (!all && kind !== "table" && name === undefined) throw new Fault(at, `expected the name of a ${single} after that of its table`);
  return { kind: single, all, family: family ?? (table === undefined ? undefined : "ip"), table, name };
}

export function select(command: ListCommand, tables: readonly HeldTable[]): Selection {
  const wanted = parse(command);
  const { kind, all, family, table, name } = wanted;
  const found = tables.filter((each) => (!family || each.family === family) && (table === undefined || each.name === table));
  if (table !== undefined && found.length === 0) throw new Fault(command.at, KERNEL_MISSING);
  if (kind === "ruleset") return { tables: found, show: "whole" };
  if (kind === "table") return { tables: found, show: all ? "names" : "whole" };
  // Of those without any object nothing is shown where objects are asked for.
  const some = OBJECTS.includes(kind) && table === undefined ? found.filter(({ objects }) => objects.size > 0) : found;
  const parts = some.map((each) => only(each, wanted, name, command.at));
  // What has nothing that could be reset is not shown then.
  return { tables: command.op === "reset" ? parts.filter(({ chains, objects }) => chains.size + objects.size > 0) : parts, show: "parts" };
}

function only(table: HeldTable, { kind, all }: Wanted, name: string | undefined, at: Span): HeldTable {
  const empty: HeldTable = { ...table, flags: [], comment: undefined, chains: new Map(), sets: new Map(), objects: new Map() };
  const named = <T>(map: ReadonlyMap<string, T>, keyOf: (name: string) => string = (key) => key): ReadonlyMap<string, T> => {
    if (name === undefined) return map;
    const found = map.get(keyOf(name));
    if (found === undefined) throw new Fault(at, KERNEL_MISSING);
    return new Map([[keyOf(name), found]]);
  };
  switch (kind) {
    case "chain": {
      const chains = named(table.chains);
      return { ...empty, chains: all ? new Map([...chains].map(([key, chain]) => [key, { ...chain, rules: [] }])) : chains };
    }
    case "rule":
    case "rules":
      return { ...empty, chains: named(table.chains) };
    case "set":
    case "map":
    case "meter": {
      const isKind = (set: { data?: unknown; meter?: boolean }) => (set.meter ? "meter" : set.data ? "map" : "set") === kind;
      const sets = named(table.sets);
      if (name !== undefined && ![...sets.values()].every(isKind)) throw new Fault(at, KERNEL_MISSING);
      return { ...empty, sets: new Map([...sets].filter(([, set]) => isKind(set))) };
    }
    case "flowtable":
      return empty;
    default: {
      const isKind = ([, { spec }]: [string, { spec: { object: { type: string } } }]) => spec.object.type === kind;
      const objects = named(table.objects, (key) => objectKey(kind, key));
      return { ...empty, objects: name === undefined ? new Map([...objects].filter(isKind)) : objects };
    }
  }
}
