/** Readable codecs of each header, by value: for tools, and the oracle that the data plane is tested against. */
export * from "./arp.ts";
export { concat, WireError } from "./bytes.ts";
export * from "./checksum.ts";
export * from "./ethernet.ts";
export * from "./forward.ts";
export * from "./ipv4.ts";
export * from "./ipv6.ts";
export * from "./l4.ts";
