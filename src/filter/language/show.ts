/** Statements and expressions as `nft list ruleset` writes them. */
import type { Family, LimitSpec, QuotaSpec, Verdict } from "../expressions.ts";
import { ones } from "./constants.ts";
import { PRINTED_SHORT } from "./keys.ts";
import type { Constant, Element, EvaluatedRule, Selector, SetDefinition, Statement, Value } from "./model.ts";
import { asInterval } from "./sets.ts";
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
import { ICMP_CODES, ICMPV6_CODES, ICMPX_CODES } from "./symbols.ts";
import { type Names, stringOf, timeText, type Wording } from "./types.ts";
import { LOG_LEVELS } from "./vocabulary.ts";

export class Shower {
  constructor(
    private readonly names: Names,
    private readonly family: Family,
    /** Without what was counted. */
    private readonly stateless = false,
  ) {}

  rule(rule: EvaluatedRule): string {
    const words = shownStatements(rule.statements, this.family).map((each) => this.statement(each));
    return `${words.join(" ")}${rule.comment === undefined ? "" : ` comment "${rule.comment}"`}`;
  }

  /** `separator`: between flags. */
  constant(value: Constant, separator = ","): string {
    const { type, from, to, form } = value;
    if (type.kind === "string") {
      const text = stringOf(from, value.bits);
      if (form === "prefix") return `"${text}*"`;
      return `"${text.endsWith("*") ? `${text.slice(0, -1)}\\*` : text}"`;
    }
    if (form === "prefix") return `${type.print(from, this.names)}/${value.prefix}`;
    if (form === "range") {
      if (type.name === "time") return `${from / 1000n}s-${to / 1000n}s`;
      return `${type.plain(from, this.names)}-${type.plain(to, this.names)}`;
    }
    return type.kind === "bitmask" ? this.flags(value, from, separator) : type.print(from, this.names);
  }
  private flags(value: Constant, from: bigint, separator: string): string {
    const { type } = value;
    if (!type.symbols) return type.print(from, this.names);
    const names: string[] = [];
    let rest = from;
    for (const [name, bit] of [...type.symbols].sort((a, b) => Number(a[1] - b[1])))
      if ((rest & bit) !== 0n) {
        names.push(this.names.wording?.numeric ? `0x${bit.toString(16)}` : name);
        rest &= ~bit;
      }
    if (rest !== 0n || names.length === 0) names.push(`0x${rest.toString(16)}`);
    return names.join(separator);
  }
  private typed(value: Value, number: bigint): string {
    if (value.k === "payload" && !value.field) return `0x${number.toString(16)}`;
    return value.type.kind === "bitmask"
      ? this.flags({ ...value, k: "constant", form: "value", from: number, to: number }, number, " | ")
      : value.type.print(number, this.names);
  }

  value(value: Value): string {
    switch (value.k) {
      case "constant":
        return this.constant(value);
      case "concat":
        return value.items.map((item) => this.value(item)).join(" . ");
      case "map":
        return `${this.value(value.e)} map ${this.setOf(value.set)}`;
      case "binary": {
        const [inner, ops] = operations(value);
        // Shifts bind more closely than all that stands around them.
        const isShift = inner.k === "binary" && (inner.op === "<<" || inner.op === ">>");
        const left = inner.k === "binary" && !isShift ? `(${this.value(inner)})` : this.value(inner);
        const text = (op: string, number: bigint) => {
          if (op === "<<" || op === ">>") return number.toString();
          const shown = this.typed(value.l.k === "binary" ? inner : value.l, number);
          return shown.includes(" | ") ? `(${shown})` : shown;
        };
        return `${left}${ops.map(([op, number]) => ` ${op} ${text(op, number)}`).join("")}`;
      }
      default:
        return this.selector(value);
    }
  }
  private selector(value: Selector): string {
    const offset = (count: number) => (count === 0 ? "" : ` offset ${count}`);
    switch (value.k) {
      case "payload":
        if (value.protocol && value.field) return `${value.protocol.name} ${value.field.name}`;
        return `@${{ link: "ll", network: "nh", transport: "th", inner: "ih" }[value.base]},${value.offset},${value.bits}`;
      case "exthdr": {
        const words = value.words.join(" ");
        if (value.header === "sctp") return `sctp chunk ${words}`;
        if (value.header === "ipv6") return value.present ? `exthdr ${words}` : words;
        return `${value.header === "tcpopt" ? "tcp" : "ip"} option ${words}`;
      }
      case "meta":
        return PRINTED_SHORT.has(value.key) ? value.key : `meta ${value.key}`;
      case "ct": {
        const directed = value.direction && value.name !== "l3proto" && value.name !== "protocol" ? `${value.direction} ` : "";
        return `ct ${directed}${value.family ? `${value.family} ` : ""}${value.name}`;
      }
      case "rt":
        return `rt ${value.nf ? `${value.nf} nexthop` : value.key}`;
      case "xfrm": {
        const number = value.number === 0 ? "" : ` spnum ${value.number}`;
        return `ipsec ${value.direction}${number} ${value.nf ? `${value.nf} ` : ""}${value.key}`;
      }
      case "osf":
        return `osf ${value.ttl ? `ttl ${value.ttl} ` : ""}${value.key}`;
      case "fib":
        return `fib ${value.flags.join(" . ")} ${value.result}`;
      case "socket":
        return value.level === undefined ? `socket ${value.key}` : `socket cgroupv2 level ${value.level}`;
      case "numgen":
        return `numgen ${value.kind} mod ${value.modulus}${offset(value.offset)}`;
      case "symhash":
        return `symhash mod ${value.modulus}${offset(value.offset)}`;
      default: {
        const seed = value.seed === undefined ? "" : ` seed 0x${value.seed.toString(16)}`;
        return `jhash ${this.value(value.e)} mod ${value.modulus}${seed}${offset(value.offset)}`;
      }
    }
  }

  setOf(set: SetDefinition): string {
    if (!set.anonymous) return `@${set.name}`;
    return `{ ${this.elements(set).join(", ")} }`;
  }
  elements(set: SetDefinition): readonly string[] {
    return shownElements(set).map((each) => this.element(each, set));
  }
  private element(each: Element, set: SetDefinition): string {
    const words = [each.key.map((field) => this.constant(field, " | ")).join(" . ") || "*"];
    for (const statement of each.statements ?? []) words.push(this.statement(statement));
    if (each.timeoutMs !== undefined) words.push(`timeout ${timeText(each.timeoutMs, this.names.wording)}`);
    if (each.expiresMs !== undefined && !this.stateless) words.push(`expires ${timeText(each.expiresMs, this.names.wording)}`);
    if (each.comment !== undefined) words.push(`comment "${each.comment}"`);
    return `${words.join(" ")}${each.data === undefined ? "" : ` : ${this.data(each.data, set)}`}`;
  }
  private data(data: NonNullable<Element["data"]>, set: SetDefinition): string {
    if (typeof data === "string") return `"${data}"`;
    if ("verdict" in data) return verdictText(data.verdict);
    const interval = set.data?.kind === "data" && set.data.interval;
    return data.map((field) => this.constant(interval ? asInterval(field) : field)).join(" . ");
  }

  statement(each: Statement): string {
    switch (each.k) {
      case "match":
        return this.match(each);
      case "vmap":
        return `${this.value(each.e)} vmap ${this.setOf(each.set)}`;
      case "verdict":
        return verdictText(each.verdict);
      case "bind":
        return `${each.code} {\n${each.chain.rules.map(({ rule }) => `\t\t\t${this.rule(rule)}\n`).join("")}\t\t}`;
      case "mangle":
        return `${this.selector(each.target)} set ${this.value(each.value)}`;
      case "objref":
        return each.type.startsWith("ct ") ? `${each.type} set "${each.name}"` : `${each.type} name "${each.name}"`;
      case "objmap":
        return `${each.type} ${each.type.startsWith("ct ") ? "set" : "name"} ${this.value(each.e)} map ${this.setOf(each.set)}`;
      case "dynset":
        return this.dynset(each);
      case "nat":
        return this.nat(each);
      case "masquerade":
      case "redirect":
        return `${each.k}${each.port ? ` to :${this.value(each.port)}` : ""}${natFlags(each.flags)}`;
      case "tproxy":
        return `tproxy${each.shown ? (each.family === 4 ? " ip" : " ip6") : ""} to ${this.target(each.addr, each.port, true)}`;
      case "reject":
        return this.reject(each);
      case "dup":
        if (!each.addr) return `dup to ${each.device ? this.value(each.device) : ""}`;
        return `dup to ${this.value(each.addr)}${each.device ? ` device ${this.value(each.device)}` : ""}`;
      case "fwd":
        if (!each.addr) return `fwd to ${this.value(each.device)}`;
        return `fwd ${each.family === 6 ? "ip6" : "ip"} to ${this.value(each.addr)} device ${this.value(each.device)}`;
      case "queue": {
        const flags = flagNames(each.flags, [
          [1, "bypass"],
          [2, "fanout"],
        ]);
        return `queue${flags.length > 0 ? ` flags ${flags.join(",")}` : ""} to ${each.num ? this.value(each.num) : 0}`;
      }
      default:
        return plainText(each, this.stateless, this.names.wording);
    }
  }
  private match(each: Statement & { k: "match" }): string {
    const { l, r, op } = each;
    const flags = flagsOf(each);
    if (flags && l.k === "binary") {
      const text = (number: bigint) => this.constant({ ...l.r, from: number, to: number });
      const left = this.value(l.l);
      if (flags.form === "whole") {
        const value =
          flags.value === ones(l.bits) || isFlagNumber(l.l, flags.value)
            ? `0x${flags.value.toString(16)}`
            : this.constant({ ...l.r, from: flags.value, to: flags.value }, " | ");
        return `${left} ${op} ${value}`;
      }
      if (flags.form === "any") return `${left} ${text(flags.flags)}`;
      if (flags.form === "none") return `${left} ! ${text(flags.flags)}`;
      return `${left} ${op === "!=" ? "!= " : ""}${text(flags.value)} / ${text(flags.mask)}`;
    }
    if (r.k === "set") return `${this.value(l)} ${op === "!=" ? "!= " : l.k === "binary" ? "== " : ""}${this.setOf(r.set)}`;
    const prefix = op === "==" || op === "!=" ? prefixOf(l, r) : undefined;
    if (prefix && l.k === "binary") return `${this.value(l.l)} ${op === "!=" ? "!= " : ""}${this.constant(prefix)}`;
    const implied =
      op === "implicit" ||
      (op === "==" &&
        (l.k !== "binary" || (r.form === "range" && operations(l)[0].k !== "payload")) &&
        (r.type.kind !== "bitmask" || r.form !== "value"));
    const right =
      r.form === "value" && r.type.kind !== "string" && !(l.type.kind === "bitmask") ? this.typedRight(l, r) : this.compared(l, r, op);
    if (l.k === "payload" && !l.field && (l.offset % 8 !== 0 || l.bits % 8 !== 0)) return this.unaligned(l, r, op);
    return `${this.value(l)} ${implied ? "" : `${op} `}${right}`;
  }
  private compared(l: Value, r: Constant, op: string): string {
    if (op === "implicit" || op === "!") return this.constant(r, ",");
    return r.form === "value" && isFlagNumber(l, r.from) ? `0x${r.from.toString(16)}` : this.constant(r, " | ");
  }
  private typedRight(l: Value, r: Constant): string {
    const inner = l.k === "binary" ? operations(l)[0] : l;
    return this.typed(inner, r.from);
  }
  /** Raw bits within bytes are shown as the machine compares them. */
  private unaligned(l: Selector & { k: "payload" }, r: Constant, op: string): string {
    const first = l.offset & ~7;
    const total = (l.offset + l.bits + 7 - first) & ~7;
    const shift = BigInt(first + total - l.offset - l.bits);
    const mask = ((1n << BigInt(l.bits)) - 1n) << shift;
    const whole = this.selector({ ...l, offset: first, bits: total });
    const [from, to] = [r.from, r.to].map((number) => `0x${(number << shift).toString(16)}`);
    return `${whole} & 0x${mask.toString(16)} ${op} ${r.form === "value" ? from : `${from}-${to}`}`;
  }
  private dynset(each: Statement & { k: "dynset" }): string {
    const words = [this.value(each.key)];
    if (each.timeoutMs !== undefined) words.push(`timeout ${timeText(each.timeoutMs, this.names.wording)}`);
    for (const statement of toldStatements(each)) words.push(statement.k === "counter" ? "counter" : this.statement(statement));
    const inner = `{ ${words.join(" ")}${each.data ? ` : ${this.value(each.data)}` : ""} }`;
    return each.set.meter ? `meter ${each.set.name} size ${each.set.size} ${inner}` : `${each.op} @${each.set.name} ${inner}`;
  }
  private nat(each: Statement & { k: "nat" }): string {
    const family = each.shown ? ` ${each.family === 4 ? "ip" : "ip6"}` : "";
    const target = each.addr || each.port ? `${each.prefix ? " prefix" : ""} to ${this.target(each.addr, each.port)}` : "";
    return `${each.type}${family}${target}${natFlags(each.flags)}`;
  }
  private target(addr: Value | undefined, port: Value | undefined, always = false): string {
    const ports = port ? `:${this.value(port)}` : "";
    if (!addr) return ports;
    if (addr.k !== "constant") return `${this.value(addr)}${ports}`;
    const interval = asInterval(addr);
    const brackets = (always || port !== undefined) && addr.type.name === "ipv6_addr";
    const one = (number: bigint) => (brackets ? `[${addr.type.print(number, this.names)}]` : addr.type.print(number, this.names));
    if (interval.form === "value") return `${one(addr.from)}${ports}`;
    if (interval.form === "prefix") return `${one(addr.from)}/${interval.prefix}${ports}`;
    return `${one(addr.from)}-${one(addr.to)}${ports}`;
  }
  private reject(each: Statement & { k: "reject" }): string {
    const named = rejectName(each, this.names.wording?.numeric);
    const usual =
      each.type === "icmpx-unreach" ? each.code === 1 : each.type === "icmp-unreach" && each.code === (each.family === 4 ? 3 : 4);
    if (usual && (each.type === "icmpx-unreach" || this.family === "ip" || this.family === "ip6")) return "reject";
    return named.code === undefined ? "reject with tcp reset" : `reject with ${named.type} ${named.code}`;
  }
}

export function rejectName(each: Statement & { k: "reject" }, numeric = false): { readonly type: string; readonly code?: string } {
  if (each.type === "tcp-rst") return { type: "tcp reset" };
  const [type, codes] =
    each.type === "icmpx-unreach"
      ? (["icmpx", ICMPX_CODES] as const)
      : each.family === 4
        ? (["icmp", ICMP_CODES] as const)
        : (["icmpv6", ICMPV6_CODES] as const);
  const name = numeric ? undefined : [...codes].find(([, number]) => Number(number) === each.code)?.[0];
  return { type, code: name ?? `${each.code}` };
}
export function verdictText(verdict: Verdict): string {
  return "chain" in verdict ? `${verdict.code} ${verdict.chain}` : verdict.code;
}
const natFlags = (flags: number): string => {
  const names = flagNames(flags, NAT_FLAGS);
  return names.length > 0 ? ` ${names.join(",")}` : "";
};
export function limitText(limit: LimitSpec): string {
  const over = limit.over ? "over " : "";
  const per = PERIODS[limit.per];
  if (limit.unit === "packets") return `rate ${over}${limit.rate}/${per}${limit.burst === 5 ? "" : ` burst ${limit.burst} packets`}`;
  const [rate, unit] = byteUnit(limit.rate);
  const burst = limit.burst === 0 ? "" : ` burst ${byteUnit(limit.burst).join(" ")}`;
  return `rate ${over}${rate} ${unit}/${per}${burst}`;
}
export function quotaText(quota: QuotaSpec, stateless = false): string {
  return `${quota.over ? "over " : ""}${byteUnit(quota.bytes).join(" ")}${quota.used === 0 || stateless ? "" : ` used ${byteUnit(quota.used).join(" ")}`}`;
}
function plainText(each: Statement, stateless: boolean, wording: Wording | undefined): string {
  switch (each.k) {
    case "counter":
      return stateless ? "counter" : `counter packets ${each.packets} bytes ${each.bytes}`;
    case "limit":
      return `limit ${limitText(each)}`;
    case "quota":
      return `quota ${quotaText(each, stateless)}`;
    case "connlimit":
      return `ct count ${each.over ? "over " : ""}${each.count}`;
    case "log":
      return logText(each);
    case "synproxy": {
      const mss = each.flags & 1 ? ` mss ${each.mss}` : "";
      const scale = each.flags & 2 ? ` wscale ${each.wscale}` : "";
      return `synproxy${mss}${scale}${each.flags & 8 ? " timestamp" : ""}${each.flags & 4 ? " sack-perm" : ""}`;
    }
    case "reset":
      return `reset tcp option ${each.option}`;
    case "last":
      if (stateless) return "last";
      return `last used ${each.usedMs === undefined ? "never" : timeText(Math.round(each.usedMs), wording)}`;
    default:
      return each.k;
  }
}
export function tcpLogFlags(flags: number): readonly string[] {
  return flagNames(flags, [
    [1, "sequence"],
    [2, "options"],
  ]);
}
function logText(log: Statement & { k: "log" }): string {
  const words = ["log"];
  if (log.prefix !== undefined) words.push(`prefix "${log.prefix}"`);
  if (log.group !== undefined) {
    words.push(`group ${log.group}`);
    if (log.snaplen) words.push(`snaplen ${log.snaplen}`);
    if (log.queueThreshold) words.push(`queue-threshold ${log.queueThreshold}`);
    return words.join(" ");
  }
  if (log.level !== undefined && log.level !== 4) words.push(`level ${LOG_LEVELS[log.level]}`);
  const flags = log.flags ?? 0;
  if (flags === 47) words.push("flags all");
  else {
    const tcp = tcpLogFlags(flags);
    if (tcp.length > 0) words.push(`flags tcp ${tcp.join(",")}`);
    for (const name of flagNames(flags, LOG_FLAGS)) words.push(`flags ${name}`);
  }
  return words.join(" ");
}
