/**
 * Policers: what is over the rate is dropped or marked, nothing waits. Single-rate three-colour marker (RFC 2697) and
 * two-rate three-colour marker (RFC 2698), colour-blind or colour-aware; a packet's earlier colour is the drop precedence
 * of its DSCP (RFC 2597 AFxy, y). The first policer of a port whose filter fits decides.
 */
import {
  COLOUR_GREEN, COLOUR_RED, COLOUR_YELLOW, DESC_MARK, DESC_PACKET_LENGTH, DROP_POLICED, POLICER_ACTIONS, POLICER_AWARE, POLICER_BYTES,
  POLICER_DEPTH, POLICER_EXCESS_DEPTH, POLICER_EXCESS_TOKENS, POLICER_FILTER, POLICER_KEY, POLICER_KIND, POLICER_LOCK, POLICER_NEXT, POLICER_PACKETS,
  POLICER_PEAK, POLICER_RATE, POLICER_TIME, POLICER_TOKENS, POLICER_TWO_RATES, POLICER_VALUES, POLICE_DROP, POLICE_DSCP, POLICE_MARK,
  QFILTER_FIELDS,
} from "../abi";
import { add64, descriptorAt } from "../core/layout";
import { drop } from "../core/packet";
import { lock, unlock } from "../core/sync";
import { dissect } from "./dissect";
import { matches } from "./filter";
import { dscpOf, setDscp } from "./remark";
import { refill, UNIT } from "./tokens";

/** Lets `n` packets at `ids` through, in place; returns how many are left. */
export function policeBurst(worker: usize, first: usize, ids: usize, n: u32, now: u64): u32 {
  // One lock for all policers of a list: that of the first.
  lock(first + POLICER_LOCK);
  let kept: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(ids + (<usize>i << 2));
    const policer = policerFor(first, id);
    const left = policer == 0 ? id : police(worker, policer, id, now);
    if (left == GONE) continue;
    store<u32>(ids + (<usize>kept << 2), left);
    kept++;
  }
  unlock(first + POLICER_LOCK);
  return kept;
}

const GONE: u32 = 0xffffffff;

function policerFor(first: usize, id: u32): usize {
  const key = first + POLICER_KEY;
  let isRead = false;
  for (let policer = first; policer != 0; policer = <usize>load<u32>(policer, POLICER_NEXT)) {
    if (load<u32>(policer, POLICER_FILTER + QFILTER_FIELDS) == 0) return policer;
    if (!isRead) dissect(key, id);
    isRead = true;
    if (matches(policer + POLICER_FILTER, key, load<u32>(descriptorAt(id), DESC_MARK))) return policer;
  }
  return 0;
}

/** The packet's id from now on, or GONE. */
function police(worker: usize, policer: usize, id: u32, now: u64): u32 {
  const length = load<u32>(descriptorAt(id), DESC_PACKET_LENGTH);
  const before = load<u32>(policer, POLICER_AWARE) != 0 ? precedence(dscpOf(id)) : COLOUR_GREEN;
  const colour = load<u32>(policer, POLICER_KIND) == POLICER_TWO_RATES ? twoRates(policer, length, before, now) : singleRate(policer, length, before, now);
  add64(policer + (<usize>colour << 3) + POLICER_PACKETS, 1);
  add64(policer + (<usize>colour << 3) + POLICER_BYTES, length);
  const action = <u32>load<u8>(policer + colour, POLICER_ACTIONS), value = load<u32>(policer + (<usize>colour << 2), POLICER_VALUES);
  if (action == POLICE_DROP) {
    drop(worker, id, DROP_POLICED);
    return GONE;
  }
  if (action == POLICE_MARK) store<u32>(descriptorAt(id), value, DESC_MARK);
  return action == POLICE_DSCP ? setDscp(worker, id, value) : id;
}

function precedence(dscp: u32): u32 {
  const drop = (dscp >>> 1) & 3;
  const isAssured = dscp >= 10 && dscp <= 38 && (dscp & 1) == 0 && drop != 0;
  return !isAssured || drop == 1 ? COLOUR_GREEN : drop == 2 ? COLOUR_YELLOW : COLOUR_RED;
}

/** RFC 2697 §3: tokens fill the committed bucket, what it cannot hold the excess bucket. */
function singleRate(policer: usize, length: u32, before: u32, now: u64): u32 {
  const need = <i64>length * UNIT, rate = load<u64>(policer, POLICER_RATE), elapsed = now - load<u64>(policer, POLICER_TIME);
  const depth = load<i64>(policer, POLICER_DEPTH), was = load<i64>(policer, POLICER_TOKENS), missing = depth - was;
  let tokens = refill(was, depth, rate, elapsed), excess = load<i64>(policer, POLICER_EXCESS_TOKENS);
  if (tokens == depth) {
    const used = rate == 0 ? elapsed : min<u64>(elapsed, <u64>missing / rate);
    // The remainder of the nanosecond in which the first bucket became full goes to the second as well.
    excess = refill(excess, load<i64>(policer, POLICER_EXCESS_DEPTH), rate, elapsed - used);
    if (elapsed > used) excess = max<i64>(excess - (missing - <i64>(used * rate)), 0);
  }
  let colour = COLOUR_RED;
  if (before == COLOUR_GREEN && tokens >= need) {
    tokens -= need;
    colour = COLOUR_GREEN;
  } else if (before != COLOUR_RED && excess >= need) {
    excess -= need;
    colour = COLOUR_YELLOW;
  }
  keep(policer, tokens, excess, now);
  return colour;
}

/** RFC 2698 §3: over the peak rate is red, over the committed rate yellow; green takes from both. */
function twoRates(policer: usize, length: u32, before: u32, now: u64): u32 {
  const need = <i64>length * UNIT, elapsed = now - load<u64>(policer, POLICER_TIME);
  let tokens = refill(load<i64>(policer, POLICER_TOKENS), load<i64>(policer, POLICER_DEPTH), load<u64>(policer, POLICER_RATE), elapsed);
  let peak = refill(load<i64>(policer, POLICER_EXCESS_TOKENS), load<i64>(policer, POLICER_EXCESS_DEPTH), load<u64>(policer, POLICER_PEAK), elapsed);
  let colour = COLOUR_RED;
  if (before != COLOUR_RED && peak >= need) {
    peak -= need;
    colour = COLOUR_YELLOW;
    if (before == COLOUR_GREEN && tokens >= need) {
      tokens -= need;
      colour = COLOUR_GREEN;
    }
  }
  keep(policer, tokens, peak, now);
  return colour;
}

@inline
function keep(policer: usize, tokens: i64, excess: i64, now: u64): void {
  store<i64>(policer, tokens, POLICER_TOKENS);
  store<i64>(policer, excess, POLICER_EXCESS_TOKENS);
  store<u64>(policer, now, POLICER_TIME);
}
