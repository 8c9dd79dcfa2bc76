/**
 * One UDP endpoint: bound to a port, perhaps connected, with what it sends by, what it hears, and what came back
 * (RFC 768, RFC 1122 §4.1, RFC 1112 §6, RFC 3678).
 */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import { icmpErrno } from "../ip/icmp-errno.ts";
import type { NetInterface } from "../ip/interface.ts";
import { type SourceFilter, sourceFilter } from "../ip/multicast/filter.ts";
import type { IpStack, Path } from "../ip/stack.ts";
import type { Datagram, DatagramBatch, SendOptions, SocketError } from "./datagram.ts";
import { errorOf, socketError } from "./errors.ts";
import { type GroupOptions, Groups } from "./groups.ts";
import { ReceiveQueue } from "./receive-queue.ts";

export type { Datagram, DatagramBatch, SendOptions, SocketError } from "./datagram.ts";

/** Where one datagram goes and how. */
export interface Envelope {
  readonly source: IpAddress;
  readonly sourcePort: number;
  readonly to: IpAddress;
  readonly port: number;
  readonly path: Path;
  readonly hopLimit: number;
  readonly trafficClass: number;
  /** Bytes of each datagram when there are several; 0 for one. */
  readonly segmentSize: number;
  /** May be cut to the path's MTU. */
  readonly mayFragment: boolean;
  /** A copy stays here: groups and broadcasts. */
  readonly loop: boolean;
}

/** What an endpoint needs of its layer. */
export interface UdpWorld {
  readonly stack: IpStack;
  transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number, to: number): void;
  release(endpoint: UdpEndpoint): void;
}

/** Linux: net.core.rmem_default. */
const QUEUE_BYTES = 212_992;
const MOST_ERRORS = 64;
/** Linux: UDP_MAX_SEGMENTS. */
export const MOST_SEGMENTS = 64;
/** Datagrams that are sent as one share a slab. */
const RUN_BYTES = 16_384;

export interface EndpointOptions {
  /** Several sockets share the port, and flows are spread over them (SO_REUSEPORT). */
  reusePort?: boolean;
  /** Several sockets may have the port; the last takes what is for one (SO_REUSEADDR). */
  reuseAddress?: boolean;
  /** Bound to all addresses, but not to those of IPv4 (RFC 3493 §5.3). */
  v6Only?: boolean;
}

export class UdpEndpoint {
  private readonly layer: UdpWorld;
  readonly local: IpAddress;
  readonly port: number;
  readonly options: EndpointOptions;
  /** The only peer, when connected. */
  remote: IpAddress | undefined;
  remotePort = 0;
  /** TTL or hop limit of datagrams to one destination; undefined: what routers of the link say, else 64. */
  hopLimit: number | undefined;
  /** TOS or traffic class of what is sent. */
  trafficClass = 0;
  broadcast = false;
  /** Only by this interface, both ways (SO_BINDTODEVICE). */
  device: NetInterface | undefined;
  /** What rules may look at (SO_MARK); set before the first datagram to a peer. */
  mark: number | undefined;
  /** Also groups that other sockets joined (IP_MULTICAST_ALL). */
  multicastAll = true;
  /** False: larger than the path's MTU is an error (IP_MTU_DISCOVER: IP_PMTUDISC_DO). */
  mayFragment = true;
  /** Keep errors about what was sent for `readError`, unconnected or not (IP_RECVERR). */
  receiveErrors = false;
  /** Bytes that may wait to be read, each batch with its overhead (SO_RCVBUF). */
  receiveBuffer = QUEUE_BYTES;
  drops = 0;
  /** Called when a datagram or an error arrived. */
  onEvent: (() => void) | undefined;
  closed = false;
  /** Why it was closed, when not by its owner. */
  private over: LoomError | undefined;
  private readonly groups: Groups;
  private readonly queue = new ReceiveQueue();
  private readonly errors: SocketError[] = [];
  private multicastTtl = 1;
  private multicastLoop = true;
  private multicastInterface: NetInterface | undefined;
  private error: LoomError | undefined;
  private path: Path | undefined;
  private pathTo: IpAddress | undefined;
  private pathBy: NetInterface | undefined;
  private pathPort = 0;
  private readonly one: Uint8Array[] = [];

  constructor(layer: UdpWorld, local: IpAddress, port: number, options: EndpointOptions = {}) {
    this.layer = layer;
    this.local = local;
    this.port = port;
    this.options = options;
    this.groups = new Groups(layer.stack);
  }

  // ── Groups ────────────────────────────────────────────────────────────────────────────────────

  /** Joins a group, for all sources or for some. EADDRINUSE, EADDRNOTAVAIL, EINVAL as setsockopt. */
  join(group: IpAddress, options: GroupOptions = {}): void {
    this.groups.join(group, options);
  }

  leave(group: IpAddress, options: GroupOptions = {}): void {
    this.groups.leave(group, options);
  }

  /** Stops to hear one source of a joined group, or hears it again. */
  blockSource(group: IpAddress, source: IpAddress, on: boolean, iface?: NetInterface): void {
    this.groups.block(group, source, on, iface);
  }

  /** Sources of a group on an interface: only these, or all but these (RFC 3678 §4.1.2). */
  setSourceFilter(group: IpAddress, iface: NetInterface, mode: SourceFilter["mode"], sources: readonly IpAddress[]): void {
    this.groups.set(group, iface, sourceFilter(mode, sources));
  }

  sourceFilter(group: IpAddress, iface: NetInterface): SourceFilter | undefined {
    return this.groups.filterOf(group, iface);
  }

  /** Hop limit of what is sent to groups: 0 stays in this host. Default 1. */
  setMulticastTtl(ttl: number): void {
    if (!(Number.isInteger(ttl) && ttl >= 0 && ttl <= 255)) throw new LoomError("EINVAL", `TTL ${ttl}; expected 0 to 255`);
    this.multicastTtl = ttl;
  }

  /** The interface by which groups are sent to; undefined: as routes say, else the first. */
  setMulticastInterface(iface: NetInterface | undefined): void {
    this.multicastInterface = iface;
  }

  /** Whether members on this host hear what this socket sends to groups. Default true. */
  setMulticastLoop(on: boolean): void {
    this.multicastLoop = on;
  }

  /** The group membership of a datagram that came in. */
  hears(group: IpAddress, iface: NetInterface | undefined, source: IpAddress): boolean {
    return this.groups.accepts(group, iface, source, this.multicastAll);
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────────

  /** From now on only this peer is heard, and its errors are reported (RFC 1122 §4.1.3.3). A link-local peer is on one interface. */
  connect(remote: IpAddress, port: number, zone?: NetInterface): void {
    if (remote.family === 6 && remote.isLinkLocal) this.device ??= zone ?? this.layer.stack.pathTo(remote).iface;
    const { iface } = this.layer.stack.pathTo(remote, this.device);
    if (!this.broadcast && iface?.isBroadcast(remote)) throw new LoomError("EACCES", "broadcast is not allowed on this socket");
    this.remote = remote;
    this.remotePort = port;
  }

  /** Sends one datagram (or, with a segment size, several from one piece of memory); throws what an operating system would return. */
  send(data: Uint8Array, to = this.remote, port = this.remotePort, options?: SendOptions): void {
    const { one } = this;
    one[0] = data;
    const segmentSize = options?.segmentSize ?? 0;
    if (segmentSize !== 0 && !(segmentSize > 0 && data.length <= segmentSize * MOST_SEGMENTS)) {
      throw new LoomError("EINVAL", `${data.length} bytes in segments of ${segmentSize}; expected at most ${MOST_SEGMENTS} segments`);
    }
    this.layer.transmit(this.envelope(to, port, segmentSize, options), one, 0, 1);
    this.layer.stack.flush();
  }

  /** Sends datagrams to one peer: runs of one size go down as one packet and are cut where it is cheapest. */
  sendMany(datagrams: readonly Uint8Array[], to = this.remote, port = this.remotePort, options?: SendOptions): void {
    const envelope = this.envelope(to, port, 0, options);
    const fits = envelope.path.mtu - (envelope.to.family === 4 ? 28 : 48);
    for (let from = 0; from < datagrams.length; ) {
      const size = datagrams[from].length;
      const end = size === 0 || size > fits ? from + 1 : runEnd(datagrams, from);
      this.layer.transmit(end - from === 1 ? envelope : { ...envelope, segmentSize: size }, datagrams, from, end);
      from = end;
    }
    this.layer.stack.flush();
  }

  private envelope(to: IpAddress | undefined, port: number, segmentSize: number, options: SendOptions | undefined): Envelope {
    this.throwPending();
    this.throwIfClosed();
    if (!to) throw new LoomError("ENOTCONN", "the socket is not connected and no destination was given");
    if (!(port >= 1 && port <= 65_535)) throw new LoomError("EINVAL", `port ${port}; expected 1 to 65535`);
    const { stack } = this.layer;
    stack.touch();
    const group = to.isMulticast;
    const path = this.findPath(to, port, options?.iface ?? this.device ?? (group ? this.multicastInterface : undefined));
    if (path.hop === 0) throw new LoomError("ENETUNREACH", `there is no route to ${to}`);
    const isBroadcast = !group && (path.iface?.isBroadcast(to) ?? false);
    if (isBroadcast && !this.broadcast) throw new LoomError("EACCES", "broadcast is not allowed on this socket");
    const source = options?.source ?? (this.local.isUnspecified || this.local.isMulticast ? stack.sourceFor(to, path) : this.local);
    if (!source) throw new LoomError("EADDRNOTAVAIL", `no address of this host can reach ${to}`);
    const usual = group ? this.multicastTtl : (this.hopLimit ?? (to.family === 6 ? (path.iface?.hopLimit ?? 64) : 64));
    return {
      source,
      sourcePort: this.port,
      to,
      port,
      path,
      hopLimit: options?.hopLimit ?? usual,
      trafficClass: options?.trafficClass ?? this.trafficClass,
      segmentSize,
      mayFragment: this.mayFragment,
      loop: group ? this.multicastLoop && (path.iface?.isMember(to) ?? false) : isBroadcast,
    };
  }

  /** Datagrams go in runs to one peer: its path is found once. */
  private findPath(to: IpAddress, port: number, iface: NetInterface | undefined): Path {
    const { stack } = this.layer;
    const isKnown = this.path?.generation === stack.routes.generation && this.pathBy === iface && this.pathPort === port;
    if (!this.path || !isKnown || !this.pathTo?.equals(to)) {
      const source = this.local.isUnspecified ? undefined : this.local;
      this.path = stack.pathTo(to, iface, { source, mark: this.mark, protocol: 17, sourcePort: this.port, destinationPort: port });
      this.pathPort = port;
      this.pathTo = to;
      this.pathBy = iface;
    }
    return this.path;
  }

  // ── Receiving ─────────────────────────────────────────────────────────────────────────────────

  /** The oldest datagram, or undefined when none waits. Throws what came back for a connected socket. */
  read(): Datagram | undefined {
    this.throwPending();
    return this.queue.take();
  }

  /** Datagrams of one flow as they came, in one piece of memory. */
  readBatch(): DatagramBatch | undefined {
    this.throwPending();
    return this.queue.takeBatch();
  }

  /** Hands up to `most` datagrams to a function; returns how many. Nothing is made for each but the view of its bytes. */
  readMany(handler: (data: Uint8Array, from: DatagramBatch) => void, most = Number.POSITIVE_INFINITY): number {
    this.throwPending();
    return this.queue.drain(handler, most);
  }

  get readable(): boolean {
    return !this.queue.isEmpty || this.error !== undefined;
  }

  /** Bytes of the next datagram, -1 when none waits (FIONREAD). */
  get nextLength(): number {
    return this.queue.nextLength;
  }

  /** EPIPE, or why the host closed it. */
  throwIfClosed(): void {
    if (this.closed) throw this.over ?? new LoomError("EPIPE", "the socket is closed");
  }

  private throwPending(): void {
    const { error } = this;
    // What the host's end says, it says always.
    this.error = this.over;
    if (error) throw error;
  }

  accepts(source: IpAddress, port: number): boolean {
    return !this.remote || (this.remotePort === port && this.remote.equals(source));
  }

  /** Takes what was received; false when the queue is full. */
  deliver(batch: DatagramBatch): boolean {
    if (!this.queue.push(batch, this.receiveBuffer)) {
      const { data, segmentSize } = batch;
      this.drops += data.length > segmentSize ? Math.ceil(data.length / segmentSize) : 1;
      return false;
    }
    this.onEvent?.();
    return true;
  }

  // ── Errors ────────────────────────────────────────────────────────────────────────────────────

  /** The oldest error about a datagram of this socket, while `receiveErrors` is set (MSG_ERRQUEUE). */
  readError(): SocketError | undefined {
    return this.errors.shift();
  }

  get hasErrors(): boolean {
    return this.errors.length > 0;
  }

  failed(report: IcmpErrorReport): void {
    const error = socketError(report);
    if (this.receiveErrors && this.errors.length < MOST_ERRORS) this.errors.push(error);
    // What is too big is cut from now on: nothing that the program has to know.
    const isHard = report.kind === "tooBig" ? !this.mayFragment : icmpErrno(report.source.family, report.type, report.code).isHard;
    // What may pass is for those alone who ask for errors; what this host itself found out is for everybody.
    const matters = this.remote !== undefined && (isHard || (report.isLocal === true && report.kind !== "tooBig"));
    if (matters || this.receiveErrors) this.error = errorOf(error);
    if (matters || this.receiveErrors) this.onEvent?.();
  }

  /** `why`: the host ends it, and not its owner. */
  close(why?: LoomError): void {
    if (this.closed) return;
    this.closed = true;
    this.over = why;
    this.error = why;
    this.groups.leaveAll();
    this.queue.clear();
    this.errors.length = 0;
    this.layer.release(this);
    this.onEvent?.();
  }
}

/** Where a run of datagrams of one size ends; only its last may be shorter. */
function runEnd(datagrams: readonly Uint8Array[], from: number): number {
  const size = datagrams[from].length;
  const most = Math.min(datagrams.length, from + Math.max(1, Math.min(MOST_SEGMENTS, Math.floor(RUN_BYTES / size))));
  let end = from + 1;
  while (end < most && datagrams[end].length === size) end++;
  if (end < most && datagrams[end].length < size && datagrams[end].length > 0) end++;
  return end;
}
