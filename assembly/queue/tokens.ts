/**
 * Token buckets without rounding: tokens are bytes × 10⁹, a rate is bytes a second, so that nanoseconds × rate is exact and a
 * rate holds however the time is cut into pieces.
 */
export const UNIT: i64 = 1000000000;

/** Tokens after `elapsed` nanoseconds at `rate`, at most `depth`. */
export function refill(tokens: i64, depth: i64, rate: u64, elapsed: u64): i64 {
  if (tokens >= depth) return depth;
  const missing = <u64>(depth - tokens);
  if (rate == 0) return tokens;
  return elapsed >= (missing + rate - 1) / rate ? depth : tokens + <i64>(elapsed * rate);
}

/** Nanoseconds until `deficit` tokens have come. */
@inline
export function timeFor(deficit: i64, rate: u64): u64 {
  return rate == 0 ? u64.MAX_VALUE >> 1 : (<u64>deficit + rate - 1) / rate;
}

/** Nanoseconds of `bytes` at `rate`; what does not come out even stays in the u64 at `rest` for the next time. */
export function spend(bytes: u32, rate: u64, rest: usize): u64 {
  const total = <u64>bytes * <u64>UNIT + load<u64>(rest);
  const time = total / rate;
  store<u64>(rest, total - time * rate);
  return time;
}
