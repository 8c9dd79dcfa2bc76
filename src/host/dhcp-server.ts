/** DHCP servers on the interfaces of a host. */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import { checkOptions, type Shape } from "../base/options.ts";
import { isRelay } from "../dhcp/message6.ts";
import { Dhcp4Server, type Dhcp4ServerOptions, type ReplyTo } from "../dhcp/server4.ts";
import { Dhcp6Server, type Dhcp6ServerOptions } from "../dhcp/server6.ts";
import { EVERYBODY, LIMITED_BROADCAST, listenOn, sendRaw, sendRouted } from "./dhcp-link.ts";
import { duidOf, SERVERS6 } from "./dhcp6.ts";
import type { Host } from "./host.ts";
import { SERVE_DHCP, SERVE_DHCP6 } from "./option-shapes.ts";

export interface ServeDhcpOptions extends Omit<Dhcp4ServerOptions, "address" | "alarms" | "reply" | "inUse" | "mtu"> {
  /** Default: the first one. */
  interface?: string;
  /** Ping an address before it is offered, for so long (ms). Default 0: do not. */
  pingMs?: number;
}

export interface RunningDhcpServer<Server> {
  readonly server: Server;
  close(): void;
}

/** Serves DHCPv4 on an interface, whose first IPv4 address is the server's. */
export function serveDhcp(host: Host, options: ServeDhcpOptions): RunningDhcpServer<Dhcp4Server> {
  checkOptions("serveDhcp", SERVE_DHCP satisfies Shape<ServeDhcpOptions>, options, ["pools"]);
  const { interface: name, pingMs = 0, ...rest } = options;
  const { ip } = host;
  const iface = name === undefined ? ip.interfaces[0] : ip.interface(name);
  const own = iface?.addresses.find(({ address }) => address.family === 4)?.address;
  if (!own) throw new LoomError("EADDRNOTAVAIL", `${name ?? "the host"} has no IPv4 address to serve DHCP from`);
  const reply = (message: Uint8Array, to: ReplyTo) => {
    const ports = { from: 67, to: to.kind === "address" ? to.port : 68 };
    if (to.kind === "address") sendRouted(ip, iface, own, IpAddress.parse(to.address), ports, message);
    else if (to.kind === "broadcast" || to.mac.length !== 6) sendRaw(ip, iface, EVERYBODY, own, LIMITED_BROADCAST, ports, message);
    else sendRaw(ip, iface, to.mac, own, IpAddress.parse(to.address), ports, message);
  };
  const ping = (address: string) =>
    host.ping(address, { timeout: pingMs }).then(
      () => true,
      () => false,
    );
  const server = new Dhcp4Server({
    ...rest,
    address: String(own),
    alarms: host.names.alarms,
    get mtu() {
      return iface.mtu;
    },
    reply,
    inUse: pingMs > 0 ? ping : undefined,
  });
  const close = listenOn(host, iface, 4, 67, (data) => server.receive(data));
  return { server, close };
}

export interface ServeDhcp6Options extends Omit<Dhcp6ServerOptions, "duid" | "alarms" | "random" | "call"> {
  /** Clients that can be called to renew (`server.reconfigure()`) are shown a key for it (RFC 8415 §20.4). Default false. */
  reconfigure?: boolean;
  /** Default: the first one. */
  interface?: string;
  /** Default: of the interface's MAC address. */
  duid?: Uint8Array;
}

/** Serves DHCPv6 on an interface: addresses, prefixes, or name servers alone. */
export function serveDhcp6(host: Host, options: ServeDhcp6Options = {}): RunningDhcpServer<Dhcp6Server> {
  checkOptions("serveDhcp6", SERVE_DHCP6 satisfies Shape<ServeDhcp6Options>, options);
  const { interface: name, duid, reconfigure = false, ...rest } = options;
  const { ip } = host;
  const iface = name === undefined ? ip.interfaces[0] : ip.interface(name);
  if (!iface) throw new LoomError("ENOENT", "the host has no interface to serve DHCP on");
  const send = (message: Uint8Array, to: IpAddress, port: number) => {
    const from = to.isLinkLocal ? iface.linkLocal : ip.sourceFor(to, ip.pathTo(to, iface));
    if (from) sendRouted(ip, iface, from, to, { from: 547, to: port }, message);
  };
  const server = new Dhcp6Server({
    ...rest,
    duid: duid ?? duidOf(iface.mac),
    alarms: host.names.alarms,
    random: ip.random,
    ...(reconfigure && { call: (message: Uint8Array, address: string) => send(message, IpAddress.parse(address), 546) }),
  });
  const answer = (data: Uint8Array, source: IpAddress) => {
    const reply = server.receive(data, String(source));
    if (reply) send(reply, source, isRelay(data) ? 547 : 546);
  };
  return { server, close: listenOn(host, iface, 6, 547, answer, [SERVERS6]) };
}
