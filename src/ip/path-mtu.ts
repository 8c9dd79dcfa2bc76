/** What routers said about the way to a destination (RFC 1191, RFC 8201): forgotten after ten minutes, limited in number. */
import type { IpAddress } from "../base/ip-address.ts";
import { Timer, type Timers } from "../base/timers.ts";

/** RFC 1191 §6.3. */
const LIFETIME = 600_000;
/** Linux's min_pmtu; RFC 8200 §5. */
const SMALLEST = { 4: 552, 6: 1280 } as const;
/** Plateaus of RFC 1191 §7.1, for routers that name no MTU. */
const PLATEAUS = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 552];
const MOST = 4096;

export class PathMtus {
  private readonly known = new Map<string, { mtu: number; isLocked: boolean; until: number }>();
  private readonly timers: Timers;
  private readonly timer: Timer;

  /** `forgotten` is called when something is over, so that larger packets are tried again (RFC 1191 §6.3). */
  constructor(timers: Timers, now: () => number, forgotten: () => void) {
    this.timers = timers;
    this.timer = new Timer(() => {
      this.expire(now());
      forgotten();
    });
  }

  private expire(now: number): void {
    for (const [key, { until }] of this.known) if (until <= now) this.known.delete(key);
    let next = Number.POSITIVE_INFINITY;
    for (const { until } of this.known.values()) next = Math.min(next, until);
    if (next !== Number.POSITIVE_INFINITY) this.timers.arm(this.timer, next);
  }

  /** MTU towards an address when the interface has `mtu`. */
  get(to: IpAddress, mtu: number): number {
    if (this.known.size === 0) return mtu;
    const entry = this.known.get(to.key);
    return entry ? Math.min(mtu, entry.mtu) : mtu;
  }

  /**
   * Does the way take less than packets are ever made for its sake? They go without DF then, and routers cut them, as Linux has it ("mtu lock"): whoever
   * may write an ICMP message does not choose how small packets are.
   */
  isLocked(to: IpAddress): boolean {
    return this.known.size !== 0 && (this.known.get(to.key)?.isLocked ?? false);
  }

  /**
   * A router wants packets of at most `said` bytes (0: it did not say, so that it is less than `length`, which the packet had, RFC 1191 §5).
   * True when that is news.
   */
  learn(to: IpAddress, said: number, before: number, now: number, length = before): boolean {
    // It is about a packet that left before the last report came.
    if (said === 0 && length > before) return false;
    const least = SMALLEST[to.family];
    const mtu = Math.max(said || (PLATEAUS.find((plateau) => plateau < length) ?? least), least);
    const isLocked = to.family === 4 && (said === 0 ? mtu >= before : said < least);
    if (mtu >= before && (!isLocked || this.isLocked(to))) return false;
    if (this.known.size >= MOST) this.known.delete(this.known.keys().next().value as string);
    this.known.set(to.key, { mtu: Math.min(mtu, before), isLocked, until: now + LIFETIME });
    if (!this.timer.armed) this.timers.arm(this.timer, now + LIFETIME);
    return true;
  }
}
