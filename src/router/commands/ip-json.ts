/** Interfaces, addresses, routes, neighbours and rules as `ip -j` prints them: iproute2's names, in its order. */
import { formatMac } from "../../base/address.ts";
import type { LinkInfo } from "../../host/host.ts";
import type { Neighbour } from "../../ip/neighbours.ts";
import { MAIN_TABLE } from "../../ip/policy-routing.ts";
import type { NextHopSpec } from "../../ip/routes.ts";
import type { PortRange, Rule } from "../../ip/rule.ts";
import type { Router } from "../router.ts";
import type { RouteFilter, ShownRoute } from "./ip-routes.ts";
import {
  BROADCAST,
  flagsOf,
  hex,
  isScopeTold,
  isToldOf,
  isUp,
  protocolName,
  qdiscOf,
  type ShownAddress,
  tableName,
  targetOf,
} from "./ip-show.ts";

type Json = Readonly<Record<string, unknown>>;

/** A lifetime without end. */
const FOREVER = 2 ** 32 - 1;

function head({ host }: Router, link: LinkInfo, withMode: boolean, withLink = true): Json {
  const iface = host.ip.interface(link.name);
  return {
    ifindex: iface.index,
    ifname: link.name,
    flags: flagsOf(link),
    mtu: link.mtu,
    qdisc: qdiscOf(host, iface),
    ...(link.master && { master: link.master }),
    operstate: isUp(link) ? "UP" : "DOWN",
    ...(withMode && { linkmode: "DEFAULT" }),
    group: "default",
    txqlen: 1000,
    ...(withLink && { link_type: "ether", address: link.mac, broadcast: BROADCAST }),
  };
}

export function linkJson(router: Router, link: LinkInfo, withStats: boolean): Json {
  if (!withStats) return head(router, link, true);
  const { rx, tx } = link.stats;
  return {
    ...head(router, link, true),
    stats64: {
      rx: { bytes: rx.bytes, packets: rx.packets, errors: rx.errors, dropped: rx.dropped, over_errors: rx.missed, multicast: rx.mcast },
      tx: {
        bytes: tx.bytes,
        packets: tx.packets,
        errors: tx.errors,
        dropped: tx.dropped,
        carrier_errors: tx.carrier,
        collisions: tx.collsns,
      },
    },
  };
}

const seconds = (ms: number) => (ms === Number.POSITIVE_INFINITY ? FOREVER : Math.max(0, Math.floor(ms / 1000)));

export function addressJson(router: Router, link: LinkInfo, addresses: readonly ShownAddress[], family?: 4 | 6): Json {
  const info = addresses.map(({ address, length, scope, flags, preferredMs, validMs, secondary, interface: name }) => ({
    family: address.includes(":") ? "inet6" : "inet",
    local: address,
    prefixlen: length,
    scope,
    ...(secondary && { secondary }),
    ...Object.fromEntries(flags.filter((flag) => flag !== "permanent").map((flag) => [flag, true])),
    ...(!address.includes(":") && { label: name }),
    valid_life_time: seconds(validMs),
    preferred_life_time: seconds(preferredMs),
  }));
  return { ...head(router, link, false, family === undefined), addr_info: info };
}

const hopJson = ({ via, iface }: NextHopSpec): Json => ({ ...(via && { gateway: String(via) }), dev: iface.name });

export function routeJson(route: ShownRoute, filter: RouteFilter): Json {
  const { prefix, type, hops, table, protocol, scope, source, metric } = route;
  const is4 = prefix.family === 4;
  const [hop] = hops.length === 1 ? hops : [];
  return {
    ...(type !== "unicast" && { type }),
    dst: targetOf(prefix),
    ...(hop?.via && filter.via === undefined && { gateway: String(hop.via) }),
    ...(hop && filter.device === undefined && { dev: hop.iface.name }),
    ...(table !== MAIN_TABLE && filter.table === undefined && { table: tableName(table) }),
    ...(isToldOf(protocol) && filter.protocol === undefined && { protocol }),
    ...(is4 && scope !== "global" && isScopeTold(route) && filter.scope === undefined && { scope }),
    ...(source && { prefsrc: String(source) }),
    ...((!is4 || metric !== 0) && { metric }),
    flags: [],
    ...(!is4 && { pref: "medium" }),
    ...(hops.length > 1 && { nexthops: hops.map((each) => ({ ...hopJson(each), weight: each.weight ?? 1, flags: [] })) }),
  };
}

export function neighbourJson({ address, iface, mac, state, isRouter }: Neighbour): Json {
  return {
    dst: String(address),
    dev: iface.name,
    ...(mac && { lladdr: formatMac(mac) }),
    ...(isRouter && { router: null }),
    state: [state],
  };
}

function portsJson(name: string, ports: PortRange | undefined): Json {
  if (!ports) return {};
  return ports.low === ports.high ? { [name]: ports.low } : { [`${name}_start`]: ports.low, [`${name}_end`]: ports.high };
}

function endJson(name: string, end: Rule["from"]): Json {
  if (!end) return {};
  const isWhole = end.length === (end.address.family === 4 ? 32 : 128);
  return { [name]: String(end.address), ...(!isWhole && { [`${name}len`]: end.length }) };
}

export function ruleJson(rule: Rule): Json {
  const { priority, not, from, to, iif, oif, mark, markMask, protocol, sourcePorts, destinationPorts, table, action } = rule;
  return {
    priority,
    ...(not && { not: null }),
    ...(from ? endJson("src", from) : { src: "all" }),
    ...endJson("dst", to),
    ...(mark !== undefined && { fwmark: hex(mark), ...(markMask !== undefined && { fwmask: hex(markMask) }) }),
    ...(iif && { iif: iif.name }),
    ...(oif && { oif: oif.name }),
    ...(protocol !== undefined && { ipproto: protocolName(protocol) }),
    ...portsJson("sport", sourcePorts),
    ...portsJson("dport", destinationPorts),
    ...(action ? { action } : { table: tableName(table) }),
  };
}
