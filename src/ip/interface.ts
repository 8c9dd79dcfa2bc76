/** An interface of a host: a port of the engine with a name and addresses. */
import { formatMac } from "../base/address.ts";
import { type InterfaceAddress, IpAddress, networkOf } from "../base/ip-address.ts";
import type { Port } from "../engine/port.ts";

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

export class NetInterface {
  readonly name: string;
  readonly port: Port;
  readonly mac: Uint8Array;
  readonly addresses: InterfaceAddress[] = [];
  /** Number of the "who is there on this link" next hop of each family. */
  glean4 = 0;
  glean6 = 0;
  /** Groups and how many sockets are in each. */
  readonly groups = new Map<string, number>();

  constructor(name: string, port: Port) {
    this.name = name;
    this.port = port;
    this.mac = port.macBytes;
  }

  get mtu(): number {
    return this.port.mtu;
  }

  owns(address: IpAddress): boolean {
    return this.addresses.some((own) => own.address.equals(address));
  }

  /** A group whose packets this interface takes: joined, all nodes, or the solicited-node group of an own address. */
  isMember(group: IpAddress): boolean {
    if (group.equals(ALL_NODES) || (group.family === 4 && group.v4 === 0xe0000001) || this.groups.has(group.key)) return true;
    return this.addresses.some(({ address }) => address.family === 6 && solicitedNode(address).equals(group));
  }

  /** The subnet's broadcast address, or the limited one. */
  isBroadcast(address: IpAddress): boolean {
    if (address.family !== 4) return false;
    if (address.v4 === 0xffffffff) return true;
    return this.addresses.some(
      (own) =>
        own.address.family === 4 &&
        own.length < 31 &&
        networkOf(address, own.length).equals(networkOf(own.address, own.length)) &&
        (address.d | (0xffffffff << (32 - own.length))) === -1,
    );
  }

  toString(): string {
    return `${this.name} (${formatMac(this.mac)})`;
  }
}
