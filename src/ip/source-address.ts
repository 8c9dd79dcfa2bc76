/** Which own address speaks to a destination (RFC 6724 §5, rules 2 and 8). */
import type { IpAddress } from "../base/ip-address.ts";
import type { NetInterface } from "./interface.ts";

/** The best own address of an interface for a destination, if it has one of its family. */
export function addressOn(iface: NetInterface, to: IpAddress): IpAddress | undefined {
  let best: IpAddress | undefined;
  for (const { address } of iface.addresses) {
    if (address.family !== to.family) continue;
    if (!best || isBetterSource(address, best, to)) best = address;
  }
  return best;
}

function isBetterSource(a: IpAddress, b: IpAddress, to: IpAddress): boolean {
  const scope = to.isLinkLocal || (to.family === 6 && to.isMulticast && ((to.a >>> 16) & 15) === 2);
  if (a.isLinkLocal !== b.isLinkLocal) return a.isLinkLocal === scope;
  return a.commonPrefix(to) > b.commonPrefix(to);
}
