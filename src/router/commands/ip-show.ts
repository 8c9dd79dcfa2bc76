/** Interfaces, addresses, routes, neighbours and rules as ip(8) prints them. */
import { formatMac, formatPrefix, type Prefix } from "../../base/address.ts";
import type { Host, LinkInfo } from "../../host/host.ts";
import type { AddressInfo } from "../../ip/addresses.ts";
import type { NetInterface } from "../../ip/interface.ts";
import type { Neighbour } from "../../ip/neighbours.ts";
import { MAIN_TABLE } from "../../ip/policy-routing.ts";
import type { NextHopSpec } from "../../ip/routes.ts";
import type { Rule } from "../../ip/rule.ts";
import { queueOf } from "../../queue/queue.ts";
import type { Router } from "../router.ts";
import type { RouteFilter, ShownRoute } from "./ip-routes.ts";

export const BROADCAST = "ff:ff:ff:ff:ff:ff";

export const isUp = ({ up, carrier }: LinkInfo) => up && carrier;

export function flagsOf(link: LinkInfo): string[] {
  const flags = [!link.carrier && link.up ? "NO-CARRIER" : "", "BROADCAST", "MULTICAST", link.up ? "UP" : "", isUp(link) ? "LOWER_UP" : ""];
  return flags.filter(Boolean);
}

export const qdiscOf = ({ engine }: Host, iface: NetInterface) => queueOf(engine, iface.port)?.options.kind ?? "noqueue";

/** `withLink`: the line of the link layer, which a family leaves out. */
function head({ host }: Router, link: LinkInfo, withMode: boolean, withLink = true): string {
  const iface = host.ip.interface(link.name);
  const state = isUp(link) ? "UP" : "DOWN";
  return [
    `${iface.index}: ${link.name}: <${flagsOf(link).join(",")}> mtu ${link.mtu} qdisc ${qdiscOf(host, iface)} ${link.master ? `master ${link.master} ` : ""}state ${state} ${withMode ? "mode DEFAULT " : ""}group default qlen 1000`,
    ...(withLink ? [`    link/ether ${link.mac} brd ${BROADCAST}`] : []),
  ].join("\n");
}

/** The line of `ip -br link` or `ip -br addr`: name, state, and what follows. */
export function briefText(link: LinkInfo, rest: readonly string[]): string {
  return `${link.name.padEnd(16)} ${(isUp(link) ? "UP" : "DOWN").padEnd(14)} ${rest.map((each) => `${each} `).join("")}`;
}

/** Widths of the columns behind the first, which has ten for its name and title; numbers that are longer make them wider. */
const WIDTHS = [10, 7, 6, 7, 7, 7];

function counters(name: string, titles: readonly string[], values: readonly number[]): string {
  const widths = values.map((value, i) => Math.max(WIDTHS[i], String(value).length));
  const heads = titles.map((title, i) => (i === 0 ? `${name}:${title.padStart(widths[0] - 3)}` : title.padStart(widths[i])));
  const numbers = values.map((value, i) => String(value).padStart(widths[i]));
  return `    ${heads.join(" ")}           \n    ${numbers.join(" ")} `;
}

export function linkText(router: Router, link: LinkInfo, withStats: boolean): string {
  const { rx, tx } = link.stats;
  const lines = [head(router, link, true)];
  if (withStats) {
    lines.push(
      counters(
        "RX",
        ["bytes", "packets", "errors", "dropped", "missed", "mcast"],
        [rx.bytes, rx.packets, rx.errors, rx.dropped, rx.missed, rx.mcast],
      ),
      counters(
        "TX",
        ["bytes", "packets", "errors", "dropped", "carrier", "collsns"],
        [tx.bytes, tx.packets, tx.errors, tx.dropped, tx.carrier, tx.collsns],
      ),
    );
  }
  return lines.join("\n");
}

const lifetime = (ms: number) => (ms === Number.POSITIVE_INFINITY ? "forever" : `${Math.max(0, Math.floor(ms / 1000))}sec`);

export interface ShownAddress extends AddressInfo {
  /** Another address of the interface is the first of its subnet. */
  readonly secondary: boolean;
}

/** What `ip addr` says of an address, in two lines. */
function addressLines({ address, length, scope, flags, preferredMs, validMs, secondary, interface: name }: ShownAddress): string[] {
  const is4 = !address.includes(":");
  const shown = [...(secondary ? ["secondary"] : []), ...flags.filter((flag) => flag !== "permanent"), ...(is4 ? [name] : [])];
  return [
    `${`    ${is4 ? "inet" : "inet6"} ${address}/${length} scope ${scope} ${shown.join(" ")}`.trimEnd()}${is4 ? "" : " "}`,
    `       valid_lft ${lifetime(validMs)} preferred_lft ${lifetime(preferredMs)}`,
  ];
}

export function addressText(router: Router, link: LinkInfo, addresses: readonly ShownAddress[], family?: 4 | 6): string {
  return [head(router, link, false, family === undefined), ...addresses.flatMap(addressLines)].join("\n");
}

/** `ip -o addr`: a line an address. */
export function oneLines({ host }: Router, link: LinkInfo, addresses: readonly ShownAddress[]): string[] {
  const { index } = host.ip.interface(link.name);
  return addresses.map((each) => `${index}: ${link.name}${addressLines(each).join("\\")}`);
}

function hopText({ via, iface }: NextHopSpec): string {
  return `${via ? `via ${via} ` : ""}dev ${iface.name}`;
}

/** A line of `ip route`; more of them for several next hops. What was asked for is not repeated. */
export function routeText(route: ShownRoute, filter: RouteFilter): string {
  const { prefix, type, hops, table, protocol, scope, source, metric } = route;
  const is4 = prefix.family === 4;
  const to = `${type === "unicast" ? "" : `${type} `}${targetOf(prefix)}`;
  const isOne = hops.length === 1;
  const rest = [
    isOne && hops[0].via && filter.via === undefined && `via ${hops[0].via}`,
    isOne && filter.device === undefined && `dev ${hops[0].iface.name}`,
    table !== MAIN_TABLE && filter.table === undefined && `table ${tableName(table)}`,
    isToldOf(protocol) && filter.protocol === undefined && `proto ${protocol}`,
    is4 && scope !== "global" && isScopeTold(route) && filter.scope === undefined && `scope ${scope}`,
    source && `src ${source}`,
    (!is4 || metric !== 0) && `metric ${metric}`,
    !is4 && "pref medium",
  ].filter(Boolean);
  const text = `${to} ${rest.map((each) => `${each} `).join("")}`;
  const nextHops = isOne ? [] : hops.map((hop) => `\n\tnexthop ${hopText(hop)} weight ${hop.weight ?? 1} `);
  return `${is4 ? text : text.trimEnd()}${nextHops.join("")}`;
}

/** As iproute2 has it: who wrote a route by hand is not named. */
export const isToldOf = (protocol: string) => protocol !== "static";

/** Routes that lead nowhere have a scope of their own, which is none. */
export const isScopeTold = ({ type }: ShownRoute) => type !== "blackhole" && type !== "unreachable" && type !== "prohibit";

/** Protocols by which `proto` may ask. */
export function protocolOf(word: string | undefined): string | undefined {
  return word === "boot" ? "static" : word;
}

/** What a route leads to, as iproute2 writes it. */
export function targetOf(prefix: Prefix): string {
  const whole = formatPrefix(prefix);
  const isHost = prefix.length === (prefix.family === 4 ? 32 : 128);
  return prefix.length === 0 ? "default" : isHost ? whole.slice(0, whole.lastIndexOf("/")) : whole;
}

export function neighbourText({ address, iface, mac, state, isRouter }: Neighbour): string {
  return `${address} dev ${iface.name} ${mac ? `lladdr ${formatMac(mac)} ` : ""}${isRouter ? "router " : ""}${state} `;
}

const TABLE_NAMES: Readonly<Record<number, string>> = { [MAIN_TABLE]: "main", 255: "local", 253: "default" };
export const tableName = (number: number) => TABLE_NAMES[number] ?? String(number);
export const tableNumber = (word: string) => Number(Object.entries(TABLE_NAMES).find(([, name]) => name === word)?.[0] ?? word);

const PROTOCOL_NAMES: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp" };
export const protocolName = (protocol: number) => PROTOCOL_NAMES[protocol] ?? String(protocol);
export const protocolNumber = (word: string) => Number(Object.entries(PROTOCOL_NAMES).find(([, name]) => name === word)?.[0] ?? word);

const range = ({ low, high }: { low: number; high: number }) => (low === high ? `${low}` : `${low}-${high}`);

/** As C prints `%#x`. */
export const hex = (value: number) => (value === 0 ? "0" : `0x${value.toString(16)}`);

export function ruleText(rule: Rule): string {
  const { priority, not, from, to, iif, oif, mark, markMask, protocol, sourcePorts, destinationPorts, table, action } = rule;
  const end = ({ address, length }: NonNullable<Rule["from"]>) =>
    length === (address.family === 4 ? 32 : 128) ? `${address}` : `${address}/${length}`;
  return [
    `${priority}:\t${not ? "not " : ""}from ${from ? end(from) : "all"}`,
    to && `to ${end(to)}`,
    mark !== undefined && `fwmark ${hex(mark)}${markMask === undefined ? "" : `/${hex(markMask)}`}`,
    iif && `iif ${iif.name}`,
    oif && `oif ${oif.name}`,
    protocol !== undefined && `ipproto ${protocolName(protocol)}`,
    sourcePorts && `sport ${range(sourcePorts)}`,
    destinationPorts && `dport ${range(destinationPorts)}`,
    action ?? `lookup ${tableName(table)}`,
  ]
    .filter(Boolean)
    .join(" ");
}
