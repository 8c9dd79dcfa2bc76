/**
 * From frame to parsed record: what is it, is it sound, where do its layers start?
 *
 * The common cases (IPv4 without options, IPv6 without extensions, right MAC, no tag) are straight-line code in
 * `classifyRun`; everything else goes through `classifySlow`. Afterwards every packet is on list 4, on list 6 or done.
 * Rules: RFC 1122 §3.2.1 and RFC 1812 §5.2.2, §5.3.7 for IPv4, RFC 8200 and RFC 4291 §2 for IPv6.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_HASH, DESC_INGRESS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_NEXT, DESC_NEXT_HOP, DESC_PACKET_LENGTH,
  DESC_PROTOCOL, DESC_SHIFT, DESC_VLAN, DROP_ETHER_NOT_FOR_US, DROP_ETHER_TOO_SHORT, DROP_ETHER_TYPE_UNKNOWN, DROP_HEADERS_SPLIT,
  DROP_IP4_BAD_CHECKSUM, DROP_IP4_BAD_HEADER_LENGTH, DROP_IP4_BAD_TOTAL_LENGTH, DROP_IP4_BAD_VERSION, DROP_IP4_MARTIAN_DESTINATION,
  DROP_IP4_MARTIAN_SOURCE, DROP_IP4_TOO_SHORT, DROP_IP6_BAD_PAYLOAD_LENGTH, DROP_IP6_BAD_VERSION, DROP_IP6_MARTIAN_DESTINATION,
  DROP_IP6_MARTIAN_SOURCE, DROP_IP6_MULTICAST_SCOPE, DROP_IP6_TOO_SHORT, DROP_L2_BROADCAST_OF_UNICAST, DROP_VLAN_NOT_MEMBER,
  DROP_VLAN_TOO_SHORT, FLAG_ACE,
  FLAG_CSUM_GOOD, FLAG_CSUM_PARTIAL, FLAG_FIRST_FRAGMENT, FLAG_FRAGMENT, FLAG_HOP_BY_HOP, FLAG_IP4, FLAG_IP6, FLAG_L2_GROUP,
  FLAG_OPTIONS, FLAG_QINQ, FLAG_REASSEMBLED, FLAG_SCOPED, FLAG_VLAN, HEADER, HEADER_CLASSES, HEADER_SECRET, HOP_KIND, HOP_LOCAL,
  NEXT_DONE, NONE, ODD, ODD_FOREIGN, PORT_FLAGS, PORT_MAC, PORT_NETNS, PORT_PROMISCUOUS, PORT_PUNT_OPTIONS, PORT_STAT_RX_MULTICAST,
  PORT_TABLE4, PORT_UNTAGGED, PUNT_ARP, PUNT_BEYOND_SCOPE, PUNT_BROADCAST, PUNT_LINK_CONTROL, PUNT_LINK_LOCAL, PUNT_MULTICAST, PUNT_OPTIONS, REGION_DESCRIPTORS, SEGMENT_INGRESS,
  VEC_ADDR4, VEC_ADDR6, VEC_IDS, VEC_LIST4, VEC_LIST6, VEC_NEXT, VEC_SRC4, VEC_SRC6, WORKER_BURST_BYTES, WORKER_IS_ODD,
  WORKER_ON4, WORKER_ON6,
} from "../abi";
import { add64, descriptorAt, hasProgram, hasTable, networkOf, portStats, region, tableAt } from "../core/layout";
import { drop, punt } from "../core/packet";
import { load16, load32, swap16 } from "../wire/bytes";
import { sum } from "../wire/checksum";
import { walkExtensions } from "../wire/ipv6";
import { flowHash4, flowHash6, ICMP6, TCP, UDP } from "../wire/l4";
import { lookup4 } from "../table/fib4";
import { asQuery, toQuery } from "../table/fib6";
import { hopAt } from "../table/hops";

/** Classes of first octets; anything but 0 leaves the fast path. */
export const CLASS_ZERO: u32 = 1;
export const CLASS_LOOPBACK: u32 = 2;
export const CLASS_LINK_LOCAL: u32 = 4;
export const CLASS_MULTICAST: u32 = 8;
export const CLASS_RESERVED: u32 = 16;

const ETHER_IP4: u32 = 0x0800;
const ETHER_ARP: u32 = 0x0806;
const ETHER_VLAN: u32 = 0x8100;
const ETHER_QINQ: u32 = 0x88a8;
const ETHER_IP6: u32 = 0x86dd;

@inline
function classOf(octet: u32): u32 {
  return <u32>load<u8>(<usize>HEADER + HEADER_CLASSES + octet);
}

/**
 * Classifies `n` packets of VEC_IDS that came in on `port`. Returns list sizes: v4 | v6 << 16. Source addresses
 * of list 4 stay in network order; destinations are turned round four at a time at the end.
 */
export function classifyBurst(worker: usize, port: usize, portIndex: u32, n: u32): u32 {
  store<u32>(worker, 0, WORKER_ON4);
  store<u32>(worker, 0, WORKER_ON6);
  store<u64>(worker, 0, WORKER_BURST_BYTES);
  store<u32>(worker, 0, WORKER_IS_ODD);
  for (let i: u32 = 0; ; i++) {
    i = classifyRun(worker, port, portIndex, i, n);
    if (i == n) break;
    const id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
    const on4 = load<u32>(worker, WORKER_ON4), on6 = load<u32>(worker, WORKER_ON6);
    store<u32>(worker, load<u32>(worker, WORKER_IS_ODD) | ODD, WORKER_IS_ODD);
    const family = classifySlow(worker, port, id, descriptorAt(id), on4, on6);
    if (family == 4) {
      store<u16>(worker + (<usize>on4 << 1), <u16>i, VEC_LIST4);
      store<u32>(worker, on4 + 1, WORKER_ON4);
    } else if (family == 6) {
      store<u16>(worker + (<usize>on6 << 1), <u16>i, VEC_LIST6);
      store<u32>(worker, on6 + 1, WORKER_ON6);
    } else store<u16>(worker + (<usize>i << 1), NEXT_DONE, VEC_NEXT);
  }
  const on4 = load<u32>(worker, WORKER_ON4);
  swapAll(worker + VEC_ADDR4, on4);
  return on4 | (load<u32>(worker, WORKER_ON6) << 16);
}

/**
 * The common road, from packet `i` on until one is out of the ordinary; returns its index, or `n`.
 *
 * No call stands in this loop: a call makes the compiler keep every value in memory on the common road too.
 * One condition instead of a chain, table addresses in locals (any store might change the header): measured
 * 17 → 10 ns a packet.
 */
function classifyRun(worker: usize, port: usize, portIndex: u32, i: u32, n: u32): u32 {
  const mac = load<u64>(port, PORT_MAC), descriptors = region(REGION_DESCRIPTORS);
  const secret = load<u64>(<usize>HEADER + HEADER_SECRET);
  let on4 = load<u32>(worker, WORKER_ON4), on6 = load<u32>(worker, WORKER_ON6), bytes = load<u64>(worker, WORKER_BURST_BYTES);
  for (; i < n; i++) {
    const d = descriptors + (<usize>load<u32>(worker + (<usize>i << 2), VEC_IDS) << DESC_SHIFT);
    const data = <usize>load<u32>(d, DESC_DATA), length = load<u32>(d, DESC_LENGTH), whole = load<u32>(d, DESC_PACKET_LENGTH);
    // A whole word: half of one would have to wait until it is read whole (tcp-bulk-gso 32 instead of 35 Gbit/s).
    store<u32>(d, portIndex, DESC_INGRESS);
    bytes += whole;
    if (length < 42) break;
    const kept = load<u32>(d, DESC_FLAGS) & (FLAG_CSUM_PARTIAL | FLAG_CSUM_GOOD | FLAG_ACE | FLAG_REASSEMBLED);
    const link = (load<u64>(data) ^ mac) << 16;
    if ((link | <u64>((load<u32>(data, 12) ^ 0x450008) << 8)) == 0) {
      const header = v128.load(data, 14), source = load<u32>(data, 26), c = load<u32>(data, 30);
      const total = swap16(load<u16>(data, 16)), protocol = <u32>load<u8>(data, 23);
      // The sum of ten words stays below 2^20, so one fold decides: a multiple of 0xffff folds to 0xffff.
      let wide = i32x4.extadd_pairwise_i16x8_u(header);
      wide = i32x4.add(wide, v128.shuffle<u32>(wide, wide, 2, 3, 0, 1));
      const sum = <u32>i32x4.extract_lane(wide, 0) + <u32>i32x4.extract_lane(wide, 1) + (c & 0xffff) + (c >>> 16);
      // Zero when sound, no fragment, and neither address out of the ordinary.
      const odd = (((sum >>> 16) + (sum & 0xffff)) ^ 0xffff) | (<u32>load<u16>(data, 20) & 0xff3f)
        | classOf(source & 0xff) | classOf(c & 0xff) | <u32>(total + 14 > length) | <u32>(total < 28);
      if (odd != 0) break;
      if (length != total + 14) if (load<u32>(d, DESC_NEXT) == NONE) {
        store<u32>(d, total + 14, DESC_LENGTH);
        store<u32>(d, total + 14, DESC_PACKET_LENGTH);
      }
      const ports = load<u32>(data, 34) & hasPorts(protocol);
      const hash = flowHash4((<u64>c << 32) | source, secret, ports, protocol);
      store<u64>(d, <u64>hash | ((<u64>14 | (34 << 16)) << 32), DESC_HASH);
      store<u32>(d, kept | FLAG_IP4, DESC_FLAGS);
      store<u8>(d, <u8>protocol, DESC_PROTOCOL);
      const at = worker + (<usize>on4 << 2);
      store<u32>(at, c, VEC_ADDR4);
      store<u32>(at, source, VEC_SRC4);
      store<u16>(worker + (<usize>on4 << 1), <u16>i, VEC_LIST4);
      on4++;
      continue;
    }
    if ((link | <u64>((load<u32>(data, 12) & 0xf0ffff) ^ 0x60dd86)) != 0) break;
    const total = swap16(load<u16>(data, 18)) + 54, protocol = <u32>load<u8>(data, 20);
    const source = v128.load(data, 22), destination = v128.load(data, 38);
    // Global unicast (2000::/3, fc00::/7 and the like) from and to; no extension headers; whole in one segment.
    const odd = classOf6(load<u16>(data, 22)) | classOf6(load<u16>(data, 38)) | <u32>(total > length) | <u32>(total < 62)
      | ~hasPorts(protocol);
    if (odd != 0) break;
    if (length != total) if (load<u32>(d, DESC_NEXT) == NONE) {
      store<u32>(d, total, DESC_LENGTH);
      store<u32>(d, total, DESC_PACKET_LENGTH);
    }
    const hash = flowHash6(data + 22, load<u32>(data, 54), load<u32>(data, 14) & 0xffff0f00, protocol, secret);
    store<u64>(d, <u64>hash | ((<u64>14 | (54 << 16)) << 32), DESC_HASH);
    store<u32>(d, kept | FLAG_IP6, DESC_FLAGS);
    store<u8>(d, <u8>protocol, DESC_PROTOCOL);
    const at = worker + (<usize>on6 << 4);
    v128.store(at, asQuery(destination), VEC_ADDR6);
    v128.store(at, asQuery(source), VEC_SRC6);
    store<u16>(worker + (<usize>on6 << 1), <u16>i, VEC_LIST6);
    on6++;
  }
  store<u32>(worker, on4, WORKER_ON4);
  store<u32>(worker, on6, WORKER_ON6);
  store<u64>(worker, bytes, WORKER_BURST_BYTES);
  return i;
}

/** All ones for protocols whose header begins with two ports, else 0. */
@inline
function hasPorts(protocol: u32): u32 {
  return 0 - (<u32>(protocol == TCP) | <u32>(protocol == UDP));
}

/** Zero for addresses in 2000::/3 (first two bytes as they lie in memory): everything else is looked at closely. */
@inline
function classOf6(first: u32): u32 {
  return (first & 0xe0) ^ 0x20;
}

/** Host order for `n` words, four at a time; the vector has room to the next multiple of four. */
function swapAll(at: usize, n: u32): void {
  for (const end = at + (<usize>n << 2); at < end; at += 16) {
    const x = v128.load(at);
    v128.store(at, v128.shuffle<u8>(x, x, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
  }
}

/** Whether rules at ingress see a frame of a VLAN that nothing here is in, before it goes (`enter` of road.ts). */
function isSeen(worker: usize, port: usize, type: u32): bool {
  const net = networkOf(port);
  if (net == 0 || !hasProgram(net, SEGMENT_INGRESS) || (type != ETHER_IP4 && type != ETHER_IP6)) return false;
  store<u32>(worker, ODD | ODD_FOREIGN, WORKER_IS_ODD);
  return true;
}

/** 4 or 6 when the packet goes on to a route lookup, 0 when it was dropped or punted. */
function classifySlow(worker: usize, port: usize, id: u32, d: usize, on4: u32, on6: u32): u32 {
  const data = <usize>load<u32>(d, DESC_DATA), length = load<u32>(d, DESC_LENGTH);
  if (length < 14) { drop(worker, id, DROP_ETHER_TOO_SHORT); return 0; }
  const destination = load<u64>(data) & 0xffffffffffff;
  let flags = load<u32>(d, DESC_FLAGS) & (FLAG_CSUM_PARTIAL | FLAG_CSUM_GOOD | FLAG_ACE | FLAG_REASSEMBLED);
  if ((destination & 1) != 0) {
    if (destination != 0xffffffffffff) add64(portStats(worker, load<u16>(d, DESC_INGRESS)) + PORT_STAT_RX_MULTICAST, 1);
    // 01:80:c2:00:00:0x is link control and never forwarded (IEEE 802.1Q §8.6.3).
    if ((destination & 0x00ffffffffff) == 0xc28001 && (destination >> 40) < 16) { punt(worker, id, PUNT_LINK_CONTROL, 0); return 0; }
    flags |= FLAG_L2_GROUP;
  } else if (destination != load<u64>(port, PORT_MAC) && (load<u16>(port, PORT_FLAGS) & PORT_PROMISCUOUS) == 0) {
    drop(worker, id, DROP_ETHER_NOT_FOR_US);
    return 0;
  }
  let type = load16(data + 12), l3: u32 = 14;
  if (type == ETHER_VLAN || type == ETHER_QINQ) {
    if (length < 18) { drop(worker, id, DROP_VLAN_TOO_SHORT); return 0; }
    store<u16>(d, <u16>load16(data + 14), DESC_VLAN);
    flags |= FLAG_VLAN;
    type = load16(data + 16);
    l3 = 18;
    if (type == ETHER_VLAN || type == ETHER_QINQ) {
      if (length < 22) { drop(worker, id, DROP_VLAN_TOO_SHORT); return 0; }
      flags |= FLAG_QINQ;
      type = load16(data + 20);
      l3 = 22;
    }
    if ((<u32>load<u16>(d, DESC_VLAN) & 0xfff) != 0 && (load<u16>(port, PORT_FLAGS) & PORT_UNTAGGED) != 0 && !isSeen(worker, port, type)) {
      drop(worker, id, DROP_VLAN_NOT_MEMBER);
      return 0;
    }
  }
  store<u16>(d, <u16>l3, DESC_L3);
  store<u32>(d, flags, DESC_FLAGS);
  if (type == ETHER_IP4) return classify4(worker, port, id, d, data + l3, length - l3, on4);
  if (type == ETHER_IP6) return classify6(worker, port, id, d, data + l3, length - l3, on6);
  if (type == ETHER_ARP) punt(worker, id, PUNT_ARP, 0);
  else drop(worker, id, DROP_ETHER_TYPE_UNKNOWN);
  return 0;
}

/** Bytes of the whole packet from L3 on, chains included. */
@inline
function l3Length(d: usize): u32 {
  return load<u32>(d, DESC_PACKET_LENGTH) - <u32>load<u16>(d, DESC_L3);
}

/** Cuts link-layer padding off, where it is all in the first segment. */
@inline
function trim(d: usize, l3Bytes: u32): void {
  const whole = l3Bytes + <u32>load<u16>(d, DESC_L3);
  if (load<u32>(d, DESC_NEXT) == NONE && load<u32>(d, DESC_LENGTH) > whole) {
    store<u32>(d, whole, DESC_LENGTH);
    store<u32>(d, whole, DESC_PACKET_LENGTH);
  }
}

function classify4(worker: usize, port: usize, id: u32, d: usize, at: usize, length: u32, on4: u32): u32 {
  if (length < 20) { drop(worker, id, DROP_IP4_TOO_SHORT); return 0; }
  const first = <u32>load<u8>(at);
  if (first >>> 4 != 4) { drop(worker, id, DROP_IP4_BAD_VERSION); return 0; }
  const header = (first & 15) << 2;
  if (header < 20) { drop(worker, id, DROP_IP4_BAD_HEADER_LENGTH); return 0; }
  const total = load16(at + 2);
  if (total < header || total > l3Length(d)) { drop(worker, id, DROP_IP4_BAD_TOTAL_LENGTH); return 0; }
  if (header > length) { drop(worker, id, DROP_HEADERS_SPLIT); return 0; }
  if (sum(at, header) != 0xffff) { drop(worker, id, DROP_IP4_BAD_CHECKSUM); return 0; }
  trim(d, total);
  let flags = load<u32>(d, DESC_FLAGS) | FLAG_IP4;
  if (header > 20) flags |= FLAG_OPTIONS;
  const fragment = load16(at + 6);
  const protocol = <u32>load<u8>(at, 9);
  const behind = min<u32>(length, total) - header;
  if ((fragment & 0x3fff) != 0) {
    flags |= FLAG_FRAGMENT;
    if ((fragment & 0x1fff) == 0) flags |= FLAG_FIRST_FRAGMENT;
  }
  const ports = (flags & FLAG_FRAGMENT) == 0 && behind >= 8 && (protocol == TCP || protocol == UDP) ? load<u32>(at + header) : 0;
  store<u32>(d, flags, DESC_FLAGS);
  store<u16>(d, <u16>(<u32>load<u16>(d, DESC_L3) + header), DESC_L4);
  store<u8>(d, <u8>protocol, DESC_PROTOCOL);
  store<u32>(d, flowHash4(load<u64>(at, 12), load<u64>(<usize>HEADER + HEADER_SECRET), ports, protocol), DESC_HASH);
  const source = load32(at + 12), destination = load32(at + 16);
  if (!accept4(worker, port, id, flags, source, destination)) return 0;
  if ((flags & FLAG_OPTIONS) != 0 && (load<u16>(port, PORT_FLAGS) & PORT_PUNT_OPTIONS) != 0) {
    punt(worker, id, PUNT_OPTIONS, 0);
    return 0;
  }
  store<u32>(worker + (<usize>on4 << 2), load<u32>(at, 16), VEC_ADDR4);
  store<u32>(worker + (<usize>on4 << 2), load<u32>(at, 12), VEC_SRC4);
  return 4;
}

/** Never forwarded: to the host layer at once, or, at a port with rules, when they have seen it. True when it stays on the road. */
function aside(worker: usize, port: usize, id: u32, reason: u32): bool {
  if (load<u16>(port, PORT_NETNS) == 0) { punt(worker, id, reason, 0); return false; }
  const d = descriptorAt(id);
  store<u32>(d, load<u32>(d, DESC_FLAGS) | FLAG_SCOPED, DESC_FLAGS);
  store<u16>(d, <u16>reason, DESC_NEXT_HOP);
  return true;
}

/** RFC 1812 §5.3.7 and §4.2.3.1, RFC 3927 §7: addresses that a router neither takes nor passes on. */
function accept4(worker: usize, port: usize, id: u32, flags: u32, source: u32, destination: u32): bool {
  const from = classOf(source >>> 24), to = classOf(destination >>> 24);
  if ((to & CLASS_MULTICAST) != 0) {
    if (from != 0 && from != CLASS_LINK_LOCAL && source != 0) drop(worker, id, DROP_IP4_MARTIAN_SOURCE);
    else return aside(worker, port, id, PUNT_MULTICAST);
    return false;
  }
  // Limited broadcast, from 0.0.0.0 too: DHCP begins like that.
  if (destination == 0xffffffff) {
    if (source != 0 && (from & ~CLASS_LINK_LOCAL) != 0) drop(worker, id, DROP_IP4_MARTIAN_SOURCE);
    else return aside(worker, port, id, PUNT_BROADCAST);
    return false;
  }
  if ((from & ~CLASS_LINK_LOCAL) != 0) { drop(worker, id, DROP_IP4_MARTIAN_SOURCE); return false; }
  if ((to & ~CLASS_LINK_LOCAL) != 0) { drop(worker, id, DROP_IP4_MARTIAN_DESTINATION); return false; }
  if (source >>> 16 == 0xa9fe || destination >>> 16 == 0xa9fe) return aside(worker, port, id, PUNT_LINK_LOCAL);
  if ((flags & FLAG_L2_GROUP) == 0) return true;
  // A subnet's broadcast address is a local route; any other unicast in a link-layer broadcast is for nobody (RFC 1122 §3.3.6).
  if (isLocal4(load<u16>(port, PORT_TABLE4), destination)) return aside(worker, port, id, PUNT_BROADCAST);
  drop(worker, id, DROP_L2_BROADCAST_OF_UNICAST);
  return false;
}

function isLocal4(index: u32, destination: u32): bool {
  if (!hasTable(index, 4)) return false;
  const table = tableAt(index);
  return <u32>load<u8>(hopAt(table, lookup4(table, destination)), HOP_KIND) == HOP_LOCAL;
}

function classify6(worker: usize, port: usize, id: u32, d: usize, at: usize, length: u32, on6: u32): u32 {
  if (length < 40) { drop(worker, id, DROP_IP6_TOO_SHORT); return 0; }
  if (<u32>load<u8>(at) >>> 4 != 6) { drop(worker, id, DROP_IP6_BAD_VERSION); return 0; }
  const payload = load16(at + 4);
  if (payload + 40 > l3Length(d)) { drop(worker, id, DROP_IP6_BAD_PAYLOAD_LENGTH); return 0; }
  trim(d, payload + 40);
  let flags = load<u32>(d, DESC_FLAGS) | FLAG_IP6;
  let protocol = <u32>load<u8>(at, 6), offset: u32 = 40;
  const have = min<u32>(length, payload + 40);
  if (protocol != TCP && protocol != UDP && protocol != ICMP6) {
    const walk = walkExtensions(at, have);
    const reason = <u32>(walk >> 56);
    if (reason != 0) { drop(worker, id, reason); return 0; }
    offset = <u32>walk & 0xffff;
    protocol = <u32>(walk >> 16) & 0xff;
    flags |= <u32>(walk >> 32) & 0xffffff;
    if (offset != 40) flags |= FLAG_OPTIONS;
  }
  const ports = (flags & FLAG_FRAGMENT) == 0 && have - offset >= 8 && (protocol == TCP || protocol == UDP) ? load<u32>(at + offset) : 0;
  store<u32>(d, flags, DESC_FLAGS);
  store<u16>(d, <u16>(<u32>load<u16>(d, DESC_L3) + offset), DESC_L4);
  store<u8>(d, <u8>protocol, DESC_PROTOCOL);
  store<u32>(d, flowHash6(at + 8, ports, load<u32>(at) & 0xffff0f00, protocol, load<u64>(<usize>HEADER + HEADER_SECRET)), DESC_HASH);
  if (!accept6(worker, port, id, flags, at)) return 0;
  if ((flags & FLAG_HOP_BY_HOP) != 0 && (load<u16>(port, PORT_FLAGS) & PORT_PUNT_OPTIONS) != 0) {
    punt(worker, id, PUNT_OPTIONS, 0);
    return 0;
  }
  v128.store(worker + (<usize>on6 << 4), toQuery(at + 24), VEC_ADDR6);
  v128.store(worker + (<usize>on6 << 4), toQuery(at + 8), VEC_SRC6);
  return 6;
}

@inline
function isSmall(at: usize): bool {
  // :: and ::1
  return load<u64>(at) == 0 && (load<u64>(at, 8) & 0xfeffffffffffffff) == 0;
}

/** ::ffff:0:0/96: IPv4 addresses in a form for programs, which no packet carries; filters would be fooled by them (RFC 4942 §2.2). */
@inline
function isMapped(at: usize): bool {
  return load<u64>(at) == 0 && load<u32>(at, 8) == 0xffff0000;
}

/** RFC 4291 §2.5–2.7 and RFC 4443 §3.1: what a router does not forward. */
function accept6(worker: usize, port: usize, id: u32, flags: u32, at: usize): bool {
  const source = at + 8, destination = at + 24;
  if (<u32>load<u8>(source) == 0xff || (isSmall(source) && load<u8>(source, 15) == 1) || isMapped(source)) {
    drop(worker, id, DROP_IP6_MARTIAN_SOURCE);
    return false;
  }
  if (<u32>load<u8>(destination) == 0xff) {
    // Scope 0 is reserved, scope 1 never leaves a node.
    if ((<u32>load<u8>(destination, 1) & 15) < 2) drop(worker, id, DROP_IP6_MULTICAST_SCOPE);
    else return aside(worker, port, id, PUNT_MULTICAST);
    return false;
  }
  if (isSmall(destination) || isMapped(destination)) { drop(worker, id, DROP_IP6_MARTIAN_DESTINATION); return false; }
  if ((load16(destination) & 0xffc0) == 0xfe80) return aside(worker, port, id, PUNT_LINK_LOCAL);
  if (isSmall(source)) { drop(worker, id, DROP_IP6_MARTIAN_SOURCE); return false; }
  if ((load16(source) & 0xffc0) == 0xfe80) return aside(worker, port, id, PUNT_BEYOND_SCOPE);
  if ((flags & FLAG_L2_GROUP) != 0) { drop(worker, id, DROP_L2_BROADCAST_OF_UNICAST); return false; }
  return true;
}
