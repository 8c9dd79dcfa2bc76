/** Tables as they stand in memory: with what rules and objects have counted, and the elements that sets have by now. */
import type { Expression, SetElement } from "./expressions.ts";
import type { Element, SetDefinition, Statement } from "./language/model.ts";
import { elementOf, elementSpec } from "./language/sets.ts";
import type { HeldObject, HeldRule, HeldTable } from "./language/tables.ts";
import type { Machine } from "./machine/machine.ts";
import { hex } from "./machine/same.ts";
import type { StateReading, TableName } from "./machine/state.ts";

export function liveTables(tables: readonly HeldTable[], machine: Machine, nowMs: number): readonly HeldTable[] {
  const rules = grouped(machine.counters(), (state) => ruleKey(state, state.chain, state.handle));
  const objects = grouped(machine.objects(), (state) => objectKey(state, state.op, state.name));
  return tables.map((table) => {
    const name: TableName = { family: table.family, table: table.name };
    return {
      ...table,
      chains: mapped(table.chains, (chain) => ({
        ...chain,
        rules: chain.rules.map((rule) => liveRule(rule, chain.name, (own, { handle }) => rules.get(ruleKey(name, own, handle)), nowMs)),
      })),
      objects: mapped(table.objects, (object) =>
        liveObject(object, objects.get(objectKey(name, object.spec.object.type, object.spec.name))),
      ),
      sets: mapped(table.sets, (set) => liveSet(set, machine.elementsIfAny({ ...name, set: set.name }))),
    };
  });
}

const ruleKey = ({ family, table }: TableName, chain: string, handle: number): string => `${family} ${table} ${chain} ${handle}`;
const objectKey = ({ family, table }: TableName, type: string, name: string): string => `${family} ${table} ${type} ${name}`;

function grouped<T>(all: readonly T[], keyOf: (each: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const each of all) {
    const group = groups.get(keyOf(each));
    if (group) group.push(each);
    else groups.set(keyOf(each), [each]);
  }
  return groups;
}

function mapped<T>(map: ReadonlyMap<string, T>, change: (value: T) => T): ReadonlyMap<string, T> {
  return new Map([...map].map(([key, value]) => [key, change(value)]));
}

/** What memory keeps for a rule of a chain. */
type StatesOf = (chain: string, rule: HeldRule) => readonly StateReading[] | undefined;

/** Statements and what memory keeps for them stand in the same order. */
function liveRule(held: HeldRule, chain: string, statesOf: StatesOf, nowMs: number): HeldRule {
  const left = [...(statesOf(chain, held) ?? [])];
  const statements = held.rule.statements.map((each): Statement => {
    if (each.k === "bind") {
      const { name, rules } = each.chain;
      return { ...each, chain: { name, rules: rules.map((rule) => liveRule(rule, name, statesOf, nowMs)) } };
    }
    const at = left.findIndex(({ op }) => op === each.k);
    return at < 0 ? each : read(each, left.splice(at, 1)[0], nowMs);
  });
  return { ...held, rule: { ...held.rule, statements } };
}

function read(statement: Statement, { packets = 0, bytes = 0, used = 0, lastMs }: StateReading, nowMs: number): Statement {
  if (statement.k === "counter") return { ...statement, packets, bytes };
  // What went over it is not told, as in Linux.
  if (statement.k === "quota") return { ...statement, used: Math.min(used, statement.bytes) };
  if (statement.k === "last") return { ...statement, usedMs: lastMs === undefined ? undefined : Math.max(0, nowMs - lastMs) };
  return statement;
}

function liveObject(held: HeldObject, states: readonly StateReading[] | undefined): HeldObject {
  if (!states) return held;
  const { spec } = held;
  const [{ packets = 0, bytes = 0, used = 0 }] = states;
  if (spec.object.type === "counter") return { ...held, spec: { ...spec, object: { ...spec.object, packets, bytes } } };
  if (spec.object.type === "quota")
    return { ...held, spec: { ...spec, object: { ...spec.object, used: Math.min(used, spec.object.bytes) } } };
  return held;
}

/** A set as it stands in memory. Elements that were written keep the form in which they were. */
export function liveSet(set: SetDefinition, elements: readonly SetElement[] | undefined): SetDefinition {
  if (!elements || set.constant) return set;
  const written = new Map(set.elements.map((each) => [elementKey(elementSpec(each, set)), each]));
  return { ...set, elements: elements.map((each) => liveElement(written.get(elementKey(each)), each, set)) };
}

const elementKey = ({ key, keyEnd, catchall }: SetElement): string =>
  catchall || key.length === 0 ? "*" : `${hex(key)}-${hex(keyEnd ?? key)}`;

function liveElement(written: Element | undefined, found: SetElement, set: SetDefinition): Element {
  const { timeoutMs, expiresMs, expressions } = found;
  return {
    ...(written ?? elementOf(set, found)),
    timeoutMs: timeoutMs === set.timeoutMs ? undefined : timeoutMs,
    expiresMs: expiresMs === undefined ? undefined : Math.round(expiresMs),
    statements: expressions?.map(statementOf),
    live: true,
  };
}

/** What elements carry reads as a statement does. */
function statementOf({ op, ...rest }: Expression): Statement {
  return { k: op, ...rest } as unknown as Statement;
}
