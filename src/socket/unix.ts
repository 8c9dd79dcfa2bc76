/** A Unix domain socket in the shape of `TcpSocket` and its listener: streams, plain reads and writes, half-close. Nothing goes through the stack. */
import { LoomError } from "../base/errors.ts";
import type { UnixEndpoint } from "../unix/index.ts";

const CHUNK = 65_536;

export interface UnixAddress {
  /** "" for an end without a name; abstract names begin with "\0". */
  readonly path: string;
}

export class UnixStreamSocket {
  /** Settles at once: a Unix connection is open when it is there. */
  readonly opened: Promise<{ readonly localAddress: UnixAddress; readonly remoteAddress: UnixAddress }>;
  /** Settles when both directions are closed. */
  readonly closed: Promise<void>;
  readonly localAddress: UnixAddress;
  readonly remoteAddress: UnixAddress;
  private readonly endpoint: UnixEndpoint;
  private readableStream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  private writableStream: WritableStream<Uint8Array> | undefined;
  private waiters: (() => void)[] = [];
  private settleClosed: (error?: LoomError) => void = () => {};

  constructor(endpoint: UnixEndpoint) {
    this.endpoint = endpoint;
    this.localAddress = { path: endpoint.name };
    this.remoteAddress = { path: endpoint.peer?.name ?? "" };
    this.opened = Promise.resolve({ localAddress: this.localAddress, remoteAddress: this.remoteAddress });
    this.closed = new Promise((resolve, reject) => {
      this.settleClosed = (error) => (error ? reject(error) : resolve());
    });
    this.closed.catch(() => {});
    endpoint.onEvent = () => this.wake();
  }

  private wake(): void {
    for (const each of this.waiters.splice(0)) each();
    if (this.endpoint.isClosed) this.settleClosed(this.endpoint.error);
    else if (this.endpoint.sendEnded && this.endpoint.receiveEnded && !this.endpoint.first()) this.close();
  }

  private event(): Promise<void> {
    return new Promise((resolve) => this.waiters.push(resolve));
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.readableStream ??= new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        pull: async (controller) => {
          const chunk = new Uint8Array(CHUNK);
          const n = await this.read(chunk);
          if (n === null) controller.close();
          else controller.enqueue(chunk.slice(0, n));
        },
        cancel: () => this.endpoint.shutdown(true, false),
      },
      { highWaterMark: 0 },
    );
    return this.readableStream;
  }

  get writable(): WritableStream<Uint8Array> {
    this.writableStream ??= new WritableStream<Uint8Array>({
      write: async (chunk) => void (await this.write(chunk)),
      close: () => this.endWriting(),
      abort: () => this.close(),
    });
    return this.writableStream;
  }

  /** Bytes read, or null at the end. Rejects with ECONNRESET when the peer went without reading everything. */
  async read(into: Uint8Array): Promise<number | null> {
    const { endpoint } = this;
    if (into.length === 0) return 0;
    for (;;) {
      const n = take(endpoint, into);
      if (n > 0) return n;
      const { error } = endpoint;
      if (!endpoint.isClosed) endpoint.error = undefined;
      if (error) throw error;
      if (endpoint.receiveEnded || endpoint.isClosed) {
        this.wake();
        return null;
      }
      await this.event();
    }
  }

  /** Sends all of `bytes`, or waits until the peer has taken enough of it. Rejects with EPIPE, also when this end is closed meanwhile. */
  async write(bytes: Uint8Array): Promise<number> {
    const { endpoint } = this;
    for (let rest = bytes; rest.length > 0; ) {
      if (endpoint.isClosed && !endpoint.error) throw new LoomError("EPIPE", "the socket is closed");
      // A peer that has gone is no matter of room: `send` says so.
      if (endpoint.room > 0 || endpoint.sendEnded || endpoint.isClosed || !endpoint.peer || endpoint.peer.isClosed)
        rest = rest.subarray(endpoint.send(rest));
      else await this.event();
    }
    return bytes.length;
  }

  /** No more will be written; reading goes on. */
  async closeWrite(): Promise<void> {
    if (this.writableStream) await this.writableStream.close();
    else this.endWriting();
  }

  private endWriting(): void {
    this.endpoint.shutdown(false, true);
  }

  /** Closes both directions at once; the peer reads what is there, then the end. */
  async close(): Promise<void> {
    this.endpoint.close();
    for (const each of this.waiters.splice(0)) each();
    this.settleClosed();
  }

  abort(): void {
    void this.close();
  }
}

/** What waits, up to the room; what came along without being asked for is given back. */
function take(endpoint: UnixEndpoint, into: Uint8Array): number {
  let done = 0;
  for (let parcel = endpoint.first(); parcel && done < into.length; parcel = endpoint.first()) {
    const part = parcel.data.subarray(0, into.length - done);
    into.set(part, done);
    done += part.length;
    for (const passenger of parcel.passengers) passenger.drop();
    parcel.passengers = [];
    endpoint.consume(part.length);
  }
  return done;
}

export class UnixListenerSocket implements AsyncIterable<UnixStreamSocket> {
  private readonly endpoint: UnixEndpoint;
  /** Called once when it is closed, by whomever. */
  onClose: (() => void) | undefined;
  private waiters: (() => void)[] = [];

  constructor(endpoint: UnixEndpoint) {
    this.endpoint = endpoint;
    endpoint.onEvent = () => {
      for (const wake of this.waiters.splice(0)) wake();
      if (endpoint.isClosed) this.tellClosed();
    };
  }

  get address(): UnixAddress {
    return { path: this.endpoint.name };
  }

  /** The next connection. Rejects when the listener is closed. */
  async accept(): Promise<UnixStreamSocket> {
    const socket = await this.next();
    if (!socket) throw new LoomError("ECONNABORTED", "the listener is closed");
    return socket;
  }

  private async next(): Promise<UnixStreamSocket | undefined> {
    for (;;) {
      if (this.endpoint.isClosed) return undefined;
      const arrival = this.endpoint.accept();
      if (arrival) return new UnixStreamSocket(arrival);
      await new Promise<void>((resolve) => this.waiters.push(resolve));
    }
  }

  /** No more connections; the path is free again. */
  close(): void {
    const { endpoint } = this;
    endpoint.close();
    if (!endpoint.name.startsWith("\0")) endpoint.namespace.unlinkOwn(endpoint.name, endpoint);
    for (const wake of this.waiters.splice(0)) wake();
    this.tellClosed();
  }

  private tellClosed(): void {
    this.onClose?.();
    this.onClose = undefined;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<UnixStreamSocket> {
    for (let socket = await this.next(); socket; socket = await this.next()) yield socket;
  }
}
