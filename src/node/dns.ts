/** `node:dns` of a host; `lookup` in the call-back form and as a promise: literals, hosts file, name servers. */
import * as dns from "node:dns";
import { isIP } from "node:net";
import process from "node:process";
import { inspect } from "node:util";
import type { Host } from "../host/host.ts";
import { dnsCallsOf } from "./dns-resolver.ts";
import { codeOf, lookupError, nodeError, wrongType } from "./errors.ts";

const { ADDRCONFIG, ALL, V4MAPPED } = dns;
/** Node's names of errors: `dns.NOTFOUND` and its like, all that the runtime has. */
const codes = Object.fromEntries(
  Object.entries(dns).filter(([name, value]) => /^[A-Z]+$/.test(name) && typeof value === "string"),
) as unknown as ErrorNames;
type ErrorNames = Pick<
  typeof dns,
  "NODATA" | "FORMERR" | "SERVFAIL" | "NOTFOUND" | "NOTIMP" | "REFUSED" | "BADNAME" | "BADRESP" | "CONNREFUSED" | "TIMEOUT" | "CANCELLED"
>;
type Order = "verbatim" | "ipv4first" | "ipv6first";
const ORDERS: readonly Order[] = ["verbatim", "ipv4first", "ipv6first"];

export interface LookupAddress {
  address: string;
  family: number;
}

export interface LookupOptions {
  family?: number | "IPv4" | "IPv6";
  /** ADDRCONFIG, V4MAPPED, ALL of `node:dns`. */
  hints?: number;
  all?: boolean;
  order?: Order;
  verbatim?: boolean;
}

type LookupCallback = (error: Error | null, address?: string | LookupAddress[] | null, family?: number) => void;
export type Lookup = (hostname: string, options: LookupOptions, callback: LookupCallback) => void;

interface Question {
  readonly family: 0 | 4 | 6;
  readonly hints: number;
  readonly all: boolean;
  readonly order: NonNullable<LookupOptions["order"]>;
}

type Resolving = Pick<
  typeof dns,
  | "resolve"
  | "resolve4"
  | "resolve6"
  | "resolveAny"
  | "resolveCaa"
  | "resolveCname"
  | "resolveMx"
  | "resolveNaptr"
  | "resolveNs"
  | "resolvePtr"
  | "resolveSoa"
  | "resolveSrv"
  | "resolveTxt"
  | "reverse"
  | "getServers"
  | "setServers"
  | "Resolver"
>;
type Promised = Pick<typeof dns.promises, keyof Resolving>;
type Lookups = { lookup(hostname: string, options?: LookupOptions | number): Promise<LookupAddress | LookupAddress[]> };

/** In which order addresses of both families come where a lookup does not say. */
interface Ordering {
  setDefaultResultOrder(order: Order): void;
  getDefaultResultOrder(): Order;
}

/** The part of `node:dns` that concerns a host. */
export interface HostDns extends Resolving, ErrorNames, Ordering {
  lookup(hostname: string, callback: LookupCallback): void;
  lookup(hostname: string, options: LookupOptions | number, callback: LookupCallback): void;
  readonly promises: Lookups & Promised & ErrorNames & Ordering;
  readonly ADDRCONFIG: number;
  readonly V4MAPPED: number;
  readonly ALL: number;
}

export function dnsOf(host: Host): HostDns {
  let usual: Order = "verbatim";
  const ordering: Ordering = {
    setDefaultResultOrder(order) {
      if (!ORDERS.includes(order)) {
        const known = ORDERS.map((each) => `'${each}'`).join(", ");
        throw nodeError("ERR_INVALID_ARG_VALUE", `The argument 'dnsOrder' must be one of: ${known}. Received ${inspect(order)}`, TypeError);
      }
      usual = order;
    },
    getDefaultResultOrder: () => usual,
  };
  const lookup = (hostname: string, options: LookupOptions | number | LookupCallback, then?: LookupCallback) => {
    const callback = typeof options === "function" ? options : then;
    if (typeof callback !== "function") throw wrongType("callback", "of type function", callback);
    const question = read(hostname, typeof options === "function" ? {} : options, usual);
    if (hostname === "") {
      process.nextTick(() => (question.all ? callback(null, []) : callback(null, null, question.family === 6 ? 6 : 4)));
      return;
    }
    const family = isIP(hostname);
    if (family) {
      process.nextTick(() => (question.all ? callback(null, [{ address: hostname, family }]) : callback(null, hostname, family)));
      return;
    }
    // Thrown by the call-back, an error is the program's: it must not come back as the lookup's.
    answer(host, hostname, question).then(
      (found) => process.nextTick(() => (question.all ? callback(null, found) : callback(null, found[0].address, found[0].family))),
      (error) => process.nextTick(() => callback(error)),
    );
  };
  const promised = async (hostname: string, options: LookupOptions | number = {}) => {
    const question = read(hostname, options, usual);
    if (hostname === "") return question.all ? [] : { address: null as unknown as string, family: question.family === 6 ? 6 : 4 };
    const found = await answer(host, hostname, question);
    return question.all ? found : found[0];
  };
  const { callbacks, promises } = dnsCallsOf(host);
  const calls = callbacks as unknown as Resolving;
  const both = { ...codes, ...ordering };
  return {
    ...both,
    ...calls,
    lookup,
    promises: { ...both, ...(promises as unknown as Promised), lookup: promised },
    ADDRCONFIG,
    V4MAPPED,
    ALL,
  };
}

function read(hostname: string, options: LookupOptions | number, usual: Order): Question {
  if (typeof hostname !== "string") throw wrongType("hostname", "of type string", hostname);
  const { family = 0, hints = 0, all = false, order, verbatim } = typeof options === "number" ? { family: options } : (options ?? {});
  const number = family === "IPv4" ? 4 : family === "IPv6" ? 6 : family;
  if (number !== 0 && number !== 4 && number !== 6) {
    throw nodeError("ERR_INVALID_ARG_VALUE", `The argument 'family' must be one of: 0, 4, 6. Received ${number}`, TypeError);
  }
  return { family: number, hints, all, order: order ?? (verbatim === undefined ? usual : verbatim ? "verbatim" : "ipv4first") };
}

async function answer(host: Host, hostname: string, question: Question): Promise<LookupAddress[]> {
  const literal = isIP(hostname);
  if (literal) return [{ address: hostname, family: literal }];
  const { family, hints } = question;
  let found = await names(host, hostname, family);
  // RFC 3493 §6.1: AI_V4MAPPED where there is no IPv6 address, or with AI_ALL beside them.
  if (family === 6 && hints & V4MAPPED && (found.length === 0 || hints & ALL)) {
    const four = await names(host, hostname, 4);
    found = [...found, ...four.map(({ address }) => ({ address: `::ffff:${address}`, family: 6 }))];
  }
  if (hints & ADDRCONFIG) found = found.filter((each) => has(host, each.family));
  if (found.length === 0) throw lookupError("ENOTFOUND", hostname);
  const first = { verbatim: 0, ipv4first: 4, ipv6first: 6 }[question.order];
  return first === 0 ? found : [...found].sort((a, b) => Number(b.family === first) - Number(a.family === first));
}

/** Addresses of a name; none when nobody knows it. */
async function names(host: Host, hostname: string, family: 0 | 4 | 6): Promise<LookupAddress[]> {
  // The process waits for an answer, as it does for the system's.
  host.engine.hold();
  try {
    const found = await host.lookup(hostname, { family });
    return found.map(({ address, family }) => ({ address, family }));
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOTFOUND" || code === "ENODATA") return [];
    throw lookupError(code, hostname);
  } finally {
    host.engine.letGo();
  }
}

/** AI_ADDRCONFIG: the host has an address of the family beyond loopback and the link. */
function has(host: Host, family: number): boolean {
  return host.ip.interfaces.some((iface) =>
    iface.addresses.some(({ address }) => address.family === family && !address.isLoopback && !(family === 6 && address.isLinkLocal)),
  );
}
