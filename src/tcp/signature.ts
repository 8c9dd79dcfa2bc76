/**
 * TCP MD5 signatures (RFC 2385), which routing daemons use between peers that share a secret: a digest in every segment
 * over its addresses, header, data and the secret. Old and weak (RFC 5925 is to replace it), but what BGP speakers use.
 */
import { md5 } from "@noble/hashes/legacy.js";
import * as abi from "../../assembly/abi.ts";
import { parsePrefix } from "../base/address.ts";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { IpStack } from "../ip/stack.ts";

/** Linux's TCP_MD5SIG_MAXKEYLEN. */
export const MOST_SECRET_BYTES = 80;
/** NOP NOP and the option: what a signature takes of a segment's options. */
export const SIGNATURE_WORDS = 5;
export const SIGNATURE_BYTES = 4 * SIGNATURE_WORDS;
const DIGEST_BYTES = 16;
const HEADER_BYTES = 20;
const CHECKSUM = 16;
const TCP = 6;
/** NOP NOP, kind 19, 18 bytes, in a word of little-endian memory. */
const HEAD = 0x12130101;
const OPTIONS = abi.OUT_OPTIONS / 4;

/** Peers whose segments are signed, and with what. */
export interface Md5Key {
  readonly address: IpAddress;
  /** Bits of the address that count, of 128: an IPv4 prefix is 96 longer than it is written. */
  readonly bits: number;
  /** 1 to 80 bytes. */
  readonly secret: Uint8Array;
}

/**
 * A key for `peer`, "192.0.2.1" or "2001:db8::/32": for `md5Keys` of `connect` and `listen`. Throws EINVAL for an address
 * that is none and for a secret that is empty or longer than 80 bytes (in UTF-8).
 */
export function md5Key(peer: string, secret: string | Uint8Array): Md5Key {
  const bytes = typeof secret === "string" ? new TextEncoder().encode(secret) : secret.slice();
  if (bytes.length === 0 || bytes.length > MOST_SECRET_BYTES)
    throw new LoomError("EINVAL", `a secret of ${bytes.length} bytes; expected 1 to ${MOST_SECRET_BYTES}`);
  if (!peer.includes("/")) return { address: IpAddress.parse(peer), bits: 128, secret: bytes };
  const { length } = parsePrefix(peer);
  const address = IpAddress.parse(peer.slice(0, peer.indexOf("/")));
  return { address, bits: address.family === 4 ? 96 + length : length, secret: bytes };
}

/** Segments dropped because their signature was missing, not agreed on, or wrong. */
export interface Md5Counters {
  md5_not_found: number;
  md5_unexpected: number;
  md5_failures: number;
}

function covers({ address, bits }: Md5Key, peer: IpAddress): boolean {
  const own = [address.a, address.b, address.c, address.d];
  const other = [peer.a, peer.b, peer.c, peer.d];
  return own.every((word, i) => {
    const length = Math.min(Math.max(bits - 32 * i, 0), 32);
    return length === 0 || (word ^ other[i]) >>> (32 - length) === 0;
  });
}

/** The secret for a peer, by the longest prefix; undefined when its segments are not signed. */
export function secretFor(keys: readonly Md5Key[], peer: IpAddress): Uint8Array | undefined {
  let best: Md5Key | undefined;
  for (const key of keys) if (covers(key, peer) && (!best || key.bits > best.bits)) best = key;
  return best?.secret;
}

/** Signs the segment in the stack's record; its options end with the words that were kept free. */
export function sign(stack: IpStack, secret: Uint8Array): void {
  const { out } = stack;
  const { u8 } = stack.engine.memory;
  const words = out[abi.OUT_OPTION_BYTES / 4] >>> 2;
  const pieces = out[abi.OUT_PIECES / 4];
  let length = 0;
  for (let i = 0; i < pieces; i++) length += out[abi.OUT_PIECE / 4 + 3 * i + 1];
  const hash = begin(out, HEADER_BYTES + 4 * words + length);
  hash.update(headerOf(out, words));
  for (let i = 0; i < pieces; i++) {
    const at = out[abi.OUT_PIECE / 4 + 3 * i] >>> 0;
    hash.update(u8.subarray(at, at + out[abi.OUT_PIECE / 4 + 3 * i + 1]));
  }
  const at = OPTIONS + words - SIGNATURE_WORDS;
  out[at] = HEAD;
  new Uint8Array(out.buffer, out.byteOffset + 4 * (at + 1), DIGEST_BYTES).set(hash.update(secret).digest());
}

const header = new Uint8Array(HEADER_BYTES);
const headerView = new DataView(header.buffer);

/** The header as it will stand there, its checksum zero. */
function headerOf(out: Int32Array, optionWords: number): Uint8Array {
  headerView.setUint16(0, out[abi.SEG_SOURCE_PORT / 4]);
  headerView.setUint16(2, out[abi.SEG_DESTINATION_PORT / 4]);
  headerView.setInt32(4, out[abi.OUT_SEQUENCE / 4]);
  headerView.setInt32(8, out[abi.OUT_ACKNOWLEDGEMENT / 4]);
  headerView.setUint16(12, ((5 + optionWords) << 12) | (out[abi.OUT_FLAGS / 4] & 0x1ff));
  headerView.setUint16(14, out[abi.OUT_WINDOW / 4]);
  headerView.setUint32(16, out[abi.OUT_URGENT / 4] & 0xffff);
  return header;
}

/** The digest over the pseudo-header: addresses, protocol, and the segment's length with its header. */
function begin(record: Int32Array, length: number): ReturnType<typeof md5.create> {
  const source = IpAddress.read(record, abi.SEG_SOURCE / 4);
  const is4 = source.family === 4;
  const tail = new Uint8Array(is4 ? 4 : 8);
  const view = new DataView(tail.buffer);
  // RFC 9293 §3.1 has 16 bits of length, RFC 8200 §8.1 has 32, and the protocol behind them.
  if (is4) view.setUint32(0, (TCP << 16) | length);
  else {
    view.setUint32(0, length);
    view.setUint32(4, TCP);
  }
  const destination = IpAddress.read(record, abi.SEG_DESTINATION / 4);
  return md5.create().update(source.bytes()).update(destination.bytes()).update(tail);
}

/**
 * May the segment in hand be believed? `at`: where its digest stands in memory, 0 without one. A signature that is missing,
 * wrong or not agreed on is counted, as Linux counts it.
 */
export function isGenuine(stack: IpStack, id: number, secret: Uint8Array | undefined, at: number, counters: Md5Counters): boolean {
  if (!secret) {
    if (at === 0) return true;
    counters.md5_unexpected++;
    return false;
  }
  if (at === 0) {
    counters.md5_not_found++;
    return false;
  }
  if (matches(stack, id, secret, at)) return true;
  counters.md5_failures++;
  return false;
}

function matches(stack: IpStack, id: number, secret: Uint8Array, at: number): boolean {
  const { words } = stack;
  const { u8 } = stack.engine.memory;
  const start = words[abi.SEG_OPTIONS / 4] - HEADER_BYTES;
  const length = words[abi.SEG_PAYLOAD_LENGTH / 4];
  header.set(u8.subarray(start, start + HEADER_BYTES));
  headerView.setUint16(CHECKSUM, 0);
  const hash = begin(words, HEADER_BYTES + words[abi.SEG_OPTIONS_LENGTH / 4] + length).update(header);
  addPayload(stack, id, words[abi.SEG_PAYLOAD / 4], length, hash);
  const digest = hash.update(secret).digest();
  let difference = 0;
  for (let i = 0; i < DIGEST_BYTES; i++) difference |= digest[i] ^ u8[at + i];
  return difference === 0;
}

/** `length` bytes from `offset` of a packet's chain, where they lie. */
function addPayload(stack: IpStack, id: number, offset: number, length: number, hash: ReturnType<typeof md5.create>): void {
  const { memory } = stack.engine;
  for (let next = id, left = length; left > 0 && next !== abi.NONE; ) {
    const d = memory.descriptor(next);
    const have = memory.getU32(d + abi.DESC_LENGTH);
    next = memory.getU32(d + abi.DESC_NEXT);
    const n = Math.min(Math.max(have - offset, 0), left);
    const at = memory.getU32(d + abi.DESC_DATA) + offset;
    if (n > 0) hash.update(memory.u8.subarray(at, at + n));
    offset = Math.max(offset - have, 0);
    left -= n;
  }
}
