/**
 * Keys of the TCP Authentication Option (RFC 5925): master key tuples, the traffic keys that are derived of them, and the
 * two algorithms that everybody has (RFC 5926). A traffic key is made once for a connection and direction.
 */
import { cmac } from "@noble/ciphers/aes.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha1 } from "@noble/hashes/legacy.js";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { covers, type PeerPrefix, peerPrefix, secretBytes } from "./peer-keys.ts";

/** Names of RFC 5926 §2.2. */
export type AoAlgorithm = "HMAC-SHA-1-96" | "AES-128-CMAC-96";

/** A master key tuple (RFC 5925 §3.1). */
export interface AoKey extends PeerPrefix {
  /** KeyID of segments that are sent with it, and of those that come with it; 0 to 255. */
  readonly sendId: number;
  readonly recvId: number;
  readonly algorithm: AoAlgorithm;
  /** Are TCP's options authenticated too, or may boxes on the way change them? */
  readonly coversOptions: boolean;
  /** 1 to 80 bytes. */
  readonly secret: Uint8Array;
  /** A connection that begins sends with it, or asks the peer to; else the first key for the peer is both. */
  readonly isCurrent?: boolean;
  readonly isNext?: boolean;
}

export interface AoKeyOptions {
  sendId: number;
  recvId: number;
  /** Default "HMAC-SHA-1-96". */
  algorithm?: AoAlgorithm;
  /** Default true. */
  coversOptions?: boolean;
}

/**
 * A key for `peer`, "192.0.2.1" or "2001:db8::/32": for `aoKeys` of `connect` and `listen`; of several the first is used
 * first. Throws EINVAL for an address, an identifier, an algorithm or a secret that is none.
 */
export function aoKey(peer: string, secret: string | Uint8Array, options: AoKeyOptions): AoKey {
  const { sendId, recvId, algorithm = "HMAC-SHA-1-96", coversOptions = true } = options;
  for (const id of [sendId, recvId])
    if (!(Number.isInteger(id) && id >= 0 && id <= 255)) throw new LoomError("EINVAL", `key identifier ${id}; expected 0 to 255`);
  if (!(algorithm in ALGORITHMS))
    throw new LoomError("EINVAL", `algorithm ${algorithm}; expected one of ${Object.keys(ALGORITHMS).join(", ")}`);
  return { ...peerPrefix(peer), sendId, recvId, algorithm, coversOptions, secret: secretBytes(secret) };
}

/** Those of a peer, in their order; of several with one identifier that with the longest prefix. */
export function keysFor(keys: readonly AoKey[], peer: IpAddress): readonly AoKey[] {
  if (keys.length === 0) return keys;
  const own = keys.filter((key) => covers(key, peer));
  const isBest = (key: AoKey) => own.every((other) => other.recvId !== key.recvId || other.bits <= key.bits);
  return own.filter(isBest);
}

/** A message authentication code in the making. */
export interface Mac {
  update(bytes: Uint8Array): Mac;
  digest(): Uint8Array;
}

/** One end of what a traffic key is for: its address, its port, its initial sequence number. */
export interface End {
  readonly address: IpAddress;
  readonly port: number;
  readonly isn: number;
}

const ALGORITHMS = {
  "HMAC-SHA-1-96": {
    keyBits: 160,
    create: (key: Uint8Array): Mac => hmac.create(sha1, key),
    master: (secret: Uint8Array): Uint8Array => secret,
  },
  "AES-128-CMAC-96": {
    keyBits: 128,
    create: (key: Uint8Array): Mac => cmac.create(key),
    // RFC 5926 §3.1.1.2: secrets of another length are made 128 bits first.
    master: (secret: Uint8Array): Uint8Array => (secret.length === 16 ? secret : cmac(secret, new Uint8Array(16))),
  },
} as const;

const LABEL = new TextEncoder().encode("TCP-AO");

/** RFC 5926 §3.1.1: the key of segments from `source` to `destination`, whose ISN is 0 for a SYN that begins a connection. */
export function trafficKey(key: AoKey, source: End, destination: End): Uint8Array {
  const { keyBits, create, master } = ALGORITHMS[key.algorithm];
  const tail = new Uint8Array(14);
  const view = new DataView(tail.buffer);
  view.setUint16(0, source.port);
  view.setUint16(2, destination.port);
  view.setInt32(4, source.isn);
  view.setInt32(8, destination.isn);
  view.setUint16(12, keyBits);
  return create(master(key.secret))
    .update(Uint8Array.of(1))
    .update(LABEL)
    .update(source.address.bytes())
    .update(destination.address.bytes())
    .update(tail)
    .digest();
}

/** The code of a segment, to be cut to 96 bits. */
export function beginMac(key: AoKey, traffic: Uint8Array): Mac {
  return ALGORITHMS[key.algorithm].create(traffic);
}
