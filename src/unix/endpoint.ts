/**
 * One end of a Unix domain socket: stream, datagram or seqpacket (unix(7)). Nothing goes through the stack: what is sent
 * lies in the peer's queue, whole for datagrams, with the descriptors and credentials that came along.
 */
import { LoomError } from "../base/errors.ts";
import type { UnixNamespace } from "./namespace.ts";
import { type Credentials, messageCost, type Parcel, type Passenger } from "./parcel.ts";

export type UnixKind = "stream" | "datagram" | "seqpacket";

/** What has happened to an endpoint. */
export type UnixEvent = "readable" | "writable" | "closed";

/** What may wait at receivers (Linux: net.core.wmem_default), and datagrams at one of them (net.unix.max_dgram_qlen). */
const QUEUE_BYTES = 212_992;
const MOST_DATAGRAMS = 10;
/** A datagram must fit the buffer, less what Linux keeps for itself. */
const OVERHEAD = 32;

/** A parcel with who pays for it. */
interface SentParcel extends Parcel {
  readonly sender: UnixEndpoint;
  cost: number;
  /** What the kernel would count for it until the last of it has been read. */
  readonly size: number;
}

export class UnixEndpoint {
  readonly kind: UnixKind;
  readonly namespace: UnixNamespace<UnixEndpoint>;
  readonly credentials: Credentials;
  name = "";
  peer: UnixEndpoint | undefined;
  /** Was connected: what a stream says after its peer has gone differs from before. */
  isConnected = false;
  isClosed = false;
  /** Nothing more is received, or sent; both when the peer has closed. */
  receiveEnded = false;
  sendEnded = false;
  /** Error that waits to be reported, once. */
  error: LoomError | undefined;
  onEvent: ((event: UnixEvent) => void) | undefined;
  /** What of ours may wait at receivers: bytes of a stream, the cost of messages. */
  sendBuffer = QUEUE_BYTES;
  peerCredentials: Credentials | undefined;
  private readonly queue: SentParcel[] = [];
  private queued = 0;
  /** What of ours waits to be read, wherever it was sent to (sk_wmem_alloc). */
  private unread = 0;
  /** The same as the kernel counts it, of streams too (TIOCOUTQ). */
  outstanding = 0;
  /** Senders that found the queue full, or looked whether it is: they hear when it is not. */
  private readonly waitingSenders = new Set<UnixEndpoint>();
  /** Of a listener: most connections that wait, and those. */
  private backlog = -1;
  private readonly arrivals: UnixEndpoint[] = [];

  constructor(namespace: UnixNamespace<UnixEndpoint>, kind: UnixKind, credentials: Credentials) {
    this.namespace = namespace;
    this.kind = kind;
    this.credentials = credentials;
    namespace.enter(this);
  }

  /** Two ends that are connected and have no name (socketpair(2)). */
  static pair(namespace: UnixNamespace<UnixEndpoint>, kind: UnixKind, credentials: Credentials): [UnixEndpoint, UnixEndpoint] {
    const [a, b] = [0, 1].map(() => new UnixEndpoint(namespace, kind, credentials));
    a.join(b);
    b.join(a);
    return [a, b];
  }

  private join(peer: UnixEndpoint): void {
    this.peer = peer;
    this.isConnected = true;
    this.peerCredentials = peer.credentials;
  }

  // ── Names and connections ─────────────────────────────────────────────────────────────────────

  /** "" chooses an abstract name. Throws EINVAL when there is a name already, EADDRINUSE. */
  bind(name: string): void {
    if (this.name !== "") throw new LoomError("EINVAL", "the socket has a name already");
    const chosen = name || this.namespace.freeName(this.kind);
    this.namespace.bind(chosen, this);
    this.name = chosen;
  }

  get isListening(): boolean {
    return this.backlog >= 0;
  }

  listen(backlog: number): void {
    if (this.name === "" || this.isConnected) throw new LoomError("EINVAL", "a socket must be bound, and not connected, to listen");
    this.backlog = backlog;
  }

  /** Connections that wait to be accepted. */
  get waiting(): number {
    return this.arrivals.length;
  }

  accept(): UnixEndpoint | undefined {
    const arrival = this.arrivals.shift();
    if (arrival) this.onEvent?.("writable");
    return arrival;
  }

  /** Throws ENOENT, ECONNREFUSED, EAGAIN when the backlog is full, EISCONN, EPROTOTYPE for another kind. */
  connect(name: string): void {
    const other = this.namespace.find(name, this.kind);
    if (other.kind !== this.kind) throw new LoomError("EPROTOTYPE", "that name belongs to another kind of socket");
    if (this.kind === "datagram") {
      if (other.peer && other.peer !== this) throw new LoomError("EPERM", "that socket talks to somebody else");
      this.join(other);
      return;
    }
    if (!other.isListening || other.receiveEnded) throw new LoomError("ECONNREFUSED", "nobody listens there");
    if (this.isListening) throw new LoomError("EINVAL", "the socket listens");
    if (other.arrivals.length > other.backlog) throw new LoomError("EAGAIN", "too many wait to be accepted");
    if (this.isConnected) throw new LoomError("EISCONN", "the socket is connected");
    const arrival = new UnixEndpoint(this.namespace, this.kind, other.credentials);
    arrival.name = other.name;
    arrival.join(this);
    this.join(arrival);
    other.arrivals.push(arrival);
    other.onEvent?.("readable");
  }

  /** A datagram socket without a peer again. */
  disconnect(): void {
    this.peer = undefined;
    this.isConnected = false;
  }

  // ── Data ──────────────────────────────────────────────────────────────────────────────────────

  /** Bytes that a stream takes now. */
  get room(): number {
    return this.peer ? Math.max(0, this.sendBuffer - this.unread) : 0;
  }

  /** Would a send be taken? If not, "writable" comes when it would. */
  get isWritable(): boolean {
    if (this.isListening) return false;
    const { peer } = this;
    if (this.kind === "datagram" && peer && this.isFull(peer)) return false;
    return this.unread * 4 <= this.sendBuffer;
  }

  /** Whether a receiver has as many datagrams as may wait; ours alone, of two that talk to one another, are bounded by our buffer. */
  private isFull(receiver: UnixEndpoint): boolean {
    if (receiver.isClosed || receiver.peer === this || receiver.queue.length <= MOST_DATAGRAMS) return false;
    receiver.waitingSenders.add(this);
    return true;
  }

  /**
   * Sends to the peer, or (datagrams) to a name; returns the bytes taken. Throws EPIPE, ENOTCONN, ECONNREFUSED, ENOENT,
   * EMSGSIZE, and EAGAIN when the peer's queue is full.
   */
  send(data: Uint8Array, passengers: readonly Passenger[] = [], to?: string): number {
    if (this.isClosed && this.error) throw this.error;
    if (this.kind === "datagram") return this.sendDatagram(data, passengers, to);
    if (!this.isConnected) throw new LoomError("ENOTCONN", "the socket is not connected");
    const { peer } = this;
    if (this.sendEnded || !peer || peer.isClosed || peer.receiveEnded) throw new LoomError("EPIPE", "the peer does not read any more");
    if (this.kind === "seqpacket") {
      this.checkSize(data);
      if (this.unread >= this.sendBuffer) throw new LoomError("EAGAIN", "the peer's queue is full");
      peer.put(data.slice(), passengers, this);
      return data.length;
    }
    const n = Math.min(data.length, this.room);
    if (n === 0 && data.length > 0) throw new LoomError("EAGAIN", "the peer's queue is full");
    if (n > 0) peer.put(data.slice(0, n), passengers, this);
    return n;
  }

  private sendDatagram(data: Uint8Array, passengers: readonly Passenger[], to: string | undefined): number {
    const peer = to === undefined ? this.peer : this.namespace.find(to, this.kind);
    if (!peer) throw new LoomError("ENOTCONN", "the socket is not connected and no name was given");
    if (peer.kind !== this.kind) throw new LoomError("EPROTOTYPE", "that name belongs to another kind of socket");
    this.checkSize(data);
    if (this.sendEnded) throw new LoomError("EPIPE", "the socket sends no more");
    if (peer.isClosed) {
      this.disconnect();
      throw new LoomError("ECONNREFUSED", "the peer has gone");
    }
    if (peer.receiveEnded) throw new LoomError("EPIPE", "the peer does not read any more");
    if (peer.peer && peer.peer !== this) throw new LoomError("EPERM", "that socket talks to somebody else");
    // As Linux: what is below the limit lets a message in, whatever its size.
    if (this.isFull(peer) || this.unread >= this.sendBuffer) throw new LoomError("EAGAIN", "the peer's queue is full");
    peer.put(data.slice(), passengers, this);
    return data.length;
  }

  private checkSize(data: Uint8Array): void {
    if (data.length > this.sendBuffer - OVERHEAD) throw new LoomError("EMSGSIZE", `a message of ${data.length} bytes is too long`);
  }

  private put(data: Uint8Array, passengers: readonly Passenger[], from: UnixEndpoint): void {
    const size = messageCost(data.length);
    const cost = this.kind === "stream" ? data.length : size;
    this.queue.push({ data, from: from.name, credentials: from.credentials, passengers, sender: from, cost, size });
    from.outstanding += size;
    this.queued += data.length;
    from.unread += cost;
    this.onEvent?.("readable");
  }

  /** The oldest parcel, still in the queue. */
  first(): Parcel | undefined {
    return this.queue[0];
  }

  /** The parcel at a place of the queue. */
  at(index: number): Parcel | undefined {
    return this.queue[index];
  }

  /** What waits in the queue, and in those of connections that wait to be accepted. */
  *passengers(): Iterable<Passenger> {
    for (const parcel of this.queue) yield* parcel.passengers;
    for (const arrival of this.arrivals) yield* arrival.passengers();
  }

  /** Gives back all that came along: nobody will receive it. */
  dropPassengers(): void {
    const all = [...this.passengers()];
    for (const each of [this, ...this.arrivals]) for (const parcel of each.queue) parcel.passengers = [];
    for (const passenger of all) passenger.drop();
  }

  /** Takes `bytes` of the first parcel; a datagram goes as a whole. */
  consume(bytes: number): void {
    const parcel = this.queue[0];
    if (this.kind === "stream" && bytes < parcel.data.length) {
      parcel.data = parcel.data.subarray(bytes);
      this.queued -= bytes;
      parcel.cost -= bytes;
      parcel.sender.unread -= bytes;
    } else {
      this.queue.shift();
      this.queued -= parcel.data.length;
      parcel.sender.unread -= parcel.cost;
      parcel.sender.outstanding -= parcel.size;
    }
    parcel.sender.onEvent?.("writable");
    this.tellSenders();
  }

  /** There is room in the queue, or it will never be read again: either is news for those who wait to send. */
  private tellSenders(): void {
    if (this.waitingSenders.size === 0) return;
    const senders = [...this.waitingSenders];
    this.waitingSenders.clear();
    for (const sender of senders) sender.onEvent?.("writable");
  }

  /** Bytes that can be read: of the first datagram, or in all. */
  get available(): number {
    return this.kind === "stream" ? this.queued : (this.queue[0]?.data.length ?? 0);
  }

  // ── Ending ────────────────────────────────────────────────────────────────────────────────────

  /** Ends one direction or both; a connected peer sees the mirror image. */
  shutdown(receive: boolean, send: boolean): void {
    this.receiveEnded ||= receive;
    this.sendEnded ||= send;
    this.onEvent?.("closed");
    if (receive) this.tellSenders();
    const { peer } = this;
    if (!peer || this.kind === "datagram") return;
    peer.receiveEnded ||= send;
    peer.sendEnded ||= receive;
    peer.onEvent?.("closed");
  }

  /** Closes this end: a connected peer reads what is there, then the end; or ECONNRESET, when this end had not read all. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.onEvent = undefined;
    this.namespace.release(this.name, this);
    for (const arrival of this.arrivals.splice(0)) arrival.end(true);
    this.end(this.queue.length > 0);
  }

  /** The host ends it: its owner is told why, and its peer is another's to end. */
  shut(why: LoomError): void {
    if (this.isClosed) return;
    const { onEvent } = this;
    this.peer = undefined;
    this.close();
    this.error = why;
    this.receiveEnded = this.sendEnded = true;
    this.onEvent = onEvent;
    onEvent?.("closed");
  }

  private end(hadUnread: boolean): void {
    this.isClosed = true;
    this.namespace.leave(this);
    for (const { passengers, sender, cost, size } of this.queue.splice(0)) {
      sender.unread -= cost;
      sender.outstanding -= size;
      if (sender !== this.peer) sender.onEvent?.("writable");
      for (const passenger of passengers) passenger.drop();
    }
    this.queued = 0;
    this.tellSenders();
    const { peer } = this;
    peer?.waitingSenders.delete(this);
    if (!peer || peer.isClosed || this.kind === "datagram") return;
    if (hadUnread) peer.error = new LoomError("ECONNRESET", "the peer closed without reading everything");
    peer.receiveEnded = peer.sendEnded = true;
    peer.onEvent?.("closed");
  }
}
