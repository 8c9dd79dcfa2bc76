/** ARP and NDP on the wire: what is asked, what is answered (RFC 826, RFC 5227, RFC 4861 §7.2; proxies by RFC 1027 and §7.2.8). */
import * as abi from "../../assembly/abi.ts";
import { IpAddress } from "../base/ip-address.ts";
import { ETHERTYPE, parseArp, serializeArp, serializeEthernet } from "../wire/index.ts";
import { icmpMessage } from "./icmp.ts";
import { ALL_NODES, groupMac, type NetInterface, solicitedNode } from "./interface.ts";
import { ADVERTISEMENT, neighbourData, parseNeighbour, SOLICITATION } from "./ndp.ts";
import type { Neighbour } from "./neighbours.ts";
import { sourceOf } from "./packet-io.ts";
import type { IncomingIcmp } from "./types.ts";
import type { World } from "./world.ts";

const UNSPECIFIED = new IpAddress(0, 0, 0, 0);
const BROADCAST = Uint8Array.of(255, 255, 255, 255, 255, 255);
const NO_MAC = new Uint8Array(6);

/** Who is told when two want one address. */
export interface Conflicts {
  heard(iface: NetInterface, address: IpAddress, nonce?: Uint8Array): void;
  conflict(iface: NetInterface, address: IpAddress): void;
}

export class LinkMessages {
  conflicts: Conflicts | undefined;
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
    for (const type of [SOLICITATION, ADVERTISEMENT]) world.handleIcmp(6, type, (incoming) => this.receiveNeighbour(incoming));
  }

  /** Tells the link about an address: gratuitous ARP (RFC 5227 §3), unsolicited advertisement (RFC 4861 §7.2.6). */
  announce(iface: NetInterface, address: IpAddress): void {
    if (address.family === 4) this.sendArp(iface, "request", address.v4, NO_MAC, address.v4, undefined);
    else this.advertise(iface, address, ALL_NODES, false, true);
  }

  /** Asks whether anybody has an address, without claiming it. */
  probe(iface: NetInterface, address: IpAddress, nonce: Uint8Array): void {
    if (address.family === 4) this.sendArp(iface, "request", 0, NO_MAC, address.v4, undefined);
    else this.sendSolicitation(iface, UNSPECIFIED, solicitedNode(address), neighbourData(SOLICITATION, address, undefined, nonce));
  }

  // ── ARP ───────────────────────────────────────────────────────────────────────────────────────

  receiveArp(iface: NetInterface, id: number): void {
    const { world } = this;
    let packet: ReturnType<typeof parseArp>;
    try {
      packet = parseArp(world.packetBytes(id, 64));
    } catch {
      world.counters.in_addr_errors++;
      return;
    }
    const sender = IpAddress.v4(packet.senderAddress);
    const target = IpAddress.v4(packet.targetAddress);
    const mac = packet.senderMac;
    if (mac[0] & 1 || isOwnMac(iface, mac)) return;
    this.conflicts?.heard(iface, sender.isUnspecified ? target : sender);
    if (iface.owns(sender)) {
      this.conflicts?.conflict(iface, sender);
      return;
    }
    const forUs = iface.owns(target);
    if (!sender.isUnspecified) {
      // Entries are made only for who talks to us (RFC 826); others' are only brought up to date.
      const solicited = packet.operation === "reply" && forUs;
      world.neighbours.heard(iface, sender, mac, solicited, true, forUs && packet.operation === "request");
    }
    if (packet.operation !== "request") return;
    // A proxy answers neither those who probe nor those who announce (RFC 5227 §2.1.1).
    const asProxy = !sender.isUnspecified && !sender.equals(target) && this.answersFor(iface, target);
    if (forUs || asProxy) this.sendArp(iface, "reply", target.v4, mac, sender.v4, mac);
  }

  private sendArp(
    iface: NetInterface,
    operation: "request" | "reply",
    senderAddress: number,
    targetMac: Uint8Array,
    targetAddress: number,
    to: Uint8Array | undefined,
  ): void {
    const payload = serializeArp({ operation, senderMac: iface.mac, senderAddress, targetMac, targetAddress });
    const frame = serializeEthernet({ destination: to ?? BROADCAST, source: iface.mac, type: ETHERTYPE.arp, payload });
    this.world.sendFrame(iface, frame, abi.SEGMENT_ARP_OUTPUT);
  }

  /** Somebody else's address that we answer for: named, or reached by another interface while proxying. */
  private answersFor(iface: NetInterface, target: IpAddress): boolean {
    if (iface.proxied.has(target.key)) return true;
    if (!iface.proxy || !this.world.forwarding || target.isLinkLocal) return false;
    const path = this.world.pathTo(target);
    return path.hop !== 0 && path.iface !== undefined && path.iface !== iface;
  }

  // ── NDP ───────────────────────────────────────────────────────────────────────────────────────

  private receiveNeighbour({ iface, from, to, message: bytes, hopLimit }: IncomingIcmp): void {
    const { world, conflicts } = this;
    // Hop limit 255: nobody beyond the link can have sent it (RFC 4861 §7.1).
    const message = hopLimit === 255 ? parseNeighbour(bytes) : undefined;
    const isProbe = from.isUnspecified && message?.type === SOLICITATION;
    const soundProbe = !isProbe || (!message.mac && to.isMulticast);
    if (!message || !iface || !soundProbe || (message.type === ADVERTISEMENT && message.solicited && to.isMulticast)) {
      world.counters.in_addr_errors++;
      return;
    }
    const { target, mac } = message;
    if (message.type === ADVERTISEMENT) {
      conflicts?.heard(iface, target);
      if (iface.owns(target)) {
        if (mac && !isOwnMac(iface, mac)) conflicts?.conflict(iface, target);
      } else world.neighbours.advertised(iface, target, mac, message);
      return;
    }
    if (isProbe) conflicts?.heard(iface, target, message.nonce);
    const ours = iface.owns(target);
    if (!ours && !this.answersFor(iface, target)) return;
    if (mac && !isProbe) world.neighbours.heard(iface, from, mac, false, true, true);
    this.advertise(iface, target, isProbe ? ALL_NODES : from, !isProbe, ours);
  }

  /** A proxy's word does not override the owner's (RFC 4861 §7.2.8). */
  private advertise(iface: NetInterface, target: IpAddress, to: IpAddress, solicited: boolean, override: boolean): void {
    const { world } = this;
    const flags = ((world.forwarding ? 0x80 : 0) | (solicited ? 0x40 : 0) | (override ? 0x20 : 0)) << 24;
    const from = override ? target : (iface.linkLocal ?? undefined);
    world.sendIcmp(iface, from, to, ADVERTISEMENT, 0, flags >>> 0, neighbourData(ADVERTISEMENT, target, iface.mac), 255);
  }

  /** Asks who has an address: everybody, or the one who had it. */
  solicit(neighbour: Neighbour, mac: Uint8Array | undefined): void {
    const { iface, address } = neighbour;
    const from = this.askedBy(neighbour) ?? this.world.sourceOn(iface, address);
    if (address.family === 4) {
      this.sendArp(iface, "request", from?.v4 ?? 0, NO_MAC, address.v4, mac);
      return;
    }
    // Never from an address that may be somebody else's (RFC 4862 §5.4).
    if (from)
      this.sendSolicitation(iface, from, mac ? address : solicitedNode(address), neighbourData(SOLICITATION, address, iface.mac), mac);
  }

  /** The address that the first waiting packet is from, if it is this interface's (RFC 4861 §7.2.2), or for IPv4 any of ours (Linux's arp_announce 0). */
  private askedBy({ iface, queue }: Neighbour): IpAddress | undefined {
    if (queue.length === 0) return undefined;
    const source = sourceOf(this.world.packetBytes(queue[0], 40));
    const isOurs = source.family === 4 ? this.world.isLocal(source) : iface.find(source)?.state === "usable";
    return isOurs ? source : undefined;
  }

  private sendSolicitation(iface: NetInterface, source: IpAddress, to: IpAddress, data: Uint8Array, mac?: Uint8Array): void {
    const packet = this.world.packetOf(source, to, 58, icmpMessage(SOLICITATION, 0, 0, data, source, to), 255);
    const destination = mac ?? groupMac(to);
    this.world.sendFrame(iface, serializeEthernet({ destination, source: iface.mac, type: ETHERTYPE.ipv6, payload: packet }));
  }
}

function isOwnMac(iface: NetInterface, mac: Uint8Array): boolean {
  return mac.every((byte, i) => byte === iface.mac[i]);
}
