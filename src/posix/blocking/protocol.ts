/**
 * How a worker calls: it writes a request into shared memory, rings, and sleeps (Atomics.wait) until the owner of the
 * process has written the answer over it. One request at a time.
 *
 *   words: 0 state · 1 call · 2 result · 3–8 arguments · 9 bytes of name · 10 of control · 11 of data · 12 message flags
 *   64: name (128) · 192: control (4096) · 4288: data
 */
export const IDLE = 0;
export const REQUEST = 1;
export const REPLY = 2;

export const STATE = 0;
export const CALL = 1;
export const RESULT = 2;
export const ARGUMENTS = 3;
export const MOST_ARGUMENTS = 6;
export const NAME_BYTES = 9;
export const CONTROL_BYTES = 10;
export const DATA_BYTES = 11;
export const FLAGS = 12;

const NAME = 64;
const NAME_ROOM = 128;
const CONTROL = NAME + NAME_ROOM;
const CONTROL_ROOM = 4096;
const DATA = CONTROL + CONTROL_ROOM;
/** Bytes that one call moves at most by default. */
export const DATA_ROOM = 256 << 10;

/** The calls by number. */
export const CALLS = [
  "socket",
  "bind",
  "listen",
  "accept4",
  "connect",
  "shutdown",
  "close",
  "getsockname",
  "getpeername",
  "read",
  "write",
  "recvmsg",
  "sendmsg",
  "getsockopt",
  "setsockopt",
  "fcntl",
  "ioctl",
  "dup",
  "pipe2",
  "socketpair",
  "poll",
  "epollCreate1",
  "epollCtl",
  "epollWait",
  "splice",
] as const;
export type CallName = (typeof CALLS)[number];

export interface Channel {
  readonly words: Int32Array;
  readonly name: Uint8Array;
  readonly control: Uint8Array;
  readonly data: Uint8Array;
}

/** Memory for one worker's calls. */
export function callMemory(dataRoom = DATA_ROOM): SharedArrayBuffer {
  return new SharedArrayBuffer(DATA + dataRoom);
}

export function openChannel(memory: SharedArrayBuffer): Channel {
  return {
    words: new Int32Array(memory, 0, NAME / 4),
    name: new Uint8Array(memory, NAME, NAME_ROOM),
    control: new Uint8Array(memory, CONTROL, CONTROL_ROOM),
    data: new Uint8Array(memory, DATA),
  };
}

/** Bytes of a struct pollfd (int fd, short events, short revents) and of an epoll_event as it travels here (u32 events, u64 data). */
export const POLLFD_SIZE = 8;
export const EPOLL_EVENT_SIZE = 12;
