/** Keepalive (RFC 9293 §3.8.4): a peer that says nothing for long is asked whether it lives. */
import { abort, peerOf } from "./end.ts";
import { transmit } from "./output.ts";
import { ACK } from "./sequence.ts";
import { ESTABLISHED } from "./states.ts";
import type { Tcb } from "./tcb.ts";
import { userTimeout } from "./user-timeout.ts";

/** Starts the timer, where the connection wants one. */
export function beginKeepAlive(tcb: Tcb): void {
  const { keepAlive } = tcb.options;
  if (keepAlive > 0) tcb.world.stack.timers.arm(tcb.stateTimer, tcb.now + keepAlive * 1000);
}

/** The timer expired: an old sequence number, which must be acknowledged; or the end. */
export function probePeer(tcb: Tcb): void {
  const { options, world } = tcb;
  if (options.keepAlive === 0 || tcb.state < ESTABLISHED) return;
  const { timers } = world.stack;
  // Data under way asks already, and is given up by its own rules.
  if (tcb.sent.first || tcb.unsent > 0) {
    beginKeepAlive(tcb);
    return;
  }
  // Compared as it is armed: `now - lastReceivedAt` may be a rounding error less at the very moment, and the timer would fire for ever.
  const due = tcb.lastReceivedAt + options.keepAlive * 1000;
  if (tcb.now < due) {
    tcb.keepProbes = 0;
    timers.arm(tcb.stateTimer, due);
    return;
  }
  const idle = tcb.now - tcb.lastReceivedAt;
  // The user timeout, where there is one, takes the place of the number of probes (tcp(7), TCP_USER_TIMEOUT).
  const longest = userTimeout(tcb);
  const isOver = longest > 0 ? idle >= longest && tcb.keepProbes > 0 : tcb.keepProbes >= options.keepAliveProbes;
  if (isOver) {
    abort(tcb, "ETIMEDOUT", `${peerOf(tcb)} did not answer ${tcb.keepProbes} keepalive probes`);
    return;
  }
  tcb.keepProbes++;
  transmit(tcb, (tcb.una - 1) | 0, 0, ACK);
  timers.arm(tcb.stateTimer, tcb.now + options.keepAliveInterval * 1000);
}
