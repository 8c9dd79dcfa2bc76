/** How connections end: in order, by reset, or by giving up (RFC 9293 §3.6, §3.10.5). */
import { LoomError, type LoomErrorCode } from "../base/errors.ts";
import { transmit } from "./output.ts";
import { giveBack } from "./receiver.ts";
import { ACK, RST } from "./sequence.ts";
import { CLOSE_WAIT, CLOSED, ESTABLISHED, SYN_RECEIVED, TIME_WAIT } from "./states.ts";
import type { Tcb } from "./tcb.ts";

/** Gives everything back and tells the owner, once. */
export function destroy(tcb: Tcb, error: LoomError | undefined): void {
  if (tcb.state === CLOSED) return;
  if (tcb.state === TIME_WAIT) {
    // Others answer for it already.
    tcb.state = CLOSED;
    release(tcb, tcb.orphan);
    return;
  }
  if (error && (tcb.state === ESTABLISHED || tcb.state === CLOSE_WAIT)) tcb.world.counters.estab_resets++;
  if (error && tcb.state <= SYN_RECEIVED) tcb.world.counters.attempt_fails++;
  tcb.state = CLOSED;
  stopTimers(tcb);
  release(tcb, tcb.orphan);
  tcb.world.remove(tcb);
  tcb.events.closed?.(error);
}

export function stopTimers(tcb: Tcb): void {
  const { timers } = tcb.world.stack;
  if (tcb.hasStateTimer) timers.remove(tcb.stateTimer);
}

/** A closed connection in FIN-WAIT-2 does not wait for ever (Linux: tcp_fin_timeout, TCP_LINGER2). */
export function awaitFin(tcb: Tcb): void {
  const { finTimeout } = tcb.options;
  const { stack, settings } = tcb.world;
  if (finTimeout < 0) abort(tcb);
  else stack.timers.arm(tcb.stateTimer, stack.now + (finTimeout || settings.finWait2Ms));
}

/** Buffers go back; what was received may still be read by whoever owns the connection. */
export function release(tcb: Tcb, alsoReceived: boolean): void {
  tcb.endFlight();
  giveBack(tcb);
  tcb.queue?.clear();
  if (alsoReceived) tcb.inbox?.clear();
  else tcb.inbox?.trim();
}

/** Resets the connection: the peer learns of it at once. */
export function abort(tcb: Tcb, code: LoomErrorCode = "ECONNABORTED", message = "the connection was aborted"): void {
  tcb.orphan = true;
  if (tcb.state === CLOSED) tcb.inbox?.clear();
  if (tcb.state >= SYN_RECEIVED && tcb.state !== TIME_WAIT) {
    // A handshake that waits for something to go along with is finished first: else the peer never learns that there was a connection.
    if (tcb.nxt === ((tcb.iss + 1) | 0) && (tcb.ackSoon || tcb.flight.ackTimer.armed)) transmit(tcb, tcb.nxt, 0, ACK);
    transmit(tcb, tcb.nxt, 0, RST | ACK);
    tcb.world.counters.out_rsts++;
    tcb.world.stack.flush();
  }
  destroy(tcb, new LoomError(code, message));
}

/** "192.0.2.1 port 80", for messages. */
export function peerOf(tcb: Pick<Tcb, "remote" | "remotePort">): string {
  return `${tcb.remote} port ${tcb.remotePort}`;
}
