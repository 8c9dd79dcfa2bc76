/**
 * One question to one server: a datagram from a socket of its own (RFC 5452), EDNS while the server understands it
 * (RFC 6891 §6.2.2), and a stream when the answer was cut (RFC 7766 §5). Answers to anything else are not heard.
 */
import type { Alarms } from "../base/alarms.ts";
import { LoomError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import { CLASS_IN, RCODE } from "./codes.ts";
import { DnsConnection } from "./connection.ts";
import { nameKey } from "./hosts.ts";
import { decodeMessage, encodeMessage, type ParsedMessage, type Question } from "./message.ts";
import type { DnsTransport, ServerAddress } from "./transport.ts";

/** Datagrams up to here cross every link unfragmented (DNS flag day 2020). */
export const EDNS_SIZE = 1232;
/** How long (ms) a stream without questions stays open. */
const IDLE_MS = 10_000;
/** Answers to something else that a question survives: who sends more is guessing (RFC 5452 §9.2). */
const MOST_MISMATCHES = 16;

export interface ExchangeCounters {
  queries: number;
  answers: number;
  timeouts: number;
  /** Answers that were not to the question: late, forged, or broken. */
  mismatched: number;
  malformed: number;
  /** Questions whose datagrams were given up because of too many wrong answers, and asked again over a stream. */
  suspected: number;
  /** Answers that were cut, and asked for again over a stream. */
  truncated: number;
  /** Servers that do not understand EDNS. */
  ednsFallbacks: number;
}

export interface ExchangeOptions {
  readonly transport: DnsTransport;
  readonly alarms: Alarms;
  readonly random: Random;
  readonly edns: boolean;
  /** Random upper and lower case in questions, to be echoed (draft-vixie-dnsext-dns0x20). */
  readonly mixCase: boolean;
  readonly useStreams: boolean;
}

/** What was asked, and how an answer to it is known. */
interface Query {
  readonly id: number;
  readonly question: Question;
  readonly bytes: Uint8Array;
}

/** A message and how many bytes it took. */
export interface Received {
  readonly message: ParsedMessage;
  readonly bytes: number;
}

/** Too many answers to something else came where one was awaited. */
class Suspicion extends LoomError {
  constructor({ address }: ServerAddress) {
    super("ETIMEOUT", `wrong answers come in the name of ${address}: somebody may be guessing`);
  }
}

export class Exchange {
  readonly counters: ExchangeCounters = {
    queries: 0,
    answers: 0,
    timeouts: 0,
    mismatched: 0,
    malformed: 0,
    suspected: 0,
    truncated: 0,
    ednsFallbacks: 0,
  };
  private readonly options: ExchangeOptions;
  private readonly connections = new Map<string, DnsConnection>();
  private readonly withoutEdns = new Set<string>();

  constructor(options: ExchangeOptions) {
    this.options = options;
  }

  /** The server's answer, whatever it says; rejects with ETIMEOUT, ECONNREFUSED and the like. */
  async ask(server: Required<ServerAddress>, question: Question, timeoutMs: number): Promise<Received> {
    const key = keyOf(server);
    const edns = this.options.edns && !this.withoutEdns.has(key);
    const deadline = this.options.alarms.now() + timeoutMs;
    const over = (query: Query, ms: number) =>
      this.options.useStreams ? this.overStream(server, query, ms) : this.overDatagram(server, query, ms);
    let received: Received;
    try {
      received = await over(this.query(question, edns), timeoutMs);
    } catch (error) {
      // Somebody guesses: a stream cannot be answered by who does not see it.
      if (!(error instanceof Suspicion) || !this.options.transport.stream) throw error;
      received = await this.overStream(server, this.query(question, edns), this.left(deadline));
    }
    const { rcode } = received.message;
    if (edns && !received.message.edns && (rcode === RCODE.FORMERR || rcode === RCODE.NOTIMP)) {
      this.withoutEdns.add(key);
      this.counters.ednsFallbacks++;
      received = await over(this.query(question, false), this.left(deadline));
    }
    if (received.message.truncated && this.options.transport.stream && !this.options.useStreams) {
      this.counters.truncated++;
      received = await this.overStream(server, this.query(question, edns), Math.max(this.left(deadline), timeoutMs / 2));
    }
    this.counters.answers++;
    return received;
  }

  private left(deadline: number): number {
    return Math.max(deadline - this.options.alarms.now(), 1);
  }

  private query(question: Question, edns: boolean): Query {
    const { random, mixCase } = this.options;
    const id = random.below(0x10000);
    const asked = mixCase ? { ...question, name: mixed(question.name, random) } : question;
    const bytes = encodeMessage({ id, recursionDesired: true, questions: [asked], edns: edns ? { udpSize: EDNS_SIZE } : undefined });
    this.counters.queries++;
    return { id, question: asked, bytes };
  }

  /** The message if it answers the query. */
  private match(query: Query, bytes: Uint8Array): ParsedMessage | undefined {
    let message: ParsedMessage;
    try {
      message = decodeMessage(bytes);
    } catch {
      this.counters.malformed++;
      return undefined;
    }
    if (message.response && message.opcode === 0 && message.id === query.id && this.repeats(query, message)) return message;
    this.counters.mismatched++;
    return undefined;
  }

  private repeats({ question }: Query, { questions, rcode }: ParsedMessage): boolean {
    // A server that did not understand the question may not repeat it.
    if (questions.length === 0) return rcode === RCODE.FORMERR || rcode === RCODE.NOTIMP;
    const [{ name, type, class: klass }] = questions;
    const same = this.options.mixCase ? name === question.name : nameKey(name) === nameKey(question.name);
    return questions.length === 1 && same && type === question.type && klass === CLASS_IN;
  }

  private overDatagram(server: Required<ServerAddress>, query: Query, timeoutMs: number): Promise<Received> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      let wrong = 0;
      const socket = this.options.transport.datagram(server, {
        message: (bytes) => {
          if (isOver) return;
          const message = this.match(query, bytes);
          if (message) finish(() => resolve({ message, bytes: bytes.length }));
          else if (++wrong > MOST_MISMATCHES) {
            this.counters.suspected++;
            finish(() => reject(new Suspicion(server)));
          }
        },
        failed: (error) => finish(() => reject(error)),
      });
      const cancel = this.options.alarms.after(timeoutMs, () => finish(() => reject(this.timedOut(server))));
      const finish = (settle: () => void) => {
        isOver = true;
        cancel();
        socket.close();
        settle();
      };
      try {
        socket.send(query.bytes);
      } catch (error) {
        finish(() => reject(error));
      }
    });
  }

  private timedOut(server: ServerAddress): LoomError {
    this.counters.timeouts++;
    return new LoomError("ETIMEOUT", `the name server ${server.address} does not answer`);
  }

  private async overStream(server: Required<ServerAddress>, query: Query, timeoutMs: number): Promise<Received> {
    const before = this.connections.get(keyOf(server));
    const connection = this.connection(server);
    try {
      return await this.overConnection(connection, server, query, timeoutMs);
    } catch (error) {
      // A server may close a connection at any time: a question that met the end of an old one goes out again (RFC 7766 §6.2.4).
      if (connection !== before || !connection.closed) throw error;
      return this.overConnection(this.connection(server), server, query, timeoutMs);
    }
  }

  private async overConnection(connection: DnsConnection, server: ServerAddress, query: Query, timeoutMs: number): Promise<Received> {
    let message: ParsedMessage | undefined;
    const { answer, cancel } = connection.ask(query.bytes, (bytes) => {
      message = this.match(query, bytes);
      return message !== undefined;
    });
    const stop = this.options.alarms.after(timeoutMs, () => cancel(this.timedOut(server)));
    try {
      const bytes = await answer;
      return { message: message as unknown as ParsedMessage, bytes: bytes.length };
    } finally {
      stop();
    }
  }

  private connection(server: Required<ServerAddress>): DnsConnection {
    const key = keyOf(server);
    const known = this.connections.get(key);
    if (known && !known.closed) return known;
    const { transport, alarms } = this.options;
    const open = transport.stream?.(server) ?? Promise.reject(new LoomError("ENOTSUP", "there are no streams to name servers"));
    const connection = new DnsConnection(open, alarms, IDLE_MS);
    this.connections.set(key, connection);
    return connection;
  }

  /** Ends what is open to servers. */
  close(): void {
    for (const connection of this.connections.values()) connection.close(new LoomError("ECONNABORTED", "the resolver was closed"));
    this.connections.clear();
  }
}

const keyOf = ({ address, port }: Required<ServerAddress>) => `${address} ${port}`;

/** Letters in a random case. */
function mixed(name: string, random: Random): string {
  return name.replace(/[A-Za-z]/g, (letter) => (random.u32() & 0x8000 ? letter.toUpperCase() : letter.toLowerCase()));
}
