/**
 * Addresses with a zone: "fe80::1%eth0" or "fe80::1%1" (RFC 4007 §11). A link-local address names a node only together with
 * the link; without a zone the default one is meant, which is the first interface (§6).
 */
import { invalid, LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { NetInterface } from "./interface.ts";

export interface ZonedAddress {
  readonly address: IpAddress;
  readonly iface: NetInterface | undefined;
}

/** Means nothing without an interface: fe80::/10, and groups of a link or of an interface. */
export function needsZone(address: IpAddress): boolean {
  if (address.family !== 6) return false;
  return address.isLinkLocal || (address.isMulticast && ((address.a >>> 16) & 15) <= 2);
}

/** EINVAL for what is no address or may have no zone, ENODEV for a zone that is no interface of these. */
export function parseZoned(text: string, interfaces: readonly NetInterface[]): ZonedAddress {
  const at = text.indexOf("%");
  if (at < 0) return { address: IpAddress.parse(text), iface: undefined };
  const zone = text.slice(at + 1);
  const address = IpAddress.parse(text.slice(0, at));
  if (!needsZone(address)) throw invalid(`"${text}" has a zone; expected one behind link-local addresses and groups alone`);
  const iface = interfaces.find((each) => each.name === zone) ?? interfaces.find((each) => String(each.index) === zone);
  if (!iface) {
    const names = interfaces.map((each) => each.name).join(", ");
    throw new LoomError("ENODEV", `"${text}" names no interface of this host; it has ${names || "none"}`);
  }
  return { address, iface };
}

/** As people read it: link-local addresses with the name of their interface. */
export function formatZoned(address: IpAddress, iface: NetInterface | undefined): string {
  return iface && address.family === 6 && address.isLinkLocal ? `${address}%${iface.name}` : String(address);
}

/** An address with a port, as programs print it: "192.0.2.1:80", "[2001:db8::1]:80"; of protocols without ports the address alone. */
export function endText(address: string, port: number): string {
  if (port === 0) return address;
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}
