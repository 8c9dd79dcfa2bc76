/** First in, first out: pfifo counts packets, bfifo bytes; what does not fit is dropped at the tail. */
import {
  DROP_QUEUE_FULL, QDISC_BYTES, QDISC_FIRST, QDISC_MOST_BYTES, QDISC_MOST_PACKETS, QDISC_PACKETS,
} from "../abi";
import { append, lengthOf, takeFirst } from "./link";
import { refuse } from "./root";

export function fifoEnqueue(worker: usize, root: usize, qdisc: usize, id: u32): bool {
  const isFull = load<u32>(qdisc, QDISC_PACKETS) >= load<u32>(qdisc, QDISC_MOST_PACKETS)
    || <u64>load<u32>(qdisc, QDISC_BYTES) + lengthOf(id) > <u64>load<u32>(qdisc, QDISC_MOST_BYTES);
  if (isFull) {
    refuse(worker, root, qdisc, id, DROP_QUEUE_FULL);
    return false;
  }
  append(qdisc + QDISC_FIRST, id);
  return true;
}

@inline
export function fifoDequeue(qdisc: usize): u32 {
  return takeFirst(qdisc + QDISC_FIRST);
}
