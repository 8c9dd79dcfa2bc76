/** A socket of the Sockets API (https://sockets-api.proposal.wintertc.org): there at once, connected in its own time. */
import { EndingWritable } from "./ending-writable.ts";
import { SocketError, socketError } from "./error.ts";
import type { CheckedOptions, SecureTransportKind } from "./options.ts";
import type { SocketInfo, Transport } from "./transport.ts";

/** Where a socket's connection comes from, and how it becomes a secure one. */
export interface Origin {
  open(signal: AbortSignal): Promise<Transport>;
  secure(plain: Transport, signal: AbortSignal): Promise<Transport>;
}

/** A promise that nobody has to wait for, and its ends. */
class Pending<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => {});
  }
}

export class Socket {
  /** What arrives. Its cancellation does not close the socket. */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Takes texts (as UTF-8), ArrayBuffers and their views. Its end is the connection's in this direction. */
  readonly writable: WritableStream<unknown>;
  /** "on" for a socket that `startTls` gave. */
  readonly secureTransport: SecureTransportKind;
  private readonly whenOpened = new Pending<SocketInfo>();
  private readonly whenClosed = new Pending<undefined>();
  private readonly origin: Origin;
  private readonly options: CheckedOptions;
  private readonly ready: Promise<Transport>;
  private readonly stop = new AbortController();
  private readonly ending: EndingWritable;
  private transport: Transport | undefined;
  private reader!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  private writer!: WritableStreamDefaultController;
  private isUpgraded = false;
  private isClosed = false;
  private isReadOver = false;
  private isWriting = false;

  /** @internal */
  constructor(origin: Origin, options: CheckedOptions) {
    this.origin = origin;
    this.options = options;
    this.secureTransport = options.secureTransport;
    this.ready = origin.open(this.stop.signal);
    this.readable = this.makeReadable();
    this.ending = this.makeWritable();
    this.writable = this.ending;
    this.ready.then(
      (transport) => this.establish(transport),
      (error) => this.fail(socketError(error)),
    );
  }

  /** Settles when the connection is there, with "on" its TLS too. Rejects with a SocketError, or the reason of `close`. */
  get opened(): Promise<SocketInfo> {
    return this.whenOpened.promise;
  }

  /** Settles when the socket is closed, by whichever side. Rejects with a SocketError when it never opened. */
  get closed(): Promise<undefined> {
    return this.whenClosed.promise;
  }

  /** Whether `startTls` was called. */
  get upgraded(): boolean {
    return this.isUpgraded;
  }

  /** Closes: reads see the end, writes fail with the reason. A write that is not out yet resets the connection. */
  close(reason?: unknown): Promise<undefined> {
    if (this.isClosed) return this.closed;
    const error = reason === undefined ? new SocketError("the socket was closed") : reason;
    this.whenOpened.reject(error);
    this.stop.abort();
    this.endReading();
    const { isWriting } = this;
    this.writer.error(error);
    if (isWriting) this.transport?.abort();
    this.finish();
    return this.closed;
  }

  /**
   * A socket with TLS over this one's connection, which this one loses; what was written before goes out before. Throws
   * a SocketError unless this socket was made with `secureTransport: "starttls"` and is open.
   */
  startTls(): Socket {
    const { secureTransport } = this;
    if (secureTransport === "on") throw new SocketError("startTls on a socket that has TLS already");
    if (secureTransport !== "starttls") throw new SocketError('startTls needs a socket connected with secureTransport: "starttls"');
    if (this.isUpgraded) throw new SocketError("startTls was called on this socket before");
    if (this.isClosed) throw new SocketError("startTls on a socket that is closed");
    this.isUpgraded = true;
    this.isClosed = true;
    this.endReading();
    const flushed = this.finishWriting();
    this.whenClosed.resolve(undefined);
    const origin: Origin = {
      open: async (signal) => {
        signal.addEventListener("abort", () => this.stop.abort());
        const plain = await this.ready;
        await flushed;
        return this.origin.secure(plain, signal);
      },
      secure: this.origin.secure,
    };
    return new Socket(origin, { ...this.options, secureTransport: "on" });
  }

  private establish(transport: Transport): void {
    this.transport = transport;
    if (this.isClosed && !this.isUpgraded) {
      transport.abort();
      return;
    }
    this.whenOpened.resolve(transport.info);
    transport.tcp.closed.then(
      () => this.over(),
      (error) => this.over(socketError(error)),
    );
  }

  /** It never opened. */
  private fail(error: SocketError): void {
    this.whenOpened.reject(error);
    this.whenClosed.reject(error);
    if (this.isClosed) return;
    this.isClosed = true;
    this.isReadOver = true;
    this.reader.error(error);
    this.writer.error(error);
  }

  /** The connection is over. What has arrived can still be read, and the error comes behind it. */
  private over(error?: SocketError): void {
    if (this.isClosed) return;
    if (error) this.writer.error(error);
    this.finish();
  }

  private finish(): void {
    this.isClosed = true;
    this.letGo();
    this.whenClosed.resolve(undefined);
  }

  /** The connection is let go when nobody uses it any more, in either direction: what it holds unread goes with it. */
  private letGo(): void {
    if (this.isClosed && this.isReadOver && !this.isUpgraded) this.transport?.close();
  }

  private makeReadable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const source: UnderlyingDefaultSource<Uint8Array<ArrayBuffer>> = {
      start: (controller) => {
        this.reader = controller;
      },
      pull: () => this.pull(),
      cancel: () => {
        this.isReadOver = true;
        this.letGo();
      },
    };
    return new ReadableStream(source, { highWaterMark: 0 });
  }

  private makeWritable(): EndingWritable {
    return new EndingWritable({
      start: (controller) => {
        this.writer = controller;
      },
      write: (chunk) => this.write(chunk),
      close: async () => {
        const transport = await this.ready;
        if (!this.isUpgraded) await transport.closeWrite();
      },
      abort: () => {
        this.ready.then(
          (transport) => transport.abort(),
          () => {},
        );
      },
    });
  }

  private async pull(): Promise<void> {
    try {
      const transport = await this.ready;
      await transport.whenReadable();
      if (this.isReadOver) return;
      const chunk = await transport.read();
      if (this.isReadOver) return;
      if (chunk) this.reader.enqueue(chunk);
      else void this.peerEnded();
    } catch (error) {
      if (this.isReadOver) return;
      this.isReadOver = true;
      this.letGo();
      throw socketError(error);
    }
  }

  private async peerEnded(): Promise<void> {
    this.endReading();
    if (this.options.allowHalfOpen || this.isClosed) return;
    await this.finishWriting();
    if (!this.isClosed) this.finish();
  }

  private endReading(): void {
    if (this.isReadOver) return;
    this.isReadOver = true;
    this.letGo();
    this.reader.close();
  }

  /** Ends `writable` behind what was written; under a pipe that is an error to the pipe. */
  private async finishWriting(): Promise<void> {
    await this.ending.finish().catch(() => this.writer.error(new SocketError("the socket cannot be written any more")));
  }

  private async write(chunk: unknown): Promise<void> {
    const bytes = bytesOf(chunk);
    const transport = await this.ready;
    this.isWriting = true;
    try {
      await transport.write(bytes);
    } catch (error) {
      throw socketError(error);
    } finally {
      this.isWriting = false;
    }
  }
}

function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === "string") return new TextEncoder().encode(chunk);
  if (chunk instanceof Uint8Array) return chunk;
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  throw new SocketError("a socket takes texts, ArrayBuffers and their views");
}
