/** What happens when nothing happens: retransmission, probes, persist, keepalive, and the waits at the end. */
import { LoomError } from "../base/errors.ts";
import { abort, destroy, peerOf } from "./end.ts";
import { probePeer } from "./keepalive.ts";
import { suspectBlackHole } from "./mtu-probe.ts";
import { transmit } from "./output.ts";
import { checkAppLimited } from "./pacing.ts";
import { rackExpired, timedOut } from "./recovery.ts";
import { arm, probeTail, probeWindow, resend, retryAfter, send } from "./sender.ts";
import { ACK, distance } from "./sequence.ts";
import { ESTABLISHED, FIN_WAIT_2, SYN_SENT } from "./states.ts";
import type { Tcb } from "./tcb.ts";
import { userTimeout } from "./user-timeout.ts";

/** A closed connection whose peer takes nothing of what is left is kept for so long (ms). */
const ORPHAN_MS = 4 * 60_000;
/** Linux's TCP_THIN_LINEAR_RETRIES, and the segments of tcp_stream_is_thin. */
const THIN_RETRIES = 6;
const THIN_SEGMENTS = 4;

export function retransmitExpired(tcb: Tcb): void {
  const mode = tcb.flight.timerMode;
  checkAppLimited(tcb);
  if (mode === "tlp") {
    probeTail(tcb);
    // The timeout after a probe counts from the probe (RFC 8985 §7.3).
    tcb.flight.timerMode = "rto";
    arm(tcb, true);
    return;
  }
  // Between two probes of a shut window it goes on standing still since the first.
  if (mode !== "persist") tcb.flight.timerMode = "none";
  if (mode === "rack") {
    rackExpired(tcb);
    send(tcb);
  } else if (mode === "persist") persist(tcb);
  else if (mode === "rto") retransmit(tcb);
}

function giveUp(tcb: Tcb, most: number): boolean {
  const longest = userTimeout(tcb);
  const tooLong = longest > 0 && tcb.now - tcb.flight.stalledSince >= longest;
  if (tcb.flight.retries < most && !tooLong) return false;
  destroy(tcb, tcb.softError ?? new LoomError("ETIMEDOUT", `${peerOf(tcb)} does not answer`));
  return true;
}

/** The first repetitions without back-off come on top (Linux's tcp_syn_linear_timeouts), unless the owner has set a number. */
function synAttempts(tcb: Tcb): number {
  const { settings } = tcb.world;
  return tcb.options.synRetries || settings.synRetries + settings.synLinearTimeouts;
}

function retransmit(tcb: Tcb): void {
  const { first } = tcb.sent;
  if (!first) return;
  const { settings } = tcb.world;
  if (first.isSyn) {
    if (giveUp(tcb, tcb.state === SYN_SENT ? synAttempts(tcb) : settings.synAckRetries)) return;
    tcb.flight.retries++;
    if (tcb.state !== SYN_SENT || tcb.options.synRetries > 0 || tcb.flight.retries > settings.synLinearTimeouts) tcb.rtt.backOff();
    // A peer that is only waited for is asked once more, at the end.
    if (!tcb.deferred || tcb.flight.retries >= tcb.options.deferAccept) resend(tcb, first, true);
    arm(tcb, true);
    return;
  }
  // What the owner, or the ends, have set holds, however many repetitions that are.
  if (tcb.window === 0 && !tcb.orphan) {
    if (isLeftAlone(tcb) || isSilent(tcb)) return;
  } else if (giveUp(tcb, userTimeout(tcb) > 0 ? Number.POSITIVE_INFINITY : tcb.orphan ? settings.orphanRetries : settings.retries)) return;
  suspectBlackHole(tcb, distance(first.end, first.start), first.size);
  timedOut(tcb);
  send(tcb);
  tcb.flight.timerMode = "rto";
  // What this host could not send says nothing of the path (Linux's tcp_retransmit_timer).
  if (tcb.sent.first?.lost) retryAfter(tcb);
  else {
    if (isThin(tcb)) tcb.rtt.reset();
    else tcb.rtt.backOff();
    arm(tcb, true);
  }
}

/** So few segments under way that only timeouts find losses: they do not double, at first (Linux's tcp_stream_is_thin). */
function isThin({ options, flight, state, sent, mss }: Tcb): boolean {
  // What is taken for lost now was under way as well.
  const outstanding = sent.pipe + sent.lostBytes + sent.sackedBytes;
  return options.thinLinearTimeouts && state === ESTABLISHED && flight.retries <= THIN_RETRIES && outstanding < THIN_SEGMENTS * mss;
}

/**
 * A peer that has shut its window over what is under way is probed with it: it lives as long as it acknowledges (RFC 1122
 * §4.2.2.17), unless the user timeout is over. True when it was given up.
 */
function isSilent(tcb: Tcb): boolean {
  if (userTimeout(tcb) > 0) return giveUp(tcb, Number.POSITIVE_INFINITY);
  const most = 2 * tcb.rtt.most;
  if (tcb.now - tcb.lastReceivedAt <= most || tcb.now - tcb.flight.stalledSince <= most) return false;
  return giveUp(tcb, 0);
}

/** Its owner has closed it, and the peer has taken nothing for too long: it is given up. */
function isLeftAlone(tcb: Tcb): boolean {
  const left = tcb.orphan ? tcb.orphanedAt : tcb.leftAt;
  // What it takes now and then counts (Linux: probes are counted anew when the window opens).
  if (left < 0 || tcb.now - Math.max(left, tcb.flight.stalledSince) <= ORPHAN_MS) return false;
  tcb.world.counters.abort_on_timeout++;
  abort(tcb, "ETIMEDOUT", `${peerOf(tcb)} keeps its window shut`);
  return true;
}

function persist(tcb: Tcb): void {
  // A peer that keeps acknowledging may keep its window shut; one that is silent is given up like any other.
  const { settings } = tcb.world;
  const { flight } = tcb;
  if (flight.stalledSince > tcb.now) flight.stalledSince = tcb.now;
  if (giveUp(tcb, Number.POSITIVE_INFINITY)) return;
  if (isLeftAlone(tcb)) return;
  if (tcb.now - tcb.lastReceivedAt > 2 * 60_000 && giveUp(tcb, settings.retries)) return;
  if (tcb.orphan && giveUp(tcb, settings.orphanRetries)) return;
  if (tcb.window > distance(tcb.nxt, tcb.una)) {
    // Not the window held it back, but the owner's cork, or this host.
    const { nxt } = tcb;
    flight.pushing = tcb.pushesEnd = true;
    send(tcb);
    flight.pushing = false;
    if (tcb.nxt === nxt && !flight.heldBack) retryHere(tcb);
    return;
  }
  if (!probeWindow(tcb)) {
    retryHere(tcb);
    return;
  }
  flight.retries++;
  send(tcb);
}

/** This host could not send the probe: that is no reason to wait longer and longer (Linux's tcp_send_probe0). */
function retryHere(tcb: Tcb): void {
  tcb.keepProbes++;
  tcb.flight.timerMode = "persist";
  retryAfter(tcb);
}

export function ackExpired(tcb: Tcb): void {
  if (!tcb.ackSoon) {
    // Waiting that long means that no answer takes the acknowledgement along, and that the peer does not send in pairs.
    tcb.pingPong = false;
    tcb.quickAcks = Math.max(tcb.quickAcks, 1);
  }
  transmit(tcb, tcb.nxt, 0, ACK);
  tcb.rest();
}

export function stateExpired(tcb: Tcb): void {
  if (tcb.state === FIN_WAIT_2 && tcb.orphan) {
    destroy(tcb, undefined);
    return;
  }
  probePeer(tcb);
}
