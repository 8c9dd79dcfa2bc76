/** TCP_MD5SIG and TCP_MD5SIG_EXT: keys of a socket, as bytes of struct tcp_md5sig (tcp(7); RFC 2385). */
import { covers, MOST_SECRET_BYTES } from "../tcp/peer-keys.ts";
import { type Md5Key, secretFor } from "../tcp/signature.ts";
import { CLOSED } from "../tcp/states.ts";
import { EINVAL, EKEYREJECTED, ENOENT } from "./errno.ts";
import { addressOf, decodeName } from "./names.ts";
import type { TcpSocket } from "./tcp-socket.ts";

/** struct tcp_md5sig: sockaddr_storage, then flags, prefix length, key length, interface, key. */
const SIZE = 216;
const FLAGS = 128;
const PREFIX = 129;
const KEY_LENGTH = 130;
const INTERFACE = 132;
const KEY = 136;
const FLAG_PREFIX = 1;
const FLAG_INTERFACE = 2;

/** Sets the key of a peer, or takes it away when its length is 0; it holds from the next segment on. 0, or a negative error. */
export function setMd5Key(socket: TcpSocket, bytes: Uint8Array, isExtended: boolean): number {
  if (bytes.length < SIZE) return -EINVAL;
  const view = new DataView(bytes.buffer, bytes.byteOffset, SIZE);
  const name = decodeName(bytes.subarray(0, FLAGS));
  const address = typeof name === "number" || !("address" in name) ? -EINVAL : addressOf(name, socket.domain);
  if (typeof address === "number") return -EINVAL;
  const flags = isExtended ? bytes[FLAGS] : 0;
  const most = address.family === 4 ? 32 : 128;
  const length = flags & FLAG_PREFIX ? bytes[PREFIX] : most;
  // Interfaces tell keys apart only where there are VRFs, which this host has none of.
  if (length > most || (flags & FLAG_INTERFACE && view.getInt32(INTERFACE, true) !== 0)) return -EINVAL;
  const size = view.getUint16(KEY_LENGTH, true);
  if (size > MOST_SECRET_BYTES) return -EINVAL;
  const bits = 128 - most + length;
  const { options, tcb } = socket;
  // A peer has keys of one kind (RFC 5925 §4).
  if (size > 0 && options.aoKeys.some((key) => covers({ ...key, bits: Math.min(key.bits, bits) }, address))) return -EKEYREJECTED;
  const others = options.md5Keys.filter((key) => key.bits !== bits || !key.address.equals(address));
  if (size === 0 && others.length === options.md5Keys.length) return -ENOENT;
  const key: Md5Key = { address, bits, secret: bytes.slice(KEY, KEY + size) };
  options.md5Keys = size === 0 ? others : [...others, key];
  if (tcb && tcb.state !== CLOSED) tcb.md5Secret = secretFor(options.md5Keys, tcb.remote);
  return 0;
}
