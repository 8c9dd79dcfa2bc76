/**
 * Rules in the road of a packet: the function that was compiled for a segment of a hook, and what its verdicts mean. Where no rule
 * is, nothing is called. What ends here takes the flow that it would have begun with it.
 */
import {
  CT_NEW, DESC_LOG_OUT, DROP_FILTER, DROP_NAT_EXHAUSTED, DROP_NAT_FILTERED, DROP_NO_BACKEND, DROP_NO_BUFFER, DROP_PUNT_RING_FULL, NETNS_PROGRAMS,
  NEXT_DONE, NONE, PARKED_CHAIN, PARKED_CTINFO, PARKED_FLOW, PARKED_OUT, PARKED_SEGMENT, PARKED_ZONE, PUNT_QUEUE, PUNT_REJECT, VEC_ARGUMENT,
  VEC_CTINFO, VEC_FLOW, VEC_IDS, VEC_NEXT, VEC_OIF, VEC_VERDICT, VEC_ZONE, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_FILTERED,
  VERDICT_NO_BACKEND, VERDICT_NO_PORT, VERDICT_QUEUE, VERDICT_REJECT, WORKER_PARKED, WORKER_SEGMENT,
} from "../abi";
import { privateHead } from "../core/head";
import { count, descriptorAt } from "../core/layout";
import { drop, punt } from "../core/packet";
import { puntPush } from "../core/ring";
import { abandon } from "../flow/begin";
import { restore } from "../flow/restore";

/** Runs a segment over a list; packets that do not pass leave it. Returns the list's new length. */
export function runSegment(worker: usize, net: usize, segment: u32, list: usize, n: u32): u32 {
  const program = load<u32>(net + (<usize>segment << 2), NETNS_PROGRAMS);
  if (program == 0 || n == 0) return n;
  store<u32>(worker, segment, WORKER_SEGMENT);
  call_indirect<void>(program - 1, worker, list, n);
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), verdict = <u32>load<u8>(worker + <usize>p, VEC_VERDICT);
    if (verdict != VERDICT_ACCEPT) {
      if (verdict == VERDICT_REJECT) restore(worker, p);
      end(worker, p, verdict);
      continue;
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

/** Ends the road of a packet by a verdict. */
export function end(worker: usize, p: u32, verdict: u32): void {
  const id = load<u32>(worker + (<usize>p << 2), VEC_IDS), argument = load<u32>(worker + (<usize>p << 2), VEC_ARGUMENT);
  store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
  if (verdict == VERDICT_DROP) drop(worker, id, DROP_FILTER);
  else if (verdict == VERDICT_NO_PORT) drop(worker, id, DROP_NAT_EXHAUSTED);
  else if (verdict == VERDICT_FILTERED) drop(worker, id, DROP_NAT_FILTERED);
  else if (verdict == VERDICT_NO_BACKEND) drop(worker, id, DROP_NO_BACKEND);
  else if (verdict == VERDICT_REJECT) {
    store<u16>(descriptorAt(id), load<u16>(worker + (<usize>p << 1), VEC_OIF), DESC_LOG_OUT);
    punt(worker, id, PUNT_REJECT, argument);
  }
  else if (verdict == VERDICT_QUEUE) { park(worker, p, argument); return; }
  leave(worker, p);
}

/**
 * The packet waits for somebody's verdict, with all that is known of it, and its flow waits along. The argument: number of the queue | flags
 * of the statement << 16 | base chains of the segment that it has passed then << 24.
 */
function park(worker: usize, p: u32, argument: u32): void {
  const at = worker + (<usize>p << 2), id = privateHead(worker, load<u32>(at, VEC_IDS));
  if (id == NONE) { drop(worker, load<u32>(at, VEC_IDS), DROP_NO_BUFFER); leave(worker, p); return; }
  const d = descriptorAt(id);
  store<u8>(d, load<u8>(worker + <usize>p, VEC_CTINFO), PARKED_CTINFO);
  store<u8>(d, <u8>(argument >>> 24), PARKED_CHAIN);
  store<u8>(d, <u8>load<u32>(worker, WORKER_SEGMENT), PARKED_SEGMENT);
  const ref = load<u32>(at, VEC_FLOW), isZoned = ref == 0 && <u32>load<u8>(worker + <usize>p, VEC_CTINFO) == CT_NEW;
  store<u32>(d, isZoned ? PARKED_ZONE | load<u32>(at, VEC_ZONE) : ref, PARKED_FLOW);
  store<u16>(d, load<u16>(worker + (<usize>p << 1), VEC_OIF), PARKED_OUT);
  store<u32>(worker, 1, WORKER_PARKED);
  if (puntPush(id, PUNT_QUEUE, argument & 0xffffff)) { count(worker, PUNT_QUEUE, 1); return; }
  store<u32>(d, 0, PARKED_FLOW);
  drop(worker, id, DROP_PUNT_RING_FULL);
  leave(worker, p);
}

/** The packet is no longer on the road: a flow that waited for it to pass is forgotten. */
export function leave(worker: usize, p: u32): void {
  const ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
  if (ref != 0) abandon(ref >>> 1);
}
