/**
 * Fragments back into packets (RFC 791 §3.2, RFC 1122 §3.3.2, RFC 8200 §4.5; a fragment alone, RFC 6946, is none). Pieces that overlap end the whole packet,
 * for IPv6 by RFC 5722 and for IPv4 as Linux does; exact repetitions are ignored. Memory, time and the packets of one
 * source are limited.
 */
import { Timer, type Timers } from "../base/timers.ts";
import { parseIpv4, parseIpv6, serializeIpv4, serializeIpv6 } from "../wire/index.ts";
import { isIncomplete, upperLayer } from "./extensions.ts";
import { copiedOptions4 } from "./options4.ts";

/** Milliseconds: Linux's 30 s for IPv4, RFC 8200's 60 s for IPv6. */
const LIFETIME = { 4: 30_000, 6: 60_000 } as const;
const MOST_BYTES = 4 << 20;
const MOST_PER_SOURCE = 64;
const MOST_PIECES = 512;
/** Packets that are waited for; when there are more the oldest goes. */
const MOST_PACKETS = 1024;
/** Charged for each piece beside its bytes: tiny fragments are bounded too. */
const OVERHEAD = 256;

export interface ReassemblyCounters {
  /** Names of RFC 4293. */
  reasm_reqds: number;
  reasm_oks: number;
  reasm_fails: number;
  reasm_timeout: number;
  reasm_overlaps: number;
}

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

interface Unfinished {
  readonly key: string;
  readonly source: string;
  readonly family: 4 | 6;
  readonly pieces: Piece[];
  readonly timer: Timer;
  /** The first fragment as it came, for the error that its sender gets. */
  first: Uint8Array | undefined;
  /** Bytes of the whole payload; -1 until the last fragment came. */
  total: number;
  have: number;
  /** ECN fields that were seen, one bit each. */
  ecn: number;
  /** Bytes of the largest fragment, its IP header included, and of the largest with DF. */
  largest: number;
  largestDf: number;
  /** Of the first fragment. */
  mark: number;
}

interface Fragment {
  readonly key: string;
  readonly source: string;
  readonly family: 4 | 6;
  readonly offset: number;
  readonly more: boolean;
  readonly payload: Uint8Array;
  readonly ecn: number;
}

const CE = 3;
const NOT_ECT = 0;

/** Codes of an IPv6 parameter problem (RFC 4443 §3.4, RFC 7112 §5). */
const ERRONEOUS_FIELD = 0;
const INCOMPLETE_CHAIN = 3;

export class Reassembly {
  readonly counters: ReassemblyCounters = { reasm_reqds: 0, reasm_oks: 0, reasm_fails: 0, reasm_timeout: 0, reasm_overlaps: 0 };
  /** Of the packet that was completed last: bytes of its largest fragment with its IP header, 0 where it was alone; and what each carried, in order. */
  largest = 0;
  cuts: readonly number[] = [];
  /** The first's mark. */
  mark = 0;
  private readonly queues = new Map<string, Unfinished>();
  private readonly bySource = new Map<string, number>();
  private readonly timers: Timers;
  private readonly expired: (first: Uint8Array) => void;
  private bytes = 0;

  /** `expired` gets the first fragment of a packet whose others did not come in time. */
  constructor(timers: Timers, expired: (first: Uint8Array) => void) {
    this.timers = timers;
    this.expired = expired;
  }

  get size(): number {
    return this.queues.size;
  }

  /** Takes one fragment, from its IP header on, with its mark; the whole packet when it was the last that was missing. */
  add(packet: Uint8Array, now: number, problem: (pointer: number, code: number) => void = () => {}, mark = 0): Uint8Array | undefined {
    this.counters.reasm_reqds++;
    // RFC 6946: of no packet but its own, whatever others with its identification there are.
    if (isAlone(packet)) {
      this.complete(0, [], mark);
      return alone(packet);
    }
    const fragment = read(packet);
    if (!fragment || !isSound(fragment)) {
      this.counters.reasm_fails++;
      const pointer = fragment && faultyField(fragment, packet);
      if (pointer !== undefined) problem(pointer, ERRONEOUS_FIELD);
      return undefined;
    }
    if (fragment.family === 6 && fragment.offset === 0 && fragment.more && isIncomplete(packet)) {
      this.counters.reasm_fails++;
      problem(0, INCOMPLETE_CHAIN);
      return undefined;
    }
    const queue = this.queues.get(fragment.key) ?? this.open(fragment, now);
    if (!queue) return undefined;
    if (fragment.offset === 0 && !queue.first) {
      queue.first = packet.slice();
      queue.mark = mark;
    }
    queue.largest = Math.max(queue.largest, packet.length);
    if (fragment.family === 4 && (packet[6] & 0x40) !== 0) queue.largestDf = Math.max(queue.largestDf, packet.length);
    if (!this.insert(queue, fragment)) return undefined;
    queue.ecn |= 1 << fragment.ecn;
    // What was marked on its way must have been willing to be (RFC 3168 §5.3): other mixtures are somebody's work, as Linux has it.
    const isMixed = (queue.ecn & (1 << NOT_ECT)) !== 0 && queue.ecn !== 1 << NOT_ECT;
    if (isMixed) {
      this.fail(queue);
      return undefined;
    }
    if (queue.total !== queue.have || !queue.first) return undefined;
    if (isOversize(queue, queue.first)) {
      this.fail(queue);
      return undefined;
    }
    this.close(queue);
    const inOrder = queue.pieces.toSorted((a, b) => a.start - b.start);
    this.complete(
      queue.largest,
      inOrder.map(({ start, end }) => end - start),
      queue.mark,
    );
    return assemble(queue);
  }

  private complete(largest: number, cuts: readonly number[], mark: number): void {
    this.counters.reasm_oks++;
    this.largest = largest;
    this.cuts = cuts;
    this.mark = mark;
  }

  private open(fragment: Fragment, now: number): Unfinished | undefined {
    const open = this.bySource.get(fragment.source) ?? 0;
    if (open >= MOST_PER_SOURCE) {
      this.counters.reasm_fails++;
      return undefined;
    }
    if (this.queues.size >= MOST_PACKETS) this.fail(this.queues.values().next().value as Unfinished);
    const { key, source, family } = fragment;
    const queue: Unfinished = {
      key,
      source,
      family,
      pieces: [],
      timer: new Timer(() => this.timeOut(queue)),
      first: undefined,
      total: -1,
      have: 0,
      ecn: 0,
      largest: 0,
      largestDf: 0,
      mark: 0,
    };
    this.queues.set(key, queue);
    this.bySource.set(source, open + 1);
    this.timers.arm(queue.timer, now + LIFETIME[family]);
    return queue;
  }

  /** False when the fragment ended its packet or was there already. */
  private insert(queue: Unfinished, { offset, more, payload }: Fragment): boolean {
    const end = offset + payload.length;
    const { pieces } = queue;
    if (pieces.some((piece) => piece.start === offset && piece.end === end)) return false;
    const overlaps = pieces.some((piece) => piece.start < end && offset < piece.end);
    const contradicts = queue.total >= 0 && (more ? end > queue.total : end !== queue.total);
    const beyond = !more && pieces.some((piece) => piece.end > end);
    if (overlaps) this.counters.reasm_overlaps++;
    if (overlaps || contradicts || beyond || pieces.length >= MOST_PIECES) {
      this.fail(queue);
      return false;
    }
    if (!this.makeRoom(payload.length + OVERHEAD, queue)) return false;
    pieces.push({ start: offset, end, bytes: payload.slice() });
    this.bytes += payload.length + OVERHEAD;
    queue.have += payload.length;
    if (!more) queue.total = end;
    return true;
  }

  /** The oldest packets give way, so that who fills the memory does not keep others out. False when that was this one. */
  private makeRoom(bytes: number, own: Unfinished): boolean {
    while (this.bytes + bytes > MOST_BYTES) {
      const oldest = this.queues.values().next().value as Unfinished;
      this.fail(oldest);
      if (oldest === own) return false;
    }
    return true;
  }

  private timeOut(queue: Unfinished): void {
    this.counters.reasm_timeout++;
    this.fail(queue);
    if (queue.first) this.expired(queue.first);
  }

  private fail(queue: Unfinished): void {
    this.counters.reasm_fails++;
    this.close(queue);
  }

  private close(queue: Unfinished): void {
    this.timers.remove(queue.timer);
    this.queues.delete(queue.key);
    this.bytes -= queue.have + OVERHEAD * queue.pieces.length;
    const open = (this.bySource.get(queue.source) ?? 1) - 1;
    if (open > 0) this.bySource.set(queue.source, open);
    else this.bySource.delete(queue.source);
  }
}

/** All but the last are whole multiples of eight, and nothing reaches beyond what a length field can say. */
function isSound({ family, offset, more, payload }: Fragment): boolean {
  return payload.length > 0 && (!more || payload.length % 8 === 0) && offset + payload.length <= mostPayload(family);
}

/** With the options of the first fragment. */
function isOversize({ family, total }: Unfinished, first: Uint8Array): boolean {
  return family === 4 && (first[0] & 15) * 4 + total > 65_535;
}

/** The length field of IPv4 counts the header. */
function mostPayload(family: 4 | 6): number {
  return family === 4 ? 65_515 : 65_535;
}

/** Offset of the field that is at fault: the payload length, or the fragment's offset (RFC 8200 §4.5). */
function faultyField({ family, more, payload, offset }: Fragment, packet: Uint8Array): number | undefined {
  if (family === 4) return undefined;
  if (more && payload.length % 8 !== 0) return 4;
  return offset + payload.length > 65_535 ? upperLayer(packet, true).fragmentAt + 2 : undefined;
}

function read(packet: Uint8Array): Fragment | undefined {
  try {
    if (packet[0] >>> 4 === 4) {
      const { source, destination, id, protocol, fragmentOffset, moreFragments, payload } = parseIpv4(packet);
      return {
        key: `4 ${source} ${destination} ${id} ${protocol}`,
        source: `${source}`,
        family: 4,
        offset: fragmentOffset,
        more: moreFragments,
        payload,
        ecn: packet[1] & 3,
      };
    }
    const { source, destination, fragment } = parseIpv6(packet);
    if (!fragment) return undefined;
    // Behind the fragment header everything is payload, further extension headers too.
    const payload = packet.subarray(upperLayer(packet, true).offset, 40 + ((packet[4] << 8) | packet[5]));
    return {
      key: `6 ${source} ${destination} ${fragment.id}`,
      source: `${source}`,
      family: 6,
      offset: fragment.offset,
      more: fragment.more,
      payload,
      ecn: (packet[1] >>> 4) & 3,
    };
  } catch {
    return undefined;
  }
}

/** The packet as it was before; IPv6 without the headers in front of the fragment header, which have done their work. */
function assemble(queue: Unfinished): Uint8Array {
  const payload = new Uint8Array(queue.total);
  for (const piece of queue.pieces) payload.set(piece.bytes, piece.start);
  const first = queue.first as Uint8Array;
  const mark = queue.ecn & (1 << CE) ? CE : 0;
  if (queue.family === 4) {
    const { tos, id, ttl, protocol, source, destination, options } = parseIpv4(first);
    // Whose largest fragment was not to be cut is not to be cut either.
    const dontFragment = queue.largestDf === queue.largest;
    return serializeIpv4({ tos: tos | mark, id, ttl, protocol, source, destination, dontFragment, options, payload });
  }
  const { trafficClass, flowLabel, hopLimit, source, destination } = parseIpv6(first);
  const { protocol } = upperLayer(first, true);
  return serializeIpv6({ trafficClass: trafficClass | mark, flowLabel, hopLimit, protocol, source, destination, payload });
}

/** Is it an IPv6 packet that is its own only fragment? */
function isAlone(packet: Uint8Array): boolean {
  if (packet[0] >>> 4 !== 6) return false;
  const { fragmentAt: at } = upperLayer(packet, true);
  return at >= 0 && (((packet[at + 2] << 8) | packet[at + 3]) & 0xfff9) === 0;
}

/** That packet without the header that says so: from it on all moves up, and what named it names what follows. */
function alone(packet: Uint8Array): Uint8Array {
  const { fragmentAt: at, fragmentNamed, protocol } = upperLayer(packet, true);
  const whole = new Uint8Array(packet.length - 8);
  whole.set(packet.subarray(0, at));
  whole.set(packet.subarray(at + 8), at);
  whole[fragmentNamed] = protocol;
  new DataView(whole.buffer).setUint16(4, whole.length - 40);
  return whole;
}

/** Fragments are counted in units of eight bytes: a smaller MTU than one of them takes is none. */
const SMALLEST_PIECE = 8;

/** Where a payload is cut: as it was before, where those pieces fit; else into the largest that do. */
function cutPlaces(length: number, room: number, cuts: readonly number[] | undefined): number[] {
  if (cuts?.every((each) => each <= room) && cuts.reduce((sum, each) => sum + each, 0) === length) {
    const places: number[] = [];
    for (let i = 0, at = 0; i < cuts.length; at += cuts[i++]) places.push(at);
    return places;
  }
  const size = Math.max(room & ~7, SMALLEST_PIECE);
  return Array.from({ length: Math.ceil(length / size) }, (_, i) => i * size);
}

/**
 * Pieces of an IPv4 packet (header included) that fit `mtu`, or of an IPv6 payload behind a fragment header. `cuts`: the lengths that its pieces had
 * when it came.
 */
export function fragmentPacket(packet: Uint8Array, mtu: number, id: number, cuts?: readonly number[]): Uint8Array[] {
  if (packet[0] >>> 4 === 4) {
    const whole = parseIpv4(packet);
    const places = cutPlaces(whole.payload.length, mtu - 20 - whole.options.length, cuts);
    return places.map((at, i) => {
      const fragmentOffset = whole.fragmentOffset + at;
      const moreFragments = whole.moreFragments || i + 1 < places.length;
      const payload = whole.payload.subarray(at, places[i + 1]);
      const options = fragmentOffset === 0 ? whole.options : copiedOptions4(whole.options);
      // Whoever cuts it does not ask for it to be left whole.
      return serializeIpv4({ ...whole, options, id: whole.id || id, dontFragment: false, fragmentOffset, moreFragments, payload });
    });
  }
  const whole = parseIpv6(packet);
  const places = cutPlaces(whole.payload.length, mtu - 48, cuts);
  return places.map((at, i) => {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint16(2, at | (i + 1 < places.length ? 1 : 0));
    view.setUint32(4, id);
    return serializeIpv6({ ...whole, extensions: [{ type: 44, bytes }], payload: whole.payload.subarray(at, places[i + 1]) });
  });
}
