/** `node:dns` of a host; `lookup` in the call-back form and as a promise: literals, hosts file, name servers. */
import * as dns from "node:dns";
import { isIP } from "node:net";
import process from "node:process";
import { promisify } from "node:util";
import { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import { checkBoolean, checkFunction, checkNumber, checkOneOf, checkText, wrongType, wrongValue } from "./checks.ts";
import { dnsCallsOf } from "./dns-resolver.ts";
import { codeOf, lookupError } from "./errors.ts";

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
const FAMILIES = [0, 4, 6] as const;
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
  | "lookupService"
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
  let usual: Order = (dns.getDefaultResultOrder?.() as Order | undefined) ?? "verbatim";
  const ordering: Ordering = {
    setDefaultResultOrder(order) {
      checkOneOf(order, "dnsOrder", ORDERS);
      usual = order;
    },
    getDefaultResultOrder: () => usual,
  };
  const lookup = (hostname: string, options: LookupOptions | number | LookupCallback, then?: LookupCallback) => {
    const callback = typeof options === "function" ? options : then;
    if (hostname) checkText(hostname, "hostname");
    checkFunction(callback, "callback");
    const question = read(hostname, typeof options === "function" ? {} : options, usual);
    if (!hostname) {
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
    if (!hostname) return question.all ? [] : { address: null as unknown as string, family: question.family === 6 ? 6 : 4 };
    const found = await answer(host, hostname, question);
    return question.all ? found : found[0];
  };
  Object.defineProperty(lookup, promisify.custom, { value: promised });
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

/** What is asked for; an empty name is nobody's, and is answered with nothing. */
function read(hostname: unknown, options: LookupOptions | number | null | undefined, usual: Order): Question {
  if (hostname) checkText(hostname, "hostname");
  if (typeof options === "number") {
    checkOneOf(options, "family", FAMILIES);
    return { family: options, hints: 0, all: false, order: usual };
  }
  if (options !== undefined && typeof options !== "object") throw wrongType("options", "of type object or integer", options);
  const { family, hints, all, order, verbatim } = options ?? {};
  const number = family === "IPv4" ? 4 : family === "IPv6" ? 6 : (family ?? 0);
  if (hints != null) checkHints(hints);
  checkOneOf(number, "options.family", FAMILIES);
  if (all != null) checkBoolean(all, "options.all");
  if (verbatim != null) checkBoolean(verbatim, "options.verbatim");
  if (order != null) checkOneOf(order, "options.order", ORDERS);
  const said = verbatim == null ? usual : verbatim ? "verbatim" : "ipv4first";
  return { family: number, hints: (hints ?? 0) >>> 0, all: all ?? false, order: order ?? said };
}

function checkHints(hints: unknown): void {
  checkNumber(hints, "options.hints");
  const bits = hints >>> 0;
  if ((bits & ~(ADDRCONFIG | ALL | V4MAPPED)) !== 0) throw wrongValue("hints", bits);
}

async function answer(host: Host, hostname: string, question: Question): Promise<LookupAddress[]> {
  const literal = isIP(hostname);
  if (literal) return [{ address: hostname, family: literal }];
  const { family, hints } = question;
  const number = oldNotation(hostname);
  const found4 = number === undefined ? undefined : [{ address: number, family: 4 }];
  let found = found4 === undefined ? await names(host, hostname, family) : family === 6 ? [] : found4;
  // RFC 3493 §6.1: AI_V4MAPPED where there is no IPv6 address, or with AI_ALL beside them.
  if (family === 6 && hints & V4MAPPED && (found.length === 0 || hints & ALL)) {
    const four = found4 ?? (await names(host, hostname, 4));
    found = [...found, ...four.map(({ address }) => ({ address: `::ffff:${address}`, family: 6 }))];
  }
  if (hints & ADDRCONFIG) found = found.filter((each) => has(host, each.family));
  if (found.length === 0) throw lookupError("ENOTFOUND", hostname);
  const first = { verbatim: 0, ipv4first: 4, ipv6first: 6 }[question.order];
  return first === 0 ? found : [...found].sort((a, b) => Number(b.family === first) - Number(a.family === first));
}

/** An IPv4 address as inet_aton(3) reads them, and getaddrinfo with it: one to four numbers, the last for all bytes that are left; hexadecimal and octal ones. */
function oldNotation(text: string): string | undefined {
  if (!/^(0x[\da-f]+|\d+)(\.(0x[\da-f]+|\d+)){0,3}$/i.test(text)) return undefined;
  const numbers = text.split(".").map((part) => Number.parseInt(part, /^0x/i.test(part) ? 16 : /^0/.test(part) ? 8 : 10) || 0);
  if (/(^|\.)0\d*[89]/.test(text)) return undefined;
  const last = numbers.pop() as number;
  if (numbers.some((each) => each > 255) || last >= 256 ** (4 - numbers.length)) return undefined;
  const address = numbers.reduce((sum, each, i) => sum + each * 256 ** (3 - i), last);
  return String(IpAddress.v4(address));
}

/** Addresses of a name; none when nobody knows it. */
async function names(host: Host, hostname: string, family: 0 | 4 | 6): Promise<LookupAddress[]> {
  // In brackets an address is a URL's, not a name's; and no name has longer parts (RFC 1035 §2.3.4).
  if (hostname.startsWith("[") || hostname.split(".").some((label) => label.length > 63)) return [];
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
