/**
 * Addresses and ports of packets rewritten in place, checksums by RFC 1624 alone: what is not changed is not read. A packet
 * whose bytes others see gets a head of its own first. Rules for what ICMP errors cite: RFC 5508 §4, RFC 3022 §4.3.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_PACKET_LENGTH, DESC_PROTOCOL, FLAG_CSUM_PARTIAL, FLAG_FRAGMENT, FLAG_IP4,
  NAT_SOURCE, TUPLE_PORTS,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { sum, update16, update32 } from "../wire/checksum";
import { crc32c } from "../wire/crc32c";
import { walkExtensions } from "../wire/ipv6";
import { DCCP, hasPorts, ICMP, ICMP6, SCTP, TCP, UDP, UDPLITE } from "../wire/l4";

/** Where a transport keeps its checksum, or 0: it has none that covers addresses and ports. */
function sumOffset(protocol: u32, is4: bool): u32 {
  if (protocol == TCP) return 16;
  if (protocol == UDP || protocol == UDPLITE || protocol == DCCP) return 6;
  return protocol == ICMP6 && !is4 ? 2 : 0;
}

/** Mends a checksum for 16 bytes (IPv6) or 4 that change from `before` to `after`. */
function mendAddress(field: u32, before: usize, after: usize, is4: bool): u32 {
  if (is4) return update32(field, load<u32>(before), load<u32>(after));
  return update16(field, sum(before, 16), sum(after, 16));
}

/** A checksum whose field holds a plain sum (of the pseudo-header) instead of its complement. */
@inline
function mendOpen(field: u32, before: usize, after: usize, is4: bool): u32 {
  return ~mendAddress(~field & 0xffff, before, after, is4) & 0xffff;
}

/**
 * Gives the headers at `l3` and `l4` the source (kind NAT_SOURCE) or destination of a tuple. `have`: bytes of the transport's header
 * that are there (a citation may be short). `open`: the checksum is of the pseudo-header only.
 */
function rewrite(l3: usize, l4: usize, have: u32, is4: bool, protocol: u32, kind: u32, tuple: usize, open: bool): void {
  const which: usize = kind == NAT_SOURCE ? 0 : 1, width: usize = is4 ? 4 : 16;
  const field = l3 + (is4 ? 12 : 8) + which * width, to = tuple + which * width;
  const at = sumOffset(protocol, is4), covered = at != 0 && at + 2 <= have && !(protocol == UDP && load<u16>(l4, 6) == 0);
  let check = covered ? <u32>load<u16>(l4 + at) : 0;
  if (covered) check = open ? mendOpen(check, field, to, is4) : mendAddress(check, field, to, is4);
  if (is4) {
    store<u16>(l3, <u16>update32(<u32>load<u16>(l3, 10), load<u32>(field), load<u32>(to)), 10);
    store<u32>(field, load<u32>(to));
  } else v128.store(field, v128.load(to));
  if (hasPorts(protocol) && have >= 4) {
    const port = l4 + (which << 1), before = <u32>load<u16>(port), after = <u32>load<u16>(tuple + (which << 1), TUPLE_PORTS);
    if (covered && !open) check = update16(check, before, after);
    store<u16>(port, <u16>after);
  } else if (protocol == (is4 ? ICMP : ICMP6) && have >= 8) {
    const before = <u32>load<u16>(l4, 4), after = <u32>load<u16>(tuple, TUPLE_PORTS);
    if (before != after && carriesId(<u32>load<u8>(l4), is4)) {
      if (is4) store<u16>(l4, <u16>update16(<u32>load<u16>(l4, 2), before, after), 2);
      else if (!open) check = update16(check, before, after);
      store<u16>(l4, <u16>after, 4);
    }
  }
  if (!covered) return;
  // RFC 768: a sum of zero is sent as all ones.
  if (protocol == UDP && check == 0) check = 0xffff;
  store<u16>(l4 + at, <u16>check);
}

@inline
function carriesId(type: u32, is4: bool): bool {
  return is4 ? type == 8 || type == 0 || (type >= 13 && type <= 18) : type == 128 || type == 129;
}

/** Translates a packet whose head is its own. */
export function translate(id: u32, kind: u32, tuple: usize): void {
  const d = descriptorAt(id), data = <usize>load<u32>(d, DESC_DATA), flags = load<u32>(d, DESC_FLAGS);
  const l4 = <u32>load<u16>(d, DESC_L4), protocol = <u32>load<u8>(d, DESC_PROTOCOL);
  const have = (flags & FLAG_FRAGMENT) != 0 ? 0 : max<u32>(load<u32>(d, DESC_LENGTH), l4) - l4;
  const l3 = data + <usize>load<u16>(d, DESC_L3), is4 = (flags & FLAG_IP4) != 0;
  rewrite(l3, data + l4, have, is4, protocol, kind, tuple, (flags & FLAG_CSUM_PARTIAL) != 0);
  // SCTP's checksum covers the ports and cannot be mended (RFC 9260 §6.8): it is made anew.
  if (protocol != SCTP || have < 12 || (flags & FLAG_CSUM_PARTIAL) != 0) return;
  store<u32>(data + l4, 0, 8);
  store<u32>(data + l4, crc32c(id, l4, load<u32>(d, DESC_PACKET_LENGTH) - l4), 8);
}

/**
 * What an ICMP error cites, given back the addresses its sender knows: `kind` names the side of the cited packet. The error's
 * own checksum follows by what changed.
 */
export function translateCited(id: u32, kind: u32, tuple: usize): bool {
  const d = descriptorAt(id), data = <usize>load<u32>(d, DESC_DATA), is4 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0;
  const icmp = data + <usize>load<u16>(d, DESC_L4), inner = icmp + 8, end = data + load<u32>(d, DESC_LENGTH);
  if (inner + (is4 ? 20 : 40) > end) return false;
  const have = <u32>(end - inner);
  let header: u32 = 40, protocol: u32 = 0;
  if (is4) {
    header = (<u32>load<u8>(inner) & 15) << 2;
    protocol = <u32>load<u8>(inner, 9);
  } else {
    const walk = walkExtensions(inner, have);
    header = <u32>walk & 0xffff;
    protocol = <u32>(walk >> 16) & 0xff;
  }
  if (header + (hasPorts(protocol) ? 8 : 0) > have) return false;
  // At most 60 + 20 bytes change: their sums before and after are what the checksum has to know.
  const touched = min<u32>(have, header + 20), before = sum(inner, touched);
  rewrite(inner, inner + header, have - header, is4, protocol, kind, tuple, false);
  const after = sum(inner, touched);
  store<u16>(icmp, <u16>update16(<u32>load<u16>(icmp, 2), before, after), 2);
  return true;
}
