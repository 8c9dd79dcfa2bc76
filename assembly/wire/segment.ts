/**
 * Segmentation: one large TCP or UDP packet (a chain up to 64 KiB) becomes wire-sized ones.
 *
 * Each segment is a fresh header buffer followed by references into the original payload, so that no payload byte
 * moves; or, for devices that take no chains, one buffer that holds everything, summed while it is copied. Sequence
 * numbers, lengths, IPv4 ids and all checksums are made here; FIN and PSH stay on the last segment, CWR on the first
 * (RFC 3168 §6.1.2, as TSO-capable hardware does it) unless it is part of a counter (RFC 9768); an urgent pointer names the same octet in
 * each, up to the one that holds it.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_GSO_KIND, DESC_GSO_SIZE, DESC_L3, DESC_L4, DESC_LENGTH, DESC_NEXT, DESC_MARK, DESC_PACKET_LENGTH,
  FLAG_ACE, FLAG_CSUM_PARTIAL, FLAG_IP4, FLAG_IP6, GSO_TCP4, GSO_TCP6, GSO_UDP4, GSO_UDP6, HEADER_HEADROOM, HEADER_STRIDE, NONE,
  STAT_COPIED_BYTES,
  STAT_SEGMENTED, STAT_SEGMENTS,
} from "../abi";
import { count, descriptorAt, header } from "../core/layout";
import { reference, release, takeBuffer } from "../core/pool";
import { load16, load32, store16, store32 } from "./bytes";
import { addSums, pseudo4, pseudo6, sum, sum20, sumCopy } from "./checksum";
import { TCP, UDP } from "./l4";

const TCP_FIN_PSH: u32 = 0x09;
const TCP_CWR: u32 = 0x80;
const TCP_URG: u32 = 0x20;
/** More than any sane stack of headers; fits every buffer. */
const MAX_HEADERS: u32 = 256;
/** Empty pieces passed over at once; more is a chain that bites its tail. */
const MAX_SEGMENTS: u32 = 4096;

/** Header bytes in front of the payload, or 0 when the descriptor and the bytes do not agree. */
function headersOf(d: usize): u32 {
  const l3 = <u32>load<u16>(d, DESC_L3), l4 = <u32>load<u16>(d, DESC_L4), have = load<u32>(d, DESC_LENGTH);
  const kind = <u32>load<u16>(d, DESC_GSO_KIND), flags = load<u32>(d, DESC_FLAGS);
  const is6 = kind == GSO_TCP6 || kind == GSO_UDP6;
  if ((flags & (is6 ? FLAG_IP6 : FLAG_IP4)) == 0 || kind > <u32>GSO_UDP6 || kind == 0) return 0;
  if (l4 < l3 + (is6 ? 40 : 20) || l4 + 20 > MAX_HEADERS) return 0;
  const tcp = kind == GSO_TCP4 || kind == GSO_TCP6;
  if (l4 + (tcp ? 20 : 8) > have) return 0;
  const l4Bytes = tcp ? <u32>(load<u8>(<usize>load<u32>(d, DESC_DATA) + l4, 12) >>> 4) << 2 : 8;
  if (l4Bytes < 8 || (tcp && l4Bytes < 20) || l4 + l4Bytes > have) return 0;
  return l4 + l4Bytes;
}

/** The first segment from `id` on that still has bytes behind `offset`. */
@inline
function skipEmpty(id: u32, offset: u32): u32 {
  for (let left: u32 = MAX_SEGMENTS; left != 0; left--) {
    if (id == NONE || offset < load<u32>(descriptorAt(id), DESC_LENGTH)) return id;
    offset = 0;
    id = load<u32>(descriptorAt(id), DESC_NEXT);
  }
  return NONE;
}

/**
 * Writes the segments' ids to `out`: their number, -1 for an invalid request, -2 without buffers (nothing taken then).
 * `whole`: each in one buffer; -3 when a segment does not fit in one.
 */
export function segmentPacket(worker: usize, id: u32, out: usize, most: u32, whole: bool): i32 {
  const d = descriptorAt(id);
  const headers = headersOf(d), size = <u32>load<u16>(d, DESC_GSO_SIZE), total = load<u32>(d, DESC_PACKET_LENGTH);
  if (headers == 0 || size == 0 || total < headers || total - headers > 65535) return -1;
  const payload = total - headers;
  const segments: u32 = payload == 0 ? 1 : (payload + size - 1) / size;
  if (segments > most) return -1;
  if (whole && headers + min<u32>(size, payload) > header(HEADER_STRIDE) - header(HEADER_HEADROOM)) return -3;
  let source = id, offset = headers, made: u32 = 0, done: u32 = 0;
  while (made < segments) {
    const length = min<u32>(size, payload - done);
    const head = takeBuffer(worker);
    if (head == NONE) return abandon(worker, out, made);
    store<u32>(out + (<usize>made << 2), head);
    made++;
    const h = descriptorAt(head), at = <usize>load<u32>(h, DESC_DATA);
    memory.copy(at, <usize>load<u32>(d, DESC_DATA), headers);
    memory.copy(h + DESC_PACKET_LENGTH, d + DESC_PACKET_LENGTH, 32);
    store<u32>(h, load<u32>(d, DESC_MARK), DESC_MARK);
    store<u32>(h, whole ? headers + length : headers, DESC_LENGTH);
    store<u32>(h, headers + length, DESC_PACKET_LENGTH);
    store<u32>(h, load<u32>(d, DESC_FLAGS) & ~FLAG_CSUM_PARTIAL, DESC_FLAGS);
    store<u32>(h, 0, DESC_GSO_SIZE);
    let left = length, last = h, to = at + headers, payloadSum: u32 = 0, odd: u32 = 0;
    while (left != 0) {
      const from = skipEmpty(source, offset);
      if (from != source) { source = from; offset = 0; }
      if (source == NONE) return abandonInvalid(worker, out, made);
      const s = descriptorAt(source);
      const n = min<u32>(load<u32>(s, DESC_LENGTH) - offset, left), data = load<u32>(s, DESC_DATA) + offset;
      let add: u32;
      if (whole) {
        add = sumCopy(to, <usize>data, n);
        to += n;
      } else {
        const piece = reference(worker, source, data, n);
        if (piece == NONE) return abandon(worker, out, made);
        store<u32>(last, piece, DESC_NEXT);
        last = descriptorAt(piece);
        add = sum(<usize>data, n);
      }
      payloadSum = addSums(payloadSum, odd ? ((add << 8) | (add >>> 8)) & 0xffff : add);
      odd ^= n & 1;
      offset += n;
      left -= n;
    }
    fixHeaders(d, at, made - 1, made == segments, done, length, headers, payloadSum);
    done += length;
  }
  count(worker, STAT_SEGMENTED, 1);
  count(worker, STAT_SEGMENTS, segments);
  count(worker, STAT_COPIED_BYTES, <u64>segments * headers + (whole ? <u64>payload : 0));
  release(worker, id);
  return <i32>segments;
}

function abandon(worker: usize, out: usize, made: u32): i32 {
  for (let i: u32 = 0; i < made; i++) release(worker, load<u32>(out + (<usize>i << 2)));
  return -2;
}

function abandonInvalid(worker: usize, out: usize, made: u32): i32 {
  abandon(worker, out, made);
  return -1;
}

/** The urgent pointer of a segment `done` bytes behind the first; without one when the urgent octet came before. One that points to nothing stays. */
function moveUrgent(l4: usize, done: u32, flags: u32): u32 {
  const pointer = load16(l4 + 18);
  store16(l4 + 18, pointer > done ? pointer - done : 0);
  return pointer > done || pointer == 0 ? flags : flags & ~TCP_URG;
}

function fixHeaders(
  d: usize, at: usize, index: u32, isLast: bool, done: u32, length: u32, headers: u32, payloadSum: u32,
): void {
  const l3 = at + <u32>load<u16>(d, DESC_L3), l4 = at + <u32>load<u16>(d, DESC_L4);
  const kind = <u32>load<u16>(d, DESC_GSO_KIND);
  const l4Bytes = headers - <u32>load<u16>(d, DESC_L4), l4Length = l4Bytes + length;
  const is4 = kind == GSO_TCP4 || kind == GSO_UDP4;
  if (is4) {
    const ipBytes = <u32>(l4 - l3);
    store16(l3 + 2, ipBytes + l4Length);
    store16(l3 + 4, (load16(l3 + 4) + index) & 0xffff);
    store<u16>(l3, 0, 10);
    store<u16>(l3, <u16>~(ipBytes == 20 ? sum20(l3) : sum(l3, ipBytes)), 10);
  } else store16(l3 + 4, <u32>(l4 - l3) - 40 + l4Length);
  const tcp = kind == GSO_TCP4 || kind == GSO_TCP6;
  if (tcp) {
    store32(l4 + 4, load32(l4 + 4) + done);
    let flags = <u32>load<u8>(l4, 13);
    if (!isLast) flags &= ~TCP_FIN_PSH;
    if (index != 0 && (load<u32>(d, DESC_FLAGS) & FLAG_ACE) == 0) flags &= ~TCP_CWR;
    if (index != 0 && (flags & TCP_URG) != 0) flags = moveUrgent(l4, done, flags);
    store<u8>(l4, <u8>flags, 13);
  } else store16(l4 + 4, l4Length);
  const field = l4 + (tcp ? 16 : 6);
  store<u16>(field, 0);
  const pseudo = is4 ? pseudo4(l3 + 12, tcp ? TCP : UDP, l4Length) : pseudo6(l3 + 8, tcp ? TCP : UDP, l4Length);
  const value = ~addSums(addSums(pseudo, sum(l4, l4Bytes)), payloadSum) & 0xffff;
  store<u16>(field, value == 0 && !tcp ? 0xffff : <u16>value);
}
