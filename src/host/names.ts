/** Names of one host: its hosts file, its resolver and the servers that were configured or learnt; on the host's clock and chance. */
import { type Alarms, alarmsOn } from "../base/alarms.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { Hosts } from "../dns/hosts.ts";
import { type LookupAddress, type LookupOptions, lookup } from "../dns/lookup.ts";
import { Resolver, type ResolverOptions, type ResolverWorld } from "../dns/resolver.ts";
import type { DatagramEvents, DnsDatagram, DnsStream, DnsTransport, ServerAddress } from "../dns/transport.ts";
import type { IpStack } from "../ip/stack.ts";
import { formatZoned } from "../ip/zone.ts";
import { TcpSocket } from "../socket/stream.ts";
import type { TcpLayer } from "../tcp/layer.ts";
import type { UdpLayer } from "../udp/layer.ts";

export interface NamesOptions {
  /** Text of a hosts file, or names and their addresses: `{ "db.test": ["10.0.0.7", "fd00::7"] }`. */
  hosts?: string | Readonly<Record<string, string | readonly string[]>>;
  /** Name servers, or all that a resolver can be told (`parseResolvConf` reads a file). Without servers those that DHCP names. */
  dns?: readonly string[] | ResolverOptions;
}

interface Learnt {
  readonly servers: readonly string[];
  readonly search: readonly string[];
}

/** The addresses that servers of each family are asked from; without one, the best. */
export interface Sources {
  4?: IpAddress;
  6?: IpAddress;
}

export class HostNames {
  readonly hosts: Hosts;
  readonly resolver: Resolver;
  /** The host's timers, for those who know no stack. */
  readonly alarms: Alarms;
  private readonly world: ResolverWorld;
  private readonly stack: IpStack;
  private readonly udp: UdpLayer;
  private readonly tcp: TcpLayer;
  private readonly fixed: { readonly servers: boolean; readonly search: boolean };
  private readonly learnt = new Map<string, Learnt>();

  constructor(stack: IpStack, udp: UdpLayer, tcp: TcpLayer, options: NamesOptions) {
    this.stack = stack;
    this.hosts = hostsOf(options.hosts ?? {});
    this.alarms = alarmsOn(stack.timers, () => stack.engine.clock.now());
    const given: ResolverOptions = Array.isArray(options.dns) ? { servers: options.dns } : ((options.dns ?? {}) as ResolverOptions);
    this.fixed = { servers: (given.servers ?? []).length > 0, search: given.search !== undefined };
    const { random } = stack;
    this.udp = udp;
    this.tcp = tcp;
    this.world = { transport: new HostTransport(udp, tcp, {}), alarms: this.alarms, random };
    this.resolver = new Resolver(this.world, given);
    stack.discovery.listeners.add((what) => what === "names" && this.learnFromRouters());
  }

  /** What routers advertise (RFC 8106): a link-local server with the interface it is on. */
  private learnFromRouters(): void {
    const { nameServers, searchList } = this.stack.discovery.names;
    const servers = nameServers.map(({ address, iface }) => formatZoned(address, iface));
    this.learn("routers", { servers, search: searchList });
  }

  /** Another resolver over the host's sockets, with servers and a cache of its own; it asks from `sources`, which may change. */
  newResolver(options: ResolverOptions, sources: Sources = {}): Resolver {
    return new Resolver({ ...this.world, transport: new HostTransport(this.udp, this.tcp, sources) }, options);
  }

  lookup(name: string, options: LookupOptions = {}): Promise<LookupAddress[]> {
    const { resolver, hosts } = this;
    const addresses = resolver.servers.length ? resolver.addresses.bind(resolver) : undefined;
    return lookup({ hosts, addresses, order: (found) => this.stack.orderDestinations(found) }, name, options);
  }

  /** Servers and suffixes that a link told about, until they are forgotten (`undefined`). Those of the options come before all. */
  learn(source: string, what: Learnt | undefined): void {
    if (what) this.learnt.set(source, what);
    else this.learnt.delete(source);
    const all = [...this.learnt.values()];
    if (!this.fixed.servers) this.resolver.servers = [...new Set(all.flatMap(({ servers }) => servers))];
    if (!this.fixed.search) this.resolver.search = [...new Set(all.flatMap(({ search }) => search))];
  }
}

function hostsOf(given: NonNullable<NamesOptions["hosts"]>): Hosts {
  if (typeof given === "string") return Hosts.parse(given);
  const hosts = new Hosts();
  for (const [name, addresses] of Object.entries(given)) for (const each of [addresses].flat()) hosts.add(each as string, name);
  return hosts;
}

/** The host's own sockets, as the resolver wants them. */
class HostTransport implements DnsTransport {
  private readonly udp: UdpLayer;
  private readonly tcp: TcpLayer;
  private readonly sources: Sources;

  constructor(udp: UdpLayer, tcp: TcpLayer, sources: Sources) {
    this.udp = udp;
    this.tcp = tcp;
    this.sources = sources;
  }

  datagram(server: Required<ServerAddress>, events: DatagramEvents): DnsDatagram {
    const { address, iface } = this.udp.stack.parse(server.address);
    const endpoint = this.udp.bind(this.sources[address.family], 0);
    endpoint.connect(address, server.port, iface);
    endpoint.onEvent = () => {
      try {
        for (let each = endpoint.read(); each; each = endpoint.read()) events.message(each.data);
      } catch (error) {
        events.failed(error as Error);
      }
    };
    return endpoint;
  }

  async stream(server: Required<ServerAddress>): Promise<DnsStream> {
    this.tcp.stack.touch();
    const { address, iface } = this.tcp.stack.parse(server.address);
    const socket = new TcpSocket(this.tcp.connect(address, server.port, { address: this.sources[address.family], device: iface }, {}));
    await socket.opened;
    return socket;
  }
}
