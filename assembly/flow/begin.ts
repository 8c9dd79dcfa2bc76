/**
 * Where flows begin and how long they last: the record of a first packet, expectations, the timeouts of everything but TCP,
 * and what happens when there is no room (nf_conntrack_core's early drop: the unassured go first).
 */
import {
  COLD_STATE, EVENT_NEW, FLOWS_TIMEOUTS, FLOW_BUCKET_SLOTS, FLOW_EXPIRES, FLOW_PHASE, FLOW_PROTOCOL, FLOW_STATUS, FLOW_STAT_CLASH,
  FLOW_STAT_DROP, FLOW_STAT_EARLY_DROP, FLOW_STAT_INSERT, IPS_ASSURED, IPS_CONFIRMED, IPS_DYING, IPS_SEEN_REPLY, PHASE_MAPPED_DESTINATION,
  PHASE_MAPPED_SOURCE, TIMEOUT_GENERIC, TIMEOUT_GRE, TIMEOUT_GRE_STREAM, TIMEOUT_ICMP, TIMEOUT_ICMP6, TIMEOUT_UDP,
  TIMEOUT_UDP_STREAM, TUPLE_HASH, TUPLE_KIND, TUPLE_SIZE, FLOW_KIND,
} from "../abi";
import { fetchAnd } from "../core/sync";
import {
  allocateFlow, coldAt, countersAt, countFlow, entryOf, find, firstBucket, flowAt, isFlow4, flows, hashTuple, INSERTED, insertFlow, isFull, nextBucket,
  retireFlow, setLinked, setStatus, setTuple, tupleOf, zoneWay,
} from "../table/flow";
import { tell } from "../table/flow-events";
import { holdMappings } from "../table/mappings";
import { destroy, hasten, schedule } from "../table/wheel";
import { ICMP, ICMP6, TCP, UDP, UDPLITE } from "../wire/l4";

const GRE: u32 = 47;
/** A UDP flow in both directions counts as a stream when it lasts longer. */
const STREAM_AFTER_MS: u32 = 2000;
/** Buckets looked at for one that may go; the kernel looks at as many (NF_CT_EVICTION_RANGE), of one entry each on average. */
const BUCKETS_SEARCHED: u32 = 8;

@inline
export function timeoutAt(index: u32): u32 {
  return load<u32>(<usize>load<u32>(flows(), FLOWS_TIMEOUTS) + (<usize>index << 2));
}

/** A record for a tuple that begins a flow, its answers' tuple beside it; not in the table yet. 0 when there is no room at all. */
export function begin(tuple: usize, answers: usize, ticks: u32, scratch: usize): u32 {
  let flow = allocateFlow();
  if (flow == 0) {
    if (isFull() && dropEarly(load<u32>(tuple, TUPLE_HASH), ticks, scratch)) flow = allocateFlow();
    if (flow == 0) { countFlow(FLOW_STAT_DROP); return 0; }
  }
  const hot = flowAt(flow), way = zoneWay(tuple, answers);
  store<u32>(hot, load<u32>(tuple, TUPLE_KIND) | load<u32>(answers, TUPLE_KIND), FLOW_KIND);
  if (way != 0) store<u32>(hot, load<u32>(hot, FLOW_PHASE) | way, FLOW_PHASE);
  setTuple(flow, 0, tuple);
  setTuple(flow, 1, answers);
  store<u32>(coldAt(flow), ticks + STREAM_AFTER_MS);
  return flow;
}

/** Ends a flow that is not assured, out of the buckets around a hash. */
function dropEarly(hash: u32, ticks: u32, scratch: usize): bool {
  let bucket = firstBucket(hash);
  for (let i: u32 = 0; i < BUCKETS_SEARCHED; i++) {
    for (let slot: u32 = 0; slot < <u32>FLOW_BUCKET_SLOTS; slot++) {
      const flow = entryOf(bucket, slot);
      if (flow == 0 || (load<u32>(flowAt(flow), FLOW_STATUS) & (IPS_CONFIRMED | IPS_ASSURED | IPS_DYING)) != IPS_CONFIRMED) continue;
      if (destroy(flow, ticks, scratch)) { countFlow(FLOW_STAT_EARLY_DROP); return true; }
    }
    bucket = nextBucket(bucket);
  }
  return false;
}

/**
 * A flow's first packet has passed everything: from now on others find it, and when it is in the wheel too they may end it. CLASH
 * when somebody was faster.
 */
export function confirm(flow: u32, ticks: u32, scratch: usize): u32 {
  const hot = flowAt(flow);
  setStatus(hot, IPS_CONFIRMED);
  const result = insertFlow(flow, scratch);
  if (result != INSERTED) {
    fetchAnd(hot + FLOW_STATUS, ~IPS_CONFIRMED);
    return result;
  }
  schedule(flow, ticks);
  if ((load<u32>(hot, FLOW_PHASE) & (PHASE_MAPPED_SOURCE | PHASE_MAPPED_DESTINATION)) != 0) holdMappings(flow, 1, ticks, scratch);
  setLinked(flow);
  countFlow(FLOW_STAT_INSERT);
  tell(flow, EVENT_NEW, ticks);
  return INSERTED;
}

/**
 * Somebody else has made the same flow meanwhile: which one, or 0 when it is not the same (another translation), or of TCP, whose
 * segments have an order. What was counted for the loser counts for the winner. As nf_ct_resolve_clash.
 */
export function resolveClash(flow: u32, scratch: usize): u32 {
  const hot = flowAt(flow), other = scratch + TUPLE_SIZE;
  if (<u32>load<u8>(hot, FLOW_PROTOCOL) == TCP) return 0;
  tupleOf(flow, 0, scratch);
  hashTuple(scratch);
  const ref = find(scratch);
  if (ref == 0 || (ref & 1) != 0) return 0;
  memory.fill(scratch, 0, 2 * TUPLE_SIZE);
  tupleOf(flow, 1, scratch);
  tupleOf(ref >>> 1, 1, other);
  if (memory.compare(scratch, other, TUPLE_HASH) != 0) return 0;
  const lost = countersAt(flow), won = countersAt(ref >>> 1);
  if (lost != 0) {
    store<u64>(won, load<u64>(won) + load<u64>(lost));
    store<u32>(won, load<u32>(won, 16) + load<u32>(lost, 16), 16);
  }
  countFlow(FLOW_STAT_CLASH);
  return ref;
}

/** A flow whose first packet did not pass. */
export function abandon(flow: u32): void {
  const hot = flowAt(flow), status = load<u32>(hot, FLOW_STATUS);
  if ((status & (IPS_CONFIRMED | IPS_DYING)) != 0) return;
  setStatus(hot, IPS_DYING);
  retireFlow(flow);
}

/** The flow lives for `timeout` milliseconds from now. */
@inline
export function refresh(flow: u32, hot: usize, ticks: u32, timeout: u32): void {
  const expires = ticks + timeout, before = load<u32>(hot, FLOW_EXPIRES);
  store<u32>(hot, expires, FLOW_EXPIRES);
  if (<i32>(before - expires) > 0 && (load<u32>(hot, FLOW_STATUS) & IPS_CONFIRMED) != 0) hasten(flow);
}

/** What a packet of anything but TCP and SCTP does to its flow. */
export function trackOther(flow: u32, hot: usize, ticks: u32): void {
  const protocol = <u32>load<u8>(hot, FLOW_PROTOCOL), status = load<u32>(hot, FLOW_STATUS);
  if (protocol == UDP || protocol == UDPLITE) {
    if ((status & IPS_SEEN_REPLY) == 0) { refresh(flow, hot, ticks, timeoutAt(TIMEOUT_UDP)); return; }
    const isStream = <i32>(ticks - load<u32>(coldAt(flow))) > 0;
    refresh(flow, hot, ticks, timeoutAt(isStream ? TIMEOUT_UDP_STREAM : TIMEOUT_UDP));
    if (isStream && (status & IPS_ASSURED) == 0) setStatus(hot, IPS_ASSURED);
  } else if (protocol == (isFlow4(hot) ? ICMP : ICMP6)) {
    refresh(flow, hot, ticks, timeoutAt(isFlow4(hot) ? TIMEOUT_ICMP : TIMEOUT_ICMP6));
  } else if (protocol == GRE) {
    const replied = (status & IPS_SEEN_REPLY) != 0;
    refresh(flow, hot, ticks, timeoutAt(replied ? TIMEOUT_GRE_STREAM : TIMEOUT_GRE));
    if (replied) setStatus(hot, IPS_ASSURED);
  } else refresh(flow, hot, ticks, timeoutAt(TIMEOUT_GENERIC));
}

/** State as it is listed; TCP has one. */
@inline
export function stateOf(flow: u32): u32 {
  return <u32>load<u8>(coldAt(flow), COLD_STATE);
}
