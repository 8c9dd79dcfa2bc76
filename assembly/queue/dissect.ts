/**
 * Whose packet is it? Addresses, ports, protocol and traffic class of a frame, read from its bytes, because a frame that was
 * bridged or built by a host has not been classified. Frames that are not IP are told apart by their MAC addresses and type.
 * Nothing is read behind the first segment; a fragment has no ports (RFC 791: only the first has them).
 */
import {
  DESC_DATA, DESC_LENGTH, FLAG_FRAGMENT, HEADER, HEADER_SECRET, QKEY_DESTINATION, QKEY_FAMILY, QKEY_PORTS, QKEY_PROTOCOL, QKEY_SOURCE,
  QKEY_SIZE, QKEY_TOS,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { load16 } from "../wire/bytes";
import { walkExtensions } from "../wire/ipv6";

const TCP: u32 = 6;
const UDP: u32 = 17;
const SCTP: u32 = 132;
const UDP_LITE: u32 = 136;
const MOST_TAGS: u32 = 2;

/** Offset of the network header of an IP frame, with its version in bits 16 and up; 0 for anything else, or one that is cut. */
export function networkOf(data: usize, length: u32): u32 {
  if (length < 14) return 0;
  let at: u32 = 12;
  for (let tags = MOST_TAGS; tags != 0; tags--) {
    const type = load16(data + at);
    if (type != 0x8100 && type != 0x88a8) break;
    if (at + 6 > length) return 0;
    at += 4;
  }
  const type = load16(data + at), l3 = at + 2;
  if (type == 0x0800 && l3 + 20 <= length && load<u8>(data + l3) >>> 4 == 4) return l3 | (4 << 16);
  if (type == 0x86dd && l3 + 40 <= length && load<u8>(data + l3) >>> 4 == 6) return l3 | (6 << 16);
  return 0;
}

/** Fills a key (QKEY_*). */
export function dissect(key: usize, id: u32): void {
  const d = descriptorAt(id), data = <usize>load<u32>(d, DESC_DATA), length = load<u32>(d, DESC_LENGTH);
  memory.fill(key, 0, QKEY_SIZE);
  const network = networkOf(data, length), l3 = network & 0xffff;
  if (network == 0) {
    if (length >= 14) memory.copy(key + QKEY_SOURCE, data, 14);
  } else if (network >>> 16 == 4) dissect4(key, data + l3, length - l3);
  else dissect6(key, data + l3, length - l3);
}

function dissect4(key: usize, at: usize, length: u32): void {
  const bytes = <u32>(load<u8>(at) & 15) << 2, protocol = <u32>load<u8>(at, 9);
  store<u32>(key, load<u32>(at, 12), QKEY_SOURCE);
  store<u32>(key, load<u32>(at, 16), QKEY_DESTINATION);
  const isFragment = (load16(at + 6) & 0x3fff) != 0;
  fill(key, 4, protocol, load<u8>(at, 1), isFragment ? 0 : portsOf(at, bytes, length, protocol));
}

function dissect6(key: usize, at: usize, length: u32): void {
  memory.copy(key + QKEY_SOURCE, at + 8, 32);
  const walked = walkExtensions(at, length), protocol = <u32>(walked >> 16) & 0xff;
  const flags = <u32>(walked >> 32) & 0xffffff, reason = <u32>(walked >> 56);
  const ports = reason != 0 || (flags & FLAG_FRAGMENT) != 0 ? 0 : portsOf(at, <u32>walked & 0xffff, length, protocol);
  fill(key, 6, protocol, load16(at) >>> 4 & 0xff, ports);
}

@inline
function portsOf(at: usize, l4: u32, length: u32, protocol: u32): u32 {
  if (protocol != TCP && protocol != UDP && protocol != SCTP && protocol != UDP_LITE) return 0;
  return l4 + 4 <= length ? load<u32>(at + l4) : 0;
}

@inline
function fill(key: usize, family: u32, protocol: u32, tos: u32, ports: u32): void {
  store<u32>(key, ports, QKEY_PORTS);
  store<u8>(key, <u8>protocol, QKEY_PROTOCOL);
  store<u8>(key, <u8>family, QKEY_FAMILY);
  store<u8>(key, <u8>tos, QKEY_TOS);
}

@inline
function stir(hash: u64, lane: u64): u64 {
  return rotl<u64>((hash ^ lane) * 0x9e3779b185ebca87, 31) * 0xc2b2ae3d27d4eb4f;
}

@inline
function settle(hash: u64): u64 {
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 29)) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 32);
}

@inline
function secret(): u64 {
  return load<u64>(<usize>HEADER + HEADER_SECRET);
}

/** Keyed hash of a flow; the traffic class is not part of it. */
export function flowHash(key: usize): u64 {
  let hash = stir(secret(), load<u64>(key, QKEY_SOURCE));
  hash = stir(hash, load<u64>(key, QKEY_SOURCE + 8));
  hash = stir(hash, load<u64>(key, QKEY_DESTINATION));
  hash = stir(hash, load<u64>(key, QKEY_DESTINATION + 8));
  return settle(stir(hash, <u64>load<u32>(key, QKEY_PORTS) | (<u64>load<u16>(key, QKEY_PROTOCOL) << 32)));
}

/** Keyed hash of one address of the key, QKEY_SOURCE or QKEY_DESTINATION. */
export function hostHash(key: usize, which: usize): u64 {
  const at = key + which;
  return settle(stir(stir(secret() ^ 0xa5a5a5a5a5a5a5a5, load<u64>(at)), load<u64>(at, 8)));
}
