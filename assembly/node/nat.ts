/**
 * Translation in the road of a packet (RFC 3022, RFC 4787, RFC 5508). The first packet of a flow goes through the chains of type
 * nat, which fix what the flow's answers look like; every packet after it is rewritten by that, without a rule being read.
 */
import {
  CT_NEW, CT_RELATED, CT_RELATED_REPLY, DESC_INGRESS, DROP_NAT_UNWRITABLE, FLOW_STATUS, HEADER_PORTS, IFACE_ADDRESS4, IFACE_ADDRESS6,
  IFACE_SIZE, IPS_CONFIRMED, IPS_DST_NAT, IPS_DST_NAT_DONE, IPS_SRC_NAT, IPS_SRC_NAT_DONE, NATREQ_FLAGS, NATREQ_KIND, NATREQ_MAX,
  NATREQ_MIN, NAT_DESTINATION, NAT_OWN_ADDRESS, NAT_SOURCE, NEXT_DONE, NONE, REGION_IFACES, TUPLE_KIND, TUPLE_PORTS, TUPLE_SIZE,
  VEC_CTINFO, VEC_FLOW, VEC_IDS, VEC_NEXT, VEC_OIF, VERDICT_ACCEPT, VERDICT_NO_PORT, WORKER_TUPLES,
} from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt, header, region } from "../core/layout";
import { drop } from "../core/packet";
import { choose, keepOrChange, RANGE_ADDRESSES } from "../flow/allocate";
import { translate, translateCited } from "../flow/translate";
import { invert, isError } from "../flow/tuples";
import { extend, flowAt, setTuple, tupleOf } from "../table/flow";

@inline
function flowOf(worker: usize, p: u32): u32 {
  return load<u32>(worker + (<usize>p << 2), VEC_FLOW);
}

@inline
function sameTuple(a: usize, b: usize): bool {
  const x = v128.or(v128.xor(v128.load(a), v128.load(b)), v128.xor(v128.load(a, 16), v128.load(b, 16)));
  return load<u32>(a, TUPLE_PORTS) == load<u32>(b, TUPLE_PORTS) && !v128.any_true(x);
}

/** A tuple's unused bytes are zero, so that tuples can be compared whole. */
function tidy(tuple: usize): void {
  if (load<u32>(tuple, TUPLE_KIND) >>> 24 != 4) return;
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
  if (!choose(worker, leaving, request, kind, scratch)) return VERDICT_NO_PORT;
  return settle(flow, kind, old, leaving, scratch) ? VERDICT_ACCEPT : VERDICT_NO_PORT;
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
    if (load<u32>(leaving, TUPLE_KIND) >>> 24 == 6 && extend(flow) == 0) return false;
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
  const is4 = load<u32>(leaving, TUPLE_KIND) >>> 24 == 4;
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
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
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
    translateCited(mine, kind == NAT_SOURCE ? NAT_DESTINATION : NAT_SOURCE, other);
  }
  invert(other, target);
  translate(mine, kind, target);
  return true;
}
