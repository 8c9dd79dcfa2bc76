/** Names: hosts files and lookups. Imports addresses, alarms and chance, nothing of a stack: it runs over anybody's sockets. */
export * from "./hosts.ts";
export { asciiName, type LookupAddress, type LookupOptions, type LookupWorld, literal, lookup } from "./lookup.ts";
export * from "./order.ts";
