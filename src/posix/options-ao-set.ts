/**
 * Setting TCP_AO_ADD_KEY, TCP_AO_DEL_KEY and TCP_AO_INFO: keys of a socket for the TCP Authentication Option (RFC 5925), as bytes
 * of Linux's struct tcp_ao_add, tcp_ao_del and tcp_ao_info_opt. Algorithms are hmac(sha1) and cmac(aes128), codes of 96 bits.
 */
import type { IpAddress } from "../base/ip-address.ts";
import type { AoAlgorithm, AoKey } from "../tcp/ao-key.ts";
import { covers, MOST_SECRET_BYTES } from "../tcp/peer-keys.ts";
import { CLOSED } from "../tcp/states.ts";
import { E2BIG, EBUSY, EEXIST, EINVAL, EISCONN, EKEYREJECTED, EMSGSIZE, ENOENT } from "./errno.ts";
import { addressOf, decodeName } from "./names.ts";
import type { TcpSocket } from "./tcp-socket.ts";

const ADD = {
  size: 288,
  name: 128,
  flags: 196,
  padding: 200,
  prefix: 202,
  sendId: 203,
  recvId: 204,
  mac: 205,
  keyFlags: 206,
  length: 207,
  key: 208,
};
const DEL = { size: 144, interface: 128, flags: 132, padding: 136, prefix: 138, sendId: 139, recvId: 140, current: 141, next: 142 };
export const INFO = { size: 48, flags: 0, padding: 4, current: 6, next: 7, counters: 8 };
const INTERFACE = 192;
export const SET_CURRENT = 1;
export const SET_NEXT = 2;
export const REQUIRED = 4;
const SET_COUNTERS = 8;
export const ACCEPT_ICMPS = 16;
export const EXCLUDES_OPTIONS = 2;
const KEY_FLAGS = 3;
export const MAC_BYTES = 12;
/** The longest code that leaves a SYN room for its other options. */
const MOST_MAC_BYTES = 16;
const NAMES: Readonly<Record<string, AoAlgorithm>> = {
  "hmac(sha1)": "HMAC-SHA-1-96",
  "cmac(aes128)": "AES-128-CMAC-96",
  "cmac(aes)": "AES-128-CMAC-96",
};

export const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** A struct may be longer than what is known of it, if the rest is zeros (copy_struct_from_sockptr). */
function refusal(bytes: Uint8Array, size: number): number {
  if (bytes.length < size) return -EINVAL;
  return bytes.subarray(size).some((byte) => byte !== 0) ? -E2BIG : 0;
}

interface Peer {
  address: IpAddress;
  bits: number;
}

/** The address and prefix that begin a struct; a negative error for what Linux does not take. */
export function peerOf(socket: TcpSocket, bytes: Uint8Array, prefix: number): Peer | number {
  const name = decodeName(bytes.subarray(0, 128));
  if (typeof name === "number" || !("port" in name) || name.port !== 0) return -EINVAL;
  const address = addressOf(name, socket.domain);
  if (typeof address === "number") return -EINVAL;
  const most = address.family === 4 ? 32 : 128;
  if (prefix === 0) return address.isUnspecified ? { address, bits: address.family === 4 ? 96 : 0 } : -EINVAL;
  if (prefix > most || address.isUnspecified) return -EINVAL;
  const bits = 128 - most + prefix;
  const words = [address.a, address.b, address.c, address.d];
  // Bits behind the prefix must be zero.
  if (words.some((word, i) => bits < 32 * (i + 1) && word << Math.max(bits - 32 * i, 0) !== 0)) return -EINVAL;
  const { peerAddress } = socket;
  return peerAddress && !covers({ address, bits }, peerAddress) ? -EINVAL : { address, bits };
}

export const isFor = (key: AoKey, { address, bits }: Peer) => key.bits === bits && key.address.equals(address);
/** Do the two stand for one peer, whoever that is? */
const overlap = (key: AoKey, peer: Peer) => covers({ ...key, bits: Math.min(key.bits, peer.bits) }, peer.address);

const isOpen = (socket: TcpSocket) => socket.state !== CLOSED && socket.tcb !== undefined;

function without(keys: readonly AoKey[], which: "isCurrent" | "isNext", isSet: boolean): readonly AoKey[] {
  return isSet ? keys.map((key) => ({ ...key, [which]: false })) : keys;
}

export function addKey(socket: TcpSocket, bytes: Uint8Array): number {
  const wrong = refusal(bytes, ADD.size);
  if (wrong < 0) return wrong;
  const view = viewOf(bytes);
  const flags = view.getUint32(ADD.flags, true);
  const length = bytes[ADD.length];
  if (length > MOST_SECRET_BYTES || flags > (SET_CURRENT | SET_NEXT) || view.getUint16(ADD.padding, true) !== 0) return -EINVAL;
  const peer = peerOf(socket, bytes, bytes[ADD.prefix]);
  if (typeof peer === "number") return peer;
  const keyFlags = bytes[ADD.keyFlags];
  // Interfaces tell keys apart only where there are VRFs, which this host has none of.
  if (keyFlags & ~KEY_FLAGS || (flags !== 0 && socket.isListening) || view.getInt32(INTERFACE, true) !== 0) return -EINVAL;
  const { options, tcb } = socket;
  if (options.md5Keys.some((key) => covers({ ...key, bits: Math.min(key.bits, peer.bits) }, peer.address))) return -EKEYREJECTED;
  if (isOpen(socket) && !tcb?.ao) return -EISCONN;
  const [sendId, recvId] = [bytes[ADD.sendId], bytes[ADD.recvId]];
  if (options.aoKeys.some((key) => overlap(key, peer) && (key.sendId === sendId || key.recvId === recvId))) return -EEXIST;
  const text = new TextDecoder().decode(bytes.subarray(ADD.name, INTERFACE)).replace(/\0.*$/s, "");
  const algorithm = Object.hasOwn(NAMES, text) ? NAMES[text] : undefined;
  if (!algorithm) return -ENOENT;
  if (bytes[ADD.mac] > MOST_MAC_BYTES) return -EMSGSIZE;
  if (bytes[ADD.mac] !== 0 && bytes[ADD.mac] !== MAC_BYTES) return -EINVAL;
  if (text === "cmac(aes)" && length !== 16) return -EINVAL;
  const key: AoKey = {
    ...peer,
    sendId,
    recvId,
    algorithm,
    coversOptions: (keyFlags & EXCLUDES_OPTIONS) === 0,
    secret: bytes.slice(ADD.key, ADD.key + length),
    isCurrent: (flags & SET_CURRENT) !== 0,
    isNext: (flags & SET_NEXT) !== 0,
  };
  const others = without(without(options.aoKeys, "isCurrent", key.isCurrent === true), "isNext", key.isNext === true);
  options.aoKeys = [key, ...others];
  if (isOpen(socket)) tcb?.ao?.add(key);
  return 0;
}

export function deleteKey(socket: TcpSocket, bytes: Uint8Array): number {
  const wrong = refusal(bytes, DEL.size);
  if (wrong < 0) return wrong;
  const view = viewOf(bytes);
  const flags = view.getUint32(DEL.flags, true);
  if (flags & ~7 || view.getUint16(DEL.padding, true) !== 0 || (flags & 3 && socket.isListening)) return -EINVAL;
  const { options, tcb } = socket;
  if (options.aoKeys.length === 0) return -ENOENT;
  const chosen = choose(socket, flags, bytes[DEL.current], bytes[DEL.next]);
  if (typeof chosen === "number") return chosen;
  const peer = peerOf(socket, bytes, bytes[DEL.prefix]);
  if (typeof peer === "number") return peer;
  const [sendId, recvId] = [bytes[DEL.sendId], bytes[DEL.recvId]];
  const gone = options.aoKeys.find((key) => key.sendId === sendId && key.recvId === recvId && isFor(key, peer));
  if (!gone || gone === chosen.current || gone === chosen.next) return -ENOENT;
  apply(socket, chosen);
  const ao = isOpen(socket) ? tcb?.ao : undefined;
  const isUsed = ao ? sameKey(ao.current.key, gone) || sameKey(ao.next.key, gone) : inUse(options.aoKeys, gone);
  if (isUsed) return -EBUSY;
  options.aoKeys = options.aoKeys.filter((key) => !sameKey(key, gone));
  if (ao)
    ao.keys.splice(
      ao.keys.findIndex(({ key }) => sameKey(key, gone)),
      1,
    );
  return 0;
}

const sameKey = (a: AoKey, b: AoKey) => a.sendId === b.sendId && a.recvId === b.recvId && isFor(a, b);
const inUse = (keys: readonly AoKey[], key: AoKey) => keys.some((each) => sameKey(each, key) && (each.isCurrent || each.isNext));

interface Choice {
  current: AoKey | undefined;
  next: AoKey | undefined;
}

/** The keys that set_current and set_rnext name. */
function choose({ options }: TcpSocket, flags: number, current: number, next: number): Choice | number {
  const chosen: Choice = { current: undefined, next: undefined };
  if (flags & SET_CURRENT) chosen.current = options.aoKeys.find((key) => key.sendId === current);
  if (flags & SET_NEXT) chosen.next = options.aoKeys.find((key) => key.recvId === next);
  return (flags & SET_CURRENT && !chosen.current) || (flags & SET_NEXT && !chosen.next) ? -ENOENT : chosen;
}

function apply(socket: TcpSocket, { current, next }: Choice): void {
  const { options, tcb } = socket;
  const ao = isOpen(socket) ? tcb?.ao : undefined;
  if (current) {
    options.aoKeys = options.aoKeys.map((key) => ({ ...key, isCurrent: sameKey(key, current) }));
    if (ao) ao.current = ao.sending(current.sendId) ?? ao.current;
  }
  if (next) {
    options.aoKeys = options.aoKeys.map((key) => ({ ...key, isNext: sameKey(key, next) }));
    if (ao) ao.next = ao.receiving(next.recvId) ?? ao.next;
  }
}

export const COUNTERS = ["ao_good", "ao_bad", "ao_key_not_found", "ao_required", "ao_dropped_icmps"] as const;

export function setInfo(socket: TcpSocket, bytes: Uint8Array): number {
  const wrong = refusal(bytes, INFO.size);
  if (wrong < 0) return wrong;
  const view = viewOf(bytes);
  const flags = view.getUint32(INFO.flags, true);
  if ((flags & 3 && socket.isListening) || flags & ~31 || view.getUint16(INFO.padding, true) !== 0) return -EINVAL;
  const { options, tcb } = socket;
  if (isOpen(socket) && !tcb?.ao) return -EISCONN;
  if (flags & REQUIRED && options.md5Keys.length > 0) return -EKEYREJECTED;
  const chosen = choose(socket, flags, bytes[INFO.current], bytes[INFO.next]);
  if (typeof chosen === "number") return chosen;
  apply(socket, chosen);
  options.aoRequired = (flags & REQUIRED) !== 0;
  options.aoAcceptIcmps = (flags & ACCEPT_ICMPS) !== 0;
  if (!tcb?.ao) return 0;
  tcb.ao.acceptIcmps = options.aoAcceptIcmps;
  if (flags & SET_COUNTERS)
    for (const [i, name] of COUNTERS.entries()) tcb.ao.counters[name] = Number(view.getBigUint64(INFO.counters + 8 * i, true));
  return 0;
}
