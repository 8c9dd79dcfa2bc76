/** UDP (RFC 768), TCP (RFC 9293 §3.1) and ICMP messages (RFC 792, RFC 4443). */
import { need, put16, put32, u16, u32, WireError } from "./bytes.ts";
import { checksum, l4Checksum } from "./checksum.ts";
import { PROTOCOL } from "./ipv4.ts";

/** Source and destination as bytes: four or sixteen each. */
export interface Addresses {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

export interface UdpDatagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

export function parseUdp(bytes: Uint8Array): UdpDatagram & { checksum: number } {
  need(bytes, 8, "UDP header");
  const length = u16(bytes, 4);
  if (length < 8) throw new WireError(`UDP header: length ${length}, expected at least 8`);
  need(bytes, length, "UDP datagram");
  return { sourcePort: u16(bytes, 0), destinationPort: u16(bytes, 2), checksum: u16(bytes, 6), payload: bytes.subarray(8, length) };
}

export function serializeUdp(datagram: UdpDatagram, addresses: Addresses): Uint8Array {
  const out = new Uint8Array(8 + datagram.payload.length);
  put16(out, 0, datagram.sourcePort);
  put16(out, 2, datagram.destinationPort);
  put16(out, 4, out.length);
  out.set(datagram.payload, 8);
  // A computed zero is sent as all ones: zero means "none" (RFC 768).
  put16(out, 6, l4Checksum(addresses.source, addresses.destination, PROTOCOL.udp, out) || 0xffff);
  return out;
}

export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Bits of TCP_FLAG; to be sent also 256, AE. */
  readonly flags: number;
  readonly window: number;
  readonly urgentPointer: number;
  /** Padded to whole words. */
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

export function parseTcp(bytes: Uint8Array): TcpSegment & { checksum: number } {
  need(bytes, 20, "TCP header");
  const header = (bytes[12] >>> 4) * 4;
  if (header < 20) throw new WireError(`TCP header: length ${header}, expected at least 20`);
  need(bytes, header, "TCP header");
  return {
    sourcePort: u16(bytes, 0),
    destinationPort: u16(bytes, 2),
    sequence: u32(bytes, 4),
    acknowledgement: u32(bytes, 8),
    flags: bytes[13],
    window: u16(bytes, 14),
    checksum: u16(bytes, 16),
    urgentPointer: u16(bytes, 18),
    options: bytes.subarray(20, header),
    payload: bytes.subarray(header),
  };
}

export function serializeTcp(segment: TcpSegment, addresses: Addresses): Uint8Array {
  const header = 20 + Math.ceil(segment.options.length / 4) * 4;
  const out = new Uint8Array(header + segment.payload.length);
  put16(out, 0, segment.sourcePort);
  put16(out, 2, segment.destinationPort);
  put32(out, 4, segment.sequence);
  put32(out, 8, segment.acknowledgement);
  // The bit beside the length is AE (RFC 9768 §3.1.1).
  out[12] = ((header / 4) << 4) | ((segment.flags >>> 8) & 1);
  out[13] = segment.flags;
  put16(out, 14, segment.window);
  put16(out, 18, segment.urgentPointer);
  out.set(segment.options, 20);
  out.set(segment.payload, header);
  put16(out, 16, l4Checksum(addresses.source, addresses.destination, PROTOCOL.tcp, out));
  return out;
}

export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  /** Second word of the header: id and sequence of an echo, MTU, pointer … */
  readonly rest: number;
  readonly payload: Uint8Array;
}

export function parseIcmp(bytes: Uint8Array): IcmpMessage & { checksum: number } {
  need(bytes, 8, "ICMP header");
  return { type: bytes[0], code: bytes[1], checksum: u16(bytes, 2), rest: u32(bytes, 4), payload: bytes.subarray(8) };
}

/** ICMPv6 needs the addresses for its pseudo-header (RFC 4443 §2.3); ICMP has none. */
export function serializeIcmp(message: IcmpMessage, addresses?: Addresses): Uint8Array {
  const out = new Uint8Array(8 + message.payload.length);
  out[0] = message.type;
  out[1] = message.code;
  put32(out, 4, message.rest);
  out.set(message.payload, 8);
  put16(out, 2, addresses ? l4Checksum(addresses.source, addresses.destination, PROTOCOL.icmpv6, out) : checksum(out));
  return out;
}
