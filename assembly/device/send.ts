/**
 * What this host sends: headers written from a record (abi.ts), payload by reference, checksums and segmentation
 * left open for whoever needs them closed; then the link-layer header of a next hop and the port's stage.
 */
import {
  DESC_COOKIE, DESC_CSUM_START, DESC_DATA, DESC_FLAGS, DESC_GSO_SIZE, DESC_HASH, DESC_L3, DESC_L4, DESC_LENGTH,
  DESC_NEXT, DESC_NEXT_HOP, DESC_PACKET_LENGTH, DESC_PROTOCOL, FLAG_ACE, FLAG_CSUM_PARTIAL, FLAG_IP4, FLAG_IP6, FLAG_L4,
  GSO_TCP4, GSO_TCP6, GSO_UDP4, GSO_UDP6, HEADER, HEADER_SECRET, HOP_FORWARD, HOP_GLEAN, HOP_INCOMPLETE, HOP_KIND,
  HOP_L2_LENGTH, HOP_LOCAL, HOP_MTU, HOP_PORT, HOP_REWRITE, NONE, OUT_ACE, OUT_ACKNOWLEDGEMENT, OUT_FLAGS, OUT_IDENTIFICATION, OUT_MAY_BE_CUT,
  OUT_MOST_PIECES, OUT_OPTIONS, OUT_OPTION_BYTES, OUT_PIECE, OUT_PIECES, OUT_PIECE_SIZE, OUT_SEGMENT_SIZE,
  OUT_SEQUENCE, OUT_URGENT, OUT_WINDOW, SEG_DESTINATION, SEG_DESTINATION_PORT, SEG_FAMILY, SEG_FLOW_LABEL,
  SEG_HOP_LIMIT, SEG_SOURCE, SEG_SOURCE_PORT, SEG_TRAFFIC_CLASS, SENT, SENT_LOCAL, SENT_NEIGHBOUR, SENT_NO_ROUTE,
  SENT_TOO_BIG, STAT_COPIED_BYTES,
} from "../abi";
import { count, descriptorAt } from "../core/layout";
import { release, takeBare, takeBuffer } from "../core/pool";
import { moveOffsets } from "../core/head";
import { fetchAdd } from "../core/sync";
import { hopAt, resolveHop } from "../table/hops";
import { load32, store16, store32, swap32 } from "../wire/bytes";
import { pseudo4, pseudo6, sum20 } from "../wire/checksum";
import { flowHash4, flowHash6, TCP, UDP } from "../wire/l4";
import { stage } from "./transmit";

/** Payloads up to this size are copied behind the headers: cheaper than a reference. */
const COPY_LIMIT: u32 = 256;

/** A TCP segment, or NONE without descriptors. */
export function buildTcp(worker: usize, record: usize): u32 {
  const id = takeBuffer(worker);
  if (id == NONE) return NONE;
  const at = <usize>load<u32>(descriptorAt(id), DESC_DATA), l3 = l3Bytes(record), tcp = at + l3;
  const options = min<u32>(load<u32>(record, OUT_OPTION_BYTES), 40) & ~3;
  const flags = load<u32>(record, OUT_FLAGS);
  store32(tcp, (load<u32>(record, SEG_SOURCE_PORT) << 16) | (load<u32>(record, SEG_DESTINATION_PORT) & 0xffff));
  store32(tcp + 4, load<u32>(record, OUT_SEQUENCE));
  store32(tcp + 8, load<u32>(record, OUT_ACKNOWLEDGEMENT));
  store16(tcp + 12, ((20 + options) << 10) | (flags & 0x1ff));
  store16(tcp + 14, load<u32>(record, OUT_WINDOW));
  store16(tcp + 18, load<u32>(record, OUT_URGENT));
  memory.copy(tcp + 20, record + OUT_OPTIONS, options);
  const whole = finish(worker, id, record, at, l3, 20 + options, TCP, 16);
  if (whole != NONE && (flags & OUT_ACE) != 0) {
    const d = descriptorAt(whole);
    store<u32>(d, load<u32>(d, DESC_FLAGS) | FLAG_ACE, DESC_FLAGS);
  }
  return whole;
}

/** A UDP datagram (or several of one size, to be segmented), or NONE without descriptors. */
export function buildUdp(worker: usize, record: usize): u32 {
  const id = takeBuffer(worker);
  if (id == NONE) return NONE;
  const at = <usize>load<u32>(descriptorAt(id), DESC_DATA), l3 = l3Bytes(record), udp = at + l3;
  store32(udp, (load<u32>(record, SEG_SOURCE_PORT) << 16) | (load<u32>(record, SEG_DESTINATION_PORT) & 0xffff));
  store16(udp + 4, 8 + payloadBytes(record));
  return finish(worker, id, record, at, l3, 8, UDP, 6);
}

@inline
function l3Bytes(record: usize): u32 {
  return load<u8>(record, SEG_FAMILY) == 4 ? 20 : 40;
}

@inline
function pieces(record: usize): u32 {
  return min<u32>(load<u32>(record, OUT_PIECES), OUT_MOST_PIECES);
}

function payloadBytes(record: usize): u32 {
  let total: u32 = 0;
  for (let p: u32 = 0, n = pieces(record); p < n; p++) total += load<u32>(record + OUT_PIECE + <usize>p * OUT_PIECE_SIZE, 4);
  return total;
}

/** Everything but the L4 header: payload, network header, descriptor, and the open checksum. */
function finish(worker: usize, id: u32, record: usize, at: usize, l3: u32, l4Header: u32, protocol: u32, field: u32): u32 {
  const d = descriptorAt(id), is4 = l3 == 20, payload = payloadBytes(record), headers = l3 + l4Header;
  if (!attach(worker, record, d, at + headers, headers, payload)) { release(worker, id); return NONE; }
  const l4Length = l4Header + payload;
  if (is4) writeIp4(record, at, l4Length, protocol);
  else writeIp6(record, at, l4Length, protocol);
  store<u16>(at + l3 + field, <u16>(is4 ? pseudo4(at + 12, protocol, l4Length) : pseudo6(at + 8, protocol, l4Length)));
  store<u32>(d, headers + payload, DESC_PACKET_LENGTH);
  store<u32>(d, (is4 ? FLAG_IP4 : FLAG_IP6) | FLAG_L4 | FLAG_CSUM_PARTIAL, DESC_FLAGS);
  store<u16>(d, 0, DESC_L3);
  store<u16>(d, <u16>l3, DESC_L4);
  store<u8>(d, <u8>protocol, DESC_PROTOCOL);
  store<u32>(d, l3 | (field << 16), DESC_CSUM_START);
  const secret = load<u64>(<usize>HEADER + HEADER_SECRET), ports = load<u32>(at + l3);
  const hash = is4 ? flowHash4(load<u64>(at, 12), secret, ports, protocol)
    : flowHash6(at + 8, ports, load<u32>(at) & 0xffff0f00, protocol, secret);
  store<u32>(d, hash, DESC_HASH);
  // RFC 6437 §3: one label for a flow, none that another flow's tells.
  if (!is4 && (load<u32>(record, SEG_FLOW_LABEL) & 0xfffff) == 0) store32(at, load32(at) | max<u32>(hash * 0x9e3779b1 >>> 12, 1));
  const size = load<u32>(record, OUT_SEGMENT_SIZE);
  if (size != 0 && payload > size) {
    const kind: u32 = protocol == TCP ? (is4 ? GSO_TCP4 : GSO_TCP6) : is4 ? GSO_UDP4 : GSO_UDP6;
    store<u32>(d, size | (kind << 16), DESC_GSO_SIZE);
  }
  return id;
}

/** Small payload is copied behind the headers, large payload referred to piece by piece. */
function attach(worker: usize, record: usize, d: usize, at: usize, headers: u32, payload: u32): bool {
  const n = pieces(record);
  if (payload <= COPY_LIMIT) {
    for (let p: u32 = 0; p < n; p++) {
      const piece = record + OUT_PIECE + <usize>p * OUT_PIECE_SIZE, bytes = load<u32>(piece, 4);
      memory.copy(at, <usize>load<u32>(piece), bytes);
      at += bytes;
    }
    store<u32>(d, headers + payload, DESC_LENGTH);
    count(worker, STAT_COPIED_BYTES, payload);
    return true;
  }
  store<u32>(d, headers, DESC_LENGTH);
  let last = d;
  for (let p: u32 = 0; p < n; p++) {
    const piece = record + OUT_PIECE + <usize>p * OUT_PIECE_SIZE, bare = takeBare(worker), cookie = load<u32>(piece, 8);
    if (bare == NONE) return false;
    const b = descriptorAt(bare);
    store<u32>(b, load<u32>(piece), DESC_DATA);
    store<u32>(b, load<u32>(piece, 4), DESC_LENGTH);
    store<u32>(b, cookie, DESC_COOKIE);
    if (cookie != 0) fetchAdd(<usize>cookie, 1);
    store<u32>(last, bare, DESC_NEXT);
    last = b;
  }
  return true;
}

function writeIp4(record: usize, at: usize, l4Length: u32, protocol: u32): void {
  store<u8>(at, 0x45);
  store<u8>(at, load<u8>(record, SEG_TRAFFIC_CLASS), 1);
  store16(at + 2, 20 + l4Length);
  store16(at + 4, load<u32>(record, OUT_IDENTIFICATION));
  // Don't fragment: the path's MTU is found, not guessed (RFC 1191). Unless the sender wants it otherwise.
  store<u16>(at, (load<u32>(record, OUT_IDENTIFICATION) & OUT_MAY_BE_CUT) != 0 ? 0 : 0x0040, 6);
  store<u8>(at, load<u8>(record, SEG_HOP_LIMIT), 8);
  store<u8>(at, <u8>protocol, 9);
  store<u16>(at, 0, 10);
  store<u32>(at, swap32(load<u32>(record, SEG_SOURCE + 12)), 12);
  store<u32>(at, swap32(load<u32>(record, SEG_DESTINATION + 12)), 16);
  store<u16>(at, <u16>~sum20(at), 10);
}

function writeIp6(record: usize, at: usize, l4Length: u32, protocol: u32): void {
  store32(at, 0x60000000 | (<u32>load<u8>(record, SEG_TRAFFIC_CLASS) << 20) | (load<u32>(record, SEG_FLOW_LABEL) & 0xfffff));
  store16(at + 4, l4Length);
  store<u8>(at, <u8>protocol, 6);
  store<u8>(at, load<u8>(record, SEG_HOP_LIMIT), 7);
  for (let i: usize = 0; i < 32; i += 4) store32(at + 8 + i, load<u32>(record + SEG_SOURCE + i));
}

/**
 * Puts the link-layer header of a next hop in front of a packet that begins with its network header, and stages
 * it. SENT, or why not: the packet then stays with the caller.
 */
export function sendByHop(worker: usize, table: usize, index: u32, id: u32): u32 {
  const d = descriptorAt(id), chosen = resolveHop(table, index, load<u32>(d, DESC_HASH)), hop = hopAt(table, chosen);
  const kind = <u32>load<u8>(hop, HOP_KIND);
  store<u16>(d, <u16>chosen, DESC_NEXT_HOP);
  if (kind == HOP_LOCAL) return SENT_LOCAL;
  if (kind == HOP_GLEAN || kind == HOP_INCOMPLETE) return SENT_NEIGHBOUR;
  if (kind != HOP_FORWARD) return SENT_NO_ROUTE;
  if (load<u32>(d, DESC_GSO_SIZE) == 0 && load<u32>(d, DESC_PACKET_LENGTH) > load<u32>(hop, HOP_MTU)) return SENT_TOO_BIG;
  const l2 = <u32>load<u8>(hop, HOP_L2_LENGTH), at = <usize>load<u32>(d, DESC_DATA);
  v128.store(at - 16, v128.load(hop, HOP_REWRITE + 16));
  if (l2 > 16) v128.store(at - 32, v128.load(hop, HOP_REWRITE));
  store<u32>(d, <u32>at - l2, DESC_DATA);
  store<u32>(d, load<u32>(d, DESC_LENGTH) + l2, DESC_LENGTH);
  store<u32>(d, load<u32>(d, DESC_PACKET_LENGTH) + l2, DESC_PACKET_LENGTH);
  moveOffsets(d, l2);
  stage(worker, load<u16>(hop, HOP_PORT), id);
  return SENT;
}
