/**
 * The receiving half: the window, what arrived early, acknowledgements and how large the buffer grows
 * (RFC 9293 §3.8.6, RFC 2018, RFC 2883, RFC 5681 §4.2; dynamic right-sizing as Linux does it).
 */
import type { ByteQueue } from "../engine/slabs.ts";
import type { Range } from "./flight.ts";
import { after, before, distance, later } from "./sequence.ts";
import { CLOSED } from "./states.ts";
import type { Tcb } from "./tcb.ts";

/**
 * Ranges that one connection keeps apart. The bytes in them are bounded by the window, as in Linux; this bounds what is kept of each. Of a
 * gigabit over 100 ms, one in a hundred lost, a round trip leaves 90.
 */
const MOST_RANGES = 4096;
/** SACK blocks in a segment at most (RFC 2018 §3). */
const MOST_BLOCKS = 4;

/** The largest window there can be. */
function wholeWindow(tcb: Tcb, most = space(tcb)): number {
  const { windowClamp } = tcb.options;
  return windowClamp > 0 ? Math.min(most, windowClamp) : most;
}

/**
 * Bytes that the buffer holds at most now: what all may have, which is less where many receive, and what it has borrowed beyond that. So there is
 * memory for what comes: 20 whose readers paused for a second had promised 118 MB of 64, lost what came, and waited for their retransmission
 * timers for seconds when the readers went on. Never less than two segments, which a peer would not send in pieces.
 */
function space(tcb: Tcb): number {
  return Math.min(tcb.receiveSpace, entitled(tcb));
}

function entitled({ world, inbox, openingShare, mss, receivedMss, borrowed }: Tcb): number {
  return Math.max(inbox ? world.stack.slabs.share : openingShare, 2 * mss, 2 * receivedMss) + borrowed;
}

/** Bytes that the buffer can still take beyond what was received. */
export function freeSpace(tcb: Tcb): number {
  const unread = tcb.inbox ? tcb.inbox.length : 0;
  const most = space(tcb);
  return Math.min(Math.max(0, most - unread), wholeWindow(tcb, most));
}

/** The buffer becomes larger, as far as there is something to borrow. */
function grow(tcb: Tcb, bytes: number): void {
  const { slabs } = tcb.world.stack;
  const wanted = Math.max(0, bytes - entitled(tcb));
  let got = slabs.borrow(wanted);
  if (got < wanted && tcb.world.reclaim()) got += slabs.borrow(wanted - got);
  tcb.borrowed += got;
  tcb.receiveSpace = Math.max(tcb.receiveSpace, Math.min(bytes, entitled(tcb)));
}

/** The buffer becomes smaller, if it was larger. */
export function shrinkTo(tcb: Tcb, bytes: number): void {
  tcb.receiveSpace = Math.min(tcb.receiveSpace, bytes);
  const surplus = tcb.borrowed - bytes;
  if (surplus > 0) giveBack(tcb, surplus);
}

/** What was borrowed goes back. */
export function giveBack(tcb: Tcb, bytes = tcb.borrowed): void {
  if (bytes === 0) return;
  tcb.world.stack.slabs.repay(bytes);
  tcb.borrowed -= bytes;
}

/** Two full segments, or half of a window that is smaller: so much is worth a segment of our own (RFC 9293 §3.8.6.2.2). */
export function worthTelling(tcb: Tcb): number {
  return Math.min(2 * tcb.receivedMss, Math.max(wholeWindow(tcb) >> 1, 1));
}

/** A window that a connection begins with: no more than segments fill, where one fits (Linux's tcp_select_initial_window). */
export function wholeSegments(window: number, mss: number): number {
  return window > mss ? window - (window % mss) : window;
}

/** The window field: never takes back what was announced, and opens only by steps worth an ACK (RFC 9293 §3.8.6.2.2). `synMss`: what a SYN announces with it, else 0. */
export function windowToAnnounce(tcb: Tcb, synMss: number): number {
  if (synMss > 0) return windowOfSyn(tcb, synMss);
  const promised = tcb.received === 0 && tcb.announced === 0 ? 0 : Math.max(0, distance(tcb.announced, tcb.received));
  const free = freeSpace(tcb);
  const scale = tcb.receiveScale;
  // What was promised is rounded up, so that the edge does not move back (RFC 7323 §2.4); but not on and on beyond the buffer.
  const unit = 1 << scale;
  let field = (promised + (promised <= free ? unit - 1 : 0)) >>> scale;
  if (free >= promised + Math.min(wholeWindow(tcb) / 2, tcb.receivedMss)) field = Math.max(field, free >>> scale);
  field = Math.min(field, 0xffff);
  tcb.announced = later((tcb.received + (field << scale)) | 0, tcb.announced);
  return field;
}

/** The same each time that it is sent. Its field is too small to say all; the next one does, so that opening to it later is no news. */
function windowOfSyn(tcb: Tcb, mss: number): number {
  const free = freeSpace(tcb);
  tcb.announced = (tcb.received + free) | 0;
  return Math.min(wholeSegments(free, mss), 0xffff);
}

/** A large segment: a peer that may send as much is not held up. */
const PLENTY = 65_536;

/**
 * True when reading has opened the window so far that the peer should hear of it before the next acknowledgement: by a quarter of the
 * buffer, or, as long as it may send plenty, to twice what it knows (Linux's tcp_cleanup_rbuf; each large segment had two answers).
 */
export function worthUpdate(tcb: Tcb): boolean {
  const promised = Math.max(0, distance(tcb.announced, tcb.received));
  const gain = freeSpace(tcb) - promised;
  if (gain < worthTelling(tcb)) return false;
  return gain >= promised || (promised < PLENTY && gain >= space(tcb) / 4);
}

/**
 * An acknowledgement or a wider window is due, but the owner, who hears of this segment in this round, may have an answer that
 * takes it along: it goes with the next round (a request, its answer and both closes take 7 packets instead of 11). At
 * once when there is a second one meanwhile.
 */
export function acknowledgeSoon(tcb: Tcb): void {
  if (tcb.ackSoon) tcb.ackNow = true;
  tcb.ackSoon = true;
  tcb.world.stack.timers.arm(tcb.busy().ackTimer, tcb.now);
}

/**
 * Takes `length` bytes of the packet `id` (at `offset` of its frame) for sequence `seq`. Returns the bytes by which
 * `received` moved; what came early is kept, what came twice is reported.
 */
export function takeData(tcb: Tcb, id: number, offset: number, seq: number, length: number): number {
  const { world } = tcb;
  const end = (seq + length) | 0;
  tcb.inbox ??= world.newQueue("receiving");
  tcb.arrivalPeriod = world.stack.slabs.countArrival(tcb.arrivalPeriod, tcb.now);
  const { inbox } = tcb;
  // The inbox's first free byte is the one that `received` names.
  const at = inbox.length + distance(seq, tcb.received);
  if (!inbox.reserve(at, at + length) && !(at === inbox.length && prune(tcb, inbox) && inbox.reserve(at, at + length))) {
    world.counters.memory_drops++;
    world.counters.ofo_dropped++;
    return 0;
  }
  const { plane } = world.stack.engine;
  for (let done = 0; done < length; ) {
    const n = Math.min(inbox.run(at + done), length - done);
    plane.packetCopy(id, offset + done, inbox.address(at + done), n);
    done += n;
  }
  if (after(seq, tcb.received)) {
    keepEarly(tcb, seq, end);
    return 0;
  }
  const before = tcb.received;
  tcb.received = end;
  absorbEarly(tcb);
  const moved = distance(tcb.received, before);
  inbox.length += moved;
  tcb.bytesReceived += moved;
  return moved;
}

/**
 * There is no memory for what comes next: what came early goes, although the peer was told of it (RFC 2018 §8, Linux's
 * tcp_prune_ofo_queue); it could not be read before this anyway. False when there is none.
 */
function prune({ flight, world }: Tcb, inbox: ByteQueue): boolean {
  if (flight.early.length === 0) return false;
  flight.early.length = flight.recent.length = 0;
  inbox.trim();
  world.counters.ofo_pruned++;
  return true;
}

/** Index of the first range that does not end before `start`. */
function firstNotBefore(early: readonly Range[], start: number): number {
  let [low, high] = [0, early.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(early[middle].end, start)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Notes a range that overtook others; a part that was there already is reported as duplicate. */
function keepEarly(tcb: Tcb, start: number, end: number): void {
  const { early } = tcb.busy();
  const i = firstNotBefore(early, start);
  const there = early[i];
  for (let j = i; j < early.length && before(early[j].start, end); j++) reportOverlap(tcb, early[j], start, end);
  if (there && !before(start, there.start) && !after(end, there.end)) {
    makeRecent(tcb, there);
    return;
  }
  if (!there || after(there.start, end)) {
    if (early.length >= MOST_RANGES) {
      tcb.world.counters.ofo_dropped++;
      return;
    }
    const range = { start, end };
    early.splice(i, 0, range);
    makeRecent(tcb, range);
    return;
  }
  if (before(start, there.start)) there.start = start;
  if (after(end, there.end)) there.end = end;
  while (early[i + 1] && !after(early[i + 1].start, there.end)) {
    there.end = later(there.end, early[i + 1].end);
    forgetRecent(tcb, early[i + 1]);
    early.splice(i + 1, 1);
  }
  makeRecent(tcb, there);
}

/** SACK's first block next time. */
function makeRecent(tcb: Tcb, range: Range): void {
  tcb.world.counters.ofo_queued++;
  forgetRecent(tcb, range);
  tcb.flight.recent.unshift(range);
  if (tcb.flight.recent.length > MOST_BLOCKS) tcb.flight.recent.length = MOST_BLOCKS;
}

function forgetRecent(tcb: Tcb, range: Range): void {
  const at = tcb.flight.recent.indexOf(range);
  if (at >= 0) tcb.flight.recent.splice(at, 1);
}

/** Ranges that are no longer early; what of them came again, up to `received`, is reported. */
function absorbEarly(tcb: Tcb): void {
  const { early } = tcb.flight;
  const { received } = tcb;
  while (early.length > 0 && !after(early[0].start, tcb.received)) {
    const range = early.shift() as Range;
    reportOverlap(tcb, range, range.start, received);
    tcb.received = later(tcb.received, range.end);
    forgetRecent(tcb, range);
  }
}

/** The next acknowledgement says that these bytes came twice (RFC 2883). */
export function reportDuplicate(tcb: Tcb, start: number, end: number): void {
  if (!tcb.sackOk || !tcb.world.settings.dsack) return;
  tcb.hasDsack = true;
  tcb.dsackStart = start;
  tcb.dsackEnd = end;
}

/** What of a range that is there came again with `start` to `end`: of several such pieces those that touch the first (as Linux has it). */
function reportOverlap(tcb: Tcb, range: Range, start: number, end: number): void {
  const from = later(range.start, start);
  const to = before(range.end, end) ? range.end : end;
  if (!after(to, from)) return;
  if (!tcb.hasDsack) reportDuplicate(tcb, from, to);
  else if (!after(from, tcb.dsackEnd) && !before(to, tcb.dsackStart)) {
    if (before(from, tcb.dsackStart)) tcb.dsackStart = from;
    tcb.dsackEnd = later(tcb.dsackEnd, to);
  }
}

/**
 * The application read `bytes`. Once in an RTT the buffer becomes twice what was read in it, so that the window never
 * holds the sender back (dynamic right-sizing, Fisk and Feng 2001).
 */
export function noteRead(tcb: Tcb, bytes: number): void {
  tcb.readInRtt += bytes;
  const rtt = tcb.rtt.srtt || 100;
  if (tcb.now - tcb.measuredAt < rtt) return;
  const wanted = 2 * tcb.readInRtt + 16 * tcb.receivedMss;
  const most = Math.min(wanted, tcb.options.receiveBuffer);
  // What is borrowed goes back when the connection ends; its last bytes may be read later.
  if (most > space(tcb) && !tcb.finReceived && tcb.state !== CLOSED) grow(tcb, most);
  tcb.readInRtt = 0;
  tcb.measuredAt = tcb.now;
}
