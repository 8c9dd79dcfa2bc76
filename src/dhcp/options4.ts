/** What DHCPv4 options say, as values: RFC 2132, 3397 (search list), 3442 (classless routes). */
import { format4, parse4 } from "../base/address.ts";
import { be16, be32, concat, u16, u32 } from "../base/bytes.ts";
import type { Dhcp4Message } from "./message4.ts";
import { OPTION4 } from "./message4.ts";
import { namesToBytes, readNames } from "./names.ts";

/** What a client is told about its network. */
export interface Dhcp4Config {
  readonly prefixLength?: number;
  readonly routers?: readonly string[];
  readonly dns?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly mtu?: number;
  readonly broadcast?: string;
  readonly ntp?: readonly string[];
  /** Instead of the routers where there are any (RFC 3442). A gateway of 0.0.0.0: on the link. */
  readonly routes?: readonly { readonly to: string; readonly via: string }[];
}

export const ascii = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
export const address4 = (address: string) => be32(parse4(address));

export function readU32(data: Uint8Array | undefined): number | undefined {
  return data?.length === 4 ? u32(data, 0) : undefined;
}

export function readU16(data: Uint8Array | undefined): number | undefined {
  return data?.length === 2 ? u16(data, 0) : undefined;
}

export function readAddress(data: Uint8Array | undefined): string | undefined {
  const value = readU32(data);
  return value === undefined ? undefined : format4(value);
}

function readAddresses(data: Uint8Array | undefined): string[] | undefined {
  if (!data || data.length === 0 || data.length % 4 !== 0) return undefined;
  return Array.from({ length: data.length / 4 }, (_, i) => readAddress(data.subarray(4 * i, 4 * i + 4)) as string);
}

export function readText(data: Uint8Array | undefined): string | undefined {
  const text = data && String.fromCharCode(...data.subarray(0, 255)).replace(/\0+$/, "");
  return text || undefined;
}

/** The length of a mask, or undefined when it has holes. */
function readMask(data: Uint8Array | undefined): number | undefined {
  const mask = readU32(data);
  if (mask === undefined) return undefined;
  const length = Math.clz32(~mask);
  return mask === (length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0) ? length : undefined;
}

/** Options that make no sense are left out: one bad option is no reason to do without the others. */
export function readConfig({ options }: Dhcp4Message): Dhcp4Config {
  const mtu = readU16(options.get(OPTION4.mtu));
  const config: { -readonly [K in keyof Dhcp4Config]: Dhcp4Config[K] } = {
    prefixLength: readMask(options.get(OPTION4.subnetMask)),
    routers: readAddresses(options.get(OPTION4.routers)),
    dns: readAddresses(options.get(OPTION4.dns)),
    domain: readText(options.get(OPTION4.domain)),
    search: readNames(options.get(OPTION4.search)),
    // RFC 2132 §5.1: 68 at least.
    mtu: mtu !== undefined && mtu >= 68 ? mtu : undefined,
    broadcast: readAddress(options.get(OPTION4.broadcast)),
    ntp: readAddresses(options.get(OPTION4.ntp)),
    routes: readRoutes(options.get(OPTION4.classlessRoutes)),
  };
  for (const key of Object.keys(config) as (keyof Dhcp4Config)[]) if (config[key] === undefined) delete config[key];
  return config;
}

/** Length, the bytes of the destination that it covers, the router. */
function readRoutes(data: Uint8Array | undefined): { to: string; via: string }[] | undefined {
  if (!data || data.length === 0) return undefined;
  const routes: { to: string; via: string }[] = [];
  for (let at = 0; at < data.length; ) {
    const length = data[at];
    const n = Math.ceil(length / 8);
    if (length > 32 || at + 1 + n + 4 > data.length) return undefined;
    const destination = new Uint8Array(4);
    destination.set(data.subarray(at + 1, at + 1 + n));
    const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
    const network = ((readU32(destination) ?? 0) & mask) >>> 0;
    routes.push({ to: `${format4(network)}/${length}`, via: readAddress(data.subarray(at + 1 + n, at + 5 + n)) as string });
    at += 5 + n;
  }
  return routes;
}

export function writeConfig(config: Dhcp4Config): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  const put = <T>(code: number, value: T | undefined, write: (value: T) => Uint8Array) => {
    if (value !== undefined && !(Array.isArray(value) && value.length === 0)) options.set(code, write(value));
  };
  const addresses = (list: readonly string[]) => concat(list.map(address4));
  put(OPTION4.subnetMask, config.prefixLength, (length) => be32(length === 0 ? 0 : 0xffffffff << (32 - length)));
  put(OPTION4.routers, config.routers, addresses);
  put(OPTION4.dns, config.dns, addresses);
  put(OPTION4.domain, config.domain, ascii);
  put(OPTION4.search, config.search, namesToBytes);
  put(OPTION4.mtu, config.mtu, be16);
  put(OPTION4.broadcast, config.broadcast, address4);
  put(OPTION4.ntp, config.ntp, addresses);
  put(OPTION4.classlessRoutes, config.routes, (routes) =>
    concat(
      routes.map(({ to, via }) => {
        const [network, length] = to.split("/");
        return concat([Uint8Array.of(Number(length)), address4(network).subarray(0, Math.ceil(Number(length) / 8)), address4(via)]);
      }),
    ),
  );
  return options;
}
