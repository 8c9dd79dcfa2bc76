/**
 * Rules in the road of a packet: the function that was compiled for a segment of a hook, and what its verdicts mean. Where no rule
 * is, nothing is called. What ends here takes the flow that it would have begun with it.
 */
import {
  DROP_FILTER, DROP_NAT_EXHAUSTED, DROP_NAT_FILTERED, DROP_NO_BACKEND, NETNS_PROGRAMS, NEXT_DONE, PUNT_QUEUE, PUNT_REJECT, VEC_ARGUMENT, VEC_FLOW, VEC_IDS, VEC_NEXT,
  VEC_VERDICT, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_FILTERED, VERDICT_NO_BACKEND, VERDICT_NO_PORT, VERDICT_QUEUE, VERDICT_REJECT,
} from "../abi";
import { drop, punt } from "../core/packet";
import { abandon } from "../flow/begin";
import { restore } from "../flow/restore";

@inline
export function hasProgram(net: usize, segment: u32): bool {
  return load<u32>(net + (<usize>segment << 2), NETNS_PROGRAMS) != 0;
}

/** Runs a segment over a list; packets that do not pass leave it. Returns the list's new length. */
export function runSegment(worker: usize, net: usize, segment: u32, list: usize, n: u32): u32 {
  const program = load<u32>(net + (<usize>segment << 2), NETNS_PROGRAMS);
  if (program == 0 || n == 0) return n;
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
  else if (verdict == VERDICT_REJECT) punt(worker, id, PUNT_REJECT, argument);
  else if (verdict == VERDICT_QUEUE) punt(worker, id, PUNT_QUEUE, argument);
  leave(worker, p);
}

/** The packet is no longer on the road: a flow that waited for it to pass is forgotten. */
export function leave(worker: usize, p: u32): void {
  const ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
  if (ref != 0) abandon(ref >>> 1);
}
