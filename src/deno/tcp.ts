/** `Deno.connect` and `Deno.listen` over a host: connections and listeners with Deno's methods and errors. */
import type { Host } from "../host/host.ts";
import { TcpListenerSocket } from "../socket/listener.ts";
import type { SocketAddress, TcpSocket } from "../socket/stream.ts";
import { rejecting, throwing } from "./errors.ts";
import { holding } from "./hold.ts";
import { StreamConn, StreamListener } from "./resource.ts";

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

export class TcpConn extends StreamConn<TcpSocket, NetAddr> {
  private readonly host: Host;

  constructor(host: Host, socket: TcpSocket) {
    super(host, socket, tcpAddress(socket.localAddress), tcpAddress(socket.remoteAddress));
    this.host = host;
  }

  /** The process waits until the last bytes have arrived, but not for ever, and not for the peer to close. @internal */
  protected override linger(left = LINGER_MS / LOOK_MS): void {
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
}

export class TcpListener extends StreamListener<TcpConn, TcpSocket, NetAddr> {
  constructor(host: Host, listener: TcpListenerSocket) {
    super(host, listener, tcpAddress(listener.address), (socket) => new TcpConn(host, socket));
  }
}

export async function connect(host: Host, options: ConnectOptions): Promise<TcpConn> {
  const { port, hostname = "127.0.0.1", transport = "tcp", signal } = options;
  checkTransport(transport, "tcp");
  checkPort(port);
  return new TcpConn(host, await rejecting(holding(host.engine, host.connect({ hostname, port, signal }))));
}

export function listen(host: Host, options: TcpListenOptions): TcpListener {
  const { port = 0, hostname = "0.0.0.0", transport = "tcp", reusePort } = options;
  checkTransport(transport, "tcp");
  checkPort(port);
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

/** As Deno words it; a port may be text of digits. */
export function checkPort(port: unknown): void {
  const number = typeof port === "string" && /^\d+$/.test(port) ? Number(port) : port;
  if (!Number.isInteger(number)) throw new TypeError(`Invalid port: ${typeof port === "string" ? `'${port}'` : String(port)}`);
  if ((number as number) < 0 || (number as number) > 65_535) throw new RangeError(`Invalid port (out of range): ${port}`);
}

export function checkTransport(transport: string, expected: string): void {
  if (transport !== expected) throw new TypeError(`Unsupported transport: '${transport}'; expected '${expected}'`);
}
