/** `Deno.connect` and `Deno.listen` over a host: connections and listeners with Deno's methods and errors. */
import type { Host } from "../host/host.ts";
import { TcpListenerSocket } from "../socket/listener.ts";
import type { SocketAddress, TcpSocket } from "../socket/stream.ts";
import { errors, rejecting, throwing } from "./errors.ts";
import { Closing, Hold, holding } from "./hold.ts";

export interface NetAddr {
  readonly transport: "tcp" | "udp";
  readonly hostname: string;
  readonly port: number;
}

export interface ConnectOptions {
  port: number;
  /** A name or an address. Default "127.0.0.1". */
  hostname?: string;
  transport?: "tcp";
  signal?: AbortSignal;
}

export interface TcpListenOptions {
  /** 0 or left out: a free one. */
  port?: number;
  /** An address. Default "0.0.0.0". */
  hostname?: string;
  transport?: "tcp";
  /** Several listeners share the port, and connections are spread over them. */
  reusePort?: boolean;
}

/** States in which bytes or a FIN are not yet acknowledged. */
const SENDING: ReadonlySet<string> = new Set(["FIN-WAIT-1", "CLOSING", "LAST-ACK"]);
/** How long a closed connection may keep the process for that, and how often it is looked at (ms). */
const LINGER_MS = 5000;
const LOOK_MS = 20;

const tcpAddress = ({ address, port }: SocketAddress): NetAddr => ({ transport: "tcp", hostname: address, port });

export class TcpConn implements Disposable {
  readonly localAddr: NetAddr;
  readonly remoteAddr: NetAddr;
  private readonly host: Host;
  private readonly socket: TcpSocket;
  private readonly hold: Hold;
  private readonly closing = new Closing();

  constructor(host: Host, socket: TcpSocket) {
    this.host = host;
    this.socket = socket;
    this.localAddr = tcpAddress(socket.localAddress);
    this.remoteAddr = tcpAddress(socket.remoteAddress);
    this.hold = new Hold(host.engine);
    const end = () => this.hold.end();
    socket.closed.then(end, end);
  }

  /** Reads into `into`: bytes read, or null at the end. */
  async read(into: Uint8Array): Promise<number | null> {
    this.check();
    if (into.length === 0) return 0;
    return rejecting(this.closing.race(this.socket.read(into)));
  }

  /** Writes all of `bytes`. */
  async write(bytes: Uint8Array): Promise<number> {
    this.check();
    return rejecting(this.closing.race(this.socket.write(bytes)));
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.socket.readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return this.socket.writable;
  }

  /** Sends a FIN; reading goes on. */
  async closeWrite(): Promise<void> {
    this.check();
    await rejecting(this.socket.closeWrite());
  }

  close(): void {
    this.check();
    this.closing.close(new errors.Interrupted("operation canceled"));
    // The connection ends in its own time; what it says of that concerns nobody any more.
    this.socket.close().catch(() => {});
    this.linger();
  }

  /** The process waits until the last bytes have arrived, but not for ever, and not for the peer to close. */
  private linger(left = LINGER_MS / LOOK_MS): void {
    const isSending = SENDING.has(this.socket.status().state);
    const isStopped = this.host.engine.workerState(0) === "stopped";
    if (!isSending || isStopped || left === 0) this.hold.end();
    else this.host.names.alarms.after(LOOK_MS, () => this.linger(left - 1));
  }

  setNoDelay(on = true): void {
    this.socket.setNoDelay(on);
  }

  /** Probes after two hours of silence, as Linux does it. */
  setKeepAlive(on = true): void {
    this.socket.setKeepAlive(on && 7200);
  }

  ref(): void {
    this.hold.ref();
  }

  unref(): void {
    this.hold.unref();
  }

  [Symbol.dispose](): void {
    if (!this.closing.isClosed) this.close();
  }

  private check(): void {
    if (this.closing.isClosed) throw new errors.BadResource("Bad resource ID");
  }
}

export class TcpListener implements AsyncIterable<TcpConn>, Disposable {
  readonly addr: NetAddr;
  private readonly host: Host;
  private readonly listener: TcpListenerSocket;
  private readonly hold: Hold;
  private isClosed = false;

  constructor(host: Host, listener: TcpListenerSocket) {
    this.host = host;
    this.listener = listener;
    this.addr = tcpAddress(listener.address);
    this.hold = new Hold(host.engine);
    listener.onClose = () => this.hold.end();
  }

  async accept(): Promise<TcpConn> {
    if (this.isClosed) throw new errors.BadResource("Listener has been closed");
    try {
      return new TcpConn(this.host, await this.listener.accept());
    } catch {
      // Only its own end ends a listener.
      throw new errors.BadResource("Listener has been closed");
    }
  }

  close(): void {
    if (this.isClosed) throw new errors.BadResource("Bad resource ID");
    this.isClosed = true;
    this.listener.close();
  }

  ref(): void {
    this.hold.ref();
  }

  unref(): void {
    this.hold.unref();
  }

  [Symbol.dispose](): void {
    if (!this.isClosed) this.close();
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<TcpConn> {
    while (!this.isClosed) {
      try {
        yield await this.accept();
      } catch (error) {
        if (!(error instanceof errors.BadResource)) throw error;
        return;
      }
    }
  }
}

export async function connect(host: Host, options: ConnectOptions): Promise<TcpConn> {
  const { port, hostname = "127.0.0.1", transport = "tcp", signal } = options;
  checkTransport(transport, "tcp");
  return new TcpConn(host, await rejecting(holding(host.engine, host.connect({ hostname, port, signal }))));
}

export function listen(host: Host, options: TcpListenOptions): TcpListener {
  const { port = 0, hostname = "0.0.0.0", transport = "tcp", reusePort } = options;
  checkTransport(transport, "tcp");
  return throwing(() => {
    const { address, iface } = host.ip.parse(addressOf(hostname));
    const listener = host.tcp.listen(address, port, undefined, {}, { reusePort, device: iface });
    return new TcpListener(host, new TcpListenerSocket(listener));
  });
}

/** Names are looked up by waiting, which `listen` cannot. */
export function addressOf(hostname: string): string {
  return hostname === "localhost" ? "127.0.0.1" : hostname;
}

export function checkTransport(transport: string, expected: string): void {
  if (transport !== expected) throw new TypeError(`Unsupported transport: '${transport}'; expected '${expected}'`);
}
