/** `set` and `map` blocks: type, flags and the rest, then the elements. */
import type { ObjectType } from "../expressions.ts";
import type { Named, Node, SetItem, SetNode, VariableNode } from "./ast.ts";
import { resolve } from "./constants.ts";
import { HeaderContext } from "./context.ts";
import { partsOf, value } from "./evaluate.ts";
import { Fault } from "./faults.ts";
import type { Element, Part, SetData, SetDefinition, Statement } from "./model.ts";
import { KERNEL_UNSUPPORTED, type RuleScope } from "./rule-scope.ts";
import {
  commentOf,
  type ElementContext,
  elementsOf,
  isCatchAll,
  isSameData,
  keyText,
  mergeIntervals,
  overlap,
  overlappingBoxes,
  sortElements,
} from "./sets.ts";
import { plain, RuleEvaluator } from "./statements.ts";
import { TYPES } from "./types.ts";
import type { Span } from "./vocabulary.ts";

type Writable<T> = { -readonly [K in keyof T]: T[K] };
const OBJECTS: readonly string[] = ["counter", "quota", "limit", "secmark", "synproxy"];
const FLAGS = new Set(["constant", "interval", "timeout", "dynamic"]);

function part(name: Named): Part {
  const type = TYPES.get(name.name as string);
  if (!type || type.name === "verdict") throw new Fault(name.at, `unknown datatype ${name.name}`);
  if (type.bits === 0)
    throw new Fault(
      name.at,
      `unqualified type ${type.name} specified in set definition. Try "typeof expression" instead of "type datatype".`,
    );
  return { type, bits: type.bits, order: type.order };
}
function dataOf(names: readonly Named[] | undefined, interval: boolean | undefined): SetData | undefined {
  if (!names) return undefined;
  const [first] = names;
  if (names.length === 1 && first.name === "verdict") return { kind: "verdict" };
  if (names.length === 1 && OBJECTS.includes(first.name as string)) return { kind: "object", type: first.name as ObjectType };
  return { kind: "data", parts: names.map(part), ...(interval ? { interval } : {}) };
}
function typeofParts(node: Node, scope: RuleScope): readonly Part[] {
  const context = new HeaderContext(
    scope.family,
    () => {},
    () => {},
  );
  return partsOf(value(node, context, scope));
}

export function declareSet(
  name: string,
  handle: number,
  items: readonly SetItem[],
  map: boolean,
  scope: RuleScope,
  at: Span,
): SetDefinition {
  const set: Partial<Writable<SetDefinition>> & { elements: readonly Element[] } = {
    name,
    anonymous: false,
    handle,
    interval: false,
    constant: false,
    dynamic: false,
    timeouts: false,
    elements: [],
  };
  const statements: Statement[] = [];
  const written: (SetNode | VariableNode)[] = [];
  const comment = commentOf(items.map((item) => ("s" in item && item.s === "comment" ? item.comment : undefined)));
  if (comment !== undefined) set.comment = comment;
  for (const item of items) {
    if (!("s" in item)) continue;
    if (item.s === "type") Object.assign(set, { parts: item.key.map(part), data: dataOf(item.data, item.interval) });
    else if (item.s === "typeof") {
      const { data } = item;
      set.typeof = true;
      set.parts = typeofParts(item.key, scope);
      if (data)
        set.data =
          data.k === "type"
            ? { kind: "verdict" }
            : { kind: "data", parts: typeofParts(data, scope), ...(item.interval ? { interval: true } : {}) };
    } else if (item.s === "flags") applyFlags(set, item.flags, item.at);
    else if (item.s === "timeout") Object.assign(set, { timeoutMs: item.ms, timeouts: true });
    else if (item.s === "gc-interval") set.gcIntervalMs = item.ms;
    else if (item.s === "size") set.size = sizeOf(item);
    else if (item.s === "policy") set.policy = policyOf(item);
    else if (item.s === "auto-merge") set.autoMerge = true;
    else if (item.s === "statement") statements.push(plain(item.statement));
    else if (item.s === "elements") written.push(item.elements);
  }
  if (!set.parts) throw new Fault(at, map ? "map definition does not specify key" : "set definition does not specify key");
  if (map && !set.data) throw new Fault(at, "map definition does not specify mapping data type");
  if (set.autoMerge && !set.interval) throw new Fault(at, "auto-merge only works with interval sets");
  if (set.gcIntervalMs !== undefined && !set.timeouts)
    throw new Fault(at, "a gc-interval is of sets whose elements end: expected a timeout, or its flag");
  // Neither a tree of intervals nor one of concatenations takes what packets add.
  if (set.dynamic && set.interval) throw new Fault(at, KERNEL_UNSUPPORTED);
  if (!map && set.data) throw new Fault(at, "a set has keys only, expected map");
  if (!set.data) delete set.data;
  // A set that stays as it is has the size of its elements.
  if (set.constant) delete set.size;
  if (statements.length > 0) set.statements = statements;
  return written.reduce<SetDefinition>((all, node) => addElements(all, node, scope), set as SetDefinition);
}
function policyOf({ policy, at }: { readonly policy: string; readonly at: Span }): string {
  if (policy !== "memory" && policy !== "performance")
    throw new Fault(at, `syntax error, unexpected string, expecting memory or performance`);
  return policy;
}
function sizeOf({ size, at }: { readonly size: number; readonly at: Span }): number {
  if (size > 0xffff_ffff) throw new Fault(at, "the size is too large");
  return size;
}
function applyFlags(set: Partial<Writable<SetDefinition>>, flags: readonly string[], at: Span): void {
  for (const flag of flags) {
    if (!FLAGS.has(flag)) throw new Fault(at, `unknown set flag ${flag}, expected ${[...FLAGS].join(" or ")}`);
    if (flag === "timeout") set.timeouts = true;
    else set[flag as "constant" | "interval" | "dynamic"] = true;
  }
}

const contextOf = (scope: RuleScope): ElementContext => new RuleEvaluator(scope);
export function writtenElements(set: SetDefinition, written: Node, scope: RuleScope): readonly Element[] {
  const node = resolve(written, scope);
  if (node.k !== "set") throw new Fault(written.at, "expected elements: { … }");
  for (const item of node.items) checkStatements(item, set);
  return elementsOf(node, set.parts, set.data, contextOf(scope));
}
/** A statement without what it has counted. */
function termsOf(statement: Statement): string {
  const { k, used: _, packets: __, usedMs: ___, ...terms } = statement as unknown as Record<string, unknown>;
  return JSON.stringify(k === "counter" ? k : [k, terms], (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}
/** What an element counts and limits is what its set says that elements do. */
function checkStatements({ key, options }: SetNode["items"][number], { statements = [], data, dynamic }: SetDefinition): void {
  const own = options.flatMap((option) => (option.o === "statement" ? [option.statement] : []));
  const what = data ? "map" : "set";
  // What packets add may carry what their rules say.
  if (own.length === 0 || (dynamic && statements.length === 0)) return;
  if (statements.length === 0) throw new Fault(own[0].at, `missing statement in ${what} declaration`);
  if (own.length !== statements.length)
    throw new Fault(key.at, `number of statements mismatch, ${what} expects ${statements.length} but element has ${own.length}`);
  own.forEach((each, i) => {
    const wanted = statements[i];
    if (each.k !== wanted.k) throw new Fault(each.at, `statement mismatch, element expects ${each.k}, but ${what} has type ${wanted.k}`);
    if (termsOf(plain(each)) !== termsOf(wanted))
      throw new Fault(each.at, `this ${each.k} differs from the ${what}'s; all elements have that here`);
  });
}
/** The set with more elements: one that is there already stays as it is, or with `create` may not be there. */
export function addElements(set: SetDefinition, written: Node, scope: RuleScope, create = false): SetDefinition {
  return withElements(set, writtenElements(set, written, scope), written.at, create);
}
export function withElements(set: SetDefinition, elements: readonly Element[], at: Span, create = false): SetDefinition {
  const added = elements.map((each) => (set.statements && !each.statements ? { ...each, statements: set.statements } : each));
  if (!set.interval && added.some((each) => each.key.some((field) => field.form !== "value")))
    throw new Fault(at, "You must add 'flags interval' to your set declaration if you want to add prefix or range elements");
  if (!set.timeouts && added.some(({ timeoutMs, expiresMs }) => timeoutMs !== undefined || expiresMs !== undefined))
    throw new Fault(at, "Could not process rule: Invalid argument");
  const all = [...renewed(set, added, create), ...withoutTwins(set, added, at, create)];
  const grown = { ...set, elements: arranged(set, all, at) };
  if (all.length > set.elements.length && isOverfull(grown)) throw new Fault(at, "Could not process rule: Too many open files in system");
  return grown;
}
/** The rest is not counted. */
const isOverfull = ({ elements, size }: SetDefinition): boolean =>
  size !== undefined && elements.length > size && elements.filter((each) => !isCatchAll(each)).length > size;
function arranged(set: SetDefinition, all: readonly Element[], at: Span): readonly Element[] {
  if (!set.interval) return sortRest(all);
  if (set.parts.length > 1) {
    if (overlappingBoxes(all)) throw new Fault(at, EXISTS);
    return sortRest(all);
  }
  const sorted = sortElements(all);
  if (set.autoMerge && !set.data) return mergeIntervals(sorted);
  if (overlap(sorted)) throw new Fault(at, "conflicting intervals specified");
  return sorted;
}
const EXISTS = "Could not process rule: File exists";
/** The rest behind all others. */
const sortRest = (elements: readonly Element[]): readonly Element[] => [
  ...elements.filter((each) => !isCatchAll(each)),
  ...elements.filter(isCatchAll),
];
/** Elements that are there, with another time to live where one was said for their key (Linux since 6.12). */
function renewed(set: SetDefinition, added: readonly Element[], create: boolean): readonly Element[] {
  const timed = new Map(
    added.filter(({ timeoutMs, expiresMs }) => (timeoutMs ?? expiresMs) !== undefined).map((each) => [keyText(each), each]),
  );
  if (create || timed.size === 0) return set.elements;
  return set.elements.map((each) => {
    const again = timed.get(keyText(each));
    if (!again) return each;
    return { ...each, timeoutMs: again.timeoutMs ?? each.timeoutMs, expiresMs: again.expiresMs, live: undefined };
  });
}
/** Elements that are new. The same key with another value is a mistake. */
function withoutTwins(set: SetDefinition, added: readonly Element[], at: Span, create: boolean): readonly Element[] {
  const known = new Map(set.elements.map((each) => [keyText(each), each]));
  return added.filter((each) => {
    const text = keyText(each);
    const twin = known.get(text);
    if (!twin) return known.set(text, each);
    if (create || !isSameData(twin.data, each.data)) throw new Fault(at, EXISTS);
    return false;
  });
}
