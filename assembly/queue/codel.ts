/**
 * Controlled delay (RFC 8289): a queue whose packets have waited longer than `target` for a whole `interval` drops one,
 * then the next after interval / √count, until the delay is below the target again. Marks instead where the sender allows it.
 *
 * It works on a flow (QFLOW_*) with what it is told beside it (CODEL_*). `tally`: two words that count packets and bytes
 * of several flows (a tin), or 0; `memory`: a word that counts what the waiting packets take.
 */
import {
  CODEL_CE_THRESHOLD, CODEL_ECN, CODEL_INTERVAL, CODEL_LARGEST, CODEL_TARGET, DROP_QUEUE_AQM, HEADER_STRIDE, NONE, QDISC_MARKED, QFLOW_ABOVE,
  QFLOW_BYTES, QFLOW_COUNT, QFLOW_DROPPED, QFLOW_DROPPING, QFLOW_FIRST, QFLOW_LAST_COUNT, QFLOW_NEXT_DROP, QFLOW_PACKETS, QLINK_PIECES,
  QLINK_TIME,
} from "../abi";
import { header } from "../core/layout";
import { append, lengthOf, linkAt, takeFirst } from "./link";
import { markCongestion } from "./remark";
import { bump, lose } from "./root";

/** Intervals after which an earlier episode of dropping is forgotten (RFC 8289 §5.6). */
const RECENT: u64 = 16;

/** Bytes of memory that a waiting packet takes. */
@inline
export function memoryOf(id: u32): u32 {
  return <u32>load<u16>(linkAt(id), QLINK_PIECES) * header(HEADER_STRIDE);
}

@inline
function change(at: usize, amount: u32): void {
  store<u32>(at, load<u32>(at) + amount);
}

/** Puts a packet into a flow. */
export function flowAppend(flow: usize, codel: usize, tally: usize, memory: usize, id: u32): void {
  const length = lengthOf(id);
  append(flow + QFLOW_FIRST, id);
  change(flow + QFLOW_PACKETS, 1);
  change(flow + QFLOW_BYTES, length);
  change(memory, memoryOf(id));
  if (tally != 0) {
    change(tally, 1);
    change(tally + 4, length);
  }
  if (length > load<u32>(codel, CODEL_LARGEST)) store<u32>(codel, length, CODEL_LARGEST);
}

/** Takes the first packet out of a flow, or NONE. */
export function flowTake(flow: usize, tally: usize, memory: usize): u32 {
  const id = takeFirst(flow + QFLOW_FIRST);
  if (id == NONE) return NONE;
  const length = lengthOf(id);
  change(flow + QFLOW_PACKETS, <u32>-1);
  change(flow + QFLOW_BYTES, 0 - length);
  change(memory, 0 - memoryOf(id));
  if (tally != 0) {
    change(tally, <u32>-1);
    change(tally + 4, 0 - length);
  }
  return id;
}

@inline
function controlLaw(time: u64, interval: u64, count: u32): u64 {
  return time + <u64>(<f64>interval / Math.sqrt(<f64>count));
}

/** Nanoseconds that a packet has waited. */
@inline
export function waited(id: u32, now: u64): i64 {
  return <i64>(now - load<u64>(linkAt(id), QLINK_TIME));
}

/** Has the delay been above the target for an interval, now that `id` has left the flow? */
function isStanding(codel: usize, flow: usize, id: u32, now: u64): bool {
  // RFC 8289's queue.bytes(): what is left behind this packet; a queue of one packet at most cannot stand.
  if (id == NONE || waited(id, now) < load<i64>(codel, CODEL_TARGET) || load<u32>(flow, QFLOW_BYTES) <= load<u32>(codel, CODEL_LARGEST)) {
    store<u64>(flow, 0, QFLOW_ABOVE);
    return false;
  }
  const above = load<u64>(flow, QFLOW_ABOVE);
  if (above == 0) {
    store<u64>(flow, now + load<u64>(codel, CODEL_INTERVAL), QFLOW_ABOVE);
    return false;
  }
  return now >= above;
}

/** The next packet that may leave the flow, or NONE. */
export function codelDequeue(worker: usize, root: usize, qdisc: usize, flow: usize, codel: usize, tally: usize, memory: usize, now: u64): u32 {
  let id = flowTake(flow, tally, memory), stands = isStanding(codel, flow, id, now);
  if (load<u32>(flow, QFLOW_DROPPING) != 0) {
    if (!stands) store<u32>(flow, 0, QFLOW_DROPPING);
    while (load<u32>(flow, QFLOW_DROPPING) != 0 && now >= load<u64>(flow, QFLOW_NEXT_DROP)) {
      bump(flow + QFLOW_COUNT);
      const marked = tryMark(worker, qdisc, codel, id);
      if (marked != NONE) {
        planDrop(flow, codel, load<u64>(flow, QFLOW_NEXT_DROP));
        return marked;
      }
      dropFrom(worker, root, qdisc, flow, id);
      id = flowTake(flow, tally, memory);
      stands = isStanding(codel, flow, id, now);
      if (stands) planDrop(flow, codel, load<u64>(flow, QFLOW_NEXT_DROP));
      else store<u32>(flow, 0, QFLOW_DROPPING);
    }
  } else if (stands) {
    const marked = tryMark(worker, qdisc, codel, id);
    if (marked != NONE) id = marked;
    else {
      dropFrom(worker, root, qdisc, flow, id);
      id = flowTake(flow, tally, memory);
      isStanding(codel, flow, id, now);
    }
    startDropping(flow, codel, now);
  }
  return id;
}

@inline
function planDrop(flow: usize, codel: usize, from: u64): void {
  store<u64>(flow, controlLaw(from, load<u64>(codel, CODEL_INTERVAL), load<u32>(flow, QFLOW_COUNT)), QFLOW_NEXT_DROP);
}

/** Goes on with the rate of drops that the last episode ended with, if that was a short while ago. */
function startDropping(flow: usize, codel: usize, now: u64): void {
  const interval = load<u64>(codel, CODEL_INTERVAL), more = load<u32>(flow, QFLOW_COUNT) - load<u32>(flow, QFLOW_LAST_COUNT);
  const isRecent = now < load<u64>(flow, QFLOW_NEXT_DROP) + RECENT * interval;
  const count = more > 1 && isRecent ? more : 1;
  store<u32>(flow, 1, QFLOW_DROPPING);
  store<u32>(flow, count, QFLOW_COUNT);
  store<u32>(flow, count, QFLOW_LAST_COUNT);
  planDrop(flow, codel, now);
}

function tryMark(worker: usize, qdisc: usize, codel: usize, id: u32): u32 {
  if (load<u32>(codel, CODEL_ECN) == 0) return NONE;
  const marked = markCongestion(worker, id);
  if (marked != NONE) bump(qdisc + QDISC_MARKED);
  return marked;
}

function dropFrom(worker: usize, root: usize, qdisc: usize, flow: usize, id: u32): void {
  bump(flow + QFLOW_DROPPED);
  lose(worker, root, qdisc, id, DROP_QUEUE_AQM);
}

/** Marks what waited longer than the threshold of CE, if there is one; the packet's id from now on. `counter` counts. */
export function markLate(worker: usize, codel: usize, id: u32, now: u64, counter: usize): u32 {
  const threshold = load<i64>(codel, CODEL_CE_THRESHOLD);
  if (threshold == 0 || waited(id, now) <= threshold) return id;
  const marked = markCongestion(worker, id);
  if (marked == NONE) return id;
  bump(counter);
  return marked;
}
