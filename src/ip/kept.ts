/** Packets that wait until their neighbour's link-layer address is known (RFC 4861 §7.2.2, RFC 1122 §2.3.2.2). */
import * as abi from "../../assembly/abi.ts";
import { IpAddress } from "../base/ip-address.ts";
import { ICMP_ERROR, icmpMessage, parseError } from "./icmp.ts";
import type { NetInterface } from "./interface.ts";
import { hostPrefix, type Neighbour } from "./neighbours.ts";
import { destinationOf, sourceOf } from "./packet-io.ts";
import type { Redirects } from "./redirects.ts";
import type { World } from "./world.ts";

export class KeptPackets {
  private readonly world: World;
  private readonly redirects: Redirects;

  constructor(world: World, redirects: Redirects) {
    this.world = world;
    this.redirects = redirects;
  }

  /** The data plane knows a hop but no MAC for it. */
  findNeighbour(id: number, hop: number, backend: number): void {
    const { world } = this;
    const head = world.packetBytes(id, 40);
    const meaning = world.routes.meaning(head[0] >>> 4 === 4 ? 4 : 6, hop);
    let neighbour: Neighbour | undefined;
    if (meaning?.kind === "neighbour") neighbour = meaning.neighbour;
    else if (meaning?.kind === "glean")
      neighbour = world.neighbours.entry(meaning.iface, backend ? this.backendAddress(backend - 1, head) : destinationOf(head));
    if (neighbour && !this.leadsNowhere(id, meaning?.kind === "glean", neighbour)) {
      this.redirect(id, neighbour);
      world.neighbours.want(neighbour, id);
    } else {
      world.counters.out_no_routes++;
      world.engine.plane.packetRelease(0, id);
    }
  }

  private backendAddress(backend: number, head: Uint8Array): IpAddress {
    const { memory } = this.world.engine;
    const at = memory.getU32(memory.base(abi.REGION_BALANCE) + abi.BALANCE_BACKENDS_AT) + backend * abi.BACKEND_SIZE + abi.BACKEND_ADDRESS;
    return IpAddress.fromBytes(memory.u8.slice(at + (head[0] >>> 4 === 4 ? 12 : 0), at + 16));
  }

  /** A forwarded packet that would come up again for ever: its neighbour is known, but had no place in any table. */
  private leadsNowhere(id: number, isGlean: boolean, neighbour: Neighbour): boolean {
    const { address, mac, hop } = neighbour;
    if (!isGlean || !mac || !this.isForwarded(id)) return false;
    const tables = this.world.rules.tablesOf(address.family);
    // A table that is younger than the neighbour does not know it yet.
    if (tables.some((table) => table.get(hostPrefix(address)) === 0)) this.world.neighbours.lead(neighbour);
    return !tables.some((table) => table.get(hostPrefix(address)) === hop);
  }

  /** With a link-layer header still, or without one because it has been through the rules. */
  private isForwarded(id: number): boolean {
    const { memory } = this.world.engine;
    const d = memory.descriptor(id);
    return memory.getU16(d + abi.DESC_L3) !== 0 || (memory.getU32(d + abi.DESC_FLAGS) & abi.FLAG_FORWARDED) !== 0;
  }

  /** Forwarded packets, which have a link-layer header: their sender may have a shorter way. */
  private redirect(id: number, neighbour: Neighbour): void {
    const { world } = this;
    const iface = world.ingress(id);
    if (!world.forwarding || iface !== neighbour.iface || !this.isForwarded(id)) return;
    this.redirects.consider(world.packetBytes(id, 1280), iface, neighbour);
  }

  /** A packet that waited for its neighbour: own ones are sent, others go back to where they came in. */
  send(id: number, { address, hop }: Neighbour): void {
    const { world } = this;
    const { memory, plane } = world.engine;
    const d = memory.descriptor(id);
    if (memory.getU16(d + abi.DESC_L3) === 0) {
      world.route(id, address.family, hop);
      return;
    }
    const scratch = memory.base(abi.REGION_HOST);
    memory.setU32(scratch, id);
    const ring = memory.getU32(memory.port(memory.getU16(d + abi.DESC_INGRESS)) + abi.PORT_RX);
    if (plane.ringPush(ring, scratch, 1) === 0) plane.packetRelease(0, id);
  }

  fail(id: number, { iface }: Neighbour): void {
    const { world } = this;
    const { plane } = world.engine;
    if (this.isForwarded(id)) world.sendErrorFor(id, "hostUnreachable", 0);
    else this.reportOwn(id, iface);
    world.counters.out_unreachable++;
    plane.packetRelease(0, id);
  }

  /** A packet of our own that cannot go anywhere: its transport hears it as if a router had said so. */
  private reportOwn(id: number, iface: NetInterface): void {
    const packet = this.world.packetBytes(id, 128);
    const source = sourceOf(packet);
    const [type, code] = ICMP_ERROR.hostUnreachable[source.family];
    const report = parseError(icmpMessage(type, code, 0, packet, source, source), source);
    if (report) this.world.transports.get(report.protocol)?.failed?.({ ...report, iface, isLocal: true });
  }
}
