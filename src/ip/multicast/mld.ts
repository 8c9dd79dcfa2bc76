/** MLD messages, versions 1 and 2 (RFC 2710 §3, RFC 3810 §5, source addresses by RFC 3590). */
import { IpAddress } from "../../base/ip-address.ts";
import { serializeIpv6 } from "../../wire/index.ts";
import { icmpMessage } from "../icmp.ts";
import type { NetInterface } from "../interface.ts";
import type { World } from "../world.ts";
import type { GroupWire } from "./machine.ts";
import { decode8, decode16, type GroupQuery, type GroupRecord, packed, recordBytes } from "./records.ts";

export const MLD_QUERY = 130;
export const MLD_REPORT = 131;
const DONE = 132;
const REPORT2 = 143;
const ALL_NODES = IpAddress.parse("ff02::1");
const ALL_ROUTERS = IpAddress.parse("ff02::2");
const ALL_V2_ROUTERS = IpAddress.parse("ff02::16");
const UNSPECIFIED = new IpAddress(0, 0, 0, 0);
/** Hop-by-hop header with Router Alert for MLD (RFC 2711) and padding. */
const ROUTER_ALERT = Uint8Array.of(0, 0, 5, 2, 0, 0, 1, 0);

/** A query's bytes from its type on; undefined when it is broken. */
export function parseMldQuery(bytes: Uint8Array): GroupQuery | undefined {
  if (bytes.length < 24) return undefined;
  const group = IpAddress.from6(bytes.subarray(8));
  if (!group) return undefined;
  if (!group.isUnspecified && !group.isMulticast) return undefined;
  const about = group.isUnspecified ? undefined : group;
  const code = (bytes[4] << 8) | bytes[5];
  // RFC 3810 §8.1: exactly 24 bytes are version 1, 28 and more version 2, nothing in between.
  if (bytes.length === 24) return { version: 1, maxResponseMs: code, group: about, sources: [], robustness: 0, intervalMs: 0 };
  if (bytes.length < 28) return undefined;
  const count = (bytes[26] << 8) | bytes[27];
  if (bytes.length < 28 + 16 * count || (count > 0 && !about)) return undefined;
  const sources = Array.from({ length: count }, (_, i) => IpAddress.from6(bytes.subarray(28 + 16 * i))).filter((a) => a !== undefined);
  const intervalMs = decode8(bytes[25]) * 1000;
  return { version: 2, maxResponseMs: decode16(code) || 1, group: about, sources, robustness: bytes[24] & 7, intervalMs };
}

export class MldWire implements GroupWire {
  readonly newest = 2;
  private readonly world: World;
  private readonly iface: NetInterface;

  constructor(world: World, iface: NetInterface) {
    this.world = world;
    this.iface = iface;
  }

  /** All nodes, and scopes that no router has to know of (RFC 3810 §6). */
  isSilent(group: IpAddress): boolean {
    return group.equals(ALL_NODES) || ((group.a >>> 16) & 15) < 2;
  }

  report(records: readonly GroupRecord[]): void {
    for (const some of packed(records, 16, this.iface.mtu - 56)) this.send(ALL_V2_ROUTERS, REPORT2, some.length, recordBytes(some));
  }

  reportOld(_version: number, group: IpAddress): void {
    this.send(group, MLD_REPORT, 0, group.bytes());
  }

  leaveOld(_version: number, group: IpAddress): void {
    this.send(ALL_ROUTERS, DONE, 0, group.bytes());
  }

  private send(to: IpAddress, type: number, rest: number, data: Uint8Array): void {
    const source = this.iface.linkLocal ?? UNSPECIFIED;
    const packet = serializeIpv6({
      source: source.bytes(),
      destination: to.bytes(),
      hopLimit: 1,
      extensions: [{ type: 0, bytes: ROUTER_ALERT }],
      protocol: 58,
      payload: icmpMessage(type, 0, rest, data, source, to),
    });
    this.world.sendPacket(packet, this.world.pathTo(to, this.iface));
  }
}
