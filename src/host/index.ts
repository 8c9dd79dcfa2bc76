/** A host: interfaces, routes, neighbours and sockets of one network namespace. */

export type { AddressEvent, AddressInfo, AddressOptions } from "../ip/addresses.ts";
export type { AdvertiseOptions } from "../ip/advertiser.ts";
export type { AutoconfOptions } from "../ip/slaac.ts";
export { type AoAlgorithm, type AoKey, type AoKeyOptions, aoKey } from "../tcp/ao-key.ts";
export { type Md5Key, md5Key } from "../tcp/signature.ts";
export type { DhcpLeases, DhcpOptions } from "./dhcp.ts";
export * from "./dhcp-server.ts";
export * from "./dns-server.ts";
export * from "./host.ts";
export type { QueueCounters, QueuedPacket, QueueHandler, QueueOptions, QueueVerdict } from "./packet-queues.ts";
