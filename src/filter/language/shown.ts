/**
 * Rules as they are shown: without the tests for headers that what follows them implies, joined comparisons apart again, chains of bit
 * operations as the pair of mask and value that the machine holds.
 */
import type { Family } from "../expressions.ts";
import { bytesOf, ones } from "./constants.ts";
import type { Binary, Constant, Element, Selector, SetDefinition, Statement, Value } from "./model.ts";
import { IP, IP6, type Protocol, TAGS, VLAN } from "./protocols.ts";
import { asInterval, isCatchAll, keyBytes, sortElements } from "./sets.ts";

type Match = Statement & { readonly k: "match" };
type Layer = "link" | "tag" | "network" | "transport" | "message";
interface Pending {
  readonly at: number;
  readonly value: number;
}

export function shownStatements(statements: readonly Statement[], family: Family): readonly Statement[] {
  const all = statements.flatMap((each) => (each.k === "match" && each.parts ? each.parts : [each]));
  const hidden = new Set<number>();
  const pending = new Map<Layer, Pending>();
  all.forEach((each, at) => {
    for (const layer of usedLayers(each, pending, family === "ip" || family === "ip6")) {
      const test = pending.get(layer);
      if (test) hidden.add(test.at);
      pending.delete(layer);
    }
    const test = testOf(each, family);
    const known = pending.get("network");
    // A tag behind another is shown by the type before it.
    if (test === "network" && isInnerTag(each)) pending.delete("network");
    else if (test) {
      // What follows a tag is named, and the tag itself not yet.
      if (test === "network" && known?.value === VLAN.number) pending.set("tag", known);
      pending.set(test, { at, value: Number(((each as Match).r as Constant).from) });
    } else if (each.k !== "match" && each.k !== "vmap") pending.clear();
  });
  return all.filter((_, at) => !hidden.has(at));
}

const isInnerTag = (each: Statement): boolean =>
  each.k === "match" && each.l.k === "payload" && each.l.protocol === VLAN && each.r.k === "constant" && TAGS.has(Number(each.r.from));

/** The layer a comparison tells the header of. */
function testOf(each: Statement, family: Family): Layer | undefined {
  if (each.k !== "match" || each.op !== "==" || each.r.k !== "constant" || each.r.form !== "value") return undefined;
  const { l } = each;
  if (l.k === "meta")
    return l.key === "l4proto"
      ? "transport"
      : l.key === "nfproto" || (l.key === "protocol" && family !== "inet")
        ? "network"
        : l.key === "iiftype"
          ? "link"
          : undefined;
  if (l.k !== "payload" || !l.field || !l.protocol) return undefined;
  const { name } = l.field;
  if (l.protocol.name.startsWith("icmp") && name === "type") return "message";
  if (name !== l.protocol.next) return undefined;
  if (l.protocol.base === "network") return family === "ip" || family === "ip6" ? "transport" : undefined;
  return "network";
}
function selectorsIn(value: Value | undefined): readonly Selector[] {
  if (!value || value.k === "constant") return [];
  if (value.k === "concat") return value.items.flatMap(selectorsIn);
  if (value.k === "binary") return selectorsIn(value.l);
  if (value.k === "map") return selectorsIn(value.e);
  if (value.k === "jhash") return [value, ...selectorsIn(value.e)];
  return [value];
}
function valuesOf(each: Statement): readonly (Value | undefined)[] {
  switch (each.k) {
    case "match":
      return [each.l];
    case "vmap":
    case "objmap":
      return [each.e];
    case "mangle":
      return [each.target, each.value];
    case "dynset":
      return [each.key, each.data];
    case "nat":
    case "tproxy":
      return [each.addr, each.port];
    case "dup":
    case "fwd":
      return [each.addr, each.device];
    case "queue":
      return [each.num];
    default:
      return [];
  }
}
/** Layers whose test a statement makes needless, because its own headers imply it. */
function usedLayers(each: Statement, pending: ReadonlyMap<Layer, Pending>, isSingle: boolean): readonly Layer[] {
  if (each.k === "reject") return each.type === "icmp-unreach" ? ["network"] : each.type === "tcp-rst" && isSingle ? ["transport"] : [];
  const layers: Layer[] = [];
  for (const selector of valuesOf(each).flatMap(selectorsIn)) {
    if (selector.k === "exthdr" && selector.header !== "tcpopt") layers.push("network");
    if (
      selector.k === "ct" &&
      selector.family &&
      !selector.key.includes("_ip") &&
      isTestFor(pending.get("network"), selector.family === "ip" ? IP : IP6)
    )
      layers.push("network");
    if (selector.k !== "payload" || !selector.protocol) continue;
    const { protocol, field } = selector;
    if (protocol.base === "link") layers.push("link");
    if (protocol.name === "vlan" && !isTagTest(each)) layers.push("tag");
    if (protocol.name === "vlan" && pending.get("network")?.value === VLAN.number && !isTagTest(each)) layers.push("network");
    if (protocol.base === "network" && isTestFor(pending.get("network"), protocol)) layers.push("network");
    if (protocol.base !== "transport" || protocol.number < 0) continue;
    if (pending.get("transport")?.value === protocol.number) layers.push("transport");
    const carrier = CARRIERS[protocol.name];
    if (carrier && isTestFor(pending.get("network"), carrier)) layers.push("network");
    if (field?.icmp?.length === 1 && pending.get("message")?.value === field.icmp[0]) layers.push("message");
  }
  return layers;
}
/** `vlan type ip`, `vlan type != ip`: of a tag that nothing else is asked of, whose own test is shown. */
function isTagTest(each: Statement): boolean {
  return (
    each.k === "match" &&
    (each.op === "==" || each.op === "!=") &&
    each.l.k === "payload" &&
    each.l.field?.name === "type" &&
    each.r.k === "constant" &&
    each.r.form === "value"
  );
}
/** Whose messages they are. */
const CARRIERS: Readonly<Record<string, Protocol>> = { icmp: IP, igmp: IP, icmpv6: IP6 };
const NF_NUMBERS: Readonly<Record<string, number>> = { ip: 2, ip6: 10 };
function isTestFor(test: Pending | undefined, protocol: { readonly name: string; readonly number: number }): boolean {
  return test !== undefined && (test.value === protocol.number || test.value === NF_NUMBERS[protocol.name]);
}

/** A chain of and, or, xor as `& mask ^ value`, `| value` and so on. */
export function operations(value: Binary): readonly [inner: Value, ops: readonly (readonly [op: string, value: bigint])[]] {
  if (value.op === "<<" || value.op === ">>") return [value.l, [[value.op, value.r.from]]];
  const chain: Binary[] = [];
  let inner: Value = value;
  while (inner.k === "binary" && inner.op !== "<<" && inner.op !== ">>") {
    chain.push(inner);
    inner = inner.l;
  }
  const all = ones(value.bits);
  let mask = all;
  let xor = 0n;
  for (const { op, r } of chain.reverse()) {
    if (op === "&") [mask, xor] = [mask & r.from, xor & r.from];
    else if (op === "^") xor ^= r.from;
    else [mask, xor] = [mask & ~r.from, (xor & ~r.from) | r.from];
  }
  mask &= all;
  // What is set whatever was there is an "or"; of the rest, what is turned round.
  const set = (mask & xor) ^ xor;
  const turned = xor & mask;
  const kept = mask | set;
  const ops = [
    ["&", kept, kept !== all],
    ["^", turned, turned !== 0n],
    ["|", set, set !== 0n],
  ] as const;
  const shown = ops.filter(([, , isShown]) => isShown).map(([op, number]) => [op, number] as const);
  return [inner, shown.length > 0 ? shown : [["&", mask]]];
}
/** `ip saddr & 255.255.255.0 == 10.1.2.0` is a prefix. */
export function prefixOf(l: Value, r: Constant): Constant | undefined {
  if (l.k !== "binary" || l.op !== "&" || l.l.k === "binary" || r.form !== "value") return undefined;
  if (l.type.name !== "ipv4_addr" && l.type.name !== "ipv6_addr") return undefined;
  const host = ones(l.bits) ^ l.r.from;
  if ((host & (host + 1n)) !== 0n) return undefined;
  const length = host === 0n ? l.bits : l.bits - host.toString(2).length;
  return { ...r, form: "prefix", prefix: length, to: r.from | host };
}
export type FlagForm =
  | { readonly form: "any"; readonly flags: bigint }
  | { readonly form: "none"; readonly flags: bigint }
  | { readonly form: "whole"; readonly value: bigint }
  | { readonly form: "masked"; readonly value: bigint; readonly mask: bigint };
/** Comparisons of flags under a mask have forms of their own. */
export function flagsOf(each: Match): FlagForm | undefined {
  const { l, r, op } = each;
  if (l.k !== "binary" || l.op !== "&" || l.type.kind !== "bitmask" || r.k !== "constant" || (op !== "==" && op !== "!=")) return undefined;
  const mask = l.r.from;
  if (mask === ones(l.bits)) return { form: "whole", value: r.from };
  if (r.from === 0n) return op === "!=" ? { form: "any", flags: mask } : { form: "none", flags: mask };
  const single = (mask & (mask - 1n)) === 0n;
  return single && r.from === mask ? undefined : { form: "masked", value: r.from, mask };
}

/** Several flags of a header are compared as a number. */
export const isFlagNumber = (l: Value, value: bigint): boolean =>
  l.k === "payload" && l.type.kind === "bitmask" && (value & (value - 1n)) !== 0n;

/** Elements in the order in which they are shown: intervals by where they begin, others by the number their bytes make. */
export function shownElements(set: SetDefinition): readonly Element[] {
  if (set.interval)
    return (set.parts.length === 1 ? sortElements(set.elements) : set.elements).map((each) => ({
      ...each,
      key: each.key.map((field) => (field.type.kind === "string" ? field : asInterval(field))),
    }));
  const rank = (each: Element): bigint => {
    const [first] = each.key;
    // Of flags the lowest decides; of those that have it in common the last comes first.
    if (each.key.length === 1 && first.type.kind === "bitmask") return first.from & -first.from;
    if (each.key.length === 1 && first.type.kind !== "string") return first.from;
    const bytes = each.key.length === 1 ? bytesOf(first.from, first.bits, "host", first.type) : keyBytes(each.key, "from", false);
    return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  };
  const isFlags = set.parts.length === 1 && set.parts[0].type.kind === "bitmask";
  const elements = set.elements.filter((each) => !isCatchAll(each));
  const ranked = (isFlags ? elements.reverse() : elements).map((each) => ({ each, rank: rank(each) }));
  ranked.sort((a, b) => (a.rank < b.rank ? -1 : a.rank > b.rank ? 1 : 0));
  const unique = isFlags ? ranked : ranked.filter((one, i) => i === 0 || one.rank !== ranked[i - 1].rank);
  return [...unique.map(({ each }) => each), ...set.elements.filter(isCatchAll)];
}
/** The largest unit that divides a number of bytes. */
export function byteUnit(bytes: number): readonly [number, string] {
  if (bytes > 0 && bytes % 1_048_576 === 0) return [bytes / 1_048_576, "mbytes"];
  if (bytes > 0 && bytes % 1024 === 0) return [bytes / 1024, "kbytes"];
  return [bytes, "bytes"];
}
export const PERIODS: Readonly<Record<number, string>> = { 1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week" };
export const NAT_FLAGS: readonly (readonly [number, string])[] = [
  [4, "random"],
  [16, "fully-random"],
  [8, "persistent"],
  [0x100, "full-cone"],
  [0x200, "restricted-cone"],
  [0x400, "port-restricted-cone"],
];
export const LOG_FLAGS: readonly (readonly [number, string])[] = [
  [4, "ip options"],
  [8, "skuid"],
  [32, "ether"],
];
export function flagNames(flags: number, names: readonly (readonly [number, string])[]): readonly string[] {
  return names.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
}
/** Statements of what packets add to a set; those that all of its elements have are told with the set alone. */
export function toldStatements({ set, statements }: Statement & { readonly k: "dynset" }): readonly Statement[] {
  return set.statements && !set.meter ? [] : statements;
}
