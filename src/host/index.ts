/** A host: interfaces, routes, neighbours and sockets of one network namespace. */

export type { DhcpLeases, DhcpOptions } from "./dhcp.ts";
export * from "./dhcp-server.ts";
export * from "./dns-server.ts";
export * from "./host.ts";
