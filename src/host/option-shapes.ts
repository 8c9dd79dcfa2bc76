/** What the options of a host's calls have to be; `host.ts` says what they mean, and that none is forgotten (`satisfies`). */

import { IpAddress } from "../base/ip-address.ts";
import {
  abortSignal,
  amount,
  anyPort,
  anything,
  bytes,
  callback,
  type Expectation,
  either,
  having,
  listOf,
  oneOf,
  peerPort,
  type Shape,
  shaped,
  text,
  whole,
  yesNo,
} from "../base/options.ts";
import type { Pool4Options } from "../dhcp/leases4.ts";
import type { LookupOptions } from "../dns/lookup.ts";
import type { ResolverOptions } from "../dns/resolver.ts";
import type { AddressOptions } from "../ip/addresses.ts";
import type { AdvertiseOptions } from "../ip/advertiser.ts";
import type { AutoconfOptions } from "../ip/slaac.ts";
import { SETTINGS } from "../socket/datagram-options.ts";
import { TCP_SHAPE } from "../tcp/option-shape.ts";
import type { RawOptions } from "./raw-options.ts";

const texts = listOf(text);
const u32 = whole(0, 2 ** 32 - 1);
const probes = whole(0, 255);
const mtu = whole(68, 65_535);
const preference = oneOf("low", "medium", "high");
export const enginePort = having("a port of the engine, such as engine.port(0)", "configure", "takeTransmitted");

const ADVERTISE: Shape<AdvertiseOptions> = {
  interval: amount("seconds"),
  lifetime: amount("seconds"),
  preference,
  hopLimit: whole(0, 255),
  managed: yesNo,
  other: yesNo,
  reachableMs: amount("milliseconds"),
  retransMs: amount("milliseconds"),
  mtu,
  prefixes: listOf(
    shaped("prefix", { prefix: text, onLink: yesNo, autonomous: yesNo, valid: amount("seconds"), preferred: amount("seconds") }, [
      "prefix",
    ]),
  ),
  routes: listOf(shaped("advertised route", { prefix: text, preference, lifetime: amount("seconds") }, ["prefix"])),
  nameServers: texts,
  searchList: texts,
};

const AUTOCONF: Shape<AutoconfOptions> = { temporary: yesNo, identifiers: oneOf("stable", "eui64"), probes, secret: bytes };

const vlan = whole(1, 4094);

export const INTERFACE = {
  name: text,
  device: (value: unknown) =>
    typeof value === "function" ? undefined : "a function that makes a device for a port, such as tap({ name }) or qemuListen({ path })",
  port: enginePort,
  mac: text,
  mtu,
  addresses: texts,
  autoconf: either(yesNo, shaped("autoconf", AUTOCONF)),
  probes,
  advertise: either(yesNo, shaped("advertise", ADVERTISE)),
  proxy: yesNo,
  master: text,
  pvid: vlan,
  vlans: listOf(vlan),
  gateway: either(text, texts),
  dhcp: oneOf(true, false, "v4", "v6"),
};

/** Of a bridge's port. */
export const PORT = { pvid: vlan, vlans: listOf(vlan) };

export const RESOLVER: Shape<ResolverOptions> = {
  servers: listOf(either(text, shaped("name server", { address: text, port: peerPort }, ["address"]))),
  search: texts,
  ndots: whole(0, 15),
  timeout: amount("milliseconds"),
  attempts: whole(1),
  rotate: yesNo,
  edns: yesNo,
  mixCase: yesNo,
  streams: yesNo,
  cache: anything,
};

export const HOST = {
  interfaces: listOf(shaped("interface", INTERFACE)),
  engine: having("an engine (await Engine.create())", "attach", "poll"),
  memory: anything,
  forwarding: yesNo,
  ruleset: text,
  neighbours: whole(1),
  tcp: shaped("tcp", TCP_SHAPE),
  handshakes: whole(0),
  seed: u32,
  hosts: (value: unknown) =>
    typeof value === "string" || (typeof value === "object" && value !== null) ? undefined : "a text or an object of names",
  dns: (value: unknown) => (Array.isArray(value) ? listOf(text)(value) : shaped("dns", RESOLVER)(value)),
};

export const CONNECT = {
  ...TCP_SHAPE,
  hostname: text,
  port: peerPort,
  localAddress: text,
  localPort: anyPort,
  interface: text,
  signal: abortSignal,
};

export const LISTEN = { ...TCP_SHAPE, hostname: text, port: anyPort, interface: text, backlog: whole(0) };

export const UNIX = { path: text };

export const DATAGRAM = {
  ...SETTINGS,
  hostname: text,
  port: anyPort,
  interface: text,
  reusePort: yesNo,
  reuseAddress: yesNo,
  v6Only: yesNo,
};

const protocol = either(whole(1, 255), oneOf("icmp", "icmpv6", "tcp", "udp"));

export const RAW: Shape<RawOptions> = {
  protocol,
  ...SETTINGS,
  family: oneOf(4, 6),
  hostname: text,
  interface: text,
  header: yesNo,
  types: listOf(whole(0, 255)),
  checksumAt: whole(0, 65_534),
};

export const PING = {
  size: whole(0, 65_507),
  timeout: amount("milliseconds"),
  hopLimit: whole(1, 255),
  signal: abortSignal,
};

export const ADDRESS: Shape<AddressOptions> = {
  origin: text,
  preferredMs: amount("milliseconds"),
  validMs: amount("milliseconds"),
  probes,
};

const hop = shaped("next hop", { via: text, interface: text, weight: whole(1, 65_535) });

export const ROUTE = {
  to: text,
  table: u32,
  via: text,
  interface: text,
  metric: u32,
  kind: oneOf("unicast", "local", "blackhole", "unreachable", "prohibit"),
  nextHops: listOf(hop),
};

const rulePort = whole(1, 65_534);

export const RULE = {
  priority: u32,
  from: text,
  to: text,
  not: yesNo,
  interface: text,
  boundTo: text,
  mark: u32,
  markMask: u32,
  protocol,
  sourcePort: either(rulePort, listOf(rulePort)),
  destinationPort: either(rulePort, listOf(rulePort)),
  table: u32,
  action: oneOf("blackhole", "unreachable", "prohibit"),
};

export const LOOKUP: Shape<LookupOptions> = {
  family: oneOf(0, 4, 6),
  all: yesNo,
  order: oneOf("verbatim", "ipv4first", "ipv6first"),
  signal: abortSignal,
  patience: amount("milliseconds"),
};

export const DHCP = {
  family: oneOf(4, 6),
  signal: abortSignal,
  hostname: text,
  clientId: bytes,
  rapidCommit: yesNo,
  previous: text,
  probes,
  duid: bytes,
  delegate: yesNo,
  stateless: yesNo,
  reconfigure: yesNo,
};

const addressOf =
  (family: 4 | 6): Expectation =>
  (value) =>
    familyOf(value) === family ? undefined : `an IPv${family} address`;
function familyOf(value: unknown): number | undefined {
  try {
    return typeof value === "string" ? IpAddress.parse(value).family : undefined;
  } catch {
    return undefined;
  }
}
const address4 = addressOf(4);
const addresses4 = listOf(address4);
/** What a lease lives; 0xffffffff is for ever (RFC 2131 §3.3). */
const lifeSeconds = whole(1, 0xffff_ffff);
const POOL4: Shape<Pool4Options> = {
  subnet: text,
  range: addresses4,
  leaseSeconds: lifeSeconds,
  fixed: listOf(shaped("fixed address", { mac: text, clientId: text, address: address4, hostname: text }, ["address"])),
  options: anything,
  prefixLength: whole(0, 32),
  routers: addresses4,
  dns: addresses4,
  domain: text,
  search: texts,
  mtu: whole(68, 65_535),
  broadcast: address4,
  ntp: addresses4,
  routes: listOf(shaped("route", { to: text, via: address4 }, ["to", "via"])),
};
const address6 = addressOf(6);

export const SERVE_DHCP6 = {
  interface: text,
  duid: bytes,
  reconfigure: yesNo,
  range: listOf(address6),
  delegate: shaped("delegate", { prefix: text, length: whole(1, 128) }, ["prefix", "length"]),
  preferredSeconds: lifeSeconds,
  validSeconds: lifeSeconds,
  dns: listOf(address6),
  search: texts,
  preference: whole(0, 255),
  rapidCommit: yesNo,
  leases: whole(0),
  leased: callback,
};

export const SERVE_DHCP = {
  interface: text,
  pingMs: amount("milliseconds"),
  pools: listOf(shaped("pool", POOL4, ["subnet"])),
  authoritative: yesNo,
  relays: texts,
  leased: callback,
};

export const SERVE_DNS = {
  forward: yesNo,
  hostname: text,
  port: anyPort,
  zones: listOf(having('a Zone of "packetloom/dns"')),
  hosts: anything,
  forwards: whole(0),
  forwardsPerClient: whole(0),
  answered: callback,
  streams: whole(0),
  streamsPerClient: whole(0),
};
