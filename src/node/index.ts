/** `net`, `dgram`, `dns` and the modules of Node that stand on them, over a host. */
export { ioredisConnector, type UndiciConnectorOptions, type UndiciTarget, undiciConnector } from "./clients.ts";
export type { ConnectArguments, ConnectOptions } from "./connect.ts";
export type { BindOptions, MessageListener, RemoteInfo, Socket as UdpSocket, SocketOptions as UdpSocketOptions } from "./dgram.ts";
export type { SendArguments } from "./dgram-arguments.ts";
export type { HostDns, Lookup, LookupAddress, LookupOptions } from "./dns.ts";
export type { SystemError } from "./errors.ts";
export * from "./for-host.ts";
export type { HostHttp, HostHttps } from "./http.ts";
export type { HostHttp2 } from "./http2.ts";
export type { ListenArguments, ListenOptions } from "./listen-arguments.ts";
export type { HostNet } from "./net.ts";
export type { ConnectionListener, Server, ServerOptions } from "./server.ts";
export type { Socket, SocketOptions } from "./socket.ts";
export type { HostTls } from "./tls.ts";
