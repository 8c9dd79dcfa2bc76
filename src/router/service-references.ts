/** What a schema cannot see of a configuration's services: ends that do not fit each other, addresses that are somebody's already. */

import { type BackendOptions, backendName, checkBackend, checkService, type ServiceOptions, serviceName } from "../balance/options.ts";
import { IpAddress, networkOf, parseInterfaceAddress } from "../base/ip-address.ts";
import { parseServer } from "../dns/resolver.ts";
import { type Path, pathText } from "./mistakes.ts";
import type { RouterConfig } from "./schema.ts";

type Add = (path: Path, message: string) => void;
type Tries = (path: Path, parse: () => unknown) => void;

export function serviceMistakes(config: RouterConfig, add: Add, tries: Tries): void {
  config.dns?.upstreams?.forEach((server, i) => {
    tries(["dns", "upstreams", i], () => parseServer(server));
  });
  balancers(config, add, tries);
  config.dhcpServers?.forEach((server, i) => {
    fixedLeases(server, config, (key, message) =>
      add(["dhcpServers", i, "fixed", key], `dhcpServers[${i}].fixed[${JSON.stringify(key)}] ${message}`),
    );
  });
  config.dhcp6Servers?.forEach(({ range, delegate }, i) => {
    if (range && isBehind(IpAddress.parse(range[0]), IpAddress.parse(range[1])))
      add(["dhcp6Servers", i, "range"], `dhcp6Servers[${i}].range ends before it begins: ${range[0]} to ${range[1]}`);
    const own = delegate && parseInterfaceAddress(delegate.prefix).length;
    if (delegate && delegate.length < (own ?? 0))
      add(
        ["dhcp6Servers", i, "delegate", "length"],
        `dhcp6Servers[${i}].delegate.length is ${delegate.length}; expected ${own} to 128, as the prefix has ${own}`,
      );
  });
  config.routes?.forEach(({ to, via }, i) => {
    if (via === undefined || to === "default") return;
    const [wanted, family] = [parseInterfaceAddress(to).address.family, IpAddress.parse(via.split("%")[0]).family];
    if (wanted !== family) add(["routes", i, "via"], `routes[${i}].via is IPv${family}; expected IPv${wanted} as ${to}`);
  });
}

const isBehind = (a: IpAddress, b: IpAddress) => a.high > b.high || (a.high === b.high && a.low > b.low);

function balancers({ balancers: all = [] }: RouterConfig, add: Add, tries: Tries): void {
  const names = new Map<string, number>();
  all.forEach((each, i) => {
    const path = ["balancers", i];
    const service = each as unknown as ServiceOptions;
    tries(path, () => {
      checkService(service);
      const address = IpAddress.parse(service.address);
      const names = new Set<string>();
      for (const [j, backend] of ((service.backends ?? []) as readonly BackendOptions[]).entries()) {
        const name = backendName(checkBackend(backend, service, address), backend, service);
        if (names.has(name)) add([...path, "backends", j], `${pathText([...path, "backends", j])} is ${name}, which is there already`);
        names.add(name);
      }
    });
    const name = serviceName(service);
    const other = names.get(name);
    if (other !== undefined) add(path, `${pathText(path)} is ${name}, as balancers[${other}]`);
    names.set(name, i);
  });
}

/** Fixed addresses: of the subnet, nobody else's, and each one client's. */
function fixedLeases(
  { interface: name, subnet, fixed = {} }: NonNullable<RouterConfig["dhcpServers"]>[number],
  { interfaces }: RouterConfig,
  wrong: (mac: string, message: string) => void,
): void {
  const addresses = (interfaces.find((each) => each.name === name)?.addresses ?? []).map(parseInterfaceAddress);
  const whole = subnet === undefined ? addresses.find(({ address }) => address.family === 4) : parseInterfaceAddress(subnet);
  const owners = new Map<string, string>();
  for (const [mac, text] of Object.entries(fixed)) {
    const address = IpAddress.parse(text);
    const other = owners.get(String(address));
    owners.set(String(address), mac);
    if (other !== undefined) wrong(mac, `is ${text}, as of ${other}`);
    else if (addresses.some((own) => own.address.equals(address))) wrong(mac, `is ${text}, the router's own; expected another`);
    else if (whole && !isHostOf(address, networkOf(whole.address, whole.length), whole.length))
      wrong(mac, `is ${text}; expected a host's address of ${networkOf(whole.address, whole.length)}/${whole.length}`);
  }
}

/** Of a subnet, and neither its first address nor its last, which are nobody's (but of /31 and /32). */
function isHostOf(address: IpAddress, network: IpAddress, length: number): boolean {
  if (!networkOf(address, length).equals(network)) return false;
  const place = (address.v4 - network.v4) >>> 0;
  return length > 30 || (place !== 0 && place !== 2 ** (32 - length) - 1);
}
