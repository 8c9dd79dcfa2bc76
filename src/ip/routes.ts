/**
 * The routes of a host, as `ip route` shows them: several may lead to one prefix, the one with the lowest metric is
 * in the data plane's table.
 */
import { formatPrefix, type Prefix } from "../base/address.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { RouteTable } from "../engine/route-table.ts";
import type { NetInterface } from "./interface.ts";
import type { Neighbour, Neighbours } from "./neighbours.ts";

export type RouteKind = "unicast" | "local" | "blackhole" | "unreachable" | "prohibit";

export interface NextHopSpec {
  readonly via?: IpAddress;
  readonly iface: NetInterface;
  /** Share of a multipath route, 1 to 255. Default 1. */
  readonly weight?: number;
}

export interface Route {
  readonly prefix: Prefix;
  readonly kind: RouteKind;
  /** One for a plain route, several for multipath; none for routes that end here. */
  readonly nextHops: readonly NextHopSpec[];
  readonly metric: number;
  /** Who made it, as `ip route` says it. */
  readonly protocol: "kernel" | "static" | "ra" | "dhcp" | "redirect";
}

/** What a next hop of a table means to the host. */
export type HopMeaning =
  | { readonly kind: "local" | "blackhole" | "unreachable" | "prohibit" }
  | { readonly kind: "glean"; readonly iface: NetInterface }
  | { readonly kind: "neighbour"; readonly neighbour: Neighbour; readonly iface: NetInterface }
  | { readonly kind: "group"; readonly iface: NetInterface };

interface Installed {
  readonly routes: Route[];
  hop: number;
  isGroup: boolean;
  /** Whose next hops the route in use names. */
  gateways: readonly Neighbour[];
}

export class Routes {
  private readonly tables: { readonly 4: RouteTable; readonly 6: RouteTable };
  private readonly neighbours: Neighbours;
  private readonly byPrefix = new Map<string, Installed>();
  private readonly ends: Map<string, number>;
  private readonly meanings: { readonly 4: Map<number, HopMeaning>; readonly 6: Map<number, HopMeaning> };
  /** What tables with the same next hops have in common. */
  private readonly common: { generation: number };
  /** Other tables, which have the local routes of this one too. */
  private readonly mirrors: Routes[] = [];

  /** `main`: the table whose next hops and local routes this one shares. */
  constructor(tables: Routes["tables"], neighbours: Neighbours, main?: Routes) {
    this.tables = tables;
    this.neighbours = neighbours;
    this.ends = main?.ends ?? new Map();
    this.meanings = main?.meanings ?? { 4: new Map(), 6: new Map() };
    this.common = main?.common ?? { generation: 1 };
    if (!main) return;
    main.mirrors.push(this);
    for (const route of main.list()) if (route.kind === "local") this.add(route);
  }

  /** Rises with every change: what was looked up before may be wrong since. */
  get generation(): number {
    return this.common.generation;
  }

  set generation(value: number) {
    this.common.generation = value;
  }

  list(): Route[] {
    return [...this.byPrefix.values()].flatMap(({ routes }) => routes);
  }

  add(route: Route): void {
    const key = formatPrefix(route.prefix);
    const known = this.byPrefix.get(key) ?? { routes: [], hop: 0, isGroup: false, gateways: [] };
    if (known.routes.some((other) => other.metric === route.metric)) {
      throw new LoomError("EEXIST", `there is a route to ${key} with metric ${route.metric} already`);
    }
    checkEnds(route, key);
    known.routes.push(route);
    known.routes.sort((a, b) => a.metric - b.metric);
    this.byPrefix.set(key, known);
    try {
      this.install(route.prefix, known);
    } catch (error) {
      known.routes.splice(known.routes.indexOf(route), 1);
      if (known.routes.length === 0) this.byPrefix.delete(key);
      throw error;
    }
    if (route.kind === "local") for (const mirror of this.mirrors) mirror.add(route);
  }

  /** In place of the one to that prefix with that metric, if there is one: no packet finds neither. What cannot be leaves that as it is. */
  replace(route: Route): void {
    const key = formatPrefix(route.prefix);
    const known = this.byPrefix.get(key);
    const at = known?.routes.findIndex(({ metric }) => metric === route.metric) ?? -1;
    if (!known || at < 0) {
      this.add(route);
      return;
    }
    checkEnds(route, key);
    const before = known.routes[at];
    known.routes[at] = route;
    try {
      this.install(route.prefix, known);
    } catch (error) {
      known.routes[at] = before;
      throw error;
    }
    if (before.kind === "local") for (const mirror of this.mirrors) mirror.delete(before.prefix, before.metric);
    if (route.kind === "local") for (const mirror of this.mirrors) mirror.add(route);
  }

  delete(prefix: Prefix, metric?: number): void {
    const key = formatPrefix(prefix);
    const known = this.byPrefix.get(key);
    const at = known ? known.routes.findIndex((route) => metric === undefined || route.metric === metric) : -1;
    if (!known || at < 0)
      throw new LoomError("ENOENT", `there is no route to ${key}${metric === undefined ? "" : ` with metric ${metric}`}`);
    const [gone] = known.routes.splice(at, 1);
    this.install(prefix, known);
    if (known.routes.length === 0) this.byPrefix.delete(key);
    if (gone.kind === "local") for (const mirror of this.mirrors) mirror.delete(prefix, gone.metric);
  }

  /** Forgets the routes that lead out by an interface, and its share of multipath routes. */
  withdraw(iface: NetInterface, isLast = true): void {
    for (const [key, known] of this.byPrefix) {
      if (!known.routes.some((route) => leadsTo(route, iface))) continue;
      const [{ prefix }] = known.routes;
      const kept = known.routes
        .map((route) => (leadsTo(route, iface) ? { ...route, nextHops: route.nextHops.filter((hop) => hop.iface !== iface) } : route))
        .filter((route) => route.kind !== "unicast" || route.nextHops.length > 0);
      known.routes.splice(0, known.routes.length, ...kept);
      this.install(prefix, known);
      if (kept.length === 0) this.byPrefix.delete(key);
    }
    if (!isLast) return;
    for (const family of [4, 6] as const) {
      const hop = family === 4 ? iface.glean4 : iface.glean6;
      if (hop === 0) continue;
      this.meanings[family].delete(hop);
      this.tables[family].removeNextHop(hop);
    }
    iface.glean4 = iface.glean6 = 0;
  }

  /** Takes every route out of the data plane's tables, with the hops that only routes name. */
  clear(): void {
    for (const { routes } of this.byPrefix.values()) {
      const [{ prefix }] = routes;
      this.tables[prefix.family].delete(prefix);
      if (prefix.family === 4) this.tables[4].markOwn(prefix.address, false);
    }
    this.byPrefix.clear();
    this.mirrors.length = 0;
    this.generation++;
  }

  /** An interface went up or down: what leads out by it is used again, or not for now. */
  refresh(iface: NetInterface): void {
    for (const known of this.byPrefix.values()) {
      if (known.routes.some((route) => leadsTo(route, iface))) this.install(known.routes[0].prefix, known);
    }
  }

  private install(prefix: Prefix, known: Installed): void {
    const table = this.tables[prefix.family];
    const best = known.routes.find(isUsable);
    const { hop: before, isGroup: wasGroup, gateways } = known;
    const fresh: Neighbour[] = [];
    let hop = 0;
    try {
      if (best) {
        hop = this.hopOf(best, fresh);
        table.set(prefix, hop);
      } else if (before !== 0) table.delete(prefix);
    } catch (error) {
      for (const gateway of fresh) gateway.uses--;
      if (hop !== 0 && this.meanings[prefix.family].get(hop)?.kind === "group") this.endGroup(prefix.family, hop);
      throw error;
    }
    if (prefix.family === 4 && prefix.length === 32) this.tables[4].markOwn(prefix.address, best?.kind === "local");
    known.hop = hop;
    known.isGroup = best !== undefined && upHops(best).length > 1;
    known.gateways = fresh;
    for (const gateway of gateways) gateway.uses--;
    if (wasGroup && before !== hop) this.endGroup(prefix.family, before);
    if (hop === 0) this.neighbours.freed(prefix);
    this.generation++;
  }

  private endGroup(family: 4 | 6, hop: number): void {
    this.meanings[family].delete(hop);
    this.tables[family].removeNextHop(hop);
  }

  /** Neighbours whose hops it names are counted, and added to `gateways`. */
  private hopOf(route: Route, gateways: Neighbour[]): number {
    const { prefix } = route;
    const { family } = prefix;
    if (route.kind !== "unicast") return this.endHop(family, route.kind);
    const members = upHops(route).map((spec) => ({ hop: this.memberHop(prefix, spec, gateways), weight: spec.weight ?? 1 }));
    if (members.length === 1) return members[0].hop;
    const hop = this.tables[family].addNextHop({ kind: "group", members });
    this.meanings[family].set(hop, { kind: "group", iface: route.nextHops[0].iface });
    return hop;
  }

  private memberHop(prefix: Prefix, { via, iface }: NextHopSpec, gateways: Neighbour[]): number {
    const { family } = prefix;
    if (via && via.family !== family) throw invalid(`gateway ${via} for a route of IPv${family}`);
    // One address on the link is one neighbour: there is nothing to glean, and no second route to it could be made.
    const to = via ?? addressOf(prefix);
    if (!to) return this.gleanHop(family, iface);
    const neighbour = this.neighbours.entry(iface, to);
    if (!neighbour) throw new LoomError("ENOBUFS", "the neighbour table is full");
    neighbour.uses++;
    gateways.push(neighbour);
    return neighbour.hop;
  }

  /** One hop for all that ends in the same way. */
  endHop(family: 4 | 6, kind: Exclude<RouteKind, "unicast">): number {
    const key = `${family} ${kind}`;
    let hop = this.ends.get(key);
    if (hop === undefined) {
      hop = this.tables[family].addNextHop({ kind });
      this.ends.set(key, hop);
      this.meanings[family].set(hop, { kind });
    }
    return hop;
  }

  /** "Whoever has the destination address on this link." */
  gleanHop(family: 4 | 6, iface: NetInterface): number {
    let hop = family === 4 ? iface.glean4 : iface.glean6;
    if (hop === 0) {
      hop = this.tables[family].addNextHop({ kind: "glean", port: iface.port.index });
      if (family === 4) iface.glean4 = hop;
      else iface.glean6 = hop;
      this.meanings[family].set(hop, { kind: "glean", iface });
    }
    return hop;
  }

  /** What a hop number means; undefined for "no route". */
  meaning(family: 4 | 6, hop: number): HopMeaning | undefined {
    const known = this.meanings[family].get(hop);
    if (known) return known;
    const neighbour = this.neighbours.ofHop(family, hop);
    return neighbour && { kind: "neighbour", neighbour, iface: neighbour.iface };
  }

  /** Whom packets for an address are handed to on one interface: a gateway, or the address itself; undefined without a route. */
  gatewayBy(address: IpAddress, iface: NetInterface): IpAddress | undefined {
    let best: { length: number; metric: number; via: IpAddress } | undefined;
    for (const { prefix, kind, nextHops, metric } of this.list()) {
      const spec = kind === "unicast" ? nextHops.find((hop) => hop.iface === iface) : undefined;
      if (!spec || !prefixCovers(prefix, address)) continue;
      const isBetter = !best || prefix.length > best.length || (prefix.length === best.length && metric < best.metric);
      if (isBetter) best = { length: prefix.length, metric, via: spec.via ?? address };
    }
    return best?.via;
  }

  /** Longest-prefix match: a hop number, 0 for none. */
  lookup(address: IpAddress): number {
    return address.family === 4 ? this.tables[4].lookup(address.v4) : this.tables[6].lookup6(address.high, address.low);
  }
}

/** The only address of a prefix that has one; groups and link-local addresses are told apart by interface alone. */
function addressOf(prefix: Prefix): IpAddress | undefined {
  if (prefix.length !== (prefix.family === 4 ? 32 : 128)) return undefined;
  const address = prefix.family === 4 ? IpAddress.v4(prefix.address) : IpAddress.v6(prefix.high, prefix.low);
  return address.isMulticast ? undefined : address;
}

function leadsTo(route: Route, iface: NetInterface): boolean {
  return route.nextHops.some((hop) => hop.iface === iface);
}

/** Next hops whose interface is up. */
function upHops(route: Route): readonly NextHopSpec[] {
  return route.nextHops.every((hop) => hop.iface.up) ? route.nextHops : route.nextHops.filter((hop) => hop.iface.up);
}

function checkEnds({ kind, nextHops }: Route, key: string): void {
  if (kind === "unicast" && nextHops.length === 0) throw invalid(`the route to ${key} names neither a gateway nor a device`);
}

function isUsable(route: Route): boolean {
  return route.kind !== "unicast" || route.nextHops.some((hop) => hop.iface.up);
}

function prefixCovers(prefix: Prefix, address: IpAddress): boolean {
  if (prefix.family !== address.family) return false;
  const network = prefix.family === 4 ? IpAddress.v4(prefix.address) : IpAddress.v6(prefix.high, prefix.low);
  return network.commonPrefix(address) >= prefix.length;
}
