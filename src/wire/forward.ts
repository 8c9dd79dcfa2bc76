/**
 * A router for one frame at a time, written from the RFCs with the readable codecs: no burst, no table tricks,
 * nothing shared with the data plane. The data plane's verdicts and bytes are compared with its.
 */
import { u16, WireError } from "./bytes.ts";
import { ETHERTYPE, serializeEthernet } from "./ethernet.ts";
import { parseIpv4, serializeIpv4 } from "./ipv4.ts";
import { parseIpv6 } from "./ipv6.ts";

/** What a route says. */
export interface OracleHop {
  readonly kind: string;
  readonly port: number;
  readonly mtu: number;
  readonly destinationMac: Uint8Array;
  readonly sourceMac: Uint8Array;
  readonly vlan?: number;
}

export interface OracleRouter {
  /** MAC of the port the frame comes in by. */
  readonly mac: Uint8Array;
  readonly promiscuous?: boolean;
  lookup4(address: number): OracleHop | undefined;
  lookup6(address: Uint8Array): OracleHop | undefined;
}

export type Verdict =
  | { readonly verdict: "forward"; readonly port: number; readonly bytes: Uint8Array }
  | { readonly verdict: "drop" | "punt"; readonly reason: string };

const drop = (reason: string): Verdict => ({ verdict: "drop", reason });
const punt = (reason: string): Verdict => ({ verdict: "punt", reason });

export function route(frame: Uint8Array, router: OracleRouter): Verdict {
  if (frame.length < 14) return drop("ether_too_short");
  const group = (frame[0] & 1) !== 0;
  const linkControl = [0x01, 0x80, 0xc2, 0, 0].every((byte, i) => frame[i] === byte) && frame[5] < 16;
  if (linkControl) return punt("link_control");
  const ours = router.mac.every((byte, i) => frame[i] === byte);
  if (!group && !ours && !router.promiscuous) return drop("ether_not_for_us");
  // Two tags at most, as the data plane looks.
  let at = 12;
  for (let tags = 0; tags < 2 && isTag(u16(frame, at)); tags++) {
    at += 4;
    if (frame.length < at + 2) return drop("vlan_too_short");
  }
  const type = u16(frame, at);
  const packet = frame.subarray(at + 2);
  if (type === ETHERTYPE.ipv4) return route4(packet, router, group);
  if (type === ETHERTYPE.ipv6) return route6(packet, router, group);
  return type === ETHERTYPE.arp ? punt("arp") : drop("ether_type_unknown");
}

const isTag = (type: number) => type === ETHERTYPE.vlan || type === ETHERTYPE.qinq;

/** Which header rule a packet breaks, in the order in which a router meets them. */
function fault4(packet: Uint8Array): string | undefined {
  if (packet.length < 20) return "ip4_too_short";
  if (packet[0] >>> 4 !== 4) return "ip4_bad_version";
  const header = (packet[0] & 15) * 4;
  if (header < 20) return "ip4_bad_header_length";
  const total = u16(packet, 2);
  if (total < header || total > packet.length) return "ip4_bad_total_length";
  try {
    parseIpv4(packet);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return "ip4_bad_checksum";
  }
  return undefined;
}

const inNet = (address: number, net: number, length: number) => address >>> (32 - length) === net >>> (32 - length);
const isZeroNet = (a: number) => inNet(a, 0, 8);
const isLoopback = (a: number) => inNet(a, 0x7f000000, 8);
const isMulticast = (a: number) => inNet(a, 0xe0000000, 4);
const isReserved = (a: number) => inNet(a, 0xf0000000, 4);
const isLinkLocal = (a: number) => inNet(a, 0xa9fe0000, 16);

function route4(bytes: Uint8Array, router: OracleRouter, group: boolean): Verdict {
  const fault = fault4(bytes);
  if (fault) return drop(fault);
  const packet = parseIpv4(bytes);
  const { source, destination } = packet;
  const martianSource = isZeroNet(source) || isLoopback(source) || isMulticast(source) || isReserved(source);
  if (isMulticast(destination)) return martianSource && source !== 0 ? drop("ip4_martian_source") : punt("multicast");
  if (destination === 0xffffffff) return martianSource && source !== 0 ? drop("ip4_martian_source") : punt("broadcast");
  if (martianSource) return drop("ip4_martian_source");
  if (isZeroNet(destination) || isLoopback(destination) || isReserved(destination)) return drop("ip4_martian_destination");
  if (isLinkLocal(source) || isLinkLocal(destination)) return punt("link_local");
  const hop = router.lookup4(destination);
  // A subnet's broadcast address is a local route: whether it is one, the host knows.
  if (group) return hop?.kind === "local" ? punt("broadcast") : drop("l2_broadcast_of_unicast");
  const end = endOf(hop);
  if (end || !hop) return end ?? punt("unreachable");
  if (packet.ttl <= 1) return punt("ttl_exceeded");
  const total = u16(bytes, 2);
  if (total > hop.mtu) return punt("fragmentation_needed");
  const out = serializeIpv4({ ...packet, ttl: packet.ttl - 1 });
  // The reserved fragment bit passes through, and with it the checksum's share of it.
  if (bytes[6] & 0x80) return sent(hop, withReservedBit(out), ETHERTYPE.ipv4);
  return sent(hop, out, ETHERTYPE.ipv4);
}

function withReservedBit(out: Uint8Array): Uint8Array {
  out[6] |= 0x80;
  let sum = (~u16(out, 10) & 0xffff) + 0x8000;
  sum = (sum & 0xffff) + (sum >>> 16);
  out[10] = (~sum >>> 8) & 255;
  out[11] = ~sum & 255;
  return out;
}

const isSmall = (a: Uint8Array) => a.subarray(0, 15).every((b) => b === 0) && a[15] <= 1;
const isMapped = (a: Uint8Array) => a.subarray(0, 10).every((b) => b === 0) && a[10] === 255 && a[11] === 255;
const isLinkLocal6 = (a: Uint8Array) => a[0] === 0xfe && (a[1] & 0xc0) === 0x80;

function route6(bytes: Uint8Array, router: OracleRouter, group: boolean): Verdict {
  if (bytes.length < 40) return drop("ip6_too_short");
  if (bytes[0] >>> 4 !== 6) return drop("ip6_bad_version");
  if (u16(bytes, 4) + 40 > bytes.length) return drop("ip6_bad_payload_length");
  try {
    parseIpv6(bytes);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return drop(error.message.includes("more than") ? "ip6_too_many_extensions" : "ip6_bad_extension");
  }
  const { source, destination, hopLimit } = parseIpv6(bytes);
  if (source[0] === 0xff || (isSmall(source) && source[15] === 1) || isMapped(source)) return drop("ip6_martian_source");
  if (destination[0] === 0xff) return (destination[1] & 15) < 2 ? drop("ip6_multicast_scope") : punt("multicast");
  if (isSmall(destination) || isMapped(destination)) return drop("ip6_martian_destination");
  if (isLinkLocal6(destination)) return punt("link_local");
  if (isSmall(source)) return drop("ip6_martian_source");
  if (isLinkLocal6(source)) return punt("beyond_scope");
  if (group) return drop("l2_broadcast_of_unicast");
  const hop = router.lookup6(destination);
  const end = endOf(hop);
  if (end || !hop) return end ?? punt("unreachable");
  if (hopLimit <= 1) return punt("ttl_exceeded");
  const total = u16(bytes, 4) + 40;
  if (total > hop.mtu) return punt("packet_too_big");
  const out = bytes.slice(0, total);
  out[7] = hopLimit - 1;
  return sent(hop, out, ETHERTYPE.ipv6);
}

function endOf(hop: OracleHop | undefined): Verdict | undefined {
  if (!hop) return punt("unreachable");
  switch (hop.kind) {
    case "forward":
      return undefined;
    case "local":
      return punt("local");
    case "glean":
    case "incomplete":
      return punt("neighbour");
    case "blackhole":
      return drop("blackhole");
    case "prohibit":
      return punt("prohibit");
    case "broadcast":
      return drop("directed_broadcast");
    default:
      return punt("unreachable");
  }
}

function sent(hop: OracleHop, payload: Uint8Array, type: number): Verdict {
  const tags = hop.vlan === undefined ? [] : [{ protocol: ETHERTYPE.vlan, vlan: hop.vlan, priority: 0, dropEligible: false }];
  const bytes = serializeEthernet({ destination: hop.destinationMac, source: hop.sourceMac, tags, type, payload });
  return { verdict: "forward", port: hop.port, bytes };
}
