/**
 * Reductions that were for nothing: every retransmission came as a duplicate (D-SACK, RFC 2883 with RFC 3708), or what was
 * acknowledged left before the first retransmission (timestamps, RFC 3522). The window is what it was before (RFC 4015 §3).
 */
import { type SentRecord, segmentsOf } from "./scoreboard.ts";
import { before, distance } from "./sequence.ts";
import type { Tcb } from "./tcb.ts";

/** A reduction begins: what follows may turn out to be for nothing. */
export function beginUndo(tcb: Tcb): void {
  tcb.flight.undoCount = 0;
  tcb.flight.undoFrom = tcb.una;
  tcb.flight.undoStamp = 0;
}

/** A record was sent again. */
export function noteForUndo(tcb: Tcb, record: SentRecord): void {
  if (tcb.flight.undoCount < 0) return;
  tcb.flight.undoCount += segmentsOf(record);
  if (tcb.flight.undoStamp === 0) tcb.flight.undoStamp = tcb.tsval || 1;
}

/** The peer says that these bytes came twice. */
export function takeDuplicate(tcb: Tcb, start: number, end: number): void {
  if (tcb.flight.undoCount <= 0 || before(start, tcb.flight.undoFrom)) return;
  tcb.flight.undoCount = Math.max(0, tcb.flight.undoCount - Math.max(1, Math.ceil(distance(end, start) / tcb.mss)));
  if (tcb.flight.undoCount === 0) undo(tcb);
}

/** In a recovery: the acknowledgement answers what left before anything was sent again. */
export function checkDelayed(tcb: Tcb, tsecr: number): void {
  if (!tcb.flight.inRecovery || !tcb.timestampsOk || tsecr === 0 || tcb.flight.undoStamp === 0 || tcb.flight.undoCount < 0) return;
  if (distance(tsecr, tcb.flight.undoStamp) < 0) undo(tcb);
}

function undo(tcb: Tcb): void {
  tcb.flight.undoCount = -1;
  tcb.flight.inRecovery = tcb.flight.afterTimeout = tcb.flight.frto = false;
  for (let record = tcb.sent.first; record; record = record.next) if (record.lost) tcb.sent.unmarkLost(record);
  tcb.world.counters.spurious_recoveries++;
  tcb.control.undone(tcb);
}
