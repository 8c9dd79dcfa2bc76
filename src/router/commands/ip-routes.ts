/**
 * Routes as ip(8) knows them: those that somebody made, and those that a kernel keeps beside them of its own addresses (`table local`, the links'
 * own prefixes), which here are the addresses themselves.
 */
import { formatPrefix, type Prefix } from "../../base/address.ts";
import { IpAddress } from "../../base/ip-address.ts";
import type { Host } from "../../host/host.ts";
import { prefixOf } from "../../ip/addresses.ts";
import type { NetInterface, OwnAddress } from "../../ip/interface.ts";
import { hostPrefix } from "../../ip/neighbours.ts";
import { MAIN_TABLE } from "../../ip/policy-routing.ts";
import type { NextHopSpec, Route, RouteKind } from "../../ip/routes.ts";

export const LOCAL_TABLE = 255;
/** What a kernel takes for no metric, in IPv6. */
const METRIC6 = 1024;
const LINK_METRIC6 = 256;

export interface ShownRoute {
  readonly type: RouteKind | "broadcast" | "multicast";
  readonly prefix: Prefix;
  readonly hops: readonly NextHopSpec[];
  readonly table: number;
  readonly protocol: Route["protocol"];
  readonly scope: "global" | "link" | "host";
  readonly source?: IpAddress;
  readonly metric: number;
  /** The route itself, of those that somebody made. */
  readonly kept?: Route;
}

/** The metric by which ip(8) calls a route. */
export function metricOf({ prefix, metric }: Pick<Route, "prefix" | "metric">): number {
  return prefix.family === 6 && metric === 0 ? METRIC6 : metric;
}

/** Usable addresses of an interface, of one family. */
function usable(iface: NetInterface, family: 4 | 6): OwnAddress[] {
  return iface.addresses.filter(({ address, state }) => address.family === family && state === "usable");
}

const isSame = (a: Prefix, b: Prefix) => formatPrefix(a) === formatPrefix(b);

/** The first address of a subnet on an interface, with which its route speaks. */
export function primaryOf(iface: NetInterface, own: Pick<OwnAddress, "address" | "length">): OwnAddress | undefined {
  const subnet = prefixOf(own.address, own.length);
  return usable(iface, 4).find((each) => each.length === own.length && isSame(prefixOf(each.address, each.length), subnet));
}

function shownRoute(route: Route, table: number): ShownRoute {
  const { prefix, kind, nextHops, protocol } = route;
  const isKernels = prefix.family === 4 && protocol === "kernel";
  const [hop] = nextHops;
  const own = isKernels && hop ? usable(hop.iface, 4).find(({ address, length }) => isSame(prefixOf(address, length), prefix)) : undefined;
  const isLinks = isKernels || (prefix.family === 4 && kind === "unicast" && nextHops.every(({ via }) => !via));
  const scope = kind === "local" ? "host" : isLinks ? "link" : "global";
  return { type: kind, prefix, hops: nextHops, table, protocol, scope, source: own?.address, metric: metricOf(route), kept: route };
}

/** A route of the kernel's own over an interface. */
function kernels(iface: NetInterface, prefix: Prefix, more: Partial<ShownRoute>): ShownRoute {
  return { type: "unicast", prefix, hops: [{ iface }], table: MAIN_TABLE, protocol: "kernel", scope: "global", metric: 0, ...more };
}

/** This host's own addresses, and those of its links that all hear. */
function localRoutes({ ip }: Host, family: 4 | 6): ShownRoute[] {
  const table = LOCAL_TABLE;
  const own = ip.interfaces.flatMap((iface) => usable(iface, family).map((each) => ({ iface, each })));
  const routes = own.flatMap(({ iface, each: { address, length } }) => {
    const source = family === 4 ? primaryOf(iface, { address, length })?.address : undefined;
    const mine = kernels(iface, hostPrefix(address), { type: "local", table, scope: "host", source });
    if (family === 6 || length > 30) return [mine];
    const last = (address.v4 | (0xffffffff >>> length)) >>> 0;
    return [mine, kernels(iface, { family: 4, address: last, length: 32 }, { type: "broadcast", table, scope: "link", source })];
  });
  const known = new Set(routes.map(({ prefix }) => formatPrefix(prefix)));
  const given = ip.routes
    .list()
    .filter(({ kind, prefix }) => kind === "local" && prefix.family === family && !known.has(formatPrefix(prefix)));
  const groups = family === 6 ? ip.interfaces.filter((iface) => iface.linkLocal) : [];
  const groupPrefix: Prefix = { family: 6, high: 0xff00_0000_0000_0000n, low: 0n, length: 8 };
  const all = [
    ...routes.filter(({ prefix }, i) => routes.findIndex((other) => isSame(other.prefix, prefix)) === i),
    ...given.map((route) => shownRoute(route, table)),
    ...groups.map((iface) => kernels(iface, groupPrefix, { type: "multicast", table, metric: LINK_METRIC6 })),
  ];
  return all.sort(inOrder);
}

/** What a kernel has of IPv6 links beside the routes that are kept: prefixes that are no subnet's. */
function linkRoutes6({ ip }: Host): ShownRoute[] {
  return ip.interfaces.flatMap((iface) =>
    usable(iface, 6)
      .filter(({ address, length }) => length === 128 || address.isLinkLocal)
      .map(({ address, length }) => kernels(iface, prefixOf(address, address.isLinkLocal ? 64 : length), { metric: LINK_METRIC6 })),
  );
}

/** The routes of a table, and of a family, in a kernel's order; undefined when there is no such table. */
export function routesOf(host: Host, table: number, family: 4 | 6): ShownRoute[] | undefined {
  if (table === LOCAL_TABLE) return localRoutes(host, family);
  const { rules, routes } = host.ip;
  const isThere = table === MAIN_TABLE || rules.numbers().includes(table);
  if (!isThere) return undefined;
  const kept = table === MAIN_TABLE ? routes : rules.table(table);
  const own = kept.list().filter(({ kind, prefix }) => kind !== "local" && prefix.family === family);
  const links = table === MAIN_TABLE && family === 6 ? linkRoutes6(host) : [];
  return [...own.map((route) => shownRoute(route, table)), ...links].sort(inOrder);
}

/** Tables that there are, as a kernel walks them. */
export function tablesOf(host: Host): number[] {
  return [...new Set([...host.ip.rules.numbers(), MAIN_TABLE, LOCAL_TABLE])].sort((a, b) => (a & 255) - (b & 255) || a - b);
}

/** As a kernel walks its tries: IPv4 from the front, IPv6 what is inside of a prefix before the prefix itself. */
function inOrder(a: ShownRoute, b: ShownRoute): number {
  const [one, other] = [a.prefix, b.prefix];
  if (one.family === 4 && other.family === 4) return one.address - other.address || one.length - other.length || a.metric - b.metric;
  if (one.family !== 6 || other.family !== 6) return one.family - other.family;
  if (isSame(one, other)) return a.metric - b.metric;
  if (isWithin(one, other)) return -1;
  if (isWithin(other, one)) return 1;
  const order = one.high === other.high ? one.low - other.low : one.high - other.high;
  return order < 0n ? -1 : 1;
}

/** Is all of a prefix in another, or is it that one? */
function isWithin(prefix: Prefix, outer: Prefix): boolean {
  if (prefix.family !== outer.family || prefix.length < outer.length) return false;
  const network = prefix.family === 4 ? IpAddress.v4(prefix.address) : IpAddress.v6(prefix.high, prefix.low);
  return isSame(prefixOf(network, outer.length), outer);
}

/** What is asked for; what all that is found has in common is not said of each. */
export interface RouteFilter {
  readonly family: 4 | 6 | undefined;
  /** Undefined: all. */
  readonly table: number | undefined;
  readonly device?: string;
  readonly via?: IpAddress;
  readonly protocol?: string;
  readonly scope?: string;
  readonly type?: string;
  /** Prefixes in this one, those that it is in, or this one alone. */
  readonly root?: Prefix;
  readonly match?: Prefix;
  readonly exact?: Prefix;
}

export function fits(route: ShownRoute, { device, via, protocol, scope, type, root, match, exact }: RouteFilter): boolean {
  const { prefix, hops } = route;
  if (exact && formatPrefix(prefix) !== formatPrefix(exact)) return false;
  if ((root && !isWithin(prefix, root)) || (match && !isWithin(match, prefix))) return false;
  if (type !== undefined && route.type !== type) return false;
  if ((protocol !== undefined && route.protocol !== protocol) || (scope !== undefined && route.scope !== scope)) return false;
  // As iproute2 has it: these are asked of routes with one next hop.
  const hop = hops.length === 1 ? hops[0] : undefined;
  if (device !== undefined && hop?.iface.name !== device) return false;
  return via === undefined || hop?.via?.equals(via) === true;
}
