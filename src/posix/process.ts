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
import { UnixEndpoint } from "../unix/index.ts";
import { areBytes, arePollEntries, isBytes, isEpollEvent, isMessage, isName, isNumber, isObject, isSize } from "./arguments.ts";
import * as c from "./constants.ts";
import type { Description } from "./description.ts";
import { Descriptors } from "./descriptors.ts";
import { Epoll, type EpollEvent } from "./epoll.ts";
import { attempt, EAFNOSUPPORT, EBADF, EFAULT, EINVAL, EMFILE, ENOTSOCK, EOPNOTSUPP, EPROTONOSUPPORT, ESOCKTNOSUPPORT } from "./errno.ts";
import type { Message } from "./message.ts";
import type { Slot, SocketName } from "./names.ts";
import { getOption, setOption } from "./option-levels.ts";
import { PingSocket } from "./ping-socket.ts";
import { type PipeAccount, PipeBuffer, PipeReader, PipeWriter } from "./pipe.ts";
import { type PollEntry, pollNow, waitFor } from "./poll.ts";
import { RawSocket } from "./raw-socket.ts";
import { Socket } from "./socket.ts";
import { move, splice } from "./splice.ts";
import { type TcpInfo, tcpInfo } from "./tcp-info.ts";
import { TcpSocket } from "./tcp-socket.ts";
import { UdpSocket } from "./udp-socket.ts";
import { UnixSocket } from "./unix-socket.ts";

export interface ProcessOptions {
  /** Most descriptors (RLIMIT_NOFILE). Default 1024. */
  descriptors?: number;
  /** Default: the next number of this program. */
  pid?: number;
}

const TYPE_MASK = 0xf;
const INT_MIN = -0x8000_0000;
const CREATION_FLAGS = c.SOCK_NONBLOCK | c.SOCK_CLOEXEC;
/** What F_SETFL may change. */
const STATUS_FLAGS = c.O_NONBLOCK;

let nextPid = 1;

export class Process {
  readonly host: Host;
  readonly descriptors: Descriptors;
  readonly pid: number;
  private readonly pipes: PipeAccount = { bytes: 0 };
  /** A signal for `pid`, as F_SETOWN has it: SIGURG when a peer announces urgent data. */
  onSignal: ((signal: number, pid: number) => void) | undefined;
  private readonly one: Message = { iov: [] };

  constructor(host: Host, options: ProcessOptions = {}) {
    this.host = host;
    this.descriptors = new Descriptors(options.descriptors ?? 1024);
    this.pid = options.pid ?? nextPid++;
  }

  /** Ends the process: every descriptor is closed. */
  exit(): void {
    this.descriptors.closeAll();
  }

  // ── Sockets ───────────────────────────────────────────────────────────────────────────────────

  /** A descriptor for a new socket; `type` may carry SOCK_NONBLOCK and SOCK_CLOEXEC. */
  socket(domain: number, type: number, protocol = 0): number {
    if (!isNumber(domain) || !isNumber(type) || !isNumber(protocol)) return -EINVAL;
    const kind = type & TYPE_MASK;
    if (type & ~(TYPE_MASK | CREATION_FLAGS)) return -EINVAL;
    const socket = this.makeSocket(domain, kind, protocol);
    return typeof socket === "number" ? socket : this.install(socket, type);
  }

  private makeSocket(domain: number, kind: number, protocol: number): Socket | number {
    if (domain === c.AF_UNIX) {
      const endpoint = UnixSocket.endpoint(this.host.unix, kind, this.pid);
      return protocol !== 0 ? -EPROTONOSUPPORT : endpoint ? new UnixSocket(kind, endpoint, this.descriptors) : -ESOCKTNOSUPPORT;
    }
    if (domain !== c.AF_INET && domain !== c.AF_INET6) return -EAFNOSUPPORT;
    if (protocol < 0 || protocol >= c.IPPROTO_MAX) return -EINVAL;
    if (kind === c.SOCK_STREAM) {
      return protocol === 0 || protocol === c.IPPROTO_TCP ? new TcpSocket(this.host, domain) : -EPROTONOSUPPORT;
    }
    if (kind === c.SOCK_DGRAM) {
      if (protocol === (domain === c.AF_INET ? c.IPPROTO_ICMP : c.IPPROTO_ICMPV6)) return new PingSocket(this.host, domain);
      return protocol === 0 || protocol === c.IPPROTO_UDP ? new UdpSocket(this.host, domain) : -EPROTONOSUPPORT;
    }
    if (kind === c.SOCK_RAW) {
      const isProtocol = Number.isInteger(protocol) && protocol >= 1 && protocol <= 255;
      return isProtocol ? new RawSocket(this.host, domain, protocol) : -EPROTONOSUPPORT;
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
    if (!(description instanceof Socket)) return description ? -ENOTSOCK : -EBADF;
    // Descriptors in messages are numbers of whoever calls.
    if (description instanceof UnixSocket) description.table = this.descriptors;
    return description;
  }

  /** Two connected Unix domain sockets; or 0 and -EAFNOSUPPORT, -ESOCKTNOSUPPORT … */
  socketpair(domain: number, type: number, protocol: number, pair: [number, number]): number {
    if (!isNumber(domain) || !isNumber(type) || !isNumber(protocol)) return -EINVAL;
    if (!isObject(pair)) return -EFAULT;
    if (domain !== c.AF_UNIX) return domain === c.AF_INET || domain === c.AF_INET6 ? -EOPNOTSUPP : -EAFNOSUPPORT;
    if (type & ~(TYPE_MASK | CREATION_FLAGS)) return -EINVAL;
    const kind = UnixSocket.kind(type & TYPE_MASK);
    if (protocol !== 0) return -EPROTONOSUPPORT;
    if (!kind) return -ESOCKTNOSUPPORT;
    const ends = UnixEndpoint.pair(this.host.unix, kind, { pid: this.pid, uid: 0, gid: 0 });
    return this.installPair(
      ends.map((end) => new UnixSocket(type & TYPE_MASK, end, this.descriptors)),
      type,
      pair,
    );
  }

  /** A pipe: `pair` becomes the end that reads and the end that writes. */
  pipe2(pair: [number, number], flags = 0): number {
    if (!isObject(pair)) return -EFAULT;
    if (!isNumber(flags) || flags & ~(c.O_NONBLOCK | c.O_CLOEXEC)) return -EINVAL;
    const buffer = new PipeBuffer(this.pipes);
    const result = this.installPair([new PipeReader(buffer), new PipeWriter(buffer)], flags, pair);
    if (result < 0) return result;
    for (const [i, mode] of [c.O_RDONLY, c.O_WRONLY].entries()) {
      const end = this.descriptors.get(pair[i]);
      if (end) end.status = mode | (end.status & c.O_NONBLOCK);
    }
    return 0;
  }

  private installPair(ends: readonly Description[], flags: number, pair: [number, number]): number {
    const first = this.install(ends[0], flags);
    const second = first < 0 ? first : this.install(ends[1], flags);
    if (second < 0) {
      if (first >= 0) this.close(first);
      else ends[0].hold().drop();
      ends[1].hold().drop();
      return second;
    }
    [pair[0], pair[1]] = [first, second];
    return 0;
  }

  bind(fd: number, name: SocketName): number {
    const socket = this.at(fd);
    return typeof socket === "number" ? socket : isName(name) ? socket.bind(name) : -EFAULT;
  }

  /** Connections may wait to be accepted, `backlog` and one; again: another backlog. */
  listen(fd: number, backlog: number): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    return isNumber(backlog) ? socket.listen(backlog | 0) : -EINVAL;
  }

  /** A descriptor for the connection that has waited longest; -EAGAIN when there is none. */
  accept4(fd: number, flags = 0, peer?: Slot<SocketName>): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    if (!isNumber(flags) || flags & ~CREATION_FLAGS) return -EINVAL;
    if (peer !== undefined && !isObject(peer)) return -EFAULT;
    // The descriptor first: a connection that finds none goes on waiting (accept4(2), EMFILE).
    if (this.descriptors.isFull) return -EMFILE;
    const child = socket.accept();
    if (typeof child === "number") return child;
    const accepted = this.install(child, flags);
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
    if (!isObject(name)) return -EFAULT;
    name.value = socket.localName();
    return 0;
  }

  getpeername(fd: number, name: Slot<SocketName>): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    if (!isObject(name)) return -EFAULT;
    const peer = socket.peerName();
    if (typeof peer === "number") return peer;
    name.value = peer;
    return 0;
  }

  // ── Data ──────────────────────────────────────────────────────────────────────────────────────

  read(fd: number, into: Uint8Array): number {
    const description = this.descriptors.get(fd);
    return description ? (isBytes(into) ? description.read(into) : -EFAULT) : -EBADF;
  }

  write(fd: number, from: Uint8Array): number {
    const description = this.descriptors.get(fd);
    return description ? (isBytes(from) ? description.write(from) : -EFAULT) : -EBADF;
  }

  readv(fd: number, pieces: readonly Uint8Array[]): number {
    const description = this.descriptors.get(fd);
    return description ? (areBytes(pieces) ? description.readv(pieces) : -EFAULT) : -EBADF;
  }

  writev(fd: number, pieces: readonly Uint8Array[]): number {
    const description = this.descriptors.get(fd);
    return description ? (areBytes(pieces) ? description.writev(pieces) : -EFAULT) : -EBADF;
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
    if (!isBytes(into) || (from !== undefined && !isObject(from))) return -EFAULT;
    if (!isNumber(flags)) return -EINVAL;
    const message = this.plain(into, undefined);
    message.nameless = from === undefined;
    const n = socket.receive(message, flags);
    if (from && n >= 0) from.value = message.name;
    return n;
  }

  sendto(fd: number, from: Uint8Array, flags = 0, to?: SocketName): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    if (!isBytes(from) || (to !== undefined && !isName(to))) return -EFAULT;
    return isNumber(flags) ? socket.send(this.plain(from, to), flags) : -EINVAL;
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
    if (typeof socket === "number") return socket;
    if (!isMessage(message, false)) return -EFAULT;
    return isNumber(flags) ? socket.receive(message, flags) : -EINVAL;
  }

  sendmsg(fd: number, message: Message, flags = 0): number {
    const socket = this.at(fd);
    if (typeof socket === "number") return socket;
    if (!isMessage(message, true)) return -EFAULT;
    return isNumber(flags) ? socket.send(message, flags) : -EINVAL;
  }

  /** splice(2): one of the two is a pipe. Flags SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE. */
  splice(from: number, to: number, length: number, flags = 0): number {
    if (!isSize(length) || !isNumber(flags)) return -EINVAL;
    return this.both(from, to, (source, target) => splice(source, target, Math.floor(length), flags));
  }

  /** From one stream to another without a pipe in between; connections of one engine hand over their memory. */
  move(from: number, to: number, length: number): number {
    if (!isSize(length)) return -EINVAL;
    return this.both(from, to, (source, target) => move(source, target, Math.floor(length)));
  }

  private both(from: number, to: number, call: (source: Description, target: Description) => number): number {
    const [source, target] = [this.descriptors.get(from), this.descriptors.get(to)];
    return source && target ? call(source, target) : -EBADF;
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
    if (!isNumber(argument)) return -EINVAL;
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
      case c.F_SETOWN:
        // A group that has no number of its own.
        if ((argument | 0) === INT_MIN) return -EINVAL;
        description.owner = argument | 0;
        description.signal = description.owner === 0 ? undefined : (signal) => this.onSignal?.(signal, argument | 0);
        return 0;
      case c.F_GETOWN:
        return description.owner;
      case c.F_GETPIPE_SZ:
        return isPipe(description) ? description.buffer.capacity : -EBADF;
      case c.F_SETPIPE_SZ:
        return isPipe(description) ? description.buffer.resize(argument) : -EBADF;
      default:
        return -EINVAL;
    }
  }

  /** Removes the path of a Unix domain socket. */
  unlink(path: string): number {
    if (typeof path !== "string") return -EFAULT;
    return attempt(() => {
      this.host.unix.unlink(path);
      return 0;
    });
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
    if (!isNumber(argument)) return -EFAULT;
    if (request === c.FIONBIO)
      return this.fcntl(fd, c.F_SETFL, argument ? description.status | c.O_NONBLOCK : description.status & ~c.O_NONBLOCK);
    return description.ioctl(request, argument);
  }

  // ── Readiness ─────────────────────────────────────────────────────────────────────────────────

  /** Fills `revents`; returns how many entries have some. Does not wait: `wait` does. */
  poll(entries: PollEntry[]): number {
    return arePollEntries(entries) ? pollNow(entries, (fd) => this.descriptors.get(fd)) : -EFAULT;
  }

  epollCreate1(flags = 0): number {
    return !isNumber(flags) || flags & ~c.EPOLL_CLOEXEC ? -EINVAL : this.descriptors.add(new Epoll(), flags !== 0);
  }

  /** EPOLL_CTL_ADD, MOD or DEL; `event.data` comes back with what happens. */
  epollCtl(epfd: number, operation: number, fd: number, event?: EpollEvent): number {
    const epoll = this.descriptors.get(epfd);
    const description = this.descriptors.get(fd);
    if (!epoll || !description) return -EBADF;
    if (!isNumber(operation)) return -EINVAL;
    if (operation !== c.EPOLL_CTL_DEL && !isEpollEvent(event)) return -EFAULT;
    return epoll instanceof Epoll ? epoll.control(operation, fd, description, event) : -EINVAL;
  }

  /** Fills `events` with what is ready now, `most` at most; returns how many. Does not wait: `wait(epfd, POLLIN)` does. */
  epollWait(epfd: number, events: EpollEvent[], most = 64): number {
    const epoll = this.descriptors.get(epfd);
    if (!epoll) return -EBADF;
    if (!(epoll instanceof Epoll) || !isNumber(most) || !(most >= 1)) return -EINVAL;
    return Array.isArray(events) ? epoll.collect(events, Math.floor(most)) : -EFAULT;
  }

  /** Resolves with the events when one of them, an error or a hang-up is there; rejects with the signal's reason. */
  wait(fd: number, events: number, signal?: AbortSignal): Promise<number> {
    const description = this.descriptors.get(fd);
    return description ? waitFor(description, events, signal) : Promise.resolve(c.POLLNVAL);
  }
}

function isPipe(description: Description): description is PipeReader | PipeWriter {
  return description instanceof PipeReader || description instanceof PipeWriter;
}
