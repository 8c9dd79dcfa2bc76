/**
 * A small name server: zones in memory, names of a hosts file, special names, and for everything else a resolver whose
 * cache all clients share (RFC 1034 §4.3, RFC 1035 §7, RFC 6891 §7, RFC 7766 §6.2).
 */
import type { Alarms } from "../base/alarms.ts";
import { realAlarms } from "../base/clock.ts";
import { IpAddress } from "../base/ip-address.ts";
import { CLASS_ANY, CLASS_IN, RCODE } from "./codes.ts";
import { MessageWriter, messagesOf } from "./connection.ts";
import { EDNS_SIZE } from "./exchange.ts";
import { Hosts, nameKey } from "./hosts.ts";
import { type DnsMessage, encodeMessage, type ParsedMessage, type Question } from "./message.ts";
import { isBelow, reverseName } from "./name.ts";
import { bareAnswer, readQuery } from "./query.ts";
import type { DnsRecord } from "./records.ts";
import type { Resolver } from "./resolver.ts";
import type { DnsStream } from "./transport.ts";
import type { Zone, ZoneAnswer } from "./zone.ts";

export interface DnsServerOptions {
  zones?: readonly Zone[];
  /** Names with addresses, and the way back. */
  hosts?: Hosts;
  /** Who is asked about everything else; without one it is refused. */
  forward?: Resolver;
  /** Questions under way to other servers at most; what comes then fails. Default 256. */
  forwards?: number;
  /** Streams at most; those that come then are closed. Default 64. */
  streams?: number;
  /** Streams of one client address at most (RFC 7766 §6.2.2). Default 8. */
  streamsPerClient?: number;
  /** Questions of one client address under way to other servers at most. Default a quarter of `forwards`. */
  forwardsPerClient?: number;
  /** Hears of every answer before it goes to who asked. */
  answered?: (question: Question, answers: readonly DnsRecord[]) => void;
  /** Default: the runtime's timers. */
  alarms?: Alarms;
}

interface ServerDatagram {
  readonly data: Uint8Array;
  readonly address: string;
  readonly port: number;
  /** The address that was asked, which the answer comes from (RFC 2181 §4.1); where a socket does not say, it chooses. */
  readonly destination?: string;
}

/** A bound datagram socket of a server; `host.datagram({ port: 53 })` is one. */
export interface ServerDatagrams extends AsyncIterable<ServerDatagram> {
  send(data: Uint8Array, to: { readonly address: string; readonly port: number }, options?: { readonly source?: IpAddress }): void;
}

export interface ServerCounters {
  queries: number;
  /** Answered with authority, from a zone or the hosts file. */
  own: number;
  forwarded: number;
  /** Not queries, or broken beyond an answer. */
  ignored: number;
  format_errors: number;
  refused: number;
  /** Questions and streams beyond the limits. */
  over_limit: number;
  send_errors: number;
}

/** What a datagram may hold for who says nothing of EDNS (RFC 1035 §4.2.1). */
const PLAIN_SIZE = 512;
/** A stream on which nothing is asked for so long (ms) is closed. */
const IDLE_MS = 10_000;
/** Questions of one stream under way at once. */
const PIPELINE = 16;
const HOSTS_TTL = 60;

type Reply = Pick<DnsMessage, "rcode" | "authoritative" | "answers" | "authorities" | "additionals">;

export class DnsServer {
  readonly zones: Zone[];
  readonly hosts: Hosts;
  readonly counters: ServerCounters = {
    queries: 0,
    own: 0,
    forwarded: 0,
    ignored: 0,
    format_errors: 0,
    refused: 0,
    over_limit: 0,
    send_errors: 0,
  };
  private readonly options: DnsServerOptions;
  private readonly alarms: Alarms;
  private forwarding = 0;
  /** The same of each address that asks. */
  private readonly asking = new Map<string, number>();
  private streams = 0;
  /** Streams of each address that has one. */
  private readonly clients = new Map<string, number>();

  constructor(options: DnsServerOptions) {
    this.options = options;
    this.zones = [...(options.zones ?? [])];
    this.hosts = options.hosts ?? new Hosts();
    this.alarms = options.alarms ?? realAlarms;
  }

  /** Answers what comes in until the socket is closed. */
  async serveDatagrams(socket: ServerDatagrams): Promise<void> {
    for await (const datagram of socket) void this.answerDatagram(socket, datagram);
  }

  private async answerDatagram(socket: ServerDatagrams, { data, address, port, destination }: ServerDatagram): Promise<void> {
    try {
      const answer = await this.answer(data, false, address);
      const asked = destination === undefined ? undefined : IpAddress.parse(destination.split("%")[0]);
      // Nobody sends from a group.
      if (answer) socket.send(answer, { address, port }, asked && !asked.isMulticast ? { source: asked } : undefined);
    } catch {
      this.counters.send_errors++;
    }
  }

  /** Answers the questions of one stream until it ends, several at once. `client`: the address that it comes from. */
  async serveStream(stream: DnsStream, client = ""): Promise<void> {
    if (!this.admit(client)) {
      this.counters.over_limit++;
      stream.abort();
      return;
    }
    const writer = new MessageWriter(Promise.resolve(stream));
    const running = new Set<Promise<void>>();
    let cancel = () => {};
    const idle = () => {
      cancel();
      cancel = this.alarms.after(IDLE_MS, () => stream.abort());
    };
    idle();
    try {
      for await (const query of messagesOf(stream)) {
        idle();
        const work = this.answer(query, true, client)
          .then((answer) => answer && writer.write(answer))
          .then(idle, () => {})
          .finally(() => running.delete(work));
        running.add(work);
        if (running.size >= PIPELINE) await Promise.race(running);
      }
      await Promise.all(running);
    } catch {
      this.counters.ignored++;
    } finally {
      cancel();
      this.dismiss(client);
      stream.abort();
    }
  }

  /** Nobody has all the streams: an address that has its share waits for itself. Without an address there is no share. */
  private admit(client: string): boolean {
    const { streams = 64, streamsPerClient = 8 } = this.options;
    const own = this.clients.get(client) ?? 0;
    if (this.streams >= streams || (client !== "" && own >= streamsPerClient)) return false;
    this.streams++;
    this.clients.set(client, own + 1);
    return true;
  }

  private dismiss(client: string): void {
    const left = (this.clients.get(client) ?? 1) - 1;
    this.streams--;
    if (left > 0) this.clients.set(client, left);
    else this.clients.delete(client);
  }

  /** The answer to a message, or undefined when it deserves none. Never rejects. `client`: the address that it comes from. */
  async answer(bytes: Uint8Array, overStream: boolean, client = ""): Promise<Uint8Array | undefined> {
    const query = readQuery(bytes);
    if (query === "answer") {
      this.counters.ignored++;
      return undefined;
    }
    if (query === "malformed") this.counters.format_errors++;
    if (typeof query === "string") return bareAnswer(bytes, query === "opcode" ? RCODE.NOTIMP : RCODE.FORMERR);
    this.counters.queries++;
    const edns = query.edns && { udpSize: EDNS_SIZE };
    const limit = overStream ? 65_535 : Math.max(PLAIN_SIZE, Math.min(query.edns?.udpSize ?? PLAIN_SIZE, EDNS_SIZE));
    const head = { ...headOf(query), recursionAvailable: this.options.forward !== undefined, edns };
    try {
      const reply = await this.reply(query, client);
      this.options.answered?.(query.questions[0], reply.answers ?? []);
      return encodeMessage({ ...head, ...reply }, limit);
    } catch {
      // A name in the hosts file that the DNS cannot hold.
      return bareAnswer(bytes, RCODE.SERVFAIL);
    }
  }

  private async reply(query: ParsedMessage, client: string): Promise<Reply> {
    const [question] = query.questions;
    if ((query.edns?.version ?? 0) > 0) return { rcode: RCODE.BADVERS };
    const own = question.class === CLASS_IN || question.class === CLASS_ANY ? this.own(question) : undefined;
    if (!own) return this.forward(query, question, client);
    this.counters.own++;
    return query.recursionDesired ? this.continued(own, question, client) : own;
  }

  /** What this server knows by itself. */
  private own(question: Question): ZoneAnswer | undefined {
    const { type } = question;
    const zone = this.zones
      .filter((each) => each.holds(question.name))
      .reduce<Zone | undefined>((best, each) => (best && best.origin.length >= each.origin.length ? best : each), undefined);
    const known = this.fromHosts(question);
    if (known) return known;
    if (zone) return type === "AXFR" || type === "IXFR" ? nothing(RCODE.REFUSED) : zone.answer(question);
    return special(question);
  }

  private fromHosts({ name, type }: Question): ZoneAnswer | undefined {
    const addresses = this.hosts.lookup(name);
    const key = nameKey(name);
    const reversed = type === "PTR" ? addressOf(key) : undefined;
    if (reversed) {
      const names = this.hosts.reverse(reversed);
      return names.length ? found(names.slice(0, 1).map((target) => ({ name, ttl: HOSTS_TTL, type: "PTR", target }))) : undefined;
    }
    if (addresses.length === 0) return undefined;
    const family = { A: 4, AAAA: 6 }[type as "A" | "AAAA"];
    const records = addresses.filter((each) => (family === undefined ? type === "ANY" : each.family === family));
    return found(records.map((each) => addressRecord(name, each)));
  }

  /** Behind an alias that leads out of a zone the resolver goes on. */
  private async continued(own: ZoneAnswer, question: Question, client: string): Promise<Reply> {
    const last = own.answers[own.answers.length - 1];
    const { forward } = this.options;
    if (!forward || question.type === "CNAME" || question.type === "ANY" || last?.type !== "CNAME" || own.authorities.length) return own;
    const rest = this.own({ ...question, name: last.target }) ?? (await this.ask(forward, { ...question, name: last.target }, client));
    return { ...own, rcode: rest.rcode, answers: [...own.answers, ...(rest.answers ?? [])], authorities: rest.authorities };
  }

  private async forward(query: ParsedMessage, question: Question, client: string): Promise<Reply> {
    const { forward } = this.options;
    if (!forward || !query.recursionDesired || question.class !== CLASS_IN || question.type === "AXFR" || question.type === "IXFR") {
      this.counters.refused++;
      return { rcode: RCODE.REFUSED };
    }
    return this.ask(forward, question, client);
  }

  /** One that asks for what nobody answers waits for itself: neither others' questions nor what is known already do. */
  private async ask(forward: Resolver, question: Question, client: string): Promise<Reply> {
    const { forwards = 256, forwardsPerClient = Math.ceil(forwards / 4) } = this.options;
    const own = this.asking.get(client) ?? 0;
    const isOver = this.forwarding >= forwards || (client !== "" && own >= forwardsPerClient);
    if (isOver && !forward.knows(question)) {
      this.counters.over_limit++;
      return { rcode: RCODE.SERVFAIL };
    }
    this.forwarding++;
    this.asking.set(client, own + 1);
    this.counters.forwarded++;
    try {
      const { rcode, records, authority } = await forward.query({ name: question.name, type: question.type });
      return { rcode, answers: records, authorities: authority };
    } catch {
      return { rcode: RCODE.SERVFAIL };
    } finally {
      this.forwarding--;
      const left = (this.asking.get(client) ?? 1) - 1;
      if (left > 0) this.asking.set(client, left);
      else this.asking.delete(client);
    }
  }
}

function headOf({ id, opcode, recursionDesired, checkingDisabled, questions }: ParsedMessage): DnsMessage {
  return { id, opcode, recursionDesired, checkingDisabled, questions, response: true };
}

function found(answers: readonly DnsRecord[]): ZoneAnswer {
  return { ...nothing(RCODE.NOERROR), answers };
}

function nothing(rcode: number): ZoneAnswer {
  return { rcode, authoritative: true, answers: [], authorities: [], additionals: [] };
}

function addressRecord(name: string, address: IpAddress): DnsRecord {
  return { name, ttl: HOSTS_TTL, type: address.family === 4 ? "A" : "AAAA", address: String(address) };
}

/** Names that no server may be asked about (RFC 6761 §6.3, §6.4; RFC 7686). */
function special({ name, type }: Question): ZoneAnswer | undefined {
  const key = nameKey(name);
  if (isBelow(key, "invalid") || isBelow(key, "onion")) return nothing(RCODE.NXDOMAIN);
  if (!isBelow(key, "localhost")) return undefined;
  const addresses = { A: ["127.0.0.1"], AAAA: ["::1"] }[type as "A" | "AAAA"] ?? [];
  return found(addresses.map((each) => addressRecord(name, IpAddress.parse(each))));
}

/** The address whose reverse name this is. */
function addressOf(key: string): IpAddress | undefined {
  const labels = key.split(".");
  const digits = labels.slice(0, -2).reverse();
  const text = digits.length === 4 ? digits.join(".") : (digits.join("").match(/..../g) ?? []).join(":");
  try {
    const address = IpAddress.parse(text);
    return reverseName(address.bytes()) === key ? address : undefined;
  } catch {
    return undefined;
  }
}
