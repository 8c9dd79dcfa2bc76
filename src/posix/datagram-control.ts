/** Control messages of datagrams, both ways: TTL, TOS, packet information, sizes of segments (ip(7), ipv6(7), udp(7), RFC 3542). */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Datagram, SendOptions } from "../datagram/datagram.ts";
import type { Host } from "../host/host.ts";
import * as c from "./constants.ts";
import { type ControlMessage, intMessage, intOf } from "./message.ts";

/** A datagram, or several of one size (UDP_GRO). */
export type Received = Datagram & { readonly segmentSize?: number };

interface Teller {
  readonly domain: number;
  readonly tells: { readonly info: boolean; readonly hopLimit: boolean; readonly trafficClass: boolean; readonly batches: boolean };
}

export function tellAll(control: ControlMessage[], datagram: Received, { domain, tells }: Teller): void {
  const is4 = domain === c.AF_INET;
  const { hopLimit, trafficClass, segmentSize } = datagram;
  if (tells.info) control.push(is4 ? info4(datagram) : info6(datagram));
  if (tells.hopLimit)
    control.push(is4 ? intMessage(c.IPPROTO_IP, c.IP_TTL, hopLimit) : intMessage(c.IPPROTO_IPV6, c.IPV6_HOPLIMIT, hopLimit));
  if (tells.trafficClass) {
    // Of IPv4 one byte, of IPv6 an int: so Linux has it.
    if (is4) control.push({ level: c.IPPROTO_IP, type: c.IP_TOS, data: Uint8Array.of(trafficClass) });
    else control.push(intMessage(c.IPPROTO_IPV6, c.IPV6_TCLASS, trafficClass));
  }
  if (tells.batches && segmentSize !== undefined && segmentSize < datagram.data.length) {
    control.push(intMessage(c.IPPROTO_UDP, c.UDP_GRO, segmentSize));
  }
}

/** struct in_pktinfo: interface, local address, destination. */
function info4({ destination, iface }: Datagram): ControlMessage {
  const data = new Uint8Array(12);
  new DataView(data.buffer).setInt32(0, iface?.index ?? 0, true);
  const own = iface?.addresses.find(({ address }) => address.family === 4)?.address;
  const local = destination.isMulticast || (iface?.isBroadcast(destination) ?? false) ? (own ?? destination) : destination;
  data.set(local.bytes(), 4);
  data.set(destination.bytes(), 8);
  return { level: c.IPPROTO_IP, type: c.IP_PKTINFO, data };
}

/** struct in6_pktinfo: destination, interface. */
function info6({ destination, iface }: Datagram): ControlMessage {
  const data = new Uint8Array(20);
  data.set(sixteen(destination));
  new DataView(data.buffer).setUint32(16, iface?.index ?? 0, true);
  return { level: c.IPPROTO_IPV6, type: c.IPV6_PKTINFO, data };
}

/** Sixteen bytes of either family, IPv4 as mapped. */
export function sixteen(address: IpAddress): Uint8Array {
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  for (const [i, word] of [address.a, address.b, address.c, address.d].entries()) view.setInt32(4 * i, word);
  return out;
}

/** What a send's control messages ask for. Throws EINVAL for what is none of it. */
export function sendOptions(
  control: readonly ControlMessage[] | undefined,
  { segmentSize, host, protocol }: { readonly segmentSize: number; readonly host: Host; readonly protocol: number },
): SendOptions | undefined {
  if (!control?.length) return segmentSize > 0 ? { segmentSize } : undefined;
  const out: { -readonly [K in keyof SendOptions]: SendOptions[K] } = segmentSize > 0 ? { segmentSize } : {};
  for (const message of control) {
    const { level, type, data } = message;
    const is = (l: number, t: number, bytes: number) => level === l && type === t && data.length >= bytes;
    // Of a level that is not the socket's, nothing is looked at (ip_cmsg_send).
    if (level === c.IPPROTO_UDP && protocol !== c.IPPROTO_UDP) continue;
    if (is(c.IPPROTO_UDP, c.UDP_SEGMENT, 2)) out.segmentSize = data[0] | (data[1] << 8);
    else if (is(c.IPPROTO_IP, c.IP_TTL, 4) || is(c.IPPROTO_IPV6, c.IPV6_HOPLIMIT, 4)) out.hopLimit = intOf(message);
    else if (is(c.IPPROTO_IP, c.IP_TOS, 1)) out.trafficClass = data[0];
    else if (is(c.IPPROTO_IPV6, c.IPV6_TCLASS, 4)) out.trafficClass = intOf(message);
    else if (is(c.IPPROTO_IP, c.IP_PKTINFO, 12)) pickSource(out, IpAddress.fromBytes(data.subarray(4, 8)), intOf(message) ?? 0, host);
    else if (is(c.IPPROTO_IPV6, c.IPV6_PKTINFO, 20))
      pickSource(out, IpAddress.fromBytes(data.subarray(0, 16)), data[16] | (data[17] << 8), host);
    else if (level !== c.SOL_SOCKET) throw new LoomError("EINVAL", `control message ${type} of level ${level} is not for datagrams`);
  }
  return out;
}

function pickSource(out: { source?: IpAddress; iface?: SendOptions["iface"] }, source: IpAddress, index: number, host: Host): void {
  if (!source.isUnspecified) {
    if (!host.ip.isSource(source)) throw new LoomError("EINVAL", `${source} is not an address of this host`);
    out.source = source;
  }
  if (index !== 0) out.iface = interfaceAt(host, index);
}

/** The interface with an index. Throws ENODEV. */
export function interfaceAt(host: Host, index: number): NonNullable<SendOptions["iface"]> {
  const iface = host.ip.interfaces.find((each) => each.index === index);
  if (!iface) throw new LoomError("ENODEV", `there is no interface ${index}`);
  return iface;
}
