/** Which of the clocks of TCP_INFO runs (Linux's tcp_chrono_start): nothing to do, busy, held back by a window or by the buffer. */
import { type Accounts, BUSY, BY_BUFFER, BY_WINDOW, IDLE } from "./accounts.ts";
import { distance } from "./sequence.ts";
import { CLOSE_WAIT, ESTABLISHED } from "./states.ts";
import type { Tcb } from "./tcb.ts";

/** After a try to send: `room` bytes of the congestion window are left. */
export function judge(accounts: Accounts, tcb: Tcb, hasSent: boolean, room: number): void {
  const { now } = tcb;
  if (!tcb.queue || tcb.queue.length === 0) accounts.enter(IDLE, now);
  else if (isHeldByWindow(tcb, room)) accounts.enter(BY_WINDOW, now);
  else if (accounts.isByBuffer ? tcb.wantsRoom : hasSent && isHeldByBuffer(tcb, room)) accounts.enter(BY_BUFFER, now);
  else accounts.enter(BUSY, now);
}

/** The congestion window would take a segment that the peer's window does not. */
function isHeldByWindow(tcb: Tcb, room: number): boolean {
  const next = Math.min(tcb.unsent, tcb.mss);
  return next > 0 && room >= tcb.mss && tcb.window - distance(tcb.nxt, tcb.una) < next;
}

/** All is sent, the congestion window would take more, and whoever writes waits for the buffer. */
function isHeldByBuffer(tcb: Tcb, room: number): boolean {
  return tcb.unsent <= 0 && room >= tcb.mss && tcb.wantsRoom && (tcb.state === ESTABLISHED || tcb.state === CLOSE_WAIT);
}
