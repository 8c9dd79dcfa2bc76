/** ICMP and ICMPv6 of a host: echo, and errors both ways (RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3, RFC 4443). */
import { IpAddress } from "../base/ip-address.ts";
import { checksum, l4Checksum } from "../wire/checksum.ts";
import { upperLayer } from "./extensions.ts";
import type { NetInterface } from "./interface.ts";

/** What went wrong with a packet, for both families: type and code of ICMP and of ICMPv6. */
export const ICMP_ERROR = {
  timeExceeded: { 4: [11, 0], 6: [3, 0] },
  reassemblyTime: { 4: [11, 1], 6: [3, 1] },
  noRoute: { 4: [3, 0], 6: [1, 0] },
  hostUnreachable: { 4: [3, 1], 6: [1, 3] },
  protocolUnreachable: { 4: [3, 2], 6: [4, 1] },
  portUnreachable: { 4: [3, 3], 6: [1, 4] },
  tooBig: { 4: [3, 4], 6: [2, 0] },
  prohibited: { 4: [3, 13], 6: [1, 1] },
  /** A field of the header is wrong: the pointer says which (RFC 792, RFC 4443 §3.4). */
  parameterProblem: { 4: [12, 0], 6: [4, 0] },
  /** An option that is not known and must be. */
  unknownOption: { 4: [12, 1], 6: [4, 2] },
} as const;

export type IcmpErrorKind = keyof typeof ICMP_ERROR;

/** An error that came back for something this host sent. */
export interface IcmpErrorReport {
  readonly kind: IcmpErrorKind | "other";
  readonly type: number;
  readonly code: number;
  /** MTU that a too-big message names; 0 when it names none. */
  readonly mtu: number;
  /** Offset that a parameter problem names; 0 otherwise. */
  readonly pointer: number;
  /** Hops that the quoted packet had left; of what this host found out itself 255. */
  readonly hopsLeft?: number;
  /** Bytes that the quoted packet had. */
  readonly length?: number;
  /** This host itself found it out. */
  readonly isLocal?: boolean;
  /** By which interface the report came, or the packet should have left. */
  readonly iface?: NetInterface;
  /** Who says so. */
  readonly from: IpAddress;
  readonly protocol: number;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** The first bytes of the packet's transport header, eight at least. */
  readonly transport: Uint8Array;
}

/** Type, code, rest of header, data; the checksum is written. */
export function icmpMessage(type: number, code: number, rest: number, data: Uint8Array, from: IpAddress, to: IpAddress): Uint8Array {
  const out = new Uint8Array(8 + data.length);
  out[0] = type;
  out[1] = code;
  new DataView(out.buffer).setUint32(4, rest);
  out.set(data, 8);
  const sum = from.family === 4 ? checksum(out) : l4Checksum(from.bytes(), to.bytes(), 58, out);
  out[2] = sum >>> 8;
  out[3] = sum;
  return out;
}

/** Only first messages are answered: not errors, not what went to many, not later fragments (RFC 1122 §3.2.2, RFC 4443 §2.4e). */
export function deservesError(packet: Uint8Array, isGroup: boolean, toGroups = false): boolean {
  const is4 = packet[0] >>> 4 === 4;
  if (packet.length < (is4 ? 20 : 40)) return false;
  const source = IpAddress.fromBytes(is4 ? packet.subarray(12, 16) : packet.subarray(8, 24));
  const destination = IpAddress.fromBytes(is4 ? packet.subarray(16, 20) : packet.subarray(24, 40));
  if (source.isUnspecified || source.isMulticast || (source.isLoopback && !destination.isLoopback) || isGroup) return false;
  if (destination.isMulticast && !toGroups) return false;
  if (is4) {
    if ((((packet[6] & 0x1f) << 8) | packet[7]) !== 0) return false;
    const header = (packet[0] & 15) * 4;
    return packet[9] !== 1 || packet[header] === 8 || packet[header] === 0 || packet[header] === 13;
  }
  const { protocol, offset, fragmentAt } = upperLayer(packet);
  const isLater = fragmentAt >= 0 && (((packet[fragmentAt + 2] << 8) | packet[fragmentAt + 3]) & 0xfff8) !== 0;
  return protocol !== 58 || (!isLater && packet[offset] >= 128);
}

/** Bytes of the offending packet that an error carries: 576 in all for IPv4 (RFC 1812 §4.3.2.3), 1280 for IPv6. */
export function quoted(packet: Uint8Array): Uint8Array {
  return packet[0] >>> 4 === 4 ? packet.subarray(0, 576 - 28) : packet.subarray(0, 1280 - 48);
}

/** The error in an ICMP message's bytes, or undefined when it quotes nothing usable. */
export function parseError(message: Uint8Array, from: IpAddress): IcmpErrorReport | undefined {
  const { family } = from;
  const type = message[0];
  const code = message[1];
  if (family === 4 ? type !== 3 && type !== 11 && type !== 12 : type > 4 || type === 0) return undefined;
  const inner = message.subarray(8);
  const is4 = family === 4;
  if (inner.length < (is4 ? 28 : 48) || inner[0] >>> 4 !== family) return undefined;
  const upper = is4 ? { protocol: inner[9], offset: (inner[0] & 15) * 4 } : upperLayer(inner);
  const header = upper.offset;
  if (header < 20 || inner.length < header + 8) return undefined;
  // What is not the first fragment tells nothing about its transport.
  if (is4 && ((inner[6] & 0x1f) | inner[7]) !== 0) return undefined;
  const source = IpAddress.fromBytes(is4 ? inner.subarray(12, 16) : inner.subarray(8, 24));
  const destination = IpAddress.fromBytes(is4 ? inner.subarray(16, 20) : inner.subarray(24, 40));
  if (source.family !== family || destination.family !== family) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const entry = Object.entries(ICMP_ERROR).find(
    ([, codes]) => codes[family][0] === type && (codes[family][1] === code || type === (is4 ? 0 : 2)),
  );
  const kind = (entry?.[0] as IcmpErrorKind | undefined) ?? "other";
  return {
    kind,
    type,
    code,
    mtu: kind !== "tooBig" ? 0 : is4 ? view.getUint16(6) : view.getUint32(4),
    pointer: type !== (is4 ? 12 : 4) ? 0 : is4 ? message[4] : view.getUint32(4),
    from,
    protocol: upper.protocol,
    source,
    destination,
    transport: inner.subarray(header),
    hopsLeft: inner[is4 ? 8 : 7],
    length: is4 ? (inner[2] << 8) | inner[3] : 40 + ((inner[4] << 8) | inner[5]),
  };
}

const MOST_BUCKETS = 1024;

/** A token bucket: `rate` a second, `burst` at once. Global, so that this host cannot be used as an amplifier. */
export class RateLimit {
  private tokens: number;
  private last = 0;
  private readonly rate: number;
  private readonly burst: number;

  constructor(rate: number, burst: number, now = 0) {
    this.rate = rate;
    this.burst = burst;
    this.tokens = burst;
    this.last = now;
  }

  take(now: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.last) * this.rate) / 1000);
    this.last = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}

/** Buckets for single destinations, the oldest forgotten when there are too many (RFC 4443 §2.4f, Linux's icmp_ratelimit). */
export class RateLimits {
  private readonly buckets = new Map<string, RateLimit>();
  private readonly rate: number;
  private readonly burst: number;

  constructor(rate: number, burst: number) {
    this.rate = rate;
    this.burst = burst;
  }

  take(key: string, now: number): boolean {
    let bucket = this.buckets.get(key);
    if (!bucket) {
      if (this.buckets.size >= MOST_BUCKETS) this.buckets.delete(this.buckets.keys().next().value as string);
      bucket = new RateLimit(this.rate, this.burst, now);
      this.buckets.set(key, bucket);
    }
    return bucket.take(now);
  }
}
