/**
 * System calls that block, for a worker thread: the thread sleeps until the process's owner has the answer. Not for a
 * browser's main thread, which may not sleep.
 *
 *   // in the worker
 *   const calls = new BlockingCalls(memory, port);
 *   const fd = calls.socket(AF_INET, SOCK_STREAM);
 *   calls.connect(fd, { family: AF_INET, address: "192.0.2.1", port: 7 });   // 0 when it is open
 */
import type { EpollEvent } from "../epoll.ts";
import { decodeControl, encodeControl, gather, type Message, scatter, sizeOf } from "../message.ts";
import { decodeName, encodeName, type Slot, type SocketName } from "../names.ts";
import { intBytes } from "../options.ts";
import type { PollEntry } from "../poll.ts";
import * as p from "./protocol.ts";

const NOTHING = new Uint8Array(0);
const FOR_EVER = -1;

export class BlockingCalls {
  private readonly channel: p.Channel;
  private readonly bell: { postMessage(message: unknown): void };

  /** `memory` from `callMemory`; `bell` is the other end of the port that the owner serves. */
  constructor(memory: SharedArrayBuffer, bell: { postMessage(message: unknown): void }) {
    this.channel = p.openChannel(memory);
    this.bell = bell;
  }

  private call(name: p.CallName, args: readonly number[], data: Uint8Array = NOTHING, peer?: SocketName, control = NOTHING): number {
    const { words, channel } = { words: this.channel.words, channel: this.channel };
    words[p.CALL] = p.CALLS.indexOf(name);
    for (let i = 0; i < p.MOST_ARGUMENTS; i++) words[p.ARGUMENTS + i] = args[i] ?? 0;
    const encoded = peer ? encodeName(peer) : NOTHING;
    channel.name.set(encoded);
    channel.control.set(control);
    channel.data.set(data);
    words[p.NAME_BYTES] = encoded.length;
    words[p.CONTROL_BYTES] = control.length;
    words[p.DATA_BYTES] = data.length;
    Atomics.store(words, p.STATE, p.REQUEST);
    this.bell.postMessage(0);
    while (Atomics.load(words, p.STATE) === p.REQUEST) Atomics.wait(words, p.STATE, p.REQUEST);
    return words[p.RESULT];
  }

  private take(into: Uint8Array): number {
    const n = Math.min(this.channel.words[p.DATA_BYTES], into.length);
    into.set(this.channel.data.subarray(0, n));
    return n;
  }

  private peer(): SocketName | undefined {
    const name = decodeName(this.channel.name.slice(0, this.channel.words[p.NAME_BYTES]));
    return typeof name === "number" ? undefined : name;
  }

  private named(result: number, slot: Slot<SocketName> | undefined): number {
    if (result >= 0 && slot) slot.value = this.peer();
    return result;
  }

  socket(domain: number, type: number, protocol = 0): number {
    return this.call("socket", [domain, type, protocol]);
  }

  bind(fd: number, name: SocketName): number {
    return this.call("bind", [fd], NOTHING, name);
  }

  listen(fd: number, backlog: number): number {
    return this.call("listen", [fd, backlog]);
  }

  accept4(fd: number, flags = 0, peer?: Slot<SocketName>): number {
    return this.named(this.call("accept4", [fd, flags]), peer);
  }

  connect(fd: number, name: SocketName): number {
    return this.call("connect", [fd], NOTHING, name);
  }

  shutdown(fd: number, how: number): number {
    return this.call("shutdown", [fd, how]);
  }

  close(fd: number): number {
    return this.call("close", [fd]);
  }

  getsockname(fd: number, name: Slot<SocketName>): number {
    return this.named(this.call("getsockname", [fd]), name);
  }

  getpeername(fd: number, name: Slot<SocketName>): number {
    return this.named(this.call("getpeername", [fd]), name);
  }

  read(fd: number, into: Uint8Array): number {
    const n = this.call("read", [fd, Math.min(into.length, this.channel.data.length)]);
    if (n > 0) this.take(into);
    return n;
  }

  /** All of it, unless something goes wrong on the way. */
  write(fd: number, from: Uint8Array): number {
    return this.inPieces(from, (piece) => this.call("write", [fd], piece));
  }

  recv(fd: number, into: Uint8Array, flags = 0, from?: Slot<SocketName>): number {
    const message: Message = { iov: [into] };
    const n = this.recvmsg(fd, message, flags);
    if (from && n >= 0) from.value = message.name;
    return n;
  }

  send(fd: number, from: Uint8Array, flags = 0, to?: SocketName): number {
    if (to) return this.sendmsg(fd, { iov: [from], name: to }, flags);
    return from.length <= this.channel.data.length
      ? this.sendmsg(fd, { iov: [from] }, flags)
      : this.inPieces(from, (piece) => this.sendmsg(fd, { iov: [piece] }, flags));
  }

  private inPieces(from: Uint8Array, call: (piece: Uint8Array) => number): number {
    const most = this.channel.data.length;
    let done = 0;
    do {
      const piece = from.subarray(done, done + most);
      const n = call(piece);
      if (n < 0) return done || n;
      done += n;
      if (n < piece.length) break;
    } while (done < from.length);
    return done;
  }

  recvmsg(fd: number, message: Message, flags = 0): number {
    const { words, control, data } = this.channel;
    const size = Math.min(sizeOf(message.iov), data.length);
    const n = this.call("recvmsg", [fd, size, flags, message.control ? 1 : 0]);
    if (n < 0) return n;
    scatter(data.subarray(0, words[p.DATA_BYTES]), message.iov);
    message.name = words[p.NAME_BYTES] > 0 ? this.peer() : undefined;
    message.flags = words[p.FLAGS];
    const arrived = decodeControl(control.slice(0, words[p.CONTROL_BYTES]));
    if (message.control && typeof arrived !== "number") message.control.push(...arrived);
    return n;
  }

  /** Bytes beyond what the memory holds are not sent: the result tells. */
  sendmsg(fd: number, message: Message, flags = 0): number {
    const room = new Uint8Array(this.channel.control.length);
    const { used } = encodeControl(message.control ?? [], room);
    const data = gather(message.iov).subarray(0, this.channel.data.length);
    return this.call("sendmsg", [fd, flags], data, message.name, room.subarray(0, used));
  }

  getsockopt(fd: number, level: number, name: number, into: Uint8Array): number {
    const n = this.call("getsockopt", [fd, level, name, into.length]);
    if (n > 0) this.take(into);
    return n;
  }

  setsockopt(fd: number, level: number, name: number, value: number | Uint8Array): number {
    return this.call("setsockopt", [fd, level, name], typeof value === "number" ? intBytes(value) : value);
  }

  fcntl(fd: number, command: number, argument = 0): number {
    return this.call("fcntl", [fd, command, argument]);
  }

  ioctl(fd: number, request: number, argument = 0): number {
    return this.call("ioctl", [fd, request, argument]);
  }

  dup(fd: number): number {
    return this.call("dup", [fd]);
  }

  pipe2(pair: [number, number], flags = 0): number {
    return this.pair(this.call("pipe2", [flags]), pair);
  }

  socketpair(domain: number, type: number, protocol: number, pair: [number, number]): number {
    return this.pair(this.call("socketpair", [domain, type, protocol]), pair);
  }

  private pair(result: number, pair: [number, number]): number {
    const { words } = this.channel;
    if (result === 0) [pair[0], pair[1]] = [words[p.ARGUMENTS], words[p.ARGUMENTS + 1]];
    return result;
  }

  /** Sleeps until one of the entries has something, or for `timeoutMs`; negative: for ever. */
  poll(entries: PollEntry[], timeoutMs = FOR_EVER): number {
    const bytes = new Uint8Array(p.POLLFD_SIZE * entries.length);
    const view = new DataView(bytes.buffer);
    for (const [i, { fd, events }] of entries.entries()) {
      view.setInt32(p.POLLFD_SIZE * i, fd, true);
      view.setUint16(p.POLLFD_SIZE * i + 4, events, true);
    }
    const n = this.call("poll", [timeoutMs], bytes);
    this.take(bytes);
    for (const [i, entry] of entries.entries()) entry.revents = view.getUint16(p.POLLFD_SIZE * i + 6, true);
    return n;
  }

  epollCreate1(flags = 0): number {
    return this.call("epollCreate1", [flags]);
  }

  epollCtl(epfd: number, operation: number, fd: number, event?: EpollEvent): number {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigUint64(0, BigInt(event?.data ?? 0), true);
    return this.call("epollCtl", [epfd, operation, fd, event?.events ?? 0], event ? data : NOTHING);
  }

  /** As `poll`, over an epoll; `data` of the events are bigints. */
  epollWait(epfd: number, events: EpollEvent[], most: number, timeoutMs = FOR_EVER): number {
    const n = this.call("epollWait", [epfd, most, timeoutMs]);
    const bytes = this.channel.data.slice(0, Math.max(n, 0) * p.EPOLL_EVENT_SIZE);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < n; i++) {
      const at = p.EPOLL_EVENT_SIZE * i;
      events[i] = { events: view.getUint32(at, true), data: view.getBigUint64(at + 4, true) };
    }
    return n;
  }

  splice(from: number, to: number, length: number, flags = 0): number {
    return this.call("splice", [from, to, length, flags]);
  }
}
