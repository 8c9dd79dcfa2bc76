/** A connection in segments, as TCP_INFO counts; the rest of what `ss -i` shows is `status` in user.ts. */
import { segmentsOf } from "./scoreboard.ts";
import type { Tcb } from "./tcb.ts";

/** Linux's enum tcp_ca_state. */
const CA_OPEN = 0;
const CA_DISORDER = 1;
const CA_CWR = 2;
const CA_RECOVERY = 3;
const CA_LOSS = 4;

export function congestionState(tcb: Tcb): number {
  if (tcb.flight.afterTimeout) return CA_LOSS;
  if (tcb.flight.inRecovery) return CA_RECOVERY;
  if (tcb.flight.inCwr) return CA_CWR;
  return tcb.sent.sackedBytes > 0 || tcb.flight.duplicateAcks > 0 ? CA_DISORDER : CA_OPEN;
}

/** Segments sent and not acknowledged; of these SACKed, deemed lost, and under way again. */
export function segmentCounts(tcb: Tcb): { unacked: number; sacked: number; lost: number; retrans: number } {
  const counts = { unacked: 0, sacked: 0, lost: 0, retrans: 0 };
  for (let record = tcb.sent.first; record; record = record.next) {
    const n = segmentsOf(record);
    counts.unacked += n;
    if (record.sacked) counts.sacked += n;
    // What was lost and goes again counts as lost until it arrives (Linux's lost_out).
    else if (record.lost || (record.retransmitted && record.wasLost)) counts.lost += n;
    if (record.retransmitted && !record.sacked && record.inFlight) counts.retrans += n;
  }
  return counts;
}
