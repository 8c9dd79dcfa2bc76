/**
 * The DNS: messages, a stub resolver with its cache, a small server, hosts files. Imports addresses, alarms and chance, nothing
 * of a stack: it runs over anybody's datagram sockets and byte streams (`DnsTransport`).
 */
export type { Answer } from "./answer.ts";
export * from "./cache.ts";
export { type KnownType, type QuestionType, RCODE, type RecordType, rcodeName, TYPES, type UnknownType } from "./codes.ts";
export { dns64, embedded, extracted, type Pref64 } from "./dns64.ts";
export type { ExchangeCounters } from "./exchange.ts";
export { Hosts } from "./hosts.ts";
export { asciiName, type LookupAddress, type LookupOptions, type LookupWorld, literal, lookup } from "./lookup.ts";
export * from "./message.ts";
export { reverseName } from "./name.ts";
export * from "./records.ts";
export * from "./resolv-conf.ts";
export * from "./resolver.ts";
export * from "./server.ts";
export * from "./service.ts";
export * from "./transport.ts";
export * from "./zone.ts";
