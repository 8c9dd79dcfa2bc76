/** What carries a socket's bytes: a connection of the host, or TLS of the runtime (`node:tls`) over one. */
import { holding } from "../deno/hold.ts";
import { TcpConn } from "../deno/tcp.ts";
import { startTls, type TlsConn } from "../deno/tls-node.ts";
import type { Host } from "../host/host.ts";
import type { TcpSocket } from "../socket/stream.ts";
import { joined, type SocketAddress } from "./address.ts";
import type { CheckedOptions } from "./options.ts";

export interface SocketInfo {
  /** "192.0.2.1:443", "[2001:db8::1]:443". */
  remoteAddress: string | null;
  localAddress: string | null;
  /** The protocol of `alpn` that the server chose. */
  alpn: string | null;
}

/** What `connect` of one host says of TLS beyond the options of a socket. */
export interface BindingOptions {
  /** Certificates in PEM that are believed instead of the runtime's. */
  caCerts?: string[];
  /** The client's own certificate and key, in PEM. */
  cert?: string;
  key?: string;
}

/** Largest chunk that `readable` gives. */
const CHUNK = 65_536;

/** A connection, which keeps the process until it ends. */
export class Transport {
  readonly tcp: TcpSocket;
  readonly info: SocketInfo;
  readonly conn: TcpConn;
  private readonly tls: TlsConn | undefined;
  private isClosed = false;

  constructor(conn: TcpConn, tcp: TcpSocket, tls?: TlsConn, alpn: string | null = null) {
    this.conn = conn;
    this.tcp = tcp;
    this.tls = tls;
    const [remote, local] = [tcp.remoteAddress, tcp.localAddress];
    this.info = { remoteAddress: joined(remote.address, remote.port), localAddress: joined(local.address, local.port), alpn };
  }

  /** Waits for bytes without taking them, where that can be told. */
  async whenReadable(): Promise<void> {
    if (!this.tls) await this.tcp.whenReadable();
  }

  /** The next bytes, or null at the end. */
  async read(): Promise<Uint8Array<ArrayBuffer> | null> {
    const chunk = new Uint8Array(CHUNK);
    const n = await (this.tls ?? this.tcp).read(chunk);
    if (n === null) return null;
    return n > CHUNK / 2 ? chunk.subarray(0, n) : chunk.slice(0, n);
  }

  async write(bytes: Uint8Array): Promise<void> {
    await (this.tls ?? this.tcp).write(bytes);
  }

  closeWrite(): Promise<void> {
    return (this.tls ?? this.tcp).closeWrite();
  }

  /** Ends both directions behind what was written. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    // TLS may have closed it already.
    (this.tls ?? this.conn)[Symbol.dispose]();
  }

  /** Resets the connection. */
  abort(): void {
    this.tcp.abort();
    this.close();
  }
}

export async function dial(host: Host, { hostname, port }: SocketAddress, signal: AbortSignal): Promise<Transport> {
  const tcp = await holding(host.engine, host.connect({ hostname, port, signal }));
  return new Transport(new TcpConn(host, tcp), tcp);
}

/** TLS over a connection, its handshake done. The connection is its own from now on. */
export async function secured(
  plain: Transport,
  { hostname }: SocketAddress,
  { sni = hostname, alpn }: CheckedOptions,
  binding: BindingOptions,
  signal: AbortSignal,
): Promise<Transport> {
  const stop = () => plain.abort();
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    const alpnProtocols = alpn.length > 0 ? [...alpn] : undefined;
    const tls = await startTls(plain.conn, { ...binding, hostname: sni, alpnProtocols });
    const { alpnProtocol } = await tls.handshake();
    return new Transport(plain.conn, plain.tcp, tls, alpnProtocol);
  } catch (error) {
    plain.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
