/** IPv6 and its extension headers (RFC 8200). */
import { need, put16, u16, u32, WireError } from "./bytes.ts";

export const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, destination: 60 } as const;
const EXTENSIONS: readonly number[] = Object.values(EXTENSION);
/** As many as the data plane walks (RFC 8504 §5.3 lets a node set a limit). */
const MAX_EXTENSIONS = 8;

export interface Ipv6Extension {
  /** Protocol number of the header itself. */
  readonly type: number;
  /** The whole header; its first byte names what follows. */
  readonly bytes: Uint8Array;
}

export interface Ipv6Packet {
  readonly trafficClass: number;
  readonly flowLabel: number;
  readonly hopLimit: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly extensions: readonly Ipv6Extension[];
  /** Set when the packet is a real fragment; `payload` is then a piece. */
  readonly fragment?: { readonly offset: number; readonly more: boolean; readonly id: number };
  readonly protocol: number;
  readonly payload: Uint8Array;
}

export function parseIpv6(bytes: Uint8Array): Ipv6Packet {
  need(bytes, 40, "IPv6 header");
  if (bytes[0] >>> 4 !== 6) throw new WireError(`IPv6 header: version ${bytes[0] >>> 4}`);
  const length = 40 + u16(bytes, 4);
  need(bytes, length, "IPv6 packet");
  const extensions: Ipv6Extension[] = [];
  let fragment: Ipv6Packet["fragment"];
  let protocol = bytes[6];
  let at = 40;
  // Hop-by-hop options elsewhere than in front are a protocol that nobody speaks (RFC 8200 §4).
  while (EXTENSIONS.includes(protocol) && !(protocol === EXTENSION.hopByHop && at !== 40)) {
    if (extensions.length === MAX_EXTENSIONS) throw new WireError(`IPv6 packet: more than ${MAX_EXTENSIONS} extension headers`);
    const size = at + 8 > length ? 8 : extensionSize(protocol, bytes[at + 1]);
    // A first fragment may end anywhere: what is wrong with that is its receiver's to say.
    if (at + size > length && fragment) break;
    if (at + size > length) throw new WireError("IPv6 extension header: longer than the packet");
    extensions.push({ type: protocol, bytes: bytes.subarray(at, at + size) });
    const isFragment = protocol === EXTENSION.fragment;
    protocol = bytes[at];
    if (isFragment && (u16(bytes, at + 2) & 0xfff9) !== 0) {
      const field = u16(bytes, at + 2);
      fragment = { offset: field & 0xfff8, more: (field & 1) !== 0, id: u32(bytes, at + 4) };
    }
    at += size;
    if (fragment && fragment.offset !== 0) break;
  }
  return {
    trafficClass: ((bytes[0] & 15) << 4) | (bytes[1] >>> 4),
    flowLabel: ((bytes[1] & 15) << 16) | u16(bytes, 2),
    hopLimit: bytes[7],
    source: bytes.subarray(8, 24),
    destination: bytes.subarray(24, 40),
    extensions,
    fragment,
    protocol,
    payload: bytes.subarray(at, length),
  };
}

function extensionSize(type: number, units: number): number {
  if (type === EXTENSION.fragment) return 8;
  return type === EXTENSION.authentication ? (units + 2) * 4 : (units + 1) * 8;
}

type Optional = "trafficClass" | "flowLabel" | "hopLimit" | "extensions";

/** Chains the extensions' next-header fields by itself. */
export function serializeIpv6(packet: Omit<Ipv6Packet, Optional | "fragment"> & Partial<Pick<Ipv6Packet, Optional>>): Uint8Array {
  const extensions = packet.extensions ?? [];
  const extensionBytes = extensions.reduce((n, extension) => n + extension.bytes.length, 0);
  const out = new Uint8Array(40 + extensionBytes + packet.payload.length);
  const trafficClass = packet.trafficClass ?? 0;
  const flowLabel = packet.flowLabel ?? 0;
  out[0] = 0x60 | (trafficClass >>> 4);
  out[1] = ((trafficClass & 15) << 4) | (flowLabel >>> 16);
  put16(out, 2, flowLabel & 0xffff);
  put16(out, 4, out.length - 40);
  out[6] = extensions[0]?.type ?? packet.protocol;
  out[7] = packet.hopLimit ?? 64;
  out.set(packet.source, 8);
  out.set(packet.destination, 24);
  let at = 40;
  extensions.forEach((extension, i) => {
    out.set(extension.bytes, at);
    out[at] = extensions[i + 1]?.type ?? packet.protocol;
    at += extension.bytes.length;
  });
  out.set(packet.payload, at);
  return out;
}
