/**
 * From packet to tuple: addresses, protocol and what tells flows apart (ports; identifier, type and code of ICMP), as
 * Linux's conntrack takes them; and what is not sound enough to be tracked.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_GSO_KIND, DESC_L3, DESC_L4, DESC_LENGTH, DESC_PACKET_LENGTH, DESC_PROTOCOL, FLAG_CSUM_GOOD, FLAG_CSUM_PARTIAL,
  FLAG_FRAGMENT, FLAG_IP4, FLAG_L4, TUPLE_KIND, TUPLE_PORTS, KIND_IP6,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { load16 } from "../wire/bytes";
import { transportSumRight } from "../wire/checksum";
import { crc32c } from "../wire/crc32c";
import { walkExtensions } from "../wire/ipv6";
import { examineL4, hasPorts, ICMP, ICMP6, SCTP, TCP, UDP, UDPLITE } from "../wire/l4";
import { flagsValid } from "./tcp";

/** RFC 8200 §4.7: nothing follows. */
const NO_NEXT_HEADER: u32 = 59;

/** Results of `readTuple`. */
export const TUPLE_FLOW: u32 = 0;
export const TUPLE_INVALID: u32 = 1;
/** Of a kind that is never tracked: neighbour discovery, MLD. */
export const TUPLE_NONE: u32 = 2;
/** An ICMP error: the tuple is that of the packet it cites, turned round. */
export const TUPLE_ERROR: u32 = 3;

/** The tuple of a classified packet. `checked`: the transport's checksum has to be right. */
export function readTuple(id: u32, kind: u32, checked: bool, tuple: usize): u32 {
  const d = descriptorAt(id), protocol = <u32>load<u8>(d, DESC_PROTOCOL);
  if ((load<u32>(d, DESC_FLAGS) & FLAG_FRAGMENT) != 0) return TUPLE_INVALID;
  const data = <usize>load<u32>(d, DESC_DATA), is4 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0;
  const at = data + <usize>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4);
  addresses(at, is4, tuple);
  store<u32>(tuple, kind | (protocol << 16) | (is4 ? 0 : KIND_IP6), TUPLE_KIND);
  store<u32>(tuple, 0, TUPLE_PORTS);
  const icmp = protocol == (is4 ? ICMP : ICMP6);
  if (!is4 && protocol == NO_NEXT_HEADER) return TUPLE_INVALID;
  if (!icmp && !hasPorts(protocol)) return TUPLE_FLOW;
  if (!isSound(id, d, at, is4, protocol, checked)) return TUPLE_INVALID;
  if (icmp) return is4 ? icmpTuple(d, at, data + l4, tuple) : icmp6Tuple(d, at, data + l4, tuple);
  store<u32>(tuple, load<u32>(data + l4), TUPLE_PORTS);
  return TUPLE_FLOW;
}

@inline
function addresses(at: usize, is4: bool, tuple: usize): void {
  if (is4) { store<u64>(tuple, load<u64>(at, 12)); return; }
  v128.store(tuple, v128.load(at, 8));
  v128.store(tuple, v128.load(at, 24), 16);
}

/** Header whole, lengths that agree, flags that mean something, a checksum that is right. */
export function isSound(id: u32, d: usize, at: usize, is4: bool, protocol: u32, checked: bool): bool {
  examineL4(d);
  const flags = load<u32>(d, DESC_FLAGS), l4 = <u32>load<u16>(d, DESC_L4), l3 = <u32>load<u16>(d, DESC_L3);
  // Less would make what lies behind the packet part of its tuple (nf_conntrack asks for eight bytes of every header too).
  if ((flags & FLAG_L4) == 0 || load<u32>(d, DESC_PACKET_LENGTH) < l4 + 8 || load<u32>(d, DESC_LENGTH) < l4 + 8) return false;
  const transport = <usize>load<u32>(d, DESC_DATA) + l4;
  if (protocol == TCP && !flagsValid(<u32>load<u8>(transport, 13))) return false;
  const end = is4 ? l3 + load16(at + 2) : l3 + 40 + load16(at + 4);
  // A large segment says 0 or less than it is; its lengths were checked by whoever put it together.
  const length = (load<u16>(d, DESC_GSO_KIND) != 0 ? load<u32>(d, DESC_PACKET_LENGTH) : end) - l4;
  // RFC 3828 §3.1: the whole, or from the header on as far as it says.
  const coverage = protocol == UDPLITE ? load16(transport + 4) : 0;
  if (coverage != 0 && (coverage < 8 || coverage > length)) return false;
  if (!checked || (flags & (FLAG_CSUM_GOOD | FLAG_CSUM_PARTIAL)) != 0) return true;
  if (!isSumRight(id, at, transport, is4, protocol, l4, length)) return false;
  // A UDP datagram that ends before its packet has another sum for who receives it; one without any is theirs to judge.
  if (protocol != UDP || (load16(transport + 4) == length && load<u16>(transport, 6) != 0)) store<u32>(d, flags | FLAG_CSUM_GOOD, DESC_FLAGS);
  return true;
}

function isSumRight(id: u32, at: usize, transport: usize, is4: bool, protocol: u32, l4: u32, length: u32): bool {
  // None at all is for the ends to judge (RFC 8200 §8.1 forbids it, RFC 6935 allows it to tunnels).
  if (protocol == UDP && load<u16>(transport, 6) == 0) return true;
  if (protocol == SCTP) return length >= 16 && crc32c(id, l4, length) == load<u32>(transport, 8);
  // The others' coverage may be partial: their ends look.
  if (protocol != TCP && protocol != UDP && protocol != ICMP && protocol != ICMP6) return true;
  return transportSumRight(id, at, is4, protocol, l4, length);
}

@inline
function isError4(type: u32): bool {
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

function icmpTuple(d: usize, at: usize, icmp: usize, tuple: usize): u32 {
  const type = <u32>load<u8>(icmp);
  if (type > 18) return TUPLE_INVALID;
  if (isError4(type)) return citedTuple(d, icmp + 8, true, tuple);
  store<u32>(tuple, <u32>load<u16>(icmp, 4) | (type << 16) | (<u32>load<u8>(icmp, 1) << 24), TUPLE_PORTS);
  return TUPLE_FLOW;
}

function icmp6Tuple(d: usize, at: usize, icmp: usize, tuple: usize): u32 {
  const type = <u32>load<u8>(icmp);
  if (type < 128) return citedTuple(d, icmp + 8, false, tuple);
  if ((type >= 130 && type <= 137) || type == 143) return TUPLE_NONE;
  store<u32>(tuple, <u32>load<u16>(icmp, 4) | (type << 16) | (<u32>load<u8>(icmp, 1) << 24), TUPLE_PORTS);
  return TUPLE_FLOW;
}

/** Type of the answer to a type, or 0xff when there is none. */
export function answerOf(type: u32, is4: bool): u32 {
  if (!is4) return type == 128 || type == 129 ? type ^ 1 : type == 139 ? 140 : type == 140 ? 139 : 0xff;
  if (type == 8) return 0;
  if (type == 0) return 8;
  return type == 13 || type == 15 || type == 17 ? type + 1 : type == 14 || type == 16 || type == 18 ? type - 1 : 0xff;
}

/** Types that may begin a flow: requests. */
export function mayBegin(type: u32, is4: bool): bool {
  return is4 ? type == 8 || type == 13 || type == 15 || type == 17 : type == 128 || type == 139;
}

/** Is this an ICMP error that cites a packet? */
export function isError(id: u32): bool {
  const d = descriptorAt(id), flags = load<u32>(d, DESC_FLAGS), protocol = <u32>load<u8>(d, DESC_PROTOCOL);
  if ((flags & FLAG_L4) == 0) return false;
  const type = <u32>load<u8>(<usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L4));
  return (flags & FLAG_IP4) != 0 ? protocol == ICMP && isError4(type) : protocol == ICMP6 && type < 128;
}

/** Is the checksum of an ICMP error right? */
export function isErrorRight(id: u32): bool {
  const d = descriptorAt(id), flags = load<u32>(d, DESC_FLAGS), l3 = <usize>load<u32>(d, DESC_DATA) + load<u16>(d, DESC_L3);
  if ((flags & (FLAG_CSUM_GOOD | FLAG_CSUM_PARTIAL)) != 0) return true;
  const is4 = (flags & FLAG_IP4) != 0, l4 = <u32>load<u16>(d, DESC_L4), end = <u32>load<u16>(d, DESC_L3) + (is4 ? load16(l3 + 2) : 40 + load16(l3 + 4));
  return end >= l4 && transportSumRight(id, l3, is4, is4 ? ICMP : ICMP6, l4, end - l4);
}

/** Is this error an IPv4 redirect? */
export function isRedirect(id: u32): bool {
  const d = descriptorAt(id);
  return (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0 && load<u8>(<usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L4)) == 5;
}

/** The packet that an ICMP error cites, as the tuple of its answers. What is cited must be there as far as it is read. */
function citedTuple(d: usize, inner: usize, is4: bool, tuple: usize): u32 {
  const end = <usize>load<u32>(d, DESC_DATA) + load<u32>(d, DESC_LENGTH), have = <u32>(end - min(end, inner));
  if (have < <u32>(is4 ? 20 : 40)) return TUPLE_INVALID;
  let header: u32 = 40, protocol: u32;
  if (is4) {
    header = (<u32>load<u8>(inner) & 15) << 2;
    // A later fragment has no ports to show.
    if (load<u8>(inner) >>> 4 != 4 || header < 20 || have < header || (load16(inner + 6) & 0x1fff) != 0) return TUPLE_INVALID;
    protocol = <u32>load<u8>(inner, 9);
    store<u64>(tuple, rotr<u64>(load<u64>(inner, 12), 32));
  } else {
    const walk = walkExtensions(inner, have);
    if (load<u8>(inner) >>> 4 != 6 || (walk >> 56) != 0) return TUPLE_INVALID;
    header = <u32>walk & 0xffff;
    protocol = <u32>(walk >> 16) & 0xff;
    if (have < header) return TUPLE_INVALID;
    v128.store(tuple, v128.load(inner, 24));
    v128.store(tuple, v128.load(inner, 8), 16);
  }
  // As much as it takes to know whose it is: ports, or an identifier.
  if (have < header + (hasPorts(protocol) ? 4 : protocol == (is4 ? ICMP : ICMP6) ? 8 : 0)) return TUPLE_INVALID;
  store<u32>(tuple, (load<u32>(tuple, TUPLE_KIND) & 0xff00ffff) | (protocol << 16), TUPLE_KIND);
  return citedPorts(inner + header, protocol, is4, tuple);
}

function citedPorts(l4: usize, protocol: u32, is4: bool, tuple: usize): u32 {
  if (hasPorts(protocol)) store<u32>(tuple, rotr<u32>(load<u32>(l4), 16), TUPLE_PORTS);
  else if (protocol == (is4 ? ICMP : ICMP6)) {
    const answer = answerOf(<u32>load<u8>(l4), is4);
    if (answer == 0xff) return TUPLE_INVALID;
    store<u32>(tuple, <u32>load<u16>(l4, 4) | (answer << 16) | (<u32>load<u8>(l4, 1) << 24), TUPLE_PORTS);
  } else store<u32>(tuple, 0, TUPLE_PORTS);
  return TUPLE_ERROR;
}

/** Writes the tuple of answers to a tuple; false when nothing answers such packets. */
export function invert(tuple: usize, out: usize): bool {
  const kind = load<u32>(tuple, TUPLE_KIND), is4 = (kind & KIND_IP6) == 0, protocol = (kind >>> 16) & 0xff, ports = load<u32>(tuple, TUPLE_PORTS);
  store<u32>(out, kind, TUPLE_KIND);
  if (is4) store<u64>(out, rotr<u64>(load<u64>(tuple), 32));
  else {
    const source = v128.load(tuple);
    v128.store(out, v128.load(tuple, 16));
    v128.store(out, source, 16);
  }
  if (protocol != (is4 ? ICMP : ICMP6)) { store<u32>(out, rotr<u32>(ports, 16), TUPLE_PORTS); return true; }
  const answer = answerOf((ports >>> 16) & 0xff, is4);
  if (answer == 0xff) return false;
  store<u32>(out, (ports & 0xff00ffff) | (answer << 16), TUPLE_PORTS);
  return true;
}
