/** A Unix domain socket: what Linux's `unix_*` calls return around an endpoint of src/unix. */
import { type Parcel, UnixEndpoint, type UnixEvent, type UnixKind, type UnixNamespace } from "../unix/index.ts";
import {
  AF_UNIX,
  AF_UNSPEC,
  FIONREAD,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  POLLRDHUP,
  POLLRDNORM,
  POLLWRBAND,
  POLLWRNORM,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOMAXCONN,
  TIOCOUTQ,
} from "./constants.ts";
import type { Descriptors } from "./descriptors.ts";
import { attempt, EAGAIN, EINVAL, EISCONN, ENOTCONN, ENOTTY, EOPNOTSUPP, errnoOf } from "./errno.ts";
import { collectIfLost } from "./in-flight.ts";
import { gather, type Message, scatter } from "./message.ts";
import { type SocketName, UNIX_PATH_MAX } from "./names.ts";
import { boardPassengers, landPassengers, tellCredentials } from "./rights.ts";
import { RCV_SHUTDOWN, SEND_SHUTDOWN, Socket, shutdownMask } from "./socket.ts";

const IN = POLLIN | POLLRDNORM;
const OUT = POLLOUT | POLLWRNORM | POLLWRBAND;
const KINDS: Readonly<Record<number, UnixKind>> = { [SOCK_STREAM]: "stream", [SOCK_DGRAM]: "datagram", [SOCK_SEQPACKET]: "seqpacket" };
const WAKES: Readonly<Record<UnixEvent, number>> = { readable: IN, writable: OUT, closed: IN | OUT | POLLHUP | POLLRDHUP };

export class UnixSocket extends Socket {
  readonly endpoint: UnixEndpoint;
  /** Where the descriptors of a message are looked up and put: the table of whoever calls. */
  table: Descriptors;

  constructor(type: number, endpoint: UnixEndpoint, table: Descriptors) {
    super(AF_UNIX, type, 0);
    this.endpoint = endpoint;
    this.table = table;
    endpoint.onEvent = (event) => this.waiters.wake(WAKES[event]);
  }

  /** The endpoint of a new socket; undefined for a type that is none. */
  static endpoint(namespace: UnixNamespace<UnixEndpoint>, type: number, pid: number): UnixEndpoint | undefined {
    return KINDS[type] && new UnixEndpoint(namespace, KINDS[type], { pid, uid: 0, gid: 0 });
  }

  static kind(type: number): UnixKind | undefined {
    return KINDS[type];
  }

  override get isListening(): boolean {
    return this.endpoint.isListening;
  }

  bind(name: SocketName): number {
    if (name.family !== AF_UNIX || !("path" in name) || isTooLong(name.path)) return -EINVAL;
    return attempt(() => {
      this.endpoint.bind(name.path);
      return 0;
    });
  }

  override listen(backlog: number): number {
    if (this.type === SOCK_DGRAM) return -EOPNOTSUPP;
    return attempt(() => {
      this.endpoint.listen(backlog < 0 ? SOMAXCONN : Math.min(backlog, SOMAXCONN));
      return 0;
    });
  }

  override accept(): Socket | number {
    if (this.type === SOCK_DGRAM) return -EOPNOTSUPP;
    if (!this.endpoint.isListening) return -EINVAL;
    if (this.endpoint.isClosed && this.endpoint.error) return this.takeError();
    const arrival = this.endpoint.accept();
    return arrival ? new UnixSocket(this.type, arrival, this.table) : this.endpoint.receiveEnded ? -EINVAL : -EAGAIN;
  }

  connect(name: SocketName): number {
    if (name.family === AF_UNSPEC && this.type === SOCK_DGRAM) {
      this.endpoint.disconnect();
      return 0;
    }
    if (name.family !== AF_UNIX || !("path" in name) || name.path === "" || isTooLong(name.path)) return -EINVAL;
    return attempt(() => {
      this.endpoint.connect(name.path);
      return 0;
    });
  }

  shutdown(how: number): number {
    const mask = shutdownMask(how);
    if (mask < 0) return mask;
    this.endpoint.shutdown((mask & RCV_SHUTDOWN) !== 0, (mask & SEND_SHUTDOWN) !== 0);
    return 0;
  }

  protected release(): void {
    this.endpoint.close();
  }

  protected override loosened(): void {
    collectIfLost(this);
  }

  send(message: Message, flags: number): number {
    const { endpoint } = this;
    if (flags & MSG_OOB) return -EOPNOTSUPP;
    if (message.name && this.type === SOCK_STREAM) return endpoint.isConnected ? -EISCONN : -EOPNOTSUPP;
    const to = this.type === SOCK_DGRAM && message.name && "path" in message.name ? message.name.path : undefined;
    const passengers = boardPassengers(message.control, this.table, endpoint.credentials);
    if (typeof passengers === "number") return passengers;
    const sent = attempt(() => endpoint.send(gather(message.iov), passengers, to));
    // Nothing to travel with: an empty write to a stream.
    if (sent < 0 || (sent === 0 && this.type === SOCK_STREAM)) for (const passenger of passengers) passenger.drop();
    return sent;
  }

  receive(message: Message, flags: number): number {
    const { endpoint } = this;
    message.flags = 0;
    if (flags & MSG_OOB) return -EOPNOTSUPP;
    if (this.type !== SOCK_DGRAM && !endpoint.isConnected) return this.type === SOCK_STREAM ? -EINVAL : -ENOTCONN;
    // An error is told before what still lies in the queue, of a stream behind it.
    if (this.type !== SOCK_STREAM && endpoint.error) return this.takeError();
    const parcel = endpoint.first();
    if (!parcel) return this.takeError() || (endpoint.receiveEnded ? 0 : -EAGAIN);
    if (!message.nameless) message.name = parcel.from === "" ? undefined : { family: AF_UNIX, path: parcel.from };
    return this.type === SOCK_STREAM ? this.receiveBytes(message, flags) : this.receiveParcel(parcel, message, flags);
  }

  private receiveParcel(parcel: Parcel, message: Message, flags: number): number {
    const { data } = parcel;
    const n = scatter(data, message.iov);
    if (n < data.length) message.flags = MSG_TRUNC;
    if (!(flags & MSG_PEEK)) {
      this.endpoint.consume(data.length);
      this.arrive(parcel, message, flags);
    }
    return flags & MSG_TRUNC ? data.length : n;
  }

  /** Bytes up to the first that descriptors came with, these included. */
  private receiveBytes(message: Message, flags: number): number {
    const { endpoint } = this;
    const isPeek = (flags & MSG_PEEK) !== 0;
    let done = 0;
    let index = 0;
    let offset = 0;
    for (const piece of message.iov) {
      for (let at = 0; at < piece.length; ) {
        const parcel = endpoint.at(index);
        if (!parcel) return done;
        const part = parcel.data.subarray(offset, offset + piece.length - at);
        piece.set(part, at);
        at += part.length;
        done += part.length;
        if (isPeek) {
          offset += part.length;
          if (offset === parcel.data.length) [index, offset] = [index + 1, 0];
          continue;
        }
        endpoint.consume(part.length);
        if (this.arrive(parcel, message, flags)) return done;
      }
    }
    return done;
  }

  /** Hands over what came along; true when there were descriptors. */
  private arrive(parcel: Parcel, message: Message, flags: number): boolean {
    if (this.settings.passCredentials && message.control?.length === 0) tellCredentials(parcel.credentials, message);
    const { passengers } = parcel;
    if (passengers.length === 0) return false;
    parcel.passengers = [];
    landPassengers(passengers, message, this.table, flags);
    return true;
  }

  override takeError(): number {
    const { error } = this.endpoint;
    this.endpoint.error = undefined;
    return error ? -errnoOf(error) : 0;
  }

  override settingChanged(which: string): void {
    if (which === "sendBuffer") this.endpoint.sendBuffer = this.settings.sendBuffer;
  }

  poll(): number {
    const { endpoint } = this;
    if (endpoint.isListening) return endpoint.error ? POLLERR : endpoint.waiting > 0 ? IN : 0;
    let mask = 0;
    if (endpoint.error) mask |= POLLERR;
    if (endpoint.receiveEnded) mask |= IN | POLLRDHUP;
    if (endpoint.receiveEnded && endpoint.sendEnded) mask |= POLLHUP;
    if (this.type !== SOCK_DGRAM && !endpoint.isConnected) mask |= POLLHUP;
    if (endpoint.first()) mask |= IN;
    if (endpoint.isWritable) mask |= OUT;
    return mask;
  }

  override ioctl(request: number, _argument: number): number {
    if (this.endpoint.isListening) return -EINVAL;
    if (request === FIONREAD) return this.endpoint.available;
    return request === TIOCOUTQ ? this.endpoint.outstanding : -ENOTTY;
  }

  localName(): SocketName {
    return { family: AF_UNIX, path: this.endpoint.name };
  }

  peerName(): SocketName | number {
    const { peer } = this.endpoint;
    return peer ? { family: AF_UNIX, path: peer.name } : -ENOTCONN;
  }
}

function isTooLong(path: string): boolean {
  return new TextEncoder().encode(path).length > UNIX_PATH_MAX;
}
