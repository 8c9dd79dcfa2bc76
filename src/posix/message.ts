/** What sendmsg and recvmsg move: pieces of memory, an address, control messages (struct msghdr, cmsg(3)). */
import { EINVAL } from "./errno.ts";
import type { SocketName } from "./names.ts";

export interface ControlMessage {
  readonly level: number;
  readonly type: number;
  /** As Linux lays it out, without the header. */
  readonly data: Uint8Array;
}

export interface Message {
  /** Sent: the destination. Received: the source. */
  name?: SocketName;
  iov: readonly Uint8Array[];
  /** Sent: what goes along. Received: what came along; set to [] by the caller who wants it. */
  control?: ControlMessage[];
  /** Received: MSG_TRUNC, MSG_CTRUNC, MSG_EOR, MSG_OOB, MSG_ERRQUEUE. */
  flags?: number;
  /** The caller does not look at `name`: datagrams are then read without making one. */
  nameless?: boolean;
}

export function sizeOf(iov: readonly Uint8Array[]): number {
  let total = 0;
  for (const piece of iov) total += piece.length;
  return total;
}

/** One piece that holds them all; the piece itself when there is one. */
export function gather(iov: readonly Uint8Array[]): Uint8Array {
  if (iov.length === 1) return iov[0];
  const out = new Uint8Array(sizeOf(iov));
  let at = 0;
  for (const piece of iov) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** Copies bytes into pieces; returns how many fit. */
export function scatter(bytes: Uint8Array, iov: readonly Uint8Array[]): number {
  let done = 0;
  for (const piece of iov) {
    const n = Math.min(piece.length, bytes.length - done);
    if (n > 0) piece.set(n === bytes.length ? bytes : bytes.subarray(done, done + n));
    done += Math.max(n, 0);
  }
  return done;
}

/** A control message that holds one little-endian int. */
export function intMessage(level: number, type: number, value: number): ControlMessage {
  const data = new Uint8Array(4);
  new DataView(data.buffer).setInt32(0, value, true);
  return { level, type, data };
}

export function intOf(message: ControlMessage): number | undefined {
  const { data } = message;
  return data.length < 4 ? undefined : new DataView(data.buffer, data.byteOffset, 4).getInt32(0, true);
}

// ── Control messages as bytes: struct cmsghdr with 64-bit lengths ─────────────────────────────────

const CMSGHDR_SIZE = 16;
const aligned = (size: number) => (size + 7) & ~7;

export function decodeControl(bytes: Uint8Array): ControlMessage[] | number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const out: ControlMessage[] = [];
  for (let at = 0; at + CMSGHDR_SIZE <= bytes.length; ) {
    const size = view.getUint32(at, true);
    if (size < CMSGHDR_SIZE || at + size > bytes.length) return -EINVAL;
    const data = bytes.slice(at + CMSGHDR_SIZE, at + size);
    out.push({ level: view.getInt32(at + 8, true), type: view.getInt32(at + 12, true), data });
    at += aligned(size);
  }
  return out;
}

/** Writes as many as fit; returns the bytes used, and whether all fitted. */
export function encodeControl(messages: readonly ControlMessage[], into: Uint8Array): { used: number; isWhole: boolean } {
  const view = new DataView(into.buffer, into.byteOffset, into.length);
  let used = 0;
  for (const { level, type, data } of messages) {
    const size = CMSGHDR_SIZE + data.length;
    if (used + size > into.length) return { used, isWhole: false };
    view.setBigUint64(used, BigInt(size), true);
    view.setInt32(used + 8, level, true);
    view.setInt32(used + 12, type, true);
    into.set(data, used + CMSGHDR_SIZE);
    used = Math.min(used + aligned(size), into.length);
  }
  return { used, isWhole: true };
}
