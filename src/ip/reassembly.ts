/**
 * Fragments back into packets (RFC 791 §3.2, RFC 1122 §3.3.2, RFC 8200 §4.5; a fragment alone, RFC 6946, is none). Pieces that overlap end the whole packet,
 * for IPv6 by RFC 5722 and for IPv4 as Linux does; exact repetitions are ignored. Memory, time and the packets of one
 * source are limited.
 */
import { Timer, type Timers } from "../base/timers.ts";
import { parseIpv4, parseIpv6, serializeIpv4, serializeIpv6 } from "../wire/index.ts";
import { upperLayer } from "./extensions.ts";

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

export class Reassembly {
  readonly counters: ReassemblyCounters = { reasm_reqds: 0, reasm_oks: 0, reasm_fails: 0, reasm_timeout: 0, reasm_overlaps: 0 };
  /** Bytes of the largest fragment of the packet that was completed last: what a router may cut it to again. */
  largest = 0;
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

  /** Takes one fragment, from its IP header on; the whole packet when it was the last that was missing. */
  add(packet: Uint8Array, now: number, problem: (pointer: number) => void = () => {}): Uint8Array | undefined {
    this.counters.reasm_reqds++;
    const fragment = read(packet);
    if (!fragment || !isSound(fragment)) {
      this.counters.reasm_fails++;
      const pointer = fragment && faultyField(fragment, packet);
      if (pointer !== undefined) problem(pointer);
      return undefined;
    }
    const queue = this.queues.get(fragment.key) ?? this.open(fragment, now);
    if (!queue) return undefined;
    if (fragment.offset === 0) queue.first ??= packet.slice();
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
    this.close(queue);
    this.counters.reasm_oks++;
    this.largest = queue.largest;
    return assemble(queue);
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

/** The length field of IPv4 counts the header, which has no options when the packet is whole again. */
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
    const { tos, id, ttl, protocol, source, destination } = parseIpv4(first);
    // Whose largest fragment was not to be cut is not to be cut either.
    const dontFragment = queue.largestDf === queue.largest;
    return serializeIpv4({ tos: tos | mark, id, ttl, protocol, source, destination, dontFragment, payload });
  }
  const { trafficClass, flowLabel, hopLimit, source, destination } = parseIpv6(first);
  const { protocol } = upperLayer(first, true);
  return serializeIpv6({ trafficClass: trafficClass | mark, flowLabel, hopLimit, protocol, source, destination, payload });
}

/** Fragments are counted in units of eight bytes: a smaller MTU than one of them takes is none. */
const SMALLEST_PIECE = 8;

/** Pieces of an IPv4 packet (header included) that fit `mtu`, or of an IPv6 payload behind a fragment header. */
export function fragmentPacket(packet: Uint8Array, mtu: number, id: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  if (packet[0] >>> 4 === 4) {
    const whole = parseIpv4(packet);
    const size = Math.max((mtu - 20 - whole.options.length) & ~7, SMALLEST_PIECE);
    for (let at = 0; at < whole.payload.length; at += size) {
      const payload = whole.payload.subarray(at, at + size);
      const moreFragments = whole.moreFragments || at + size < whole.payload.length;
      out.push(serializeIpv4({ ...whole, id: whole.id || id, fragmentOffset: whole.fragmentOffset + at, moreFragments, payload }));
    }
    return out;
  }
  const whole = parseIpv6(packet);
  const size = Math.max((mtu - 48) & ~7, SMALLEST_PIECE);
  for (let at = 0; at < whole.payload.length; at += size) {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint16(2, at | (at + size < whole.payload.length ? 1 : 0));
    view.setUint32(4, id);
    out.push(serializeIpv6({ ...whole, extensions: [{ type: 44, bytes }], payload: whole.payload.subarray(at, at + size) }));
  }
  return out;
}
