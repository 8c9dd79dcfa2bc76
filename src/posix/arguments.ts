/**
 * What a caller may have handed over instead of what a call takes: a kernel would find a bad address (EFAULT) or a number
 * that is none (EINVAL), and so do these. Every call looks at its arguments before it does anything.
 */
import type { EpollEvent } from "./epoll.ts";
import type { Message } from "./message.ts";
import type { SocketName } from "./names.ts";
import type { PollEntry } from "./poll.ts";

/** A number of any kind: the calls make an int of it. */
export function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

/** Numbers that a kernel takes for a size: from 0 on. */
export function isSize(value: unknown): value is number {
  return typeof value === "number" && value >= 0;
}

/** Bytes that are still there: memory that was handed to another thread is not. */
export function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && (value.length > 0 || !isDetached(value));
}

function isDetached({ buffer }: Uint8Array): boolean {
  if (buffer.byteLength > 0) return false;
  try {
    return !new Uint8Array(buffer);
  } catch {
    return true;
  }
}

export function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

export function areBytes(value: unknown): value is readonly Uint8Array[] {
  if (!Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) if (!isBytes(value[i])) return false;
  return true;
}

/** A family, and a path that is text, or whatever else `addressOf` looks at. */
export function isName(value: unknown): value is SocketName {
  if (!isObject(value) || !isNumber((value as SocketName).family)) return false;
  return !("path" in value) || typeof value.path === "string";
}

/** `isSent`: with a name and control messages that can be read. */
export function isMessage(value: unknown, isSent: boolean): value is Message {
  if (!isObject(value) || !areBytes((value as Message).iov)) return false;
  const { name, control } = value as Message;
  if (control !== undefined && !Array.isArray(control)) return false;
  if (!isSent) return true;
  if (name !== undefined && !isName(name)) return false;
  for (const each of control ?? []) {
    if (!isObject(each) || !isNumber(each.level) || !isNumber(each.type) || !isBytes(each.data)) return false;
  }
  return true;
}

export function arePollEntries(value: unknown): value is PollEntry[] {
  if (!Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) {
    if (!isObject(value[i]) || !isNumber((value[i] as PollEntry).fd) || !isNumber((value[i] as PollEntry).events)) return false;
  }
  return true;
}

export function isEpollEvent(value: unknown): value is EpollEvent {
  return isObject(value) && isNumber((value as EpollEvent).events);
}
