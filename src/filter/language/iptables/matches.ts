/** Matches of iptables (`-m …`) as nft's: option, then what it becomes. */

import { SERVICES } from "../../../base/services.ts";
import { Fault } from "../faults.ts";
import { MORE_MATCHES } from "./more-matches.ts";
import { address, eq, fourBytes, type Gathered, interfaceName, match, type Option, protocolName, ranges } from "./rule.ts";
import { hex, number, type Word, type Words } from "./words.ts";

const transport = (rule: Gathered, option: Word): string => {
  const name = rule.protocol?.name;
  if (!name || rule.protocol?.not) throw new Fault(option.at, `${option.text} needs a protocol before it: -p tcp or -p udp`);
  return name;
};
/** Numbers as they are meant, and those of names, which may have hyphens. */
const portNumber = (text: string, option: Word): string => {
  if (text === "" || /^\d+$/.test(text)) return text === "" ? "" : `${number(text, option)}`;
  const port = SERVICES.get(text);
  if (port === undefined) throw new Fault(option.at, `${option.text}: there is no service "${text}"`);
  return `${port}`;
};
const portRange = (text: string, option: Word): string =>
  ranges(
    text
      .split(":")
      .map((end) => portNumber(end, option))
      .join(":"),
  );
const port =
  (field: string): Option =>
  (rule, words, option, not) => {
    const name = transport(rule, option);
    const value = portRange(words.value(option), option);
    rule.protocolUsed = true;
    rule.matches.push(`${name} ${field} ${eq(not)}${value}`);
  };
const ports =
  (field: string): Option =>
  (rule, words, option, not) => {
    const list = words
      .value(option)
      .split(",")
      .map((each) => portRange(each, option));
    rule.matches.push(`${transport(rule, option)} ${field} ${eq(not)}{ ${list.join(", ")} }`);
  };
/** The first port or the last: pairs with any other would be the same twice. */
const AT_AN_END = /^(0|65535)$|^0-|-65535$/;
function eitherPort(rule: Gathered, words: Words, option: Word, not: boolean): void {
  const list = words
    .value(option)
    .split(",")
    .map((each) => portRange(each, option));
  const name = transport(rule, option);
  const isPlain = !list.some((each) => AT_AN_END.test(each)) && (list.length === 1 || list.every((each) => !each.includes("-")));
  const pairs = isPlain ? list.flatMap((each) => [`0-65535 . ${each}`, `${each} . 0-65535`]) : apart(list);
  rule.matches.push(`${name} sport . ${name} dport ${eq(not)}{ ${pairs.join(", ")} }`);
}
const span = (from: number, to: number): string => (from === to ? `${to}` : `${from}-${to}`);
/** Pairs of ports one of which is in the list, no pair twice: with the first, or without it and with the second. */
function apart(list: readonly string[]): readonly string[] {
  const sorted = list.map((each) => each.split("-").map(Number)).sort(([a], [b]) => a - b);
  const others: string[] = [];
  const own: string[] = [];
  let next = 0;
  for (const [from, to = from] of sorted) {
    if (from > next) others.push(span(next, from - 1));
    const first = Math.max(from, next);
    if (to >= first) own.push(span(first, to));
    next = Math.max(next, to + 1);
  }
  if (next <= 65_535) others.push(span(next, 65_535));
  return [...own.map((each) => `${each} . 0-65535`), ...others.flatMap((other) => own.map((each) => `${other} . ${each}`))];
}
const mark =
  (key: string): Option =>
  (rule, words, option, not) => {
    const [value, mask] = words.value(option).split("/");
    rule.matches.push(
      mask === undefined
        ? `${key} ${eq(not)}${hex(value, option)}`
        : `${key} and ${hex(mask, option)} ${not ? "!=" : "=="} ${hex(value, option)}`,
    );
  };
function states(rule: Gathered, words: Words, option: Word, not: boolean): void {
  const names = words.value(option).toLowerCase().split(",");
  const virtual = names.filter((name) => name === "snat" || name === "dnat");
  const real = names.filter((name) => name !== "snat" && name !== "dnat");
  const said = (key: string, list: readonly string[], negated: boolean) =>
    list.length === 0 ? "" : `ct ${key} ${negated ? "! " : ""}${list.join(",")}`;
  if (not || virtual.length === 0 || real.length === 0) {
    rule.matches.push(...[said("state", real, not), said("status", virtual, not)].filter((each) => each !== ""));
    return;
  }
  // Of one or the other: a rule each, the second for what the first does not match.
  rule.ways = [said("state", real, false), `${said("state", real, true)} ${said("status", virtual, false)}`];
}
const TCP_FLAGS: Readonly<Record<string, string>> = { ALL: "fin,syn,rst,psh,ack,urg", NONE: "0x0" };
const flagList = (text: string): string => TCP_FLAGS[text] ?? text.toLowerCase();
function tcpFlags(rule: Gathered, words: Words, option: Word, not: boolean): void {
  const [mask, value] = [words.value(option), words.value(option)];
  rule.protocolUsed = true;
  const flags = flagList(value);
  const masked = flagList(mask);
  rule.matches.push(
    masked.includes(",") ? `tcp flags ${eq(not)}${flags} / ${masked}` : `tcp flags & ${masked} ${not ? "!=" : "=="} ${flags}`,
  );
}
function syn(rule: Gathered, _words: Words, _option: Word, not: boolean): void {
  rule.protocolUsed = true;
  rule.matches.push(`tcp flags ${eq(not)}syn / fin,syn,rst,ack`);
}
const icmp =
  (name: string): Option =>
  (rule, words, option, not) => {
    const said = words.value(option).toLowerCase();
    const names = name === "icmp" ? ICMP_NAMES : ICMPV6_NAMES;
    const [type, code] = (names[said] ?? said).split("/");
    if (type === "any" || type === "255") return;
    if (name === "icmp") rule.protocolUsed = true;
    // Not the two together is something else than neither.
    if (not && code !== undefined) rule.matches.push(`${name} type . ${name} code != { ${type} . ${code} }`);
    else rule.matches.push(`${name} type ${eq(not)}${type}${code === undefined ? "" : ` ${name} code ${code}`}`);
  };
/** Names that nft has not, or has others for: a type, or a type and a code. */
const ICMP_NAMES: Readonly<Record<string, string>> = {
  pong: "echo-reply",
  ping: "echo-request",
  "network-unreachable": "3/0",
  "host-unreachable": "3/1",
  "protocol-unreachable": "3/2",
  "port-unreachable": "3/3",
  "fragmentation-needed": "3/4",
  "source-route-failed": "3/5",
  "network-unknown": "3/6",
  "host-unknown": "3/7",
  "network-prohibited": "3/9",
  "host-prohibited": "3/10",
  "tos-network-unreachable": "3/11",
  "tos-host-unreachable": "3/12",
  "communication-prohibited": "3/13",
  "host-precedence-violation": "3/14",
  "precedence-cutoff": "3/15",
  "network-redirect": "5/0",
  "host-redirect": "5/1",
  "tos-network-redirect": "5/2",
  "tos-host-redirect": "5/3",
  "ttl-exceeded": "time-exceeded",
  "ttl-zero-during-transit": "11/0",
  "ttl-zero-during-reassembly": "11/1",
  "ip-header-bad": "12/0",
  "required-option-missing": "12/1",
};
const ICMPV6_NAMES: Readonly<Record<string, string>> = {
  "neighbour-solicitation": "nd-neighbor-solicit",
  "neighbor-solicitation": "nd-neighbor-solicit",
  "neighbour-advertisement": "nd-neighbor-advert",
  "neighbor-advertisement": "nd-neighbor-advert",
  "router-solicitation": "nd-router-solicit",
  "router-advertisement": "nd-router-advert",
  redirect: "nd-redirect",
  ping: "echo-request",
  pong: "echo-reply",
  "no-route": "1/0",
  "communication-prohibited": "1/1",
  "beyond-scope": "1/2",
  "address-unreachable": "1/3",
  "port-unreachable": "1/4",
  "failed-policy": "1/5",
  "reject-route": "1/6",
  "ttl-exceeded": "time-exceeded",
  "ttl-zero-during-transit": "3/0",
  "ttl-zero-during-reassembly": "3/1",
  "bad-header": "4/0",
  "unknown-header-type": "4/1",
  "unknown-option": "4/2",
};

const BYTES: Readonly<Record<string, string>> = { b: "bytes", kb: "kbytes", mb: "mbytes" };
const UNITS: Readonly<Record<string, string>> = { s: "second", m: "minute", h: "hour", d: "day" };
function rate(text: string, option: Word): string {
  const bytes = /^(\d+)([km]?b)\/s$/.exec(text);
  if (bytes) return `${bytes[1]} ${BYTES[bytes[2]]}/second`;
  const found = /^(\d+)(?:\/([smhd])\w*)?$/.exec(text);
  if (!found) throw new Fault(option.at, `${option.text} expects a rate such as 10/second`);
  return `${found[1]}/${UNITS[found[2] ?? "s"]}`;
}
const UNIT_SECONDS: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3600, day: 86_400 };
interface Limit {
  average: string;
  burst?: number;
  over: boolean;
  mode?: string;
  name?: string;
  expire?: string;
}
/** Options that together make one `limit` or one `meter`. */
function limitOf(rule: Gathered, hashed: boolean): Limit {
  const module = hashed ? "hashlimit" : "limit";
  const found = rule.said.get(module);
  if (found) return found as Limit;
  const limit: Limit = { average: "3/hour", over: false };
  rule.said.set(module, limit);
  rule.late.push(() => {
    const burst =
      limit.burst === undefined || (hashed && limit.burst === 5) ? (hashed ? "" : " burst 5 packets") : ` burst ${limit.burst} packets`;
    const text = `limit rate ${limit.over ? "over " : ""}${limit.average}${burst}`;
    if (!hashed) return text;
    const key = meterKey(limit.mode ?? "", rule);
    if (key === "") return text;
    const seconds = limit.expire ? Number(limit.expire) / 1000 : UNIT_SECONDS[limit.average.split("/")[1]];
    return `meter ${limit.name ?? "hashlimit"} { ${key}${seconds > 1 ? ` timeout ${seconds}s` : ""} ${text} }`;
  });
  return limit;
}
/** `-m limit` by itself is three an hour. */
export const bareLimit = (rule: Gathered): void => void limitOf(rule, false);

function meterKey(mode: string, rule: Gathered): string {
  const keys: Readonly<Record<string, string>> = {
    dstip: `${rule.family} daddr`,
    dstport: `${rule.protocol?.name ?? "th"} dport`,
    srcip: `${rule.family} saddr`,
    srcport: `${rule.protocol?.name ?? "th"} sport`,
  };
  const wanted = mode.split(",");
  return Object.keys(keys)
    .filter((each) => wanted.includes(each))
    .map((each) => keys[each])
    .join(" . ");
}
const hashlimit =
  (isAbove: boolean): Option =>
  (rule, words, option, not) => {
    Object.assign(limitOf(rule, true), { average: rate(words.value(option), option), over: isAbove !== not });
  };
/** Both ends of a range of addresses. */
const addresses =
  (field: string): Option =>
  (rule, words, option, not) => {
    const ends = words.value(option).split("-");
    rule.matches.push(`${rule.family} ${field} ${eq(not)}${ends.map((end) => fourBytes(end, option)).join("-")}`);
  };
const compare =
  (key: string, op: string): Option =>
  (rule, words, option, not) => {
    rule.matches.push(`${key} ${op || eq(not)}${ranges(words.value(option))}`);
  };
const hop = (rule: Gathered): string => (rule.family === "ip" ? "ip ttl" : "ip6 hoplimit");

export const MATCHES: Readonly<Record<string, Option>> = {
  "--sport": port("sport"),
  "--source-port": port("sport"),
  "--dport": port("dport"),
  "--destination-port": port("dport"),
  "--sports": ports("sport"),
  "--source-ports": ports("sport"),
  "--dports": ports("dport"),
  "--destination-ports": ports("dport"),
  "--ports": eitherPort,
  "--tcp-flags": tcpFlags,
  "--syn": syn,
  "--icmp-type": icmp("icmp"),
  "--icmpv6-type": icmp("icmpv6"),
  "--ctstate": states,
  "--state": states,
  "--ctproto": match((value, not) => `ct original protocol ${not}${protocolName(value)}`),
  "--comment": (rule, words, option) => {
    rule.comment = words.value(option);
  },
  "--limit": (rule, words, option) => {
    limitOf(rule, false).average = rate(words.value(option), option);
  },
  "--limit-burst": (rule, words, option) => {
    limitOf(rule, false).burst = number(words.value(option), option);
  },
  "--hashlimit": hashlimit(false),
  "--hashlimit-upto": hashlimit(false),
  "--hashlimit-above": hashlimit(true),
  "--hashlimit-burst": (rule, words, option) => {
    limitOf(rule, true).burst = number(words.value(option), option);
  },
  "--hashlimit-mode": (rule, words, option) => {
    limitOf(rule, true).mode = words.value(option);
  },
  "--hashlimit-htable-expire": (rule, words, option) => {
    limitOf(rule, true).expire = words.value(option);
  },
  // How large the kernel's own table is, and how often it is swept.
  "--hashlimit-htable-size": (_rule, words, option) => void number(words.value(option), option),
  "--hashlimit-htable-max": (_rule, words, option) => void number(words.value(option), option),
  "--hashlimit-htable-gcinterval": (_rule, words, option) => void number(words.value(option), option),
  "--hashlimit-name": (rule, words, option) => {
    limitOf(rule, true).name = words.value(option);
  },
  "--src-range": addresses("saddr"),
  "--dst-range": addresses("daddr"),
  "--mac-source": match((value, not) => `ether saddr ${not}${value.toLowerCase()}`),
  "--pkt-type": match((value, not) => `pkttype ${not}${value}`),
  "--length": compare("meta length", ""),
  "--ttl-eq": match((value, not, rule) => `${hop(rule)} ${not}${value}`),
  "--ttl-lt": match((value, _not, rule) => `${hop(rule)} lt ${value}`),
  "--ttl-gt": match((value, _not, rule) => `${hop(rule)} gt ${value}`),
  "--hl-eq": match((value, not, rule) => `${hop(rule)} ${not}${value}`),
  "--hl-lt": match((value, _not, rule) => `${hop(rule)} lt ${value}`),
  "--hl-gt": match((value, _not, rule) => `${hop(rule)} gt ${value}`),
  "--uid-owner": match((value, not) => `skuid ${not}${value}`),
  "--gid-owner": match((value, not) => `skgid ${not}${value}`),
  "--dscp": match((value, not, rule, option) => `${rule.family} dscp ${not}${hex(value, option)}`),
  ...MORE_MATCHES,
};
/** `--mark` belongs to two matches: the one named last. */
export const markOption = (module: string | undefined): Option => mark(module === "connmark" ? "ct mark" : "mark");

/** `+` alone is every interface: no match. */
function interfaceOf(words: Words, option: Word, not: boolean): string | undefined {
  const name = words.value(option);
  if (name !== "+") return `${eq(not)}${interfaceName(name)}`;
  if (not) throw new Fault(option.at, `! ${option.text} + matches nothing`);
  return undefined;
}
/** Several make a rule each; not one of several is what none of these rules says. */
function addressList(words: Words, option: Word, not: boolean): readonly string[] {
  const list = words.value(option).split(",");
  if (not && list.length > 1) throw new Fault(option.at, `! is not allowed with several addresses behind ${option.text}`);
  return list.map((each) => address(each, option));
}
export const BASICS: Readonly<Record<string, Option>> = {
  "-s": (rule, words, option, not) => {
    Object.assign(rule, { sources: addressList(words, option, not), notSource: not });
  },
  "-d": (rule, words, option, not) => {
    Object.assign(rule, { destinations: addressList(words, option, not), notDestination: not });
  },
  "-p": (rule, words, option, not) => {
    const name = protocolName(words.value(option));
    if (name !== "all" && name !== "0") rule.protocol = { name, not };
  },
  "-i": (rule, words, option, not) => {
    rule.iif = interfaceOf(words, option, not);
  },
  "-o": (rule, words, option, not) => {
    rule.oif = interfaceOf(words, option, not);
  },
  "-f": (rule, _words, _option, not) => {
    rule.fragment = `ip frag-off & 0x1fff ${not ? "==" : "!="} 0`;
  },
};
