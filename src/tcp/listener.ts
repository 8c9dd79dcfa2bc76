/** A listening port: handshakes in progress, those that wait to be accepted, and cookies when there are too many (RFC 4987). */
import type { IpAddress } from "../base/ip-address.ts";
import type { CookieKeys } from "./fast-open.ts";
import type { Tcb, TcpOptions } from "./tcb.ts";

export class TcpListener {
  readonly local: IpAddress;
  readonly port: number;
  readonly backlog: number;
  readonly options: TcpOptions;
  /** Called when a connection can be accepted. */
  onConnection: (() => void) | undefined;
  closed = false;
  /** Handshakes that this listener keeps state for. */
  handshakes = 0;
  /** Connections that may be open before their handshake is over (TCP_FASTOPEN's queue length), and how many are. */
  fastOpenQueue = 0;
  fastOpenPending = 0;
  /** Keys of its own instead of the host's. */
  cookieKeys: CookieKeys | undefined;
  private readonly ready: Tcb[] = [];
  private readonly release: (listener: TcpListener) => void;

  constructor(local: IpAddress, port: number, backlog: number, options: TcpOptions, release: (listener: TcpListener) => void) {
    this.local = local;
    this.port = port;
    this.backlog = backlog;
    this.options = options;
    this.release = release;
  }

  /** Connections that wait. */
  get waiting(): number {
    return this.ready.length;
  }

  get isFull(): boolean {
    return this.ready.length >= this.backlog;
  }

  /** The connection that has waited longest; it may have broken since, but what came before that can be read. */
  accept(): Tcb | undefined {
    const tcb = this.ready.shift();
    if (tcb) tcb.isAccepted = true;
    return tcb;
  }

  put(tcb: Tcb): void {
    this.ready.push(tcb);
    this.onConnection?.();
  }

  /** No more connections; returns those that nobody accepted. */
  close(): Tcb[] {
    if (this.closed) return [];
    this.closed = true;
    this.release(this);
    return this.ready.splice(0);
  }
}
