/**
 * The port that is the way from IPv6 to IPv4 and back (RFC 7915, RFC 6146, RFC 6052). What leaves by it comes in by it again, as a packet
 * of the other family: to IPv4 destinations behind the prefix from an address of the pool, which the IPv6 source keeps while it sends;
 * and to addresses of the pool from behind the prefix. Ports are not its concern: rules, tracking and masquerade of IPv4 see what it
 * makes as they see everything else.
 */
import {
  CUT_NUMBER, DESC_DATA, DESC_FLAGS, DESC_GSO_SIZE, DESC_LENGTH, DESC_OWNER, DESC_PACKET_LENGTH, DROP_NAT64_POOL_FULL, DROP_NAT64_UNMAPPED,
  DROP_NAT64_UNTRANSLATABLE, DROP_NONE, FLAG_REASSEMBLED, FLOW_EXPIRES, FLOW_STATUS, IPS_ASSURED, LARGEST_FRAGMENT, NAT64_COUNTER,
  NAT64_LENGTH, NAT64_POOL, NAT64_POOL_SIZE, NAT64_PREFIX, NAT_FULL_CONE, NETNS_NAT64, NONE, PORT_MAC, TUPLE_HASH, TUPLE_KIND, TUPLE_SIZE,
  VEC_IDS, WORKER_TICKS, WORKER_TUPLES, KIND_IP6, KIND_MAPPING, NETNS_KIND,
} from "../abi";
import { privateHead } from "../core/head";
import { bufferAt, descriptorAt } from "../core/layout";
import { drop } from "../core/packet";
import { fetchAdd } from "../core/sync";
import { make } from "../flow/mapping";
import { flowAt, hashTuple, replyAddresses, setStatus, tupleOf } from "../table/flow";
import { findMapping } from "../table/mappings";
import { destroy } from "../table/wheel";
import { load16, load32, store16, store32 } from "../wire/bytes";
import { addSums, fold32, pseudo6, sum, sum20, sumChain } from "../wire/checksum";
import { embed4, extract4, isEmbedded } from "../wire/embed";
import { icmpOf4, icmpOf6, NO_TYPE, pointerOf4, pointerOf6 } from "../wire/icmp-families";
import { DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING } from "../wire/ipv6";
import { ICMP, ICMP6, TCP, UDP } from "../wire/l4";

const ETHER: u32 = 14;
const IP4: u32 = 20;
const IP6: u32 = 40;
const FRAGMENT_SIZE: u32 = 8;
/**
 * How long a host keeps its address of the pool when it is silent: as long as RFC 6146 §4 wants for TCP, 2 hours and 4 minutes; and when nobody
 * has ever answered it, as for UDP: 5 minutes. Only who was answered is safe from newcomers, so that made-up sources use up nothing.
 */
const ANSWERED_TIMEOUT: u32 = 7_440_000;
const UNANSWERED_TIMEOUT: u32 = 300_000;
/** Addresses of the pool that are tried for a new host. */
const TRIES: u32 = 256;
/** RFC 7915 §5.1: what is no larger may be cut on its way. */
const MAY_BE_CUT: u32 = 1260;
const LEAST_MTU6: u32 = 1280;

@inline
function domainOf(net: usize): usize {
  return net + NETNS_NAT64;
}

/** Turns the `n` packets of VEC_IDS that the port has given itself into those of the other family; returns how many remain. */
export function translateFamilies(worker: usize, port: usize, net: usize, n: u32): u32 {
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const given = load<u32>(worker + (<usize>k << 2), VEC_IDS), id = net == 0 ? NONE : privateHead(worker, given);
    const reason = id == NONE ? DROP_NAT64_UNTRANSLATABLE : translate(worker, net, id);
    if (reason != DROP_NONE) { drop(worker, id == NONE ? given : id, reason); continue; }
    const frame = <usize>load<u32>(descriptorAt(id), DESC_DATA);
    memory.copy(frame, port + PORT_MAC, 6);
    // Whoever is on the other side has an address that nobody asks for.
    store<u32>(frame, 0x00000002, 6);
    store<u16>(frame, 0x4006, 10);
    store<u32>(worker + (<usize>kept << 2), id, VEC_IDS);
    kept++;
  }
  return kept;
}

function translate(worker: usize, net: usize, id: u32): u32 {
  const d = descriptorAt(id), frame = <usize>load<u32>(d, DESC_DATA), have = load<u32>(d, DESC_LENGTH);
  if (have < ETHER + IP4) return DROP_NAT64_UNTRANSLATABLE;
  const l3 = frame + ETHER, room = have - ETHER, whole = load<u32>(d, DESC_PACKET_LENGTH) - ETHER;
  return load<u8>(l3) >>> 4 == 6 ? to4(worker, net, id, l3, room, whole) : to6(worker, net, id, l3, room, whole);
}

/**
 * The frame begins elsewhere now, `grown` bytes before (or, negative, behind) where it did; it ends where it did. `largest`: the size of pieces
 * that it may be cut into again on its way, 0 for what came whole and is to stay so.
 */
function moveStart(id: u32, grown: i32, largest: u32): bool {
  const d = descriptorAt(id), data = load<u32>(d, DESC_DATA) - grown;
  if (grown > 0 && <usize>data < bufferAt(load<u32>(d, DESC_OWNER))) return false;
  store<u32>(d, data, DESC_DATA);
  store<u32>(d, load<u32>(d, DESC_LENGTH) + grown, DESC_LENGTH);
  store<u32>(d, load<u32>(d, DESC_PACKET_LENGTH) + grown, DESC_PACKET_LENGTH);
  store<u32>(d, largest != 0 ? FLAG_REASSEMBLED : 0, DESC_FLAGS);
  store<u32>(d, 0, DESC_GSO_SIZE);
  if (largest == 0) return true;
  store<u16>(d, <u16>largest, LARGEST_FRAGMENT);
  // It is cut anew: headers of the other family have another size.
  store<u16>(d, 0, CUT_NUMBER);
  return true;
}

/** The largest of the fragments that a packet was put together from, 0 when it came whole. */
@inline
function largestOf(id: u32): u32 {
  const d = descriptorAt(id);
  const largest: u32 = (load<u32>(d, DESC_FLAGS) & FLAG_REASSEMBLED) != 0 ? load<u16>(d, LARGEST_FRAGMENT) : 0;
  return largest != 0 ? max<u32>(largest, LEAST_MTU6) : 0;
}

// ── Hosts and their addresses of the pool ───────────────────────────────────────────────────────
function keyOf(net: usize, address: usize, isOuter: bool, key: usize): void {
  memory.fill(key, 0, TUPLE_SIZE);
  v128.store(key + (isOuter ? 16 : 0), v128.load(address));
  store<u32>(key, load<u32>(net, NETNS_KIND) | KIND_MAPPING | KIND_IP6, TUPLE_KIND);
}

@inline
function isAnswered(flow: u32): bool {
  return (load<u32>(flowAt(flow), FLOW_STATUS) & IPS_ASSURED) != 0;
}

/** The pool's address of an IPv6 host, 0 without one. */
function knownHost(worker: usize, net: usize, address: usize, ticks: u32): u32 {
  const key = worker + WORKER_TUPLES, out = key + TUPLE_SIZE;
  keyOf(net, address, false, key);
  const flow = findMapping(key, 0, ticks);
  if (flow == 0) return 0;
  store<u32>(flowAt(flow), ticks + (isAnswered(flow) ? ANSWERED_TIMEOUT : UNANSWERED_TIMEOUT), FLOW_EXPIRES);
  replyAddresses(flow, out);
  return load<u32>(out, 28);
}

/** The same, and one is given to who has none: of those that fit it one that is free, else of who was never answered the one that has been silent for longest. */
function hostAddress(worker: usize, net: usize, address: usize, ticks: u32): u32 {
  const known = knownHost(worker, net, address, ticks);
  if (known != 0) return known;
  const domain = domainOf(net), size = load<u32>(domain, NAT64_POOL_SIZE), key = worker + WORKER_TUPLES, outer = key + TUPLE_SIZE;
  const other = outer + TUPLE_SIZE, tries = min<u32>(size, TRIES);
  keyOf(net, address, false, key);
  // By the host's address and the table's keys: who comes back gets the same where nobody has it, and nobody can tell from outside which.
  const from = <u32>((<u64>hashTuple(key) * size) >> 32);
  let silent: u32 = 0, least: i32 = i32.MAX_VALUE;
  for (let i: u32 = 0; i < tries; i++) {
    poolAddress(domain, from + i, outer);
    const flow = ownerOf(net, outer, other, ticks);
    if (flow == 0) return giveHost(net, key, outer, ticks, other);
    const left = <i32>(load<u32>(flowAt(flow), FLOW_EXPIRES) - ticks);
    if (isAnswered(flow) || left >= least) continue;
    least = left;
    silent = flow;
  }
  if (silent == 0) return 0;
  replyAddresses(silent, other);
  v128.store(outer, v128.load(other + 16));
  return destroy(silent, ticks, other) ? giveHost(net, key, outer, ticks, other) : 0;
}

/** An address of the pool, as one of IPv6. */
function poolAddress(domain: usize, index: u32, out: usize): void {
  memory.fill(out, 0, TUPLE_SIZE);
  store<u16>(out, 0xffff, 10);
  store32(out + 12, load<u32>(domain, NAT64_POOL) + index % load<u32>(domain, NAT64_POOL_SIZE));
}

/** The mapping of an address of the pool, or 0. */
function ownerOf(net: usize, mapped: usize, key: usize, ticks: u32): u32 {
  keyOf(net, mapped, true, key);
  return findMapping(key, 1, ticks);
}

/** Gives the host of `key` the address at `outer`; 0 without room. `scratch`: four tuples. */
function giveHost(net: usize, key: usize, outer: usize, ticks: u32, scratch: usize): u32 {
  keyOf(net, outer, false, scratch);
  memory.copy(outer, scratch, TUPLE_HASH);
  const flow = make(key, outer, NAT_FULL_CONE, ticks, scratch);
  if (flow == 0) return 0;
  store<u32>(flowAt(flow), ticks + UNANSWERED_TIMEOUT, FLOW_EXPIRES);
  // Another worker may have been faster with this host, and have given it another one.
  replyAddresses(flow, scratch);
  return load<u32>(scratch, 28);
}

/** Writes the IPv6 host that has an address of the pool; false without one. */
function hostOf(worker: usize, net: usize, address: u32, ticks: u32, out: usize): bool {
  const key = worker + WORKER_TUPLES, mapped = key + TUPLE_SIZE;
  memory.fill(mapped, 0, 16);
  store<u16>(mapped, 0xffff, 10);
  store<u32>(mapped, address, 12);
  const flow = ownerOf(net, mapped, key, ticks);
  if (flow == 0) return false;
  store<u32>(flowAt(flow), ticks + ANSWERED_TIMEOUT, FLOW_EXPIRES);
  setStatus(flowAt(flow), IPS_ASSURED);
  tupleOf(flow, 0, mapped);
  v128.store(out, v128.load(mapped));
  return true;
}

// ── IPv6 to IPv4 (RFC 7915 §5) ──────────────────────────────────────────────────────────────────
/** What stands in front of the transport: its offset | protocol << 16 | address of the fragment header's offset << 32; 0 for what is not translated. */
function chainOf(l3: usize, end: u32): u64 {
  let next = <u32>load<u8>(l3, 6), at: u32 = IP6, fragment: u32 = 0;
  for (let i = 0; i < 8; i++) {
    if (next != HOP_BY_HOP && next != ROUTING && next != FRAGMENT && next != DESTINATION) return <u64>at | (<u64>next << 16) | (<u64>fragment << 32);
    if (at + 8 > end) return 0;
    const header = l3 + at;
    // RFC 7915 §5.1: a source route that is not at its end cannot be followed.
    if (next == ROUTING && load<u8>(header, 3) != 0) return 0;
    const isFragment = next == FRAGMENT;
    next = <u32>load<u8>(header);
    if (isFragment) {
      fragment = at;
      at += FRAGMENT_SIZE;
      if ((load16(header + 2) & 0xfff8) != 0) return <u64>at | (<u64>next << 16) | (<u64>fragment << 32);
    } else at += (<u32>load<u8>(header, 1) + 1) << 3;
    if (at > end) return 0;
  }
  return 0;
}

function to4(worker: usize, net: usize, id: u32, l3: usize, room: u32, whole: u32): u32 {
  const domain = domainOf(net), prefix = domain + NAT64_PREFIX, length = <u32>load<u8>(domain, NAT64_LENGTH), ticks = load<u32>(worker, WORKER_TICKS);
  if (room < IP6 || !isEmbedded(l3 + 24, prefix, length)) return DROP_NAT64_UNMAPPED;
  const total = load16(l3 + 4) + IP6;
  if (total > whole) return DROP_NAT64_UNTRANSLATABLE;
  const chain = chainOf(l3, min<u32>(room, total)), at = <u32>chain & 0xffff, next = <u32>(chain >> 16) & 0xff, fragment = <u32>(chain >> 32);
  if (chain == 0) return DROP_NAT64_UNTRANSLATABLE;
  // RFC 6146 §3.5: who says that it is behind the prefix is not who it says; what came from there would not leave by it again.
  if (isEmbedded(l3 + 8, prefix, length)) return DROP_NAT64_UNTRANSLATABLE;
  const destination = extract4(l3 + 24, length), source = hostAddress(worker, net, l3 + 8, ticks);
  if (source == 0) return DROP_NAT64_POOL_FULL;
  let start = at, payload = total - at, protocol = next;
  if (next == ICMP6) {
    if ((fragment != 0 && (load16(l3 + fragment + 2) & 0xfff9) != 0) || at + 8 > min<u32>(room, total)) return DROP_NAT64_UNTRANSLATABLE;
    const moved = icmp6to4(worker, net, id, l3, at, min<u32>(room, total) - at, payload);
    if (moved == NO_TYPE) return DROP_NAT64_UNTRANSLATABLE;
    start += moved;
    payload -= moved;
    protocol = ICMP;
  } else if (fragment == 0 || (load16(l3 + fragment + 2) & 0xfff8) == 0) mendTransport(l3 + at, room - min<u32>(at, room), next, sum(l3 + 8, 32), source, destination);
  const traffic = (load16(l3) >>> 4) & 0xff, hops = <u32>load<u8>(l3, 7), largest = largestOf(id);
  let cut: u32 = 0, number: u32 = 0;
  if (fragment != 0) {
    const field = load16(l3 + fragment + 2);
    cut = (field >>> 3) | ((field & 1) << 13);
    number = load16(l3 + fragment + 6);
  } else if (total > MAY_BE_CUT && largest == 0) cut = 0x4000;
  else number = fetchAdd(domain + NAT64_COUNTER, 1) & 0xffff;
  write4(l3 + start - IP4, traffic, IP4 + payload, number, cut, hops, protocol, source, destination);
  return moveStart(id, <i32>IP4 - <i32>start, largest == 0 ? 0 : largest - (IP6 + FRAGMENT_SIZE - IP4)) && setType(id, 0x0008) ? DROP_NONE : DROP_NAT64_UNTRANSLATABLE;
}

function setType(id: u32, type: u32): bool {
  store<u16>(<usize>load<u32>(descriptorAt(id), DESC_DATA), <u16>type, 12);
  return true;
}

function write4(at: usize, traffic: u32, total: u32, number: u32, cut: u32, hops: u32, protocol: u32, source: u32, destination: u32): void {
  store32(at, 0x45000000 | (traffic << 16) | total);
  store32(at + 4, (number << 16) | cut);
  store32(at + 8, (hops << 24) | (protocol << 16));
  store<u32>(at, source, 12);
  store<u32>(at, destination, 16);
  store<u16>(at, <u16>~sum20(at), 10);
}

/** Sums of TCP and UDP (and DCCP, UDP-Lite) follow the addresses; those of others do not cover them. `before`: sum of the old ones. */
function mendTransport(l4: usize, have: u32, protocol: u32, before: u32, source: u32, destination: u32): void {
  mendSum(l4, have, protocol, before, fold32((source & 0xffff) + (source >>> 16) + (destination & 0xffff) + (destination >>> 16)));
}

function mendSum(l4: usize, have: u32, protocol: u32, before: u32, after: u32): void {
  const at: u32 = protocol == TCP ? 16 : protocol == UDP || protocol == 33 || protocol == 136 ? 6 : 0;
  if (at == 0 || at + 2 > have || (protocol == UDP && load<u16>(l4, 6) == 0)) return;
  const field = ~fold32((~<u32>load<u16>(l4 + at) & 0xffff) + (~before & 0xffff) + after) & 0xffff;
  store<u16>(l4 + at, <u16>(protocol == UDP && field == 0 ? 0xffff : field));
}

/** Makes the ICMPv6 message at `at` one of ICMP; the bytes by which it begins later, or NO_TYPE. */
function icmp6to4(worker: usize, net: usize, id: u32, l3: usize, at: u32, have: u32, length: u32): u32 {
  const icmp = l3 + at, type = <u32>load<u8>(icmp), turned = icmpOf6(type, <u32>load<u8>(icmp, 1));
  if (turned == NO_TYPE) return NO_TYPE;
  if (type >= 128) {
    // The pseudo-header goes out of the sum.
    turnEcho(icmp, turned, pseudo6(l3 + 8, ICMP6, length), 0);
    return 0;
  }
  const rest = error4(load32(icmp + 4), type, <u32>load<u8>(icmp, 1)), shrunk = cited6(worker, net, icmp + 8, have - 8);
  if (rest == NONE || shrunk == NO_TYPE) return NO_TYPE;
  const moved = icmp + shrunk;
  store16(moved, turned);
  store16(moved + 2, 0);
  store32(moved + 4, rest);
  store<u16>(moved, <u16>~sumChain(id, ETHER + at + shrunk, length - shrunk), 2);
  return shrunk;
}

/** Gives an echo message the type and code of the other family; `before` and `after`: sums of what else its checksum covers. */
function turnEcho(icmp: usize, turned: u32, before: u32, after: u32): void {
  const old = addSums(before, <u32>load<u16>(icmp));
  store16(icmp, turned);
  store<u16>(icmp, <u16>(~fold32((~<u32>load<u16>(icmp, 2) & 0xffff) + (~old & 0xffff) + addSums(after, <u32>load<u16>(icmp))) & 0xffff), 2);
}

/** The second word of an error: MTU, or where the fault is. */
function error4(word: u32, type: u32, code: u32): u32 {
  if (type == 2) return word < LEAST_MTU6 ? LEAST_MTU6 - IP4 : min<u32>(word - (IP6 - IP4), 65535);
  if (type != 4 || code != 0) return 0;
  const pointer = pointerOf6(word);
  return pointer == NO_TYPE ? NONE : pointer << 24;
}

/** The packet that an error cites, made one of IPv4 in place: its header ends where the old one did. The bytes that became free in front. */
function cited6(worker: usize, net: usize, inner: usize, have: u32): u32 {
  const domain = domainOf(net), prefix = domain + NAT64_PREFIX, length = <u32>load<u8>(domain, NAT64_LENGTH), ticks = load<u32>(worker, WORKER_TICKS);
  if (have < IP6 + 8 || load<u8>(inner) >>> 4 != 6) return NO_TYPE;
  const chain = chainOf(inner, have), at = <u32>chain & 0xffff, next = <u32>(chain >> 16) & 0xff;
  if (chain == 0 || <u32>(chain >> 32) != 0 || at + 8 > have || load16(inner + 4) + IP6 < at) return NO_TYPE;
  const source = isEmbedded(inner + 8, prefix, length) ? extract4(inner + 8, length) : knownHost(worker, net, inner + 8, ticks);
  const destination = isEmbedded(inner + 24, prefix, length) ? extract4(inner + 24, length) : knownHost(worker, net, inner + 24, ticks);
  if (source == 0 || destination == 0) return NO_TYPE;
  const l4 = inner + at, payload = load16(inner + 4) + IP6 - at, traffic = (load16(inner) >>> 4) & 0xff, hops = <u32>load<u8>(inner, 7);
  if (next == ICMP6) {
    // Errors are not about errors.
    if (load<u8>(l4) < 128) return NO_TYPE;
    const turned = icmpOf6(<u32>load<u8>(l4), <u32>load<u8>(l4, 1));
    if (turned == NO_TYPE) return NO_TYPE;
    turnEcho(l4, turned, pseudo6(inner + 8, ICMP6, payload), 0);
  } else mendTransport(l4, have - at, next, sum(inner + 8, 32), source, destination);
  write4(l4 - IP4, traffic, IP4 + payload, 0, 0, hops, next == ICMP6 ? ICMP : next, source, destination);
  return at - IP4;
}

// ── IPv4 to IPv6 (RFC 7915 §4) ──────────────────────────────────────────────────────────────────
function to6(worker: usize, net: usize, id: u32, l3: usize, room: u32, whole: u32): u32 {
  const domain = domainOf(net), header = (<u32>load<u8>(l3) & 15) << 2, total = load16(l3 + 2), ticks = load<u32>(worker, WORKER_TICKS);
  if (load<u8>(l3) >>> 4 != 4 || header < IP4 || header + 8 > room || total < header || total > whole) return DROP_NAT64_UNTRANSLATABLE;
  const addresses = worker + WORKER_TUPLES + 7 * TUPLE_SIZE, protocol = <u32>load<u8>(l3, 9), cut = load16(l3 + 6);
  if (!hostOf(worker, net, load<u32>(l3, 16), ticks, addresses + 16)) return DROP_NAT64_UNMAPPED;
  embed4(addresses, domain + NAT64_PREFIX, <u32>load<u8>(domain, NAT64_LENGTH), load<u32>(l3, 12));
  // What the header says is read before anything is written where it stands.
  const first = 0x60000000 | (<u32>load<u8>(l3, 1) << 20), hops = <u32>load<u8>(l3, 8), number = load16(l3 + 4);
  const isFragment = (cut & 0x3fff) != 0, isFirst = (cut & 0x1fff) == 0, extra: u32 = isFragment ? FRAGMENT_SIZE : 0;
  let start = header, payload = total - header, next = protocol;
  if (protocol == ICMP) {
    if (isFragment) return DROP_NAT64_UNTRANSLATABLE;
    const grown = icmp4to6(worker, net, id, l3, header, min<u32>(room, total) - header, payload, addresses);
    if (grown == NO_TYPE) return DROP_NAT64_UNTRANSLATABLE;
    start -= grown;
    payload += grown;
    next = ICMP6;
  } else if (isFirst) {
    if (protocol == UDP && load<u16>(l3 + header, 6) == 0) {
      // IPv6 knows no datagram without a checksum (RFC 7915 §4.5); of a fragment it cannot be made.
      if (isFragment) return DROP_NAT64_UNTRANSLATABLE;
      const made = ~addSums(sumChain(id, ETHER + header, payload), pseudo6(addresses, UDP, payload)) & 0xffff;
      store<u16>(l3 + header, <u16>(made == 0 ? 0xffff : made), 6);
    } else mendSum(l3 + header, room - header, protocol, sum(l3 + 12, 8), sum(addresses, 32));
  }
  // Signed, because it may begin before the frame did: there is headroom, and it is looked at before anything is written.
  const grown = <i32>(IP6 + extra) - <i32>start;
  // What may be cut in IPv4 may be cut here too, by whoever has too little room for it (RFC 7915 §4: 1280 fit everywhere).
  const mayBeCut = !isFragment && IP6 + payload > LEAST_MTU6 && ((cut & 0x4000) == 0 || largestOf(id) != 0), largest: u32 = mayBeCut ? LEAST_MTU6 : 0;
  if (!moveStart(id, grown, largest)) return DROP_NAT64_UNTRANSLATABLE;
  const at = <usize>load<u32>(descriptorAt(id), DESC_DATA) + ETHER;
  store32(at, first);
  store32(at + 4, ((payload + extra) << 16) | ((isFragment ? FRAGMENT : next) << 8) | hops);
  memory.copy(at + 8, addresses, 32);
  if (isFragment) {
    store32(at + IP6, (next << 24) | ((cut & 0x1fff) << 3) | ((cut >>> 13) & 1));
    store32(at + IP6 + 4, number);
  }
  return setType(id, 0xdd86) ? DROP_NONE : DROP_NAT64_UNTRANSLATABLE;
}

/** Makes the ICMP message at `at` one of ICMPv6; the bytes by which it begins earlier, or NO_TYPE. */
function icmp4to6(worker: usize, net: usize, id: u32, l3: usize, at: u32, have: u32, length: u32, addresses: usize): u32 {
  const icmp = l3 + at, type = <u32>load<u8>(icmp), code = <u32>load<u8>(icmp, 1), turned = icmpOf4(type, code);
  if (turned == NO_TYPE) return NO_TYPE;
  if (type == 0 || type == 8) {
    turnEcho(icmp, turned, 0, pseudo6(addresses, ICMP6, length));
    return 0;
  }
  const rest = error6(load32(icmp + 4), type, code);
  if (rest == NONE) return NO_TYPE;
  const grown = cited4(worker, net, icmp + 8, have - 8, addresses);
  if (grown == NO_TYPE) return NO_TYPE;
  const moved = icmp - grown;
  store16(moved, turned);
  store16(moved + 2, 0);
  store32(moved + 4, rest);
  // A head that begins earlier stands outside of the packet's bytes as they are counted now: its sum, and that of the rest.
  const whole = <i32>grown > 0 ? addSums(sum(moved, grown), sumChain(id, ETHER + at, length)) : sumChain(id, ETHER + at - grown, length + grown);
  store<u16>(moved, <u16>~addSums(whole, pseudo6(addresses, ICMP6, length + grown)), 2);
  return grown;
}

function error6(word: u32, type: u32, code: u32): u32 {
  if (type == 3 && code == 4) {
    const mtu = word & 0xffff;
    // A router of before RFC 1191 says none.
    return mtu == 0 ? LEAST_MTU6 : max<u32>(mtu + (IP6 - IP4), LEAST_MTU6);
  }
  if (type == 3 && code == 2) return 6;
  if (type != 12) return 0;
  const pointer = pointerOf4(word >>> 24);
  return pointer == NO_TYPE ? NONE : pointer;
}

/**
 * The packet that an error cites, made one of IPv6: its header ends where the old one did, and begins earlier; so does the message's head
 * in front of it. The bytes that are needed there (negative, where options went that were longer), or NO_TYPE. `addresses` are not to be touched.
 */
function cited4(worker: usize, net: usize, inner: usize, have: u32, addresses: usize): u32 {
  const domain = domainOf(net), prefix = domain + NAT64_PREFIX, length = <u32>load<u8>(domain, NAT64_LENGTH), ticks = load<u32>(worker, WORKER_TICKS);
  const header = (<u32>load<u8>(inner) & 15) << 2;
  if (have < IP4 + 8 || load<u8>(inner) >>> 4 != 4 || header < IP4 || header + 8 > have || load16(inner + 2) < header || (load16(inner + 6) & 0x3fff) != 0) return NO_TYPE;
  const ends = addresses + 32, source = load<u32>(inner, 12), destination = load<u32>(inner, 16);
  // The host that sent it, or that it was sent to, is one of the pool's; the other is behind the prefix.
  if (!hostOf(worker, net, source, ticks, ends)) embed4(ends, prefix, length, source);
  if (!hostOf(worker, net, destination, ticks, ends + 16)) embed4(ends + 16, prefix, length, destination);
  const l4 = inner + header, protocol = <u32>load<u8>(inner, 9), payload = load16(inner + 2) - header;
  const first = 0x60000000 | (<u32>load<u8>(inner, 1) << 20), hops = <u32>load<u8>(inner, 8);
  if (protocol == ICMP) {
    const type = <u32>load<u8>(l4), turned = type == 8 || type == 0 ? icmpOf4(type, <u32>load<u8>(l4, 1)) : NO_TYPE;
    if (turned == NO_TYPE) return NO_TYPE;
    turnEcho(l4, turned, 0, pseudo6(ends, ICMP6, payload));
  } else mendSum(l4, have - header, protocol, sum(inner + 12, 8), sum(ends, 32));
  const at = l4 - IP6;
  store32(at, first);
  store32(at + 4, (payload << 16) | ((protocol == ICMP ? ICMP6 : protocol) << 8) | hops);
  memory.copy(at + 8, ends, 32);
  return IP6 - header;
}
