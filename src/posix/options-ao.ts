/** TCP_AO_INFO and TCP_AO_GET_KEYS: what getsockopt tells of a socket's keys, as struct tcp_ao_info_opt and tcp_ao_getsockopt. */
import { LoomError } from "../base/errors.ts";
import type { AoKey } from "../tcp/ao-key.ts";
import { CLOSED } from "../tcp/states.ts";
import { TCP_AO_ADD_KEY, TCP_AO_DEL_KEY, TCP_AO_GET_KEYS, TCP_AO_INFO } from "./constants.ts";
import { encodeName } from "./names.ts";
import type { OptionTable } from "./options.ts";
import {
  ACCEPT_ICMPS,
  addKey,
  COUNTERS,
  deleteKey,
  EXCLUDES_OPTIONS,
  INFO,
  isFor,
  MAC_BYTES,
  peerOf,
  REQUIRED,
  SET_CURRENT,
  SET_NEXT,
  setInfo,
  viewOf,
} from "./options-ao-set.ts";
import type { TcpSocket } from "./tcp-socket.ts";

const GET = {
  size: 304,
  name: 128,
  key: 192,
  count: 272,
  flags: 276,
  sendId: 278,
  recvId: 279,
  prefix: 280,
  mac: 281,
  keyFlags: 282,
  length: 283,
  good: 288,
};
const IS_CURRENT = 1;
const IS_NEXT = 2;
const ALL = 4;

/** Keys now: those of the connection, or those that one would have. */
function keysOf({
  options,
  tcb,
  state,
}: TcpSocket): readonly { key: AoKey; good: number; bad: number; isCurrent: boolean; isNext: boolean }[] {
  const ao = state === CLOSED ? undefined : tcb?.ao;
  if (ao) return ao.keys.map((each) => ({ ...each, isCurrent: each === ao.current, isNext: each === ao.next }));
  return options.aoKeys.map((key) => ({ key, good: 0, bad: 0, isCurrent: key.isCurrent === true, isNext: key.isNext === true }));
}

function none(socket: TcpSocket): boolean {
  const { options, tcb } = socket;
  return options.aoKeys.length === 0 && !tcb?.ao && !options.aoRequired && !options.aoAcceptIcmps;
}

function getInfo(socket: TcpSocket): Uint8Array {
  if (none(socket)) throw new LoomError("ENOENT", "the socket has no keys");
  const out = new Uint8Array(INFO.size);
  const view = viewOf(out);
  const { options, tcb } = socket;
  const keys = keysOf(socket);
  const current = keys.find(({ isCurrent }) => isCurrent)?.key;
  const next = keys.find(({ isNext }) => isNext)?.key;
  const flags =
    (current ? SET_CURRENT : 0) | (next ? SET_NEXT : 0) | (options.aoRequired ? REQUIRED : 0) | (options.aoAcceptIcmps ? ACCEPT_ICMPS : 0);
  view.setUint32(INFO.flags, flags, true);
  out[INFO.current] = current?.sendId ?? 0;
  out[INFO.next] = next?.recvId ?? 0;
  for (const [i, name] of COUNTERS.entries()) view.setBigUint64(INFO.counters + 8 * i, BigInt(tcb?.ao?.counters[name] ?? 0), true);
  return out;
}

/** The first struct of `place` says which keys, and how many structs there are; how many keys match stands in it afterwards. */
function getKeys(socket: TcpSocket, place: Uint8Array | undefined): Uint8Array {
  if (!place || place.length < GET.size) throw new LoomError("EINVAL", `expected ${GET.size} bytes or more`);
  if (none(socket)) throw new LoomError("ENOENT", "the socket has no keys");
  const view = viewOf(place);
  const flags = view.getUint16(GET.flags, true);
  const most = Math.min(view.getUint32(GET.count, true), Math.floor(place.length / GET.size));
  const [sendId, recvId, prefix] = [place[GET.sendId], place[GET.recvId], place[GET.prefix]];
  const isByPeer = place.subarray(0, 128).some((byte) => byte !== 0);
  const peer = isByPeer ? peerOf(socket, place, prefix) : undefined;
  if (typeof peer === "number" || (flags & ALL && flags & ~ALL)) throw new LoomError("EINVAL", "the keys to list are not named");
  const found = keysOf(socket).filter(({ key, isCurrent, isNext }) => {
    if (flags & ALL) return true;
    if (flags & (IS_CURRENT | IS_NEXT)) return (flags & IS_CURRENT && isCurrent) || (flags & IS_NEXT && isNext);
    if (peer && !isFor(key, peer)) return false;
    return (sendId === 0 && recvId === 0) || (key.sendId === sendId && key.recvId === recvId);
  });
  const out = new Uint8Array(Math.max(1, Math.min(found.length, most)) * GET.size);
  for (const [i, each] of found.slice(0, most).entries()) encodeKey(out.subarray(i * GET.size, (i + 1) * GET.size), each);
  viewOf(out).setUint32(GET.count, found.length, true);
  return out;
}

function encodeKey(out: Uint8Array, { key, good, bad, isCurrent, isNext }: ReturnType<typeof keysOf>[number]): void {
  const { address, bits, algorithm, secret } = key;
  const view = viewOf(out);
  out.set(encodeName({ family: address.family === 4 ? 2 : 10, address: address.toString(), port: 0 }));
  out.set(new TextEncoder().encode(algorithm === "HMAC-SHA-1-96" ? "hmac(sha1)" : "cmac(aes)"), GET.name);
  out.set(secret, GET.key);
  view.setUint16(GET.flags, (isCurrent ? IS_CURRENT : 0) | (isNext ? IS_NEXT : 0), true);
  out[GET.sendId] = key.sendId;
  out[GET.recvId] = key.recvId;
  out[GET.prefix] = address.family === 4 ? bits - 96 : bits;
  out[GET.mac] = MAC_BYTES;
  out[GET.keyFlags] = key.coversOptions ? 0 : EXCLUDES_OPTIONS;
  out[GET.length] = secret.length;
  view.setBigUint64(GET.good, BigInt(good), true);
  view.setBigUint64(GET.good + 8, BigInt(bad), true);
}

export const AO_OPTIONS: OptionTable<TcpSocket> = {
  [TCP_AO_ADD_KEY]: { set: (socket, { bytes }) => addKey(socket, bytes) },
  [TCP_AO_DEL_KEY]: { set: (socket, { bytes }) => deleteKey(socket, bytes) },
  [TCP_AO_INFO]: { get: getInfo, set: (socket, { bytes }) => setInfo(socket, bytes) },
  [TCP_AO_GET_KEYS]: { get: getKeys },
};
