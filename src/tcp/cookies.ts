/**
 * SYN cookies (RFC 4987 §3.6): the initial sequence number holds what the handshake settled, so that a flood of SYNs
 * costs no memory. 24 bits of keyed hash, 5 of time, 3 of MSS; window scale and SACK travel in the timestamp.
 */
import type { SipHash } from "../base/siphash.ts";

const MSS_TABLE = [216, 536, 1220, 1360, 1440, 1460, 4312, 8960];
/** A cookie is good for two of these (ms). */
const PERIOD = 64_000;
/** Milliseconds after which no cookie is good any more. */
export const COOKIE_LIFE = 2 * PERIOD;

/** Ten words: addresses, ports, the peer's ISN, the time. */
export const flow = new Int32Array(12);

/** `count`: all periods since the epoch, of which the cookie itself holds the last five bits. */
function hashAt(hash: SipHash, count: number): number {
  flow[10] = count;
  flow[11] = 0x53594e;
  return hash.hash(flow, 12) & 0xffffff;
}

/** `flow` holds addresses (8 words), ports and the peer's initial sequence number. */
export function makeCookie(hash: SipHash, now: number, mss: number): number {
  const count = Math.floor(now / PERIOD);
  let index = 0;
  while (index + 1 < MSS_TABLE.length && MSS_TABLE[index + 1] <= mss) index++;
  return (count << 27) | (index << 24) | hashAt(hash, count);
}

/** The MSS in a cookie that is ours and fresh, else 0. */
export function checkCookie(hash: SipHash, now: number, cookie: number): number {
  const count = Math.floor(now / PERIOD);
  const age = (count - (cookie >>> 27)) & 31;
  if (age > 1) return 0;
  return hashAt(hash, count - age) === (cookie & 0xffffff) ? MSS_TABLE[(cookie >>> 24) & 7] : 0;
}

/** Low six bits of the timestamp: window scale (15: none) and SACK. */
export function stampOptions(tsval: number, scale: number, sack: boolean): number {
  const stamp = (tsval & ~63) | ((scale < 0 ? 15 : scale) << 1) | (sack ? 1 : 0);
  // Never ahead of the clock: what follows would look old (RFC 7323 §5.4).
  return ((stamp - tsval) | 0) > 0 ? (stamp - 64) | 0 : stamp;
}
