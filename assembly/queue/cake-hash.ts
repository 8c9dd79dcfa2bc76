/**
 * Which flow of a tin a packet belongs to, and between which hosts. Hashes are set-associative: a flow may stand in any of
 * eight places, so that two flows share a queue only when the places of their set are all taken (CAKE: Høiland-Jørgensen,
 * Täht and Morton, "Piece of CAKE", 2018, §3.2).
 */
import {
  QCAKE_BY_DESTINATION, QCAKE_BY_SOURCE, QCAKE_FLOWS, QFLOW_DESTINATION, QFLOW_IDLE, QFLOW_SIZE, QFLOW_SOURCE, QFLOW_STATE, QFLOW_TAG,
  QHOST_FLOWS, QHOST_SIZE, QHOST_TAG, QKEY_DESTINATION, QKEY_PORTS, QKEY_SOURCE, QTIN_DESTINATIONS, QTIN_FLOWS, QTIN_FLOW_COUNT,
  QTIN_SOURCES, QTIN_WAYS, QTIN_WAY_COLLISIONS, QTIN_WAY_HITS, QTIN_WAY_MISSES,
} from "../abi";
import { flowHash, hostHash } from "./dissect";
import { bump } from "./root";

/** The flow of the packet whose key this is. */
export function cakeFlow(key: usize, tin: usize, isolation: u32): usize {
  const flows = <usize>load<u32>(tin, QTIN_FLOWS), tag = tagOf(key, isolation);
  const first = tag & (load<u32>(tin, QTIN_FLOW_COUNT) - 1), set = first & ~(QTIN_WAYS - 1);
  for (let i: u32 = 0; i < <u32>QTIN_WAYS; i++) {
    const flow = flows + <usize>(set + ((first + i) & (QTIN_WAYS - 1))) * QFLOW_SIZE;
    if (load<u32>(flow, QFLOW_TAG) != tag) continue;
    if (i != 0) bump(tin + QTIN_WAY_HITS);
    if (load<u32>(flow, QFLOW_STATE) == QFLOW_IDLE) setHosts(key, tin, flow, isolation);
    return flow;
  }
  for (let i: u32 = 0; i < <u32>QTIN_WAYS; i++) {
    const flow = flows + <usize>(set + ((first + i) & (QTIN_WAYS - 1))) * QFLOW_SIZE;
    if (load<u32>(flow, QFLOW_STATE) != QFLOW_IDLE) continue;
    bump(tin + QTIN_WAY_MISSES);
    store<u32>(flow, tag, QFLOW_TAG);
    setHosts(key, tin, flow, isolation);
    return flow;
  }
  bump(tin + QTIN_WAY_COLLISIONS);
  return flows + <usize>first * QFLOW_SIZE;
}

/** Never 0: that is a place nobody has stood in. */
function tagOf(key: usize, isolation: u32): u32 {
  if ((isolation & QCAKE_FLOWS) == 0) {
    store<u64>(key, 0, QKEY_PORTS);
    if ((isolation & QCAKE_BY_DESTINATION) == 0) memory.fill(key + QKEY_DESTINATION, 0, 16);
    if ((isolation & QCAKE_BY_SOURCE) == 0) memory.fill(key + QKEY_SOURCE, 0, 16);
  }
  return <u32>flowHash(key) | 1 << 31;
}

function setHosts(key: usize, tin: usize, flow: usize, isolation: u32): void {
  const count = load<u32>(tin, QTIN_FLOW_COUNT), hosts = (isolation & QCAKE_FLOWS) != 0;
  const source = hosts && (isolation & QCAKE_BY_SOURCE) != 0 ? hostOf(<usize>load<u32>(tin, QTIN_SOURCES), count, <u32>hostHash(key, QKEY_SOURCE)) : 0;
  const destination = hosts && (isolation & QCAKE_BY_DESTINATION) != 0
    ? hostOf(<usize>load<u32>(tin, QTIN_DESTINATIONS), count, <u32>hostHash(key, QKEY_DESTINATION)) : 0;
  store<u32>(flow, <u32>source, QFLOW_SOURCE);
  store<u32>(flow, <u32>destination, QFLOW_DESTINATION);
}

/** A host's record by its hash; one without flows is given away. */
function hostOf(hosts: usize, count: u32, hash: u32): usize {
  const tag = hash | 1 << 31, first = hash & (count - 1), set = first & ~(QTIN_WAYS - 1);
  let free: usize = 0;
  for (let i: u32 = 0; i < <u32>QTIN_WAYS; i++) {
    const host = hosts + <usize>(set + ((first + i) & (QTIN_WAYS - 1))) * QHOST_SIZE;
    if (load<u32>(host, QHOST_TAG) == tag) return host;
    if (free == 0 && load<u32>(host, QHOST_FLOWS) == 0) free = host;
  }
  if (free == 0) return hosts + <usize>first * QHOST_SIZE;
  store<u32>(free, tag, QHOST_TAG);
  return free;
}

@inline
function flowsOf(host: usize): u32 {
  return host == 0 ? 0 : load<u32>(host, QHOST_FLOWS);
}

/** Flows that the busier of a flow's hosts divides its turn among. */
export function hostLoad(flow: usize): u32 {
  return max<u32>(1, max<u32>(flowsOf(<usize>load<u32>(flow, QFLOW_SOURCE)), flowsOf(<usize>load<u32>(flow, QFLOW_DESTINATION))));
}

/** A flow begins (+1) or ends (-1) to stand in the round: its hosts have one more or less. */
export function countHosts(flow: usize, change: u32): void {
  const source = <usize>load<u32>(flow, QFLOW_SOURCE), destination = <usize>load<u32>(flow, QFLOW_DESTINATION);
  if (source != 0) store<u32>(source, load<u32>(source, QHOST_FLOWS) + change, QHOST_FLOWS);
  if (destination != 0) store<u32>(destination, load<u32>(destination, QHOST_FLOWS) + change, QHOST_FLOWS);
}
