/** The DHCPv4 client of an interface: what a lease says is put on the host, and taken off when it ends. */
import { parsePrefix } from "../base/address.ts";
import { IpAddress } from "../base/ip-address.ts";
import { Dhcp4Client, type Dhcp4Lease } from "../dhcp/client4.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { Route } from "../ip/routes.ts";
import {
  claimAddress,
  type DhcpHost,
  dropAddress,
  EVERYBODY,
  LIMITED_BROADCAST,
  listenOn,
  NOBODY,
  sendRaw,
  sendRouted,
} from "./dhcp-link.ts";

export interface Dhcp4HostOptions {
  hostname?: string;
  clientId?: Uint8Array;
  rapidCommit?: boolean;
  /** The address of before, to be had again. */
  previous?: string;
  /** How often the link is asked before an address is used (RFC 5227); 0: never. Default 1. */
  probes?: number;
}

const PORTS = { from: 68, to: 67 };
/** Default routes of several interfaces: the first one's counts. */
const METRIC = 100;
/** How long (ms) an address that was given back still sends. */
const GOODBYE_MS = 500;
/** An MTU below is not believed (RFC 791: what every host takes). */
const LEAST_MTU = 576;

export class InterfaceDhcp4 {
  readonly client: Dhcp4Client;
  private readonly host: DhcpHost;
  private readonly iface: NetInterface;
  private readonly probes: number;
  private readonly close: () => void;
  private readonly routes: Route[] = [];
  private mtuBefore: number | undefined;
  private undo = () => {};

  /** `told` hears of every lease, and of its end. */
  constructor(host: DhcpHost, iface: NetInterface, options: Dhcp4HostOptions, told: (lease: Dhcp4Lease | undefined) => void) {
    this.host = host;
    this.iface = iface;
    this.probes = options.probes ?? 1;
    const { ip } = host;
    this.client = new Dhcp4Client({
      ...options,
      alarms: host.names.alarms,
      random: ip.random,
      link: {
        mac: iface.mac,
        broadcast: (message) => sendRaw(ip, iface, EVERYBODY, NOBODY, LIMITED_BROADCAST, PORTS, message),
        unicast: (from, to, message) => void sendRouted(ip, iface, IpAddress.parse(from), IpAddress.parse(to), PORTS, message),
      },
      claim: async (lease) => {
        const free = await this.claim(lease);
        if (free) {
          this.configure(lease);
          told(lease);
        }
        return free;
      },
      renewed: (lease) => {
        this.prolong(lease);
        this.unconfigure();
        this.configure(lease);
        told(lease);
      },
      lost: (lease, why) => {
        told(undefined);
        this.undo = () => {
          this.undo = () => {};
          this.unconfigure();
          dropAddress(ip, iface, IpAddress.parse(lease.address));
        };
        // The goodbye may have to wait for the server's MAC address.
        if (why === "released") host.names.alarms.after(GOODBYE_MS, () => this.undo());
        else this.undo();
      },
    });
    this.close = listenOn(host, iface, 4, PORTS.from, (data) => this.client.receive(data));
  }

  /** Takes off what a lease that was given back has left. */
  finish(): void {
    this.undo();
  }

  /** Ends; the address goes, the server is not told unless it is given back. */
  end(giveBack: boolean): void {
    if (giveBack) this.client.release();
    else this.client.stop();
    this.close();
  }

  private claim(lease: Dhcp4Lease): Promise<boolean> {
    const own = { address: IpAddress.parse(lease.address), length: lease.prefixLength ?? 32 };
    return claimAddress(this.host.ip, this.iface, own, { validMs: lease.leaseSeconds * 1000, probes: this.probes });
  }

  private prolong(lease: Dhcp4Lease): void {
    const { ip } = this.host;
    const own = this.iface.find(IpAddress.parse(lease.address));
    ip.touch();
    if (own) ip.addresses.setLifetimes(own, lease.leaseSeconds * 1000, lease.leaseSeconds * 1000);
  }

  private configure(lease: Dhcp4Lease): void {
    const { iface, host } = this;
    const gateways = (lease.routers ?? []).slice(0, 1).map((via) => ({ to: "0.0.0.0/0", via }));
    for (const { to, via } of lease.routes ?? gateways) {
      const hop = via === String(NOBODY) ? { iface } : { iface, via: IpAddress.parse(via) };
      const route: Route = { prefix: parsePrefix(to), kind: "unicast", nextHops: [hop], metric: METRIC + iface.index, protocol: "dhcp" };
      try {
        host.ip.routes.add(route);
        this.routes.push(route);
      } catch {
        // The same route twice, or one that somebody made by hand: that one counts.
      }
    }
    const { mtu } = lease;
    if (mtu !== undefined && mtu >= LEAST_MTU && mtu < iface.mtu) {
      this.mtuBefore = iface.mtu;
      host.setMtu(iface.name, mtu);
    }
    const search = lease.search ?? (lease.domain ? [lease.domain] : []);
    host.names.learn(`dhcp4 ${iface.name}`, { servers: lease.dns ?? [], search });
  }

  private unconfigure(): void {
    const { iface, host } = this;
    for (const { prefix, metric } of this.routes.splice(0)) {
      try {
        host.ip.routes.delete(prefix, metric);
      } catch {
        // Somebody took it away already.
      }
    }
    if (this.mtuBefore !== undefined) host.setMtu(iface.name, this.mtuBefore);
    this.mtuBefore = undefined;
    host.names.learn(`dhcp4 ${iface.name}`, undefined);
  }
}
