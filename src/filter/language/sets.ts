/** Sets and maps: elements from what was written, and the form the machine takes. */
import type { ObjectType, SetElement, SetSpec } from "../expressions.ts";
import type { Comment, ElementNode, Node, SetNode, StatementNode } from "./ast.ts";
import { bytesOf, constant, numberOf, ones, resolve, type Scope } from "./constants.ts";
import { Fault } from "./faults.ts";
import { linearize } from "./linearize.ts";
import type { Constant, Element, Part, SetData, SetDefinition, Statement, VerdictValue } from "./model.ts";

export interface ElementContext extends Scope {
  elementStatement(node: StatementNode): Statement;
  verdict(node: Node): VerdictValue;
}

/** The fields of a key or value: one constant for each part of a concatenation. */
export function fields(node: Node, parts: readonly Part[], scope: Scope): readonly Constant[] {
  const found = resolve(node, scope);
  if (parts.length === 1) return [constant(node, parts[0], scope)];
  if (found.k !== "concat" || found.items.length !== parts.length)
    throw new Fault(
      node.at,
      `datatype mismatch, expected concatenation of (${parts.map((part) => part.type.title).join(", ")}), expression has ` +
        (found.k === "concat" ? `${found.items.length} fields` : "one field"),
    );
  return found.items.map((item, i) => constant(item, parts[i], scope, node.at));
}

/** Elements of `{ … }`; a variable or a set inside a set stands for its elements. */
export function elementsOf(node: SetNode, parts: readonly Part[], data: SetData | undefined, context: ElementContext): readonly Element[] {
  return node.items.flatMap((item): readonly Element[] => {
    const key = resolve(item.key, context);
    if (key.k === "set") return elementsOf(data && item.data ? withData(key, item.data) : key, parts, data, context);
    if (data && !item.data) throw new Fault(item.at, "expected a value for this key of the map, after ':'");
    if (!data && item.data) throw new Fault(item.data.at, "a set has keys only, a map was not expected here");
    return [element(item, parts, data, context)];
  });
}
/** `{ eth0, eth1 } : drop` gives each of them that value. */
const withData = (node: SetNode, data: Node): SetNode => ({
  ...node,
  items: node.items.map((item) => ({ ...item, data: item.data ?? data })),
});
/** The comment among what a block or an element says, which says it once. */
export function commentOf(all: readonly (Comment | undefined)[]): string | undefined {
  const [first, second] = all.filter((each) => each !== undefined);
  if (second) throw new Fault(second.at, "You can only specify this once. This statement is duplicated.");
  return first?.text;
}
function element(item: ElementNode, parts: readonly Part[], data: SetData | undefined, context: ElementContext): Element {
  const options: { timeoutMs?: number; expiresMs?: number } = {};
  const comment = commentOf(item.options.map((option) => (option.o === "comment" ? option.comment : undefined)));
  const statements: Statement[] = [];
  for (const option of item.options) {
    if (option.o === "timeout") options.timeoutMs = option.ms;
    else if (option.o === "expires") options.expiresMs = option.ms;
    else if (option.o === "statement") statements.push(context.elementStatement(option.statement));
  }
  return {
    key: resolve(item.key, context).k === "wild" ? [] : fields(item.key, parts, context),
    ...(item.data && data ? { data: dataOf(item.data, data, context) } : {}),
    ...options,
    ...(comment === undefined ? {} : { comment }),
    ...(statements.length > 0 ? { statements } : {}),
  };
}
function dataOf(node: Node, data: SetData, context: ElementContext): Element["data"] {
  if (data.kind === "verdict") return context.verdict(node);
  if (data.kind === "data") {
    const values = fields(node, data.parts, context);
    if (!data.interval && values.some((each) => each.form !== "value")) throw new Fault(node.at, "Value must be a singleton");
    return values;
  }
  const name = resolve(node, context);
  if (name.k !== "symbol") throw new Fault(node.at, `expected the name of a ${data.type}`);
  return name.name;
}

export const isInterval = (elements: readonly Element[]): boolean =>
  elements.some((each) => each.key.some((field) => field.form !== "value"));

/** The element that stands for every key no other one matches (`*`). */
export const isCatchAll = (each: Element): boolean => each.key.length === 0;
const exact = (elements: readonly Element[]): readonly Element[] => elements.filter((each) => !isCatchAll(each));

/** Sorted, and joined where they touch or overlap: what nft does before it hands an anonymous set to the kernel. */
export function mergeIntervals(elements: readonly Element[]): readonly Element[] {
  const sorted = sortElements(exact(elements));
  const merged: Element[] = [];
  for (const next of sorted) {
    const last = merged[merged.length - 1];
    if (last && next.key[0].from <= last.key[0].to + 1n) {
      if (next.key[0].to > last.key[0].to)
        merged[merged.length - 1] = { ...last, key: [joined(last.key[0], next.key[0])], live: undefined };
    } else merged.push(next);
  }
  return [...merged, ...elements.filter(isCatchAll)];
}
function joined(a: Constant, b: Constant): Constant {
  return asInterval({ ...a, to: b.to });
}
/** Types whose intervals are shown as prefixes where they are some (nft's DTYPE_F_PREFIX). */
const PREFIXED: ReadonlySet<string> = new Set(["ipv4_addr", "ipv6_addr", "mark", "realm", "devgroup"]);
/** The shortest way to write an interval: a value, a prefix, or a range. */
export function asInterval(of: Constant): Constant {
  const { from, to, bits } = of;
  if (from === to) return { ...of, form: "value", prefix: undefined };
  const size = to - from + 1n;
  if (PREFIXED.has(of.type.name) && (size & (size - 1n)) === 0n && from % size === 0n)
    return { ...of, form: "prefix", prefix: bits - (size.toString(2).length - 1) };
  return { ...of, form: "range", prefix: undefined };
}
/** By where they begin; the rest comes last. */
export function sortElements(elements: readonly Element[]): readonly Element[] {
  return [...elements].sort((a, b) => {
    if (isCatchAll(a) || isCatchAll(b)) return Number(isCatchAll(a)) - Number(isCatchAll(b));
    for (let i = 0; i < a.key.length; i++) {
      const [x, y] = [a.key[i], b.key[i]];
      if (x.from !== y.from) return x.from < y.from ? -1 : 1;
    }
    return 0;
  });
}
export function overlap(elements: readonly Element[]): readonly [Element, Element] | undefined {
  const sorted = sortElements(exact(elements));
  for (let i = 1; i < sorted.length; i++) if (sorted[i].key[0].from <= sorted[i - 1].key[0].to) return [sorted[i - 1], sorted[i]];
  return undefined;
}

/**
 * Two elements of several fields, the second of which begins or ends within the first: what nf_tables refuses (nft_set_pipapo.c). One that holds an
 * earlier one whole is taken. Only elements that meet in the field that tells most of them apart are compared: 8,000 prefixes of one protocol in 0.3 s,
 * 30 s by the first field.
 */
export function overlappingBoxes(elements: readonly Element[]): readonly [Element, Element] | undefined {
  const order = new Map(elements.map((each, i) => [each, i]));
  const boxes = exact(elements);
  const starts = boxes[0]?.key.map((_, i) => new Set(boxes.map(({ key }) => key[i].from)).size) ?? [];
  const by = starts.indexOf(Math.max(...starts));
  const sorted = boxes.toSorted((a, b) => (a.key[by].from < b.key[by].from ? -1 : a.key[by].from > b.key[by].from ? 1 : 0));
  let open: Element[] = [];
  for (const each of sorted) {
    open = open.filter((other) => other.key[by].to >= each.key[by].from);
    for (const other of open) {
      const isLater = (order.get(each) as number) > (order.get(other) as number);
      const [first, second] = isLater ? [other, each] : [each, other];
      if (isWithin(second, "from", first) || isWithin(second, "to", first)) return [first, second];
    }
    open.push(each);
  }
  return undefined;
}
const isWithin = (point: Element, end: "from" | "to", box: Element): boolean =>
  box.key.every((field, i) => field.from <= point.key[i][end] && point.key[i][end] <= field.to);
export const keyText = (each: Element): string => each.key.map((field) => `${field.from}-${field.to}`).join(" ");
export function isSameData(a: Element["data"], b: Element["data"]): boolean {
  if (typeof a !== "object" || typeof b !== "object") return a === b;
  if ("verdict" in a || "verdict" in b) return "verdict" in a && "verdict" in b && JSON.stringify(a.verdict) === JSON.stringify(b.verdict);
  return a.length === b.length && a.every((field, i) => field.from === b[i].from && field.to === b[i].to);
}

/** Bytes that a key of these parts takes in registers: fields of a concatenation are padded to words. */
const width = (part: Part): number => ((part.loaded ?? part.bits) + 7) >> 3;
const padded = (bytes: number): number => (bytes + 3) & ~3;
export function keyLength(parts: readonly Part[]): number {
  return parts.length === 1 ? width(parts[0]) : parts.reduce((sum, part) => sum + padded(width(part)), 0);
}
/** Intervals are compared from the most significant byte, so their keys stand in network order. */
export function keyBytes(key: readonly Constant[], end: "from" | "to", interval: boolean, part?: Part): Uint8Array {
  const single = key.length === 1;
  if (single && part?.loaded) {
    const below = part.shift ?? 0;
    return bytesOf(key[0][end] << BigInt(below), part.loaded, "big");
  }
  const list = key.map((field) => bytesOf(field[end], field.bits, interval ? "big" : field.order, field.type));
  if (single) return list[0];
  const all = new Uint8Array(list.reduce((sum, bytes) => sum + padded(bytes.length), 0));
  let at = 0;
  for (const bytes of list) {
    all.set(bytes, at);
    at += padded(bytes.length);
  }
  return all;
}
/** Values of maps; an interval of addresses takes two registers. */
export function dataBytes(data: readonly Constant[], interval: boolean): Uint8Array {
  if (!interval) return keyBytes(data, "from", false);
  const [from, to] = [keyBytes(data, "from", false), keyBytes(data, "to", false)];
  const all = new Uint8Array(padded(from.length) + to.length);
  all.set(from);
  all.set(to, padded(from.length));
  return all;
}

/** The way back from `keyBytes`, of both ends of a key. */
function constantsOf(parts: readonly Part[], from: Uint8Array, to: Uint8Array, interval: boolean): readonly Constant[] {
  const single = parts.length === 1;
  let at = 0;
  return parts.map((part): Constant => {
    const { type, bits, order } = part;
    const bytes = width(part);
    const loaded = single && part.loaded !== undefined;
    const number = (all: Uint8Array) => {
      const found = numberOf(all.subarray(at, at + bytes), loaded || interval ? "big" : order, type);
      return loaded ? (found >> BigInt(part.shift ?? 0)) & ones(bits) : found;
    };
    const field: Constant = { k: "constant", type, bits, order, form: "value", from: number(from), to: number(to) };
    at += padded(bytes);
    return type.kind === "string" ? field : asInterval(field);
  });
}

/** An element that rules or programs have put into a set. */
export function elementOf(set: SetDefinition, { key, keyEnd, catchall, data, verdict, object, comment }: SetElement): Element {
  const value = (): Element["data"] => {
    if (object !== undefined) return object;
    if (verdict) return { verdict };
    if (!data || set.data?.kind !== "data") return undefined;
    const { parts, interval = false } = set.data;
    return constantsOf(parts, data, interval ? data.subarray(padded(keyLength(parts))) : data, false);
  };
  const found = value();
  return {
    key: catchall ? [] : constantsOf(set.parts, key, keyEnd ?? key, set.interval),
    ...(found === undefined ? {} : { data: found }),
    ...(comment === undefined ? {} : { comment }),
  };
}

export function setSpec(set: SetDefinition): SetSpec {
  const { data } = set;
  const dataLength = data?.kind === "data" ? keyLength(data.parts) * (data.interval ? 2 : 1) : 0;
  return {
    name: set.name,
    anonymous: set.anonymous,
    keyLength: keyLength(set.parts),
    fields: set.parts.map(width),
    ...(data
      ? {
          map:
            data.kind === "data"
              ? { kind: "data", length: dataLength }
              : data.kind === "verdict"
                ? { kind: "verdict" }
                : { kind: "object", type: data.type },
        }
      : {}),
    interval: set.interval,
    constant: set.constant,
    dynamic: set.dynamic,
    timeouts: set.timeouts,
    ...(set.timeoutMs === undefined ? {} : { timeoutMs: set.timeoutMs }),
    ...(set.gcIntervalMs === undefined ? {} : { gcIntervalMs: set.gcIntervalMs }),
    ...(set.size === undefined ? {} : { size: set.size }),
    elements: set.elements.map((each) => elementSpec(each, set)),
    ...(set.statements ? { expressions: set.statements.flatMap((each) => linearize([each])) } : {}),
  };
}
export function elementSpec(element: Element, set: SetDefinition): SetElement {
  const { data } = element;
  const isRest = isCatchAll(element);
  return {
    key: isRest ? new Uint8Array() : keyBytes(element.key, "from", set.interval, set.parts[0]),
    ...(isRest ? { catchall: true } : set.interval ? { keyEnd: keyBytes(element.key, "to", true, set.parts[0]) } : {}),
    ...(data === undefined
      ? {}
      : typeof data === "string"
        ? { object: data }
        : "verdict" in data
          ? { verdict: data.verdict }
          : { data: dataBytes(data, set.data?.kind === "data" && set.data.interval === true) }),
    ...(element.timeoutMs === undefined ? {} : { timeoutMs: element.timeoutMs }),
    ...(element.expiresMs === undefined ? {} : { expiresMs: element.expiresMs }),
    ...(element.comment === undefined ? {} : { comment: element.comment }),
    ...(element.live ? { live: true } : {}),
    ...(element.statements ? { expressions: element.statements.flatMap((each) => linearize([each])) } : {}),
  };
}
export const objectData = (type: ObjectType): SetData => ({ kind: "object", type });
