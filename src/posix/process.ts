/**
 * A process: a table of descriptors, and the system calls of Linux on sockets as methods. They never wait and never
 * throw for what a kernel would report: they return a number from 0 on, or a negative error number.
 *
 *   const process = new Process(host);
 *   const fd = process.socket(AF_INET, SOCK_STREAM, 0);
 *   process.connect(fd, { family: AF_INET, address: "192.0.2.1", port: 80 });   // -EINPROGRESS
 *   await process.wait(fd, POLLOUT);
 */
import type { Host } from "../host/host.ts";
import * as c from "./constants.ts";
import type { Description } from "./description.ts";
import { Descriptors } from "./descriptors.ts";
import { EAFNOSUPPORT, EBADF, EFAULT, EINVAL, ENOTSOCK, EPROTONOSUPPORT, ESOCKTNOSUPPORT } from "./errno.ts";
import type { Message } from "./message.ts";
import type { Slot, SocketName } from "./names.ts";
import { getOption, setOption } from "./option-levels.ts";
import { type PollEntry, pollNow, waitFor } from "./poll.ts";
import { Socket } from "./socket.ts";
import { type TcpInfo, tcpInfo } from "./tcp-info.ts";
import { TcpSocket } from "./tcp-socket.ts";
import { UdpSocket } from "./udp-socket.ts";

export interface ProcessOptions {
  /** Most descriptors (RLIMIT_NOFILE). Default 1024. */
  descriptors?: number;
}

const TYPE_MASK = 0xf;
const CREATION_FLAGS = c.SOCK_NONBLOCK | c.SOCK_CLOEXEC;
/** What F_SETFL may change. */
const STATUS_FLAGS = c.O_NONBLOCK;

export class Process {
  readonly host: Host;
  readonly descriptors: Descriptors;
  private readonly one: Message = { iov: [] };

  constructor(host: Host, options: ProcessOptions = {}) {
    this.host = host;
    this.descriptors = new Descriptors(options.descriptors ?? 1024);
  }

  /** Ends the process: every descriptor is closed. */
  exit(): void {
    this.descriptors.closeAll();
  }

  // ── Sockets ───────────────────────────────────────────────────────────────────────────────────

  /** A descriptor for a new socket; `type` may carry SOCK_NONBLOCK and SOCK_CLOEXEC. */
  socket(domain: number, type: number, protocol = 0): number {
    const kind = type & TYPE_MASK;
    if (type & ~(TYPE_MASK | CREATION_FLAGS)) return -EINVAL;
    const socket = this.makeSocket(domain, kind, protocol);
    return typeof socket === "number" ? socket : this.install(socket, type);
  }

  private makeSocket(domain: number, kind: number, protocol: number): Socket | number {
    if (domain !== c.AF_INET && domain !== c.AF_INET6) return -EAFNOSUPPORT;
    if (kind === c.SOCK_STREAM) {
      return protocol === 0 || protocol === c.IPPROTO_TCP ? new TcpSocket(this.host, domain) : -EPROTONOSUPPORT;
    }
    if (kind === c.SOCK_DGRAM) {
      return protocol === 0 || protocol === c.IPPROTO_UDP ? new UdpSocket(this.host, domain) : -EPROTONOSUPPORT;
    }
    return -ESOCKTNOSUPPORT;
  }

  /** A descriptor with the flags of socket(2) and accept4(2). */
  private install(description: Description, flags: number): number {
    description.status = c.O_RDWR | (flags & c.SOCK_NONBLOCK ? c.O_NONBLOCK : 0);
    return this.descriptors.add(description, (flags & c.SOCK_CLOEXEC) !== 0);
  }

  /** The socket of a descriptor, or -EBADF, -ENOTSOCK. */
  private at(fd: number): Socket | number {
    const description = this.descriptors.get(fd);
    return description instanceof Socket ? description : description ? -ENOTSOCK : -EBADF;
  }

  bind(fd: number, name: SocketName): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : isName(name) ? socket.bind(name) : -EFAULT;
  }

  /** Connections may wait to be accepted, `backlog` and one; again: another backlog. */
  listen(fd: number, backlog: number): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : socket.listen(backlog | 0);
  }

  /** A descriptor for the connection that has waited longest; -EAGAIN when there is none. */
  accept4(fd: number, flags = 0, peer?: Slot<SocketName>): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    if (flags & ~CREATION_FLAGS) return -EINVAL;
    const child = socket.accept();
    if (typeof child === "number") return child;
    const accepted = this.install(child, flags);
    if (accepted < 0) {
      child.hold().drop();
      return accepted;
    }
    const name = peer && child.peerName();
    if (peer && typeof name !== "number") peer.value = name;
    return accepted;
  }

  accept(fd: number, peer?: Slot<SocketName>): number {
    return this.accept4(fd, 0, peer);
  }

  /** TCP: -EINPROGRESS at first, then -EALREADY until it is settled, then the error or 0, then -EISCONN. */
  connect(fd: number, name: SocketName): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : isName(name) ? socket.connect(name) : -EFAULT;
  }

  /** SHUT_RD, SHUT_WR or SHUT_RDWR. */
  shutdown(fd: number, how: number): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : socket.shutdown(how);
  }

  close(fd: number): number {
    return this.descriptors.close(fd);
  }

  getsockname(fd: number, name: Slot<SocketName>): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    name.value = socket.localName();
    return 0;
  }

  getpeername(fd: number, name: Slot<SocketName>): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    const peer = socket.peerName();
    if (typeof peer === "number") return peer;
    name.value = peer;
    return 0;
  }

  // ── Data ──────────────────────────────────────────────────────────────────────────────────────

  read(fd: number, into: Uint8Array): number {
    return this.descriptors.get(fd)?.read(into) ?? -EBADF;
  }

  write(fd: number, from: Uint8Array): number {
    return this.descriptors.get(fd)?.write(from) ?? -EBADF;
  }

  readv(fd: number, pieces: readonly Uint8Array[]): number {
    return this.descriptors.get(fd)?.readv(pieces) ?? -EBADF;
  }

  writev(fd: number, pieces: readonly Uint8Array[]): number {
    return this.descriptors.get(fd)?.writev(pieces) ?? -EBADF;
  }

  recv(fd: number, into: Uint8Array, flags = 0): number {
    return this.recvfrom(fd, into, flags);
  }

  send(fd: number, from: Uint8Array, flags = 0): number {
    return this.sendto(fd, from, flags);
  }

  /** As recv, and tells whom a datagram came from. */
  recvfrom(fd: number, into: Uint8Array, flags = 0, from?: Slot<SocketName>): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    const message = this.plain(into, undefined);
    message.nameless = from === undefined;
    const n = socket.receive(message, flags);
    if (from && n >= 0) from.value = message.name;
    return n;
  }

  sendto(fd: number, from: Uint8Array, flags = 0, to?: SocketName): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : socket.send(this.plain(from, to), flags);
  }

  /** The one message that plain calls share. */
  private plain(piece: Uint8Array, name: SocketName | undefined): Message {
    const { one } = this;
    one.iov = [piece];
    one.name = name;
    return one;
  }

  /** Fills `message`: its pieces, its `name`, its `flags`, and its `control` when that is an array. */
  recvmsg(fd: number, message: Message, flags = 0): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : socket.receive(message, flags);
  }

  sendmsg(fd: number, message: Message, flags = 0): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : socket.send(message, flags);
  }

  // ── Options ───────────────────────────────────────────────────────────────────────────────────

  /** Writes the value into bytes as Linux lays it out, or an int into a slot; returns the bytes of the value. */
  getsockopt(fd: number, level: number, name: number, into: Uint8Array | Slot<number>): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : getOption(socket, level, name, into);
  }

  /** `value` is an int, or the bytes of whatever struct the option takes. */
  setsockopt(fd: number, level: number, name: number, value: number | Uint8Array): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : setOption(socket, level, name, value);
  }

  /** TCP_INFO as an object. */
  tcpInfo(fd: number): TcpInfo | undefined {
    const socket = this.descriptors.get(fd);
    return socket instanceof TcpSocket ? tcpInfo(socket) : undefined;
  }

  /** F_GETFL, F_SETFL (O_NONBLOCK), F_GETFD, F_SETFD, F_DUPFD. */
  fcntl(fd: number, command: number, argument = 0): number {
    const description = this.descriptors.get(fd);
    if (!description) return -EBADF;
    switch (command) {
      case c.F_GETFL:
        return description.status;
      case c.F_SETFL:
        description.status = (description.status & ~STATUS_FLAGS) | (argument & STATUS_FLAGS);
        return 0;
      case c.F_GETFD:
        return this.descriptors.isCloseOnExec(fd) ? c.FD_CLOEXEC : 0;
      case c.F_SETFD:
        this.descriptors.markCloseOnExec(fd, (argument & c.FD_CLOEXEC) !== 0);
        return 0;
      case c.F_DUPFD:
      case c.F_DUPFD_CLOEXEC:
        if (argument < 0 || argument >= this.descriptors.limit) return -EINVAL;
        return this.descriptors.add(description, command === c.F_DUPFD_CLOEXEC, argument);
      default:
        return -EINVAL;
    }
  }

  dup(fd: number): number {
    const description = this.descriptors.get(fd);
    return description ? this.descriptors.add(description) : -EBADF;
  }

  dup2(fd: number, as: number): number {
    const description = this.descriptors.get(fd);
    if (!description) return -EBADF;
    return fd === as ? fd : this.descriptors.replace(as, description);
  }

  /** FIONREAD, TIOCOUTQ, SIOCOUTQNSD and SIOCATMARK return what they ask for; FIONBIO sets O_NONBLOCK. */
  ioctl(fd: number, request: number, argument = 0): number {
    const description = this.descriptors.get(fd);
    if (!description) return -EBADF;
    if (request === c.FIONBIO)
      return this.fcntl(fd, c.F_SETFL, argument ? description.status | c.O_NONBLOCK : description.status & ~c.O_NONBLOCK);
    return description.ioctl(request, argument);
  }

  // ── Readiness ─────────────────────────────────────────────────────────────────────────────────

  /** Fills `revents`; returns how many entries have some. Does not wait: `wait` does. */
  poll(entries: PollEntry[]): number {
    return pollNow(entries, (fd) => this.descriptors.get(fd));
  }

  /** Resolves with the events when one of them, an error or a hang-up is there; rejects with the signal's reason. */
  wait(fd: number, events: number, signal?: AbortSignal): Promise<number> {
    const description = this.descriptors.get(fd);
    return description ? waitFor(description, events, signal) : Promise.resolve(c.POLLNVAL);
  }
}

function isName(name: SocketName | undefined): name is SocketName {
  return typeof name === "object" && name !== null && typeof name.family === "number";
}
