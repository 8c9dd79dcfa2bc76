/**
 * Explicit congestion notification: RFC 3168, where a mark is echoed until the sender says that it slowed down, and
 * Accurate ECN (RFC 9768), where the receiver counts marked packets in three bits of every header (ACE) and bytes of each
 * kind in an option. Negotiation, what arrives, what departs, and how many marks an acknowledgement reports.
 */
import * as abi from "../../assembly/abi.ts";
import { CE, ECT0, ECT1, EcnState, NOT_ECT } from "./ecn-state.ts";
import { after } from "./sequence.ts";
import { TIME_WAIT } from "./states.ts";
import type { Tcb } from "./tcb.ts";

/** TCP flags of ECN; together, high to low, the ACE field. */
export const ECE = 0x40;
export const CWR = 0x80;
export const AE = 0x100;
const ACE = AE | CWR | ECE;
export const ECN_FLAGS = ACE;
const ACE_SHIFT = 6;
/** RFC 9768 §3.2.1: so that a zeroed field is not taken for a count. */
const FIRST_COUNT = 5;

/** §3.1.1: how a SYN-ACK, or the last ACK of the handshake, says which IP field it answers. */
const REFLECTED = [CWR, CWR | ECE, AE, AE | CWR] as const;

/** Byte counters of the option: which kinds it holds with one, two and three fields (order 1, kind 174). */
export const OPTION_FIELDS = [ECT1, CE, ECT0] as const;

/** The segment in hand, as far as ECN is concerned; input fills it in, recovery asks. */
export const arrival = {
  flags: 0,
  field: 0,
  /** Counters of the option by IP field; -1: not there. */
  counters: [-1, -1, -1, -1],
  /** Options were read, so counters may stand there. */
  hasCounters: true,
  /** It acknowledges our SYN: its ACE field reflects, it does not count. */
  isHandshake: false,
  /** By its timestamp it left after all that came before. */
  isNewer: false,
};

const aceOf = (flags: number): number => (flags & ACE) >>> ACE_SHIFT;

// ── Negotiation (RFC 3168 §6.1.1, RFC 9768 §3.1) ────────────────────────────────────────────────

/** Flags of our SYN. A repeated one asks for less: somebody on the path may dislike it (RFC 3168 §6.1.1.1, RFC 9768 §3.1.4.1). */
export function synFlags(tcb: Tcb): number {
  const wanted = tcb.control.ecn ? "ecn" : tcb.options.ecnRequest;
  const request = tcb.options.ecnRequest === "accecn" ? "accecn" : wanted;
  if (request === "accecn") return tcb.synRepeats < 2 ? ACE : 0;
  return request === "ecn" && tcb.synRepeats === 0 ? ECE | CWR : 0;
}

/** A SYN came; what its sender gets. */
export function takeSyn(tcb: Tcb, flags: number, field: number): void {
  const { ecnAccept } = tcb.options;
  const grant = tcb.control.ecn && ecnAccept === "off" ? "ecn" : ecnAccept;
  const ace = flags & ACE;
  if (grant === "off" || (ace & (ECE | CWR)) !== (ECE | CWR)) return;
  if (ace === ACE && grant === "accecn") {
    tcb.ecn = new EcnState(true);
    tcb.ecn.reflect = field;
    return;
  }
  // A SYN that is capable of being marked is not one of RFC 3168.
  if (field === NOT_ECT || tcb.control.ecn) tcb.ecn = new EcnState(false);
}

/** Flags of our SYN-ACK; the second repetition asks for nothing any more. */
export function synAckFlags(tcb: Tcb): number {
  const { ecn } = tcb;
  if (!ecn) return 0;
  if (!ecn.isAccurate) return ECE;
  return tcb.synRepeats < 2 ? REFLECTED[ecn.reflect] : 0;
}

/** A SYN-ACK came. */
export function takeSynAck(tcb: Tcb, flags: number, field: number): void {
  if (tcb.askedEcn === 0) return;
  const ace = flags & ACE;
  if (ace === ECE) tcb.ecn = new EcnState(false);
  else if (tcb.askedEcn === ACE && ace !== 0 && ace !== ACE) {
    tcb.ecn = new EcnState(true);
    tcb.ecn.reflect = field;
    // Our SYN could not be marked, so whatever else is reflected means that the field is mangled (§3.2.2.3).
    if (tcb.world.settings.ecnFallback && ace !== REFLECTED[NOT_ECT] && ace !== (AE | ECE)) tcb.ecn.marksFail = true;
    if (field === CE) tcb.ecn.ceReceived++;
    noteOption(tcb.ecn);
  }
}

/** The ACE field of the last packet of the handshake reflects our SYN-ACK's IP field (§3.2.2.1). */
export function takeThirdAck(tcb: Tcb, flags: number, length: number): void {
  const { ecn } = tcb;
  if (!ecn?.isAccurate) return;
  const ace = flags & ACE;
  ecn.isChecked = true;
  if (tcb.synRepeats >= 2 && ace === 0) tcb.ecn = undefined;
  else if (ace === 0) ecn.marksFail = true;
  else if (length === 0 && REFLECTED.includes(ace as never)) {
    // Our SYN-ACK could not be marked.
    if (tcb.world.settings.ecnFallback) ecn.marksFail ||= ace !== REFLECTED[NOT_ECT];
    else if (ace === REFLECTED[CE]) ecn.ceDelivered++;
  }
}

/** Our peer's SYN or SYN-ACK came again: its IP field is reflected from now on; if it asks no more, marks do not get through. */
export function takeSynAgain(tcb: Tcb, flags: number, field: number): void {
  const { ecn } = tcb;
  if (!ecn?.isAccurate) return;
  ecn.reflect = field;
  if (tcb.listener && (flags & ACE) === 0) ecn.marksFail = true;
}

// ── Receiving ───────────────────────────────────────────────────────────────────────────────────

/** A segment was accepted. True when an acknowledgement is due at once. */
export function noteArrival(tcb: Tcb, length: number, packets: number): boolean {
  const { ecn } = tcb;
  if (!ecn) return false;
  const { field, flags } = arrival;
  if (field !== NOT_ECT) ecn.wasSeen = true;
  if (ecn.isAccurate) {
    noteOption(ecn);
    if (!ecn.isChecked) {
      ecn.isChecked = true;
      if ((flags & ACE) === 0) ecn.marksFail = true;
    }
    return countArrival(ecn, field, length, packets);
  }
  if (length === 0) return false;
  if (tcb.control.ecn) return noteMark(tcb, ecn, field === CE);
  const before = ecn.echo;
  if (flags & CWR) ecn.echo = false;
  if (field === CE) ecn.echo = true;
  return (flags & CWR) !== 0 || (ecn.echo && !before);
}

/** DCTCP's receiver (RFC 8257 §3.2): the echo is the mark of what is acknowledged, so a change is acknowledged at once. */
function noteMark(tcb: Tcb, ecn: EcnState, marked: boolean): boolean {
  if (marked === ecn.echo) return false;
  if (tcb.unackedBytes > 0) tcb.world.acknowledgeNow(tcb);
  ecn.echo = marked;
  return true;
}

/** A change of the option is news at least once in 2^22 bytes; a mark is news when three bits could wrap (§3.2.2.5.1). */
function countArrival(ecn: EcnState, field: number, length: number, packets: number): boolean {
  if (field === NOT_ECT) return false;
  if (field === CE) {
    ecn.ceReceived += packets;
    ecn.ackedSinceMark += packets;
  }
  if (length > 0) {
    ecn.bytesReceived[field] += length;
    ecn.neededFields = Math.max(ecn.neededFields, OPTION_FIELDS.indexOf(field as 1 | 2 | 3) + 1);
  }
  return ecn.ackedSinceMark >= FIRST_COUNT + 1;
}

/** The peer's option was seen. */
function noteOption(ecn: EcnState): void {
  if (arrival.counters[ECT1] >= 0 || arrival.counters[ECT0] >= 0 || arrival.counters[CE] >= 0) ecn.hasOption = true;
}

/** A duplicate came: if it did so after we had acknowledged it with an option, the option is what somebody drops. */
export function noteDuplicate(tcb: Tcb): void {
  const { ecn } = tcb;
  if (ecn?.isAccurate && ecn.optionWithDsack) ecn.optionFails = true;
}

// ── Departing ───────────────────────────────────────────────────────────────────────────────────

/** What goes into the IP header of the segment that `departing` was asked about. */
export let departingField = NOT_ECT;

/** ECN's flags of a segment that is no SYN. */
export function departing(tcb: Tcb, seq: number, length: number): number {
  const { ecn } = tcb;
  departingField = NOT_ECT;
  if (!ecn) return 0;
  if (ecn.isAccurate) {
    if (!ecn.marksFail) departingField = tcb.control.ecn === "ect1" ? ECT1 : ECT0;
    ecn.ackedSinceMark = 0;
    if (tcb.state === TIME_WAIT) return 0;
    return abi.OUT_ACE | (((ecn.ceReceived + FIRST_COUNT) & 7) << ACE_SHIFT);
  }
  let flags = ecn.echo ? ECE : 0;
  // What is sent again may not be marked (RFC 3168 §6.1.5), and pure acknowledgements neither; DCTCP marks all (RFC 8257 §3.1).
  if ((length > 0 && !after(tcb.nxt, seq)) || tcb.control.ecn) departingField = tcb.control.ecn === "ect1" ? ECT1 : ECT0;
  if (length > 0 && ecn.slowedDown && !after(tcb.nxt, seq)) {
    flags |= CWR;
    ecn.slowedDown = false;
  }
  return flags;
}

/** The ACK that ends our handshake, or repeats that: it reflects the SYN-ACK's IP field (§3.2.2.1). */
export function reflecting(tcb: Tcb): number {
  departing(tcb, tcb.nxt, 0);
  return tcb.ecn?.isAccurate ? REFLECTED[tcb.ecn.reflect] : 0;
}

/** May the option go along now? */
export function sendsOption(tcb: Tcb): boolean {
  const { ecn } = tcb;
  return ecn ? ecn.isAccurate && ecn.hasOption && !ecn.optionFails && tcb.world.settings.ecnOption : false;
}

/** The counter of a field of the option (§3.2.3): those of ECT start at 1. */
export function optionCounter(ecn: EcnState, field: number): number {
  return ((field === CE ? 0 : 1) + ecn.bytesReceived[field]) & 0xffffff;
}

// ── What an acknowledgement reports ─────────────────────────────────────────────────────────────

/** Marked packets that the segment in hand reports, with `packets` and `bytes` newly known to have arrived. */
export function reportedMarks(tcb: Tcb, packets: number, bytes: number, isProgress: boolean): number {
  const { ecn } = tcb;
  if (!ecn || arrival.isHandshake) return 0;
  if (!ecn.isAccurate) return arrival.flags & ECE ? Math.max(packets, 1) : 0;
  if (!isProgress && !arrival.isNewer) return 0;
  if (packets > 0) ecn.perAck = ecn.perAck === 0 ? packets : ecn.perAck + (packets - ecn.perAck) / 64;
  const marked = takeCounters(ecn);
  const ace = (aceOf(arrival.flags) - FIRST_COUNT) & 7;
  const least = (ace - ecn.ceDelivered) & 7;
  const marks = packets < 8 ? least : unwrap(tcb, least, packets, bytes, marked);
  ecn.ceDelivered += marks;
  return marks;
}

/**
 * More packets than three bits can count (§3.2.2.5.2): the count may have wrapped. The bytes of the option tell; without
 * them the larger number is the safe one, unless such acknowledgements are what the peer always sends (Linux: above four).
 */
function unwrap(tcb: Tcb, least: number, packets: number, bytes: number, marked: number): number {
  const safe = packets - ((packets - least) & 7);
  if (marked < 0) return tcb.ecn && tcb.ecn.perAck > 4 ? least : safe;
  if (marked === 0) return least;
  if (packets >= 16) return Math.min(safe, least + (Math.ceil((marked * packets) / Math.max(bytes, 1)) & ~7));
  if (marked > least * tcb.mss) return safe;
  return marked < (safe * tcb.mss) / 2 ? least : safe;
}

/** Takes the option's counters; bytes newly marked, -1 when there is no option to tell. */
function takeCounters(ecn: EcnState): number {
  const { counters } = arrival;
  if (counters[ECT0] < 0 && counters[ECT1] < 0 && counters[CE] < 0) return -1;
  let marked = 0;
  for (const field of OPTION_FIELDS) {
    if (counters[field] < 0) continue;
    const now = counters[field] - (field === CE ? 0 : 1);
    const delta = ((now - ecn.bytesDelivered[field]) << 8) >> 8;
    // A counter that went back is an old option that was overtaken.
    if (delta <= 0) continue;
    ecn.bytesDelivered[field] += delta;
    if (field === CE) marked = delta;
  }
  return marked;
}
