/**
 * A name to addresses, as `getaddrinfo` does it: literals, special names (RFC 6761), the hosts file, then the servers;
 * sorted for the one who asks (RFC 6724).
 */
import { tryParse4 } from "../base/address.ts";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Hosts } from "./hosts.ts";
import { nameKey } from "./hosts.ts";
import { isBelow } from "./name.ts";

export interface LookupOptions {
  /** Only this family. Default 0: both. */
  family?: 0 | 4 | 6;
  /** All addresses, or only the best one. Default true. */
  all?: boolean;
  /** "verbatim": as RFC 6724 sorts them (the default). Otherwise one family goes in front. */
  order?: "verbatim" | "ipv4first" | "ipv6first";
  signal?: AbortSignal;
  /** When IPv4 addresses are there, wait so long (ms) for IPv6 ones (RFC 8305 §3 says 50). Default: until all have answered. */
  patience?: number;
}

export interface LookupAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** What a lookup asks. */
export interface LookupWorld {
  readonly hosts: Hosts;
  /** Addresses of a name from the servers (`Resolver.addresses`); rejects with ENOTFOUND, ENODATA, ETIMEOUT … */
  addresses?(name: string, families: readonly (4 | 6)[], signal?: AbortSignal, patience?: number): Promise<readonly IpAddress[]>;
  /** Sorts addresses for the host that asks (RFC 6724 §6); absent: they stay as they came. */
  order?(addresses: readonly IpAddress[]): readonly IpAddress[];
}

const LOOPBACK = [IpAddress.parse("127.0.0.1"), IpAddress.parse("::1")];

/** The address that the text is, also in the brackets of a URL; the zone of a link-local one is not looked at (RFC 4007 §11). */
export function literal(text: string): IpAddress | undefined {
  const four = tryParse4(text);
  if (four >= 0) return IpAddress.v4(four);
  if (!text.includes(":")) return undefined;
  const bare = /^\[.*:.*\]$/.test(text) ? text.slice(1, -1) : text;
  const [address, zone, ...rest] = bare.split("%");
  try {
    const parsed = IpAddress.parse(address);
    const isZoned = zone !== undefined && zone !== "" && rest.length === 0 && parsed.family === 6 && parsed.isLinkLocal;
    return zone === undefined || isZoned ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** Addresses of special names, or undefined for a name like any other (RFC 6761 §6.3, §6.4; RFC 7686). */
function special(key: string): readonly IpAddress[] | undefined {
  if (isBelow(key, "localhost")) return LOOPBACK;
  return isBelow(key, "invalid") || isBelow(key, "onion") ? [] : undefined;
}

/** Addresses of a name, the best first. Rejects with ENOTFOUND, or EAI_AGAIN when no server could be asked. */
export async function lookup(world: LookupWorld, name: string, options: LookupOptions = {}): Promise<LookupAddress[]> {
  const { family = 0, all = true, order = "verbatim", signal } = options;
  signal?.throwIfAborted();
  const found = await find(world, name, options);
  const wanted = found.filter((address) => family === 0 || address.family === family);
  if (wanted.length === 0) throw new LoomError("ENOTFOUND", `"${name}" has no address${family ? ` of IPv${family}` : ""}`);
  const sorted = world.order && wanted.length > 1 ? world.order(wanted) : wanted;
  const first = { verbatim: 0, ipv4first: 4, ipv6first: 6 }[order];
  // A literal keeps its zone.
  const zone = /%[^%\]]+/.exec(name)?.[0] ?? "";
  const ordered = [...sorted.filter((each) => each.family === first), ...sorted.filter((each) => each.family !== first)];
  return ordered.slice(0, all ? undefined : 1).map((address) => ({ address: `${address}${zone}`, family: address.family }));
}

async function find(world: LookupWorld, name: string, options: LookupOptions): Promise<readonly IpAddress[]> {
  const { family = 0 } = options;
  const address = literal(name);
  if (address) return [address];
  const ascii = asciiName(name);
  const known = world.hosts.lookup(ascii);
  if (known.some((each) => family === 0 || each.family === family)) return known;
  return special(nameKey(ascii)) ?? (await fromServers(world, ascii, options));
}

async function fromServers(world: LookupWorld, name: string, options: LookupOptions): Promise<readonly IpAddress[]> {
  const { family = 0, signal, patience } = options;
  if (!world.addresses) throw new LoomError("EAI_AGAIN", `"${name}" cannot be looked up: there is no name server`);
  try {
    return await world.addresses(name, family === 0 ? [6, 4] : [family], signal, patience);
  } catch (error) {
    if (!(error instanceof LoomError)) throw error;
    if (error.code === "ENOTFOUND" || error.code === "EBADNAME") throw new LoomError("ENOTFOUND", error.message);
    if (error.code === "ENODATA") throw new LoomError("ENOTFOUND", `"${name}" has no address${family ? ` of IPv${family}` : ""}`);
    throw new LoomError("EAI_AGAIN", `"${name}" cannot be looked up now: ${error.message}`, { cause: error });
  }
}

/** Names of other scripts become what the DNS holds (IDNA), by the runtime's own URL parser. */
export function asciiName(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: everything beyond ASCII
  if (!/[^\x00-\x7f]/.test(name)) return name;
  try {
    return new URL(`http://${name}`).hostname;
  } catch {
    throw new LoomError("ENOTFOUND", `"${name}" is not a name that the DNS can hold`);
  }
}
