/**
 * What Deno has for the network, over a host:
 *
 *   const { connect, listen } = forHost(host);
 *   for await (const conn of listen({ port: 7 })) conn.readable.pipeTo(conn.writable);
 */
import { checkHost, type Host } from "../host/host.ts";
import { errors } from "./errors.ts";
import { type RecordType, type ResolveDnsOptions, resolveDns } from "./names.ts";
import { type HttpServer, type ServeHandler, type ServeOptions, serve } from "./serve-node.ts";
import { type ConnectOptions, connect, listen, type TcpConn, type TcpListener, type TcpListenOptions } from "./tcp.ts";
import {
  type ConnectTlsOptions,
  connectTls,
  type ListenTlsOptions,
  listenTls,
  type StartTlsOptions,
  startTls,
  type TlsConn,
  type TlsListener,
} from "./tls-node.ts";
import { type DatagramConn, listenDatagram, type UdpListenOptions } from "./udp.ts";
import { connectUnix, listenUnix, type UnixConn, type UnixListener, type UnixOptions } from "./unix.ts";

export interface HostDeno {
  connect(options: ConnectOptions): Promise<TcpConn>;
  connect(options: UnixOptions): Promise<UnixConn>;
  listen(options: TcpListenOptions): TcpListener;
  listen(options: UnixOptions): UnixListener;
  connectTls(options: ConnectTlsOptions): Promise<TlsConn>;
  startTls(conn: TcpConn, options?: StartTlsOptions): Promise<TlsConn>;
  listenTls(options: ListenTlsOptions): TlsListener;
  serve(handler: ServeHandler): HttpServer;
  serve(options: ServeOptions, handler?: ServeHandler): HttpServer;
  listenDatagram(options: UdpListenOptions): DatagramConn;
  resolveDns(query: string, type: RecordType, options?: ResolveDnsOptions): Promise<unknown[]>;
  /** The classes of what is thrown; Deno's own where this is Deno. */
  readonly errors: typeof errors;
}

/** `Deno.connect`, `listen`, their TLS, `serve`, `listenDatagram` and `resolveDns` whose sockets are this host's. */
export function forHost(host: Host): HostDeno {
  checkHost(host);
  const isUnix = (options: object): options is UnixOptions => (options as { transport?: string }).transport === "unix";
  return {
    connect: ((options: ConnectOptions | UnixOptions) =>
      isUnix(options) ? connectUnix(host, options) : connect(host, options)) as HostDeno["connect"],
    listen: ((options: TcpListenOptions | UnixOptions) =>
      isUnix(options) ? listenUnix(host, options) : listen(host, options)) as HostDeno["listen"],
    connectTls: (options) => connectTls(host, options),
    startTls,
    listenTls: (options) => listenTls(host, options),
    serve: (first: ServeOptions | ServeHandler, second?: ServeHandler) => serve(host, first, second),
    listenDatagram: (options) => listenDatagram(host, options),
    resolveDns: (query, type, options) => resolveDns(host, query, type, options),
    errors,
  };
}
