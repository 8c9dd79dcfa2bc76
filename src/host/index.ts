/** A host: interfaces, routes, neighbours and sockets of one network namespace. */

export * from "./dns-server.ts";
export * from "./host.ts";
