/** IPv4 (RFC 791, header rules of RFC 1122 §3.2.1). */
import { need, put16, put32, u16, u32, WireError } from "./bytes.ts";
import { checksum } from "./checksum.ts";

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, none: 59 } as const;

export interface Ipv4Packet {
  /** Type of service: DSCP and ECN. */
  readonly tos: number;
  readonly id: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** In bytes. */
  readonly fragmentOffset: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly source: number;
  readonly destination: number;
  /** Padded to whole words. */
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

/** Throws WireError where a host must discard; bytes behind the total length are padding. */
export function parseIpv4(bytes: Uint8Array): Ipv4Packet {
  need(bytes, 20, "IPv4 header");
  if (bytes[0] >>> 4 !== 4) throw new WireError(`IPv4 header: version ${bytes[0] >>> 4}`);
  const header = (bytes[0] & 15) * 4;
  if (header < 20) throw new WireError(`IPv4 header: length ${header}, expected at least 20`);
  const total = u16(bytes, 2);
  if (total < header) throw new WireError(`IPv4 header: total length ${total} is less than the header's ${header}`);
  need(bytes, total, "IPv4 packet");
  if (checksum(bytes.subarray(0, header)) !== 0) throw new WireError("IPv4 header: wrong checksum");
  const fragment = u16(bytes, 6);
  return {
    tos: bytes[1],
    id: u16(bytes, 4),
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    ttl: bytes[8],
    protocol: bytes[9],
    source: u32(bytes, 12),
    destination: u32(bytes, 16),
    options: bytes.subarray(20, header),
    payload: bytes.subarray(header, total),
  };
}

type Optional = "tos" | "id" | "dontFragment" | "moreFragments" | "fragmentOffset" | "ttl" | "options";

export function serializeIpv4(packet: Omit<Ipv4Packet, Optional> & Partial<Pick<Ipv4Packet, Optional>>): Uint8Array {
  const options = packet.options ?? new Uint8Array(0);
  const header = 20 + Math.ceil(options.length / 4) * 4;
  const out = new Uint8Array(header + packet.payload.length);
  out[0] = 0x40 | (header / 4);
  out[1] = packet.tos ?? 0;
  put16(out, 2, out.length);
  put16(out, 4, packet.id ?? 0);
  put16(out, 6, (packet.dontFragment ? 0x4000 : 0) | (packet.moreFragments ? 0x2000 : 0) | ((packet.fragmentOffset ?? 0) / 8));
  out[8] = packet.ttl ?? 64;
  out[9] = packet.protocol;
  put32(out, 12, packet.source);
  put32(out, 16, packet.destination);
  out.set(options, 20);
  put16(out, 10, checksum(out.subarray(0, header)));
  out.set(packet.payload, header);
  return out;
}

/** An address as four bytes, for pseudo-headers. */
export function addressBytes4(address: number): Uint8Array {
  const out = new Uint8Array(4);
  put32(out, 0, address);
  return out;
}
