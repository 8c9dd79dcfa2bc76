/** What a schema cannot see: names that have to exist, and things that exclude each other. */
import { NETNS_MOST_PAIRS } from "../../assembly/abi.ts";
import { formatPrefix, parsePrefix } from "../base/address.ts";
import type { LoomError } from "../base/errors.ts";
import { IpAddress, networkOf, parseInterfaceAddress } from "../base/ip-address.ts";
import { layout } from "../engine/layout.ts";
import { misplacedOptions } from "../host/bridges.ts";
import { MAIN_TABLE } from "../ip/policy-routing.ts";
import { parseAllow } from "./egress.ts";
import { type Mistake, type Path, pathText } from "./mistakes.ts";
import { NAT64_INTERFACE } from "./nat64.ts";
import { checkWords } from "./queues.ts";
import { targets } from "./routing.ts";
import type { RouterConfig } from "./schema.ts";
import { parseEndpoint } from "./schema-parts.ts";
import { serviceMistakes } from "./service-references.ts";
import { sizesOf } from "./sizes.ts";

const familyOf = (address: string) => IpAddress.parse(address).family;

type Iface = RouterConfig["interfaces"][number];

/** What a bridge's port may not have, and what only it may. */
function portFaults(
  { interfaces }: RouterConfig,
  master: string | undefined,
  iface: Omit<Iface, "name" | "master" | "qdisc">,
): [string, string][] {
  if (master === undefined) return misplacedOptions(master, iface).map((key) => [key, "is of a bridge's port; expected master: with it"]);
  const bridge = interfaces.find(({ name }) => name === master);
  if (iface.device?.kind === "bridge") return [["master", "is of a bridge; a bridge is no other's port"]];
  if (bridge && bridge.device?.kind !== "bridge")
    return [["master", `is "${master}", which is no bridge; expected one with device: { kind: bridge }`]];
  if (!bridge) return [];
  return misplacedOptions(master, iface).map((key) => [key, `is the bridge's; expected it at ${master}`]);
}

export function references(config: RouterConfig): Mistake[] {
  const mistakes: Mistake[] = [];
  const add = (path: Path, message: string) => mistakes.push({ path, message });
  const names = config.interfaces.map(({ name }) => name);
  const known = (name: string | undefined, ...path: Path) => {
    if (name === undefined || names.includes(name)) return;
    add(path, `${pathText(path)} is ${JSON.stringify(name)}; expected an interface: ${names.join(", ") || "there is none"}`);
  };
  const tries = (path: Path, parse: () => unknown) => {
    try {
      parse();
    } catch (error) {
      add(path, `${pathText(path)}: ${(error as LoomError).message}`);
    }
  };
  config.interfaces.forEach(({ name, qdisc, advertise, device, master, ...rest }, i) => {
    known(master, "interfaces", i, "master");
    for (const [key, message] of portFaults(config, master, { device, advertise, ...rest }))
      add(["interfaces", i, key], `interfaces[${i}].${key} ${message}`);
    rest.addresses?.forEach((text, j) => {
      const { address } = parseInterfaceAddress(text);
      if (address.isUnspecified || address.isMulticast)
        add(
          ["interfaces", i, "addresses", j],
          `interfaces[${i}].addresses[${j}] is ${text}; expected an address that an interface can have`,
        );
    });
    const first = names.indexOf(name);
    if (first !== i) add(["interfaces", i, "name"], `interfaces[${i}].name is "${name}"; interfaces[${first}] is called that already`);
    if (qdisc !== undefined) tries(["interfaces", i, "qdisc"], () => checkWords(qdisc));
    if (advertise && config.forwarding === false)
      add(["interfaces", i, "advertise"], `interfaces[${i}].advertise: a router that does not forward cannot advertise itself`);
    if (device?.kind === "generator") {
      const families = new Set(device.destinations.map(familyOf));
      if (families.size > 1)
        add(["interfaces", i, "device", "destinations"], `interfaces[${i}].device.destinations: expected addresses of one family`);
    }
  });
  devices(config, add);
  tries(["memory"], () => layout(sizesOf(config)));
  const queued = config.interfaces.findIndex(({ qdisc }) => qdisc !== undefined);
  if (config.memory?.queueBytes === 0 && queued >= 0)
    add(["memory", "queueBytes"], `memory.queueBytes is 0, and interfaces[${queued}] has a qdisc; expected room for it`);
  const ways = new Map<string, number>();
  config.routes?.forEach((route, i) => {
    known(route.interface, "routes", i, "interface");
    const own = targets(route).map((to) => `${formatPrefix(parsePrefix(to))} ${route.metric ?? 0} ${route.table ?? MAIN_TABLE}`);
    const others = own.map((way) => ways.get(way));
    // A default route by an interface alone is of the family that has none yet.
    if (others.every((other) => other !== undefined))
      add(
        ["routes", i, "to"],
        `routes[${i}].to is ${route.to}, as of routes[${others[0]}]; expected another metric, or one route with nextHops`,
      );
    for (const way of own) if (!ways.has(way)) ways.set(way, i);
    route.nextHops?.forEach((hop, j) => {
      known(hop.interface, "routes", i, "nextHops", j, "interface");
    });
    const ends = route.kind !== undefined && route.kind !== "unicast";
    const leads = route.via ?? route.interface ?? route.nextHops;
    if (!ends && leads === undefined) add(["routes", i], `routes[${i}] leads nowhere; expected via, interface or nextHops`);
    if (ends && leads !== undefined)
      add(["routes", i], `routes[${i}] is of kind ${route.kind}; expected neither via, interface nor nextHops`);
  });
  const priorities = new Map<number, number>();
  config.policyRules?.forEach(({ interface: name, boundTo, priority }, i) => {
    known(name, "policyRules", i, "interface");
    known(boundTo, "policyRules", i, "boundTo");
    const other = priorities.get(priority);
    if (other !== undefined) add(["policyRules", i, "priority"], `policyRules[${i}].priority is ${priority}, as of policyRules[${other}]`);
    priorities.set(priority, i);
  });
  config.nat?.masquerade.forEach((name, i) => {
    known(name, "nat", "masquerade", i);
  });
  if (config.nat?.filtering && config.nat.mapping !== "endpoint-independent")
    add(
      ["nat", "filtering"],
      "nat.filtering is of mappings that do not depend on endpoints; expected mapping: endpoint-independent with it",
    );
  if (config.nat64) {
    for (const [key, message] of nat64Faults(config.nat64, config)) add(["nat64", key], `nat64.${key} ${message}`);
    const taken = names.indexOf(NAT64_INTERFACE);
    if (taken >= 0)
      add(
        ["interfaces", taken, "name"],
        `interfaces[${taken}].name is "${NAT64_INTERFACE}", as the interface that nat64 makes; expected another`,
      );
  }
  if (config.dns?.dns64 && !config.nat64) add(["dns", "dns64"], "dns.dns64 makes addresses of nat64's prefix; expected nat64: with it");
  if (config.conntrack?.max === 0)
    for (const key of ["nat64", "portMapping"] as const)
      if (config[key]) add([key], `${key} needs tracked connections; expected conntrack.max above 0`);
  if ((config.nptv6?.length ?? 0) > NETNS_MOST_PAIRS)
    add(["nptv6"], `nptv6 has ${config.nptv6?.length} pairs of prefixes; expected ${NETNS_MOST_PAIRS} at most`);
  config.nptv6?.forEach((each, i) => {
    known(each.interface, "nptv6", i, "interface");
    for (const fault of pairFaults(each, config)) add(["nptv6", i, fault.key], `nptv6[${i}].${fault.key} ${fault.message}`);
  });
  if (config.portMapping) {
    const { external, interfaces, ports } = config.portMapping;
    known(external, "portMapping", "external");
    interfaces.forEach((name, i) => {
      known(name, "portMapping", "interfaces", i);
      if (name === external)
        add(["portMapping", "interfaces", i], `portMapping.interfaces[${i}] is "${name}", the external one; expected another`);
    });
    const hasUpnp = config.portMapping.protocols?.includes("upnp") ?? true;
    interfaces.forEach((name, i) => {
      const addresses = config.interfaces.find((each) => each.name === name)?.addresses;
      if (hasUpnp && addresses && !addresses.some((each) => parseInterfaceAddress(each).address.family === 4))
        add(
          ["portMapping", "interfaces", i],
          `portMapping.interfaces[${i}] is "${name}", which has no IPv4 address; expected one for upnp, or other protocols`,
        );
    });
    if (ports && ports[0] > ports[1]) add(["portMapping", "ports"], `portMapping.ports ends before it begins: ${ports[0]} to ${ports[1]}`);
  }
  const listened = new Map<string, number>();
  config.forwards?.forEach(({ listen, to, protocol = "tcp" }, i) => {
    for (const each of protocol === "both" ? ["tcp", "udp"] : [protocol]) {
      const other = listened.get(`${each} ${listen}`);
      if (other !== undefined) add(["forwards", i, "listen"], `forwards[${i}].listen is "${listen}", as of forwards[${other}]`);
      else listened.set(`${each} ${listen}`, i);
    }
    const host = parseEndpoint(listen, true)?.host as string;
    const target = parseEndpoint(to)?.host as string;
    if (names.includes(host)) return;
    if (!isAddressLike(host)) known(host, "forwards", i, "listen");
    else if (familyOf(host) !== familyOf(target)) add(["forwards", i, "to"], `forwards[${i}].to is of another family than listen`);
  });
  config.dhcpServers?.forEach(({ interface: name, range: [first, last], subnet }, i) => {
    known(name, "dhcpServers", i, "interface");
    if (IpAddress.parse(first).v4 >>> 0 > IpAddress.parse(last).v4 >>> 0)
      add(["dhcpServers", i, "range"], `dhcpServers[${i}].range ends before it begins: ${first} to ${last}`);
    const addresses = config.interfaces.find((each) => each.name === name)?.addresses ?? [];
    const own = addresses.map(parseInterfaceAddress).find(({ address }) => address.family === 4);
    const whole = subnet === undefined ? own : parseInterfaceAddress(subnet);
    for (const [j, end] of [first, last].entries()) {
      if (!whole || networkOf(IpAddress.parse(end), whole.length).equals(networkOf(whole.address, whole.length))) continue;
      const net = `${networkOf(whole.address, whole.length)}/${whole.length}`;
      add(["dhcpServers", i, "range", j], `dhcpServers[${i}].range[${j}] is ${end}; expected an address of ${net}`);
    }
    const within = own && own.address.v4 >= IpAddress.parse(first).v4 && own.address.v4 <= IpAddress.parse(last).v4;
    if (within)
      add(["dhcpServers", i, "range"], `dhcpServers[${i}].range has ${own.address} in it, the router's own; expected a range without it`);
    if (names.includes(name) && !addresses.some((each) => parseInterfaceAddress(each).address.family === 4))
      add(["dhcpServers", i, "interface"], `dhcpServers[${i}].interface is "${name}", which has no IPv4 address; give it one`);
  });
  config.dhcp6Servers?.forEach(({ interface: name }, i) => {
    known(name, "dhcp6Servers", i, "interface");
  });
  config.dns?.listen?.forEach((name, i) => {
    known(name, "dns", "listen", i);
  });
  config.egress?.interfaces.forEach((name, i) => {
    known(name, "egress", "interfaces", i);
  });
  config.egress?.allow.forEach((each, i) => {
    tries(["egress", "allow", i], () => parseAllow(each));
  });
  serviceMistakes(config, add, tries);
  if (config.egress && !config.dns) add(["egress"], "egress: names are allowed by the answers of the DNS forwarder; expected dns: with it");
  return mistakes;
}

const isAddressLike = (host: string) => host.includes(":") || /^[\d.]+$/.test(host);

type PrefixTranslation = NonNullable<RouterConfig["nptv6"]>[number];

function pairFaults(
  { inside, outside }: PrefixTranslation,
  { interfaces }: RouterConfig,
): { key: "inside" | "outside"; message: string }[] {
  const faults: { key: "inside" | "outside"; message: string }[] = [];
  const [inner, outer] = [inside, outside].map((text) => parseInterfaceAddress(text === "default" ? "0.0.0.0/0" : text));
  for (const [key, { address, length }, text] of [
    ["inside", inner, inside],
    ["outside", outer, outside],
  ] as const)
    if (address.family !== 6 || length < 1 || length > 64)
      faults.push({ key, message: `is "${text}"; expected an IPv6 prefix of 1 to 64 bits` });
  if (faults.length > 0) return faults;
  if (inner.length !== outer.length)
    return [{ key: "outside", message: `is of ${outer.length} bits, inside of ${inner.length}; expected as many` }];
  const own = interfaces.flatMap(({ addresses = [] }) => addresses).map(parseInterfaceAddress);
  const within = own.find(
    ({ address }) => address.family === 6 && networkOf(address, outer.length).equals(networkOf(outer.address, outer.length)),
  );
  if (within)
    faults.push({ key: "outside", message: `has ${within.address} in it, which is an interface's; expected a prefix of its own` });
  return faults;
}

const EMBEDDING: readonly number[] = [32, 40, 48, 56, 64, 96];

function nat64Faults({ prefix, pool }: NonNullable<RouterConfig["nat64"]>, { interfaces }: RouterConfig): [string, string][] {
  const faults: [string, string][] = [];
  const read = (text: string) => parseInterfaceAddress(text === "default" ? "0.0.0.0/0" : text);
  if (prefix !== undefined) {
    const { address, length } = read(prefix);
    const isRight = address.family === 6 && EMBEDDING.includes(length) && (length < 96 || address.bytes()[8] === 0);
    if (!isRight) faults.push(["prefix", `is "${prefix}"; expected an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, as 64:ff9b::/96`]);
  }
  if (pool === undefined) return faults;
  const { address, length } = read(pool);
  if (address.family !== 4 || length < 8 || length > 29)
    return [...faults, ["pool", `is "${pool}"; expected an IPv4 prefix of 8 to 29 bits`]];
  const own = interfaces.flatMap(({ addresses = [] }) => addresses).map(parseInterfaceAddress);
  const within = own.find((each) => each.address.family === 4 && networkOf(each.address, length).equals(networkOf(address, length)));
  if (within) faults.push(["pool", `has ${within.address} in it, which is an interface's; expected a network that is nobody's`]);
  return faults;
}

/** What only one interface can have: an interface of the kernel's, a queue of it, a socket's path. */
function devices({ interfaces }: RouterConfig, add: (path: Path, message: string) => void): void {
  const owners = new Map<string, number>();
  for (const [i, { device }] of interfaces.entries()) {
    const name = device && outsideOf(device);
    if (name === undefined) continue;
    const other = owners.get(name);
    if (other === undefined) owners.set(name, i);
    else add(["interfaces", i, "device"], `interfaces[${i}].device is ${name}, as that of interfaces[${other}]`);
  }
}

function outsideOf(device: NonNullable<Iface["device"]>): string | undefined {
  const inside = "namespace" in device && device.namespace !== undefined ? ` in ${device.namespace}` : "";
  if (device.kind === "tap") return device.name && `the TAP device ${device.name}${inside}`;
  if (device.kind === "xdp") return `queue ${device.queue ?? 0} of ${device.interface}${inside}`;
  return device.kind === "qemu" ? `the socket ${device.listen}` : undefined;
}
