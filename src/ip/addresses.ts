/**
 * The addresses of a host: given, checked for duplicates, deprecated, withdrawn (RFC 4862 §5.4 and §5.5.4, RFC 5227),
 * with the routes and groups that come with each.
 */
import type { Prefix } from "../base/address.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { type InterfaceAddress, type IpAddress, networkOf } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import type { DuplicateDetection } from "./dad.ts";
import { type AddressOrigin, type AddressScope, isAutomatic, type NetInterface, type OwnAddress, solicitedNode } from "./interface.ts";
import { EVERYTHING, NOTHING } from "./multicast/filter.ts";
import { hostPrefix } from "./neighbours.ts";
import type { World } from "./world.ts";

export interface AddressOptions {
  origin?: AddressOrigin;
  /** Milliseconds from now. Default: for ever. */
  preferredMs?: number;
  validMs?: number;
  /** How often the link is asked before the address is used; 0: never. */
  probes?: number;
}

export type AddressEvent = "added" | "usable" | "duplicate" | "deprecated" | "removed";
export type AddressListener = (event: AddressEvent, own: OwnAddress, iface: NetInterface) => void;

/** A line of `ip addr`. */
export interface AddressInfo {
  readonly interface: string;
  readonly address: string;
  readonly length: number;
  readonly scope: AddressScope;
  readonly origin: AddressOrigin;
  /** As `ip addr` prints them. */
  readonly flags: readonly ("permanent" | "dynamic" | "temporary" | "tentative" | "dadfailed" | "deprecated")[];
  /** Milliseconds left; Infinity for ever. */
  readonly preferredMs: number;
  readonly validMs: number;
}

export class Addresses {
  /** Told of everything that happens to an address. */
  readonly listeners = new Set<AddressListener>();
  private readonly world: World;
  private readonly dad: DuplicateDetection;
  private readonly timer = new Timer(() => this.expire());
  private readonly deprecated = new WeakSet<OwnAddress>();
  private readonly installed = new Map<OwnAddress, { prefix: Prefix; metric: number }[]>();

  constructor(world: World, dad: DuplicateDetection) {
    this.world = world;
    this.dad = dad;
  }

  add(iface: NetInterface, given: InterfaceAddress, options: AddressOptions = {}): OwnAddress {
    const { address, length } = given;
    if (address.isUnspecified || address.isMulticast) throw invalid(`${address} cannot be an interface's address`);
    if (iface.find(address)) throw new LoomError("EEXIST", `${iface.name} has ${address} already`);
    const { origin = "static", preferredMs = Number.POSITIVE_INFINITY, validMs = Number.POSITIVE_INFINITY, probes = 0 } = options;
    const own: OwnAddress = {
      address,
      length,
      origin,
      scope: address.isLoopback ? "host" : address.isLinkLocal ? "link" : "global",
      state: probes > 0 ? "tentative" : "usable",
      preferredUntil: 0,
      validUntil: 0,
    };
    iface.addresses.push(own);
    // The group in which others ask for it, joined first so that their questions are heard (RFC 4862 §5.4.2).
    if (address.family === 6) iface.groups6?.want(solicitedNode(address), own, EVERYTHING);
    this.setLifetimes(own, Math.min(preferredMs, validMs), validMs);
    this.tell("added", own, iface);
    if (probes > 0) this.dad.start(iface, own, probes, (unique) => this.settled(iface, own, unique));
    else this.use(iface, own);
    return own;
  }

  private settled(iface: NetInterface, own: OwnAddress, unique: boolean): void {
    if (!iface.addresses.includes(own)) return;
    own.state = unique ? "usable" : "duplicate";
    if (unique) this.use(iface, own);
    else {
      this.world.counters.duplicate_addresses++;
      this.tell("duplicate", own, iface);
    }
  }

  private use(iface: NetInterface, own: OwnAddress): void {
    this.installRoutes(iface, own);
    this.world.routes.generation++;
    this.tell("usable", own, iface);
    this.dad.announce(iface, own.address);
  }

  /** Local route, subnet and broadcast. Link-local IPv6 addresses are the same on every link: no table can tell them apart. */
  private installRoutes(iface: NetInterface, own: OwnAddress): void {
    const { address, length } = own;
    const { family } = address;
    if (family === 6 && address.isLinkLocal) return;
    this.install(own, hostPrefix(address), "local", iface, 0);
    if (length === (family === 4 ? 32 : 128) || isAutomatic(own)) return;
    this.install(own, prefixOf(address, length), "unicast", iface, family === 4 ? 0 : 256);
    if (family === 4 && length < 31) {
      const last = (address.v4 | (0xffffffff >>> length)) >>> 0;
      this.install(own, { family: 4, address: last, length: 32 }, "local", iface, 0);
    }
  }

  private install(own: OwnAddress, prefix: Prefix, kind: "local" | "unicast", iface: NetInterface, metric: number): void {
    const nextHops = kind === "unicast" ? [{ iface }] : [];
    try {
      this.world.routes.add({ prefix, kind, nextHops, metric, protocol: "kernel" });
    } catch (error) {
      // A second address of the same subnet needs no second route.
      if (error instanceof LoomError && error.code === "EEXIST") return;
      throw error;
    }
    const routes = this.installed.get(own) ?? [];
    routes.push({ prefix, metric });
    this.installed.set(own, routes);
  }

  /** Takes an address away, with its routes; another address that needs one of them gets it. */
  remove(iface: NetInterface, address: IpAddress): void {
    const own = iface.find(address);
    if (!own) throw new LoomError("ENOENT", `${iface.name} has no address ${address}`);
    iface.addresses.splice(iface.addresses.indexOf(own), 1);
    this.dad.stop(own);
    if (address.family === 6) iface.groups6?.want(solicitedNode(address), own, NOTHING);
    const routes = this.installed.get(own) ?? [];
    this.installed.delete(own);
    for (const { prefix, metric } of routes) this.withdraw(prefix, metric);
    for (const other of this.world.interfaces) {
      for (const each of other.addresses) if (routes.length && each.state === "usable") this.installRoutes(other, each);
    }
    this.world.routes.generation++;
    this.tell("removed", own, iface);
  }

  private withdraw(prefix: Prefix, metric: number): void {
    try {
      this.world.routes.delete(prefix, metric);
    } catch (error) {
      // Somebody took it away already.
      if (!(error instanceof LoomError) || error.code !== "ENOENT") throw error;
    }
  }

  /** Milliseconds from now. */
  setLifetimes(own: OwnAddress, preferredMs: number, validMs: number): void {
    const { now, timers } = this.world;
    own.preferredUntil = now + preferredMs;
    own.validUntil = now + validMs;
    if (preferredMs > 0) this.deprecated.delete(own);
    const next = Math.min(own.preferredUntil > now ? own.preferredUntil : Number.POSITIVE_INFINITY, own.validUntil);
    if (next < this.timer.at) timers.arm(this.timer, next);
  }

  private expire(): void {
    const { now, interfaces, timers } = this.world;
    let next = Number.POSITIVE_INFINITY;
    for (const iface of interfaces) {
      for (const own of [...iface.addresses]) {
        if (own.validUntil <= now) this.remove(iface, own.address);
        else {
          if (own.preferredUntil <= now && !this.deprecated.has(own)) {
            this.deprecated.add(own);
            this.tell("deprecated", own, iface);
          }
          next = Math.min(next, own.validUntil, own.preferredUntil > now ? own.preferredUntil : Number.POSITIVE_INFINITY);
        }
      }
    }
    if (next !== Number.POSITIVE_INFINITY) timers.arm(this.timer, next);
  }

  isDeprecated(own: OwnAddress): boolean {
    return own.preferredUntil <= this.world.now;
  }

  list(): AddressInfo[] {
    const { now, interfaces } = this.world;
    return interfaces.flatMap((iface) =>
      iface.addresses.map((own) => ({
        interface: iface.name,
        address: String(own.address),
        length: own.length,
        scope: own.scope,
        origin: own.origin,
        flags: this.flagsOf(own),
        preferredMs: Math.max(0, own.preferredUntil - now),
        validMs: own.validUntil - now,
      })),
    );
  }

  private flagsOf(own: OwnAddress): AddressInfo["flags"] {
    const flags: AddressInfo["flags"][number][] = [own.validUntil === Number.POSITIVE_INFINITY ? "permanent" : "dynamic"];
    if (own.origin === "temporary") flags.push("temporary");
    if (own.state === "tentative") flags.push("tentative");
    if (own.state === "duplicate") flags.push("dadfailed");
    if (this.isDeprecated(own)) flags.push("deprecated");
    return flags;
  }

  private tell(event: AddressEvent, own: OwnAddress, iface: NetInterface): void {
    for (const listener of this.listeners) listener(event, own, iface);
  }
}

export function prefixOf(address: IpAddress, length: number): Prefix {
  const network = networkOf(address, length);
  return network.family === 4 ? { family: 4, address: network.v4, length } : { family: 6, high: network.high, low: network.low, length };
}
