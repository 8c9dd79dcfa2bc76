/**
 * Types of values: how a constant is written, what number it is, and how it is printed. A value is a bigint; strings are the number
 * whose big-endian bytes are the string, so that constants of all types are compared, masked and joined in one way.
 */

import { SERVICES } from "../../base/services.ts";
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from "./addresses.ts";
import { integer } from "./numbers.ts";
import * as symbols from "./symbols.ts";
import { formatDate, formatHour, formatTime, milliseconds, parseDate, parseHour } from "./times.ts";
import type { Order, TypeName } from "./type-names.ts";

/** What is shown as a number although it has a name, and by a name although it is shown as a number. */
export interface Wording {
  /** Everything that has a name, but for services, users and interfaces (`nft -n`). */
  readonly numeric?: boolean;
  /** Spans of time in seconds (`nft -T`, and with `numeric`). */
  readonly numericTime?: boolean;
  readonly numericPriority?: boolean;
  readonly numericProtocol?: boolean;
  /** Ports by the names of services (`nft -S`). */
  readonly serviceNames?: boolean;
  /** Users and groups by name (`nft -u`). */
  readonly userNames?: boolean;
}
/** What constants need from outside: interfaces by name and number, and how they are to be shown. */
export interface Names {
  interfaceIndex(name: string): number | undefined;
  interfaceName(index: number): string | undefined;
  readonly wording?: Wording;
}
export interface DataType {
  readonly name: TypeName;
  /** As error messages call it. */
  readonly title: string;
  readonly bits: number;
  readonly order: Order;
  readonly kind: "integer" | "bitmask" | "string";
  readonly symbols?: ReadonlyMap<string, bigint>;
  /** The number, or why it is none. */
  parse(text: string, names: Names): bigint | string;
  print(value: bigint, names: Names): string;
  /** As in ranges: names are not used there. */
  plain(value: bigint, names: Names): string;
  /** Constants of JSON are strings where they have names, numbers elsewhere. */
  readonly json: "string" | "number";
}

const hex = (digits: number) => (value: bigint) => `0x${value.toString(16).padStart(digits, "0")}`;
const decimal = (value: bigint) => value.toString();

/** `when`: names are shown then; where it is not said, unless numbers are asked for. */
type Shape = Partial<Omit<DataType, "name" | "title" | "bits">> & {
  readonly quoted?: boolean;
  readonly when?: (wording: Wording | undefined) => boolean | undefined;
  readonly named?: ReadonlyMap<string, bigint>;
};
const quoted = (name: string | undefined, quote?: boolean): string | undefined => (name !== undefined && quote ? `"${name}"` : name);
const unlessNumeric = (wording: Wording | undefined) => !wording?.numeric;
const made = new Map<string, DataType>();
function type(name: TypeName, title: string, bits: number, shape: Shape = {}): void {
  const { symbols: known, print: plain = decimal, when = unlessNumeric } = shape;
  const shown = shape.named ?? known;
  const names = shown && inverse(shown);
  const parse = shape.parse ?? ((text: string) => known?.get(text) ?? integer(text) ?? `Could not parse ${title}`);
  const named = (value: bigint, env: Names) => (when(env.wording) ? quoted(names?.get(value), shape.quoted) : undefined);
  const print = names ? (value: bigint, env: Names) => named(value, env) ?? plain(value, env) : plain;
  made.set(name, {
    name,
    title,
    bits,
    order: shape.order ?? "host",
    kind: shape.kind ?? "integer",
    symbols: known,
    parse,
    print,
    plain: shape.plain ?? plain,
    json: shape.json ?? (known ? "string" : "number"),
  });
}
function inverse(known: ReadonlyMap<string, bigint>): ReadonlyMap<bigint, string> {
  const names = new Map<bigint, string>();
  for (const [name, value] of known) if (!names.has(value)) names.set(value, name);
  return names;
}
const named = (known: ReadonlyMap<string, bigint>, shape: Shape = {}): Shape => ({ symbols: known, ...shape });
const flags = (known: ReadonlyMap<string, bigint>): Shape => ({ symbols: known, kind: "bitmask", print: hex(0) });

const MAC = /^([0-9a-fA-F]{1,2}:)*[0-9a-fA-F]{1,2}$/;
function parseMac(text: string): bigint | string {
  if (!MAC.test(text)) return "Could not parse link layer address";
  return text.split(":").reduce((sum, octet) => (sum << 8n) | BigInt(`0x${octet}`), 0n);
}
const formatMac = (value: bigint) => (value.toString(16).padStart(12, "0").match(/../g) ?? []).join(":");
function parseService(text: string): bigint | string {
  const port = integer(text) ?? SERVICES.get(text);
  if (port === undefined) return "Could not resolve service: Servname not supported for ai_socktype";
  return BigInt(port) > 65_535n ? "Service out of range" : BigInt(port);
}
const parseProtocol = (text: string) => {
  const value = symbols.IP_PROTOCOLS.get(text) ?? integer(text);
  return value === undefined || value > 255n ? (value === undefined ? "Could not resolve protocol name" : "Unsupported protocol") : value;
};
/** A string as the number its bytes make, filled with zeros to `bits`. */
export const stringValue = (text: string, bits: number): bigint =>
  BigInt(`0x0${[...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`) <<
  BigInt(bits - 8 * new TextEncoder().encode(text).length);
export function stringOf(value: bigint, bits: number): string {
  const bytes =
    value
      .toString(16)
      .padStart(bits / 4, "0")
      .match(/../g) ?? [];
  const all = Uint8Array.from(bytes.map((byte) => Number.parseInt(byte, 16)));
  const end = all.indexOf(0);
  return new TextDecoder().decode(end < 0 ? all : all.subarray(0, end));
}
function parseName(text: string): bigint | string {
  return text.length > 16 ? "String exceeds maximum length of 16" : stringValue(text, 128);
}
const NO_CLASSID = "Could not parse TC classid";
/** Two hexadecimal numbers, of which either may be left out. */
function parseClassid(text: string): bigint | string {
  if (text === "root") return 0xffffffffn;
  if (text === "none") return 0n;
  if (!text.includes(":")) return integer(text) ?? NO_CLASSID;
  const [, major, minor] = /^\s*(?:0[xX])?([0-9a-fA-F]*):(?:0[xX])?([0-9a-fA-F]*)\s*(?::|$)/.exec(text) ?? [];
  if (major === undefined) return NO_CLASSID;
  return (BigInt(`0x${major || "0"}`) << 16n) | BigInt(`0x${minor || "0"}`);
}
const formatClassid = (value: bigint) =>
  value === 0xffffffffn ? "root" : value === 0n ? "none" : `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
/** A span of time; whole seconds where numbers are asked for. */
export const timeText = (ms: number, wording: Wording | undefined): string =>
  wording?.numeric || wording?.numericTime ? `${Math.floor(ms / 1000)}s` : formatTime(ms);
const parseMs = (text: string): bigint | string => {
  const value = integer(text);
  return value !== undefined
    ? value * 1000n
    : /^(\d+(ms|[dhms]))+$/.test(text)
      ? BigInt(milliseconds(text))
      : "Could not parse relative time";
};

type("integer", "integer", 0, { parse: (text) => integer(text) ?? "Could not parse integer" });
type("hexadecimal", "integer", 0, { parse: (text) => integer(text) ?? "Could not parse integer", print: hex(0) });
type("string", "string", 128, { kind: "string", parse: parseName, print: (value) => `"${stringOf(value, 128)}"`, json: "string" });
type("verdict", "verdict", 0);
type("ipv4_addr", "IPv4 address", 32, { order: "big", parse: parseIpv4, print: formatIpv4, json: "string" });
type("ipv6_addr", "IPv6 address", 128, { order: "big", parse: parseIpv6, print: formatIpv6, json: "string" });
type("ether_addr", "Ethernet address", 48, { order: "big", parse: parseMac, print: formatMac, json: "string" });
type("ether_type", "Ethernet protocol", 16, named(symbols.ETHER_TYPES, { order: "big", print: hex(4) }));
type("inet_proto", "Internet protocol", 8, {
  ...named(symbols.IP_PROTOCOLS, { order: "big", parse: parseProtocol }),
  when: (wording) => !wording?.numeric && !wording?.numericProtocol,
});
type("inet_service", "internet network service", 16, {
  order: "big",
  parse: parseService,
  named: new Map([...SERVICES].map(([name, port]) => [name, BigInt(port)])),
  quoted: true,
  when: (wording) => wording?.serviceNames,
});
type("mark", "packet mark", 32, { print: hex(8) });
type("iface_index", "network interface index", 32, {
  parse: (text, names) => {
    const index = names.interfaceIndex(text) ?? integer(text);
    return index === undefined ? "Interface does not exist" : BigInt(index);
  },
  print: (value, names) => {
    const name = names.interfaceName(Number(value));
    return name === undefined ? decimal(value) : `"${name}"`;
  },
  json: "string",
});
type("ifname", "network interface name", 128, {
  kind: "string",
  parse: parseName,
  print: (value) => `"${stringOf(value, 128)}"`,
  json: "string",
});
type("iface_type", "network interface type", 16, named(symbols.INTERFACE_TYPES));
const users: Shape = { named: symbols.USERS, quoted: true, when: (wording) => wording?.userNames };
type("uid", "user ID", 32, { ...users, parse: (text) => symbols.USERS.get(text) ?? integer(text) ?? "User does not exist" });
type("gid", "group ID", 32, { ...users, parse: (text) => symbols.USERS.get(text) ?? integer(text) ?? "Group does not exist" });
type("realm", "routing realm", 32, named(symbols.REALMS, { quoted: true, json: "string" }));
type("classid", "TC classid", 32, { parse: parseClassid, print: formatClassid, json: "string" });
type("nf_proto", "netfilter protocol", 8, named(symbols.NF_PROTOCOLS));
type("pkt_type", "packet type", 8, named(symbols.PACKET_TYPES));
type("devgroup", "devgroup name", 32, named(symbols.INTERFACE_GROUPS, { quoted: true }));
type("boolean", "boolean type", 1, named(symbols.BOOLEAN));
type("date", "Relative time of packet reception", 64, { parse: parseDate, print: formatDate, json: "string" });
type("day", "Day of week of packet reception", 8, {
  ...named(symbols.DAYS, { quoted: true }),
  parse: (text) => {
    const day = symbols.DAYS.get(text) ?? integer(text);
    return day === undefined || day > 6n ? `Day must be in range 0-6, or a name such as "Monday"` : day;
  },
});
type("hour", "Hour of day of packet reception", 32, { parse: parseHour, print: formatHour, json: "string" });
type("time", "relative time", 32, { parse: parseMs, print: (value, { wording }) => timeText(Number(value), wording) });
type("ct_state", "conntrack state", 32, flags(symbols.CT_STATES));
type("ct_dir", "conntrack direction", 8, named(symbols.CT_DIRECTIONS));
type("ct_status", "conntrack status", 32, flags(symbols.CT_STATUS));
type("ct_event", "conntrack event bits", 32, flags(symbols.CT_EVENTS));
type("ct_label", "conntrack label", 128, {
  kind: "bitmask",
  parse: (text) => {
    const bit = integer(text);
    return bit === undefined || bit > 127n ? "Could not parse conntrack label" : 1n << bit;
  },
  print: (value) => (value.toString(2).length - 1).toString(),
});
type("icmp_type", "ICMP type", 8, named(symbols.ICMP_TYPES));
type("icmp_code", "icmp code", 8, named(symbols.ICMP_CODES));
type("icmpv6_type", "ICMPv6 type", 8, named(symbols.ICMPV6_TYPES));
type("icmpv6_code", "icmpv6 code", 8, named(symbols.ICMPV6_CODES));
type("icmpx_code", "icmpx code", 8, named(symbols.ICMPX_CODES));
type("igmp_type", "IGMP type", 8, named(symbols.IGMP_TYPES));
type("mh_type", "Mobility Header Type", 8, named(symbols.MH_TYPES));
type("dccp_pkttype", "DCCP packet type", 4, named(symbols.DCCP_TYPES));
type("arp_op", "ARP operation", 16, named(symbols.ARP_OPERATIONS, { order: "big" }));
type("dscp", "Differentiated Services Code Point", 6, named(symbols.DSCP, { print: hex(2) }));
type("ecn", "Explicit Congestion Notification", 2, named(symbols.ECN, { print: hex(0) }));
type("tcp_flag", "TCP flag", 8, flags(symbols.TCP_FLAGS));
type("fib_addrtype", "fib address type", 32, named(symbols.FIB_TYPES));
type("cgroupsv2", "cgroupsv2 path", 64);

export type { TypeName };
export const TYPES: ReadonlyMap<string, DataType> = made;
export function typeOf(name: TypeName): DataType {
  return made.get(name) as DataType;
}
