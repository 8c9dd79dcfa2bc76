/** A socket for datagrams, UDP's or raw ones: `send`, `receive`, or `for await (const datagram of socket)`; whole batches in one call; groups. */
import { invalid, type LoomError } from "../base/errors.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { IpAddress } from "../base/ip-address.ts";
import { checkOptions, shown } from "../base/options.ts";
import { DISCOVERY } from "../datagram/discovery.ts";
import type { DatagramBatch, DatagramEndpoint, SendOptions, SocketError } from "../datagram/endpoint.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack } from "../ip/stack.ts";
import { endText, formatZoned, type ZonedAddress } from "../ip/zone.ts";
import { type DatagramSettings, MEMBERSHIP, type MembershipOptions, SETTINGS } from "./datagram-options.ts";
import type { SocketAddress } from "./stream.ts";

export interface ReceivedDatagram extends SocketAddress {
  readonly data: Uint8Array;
  /** Where it was sent to, and the interface it came by. */
  readonly destination: string;
  readonly interface: string | undefined;
  readonly hopLimit: number;
  /** TOS or traffic class: DSCP, and ECN in the low two bits. */
  readonly trafficClass: number;
}

/** Where a datagram goes. Raw sockets know no ports. */
export interface Peer {
  readonly address: string;
  readonly port?: number;
}

/** More may stand beside them: a datagram that was received names where to answer. */
function checkPeer(what: string, to: Peer): void {
  if (typeof to?.address === "string") return;
  throw invalid(`${what}: address is ${shown(to?.address)}; expected { address: "192.0.2.1", port: 53 }`);
}

function noBytes(data: unknown): LoomError {
  return invalid(`${shown(data)} is no datagram; expected a Uint8Array (new TextEncoder().encode(text) makes one)`);
}

export class DatagramSocket implements AsyncIterable<ReceivedDatagram> {
  /** Called once when it is closed, by whomever. */
  onClose: (() => void) | undefined;
  private readonly endpoint: DatagramEndpoint;
  private readonly stack: IpStack;
  private lastText = "";
  private lastAddress: ZonedAddress | undefined;
  private lastOptions: SendOptions | undefined;
  private lastFrom: IpAddress | undefined;
  private lastFromIface: NetInterface | undefined;
  private lastFromText = "";
  private readonly waiters: (() => void)[] = [];

  constructor(endpoint: DatagramEndpoint, stack: IpStack) {
    this.endpoint = endpoint;
    this.stack = stack;
    endpoint.onEvent = () => {
      if (this.waiters.length > 0) for (const wake of this.waiters.splice(0)) wake();
      if (!endpoint.closed) return;
      this.onClose?.();
      this.onClose = undefined;
    };
  }

  get address(): SocketAddress {
    return { address: formatZoned(this.endpoint.local, this.endpoint.device), port: this.endpoint.port };
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const { local, port, remote, remotePort, device, closed, drops } = this.endpoint;
    const peer = remote && { remote: endText(formatZoned(remote, device), remotePort) };
    return facts("DatagramSocket", { local: endText(formatZoned(local, device), port), ...peer, drops, closed }, depth, options, inspect);
  }

  /** Datagrams that found no room in the queue. */
  get drops(): number {
    return this.endpoint.drops;
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────────

  /** Sends one datagram: to the connected peer, or to the one named. With `segmentSize`, `data` is several of that size. */
  send(data: Uint8Array, to?: Peer, options?: SendOptions): void {
    if (!(data instanceof Uint8Array)) throw noBytes(data);
    if (to) this.endpoint.send(data, this.addressOf(to), to.port ?? 0, this.optionsFor(options));
    else this.endpoint.send(data, undefined, undefined, options);
  }

  /** Sends datagrams to one peer, those of one size as one packet that is cut below. */
  sendMany(datagrams: readonly Uint8Array[], to?: Peer, options?: SendOptions): void {
    for (const each of datagrams) if (!(each instanceof Uint8Array)) throw noBytes(each);
    if (to) this.endpoint.sendMany(datagrams, this.addressOf(to), to.port ?? 0, this.optionsFor(options));
    else this.endpoint.sendMany(datagrams, undefined, undefined, options);
  }

  /** Datagrams go in runs to one peer: its address is read once. */
  private addressOf(to: Peer): IpAddress {
    if (to.address !== this.lastText || !this.lastAddress) {
      checkPeer("send", to);
      this.lastAddress = this.stack.parse(to.address);
      this.lastText = to.address;
      const { iface } = this.lastAddress;
      this.lastOptions = iface && { iface };
    }
    return this.lastAddress.address;
  }

  /** The zone of the address that was read last, unless an interface is named. */
  private optionsFor(options: SendOptions | undefined): SendOptions | undefined {
    const { lastOptions } = this;
    return lastOptions && options ? { ...lastOptions, ...options } : (options ?? lastOptions);
  }

  // ── Receiving ─────────────────────────────────────────────────────────────────────────────────

  /** The next datagram. Rejects with what came back for one that was sent (connected sockets), or when closed. */
  async receive({ signal }: ReceiveOptions = {}): Promise<ReceivedDatagram> {
    for (;;) {
      signal?.throwIfAborted();
      const datagram = this.tryReceive();
      if (datagram) return datagram;
      await (signal ? this.eventUntil(signal) : this.event());
    }
  }

  /** The next datagram, if one waits. */
  tryReceive(): ReceivedDatagram | undefined {
    const datagram = this.endpoint.read();
    if (!datagram) return undefined;
    const { data, port, destination, iface, hopLimit, trafficClass } = datagram;
    const address = this.textOf(datagram.address, iface);
    return { data, address, port, destination: formatZoned(destination, iface), interface: iface?.name, hopLimit, trafficClass };
  }

  /**
   * Waits for datagrams and hands up to `most` of them to a function: their bytes, and what is common to their batch, whose
   * `address` is an IpAddress (its text by `toString()`), where `receive` gives a text for each.
   */
  async receiveMany(handler: (data: Uint8Array, from: DatagramBatch) => void, most?: number): Promise<number> {
    for (;;) {
      const n = this.endpoint.readMany(handler, most);
      if (n > 0) return n;
      await this.event();
    }
  }

  /** The same, for those that wait already. */
  tryReceiveMany(handler: (data: Uint8Array, from: DatagramBatch) => void, most?: number): number {
    return this.endpoint.readMany(handler, most);
  }

  /** Datagrams of one flow that came together, in one piece of memory. */
  tryReceiveBatch(): DatagramBatch | undefined {
    return this.endpoint.readBatch();
  }

  /** Something happened, or nobody waits for it any longer. */
  private async eventUntil(signal: AbortSignal): Promise<void> {
    this.endpoint.throwIfClosed();
    await new Promise<void>((resolve) => {
      const stop = () => {
        const at = this.waiters.indexOf(told);
        if (at >= 0) this.waiters.splice(at, 1);
        resolve();
      };
      const told = () => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      signal.addEventListener("abort", stop, { once: true });
      this.waiters.push(told);
    });
  }

  private async event(): Promise<void> {
    this.endpoint.throwIfClosed();
    await new Promise<void>((resolve) => this.waiters.push(resolve));
  }

  private textOf(address: IpAddress, iface: NetInterface | undefined): string {
    if (address !== this.lastFrom || iface !== this.lastFromIface) {
      this.lastFrom = address;
      this.lastFromIface = iface;
      this.lastFromText = formatZoned(address, iface);
    }
    return this.lastFromText;
  }

  /** The oldest error about a datagram that was sent; call `keepErrors` first. */
  readError(): SocketError | undefined {
    return this.endpoint.readError();
  }

  /** From now on errors about unconnected sends are kept too, with the datagram they are about. */
  keepErrors(): void {
    this.endpoint.receiveErrors = true;
  }

  // ── Settings ──────────────────────────────────────────────────────────────────────────────────

  /** Only this peer from now on. */
  connect(peer: Peer): void {
    checkPeer("connect", peer);
    if (peer.port === undefined && this.endpoint.port !== 0) throw invalid("connect: port is missing; expected 1 to 65535");
    const { address, iface } = this.stack.parse(peer.address);
    this.endpoint.connect(address, peer.port ?? 0, iface);
  }

  /** Joins a group: "224.0.0.251", "ff02::fb". */
  join(group: string, options: MembershipOptions = {}): void {
    const { address, iface } = this.stack.parse(group);
    this.endpoint.join(address, this.membership("join", options, iface));
  }

  leave(group: string, options: MembershipOptions = {}): void {
    const { address, iface } = this.stack.parse(group);
    this.endpoint.leave(address, this.membership("leave", options, iface));
  }

  private membership(what: string, options: MembershipOptions, zone: NetInterface | undefined) {
    checkOptions(what, MEMBERSHIP, options);
    const { interface: name, sources } = options;
    return { iface: name === undefined ? zone : this.stack.interface(name), sources: sources?.map((each) => IpAddress.parse(each)) };
  }

  /** Changes what is given: hop limits, TOS, how groups are sent to. */
  configure(options: DatagramSettings): this {
    checkOptions("datagram", SETTINGS, options);
    const { endpoint } = this;
    if (options.hopLimit !== undefined) endpoint.hopLimit = options.hopLimit;
    if (options.mark !== undefined) endpoint.setMark(options.mark);
    if (options.trafficClass !== undefined) endpoint.trafficClass = options.trafficClass;
    if (options.broadcast !== undefined) endpoint.broadcast = options.broadcast;
    if (options.fragment !== undefined) endpoint.discovery = options.fragment ? DISCOVERY.want : DISCOVERY.do;
    if (options.receiveBuffer !== undefined) endpoint.receiveBuffer = options.receiveBuffer;
    if (options.multicastTtl !== undefined) endpoint.setMulticastTtl(options.multicastTtl);
    if (options.multicastLoop !== undefined) endpoint.setMulticastLoop(options.multicastLoop);
    if (options.multicastInterface !== undefined) endpoint.setMulticastInterface(this.stack.interface(options.multicastInterface));
    return this;
  }

  close(): void {
    this.endpoint.close();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<ReceivedDatagram> {
    // Whatever closed it: there are no more datagrams.
    while (!this.endpoint.closed) {
      const datagram = this.tryReceive();
      if (datagram) yield datagram;
      else await new Promise<void>((resolve) => this.waiters.push(resolve));
    }
  }
}

export interface ReceiveOptions {
  /** Gives up: rejects with its reason. */
  signal?: AbortSignal;
}
