/**
 * A stub resolver: questions to several servers in turn, answers kept while they are good, equal questions asked once
 * (RFC 1034 §5.3.1, RFC 1123 §6.1.3.3).
 */
import type { Alarms } from "../base/alarms.ts";
import { realAlarms } from "../base/clock.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import { type Random, SecretRandom } from "../base/random.ts";
import { type Answer, answerOf, failureOf, MOST_ALIASES } from "./answer.ts";
import { type CacheLimits, DnsCache, questionKey } from "./cache.ts";
import { type QuestionType, RCODE } from "./codes.ts";
import { Exchange, type ExchangeCounters, type Received } from "./exchange.ts";
import { literal } from "./lookup.ts";
import type { Question } from "./message.ts";
import { isRooted, labelsOf, reverseName } from "./name.ts";
import type { DnsRecord } from "./records.ts";
import type { DnsTransport, ServerAddress } from "./transport.ts";

export interface ResolverOptions {
  /** "192.0.2.53", "[2001:db8::53]:5353", or address and port. */
  servers?: readonly (string | ServerAddress)[];
  /** Suffixes that are tried with short names. */
  search?: readonly string[];
  /** Names with so many dots are tried as they are first. Default 1. */
  ndots?: number;
  /** Wait (ms) for one server in the first round; twice as long in each further one. Default 2000. */
  timeout?: number;
  /** Rounds through all servers. Default 2. */
  attempts?: number;
  /** Begin with another server each time. Default false: with the one that answered last. */
  rotate?: boolean;
  /** Default true. */
  edns?: boolean;
  /** Mix the case of questions against forgery. Default false: a few servers do not echo it. */
  mixCase?: boolean;
  /** Ask over streams only. Default false. */
  streams?: boolean;
  cache?: CacheLimits | DnsCache;
}

/** What a resolver runs on. */
export interface ResolverWorld {
  readonly transport: DnsTransport;
  /** Default: the runtime's timers. */
  readonly alarms?: Alarms;
  /** Default: the runtime's secrets. */
  readonly random?: Random;
}

export interface QueryOptions {
  signal?: AbortSignal;
}

/** "192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:5353", "fe80::53%eth0". Throws EINVAL. */
export function parseServer(server: string | ServerAddress): Required<ServerAddress> {
  if (typeof server !== "string")
    return { address: withZone(IpAddress.parse(server.address.split("%")[0]), server.address), port: server.port ?? 53 };
  const whole = literal(server);
  if (whole) return { address: withZone(whole, server), port: 53 };
  const [, address, port] = /^(.*):(\d{1,5})$/.exec(server) ?? [];
  const ip = address === undefined ? undefined : literal(address);
  if (!ip || Number(port) < 1 || Number(port) > 65_535) {
    throw invalid(`"${server}" is no name server; expected an address like 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353`);
  }
  return { address: withZone(ip, address), port: Number(port) };
}

/** A link-local address keeps the interface that its text named. */
function withZone(address: IpAddress, text: string): string {
  return `${address}${/%[^%\]]+/.exec(text)?.[0] ?? ""}`;
}

export class Resolver {
  readonly cache: DnsCache;
  search: readonly string[];
  private list: readonly Required<ServerAddress>[];
  private readonly options: ResolverOptions;
  private readonly alarms: Alarms;
  private readonly exchange: Exchange;
  private readonly asking = new Map<string, Promise<Answer>>();
  /** Index of the server that is asked first. */
  private first = 0;

  constructor(world: ResolverWorld, options: ResolverOptions = {}) {
    this.options = options;
    this.alarms = world.alarms ?? realAlarms;
    this.list = (options.servers ?? []).map(parseServer);
    this.search = options.search ?? [];
    this.cache = options.cache instanceof DnsCache ? options.cache : new DnsCache(() => this.alarms.now(), options.cache);
    this.exchange = new Exchange({
      transport: world.transport,
      alarms: this.alarms,
      random: world.random ?? new SecretRandom(),
      edns: options.edns ?? true,
      mixCase: options.mixCase ?? false,
      useStreams: options.streams ?? false,
    });
  }

  get counters(): ExchangeCounters {
    return this.exchange.counters;
  }

  get servers(): readonly Required<ServerAddress>[] {
    return this.list;
  }

  /** Other servers from now on; what others said is forgotten. */
  set servers(servers: readonly (string | ServerAddress)[]) {
    const list = servers.map(parseServer);
    if (JSON.stringify(list) === JSON.stringify(this.list)) return;
    this.list = list;
    this.first = 0;
    this.cache.clear();
  }

  /** The records of a type at a name (or behind its aliases). Rejects with ENOTFOUND, ENODATA, ESERVFAIL, ETIMEOUT … */
  async resolve(name: string, type: QuestionType, options: QueryOptions = {}): Promise<DnsRecord[]> {
    const question = { name, type };
    const answer = await this.query(question, options);
    if (!answer.found) throw failureOf(answer.rcode, question);
    return answer.records.filter((record) => record.type === type || type === "ANY");
  }

  /** Names of an address (PTR). */
  async reverse(address: string, options: QueryOptions = {}): Promise<string[]> {
    const records = await this.resolve(reverseName(IpAddress.parse(address).bytes()), "PTR", options);
    return records.flatMap((record) => (record.type === "PTR" ? [record.target] : []));
  }

  /**
   * Addresses of a name in the families given; suffixes of `search` are tried with it. When IPv4 has answered, IPv6 is
   * waited for `patience` ms more (RFC 8305 §3), without it until the end.
   */
  async addresses(name: string, families: readonly (4 | 6)[], signal?: AbortSignal, patience?: number): Promise<IpAddress[]> {
    let failure = failureOf(RCODE.NXDOMAIN, { name, type: "A" });
    for (const candidate of this.candidates(name)) {
      const outcomes = await this.both(candidate, families, signal, patience);
      signal?.throwIfAborted();
      const found = outcomes.flatMap((outcome) => (Array.isArray(outcome) ? outcome : []));
      if (found.length > 0) return found;
      for (const outcome of outcomes) {
        if (!(outcome instanceof LoomError)) continue;
        // A server that does not answer for a suffix says nothing of the name itself.
        if (outcome.code === "EREFUSED" && candidate !== name) continue;
        if (outcome.code !== "ENOTFOUND" && outcome.code !== "ENODATA") throw outcome;
        if (outcome.code === "ENODATA") failure = outcome;
      }
    }
    throw failure;
  }

  private async both(
    name: string,
    families: readonly (4 | 6)[],
    signal: AbortSignal | undefined,
    patience: number | undefined,
  ): Promise<(readonly IpAddress[] | unknown)[]> {
    const outcomes: (readonly IpAddress[] | unknown)[] = [];
    let hurry = () => {};
    const late = new Promise<void>((resolve) => {
      hurry = resolve;
    });
    let cancel = () => {};
    const asks = families.map(async (family) => {
      try {
        const records = await this.resolve(name, family === 4 ? "A" : "AAAA", { signal });
        outcomes.push(records.flatMap((record) => ("address" in record ? [IpAddress.parse(record.address)] : [])));
        if (family === 4 && patience !== undefined) cancel = this.alarms.after(patience, hurry);
      } catch (error) {
        outcomes.push(error);
      }
    });
    await Promise.race([Promise.all(asks), late]);
    cancel();
    return outcomes;
  }

  /** What a name may mean: itself, and with the suffixes of the search list (resolv.conf(5)). */
  candidates(name: string): string[] {
    if (isRooted(name)) return [name];
    const dots = labelsOf(name).length - 1;
    const longer = this.search.map((suffix) => `${name}.${suffix}`).filter((each) => each.length < 254);
    return dots >= (this.options.ndots ?? 1) ? [name, ...longer] : [...longer, name];
  }

  /** Is the answer in the cache? */
  knows(question: Question): boolean {
    return this.cache.get(question) !== undefined;
  }

  /** The answer to one question, from the cache or from a server: also when it says that there is nothing. */
  async query(question: Question, options: QueryOptions = {}): Promise<Answer> {
    const { signal } = options;
    signal?.throwIfAborted();
    const cached = this.cache.get(question);
    if (cached) return cached;
    const key = questionKey(question);
    let asking = this.asking.get(key);
    if (!asking) {
      asking = this.chase(question).finally(() => this.asking.delete(key));
      this.asking.set(key, asking);
    }
    return signal ? until(asking, signal) : asking;
  }

  /** Asks, and again for the end of an alias when the answer does not lead to it. */
  private async chase(question: Question): Promise<Answer> {
    let name = question.name;
    let records: readonly DnsRecord[] = [];
    for (;;) {
      const { answer, bytes } = await this.askServers({ ...question, name });
      records = records.concat(answer.records);
      const whole = { ...answer, records, ttl: records.reduce((least, record) => Math.min(least, record.ttl), answer.ttl) };
      const ends = answer.found || answer.authority.length > 0 || answer.canonical === name || answer.rcode !== RCODE.NOERROR;
      if (ends) {
        this.cache.set(question, whole, bytes);
        return whole;
      }
      if (records.length > MOST_ALIASES) throw new LoomError("EBADRESP", `"${question.name}" leads through too many aliases`);
      name = answer.canonical;
    }
  }

  /** Rounds through the servers until one answers; the most telling failure when none does. */
  private async askServers(question: Question): Promise<{ answer: Answer; bytes: number }> {
    const { list } = this;
    const { timeout = 2000, attempts = 2, rotate = false } = this.options;
    if (list.length === 0) throw new LoomError("ECONNREFUSED", "there is no name server to ask");
    const start = this.first % list.length;
    if (rotate) this.first = (start + 1) % list.length;
    let failure: unknown;
    for (let round = 0; round < attempts; round++) {
      for (let i = 0; i < list.length; i++) {
        const index = (start + i) % list.length;
        try {
          const received = await this.exchange.ask(list[index], question, timeout * 2 ** round);
          if (!rotate && this.list === list) this.first = index;
          return { answer: accepted(received, question), bytes: received.bytes };
        } catch (error) {
          // What a server said tells more than that another one is silent.
          if (!failure || isSilence(failure)) failure = error;
        }
      }
      if (!isSilence(failure)) break;
    }
    throw failure;
  }

  /** Ends what is open to servers. */
  close(): void {
    this.exchange.close();
  }
}

function accepted({ message }: Received, question: Question): Answer {
  if (message.rcode !== RCODE.NOERROR && message.rcode !== RCODE.NXDOMAIN) throw failureOf(message.rcode, question);
  return answerOf(message, question);
}

function isSilence(error: unknown): boolean {
  return (
    error instanceof LoomError &&
    ["ETIMEOUT", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ECONNRESET", "ETIMEDOUT"].includes(error.code)
  );
}

/** A promise, or the signal's reason when that comes first. */
function until<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
