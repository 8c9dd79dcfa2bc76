/** The addresses that stand for all of a host's own, and for what a socket bound to one of them listens to. */
import { IpAddress } from "../base/ip-address.ts";

export const ANY4 = IpAddress.v4(0);
export const ANY6 = new IpAddress(0, 0, 0, 0);

/** Whether a wildcard stands for addresses of a family; `::` without IPV6_V6ONLY stands for both. */
export function standsFor(wildcard: IpAddress, v6Only: boolean | undefined, family: 4 | 6): boolean {
  return wildcard.equals(ANY4) ? family === 4 : family === 6 || !v6Only;
}
