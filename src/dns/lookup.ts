/**
 * A name to addresses, as `getaddrinfo` does it: literals, special names (RFC 6761), the hosts file, then the servers;
 * sorted for the one who asks (RFC 6724).
 */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Hosts } from "./hosts.ts";
import { nameKey } from "./hosts.ts";
import { sortAddresses } from "./order.ts";

export interface LookupOptions {
  /** Only this family. Default 0: both. */
  family?: 0 | 4 | 6;
  /** All addresses, or only the best one. Default true. */
  all?: boolean;
  /** "verbatim": as RFC 6724 sorts them (the default). Otherwise one family goes in front. */
  order?: "verbatim" | "ipv4first" | "ipv6first";
  signal?: AbortSignal;
}

export interface LookupAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** What a lookup asks. */
export interface LookupWorld {
  readonly hosts: Hosts;
  /** Addresses of a name of one family from the servers; throws ENOTFOUND, ENODATA, ETIMEOUT … */
  addresses?(name: string, family: 4 | 6, signal?: AbortSignal): Promise<readonly IpAddress[]>;
  /** The own address that would speak to this one; absent: none is preferred. */
  sourceFor?(address: IpAddress): IpAddress | undefined;
}

const LOOPBACK = [IpAddress.parse("127.0.0.1"), IpAddress.parse("::1")];

/** The address that the text is, also in the brackets of a URL. */
export function literal(text: string): IpAddress | undefined {
  try {
    return IpAddress.parse(/^\[.*:.*\]$/.test(text) ? text.slice(1, -1) : text);
  } catch {
    return undefined;
  }
}

/** Whether a name is `suffix` or below it. */
export function isBelow(name: string, suffix: string): boolean {
  return name === suffix || name.endsWith(`.${suffix}`);
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
  const found = await find(world, name, family, signal);
  const wanted = found.filter((address) => family === 0 || address.family === family);
  if (wanted.length === 0) throw new LoomError("ENOTFOUND", `"${name}" has no address${family ? ` of IPv${family}` : ""}`);
  const sorted = world.sourceFor && wanted.length > 1 ? sortAddresses(wanted, (address) => world.sourceFor?.(address)) : wanted;
  const first = { verbatim: 0, ipv4first: 4, ipv6first: 6 }[order];
  const ordered = [...sorted.filter((each) => each.family === first), ...sorted.filter((each) => each.family !== first)];
  return ordered.slice(0, all ? undefined : 1).map((address) => ({ address: String(address), family: address.family }));
}

async function find(world: LookupWorld, name: string, family: 0 | 4 | 6, signal?: AbortSignal): Promise<readonly IpAddress[]> {
  const address = literal(name);
  if (address) return [address];
  const ascii = asciiName(name);
  const known = world.hosts.lookup(ascii);
  if (known.some((each) => family === 0 || each.family === family)) return known;
  return special(nameKey(ascii)) ?? (await fromServers(world, ascii, family, signal));
}

/** Both families at once; one that fails is no failure while the other answers. */
async function fromServers(world: LookupWorld, name: string, family: 0 | 4 | 6, signal?: AbortSignal): Promise<readonly IpAddress[]> {
  if (!world.addresses) throw new LoomError("EAI_AGAIN", `"${name}" cannot be looked up: there is no name server`);
  const families = family === 0 ? ([6, 4] as const) : [family];
  const ask = world.addresses.bind(world);
  const results = await Promise.allSettled(families.map((each) => ask(name, each, signal)));
  signal?.throwIfAborted();
  const found = results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
  if (found.length > 0) return found;
  const errors = results.flatMap((result) => (result.status === "rejected" ? [result.reason as LoomError] : []));
  const trouble = errors.find(({ code }) => code !== "ENOTFOUND" && code !== "ENODATA");
  if (trouble instanceof LoomError) throw new LoomError("EAI_AGAIN", `"${name}" cannot be looked up now: ${trouble.message}`);
  if (trouble) throw trouble;
  throw new LoomError("ENOTFOUND", `"${name}" ${errors.some(({ code }) => code === "ENODATA") ? "has no address" : "does not exist"}`);
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
