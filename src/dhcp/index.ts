/**
 * DHCP for IPv4 and IPv6: codecs, clients and servers. Imports addresses, alarms and chance, nothing of a stack: whoever has
 * datagrams gives and takes them.
 */
export * from "./client4.ts";
export * from "./client6.ts";
export * from "./leases4.ts";
export * from "./message4.ts";
export * from "./message6.ts";
export type { Dhcp4Config } from "./options4.ts";
export * from "./server4.ts";
export * from "./server6.ts";
