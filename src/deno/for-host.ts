/**
 * What Deno has for the network, over a host:
 *
 *   const { connect, listen } = forHost(host);
 *   for await (const conn of listen({ port: 7 })) conn.readable.pipeTo(conn.writable);
 */
import type { Host } from "../host/host.ts";
import { errors } from "./errors.ts";
import { type RecordType, type ResolveDnsOptions, resolveDns } from "./names.ts";
import { type ConnectOptions, connect, listen, type TcpConn, type TcpListener, type TcpListenOptions } from "./tcp.ts";
import { type DatagramConn, listenDatagram, type UdpListenOptions } from "./udp.ts";

export interface HostDeno {
  connect(options: ConnectOptions): Promise<TcpConn>;
  listen(options: TcpListenOptions): TcpListener;
  listenDatagram(options: UdpListenOptions): DatagramConn;
  resolveDns(query: string, type: RecordType, options?: ResolveDnsOptions): Promise<unknown[]>;
  /** The classes of what is thrown; Deno's own where this is Deno. */
  readonly errors: typeof errors;
}

/** `Deno.connect`, `listen`, `listenDatagram` and `resolveDns` whose sockets are this host's. */
export function forHost(host: Host): HostDeno {
  return {
    connect: (options) => connect(host, options),
    listen: (options) => listen(host, options),
    listenDatagram: (options) => listenDatagram(host, options),
    resolveDns: (query, type, options) => resolveDns(host, query, type, options),
    errors,
  };
}
