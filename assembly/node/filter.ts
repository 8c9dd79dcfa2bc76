/**
 * What compiled rules call for: loads that leave the first segment, options, writes with the checksums they change (RFC 1624).
 *
 * Rules are compiled against these functions by name (src/filter/machine/); the worker is an address, the packet a position of the
 * burst. A write gives the packet a head of its own first, so that clones keep what they had. 0 means that the rule does not match.
 */
import {
  BASE_INNER, BASE_TRANSPORT, DESC_DATA, DESC_FLAGS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_PACKET_LENGTH, DESC_PROTOCOL,
  FLAG_CSUM_PARTIAL, FLAG_IP4, FLAG_IP6, HEADER, HEADER_SECRET, MEND_INET, MEND_PSEUDO, NONE, OPTION_TCP, VEC_IDS, WORKER_SCRATCH,
  WORKER_SCRATCH_SIZE,
} from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt } from "../core/layout";
import { load16, swap16 } from "../wire/bytes";
import { fold32, sum, update16, update32 } from "../wire/checksum";
import { baseOf, copyBytes, findOption, hasTransport, optionIn, readTcp } from "../wire/find";
import { ICMP6, TCP, UDP } from "../wire/l4";

const UDP_LITE: u32 = 136;
/** TCP's maximum segment size: rules may only lower it. */
const MAXIMUM_SEGMENT: u32 = 2;

@inline
function idOf(worker: usize, position: u32): u32 {
  return load<u32>(worker + (<usize>position << 2), VEC_IDS);
}

/** Room for a header while it is read. */
@inline
function work(worker: usize): usize {
  return worker + WORKER_SCRATCH + WORKER_SCRATCH_SIZE - 64;
}

/** Copies `length` bytes at `offset` of a base to `out`. */
export function loadPayload(worker: usize, position: u32, base: u32, offset: u32, length: u32, out: usize): u32 {
  const id = idOf(worker, position), start = baseOf(id, base, work(worker));
  return start != NONE && copyBytes(id, start + offset, out, length) ? 1 : 0;
}

/** Looks for a header or option; with a length, copies that of it. 1 found, 0 absent, 2 of another family. */
export function loadOption(worker: usize, position: u32, kind: u32, type: u32, offset: u32, length: u32, out: usize): u32 {
  const id = idOf(worker, position), header = work(worker), at = findOption(id, kind, type, header);
  if (at >= NONE - 1) return at == NONE ? 0 : 2;
  if (kind == OPTION_TCP) {
    // What an option claims bounds what may be read of it.
    const own = at - <u32>load<u16>(descriptorAt(id), DESC_L4);
    if (offset + length > (type <= 1 ? 1 : <u32>load<u8>(header + own, 1))) return 0;
  }
  return length == 0 || copyBytes(id, at + offset, out, length) ? 1 : 0;
}

/** The address of `length` bytes that may be written, from `at` of the frame on, or 0; the packet may have another id afterwards. */
function writable(worker: usize, position: u32, at: u32, length: u32): usize {
  const id = idOf(worker, position);
  if (at + length > load<u32>(descriptorAt(id), DESC_PACKET_LENGTH)) return 0;
  const own = privateHead(worker, id);
  if (own == NONE) return 0;
  store<u32>(worker + (<usize>position << 2), own, VEC_IDS);
  const d = descriptorAt(own);
  return at + length <= load<u32>(d, DESC_LENGTH) ? <usize>load<u32>(d, DESC_DATA) + at : 0;
}

/** Writes `length` bytes from `from` over those at `offset` of a base, and mends the checksums named by MEND_*. */
export function writePayload(worker: usize, position: u32, base: u32, offset: u32, length: u32, from: usize, mend: u32): u32 {
  const start = baseOf(idOf(worker, position), base, work(worker));
  if (start == NONE) return 0;
  const at = writable(worker, position, start + offset, length);
  if (at == 0) return 0;
  const d = descriptorAt(idOf(worker, position)), data = <usize>load<u32>(d, DESC_DATA), have = load<u32>(d, DESC_LENGTH);
  const before = sum(at, length), after = sum(from, length);
  const open = (load<u32>(d, DESC_FLAGS) & FLAG_CSUM_PARTIAL) != 0;
  if ((mend & MEND_INET) != 0 && !(open && (base == BASE_TRANSPORT || base == BASE_INNER))) {
    const field = start + (mend & 0xffff);
    if (field + 2 > have) return 0;
    mendField(data + field, before, after);
  }
  if ((mend & MEND_PSEUDO) != 0 && !mendTransport(d, data, have, before, after, open)) return 0;
  memory.copy(at, from, length);
  return 1;
}

/** 0 would say "no checksum" in UDP, and is the same number as 0xffff. */
@inline
function mendField(field: usize, before: u32, after: u32): void {
  const mended = update16(load<u16>(field), before, after);
  store<u16>(field, mended == 0 ? 0xffff : <u16>mended);
}

/** The transport's checksum covers the addresses; false when it should be there and is not. */
function mendTransport(d: usize, data: usize, have: u32, before: u32, after: u32, open: bool): bool {
  if (!hasTransport(d)) return true;
  const protocol = <u32>load<u8>(d, DESC_PROTOCOL), l4 = <u32>load<u16>(d, DESC_L4);
  const own: u32 = protocol == TCP ? 16 : protocol == UDP || protocol == UDP_LITE ? 6 : protocol == ICMP6 ? 2 : 0;
  if (own == 0) return true;
  if (l4 + own + 2 > have) return false;
  const field = data + l4 + own;
  if (open) store<u16>(field, <u16>fold32(<u32>load<u16>(field) + (~before & 0xffff) + after));
  else if (protocol != UDP || load<u16>(field) != 0) mendField(field, before, after);
  return true;
}

/** Writes 2 or 4 bytes of a TCP option; a segment without it is left alone. */
export function writeOption(worker: usize, position: u32, type: u32, offset: u32, length: u32, from: usize): u32 {
  const header = work(worker), size = readTcp(idOf(worker, position), header);
  if (size == 0) return 0;
  const own = optionIn(header, 20, size, type);
  if (own == 0) return 1;
  if (offset + length > (type <= 1 ? 1 : <u32>load<u8>(header + own, 1))) return 0;
  const l4 = <u32>load<u16>(descriptorAt(idOf(worker, position)), DESC_L4);
  const tcp = writable(worker, position, l4, size);
  if (tcp == 0) return 0;
  const at = tcp + own + offset, open = (load<u32>(descriptorAt(idOf(worker, position)), DESC_FLAGS) & FLAG_CSUM_PARTIAL) != 0;
  if (length == 2) {
    const before = <u32>load<u16>(at), after = <u32>load<u16>(from);
    if (type == MAXIMUM_SEGMENT && swap16(before) <= swap16(after)) return 1;
    if (!open) store<u16>(tcp, <u16>update16(load<u16>(tcp, 16), before, after), 16);
    store<u16>(at, <u16>after);
    return 1;
  }
  if (length != 4) return 0;
  if (!open) store<u16>(tcp, <u16>update32(load<u16>(tcp, 16), load<u32>(at), load<u32>(from)), 16);
  store<u32>(at, load<u32>(from));
  return 1;
}

/** Overwrites a TCP option with no-operations. */
export function resetOption(worker: usize, position: u32, type: u32): u32 {
  const header = work(worker), size = readTcp(idOf(worker, position), header);
  if (size == 0) return 0;
  const own = optionIn(header, 20, size, type);
  if (own == 0) return 1;
  const length = type <= 1 ? <u32>1 : <u32>load<u8>(header + own, 1);
  const tcp = writable(worker, position, <u32>load<u16>(descriptorAt(idOf(worker, position)), DESC_L4), size);
  if (tcp == 0) return 0;
  const open = (load<u32>(descriptorAt(idOf(worker, position)), DESC_FLAGS) & FLAG_CSUM_PARTIAL) != 0;
  // Whole words of the header, so that an option at an odd place is summed as it stands.
  const first = own & ~1, bytes = (own + length - first + 1) & ~1;
  const before = sum(tcp + first, bytes);
  for (let i = own; i < own + length; i++) store<u8>(tcp + i, 1);
  if (!open) store<u16>(tcp, <u16>update16(load<u16>(tcp, 16), before, sum(tcp + first, bytes)), 16);
  return 1;
}

/** The same number for both directions of a flow. */
export function symmetricHash(worker: usize, position: u32): u32 {
  const id = idOf(worker, position), d = descriptorAt(id), at = <usize>load<u32>(d, DESC_DATA) + load<u16>(d, DESC_L3);
  const secret = load<u64>(<usize>HEADER + HEADER_SECRET) | 1, protocol = <u32>load<u8>(d, DESC_PROTOCOL);
  let h: u64 = protocol;
  const flags = load<u32>(d, DESC_FLAGS);
  if ((flags & FLAG_IP4) != 0) h += <u64>(load<u32>(at, 12) ^ load<u32>(at, 16)) << 8;
  else if ((flags & FLAG_IP6) != 0) h += (load<u64>(at, 8) ^ load<u64>(at, 24)) * 0x9e3779b97f4a7c15 ^ (load<u64>(at, 16) ^ load<u64>(at, 32));
  const ports = work(worker);
  if (hasTransport(d) && (protocol == TCP || protocol == UDP) && copyBytes(id, load<u16>(d, DESC_L4), ports, 4)) {
    h = (h * secret) ^ (<u64>(load16(ports) + load16(ports + 2)) << 17);
  }
  h = (h ^ (h >> 32)) * secret;
  return <u32>(h >> 32);
}
