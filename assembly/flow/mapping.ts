/**
 * Endpoint-independent translation (RFC 4787): a source that has a mapping leaves by it, one that should have one gets it with its
 * first packet, and what comes to a mapping's outer end from outside goes to its inner end, if its kind lets it (§5: full cone:
 * endpoint-independent filtering, restricted cone: address-dependent, port restricted cone: address and port-dependent).
 */
import {
  FLOW_EXPIRES, FLOW_MARK, IPS_ASSURED, NATREQ_FLAGS, NATREQ_KIND, NATREQ_MAX, NATREQ_MAX_PORT, NATREQ_MIN, NATREQ_MIN_PORT,
  NETNS_OWN_PORTS, OWN_PORTS, NAT_DESTINATION, NAT_FULL_CONE, NAT_PORT_RESTRICTED_CONE, NAT_RESTRICTED_CONE, NAT_SOURCE, TUPLE_HASH,
  TUPLE_KIND, TUPLE_PORTS, TUPLE_SIZE, KIND_IP6,
} from "../abi";
import { coldAt, extend, flowAt, isFlow4, INSERTED, setStatus, setTuple, tupleOf } from "../table/flow";
import { countMapping, findMapping, innerKey, isHeld, mappingTimeout, NOBODY, outerKey } from "../table/mappings";
import { destroy } from "../table/wheel";
import { swap16 } from "../wire/bytes";
import { choose, isUsed, RANGE_ADDRESSES, RANGE_FULLY_RANDOM, RANGE_PERSISTENT, RANGE_PORTS } from "./allocate";
import { abandon, begin, confirm, refresh } from "./begin";
import { invert } from "./tuples";
import { hasPorts } from "../wire/l4";

export const CONES: u32 = NAT_FULL_CONE | NAT_RESTRICTED_CONE | NAT_PORT_RESTRICTED_CONE;

/** Ports that are tried when the ones before were the host's own. */
const OWN_TRIES: u32 = 16;

/** Results of `mapDestination`. */
export const NOT_MAPPED: u32 = 0;
export const MAPPED: u32 = 1;
export const FILTERED: u32 = 2;

@inline
function widthOf(tuple: usize): usize {
  return (load<u32>(tuple, TUPLE_KIND) & KIND_IP6) == 0 ? 4 : 16;
}

@inline
function protocolOf(tuple: usize): u32 {
  return (load<u32>(tuple, TUPLE_KIND) >>> 16) & 0xff;
}

/**
 * Gives a tuple that leaves the source of its mapping; makes one where the request asks for that (NAT_*_CONE). False: it has none, or
 * the flow cannot use it, and the tuple is as before. `net`: whose ports are nobody's (0: none). `scratch`: seven tuples.
 */
export function mapSource(worker: usize, net: usize, tuple: usize, request: usize, ticks: u32, scratch: usize): bool {
  if (!hasPorts(protocolOf(tuple))) return false;
  const key = scratch, outer = key + TUPLE_SIZE, rest = outer + TUPLE_SIZE, cone = <u32>load<u16>(request, NATREQ_FLAGS) & CONES;
  innerKey(tuple, NOBODY, key);
  let flow = findMapping(key, 0, ticks);
  if (flow != 0) {
    leavingOf(flow, rest, outer);
    if (!isAllowed(outer, request)) {
      // Its address is not what sources are to have here (any more): it goes, if nobody uses it.
      if (cone == 0 || isHeld(flow) || !destroy(flow, ticks, rest)) return false;
      flow = 0;
    }
  }
  if (flow == 0) {
    if (cone == 0 || !chooseOuter(worker, net, key, outer, request, rest)) return false;
    flow = make(key, outer, cone, ticks, rest);
    if (flow == 0) return false;
    leavingOf(flow, rest, outer);
  }
  if (!use(tuple, outer, rest)) return false;
  return (load<u32>(flowAt(flow), FLOW_MARK) & NAT_RESTRICTED_CONE) == 0 || mayAnswer(tuple, outer, key, ticks, rest);
}

/** How packets of a mapping leave: its outer end as their source. `answers`: room for a tuple. */
function leavingOf(flow: u32, answers: usize, out: usize): void {
  memory.fill(out, 0, TUPLE_SIZE);
  tupleOf(flow, 1, answers);
  invert(answers, out);
}

/** Is a mapping's outer address one of those that the request names? */
function isAllowed(outer: usize, request: usize): bool {
  if ((load<u16>(request, NATREQ_FLAGS) & <u16>RANGE_ADDRESSES) == 0) return true;
  const width = widthOf(outer);
  return memory.compare(outer, request + NATREQ_MIN, width) >= 0 && memory.compare(outer, request + NATREQ_MAX, width) <= 0;
}

/**
 * An outer end that is no mapping's yet, nor a port of the host's own sockets, which would hear nothing any more; all of a client's on
 * one address where there are several (RFC 4787 REQ-2).
 */
function chooseOuter(worker: usize, net: usize, key: usize, outer: usize, request: usize, scratch: usize): bool {
  const flags = load<u16>(request, NATREQ_FLAGS);
  let wanted = flags | <u16>RANGE_PERSISTENT, chosen = false;
  memory.copy(outer, key, TUPLE_SIZE);
  for (let tries: u32 = 0; tries < OWN_TRIES; tries++) {
    store<u16>(request, wanted, NATREQ_FLAGS);
    chosen = choose(worker, outer, request, NAT_SOURCE, scratch);
    // What leaves as it is may be of that very socket.
    if (!chosen || net == 0 || !isOwn(net, outer) || sameSource(outer, key)) break;
    wanted |= <u16>RANGE_FULLY_RANDOM;
    chosen = false;
  }
  store<u16>(request, flags, NATREQ_FLAGS);
  return chosen;
}

function isOwn(net: usize, tuple: usize): bool {
  const bit = <u32>swap16(load<u16>(tuple, TUPLE_PORTS)) & (OWN_PORTS - 1);
  return ((<u32>load<u8>(net + (bit >>> 3), NETNS_OWN_PORTS) >>> (bit & 7)) & 1) != 0;
}

function sameSource(a: usize, b: usize): bool {
  return load<u16>(a, TUPLE_PORTS) == load<u16>(b, TUPLE_PORTS) && memory.compare(a, b, widthOf(a)) == 0;
}

/** Puts the outer end's address and port into a tuple; false when the answers would be somebody else's. */
function use(tuple: usize, outer: usize, scratch: usize): bool {
  const before = v128.load(tuple), port = load<u16>(tuple, TUPLE_PORTS), width = widthOf(tuple);
  memory.copy(tuple, outer, width);
  store<u16>(tuple, load<u16>(outer, TUPLE_PORTS), TUPLE_PORTS);
  if (!isUsed(tuple, scratch)) return true;
  if (width == 4) store<u32>(tuple, <u32>i32x4.extract_lane(before, 0));
  else v128.store(tuple, before);
  store<u16>(tuple, port, TUPLE_PORTS);
  return false;
}

/** A mapping from the source of `key` to that of `outer`: the one there is now, 0 without room. `scratch`: four tuples. */
export function make(key: usize, outer: usize, mark: u32, ticks: u32, scratch: usize): u32 {
  const answers = scratch, rest = answers + TUPLE_SIZE;
  memory.fill(answers, 0, TUPLE_SIZE);
  invert(outer, answers);
  const flow = begin(key, answers, ticks, rest);
  if (flow == 0) return 0;
  const hot = flowAt(flow);
  if (!isFlow4(hot)) {
    if (extend(flow) == 0) { abandon(flow); return 0; }
    setTuple(flow, 1, answers);
  }
  store<u32>(coldAt(flow), 0);
  store<u32>(hot, mark, FLOW_MARK);
  store<u32>(hot, ticks + mappingTimeout(), FLOW_EXPIRES);
  if (confirm(flow, ticks, rest) == INSERTED) { countMapping(1); return flow; }
  abandon(flow);
  // Another worker was faster.
  return findMapping(key, 0, ticks);
}

/**
 * Maps the source of a tuple to that of another for a time, as somebody asks by name (PCP, NAT-PMP, UPnP). Its number, new or not; 0 when the outer end is
 * taken, or there is no room. What the inner end sends leaves by the first that it got. `scratch`: six tuples.
 */
export function mapExplicitly(inner: usize, outer: usize, mark: u32, ticks: u32, lifetime: u32, scratch: usize): u32 {
  const key = scratch, leaving = key + TUPLE_SIZE, rest = leaving + TUPLE_SIZE;
  innerKey(outer, NOBODY, leaving);
  innerKey(inner, NOBODY, key);
  let flow = mappingTo(key, leaving, ticks, rest);
  if (flow == 0 && findMapping(key, 0, ticks) != 0) {
    // Another outer end for the same inner one: only what comes to it finds it, by a key of its own.
    memory.copy(key + widthOf(key), leaving, widthOf(key));
    store<u16>(key, load<u16>(leaving, TUPLE_PORTS), TUPLE_PORTS + 2);
    flow = mappingTo(key, leaving, ticks, rest);
  }
  if (flow == 0) {
    if (isUsed(leaving, rest)) return 0;
    flow = make(key, leaving, mark, ticks, rest);
    if (flow == 0) return 0;
  }
  const hot = flowAt(flow);
  store<u32>(hot, mark, FLOW_MARK);
  setStatus(hot, IPS_ASSURED);
  refresh(flow, hot, ticks, lifetime);
  return flow;
}

/** The mapping of a key, if it leads to that outer end. `scratch`: two tuples. */
function mappingTo(key: usize, leaving: usize, ticks: u32, scratch: usize): u32 {
  const flow = findMapping(key, 0, ticks), other = scratch + TUPLE_SIZE;
  if (flow == 0) return 0;
  leavingOf(flow, scratch, other);
  return memory.compare(other, leaving, TUPLE_HASH) == 0 ? flow : 0;
}

/** The far address of a tuple may come from other ports of its own: there is a record for it. `scratch`: five tuples. */
function mayAnswer(tuple: usize, outer: usize, key: usize, ticks: u32, scratch: usize): bool {
  const width = widthOf(tuple), inner = scratch, rest = inner + TUPLE_SIZE;
  memory.copy(inner, key, TUPLE_SIZE);
  memory.copy(outer + width, tuple + width, width);
  memory.copy(inner + width, tuple + width, width);
  if (findMapping(inner, 0, ticks) != 0) return true;
  return make(inner, outer, NAT_RESTRICTED_CONE, ticks, rest) != 0;
}

/**
 * The translation of a packet that comes to a mapping's outer end, written to `request` (NATREQ_*): MAPPED, NOT_MAPPED, or FILTERED when the
 * mapping is not for whom it comes from. Such a packet is nobody's: taken for one of this host's own it would make a flow that
 * stands in the way of the mapping's. `scratch`: two tuples.
 */
export function mapDestination(tuple: usize, request: usize, ticks: u32, scratch: usize): u32 {
  if (!hasPorts(protocolOf(tuple))) return NOT_MAPPED;
  const key = scratch, inner = key + TUPLE_SIZE;
  outerKey(tuple, NOBODY, key);
  const flow = findMapping(key, 1, ticks);
  if (flow == 0) return NOT_MAPPED;
  const mark = load<u32>(flowAt(flow), FLOW_MARK);
  if ((mark & NAT_PORT_RESTRICTED_CONE) != 0) return FILTERED;
  if ((mark & NAT_RESTRICTED_CONE) != 0) {
    outerKey(tuple, tuple, key);
    if (findMapping(key, 1, ticks) == 0) return FILTERED;
  }
  tupleOf(flow, 0, inner);
  const port = <u16>swap16(load<u16>(inner, TUPLE_PORTS));
  store<u8>(request, NAT_DESTINATION, NATREQ_KIND);
  store<u16>(request, <u16>(RANGE_ADDRESSES | RANGE_PORTS), NATREQ_FLAGS);
  store<u16>(request, port, NATREQ_MIN_PORT);
  store<u16>(request, port, NATREQ_MAX_PORT);
  v128.store(request, v128.load(inner), NATREQ_MIN);
  v128.store(request, v128.load(inner), NATREQ_MAX);
  return MAPPED;
}
