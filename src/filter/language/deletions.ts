/** `delete`, `destroy` and `flush`. */
import type { ObjectType } from "../expressions.ts";
import type { Command, DeleteCommand, InTable, Named } from "./ast.ts";
import { Fault } from "./faults.ts";
import type { SetDefinition } from "./model.ts";
import { KERNEL_MISSING, type RuleScope } from "./rule-scope.ts";
import { writtenElements } from "./set-declarations.ts";
import { keyText } from "./sets.ts";
import { type Draft, type DraftTable, objectKey, tableKey } from "./tables.ts";
import type { Span } from "./vocabulary.ts";

/** What a command here needs of the transaction. */
interface Host {
  readonly draft: Draft;
  text(named: Named): string;
  table(command: InTable): DraftTable;
  scope(table: DraftTable): RuleScope;
  current(table: DraftTable, set: SetDefinition): SetDefinition;
}
const BUSY = "Could not process rule: Device or resource busy";
const at = (command: { readonly name?: Named; readonly table?: Named; readonly at?: Span }): Span =>
  command.name?.at ?? command.table?.at ?? (command.at as Span);

export function deleteCommand(command: DeleteCommand & { readonly at: Span }, host: Host): void {
  const quiet = command.op === "destroy";
  const absent = () => {
    if (!quiet) throw new Fault(at(command), KERNEL_MISSING);
  };
  if (command.what === "table") {
    deleteTable(command, host, absent);
    return;
  }
  const key = tableKey(command.family, host.text(command.table as Named));
  if (!host.draft.tables.has(key)) {
    absent();
    return;
  }
  const table = host.table(command as InTable);
  if (command.what === "rule") {
    deleteRule(table, command, host, absent);
    return;
  }
  if (command.what === "chain") {
    deleteChain(table, command, host, absent);
    return;
  }
  if (command.what === "element") {
    deleteElements(table, command, host, absent);
    return;
  }
  if (command.what === "set" || command.what === "map") {
    const name = nameIn(table.sets, command, host);
    if (name === undefined || !table.sets.has(name)) {
      absent();
      return;
    }
    if (isUsed(table, "set", name)) throw new Fault(at(command), BUSY);
    table.sets.delete(name);
    return;
  }
  const name = command.name
    ? objectKey(command.what, host.text(command.name))
    : [...table.objects].find(([, each]) => each.handle === command.handle)?.[0];
  if (name === undefined || !table.objects.has(name)) {
    absent();
    return;
  }
  const { spec } = table.objects.get(name) as { spec: { name: string; object: { type: ObjectType } } };
  if (isUsed(table, "objref", spec.name) || isLedTo(table, spec.object.type, spec.name)) throw new Fault(at(command), BUSY);
  table.objects.delete(name);
}
function deleteTable(command: DeleteCommand, host: Host, absent: () => void): void {
  const { tables } = host.draft;
  const key = command.table
    ? tableKey(command.family, host.text(command.table))
    : [...tables].find(([, each]) => each.handle === command.handle && each.family === command.family)?.[0];
  if (key === undefined || !tables.delete(key)) absent();
}
function nameIn(map: ReadonlyMap<string, { readonly handle: number }>, command: DeleteCommand, host: Host): string | undefined {
  return command.name ? host.text(command.name) : [...map].find(([, each]) => each.handle === command.handle)?.[0];
}
function deleteRule(table: DraftTable, command: DeleteCommand, host: Host, absent: () => void): void {
  const name = host.text(command.name as Named);
  const found = table.chains.get(name)?.rules.findIndex(({ handle }) => handle === command.rule) ?? -1;
  if (found < 0) {
    absent();
    return;
  }
  host.draft.writeChain(table, name).rules.splice(found, 1);
}
function deleteChain(table: DraftTable, command: DeleteCommand, host: Host, absent: () => void): void {
  const name = nameIn(table.chains, command, host);
  if (name === undefined || !table.chains.has(name)) {
    absent();
    return;
  }
  if (isJumpedTo(table, name)) throw new Fault(at(command), BUSY);
  table.chains.delete(name);
}
function deleteElements(table: DraftTable, command: DeleteCommand, host: Host, absent: () => void): void {
  const set = table.sets.get(host.text(command.name as Named));
  if (!set) {
    absent();
    return;
  }
  const written = writtenElements({ ...set, data: undefined }, withoutData(command), host.scope(table)).map(keyText);
  const keys = new Set(written);
  const isTwice = keys.size < written.length;
  const kept = host.current(table, set).elements.filter((each) => !keys.delete(keyText(each)));
  if (keys.size > 0 || isTwice) absent();
  table.sets.set(set.name, { ...set, elements: kept });
}
/** Elements of maps may be named with their value or without. */
function withoutData(command: DeleteCommand) {
  const { elements } = command;
  if (elements?.k !== "set") return elements as NonNullable<typeof elements>;
  return { ...elements, items: elements.items.map(({ data: _, ...item }) => item) };
}

/** Does anything in a value, but for what is left `out`, stand the test? */
function mentions(
  value: unknown,
  test: (object: Record<string, unknown>) => boolean,
  out: (object: Record<string, unknown>) => boolean = () => false,
): boolean {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return false;
  if (Array.isArray(value)) return value.some((each) => mentions(each, test, out));
  const object = value as Record<string, unknown>;
  if (("protocol" in object && "base" in object) || out(object)) return false;
  return test(object) || Object.entries(object).some(([key, each]) => key !== "type" && key !== "selector" && mentions(each, test, out));
}
const rulesOf = (table: DraftTable) => [...table.chains.values()].flatMap((chain) => chain.rules.map(({ rule }) => rule.statements));
function isUsed(table: DraftTable, kind: "set" | "objref", name: string): boolean {
  return mentions(rulesOf(table), (object) =>
    kind === "set" ? "elements" in object && object.name === name : object.k === "objref" && object.name === name,
  );
}
/** Do elements of a map lead to it? */
function isLedTo(table: DraftTable, type: ObjectType, name: string): boolean {
  const maps = [...table.sets.values()].filter(({ data }) => data?.kind === "object" && data.type === type);
  return maps.some(({ elements }) => elements.some(({ data }) => data === name));
}
/** By rules, by sets of their own, or by what the table's maps hold now: rules have these as they were. */
function isJumpedTo(table: DraftTable, chain: string): boolean {
  const isTables = (object: Record<string, unknown>) => "elements" in object && table.sets.has(object.name as string);
  return mentions([rulesOf(table), [...table.sets.values()].map(({ elements }) => elements)], (object) => object.chain === chain, isTables);
}

export function flushCommand(command: Command & { readonly c: "flush" }, host: Host): void {
  const { tables } = host.draft;
  if (command.what === "ruleset") {
    for (const [key, table] of tables) if (!command.family || table.family === command.family) tables.delete(key);
    return;
  }
  const table = host.table(command as InTable);
  if (command.what === "table") {
    for (const chain of table.chains.keys()) host.draft.writeChain(table, chain).rules.length = 0;
    return;
  }
  const name = host.text(command.name as Named);
  if (command.what === "chain") {
    if (!table.chains.has(name)) throw new Fault(at(command), KERNEL_MISSING);
    host.draft.writeChain(table, name).rules.length = 0;
    return;
  }
  const set = table.sets.get(name);
  const isOther = (command.what === "set" && set?.data !== undefined) || (command.what === "map" && set?.data === undefined);
  if (!set || isOther) throw new Fault(at(command), KERNEL_MISSING);
  table.sets.set(name, { ...host.current(table, set), elements: [] });
}
