/** Deno's calls for the network, over a host. */
export type { ErrorName } from "./errors.ts";
export * from "./for-host.ts";
export type { RecordType, ResolveDnsOptions } from "./names.ts";
export type { HttpServer, ServeHandler, ServeInfo, ServeOptions } from "./serve-node.ts";
export type { ConnectOptions, NetAddr, TcpConn, TcpListener, TcpListenOptions } from "./tcp.ts";
export type { ConnectTlsOptions, ListenTlsOptions, StartTlsOptions, TlsConn, TlsHandshakeInfo, TlsListener } from "./tls-node.ts";
export type { DatagramConn, MulticastMembership, UdpListenOptions } from "./udp.ts";
export type { UnixAddr, UnixConn, UnixListener, UnixOptions } from "./unix.ts";
