/**
 * When flows end: a hierarchical timer wheel (Varghese and Lauck, 1987) of 256 + 256 + 64 slots, in units of 256 ms.
 *
 * A packet that prolongs a flow writes its new time and nothing else; the flow stays in its slot and, when that comes up,
 * moves on to where it belongs by then. Only a time that becomes shorter moves a flow at once. Slots are lists through the
 * cold records; one lock guards them all, and the data path takes it once for a new flow.
 */
import {
  COLD_WHEEL_NEXT, COLD_WHEEL_PREVIOUS, COLD_WHEEL_SLOT, EVENT_DESTROY, FLOWS_USED, FLOWS_WHEEL_LOCK, FLOWS_WHEEL_SLOTS,
  FLOWS_WHEEL_STARTED, FLOWS_WHEEL_TIME, FLOW_BACKEND, FLOW_EXPIRES, FLOW_PHASE, FLOW_STATUS, FLOW_STAT_EXPIRED, IPS_DYING, IPS_HELPER,
  PHASE_MAPPED_DESTINATION, PHASE_MAPPED_SOURCE,
} from "../abi";
import { lock, unlock } from "../core/sync";
import { flowClosed } from "./balance";
import { expectNothing } from "./expectations";
import { claimEnd, coldAt, countFlow, flowAt, flows, isLinked, removeFlow, retireFlow, setStatus } from "./flow";
import { tell } from "./flow-events";
import { countMapping, holdMappings, isHeld, isMapping, mappingTimeout } from "./mappings";

const UNIT_SHIFT: u32 = 8;
const SLOTS: u32 = 256;
/** Slots in all; also "in none". */
export const WHEEL_SLOTS: u32 = 256 + 256 + 64;
const NOWHERE: u32 = 0xffffffff;
/** Units since the clock began wrap with the milliseconds. */
const UNITS: u32 = 0xffffff;

@inline
function slotAt(slot: u32): usize {
  return <usize>load<u32>(flows(), FLOWS_WHEEL_SLOTS) + (<usize>slot << 2);
}

/** Units from now until `due`; 0 when it is past. */
@inline
function unitsUntil(due: u32, now: u32): u32 {
  const left = (due - now) & UNITS;
  return left > UNITS >>> 1 ? 0 : left;
}

function slotFor(expires: u32, now: u32): u32 {
  const left = max<u32>(unitsUntil((expires >>> UNIT_SHIFT) + 1 & UNITS, now), 1), due = now + left;
  if (left < SLOTS) return due & 255;
  if (left < SLOTS * SLOTS) return SLOTS + (due >>> 8 & 255);
  return 2 * SLOTS + ((now + min<u32>(left, SLOTS * SLOTS * 63)) >>> 16 & 63);
}

function link(flow: u32, slot: u32): void {
  const head = slotAt(slot), first = load<u32>(head), cold = coldAt(flow);
  store<u32>(cold, first, COLD_WHEEL_NEXT);
  store<u32>(cold, 0, COLD_WHEEL_PREVIOUS);
  store<u32>(cold, slot, COLD_WHEEL_SLOT);
  if (first != 0) store<u32>(coldAt(first), flow, COLD_WHEEL_PREVIOUS);
  store<u32>(head, flow);
}

function unlink(flow: u32): void {
  const cold = coldAt(flow), slot = load<u32>(cold, COLD_WHEEL_SLOT);
  if (slot == NOWHERE) return;
  const next = load<u32>(cold, COLD_WHEEL_NEXT), previous = load<u32>(cold, COLD_WHEEL_PREVIOUS);
  if (next != 0) store<u32>(coldAt(next), previous, COLD_WHEEL_PREVIOUS);
  if (previous != 0) store<u32>(coldAt(previous), next, COLD_WHEEL_NEXT);
  else store<u32>(slotAt(slot), next);
  store<u32>(cold, NOWHERE, COLD_WHEEL_SLOT);
}

function start(at: usize, ticks: u32): void {
  if (load<u32>(at, FLOWS_WHEEL_STARTED) != 0) return;
  store<u32>(at, ticks >>> UNIT_SHIFT, FLOWS_WHEEL_TIME);
  store<u32>(at, 1, FLOWS_WHEEL_STARTED);
}

/** With nothing in it, the wheel stands still: its time is that of the next flow. */
function stop(at: usize): void {
  lock(at + FLOWS_WHEEL_LOCK);
  if (load<u32>(at, FLOWS_USED) == 0) store<u32>(at, 0, FLOWS_WHEEL_STARTED);
  unlock(at + FLOWS_WHEEL_LOCK);
}

/** A flow that has just come into the table. */
export function schedule(flow: u32, ticks: u32): void {
  const at = flows();
  lock(at + FLOWS_WHEEL_LOCK);
  start(at, ticks);
  link(flow, slotFor(load<u32>(flowAt(flow), FLOW_EXPIRES), load<u32>(at, FLOWS_WHEEL_TIME)));
  unlock(at + FLOWS_WHEEL_LOCK);
}

/** The flow's time has become shorter. */
export function hasten(flow: u32): void {
  const at = flows();
  lock(at + FLOWS_WHEEL_LOCK);
  if (load<u32>(coldAt(flow), COLD_WHEEL_SLOT) != NOWHERE && (load<u32>(flowAt(flow), FLOW_STATUS) & IPS_DYING) == 0) {
    unlink(flow);
    link(flow, slotFor(load<u32>(flowAt(flow), FLOW_EXPIRES), load<u32>(at, FLOWS_WHEEL_TIME)));
  }
  unlock(at + FLOWS_WHEEL_LOCK);
}

/** Ends a flow now; false when somebody else does so, or is still making it. `scratch`: three tuples. */
export function destroy(flow: u32, ticks: u32, scratch: usize): bool {
  if (!claimEnd(flow)) return false;
  const at = flows(), hot = flowAt(flow);
  setStatus(hot, IPS_DYING);
  if (isMapping(flow)) countMapping(-1);
  else if ((load<u32>(hot, FLOW_PHASE) & (PHASE_MAPPED_SOURCE | PHASE_MAPPED_DESTINATION)) != 0) holdMappings(flow, -1, ticks, scratch);
  removeFlow(flow, scratch);
  lock(at + FLOWS_WHEEL_LOCK);
  unlink(flow);
  unlock(at + FLOWS_WHEEL_LOCK);
  const backend = <u32>load<u16>(hot, FLOW_BACKEND);
  if (backend != 0) flowClosed(backend - 1);
  if ((load<u32>(hot, FLOW_STATUS) & IPS_HELPER) != 0) expectNothing(flow);
  tell(flow, EVENT_DESTROY, ticks);
  retireFlow(flow);
  return true;
}

/** Turns the wheel to `ticks` and ends what is due, at most `budget` flows looked at; true when it got there. */
export function turnWheel(ticks: u32, budget: u32, scratch: usize): bool {
  const at = flows();
  if (load<u32>(at, FLOWS_USED) == 0) stop(at);
  if (load<u32>(at, FLOWS_WHEEL_STARTED) == 0) return true;
  const target = ticks >>> UNIT_SHIFT;
  let now = load<u32>(at, FLOWS_WHEEL_TIME);
  while (unitsUntil(target, now) != 0) {
    now = (now + 1) & UNITS;
    // What belongs to the time that begins comes down a level before its slot is looked at.
    lock(at + FLOWS_WHEEL_LOCK);
    store<u32>(at, now, FLOWS_WHEEL_TIME);
    if ((now & 0xffff) == 0) bringDown(2 * SLOTS + (now >>> 16 & 63), now);
    if ((now & 255) == 0) bringDown(SLOTS + (now >>> 8 & 255), now);
    unlock(at + FLOWS_WHEEL_LOCK);
    budget = endSlot(at, now, ticks, budget, scratch);
    if (budget == 0) {
      // Not all of the slot was seen: it is this time once more.
      store<u32>(at, (now - 1) & UNITS, FLOWS_WHEEL_TIME);
      return false;
    }
  }
  return true;
}

function bringDown(slot: u32, now: u32): void {
  let flow = load<u32>(slotAt(slot));
  store<u32>(slotAt(slot), 0);
  while (flow != 0) {
    const next = load<u32>(coldAt(flow), COLD_WHEEL_NEXT), hot = flowAt(flow);
    link(flow, slotBelow(load<u32>(hot, FLOW_EXPIRES), now));
    flow = next;
  }
}

/** As slotFor, but what is due already goes into the slot that is about to be looked at. */
function slotBelow(expires: u32, now: u32): u32 {
  return unitsUntil((expires >>> UNIT_SHIFT) + 1 & UNITS, now) == 0 ? now & 255 : slotFor(expires, now);
}

function endSlot(at: usize, now: u32, ticks: u32, budget: u32, scratch: usize): u32 {
  const slot = now & 255;
  for (; budget != 0; budget--) {
    lock(at + FLOWS_WHEEL_LOCK);
    const flow = load<u32>(slotAt(slot));
    if (flow == 0) { unlock(at + FLOWS_WHEEL_LOCK); return budget; }
    unlink(flow);
    if (isHeld(flow)) store<u32>(flowAt(flow), ticks + mappingTimeout(), FLOW_EXPIRES);
    const expires = load<u32>(flowAt(flow), FLOW_EXPIRES), isDue = <i32>(ticks - expires) >= 0 && isLinked(flow);
    if (!isDue) link(flow, slotFor(expires, now));
    unlock(at + FLOWS_WHEEL_LOCK);
    if (isDue && destroy(flow, ticks, scratch)) countFlow(FLOW_STAT_EXPIRED);
  }
  return 0;
}
