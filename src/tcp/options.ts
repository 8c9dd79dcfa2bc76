/** TCP options (RFC 9293 §3.2, RFC 7323, RFC 2018, RFC 7413, RFC 2385, RFC 5482, RFC 5925): read from a segment's bytes, written into a record. */
import { swap32, u32 } from "../base/bytes.ts";
import type { CookieOption } from "./fast-open.ts";

export interface SynOptions {
  /** 0 when the option was absent. */
  mss: number;
  /** -1 when absent. */
  windowScale: number;
  sackPermitted: boolean;
  timestamps: boolean;
  tsval: number;
  tsecr: number;
  /** Fast Open; undefined when absent. */
  cookie: CookieOption | undefined;
  /** Accurate ECN (RFC 9768 §3.2.3): counters by IP field, -1 where absent. */
  readonly counters: number[];
  /** Where the authentication option (RFC 5925) begins in memory; 0 when absent, -1 when it is malformed or there are two. */
  authentication: number;
  /** User timeout (RFC 5482) in seconds; 0 when absent. */
  userTimeout: number;
  /** Where the digest of an MD5 signature stands in memory; 0 when absent. */
  signature: number;
}

/** SACK blocks of the segment in hand: left and right edges in turn. */
export class SackBlocks {
  readonly edges = new Int32Array(8);
  count = 0;
}

const END = 0;
const NOP = 1;
const NOPS = 0x01010101;
const MSS = 2;
const WINDOW_SCALE = 3;
const SACK_PERMITTED = 4;
const SACK = 5;
const TIMESTAMPS = 8;
const MD5_SIGNATURE = 19;
const USER_TIMEOUT = 28;
const AUTHENTICATION = 29;
const FAST_OPEN = 34;
/** Accurate ECN: which counter comes first (RFC 9768 §3.2.3). */
const ACC_ECN_0 = 172;
const ACC_ECN_1 = 174;
const ORDER_0 = [2, 3, 1] as const;
const ORDER_1 = [1, 3, 2] as const;
/** RFC 6994, with the identifier that Fast Open had before it had a kind. */
const EXPERIMENT = 254;
const FAST_OPEN_EXID = 0xf989;
/** The first of sixteen bits says minutes instead of seconds. */
const MINUTES = 0x8000;
const MOST_TIMEOUT = 0x7fff;
/** RFC 7323 §2.3: larger ones are taken as this. */
const MAX_SCALE = 14;

/**
 * Reads everything that a segment's options say; malformed ones end the reading, what came before counts. Counters that it does not
 * announce stay as they are: the caller clears them when the segment before had some.
 */
export function readOptions(bytes: Uint8Array, at: number, length: number, out: SynOptions, sack: SackBlocks): void {
  out.mss = 0;
  out.windowScale = -1;
  out.sackPermitted = false;
  out.timestamps = false;
  out.cookie = undefined;
  out.signature = 0;
  out.userTimeout = out.authentication = 0;
  sack.count = 0;
  const end = at + length;
  while (at < end) {
    const kind = bytes[at];
    if (kind === END) return;
    if (kind === NOP) {
      at++;
      continue;
    }
    const size = at + 1 < end ? bytes[at + 1] : 0;
    if (size < 2 || at + size > end) return;
    if (kind === MSS && size === 4) out.mss = (bytes[at + 2] << 8) | bytes[at + 3];
    else if (kind === WINDOW_SCALE && size === 3) out.windowScale = Math.min(bytes[at + 2], MAX_SCALE);
    else if (kind === SACK_PERMITTED && size === 2) out.sackPermitted = true;
    else if (kind === TIMESTAMPS && size === 10) {
      out.timestamps = true;
      out.tsval = u32(bytes, at + 2) | 0;
      out.tsecr = u32(bytes, at + 6) | 0;
    } else if (kind === SACK && size >= 10 && (size - 2) % 8 === 0) {
      sack.count = Math.min((size - 2) / 8, 4);
      for (let i = 0; i < 2 * sack.count; i++) sack.edges[i] = u32(bytes, at + 2 + 4 * i) | 0;
    } else if (kind === MD5_SIGNATURE && size === 18) out.signature = at + 2;
    else if (kind === AUTHENTICATION) out.authentication = size === 16 && out.authentication === 0 ? at : -1;
    else if (kind === USER_TIMEOUT && size === 4) out.userTimeout = decodeTimeout((bytes[at + 2] << 8) | bytes[at + 3]);
    else if (kind === FAST_OPEN) out.cookie = { cookie: bytes.slice(at + 2, at + size), experimental: false };
    else if (kind === EXPERIMENT && size >= 4 && ((bytes[at + 2] << 8) | bytes[at + 3]) === FAST_OPEN_EXID) {
      out.cookie = { cookie: bytes.slice(at + 4, at + size), experimental: true };
    } else if (kind === ACC_ECN_0 || kind === ACC_ECN_1)
      readCounters(bytes, at, size, kind === ACC_ECN_0 ? ORDER_0 : ORDER_1, out.counters);
    at += size;
  }
}

/** No counter was announced. By hand: `fill` is a call out of compiled code, and each handshake comes here. */
export function noCounters(counters: number[]): void {
  for (let i = 0; i < counters.length; i++) counters[i] = -1;
}

function readCounters(bytes: Uint8Array, at: number, size: number, order: readonly number[], counters: number[]): void {
  for (let i = 0; i < order.length && size >= 5 + 3 * i; i++) {
    const from = at + 2 + 3 * i;
    counters[order[i]] = (bytes[from] << 16) | (bytes[from + 1] << 8) | bytes[from + 2];
  }
}

/** The option's sixteen bits for so many seconds, 1 to 1,966,020; whole minutes, rounded up, when seconds do not fit. */
export function encodeTimeout(seconds: number): number {
  const whole = Math.max(1, Math.ceil(seconds));
  return whole <= MOST_TIMEOUT ? whole : MINUTES | Math.min(Math.ceil(whole / 60), MOST_TIMEOUT);
}

/** Seconds. */
export function decodeTimeout(field: number): number {
  return (field & MOST_TIMEOUT) * (field & MINUTES ? 60 : 1);
}

/** NOP NOP timestamps (RFC 7323 appendix A); returns the words written. */
export function writeTimestamps(out: Int32Array, at: number, tsval: number, tsecr: number): number {
  out[at] = 0x0a080101;
  out[at + 1] = swap32(tsval);
  out[at + 2] = swap32(tsecr);
  return 3;
}

/** Bytes that an Accurate ECN option with so many fields (-1: none) and so many SACK blocks take together. */
export function pairBytes(fields: number, blocks: number): number {
  const ecn = fields < 0 ? 0 : 2 + 3 * fields;
  return (ecn + (blocks > 0 ? 2 + 8 * blocks : 0) + 3) & ~3;
}

/** Sets a byte of little-endian words: a view of them would be an object for each segment. */
function putByte(out: Int32Array, at: number, index: number, value: number): void {
  const shift = (index & 3) * 8;
  const word = at + (index >> 2);
  out[word] = (out[word] & ~(255 << shift)) | ((value & 255) << shift);
}

/** Accurate ECN of order 1 with `fields` counters and its padding, up to where `blocks` SACK blocks may begin at a word; words written. */
export function writeCounters(out: Int32Array, at: number, counters: readonly number[], fields: number, blocks: number): number {
  const size = 2 + 3 * fields;
  // The SACK option's first two bytes end a word.
  const words = pairBytes(fields, blocks) / 4 - 2 * blocks;
  for (let i = 0; i < words; i++) out[at + i] = NOPS;
  putByte(out, at, 0, ACC_ECN_1);
  putByte(out, at, 1, size);
  for (let i = 0; i < fields; i++) {
    const value = counters[i];
    putByte(out, at, 2 + 3 * i, value >>> 16);
    putByte(out, at, 3 + 3 * i, value >>> 8);
    putByte(out, at, 4 + 3 * i, value);
  }
  if (blocks > 0) {
    putByte(out, at, 4 * words - 2, SACK);
    putByte(out, at, 4 * words - 1, 2 + 8 * blocks);
  }
  return words;
}

/** SACK blocks' edges alone. */
export function writeEdges(out: Int32Array, at: number, edges: Int32Array, count: number): number {
  for (let i = 0; i < 2 * count; i++) out[at + i] = swap32(edges[i]);
  return 2 * count;
}

/** NOP NOP SACK with `count` blocks of `edges`; returns the words written. */
export function writeSack(out: Int32Array, at: number, edges: Int32Array, count: number): number {
  out[at] = 0x00050101 | ((2 + 8 * count) << 24);
  for (let i = 0; i < 2 * count; i++) out[at + 1 + i] = swap32(edges[i]);
  return 1 + 2 * count;
}

/** What a SYN or SYN-ACK says. */
export interface SynOffer {
  mss: number;
  /** -1: no window scale option. */
  scale: number;
  sack: boolean;
  timestamps: boolean;
  tsval: number;
  tsecr: number;
  cookie: CookieOption | undefined;
  /** Accurate ECN's three counters as they begin, in a SYN-ACK. */
  accEcn: boolean;
}

/** RFC 9768 §3.2.1: e1b 1, ceb 0, e0b 1. */
const FIRST_COUNTERS = [1, 0, 1] as const;

/** MSS, then SACK-permitted with timestamps, then window scale, then Fast Open, as Linux orders them; returns the words written. */
export function writeSyn(out: Int32Array, at: number, offer: SynOffer): number {
  let n = at;
  out[n++] = swap32((MSS << 24) | (4 << 16) | offer.mss);
  if (offer.timestamps) {
    out[n++] = offer.sack ? 0x0a080204 : 0x0a080101;
    out[n++] = swap32(offer.tsval);
    out[n++] = swap32(offer.tsecr);
  }
  if (offer.accEcn) n += writeCounters(out, n, FIRST_COUNTERS, 3, 0);
  if (offer.sack && !offer.timestamps) out[n++] = 0x02040101;
  if (offer.scale >= 0) out[n++] = 0x00030301 | (offer.scale << 24);
  if (offer.cookie) n += writeCookie(out, n, offer.cookie);
  return n - at;
}

/** Words that a Fast Open option takes. */
export function cookieWords({ cookie, experimental }: CookieOption): number {
  return (cookie.length + (experimental ? 4 : 2) + 3) >>> 2;
}

function writeCookie(out: Int32Array, at: number, option: CookieOption): number {
  const { cookie, experimental } = option;
  const head = experimental ? [EXPERIMENT, cookie.length + 4, FAST_OPEN_EXID >>> 8, FAST_OPEN_EXID & 255] : [FAST_OPEN, cookie.length + 2];
  const words = cookieWords(option);
  const bytes = new Uint8Array(out.buffer, out.byteOffset + 4 * at, 4 * words).fill(NOP);
  bytes.set(head);
  bytes.set(cookie, head.length);
  return words;
}
