/**
 * Pacing: segments leave at a rate instead of in bursts (draft-ietf-ccwg-bbr §5.6.2, Linux's fq and tso autosizing); and
 * what a departure leaves behind for the estimates: how far the window was used, whether the application had more.
 */
import type { SentRecord } from "./scoreboard.ts";
import { before, distance } from "./sequence.ts";
import type { Tcb } from "./tcb.ts";

/** A timer that came late (event loops have coarse ones) is caught up with for so long at most (ms). */
const MOST_CATCH_UP = 10;
/** Segments that leave unpaced when a connection begins: RFC 6928's burst. */
const FIRST_BURST = 10;
/** Linux's tcp_pacing_ss_ratio and tcp_pacing_ca_ratio. */
const SLOW_START_RATIO = 2;
const AVOIDANCE_RATIO = 1.2;

/** True when there is something to send that the pace lets leave later only; its timer runs then. */
export function holdsBack(tcb: Tcb): boolean {
  if (tcb.pacingRate === 0 || tcb.releaseAt <= tcb.now || (tcb.unsent <= 0 && tcb.sent.lostBytes === 0)) return false;
  tcb.world.stack.timers.arm(tcb.flight.paceTimer, tcb.releaseAt);
  return true;
}

/** A record has left. */
export function noteDeparture(tcb: Tcb, record: SentRecord): void {
  const { rate, sent, now } = tcb;
  const bytes = distance(record.end, record.start);
  rate.sent(record, sent.pipe, bytes, now);
  if (tcb.pacingRate === 0 || rate.delivered + sent.pipe <= FIRST_BURST * tcb.mss) return;
  // Who waited for the pace alone may make up for a timer that was late; who had nothing to send may not.
  const earliest = tcb.flight.heldBack ? now - MOST_CATCH_UP : now;
  tcb.releaseAt = Math.max(tcb.releaseAt, earliest) + (bytes * 1000) / tcb.pacingRate;
}

/** Bytes a second by the window, whether it is sent at that rate or not; 0 before a round trip was measured. */
export function windowRate(tcb: Tcb): number {
  const { srtt } = tcb.rtt;
  const ratio = tcb.cwnd < tcb.ssthresh / 2 ? SLOW_START_RATIO : AVOIDANCE_RATIO;
  return srtt > 0 ? (ratio * Math.max(tcb.cwnd, tcb.sent.pipe) * 1000) / srtt : 0;
}

/** The rate for controllers that have a window only, and the limit for all. */
export function setPace(tcb: Tcb): void {
  const { pacing, maxPacingRate } = tcb.options;
  if (!tcb.control.steers) {
    tcb.pacingRate = pacing || maxPacingRate > 0 ? windowRate(tcb) : 0;
  }
  if (maxPacingRate > 0 && (tcb.pacingRate === 0 || tcb.pacingRate > maxPacingRate)) tcb.pacingRate = maxPacingRate;
}

/** How far the window was used: `room` bytes were left in it after sending. Judged by the fullest moment of a round trip. */
export function noteUse(tcb: Tcb, room: number): void {
  const isFull = room < tcb.mss;
  const { pipe } = tcb.sent;
  if (!isFull && before(tcb.una, tcb.flight.usedUntil) && (tcb.flight.cwndLimited || pipe <= tcb.flight.usedMost)) return;
  tcb.flight.cwndLimited = isFull;
  tcb.flight.usedMost = pipe;
  tcb.flight.usedUntil = tcb.nxt;
}

/** Before anything is added to what can be sent: was there less than the window takes? (draft-ietf-ccwg-bbr §4.1.2.4) */
export function checkAppLimited(tcb: Tcb): void {
  const { sent } = tcb;
  if (tcb.unsent < tcb.mss && sent.lostBytes === 0 && sent.pipe < tcb.cwnd) tcb.rate.markAppLimited(sent.pipe);
}
