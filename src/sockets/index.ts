/** The WinterTC Sockets API over a host. */
export type { AnySocketAddress, SocketAddress } from "./address.ts";
export { SocketError } from "./error.ts";
export * from "./for-host.ts";
export type { SecureTransportKind, SocketOptions } from "./options.ts";
export type { Socket } from "./socket.ts";
export type { BindingOptions, SocketInfo } from "./transport.ts";
