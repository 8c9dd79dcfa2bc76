/** A ruleset as `nft -j list ruleset` gives it (libnftables-json). */
import type { Family, LimitSpec, QuotaSpec, Verdict } from "../expressions.ts";
import { ones } from "./constants.ts";
import { type ListOptions, l3Word, setFlagNames } from "./list.ts";
import type { Constant, Element, Part, Selector, SetDefinition, Statement, Value } from "./model.ts";
import type { Selection } from "./select.ts";
import { asInterval } from "./sets.ts";
import { rejectName, Shower, tcpLogFlags } from "./show.ts";
import {
  byteUnit,
  flagNames,
  flagsOf,
  isFlagNumber,
  LOG_FLAGS,
  NAT_FLAGS,
  operations,
  PERIODS,
  prefixOf,
  shownElements,
  shownStatements,
  toldStatements,
} from "./shown.ts";
import { IP_PROTOCOLS } from "./symbols.ts";
import type { HeldChain, HeldObject, HeldTable } from "./tables.ts";
import { type Names, stringOf } from "./types.ts";
import { LOG_LEVELS } from "./vocabulary.ts";

type Json = unknown;
const one = (list: readonly Json[]): Json => (list.length === 1 ? list[0] : list);
const unquoted = (text: string): string => text.replace(/^"(.*)"$/, "$1");

class Writer {
  constructor(private readonly names: Names) {}

  number(type: Constant["type"], value: bigint): Json {
    if (type.name === "time") return Number(value / 1000n);
    if (type.name === "boolean") return value === 1n;
    if (type.name === "ct_label") return value.toString(2).length - 1;
    if (type.name === "hexadecimal" && value >= 1n << 63n) return `0x${value.toString(16)}`;
    const text = unquoted(type.print(value, this.names));
    const isNumber = /^(\d+|0x[0-9a-f]+)$/.test(text) && (type.json === "number" || (type.symbols && type.name !== "realm"));
    return isNumber ? Number(value) : text;
  }
  constant(value: Constant): Json {
    const { type, from, to, form } = value;
    if (type.kind === "string") {
      const text = stringOf(from, value.bits);
      return form === "prefix" ? `${text}*` : text.replace(/\*$/, "\\*");
    }
    if (form === "prefix") return { prefix: { addr: this.number(type, from), len: value.prefix } };
    if (form === "range") return { range: [this.plain(type, from), this.plain(type, to)] };
    return type.kind === "bitmask" && type.symbols ? this.flags(type, from) : this.number(type, from);
  }
  private plain(type: Constant["type"], value: bigint): Json {
    return type.name === "inet_proto" ? Number(value) : this.number(type, value);
  }
  private flags(type: Constant["type"], from: bigint): Json {
    const names = [...(type.symbols ?? [])].filter(([, bit]) => (from & bit) !== 0n).sort((a, b) => Number(a[1] - b[1]));
    return names.length === 0 ? Number(from) : one(names.map(([name, bit]) => (this.names.wording?.numeric ? Number(bit) : name)));
  }
  private typed(value: Value, number: bigint): Json {
    if (value.type.kind === "bitmask" && value.type.symbols) {
      const flags = this.flags(value.type, number);
      return Array.isArray(flags) ? flags.slice(1).reduce((all, each) => ({ "|": [all, each] }), flags[0]) : flags;
    }
    return this.number(value.type, number);
  }
  value(value: Value): Json {
    switch (value.k) {
      case "constant":
        return this.constant(value);
      case "concat":
        return { concat: value.items.map((item) => this.value(item)) };
      case "map":
        return { map: { key: this.value(value.e), data: this.set(value.set) } };
      case "binary": {
        const [inner, ops] = operations(value);
        const right = (op: string, number: bigint) => (op === "<<" || op === ">>" ? Number(number) : this.typed(value.l, number));
        return ops.reduce<Json>((left, [op, number]) => ({ [op]: [left, right(op, number)] }), this.value(inner));
      }
      default:
        return this.selector(value);
    }
  }
  private selector(value: Selector): Json {
    switch (value.k) {
      case "payload":
        if (value.protocol && value.field) return { payload: { protocol: value.protocol.name, field: value.field.name } };
        return {
          payload: { base: { link: "ll", network: "nh", transport: "th", inner: "ih" }[value.base], offset: value.offset, len: value.bits },
        };
      case "exthdr": {
        const [name, field] = value.words;
        if (value.header === "sctp") return { "sctp chunk": { name, ...(value.present ? {} : { field }) } };
        if (value.header === "ipv6") return { exthdr: { name, ...(value.present ? {} : { field }) } };
        if (name.startsWith("@")) return { "tcp option": { base: value.kind, offset: value.offset, len: value.bits } };
        const key = value.header === "tcpopt" ? "tcp option" : "ip option";
        if (/^\d+$/.test(name)) return { [key]: { base: value.kind, offset: 0, len: 8 } };
        return { [key]: { name, ...(value.present ? {} : { field }) } };
      }
      case "meta":
        return { meta: { key: value.key } };
      case "ct": {
        const directed = value.direction && value.name !== "l3proto" && value.name !== "protocol";
        return {
          ct: { key: `${value.key.includes("_ip") ? `${value.family} ` : ""}${value.name}`, ...(directed ? { dir: value.direction } : {}) },
        };
      }
      case "rt":
        return { rt: { key: value.nf ? "nexthop" : value.key, ...(value.nf ? { family: value.nf } : {}) } };
      case "xfrm":
        return { ipsec: { key: value.key, ...(value.nf ? { family: value.nf } : {}), dir: value.direction, spnum: value.number } };
      case "osf":
        return { osf: { key: value.key, ...(value.ttl ? { ttl: value.ttl } : {}) } };
      case "fib":
        return { fib: { result: value.result, flags: value.flags } };
      case "socket":
        return { socket: { key: value.key } };
      case "numgen":
        return { numgen: { mode: value.kind, mod: value.modulus, offset: value.offset } };
      case "symhash":
        return { symhash: { mod: value.modulus, ...(value.offset ? { offset: value.offset } : {}) } };
      default: {
        const { modulus: mod, seed, offset } = value;
        return { jhash: { mod, ...(seed === undefined ? {} : { seed }), ...(offset ? { offset } : {}), expr: this.value(value.e) } };
      }
    }
  }

  set(set: SetDefinition): Json {
    return set.anonymous ? { set: this.elements(set) } : `@${set.name}`;
  }
  elements(set: SetDefinition): readonly Json[] {
    return shownElements(set).map((each) => {
      const key = this.element(each);
      return each.data === undefined ? key : [key, this.data(each.data, set)];
    });
  }
  private element(each: Element): Json {
    const keys = each.key.map((field) =>
      field.type.kind === "bitmask" && field.form === "value" ? this.typed(field, field.from) : this.constant(field),
    );
    const val = keys.length === 0 ? "*" : keys.length === 1 ? keys[0] : { concat: keys };
    const { timeoutMs, expiresMs, comment, statements } = each;
    if (timeoutMs === undefined && expiresMs === undefined && comment === undefined && !statements) return val;
    return {
      elem: {
        val,
        ...(timeoutMs === undefined ? {} : { timeout: Math.floor(timeoutMs / 1000) }),
        ...(expiresMs === undefined ? {} : { expires: Math.floor(expiresMs / 1000) }),
        ...(comment === undefined ? {} : { comment }),
        ...Object.assign({}, ...(statements ?? []).slice(0, 1).map((statement) => this.statement(statement))),
      },
    };
  }
  private data(data: NonNullable<Element["data"]>, set: SetDefinition): Json {
    if (typeof data === "string") return data;
    if ("verdict" in data) return verdictJson(data.verdict);
    const interval = set.data?.kind === "data" && set.data.interval;
    const values = data.map((field) => this.constant(interval ? asInterval(field) : field));
    return values.length === 1 ? values[0] : { concat: values };
  }

  /** A chain of the rule's own is a text, as nft has it. */
  inRule(each: Statement, family: Family): Json {
    return each.k === "bind" ? new Shower(this.names, family).statement(each) : this.statement(each);
  }
  statement(each: Statement): Json {
    switch (each.k) {
      case "match":
        return { match: this.match(each) };
      case "vmap":
        return { vmap: { key: this.value(each.e), data: this.set(each.set) } };
      case "verdict":
        return verdictJson(each.verdict);
      case "mangle":
        return { mangle: { key: this.value(each.target), value: this.value(each.value) } };
      case "objref":
        return { [each.type]: each.name };
      case "objmap":
        return { [each.type]: { map: { key: this.value(each.e), data: this.set(each.set) } } };
      case "dynset":
        return this.dynset(each);
      case "nat":
        return { [each.type]: this.nat(each) };
      case "masquerade":
      case "redirect": {
        const inner = { ...(each.port ? { port: this.value(each.port) } : {}), ...natFlags(each.flags) };
        return { [each.k]: Object.keys(inner).length === 0 ? null : inner };
      }
      case "tproxy": {
        const family = each.shown ? { family: each.family === 4 ? "ip" : "ip6" } : {};
        return {
          tproxy: {
            ...family,
            ...(each.addr ? { addr: this.value(each.addr) } : {}),
            ...(each.port ? { port: this.value(each.port) } : {}),
          },
        };
      }
      case "reject": {
        const { type, code } = rejectName(each);
        return { reject: { type, ...(code === undefined ? {} : { expr: code }) } };
      }
      case "dup": {
        const device = each.device && this.value(each.device);
        return { dup: each.addr ? { addr: this.value(each.addr), ...(device === undefined ? {} : { dev: device }) } : { addr: device } };
      }
      case "fwd":
        return {
          fwd: {
            dev: this.value(each.device),
            ...(each.addr ? { family: each.family === 6 ? "ip6" : "ip", addr: this.value(each.addr) } : {}),
          },
        };
      case "queue": {
        const flags = flagNames(each.flags, [
          [1, "bypass"],
          [2, "fanout"],
        ]);
        return { queue: { num: each.num ? this.value(each.num) : 0, ...(flags.length > 0 ? { flags: one(flags) } : {}) } };
      }
      default:
        return plainJson(each);
    }
  }
  private match(each: Statement & { k: "match" }): Json {
    const { l, r } = each;
    const flags = flagsOf(each);
    const op = each.op === "implicit" ? "in" : each.op;
    if (flags && l.k === "binary") {
      const list = (number: bigint) => this.flags(l.type, number);
      if (flags.form === "whole") {
        const right = flags.value === ones(l.bits) || isFlagNumber(l.l, flags.value) ? Number(flags.value) : this.typed(l.l, flags.value);
        return { op, left: this.value(l.l), right };
      }
      if (flags.form === "any") return { op: "in", left: this.value(l.l), right: list(flags.flags) };
      if (flags.form === "none") return { op: "!", left: this.value(l.l), right: list(flags.flags) };
      return { op, left: { "&": [this.value(l.l), list(flags.mask)] }, right: list(flags.value) };
    }
    if (r.k === "set") return { op, left: this.value(l), right: this.set(r.set) };
    const prefix = op === "==" || op === "!=" ? prefixOf(l, r) : undefined;
    if (prefix && l.k === "binary") return { op, left: this.value(l.l), right: this.constant(prefix) };
    if (l.k === "payload" && !l.field && (l.offset % 8 !== 0 || l.bits % 8 !== 0)) return this.unaligned(l, r, op);
    const bitmask = r.type.kind === "bitmask" && r.form === "value" && op !== "in" && op !== "!";
    if (bitmask && isFlagNumber(l, r.from)) return { op, left: this.value(l), right: Number(r.from) };
    return { op, left: this.value(l), right: bitmask ? this.typed(l, r.from) : this.constant(r) };
  }
  private unaligned(l: Selector & { k: "payload" }, r: Constant, op: string): Json {
    const offset = l.offset & ~7;
    const len = (l.offset + l.bits + 7 - offset) & ~7;
    const shift = BigInt(offset + len - l.offset - l.bits);
    const from = Number(r.from << shift);
    const mask = Number(((1n << BigInt(l.bits)) - 1n) << shift);
    return {
      op,
      left: { "&": [this.selector({ ...l, offset, bits: len }), mask] },
      right: r.form === "value" ? from : { range: [from, Number(r.to << shift)] },
    };
  }
  private dynset(each: Statement & { k: "dynset" }): Json {
    const inner = toldStatements(each).map((statement) => (statement.k === "counter" ? { counter: null } : this.statement(statement)));
    const key = this.value(each.key);
    const elem = each.timeoutMs === undefined ? key : { elem: { val: key, timeout: Math.floor(each.timeoutMs / 1000) } };
    if (each.set.meter) return { meter: { key: elem, stmt: inner[0], size: each.set.size, name: each.set.name } };
    const data = each.data ? { data: this.value(each.data) } : {};
    return {
      [each.data ? "map" : "set"]: {
        op: each.op,
        elem,
        ...data,
        [each.data ? "map" : "set"]: `@${each.set.name}`,
        ...(inner.length > 0 ? { stmt: inner } : {}),
      },
    };
  }
  private nat(each: Statement & { k: "nat" }): Json {
    const addr = each.addr?.k === "constant" ? this.constant(asInterval(each.addr)) : each.addr && this.value(each.addr);
    return {
      ...(each.shown ? { family: each.family === 4 ? "ip" : "ip6" } : {}),
      ...(addr === undefined ? {} : { addr }),
      ...(each.port ? { port: this.value(each.port) } : {}),
      ...(each.prefix ? { flags: "netmap", type_flags: "prefix" } : natFlags(each.flags)),
    };
  }
}

function verdictJson(verdict: Verdict): Json {
  return "chain" in verdict ? { [verdict.code]: { target: verdict.chain } } : { [verdict.code]: null };
}
function natFlags(flags: number): object {
  const names = flagNames(flags, NAT_FLAGS);
  return names.length === 0 ? {} : { flags: one(names) };
}
function limitJson(limit: LimitSpec): object {
  const over = limit.over ? { inv: true } : {};
  const per = PERIODS[limit.per];
  if (limit.unit === "packets") return { rate: limit.rate, burst: limit.burst, per, ...over };
  const [rate, rateUnit] = byteUnit(limit.rate);
  const [burst, burstUnit] = byteUnit(limit.burst);
  return { rate, burst, per, ...over, rate_unit: rateUnit, burst_unit: burstUnit };
}
function quotaJson(quota: QuotaSpec): object {
  const [val, unit] = byteUnit(quota.bytes);
  const [used, usedUnit] = byteUnit(quota.used);
  return { val, val_unit: unit, ...(quota.over ? { inv: true } : {}), ...(quota.used ? { used, used_unit: usedUnit } : {}) };
}
function plainJson(each: Statement): Json {
  switch (each.k) {
    case "counter":
      return { counter: { packets: each.packets, bytes: each.bytes } };
    case "limit":
      return { limit: limitJson(each) };
    case "quota":
      return { quota: quotaJson(each) };
    case "connlimit":
      return { "ct count": { val: each.count, ...(each.over ? { inv: true } : {}) } };
    case "log":
      return { log: logJson(each) };
    case "synproxy": {
      const flags = [...(each.flags & 8 ? ["timestamp"] : []), ...(each.flags & 4 ? ["sack-perm"] : [])];
      const inner = {
        ...(each.flags & 1 ? { mss: each.mss } : {}),
        ...(each.flags & 2 ? { wscale: each.wscale } : {}),
        ...(flags.length > 0 ? { flags } : {}),
      };
      return { synproxy: Object.keys(inner).length === 0 ? null : inner };
    }
    case "last":
      return { last: each.usedMs === undefined ? null : { used: Math.round(each.usedMs) } };
    case "reset":
      return { reset: { "tcp option": /^\d/.test(each.option) ? { base: each.kind, offset: 0, len: 0 } : { name: each.option } } };
    default:
      return { [each.k]: null };
  }
}
function logJson(log: Statement & { k: "log" }): Json {
  const all = log.flags ?? 0;
  const flags = all === 47 ? ["all"] : [...tcpLogFlags(all).map((name) => `tcp ${name}`), ...flagNames(all, LOG_FLAGS)];
  const inner = {
    ...(log.prefix === undefined ? {} : { prefix: log.prefix }),
    ...(log.group === undefined ? {} : { group: log.group }),
    ...(log.snaplen ? { snaplen: log.snaplen } : {}),
    ...(log.queueThreshold ? { "queue-threshold": log.queueThreshold } : {}),
    ...(log.level === undefined || log.level === 4 || log.group !== undefined ? {} : { level: LOG_LEVELS[log.level] }),
    ...(flags.length > 0 ? { flags: one(flags) } : {}),
  };
  return Object.keys(inner).length === 0 ? null : inner;
}

export interface RulesetJson {
  readonly nftables: readonly Json[];
}
export function rulesetJson(tables: readonly HeldTable[], names: Names): RulesetJson {
  return selectionJson({ tables, show: "whole" }, names);
}
/** What a `list` or `reset` command asks for (`nft -j list …`). */
export function selectionJson({ tables, show }: Selection, names: Names, options: ListOptions = {}): RulesetJson {
  const metainfo = { metainfo: { version: "1.0.6", release_name: "Lester Gooch #5", json_schema_version: 1 } };
  const writer = new Writer({ ...names, wording: options });
  const head = (table: HeldTable) => (show === "parts" ? [] : [headJson(table)]);
  const parts = (table: HeldTable) =>
    show === "names" ? [] : partsJson(options.terse ? withoutElements(table) : table, writer, show === "parts");
  return { nftables: [metainfo, ...tables.flatMap((table) => [...head(table), ...parts(table)])] };
}
function withoutElements(table: HeldTable): HeldTable {
  return { ...table, sets: new Map([...table.sets].map(([name, set]) => [name, { ...set, elements: [] }])) };
}
function headJson({ family, name, handle, flags }: HeldTable): Json {
  return { table: { family, name, handle, ...(flags.length > 0 ? { flags: one(flags) } : {}) } };
}
function partsJson(table: HeldTable, writer: Writer, isNamed: boolean): readonly Json[] {
  const { family, name } = table;
  const where = { family, table: name };
  const chains = [...table.chains.values()];
  return [
    ...[...table.objects.values()].map((object) => objectJson(object, where)),
    ...[...table.sets.values()].filter((set) => isNamed || !set.meter).map((set) => setJson(set, where, writer)),
    ...chains.map((chain) => chainJson(chain, where)),
    ...chains.flatMap((chain) =>
      chain.rules.map(({ handle: ruleHandle, rule }) => ({
        rule: {
          ...where,
          chain: chain.name,
          handle: ruleHandle,
          ...(rule.comment === undefined ? {} : { comment: rule.comment }),
          expr: shownStatements(rule.statements, family).map((each) => writer.inRule(each, family)),
        },
      })),
    ),
  ];
}
function chainJson({ name, handle, base }: HeldChain, where: object): Json {
  const hook = base ? { type: base.type, hook: base.hook, prio: base.priority, policy: base.policy } : {};
  return { chain: { ...where, name, handle, ...hook } };
}
const jsonName = ({ type }: Part): string => (type.name === "hexadecimal" ? "integer" : type.name);
function setJson(set: SetDefinition, where: object, writer: Writer): Json {
  const types = set.parts.map((part) => jsonName(part));
  const { data, size, timeoutMs, gcIntervalMs, comment, statements } = set;
  const flags = setFlagNames(set).filter((flag) => flag !== "dynamic");
  const value = data?.kind === "data" ? data.parts.map(jsonName).join(" . ") : data?.kind === "object" ? data.type : data?.kind;
  return {
    [set.meter ? "meter" : data ? "map" : "set"]: {
      ...where,
      name: set.name,
      type: one(types),
      handle: set.handle,
      ...(comment === undefined ? {} : { comment }),
      ...(value === undefined ? {} : { map: value }),
      ...(set.policy === "memory" ? { policy: "memory" } : {}),
      ...(size === undefined ? {} : { size }),
      ...(flags.length > 0 ? { flags } : {}),
      ...(timeoutMs === undefined ? {} : { timeout: Math.floor(timeoutMs / 1000) }),
      ...(gcIntervalMs === undefined ? {} : { "gc-interval": Math.floor(gcIntervalMs / 1000) }),
      ...(set.elements.length > 0 ? { elem: writer.elements(set) } : {}),
      ...(statements ? { stmt: statements.map((each) => (each.k === "counter" ? { counter: null } : writer.statement(each))) } : {}),
    },
  };
}
const protocolName = (number: number): string | undefined => [...IP_PROTOCOLS].find(([, value]) => Number(value) === number)?.[0];
function objectJson({ spec, handle, comment }: HeldObject, where: { readonly family: Family }): Json {
  const { object, name } = spec;
  const l3 = { l3proto: l3Word("l3" in object ? object.l3 : undefined, where.family) };
  const body = (): object => {
    switch (object.type) {
      case "counter":
        return { packets: object.packets, bytes: object.bytes };
      case "quota":
        return { bytes: object.bytes, used: object.used, inv: object.over };
      case "limit":
        return limitJson(object);
      case "ct helper":
        return { type: object.helper, protocol: protocolName(object.protocol), ...l3 };
      case "ct timeout":
        return { protocol: protocolName(object.protocol), ...l3, policy: object.policy };
      case "ct expectation":
        return { protocol: protocolName(object.protocol), dport: object.dport, timeout: object.timeoutMs, size: object.size, ...l3 };
      case "synproxy": {
        const flags = [...(object.flags & 8 ? ["timestamp"] : []), ...(object.flags & 4 ? ["sack-perm"] : [])];
        return { mss: object.mss, wscale: object.wscale, ...(flags.length > 0 ? { flags: one(flags) } : {}) };
      }
      default:
        return { context: object.context };
    }
  };
  return { [object.type]: { ...where, name, handle, ...(comment === undefined ? {} : { comment }), ...body() } };
}
