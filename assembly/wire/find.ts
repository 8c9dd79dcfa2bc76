/**
 * Where something begins in a packet: bases of loads, options, extension headers. All answers are offsets from the frame's first byte,
 * NONE when it is not there; bytes may lie anywhere in a chain.
 */
import {
  BASE_LINK, BASE_NETWORK, BASE_TRANSPORT, DESC_DATA, DESC_FLAGS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_NEXT, DESC_PACKET_LENGTH,
  DESC_PROTOCOL, FLAG_FIRST_FRAGMENT, FLAG_FRAGMENT, FLAG_IP4, FLAG_IP6, NONE, OPTION_IP4, OPTION_IP6, OPTION_SCTP,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { AUTHENTICATION, FRAGMENT, isExtension } from "./ipv6";
import { load16 } from "./bytes";
import { TCP, UDP } from "./l4";

const GRE: u32 = 47;
const IPIP: u32 = 4;
const IP6_IN_IP: u32 = 41;
/** No extension header at all: a walk ends here (RFC 8200 §4.7). */
const NO_NEXT: u32 = 59;
const SCTP: u32 = 132;
/** Chunks that are looked at, at most: of the smallest more do not fit a packet of 64 KiB. */
const MOST_CHUNKS: u32 = 16_384;
/** Segments of a chain that are looked at, at most. */
const MOST_SEGMENTS: u32 = 1024;

/** Copies `n` bytes from `offset` of a packet's chain to `to`; false when they are not all there. */
export function copyBytes(id: u32, offset: u32, to: usize, n: u32): bool {
  for (let left = MOST_SEGMENTS; left != 0 && id != NONE && n != 0; left--) {
    const d = descriptorAt(id), have = load<u32>(d, DESC_LENGTH);
    id = load<u32>(d, DESC_NEXT);
    if (offset >= have) { offset -= have; continue; }
    const bytes = min<u32>(have - offset, n);
    memory.copy(to, <usize>load<u32>(d, DESC_DATA) + offset, bytes);
    to += bytes;
    n -= bytes;
    offset = 0;
  }
  return n == 0;
}

/** A transport header is there to be read: of a packet that is whole, or of a first fragment. */
@inline
export function hasTransport(d: usize): bool {
  const flags = load<u32>(d, DESC_FLAGS);
  return (flags & (FLAG_IP4 | FLAG_IP6)) != 0 && (flags & (FLAG_FRAGMENT | FLAG_FIRST_FRAGMENT)) != FLAG_FRAGMENT;
}

/** Where a base begins; `work` are 60 bytes to read headers into. */
export function baseOf(id: u32, base: u32, work: usize): u32 {
  const d = descriptorAt(id), l3 = <u32>load<u16>(d, DESC_L3);
  if (base == BASE_LINK) return l3 >= 14 ? 0 : NONE;
  if (base == BASE_NETWORK) return l3;
  if (!hasTransport(d)) return NONE;
  return base == BASE_TRANSPORT ? <u32>load<u16>(d, DESC_L4) : innerOf(id, d, work);
}

/** What a transport or tunnel header carries. */
function innerOf(id: u32, d: usize, work: usize): u32 {
  const l4 = <u32>load<u16>(d, DESC_L4), protocol = <u32>load<u8>(d, DESC_PROTOCOL);
  if (protocol == UDP) return l4 + 8;
  if (protocol == IPIP || protocol == IP6_IN_IP) return l4;
  if (protocol == TCP) return copyBytes(id, l4, work, 20) ? l4 + (<u32>(load<u8>(work, 12) >>> 4) << 2) : NONE;
  if (protocol != GRE || !copyBytes(id, l4, work, 4)) return NONE;
  // Version 0 alone (RFC 2890): checksum, key and sequence number take four bytes each.
  const flags = <u32>load<u8>(work);
  if ((<u32>load<u8>(work, 1) & 7) != 0) return NONE;
  return l4 + 4 + ((flags >>> 7 & 1) << 2) + ((flags >>> 5 & 1) << 2) + ((flags >>> 4 & 1) << 2);
}

/** Bytes of a whole TCP header at `work` (60 bytes of room), or 0 when the packet has none. */
export function readTcp(id: u32, work: usize): u32 {
  const d = descriptorAt(id);
  if (!hasTransport(d) || <u32>load<u8>(d, DESC_PROTOCOL) != TCP) return 0;
  const l4 = <u32>load<u16>(d, DESC_L4);
  if (!copyBytes(id, l4, work, 20)) return 0;
  const header = <u32>(load<u8>(work, 12) >>> 4) << 2;
  return header >= 20 && copyBytes(id, l4, work, header) ? header : 0;
}

/** Offset of an option within `end` bytes at `at`, searched from `from` on, or 0. */
export function optionIn(at: usize, from: u32, end: u32, type: u32): u32 {
  for (let i = from; i + 1 < end; ) {
    const kind = <u32>load<u8>(at + i), length = kind <= 1 ? <u32>1 : max<u32>(<u32>load<u8>(at + i, 1), 1);
    if (kind == type) return i + length <= end ? i : 0;
    i += length;
  }
  return 0;
}

/** Where a header or option begins in the frame: NONE when it is absent; `NONE - 1` when the packet is of another family. */
export function findOption(id: u32, kind: u32, type: u32, work: usize): u32 {
  const d = descriptorAt(id), flags = load<u32>(d, DESC_FLAGS), l3 = <u32>load<u16>(d, DESC_L3);
  if (kind == OPTION_IP6) return (flags & FLAG_IP6) == 0 ? NONE - 1 : findExtension(id, l3, type, work);
  if (kind == OPTION_IP4) {
    if ((flags & FLAG_IP4) == 0) return NONE - 1;
    if (!copyBytes(id, l3, work, 20)) return NONE;
    const header = (<u32>load<u8>(work) & 15) << 2;
    if (header <= 20 || !copyBytes(id, l3, work, header)) return NONE;
    const at = optionIn(work, 20, header, type);
    return at == 0 ? NONE : l3 + at;
  }
  if (kind == OPTION_SCTP) return findChunk(id, type, work);
  const header = readTcp(id, work);
  const at = header == 0 ? 0 : optionIn(work, 20, header, type);
  return at == 0 ? NONE : <u32>load<u16>(d, DESC_L4) + at;
}

/** The first chunk of a type in an SCTP packet (RFC 9260 §3.2); as in the kernel, of IPv4 in any fragment. */
function findChunk(id: u32, type: u32, work: usize): u32 {
  const d = descriptorAt(id);
  if (((load<u32>(d, DESC_FLAGS) & FLAG_IP4) == 0 && !hasTransport(d)) || <u32>load<u8>(d, DESC_PROTOCOL) != SCTP) return NONE;
  for (let at = <u32>load<u16>(d, DESC_L4) + 12, left = MOST_CHUNKS; left != 0 && copyBytes(id, at, work, 4); left--) {
    if (<u32>load<u8>(work) == type) return at;
    const length = <u32>load16(work + 2);
    if (length == 0) return NONE;
    at += (length + 3) & ~3;
  }
  return NONE;
}

/** The first header of a type in an IPv6 chain, the upper layer's included. */
function findExtension(id: u32, l3: u32, type: u32, work: usize): u32 {
  if (!copyBytes(id, l3, work, 40)) return NONE;
  let next = <u32>load<u8>(work, 6), at = l3 + 40;
  const end = load<u32>(descriptorAt(id), DESC_PACKET_LENGTH);
  while (next != type) {
    if (!isExtension(next) || next == NO_NEXT || at >= end || !copyBytes(id, at, work, 8)) return NONE;
    if (next == FRAGMENT) {
      if ((load16(work + 2) & 0xfff8) != 0) return NONE;
      at += 8;
    } else at += next == AUTHENTICATION ? (<u32>load<u8>(work, 1) + 2) << 2 : (<u32>load<u8>(work, 1) + 1) << 3;
    next = <u32>load<u8>(work);
  }
  return at;
}
