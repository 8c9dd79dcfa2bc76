/** Raw sockets as a program asks for them. */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { RawEndpoint } from "../raw/endpoint.ts";
import type { RawLayer } from "../raw/layer.ts";
import type { DatagramSettings } from "../socket/datagram-options.ts";
import { PROTOCOLS } from "./rule-options.ts";

export interface RawOptions extends DatagramSettings {
  /** Number in IP headers, 1 to 255, or one of the usual names. 255 (IPPROTO_RAW) hears nothing. */
  protocol: number | keyof typeof PROTOCOLS;
  /** Default: that of `hostname`, else 6 with "icmpv6", else 4. */
  family?: 4 | 6;
  /** Only what is for this address, and from it. */
  hostname?: string;
  /** Only by this interface, both ways (SO_BINDTODEVICE). */
  interface?: string;
  /** What is sent begins with an IP header of the program's own (IP_HDRINCL). Default false, true for protocol 255. */
  header?: boolean;
  /** ICMP types that are heard; default: all (ICMP_FILTER). */
  types?: readonly number[];
  /** IPv6: where payloads have their checksum, which is then written and verified (IPV6_CHECKSUM). Of ICMPv6 always 2. */
  checksumAt?: number;
}

/** The endpoint that the options ask for. Throws EINVAL, EADDRNOTAVAIL. */
export function openRaw(layer: RawLayer, options: Omit<RawOptions, "interface">, local: IpAddress | undefined): RawEndpoint {
  const protocol = typeof options.protocol === "string" ? PROTOCOLS[options.protocol] : options.protocol;
  const family = options.family ?? local?.family ?? (protocol === PROTOCOLS.icmpv6 ? 6 : 4);
  if (local && local.family !== family) throw new LoomError("EINVAL", `raw: ${local} is no IPv${family} address`);
  if (options.types && protocol !== (family === 4 ? PROTOCOLS.icmp : PROTOCOLS.icmpv6))
    throw new LoomError("EINVAL", `raw: types are those of ICMP; expected protocol ${family === 4 ? "icmp" : "icmpv6"} with them`);
  if (options.checksumAt !== undefined && options.checksumAt % 2 === 1)
    throw new LoomError("EINVAL", `raw: checksumAt is ${options.checksumAt}; expected an even number`);
  if (options.checksumAt !== undefined && (family === 4 || protocol === PROTOCOLS.icmpv6))
    throw new LoomError("EINVAL", "raw: checksumAt is for IPv6, and for other protocols than ICMPv6");
  if (local) layer.checkLocal(local);
  const endpoint = layer.open(family, protocol);
  if (local) endpoint.bind(local);
  if (options.header !== undefined) endpoint.header = options.header;
  if (options.checksumAt !== undefined) endpoint.checksumAt = options.checksumAt;
  if (options.types) {
    endpoint.blocked.fill(0xffff_ffff);
    for (const type of options.types) endpoint.blocked[type >>> 5] &= ~(1 << (type & 31));
  }
  return endpoint;
}
