/** A host: interfaces, routes, neighbours and sockets of one network namespace. */
export * from "./host.ts";
