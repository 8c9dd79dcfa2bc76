/**
 * Handshakes in a server's place (RFC 4987 §3.7; linux/net/netfilter/nf_synproxy_core.c): segments are made of segments, in the same
 * buffer. A SYN is answered by a cookie in the sequence number (24 bits of keyed hash, 5 of time, 3 of segment size; window scale and SACK
 * in the timestamp), an ACK that shows one becomes the SYN that its sender sent first, and what follows is moved from the
 * cookie's numbers to the server's.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_GSO_SIZE, DESC_L3, DESC_L4, DESC_LENGTH, DESC_NEXT, DESC_PACKET_LENGTH, FLAG_CSUM_PARTIAL, FLAG_IP4, FLAG_L4, FLOWS_KEYS, HEADER,
  HEADER_SECRET, NONE,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { release } from "../core/pool";
import { sipHash3 } from "../core/siphash";
import { flows } from "../table/flow";
import { load16, load32, store32 } from "../wire/bytes";
import { pseudo4, pseudo6, sum, sum20, update32 } from "../wire/checksum";

export const FIN: u32 = 1;
export const SYN: u32 = 2;
export const RST: u32 = 4;
export const ACK: u32 = 16;

/** linux/netfilter/nf_synproxy.h, NF_SYNPROXY_OPT_*. */
export const OPTION_MSS: u32 = 1;
export const OPTION_SCALE: u32 = 2;
export const OPTION_SACK: u32 = 4;
export const OPTION_STAMP: u32 = 8;

/* Options in hand: +0 which u32 | +4 mss | +8 scale | +12 tsval | +16 tsecr */
export const OFFER_SIZE: usize = 20;
const OFFER_MSS: usize = 4;
const OFFER_SCALE: usize = 8;
const OFFER_TSVAL: usize = 12;
const OFFER_TSECR: usize = 16;

/** A cookie is good for two of these (ms). */
const PERIOD: u32 = 64_000;
const NO_SCALE: u32 = 15;
const HOPS: u32 = 64;
const TCP: u32 = 6;

/** Segment sizes that a cookie can say: as src/tcp/cookies.ts. */
@inline
function sizeOf(index: u32): u32 {
  return index == 0 ? 216 : index == 1 ? 536 : index == 2 ? 1220 : index == 3 ? 1360 : index == 4 ? 1440 : index == 5 ? 1460 : index == 6 ? 4312 : 8960;
}

function indexOf(mss: u32): u32 {
  let index: u32 = 0;
  while (index < 7 && sizeOf(index + 1) <= mss) index++;
  return index;
}

/** Reads the options of a header into `offer`; those that are not well formed end the reading. */
export function readOffer(tcp: usize, size: u32, offer: usize): void {
  memory.fill(offer, 0, OFFER_SIZE);
  let has: u32 = 0;
  for (let at: u32 = 20; at < size; ) {
    const kind = <u32>load<u8>(tcp + at);
    if (kind == 0) break;
    if (kind == 1) { at++; continue; }
    const length: u32 = at + 1 < size ? load<u8>(tcp + at, 1) : 0;
    if (length < 2 || at + length > size) break;
    if (kind == 2 && length == 4) { has |= OPTION_MSS; store<u32>(offer, load16(tcp + at + 2), OFFER_MSS); }
    else if (kind == 3 && length == 3) { has |= OPTION_SCALE; store<u32>(offer, min<u32>(load<u8>(tcp + at, 2), 14), OFFER_SCALE); }
    else if (kind == 4 && length == 2) has |= OPTION_SACK;
    else if (kind == 8 && length == 10) {
      has |= OPTION_STAMP;
      store<u32>(offer, load32(tcp + at + 2), OFFER_TSVAL);
      store<u32>(offer, load32(tcp + at + 6), OFFER_TSECR);
    }
    at += length;
  }
  store<u32>(offer, has);
}

/** Addresses, ports and the peer's first number, by keys that nobody outside knows. */
function hashAt(l3: usize, is4: bool, ports: u32, sequence: u32, count: u32): u32 {
  const key0 = load<u64>(<usize>HEADER + HEADER_SECRET), key1 = load<u64>(flows(), FLOWS_KEYS) ^ 0x53594e50524f5859;
  const about = (<u64>ports << 32) | sequence;
  if (is4) return sipHash3(key0, key1, load<u64>(l3, 12), about, count) & 0xffffff;
  const from = sipHash3(key0, key1, load<u64>(l3, 8), load<u64>(l3, 16), 1), to = sipHash3(key0, ~key1, load<u64>(l3, 24), load<u64>(l3, 32), from);
  return sipHash3(key0, key1, (<u64>from << 32) | to, about, count) & 0xffffff;
}

/** Segment size of a cookie that is ours, fresh and of this packet's sender; 0 for any other number. */
function sizeInCookie(l3: usize, is4: bool, ports: u32, sequence: u32, cookie: u32, ticks: u32): u32 {
  const count = ticks / PERIOD, age = (count - (cookie >>> 27)) & 31;
  if (age > 1) return 0;
  return hashAt(l3, is4, ports, sequence, count - age) == (cookie & 0xffffff) ? sizeOf((cookie >>> 24) & 7) : 0;
}

function cookieFor(l3: usize, is4: bool, ports: u32, sequence: u32, mss: u32, ticks: u32): u32 {
  const count = ticks / PERIOD;
  return (count << 27) | (indexOf(mss) << 24) | hashAt(l3, is4, ports, sequence, count);
}

// ── Segments made of segments ───────────────────────────────────────────────────────────────────
/** Writes options (a multiple of four bytes); their length. */
function writeOffer(at: usize, offer: usize): u32 {
  const has = load<u32>(offer);
  let n: u32 = 0;
  if ((has & OPTION_MSS) != 0) { store32(at, 0x02040000 | load<u32>(offer, OFFER_MSS)); n = 4; }
  if ((has & OPTION_STAMP) != 0) {
    store32(at + n, (has & OPTION_SACK) != 0 ? 0x0402080a : 0x0101080a);
    store32(at + n + 4, load<u32>(offer, OFFER_TSVAL));
    store32(at + n + 8, load<u32>(offer, OFFER_TSECR));
    n += 12;
  } else if ((has & OPTION_SACK) != 0) { store32(at + n, 0x01010402); n += 4; }
  if ((has & OPTION_SCALE) != 0) { store32(at + n, 0x01030300 | load<u32>(offer, OFFER_SCALE)); n += 4; }
  return n;
}

/** The packet becomes a segment without text; addresses and ports are as they stand. The buffer is its own. */
export function makeSegment(worker: usize, id: u32, sequence: u32, acknowledgement: u32, flags: u32, window: u32, offer: usize): void {
  const d = descriptorAt(id), data = <usize>load<u32>(d, DESC_DATA), l3 = <u32>load<u16>(d, DESC_L3), is4 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0;
  const rest = load<u32>(d, DESC_NEXT), at = data + l3, from = data + <usize>load<u16>(d, DESC_L4), header: u32 = is4 ? 20 : 40, tcp = at + header;
  const ports = load<u32>(from);
  if (rest != NONE) { store<u32>(d, NONE, DESC_NEXT); release(worker, rest); }
  store<u32>(tcp, ports);
  store32(tcp + 4, sequence);
  store32(tcp + 8, acknowledgement);
  const size = 20 + writeOffer(tcp + 20, offer), length = header + size;
  store32(tcp + 12, (size << 26) | (flags << 16) | window);
  store32(tcp + 16, 0);
  if (is4) {
    // Congestion and the flow are the other segment's.
    store32(at, 0x45000000 | ((<u32>load<u8>(at, 1) & 0xfc) << 16) | length);
    store32(at + 4, 0x4000);
    store32(at + 8, (HOPS << 24) | (TCP << 16));
    store<u16>(at, <u16>~sum20(at), 10);
  } else {
    store32(at, load32(at) & 0xffc00000);
    store32(at + 4, (size << 16) | (TCP << 8) | HOPS);
  }
  const pseudo = is4 ? pseudo4(at + 12, TCP, size) : pseudo6(at + 8, TCP, size);
  store<u16>(tcp, <u16>~addFolded(sum(tcp, size), pseudo), 16);
  store<u32>(d, l3 + length, DESC_LENGTH);
  store<u32>(d, l3 + length, DESC_PACKET_LENGTH);
  store<u16>(d, <u16>(l3 + header), DESC_L4);
  store<u32>(d, (load<u32>(d, DESC_FLAGS) & ~FLAG_CSUM_PARTIAL) | FLAG_L4, DESC_FLAGS);
  store<u32>(d, 0, DESC_GSO_SIZE);
}

@inline
function addFolded(a: u32, b: u32): u32 {
  const s = a + b;
  return (s & 0xffff) + (s >>> 16);
}

/** Sender and receiver change places: link layer, addresses, ports. */
export function turnRound(id: u32): void {
  const d = descriptorAt(id), data = <usize>load<u32>(d, DESC_DATA), l3 = data + <usize>load<u16>(d, DESC_L3), l4 = data + <usize>load<u16>(d, DESC_L4);
  swapBytes(data, data + 6, 6);
  if ((load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0) swapBytes(l3 + 12, l3 + 16, 4);
  else swapBytes(l3 + 8, l3 + 24, 16);
  swapBytes(l4, l4 + 2, 2);
}

function swapBytes(a: usize, b: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const x = load<u8>(a + i);
    store<u8>(a + i, load<u8>(b + i));
    store<u8>(b + i, x);
  }
}

@inline
function headerOf(d: usize): usize {
  return <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L3);
}

/** The SYN becomes the answer with a cookie, on its way back. `wanted`: what the rule offers (mss | scale << 16 | OPTION_* << 24). */
export function answerSyn(worker: usize, id: u32, wanted: u32, ticks: u32, offer: usize): void {
  const d = descriptorAt(id), is4 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0, tcp = <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L4);
  const sequence = load32(tcp + 4), size = (<u32>load<u8>(tcp, 12) >>> 4) << 2;
  readOffer(tcp, size, offer);
  let has = load<u32>(offer) & ((wanted >>> 24) | OPTION_MSS);
  // What has no place in the number travels in the timestamp, and without one not at all.
  if ((has & OPTION_STAMP) == 0) has &= ~(OPTION_SCALE | OPTION_SACK);
  const mss = (load<u32>(offer) & OPTION_MSS) != 0 ? load<u32>(offer, OFFER_MSS) : 536;
  const cookie = cookieFor(headerOf(d), is4, load<u32>(tcp), sequence, mss, ticks);
  const scale = (has & OPTION_SCALE) != 0 ? load<u32>(offer, OFFER_SCALE) : NO_SCALE;
  store<u32>(offer, load<u32>(offer, OFFER_TSVAL), OFFER_TSECR);
  store<u32>(offer, (ticks & ~31) | (scale << 1) | ((has & OPTION_SACK) != 0 ? 1 : 0), OFFER_TSVAL);
  store<u32>(offer, wanted & 0xffff, OFFER_MSS);
  store<u32>(offer, (wanted >>> 16) & 0xff, OFFER_SCALE);
  store<u32>(offer, (wanted & 0xffff) == 0 ? has & ~OPTION_MSS : has | OPTION_MSS);
  turnRound(id);
  // Nobody may send before the server has said how much it takes.
  makeSegment(worker, id, cookie, sequence + 1, SYN | ACK, 0, offer);
}

/** The ACK that shows a cookie becomes the SYN that its sender sent first: true. False for any other; it is as it was. */
export function repeatSyn(worker: usize, id: u32, wanted: u32, ticks: u32, offer: usize): bool {
  const d = descriptorAt(id), is4 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0, tcp = <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L4);
  const cookie = load32(tcp + 8) - 1, size = (<u32>load<u8>(tcp, 12) >>> 4) << 2;
  let sequence = load32(tcp + 4) - 1, mss = sizeInCookie(headerOf(d), is4, load<u32>(tcp), sequence, cookie, ticks);
  // Who asks whether the window is still closed sends a number that was acknowledged already.
  if (mss == 0) mss = sizeInCookie(headerOf(d), is4, load<u32>(tcp), ++sequence, cookie, ticks);
  if (mss == 0) return false;
  readOffer(tcp, size, offer);
  const window = load16(tcp + 14), stamp = load<u32>(offer, OFFER_TSECR);
  let has: u32 = OPTION_MSS;
  if ((load<u32>(offer) & (wanted >>> 24) & OPTION_STAMP) != 0) {
    has |= OPTION_STAMP;
    if ((stamp & 1) != 0) has |= OPTION_SACK;
    if (((stamp >>> 1) & 15) != NO_SCALE) has |= OPTION_SCALE;
  }
  store<u32>(offer, has);
  store<u32>(offer, mss, OFFER_MSS);
  store<u32>(offer, (stamp >>> 1) & 15, OFFER_SCALE);
  store<u32>(offer, 0, OFFER_TSECR);
  makeSegment(worker, id, sequence, 0, SYN, window, offer);
  return true;
}

// ── Numbers ─────────────────────────────────────────────────────────────────────────────────────
/** Adds to a 32-bit field at any place; the sum at `check` follows (RFC 1624). Odd places change it by their bytes turned. */
function shift(tcp: usize, at: u32, by: u32, isOpen: bool): void {
  const before = load32(tcp + at), after = before + by;
  store32(tcp + at, after);
  // A sum that is left to a device covers nothing of this yet.
  if (isOpen) return;
  const turned = (at & 1) != 0, old = swapIf(before, turned), fresh = swapIf(after, turned);
  store<u16>(tcp, <u16>update32(<u32>load<u16>(tcp, 16), old, fresh), 16);
}

/** The words of a field as the sum sees them: in network order, or one byte later. */
@inline
function swapIf(value: u32, odd: bool): u32 {
  const network = bswap<u32>(value);
  return odd ? rotl<u32>(network, 8) : network;
}

/** Moves a segment's numbers: `sequence` and `acknowledgement` are added to its fields, `stamp` and `echo` to its timestamp's; SACK follows the latter. */
export function moveNumbers(tcp: usize, size: u32, sequence: u32, acknowledgement: u32, stamp: u32, echo: u32, isOpen: bool): void {
  if (sequence != 0) shift(tcp, 4, sequence, isOpen);
  if (acknowledgement != 0 && (load<u8>(tcp, 13) & <u8>ACK) != 0) shift(tcp, 8, acknowledgement, isOpen);
  for (let at: u32 = 20; at < size; ) {
    const kind = <u32>load<u8>(tcp + at);
    if (kind == 0) return;
    if (kind == 1) { at++; continue; }
    const length: u32 = at + 1 < size ? load<u8>(tcp + at, 1) : 0;
    if (length < 2 || at + length > size) return;
    if (kind == 8 && length == 10) {
      if (stamp != 0) shift(tcp, at + 2, stamp, isOpen);
      if (echo != 0) shift(tcp, at + 6, echo, isOpen);
    } else if (kind == 5 && acknowledgement != 0) for (let edge: u32 = at + 2; edge + 4 <= at + length; edge += 4) shift(tcp, edge, acknowledgement, isOpen);
    at += length;
  }
}
