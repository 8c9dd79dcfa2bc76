/** Token bucket filter: a packet leaves when there are tokens for all of it, and for its peak rate if there is one. */
import {
  QLINK_LENGTH, QTBF_DEPTH, QTBF_PEAK, QTBF_PEAK_DEPTH, QTBF_PEAK_TOKENS, QTBF_RATE, QTBF_TIME, QTBF_TOKENS,
} from "../abi";
import { linkAt } from "./link";
import { refill, timeFor, UNIT } from "./tokens";

/** Takes the tokens for a packet and returns 0, or returns how long (ns) they are still to come. */
export function tbfWait(qdisc: usize, id: u32, now: u64): u64 {
  const need = <i64>load<u32>(linkAt(id), QLINK_LENGTH) * UNIT, elapsed = now - load<u64>(qdisc, QTBF_TIME);
  const rate = load<u64>(qdisc, QTBF_RATE), peak = load<u64>(qdisc, QTBF_PEAK);
  const tokens = refill(load<i64>(qdisc, QTBF_TOKENS), load<i64>(qdisc, QTBF_DEPTH), rate, elapsed) - need;
  let wait: u64 = tokens < 0 ? timeFor(-tokens, rate) : 0;
  let peakTokens: i64 = 0;
  if (peak != 0) {
    peakTokens = refill(load<i64>(qdisc, QTBF_PEAK_TOKENS), load<i64>(qdisc, QTBF_PEAK_DEPTH), peak, elapsed) - need;
    if (peakTokens < 0) wait = max<u64>(wait, timeFor(-peakTokens, peak));
  }
  if (wait != 0) return wait;
  store<u64>(qdisc, now, QTBF_TIME);
  store<i64>(qdisc, tokens, QTBF_TOKENS);
  store<i64>(qdisc, peakTokens, QTBF_PEAK_TOKENS);
  return 0;
}
