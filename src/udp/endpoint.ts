/** One UDP endpoint: bound to a port, perhaps connected, with a bounded queue of datagrams (RFC 768, RFC 1122 §4.1). */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import type { IpStack, Path } from "../ip/stack.ts";

export interface Datagram {
  readonly data: Uint8Array;
  readonly address: IpAddress;
  readonly port: number;
}

/** What an endpoint needs of its layer. */
export interface UdpWorld {
  readonly stack: IpStack;
  transmit(source: IpAddress, sourcePort: number, to: IpAddress, port: number, data: Uint8Array, path: Path, hopLimit: number): void;
  release(endpoint: UdpEndpoint): void;
}

/** Bytes that may wait to be read (Linux: net.core.rmem_default is 212,992). */
const QUEUE_BYTES = 212_992;
export const ANY4 = IpAddress.v4(0);
export const ANY6 = new IpAddress(0, 0, 0, 0);

export class UdpEndpoint {
  private readonly layer: UdpWorld;
  readonly local: IpAddress;
  readonly port: number;
  /** The only peer, when connected. */
  remote: IpAddress | undefined;
  remotePort = 0;
  hopLimit = 64;
  broadcast = false;
  drops = 0;
  /** Called when a datagram or an error arrived. */
  onEvent: (() => void) | undefined;
  closed = false;
  private readonly queue: Datagram[] = [];
  private queued = 0;
  private error: LoomError | undefined;
  private path: Path | undefined;
  private pathTo: IpAddress | undefined;

  constructor(layer: UdpWorld, local: IpAddress, port: number) {
    this.layer = layer;
    this.local = local;
    this.port = port;
  }

  /** From now on only this peer is heard, and its errors are reported (RFC 1122 §4.1.3.3). */
  connect(remote: IpAddress, port: number): void {
    if (remote.family === 4 && remote.v4 === 0xffffffff && !this.broadcast)
      throw new LoomError("EACCES", "broadcast is not allowed on this socket");
    this.remote = remote;
    this.remotePort = port;
  }

  /** Sends one datagram; throws what an operating system would return. */
  send(data: Uint8Array, to = this.remote, port = this.remotePort): void {
    this.throwPending();
    if (this.closed) throw new LoomError("EPIPE", "the socket is closed");
    if (!to) throw new LoomError("ENOTCONN", "the socket is not connected and no destination was given");
    if (port < 1 || port > 65_535) throw new LoomError("EINVAL", `port ${port}; expected 1 to 65535`);
    const { stack } = this.layer;
    stack.touch();
    if (!this.path || this.path.generation !== stack.routes.generation || !this.pathTo?.equals(to)) {
      this.path = stack.pathTo(to);
      this.pathTo = to;
    }
    const { path } = this;
    if (path.hop === 0) throw new LoomError("ENETUNREACH", `there is no route to ${to}`);
    const source = this.local.isUnspecified ? stack.sourceFor(to, path) : this.local;
    if (!source) throw new LoomError("EADDRNOTAVAIL", `no address of this host can reach ${to}`);
    this.layer.transmit(source, this.port, to, port, data, path, this.hopLimit);
  }

  /** The oldest datagram, or undefined when none waits. */
  read(): Datagram | undefined {
    this.throwPending();
    const datagram = this.queue.shift();
    if (datagram) this.queued -= datagram.data.length;
    return datagram;
  }

  get readable(): boolean {
    return this.queue.length > 0 || this.error !== undefined;
  }

  private throwPending(): void {
    const { error } = this;
    this.error = undefined;
    if (error) throw error;
  }

  accepts(source: IpAddress, port: number): boolean {
    return !this.remote || (this.remotePort === port && this.remote.equals(source));
  }

  /** Takes what was received; false when the queue is full. */
  deliver(datagram: Datagram): boolean {
    if (this.queued + datagram.data.length > QUEUE_BYTES) {
      this.drops++;
      return false;
    }
    this.queue.push(datagram);
    this.queued += datagram.data.length;
    this.onEvent?.();
    return true;
  }

  failed(report: IcmpErrorReport): void {
    if (!this.remote) return;
    const refused = report.kind === "portUnreachable";
    const where = `${report.destination} port ${this.remotePort}`;
    this.error = refused
      ? new LoomError("ECONNREFUSED", `${where} refused the datagram`)
      : new LoomError("EHOSTUNREACH", `${where} cannot be reached (ICMP type ${report.type} code ${report.code} from ${report.from})`);
    this.onEvent?.();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.queue.length = 0;
    this.layer.release(this);
    this.onEvent?.();
  }
}
