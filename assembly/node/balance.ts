/**
 * Load balancing in the road of a packet: the first packet of a flow to a service gets a backend, the flow remembers it, and every
 * packet after it goes there: rewritten by the flow's translation (mode nat), with another next hop (dsr), or within a packet to
 * the backend (ipip, gue). What a service decides for new flows never touches those that exist.
 */
import {
  BACKEND_ADDRESS, BACKEND_HOP, BACKEND_MODE, BACKEND_MTU, BACKEND_SIZE, BACKEND_STAT_IN_BYTES, BACKEND_STAT_IN_PACKETS,
  BACKEND_STAT_SIZE, BACKEND_TUNNEL, BALANCE_GUE, BALANCE_IPIP, BALANCE_NAT, BALANCE_TUNNELS, DESC_FLAGS, DESC_L3, DESC_NEXT_HOP,
  DESC_PACKET_LENGTH, DESC_SHIFT, DROP_BAD_NEXT_HOP, FLAG_FORWARDED, FLAG_PASSED, FLOWS_HOT, FLOW_BACKEND, FLOW_PHASE, FLOW_SIZE, NEXT_DONE,
  PHASE_ONE_SIDED, PUNT_FRAGMENTATION_NEEDED, PUNT_NEIGHBOUR, REGION_BALANCE, REGION_DESCRIPTORS, SENT, SENT_NEIGHBOUR, TUPLE_SIZE, VEC_FLOW, VEC_IDS, VEC_NEXT, VEC_RESULT, VERDICT_ACCEPT,
  VERDICT_NO_BACKEND, WORKER_NOW, WORKER_TUPLES,
} from "../abi";
import { add64, descriptorAt, region } from "../core/layout";
import { drop, punt } from "../core/packet";
import { fetchOr } from "../core/sync";
import { sendByHop } from "../device/send";
import { NOT_SERVED, serveFlow } from "../flow/balance";
import { backendAt, NOBODY, statOf } from "../table/balance";
import { flowAt, flows, tupleOf } from "../table/flow";
import { lookUpAddress } from "../table/lookup-rules";
import { encapPacket } from "../wire/encap";

/** What serve() found beside verdicts: a request for the caller to set up stands in `request`. */
export const SERVED_BY_NAT: u32 = 0x100;

/** Backend of a flow, or NOBODY. */
@inline
function backendOf(ref: u32): u32 {
  return ref == 0 ? NOBODY : <u32>load<u16>(flowAt(ref >>> 1), FLOW_BACKEND) - 1 & 0xffff;
}

/** Gives the flow of a first packet its backend: a verdict, or SERVED_BY_NAT with the translation wanted in `request`. */
export function serve(worker: usize, p: u32, request: usize): u32 {
  const flow = load<u32>(worker + (<usize>p << 2), VEC_FLOW) >>> 1, tuple = worker + WORKER_TUPLES + 2 * TUPLE_SIZE;
  tupleOf(flow, 0, tuple);
  const backend = serveFlow(tuple, load<u32>(worker, WORKER_NOW), request);
  if (backend == NOT_SERVED) return VERDICT_ACCEPT;
  if (backend == NOBODY) return VERDICT_NO_BACKEND;
  store<u16>(flowAt(flow), <u16>(backend + 1), FLOW_BACKEND);
  if (<u32>load<u8>(backendAt(backend), BACKEND_MODE) == BALANCE_NAT) return SERVED_BY_NAT;
  fetchOr(flowAt(flow) + FLOW_PHASE, PHASE_ONE_SIDED);
  return VERDICT_ACCEPT;
}

/** Behind the route lookups of a list: packets to backends that are not translated to go to those instead. Packets are counted. */
export function steerBurst(worker: usize, port: usize, table: usize, list: usize, n: u32, is4: bool): void {
  for (let k: u32 = 0; (k = countRun(worker, list, k, n)) < n; k++) {
    const p = <usize>load<u16>(list + (<usize>k << 1)), at = backendAt(backendOf(load<u32>(worker + (p << 2), VEC_FLOW)));
    store<u32>(worker + (<usize>k << 2), hopTo(worker, port, table, at, is4), VEC_RESULT);
  }
}

/** Counts the packets of a list, up to the first that goes to a backend as it is: its place, or `n`. No call stands in this loop. */
function countRun(worker: usize, list: usize, k: u32, n: u32): u32 {
  const descriptors = region(REGION_DESCRIPTORS), records = <usize>load<u32>(flows(), FLOWS_HOT);
  const backends = backendAt(0), stats = statOf(worker, 0);
  for (; k < n; k++) {
    const p = <usize>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (p << 2), VEC_FLOW), way = <usize>(ref & 1);
    const backend = <u32>load<u16>(records + <usize>(ref >>> 1) * FLOW_SIZE, FLOW_BACKEND);
    if (ref == 0 || backend == 0) continue;
    const d = descriptors + (<usize>load<u32>(worker + (p << 2), VEC_IDS) << DESC_SHIFT);
    const at = stats + <usize>(backend - 1) * BACKEND_STAT_SIZE + (way << 4);
    add64(at + BACKEND_STAT_IN_PACKETS, 1);
    add64(at + BACKEND_STAT_IN_BYTES, load<u32>(d, DESC_PACKET_LENGTH) - <u32>load<u16>(d, DESC_L3));
    if (way == 0 && <u32>load<u8>(backends + <usize>(backend - 1) * BACKEND_SIZE, BACKEND_MODE) != BALANCE_NAT) return k;
  }
  return k;
}

function hopTo(worker: usize, port: usize, table: usize, backend: usize, is4: bool): u32 {
  const given = load<u32>(backend, BACKEND_HOP);
  return given != 0 ? given : lookUpAddress(port, table, worker + WORKER_TUPLES, is4, backend + BACKEND_ADDRESS + (is4 ? 12 : 0), 0, 0);
}

/** Sends what goes to its backend in a tunnel; the rest of the list stays. */
export function tunnelBurst(worker: usize, table: usize, list: usize, n: u32): u32 {
  if (load<u32>(region(REGION_BALANCE), BALANCE_TUNNELS) == 0) return n;
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW), backend = backendOf(ref);
    const mode = backend == NOBODY || (ref & 1) != 0 ? 0 : <u32>load<u8>(backendAt(backend), BACKEND_MODE);
    if (mode == BALANCE_IPIP || mode == BALANCE_GUE) { tunnel(worker, table, p, backendAt(backend), mode); continue; }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

function tunnel(worker: usize, table: usize, p: u32, backend: usize, mode: u32): void {
  const id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id), hop = <u32>load<u16>(d, DESC_NEXT_HOP);
  store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
  if (encapPacket(id, d, mode, backend + BACKEND_TUNNEL, backend + BACKEND_ADDRESS, load<u32>(backend, BACKEND_MTU)) == 0) {
    punt(worker, id, PUNT_FRAGMENTATION_NEEDED, hop);
    return;
  }
  store<u32>(d, load<u32>(d, DESC_FLAGS) | FLAG_PASSED | FLAG_FORWARDED, DESC_FLAGS);
  const result = sendByHop(worker, table, hop, id);
  if (result == SENT_NEIGHBOUR) punt(worker, id, PUNT_NEIGHBOUR, hop);
  else if (result != SENT) drop(worker, id, DROP_BAD_NEXT_HOP);
}
