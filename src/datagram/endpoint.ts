/**
 * An endpoint of datagrams: bound to an address, perhaps connected, with what it sends by, what it hears, and what came back
 * (RFC 1122 §4.1, RFC 1112 §6, RFC 3678). How its bytes become packets, and which packets are for it, its protocol says.
 */
import { LoomError } from "../base/errors.ts";
import { type IpAddress, LOOPBACK } from "../base/ip-address.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import { icmpErrno } from "../ip/icmp-errno.ts";
import type { NetInterface } from "../ip/interface.ts";
import { type SourceFilter, sourceFilter } from "../ip/multicast/filter.ts";
import type { IpStack, Path } from "../ip/stack.ts";
import { standsFor } from "../ip/wildcard.ts";
import type { Datagram, DatagramBatch, SendOptions, SocketError } from "./datagram.ts";
import { DISCOVERY, type Discovery } from "./discovery.ts";
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
  /** May it be cut here, and by routers? */
  readonly mayFragment: boolean;
  readonly mayBeCut: boolean;
  /** A copy stays here: groups and broadcasts. */
  readonly loop: boolean;
  /** SO_MARK, 0 without. */
  readonly mark: number;
}

/** Linux: net.core.rmem_default. */
const QUEUE_BYTES = 212_992;
const MOST_ERRORS = 64;

export interface EndpointOptions {
  /** Several sockets share the port, and flows are spread over them (SO_REUSEPORT). */
  reusePort?: boolean;
  /** Several sockets may have the port; the last takes what is for one (SO_REUSEADDR). */
  reuseAddress?: boolean;
  /** Bound to all addresses, but not to those of IPv4 (RFC 3493 §5.3). */
  v6Only?: boolean;
}

/** RFC 1122 §3.2.1.3 (g), RFC 4291 §2.5.3: no address of loopback leaves the host. */
function checkReach(source: IpAddress, to: IpAddress, path: Path): void {
  if (source.isLoopback && !path.isLocal) throw new LoomError("EINVAL", `${source} reaches nobody but this host, and ${to} is not of it`);
}

const sameAddress = (a: IpAddress | undefined, b: IpAddress | undefined) => a === b || (a !== undefined && b !== undefined && a.equals(b));

export abstract class DatagramEndpoint {
  protected readonly stack: IpStack;
  /** Its number in IP headers. */
  readonly protocol: number;
  local: IpAddress;
  /** 0 where the protocol has no ports, and while it has none. */
  port: number;
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
  /** What rules may look at (SO_MARK). */
  mark = 0;
  /** Also groups that other sockets joined (IP_MULTICAST_ALL). */
  multicastAll = true;
  /** What becomes of what is larger than the path takes (IP_MTU_DISCOVER). */
  discovery: Discovery = DISCOVERY.want;
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
  /** The interface by which all else is sent, where nothing else says so (IP_UNICAST_IF). */
  unicastInterface: NetInterface | undefined;
  private error: LoomError | undefined;
  private path: Path | undefined;
  private pathTo: IpAddress | undefined;
  private pathBy: NetInterface | undefined;
  private pathPort = 0;
  /** The source that was asked for with it. */
  private pathFrom: IpAddress | undefined;
  /** That, or the address bound to, if packets can come from it: of what is bound to a group, or to a broadcast address, they come from the best. */
  private pathSource: IpAddress | undefined;
  private readonly one: Uint8Array[] = [];

  constructor(stack: IpStack, protocol: number, local: IpAddress, port: number, options: EndpointOptions = {}) {
    this.stack = stack;
    this.protocol = protocol;
    this.local = local;
    this.port = port;
    this.options = options;
    this.groups = new Groups(stack);
  }

  /** Sends `parts[from..to)`: one datagram, or one after the other in one packet that is cut below. */
  protected abstract transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number, to: number): void;
  /** Nothing is for it any more. */
  protected abstract release(): void;
  /** Throws EINVAL for a port that cannot be sent to. */
  protected abstract checkPort(port: number): void;

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
  connect(to: IpAddress, port: number, zone?: NetInterface): void {
    const remote = this.specified(to);
    this.checkFamilies(remote, this.local);
    if (remote.family === 6 && remote.isLinkLocal) this.device ??= zone ?? this.stack.pathTo(remote).iface;
    const path = this.stack.pathTo(remote, this.device);
    const { iface } = path;
    if (path.hop !== 0) checkReach(this.local, remote, path);
    if (!this.broadcast && iface?.isBroadcast(remote)) throw new LoomError("EACCES", "broadcast is not allowed on this socket");
    this.remote = remote;
    this.remotePort = port;
  }

  /** Sends one datagram (or, with a segment size, several from one piece of memory); throws what an operating system would return. */
  send(data: Uint8Array, to = this.remote, port = this.remotePort, options?: SendOptions): void {
    const { one } = this;
    one[0] = data;
    this.transmit(this.envelope(to, port, options?.segmentSize ?? 0, options), one, 0, 1);
    this.stack.flush();
  }

  /** Sends datagrams to one peer. */
  sendMany(datagrams: readonly Uint8Array[], to = this.remote, port = this.remotePort, options?: SendOptions): void {
    const envelope = this.envelope(to, port, 0, options);
    for (let i = 0; i < datagrams.length; i++) this.transmit(envelope, datagrams, i, i + 1);
    this.stack.flush();
  }

  /** "Any" of the addresses to send to is this host, as the socket is bound or by loopback. */
  private specified(to: IpAddress): IpAddress {
    if (!to.isUnspecified) return to;
    return this.local.isUnspecified ? LOOPBACK[to.family] : this.local;
  }

  /** What is bound to an address of one family, or to IPv6 alone, does not speak the other. */
  private checkFamilies(to: IpAddress, from: IpAddress): void {
    if (to.family === 4 && this.local.family === 6 && this.options.v6Only)
      throw new LoomError("ENETUNREACH", `${to} is of IPv4, and the socket is for IPv6 alone`);
    if (from.family !== to.family && !from.isUnspecified) throw new LoomError("EINVAL", `${from} and ${to} are of different families`);
  }

  protected envelope(destination: IpAddress | undefined, port: number, segmentSize: number, options: SendOptions | undefined): Envelope {
    this.throwPending();
    this.throwIfClosed();
    if (!destination) throw new LoomError("ENOTCONN", "the socket is not connected and no destination was given");
    const to = this.specified(destination);
    this.checkPort(port);
    this.checkFamilies(to, options?.source ?? this.local);
    const { stack } = this;
    stack.touch();
    const group = to.isMulticast;
    const device = options?.iface ?? this.device ?? (group ? this.multicastInterface : this.unicastInterface);
    const found = this.findPath(to, port, device, options?.source);
    if (found.hop === 0) throw this.unreachable(to, options?.source);
    const path = this.discovery.byLink && found.mtu < found.linkMtu ? { ...found, mtu: found.linkMtu } : found;
    const isBroadcast = !group && (path.iface?.isBroadcast(to) ?? false);
    if (isBroadcast && !this.broadcast) throw new LoomError("EACCES", "broadcast is not allowed on this socket");
    const source = this.pathSource ?? stack.sourceFor(to, path);
    if (!source) throw new LoomError("EADDRNOTAVAIL", `no address of this host can reach ${to}`);
    checkReach(source, to, path);
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
      mayFragment: this.discovery.mayFragment,
      mayBeCut: this.discovery.mayBeCut,
      mark: this.mark,
      loop: group ? this.multicastLoop && (path.iface?.isMember(to) ?? false) : isBroadcast,
    };
  }

  /** The way is looked for anew: what it was found by has changed. */
  setMark(mark: number): void {
    this.mark = mark;
    this.forgetPath();
  }

  protected forgetPath(): void {
    this.path = undefined;
  }

  private unreachable(to: IpAddress, given: IpAddress | undefined): LoomError {
    const source = this.pathSource;
    if (!source || this.stack.isSource(source)) return new LoomError("ENETUNREACH", `there is no route to ${to}`);
    return new LoomError("EINVAL", `${source}${given ? "" : ", which the socket is bound to,"} is not an address of this host`);
  }

  /** Datagrams go in runs to one peer: its path is found once. */
  private findPath(to: IpAddress, port: number, iface: NetInterface | undefined, given: IpAddress | undefined): Path {
    const { stack } = this;
    const isSame = this.pathBy === iface && this.pathPort === port && sameAddress(this.pathFrom, given);
    if (!this.path || this.path.generation !== stack.routes.generation || !isSame || !this.pathTo?.equals(to)) {
      const { local } = this;
      const isNone = local.isUnspecified || local.isMulticast || stack.isBroadcast(local);
      this.pathSource = given ?? (isNone ? undefined : local);
      this.pathFrom = given;
      this.path = stack.pathTo(to, iface, {
        source: this.pathSource,
        mark: this.mark || undefined,
        protocol: this.protocol,
        sourcePort: this.port,
        destinationPort: port,
      });
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

  /** Bytes of all that waits. */
  get unread(): number {
    return this.queue.bytes;
  }

  /** Bytes of the next datagram, -1 when none waits (FIONREAD). */
  get nextLength(): number {
    return this.queue.nextLength;
  }

  /** EPIPE, or why the host closed it. */
  throwIfClosed(): void {
    if (this.closed) throw this.over ?? new LoomError("EPIPE", "the socket is closed");
  }

  /** The host has ended it. */
  get isOver(): boolean {
    return this.over !== undefined;
  }

  /** What came back for a connected socket, once; that the host has ended, always. */
  takeError(): LoomError | undefined {
    const { error } = this;
    this.error = this.over;
    return error;
  }

  private throwPending(): void {
    const error = this.takeError();
    if (error) throw error;
  }

  /** Is an address one of those it is bound to? */
  covers(address: IpAddress): boolean {
    const { local, options } = this;
    return local.isUnspecified ? standsFor(local, options.v6Only, address.family) : local.equals(address);
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

  /** Is an error about something that this endpoint sent, to a port if its protocol has any? */
  hasSent({ source, destination, iface }: IcmpErrorReport, port = 0): boolean {
    if (!this.accepts(destination, port) || !this.covers(source)) return false;
    return !this.device || !iface || this.device === iface;
  }

  failed(report: IcmpErrorReport): void {
    const error = socketError(report);
    if (this.receiveErrors && this.errors.length < MOST_ERRORS) this.errors.push(error);
    // What is too big is cut from now on: nothing that the program has to know.
    const isHard =
      report.kind === "tooBig" ? !this.discovery.mayFragment : icmpErrno(report.source.family, report.type, report.code).isHard;
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
    this.release();
    this.onEvent?.();
  }
}
