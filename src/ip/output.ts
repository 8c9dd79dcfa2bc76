/** What goes down: the way to an address, and packets on it (RFC 1122 §3.3.1, RFC 8200 §5). */
import * as abi from "../../assembly/abi.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { groupMac, type NetInterface } from "./interface.ts";
import { destinationOf, sourceOf } from "./packet-io.ts";
import { scopeOf } from "./policy-table.ts";
import { fragmentPacket } from "./reassembly.ts";
import type { HopMeaning } from "./routes.ts";
import type { PathHint } from "./rule.ts";
import { type Candidate, chooseSource, type Destination, orderDestinations } from "./source-address.ts";
import type { PacketNote, Path } from "./types.ts";
import type { World } from "./world.ts";

/** Of the header in front of fragments. */
const FRAGMENT = 44;

export class Output {
  private readonly world: World;
  private pending = false;
  /** Paths by next hop, while nothing changes: thousands of connections to one peer have one. */
  private readonly paths: { readonly 4: Map<number, Path>; readonly 6: Map<number, Path> } = { 4: new Map(), 6: new Map() };
  private pathsOf = -1;

  constructor(world: World) {
    this.world = world;
  }

  /**
   * Where packets for an address go. Link-local and group addresses need an interface. From an address that is none of ours, or is not any more,
   * nothing goes anywhere (RFC 1122 §3.2.1.3, RFC 4862 §5.5.4).
   */
  pathTo(to: IpAddress, iface?: NetInterface, hint?: PathHint): Path {
    const { world } = this;
    const { family } = to;
    if (hint?.source && !hint.iif && !world.isSource(hint.source)) return this.path(family, 0, undefined);
    if ((family === 6 && to.isLinkLocal) || to.isMulticast || (family === 4 && to.v4 === 0xffffffff)) {
      return this.scopedPath(to, iface ?? this.interfaceFor(to));
    }
    // A subnet's broadcast address is ours to receive, and everybody's when we send.
    if (family === 4) for (const each of world.interfaces) if (each.isBroadcast(to)) return this.scopedPath(to, each);
    // Without interfaces nothing leads anywhere, to itself neither: as in Linux while lo is down.
    if (to.isLoopback && world.interfaces.length === 0) return this.path(family, 0, undefined);
    const hop = to.isLoopback ? world.routes.endHop(family, "local") : world.rules.lookup(to, hint, iface);
    let path = this.pathOver(family, hop);
    if (iface && !path.isLocal && path.iface !== iface) path = this.pathBy(to, iface);
    if (path.isLocal) return path;
    const mtu = world.mtus.get(to, path.mtu);
    const mayBeCut = world.mtus.isLocked(to);
    return mtu === path.mtu && !mayBeCut ? path : { ...path, mtu, mayBeCut };
  }

  /** By one interface, whatever is better elsewhere (SO_BINDTODEVICE). */
  private pathBy(to: IpAddress, iface: NetInterface): Path {
    const { routes, neighbours } = this.world;
    const via = routes.gatewayBy(to, iface);
    const neighbour = via && neighbours.entry(iface, via);
    return this.path(to.family, neighbour?.hop ?? 0, neighbour && { kind: "neighbour", neighbour, iface });
  }

  /** Without a choice: the interface a route to the group names, else the first. */
  private interfaceFor(to: IpAddress): NetInterface | undefined {
    const { routes, interfaces } = this.world;
    const meaning = to.isMulticast ? routes.meaning(to.family, routes.lookup(to)) : undefined;
    return meaning && "iface" in meaning ? meaning.iface : interfaces[0];
  }

  private pathOver(family: 4 | 6, hop: number): Path {
    const { routes } = this.world;
    if (this.pathsOf !== routes.generation) {
      this.paths[4].clear();
      this.paths[6].clear();
      this.pathsOf = routes.generation;
    }
    let path = this.paths[family].get(hop);
    if (!path) {
      path = this.path(family, hop, routes.meaning(family, hop));
      this.paths[family].set(hop, path);
    }
    return path;
  }

  private path(family: 4 | 6, hop: number, meaning: HopMeaning | undefined): Path {
    const isLocal = meaning?.kind === "local";
    const iface = meaning && "iface" in meaning ? meaning.iface : undefined;
    const neighbour = meaning?.kind === "neighbour" ? meaning.neighbour : undefined;
    const mtu = isLocal ? 65_535 : (iface?.mtuFor(family) ?? 0);
    return {
      generation: this.world.routes.generation,
      hop: meaning ? hop : 0,
      iface,
      isLocal,
      mtu,
      linkMtu: mtu,
      mayBeCut: false,
      neighbour,
    };
  }

  private scopedPath(to: IpAddress, iface: NetInterface | undefined): Path {
    const { routes, neighbours } = this.world;
    const mtu = iface?.mtuFor(to.family) ?? 0;
    const none = { generation: routes.generation, hop: 0, iface, isLocal: false, mtu, linkMtu: mtu, mayBeCut: false, neighbour: undefined };
    if (!iface || !this.world.interfaces.includes(iface)) return none;
    if (iface.owns(to)) return { ...none, hop: routes.endHop(to.family, "local"), isLocal: true, mtu: 65_535, linkMtu: 65_535 };
    const neighbour = neighbours.entry(iface, to);
    if (!neighbour) return none;
    if (to.isMulticast || iface.isBroadcast(to)) {
      const mac = to.isMulticast ? groupMac(to) : Uint8Array.of(255, 255, 255, 255, 255, 255);
      if (neighbour.state !== "NOARP") neighbours.setDerived(iface, to, mac);
    }
    return { ...none, hop: neighbour.hop, neighbour };
  }

  /** Source address for a destination (RFC 6724 §5). */
  sourceFor(to: IpAddress, path: Path): IpAddress | undefined {
    if (path.isLocal) return to;
    if (!path.iface) return undefined;
    const { neighbour } = path;
    const router = neighbour && !neighbour.address.equals(to) ? neighbour.address : undefined;
    return this.choose(to, path.iface, router);
  }

  /** The best own address for what leaves by an interface; of the others when it has none that reaches so far. */
  choose(to: IpAddress, iface: NetInterface, router?: IpAddress): IpAddress | undefined {
    const { world } = this;
    const choice = { to, iface, router, policy: world.policy, now: world.now, preferPublic: world.preferPublic };
    const own = chooseSource(candidatesOf(iface), choice);
    if ((own && scopeOf(own) >= scopeOf(to)) || to.isMulticast || to.isLinkLocal) return own;
    return chooseSource(world.interfaces.flatMap(candidatesOf), choice);
  }

  /** Destinations in the order in which they should be tried (RFC 6724 §6). */
  order(addresses: readonly IpAddress[]): IpAddress[] {
    const { world } = this;
    const destinations = addresses.map((address): Destination => {
      const path = this.pathTo(address);
      const source = path.hop === 0 ? undefined : this.sourceFor(address, path);
      const own = source && world.interfaces.map((iface) => iface.find(source)).find((each) => each);
      return { address, source, sourceLength: own?.length, isDeprecated: own !== undefined && own.preferredUntil <= world.now };
    });
    return orderDestinations(destinations, world.policy).map(({ address }) => address);
  }

  /** Sends a whole IP packet, copied into a buffer; in pieces, where the path does not take it whole. */
  sendPacket(packet: Uint8Array, path: Path, note?: PacketNote): boolean {
    if (path.hop === 0) {
      this.world.counters.out_no_routes++;
      return false;
    }
    if (packet.length > path.mtu && !path.isLocal) return this.sendFragments(packet, path, note);
    const id = this.world.chainOf(packet);
    if (id === undefined) return false;
    if (note) this.write(id, note);
    return this.route(id, packet[0] >>> 4 === 4 ? 4 : 6, path.hop, path.iface);
  }

  sendFragments(packet: Uint8Array, path: Pick<Path, "hop" | "mtu">, note?: PacketNote): boolean {
    const fragmentId = this.world.identifications.next(sourceOf(packet), destinationOf(packet), FRAGMENT);
    let sent = true;
    for (const piece of fragmentPacket(packet, path.mtu, fragmentId, note?.cuts)) {
      const id = this.world.chainOf(piece);
      if (id !== undefined && note) this.write(id, note);
      sent = id !== undefined && this.route(id, packet[0] >>> 4 === 4 ? 4 : 6, path.hop) && sent;
    }
    return sent;
  }

  private write(id: number, { flags = 0, about, mark = 0 }: PacketNote): void {
    const { memory } = this.world.engine;
    const d = memory.descriptor(id);
    const attached = about === undefined ? 0 : abi.FLAG_ATTACHED;
    memory.setU32(d + abi.DESC_FLAGS, memory.getU32(d + abi.DESC_FLAGS) | flags | attached);
    if (about !== undefined) memory.setU32(d + abi.ATTACHED_FLOW, about);
    if (mark !== 0) memory.setU32(d + abi.DESC_MARK, mark);
  }

  /** Sends a built packet by a next hop; whatever happens, it is no longer the caller's. True when it is on its way. */
  route(id: number, family: 4 | 6, hop: number, iface?: NetInterface): boolean {
    const { world } = this;
    const { plane, memory } = world.engine;
    world.counters.out_requests++;
    this.pending = true;
    switch (plane.packetRoute(0, world.tables[family].index, hop, id)) {
      case abi.SENT:
        return true;
      case abi.SENT_LOCAL:
        return this.loopBack(id, iface);
      case abi.SENT_NEIGHBOUR:
        world.findNeighbour(id, memory.getU16(memory.descriptor(id) + abi.DESC_NEXT_HOP));
        return true;
      case abi.SENT_FILTERED:
        world.counters.out_filtered++;
        return false;
      case abi.SENT_TOO_BIG:
        world.counters.out_too_big++;
        break;
      default:
        world.counters.out_no_routes++;
    }
    plane.packetRelease(0, id);
    return false;
  }

  /** To ourselves: back up through the punt ring, as if it had come in by `first`. */
  loopBack(id: number, first = this.world.interfaces[0] as NetInterface | undefined): boolean {
    const { engine, counters } = this.world;
    const { memory, plane } = engine;
    memory.setU16(memory.descriptor(id) + abi.DESC_INGRESS, first?.port.index ?? 0);
    if (first && plane.puntPush(id, abi.PUNT_LOCAL, 0) !== 0) return true;
    plane.packetRelease(0, id);
    counters.out_no_buffers++;
    return false;
  }

  /** Sends what was staged. */
  flush(): void {
    if (!this.pending) return;
    this.pending = false;
    const { engine } = this.world;
    engine.plane.packetsFlush(0);
    engine.wake();
  }
}

function candidatesOf(iface: NetInterface): Candidate[] {
  return iface.addresses.map((own) => ({ own, iface }));
}
