/** How much may wait in the send buffer. */
import { NEAR } from "./recovery.ts";
import type { Tcb } from "./tcb.ts";

/** What one of many flows on a near path keeps, so that all of them together stay in the cache: a large segment. */
const CROWDED_SPACE = 65_536;

/** Bytes that the send buffer holds at most now: on a near path that many flows share less (100 flows: 15 Gbit/s instead of 12.5). */
export function sendLimit(tcb: Tcb): number {
  const limit = Math.min(tcb.sendSpace, tcb.options.sendBuffer);
  const { path, rtt, events } = tcb;
  const isCrowded = rtt.min < NEAR && path !== undefined && !events.hasRoom && tcb.world.stack.isCrowded(path);
  return isCrowded ? Math.min(limit, CROWDED_SPACE) : limit;
}
