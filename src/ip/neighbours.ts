/**
 * Neighbours of both families: one machine for ARP and NDP (RFC 4861 §7.3.2 with the names of `ip neigh`).
 *
 * A neighbour owns a next hop of its family's table. While it is reachable the data plane sends to it by itself.
 * When it turns STALE its hop asks again: the first packet that comes up is sent, and starts DELAY and PROBE.
 */
import type { Prefix } from "../base/address.ts";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Random } from "../base/random.ts";
import { Timer, type Timers } from "../base/timers.ts";
import type { RouteTable } from "../engine/route-table.ts";
import type { NetInterface } from "./interface.ts";

export type NeighbourState = "INCOMPLETE" | "REACHABLE" | "STALE" | "DELAY" | "PROBE" | "FAILED" | "PERMANENT" | "NOARP";

/** RFC 4861 §10, in milliseconds and tries; reachable and retransmission time are the interface's. */
const DELAY_MS = 5000;
const MULTICAST_SOLICIT = 3;
const UNICAST_SOLICIT = 3;
/** Bytes kept for one neighbour while it is looked for (Linux: unres_qlen_bytes), and what each packet counts beside its own. */
const QUEUE_BYTES = 212_992;
const PACKET_OVERHEAD = 256;

export class Neighbour {
  readonly address: IpAddress;
  readonly iface: NetInterface;
  readonly hop: number;
  readonly timer: Timer;
  mac: Uint8Array | undefined;
  state: NeighbourState = "INCOMPLETE";
  isRouter = false;
  /** Routes in use that name its next hop. */
  uses = 0;
  probes = 0;
  /** When it was last heard of or asked for (ms). */
  touched = 0;
  /** A route to exactly this address was made for it. */
  hasRoute = false;
  /** When an upper layer was last taken at its word. */
  confirmedAt = Number.NEGATIVE_INFINITY;
  /** Packets that wait: ids. */
  readonly queue: number[] = [];
  queuedBytes = 0;

  constructor(address: IpAddress, iface: NetInterface, hop: number, timer: Timer) {
    this.address = address;
    this.iface = iface;
    this.hop = hop;
    this.timer = timer;
  }
}

/** What the machine needs of its surroundings. */
export interface NeighbourWorld {
  readonly timers: Timers;
  readonly random: Random;
  now(): number;
  table(family: 4 | 6): RouteTable;
  /** All tables with these next hops, that one among them. */
  tables(family: 4 | 6): readonly RouteTable[];
  /** Asks who has an address: to all (`mac` undefined), or to the one who had it. */
  solicit(neighbour: Neighbour, mac: Uint8Array | undefined): void;
  /** A packet that waited may go. */
  release(id: number, neighbour: Neighbour): void;
  /** A packet that waited in vain. */
  unreachable(id: number, neighbour: Neighbour): void;
  drop(id: number): void;
  /** Length of a packet. */
  bytes(id: number): number;
  /** Packets that may wait for all neighbours together. */
  readonly mostKept: number;
  /** Whoever was a router is none, or does not answer. */
  noRouter(neighbour: Neighbour, isGone: boolean): void;
  /** Next hops changed. */
  changed(): void;
}

/** Flags of a neighbour advertisement. */
export interface Advertised {
  readonly solicited: boolean;
  readonly override: boolean;
  readonly router: boolean;
}

export interface NeighbourCounters {
  queueDrops: number;
  evicted: number;
  failed: number;
  /** Neighbours that the data plane's tables had no room for; their packets go by way of the host. */
  noRoom: number;
}

export class Neighbours {
  readonly counters: NeighbourCounters = { queueDrops: 0, evicted: 0, failed: 0, noRoom: 0 };
  private readonly world: NeighbourWorld;
  private readonly limit: number;
  private readonly entries = new Map<string, Neighbour>();
  /** Packets that wait, of all neighbours. */
  private kept = 0;
  private readonly byHop: { 4: Map<number, Neighbour>; 6: Map<number, Neighbour> } = { 4: new Map(), 6: new Map() };

  constructor(world: NeighbourWorld, limit: number) {
    this.world = world;
    this.limit = limit;
  }

  get size(): number {
    return this.entries.size;
  }

  list(): Neighbour[] {
    return [...this.entries.values()];
  }

  find(iface: NetInterface, address: IpAddress): Neighbour | undefined {
    return this.entries.get(keyOf(iface, address));
  }

  ofHop(family: 4 | 6, hop: number): Neighbour | undefined {
    return this.byHop[family].get(hop);
  }

  /** The entry for an address, made (and not yet asked for) when new; undefined when the table is full of better ones. */
  entry(iface: NetInterface, address: IpAddress): Neighbour | undefined {
    const key = keyOf(iface, address);
    const known = this.entries.get(key);
    if (known) return known;
    if (this.entries.size >= this.limit && !this.evict()) return undefined;
    const hop = this.newHop(address.family, iface);
    if (hop === 0) return undefined;
    const neighbour: Neighbour = new Neighbour(address, iface, hop, new Timer(() => this.expired(neighbour)));
    neighbour.touched = this.world.now();
    this.entries.set(key, neighbour);
    this.byHop[address.family].set(hop, neighbour);
    return neighbour;
  }

  /** A next hop that asks; 0 when the table has no more. */
  private newHop(family: 4 | 6, iface: NetInterface): number {
    try {
      return this.world.table(family).addNextHop({ kind: "incomplete", port: iface.port.index });
    } catch (error) {
      if (!(error instanceof LoomError) || error.code !== "ENOMEM") throw error;
      this.counters.noRoom++;
      return 0;
    }
  }

  /** A packet wants to go to a neighbour that its hop does not lead to: it waits, or goes at once if the MAC is known. */
  want(neighbour: Neighbour, id: number): void {
    neighbour.touched = this.world.now();
    if (neighbour.mac) {
      if (neighbour.state === "STALE") {
        this.enter(neighbour, "DELAY", DELAY_MS);
        this.writeHop(neighbour);
      }
      this.world.release(id, neighbour);
      return;
    }
    this.keep(neighbour, id);
    if (!neighbour.timer.armed) this.look(neighbour);
  }

  /** The oldest go for the newest; nobody who is looked for in vain may hold all buffers. */
  private keep(neighbour: Neighbour, id: number): void {
    const { world, counters } = this;
    neighbour.queue.push(id);
    neighbour.queuedBytes += world.bytes(id) + PACKET_OVERHEAD;
    this.kept++;
    while (neighbour.queue.length > 1 && (neighbour.queuedBytes > QUEUE_BYTES || this.kept > world.mostKept)) {
      const oldest = neighbour.queue.shift() as number;
      neighbour.queuedBytes -= world.bytes(oldest) + PACKET_OVERHEAD;
      this.kept--;
      counters.queueDrops++;
      world.drop(oldest);
    }
  }

  /** What waited, which waits no longer. */
  private takeKept(neighbour: Neighbour): number[] {
    neighbour.queuedBytes = 0;
    this.kept -= neighbour.queue.length;
    return neighbour.queue.splice(0);
  }

  private look(neighbour: Neighbour): void {
    neighbour.probes = 1;
    this.enter(neighbour, "INCOMPLETE", neighbour.iface.retransMs);
    this.world.solicit(neighbour, undefined);
  }

  /**
   * Somebody said which MAC an address has. `solicited`: in answer to us; `override`: believed over what is known.
   * Unasked for, it changes entries that exist and makes none (RFC 826, RFC 4861 §7.2.5).
   */
  heard(iface: NetInterface, address: IpAddress, mac: Uint8Array, solicited: boolean, override: boolean, create = false): void {
    const neighbour = create ? this.entry(iface, address) : this.find(iface, address);
    if (!neighbour || isFixed(neighbour)) return;
    const differs = neighbour.mac !== undefined && !sameMac(neighbour.mac, mac);
    if (differs && !override) {
      if (neighbour.state === "REACHABLE") this.enter(neighbour, "STALE");
      return;
    }
    neighbour.touched = this.world.now();
    const isNew = neighbour.mac === undefined;
    if (isNew || differs) neighbour.mac = mac.slice();
    if (solicited) this.enter(neighbour, "REACHABLE", this.reachableTime(neighbour));
    else if (isNew || differs) this.enter(neighbour, "STALE");
    if (solicited || isNew || differs) this.writeHop(neighbour);
    if (isNew) this.releaseAll(neighbour);
  }

  /** A neighbour advertisement (RFC 4861 §7.2.5): it may name no MAC, and says whether its sender is a router. */
  advertised(iface: NetInterface, address: IpAddress, mac: Uint8Array | undefined, said: Advertised): void {
    const neighbour = this.find(iface, address);
    if (!neighbour) return;
    // What does not say where it is says nothing about whom nobody found yet; what contradicts without the override flag says
    // nothing at all, but that somebody should ask again.
    if (!mac && !neighbour.mac) return;
    if (mac && neighbour.mac && !said.override && !sameMac(neighbour.mac, mac)) {
      if (neighbour.state === "REACHABLE") this.enter(neighbour, "STALE");
      return;
    }
    const wasRouter = neighbour.isRouter;
    if (mac) this.heard(iface, address, mac, said.solicited, said.override);
    else if (said.solicited && neighbour.mac) this.confirm(neighbour);
    neighbour.isRouter = said.router;
    if (wasRouter && !said.router) this.world.noRouter(neighbour, true);
  }

  /** An upper layer saw progress: the neighbour is alive without asking (RFC 4861 §7.3.1). */
  confirm(neighbour: Neighbour): void {
    if (neighbour.state !== "STALE" && neighbour.state !== "DELAY" && neighbour.state !== "PROBE" && neighbour.state !== "REACHABLE")
      return;
    const was = neighbour.state;
    // Acknowledgements say so thousands of times a second: now and then is enough.
    if (was === "REACHABLE" && this.world.now() - neighbour.confirmedAt < neighbour.iface.reachableMs / 32) return;
    neighbour.confirmedAt = this.world.now();
    this.enter(neighbour, "REACHABLE", this.reachableTime(neighbour));
    if (was === "STALE") this.writeHop(neighbour);
  }

  /** A neighbour that somebody configured; never asked for and never forgotten. */
  setPermanent(iface: NetInterface, address: IpAddress, mac: Uint8Array): void {
    this.fix(iface, address, mac, "PERMANENT");
  }

  /** Groups and broadcasts: the MAC follows from the address, and the entry goes when its place is needed. */
  setDerived(iface: NetInterface, address: IpAddress, mac: Uint8Array): void {
    this.fix(iface, address, mac, "NOARP");
  }

  private fix(iface: NetInterface, address: IpAddress, mac: Uint8Array, state: "PERMANENT" | "NOARP"): void {
    const neighbour = this.entry(iface, address);
    if (!neighbour) return;
    neighbour.mac = mac.slice();
    this.enter(neighbour, state);
    this.writeHop(neighbour);
    this.releaseAll(neighbour);
  }

  remove(neighbour: Neighbour): void {
    const { address } = neighbour;
    this.world.timers.remove(neighbour.timer);
    for (const id of this.takeKept(neighbour)) this.world.drop(id);
    this.entries.delete(keyOf(neighbour.iface, address));
    this.byHop[address.family].delete(neighbour.hop);
    const table = this.world.table(address.family);
    if (neighbour.hasRoute && neighbour.uses === 0) {
      const prefix = hostPrefix(address);
      for (const each of this.world.tables(address.family)) if (each.get(prefix) === neighbour.hop) each.delete(prefix);
    }
    this.world.changed();
    if (neighbour.uses === 0) {
      neighbour.hasRoute = false;
      table.removeNextHop(neighbour.hop, true);
      return;
    }
    // A gateway's hop stays while routes name it; it asks again for whoever is there then.
    table.setNextHop(neighbour.hop, { kind: "incomplete", port: neighbour.iface.port.index });
    this.entries.set(keyOf(neighbour.iface, address), neighbour);
    this.byHop[address.family].set(neighbour.hop, neighbour);
    neighbour.mac = undefined;
    neighbour.probes = 0;
    neighbour.state = "FAILED";
  }

  /** A route to exactly one address went: neighbours with that address may lead there by themselves again. */
  freed(prefix: Prefix): void {
    if (prefix.length !== (prefix.family === 4 ? 32 : 128)) return;
    const address = prefix.family === 4 ? IpAddress.v4(prefix.address) : IpAddress.v6(prefix.high, prefix.low);
    for (const neighbour of this.entries.values()) {
      if (neighbour.mac && neighbour.address.equals(address)) this.lead(neighbour);
    }
  }

  /** Forgets an interface's neighbours: those that were learnt, or all of them. */
  flush(iface: NetInterface, all = false): void {
    for (const neighbour of this.list()) {
      if (neighbour.iface === iface && (all || neighbour.state !== "PERMANENT")) this.remove(neighbour);
    }
  }

  /** The interface's own address changed: next hops carry it as their source. */
  rewrite(iface: NetInterface): void {
    for (const neighbour of this.entries.values()) if (neighbour.iface === iface && neighbour.mac) this.writeHop(neighbour);
  }

  /** RFC 4861 §6.3.2: between half and one and a half of the base time, so that neighbours do not ask in step. */
  private reachableTime({ iface }: Neighbour): number {
    return iface.reachableMs * (0.5 + this.world.random.float());
  }

  private enter(neighbour: Neighbour, state: NeighbourState, after?: number): void {
    neighbour.state = state;
    if (after === undefined) this.world.timers.cancel(neighbour.timer);
    else this.world.timers.arm(neighbour.timer, this.world.now() + after);
  }

  private expired(neighbour: Neighbour): void {
    switch (neighbour.state) {
      case "INCOMPLETE":
        if (neighbour.probes++ < MULTICAST_SOLICIT) {
          this.enter(neighbour, "INCOMPLETE", neighbour.iface.retransMs);
          this.world.solicit(neighbour, undefined);
        } else this.fail(neighbour);
        return;
      case "REACHABLE":
        this.enter(neighbour, "STALE");
        this.writeHop(neighbour);
        return;
      case "DELAY":
        neighbour.probes = 1;
        this.enter(neighbour, "PROBE", neighbour.iface.retransMs);
        this.world.solicit(neighbour, neighbour.mac);
        return;
      case "PROBE":
        if (neighbour.probes++ < UNICAST_SOLICIT) {
          this.enter(neighbour, "PROBE", neighbour.iface.retransMs);
          this.world.solicit(neighbour, neighbour.mac);
        } else this.fail(neighbour);
    }
  }

  private fail(neighbour: Neighbour): void {
    this.counters.failed++;
    this.enter(neighbour, "FAILED");
    neighbour.mac = undefined;
    for (const id of this.takeKept(neighbour)) this.world.unreachable(id, neighbour);
    this.world.noRouter(neighbour, false);
    this.remove(neighbour);
  }

  private releaseAll(neighbour: Neighbour): void {
    const ids = this.takeKept(neighbour);
    try {
      for (let id = ids.shift(); id !== undefined; id = ids.shift()) this.world.release(id, neighbour);
    } finally {
      for (const id of ids) this.world.drop(id);
    }
  }

  /** Puts the MAC into the next hop; a stale one asks, so that its next use is noticed. */
  private writeHop(neighbour: Neighbour): void {
    const { address, iface, hop, mac } = neighbour;
    const table = this.world.table(address.family);
    const { index } = iface.port;
    if (!mac || neighbour.state === "STALE") table.setNextHop(hop, { kind: "incomplete", port: index });
    else table.setNextHop(hop, { kind: "forward", port: index, destinationMac: mac, sourceMac: iface.mac });
    if (!neighbour.hasRoute && mac) this.lead(neighbour);
    this.world.changed();
  }

  /** Leads the tables' packets for exactly this address by its hop, where nobody else has said how they go. */
  lead(neighbour: Neighbour): void {
    const { address, iface, hop } = neighbour;
    const prefix = hostPrefix(address);
    const glean = address.family === 4 ? iface.glean4 : iface.glean6;
    const main = this.world.table(address.family);
    for (const each of isScoped(address) ? [] : this.world.tables(address.family)) {
      // A policy's table may lead elsewhere, and a subnet may be on the link because a route alone says so.
      const leadsHere = (glean !== 0 && lookupIn(each, address) === glean) || (each === main && iface.isOnLink(address));
      if (each.get(prefix) !== 0 || !leadsHere) continue;
      try {
        each.set(prefix, hop);
        neighbour.hasRoute = true;
      } catch (error) {
        if (!(error instanceof LoomError)) throw error;
        this.counters.noRoom++;
      }
    }
  }

  /** Forgets the one that matters least and was used longest ago; false when all matter. Gateways in use all do. */
  private evict(): boolean {
    const order: NeighbourState[] = ["FAILED", "INCOMPLETE", "NOARP", "STALE", "DELAY", "PROBE", "REACHABLE"];
    let worst: Neighbour | undefined;
    let rank = order.length;
    for (const neighbour of this.entries.values()) {
      const at = neighbour.uses > 0 ? -1 : order.indexOf(neighbour.state);
      if (at < 0 || at > rank || (at === rank && worst && neighbour.touched >= worst.touched)) continue;
      worst = neighbour;
      rank = at;
      // The map is in order of age: the first unresolved one is the oldest of them.
      if (rank <= 1) break;
    }
    if (!worst) return false;
    this.counters.evicted++;
    this.remove(worst);
    return true;
  }
}

function keyOf(iface: NetInterface, address: IpAddress): string {
  return `${iface.port.index} ${address.key}`;
}

function sameMac(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}

/** Told apart by interface, not by a table. */
function isScoped(address: IpAddress): boolean {
  return address.isMulticast || (address.family === 6 && address.isLinkLocal);
}

function isFixed({ state }: Neighbour): boolean {
  return state === "PERMANENT" || state === "NOARP";
}

function lookupIn(table: RouteTable, address: IpAddress): number {
  return address.family === 4 ? table.lookup(address.v4) : table.lookup6(address.high, address.low);
}

export function hostPrefix(address: IpAddress) {
  return address.family === 4
    ? ({ family: 4, address: address.v4, length: 32 } as const)
    : ({ family: 6, high: address.high, low: address.low, length: 128 } as const);
}
