/**
 * Coalescing (GRO): segments of one flow that arrive in one burst become one packet, by linking, not copying.
 *
 * Only what segmentation restores bit for bit is merged: same addresses, ports, TTL, TOS (ECN included),
 * options, acknowledgement and window; consecutive sequence numbers and IPv4 ids; equal sizes but for the
 * last; no flags but ACK, the same ECE and CWR on all, and PSH only on the last; a checksum that is right and in the form that would be
 * computed. Whatever else a flow sends closes its packet, so order within a flow is kept.
 */
import {
  DESC_CSUM_OFFSET, DESC_CSUM_START, DESC_DATA, DESC_FLAGS, DESC_GSO_KIND, DESC_GSO_SIZE, DESC_HASH, DESC_L3, DESC_L4,
  DESC_LENGTH, DESC_NEXT, DESC_PACKET_LENGTH, DESC_PROTOCOL, FLAG_ACE, FLAG_CSUM_GOOD, FLAG_CSUM_PARTIAL, FLAG_FRAGMENT,
  FLAG_IP4, FLAG_L4, FLAG_OPTIONS, GRO_FLOWS, GRO_SIZE, GSO_TCP4, GSO_TCP6, GSO_UDP4, GSO_UDP6, NEXT_DONE, NONE,
  STAT_COALESCED, VEC_IDS, VEC_NEXT, WORKER_GRO,
} from "../abi";
import { count, descriptorAt } from "../core/layout";
import { isExclusive } from "../core/pool";
import { load16, load32, store16 } from "../wire/bytes";
import { addSums, pseudo4, pseudo6, sum, sum20 } from "../wire/checksum";
import { examineL4, TCP, UDP } from "../wire/l4";

/* Flow: +0 head | tail | hash | next sequence | +16 payload of a segment u16, next ip id u16 | segments u16, closed u8, headers u8 */
const HEAD: usize = 0;
const TAIL: usize = 4;
const HASH: usize = 8;
const SEQUENCE: usize = 12;
const PAYLOAD: usize = 16;
const IP_ID: usize = 18;
const SEGMENTS: usize = 20;
const CLOSED: usize = 22;
const HEADERS: usize = 23;
const ACK: u32 = 0x10;
const PSH: u32 = 0x08;
const ECE: u32 = 0x40;
/** On all or on none: as a bit of Accurate ECN's counter (RFC 9768), which segmentation restores. */
const CWR: u32 = 0x80;

/** Merges within list (VEC_LIST4 or VEC_LIST6) and its address vectors; returns the list's new length. */
export function coalesceBurst(
  worker: usize, list: usize, first: usize, second: usize, width: usize, n: u32,
): u32 {
  let flows: u32 = 0, kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const i = <u32>load<u16>(worker + list + (<usize>k << 1));
    const id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
    const d = descriptorAt(id);
    const flow = find(worker, flows, load<u32>(d, DESC_HASH));
    const headers = isExclusive(id) ? mergeable(d) : 0;
    if (flow != 0 && headers != 0 && tryMerge(flow, d, id, headers)) {
      count(worker, STAT_COALESCED, 1);
      store<u16>(worker + (<usize>i << 1), NEXT_DONE, VEC_NEXT);
      continue;
    }
    if (flow != 0) { finishFlow(flow); flows = remove(worker, flow, flows); }
    if (headers != 0 && flows < <u32>GRO_FLOWS) { open(worker, flows, d, id, headers); flows++; }
    store<u16>(worker + list + (<usize>kept << 1), <u16>i);
    if (kept != k) {
      memory.copy(worker + first + <usize>kept * width, worker + first + <usize>k * width, width);
      memory.copy(worker + second + <usize>kept * width, worker + second + <usize>k * width, width);
    }
    kept++;
  }
  for (let f: u32 = 0; f < flows; f++) finishFlow(worker + WORKER_GRO + <usize>f * GRO_SIZE);
  return kept;
}

function find(worker: usize, flows: u32, hash: u32): usize {
  for (let f: u32 = 0; f < flows; f++) {
    const flow = worker + WORKER_GRO + <usize>f * GRO_SIZE;
    if (load<u32>(flow, HASH) == hash) return flow;
  }
  return 0;
}

/** Takes a flow off the table; the last one moves into its place. */
function remove(worker: usize, flow: usize, flows: u32): u32 {
  memory.copy(flow, worker + WORKER_GRO + <usize>(flows - 1) * GRO_SIZE, GRO_SIZE);
  return flows - 1;
}

/** Bytes of headers when the packet may take part in merging, else 0. */
function mergeable(d: usize): u32 {
  examineL4(d);
  const flags = load<u32>(d, DESC_FLAGS);
  if ((flags & (FLAG_L4 | FLAG_FRAGMENT | FLAG_OPTIONS | FLAG_CSUM_PARTIAL)) != FLAG_L4) return 0;
  if (load<u32>(d, DESC_NEXT) != NONE || load<u32>(d, DESC_GSO_SIZE) != 0) return 0;
  const protocol = <u32>load<u8>(d, DESC_PROTOCOL), l3 = <u32>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4);
  const at = <usize>load<u32>(d, DESC_DATA), length = load<u32>(d, DESC_LENGTH);
  const is4 = (flags & FLAG_IP4) != 0;
  // What is behind the IP length would be lost, and so would a checksum written as ~0 instead of 0.
  const ipLength = is4 ? load16(at + l3 + 2) : load16(at + l3 + 4) + 40;
  if (length != l3 + ipLength || (is4 && load<u16>(at + l3, 10) == 0xffff)) return 0;
  let headers: u32;
  if (protocol == TCP) {
    headers = l4 + (<u32>(load<u8>(at + l4, 12) >>> 4) << 2);
    if ((load<u8>(at + l4, 13) & ~(PSH | ECE | CWR)) != ACK || load<u16>(at + l4, 16) == 0xffff) return 0;
  } else if (protocol == UDP) {
    headers = l4 + 8;
    if (load16(at + l4 + 4) != length - l4 || load<u16>(at + l4, 6) == 0) return 0;
  } else return 0;
  if (headers >= length || headers > 250) return 0;
  return checksumGood(at, l3, l4, length, protocol, is4) ? headers : 0;
}

function checksumGood(at: usize, l3: u32, l4: u32, length: u32, protocol: u32, is4: bool): bool {
  const l4Length = length - l4;
  const pseudo = is4 ? pseudo4(at + l3 + 12, protocol, l4Length) : pseudo6(at + l3 + 8, protocol, l4Length);
  return addSums(pseudo, sum(at + l4, l4Length)) == 0xffff;
}

function open(worker: usize, index: u32, d: usize, id: u32, headers: u32): void {
  const flow = worker + WORKER_GRO + <usize>index * GRO_SIZE;
  const at = <usize>load<u32>(d, DESC_DATA), l3 = <u32>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4);
  const payload = load<u32>(d, DESC_LENGTH) - headers;
  store<u32>(flow, id, HEAD);
  store<u32>(flow, id, TAIL);
  store<u32>(flow, load<u32>(d, DESC_HASH), HASH);
  store<u32>(flow, load32(at + l4 + 4) + payload, SEQUENCE);
  store<u16>(flow, <u16>payload, PAYLOAD);
  store<u16>(flow, <u16>(load16(at + l3 + 4) + 1), IP_ID);
  store<u16>(flow, 1, SEGMENTS);
  store<u8>(flow, <u8>isLast(d, at + l4), CLOSED);
  store<u8>(flow, <u8>headers, HEADERS);
}

/** PSH ends a packet: segmentation puts it on the last segment only. */
@inline
function isLast(d: usize, l4: usize): bool {
  return <u32>load<u8>(d, DESC_PROTOCOL) == TCP && (load<u8>(l4, 13) & PSH) != 0;
}

function tryMerge(flow: usize, d: usize, id: u32, headers: u32): bool {
  if (load<u8>(flow, CLOSED) != 0 || headers != <u32>load<u8>(flow, HEADERS)) return false;
  const head = descriptorAt(load<u32>(flow, HEAD));
  const payload = load<u32>(d, DESC_LENGTH) - headers;
  if (payload > <u32>load<u16>(flow, PAYLOAD)) return false;
  if (load<u32>(head, DESC_PACKET_LENGTH) + payload > 65535) return false;
  if (!sameHeaders(flow, head, d, headers)) return false;
  const l4 = <usize>load<u32>(d, DESC_DATA) + <u32>load<u16>(d, DESC_L4);
  const last = isLast(d, l4);
  if (payload < <u32>load<u16>(flow, PAYLOAD) || last) store<u8>(flow, 1, CLOSED);
  if (last) {
    const headL4 = <usize>load<u32>(head, DESC_DATA) + <u32>load<u16>(head, DESC_L4);
    store<u8>(headL4, load<u8>(headL4, 13) | <u8>PSH, 13);
  }
  store<u32>(d, load<u32>(d, DESC_DATA) + headers, DESC_DATA);
  store<u32>(d, payload, DESC_LENGTH);
  store<u32>(descriptorAt(load<u32>(flow, TAIL)), id, DESC_NEXT);
  store<u32>(flow, id, TAIL);
  store<u32>(flow, load<u32>(flow, SEQUENCE) + payload, SEQUENCE);
  store<u16>(flow, load<u16>(flow, IP_ID) + 1, IP_ID);
  store<u16>(flow, load<u16>(flow, SEGMENTS) + 1, SEGMENTS);
  store<u32>(head, load<u32>(head, DESC_PACKET_LENGTH) + payload, DESC_PACKET_LENGTH);
  return true;
}

/** Everything but lengths, ids, sequence, checksums and PSH is equal; those four fit. */
function sameHeaders(flow: usize, head: usize, d: usize, headers: u32): bool {
  const a = <usize>load<u32>(head, DESC_DATA), b = <usize>load<u32>(d, DESC_DATA);
  const l3 = <u32>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4);
  if (l3 != <u32>load<u16>(head, DESC_L3) || l4 != <u32>load<u16>(head, DESC_L4)) return false;
  if (load<u8>(d, DESC_PROTOCOL) != load<u8>(head, DESC_PROTOCOL)) return false;
  if (memory.compare(a, b, l3) != 0) return false;
  const is4 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0;
  if (is4 != ((load<u32>(head, DESC_FLAGS) & FLAG_IP4) != 0)) return false;
  if (is4) {
    if (load<u16>(a + l3) != load<u16>(b + l3) || load<u32>(a + l3, 6) != load<u32>(b + l3, 6)) return false;
    if (load<u64>(a + l3, 12) != load<u64>(b + l3, 12)) return false;
    if (load16(b + l3 + 4) != <u32>load<u16>(flow, IP_ID)) return false;
  } else {
    if (load<u32>(a + l3) != load<u32>(b + l3) || load<u16>(a + l3, 6) != load<u16>(b + l3, 6)) return false;
    if (memory.compare(a + l3 + 8, b + l3 + 8, 32) != 0) return false;
  }
  if (load<u32>(a + l4) != load<u32>(b + l4)) return false;
  if (<u32>load<u8>(d, DESC_PROTOCOL) == UDP) return true;
  if (load32(b + l4 + 4) != load<u32>(flow, SEQUENCE)) return false;
  if (((<u32>load<u8>(a + l4, 13) ^ <u32>load<u8>(b + l4, 13)) & ~PSH) != 0) return false;
  if (load<u32>(a + l4, 8) != load<u32>(b + l4, 8) || load<u8>(a + l4, 12) != load<u8>(b + l4, 12)) return false;
  if (load<u16>(a + l4, 14) != load<u16>(b + l4, 14) || load<u16>(a + l4, 18) != load<u16>(b + l4, 18)) return false;
  return memory.compare(a + l4 + 20, b + l4 + 20, headers - l4 - 20) == 0;
}

/** Lengths and checksums of a merged head; a packet that stayed alone is left as it came. */
function finishFlow(flow: usize): void {
  if (load<u16>(flow, SEGMENTS) == 1) return;
  const d = descriptorAt(load<u32>(flow, HEAD));
  const at = <usize>load<u32>(d, DESC_DATA), l3 = <u32>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4);
  const total = load<u32>(d, DESC_PACKET_LENGTH), tcp = <u32>load<u8>(d, DESC_PROTOCOL) == TCP;
  const is4 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0;
  if (is4) {
    store16(at + l3 + 2, total - l3);
    store<u16>(at + l3, 0, 10);
    store<u16>(at + l3, <u16>~sum20(at + l3), 10);
  } else store16(at + l3 + 4, total - l3 - 40);
  if (!tcp) store16(at + l4 + 4, total - l4);
  // Verified below, so nobody needs to sum it again; who sends it on completes it (partial).
  const offset: u32 = tcp ? 16 : 6, protocol = tcp ? TCP : UDP;
  const pseudo = is4 ? pseudo4(at + l3 + 12, protocol, total - l4) : pseudo6(at + l3 + 8, protocol, total - l4);
  store<u16>(at + l4 + offset, <u16>pseudo);
  store<u16>(d, <u16>l4, DESC_CSUM_START);
  store<u16>(d, <u16>offset, DESC_CSUM_OFFSET);
  const ace: u32 = tcp && (<u32>load<u8>(at + l4, 13) & CWR) != 0 ? FLAG_ACE : 0;
  store<u32>(d, load<u32>(d, DESC_FLAGS) | FLAG_CSUM_PARTIAL | FLAG_CSUM_GOOD | ace, DESC_FLAGS);
  store<u16>(d, load<u16>(flow, PAYLOAD), DESC_GSO_SIZE);
  const kind: u32 = tcp ? (is4 ? GSO_TCP4 : GSO_TCP6) : is4 ? GSO_UDP4 : GSO_UDP6;
  store<u16>(d, <u16>kind, DESC_GSO_KIND);
}
