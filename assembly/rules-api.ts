/** What compiled rules and the host layer may ask of flows and translation; part of index.ts. */
import { EVENT_UPDATE, EXTENSION_HELPER, FLOWS_FRESH, FLOWS_RETIRED_FIRST, FLOW_EXPIRES, FLOW_EXTENSION, FLOW_MARK, FLOW_STATUS, IPS_CONFIRMED, IPS_DYING, REGION_FLOWS, WORKER_TUPLES } from "./abi";
import { advanceEpoch } from "./core/arena";
import { regionSize, workerAt } from "./core/layout";
import { refresh } from "./flow/begin";
import { mapExplicitly } from "./flow/mapping";
import { believe } from "./flow/tcp";
import { loadField, storeField } from "./node/ct-fields";
import { setUp } from "./node/nat";
import { expect } from "./table/expectations";
import { extensionAt, find, flowAt, flows, hashTuple, tupleOf } from "./table/flow";
import { tell } from "./table/flow-events";
import { destroy, turnWheel } from "./table/wheel";

/** For compiled rules: gives the flow of the packet at a position the translation of a request (NATREQ_*); a verdict. */
export function natSetup(worker: u32, position: u32, request: usize): u32 {
  return setUp(<usize>worker, position, request);
}

/** For compiled rules: a field of a packet's flow (CTFIELD_*), written to `out`; bytes written, 0 without a flow. */
export function flowLoad(worker: u32, position: u32, field: u32, direction: u32, out: usize): u32 {
  return loadField(<usize>worker, position, field, direction, out);
}

/** For compiled rules: sets a field of a packet's flow from `bytes` bytes at `from`; 0 when it cannot be set. */
export function flowStore(worker: u32, position: u32, field: u32, from: usize, bytes: u32): u32 {
  return storeField(<usize>worker, position, field, from, bytes) ? 1 : 0;
}

/** Ends flows that are due at `ticks` (milliseconds); 0 when more of them wait than `budget` allows. */
export function flowsTurn(worker: u32, ticks: u32, budget: u32): u32 {
  if (regionSize(REGION_FLOWS) == 0) return 1;
  const done = turnWheel(ticks, budget, workerAt(worker) + WORKER_TUPLES);
  // Bursts that begin from now on cannot hold what was ended.
  if (load<u32>(flows(), FLOWS_RETIRED_FIRST) != 0) advanceEpoch();
  return done ? 1 : 0;
}

/** Ends a flow; 0 when it was none. */
export function flowEnd(worker: u32, flow: u32, ticks: u32): u32 {
  const at = flows();
  if (regionSize(REGION_FLOWS) == 0 || flow == 0 || flow >= load<u32>(at, FLOWS_FRESH)) return 0;
  if ((load<u32>(flowAt(flow), FLOW_STATUS) & (IPS_CONFIRMED | IPS_DYING)) != IPS_CONFIRMED) return 0;
  if (!destroy(flow, ticks, workerAt(worker) + WORKER_TUPLES)) return 0;
  advanceEpoch();
  return 1;
}

/** Writes a flow's tuple of a direction to `out` (TUPLE_*). */
export function flowTuple(flow: u32, direction: u32, out: usize): void {
  tupleOf(flow, direction & 1, out);
}

/** The flow × 2 + direction of a tuple (TUPLE_*), or 0. */
export function flowFind(tuple: usize): u32 {
  if (regionSize(REGION_FLOWS) == 0) return 0;
  hashTuple(tuple);
  return find(tuple);
}

/** Expects a flow (EXPECTATION_* at `from`): 1; 0 when there is no place, 2 when another flow expects the same. */
export function flowExpect(from: usize, ticks: u32): u32 {
  return regionSize(REGION_FLOWS) != 0 ? expect(from, ticks) : 0;
}

/** Maps the source of one tuple to that of another (TUPLE_*) for `lifetime` ms: the mapping's number, or 0. `mark`: NAT_*_CONE, MAPPING_EXPLICIT. */
export function flowMap(worker: u32, inner: usize, outer: usize, mark: u32, ticks: u32, lifetime: u32): u32 {
  return regionSize(REGION_FLOWS) != 0 ? mapExplicitly(inner, outer, mark, ticks, lifetime, workerAt(worker) + WORKER_TUPLES) : 0;
}

/** A flow lives for at least `timeout` milliseconds from now. */
export function flowProlong(flow: u32, ticks: u32, timeout: u32): void {
  const hot = flowAt(flow);
  if (<i32>(load<u32>(hot, FLOW_EXPIRES) - (ticks + timeout)) < 0) refresh(flow, hot, ticks, timeout);
}

/** Marks a flow (bits of `mask`), lets it end in `timeout` milliseconds (0: when it would anyway), and tells of it. */
export function flowUpdate(flow: u32, ticks: u32, mark: u32, mask: u32, timeout: u32): void {
  if (regionSize(REGION_FLOWS) == 0 || flow == 0 || flow >= load<u32>(flows(), FLOWS_FRESH)) return;
  const hot = flowAt(flow);
  if ((load<u32>(hot, FLOW_STATUS) & (IPS_CONFIRMED | IPS_DYING)) != IPS_CONFIRMED) return;
  store<u32>(hot, (load<u32>(hot, FLOW_MARK) & ~mask) | (mark & mask), FLOW_MARK);
  if (timeout != 0) refresh(flow, hot, ticks, timeout);
  tell(flow, EVENT_UPDATE, ticks);
}

/** Number of a flow's helper, 0 without one. */
export function flowHelper(flow: u32): u32 {
  const extension = load<u32>(flowAt(flow), FLOW_EXTENSION);
  return extension == 0 ? 0 : load<u16>(extensionAt(extension), EXTENSION_HELPER);
}

/** Believes whatever windows a flow's sides show from now on: what they say is changed on its way. */
export function flowLiberal(flow: u32): void {
  believe(flow);
}
