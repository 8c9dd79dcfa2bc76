/** What happens to flows, for those who watch (`conntrack -E`): copies of the record in a ring, oldest kept, losses counted. */
import {
  COLD_STATE, FLOWS_EVENTS, FLOWS_EVENT_CAPACITY, FLOWS_EVENT_HEAD, FLOWS_EVENT_LOCK, FLOWS_EVENT_LOST, FLOWS_EVENT_TAIL, FLOW_COUNTER_SIZE,
  FLOW_EVENT_COUNTERS, FLOW_EVENT_FLOW, FLOW_EVENT_RECORD, FLOW_EVENT_REPLY, FLOW_EVENT_SIZE, FLOW_EVENT_TIME, FLOW_SIZE, FLOW_SPACE,
  SPACE_MAPPING,
} from "../abi";
import { lock, unlock } from "../core/sync";
import { coldAt, countersAt, flowAt, isFlow4, flows, replyAddresses } from "./flow";

/** Notes an event (EVENT_*) of a flow; mappings are none. */
export function tell(flow: u32, kind: u32, ticks: u32): void {
  const at = flows(), capacity = load<u32>(at, FLOWS_EVENT_CAPACITY);
  if (capacity == 0 || (load<u8>(flowAt(flow), FLOW_SPACE) & SPACE_MAPPING) != 0) return;
  lock(at + FLOWS_EVENT_LOCK);
  const tail = load<u32>(at, FLOWS_EVENT_TAIL);
  if (tail - load<u32>(at, FLOWS_EVENT_HEAD) >= capacity) store<u32>(at, load<u32>(at, FLOWS_EVENT_LOST) + 1, FLOWS_EVENT_LOST);
  else {
    write(<usize>load<u32>(at, FLOWS_EVENTS) + <usize>(tail & (capacity - 1)) * FLOW_EVENT_SIZE, flow, kind, ticks);
    store<u32>(at, tail + 1, FLOWS_EVENT_TAIL);
  }
  unlock(at + FLOWS_EVENT_LOCK);
}

function write(event: usize, flow: u32, kind: u32, ticks: u32): void {
  store<u32>(event, kind | (<u32>load<u8>(coldAt(flow), COLD_STATE) << 8));
  store<u32>(event, flow, FLOW_EVENT_FLOW);
  store<u32>(event, ticks, FLOW_EVENT_TIME);
  memory.copy(event + FLOW_EVENT_RECORD, flowAt(flow), FLOW_SIZE);
  if (!isFlow4(flowAt(flow))) replyAddresses(flow, event + FLOW_EVENT_REPLY);
  const counters = countersAt(flow);
  if (counters == 0) memory.fill(event + FLOW_EVENT_COUNTERS, 0, FLOW_COUNTER_SIZE);
  else memory.copy(event + FLOW_EVENT_COUNTERS, counters, FLOW_COUNTER_SIZE);
}
