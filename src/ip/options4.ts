/**
 * IPv4 options at a host (RFC 791 §3.1, RFC 1122 §3.2.1.8, RFC 7126): malformed ones are answered, source routes dropped; what records the
 * way goes on in answers; later fragments have what is to be copied.
 */
import type { IpAddress } from "../base/ip-address.ts";
import type { HeaderProblem } from "./extensions.ts";

const END = 0;
const NOP = 1;
const RECORD_ROUTE = 7;
const TIMESTAMP = 68;
const LOOSE_SOURCE_ROUTE = 131;
const STRICT_SOURCE_ROUTE = 137;
/** In every fragment, not only in the first. */
const COPIED = 0x80;

/** Flags of a timestamp option: times alone, each behind its address, or of the addresses that stand there. */
const TIMES = 0;
const ADDRESSES = 1;
const PRESPECIFIED = 3;

const FIRST = 20;
const endOf = (packet: Uint8Array) => Math.min((packet[0] & 15) * 4, packet.length);

/** What stops a packet: a source route (nobody asked for one in thirty years but to get round filters), or a broken option. */
export function checkOptions4(packet: Uint8Array): HeaderProblem | undefined {
  const end = endOf(packet);
  for (let at = FIRST; at < end; ) {
    const type = packet[at];
    if (type === END) return undefined;
    if (type === NOP) {
      at++;
      continue;
    }
    const length = packet[at + 1];
    if (at + 1 >= end || length < 2 || at + length > end) return { error: { code: 0, pointer: at } };
    if (type === LOOSE_SOURCE_ROUTE || type === STRICT_SOURCE_ROUTE) return {};
    const wrong = type === RECORD_ROUTE || type === TIMESTAMP ? wrongByte(packet, at, length) : undefined;
    if (wrong !== undefined) return { error: { code: 0, pointer: at + wrong } };
    at += length;
  }
  return undefined;
}

/** Which byte of an option that records the way is wrong, if any. */
function wrongByte(packet: Uint8Array, at: number, length: number): number | undefined {
  const isRoute = packet[at] === RECORD_ROUTE;
  if (length < (isRoute ? 3 : 4)) return 1;
  const pointer = packet[at + 2];
  if (pointer < (isRoute ? 4 : 5)) return 2;
  const size = isRoute ? 4 : entrySize(packet[at + 3] & 15);
  if (pointer <= length) return pointer - 1 + size > length ? 2 : undefined;
  return !isRoute && packet[at + 3] >>> 4 === 15 && (packet[at + 3] & 15) !== PRESPECIFIED ? 3 : undefined;
}

const entrySize = (flags: number) => (flags === TIMES ? 4 : 8);

/** What an answer takes along of a request's options: records of the way, with what this host adds as the one who got it and who sends it. */
export function answeredOptions4(request: Uint8Array, own: IpAddress, isOwn: (address: Uint8Array) => boolean, time: number): Uint8Array {
  const kept: number[] = [];
  const end = endOf(request);
  for (let at = FIRST; at < end && request[at] !== END; at += request[at] === NOP ? 1 : request[at + 1]) {
    if (request[at] !== RECORD_ROUTE && request[at] !== TIMESTAMP) continue;
    const option = request.slice(at, at + request[at + 1]);
    for (let turn = 0; turn < 2; turn++) record(option, own.bytes(), isOwn, time);
    kept.push(...option);
  }
  return Uint8Array.from(kept);
}

/** One more entry, if there is room; a timestamp option counts who found none. */
function record(option: Uint8Array, own: Uint8Array, isOwn: (address: Uint8Array) => boolean, time: number): void {
  const isRoute = option[0] === RECORD_ROUTE;
  const flags = isRoute ? ADDRESSES : option[3] & 15;
  const at = option[2] - 1;
  const size = isRoute ? 4 : entrySize(flags);
  if (at + size > option.length) {
    if (!isRoute && flags !== PRESPECIFIED && option[3] >>> 4 < 15) option[3] += 16;
    return;
  }
  if (![TIMES, ADDRESSES, PRESPECIFIED].includes(flags)) return;
  if (flags === PRESPECIFIED && !isOwn(option.subarray(at, at + 4))) return;
  if (flags === ADDRESSES) option.set(own, at);
  if (!isRoute) new DataView(option.buffer, option.byteOffset).setUint32(at + size - 4, time);
  option[2] += size;
}

/** Of a whole packet's options, what a later fragment has: as many bytes, with nothing where an option is not to be copied. */
export function copiedOptions4(options: Uint8Array): Uint8Array {
  const copied = options.slice();
  for (let at = 0; at < copied.length && copied[at] !== END; ) {
    const length = copied[at] === NOP ? 1 : Math.max(copied[at + 1], 1);
    if ((copied[at] & COPIED) === 0) copied.fill(NOP, at, at + length);
    at += length;
  }
  return copied;
}
