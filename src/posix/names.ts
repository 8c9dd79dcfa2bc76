/**
 * Socket addresses: objects for programs in JavaScript, and the bytes of struct sockaddr_in, sockaddr_in6 and
 * sockaddr_un (RFC 3493 §3.3; unix(7)) for programs that were ported.
 */
import { IpAddress } from "../base/ip-address.ts";
import { ANY4 } from "../ip/wildcard.ts";
import { AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC } from "./constants.ts";
import { EAFNOSUPPORT, EINVAL } from "./errno.ts";

/** "192.0.2.1" with AF_INET, "2001:db8::1" or "::ffff:192.0.2.1" with AF_INET6. */
export interface InetName {
  readonly family: number;
  readonly address: string;
  readonly port: number;
  /** Interface of a link-local address: its index, from 1. */
  readonly scopeId?: number;
}

/** A path; an abstract name begins with "\0"; "" for a socket without a name. */
export interface UnixName {
  readonly family: number;
  readonly path: string;
}

export type SocketName = InetName | UnixName;

/** Where a call puts a result that is not a number. */
export interface Slot<T> {
  value?: T;
}

/** The address in a name for a socket of `domain`, or a negative error. */
export function addressOf(name: SocketName, domain: number): IpAddress | number {
  // A sockaddr_in is too short to be a sockaddr_in6: Linux sees that first.
  if (name.family !== domain) return domain === AF_INET6 && name.family === AF_INET ? -EINVAL : -EAFNOSUPPORT;
  if (!("address" in name) || !(Number.isInteger(name.port) && name.port >= 0 && name.port <= 65_535)) return -EINVAL;
  let address: IpAddress;
  try {
    address = IpAddress.parse(name.address);
  } catch {
    return -EINVAL;
  }
  return domain === AF_INET && address.family !== 4 ? -EINVAL : address;
}

/** An address as a socket of `domain` shows it. */
export function nameOf(address: IpAddress, port: number, domain: number, scopeId?: number): InetName {
  if (domain === AF_INET) return { family: AF_INET, address: String(address.isUnspecified ? ANY4 : address), port };
  const text = address.equals(ANY4) ? "::" : address.family === 4 ? `::ffff:${address}` : String(address);
  return scopeId === undefined ? { family: AF_INET6, address: text, port } : { family: AF_INET6, address: text, port, scopeId };
}

const SIZE4 = 16;
const SIZE6 = 28;
/** Bytes of a path in struct sockaddr_un. */
export const UNIX_PATH_MAX = 108;

/** The bytes of a struct sockaddr; addresses and ports in network order, the rest little-endian. */
export function encodeName(name: SocketName): Uint8Array {
  if ("path" in name) return encodeUnix(name.path);
  const is4 = name.family === AF_INET;
  const out = new Uint8Array(is4 ? SIZE4 : SIZE6);
  const view = new DataView(out.buffer);
  view.setUint16(0, name.family, true);
  view.setUint16(2, name.port);
  const address = IpAddress.parse(name.address);
  if (is4) out.set(address.bytes(), 4);
  else {
    for (const [i, word] of [address.a, address.b, address.c, address.d].entries()) view.setInt32(8 + 4 * i, word);
    view.setUint32(24, name.scopeId ?? 0, true);
  }
  return out;
}

function encodeUnix(path: string): Uint8Array {
  const text = new TextEncoder().encode(path);
  // A path is ended by a zero, an abstract name by the length.
  const out = new Uint8Array(2 + text.length + (path === "" || path.startsWith("\0") ? 0 : 1));
  out[0] = AF_UNIX;
  out.set(text, 2);
  return out;
}

/** The name in a struct sockaddr, or a negative error. */
export function decodeName(bytes: Uint8Array): SocketName | number {
  if (bytes.length < 2) return -EINVAL;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const family = view.getUint16(0, true);
  if (family === AF_UNSPEC) return { family, address: "0.0.0.0", port: 0 };
  if (family === AF_UNIX) return decodeUnix(bytes);
  if (family !== AF_INET && family !== AF_INET6) return -EAFNOSUPPORT;
  if (bytes.length < (family === AF_INET ? SIZE4 : SIZE6)) return -EINVAL;
  const port = view.getUint16(2);
  const address = IpAddress.fromBytes(family === AF_INET ? bytes.subarray(4, 8) : bytes.subarray(8, 24));
  const scopeId = family === AF_INET6 ? view.getUint32(24, true) || undefined : undefined;
  return nameOf(address, port, family, scopeId);
}

function decodeUnix(bytes: Uint8Array): UnixName | number {
  if (bytes.length > 2 + UNIX_PATH_MAX) return -EINVAL;
  const text = bytes.subarray(2);
  const end = text[0] === 0 || text.length === 0 ? text.length : text.indexOf(0);
  return { family: AF_UNIX, path: new TextDecoder().decode(end < 0 ? text : text.subarray(0, end)) };
}
