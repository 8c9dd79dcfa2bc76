/** Which socket of this host a packet is for, or of: what rules ask with `socket` (nf_socket_ipv4.c, nf_socket_ipv6.c). */
import * as abi from "../../assembly/abi.ts";
import type { SocketFacts } from "../filter/index.ts";
import { upperLayer } from "../ip/extensions.ts";
import { destinationOf, sourceOf } from "../ip/packet-io.ts";
import type { IpStack } from "../ip/stack.ts";
import { PROTOCOL } from "../wire/index.ts";

/** Enough of a packet for its headers, and for those of one that an ICMP error cites. */
const HEADERS = 256;
const ERRORS4: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);

/** The socket of a packet by its id, if there is one. A packet that an ICMP error cites was sent from here. */
export function socketOf(ip: IpStack, id: number): SocketFacts | undefined {
  const { memory } = ip.engine;
  const isOwn = memory.getU16(memory.descriptor(id) + abi.DESC_INGRESS) === abi.NO_PORT;
  const packet = ip.packetBytes(id, HEADERS);
  return find(ip, packet, isOwn, isOwn ? undefined : ip.ingress(id));
}

function find(ip: IpStack, packet: Uint8Array, isOwn: boolean, iface: ReturnType<IpStack["ingress"]>): SocketFacts | undefined {
  const version = packet[0] >>> 4;
  if (packet.length < (version === 4 ? 20 : 40)) return undefined;
  const { protocol, offset } = version === 4 ? { protocol: packet[9], offset: (packet[0] & 15) * 4 } : upperLayer(packet);
  const isLater = version === 4 && ((packet[6] << 8) | packet[7]) & 0x1fff;
  if (isLater || packet.length < offset + 8) return undefined;
  if (isError(version, protocol, packet[offset])) return isOwn ? undefined : find(ip, packet.subarray(offset + 8), true, iface);
  if (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp) return undefined;
  const port = (at: number) => (packet[offset + at] << 8) | packet[offset + at + 1];
  const [source, destination] = [
    { address: sourceOf(packet), port: port(0) },
    { address: destinationOf(packet), port: port(2) },
  ];
  const [own, other] = isOwn ? [source, destination] : [destination, source];
  const ends = { local: own.address, localPort: own.port, remote: other.address, remotePort: other.port, iface };
  const found = ip.transports.get(protocol)?.endpoint?.(ends);
  return found && { transparent: false, mark: found.mark, wildcard: found.isWildcard };
}

const isError = (version: number, protocol: number, type: number): boolean =>
  version === 4 ? protocol === PROTOCOL.icmp && ERRORS4.has(type) : protocol === PROTOCOL.icmpv6 && type < 128;
