/** Fields of a packet's flow that rules read and write (`ct …`) and that do not lie ready: nft_ct.c's keys, by CTFIELD_*. */
import {
  CT_NEW, EVENT_UPDATE, CTFIELD_AVERAGE, CTFIELD_BYTES, CTFIELD_DESTINATION, CTFIELD_DESTINATION_PORT, CTFIELD_EXPIRATION, CTFIELD_HELPER, CTFIELD_ID,
  CTFIELD_LABELS, CTFIELD_MARK, CTFIELD_PACKETS, CTFIELD_SOURCE, CTFIELD_SOURCE_PORT, CTFIELD_ZONE, CTFIELD_ZONE_ORIGINAL, CTFIELD_ZONE_REPLY, ZONE_NOT_ORIGINAL, ZONE_NOT_REPLY, EXTENSION_HELPER, EXTENSION_LABELS, EXTENSION_MASTER_HELPER,
  FLOW_EXPIRES, FLOW_EXTENSION, FLOW_MARK, FLOW_PROTOCOL, FLOW_STATUS, HELPER_FAMILY, HELPER_PROTOCOL, IPS_CONFIRMED, IPS_HELPER, KIND_IP6, TUPLE_KIND, TUPLE_PORTS, VEC_CTINFO, VEC_FLOW, VEC_ZONE, WORKER_TICKS,
  WORKER_TUPLES,
} from "../abi";
import { tell } from "../table/flow-events";
import { countersAt, extend, extensionAt, flowAt, isFlow4, setStatus, tupleOf } from "../table/flow";

/** Either direction's packets and bytes, or both together. */
export const BOTH: u32 = 2;

/** Writes a field to `out`; bytes written, 0 when the packet has no flow or the flow no such field. */
export function loadField(worker: usize, p: u32, field: u32, direction: u32, out: usize): u32 {
  const ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
  if (ref == 0) return 0;
  const flow = ref >>> 1, hot = flowAt(flow);
  if (field <= <u32>CTFIELD_DESTINATION_PORT) return loadTuple(worker, flow, field, direction, out);
  if (field >= <u32>CTFIELD_PACKETS && field <= <u32>CTFIELD_AVERAGE) return loadCounter(flow, field, direction, out);
  if (field == CTFIELD_LABELS) {
    const extension = load<u32>(hot, FLOW_EXTENSION);
    if (extension == 0) v128.store(out, i32x4.splat(0));
    else v128.store(out, v128.load(extensionAt(extension), EXTENSION_LABELS));
    return 16;
  }
  let value: u32 = 0;
  if (field == CTFIELD_EXPIRATION) value = load<u32>(hot, FLOW_EXPIRES) - load<u32>(worker, WORKER_TICKS);
  else if (field == CTFIELD_ZONE) {
    tupleOf(flow, direction & 1, worker + WORKER_TUPLES);
    value = load<u16>(worker + WORKER_TUPLES, TUPLE_KIND);
  }
  else if (field == CTFIELD_ID) value = flow;
  else if (field == CTFIELD_MARK) value = load<u32>(hot, FLOW_MARK);
  else if (field == CTFIELD_HELPER) {
    const extension = load<u32>(hot, FLOW_EXTENSION);
    value = extension == 0 ? 0 : load<u16>(extensionAt(extension), EXTENSION_MASTER_HELPER);
    if (value == 0) return 0;
  } else return 0;
  store<u32>(out, value);
  return 4;
}

function loadTuple(worker: usize, flow: u32, field: u32, direction: u32, out: usize): u32 {
  const tuple = worker + WORKER_TUPLES;
  tupleOf(flow, direction & 1, tuple);
  const width: u32 = (load<u32>(tuple, TUPLE_KIND) & KIND_IP6) == 0 ? 4 : 16;
  if (field == CTFIELD_SOURCE) memory.copy(out, tuple, width);
  else if (field == CTFIELD_DESTINATION) memory.copy(out, tuple + width, width);
  else {
    store<u16>(out, load<u16>(tuple + (field == CTFIELD_SOURCE_PORT ? 0 : 2), TUPLE_PORTS));
    return 2;
  }
  return width;
}

@inline
function bytesOf(counters: usize, way: usize): u64 {
  return load<u64>(counters + (way << 3)) & 0xffffffffffff;
}

@inline
function packetsOf(counters: usize, way: usize): u64 {
  return (load<u64>(counters + (way << 3)) >> 48 << 32) | load<u32>(counters + 16 + (way << 2));
}

function loadCounter(flow: u32, field: u32, direction: u32, out: usize): u32 {
  const counters = countersAt(flow);
  if (counters == 0) return 0;
  let bytes: u64 = 0, packets: u64 = 0;
  for (let way: u32 = 0; way < 2; way++) {
    if (direction != BOTH && direction != way) continue;
    bytes += bytesOf(counters, way);
    packets += packetsOf(counters, way);
  }
  store<u64>(out, field == CTFIELD_BYTES ? bytes : field == CTFIELD_PACKETS ? packets : packets == 0 ? 0 : bytes / packets);
  return 8;
}

/**
 * Sets a field from `bytes` bytes at `from`; false when the packet has no flow, or there is no room for what the field needs. The zone is set
 * while there is none: it says which flow will be the packet's.
 */
export function storeField(worker: usize, p: u32, field: u32, from: usize, bytes: u32): bool {
  const ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
  if (ref == 0 && (field == CTFIELD_ZONE || field == CTFIELD_ZONE_ORIGINAL || field == CTFIELD_ZONE_REPLY)) {
    const ways: u32 = field == CTFIELD_ZONE ? 0 : field == CTFIELD_ZONE_ORIGINAL ? ZONE_NOT_REPLY : ZONE_NOT_ORIGINAL;
    store<u32>(worker + (<usize>p << 2), <u32>load<u16>(from) | ways, VEC_ZONE);
    store<u8>(worker + <usize>p, CT_NEW, VEC_CTINFO);
    return true;
  }
  if (ref == 0) return false;
  const hot = flowAt(ref >>> 1);
  if (field == CTFIELD_MARK && bytes >= 4) return markFlow(worker, ref >>> 1, hot, load<u32>(from));
  if (field == CTFIELD_HELPER) return help(ref >>> 1, hot, from);
  if (field != CTFIELD_LABELS) return false;
  const extension = extend(ref >>> 1);
  if (extension == 0) return false;
  const at = extensionAt(extension);
  // Labels are only ever added (nf_connlabels_replace with the union of both).
  v128.store(at, v128.or(v128.load(at, EXTENSION_LABELS), v128.load(from)), EXTENSION_LABELS);
  return true;
}

/** A flow that begins gets the helper of an object, when it is of the object's protocol and family and has none (nft_ct_helper_obj_eval). */
function help(flow: u32, hot: usize, object: usize): bool {
  const family = <u32>load<u8>(object, HELPER_FAMILY);
  if ((load<u32>(hot, FLOW_STATUS) & (IPS_CONFIRMED | IPS_HELPER)) != 0 || load<u8>(hot, FLOW_PROTOCOL) != load<u8>(object, HELPER_PROTOCOL)) return false;
  if (family != 0 && (family == 4) != isFlow4(hot)) return false;
  const extension = extend(flow);
  if (extension == 0) return false;
  store<u16>(extensionAt(extension), load<u16>(object), EXTENSION_HELPER);
  setStatus(hot, IPS_HELPER);
  return true;
}

function markFlow(worker: usize, flow: u32, hot: usize, mark: u32): bool {
  if (load<u32>(hot, FLOW_MARK) == mark) return true;
  store<u32>(hot, mark, FLOW_MARK);
  // The first event of a new flow tells its mark.
  if ((load<u32>(hot, FLOW_STATUS) & IPS_CONFIRMED) != 0) tell(flow, EVENT_UPDATE, load<u32>(worker, WORKER_TICKS));
  return true;
}
