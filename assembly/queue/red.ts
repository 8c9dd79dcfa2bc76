/**
 * Random early detection: Floyd and Jacobson, "Random Early Detection Gateways for Congestion Avoidance" (1993); the
 * probability adapts itself after Floyd, Gummadi and Shenker, "Adaptive RED" (2001). Marks instead of drops with ECN.
 */
import {
  DROP_QUEUE_AQM, DROP_QUEUE_FULL, NONE, QDISC_BYTES, QDISC_FIRST, QDISC_MARKED, QDISC_MOST_BYTES, QDISC_OVERLIMITS, QRED_ADAPTED,
  QRED_ADAPTIVE, QRED_AVERAGE, QRED_ECN, QRED_FLAGS, QRED_HARD_DROP, QRED_IDLE, QRED_LEAST, QRED_MEAN_TIME, QRED_MOST, QRED_NO_DROP,
  QRED_PROBABILITY, QRED_SINCE, QRED_STAT_EARLY, QRED_STAT_LIMIT, QRED_WEIGHT,
} from "../abi";
import { append, lengthOf, takeFirst } from "./link";
import { markCongestion } from "./remark";
import { bump, chance, refuse } from "./root";

const ADAPT_EVERY: u64 = 500000000;

/** The packet that was taken (marked it may have another id), or NONE when it was dropped. */
export function redEnqueue(worker: usize, root: usize, qdisc: usize, id: u32, now: u64): u32 {
  const flags = load<u32>(qdisc, QRED_FLAGS), average = measure(qdisc, now);
  if ((flags & QRED_ADAPTIVE) != 0) adapt(qdisc, average, now);
  const least = load<f64>(qdisc, QRED_LEAST), most = load<f64>(qdisc, QRED_MOST), isOver = average >= most;
  if (average < least) store<i32>(qdisc, -1, QRED_SINCE);
  else if (isOver || isChosen(root, qdisc, (average - least) / (most - least))) {
    store<i32>(qdisc, isOver ? -1 : 0, QRED_SINCE);
    bump(qdisc + QDISC_OVERLIMITS);
    id = notify(worker, root, qdisc, id, flags, isOver);
    if (id == NONE) return NONE;
  }
  if (<u64>load<u32>(qdisc, QDISC_BYTES) + lengthOf(id) > <u64>load<u32>(qdisc, QDISC_MOST_BYTES)) {
    bump(qdisc + QRED_STAT_LIMIT);
    refuse(worker, root, qdisc, id, DROP_QUEUE_FULL);
    return NONE;
  }
  append(qdisc + QDISC_FIRST, id);
  return id;
}

export function redDequeue(qdisc: usize, now: u64): u32 {
  const id = takeFirst(qdisc + QDISC_FIRST);
  if (id != NONE && load<u32>(qdisc, QDISC_FIRST) == NONE) store<u64>(qdisc, now, QRED_IDLE);
  return id;
}

/** Marks or drops; NONE when it was dropped. */
function notify(worker: usize, root: usize, qdisc: usize, id: u32, flags: u32, isOver: bool): u32 {
  const mayMark = (flags & QRED_ECN) != 0 && !(isOver && (flags & QRED_HARD_DROP) != 0);
  const marked = mayMark ? markCongestion(worker, id) : NONE;
  if (marked != NONE) {
    bump(qdisc + QDISC_MARKED);
    return marked;
  }
  // "nodrop": what cannot be marked is let through, until the average is over the higher threshold.
  if (!isOver && (flags & QRED_NO_DROP) != 0) return id;
  bump(qdisc + QRED_STAT_EARLY);
  refuse(worker, root, qdisc, id, DROP_QUEUE_AQM);
  return NONE;
}

/** The moving average of the bytes that wait; an idle time counts as that many packets that found nothing. */
function measure(qdisc: usize, now: u64): f64 {
  const weight = load<f64>(qdisc, QRED_WEIGHT), idle = load<u64>(qdisc, QRED_IDLE);
  let average = load<f64>(qdisc, QRED_AVERAGE);
  if (idle != 0) {
    store<u64>(qdisc, 0, QRED_IDLE);
    if (now > idle) average *= power(1.0 - weight, <f64>(now - idle) / load<f64>(qdisc, QRED_MEAN_TIME));
  } else average += (<f64>load<u32>(qdisc, QDISC_BYTES) - average) * weight;
  store<f64>(qdisc, average, QRED_AVERAGE);
  return average;
}

/** p_b grows along the way between the thresholds; p_a spaces the marks evenly: p_b / (1 - count p_b). */
function isChosen(root: usize, qdisc: usize, way: f64): bool {
  const since = load<i32>(qdisc, QRED_SINCE) + 1;
  store<i32>(qdisc, since, QRED_SINCE);
  const pb = way * load<f64>(qdisc, QRED_PROBABILITY), left = 1.0 - <f64>since * pb;
  return left <= pb || chance(root) < pb / left;
}

/** Keeps the average in the middle fifth between the thresholds, by small steps of the greatest probability. */
function adapt(qdisc: usize, average: f64, now: u64): void {
  if (now < load<u64>(qdisc, QRED_ADAPTED) + ADAPT_EVERY) return;
  store<u64>(qdisc, now, QRED_ADAPTED);
  const least = load<f64>(qdisc, QRED_LEAST), width = load<f64>(qdisc, QRED_MOST) - least, p = load<f64>(qdisc, QRED_PROBABILITY);
  if (average > least + 0.6 * width && p <= 0.5) store<f64>(qdisc, p + min<f64>(0.01, p / 4.0), QRED_PROBABILITY);
  else if (average < least + 0.4 * width && p >= 0.01) store<f64>(qdisc, p * 0.9, QRED_PROBABILITY);
}

/** base to the power of n, n rounded down; 0 when it would be too small to matter. */
function power(base: f64, n: f64): f64 {
  if (!(n < 1e9)) return 0.0;
  let result = 1.0;
  for (let left = <u32>n; left != 0; left >>= 1) {
    if ((left & 1) != 0) result *= base;
    base *= base;
  }
  return result;
}
