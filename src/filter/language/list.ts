/** A ruleset as `nft list ruleset` prints it, and the other `list` commands. */
import type { Family, ObjectType } from "../expressions.ts";
import type { EvaluatedRule, Part, SetDefinition } from "./model.ts";
import { priorityText } from "./priorities.ts";
import type { Selection } from "./select.ts";
import { limitText, quotaText, Shower } from "./show.ts";
import { IP_PROTOCOLS } from "./symbols.ts";
import type { HeldChain, HeldObject, HeldTable } from "./tables.ts";
import { type Names, timeText, type Wording } from "./types.ts";

const protocolName = (number: number): string => [...IP_PROTOCOLS].find(([, value]) => Number(value) === number)?.[0] ?? `${number}`;

export interface ListOptions extends Wording {
  /** Handles behind everything that has one (`nft -a`). */
  readonly handles?: boolean;
  /** Without what rules, sets and objects have counted (`nft -s`). */
  readonly stateless?: boolean;
  /** Without the elements of named sets (`nft -t`). */
  readonly terse?: boolean;
}

/** Writes one table; `between`: what stands between two blocks. */
class TableWriter {
  readonly shower: Shower;

  constructor(
    readonly table: HeldTable,
    names: Names,
    readonly options: ListOptions,
  ) {
    this.shower = new Shower({ ...names, wording: options }, table.family, options.stateless);
  }

  priority({ priority, hook }: NonNullable<HeldChain["base"]>): string {
    const isNumber = this.options.numeric || this.options.numericPriority;
    return isNumber ? `${priority}` : priorityText(priority, this.table.family, hook);
  }

  handle(number: number): string {
    return this.options.handles ? ` # handle ${number}` : "";
  }

  block(head: string, handle: number, lines: readonly string[]): string {
    return `\t${head} {${this.handle(handle)}\n${lines.map((line) => `\t\t${line}\n`).join("")}\t}\n`;
  }
}

export function listRuleset(tables: readonly HeldTable[], names: Names, options: ListOptions = {}): string {
  return listSelection({ tables, show: "whole" }, names, options);
}
/** `isNamed`: parts that were asked for, a meter among them, which stands in its rule otherwise. */
function listTable(table: HeldTable, names: Names, options: ListOptions, isNamed: boolean): string {
  const between = isNamed ? "" : "\n";
  const writer = new TableWriter(table, names, options);
  const head = [
    ...(table.comment === undefined ? [] : [`\tcomment "${table.comment}"\n`]),
    ...(table.flags.length > 0 ? [`\tflags ${table.flags.join(",")}\n`] : []),
  ].join("");
  const blocks = [
    ...[...table.objects.values()].map((object) => objectBlock(object, writer)),
    ...[...table.sets.values()].filter((set) => isNamed || !set.meter).map((set) => setBlock(set, writer)),
    ...[...table.chains.values()].map((chain) => chainBlock(chain, writer)),
  ];
  return `table ${table.family} ${table.name} {${writer.handle(table.handle)}\n${head}${head !== "" && table.flags.length > 0 && blocks.length > 0 ? "\n" : ""}${blocks.join(between)}}\n`;
}
function chainBlock(chain: HeldChain, writer: TableWriter): string {
  const { shower } = writer;
  const lines: string[] = [];
  if (chain.comment !== undefined) lines.push(`comment "${chain.comment}"`);
  const { base } = chain;
  if (base) {
    const devices = base.devices ?? [];
    const device = devices.length === 0 ? "" : devices.length === 1 ? ` device "${devices[0]}"` : ` devices = { ${devices.join(", ")} }`;
    lines.push(`type ${base.type} hook ${base.hook}${device} priority ${writer.priority(base)}; policy ${base.policy};`);
  }
  for (const { rule, handle } of chain.rules) lines.push(`${shower.rule(rule)}${writer.handle(handle)}`);
  return writer.block(`chain ${chain.name}`, chain.handle, lines);
}

function typeWord(set: SetDefinition, shower: Shower): string {
  const names = (parts: readonly Part[]) =>
    parts.map((part) => (set.typeof && part.selector ? shower.value(part.selector) : part.type.name)).join(" . ");
  const { data } = set;
  const value = !data
    ? ""
    : data.kind === "verdict"
      ? " : verdict"
      : data.kind === "object"
        ? ` : ${data.type}`
        : ` : ${data.interval ? "interval " : ""}${names(data.parts)}`;
  return `${set.typeof ? "typeof" : "type"} ${names(set.parts)}${value}`;
}
export function setFlagNames(set: SetDefinition): readonly string[] {
  const flags: readonly (readonly [boolean, string])[] = [
    [set.constant, "constant"],
    [set.interval, "interval"],
    [set.dynamic, "dynamic"],
    [set.timeouts, "timeout"],
  ];
  return flags.filter(([on]) => on).map(([, name]) => name);
}
function setBlock(set: SetDefinition, writer: TableWriter): string {
  const { shower } = writer;
  const lines = [typeWord(set, shower)];
  if (set.policy === "memory") lines.push("policy memory");
  if (set.size !== undefined) lines.push(`size ${set.size}`);
  const flags = setFlagNames(set);
  // A time to live says by itself that elements have one.
  if (flags.length > 0 && !(set.timeoutMs !== undefined && flags.join() === "timeout")) lines.push(`flags ${flags.join(",")}`);
  if (set.statements) lines.push(set.statements.map((each) => (each.k === "counter" ? "counter" : shower.statement(each))).join(" "));
  if (set.autoMerge) lines.push("auto-merge");
  if (set.timeoutMs !== undefined) lines.push(`timeout ${timeText(set.timeoutMs, writer.options)}`);
  if (set.gcIntervalMs !== undefined) lines.push(`gc-interval ${timeText(set.gcIntervalMs, writer.options)}`);
  if (set.comment !== undefined) lines.push(`comment "${set.comment}"`);
  if (set.elements.length > 0 && !writer.options.terse) lines.push(`elements = { ${elementLines(set, shower.elements(set))} }`);
  return writer.block(`${set.meter ? "meter" : set.data ? "map" : "set"} ${set.name}`, set.handle, lines);
}
/** How many elements of a type stand in a line (nft's calculate_delim); of others one. */
const FIVES: ReadonlySet<string> = new Set(
  "nf_proto integer hexadecimal arp_op inet_proto inet_service tcp_flag dccp_pkttype mark iface_index classid uid gid ct_dir".split(" "),
);
const PAIRS: ReadonlySet<string> = new Set(["ipv4_addr", "ct_state", "ct_status", "pkt_type"]);

function elementLines(set: SetDefinition, elements: readonly string[]): string {
  const [{ type }] = set.parts;
  const row = set.parts.length > 1 ? 1 : FIVES.has(type.name) ? 5 : PAIRS.has(type.name) ? 2 : 1;
  return elements.map((text, i) => (i === 0 ? text : i % row === 0 ? `,\n\t\t\t     ${text}` : `, ${text}`)).join("");
}
const MARKED: readonly ObjectType[] = ["ct helper", "ct timeout", "ct expectation"];
/** The network layer of a helper, timeout or expectation: its table's, where nothing is said. */
export const l3Word = (l3: 4 | 6 | undefined, family: Family): string => (l3 === undefined ? family : l3 === 4 ? "ip" : "ip6");

function objectBlock({ spec: { name, object }, handle, comment }: HeldObject, writer: TableWriter): string {
  const { table, options } = writer;
  const l3 = MARKED.includes(object.type) ? [`l3proto ${l3Word("l3" in object ? object.l3 : undefined, table.family)}`] : [];
  const lines = (): readonly string[] => {
    switch (object.type) {
      case "counter":
        return options.stateless ? [] : [`packets ${object.packets} bytes ${object.bytes}`];
      case "quota":
        return [quotaText(object, options.stateless)];
      case "limit":
        return [limitText(object)];
      case "ct helper":
        return [`type "${object.helper}" protocol ${protocolName(object.protocol)}`, ...l3];
      case "ct timeout": {
        const policy = Object.entries(object.policy).map(([state, seconds]) => `${state} : ${seconds}`);
        return [`protocol ${protocolName(object.protocol)}`, ...l3, `policy = { ${policy.join(", ")} }`];
      }
      case "ct expectation":
        return [
          `protocol ${protocolName(object.protocol)}`,
          `dport ${object.dport}`,
          `timeout ${timeText(object.timeoutMs, options)}`,
          `size ${object.size}`,
          ...l3,
        ];
      case "synproxy": {
        const options = [object.flags & 8 ? "timestamp" : "", object.flags & 4 ? "sack-perm" : ""].filter((word) => word !== "");
        return [
          ...(object.flags & 1 ? [`mss ${object.mss}`] : []),
          ...(object.flags & 2 ? [`wscale ${object.wscale}`] : []),
          ...(options.length > 0 ? [options.join(" ")] : []),
        ];
      }
      default:
        return [`"${object.context}"`];
    }
  };
  return writer.block(`${object.type} ${name}`, handle, [...(comment === undefined ? [] : [`comment "${comment}"`]), ...lines()]);
}

/** One rule as it stands in a listing, without what it has counted. */
export function showRule(rule: EvaluatedRule, family: Family, names: Names): string {
  return new Shower(names, family, true).rule(rule);
}

/** What a `list` or `reset` command asks for, as text. */
export function listSelection({ tables, show }: Selection, names: Names, options: ListOptions = {}): string {
  if (show === "names") return tables.map((each) => `table ${each.family} ${each.name}\n`).join("");
  return tables.map((table) => listTable(table, names, options, show === "parts")).join("");
}
