/** A ruleset as `nft list ruleset` prints it, and the other `list` commands. */
import type { ObjectSpec } from "../expressions.ts";
import type { Command } from "./ast.ts";
import { Fault } from "./faults.ts";
import type { Part, SetDefinition } from "./model.ts";
import { priorityText } from "./priorities.ts";
import { KERNEL_MISSING } from "./rule-scope.ts";
import { limitText, quotaText, Shower } from "./show.ts";
import { IP_PROTOCOLS } from "./symbols.ts";
import type { HeldChain, HeldTable } from "./tables.ts";
import { formatTime } from "./times.ts";
import type { Names } from "./types.ts";

const protocolName = (number: number): string => [...IP_PROTOCOLS].find(([, value]) => Number(value) === number)?.[0] ?? `${number}`;
const block = (head: string, lines: readonly string[]): string => `\t${head} {\n${lines.map((line) => `\t\t${line}\n`).join("")}\t}\n`;

export function listRuleset(tables: readonly HeldTable[], names: Names): string {
  return tables.map((table) => listTable(table, names)).join("");
}
function listTable(table: HeldTable, names: Names): string {
  const shower = new Shower(names, table.family);
  const head = [
    ...(table.comment === undefined ? [] : [`\tcomment "${table.comment}"\n`]),
    ...(table.flags.length > 0 ? [`\tflags ${table.flags.join(",")}\n\n`] : []),
  ].join("");
  const blocks = [
    ...[...table.objects.values()].map(({ spec, comment }) => objectBlock(spec, comment)),
    ...[...table.sets.values()].filter((set) => !set.meter).map((set) => setBlock(set, shower)),
    ...[...table.chains.values()].map((chain) => chainBlock(chain, table, shower)),
  ];
  return `table ${table.family} ${table.name} {\n${head}${blocks.join("\n")}}\n`;
}
function chainBlock(chain: HeldChain, table: HeldTable, shower: Shower): string {
  const lines: string[] = [];
  if (chain.comment !== undefined) lines.push(`comment "${chain.comment}"`);
  const { base } = chain;
  if (base) {
    const devices = base.devices ?? [];
    const quoted = devices.map((name) => `"${name}"`);
    const device = devices.length === 0 ? "" : devices.length === 1 ? ` device ${quoted[0]}` : ` devices = { ${quoted.join(", ")} }`;
    lines.push(
      `type ${base.type} hook ${base.hook}${device} priority ${priorityText(base.priority, table.family, base.hook)}; policy ${base.policy};`,
    );
  }
  for (const { rule } of chain.rules) lines.push(shower.rule(rule));
  return block(`chain ${chain.name}`, lines);
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
function setBlock(set: SetDefinition, shower: Shower): string {
  const lines = [typeWord(set, shower)];
  if (set.policy === "memory") lines.push("policy memory");
  if (set.size !== undefined) lines.push(`size ${set.size}`);
  // A timeout of the set's own shows the flag too; alone it is not repeated.
  const flags = set.timeoutMs !== undefined && !set.dynamic ? setFlagNames(set) : setFlagNames(set);
  if (flags.length > 0) lines.push(`flags ${flags.join(",")}`);
  if (set.timeoutMs !== undefined) lines.push(`timeout ${formatTime(set.timeoutMs)}`);
  if (set.gcIntervalMs !== undefined) lines.push(`gc-interval ${formatTime(set.gcIntervalMs)}`);
  if (set.autoMerge) lines.push("auto-merge");
  for (const each of set.statements ?? []) lines.push(each.k === "counter" ? "counter" : shower.statement(each));
  if (set.comment !== undefined) lines.push(`comment "${set.comment}"`);
  if (set.elements.length > 0) lines.push(`elements = { ${elementLines(set, shower.elements(set))} }`);
  return block(`${set.data ? "map" : "set"} ${set.name}`, lines);
}
/** Long values stand one to a line, addresses of IPv4 two, small ones five. */
function elementLines(set: SetDefinition, elements: readonly string[]): string {
  const [{ type }] = set.parts;
  const long = set.parts.length > 1 || type.kind === "string" || type.bits > 32;
  const row = long ? 1 : type.name === "ipv4_addr" ? 2 : 5;
  return elements.map((text, i) => (i === 0 ? text : i % row === 0 ? `,\n\t\t\t     ${text}` : `, ${text}`)).join("");
}
function objectBlock({ name, object }: ObjectSpec, comment: string | undefined): string {
  const l3 = "l3" in object && object.l3 !== undefined ? [`l3proto ${object.l3 === 4 ? "ip" : "ip6"}`] : [];
  const lines = (): readonly string[] => {
    switch (object.type) {
      case "counter":
        return [`packets ${object.packets} bytes ${object.bytes}`];
      case "quota":
        return [quotaText(object)];
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
          `timeout ${formatTime(object.timeoutMs)}`,
          `size ${object.size}`,
          ...l3,
        ];
      case "synproxy": {
        const options = [object.flags & 8 ? "timestamp" : "", object.flags & 4 ? "sack-perm" : ""].filter((word) => word !== "");
        return [
          ...(object.flags & 1 ? [`mss ${object.mss}`] : []),
          ...(object.flags & 2 ? [`wscale ${object.wscale}`] : []),
          options.join(" "),
        ];
      }
      default:
        return [`"${object.context}"`];
    }
  };
  return block(`${object.type} ${name}`, [...(comment === undefined ? [] : [`comment "${comment}"`]), ...lines()]);
}

/** `list ruleset`, `list table …`, `list chain …`, `list set …` and the like. */
export function listCommand(command: Command & { readonly c: "list" }, tables: readonly HeldTable[], names: Names): string {
  const words = command.rest
    .trim()
    .split(/\s+/)
    .filter((word) => word !== "");
  const family = ["ip", "ip6", "inet", "arp", "bridge", "netdev"].includes(words[0]) ? words.shift() : undefined;
  const [tableName, name] = words;
  if (command.what === "ruleset") return listRuleset(family ? tables.filter((each) => each.family === family) : tables, names);
  if (command.what === "tables")
    return tables
      .filter((each) => !family || each.family === family)
      .map((each) => `table ${each.family} ${each.name}\n`)
      .join("");
  const table = tables.find((each) => each.family === (family ?? "ip") && each.name === tableName);
  if (!table) throw new Fault(command.at, KERNEL_MISSING);
  if (command.what === "table") return listTable(table, names);
  const only = <T>(map: ReadonlyMap<string, T>, key: string): ReadonlyMap<string, T> => {
    const found = map.get(key);
    if (found === undefined) throw new Fault(command.at, KERNEL_MISSING);
    return new Map([[key, found]]);
  };
  const empty: HeldTable = { ...table, flags: [], comment: undefined, chains: new Map(), sets: new Map(), objects: new Map() };
  if (command.what === "chain") return listTable({ ...empty, chains: only(table.chains, name) }, names);
  if (command.what === "set" || command.what === "map" || command.what === "meter")
    return listTable({ ...empty, sets: only(table.sets, name) }, names);
  return listTable({ ...empty, objects: only(table.objects, `${command.what} ${name}`) }, names);
}
