/**
 * Queries over a byte stream: each message with its length in front, many at once and answered in any order
 * (RFC 7766 §6.2.1, §8). One connection a server; closed when nothing has been asked for a while.
 */
import type { Alarms } from "../base/alarms.ts";
import { LoomError } from "../base/errors.ts";
import type { DnsStream } from "./transport.ts";

/** Cuts a byte stream into messages. */
export async function* messagesOf(stream: DnsStream): AsyncGenerator<Uint8Array> {
  let kept = new Uint8Array(4096);
  let length = 0;
  for (;;) {
    while (length >= 2) {
      const size = 2 + ((kept[0] << 8) | kept[1]);
      if (length < size) {
        if (kept.length < size) kept = grown(kept, size);
        break;
      }
      yield kept.slice(2, size);
      kept.copyWithin(0, size, length);
      length -= size;
    }
    const n = await stream.read(kept.subarray(length));
    if (n === null) return;
    length += n;
  }
}

function grown(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const more = new Uint8Array(size);
  more.set(bytes);
  return more;
}

/** Writes messages whole, one after the other, whoever they come from. */
export class MessageWriter {
  private last: Promise<unknown>;
  private readonly stream: Promise<DnsStream>;

  constructor(stream: Promise<DnsStream>) {
    this.stream = stream;
    this.last = stream.catch(() => {});
  }

  write(message: Uint8Array): Promise<unknown> {
    const written = this.last.then(() => this.stream).then((stream) => stream.write(framed(message)));
    this.last = written.catch(() => {});
    return written;
  }
}

/** A message with its length in front. */
function framed(message: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + message.length);
  out[0] = message.length >>> 8;
  out[1] = message.length;
  out.set(message, 2);
  return out;
}

interface Pending {
  readonly accept: (message: Uint8Array) => boolean;
  readonly resolve: (message: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

export class DnsConnection {
  private readonly open: Promise<DnsStream>;
  private readonly alarms: Alarms;
  private readonly idleMs: number;
  private readonly pending = new Set<Pending>();
  private stream: DnsStream | undefined;
  private cancelIdle = () => {};
  private readonly writer: MessageWriter;
  closed = false;

  constructor(open: Promise<DnsStream>, alarms: Alarms, idleMs: number) {
    this.open = open;
    this.alarms = alarms;
    this.idleMs = idleMs;
    this.writer = new MessageWriter(open);
    void this.receive();
  }

  /** Sends a query; resolves with the first message that `accept` takes for its answer. `cancel` rejects and forgets. */
  ask(query: Uint8Array, accept: Pending["accept"]): { answer: Promise<Uint8Array>; cancel: (error: unknown) => void } {
    this.cancelIdle();
    let cancel: (error: unknown) => void = () => {};
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      const pending = { accept, resolve, reject };
      this.pending.add(pending);
      cancel = (error) => {
        if (this.pending.delete(pending)) this.rest();
        reject(error);
      };
      this.writer.write(query).catch((error) => this.close(error));
    });
    return { answer, cancel };
  }

  private async receive(): Promise<void> {
    try {
      this.stream = await this.open;
      if (this.closed) this.stream.abort();
      for await (const message of messagesOf(this.stream)) this.take(message);
      this.close(new LoomError("ECONNRESET", "the name server closed the connection"));
    } catch (error) {
      this.close(error);
    }
  }

  private take(message: Uint8Array): void {
    for (const pending of this.pending) {
      if (!pending.accept(message)) continue;
      this.pending.delete(pending);
      pending.resolve(message);
      break;
    }
    this.rest();
  }

  private rest(): void {
    if (this.pending.size > 0 || this.closed) return;
    this.cancelIdle();
    this.cancelIdle = this.alarms.after(this.idleMs, () => this.close(new LoomError("ETIMEOUT", "the connection was idle")));
  }

  close(error: unknown): void {
    if (this.closed) return;
    this.closed = true;
    this.cancelIdle();
    this.stream?.abort();
    for (const pending of this.pending) pending.reject(error);
    this.pending.clear();
  }
}
