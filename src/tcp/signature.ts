/**
 * TCP MD5 signatures (RFC 2385), which routing daemons use between peers that share a secret: a digest in every segment
 * over its addresses, header, data and the secret. Old and weak (RFC 5925 is to replace it), but what BGP speakers use.
 */
import { md5 } from "@noble/hashes/legacy.js";
import * as abi from "../../assembly/abi.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { IpStack } from "../ip/stack.ts";
import { covers, type PeerPrefix, peerPrefix, secretBytes } from "./peer-keys.ts";
import {
  addPayloadReceived,
  addPayloadToSend,
  addPseudoHeader,
  HEADER_BYTES,
  headerReceived,
  headerToSend,
  lengthToSend,
} from "./signed-bytes.ts";

/** NOP NOP and the option: what a signature takes of a segment's options. */
export const SIGNATURE_WORDS = 5;
export const SIGNATURE_BYTES = 4 * SIGNATURE_WORDS;
const DIGEST_BYTES = 16;
/** NOP NOP, kind 19, 18 bytes, in a word of little-endian memory. */
const HEAD = 0x12130101;
const OPTIONS = abi.OUT_OPTIONS / 4;

/** Peers whose segments are signed, and with what. */
export interface Md5Key extends PeerPrefix {
  /** 1 to 80 bytes. */
  readonly secret: Uint8Array;
}

/**
 * A key for `peer`, "192.0.2.1" or "2001:db8::/32": for `md5Keys` of `connect` and `listen`. Throws EINVAL for an address
 * that is none and for a secret that is empty or longer than 80 bytes (in UTF-8).
 */
export function md5Key(peer: string, secret: string | Uint8Array): Md5Key {
  return { ...peerPrefix(peer), secret: secretBytes(secret) };
}

/** Segments dropped because their signature was missing, not agreed on, or wrong. */
export interface Md5Counters {
  md5_not_found: number;
  md5_unexpected: number;
  md5_failures: number;
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
  const words = out[abi.OUT_OPTION_BYTES / 4] >>> 2;
  const hash = md5.create();
  addPseudoHeader(out, HEADER_BYTES + 4 * words + lengthToSend(out), hash);
  hash.update(headerToSend(out));
  addPayloadToSend(stack, hash);
  const at = OPTIONS + words - SIGNATURE_WORDS;
  out[at] = HEAD;
  new Uint8Array(out.buffer, out.byteOffset + 4 * (at + 1), DIGEST_BYTES).set(hash.update(secret).digest());
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
  const hash = md5.create();
  addPseudoHeader(words, HEADER_BYTES + words[abi.SEG_OPTIONS_LENGTH / 4] + words[abi.SEG_PAYLOAD_LENGTH / 4], hash);
  hash.update(headerReceived(stack));
  addPayloadReceived(stack, id, hash);
  const digest = hash.update(secret).digest();
  let difference = 0;
  for (let i = 0; i < DIGEST_BYTES; i++) difference |= digest[i] ^ u8[at + i];
  return difference === 0;
}
