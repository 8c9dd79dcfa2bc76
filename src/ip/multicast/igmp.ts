/** IGMP messages, versions 1 to 3 (RFC 1112 appendix I, RFC 2236 §2, RFC 3376 §4). */
import { IpAddress } from "../../base/ip-address.ts";
import { checksum, serializeIpv4 } from "../../wire/index.ts";
import type { NetInterface } from "../interface.ts";
import type { World } from "../world.ts";
import type { GroupWire } from "./machine.ts";
import { decode8, type GroupQuery, type GroupRecord, packed, recordBytes } from "./records.ts";

export const IGMP = 2;
const QUERY = 0x11;
const REPORT = [0, 0x12, 0x16, 0x22];
const LEAVE = 0x17;
const ALL_ROUTERS = IpAddress.parse("224.0.0.2");
const ALL_SYSTEMS = IpAddress.parse("224.0.0.1");
const ALL_V3_ROUTERS = IpAddress.parse("224.0.0.22");
/** RFC 2113: routers look at the packet though it is not for them. */
const ROUTER_ALERT = Uint8Array.of(148, 4, 0, 0);
/** Internetwork control, as RFC 3376 §4 asks. */
const TOS = 0xc0;

export type IgmpMessage = { readonly query: GroupQuery } | { readonly reported: IpAddress };

/** A message that concerns hosts; undefined for what is broken or for routers only. */
export function parseIgmp(bytes: Uint8Array): IgmpMessage | undefined {
  if (bytes.length < 8 || checksum(bytes) !== 0) return undefined;
  const group = IpAddress.fromBytes(bytes.subarray(4, 8));
  if (bytes[0] === REPORT[1] || bytes[0] === REPORT[2]) return group.isMulticast ? { reported: group } : undefined;
  if (bytes[0] !== QUERY || !(group.isUnspecified || group.isMulticast)) return undefined;
  const about = group.isUnspecified ? undefined : group;
  if (bytes.length === 8) {
    const version = bytes[1] === 0 ? 1 : 2;
    const maxResponseMs = version === 1 ? 10_000 : bytes[1] * 100;
    return { query: { version, maxResponseMs, group: about, sources: [], robustness: 0, intervalMs: 0 } };
  }
  if (bytes.length < 12) return undefined;
  const count = (bytes[10] << 8) | bytes[11];
  if (bytes.length < 12 + 4 * count || (count > 0 && !about)) return undefined;
  const sources = Array.from({ length: count }, (_, i) => IpAddress.fromBytes(bytes.subarray(12 + 4 * i, 16 + 4 * i)));
  const maxResponseMs = (decode8(bytes[1]) || 1) * 100;
  return { query: { version: 3, maxResponseMs, group: about, sources, robustness: bytes[8] & 7, intervalMs: decode8(bytes[9]) * 1000 } };
}

export class IgmpWire implements GroupWire {
  readonly newest = 3;
  private readonly world: World;
  private readonly iface: NetInterface;

  constructor(world: World, iface: NetInterface) {
    this.world = world;
    this.iface = iface;
  }

  isSilent(group: IpAddress): boolean {
    return group.equals(ALL_SYSTEMS);
  }

  report(records: readonly GroupRecord[]): void {
    for (const some of packed(records, 4, this.iface.mtu - 32)) {
      this.send(ALL_V3_ROUTERS, Uint8Array.of(REPORT[3], 0, 0, 0, 0, 0, some.length >>> 8, some.length, ...recordBytes(some)));
    }
  }

  reportOld(version: number, group: IpAddress): void {
    this.send(group, Uint8Array.of(REPORT[version], 0, 0, 0, ...group.bytes()));
  }

  leaveOld(version: number, group: IpAddress): void {
    if (version > 1) this.send(ALL_ROUTERS, Uint8Array.of(LEAVE, 0, 0, 0, ...group.bytes()));
  }

  private send(to: IpAddress, message: Uint8Array): void {
    const sum = checksum(message);
    message[2] = sum >>> 8;
    message[3] = sum;
    const own = this.iface.addresses.find(({ address }) => address.family === 4);
    const packet = serializeIpv4({
      source: own?.address.v4 ?? 0,
      destination: to.v4,
      protocol: IGMP,
      ttl: 1,
      tos: TOS,
      options: ROUTER_ALERT,
      payload: message,
    });
    this.world.sendPacket(packet, this.world.pathTo(to, this.iface));
  }
}
