/**
 * How long data may stay unacknowledged (RFC 9293 §3.8.3), and the option by which ends tell each other (RFC 5482). An owner
 * that sets `userTimeout` has the last word; else, where `advertisedTimeout` is set, the larger of both ends' counts, within
 * the host's limits.
 */
import { encodeTimeout } from "./options.ts";
import { SYN } from "./sequence.ts";
import type { Tcb } from "./tcb.ts";

/** Kind 28, four bytes, in a word of little-endian memory. */
const HEAD = 0x041c;

/** Milliseconds, 0: until the retransmissions are used up. */
export function userTimeout(tcb: Tcb): number {
  const { userTimeout: own, advertisedTimeout } = tcb.options;
  const { timeouts } = tcb;
  if (own > 0 || !timeouts) return own;
  const { leastUserTimeout, mostUserTimeout } = tcb.world.settings;
  return 1000 * Math.min(mostUserTimeout, Math.max(advertisedTimeout, timeouts.remote, leastUserTimeout));
}

/** What the peer advertises, in seconds; 0 says nothing (RFC 5482 §3.3). */
export function takeUserTimeout(tcb: Tcb, seconds: number): void {
  if (tcb.timeouts && seconds > 0) tcb.timeouts.remote = seconds;
}

/** Does the next segment with these flags carry the option? SYNs do, and the first segment that is none (§3.2). */
export function advertises(tcb: Tcb, flags: number): boolean {
  return tcb.timeouts !== undefined && (tcb.timeouts.due || (flags & SYN) !== 0);
}

/** The option as a word of the record. */
export function timeoutWord(tcb: Tcb): number {
  const field = encodeTimeout(tcb.options.advertisedTimeout);
  return HEAD | ((field >>> 8) << 16) | (field << 24);
}
