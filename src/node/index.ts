/** `net`, `dgram`, `dns` and the modules that stand on them, over a host. */
export type { ConnectArguments, ConnectOptions } from "./connect.ts";
export type { HostDns, Lookup, LookupAddress, LookupOptions } from "./dns.ts";
export * from "./for-host.ts";
export type { ListenArguments, ListenOptions } from "./listen-arguments.ts";
export type { HostNet } from "./net.ts";
export { type ConnectionListener, Server, type ServerOptions } from "./server.ts";
export { Socket, type SocketOptions } from "./socket.ts";
