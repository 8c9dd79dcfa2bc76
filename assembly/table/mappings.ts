/**
 * Mappings: which outer address and port an inner one has, whatever it talks to (RFC 4787 §4.1, RFC 6887 §2.3). One is kept as a flow
 * whose far end is nobody, so that it is found by its inner end as a flow is by its first packet, and by its outer end as by an
 * answer; and it uses the same memory, timers and hash. Flows that use a mapping hold it.
 */
import {
  FLOWS_MAPPINGS, FLOWS_TIMEOUTS, FLOW_EXPIRES, FLOW_MARK, FLOW_PHASE, FLOW_STATUS, IPS_ASSURED, MAPPING_EXPLICIT, NAT_RESTRICTED_CONE,
  PHASE_ENDING, PHASE_FAR_DESTINATION, PHASE_FAR_SOURCE, PHASE_MAPPED_DESTINATION, PHASE_MAPPED_SOURCE, TIMEOUT_MAPPING, TUPLE_KIND,
  TUPLE_PORTS, TUPLE_SIZE, FLOW_SPACE, SPACE_MAPPING, KIND_IP6, KIND_MAPPING,
} from "../abi";
import { fetchAdd, fetchAnd, fetchOr, loadAcquire } from "../core/sync";
import { coldAt, find, flowAt, flows, hashTuple, setStatus, tupleOf } from "./flow";

/** In place of the far address: nobody's. */
export const NOBODY: usize = 0;

@inline
export function isMapping(flow: u32): bool {
  return (load<u8>(flowAt(flow), FLOW_SPACE) & SPACE_MAPPING) != 0;
}

@inline
export function hasMappings(): bool {
  return load<u32>(flows(), FLOWS_MAPPINGS) != 0;
}

/** One mapping more, or less. */
export function countMapping(by: i32): void {
  fetchAdd(flows() + FLOWS_MAPPINGS, <u32>by);
}

@inline
export function mappingTimeout(): u32 {
  return load<u32>(<usize>load<u32>(flows(), FLOWS_TIMEOUTS) + (TIMEOUT_MAPPING << 2));
}

/** The key of the mapping of a tuple's source. `far`: the address that a restricted one is for, or 0 for the mapping itself. */
export function innerKey(tuple: usize, far: usize, key: usize): void {
  keyOf(tuple, true, far, key);
}

/** The key of the mapping that a packet with that tuple comes to. */
export function outerKey(tuple: usize, far: usize, key: usize): void {
  keyOf(tuple, false, far, key);
}

function keyOf(tuple: usize, inner: bool, far: usize, key: usize): void {
  const kind = load<u32>(tuple, TUPLE_KIND), width: usize = (kind & KIND_IP6) == 0 ? 4 : 16, near: usize = inner ? 0 : width;
  memory.fill(key, 0, TUPLE_SIZE);
  memory.copy(key + near, tuple + near, width);
  if (far != NOBODY) memory.copy(key + (width - near), far, width);
  store<u32>(key, load<u32>(tuple, TUPLE_PORTS) & (inner ? 0xffff : 0xffff0000), TUPLE_PORTS);
  store<u32>(key, kind | KIND_MAPPING, TUPLE_KIND);
}

/** The mapping of a key in that direction (0: inner keys, 1: outer ones) that lives at `ticks`, or 0. */
export function findMapping(key: usize, direction: u32, ticks: u32): u32 {
  hashTuple(key);
  const ref = find(key), flow = ref >>> 1;
  if (ref == 0 || (ref & 1) != direction || (loadAcquire(flowAt(flow) + FLOW_PHASE) & PHASE_ENDING) != 0) return 0;
  return isHeld(flow) || <i32>(load<u32>(flowAt(flow), FLOW_EXPIRES) - ticks) > 0 ? flow : 0;
}

/** A mapping lives while flows use it, unless somebody has said for how long. */
export function isHeld(flow: u32): bool {
  return isMapping(flow) && (load<u32>(flowAt(flow), FLOW_MARK) & MAPPING_EXPLICIT) == 0 && load<u32>(coldAt(flow)) != 0;
}

/**
 * A flow that has come into the table holds its mappings (by 1), one that leaves it lets go (-1), whatever became of them meanwhile.
 * `scratch`: three tuples.
 */
export function holdMappings(flow: u32, by: i32, ticks: u32, scratch: usize): void {
  const phase = load<u32>(flowAt(flow), FLOW_PHASE), tuple = scratch, answers = tuple + TUPLE_SIZE, key = answers + TUPLE_SIZE;
  tupleOf(flow, 0, tuple);
  if ((phase & PHASE_MAPPED_SOURCE) != 0) {
    innerKey(tuple, NOBODY, key);
    const mark = holdOne(key, 0, by, ticks);
    tupleOf(flow, 1, answers);
    innerKey(tuple, answers, key);
    holdFar(flow, phase, PHASE_FAR_SOURCE, mark, key, 0, by, ticks);
  }
  if ((phase & PHASE_MAPPED_DESTINATION) != 0) {
    outerKey(tuple, NOBODY, key);
    const mark = holdOne(key, 1, by, ticks);
    outerKey(tuple, tuple, key);
    holdFar(flow, phase, PHASE_FAR_DESTINATION, mark, key, 1, by, ticks);
  }
}

/** The record of a far address, of a mapping with that mark: held when it is restricted, let go by who holds it. */
function holdFar(flow: u32, phase: u32, bit: u32, mark: u32, key: usize, direction: u32, by: i32, ticks: u32): void {
  if (by > 0 ? (mark & NAT_RESTRICTED_CONE) == 0 : (phase & bit) == 0) return;
  if (holdOne(key, direction, by, ticks) != 0 && by > 0) fetchOr(flowAt(flow) + FLOW_PHASE, bit);
}

/** The mark of the mapping of a key, 0 without one. */
function holdOne(key: usize, direction: u32, by: i32, ticks: u32): u32 {
  const flow = findMapping(key, direction, ticks);
  if (flow == 0) return 0;
  const hot = flowAt(flow), holders = coldAt(flow), mark = load<u32>(hot, FLOW_MARK);
  if (by > 0) {
    fetchAdd(holders, 1);
    setStatus(hot, IPS_ASSURED);
  } else if (load<u32>(holders) != 0 && fetchAdd(holders, <u32>-1) == 1 && (mark & MAPPING_EXPLICIT) == 0) fetchAnd(hot + FLOW_STATUS, ~IPS_ASSURED);
  if ((mark & MAPPING_EXPLICIT) == 0) store<u32>(hot, ticks + mappingTimeout(), FLOW_EXPIRES);
  return mark;
}
