/** Keys of peers, by address prefix: what MD5 signatures and TCP-AO have in common. */
import { parsePrefix } from "../base/address.ts";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";

/** Linux's TCP_MD5SIG_MAXKEYLEN and TCP_AO_MAXKEYLEN. */
export const MOST_SECRET_BYTES = 80;

/** Which peers a key is for. */
export interface PeerPrefix {
  readonly address: IpAddress;
  /** Bits of the address that count, of 128: an IPv4 prefix is 96 longer than it is written. */
  readonly bits: number;
}

/** "192.0.2.1" or "2001:db8::/32". Throws EINVAL for what is neither. */
export function peerPrefix(peer: string): PeerPrefix {
  if (!peer.includes("/")) return { address: IpAddress.parse(peer), bits: 128 };
  const { length } = parsePrefix(peer);
  const address = IpAddress.parse(peer.slice(0, peer.indexOf("/")));
  return { address, bits: address.family === 4 ? 96 + length : length };
}

/** The bytes of a secret, of a text in UTF-8. Throws EINVAL when they are none or more than 80. */
export function secretBytes(secret: string | Uint8Array): Uint8Array {
  const bytes = typeof secret === "string" ? new TextEncoder().encode(secret) : secret.slice();
  if (bytes.length === 0 || bytes.length > MOST_SECRET_BYTES)
    throw new LoomError("EINVAL", `a secret of ${bytes.length} bytes; expected 1 to ${MOST_SECRET_BYTES}`);
  return bytes;
}

export function covers({ address, bits }: PeerPrefix, peer: IpAddress): boolean {
  const own = [address.a, address.b, address.c, address.d];
  const other = [peer.a, peer.b, peer.c, peer.d];
  return own.every((word, i) => {
    const length = Math.min(Math.max(bits - 32 * i, 0), 32);
    return length === 0 || (word ^ other[i]) >>> (32 - length) === 0;
  });
}
