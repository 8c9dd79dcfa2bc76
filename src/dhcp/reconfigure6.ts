/**
 * Reconfigure of DHCPv6 (RFC 8415 §18.2.11, §18.3.11) and the key that says it is the server's own (§20.4): the server shows
 * the key once, in a reply, and signs with it from then on.
 */
import { hmacMd5 } from "../base/md5.ts";
import { type Auth6, type Dhcp6Message, encodeDhcp6, OPTION6, TYPE6 } from "./message6.ts";

/** RKAP of §20.4, HMAC-MD5, a counter that rises. */
const PROTOCOL = 3;
const ALGORITHM = 1;
const COUNTER = 0;
const SHOWS_KEY = 1;
const DIGEST = 2;
const KEY_BYTES = 16;
/** In front of the authentication's own information: protocol, algorithm, method, counter; then its type. */
const HEAD = 11;

/** What the client may be told to send. */
export type ReconfigureType = typeof TYPE6.RENEW | typeof TYPE6.REBIND | typeof TYPE6.INFORMATION_REQUEST;

/** The option by which a server shows a client its key. */
export function keyOption(key: Uint8Array, replay: bigint): Auth6 {
  return { protocol: PROTOCOL, algorithm: ALGORITHM, method: COUNTER, replay, info: Uint8Array.of(SHOWS_KEY, ...key) };
}

/** The key that a reply shows. */
export function shownKey(auth: Auth6 | undefined): Uint8Array | undefined {
  return isOurs(auth) && auth.info[0] === SHOWS_KEY && auth.info.length === 1 + KEY_BYTES ? auth.info.slice(1) : undefined;
}

function isOurs(auth: Auth6 | undefined): auth is Auth6 {
  return auth !== undefined && auth.protocol === PROTOCOL && auth.algorithm === ALGORITHM && auth.method === COUNTER;
}

/** A Reconfigure message with its digest. */
export function encodeReconfigure(
  ends: { clientId: Uint8Array; serverId: Uint8Array },
  type: ReconfigureType,
  key: Uint8Array,
  replay: bigint,
): Uint8Array {
  const info = new Uint8Array(1 + KEY_BYTES);
  info[0] = DIGEST;
  const auth = { protocol: PROTOCOL, algorithm: ALGORITHM, method: COUNTER, replay, info };
  const bytes = encodeDhcp6({ type: TYPE6.RECONFIGURE, xid: 0, ...ends, reconfigure: type, auth });
  bytes.set(hmacMd5(key, bytes), digestAt(bytes));
  return bytes;
}

/** Where the digest of a message lies that has a good authentication option. */
function digestAt(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 4; at + 4 <= bytes.length; at += 4 + view.getUint16(at + 2)) {
    if (view.getUint16(at) === OPTION6.auth) return at + 4 + HEAD + 1;
  }
  return bytes.length;
}

/** Whether a Reconfigure message was signed with this key, later than `last` (§20.4.3). */
export function isGenuine(message: Dhcp6Message, bytes: Uint8Array, key: Uint8Array, last: bigint): boolean {
  const { auth } = message;
  if (!isOurs(auth) || auth.info.length !== 1 + KEY_BYTES || auth.info[0] !== DIGEST || auth.replay <= last) return false;
  const blank = bytes.slice();
  const at = digestAt(blank);
  if (at + KEY_BYTES > blank.length) return false;
  const digest = blank.slice(at, at + KEY_BYTES);
  blank.fill(0, at, at + KEY_BYTES);
  const expected = hmacMd5(key, blank);
  return expected.reduce((differs, byte, i) => differs | (byte ^ digest[i]), 0) === 0;
}
