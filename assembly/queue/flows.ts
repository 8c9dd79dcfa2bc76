/** Lists of flows (QLIST_*), doubly linked through the flows: a round robin takes from the front and puts behind. */
import { QFLOW_NEXT, QFLOW_PREVIOUS, QFLOW_STATE, QLIST_COUNT, QLIST_FIRST, QLIST_LAST } from "../abi";

export function pushFlow(list: usize, flow: usize, state: u32): void {
  const last = <usize>load<u32>(list, QLIST_LAST);
  store<u32>(flow, 0, QFLOW_NEXT);
  store<u32>(flow, <u32>last, QFLOW_PREVIOUS);
  if (last == 0) store<u32>(list, <u32>flow, QLIST_FIRST);
  else store<u32>(last, <u32>flow, QFLOW_NEXT);
  store<u32>(list, <u32>flow, QLIST_LAST);
  store<u32>(list, load<u32>(list, QLIST_COUNT) + 1, QLIST_COUNT);
  store<u32>(flow, state, QFLOW_STATE);
}

export function removeFlow(list: usize, flow: usize): void {
  const next = <usize>load<u32>(flow, QFLOW_NEXT), previous = <usize>load<u32>(flow, QFLOW_PREVIOUS);
  if (previous == 0) store<u32>(list, <u32>next, QLIST_FIRST);
  else store<u32>(previous, <u32>next, QFLOW_NEXT);
  if (next == 0) store<u32>(list, <u32>previous, QLIST_LAST);
  else store<u32>(next, <u32>previous, QFLOW_PREVIOUS);
  store<u32>(list, load<u32>(list, QLIST_COUNT) - 1, QLIST_COUNT);
}

@inline
export function firstFlow(list: usize): usize {
  return <usize>load<u32>(list, QLIST_FIRST);
}
