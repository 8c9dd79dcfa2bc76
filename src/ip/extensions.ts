/**
 * IPv6 extension headers as a host must treat them: options by the high bits of their type, routing headers that lead on
 * refused (RFC 8200 §4.2 and §4.4, RFC 5095, limits by RFC 8504 §5.3).
 */

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION = 60;
const PAD1 = 0;
const PADN = 1;
const ROUTER_ALERT = 5;
/** As the data plane and Linux (max_dst_opts_number, max_hbh_opts_number) have it. */
const MOST_HEADERS = 8;
const MOST_OPTIONS = 8;
const MOST_PADDING = 7;

/** Where a packet's upper layer begins. */
export interface UpperLayer {
  readonly protocol: number;
  readonly offset: number;
  /** Offset of the field that names the protocol. */
  readonly pointer: number;
  /** Offset of the fragment header, -1 without. */
  readonly fragmentAt: number;
  /** Offset of the field that names it, or -1. */
  readonly fragmentNamed: number;
}

/** What is wrong with a packet: dropped without a word, or with an ICMP parameter problem. */
export interface HeaderProblem {
  readonly error?: { readonly code: number; readonly pointer: number };
  /** Told though the packet went to a group. */
  readonly toGroups?: boolean;
}

function sizeOf(type: number, units: number): number {
  if (type === FRAGMENT) return 8;
  return type === AUTHENTICATION ? (units + 2) * 4 : (units + 1) * 8;
}

function isExtension(type: number): boolean {
  return type === HOP_BY_HOP || type === ROUTING || type === FRAGMENT || type === AUTHENTICATION || type === DESTINATION;
}

/** Follows the chain, as far as the bytes go; `toFragment` stops behind a fragment header. */
export function upperLayer(packet: Uint8Array, toFragment = false): UpperLayer {
  let protocol = packet[6];
  let offset = 40;
  let pointer = 6;
  let fragmentAt = -1;
  let fragmentNamed = -1;
  for (let i = 0; i < MOST_HEADERS && isExtension(protocol) && offset + 8 <= packet.length; i++) {
    // Elsewhere than in front it is a protocol that nobody speaks (RFC 8200 §4).
    if (i > 0 && protocol === HOP_BY_HOP) break;
    const size = sizeOf(protocol, packet[offset + 1]);
    const isFragment = protocol === FRAGMENT;
    if (isFragment) {
      fragmentAt = offset;
      fragmentNamed = pointer;
    }
    pointer = offset;
    protocol = packet[offset];
    offset += size;
    const isLater = isFragment && (((packet[pointer + 2] << 8) | packet[pointer + 3]) & 0xfff8) !== 0;
    if (isFragment && (toFragment || isLater)) break;
  }
  return { protocol, offset, pointer, fragmentAt, fragmentNamed };
}

/** Bytes of an upper layer that a first fragment must have, as Linux asks for them. */
const LEAST: Readonly<Record<number, number>> = { 6: 20, 17: 8, 58: 8, 59: 0 };

/** Does a first fragment lack a part of its headers (RFC 7112, RFC 8200 §4.5)? */
export function isIncomplete(packet: Uint8Array): boolean {
  const { protocol, offset } = upperLayer(packet);
  if (isExtension(protocol) && protocol !== HOP_BY_HOP) return true;
  return offset + (LEAST[protocol] ?? 1) > Math.min(packet.length, 40 + ((packet[4] << 8) | packet[5]));
}

/** The first thing that stops a packet for us on its way to the upper layer. */
export function checkExtensions(packet: Uint8Array): HeaderProblem | undefined {
  const { offset: end } = upperLayer(packet);
  for (let at = 40, type = packet[6]; at < end && isExtension(type); ) {
    const size = sizeOf(type, packet[at + 1]);
    if (at + size > packet.length) return {};
    if (type === HOP_BY_HOP || type === DESTINATION) {
      const problem = checkOptions(packet, at + 2, at + size, type === HOP_BY_HOP);
      if (problem) return problem;
    } else if (type === ROUTING && packet[at + 3] !== 0) {
      // No type is served, type 0 least of all: what leads on is refused (RFC 5095 §3).
      return { error: { code: 0, pointer: at + 2 } };
    } else if (type === FRAGMENT && (((packet[at + 2] << 8) | packet[at + 3]) & 0xfff8) !== 0) return undefined;
    type = packet[at];
    at += size;
  }
  return undefined;
}

function checkOptions(packet: Uint8Array, from: number, end: number, isHopByHop: boolean): HeaderProblem | undefined {
  let options = 0;
  let padding = 0;
  for (let at = from; at < end; ) {
    const type = packet[at];
    const size = type === PAD1 ? 1 : 2 + packet[at + 1];
    if (at + size > end || (type !== PAD1 && at + 2 > end)) return {};
    if (type === PAD1 || type === PADN) {
      padding += size;
      if (padding > MOST_PADDING) return {};
    } else {
      padding = 0;
      if (++options > MOST_OPTIONS) return {};
      const isKnown = isHopByHop && type === ROUTER_ALERT && size === 4;
      const problem = isKnown ? undefined : unknown(type, at);
      if (problem) return problem;
    }
    at += size;
  }
  return undefined;
}

/** RFC 8200 §4.2: skip, drop, drop and say so, drop and say so unless it went to a group. */
function unknown(type: number, pointer: number): HeaderProblem | undefined {
  const action = type >>> 6;
  if (action === 0) return undefined;
  return action === 1 ? {} : { error: { code: 2, pointer }, toGroups: action === 2 };
}
