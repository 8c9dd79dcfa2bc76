/**
 * A link over any stream of bytes in both directions: frames behind their lengths (see frames.ts). What the port sends
 * in one poll is one chunk and one promise; what comes is read only as fast as the port takes it.
 */
import { LoomError } from "../base/errors.ts";
import { amount, callback, checkArgument, checkOptions, type Expectation, type Shape } from "../base/options.ts";
import type { Device, Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { Inbox, Outbox } from "./frames.ts";

export interface StreamLinkOptions {
  /** Bytes that may wait in the stream; then packets stay in the port's ring. Default 1 MiB. */
  highWater?: number;
  /** The stream ended, or failed with this error. */
  closed?: (error?: Error) => void;
}

/** Both directions of a byte stream: a WHATWG pair, a socket of `Deno.connect`, a WebTransport stream. */
export interface ByteDuplex {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/** A byte stream as a link needs it; adapters make one of whatever their runtime has. */
export interface ByteChannel {
  /** Bytes that were written and are not gone yet. */
  readonly pending: number;
  write(chunk: Uint8Array<ArrayBuffer>): void;
  /** There is room again after `push` returned false. */
  resume(): void;
  close(): void;
}

const SHAPE: Shape<StreamLinkOptions> = { highWater: amount("bytes"), closed: callback };
/** With streams in both directions, neither of them somebody's already. */
const DUPLEX: Expectation = (value) => {
  const { readable, writable } = (value ?? {}) as Partial<ByteDuplex>;
  const areStreams = typeof readable?.getReader === "function" && typeof writable?.getWriter === "function";
  if (!areStreams) return "{ readable, writable }, a pair of WHATWG streams";
  return readable.locked || writable.locked ? "streams that nobody else reads or writes (one is locked)" : undefined;
};
const HIGH_WATER = 1 << 20;
/** Bytes that are read ahead of the port. */
const READ_AHEAD = 256 << 10;

export class StreamLink implements Device {
  readonly name: string;
  private readonly engine: Engine;
  private readonly inbox: Inbox;
  private readonly outbox: Outbox;
  private readonly highWater: number;
  private readonly onClosed: ((error?: Error) => void) | undefined;
  private channel: ByteChannel | undefined;
  private isPaused = false;

  constructor(engine: Engine, port: Port, name: string, options: StreamLinkOptions = {}) {
    this.engine = engine;
    this.name = name;
    this.highWater = options.highWater ?? HIGH_WATER;
    this.onClosed = options.closed;
    this.inbox = new Inbox(port, READ_AHEAD);
    this.outbox = new Outbox(engine, port);
    port.configure({ offload: { chains: true, segmentation: false, partialChecksum: false } });
  }

  get carrier(): boolean {
    return this.channel !== undefined;
  }

  /** The other side is there; a new stream begins with a new frame. */
  attach(channel: ByteChannel): void {
    this.channel?.close();
    this.inbox.clear();
    this.isPaused = false;
    this.channel = channel;
    this.engine.wake();
  }

  /** The other side is gone. */
  detach(channel: ByteChannel, error?: Error): void {
    if (this.channel !== channel) return;
    this.channel = undefined;
    this.inbox.clear();
    channel.close();
    this.onClosed?.(error);
  }

  /** Bytes that came; false when no more should come until `resume`. */
  push(channel: ByteChannel, chunk: Uint8Array): boolean {
    if (this.channel !== channel) return true;
    this.inbox.push(chunk);
    this.engine.wake();
    this.isPaused = this.inbox.isFull;
    return !this.isPaused;
  }

  poll(budget: number): number {
    return this.receive(budget) + this.transmit(budget);
  }

  private receive(budget: number): number {
    const { channel, inbox } = this;
    if (!channel) return 0;
    try {
      return inbox.drain(budget);
    } catch (error) {
      // Where frames begin is lost with the first wrong length: there is no going on.
      this.detach(channel, error as Error);
      return 0;
    } finally {
      if (this.isPaused && !inbox.isFull) {
        this.isPaused = false;
        channel.resume();
      }
    }
  }

  private transmit(budget: number): number {
    let moved = 0;
    while (moved < budget && !(this.channel && this.channel.pending >= this.highWater)) {
      const n = this.outbox.take(budget - moved);
      if (n === 0) break;
      moved += n;
      if (this.channel) this.channel.write(this.outbox.pack());
      else this.outbox.discard();
    }
    return moved;
  }

  close(): void {
    const { channel } = this;
    this.channel = undefined;
    this.inbox.clear();
    channel?.close();
  }
}

/** A link over a pair of WHATWG byte streams, as a host's interface wants it for its `device`. */
export function streamLink(duplex: ByteDuplex, options: StreamLinkOptions = {}): (engine: Engine, port: Port) => StreamLink {
  checkOptions("streamLink", SHAPE, options);
  checkArgument("streamLink", "duplex", duplex, DUPLEX);
  return (engine, port) => {
    const link = new StreamLink(engine, port, "stream", options);
    const channel = new DuplexChannel(link, duplex);
    link.attach(channel);
    void channel.read();
    return link;
  };
}

class DuplexChannel implements ByteChannel {
  pending = 0;
  private readonly link: StreamLink;
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  private readonly failed = (error: Error) => this.link.detach(this, error);
  private wakeReader: (() => void) | undefined;

  constructor(link: StreamLink, duplex: ByteDuplex) {
    this.link = link;
    this.reader = duplex.readable.getReader();
    this.writer = duplex.writable.getWriter();
    this.writer.closed.catch(this.failed);
  }

  async read(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.reader.read();
        if (done) break;
        if (!(value instanceof Uint8Array)) throw new LoomError("EPROTO", "a stream link carries bytes; expected chunks of Uint8Array");
        if (!this.link.push(this, value)) {
          await new Promise<void>((resolve) => {
            this.wakeReader = resolve;
          });
        }
      }
      this.link.detach(this);
    } catch (error) {
      this.failed(error as Error);
    }
  }

  write(chunk: Uint8Array<ArrayBuffer>): void {
    this.pending += chunk.length;
    this.writer.write(chunk).then(() => {
      this.pending -= chunk.length;
    }, this.failed);
  }

  resume(): void {
    this.wakeReader?.();
    this.wakeReader = undefined;
  }

  close(): void {
    this.resume();
    this.reader.cancel().catch(() => {});
    this.writer.close().catch(() => {});
  }
}
