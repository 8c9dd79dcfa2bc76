/** The DHCPv6 client of an interface: what a lease says is put on the host, and taken off when it ends. */
import { IpAddress } from "../base/ip-address.ts";
import { Dhcp6Client, type Dhcp6Lease } from "../dhcp/client6.ts";
import { INFINITY6 } from "../dhcp/message6.ts";
import type { NetInterface } from "../ip/interface.ts";
import { claimAddress, type DhcpHost, dropAddress, listenOn, sendRouted } from "./dhcp-link.ts";

export interface Dhcp6HostOptions {
  /** Default: of the interface's MAC address (RFC 8415 §11.4). */
  duid?: Uint8Array;
  /** Ask for a prefix to be delegated (IA_PD). Default false. */
  delegate?: boolean;
  /** Only name servers, no addresses. Default false. */
  stateless?: boolean;
  rapidCommit?: boolean;
  /** Let the server call for a renewal, signed with the key it showed (RFC 8415 §18.2.11). Default false. */
  reconfigure?: boolean;
  /** How often the link is asked before an address is used (RFC 4862 §5.4); 0: never. Default 1. */
  probes?: number;
}

/** All_DHCP_Relay_Agents_and_Servers. */
export const SERVERS6 = IpAddress.parse("ff02::1:2");
const PORTS = { from: 546, to: 547 };

/** DUID-LL of an Ethernet address. */
export function duidOf(mac: Uint8Array): Uint8Array {
  return Uint8Array.of(0, 3, 0, 1, ...mac);
}

const isTrue = (result: PromiseSettledResult<boolean>) => result.status === "fulfilled" && result.value;
const ms = (seconds: number) => (seconds === INFINITY6 ? Number.POSITIVE_INFINITY : seconds * 1000);

export class InterfaceDhcp6 {
  readonly client: Dhcp6Client;
  private readonly host: DhcpHost;
  private readonly iface: NetInterface;
  private readonly probes: number;
  private readonly close: () => void;

  /** `told` hears of every lease, and of its end. */
  constructor(host: DhcpHost, iface: NetInterface, options: Dhcp6HostOptions, told: (lease: Partial<Dhcp6Lease> | undefined) => void) {
    this.host = host;
    this.iface = iface;
    this.probes = options.probes ?? 1;
    const { ip } = host;
    this.client = new Dhcp6Client({
      duid: options.duid ?? duidOf(iface.mac),
      iaid: iface.index,
      prefixes: options.delegate,
      stateless: options.stateless,
      rapidCommit: options.rapidCommit,
      reconfigure: options.reconfigure,
      alarms: host.names.alarms,
      random: ip.random,
      // Without a link-local address that is ours nothing can be said: a later message will be.
      send: (message) => iface.linkLocal && void sendRouted(ip, iface, iface.linkLocal, SERVERS6, PORTS, message),
      claim: async (lease) => {
        const taken = await this.claim(lease);
        if (taken.length === 0) {
          this.learn(lease);
          told(lease);
        }
        return taken;
      },
      renewed: (lease) => {
        this.prolong(lease);
        this.learn(lease);
        told(lease);
      },
      lost: (lease) => {
        for (const { address } of lease.addresses) dropAddress(ip, iface, IpAddress.parse(address));
        host.names.learn(this.source, undefined);
        told(undefined);
      },
      informed: (info) => {
        this.learn(info);
        told(info);
      },
    });
    this.close = listenOn(host, iface, 6, PORTS.from, (data) => this.client.receive(data));
  }

  private get source(): string {
    return `dhcp6 ${this.iface.name}`;
  }

  private learn({ dns, search }: Pick<Dhcp6Lease, "dns" | "search">): void {
    this.host.names.learn(this.source, { servers: dns, search });
  }

  /** Which of the addresses are somebody else's. They come without a subnet: routers tell which one is on the link (RFC 5942 §5). */
  private async claim(lease: Dhcp6Lease): Promise<string[]> {
    const free = await Promise.allSettled(
      lease.addresses.map(({ address, preferred, valid }) =>
        claimAddress(
          this.host.ip,
          this.iface,
          { address: IpAddress.parse(address), length: 128 },
          { preferredMs: ms(preferred), validMs: ms(valid), probes: this.probes },
        ),
      ),
    );
    return lease.addresses.filter((_, i) => !isTrue(free[i])).map(({ address }) => address);
  }

  private prolong(lease: Dhcp6Lease): void {
    const { ip } = this.host;
    ip.touch();
    for (const { address, preferred, valid } of lease.addresses) {
      const own = this.iface.find(IpAddress.parse(address));
      if (own) ip.addresses.setLifetimes(own, ms(preferred), ms(valid));
    }
  }

  /** Ends; the addresses go, the server is told when they are given back. */
  end(giveBack: boolean): void {
    if (giveBack) this.client.release();
    else this.client.stop();
    this.close();
    this.host.names.learn(this.source, undefined);
  }
}
