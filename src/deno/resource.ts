/**
 * What Deno's resources over a host share, whatever carries their bytes: they keep the process until they end or are
 * unreferenced, are closed once, and then refuse everything with BadResource.
 */
import type { Host } from "../host/host.ts";
import { errors, rejecting } from "./errors.ts";
import { Closing, Hold } from "./hold.ts";

export abstract class Resource implements Disposable {
  /** @internal */
  protected readonly hold: Hold;
  /** @internal */
  protected readonly closing = new Closing();

  constructor(host: Host) {
    this.hold = new Hold(host.engine);
  }

  ref(): void {
    this.hold.ref();
  }

  unref(): void {
    this.hold.unref();
  }

  abstract close(): void;

  [Symbol.dispose](): void {
    if (!this.closing.isClosed) this.close();
  }

  /** @internal */
  protected check(): void {
    if (this.closing.isClosed) throw new errors.BadResource("Bad resource ID");
  }
}

/** A socket of a connection, of either transport. */
interface StreamSocket {
  readonly closed: Promise<void>;
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<Uint8Array>;
  read(into: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): Promise<void>;
}

/** A connection. */
export abstract class StreamConn<Socket extends StreamSocket, Address> extends Resource {
  readonly localAddr: Address;
  readonly remoteAddr: Address;
  /** @internal */
  protected readonly socket: Socket;

  constructor(host: Host, socket: Socket, localAddr: Address, remoteAddr: Address) {
    super(host);
    this.socket = socket;
    this.localAddr = localAddr;
    this.remoteAddr = remoteAddr;
    const end = () => this.hold.end();
    socket.closed.then(end, end);
  }

  /** Reads into `into`: bytes read, or null at the end. */
  async read(into: Uint8Array): Promise<number | null> {
    this.check();
    if (into.length === 0) return 0;
    return rejecting(this.closing.race(this.socket.read(into)));
  }

  /** Writes all of `bytes`. */
  async write(bytes: Uint8Array): Promise<number> {
    this.check();
    return rejecting(this.closing.race(this.socket.write(bytes)));
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.socket.readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return this.socket.writable;
  }

  /** Says that no more will be sent; reading goes on. */
  async closeWrite(): Promise<void> {
    this.check();
    await rejecting(this.socket.closeWrite());
  }

  close(): void {
    this.check();
    this.closing.close(new errors.Interrupted("operation canceled"));
    // The connection ends in its own time; what it says of that concerns nobody any more.
    this.socket.close().catch(() => {});
    this.linger();
  }

  /** The process waits for what is still to be sent; nothing is where the peer has it already. @internal */
  protected linger(): void {
    this.hold.end();
  }
}

interface ListenerSocket<Socket> {
  onClose: (() => void) | undefined;
  accept(): Promise<Socket>;
  close(): void;
}

/** A listener whose connections are `Conn`s. */
export abstract class StreamListener<Conn, Socket, Address> extends Resource implements AsyncIterable<Conn> {
  readonly addr: Address;
  private readonly listener: ListenerSocket<Socket>;
  private readonly connOf: (socket: Socket) => Conn;

  constructor(host: Host, listener: ListenerSocket<Socket>, addr: Address, connOf: (socket: Socket) => Conn) {
    super(host);
    this.listener = listener;
    this.addr = addr;
    this.connOf = connOf;
    listener.onClose = () => this.hold.end();
  }

  async accept(): Promise<Conn> {
    const closed = "Listener has been closed";
    if (this.closing.isClosed) throw new errors.BadResource(closed);
    try {
      return this.connOf(await this.listener.accept());
    } catch {
      // Only its own end ends a listener.
      throw new errors.BadResource(closed);
    }
  }

  close(): void {
    this.check();
    this.closing.close(new errors.BadResource("Bad resource ID"));
    this.listener.close();
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Conn> {
    while (!this.closing.isClosed) {
      try {
        yield await this.accept();
      } catch (error) {
        if (!(error instanceof errors.BadResource)) throw error;
        return;
      }
    }
  }
}
