/**
 * Redirects both ways: a better first hop, believed only from the one in use (RFC 1122 §3.2.2.2, RFC 4861 §8), and told to
 * neighbours whose packets leave by the interface they came in by (RFC 1812 §5.2.7.2).
 *
 * Packets that the data plane forwards by itself are not seen here: a redirect is sent for those that ask for a
 * neighbour, which is the first of a flow and one now and then.
 */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import { prefixOf } from "./addresses.ts";
import { quoted, RateLimits } from "./icmp.ts";
import type { NetInterface } from "./interface.ts";
import type { Neighbour } from "./neighbours.ts";
import { destinationOf, sourceOf } from "./packet-io.ts";
import type { IncomingIcmp } from "./types.ts";
import type { World } from "./world.ts";

const REDIRECT4 = 5;
const REDIRECT6 = 137;
const FOR_HOST = 1;
const TARGET_MAC = 2;
const REDIRECTED = 4;
const LIFETIME_MS = 600_000;
const MOST = 256;

interface Redirected {
  readonly iface: NetInterface;
  readonly via: IpAddress;
  readonly timer: Timer;
  undo(): void;
}

export class Redirects {
  private readonly world: World;
  private readonly routes = new Map<string, Redirected>();
  private readonly limits = new RateLimits(1, 4);

  constructor(world: World) {
    this.world = world;
    world.handleIcmp(4, REDIRECT4, (incoming) => this.receive4(incoming));
    world.handleIcmp(6, REDIRECT6, (incoming) => this.receive6(incoming));
  }

  private receive4({ iface, from, message }: IncomingIcmp): void {
    const inner = message.subarray(8);
    if (!iface || message[1] > 3 || inner.length < 28 || inner[0] >>> 4 !== 4) return;
    const gateway = IpAddress.fromBytes(message.subarray(4, 8));
    const isSound = iface.isOnLink(gateway) && !gateway.isMulticast && !iface.isBroadcast(gateway) && !iface.owns(gateway);
    if (isSound && this.world.isSource(sourceOf(inner))) this.learn(iface, from, destinationOf(inner), gateway);
  }

  private receive6({ iface, from, hopLimit, message }: IncomingIcmp): void {
    if (!iface || hopLimit !== 255 || !from.isLinkLocal || message[1] !== 0 || message.length < 40) return;
    const target = IpAddress.from6(message.subarray(8));
    const destination = IpAddress.from6(message.subarray(24));
    if (!target || !destination) return;
    const onLink = target.equals(destination);
    if (destination.isMulticast || destination.isLinkLocal || (!onLink && !target.isLinkLocal)) return;
    let mac: Uint8Array | undefined;
    for (let at = 40; at < message.length; ) {
      const length = message[at + 1] * 8;
      if (!(length > 0) || at + length > message.length) return;
      if (message[at] === TARGET_MAC && length === 8) mac = message.slice(at + 2, at + 8);
      at += length;
    }
    if (this.learn(iface, from, destination, onLink ? undefined : target) && mac) {
      this.world.neighbours.heard(iface, target, mac, false, true, true);
    }
  }

  /** Only the first hop in use may say that another is better. */
  private learn(iface: NetInterface, from: IpAddress, to: IpAddress, via: IpAddress | undefined): boolean {
    const { world } = this;
    if (!world.acceptRedirects) return false;
    const path = world.pathTo(to);
    if (path.iface !== iface || !path.neighbour?.address.equals(from) || world.isLocal(to) || via?.equals(from)) {
      world.counters.in_redirects_refused++;
      return false;
    }
    this.forget(to.key);
    if (this.routes.size >= MOST) this.forget(this.routes.keys().next().value as string);
    const prefix = prefixOf(to, to.family === 4 ? 32 : 128);
    try {
      world.routes.add({ prefix, kind: "unicast", nextHops: [{ via, iface }], metric: 0, protocol: "redirect" });
    } catch (error) {
      if (error instanceof LoomError) return false;
      throw error;
    }
    const entry = { iface, via: via ?? to, timer: new Timer(() => this.forget(to.key)), undo: () => world.routes.delete(prefix, 0) };
    this.routes.set(to.key, entry);
    world.timers.arm(entry.timer, world.now + LIFETIME_MS);
    return true;
  }

  private forget(key: string): void {
    const entry = this.routes.get(key);
    if (!entry) return;
    this.routes.delete(key);
    this.world.timers.remove(entry.timer);
    entry.undo();
  }

  /** The better hop does not answer, or its interface goes: back to what routes say. */
  lost(iface: NetInterface, address?: IpAddress): void {
    for (const [key, entry] of [...this.routes]) {
      if (entry.iface === iface && (!address || entry.via.equals(address))) this.forget(key);
    }
  }

  /** A packet on its way through leaves by the interface it came in by: its sender could have gone there itself. */
  consider(packet: Uint8Array, iface: NetInterface, hop: Neighbour): void {
    const { world } = this;
    const [source, destination] = [sourceOf(packet), destinationOf(packet)];
    const isNeighbour = iface.isOnLink(source) && !world.isLocal(source);
    if (!world.sendRedirects || hop.iface !== iface || !isNeighbour || hop.address.equals(source)) return;
    if (source.isMulticast || source.isUnspecified || destination.isMulticast) return;
    if (!this.limits.take(source.key, world.now)) return;
    if (source.family === 4) {
      world.sendIcmp(iface, undefined, source, REDIRECT4, FOR_HOST, hop.address.v4, quoted(packet));
      return;
    }
    const onLink = hop.address.equals(destination);
    const from = iface.linkLocal;
    if (!from || (!onLink && !hop.address.isLinkLocal)) return;
    const data = [...hop.address.bytes(), ...destination.bytes()];
    if (hop.mac) data.push(TARGET_MAC, 1, ...hop.mac);
    const kept = packet.subarray(0, (1280 - 48 - data.length - 8) & ~7);
    data.push(REDIRECTED, 1 + Math.ceil(kept.length / 8), 0, 0, 0, 0, 0, 0, ...kept);
    while (data.length % 8 !== 0) data.push(0);
    world.sendIcmp(iface, from, source, REDIRECT6, 0, 0, Uint8Array.from(data), 255);
  }
}
