/** `dns.Resolver` of a host, with call-backs and with promises: questions by type to the host's name servers or to its own. */
import { isIP } from "node:net";
import process from "node:process";
import { IpAddress } from "../base/ip-address.ts";
import type { Resolver } from "../dns/resolver.ts";
import type { Host } from "../host/host.ts";
import { QUERIES, type Query } from "./dns-records.ts";
import { codeOf, describe, nodeError, resolveError, wrongType } from "./errors.ts";

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
  private stop = new AbortController();

  constructor(host: Host, resolver: Resolver) {
    this.host = host;
    this.resolver = resolver;
  }

  async ask(query: Query, hostname: string, options: unknown): Promise<unknown> {
    const ttl = Boolean((options as { ttl?: boolean } | undefined)?.ttl);
    const records = await this.wait(query.syscall, hostname, (signal) => this.resolver.resolve(hostname, query.type, { signal }));
    return query.shape(records, ttl);
  }

  /** Names of an address: the hosts file's, else those of PTR records. */
  async reverse(address: string): Promise<string[]> {
    const known = this.host.names.hosts.reverse(IpAddress.parse(address));
    if (known.length > 0) return [...known];
    return this.wait("getHostByAddr", address, (signal) => this.resolver.reverse(address, { signal }));
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

/** What c-ares would call it. */
function nameOf(code: string): string {
  return code === "ETIMEDOUT" ? "ETIMEOUT" : code;
}

function checkName(hostname: unknown): string {
  if (typeof hostname !== "string") throw wrongType("name", "of type string", hostname);
  return hostname;
}

/** All calls of a resolver as promises; wrong arguments throw at once. */
function asksOf(asker: Asker): Asks {
  const asks: Record<string, Ask> = {};
  for (const query of QUERIES) asks[query.method] = (hostname, options) => asker.ask(query, checkName(hostname), options);
  asks.resolve = (hostname, rrtype = "A") => {
    if (typeof rrtype !== "string") throw wrongType("rrtype", "of type string", rrtype);
    const query = QUERIES.find(({ type }) => type === rrtype);
    if (!query) throw nodeError("ERR_INVALID_ARG_VALUE", `The argument 'rrtype' is invalid. Received ${quoted(rrtype)}`, TypeError);
    return asker.ask(query, checkName(hostname), undefined);
  };
  asks.reverse = (address) => {
    checkName(address);
    if (isIP(address) === 0) throw resolveError("EINVAL", "getHostByAddr", address);
    return asker.reverse(address);
  };
  return asks;
}

const quoted = (value: string) => describe(value).replace(/^type string \((.*)\)$/, "$1");

/** The same with call-backs, which come last and are called in a tick of their own. */
function withCallbacks(asks: Asks): Record<string, (...args: unknown[]) => unknown> {
  const made: Record<string, (...args: unknown[]) => unknown> = {};
  for (const [name, ask] of Object.entries(asks)) {
    made[name] = (...args) => {
      const callback = args.at(-1) as Callback;
      if (typeof callback !== "function") throw wrongType("callback", "of type function", args[args.length > 1 ? args.length - 1 : 1]);
      ask(...(args.slice(0, -1) as [string])).then(
        (found) => process.nextTick(callback, null, found),
        (error) => process.nextTick(callback, error),
      );
    };
  }
  return made;
}

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
  const fresh = ({ timeout = -1, tries = 4 }: DnsResolverOptions = {}) => {
    const servers = host.resolver.servers;
    const options = { servers, attempts: tries, ...(timeout >= 0 && { timeout }) };
    return new Asker(host, host.names.newResolver(options));
  };
  const classOf = (callsOf: (asker: Asker) => object) =>
    class Resolver {
      constructor(options?: DnsResolverOptions) {
        const asker = fresh(options);
        Object.assign(this, callsOf(asker), serversOf(asker), { cancel: () => asker.cancel() });
      }
    };
  return {
    callbacks: { ...withCallbacks(asks), ...serversOf(own), Resolver: classOf((asker) => withCallbacks(asksOf(asker))) },
    promises: { ...promised(asks), ...serversOf(own), Resolver: classOf((asker) => promised(asksOf(asker))) },
  };
}

/** With promises the system's errors reject; wrong arguments throw here too. */
function promised(asks: Asks): Record<string, Ask> {
  const { reverse, ...rest } = asks;
  return { ...rest, reverse: async (address) => reverse(address) };
}
