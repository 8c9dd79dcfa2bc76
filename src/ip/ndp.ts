/** Neighbour solicitations and advertisements as messages (RFC 4861 §4.3, §4.4). */
import { IpAddress } from "../base/ip-address.ts";

export const SOLICITATION = 135;
export const ADVERTISEMENT = 136;
const SOURCE_MAC = 1;
const TARGET_MAC = 2;
/** RFC 3971 §5.3.2, for RFC 7527. */
const NONCE = 14;

export interface NeighbourMessage {
  readonly type: typeof SOLICITATION | typeof ADVERTISEMENT;
  readonly target: IpAddress;
  /** Link-layer address of the sender (solicitation) or of the target (advertisement). */
  readonly mac: Uint8Array | undefined;
  readonly nonce: Uint8Array | undefined;
  readonly router: boolean;
  readonly solicited: boolean;
  readonly override: boolean;
}

/** Bytes of an ICMPv6 message from its type on; undefined when RFC 4861 §7.1 says to discard it. */
export function parseNeighbour(bytes: Uint8Array): NeighbourMessage | undefined {
  const type = bytes[0];
  if ((type !== SOLICITATION && type !== ADVERTISEMENT) || bytes[1] !== 0 || bytes.length < 24) return undefined;
  const target = IpAddress.from6(bytes.subarray(8, 24));
  if (!target || target.isMulticast) return undefined;
  let mac: Uint8Array | undefined;
  let nonce: Uint8Array | undefined;
  for (let at = 24; at < bytes.length; ) {
    const length = bytes[at + 1] * 8;
    if (length === 0 || at + length > bytes.length) return undefined;
    if (bytes[at] === (type === SOLICITATION ? SOURCE_MAC : TARGET_MAC) && length === 8) mac = bytes.slice(at + 2, at + 8);
    if (bytes[at] === NONCE) nonce = bytes.slice(at + 2, at + length);
    at += length;
  }
  const flags = type === ADVERTISEMENT ? bytes[4] : 0;
  return { type, target, mac, nonce, router: (flags & 0x80) !== 0, solicited: (flags & 0x40) !== 0, override: (flags & 0x20) !== 0 };
}

/** Data behind the first eight bytes of a message: target, the option with a MAC, the one with a nonce of six bytes. */
export function neighbourData(type: NeighbourMessage["type"], target: IpAddress, mac?: Uint8Array, nonce?: Uint8Array): Uint8Array {
  const out = [...target.bytes()];
  if (mac) out.push(type === SOLICITATION ? SOURCE_MAC : TARGET_MAC, 1, ...mac);
  if (nonce) out.push(NONCE, 1, ...nonce);
  return Uint8Array.from(out);
}
