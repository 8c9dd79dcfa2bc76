/**
 * Translation in the road of a packet (RFC 3022, RFC 4787, RFC 5508). The first packet of a flow goes through the chains of type
 * nat, which fix what the flow's answers look like; every packet after it is rewritten by that, without a rule being read.
 */
import {
  CT_NEW, CT_RELATED, CT_RELATED_REPLY, DESC_DATA, DESC_FLAGS, DESC_INGRESS, DESC_L3, DESC_L4, DESC_OWNER, DESC_PROTOCOL, DESC_SHIFT,
  DROP_NAT_UNWRITABLE, EXTENSION_NAT, FLAG_CSUM_PARTIAL, FLAG_FRAGMENT, FLAG_IP4, FLAG_L4, FLOWS_HOT, FLOW_EXTENSION, FLOW_PHASE,
  FLOW_PORTS, FLOW_SIZE, FLOW_STATUS, HEADER_PORTS, IFACE_ADDRESS4, IFACE_ADDRESS6, IFACE_SIZE, IPS_CONFIRMED, IPS_DST_NAT,
  IPS_DST_NAT_DONE, IPS_EXPECTED, IPS_SRC_NAT, IPS_SRC_NAT_DONE, NATREQ_FLAGS, NATREQ_KIND, NATREQ_MAX, NATREQ_MAX_PORT, NATREQ_MIN,
  NATREQ_MIN_PORT, NAT_DESTINATION, NAT_OWN_ADDRESS, NAT_SOURCE, NEXT_DONE, NONE, PHASE_MAPPED_DESTINATION, PHASE_MAPPED_SOURCE,
  REGION_DESCRIPTORS, REGION_FLOWS, REGION_IFACES, TUPLE_KIND, TUPLE_PORTS, TUPLE_SIZE, VEC_CTINFO, VEC_FLOW, VEC_IDS, VEC_NEXT, VEC_OIF,
  VERDICT_ACCEPT, VERDICT_NO_PORT, WORKER_TICKS, WORKER_TUPLES, KIND_IP6, PHASE_ZONE_ORIGINAL, PHASE_ZONE_REPLY,
} from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt, header, networkOf, portAt, region } from "../core/layout";
import { drop } from "../core/packet";
import { fetchOr } from "../core/sync";
import { choose, keepOrChange, RANGE_ADDRESSES, RANGE_PORTS } from "../flow/allocate";
import { CONES, MAPPED, mapDestination, mapSource, NOT_MAPPED } from "../flow/mapping";
import { translate, translateCited } from "../flow/translate";
import { invert, isError, isErrorRight, isRedirect } from "../flow/tuples";
import { extend, extensionAt, flowAt, setStatus, setTuple, tupleOf } from "../table/flow";
import { hasMappings } from "../table/mappings";
import { fold32 } from "../wire/checksum";
import { TCP, UDP } from "../wire/l4";

@inline
function flowOf(worker: usize, p: u32): u32 {
  return load<u32>(worker + (<usize>p << 2), VEC_FLOW);
}

@inline
function sameTuple(a: usize, b: usize): bool {
  const x = v128.or(v128.xor(v128.load(a), v128.load(b)), v128.xor(v128.load(a, 16), v128.load(b, 16)));
  return load<u32>(a, TUPLE_PORTS) == load<u32>(b, TUPLE_PORTS) && !v128.any_true(x);
}

/** The network that a packet leaves, or 0. */
function netOf(worker: usize, p: u32): usize {
  const port = <u32>load<u16>(worker + (<usize>p << 1), VEC_OIF);
  return port < header(HEADER_PORTS) ? networkOf(portAt(port)) : 0;
}

/** A tuple's unused bytes are zero, so that tuples can be compared whole. */
function tidy(tuple: usize): void {
  if ((load<u32>(tuple, TUPLE_KIND) & KIND_IP6) != 0) return;
  store<u64>(tuple, 0, 8);
  v128.store(tuple, i32x4.splat(0), 16);
}

/** Is this the first packet of a flow that may still be given a translation of that kind? */
export function wantsSetup(worker: usize, p: u32, kind: u32): bool {
  const ref = flowOf(worker, p), info = <u32>load<u8>(worker + <usize>p, VEC_CTINFO);
  if (ref == 0 || (info != CT_NEW && info != CT_RELATED)) return false;
  const status = load<u32>(flowAt(ref >>> 1), FLOW_STATUS);
  return (status & (IPS_CONFIRMED | (kind == NAT_SOURCE ? IPS_SRC_NAT_DONE : IPS_DST_NAT_DONE))) == 0;
}

/** Mappings know one zone: a flow that is in one zone one way and in none the other has a port of its own. */
@inline
function isOneWay(flow: u32): bool {
  return (load<u32>(flowAt(flow), FLOW_PHASE) & (PHASE_ZONE_ORIGINAL | PHASE_ZONE_REPLY)) != 0;
}

/** Gives the flow of a packet the translation that a rule asks for (NATREQ_*); a verdict. */
export function setUp(worker: usize, p: u32, request: usize): u32 {
  const kind = <u32>load<u8>(request, NATREQ_KIND), ref = flowOf(worker, p);
  if (!wantsSetup(worker, p, kind)) return VERDICT_ACCEPT;
  const flow = ref >>> 1, old = worker + WORKER_TUPLES, leaving = old + TUPLE_SIZE, scratch = leaving + TUPLE_SIZE;
  tupleOf(flow, 1, scratch);
  invert(scratch, leaving);
  tidy(leaving);
  if ((<u32>load<u16>(request, NATREQ_FLAGS) & NAT_OWN_ADDRESS) != 0 && !fillOwn(worker, p, request, kind, leaving)) return VERDICT_NO_PORT;
  memory.copy(old, leaving, TUPLE_SIZE);
  const ticks = load<u32>(worker, WORKER_TICKS), maps = kind == NAT_SOURCE && !isOneWay(flow) && (hasMappings() || (<u32>load<u16>(request, NATREQ_FLAGS) & CONES) != 0);
  if (maps && mapSource(worker, netOf(worker, p), leaving, request, ticks, scratch)) fetchOr(flowAt(flow) + FLOW_PHASE, PHASE_MAPPED_SOURCE);
  else if (!choose(worker, leaving, request, kind, scratch)) return VERDICT_NO_PORT;
  return settle(flow, kind, old, leaving, scratch) ? VERDICT_ACCEPT : VERDICT_NO_PORT;
}

/** The translation that an expectation asked for the flow of a first packet, written to `request`; false without one. */
export function wasExpected(worker: usize, p: u32, request: usize): bool {
  const ref = flowOf(worker, p), hot = flowAt(ref >>> 1), extension = load<u32>(hot, FLOW_EXTENSION);
  if ((load<u32>(hot, FLOW_STATUS) & IPS_EXPECTED) == 0 || extension == 0) return false;
  const wanted = extensionAt(extension) + EXTENSION_NAT, port = load<u16>(wanted, 2);
  if (load<u8>(wanted) == 0) return false;
  store<u8>(request, load<u8>(wanted) - 1, NATREQ_KIND);
  store<u16>(request, <u16>(RANGE_ADDRESSES | (port != 0 ? RANGE_PORTS : 0)), NATREQ_FLAGS);
  store<u16>(request, port, NATREQ_MIN_PORT);
  store<u16>(request, port, NATREQ_MAX_PORT);
  v128.store(request, v128.load(wanted, 4), NATREQ_MIN);
  v128.store(request, v128.load(wanted, 4), NATREQ_MAX);
  return true;
}

/** Does the first packet of a flow come to a mapping's outer end (MAPPED, …)? The translation is written to `request`. */
export function wasMapped(worker: usize, p: u32, request: usize): u32 {
  if (!hasMappings()) return NOT_MAPPED;
  const flow = flowOf(worker, p) >>> 1, tuple = worker + WORKER_TUPLES;
  tupleOf(flow, 0, tuple);
  const result = mapDestination(tuple, request, load<u32>(worker, WORKER_TICKS), tuple + TUPLE_SIZE);
  if (result == MAPPED) fetchOr(flowAt(flow) + FLOW_PHASE, PHASE_MAPPED_DESTINATION);
  return result;
}

/** As setUp; and where the outer end is the inner one, a hole in the firewall, the flow counts as translated all the same (`ct status dnat`). */
export function setUpMapped(worker: usize, p: u32, request: usize): u32 {
  const verdict = setUp(worker, p, request);
  if (verdict == VERDICT_ACCEPT) setStatus(flowAt(flowOf(worker, p) >>> 1), IPS_DST_NAT);
  return verdict;
}

/** Of a flow that no rule translates: its answers must still be nobody else's. */
export function setUpNothing(worker: usize, p: u32): u32 {
  const flow = flowOf(worker, p) >>> 1, old = worker + WORKER_TUPLES, leaving = old + TUPLE_SIZE, scratch = leaving + TUPLE_SIZE;
  tupleOf(flow, 1, scratch);
  invert(scratch, leaving);
  tidy(leaving);
  memory.copy(old, leaving, TUPLE_SIZE);
  if (!keepOrChange(worker, leaving, scratch)) return VERDICT_NO_PORT;
  return settle(flow, NAT_SOURCE, old, leaving, scratch) ? VERDICT_ACCEPT : VERDICT_NO_PORT;
}

/** Fixes the answers' tuple by how the packets will leave. */
function settle(flow: u32, kind: u32, old: usize, leaving: usize, scratch: usize): bool {
  const hot = flowAt(flow), done = kind == NAT_SOURCE ? IPS_SRC_NAT_DONE : IPS_DST_NAT_DONE;
  let status = load<u32>(hot, FLOW_STATUS) | done;
  tidy(leaving);
  if (!sameTuple(old, leaving)) {
    if ((load<u32>(leaving, TUPLE_KIND) & KIND_IP6) != 0 && extend(flow) == 0) return false;
    invert(leaving, scratch);
    setTuple(flow, 1, scratch);
    status |= kind == NAT_SOURCE ? IPS_SRC_NAT : IPS_DST_NAT;
  }
  store<u32>(hot, status, FLOW_STATUS);
  return true;
}

/** Masquerade takes the address of the output port, redirect that of the input port (127.0.0.1 and ::1 for this host's own). */
function fillOwn(worker: usize, p: u32, request: usize, kind: u32, leaving: usize): bool {
  const port = kind == NAT_SOURCE ? <u32>load<u16>(worker + (<usize>p << 1), VEC_OIF)
    : <u32>load<u16>(descriptorAt(load<u32>(worker + (<usize>p << 2), VEC_IDS)), DESC_INGRESS);
  const is4 = (load<u32>(leaving, TUPLE_KIND) & KIND_IP6) == 0;
  if (port >= header(HEADER_PORTS)) return false;
  const iface = region(REGION_IFACES) + <usize>port * IFACE_SIZE, width: usize = is4 ? 4 : 16;
  const from = iface + (is4 ? IFACE_ADDRESS4 : IFACE_ADDRESS6);
  if (is4 ? load<u32>(from) == 0 : !v128.any_true(v128.load(from))) return false;
  memory.copy(request + NATREQ_MIN, from, width);
  memory.copy(request + NATREQ_MAX, from, width);
  store<u16>(request, <u16>(<u32>load<u16>(request, NATREQ_FLAGS) | RANGE_ADDRESSES), NATREQ_FLAGS);
  return true;
}

/**
 * Rewrites destinations (kind NAT_DESTINATION, on the way in) or sources (on the way out) of a list by what their flows say.
 * Packets that cannot be written are dropped; returns the list's new length.
 */
export function translateBurst(worker: usize, list: usize, n: u32, kind: u32): u32 {
  // Forwards by the bit of that kind, answers by the bit of the other.
  const bits: u32 = kind == NAT_SOURCE ? IPS_SRC_NAT : IPS_DST_NAT, answers: u32 = kind == NAT_SOURCE ? IPS_DST_NAT : IPS_SRC_NAT;
  let kept: u32 = translateRun4(worker, list, n, kind, bits, answers);
  for (let k: u32 = kept; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), ref = flowOf(worker, p);
    if (ref != 0) {
      const status = load<u32>(flowAt(ref >>> 1), FLOW_STATUS);
      if ((status & ((ref & 1) == 0 ? bits : answers)) != 0 && !translateOne(worker, p, ref, kind)) continue;
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

/**
 * The common road of translateBurst from the list's start: IPv4 with ports, in a buffer of its own. Returns how many there were before the
 * first that needs more. No call stands in this loop; checksums by RFC 1624 eqn. 3, addresses and port in one sum.
 */
function translateRun4(worker: usize, list: usize, n: u32, kind: u32, bits: u32, answers: u32): u32 {
  const descriptors = region(REGION_DESCRIPTORS), records = <usize>load<u32>(region(REGION_FLOWS), FLOWS_HOT);
  const which: usize = kind == NAT_SOURCE ? 0 : 1;
  let k: u32 = 0;
  for (; k < n; k++) {
    const p = <usize>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (p << 2), VEC_FLOW);
    const hot = records + <usize>(ref >>> 1) * FLOW_SIZE, way = <usize>(ref & 1), wanted = way == 0 ? bits : answers;
    if (ref == 0 || (load<u32>(hot, FLOW_STATUS) & wanted) == 0) continue;
    const id = load<u32>(worker + (p << 2), VEC_IDS), d = descriptors + (<usize>id << DESC_SHIFT), info = <u32>load<u8>(worker + p, VEC_CTINFO);
    const flags = load<u32>(d, DESC_FLAGS), protocol = <u32>load<u8>(d, DESC_PROTOCOL), data = <usize>load<u32>(d, DESC_DATA);
    const odd = (flags & (FLAG_IP4 | FLAG_L4 | FLAG_FRAGMENT | FLAG_CSUM_PARTIAL)) ^ (FLAG_IP4 | FLAG_L4)
      | <u32>(protocol != TCP && protocol != UDP) | <u32>(info == CT_RELATED || info == CT_RELATED_REPLY);
    if ((<u64>odd | (load<u64>(d, DESC_OWNER) ^ (<u64>id | ((<u64>1) << 32)))) != 0) break;
    const l3 = data + <usize>load<u16>(d, DESC_L3), l4 = data + <usize>load<u16>(d, DESC_L4), sumAt = l4 + (protocol == TCP ? 16 : 6);
    // The other direction's tuple, turned round: its destination becomes the source.
    const address = l3 + 12 + (which << 2), port = l4 + (which << 1);
    const newAddress = load<u32>(hot + ((1 - way) << 3) + ((1 - which) << 2)), newPort = <u32>load<u16>(hot + ((1 - way) << 2) + ((1 - which) << 1), FLOW_PORTS);
    const oldAddress = load<u32>(address), oldPort = <u32>load<u16>(port), sum = <u32>load<u16>(sumAt);
    const moved = (~oldAddress & 0xffff) + (~oldAddress >>> 16) + (newAddress & 0xffff) + (newAddress >>> 16);
    store<u32>(address, newAddress);
    store<u16>(port, <u16>newPort);
    store<u16>(l3, <u16>~fold32((~<u32>load<u16>(l3, 10) & 0xffff) + moved), 10);
    const mended = ~fold32((~sum & 0xffff) + moved + (~oldPort & 0xffff) + newPort) & 0xffff;
    // RFC 768: no checksum stays none, and a sum of zero is sent as all ones.
    if (protocol == TCP || sum != 0) store<u16>(sumAt, <u16>(protocol == UDP && mended == 0 ? 0xffff : mended));
  }
  return k;
}

function translateOne(worker: usize, p: u32, ref: u32, kind: u32): bool {
  const at = worker + (<usize>p << 2), id = load<u32>(at, VEC_IDS), mine = privateHead(worker, id);
  if (mine == NONE) {
    drop(worker, id, DROP_NAT_UNWRITABLE);
    store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
    return false;
  }
  store<u32>(at, mine, VEC_IDS);
  const other = worker + WORKER_TUPLES, target = other + TUPLE_SIZE, info = <u32>load<u8>(worker + <usize>p, VEC_CTINFO);
  tupleOf(ref >>> 1, 1 - (ref & 1), other);
  if ((info == CT_RELATED || info == CT_RELATED_REPLY) && isError(mine)) {
    // RFC 5508 REQ-8 says nothing of redirects: whom they would send elsewhere does not have that address. And what is mended must have been right.
    if (isRedirect(mine) || !isErrorRight(mine) || !translateCited(mine, kind == NAT_SOURCE ? NAT_DESTINATION : NAT_SOURCE, other)) {
      drop(worker, mine, DROP_NAT_UNWRITABLE);
      store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
      return false;
    }
  }
  invert(other, target);
  translate(mine, kind, target);
  return true;
}
