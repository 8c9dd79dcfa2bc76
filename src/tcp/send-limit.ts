/** How much may wait in the send buffer. */
import { NEAR } from "./recovery.ts";
import type { Tcb } from "./tcb.ts";

/** What one of many flows on a near path keeps, so that all of them together stay in the cache: a large segment. */
const CROWDED_SPACE = 65_536;

/**
 * Bytes that the send buffer holds at most now: less on a near path that many flows share (100 flows with 64 KiB each:
 * 13.8–15.6 Gbit/s, with 256 KiB each 10.6–13.4).
 */
export function sendLimit(tcb: Tcb): number {
  const limit = Math.min(tcb.sendSpace, tcb.options.sendBuffer);
  const { path, rtt, events } = tcb;
  const isCrowded = rtt.min < NEAR && path !== undefined && !events.hasRoom && tcb.world.stack.isCrowded(path);
  return isCrowded ? Math.min(limit, CROWDED_SPACE) : limit;
}
