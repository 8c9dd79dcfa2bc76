/** Upper-layer lengths, and the flow hash that spreads over next-hop groups. */
import {
  DESC_DATA, DESC_FLAGS, DESC_L4, DESC_LENGTH, DESC_PACKET_LENGTH, DESC_PROTOCOL, FLAG_FRAGMENT, FLAG_L4,
} from "../abi";
import { load16 } from "./bytes";

export const ICMP: u32 = 1;
export const TCP: u32 = 6;
export const UDP: u32 = 17;
export const DCCP: u32 = 33;
export const ICMP6: u32 = 58;
export const SCTP: u32 = 132;
export const UDPLITE: u32 = 136;

/** Does the header of this protocol begin with two ports? */
@inline
export function hasPorts(protocol: u32): bool {
  return protocol == TCP || protocol == UDP || protocol == SCTP || protocol == UDPLITE || protocol == DCCP;
}

/** True when the upper-layer header is whole and its own lengths fit into `length` bytes. */
export function l4Valid(at: usize, protocol: u32, length: u32): bool {
  if (protocol == TCP) {
    if (length < 20) return false;
    const header = <u32>(load<u8>(at, 12) >>> 4) << 2;
    return header >= 20 && header <= length;
  }
  if (protocol == UDP) {
    if (length < 8) return false;
    const claimed = load16(at + 4);
    return claimed >= 8 && claimed <= length;
  }
  if (protocol == ICMP) return length >= 8;
  if (protocol == ICMP6) return length >= 4;
  return true;
}

/** Examines the L4 header of a classified packet and marks it FLAG_L4 when it is sound; routers do not look (RFC 1812 §4.3). */
export function examineL4(d: usize): void {
  const flags = load<u32>(d, DESC_FLAGS);
  if ((flags & FLAG_FRAGMENT) != 0) return;
  const l4 = <u32>load<u16>(d, DESC_L4), whole = load<u32>(d, DESC_PACKET_LENGTH), protocol = <u32>load<u8>(d, DESC_PROTOCOL);
  const at = <usize>load<u32>(d, DESC_DATA) + l4, have = load<u32>(d, DESC_LENGTH);
  // The header must lie in the first segment; what follows it may be a chain.
  if (l4 > whole || have < l4 + min<u32>(protocol == TCP ? 20 : 8, whole - l4)) return;
  if (!l4Valid(at, protocol, whole - l4)) return;
  if (protocol == TCP && have < l4 + (<u32>(load<u8>(at, 12) >>> 4) << 2)) return;
  store<u32>(d, flags | FLAG_L4, DESC_FLAGS);
}

/** One multiplication: the high half of the product depends on every bit below it. */
@inline
function quick(x: u64): u32 {
  return <u32>(((x ^ (x >> 32)) * 0x9e3779b97f4a7c15) >> 32);
}

/** Keyed hash of an IPv4 flow: both addresses and ports as they lie in the packet (ports 0 without). */
@inline
export function flowHash4(addresses: u64, secret: u64, ports: u32, protocol: u32): u32 {
  return quick(addresses ^ secret ^ (<u64>ports << 13) ^ (<u64>protocol << 56));
}

/** Keyed hash of an IPv6 flow: 32 bytes of addresses; the flow label keeps fragments of a flow together. */
@inline
export function flowHash6(addresses: usize, ports: u32, label: u32, protocol: u32, secret: u64): u32 {
  const a = load<u64>(addresses) * 0x9e3779b97f4a7c15 ^ load<u64>(addresses, 8);
  const b = load<u64>(addresses, 16) * 0xc2b2ae3d27d4eb4f ^ load<u64>(addresses, 24);
  return quick((a ^ rotl<u64>(b, 31)) ^ secret ^ (<u64>ports << 13) ^ <u64>label ^ (<u64>protocol << 56));
}
