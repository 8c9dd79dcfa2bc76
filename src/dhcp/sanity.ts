/** What no server can give: addresses that are nobody's own, and lease times that would make a client send without end. */
import { IpAddress } from "../base/ip-address.ts";

/** Shortest time (s) until a client asks for more, whatever a server says (RFC 8415 §14.2). */
const LEAST_T1 = 30;

/** Whether an interface can have this address in a subnet of `prefixLength` bits. */
export function isAssignable4(text: string, prefixLength = 32): boolean {
  const address = IpAddress.parse(text);
  const first = address.v4 >>> 24;
  // 240.0.0.0/4 is reserved, with the limited broadcast at its end (RFC 1112 §4, RFC 6890).
  if (first === 0 || first >= 240 || address.isLoopback || address.isMulticast) return false;
  // Point-to-point links have no broadcast and no network address (RFC 3021).
  if (prefixLength >= 31) return true;
  const host = address.v4 & (0xffffffff >>> prefixLength);
  return host !== 0 && host !== (0xffffffff >>> prefixLength) >> 0;
}

/** Whether an address, or a prefix of addresses, can be given by DHCPv6. */
export function isAssignable6(text: string): boolean {
  const address = IpAddress.parse(text);
  return address.family === 6 && !(address.isUnspecified || address.isLoopback || address.isMulticast || address.isLinkLocal);
}

/** T1 and T2 (s) such that a client rests in between; `end`: when the lease is over. */
export function restful(t1: number, t2: number, end: number): { t1Seconds: number; t2Seconds: number } {
  const t1Seconds = Math.max(t1, Math.min(LEAST_T1, end / 2));
  return { t1Seconds, t2Seconds: Math.max(t2, t1Seconds, Math.min(1.6 * LEAST_T1, 0.8 * end)) };
}

/** How many messages a client sends at most: so many at once, then one a second (RFC 8415 §14.1). */
const BURST = 20;
const REFILL_MS = 1000;

export class SendRate {
  private tokens = BURST;
  private since: number;

  constructor(now: number) {
    this.since = now;
  }

  /** Takes a token; false when there is none. */
  take(now: number): boolean {
    const gained = Math.floor((now - this.since) / REFILL_MS);
    if (gained > 0) {
      this.tokens = Math.min(BURST, this.tokens + gained);
      this.since += gained * REFILL_MS;
    }
    if (this.tokens === 0) return false;
    this.tokens--;
    return true;
  }
}
