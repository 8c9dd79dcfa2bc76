/**
 * The tables that are held: what was applied, evaluated, with handles. A transaction works on a draft that shares what it does not
 * change; when a command fails, the draft is thrown away.
 */
import type { ChainSpec, Family, ObjectSpec, RulesetSpec, TableSpec } from "../expressions.ts";
import { linearize } from "./linearize.ts";
import type { BoundChain, EvaluatedRule, SetDefinition } from "./model.ts";
import { setSpec } from "./sets.ts";

export interface HeldRule {
  readonly handle: number;
  readonly rule: EvaluatedRule;
}
export interface Priority {
  readonly value: number;
}
export interface HeldChain {
  readonly name: string;
  readonly handle: number;
  readonly base?: ChainSpec["base"];
  readonly comment?: string;
  readonly rules: readonly HeldRule[];
}
export interface HeldObject {
  readonly handle: number;
  readonly spec: ObjectSpec;
  readonly comment?: string;
}
export interface HeldTable {
  readonly family: Family;
  readonly name: string;
  readonly handle: number;
  readonly flags: readonly string[];
  readonly comment?: string;
  readonly chains: ReadonlyMap<string, HeldChain>;
  /** Named sets; anonymous ones belong to their rules. */
  readonly sets: ReadonlyMap<string, SetDefinition>;
  readonly objects: ReadonlyMap<string, HeldObject>;
}
export type DraftChain = { -readonly [K in keyof HeldChain]: HeldChain[K] } & { rules: HeldRule[] };
export interface DraftTable {
  family: Family;
  name: string;
  handle: number;
  flags: readonly string[];
  comment?: string;
  chains: Map<string, HeldChain>;
  sets: Map<string, SetDefinition>;
  objects: Map<string, HeldObject>;
  nextHandle: number;
  nextAnonymous: number;
}
export const objectKey = (type: string, name: string): string => `${type} ${name}`;
export const tableKey = (family: Family, name: string): string => `${family} ${name}`;

/** All tables, with the counters that name new things. */
export class Draft {
  readonly tables: Map<string, DraftTable>;
  private readonly own = new Set<DraftTable>();
  private readonly ownChains = new Set<HeldChain>();
  nextTable: number;

  constructor(from?: Draft) {
    this.tables = new Map(from?.tables);
    this.nextTable = from?.nextTable ?? 1;
  }
  /** A table to be changed: a copy of its own for this draft. */
  write(table: DraftTable): DraftTable {
    if (this.own.has(table)) return table;
    const copy = { ...table, chains: new Map(table.chains), sets: new Map(table.sets), objects: new Map(table.objects) };
    this.own.add(copy);
    this.tables.set(tableKey(table.family, table.name), copy);
    return copy;
  }
  writeChain(table: DraftTable, name: string): DraftChain {
    const chain = table.chains.get(name) as HeldChain;
    if (this.ownChains.has(chain)) return chain as DraftChain;
    const copy: DraftChain = { ...chain, rules: [...chain.rules] };
    this.ownChains.add(copy);
    table.chains.set(name, copy);
    return copy;
  }
  create(family: Family, name: string): DraftTable {
    const table: DraftTable = {
      family,
      name,
      handle: this.nextTable++,
      flags: [],
      chains: new Map(),
      sets: new Map(),
      objects: new Map(),
      nextHandle: 1,
      nextAnonymous: 0,
    };
    this.own.add(table);
    this.tables.set(tableKey(family, name), table);
    return table;
  }
}

/** Chains that rules have for themselves. */
export function boundChains(rules: readonly HeldRule[]): readonly BoundChain[] {
  return rules.flatMap(({ rule }) => rule.statements.flatMap((each) => (each.k === "bind" ? [each.chain] : [])));
}
/** With those that belong to rules. */
export function allChains(table: HeldTable): readonly (HeldChain | BoundChain)[] {
  const named = [...table.chains.values()];
  return [...named, ...named.flatMap((chain) => boundChains(chain.rules))];
}
export function tableSpec(table: HeldTable): TableSpec {
  const chains = allChains(table);
  const rules = chains.flatMap((chain) => chain.rules);
  return {
    handle: table.handle,
    family: table.family,
    name: table.name,
    dormant: table.flags.includes("dormant"),
    sets: [...table.sets.values(), ...rules.flatMap(({ rule }) => rule.sets)].map(setSpec),
    objects: [...table.objects.values()].map(({ spec }) => spec),
    chains: chains.map((chain) => ({
      name: chain.name,
      ...("base" in chain && chain.base ? { base: chain.base } : {}),
      rules: chain.rules.map(({ handle, rule }) => ({
        handle,
        expressions: linearize(rule.statements),
        ...(rule.comment === undefined ? {} : { comment: rule.comment }),
      })),
    })),
  };
}
export const rulesetSpec = (tables: Iterable<HeldTable>): RulesetSpec => ({ tables: [...tables].map(tableSpec) });
