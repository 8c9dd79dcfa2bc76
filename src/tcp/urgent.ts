/**
 * Urgent data (RFC 9293 §3.8.5, RFC 6093) as Linux has it: the pointer names the octet behind the urgent one; that octet
 * alone can be read out of the stream (`options.urgentData` "apart"), or stands in it behind a mark ("inline"). A later
 * mark takes the place of an earlier one. By default ("ignored") the pointer says nothing: all data is data.
 */
import * as abi from "../../assembly/abi.ts";
import type { IpStack } from "../ip/stack.ts";
import type { Segment } from "./segment.ts";
import { after, before, distance, URG } from "./sequence.ts";
import type { Tcb } from "./tcb.ts";
import { Urgent } from "./urgent-state.ts";

const NO_MARK = Number.POSITIVE_INFINITY;
const MOST = 0xffff;

// ── Sending ─────────────────────────────────────────────────────────────────────────────────────

/** What ends at `end` ends with an urgent octet. */
export function markUrgent(tcb: Tcb, end: number): void {
  tcb.urgent ??= new Urgent();
  tcb.urgent.end = end;
  tcb.urgent.sends = true;
}

/** An urgent octet is on its way: segments are made one by one, and do not wait for others. */
export function isUrging(tcb: Tcb): boolean {
  return tcb.urgent?.sends ?? false;
}

/** Urgent pointer of a segment that begins at `seq`; 0: it has none. What is too far to point to is as far as can be said. */
export function urgentPointer(tcb: Tcb, urgent: Urgent, seq: number): number {
  if (!urgent.sends) return 0;
  const ahead = distance(urgent.end, seq);
  if (ahead <= 0) return 0;
  if (ahead <= MOST) return ahead;
  return after((seq + MOST) | 0, tcb.nxt) ? MOST : 0;
}

/** Everything up to `una` was acknowledged. */
export function urgentArrived(urgent: Urgent, una: number): void {
  if (!after(urgent.end, una)) urgent.sends = false;
}

// ── Receiving ───────────────────────────────────────────────────────────────────────────────────

/** Sequence number of the first byte that the owner has not read. */
function readTo(tcb: Tcb): number {
  return (tcb.received - (tcb.finReceived ? 1 : 0) - (tcb.inbox?.length ?? 0)) | 0;
}

/** The segment in hand, its payload not taken yet: does it announce urgent data, does it hold the octet that was announced? */
export function takeUrgent(tcb: Tcb, id: number, s: Segment): void {
  if (tcb.options.urgentData === "ignored" || tcb.finReceived) return;
  if (s.flags & URG) takePointer(tcb);
  const { urgent } = tcb;
  if (urgent?.state !== "awaited") return;
  const offset = distance(urgent.mark, s.seq);
  if (offset < 0 || offset >= s.length) return;
  urgent.octet = byteAt(tcb.world.stack, id, s.offset + offset);
  urgent.state = "here";
  tcb.events.urgent?.(true);
}

function takePointer(tcb: Tcb): void {
  // From where the segment begins, a SYN included.
  const { words } = tcb.world.stack;
  const mark = (words[abi.SEG_SEQUENCE / 4] + Math.max(words[abi.SEG_URGENT / 4] - 1, 0)) | 0;
  const at = readTo(tcb);
  // Read, or received without being called urgent: too late.
  if (after(at, mark) || before(mark, tcb.received)) return;
  tcb.urgent ??= new Urgent();
  const { urgent } = tcb;
  if (urgent.state !== "none" && !after(mark, urgent.mark)) return;
  // The reader stands at the earlier mark: its octet would turn into data now.
  const standsThere = urgent.state !== "none" && urgent.mark === at && tcb.options.urgentData === "apart";
  if (standsThere && tcb.inbox && tcb.inbox.length > 0) tcb.inbox.drop(1);
  urgent.state = "awaited";
  urgent.mark = mark;
  tcb.events.urgent?.(false);
}

/** Bytes from `from` ahead of the reader to the mark; infinite when there is none ahead. */
export function toMark(tcb: Tcb, from = 0): number {
  const { urgent } = tcb;
  if (!urgent || urgent.state === "none") return NO_MARK;
  const ahead = distance(urgent.mark, readTo(tcb)) - from;
  return ahead < 0 ? NO_MARK : ahead;
}

/** The reader has gone on: a mark behind it is none. */
export function passMark(tcb: Tcb, urgent: Urgent): void {
  if (urgent.state !== "none" && after(readTo(tcb), urgent.mark)) urgent.state = "none";
}

/** The octet at `offset` of a packet's chain. */
function byteAt(stack: IpStack, id: number, offset: number): number {
  const { memory } = stack.engine;
  for (let next = id, left = offset; next !== abi.NONE; ) {
    const d = memory.descriptor(next);
    const have = memory.getU32(d + abi.DESC_LENGTH);
    if (left < have) return memory.u8[memory.getU32(d + abi.DESC_DATA) + left];
    left -= have;
    next = memory.getU32(d + abi.DESC_NEXT);
  }
  return 0;
}
