/** A packet and what is known of it, as plain values: what the interpreter works on. */
import type { Direction } from "../../expressions.ts";

export interface Interface {
  readonly name: string;
  readonly index: number;
  /** ARPHRD_* of linux/if_arp.h. */
  readonly type: number;
  readonly group: number;
  readonly kind: string;
}

export interface Flow {
  readonly id: number;
  readonly direction: Direction;
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly status: number;
  readonly zone: number;
  mark: number;
}

export interface Packet {
  /** The frame, from its link-layer header on if it has one. */
  bytes: Uint8Array;
  /** Offset of the network header. */
  readonly l3: number;
  /** Offset of the transport header. */
  readonly l4: number;
  /** 0: neither. */
  readonly family: 0 | 4 | 6;
  readonly protocol: number;
  /** A fragment that is not the first. */
  readonly laterFragment: boolean;
  /** The transport checksum is still to be completed. */
  readonly openChecksum: boolean;
  /** Link-layer multicast or broadcast. */
  readonly group: boolean;
  readonly input?: Interface;
  readonly output?: Interface;
  mark: number;
  priority: number;
  /** One of CT_*. */
  ctinfo: number;
  readonly flow?: Flow;
}

export const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];
/** As little-endian memory has it. */
export const word = (bytes: Uint8Array, at: number): number =>
  (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;

export function setWord(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = value >>> (8 * i);
}

/** Orders bytes as memcmp does. */
export function order(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

const hasTransport = ({ family, laterFragment }: Packet): boolean => family !== 0 && !laterFragment;
export const has = (packet: Packet, at: number, length: number): boolean => at >= 0 && at + length <= packet.bytes.length;

/** Where a base begins, or -1. */
export function baseOf(packet: Packet, base: "link" | "network" | "transport" | "inner"): number {
  if (base === "link") return packet.l3 >= 14 ? 0 : -1;
  if (base === "network") return packet.l3;
  if (!hasTransport(packet)) return -1;
  return base === "transport" ? packet.l4 : innerOf(packet);
}

function innerOf(packet: Packet): number {
  const { bytes, l4, protocol } = packet;
  if (protocol === 17) return l4 + 8;
  if (protocol === 4 || protocol === 41) return l4;
  if (protocol === 6) return has(packet, l4, 20) ? l4 + (bytes[l4 + 12] >>> 4) * 4 : -1;
  if (protocol !== 47 || !has(packet, l4, 4) || (bytes[l4 + 1] & 7) !== 0) return -1;
  const flags = bytes[l4];
  return l4 + 4 + (flags & 0x80 ? 4 : 0) + (flags & 0x20 ? 4 : 0) + (flags & 0x10 ? 4 : 0);
}

/** Length of the TCP header, or 0. */
export function tcpLength(packet: Packet): number {
  const { bytes, l4 } = packet;
  if (!hasTransport(packet) || packet.protocol !== 6 || !has(packet, l4, 20)) return 0;
  const length = (bytes[l4 + 12] >>> 4) * 4;
  return length >= 20 && has(packet, l4, length) ? length : 0;
}

/** Offset of an option in `from`..`end` of the frame, or -1. */
export function optionAt(bytes: Uint8Array, from: number, end: number, type: number): number {
  for (let at = from; at + 1 < end; ) {
    const length = bytes[at] <= 1 ? 1 : Math.max(bytes[at + 1], 1);
    if (bytes[at] === type) return at + length <= end ? at : -1;
    at += length;
  }
  return -1;
}

export const tcpOption = (packet: Packet, type: number): number => {
  const length = tcpLength(packet);
  return length === 0 ? -1 : optionAt(packet.bytes, packet.l4 + 20, packet.l4 + length, type);
};

export const optionLength = (bytes: Uint8Array, at: number): number => (bytes[at] <= 1 ? 1 : bytes[at + 1]);

const EXTENSIONS = new Set([0, 43, 44, 51, 60]);

/** Offset of the first header of a type in an IPv6 chain, or -1. */
export function extensionAt(packet: Packet, type: number): number {
  const { bytes, l3 } = packet;
  if (!has(packet, l3, 40)) return -1;
  let next = bytes[l3 + 6];
  let at = l3 + 40;
  while (next !== type) {
    if (!EXTENSIONS.has(next) || !has(packet, at, 8)) return -1;
    if (next === 44 && (u16(bytes, at + 2) & 0xfff8) !== 0) return -1;
    const length = next === 44 ? 8 : next === 51 ? (bytes[at + 1] + 2) * 4 : (bytes[at + 1] + 1) * 8;
    next = bytes[at];
    at += length;
  }
  return at;
}

// ── Checksums ───────────────────────────────────────────────────────────────────────────────────
const fold = (sum: number): number => {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
};

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  return fold(total);
}

/** RFC 1624, equation 3; what comes out as 0 is written as 0xffff unless `zero`. */
export function mend(bytes: Uint8Array, at: number, before: Uint8Array, after: Uint8Array, zero = false): void {
  const value = ~fold((~u16(bytes, at) & 0xffff) + (~sum(before) & 0xffff) + sum(after)) & 0xffff;
  const field = value === 0 && !zero ? 0xffff : value;
  bytes[at] = field >>> 8;
  bytes[at + 1] = field;
}

/** The checksum of a transport whose pseudo-header changed; false when the field should be there and is not. */
export function mendTransport(packet: Packet, before: Uint8Array, after: Uint8Array): boolean {
  if (!hasTransport(packet)) return true;
  const { bytes, l4, protocol } = packet;
  const offset = protocol === 6 ? 16 : protocol === 17 || protocol === 136 ? 6 : protocol === 58 ? 2 : 0;
  if (offset === 0) return true;
  if (!has(packet, l4 + offset, 2)) return false;
  if (packet.openChecksum) {
    const value = fold(u16(bytes, l4 + offset) + (~sum(before) & 0xffff) + sum(after));
    bytes[l4 + offset] = value >>> 8;
    bytes[l4 + offset + 1] = value;
  } else if (protocol !== 17 || u16(bytes, l4 + offset) !== 0) mend(bytes, l4 + offset, before, after);
  return true;
}
