/** An interface of a host: a port of the engine with a name and addresses. */
import { formatMac } from "../base/address.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { type InterfaceAddress, IpAddress } from "../base/ip-address.ts";
import type { Port } from "../engine/port.ts";
import { isNothing } from "./multicast/filter.ts";
import type { GroupMachine } from "./multicast/machine.ts";

/** RFC 4291 §2.7.1: the group in which a neighbour is asked for. */
export function solicitedNode(address: IpAddress): IpAddress {
  return new IpAddress(0xff020000, 0, 1, 0xff000000 | (address.d & 0xffffff));
}

/** Link-layer address of a group: 33:33 + 32 bits (RFC 2464 §7), 01:00:5e + 23 bits (RFC 1112 §6.4). */
export function groupMac(group: IpAddress): Uint8Array {
  const { d } = group;
  if (group.family === 4) return Uint8Array.of(1, 0, 0x5e, (d >>> 16) & 0x7f, d >>> 8, d);
  return Uint8Array.of(0x33, 0x33, d >>> 24, d >>> 16, d >>> 8, d);
}

/** fe80::/64 and the modified EUI-64 of the MAC (RFC 4291 appendix A). */
export function linkLocalOf(mac: Uint8Array): IpAddress {
  const c = ((mac[0] ^ 2) << 24) | (mac[1] << 16) | (mac[2] << 8) | 0xff;
  return new IpAddress(0xfe800000, 0, c, (0xfe << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5]);
}

export const ALL_NODES = IpAddress.parse("ff02::1");

/** Who gave an interface an address, as `ip addr` says it. */
export type AddressOrigin = "kernel" | "static" | "ra" | "temporary" | "dhcp";
export type AddressScope = "global" | "link" | "host";
/** Whether others have it: being asked, ours, somebody else's (RFC 4862 §5.4, RFC 5227). */
export type AddressState = "tentative" | "usable" | "duplicate";

/** Whether an address lies in a prefix. */
export function covers({ address, length }: InterfaceAddress, other: IpAddress): boolean {
  return address.family === other.family && address.commonPrefix(other) >= length;
}

/** An address of an interface, with its times on the clock (ms). */
export interface OwnAddress extends InterfaceAddress {
  readonly origin: AddressOrigin;
  readonly scope: AddressScope;
  state: AddressState;
  /** Deprecated from then on: not for new connections while there is another (RFC 4862 §5.5.4). */
  preferredUntil: number;
  validUntil: number;
  /** Keys of the routers that advertise its prefix (RFC 6724 §5, rule 5.5). */
  advertisedBy?: Set<string>;
}

export class NetInterface {
  readonly name: string;
  readonly port: Port;
  /** Its own bytes: they change in place with the port's. */
  readonly mac: Uint8Array;
  /** Somebody is on the other side of the link. */
  carrier = true;
  readonly addresses: OwnAddress[] = [];
  /** Number of the "who is there on this link" next hop of each family. */
  glean4 = 0;
  glean6 = 0;
  /** Memberships; made with the interface. */
  groups4: GroupMachine | undefined;
  groups6: GroupMachine | undefined;
  /** Subnets that are on this link without an address of ours in them (RFC 5942). */
  readonly onLink: InterfaceAddress[] = [];
  /** What routers of the link say holds for it (RFC 4861 §6.3.2). */
  hopLimit = 64;
  linkMtu = Number.POSITIVE_INFINITY;
  reachableMs = 30_000;
  retransMs = 1000;
  /** Answer for addresses that are reached by another interface: ARP (RFC 1027) and NDP (RFC 4861 §7.2.8). */
  proxy = false;
  /** The bridge that it is a port of: then it has no addresses, and what it hears is the bridge's. */
  master: NetInterface | undefined;
  /** Addresses that are answered for, wherever they are. */
  readonly proxied = new Map<string, IpAddress>();

  constructor(name: string, port: Port) {
    this.name = name;
    this.port = port;
    this.mac = port.macBytes;
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const addresses = this.addresses.map(({ address, length }) => `${address}/${length}`);
    return facts(
      "NetInterface",
      { name: this.name, mac: formatMac(this.mac), mtu: this.mtu, up: this.up, addresses },
      depth,
      options,
      inspect,
    );
  }

  get mtu(): number {
    return this.port.mtu;
  }

  mtuFor(family: 4 | 6): number {
    return family === 4 ? this.mtu : Math.min(this.mtu, this.linkMtu);
  }

  /** Administratively up. */
  get up(): boolean {
    return this.port.up;
  }

  /** As `ip link` counts: from one. */
  get index(): number {
    return this.port.index + 1;
  }

  machine(family: 4 | 6): GroupMachine | undefined {
    return family === 4 ? this.groups4 : this.groups6;
  }

  find(address: IpAddress): OwnAddress | undefined {
    return this.addresses.find((own) => own.address.equals(address));
  }

  /** Ours to answer for: tentative addresses are not (RFC 4862 §5.4). */
  owns(address: IpAddress): boolean {
    for (const own of this.addresses) if (own.address.equals(address) && own.state === "usable") return true;
    return false;
  }

  /** The link-local IPv6 address, once it is usable. */
  get linkLocal(): IpAddress | undefined {
    return this.addresses.find(({ address, state }) => state === "usable" && address.family === 6 && address.isLinkLocal)?.address;
  }

  /** A group whose packets this interface takes: joined by anybody, or all nodes. */
  isMember(group: IpAddress): boolean {
    if (group.equals(ALL_NODES) || (group.family === 4 && group.v4 === 0xe0000001)) return true;
    // A proxy hears questions for any address (RFC 4861 §7.2.8).
    if (this.proxy && group.family === 6 && group.a === ALL_NODES.a && group.c === 1 && group.d >>> 24 === 0xff) return true;
    const membership = this.machine(group.family)?.memberships.get(group.key);
    return membership !== undefined && !isNothing(membership.filter);
  }

  /** Somebody on this link by its address alone. */
  isOnLink(address: IpAddress): boolean {
    const isIn = (own: InterfaceAddress) => covers(own, address);
    return this.addresses.some((own) => !isAutomatic(own) && isIn(own)) || this.onLink.some(isIn);
  }

  /** The subnet's broadcast address, or the limited one. */
  isBroadcast(address: IpAddress): boolean {
    if (address.family !== 4) return false;
    if (address.v4 === 0xffffffff) return true;
    for (const own of this.addresses) {
      if (own.address.family !== 4 || own.length >= 31) continue;
      const hostBits = 0xffffffff >>> own.length;
      if ((address.d & hostBits) >>> 0 === hostBits && ((address.d ^ own.address.d) & ~hostBits) === 0) return true;
    }
    return false;
  }

  toString(): string {
    return `${this.name} (${formatMac(this.mac)})`;
  }
}

/** Made from a router's prefix: says nothing about who is on the link (RFC 5942 §4). */
export function isAutomatic({ origin }: OwnAddress): boolean {
  return origin === "ra" || origin === "temporary";
}
