/** How much may wait in the send buffer, and when it is taken. */
import { SLAB_BYTES } from "../engine/slabs.ts";
import { NEAR } from "./recovery.ts";
import { CLOSE_WAIT, ESTABLISHED } from "./states.ts";
import type { Tcb } from "./tcb.ts";

/** What one of many flows on a near path keeps: a large segment; in its turn beside it the one that is on its way still. */
const CROWDED_SPACE = 65_536;
/** Writes of so many bytes fill a turn. */
const LARGE = 32_768;

/**
 * Bytes that the send buffer holds at most now: less on a near path that many flows share, and no more than is left for all others
 * together (Choudhury and Hahne 1998), so that a few do not take the memory of everybody; of the last quarter a slab. Owners who count
 * their room by themselves (`hasRoom`) find out when there is none.
 */
export function sendLimit(tcb: Tcb): number {
  const own = Math.min(tcb.sendSpace, tcb.options.sendBuffer);
  const { slabs } = tcb.world.stack;
  const limit = tcb.events.hasRoom ? own : Math.min(own, Math.max(1, slabs.sendRoom - slabs.sendMost / 4) * SLAB_BYTES);
  if (!isCrowded(tcb)) return limit;
  return Math.min(limit, tcb.world.stack.hasTurn(tcb) ? 2 * CROWDED_SPACE : CROWDED_SPACE);
}

/**
 * Whether a large write has to wait until it is this flow's turn to send: what is taken earlier has left the cache when it leaves (100 flows
 * keep 2 MB instead of 8, and reach 21.9 Gbit/s instead of 16.9, medians of ten runs in turn). The flow is in the line then, and its owner
 * is told; for owners who go on at that very moment, as a turn does not wait for anybody.
 */
export function waitsForTurn(tcb: Tcb, bytes: number): boolean {
  const { path, state } = tcb;
  const { stack } = tcb.world;
  const isOpen = state === ESTABLISHED || state === CLOSE_WAIT;
  if (bytes < LARGE || !isOpen || tcb.finQueued || !path || !isCrowded(tcb) || stack.hasTurn(tcb)) return false;
  stack.queueUp(path, tcb);
  return true;
}

/** Is its path near, and shared with many who wait for it? Owners who count their room by themselves (`hasRoom`) are left alone. */
export function isCrowded({ path, rtt, events, world }: Tcb): boolean {
  return rtt.min < NEAR && path !== undefined && !events.hasRoom && world.stack.isCrowded(path);
}
