/** What the data plane hands up: sorted by its reason, delivered, answered or dropped (RFC 1122 §3.2.1, RFC 8200). */
import * as abi from "../../assembly/abi.ts";
import type { IcmpIo } from "./icmp-io.ts";
import type { NetInterface } from "./interface.ts";
import type { LinkMessages } from "./link-messages.ts";
import { destinationOf } from "./packet-io.ts";
import type { Reassembly } from "./reassembly.ts";
import type { Transport } from "./types.ts";
import type { Verdicts } from "./verdicts.ts";
import type { World } from "./world.ts";

/** Nothing follows, and nothing is wrong with that (RFC 8200 §4.7). */
const NO_NEXT_HEADER = 59;

export class Input {
  private readonly world: World;
  private readonly link: LinkMessages;
  private readonly icmp: IcmpIo;
  private readonly reassembly: Reassembly;
  private readonly verdicts: Verdicts;
  /** IPv4 addresses that are ours, and our subnets' broadcast addresses, as words; good for one generation of routes. */
  private readonly own = new Set<number>();
  private ownOf = -1;
  /** The two that nearly everything is for. */
  tcp: Transport | undefined;
  udp: Transport | undefined;

  constructor(world: World, link: LinkMessages, icmp: IcmpIo, reassembly: Reassembly, verdicts: Verdicts) {
    this.world = world;
    this.verdicts = verdicts;
    this.link = link;
    this.icmp = icmp;
    this.reassembly = reassembly;
  }

  receive(iface: NetInterface, id: number, reason: number, nextHop: number): void {
    const { world } = this;
    switch (reason) {
      case abi.PUNT_LOCAL:
        this.deliver(id);
        return;
      case abi.PUNT_NEIGHBOUR:
        world.findNeighbour(id, nextHop & 0xffff, nextHop >>> 16);
        return;
      case abi.PUNT_BROADCAST:
        this.take(id, iface.isBroadcast(destinationOf(world.packetBytes(id, 40))));
        return;
      case abi.PUNT_MULTICAST:
      case abi.PUNT_LINK_LOCAL:
      case abi.PUNT_BEYOND_SCOPE:
        this.receiveScoped(iface, id);
        return;
      case abi.PUNT_ARP: {
        const passed = world.engine.plane.packetFilter(0, iface.port.index, abi.SEGMENT_ARP_INPUT, id) >>> 0;
        if (passed === abi.NONE) return;
        this.link.receiveArp(iface, passed);
        world.engine.plane.packetRelease(0, passed);
        return;
      }
      case abi.PUNT_TTL_EXCEEDED:
        world.sendErrorFor(id, "timeExceeded", 0);
        break;
      case abi.PUNT_FRAGMENTATION_NEEDED:
      case abi.PUNT_PACKET_TOO_BIG:
        this.icmp.tooBig(id, nextHop);
        break;
      case abi.PUNT_UNREACHABLE:
        world.sendErrorFor(id, "noRoute", 0);
        break;
      case abi.PUNT_PROHIBIT:
        world.sendErrorFor(id, "prohibited", 0);
        break;
      default:
        if (this.verdicts.receive(id, reason, nextHop)) return;
    }
    world.engine.plane.packetRelease(0, id);
  }

  /** Groups and link-local addresses: ours when this interface says so. */
  private receiveScoped(iface: NetInterface, id: number): void {
    const destination = destinationOf(this.world.packetBytes(id, 40));
    const ours = destination.isMulticast ? iface.isMember(destination) : iface.owns(destination);
    this.take(id, ours);
  }

  private take(id: number, ours: boolean): void {
    if (ours) this.deliver(id);
    else {
      this.world.counters.in_addr_errors++;
      this.world.engine.plane.packetRelease(0, id);
    }
  }

  deliver(id: number): void {
    const { world } = this;
    const { plane, memory } = world.engine;
    if ((memory.getU32(memory.descriptor(id) + abi.DESC_FLAGS) & abi.FLAG_OPTIONS) !== 0 && !this.icmp.checkHeaders(id)) {
      plane.packetRelease(0, id);
      return;
    }
    const kind = plane.transportRead(0, id, world.segment);
    if (kind === 0) return;
    if (this.isMartian(id)) {
      world.counters.in_martian_sources++;
      plane.packetRelease(0, id);
      return;
    }
    world.counters.in_delivers++;
    world.inHand = id;
    try {
      const isTaken = world.raw !== undefined && kind !== abi.TRANSPORT_FRAGMENT && world.raw.receive(id);
      if (kind === abi.TRANSPORT_TCP && this.tcp) this.tcp.receive(id);
      else if (kind === abi.TRANSPORT_UDP && this.udp) this.udp.receive(id);
      else if (kind === abi.TRANSPORT_ICMP) this.icmp.receive(id);
      else if (kind === abi.TRANSPORT_FRAGMENT) this.receiveFragment(id);
      else this.receiveUnknown(id, isTaken);
    } finally {
      plane.packetRelease(0, id);
    }
  }

  /** From the link, in our name or a broadcast's: nobody sends like that (RFC 1122 §3.2.1.3; Linux's fib_validate_source). */
  private isMartian(id: number): boolean {
    const { words, engine, routes } = this.world;
    const { memory } = engine;
    // What this host sends to itself has no link-layer header.
    if ((words[abi.SEG_FAMILY / 4] & 255) !== 4 || memory.getU16(memory.descriptor(id) + abi.DESC_L3) === 0) return false;
    if (this.ownOf !== routes.generation) this.noteOwn();
    return this.own.has(words[abi.SEG_SOURCE / 4 + 3]);
  }

  private noteOwn(): void {
    const { interfaces, routes } = this.world;
    this.own.clear();
    this.ownOf = routes.generation;
    for (const { addresses } of interfaces) {
      for (const { address, length, state } of addresses) {
        if (address.family !== 4 || state !== "usable") continue;
        this.own.add(address.d);
        if (length < 31) this.own.add(address.d | (0xffffffff >>> length));
      }
    }
  }

  private receiveFragment(id: number): void {
    const { world } = this;
    const packet = world.packetBytes(id);
    const whole = this.reassembly.add(packet, world.now, (pointer, code) => this.icmp.fragmentProblem(id, packet, pointer, code));
    const chain = whole && world.chainOf(whole);
    if (chain === undefined) return;
    const { memory } = world.engine;
    memory.setU16(memory.descriptor(chain) + abi.DESC_INGRESS, memory.getU16(memory.descriptor(id) + abi.DESC_INGRESS));
    this.deliver(chain);
  }

  private receiveUnknown(id: number, isTaken: boolean): void {
    const { world } = this;
    const protocol = (world.words[abi.SEG_FAMILY / 4] >>> 8) & 255;
    const transport = world.transports.get(protocol);
    if (transport) transport.receive(id);
    else if (!isTaken && protocol !== NO_NEXT_HEADER) {
      world.counters.in_unknown_protos++;
      this.icmp.unknownProtocol(id);
    }
  }
}
