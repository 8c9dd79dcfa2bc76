/**
 * What a router's configuration may hold. `docs/router.md` says what it means; the types that programs see are made from it, so
 * that there is one list of names. Times are seconds where the file's words come from DHCP, DNS or the kernel's sysctls, and say
 * milliseconds in their name elsewhere.
 */
import * as v from "valibot";
import { SCHEDULERS } from "../balance/schedulers.ts";
import { TIMEOUT_NAMES } from "../engine/flows.ts";
import {
  address,
  address4,
  amount,
  endpoint,
  interfaceAddress,
  interfaceName,
  list,
  mac,
  mtu,
  object,
  oneOf,
  parseEndpoint,
  port,
  prefix,
  text,
  textLike,
  u32,
  whole,
  yesNo,
} from "./schema-parts.ts";

const { optional } = v;
const namespace = optional(text);
const seconds = amount("seconds");
const vlan = whole(1, 4094);

const device = v.variant(
  "kind",
  [
    object("tap", { kind: v.literal("tap"), name: optional(interfaceName), namespace, offload: optional(yesNo) }),
    object("packet", {
      kind: v.literal("packet"),
      interface: interfaceName,
      namespace,
      offload: optional(yesNo),
      promiscuous: optional(yesNo),
    }),
    object("xdp", {
      kind: v.literal("xdp"),
      interface: interfaceName,
      namespace,
      queue: optional(whole(0, 255)),
      mode: optional(oneOf("native", "generic", "auto")),
      checksums: optional(oneOf("verify", "trust")),
    }),
    object("qemu", { kind: v.literal("qemu"), listen: text }),
    object("pcap", { kind: v.literal("pcap"), in: optional(text), out: optional(text), speed: optional(oneOf("recorded", "full")) }),
    object("generator", {
      kind: v.literal("generator"),
      destinations: v.pipe(list(address, "addresses"), v.nonEmpty("expected one address at least")),
      frameSize: optional(v.union([v.literal("imix"), whole(64, 1518)], 'expected "imix" or a whole number from 64 to 1518')),
      flows: optional(whole(1, 1_000_000)),
      count: optional(whole(1, 2 ** 53 - 1)),
    }),
    object("bridge", {
      kind: v.literal("bridge"),
      ageingSeconds: optional(whole(1, 1_000_000)),
      vlanFiltering: optional(yesNo),
      pvid: optional(vlan),
    }),
  ],
  'expected an object whose kind is "tap", "packet", "xdp", "qemu", "pcap", "generator" or "bridge"',
);

const advertise = object("advertise", {
  interval: optional(amount("seconds", 4)),
  lifetime: optional(seconds),
  preference: optional(oneOf("low", "medium", "high")),
  hopLimit: optional(whole(0, 255)),
  managed: optional(yesNo),
  other: optional(yesNo),
  mtu: optional(mtu),
  nameServers: optional(list(address, "addresses")),
  searchList: optional(list(text, "names")),
});

const either = <A extends v.GenericSchema, B extends v.GenericSchema>(is: (value: unknown) => boolean, one: A, other: B) =>
  // A union says only that nothing fits; of two that are told apart by their kind the right one can say what is wrong.
  v.lazy((value) => (is(value) ? one : other)) as unknown as v.GenericSchema<v.InferOutput<A> | v.InferOutput<B>>;
const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);
const isList = (value: unknown) => Array.isArray(value);

const iface = object("interface", {
  name: interfaceName,
  device: optional(device),
  mac: optional(mac),
  mtu: optional(mtu),
  addresses: optional(list(interfaceAddress, "addresses")),
  gateway: optional(either(isList, list(address, "addresses"), address)),
  dhcp: optional(oneOf(true, false, "v4", "v6")),
  autoconf: optional(yesNo),
  advertise: optional(either(isObject, advertise, yesNo)),
  proxy: optional(yesNo),
  master: optional(interfaceName),
  pvid: optional(vlan),
  vlans: optional(list(vlan, "VLANs")),
  up: optional(yesNo),
  qdisc: optional(text),
});

const hop = object("next hop", { via: optional(address), interface: optional(interfaceName), weight: optional(whole(1, 255)) });
const route = object("route", {
  to: prefix,
  via: optional(address),
  interface: optional(interfaceName),
  metric: optional(u32),
  table: optional(whole(1, 2 ** 32 - 1)),
  kind: optional(oneOf("unicast", "blackhole", "unreachable", "prohibit")),
  nextHops: optional(list(hop, "next hops")),
});

const ports = either(isList, v.tuple([port, port], "expected a port, or the first and the last"), port);
const rule = object("policy rule", {
  priority: u32,
  not: optional(yesNo),
  from: optional(prefix),
  to: optional(prefix),
  interface: optional(interfaceName),
  boundTo: optional(interfaceName),
  mark: optional(u32),
  markMask: optional(u32),
  protocol: optional(
    v.union([whole(1, 255), oneOf("icmp", "icmpv6", "tcp", "udp")], 'expected a number, "icmp", "icmpv6", "tcp" or "udp"'),
  ),
  sourcePort: optional(ports),
  destinationPort: optional(ports),
  table: optional(whole(1, 2 ** 32 - 1)),
  action: optional(oneOf("blackhole", "unreachable", "prohibit")),
});

const forward = object("forward", {
  listen: textLike(
    "an address or an interface and a port, such as 203.0.113.1:8080, [2001:db8::1]:8080 or wan:8080",
    (given) => parseEndpoint(given, true) !== undefined,
  ),
  to: endpoint,
  protocol: optional(oneOf("tcp", "udp", "both")),
});

const health = object("health check", {
  kind: oneOf("tcp", "http"),
  port: optional(port),
  intervalMs: optional(amount("milliseconds", 10)),
  timeoutMs: optional(amount("milliseconds", 1)),
  failures: optional(whole(1, 1000)),
  successes: optional(whole(1, 1000)),
  path: optional(text),
  host: optional(text),
  body: optional(text),
  status: optional(
    v.union([whole(100, 599), v.tuple([whole(100, 599), whole(100, 599)])], "expected a status, or the first and the last one"),
  ),
});
const balancer = object("balancer", {
  address,
  port: whole(0, 65_535),
  protocol: optional(oneOf("tcp", "udp", "sctp")),
  scheduler: optional(oneOf(...SCHEDULERS)),
  hash: optional(oneOf("flow", "client")),
  mode: optional(oneOf("nat", "dsr", "ipip", "gue")),
  tunnelFrom: optional(address),
  mtu: optional(whole(576, 65_535)),
  affinityMs: optional(amount("milliseconds")),
  slowStartMs: optional(amount("milliseconds")),
  virtualNodes: optional(whole(1, 65_536)),
  mostLoad: optional(amount("times the share", 1)),
  health: optional(health),
  backends: optional(list(object("backend", { address, port: optional(port), weight: optional(whole(0, 65_535)) }), "backends")),
});

const pool = object("DHCP server", {
  interface: interfaceName,
  subnet: optional(prefix),
  range: v.tuple([address4, address4], "expected the first and the last address"),
  routers: optional(list(address4, "addresses")),
  dns: optional(list(address4, "addresses")),
  domain: optional(text),
  leaseSeconds: optional(whole(60, 2 ** 31)),
  pingMs: optional(whole(0, 10_000)),
  fixed: optional(v.record(mac, address4, "expected MAC addresses with an address each")),
});
const pool6 = object("DHCPv6 server", {
  interface: interfaceName,
  range: optional(v.tuple([address, address], "expected the first and the last address")),
  delegate: optional(object("delegate", { prefix, length: whole(1, 128) })),
  dns: optional(list(address, "addresses")),
  search: optional(list(text, "names")),
});
const dns = object("dns", {
  dns64: optional(yesNo),
  listen: optional(list(interfaceName, "interfaces")),
  upstreams: optional(list(text, "name servers")),
  records: optional(v.record(v.string(), either(isList, list(address, "addresses"), address), "expected names with their addresses")),
});

const conntrack = object("conntrack", {
  max: optional(whole(0, 16_000_000)),
  accounting: optional(yesNo),
  events: optional(whole(0, 1 << 20)),
  tcpBeLiberal: optional(yesNo),
  tcpLoose: optional(yesNo),
  timeouts: optional(object("timeout", Object.fromEntries(TIMEOUT_NAMES.map((name) => [name, optional(amount("seconds", 0.001))])))),
});

const portMapping = object("port mapping", {
  external: interfaceName,
  interfaces: v.pipe(list(interfaceName, "interfaces"), v.nonEmpty("expected one interface at least")),
  protocols: optional(v.pipe(list(oneOf("pcp", "nat-pmp", "upnp"), "protocols"), v.nonEmpty("expected one protocol at least"))),
  ports: optional(v.tuple([port, port], "expected the first and the last port")),
  mostPerClient: optional(whole(1, 65_535)),
  longest: optional(whole(120, 1_000_000)),
  name: optional(text),
});

const egress = object("egress", {
  interfaces: v.pipe(list(interfaceName, "interfaces"), v.nonEmpty("expected one interface at least")),
  allow: list(text, "names and addresses"),
  log: optional(yesNo),
  privateAddresses: optional(yesNo),
});

export const CONFIG = object("router", {
  name: optional(text),
  forwarding: optional(yesNo),
  rpFilter: optional(oneOf("off", "strict", "loose")),
  interfaces: list(iface, "interfaces"),
  routes: optional(list(route, "routes")),
  policyRules: optional(list(rule, "policy rules")),
  ruleset: optional(text),
  rulesetFile: optional(text),
  iptables: optional(text),
  iptablesFile: optional(text),
  ip6tables: optional(text),
  ip6tablesFile: optional(text),
  nat: optional(
    object("nat", {
      masquerade: list(interfaceName, "interfaces"),
      mapping: optional(oneOf("endpoint-independent", "endpoint-dependent")),
      filtering: optional(oneOf("endpoint-independent", "address-dependent", "address-and-port-dependent")),
    }),
  ),
  forwards: optional(list(forward, "forwards")),
  nptv6: optional(list(object("prefix translation", { inside: prefix, outside: prefix, interface: interfaceName }), "prefix translations")),
  nat64: optional(object("nat64", { prefix: optional(prefix), pool: optional(prefix), mtu: optional(whole(1280, 65_535)) })),
  portMapping: optional(portMapping),
  balancers: optional(list(balancer, "balancers")),
  dhcpServers: optional(list(pool, "DHCP servers")),
  dhcp6Servers: optional(list(pool6, "DHCPv6 servers")),
  dns: optional(dns),
  egress: optional(egress),
  conntrack: optional(conntrack),
  log: optional(object("log", { to: optional(text), format: optional(oneOf("kernel", "syslog", "json")) })),
  control: optional(text),
  metrics: optional(endpoint),
  memory: optional(
    object("memory", {
      buffers: optional(whole(256, 1_000_000)),
      appBytes: optional(whole(1 << 20, 2 ** 31)),
      filterBytes: optional(whole(0, 2 ** 31)),
      queueBytes: optional(whole(0, 2 ** 31)),
      routes4: optional(whole(0, 16_000_000)),
      routes6: optional(whole(0, 4_000_000)),
      neighbours: optional(whole(1, 1_000_000)),
    }),
  ),
});

export type RouterConfig = v.InferInput<typeof CONFIG>;
export type InterfaceConfig = RouterConfig["interfaces"][number];
export type DeviceConfig = NonNullable<InterfaceConfig["device"]>;
/** What moves frames to and from somewhere; a bridge does not. */
export type OuterDevice = Exclude<DeviceConfig, { kind: "bridge" }>;
export type RouteConfig = NonNullable<RouterConfig["routes"]>[number];
export type ForwardConfig = NonNullable<RouterConfig["forwards"]>[number];
export type BalancerConfig = NonNullable<RouterConfig["balancers"]>[number];
export type DhcpConfig = NonNullable<RouterConfig["dhcpServers"]>[number];
export type PortMappingConfig = NonNullable<RouterConfig["portMapping"]>;
export type EgressConfig = NonNullable<RouterConfig["egress"]>;
