/**
 * What a host learns from its routers: default routes, prefixes, MTU, hop limit, name servers, more specific routes
 * (RFC 4861 §6.3, RFC 4191, RFC 8106; solicitations back off by RFC 7559).
 */
import { LoomError } from "../base/errors.ts";
import { IpAddress, networkOf } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import { type Addresses, prefixOf } from "./addresses.ts";
import type { NetInterface } from "./interface.ts";
import type { Neighbour } from "./neighbours.ts";
import {
  type AdvertisedPrefix,
  type AdvertisedRoute,
  type Preference,
  parseAdvertisement,
  ROUTER_ADVERTISEMENT,
  ROUTER_SOLICITATION,
  type RouterAdvertisement,
  solicitationData,
} from "./router-messages.ts";
import { type AutoconfOptions, msOf, Slaac } from "./slaac.ts";
import type { IncomingIcmp } from "./types.ts";
import type { World } from "./world.ts";

const ALL_ROUTERS = IpAddress.parse("ff02::2");
const DEFAULT = IpAddress.parse("::");
/** RFC 4861 §10 and RFC 7559 §2. */
const FIRST_DELAY_MS = 1000;
const SOLICIT_MS = 4000;
const SOLICIT_MOST_MS = 3_600_000;
/** Metrics of what routers say; static routes come before. */
const METRIC: Readonly<Record<Preference, number>> = { high: 512, medium: 1024, low: 2048 };
/** Added while a router does not answer. */
const DEMOTED = 8192;
/** Bounds for what a hostile link can make us keep, in all and of one router; default routes have a place of their own (RFC 4861 §6.3.4). */
const MOST_ROUTERS = 16;
const MOST_ROUTES = 64;
const MOST_SERVERS = 8;
const ROUTES_EACH = 17;
const SERVERS_EACH = 4;
const SMALLEST_MTU = 1280;

/** Something learned, with its end. */
interface Learned {
  readonly iface: NetInterface;
  /** Who said it first. */
  readonly router: IpAddress;
  /** When it was said last (ms). */
  heard: number;
  readonly timer: Timer;
  undo(): void;
}

interface LearnedRoute extends Learned {
  readonly prefix: IpAddress;
  readonly length: number;
  preference: Preference;
  metric: number;
}

/** Name servers and search domains, in the order in which they were heard. */
export interface LearnedNames {
  readonly nameServers: readonly { readonly address: IpAddress; readonly iface: NetInterface }[];
  readonly searchList: readonly string[];
}

export class RouterDiscovery {
  /** Told when name servers or search domains change, and when DHCPv6 is asked for. */
  readonly listeners = new Set<(what: "names" | "managed" | "other", iface: NetInterface) => void>();
  private readonly world: World;
  private readonly addresses: Addresses;
  private readonly configured = new Map<NetInterface, { slaac: Slaac; solicit: Timer; wait: number }>();
  private readonly defaults = new Map<string, LearnedRoute>();
  private readonly routes = new Map<string, LearnedRoute>();
  private readonly prefixes = new Map<string, Learned>();
  private readonly servers = new Map<string, Learned & { address: IpAddress }>();
  private readonly domains = new Map<string, Learned & { domain: string }>();
  private sequence = 0;

  constructor(world: World, addresses: Addresses) {
    this.world = world;
    this.addresses = addresses;
    world.handleIcmp(6, ROUTER_ADVERTISEMENT, (incoming) => this.receive(incoming));
  }

  /** Heeds the routers of an interface from now on, and asks for them. */
  start(iface: NetInterface, options: AutoconfOptions = {}): void {
    if (this.configured.has(iface)) return;
    const entry = {
      slaac: new Slaac(this.world, this.addresses, iface, options, (router) => this.answers(iface, router)),
      solicit: new Timer(() => this.solicit(iface)),
      wait: 0,
    };
    this.configured.set(iface, entry);
    this.world.timers.arm(entry.solicit, this.world.now + this.world.random.float() * FIRST_DELAY_MS);
  }

  private solicit(iface: NetInterface): void {
    const { world } = this;
    const entry = this.configured.get(iface);
    if (!entry) return;
    const from = iface.linkLocal;
    world.sendIcmp(iface, from ?? DEFAULT, ALL_ROUTERS, ROUTER_SOLICITATION, 0, 0, solicitationData(from && iface.mac), 255);
    const spread = 0.9 + 0.2 * world.random.float();
    entry.wait = Math.min(entry.wait === 0 ? SOLICIT_MS : 2 * entry.wait, SOLICIT_MOST_MS);
    world.timers.arm(entry.solicit, world.now + entry.wait * spread);
  }

  get names(): LearnedNames {
    return {
      nameServers: [...this.servers.values()].map(({ address, iface }) => ({ address, iface })),
      searchList: [...new Set([...this.domains.values()].map(({ domain }) => domain))],
    };
  }

  // ── What is said ──────────────────────────────────────────────────────────────────────────────

  private receive({ iface, from, hopLimit, message }: IncomingIcmp): void {
    const entry = iface && this.configured.get(iface);
    const said = hopLimit === 255 && from.isLinkLocal ? parseAdvertisement(message) : undefined;
    if (!iface || !entry || !said) {
      if (entry) this.world.counters.in_addr_errors++;
      return;
    }
    // One router was heard: that is enough asking (RFC 7559 §2.1), unless it is none that leads on.
    if (said.lifetimeSeconds > 0) this.world.timers.cancel(entry.solicit);
    this.parameters(iface, said);
    if (said.sourceMac) this.world.neighbours.heard(iface, from, said.sourceMac, false, true, true);
    const neighbour = this.world.neighbours.find(iface, from);
    if (neighbour) neighbour.isRouter = true;
    const whole = { prefix: DEFAULT, length: 0, preference: said.preference, seconds: said.lifetimeSeconds };
    for (const route of [whole, ...said.routes]) this.route(iface, from, route);
    for (const prefix of said.prefixes) {
      if (prefix.length > 128 || prefix.prefix.isLinkLocal || prefix.prefix.isMulticast) continue;
      if (prefix.onLink) this.onLink(iface, from, prefix);
      if (prefix.autonomous) entry.slaac.advertised(prefix, from);
    }
    this.learnNames(iface, from, said);
    if (said.managed) this.tell("managed", iface);
    else if (said.other) this.tell("other", iface);
  }

  /** It was heard to answer: it is there, and its address is not made up. */
  private answers(iface: NetInterface, router: IpAddress): boolean {
    const state = this.world.neighbours.find(iface, router)?.state;
    return state === "REACHABLE" || state === "DELAY" || state === "PROBE" || state === "PERMANENT";
  }

  /**
   * Room for one more thing that a router says: what was unheard for longest goes, first of those who never answered. False
   * when the router has its share, or everything is of routers that are there.
   */
  private makeRoom<T extends Learned>(table: Map<string, T>, iface: NetInterface, router: IpAddress, most: number, each: number): boolean {
    let own = 0;
    let oldest: string | undefined;
    let heard = Number.POSITIVE_INFINITY;
    for (const [key, entry] of table) {
      const isOwn = entry.iface === iface && entry.router.equals(router);
      if (isOwn) own++;
      if (entry.heard >= heard || this.answers(entry.iface, entry.router)) continue;
      oldest = key;
      heard = entry.heard;
    }
    if (own >= each) return false;
    if (table.size < most) return true;
    if (oldest !== undefined) this.forget(table, oldest);
    return oldest !== undefined;
  }

  private parameters(iface: NetInterface, { hopLimit, reachableMs, retransMs, mtu }: RouterAdvertisement): void {
    if (hopLimit > 0) iface.hopLimit = hopLimit;
    // Longer than an hour, or shorter than makes sense, is nobody's wish (RFC 4861 §6.2.1).
    if (reachableMs > 0 && reachableMs <= 3_600_000) iface.reachableMs = reachableMs;
    if (retransMs >= 100 && retransMs <= 60_000) iface.retransMs = retransMs;
    if (mtu === undefined || mtu < SMALLEST_MTU || mtu > iface.mtu || mtu === iface.linkMtu) return;
    iface.linkMtu = mtu;
    this.world.routes.generation++;
  }

  private route(iface: NetInterface, router: IpAddress, { prefix, length, preference, seconds }: AdvertisedRoute): void {
    const network = networkOf(prefix, length);
    if (length > 0 && (network.isLinkLocal || network.isMulticast)) return;
    const key = `${iface.index} ${router.key} ${network.key}/${length}`;
    const table = length === 0 ? this.defaults : this.routes;
    const known = table.get(key);
    if (seconds === 0) {
      if (known) this.forget(table, key);
      return;
    }
    if (known) {
      // Heard again: it answers, whatever was thought of it.
      this.setMetric(known, preference, 0);
      this.keep(known, msOf(seconds));
      return;
    }
    if (!this.makeRoom(table, iface, router, length === 0 ? MOST_ROUTERS : MOST_ROUTES, ROUTES_EACH)) return;
    const entry: LearnedRoute = {
      iface,
      router,
      heard: this.world.now,
      prefix: network,
      length,
      preference,
      metric: -1,
      timer: new Timer(() => this.forget(table, key)),
      undo: () => this.withdraw(network, length, entry.metric),
    };
    if (!this.install(entry, preference, 0)) return;
    table.set(key, entry);
    this.keep(entry, msOf(seconds));
  }

  /** Several routers may say the same: earlier ones stay in front. */
  private install(entry: LearnedRoute, preference: Preference, extra: number): boolean {
    entry.preference = preference;
    entry.metric = METRIC[preference] + extra + (this.sequence = (this.sequence + 1) % 256);
    const { router, iface, prefix, length, metric } = entry;
    try {
      this.world.routes.add({
        prefix: prefixOf(prefix, length),
        kind: "unicast",
        nextHops: [{ via: router, iface }],
        metric,
        protocol: "ra",
      });
      return true;
    } catch (error) {
      if (error instanceof LoomError) return false;
      throw error;
    }
  }

  private withdraw(network: IpAddress, length: number, metric: number): void {
    try {
      this.world.routes.delete(prefixOf(network, length), metric);
    } catch (error) {
      // It could not be made again, or somebody took it away.
      if (!(error instanceof LoomError)) throw error;
    }
  }

  private setMetric(entry: LearnedRoute, preference: Preference, extra: number): void {
    const isDemoted = entry.metric >= DEMOTED;
    if (entry.preference === preference && isDemoted === extra > 0) return;
    entry.undo();
    this.install(entry, preference, extra);
  }

  /** A neighbour that was a router is none any more, or does not answer: others come first (RFC 4861 §6.3.6). */
  lost(neighbour: Neighbour, isGone: boolean): void {
    for (const table of [this.defaults, this.routes]) {
      for (const [key, entry] of [...table]) {
        if (entry.iface !== neighbour.iface || !entry.router.equals(neighbour.address)) continue;
        if (isGone) this.forget(table, key);
        else this.setMetric(entry, entry.preference, DEMOTED);
      }
    }
  }

  private onLink(iface: NetInterface, router: IpAddress, { prefix, length, validSeconds }: AdvertisedPrefix): void {
    const network = networkOf(prefix, length);
    const key = `${iface.index} ${network.key}/${length}`;
    const known = this.prefixes.get(key);
    if (validSeconds === 0) {
      if (known) this.forget(this.prefixes, key);
      return;
    }
    if (known) {
      this.keep(known, msOf(validSeconds));
      return;
    }
    if (length === 0 || !this.makeRoom(this.prefixes, iface, router, MOST_ROUTES, ROUTES_EACH)) return;
    const subnet = { address: network, length };
    const route = prefixOf(network, length);
    try {
      this.world.routes.add({ prefix: route, kind: "unicast", nextHops: [{ iface }], metric: 257, protocol: "ra" });
    } catch (error) {
      if (error instanceof LoomError) return;
      throw error;
    }
    iface.onLink.push(subnet);
    const undo = () => {
      iface.onLink.splice(iface.onLink.indexOf(subnet), 1);
      this.withdraw(network, length, 257);
    };
    const entry: Learned = { iface, router, heard: this.world.now, timer: new Timer(() => this.forget(this.prefixes, key)), undo };
    this.prefixes.set(key, entry);
    this.keep(entry, msOf(validSeconds));
  }

  private learnNames(iface: NetInterface, router: IpAddress, { nameServers, searchList }: RouterAdvertisement): void {
    let changed = false;
    for (const { seconds, addresses } of nameServers) {
      for (const address of addresses) {
        if (!address.isMulticast && !address.isUnspecified)
          changed = this.name(this.servers, `${iface.index} ${address.key}`, iface, router, seconds, { address }) || changed;
      }
    }
    for (const { seconds, domains } of searchList) {
      for (const domain of domains)
        changed = this.name(this.domains, `${iface.index} ${domain}`, iface, router, seconds, { domain }) || changed;
    }
    if (changed) this.tell("names", iface);
  }

  private name<T extends object>(
    table: Map<string, Learned & T>,
    key: string,
    iface: NetInterface,
    router: IpAddress,
    seconds: number,
    value: T,
  ): boolean {
    const known = table.get(key);
    if (seconds === 0) {
      if (known) this.forget(table, key);
      return known !== undefined;
    }
    if (known) {
      this.keep(known, msOf(seconds));
      return false;
    }
    if (!this.makeRoom(table, iface, router, MOST_SERVERS, SERVERS_EACH)) return false;
    const end = () => {
      this.forget(table, key);
      this.tell("names", iface);
    };
    const entry = { iface, router, heard: this.world.now, timer: new Timer(end), undo: () => {}, ...value };
    table.set(key, entry);
    this.keep(entry, msOf(seconds));
    return true;
  }

  private keep(entry: Learned, ms: number): void {
    const { timers, now } = this.world;
    const { timer } = entry;
    entry.heard = now;
    if (ms === Number.POSITIVE_INFINITY) timers.cancel(timer);
    else timers.arm(timer, now + ms);
  }

  private forget<T extends Learned>(table: Map<string, T>, key: string): void {
    const entry = table.get(key);
    if (!entry) return;
    table.delete(key);
    this.world.timers.remove(entry.timer);
    entry.undo();
  }

  private tell(what: "names" | "managed" | "other", iface: NetInterface): void {
    for (const listener of this.listeners) listener(what, iface);
  }

  /** Everything learned on an interface is forgotten. */
  stop(iface: NetInterface): void {
    const entry = this.configured.get(iface);
    if (!entry) return;
    this.configured.delete(iface);
    this.world.timers.remove(entry.solicit);
    entry.slaac.close();
    for (const table of [this.defaults, this.routes, this.prefixes, this.servers, this.domains] as Map<string, Learned>[]) {
      for (const [key, each] of [...table]) if (each.iface === iface) this.forget(table, key);
    }
  }
}
