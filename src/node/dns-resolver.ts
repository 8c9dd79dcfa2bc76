/** `dns.Resolver` of a host, with call-backs and with promises: questions by type to the host's name servers or to its own. */
import { isIP } from "node:net";
import process from "node:process";
import { promisify } from "node:util";
import { IpAddress } from "../base/ip-address.ts";
import { serviceName } from "../base/services.ts";
import type { Resolver } from "../dns/resolver.ts";
import type { Host } from "../host/host.ts";
import type { Sources } from "../host/names.ts";
import { checkFunction, checkInteger, checkPort, checkText, wrongType, wrongValue } from "./checks.ts";
import { QUERIES, type Query } from "./dns-records.ts";
import { codeOf, nameInfoError, nodeError, resolveError } from "./errors.ts";

export interface DnsResolverOptions {
  /** Milliseconds for one server in the first round; -1: the host's. */
  timeout?: number;
  /** Rounds through the servers. Default 4. */
  tries?: number;
}

type Callback = (error: Error | null, found?: unknown) => void;
type Ask = (hostname: string, options?: unknown) => Promise<unknown>;
type Asks = Readonly<Record<string, Ask>>;

/** What Node's DNS calls that a resolver was stopped. */
const CANCELLED = "ECANCELLED";

/** Questions and servers of one resolver. */
class Asker {
  readonly resolver: Resolver;
  private readonly host: Host;
  private readonly sources: Sources;
  private stop = new AbortController();

  /** `sources`: where `resolver` looks for the addresses that it asks from. */
  constructor(host: Host, resolver: Resolver, sources: Sources = {}) {
    this.host = host;
    this.resolver = resolver;
    this.sources = sources;
  }

  async ask(query: Query, hostname: string, options: unknown): Promise<unknown> {
    const ttl = Boolean((options as { ttl?: boolean } | undefined)?.ttl);
    const records = await this.wait(query.syscall, hostname, (signal) => this.resolver.resolve(hostname, query.type, { signal }));
    return query.shape(records, ttl);
  }

  /** Names of an address: the hosts file's, else those of PTR records. */
  async reverse(address: string): Promise<string[]> {
    const known = this.host.names.hosts.reverse(IpAddress.parse(bare(address)));
    if (known.length > 0) return [...known];
    return this.wait("getHostByAddr", address, (signal) => this.resolver.reverse(bare(address), { signal }));
  }

  private async wait<T>(syscall: string, hostname: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.stop;
    this.host.engine.hold();
    try {
      return await ask(signal);
    } catch (error) {
      throw resolveError(signal.aborted ? CANCELLED : nameOf(codeOf(error)), syscall, hostname);
    } finally {
      this.host.engine.letGo();
    }
  }

  /** The name of an address, and that of a port (getnameinfo with NI_NAMEREQD). */
  async service(address: string, port: number): Promise<{ hostname: string; service: string }> {
    if (LOCALHOST.includes(address)) return { hostname: "localhost", service: serviceName(port) };
    const [hostname] = await this.reverse(address).catch(() => []);
    if (hostname === undefined) throw nameInfoError("ENOTFOUND", address);
    return { hostname, service: serviceName(port) };
  }

  /** From where servers are asked from now on: an address of each family, or of one. */
  setLocalAddress(first: string, second?: string): void {
    checkText(first, "ipv4");
    if (second !== undefined) checkText(second, "ipv6");
    const given = second === undefined ? [first] : [first, second];
    if (!given.every((each) => isIP(each))) throw nodeError("ERR_INVALID_ARG_VALUE", "Invalid IP address.", TypeError);
    const [one, other] = given.map((each) => IpAddress.parse(bare(each)));
    if (one.family === other?.family) throw nodeError("ERR_INVALID_ARG_VALUE", `Cannot specify two IPv${one.family} addresses.`, TypeError);
    for (const family of [4, 6] as const) {
      const own = [one, other].find((each) => each?.family === family);
      this.sources[family] = own?.isUnspecified ? undefined : own;
    }
  }

  cancel(): void {
    this.stop.abort();
    this.stop = new AbortController();
  }

  /** "192.0.2.53", "192.0.2.53:5353", "[2001:db8::53]:5353". */
  get servers(): string[] {
    return this.resolver.servers.map(({ address, port }) => {
      if (port === 53) return address;
      return isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
    });
  }

  setServers(servers: readonly string[]): void {
    if (!Array.isArray(servers)) throw wrongType("servers", "an instance of Array", servers);
    for (const [i, server] of servers.entries()) if (typeof server !== "string") throw wrongType(`servers[${i}]`, "of type string", server);
    try {
      this.resolver.servers = servers;
    } catch {
      const wrong = servers.find((each) => isIP(each.replace(/^\[(.*)\](:\d+)?$/, "$1").replace(/^([\d.]+):\d+$/, "$1")) === 0);
      throw nodeError("ERR_INVALID_IP_ADDRESS", `Invalid IP address: ${wrong ?? servers[0]}`, TypeError);
    }
  }
}

const LOCALHOST: readonly string[] = ["127.0.0.1", "::1"];
/** Without its zone, which no name knows of. */
const bare = (address: string) => address.split("%")[0];

/** What c-ares would call it. */
function nameOf(code: string): string {
  return code === "ETIMEDOUT" ? "ETIMEOUT" : code;
}

function checkName(hostname: unknown): string {
  checkText(hostname, "name");
  return hostname;
}

const HIGHEST = 2 ** 31 - 1;

function checkOptions(given: DnsResolverOptions | null | undefined): Required<DnsResolverOptions> {
  const { timeout = -1, tries = 4 } = given ?? {};
  checkInteger(timeout, "options.timeout", -1, HIGHEST);
  checkInteger(tries, "options.tries", 1, HIGHEST);
  return { timeout, tries };
}

/** Of `lookupService`, which is a function of the module alone. */
function checkService(address: unknown, port: unknown): number {
  if (typeof address !== "string" || isIP(address) === 0) throw wrongValue("address", address);
  return checkPort(port, "Port");
}

/** All calls of a resolver as promises; wrong arguments throw at once. */
function asksOf(asker: Asker): Asks {
  const asks: Record<string, Ask> = {};
  for (const query of QUERIES) asks[query.method] = (hostname, options) => asker.ask(query, checkName(hostname), options);
  asks.resolve = (hostname, rrtype = "A") => {
    checkText(rrtype, "rrtype");
    const query = QUERIES.find(({ type }) => type === rrtype);
    if (!query) throw wrongValue("rrtype", rrtype);
    return asker.ask(query, checkName(hostname), undefined);
  };
  asks.reverse = (address) => {
    checkName(address);
    if (isIP(address) === 0) throw resolveError("EINVAL", "getHostByAddr", address);
    return asker.reverse(address);
  };
  return asks;
}

/** The same with call-backs, which come last and are called in a tick of their own. */
function withCallbacks(asks: Asks): Record<string, (...args: unknown[]) => unknown> {
  const made: Record<string, (...args: unknown[]) => unknown> = {};
  for (const [name, ask] of Object.entries(asks)) {
    made[name] = (...args) => {
      const isShort = args.length < 3 || (name === "resolve" && typeof args[1] === "function");
      const at = isShort ? 1 : 2;
      const callback = args[at];
      if (name === "resolve" && typeof args[1] !== "function") checkText(args[1], "rrtype");
      checkName(args[0]);
      checkFunction(callback, "callback");
      tellLater(ask(...(args.slice(0, at) as [string])), callback as Callback);
    };
  }
  return made;
}

function tellLater(asked: Promise<unknown>, callback: Callback): void {
  asked.then(
    (found) => process.nextTick(callback, null, found),
    (error) => process.nextTick(callback, error),
  );
}

/** `lookupService` in both forms. */
function servicesOf(asker: Asker) {
  const callbacks = (...args: unknown[]): void => {
    if (args.length !== 3) throw missing('"address", "port", and "callback"');
    const [address, port, callback] = args;
    const checked = checkService(address, port);
    checkFunction(callback, "callback");
    const then = callback as (error: Error | null, hostname?: string, service?: string) => void;
    asker.service(address as string, checked).then(
      ({ hostname, service }) => process.nextTick(then, null, hostname, service),
      (error) => process.nextTick(then, error),
    );
  };
  const promises = (...args: unknown[]): Promise<{ hostname: string; service: string }> => {
    if (args.length !== 2) throw missing('"address" and "port"');
    const [address, port] = args;
    return asker.service(address as string, checkService(address, port));
  };
  Object.defineProperty(callbacks, promisify.custom, { value: promises });
  return { callbacks, promises };
}

const missing = (names: string) => nodeError("ERR_MISSING_ARGS", `The ${names} arguments must be specified`, TypeError);

export interface DnsCalls {
  readonly callbacks: Record<string, unknown>;
  readonly promises: Record<string, unknown>;
}

const serversOf = (asker: Asker) => ({
  getServers: () => asker.servers,
  setServers: (servers: readonly string[]) => asker.setServers(servers),
});

/** The module's own calls, which go to the host's resolver, and classes for others. */
export function dnsCallsOf(host: Host): DnsCalls {
  const own = new Asker(host, host.resolver);
  const asks = asksOf(own);
  const service = servicesOf(own);
  const fresh = (given?: DnsResolverOptions | null) => {
    const { timeout, tries } = checkOptions(given);
    const sources: Sources = {};
    const options = { servers: host.resolver.servers, attempts: tries, ...(timeout >= 0 && { timeout }) };
    return new Asker(host, host.names.newResolver(options, sources), sources);
  };
  const classOf = (callsOf: (asker: Asker) => object) =>
    class Resolver {
      constructor(options?: DnsResolverOptions | null) {
        const asker = fresh(options);
        const setLocalAddress = (first: string, second?: string) => asker.setLocalAddress(first, second);
        Object.assign(this, callsOf(asker), serversOf(asker), { cancel: () => asker.cancel(), setLocalAddress });
      }
    };
  return {
    callbacks: {
      ...withCallbacks(asks),
      ...serversOf(own),
      lookupService: service.callbacks,
      Resolver: classOf((asker) => withCallbacks(asksOf(asker))),
    },
    promises: {
      ...promised(asks),
      ...serversOf(own),
      lookupService: service.promises,
      Resolver: classOf((asker) => promised(asksOf(asker))),
    },
  };
}

/** With promises the system's errors reject; wrong arguments throw here too. */
function promised(asks: Asks): Record<string, Ask> {
  const { reverse, ...rest } = asks;
  const rejecting = async (address: string) => reverse(address);
  return { ...rest, reverse: (address) => rejecting(checkName(address)) };
}
