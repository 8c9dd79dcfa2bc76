/** ARP and NDP on the wire: what is asked, what is answered (RFC 826, RFC 5227, RFC 4861 §7.2). */
import { IpAddress } from "../base/ip-address.ts";
import { ETHERTYPE, parseArp, serializeArp, serializeEthernet } from "../wire/index.ts";
import { icmpMessage } from "./icmp.ts";
import { groupMac, linkLocalOf, type NetInterface, solicitedNode } from "./interface.ts";
import { ADVERTISEMENT, neighbourData, parseNeighbour, SOLICITATION } from "./ndp.ts";
import type { Neighbour, Neighbours } from "./neighbours.ts";
import { addressOn } from "./source-address.ts";
import type { IpCounters } from "./types.ts";

/** What these messages need of their host. */
export interface LinkHost {
  readonly neighbours: Neighbours;
  readonly counters: IpCounters;
  readonly forwarding: boolean;
  packetBytes(id: number, most?: number): Uint8Array;
  sendFrame(iface: NetInterface, frame: Uint8Array): void;
  sendIcmp(
    iface: NetInterface | undefined,
    from: IpAddress | undefined,
    to: IpAddress,
    type: number,
    code: number,
    rest: number,
    data: Uint8Array,
    hopLimit?: number,
  ): boolean;
  packetOf(source: IpAddress, destination: IpAddress, protocol: number, payload: Uint8Array, hopLimit?: number): Uint8Array;
}

export class LinkMessages {
  private readonly host: LinkHost;

  constructor(host: LinkHost) {
    this.host = host;
  }

  /** Tells the link about a new address: gratuitous ARP (RFC 5227 §3), unsolicited advertisement (RFC 4861 §7.2.6). */
  announce(iface: NetInterface, address: IpAddress): void {
    if (address.family === 4) this.sendArp(iface, "request", address.v4, new Uint8Array(6), address.v4, undefined);
    else this.advertise(iface, address, IpAddress.parse("ff02::1"), false);
  }

  receiveArp(iface: NetInterface, id: number): void {
    let packet: ReturnType<typeof parseArp>;
    try {
      packet = parseArp(this.host.packetBytes(id, 64));
    } catch {
      this.host.counters.in_addr_errors++;
      return;
    }
    const sender = IpAddress.v4(packet.senderAddress);
    const target = IpAddress.v4(packet.targetAddress);
    if (packet.senderMac[0] & 1 || iface.owns(sender)) return;
    const forUs = iface.owns(target);
    if (!sender.isUnspecified) {
      // Entries are made only for who talks to us (RFC 826); others' are only brought up to date.
      const solicited = packet.operation === "reply" && forUs;
      this.host.neighbours.heard(iface, sender, packet.senderMac, solicited, true, forUs && packet.operation === "request");
    }
    if (packet.operation === "request" && forUs) {
      this.sendArp(iface, "reply", target.v4, packet.senderMac, sender.v4, packet.senderMac);
    }
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
    const destination = to ?? Uint8Array.of(255, 255, 255, 255, 255, 255);
    this.host.sendFrame(iface, serializeEthernet({ destination, source: iface.mac, type: ETHERTYPE.arp, payload }));
  }

  /** A solicitation or an advertisement, from its type on. */
  receiveNeighbour(iface: NetInterface, from: IpAddress, to: IpAddress, bytes: Uint8Array, hopLimit: number): void {
    // Hop limit 255: nobody beyond the link can have sent it (RFC 4861 §7.1).
    const message = hopLimit === 255 ? parseNeighbour(bytes) : undefined;
    if (!message) {
      this.host.counters.in_addr_errors++;
      return;
    }
    const { target, mac } = message;
    if (message.type === ADVERTISEMENT) {
      if (mac && !iface.owns(target))
        this.host.neighbours.heard(iface, target, mac, message.solicited && !to.isMulticast, message.override);
      return;
    }
    if (!iface.owns(target)) return;
    if (mac && !from.isUnspecified) this.host.neighbours.heard(iface, from, mac, false, true, true);
    this.advertise(iface, target, from.isUnspecified ? IpAddress.parse("ff02::1") : from, !from.isUnspecified);
  }

  private advertise(iface: NetInterface, target: IpAddress, to: IpAddress, solicited: boolean): void {
    const flags = ((this.host.forwarding ? 0x80 : 0) | (solicited ? 0x40 : 0) | 0x20) << 24;
    this.host.sendIcmp(iface, target, to, ADVERTISEMENT, 0, flags >>> 0, neighbourData(ADVERTISEMENT, target, iface.mac), 255);
  }

  /** Asks who has an address: everybody, or the one who had it. */
  solicit(neighbour: Neighbour, mac: Uint8Array | undefined): void {
    const { iface, address } = neighbour;
    const from = addressOn(iface, address);
    if (address.family === 4) {
      this.sendArp(iface, "request", from?.v4 ?? 0, new Uint8Array(6), address.v4, mac);
      return;
    }
    const source = from ?? linkLocalOf(iface.mac);
    const to = mac ? address : solicitedNode(address);
    const data = neighbourData(SOLICITATION, address, iface.mac);
    const packet = this.host.packetOf(source, to, 58, icmpMessage(SOLICITATION, 0, 0, data, source, to), 255);
    const destination = mac ?? groupMac(to);
    this.host.sendFrame(iface, serializeEthernet({ destination, source: iface.mac, type: ETHERTYPE.ipv6, payload: packet }));
  }
}
