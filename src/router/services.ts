/** What a router does for the machines of its links: addresses by DHCP, names by a forwarder that the egress policy listens to. */
import { networkOf, parseInterfaceAddress } from "../base/ip-address.ts";
import type { Dhcp4Server } from "../dhcp/server4.ts";
import type { Dhcp6Server } from "../dhcp/server6.ts";
import { RCODE } from "../dns/codes.ts";
import { dns64, type Pref64 } from "../dns/dns64.ts";
import { Hosts } from "../dns/hosts.ts";
import type { Question } from "../dns/message.ts";
import type { DnsRecord } from "../dns/records.ts";
import { DnsServer } from "../dns/server.ts";
import { type RunningDhcpServer, serveDhcp, serveDhcp6 } from "../host/dhcp-server.ts";
import type { Host } from "../host/host.ts";
import type { NetInterface } from "../ip/interface.ts";
import { same } from "./changes.ts";
import type { EgressPolicy } from "./egress.ts";
import { pref64Of } from "./nat64.ts";
import type { DhcpConfig, RouterConfig } from "./schema.ts";

/** Opens what an answer allows, before the answer is sent. */
export type Opener = (name: string, records: readonly DnsRecord[]) => void;

const DNS_PORT = 53;

export class Services {
  private readonly host: Host;
  private readonly dhcp = new Map<string, { config: unknown; running: RunningDhcpServer<Dhcp4Server>; iface: NetInterface }>();
  private readonly dhcp6 = new Map<string, { config: unknown; running: RunningDhcpServer<Dhcp6Server>; iface: NetInterface }>();
  private dns: { server: DnsServer; close(): void } | undefined;

  /** What names are served on, where not everywhere. */
  private listens: readonly NetInterface[] = [];

  constructor(host: Host) {
    this.host = host;
  }

  get dnsServer(): DnsServer | undefined {
    return this.dns?.server;
  }

  get dhcpServers(): ReadonlyMap<string, RunningDhcpServer<Dhcp4Server>> {
    return new Map([...this.dhcp].map(([name, { running }]) => [name, running]));
  }

  set(next: RouterConfig, before: RouterConfig | undefined, policy: EgressPolicy | undefined, open: Opener): void {
    const isSame = same([next.dns, next.egress, next.nat64?.prefix], [before?.dns, before?.egress, before?.nat64?.prefix]);
    const listens = (next.dns?.listen ?? []).map((name) => this.host.ip.interface(name));
    if (!isSame || !this.dns || !listens.every((iface, i) => iface === this.listens[i])) {
      this.listens = listens;
      this.dns?.close();
      this.dns = next.dns ? this.serveNames(next.dns, next.dns.dns64 ? pref64Of(next) : undefined, policy, open) : undefined;
    }
    this.setDhcp(next);
    this.setDhcp6(next);
  }

  /** Leases outlive a server that is changed. */
  private setDhcp(next: RouterConfig): void {
    const wanted = new Map(
      (next.dhcpServers ?? []).map((config) => {
        const { interface: name, pingMs } = config;
        return [name, { interface: name, pingMs, pools: [this.poolOf(config, next)] }];
      }),
    );
    for (const [name, { config, running, iface }] of this.dhcp) {
      const now = wanted.get(name);
      if (now && same(now, config) && this.isThere(iface)) continue;
      running.close();
      this.dhcp.delete(name);
      if (!now) continue;
      const fresh = serveDhcp(this.host, now);
      fresh.server.import(running.server.export());
      this.dhcp.set(name, { config: now, running: fresh, iface: this.host.ip.interface(name) });
    }
    for (const [name, options] of wanted) {
      if (!this.dhcp.has(name))
        this.dhcp.set(name, {
          config: options,
          running: serveDhcp(this.host, options),
          iface: this.host.ip.interface(name),
        });
    }
  }

  /** Not another one of that name: sockets are bound to the interface. */
  private isThere(iface: NetInterface): boolean {
    return this.host.ip.interfaces.includes(iface);
  }

  /** What the file leaves out comes from the interface: its subnet, itself as gateway and, where it serves names, as name server. */
  private poolOf(config: DhcpConfig, next: RouterConfig) {
    const own = this.ownAddress(config.interface, next);
    const { address, length } = parseInterfaceAddress(own ?? config.subnet ?? "0.0.0.0/0");
    const dns = config.dns ?? (next.dns ? [String(address)] : undefined);
    const fixed = Object.entries(config.fixed ?? {}).map(([mac, given]) => ({ mac, address: given }));
    return {
      subnet: config.subnet ?? `${networkOf(address, length)}/${length}`,
      range: config.range,
      routers: config.routers ?? [String(address)],
      ...(dns && { dns }),
      ...(config.domain && { domain: config.domain }),
      ...(config.leaseSeconds && { leaseSeconds: config.leaseSeconds }),
      ...(fixed.length > 0 && { fixed }),
    };
  }

  private ownAddress(name: string, next: RouterConfig): string | undefined {
    const addresses = next.interfaces.find((each) => each.name === name)?.addresses ?? [];
    return addresses.find((each) => !each.includes(":"));
  }

  private setDhcp6(next: RouterConfig): void {
    const wanted = new Map((next.dhcp6Servers ?? []).map((config) => [config.interface, config]));
    for (const [name, { config, running, iface }] of this.dhcp6) {
      const now = wanted.get(name);
      if (now && same(now, config) && this.isThere(iface)) continue;
      running.close();
      this.dhcp6.delete(name);
      if (!now) continue;
      const fresh = serveDhcp6(this.host, now);
      fresh.server.import(running.server.export());
      this.dhcp6.set(name, { config: now, running: fresh, iface: this.host.ip.interface(name) });
    }
    for (const [name, config] of wanted) {
      if (!this.dhcp6.has(name))
        this.dhcp6.set(name, { config, running: serveDhcp6(this.host, config), iface: this.host.ip.interface(name) });
    }
  }

  /** On the addresses of the named interfaces, or on all. */
  private serveNames(config: NonNullable<RouterConfig["dns"]>, pref64: Pref64 | undefined, policy: EgressPolicy | undefined, open: Opener) {
    const { host } = this;
    const resolver = host.names.newResolver({ servers: config.upstreams ?? [] });
    if (!config.upstreams) resolver.servers = host.resolver.servers;
    const ask = resolver.query.bind(resolver);
    resolver.query = async (question, options) => {
      if (policy && !policy.allows(question.name)) return { rcode: RCODE.REFUSED, found: false, records: [], authority: [] } as never;
      // What DHCP or routers told since then.
      if (!config.upstreams) resolver.servers = host.resolver.servers;
      return pref64 ? dns64(question, pref64, (each) => ask(each, options)) : ask(question, options);
    };
    const hosts = new Hosts();
    for (const [name, addresses] of Object.entries(config.records ?? {})) for (const each of [addresses].flat()) hosts.add(each, name);
    const answered = policy && (({ name }: Question, records: readonly DnsRecord[]) => open(name, records));
    const server = new DnsServer({ hosts, forward: resolver, answered, alarms: host.names.alarms });
    const places = config.listen ?? [undefined];
    const sockets = places.map((name) => host.datagram({ port: DNS_PORT, interface: name }));
    const listeners = places.map((name) => host.listen({ port: DNS_PORT, interface: name }));
    for (const socket of sockets) void server.serveDatagrams(socket);
    for (const listener of listeners) {
      void (async () => {
        for await (const stream of listener) void server.serveStream(stream, stream.remoteAddress.address);
      })();
    }
    const close = () => {
      for (const each of [...sockets, ...listeners]) each.close();
      resolver.close();
    };
    return { server, close };
  }

  close(): void {
    this.dns?.close();
    for (const { running } of [...this.dhcp.values(), ...this.dhcp6.values()]) running.close();
  }
}
