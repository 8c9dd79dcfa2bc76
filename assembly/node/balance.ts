/**
 * Load balancing in the road of a packet: the first packet of a flow to a service gets a backend, the flow remembers it, and every
 * packet after it goes there: rewritten by the flow's translation (mode nat), with another next hop (dsr), or within a packet to
 * the backend (ipip, gue). What a service decides for new flows never touches those that exist.
 */
import {
  BACKEND_ADDRESS, BACKEND_HOP, BACKEND_MODE, BACKEND_MTU, BACKEND_TUNNEL, BALANCE_GUE, BALANCE_IPIP, BALANCE_NAT, DESC_FLAGS,
  DESC_L3, DESC_NEXT_HOP, DESC_PACKET_LENGTH, DROP_BAD_NEXT_HOP, FLAG_FORWARDED, FLAG_PASSED, FLOW_BACKEND, FLOW_PHASE, NEXT_DONE,
  PHASE_ONE_SIDED, PUNT_FRAGMENTATION_NEEDED, PUNT_NEIGHBOUR, SENT, SENT_NEIGHBOUR, TUPLE_SIZE, VEC_FLOW, VEC_IDS, VEC_NEXT, VEC_RESULT, VERDICT_ACCEPT,
  VERDICT_NO_BACKEND, WORKER_NOW, WORKER_TUPLES,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { drop, punt } from "../core/packet";
import { fetchOr } from "../core/sync";
import { sendByHop } from "../device/send";
import { NOT_SERVED, serveFlow } from "../flow/balance";
import { backendAt, countBackend, NOBODY } from "../table/balance";
import { lookup4 } from "../table/fib4";
import { lookup6, toQuery } from "../table/fib6";
import { flowAt, tupleOf } from "../table/flow";
import { encapPacket } from "../wire/encap";
import { load32 } from "../wire/bytes";

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
export function steerBurst(worker: usize, table: usize, list: usize, n: u32, is4: bool): void {
  for (let k: u32 = 0; k < n; k++) {
    const p = <usize>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (p << 2), VEC_FLOW), backend = backendOf(ref);
    if (backend == NOBODY) continue;
    const d = descriptorAt(load<u32>(worker + (p << 2), VEC_IDS)), at = backendAt(backend);
    countBackend(worker, backend, (ref & 1) != 0, 1, load<u32>(d, DESC_PACKET_LENGTH) - <u32>load<u16>(d, DESC_L3));
    if ((ref & 1) == 0 && <u32>load<u8>(at, BACKEND_MODE) != BALANCE_NAT) store<u32>(worker + (<usize>k << 2), hopTo(worker, table, at, is4), VEC_RESULT);
  }
}

function hopTo(worker: usize, table: usize, backend: usize, is4: bool): u32 {
  const given = load<u32>(backend, BACKEND_HOP);
  if (given != 0) return given;
  if (is4) return lookup4(table, load32(backend + BACKEND_ADDRESS + 12));
  v128.store(worker + WORKER_TUPLES, toQuery(backend + BACKEND_ADDRESS));
  return lookup6(table, worker + WORKER_TUPLES);
}

/** Sends what goes to its backend in a tunnel; the rest of the list stays. */
export function tunnelBurst(worker: usize, table: usize, list: usize, n: u32): u32 {
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
