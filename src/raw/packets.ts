/** Packets of raw sockets as bytes: what a program gets of one, and what its host makes of what a program sends (raw(7), RFC 3542 §3). */

import { u16 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { upperLayer } from "../ip/extensions.ts";
import { checksum, l4Checksum, PROTOCOL, serializeIpv4, serializeIpv6 } from "../wire/index.ts";

const UDP_HEADER = 8;
const HEADER4 = 20;
const HEADER6 = 40;
const MOST = 65_535;

/**
 * What raw sockets are given of a packet: of IPv4 all of it, of IPv6 what is behind its headers. UDP datagrams that came as one
 * (`piece` bytes of payload each) are several again.
 */
export function datagramsIn(packet: Uint8Array, piece: number): Uint8Array[] {
  const is4 = packet[0] >>> 4 === 4;
  const { protocol, offset } = is4 ? { protocol: packet[9], offset: (packet[0] & 15) * 4 } : upperLayer(packet);
  // Behind the packet may stand what filled a frame up.
  const whole = packet.subarray(0, is4 ? u16(packet, 2) : u16(packet, 4) + HEADER6);
  if (protocol !== PROTOCOL.udp || piece === 0 || whole.length - offset - UDP_HEADER <= piece)
    return [is4 ? whole : whole.subarray(offset)];
  const out: Uint8Array[] = [];
  const start = offset + UDP_HEADER;
  for (let at = start; at < whole.length; at += piece) {
    out.push(cutAt(whole, offset, whole.subarray(at, at + piece)));
  }
  return out;
}

/** One of the datagrams that came as one: their headers, with lengths and checksums of its own. */
function cutAt(whole: Uint8Array, offset: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(offset + UDP_HEADER + payload.length);
  out.set(whole.subarray(0, offset + UDP_HEADER));
  out.set(payload, offset + UDP_HEADER);
  const view = new DataView(out.buffer);
  const is4 = out[0] >>> 4 === 4;
  const datagram = out.subarray(offset);
  view.setUint16(offset + 4, datagram.length);
  view.setUint16(offset + 6, 0);
  const [from, to] = is4 ? [out.subarray(12, 16), out.subarray(16, 20)] : [out.subarray(8, 24), out.subarray(24, 40)];
  view.setUint16(offset + 6, l4Checksum(from, to, PROTOCOL.udp, datagram) || 0xffff);
  if (!is4) return datagram;
  view.setUint16(2, out.length);
  writeSum4(out);
  return out;
}

/** The whole packet around a payload; what fits the path in one piece is not to be cut on it (RFC 1191). */
export function packetAround(
  payload: Uint8Array,
  how: { source: IpAddress; to: IpAddress; protocol: number; hopLimit: number; trafficClass: number; id: number; mtu: number },
): Uint8Array {
  const { source, to, protocol, hopLimit, trafficClass, id, mtu } = how;
  const is4 = to.family === 4;
  const most = is4 ? MOST - HEADER4 : MOST;
  if (payload.length > most) throw new LoomError("EMSGSIZE", `a packet with ${payload.length} bytes; the most is ${most}`);
  if (!is4) return serializeIpv6({ source: source.bytes(), destination: to.bytes(), protocol, payload, hopLimit, trafficClass });
  const dontFragment = HEADER4 + payload.length <= mtu;
  return serializeIpv4({ source: source.v4, destination: to.v4, protocol, payload, ttl: hopLimit, id, tos: trafficClass, dontFragment });
}

/** A program's own packet; of IPv4 length and checksum are always written, source and identification where they are 0 (raw(7), IP_HDRINCL). */
export function completed(data: Uint8Array, family: 4 | 6, source: IpAddress, id: number): Uint8Array {
  const least = family === 4 ? HEADER4 : HEADER6;
  if (data.length > MOST) throw new LoomError("EMSGSIZE", `a packet of ${data.length} bytes; the most is ${MOST}`);
  if (data.length < least) throw new LoomError("EINVAL", `a packet of ${data.length} bytes; expected ${least} at least`);
  if (data[0] >>> 4 !== family) throw new LoomError("EINVAL", `a packet of version ${data[0] >>> 4}; this socket's are of IPv${family}`);
  const out = data.slice();
  const view = new DataView(out.buffer);
  if (family === 6) {
    view.setUint16(4, out.length - HEADER6);
    return out;
  }
  const header = (out[0] & 15) * 4;
  if (header < HEADER4 || header > out.length) throw new LoomError("EINVAL", `an IPv4 header of ${header} bytes in ${out.length}`);
  view.setUint16(2, out.length);
  if (view.getUint32(12) === 0) view.setUint32(12, source.v4);
  if (view.getUint16(4) === 0) view.setUint16(4, id);
  writeSum4(out);
  return out;
}

function writeSum4(packet: Uint8Array): void {
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setUint16(10, 0);
  view.setUint16(10, checksum(packet.subarray(0, (packet[0] & 15) * 4)));
}

/** A payload with its checksum at an offset; EINVAL where it has no room for it (RFC 3542 §3.1). */
export function summed(data: Uint8Array, at: number, source: IpAddress, to: IpAddress, protocol: number): Uint8Array {
  if (at + 2 > data.length) throw new LoomError("EINVAL", `${data.length} bytes have no checksum at ${at}`);
  const out = data.slice();
  const view = new DataView(out.buffer);
  view.setUint16(at, 0);
  // As UDP's: 0 would mean that there is none.
  view.setUint16(at, l4Checksum(source.bytes(), to.bytes(), protocol, out) || 0xffff);
  return out;
}

export function isRight(data: Uint8Array, source: IpAddress, to: IpAddress, protocol: number): boolean {
  return l4Checksum(source.bytes(), to.bytes(), protocol, data) === 0;
}
