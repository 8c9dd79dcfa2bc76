/** How much may wait in the send buffer, and when it is taken. */
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
  return isCrowded(tcb) ? Math.min(limit, CROWDED_SPACE) : limit;
}

/**
 * Whether a writer has to wait until it is this flow's turn to send: what is taken earlier has left the cache when it leaves (100 flows:
 * 15.5 Gbit/s, 17.2 when they wait). The flow is in the line then, and its owner is told.
 */
export function waitsForTurn(tcb: Tcb): boolean {
  const { path } = tcb;
  const { stack } = tcb.world;
  if (!path || !isCrowded(tcb) || stack.hasTurn(tcb)) return false;
  stack.queueUp(path, tcb);
  return true;
}

function isCrowded({ path, rtt, events, world }: Tcb): boolean {
  return rtt.min < NEAR && path !== undefined && !events.hasRoom && world.stack.isCrowded(path);
}
