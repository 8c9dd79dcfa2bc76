/** `transport: "unix"` of Deno's `connect` and `listen`: Unix domain sockets of the host, with Deno's methods and errors. */
import type { Host } from "../host/host.ts";
import type { UnixAddress, UnixListenerSocket, UnixStreamSocket } from "../socket/unix.ts";
import { errors, rejecting, throwing } from "./errors.ts";
import { Closing, Hold } from "./hold.ts";

export interface UnixAddr {
  readonly transport: "unix";
  readonly path: string;
}

export interface UnixOptions {
  transport: "unix";
  path: string;
}

const addressOf = ({ path }: UnixAddress): UnixAddr => ({ transport: "unix", path });

export class UnixConn implements Disposable {
  readonly localAddr: UnixAddr;
  readonly remoteAddr: UnixAddr;
  private readonly socket: UnixStreamSocket;
  private readonly hold: Hold;
  private readonly closing = new Closing();

  constructor(host: Host, socket: UnixStreamSocket) {
    this.socket = socket;
    this.localAddr = addressOf(socket.localAddress);
    this.remoteAddr = addressOf(socket.remoteAddress);
    this.hold = new Hold(host.engine);
    const end = () => this.hold.end();
    socket.closed.then(end, end);
  }

  /** Reads into `into`: bytes read, or null at the end. */
  async read(into: Uint8Array): Promise<number | null> {
    this.check();
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

  async closeWrite(): Promise<void> {
    this.check();
    await rejecting(this.socket.closeWrite());
  }

  close(): void {
    this.check();
    this.closing.close(new errors.Interrupted("operation canceled"));
    this.socket.close().catch(() => {});
    this.hold.end();
  }

  ref(): void {
    this.hold.ref();
  }

  unref(): void {
    this.hold.unref();
  }

  [Symbol.dispose](): void {
    if (!this.closing.isClosed) this.close();
  }

  private check(): void {
    if (this.closing.isClosed) throw new errors.BadResource("Bad resource ID");
  }
}

export class UnixListener implements AsyncIterable<UnixConn>, Disposable {
  readonly addr: UnixAddr;
  private readonly host: Host;
  private readonly listener: UnixListenerSocket;
  private readonly hold: Hold;
  private isClosed = false;

  constructor(host: Host, listener: UnixListenerSocket) {
    this.host = host;
    this.listener = listener;
    this.addr = addressOf(listener.address);
    this.hold = new Hold(host.engine);
    listener.onClose = () => this.hold.end();
  }

  async accept(): Promise<UnixConn> {
    if (this.isClosed) throw new errors.BadResource("Listener has been closed");
    try {
      return new UnixConn(this.host, await this.listener.accept());
    } catch {
      throw new errors.BadResource("Listener has been closed");
    }
  }

  close(): void {
    if (this.isClosed) throw new errors.BadResource("Bad resource ID");
    this.isClosed = true;
    this.listener.close();
  }

  ref(): void {
    this.hold.ref();
  }

  unref(): void {
    this.hold.unref();
  }

  [Symbol.dispose](): void {
    if (!this.isClosed) this.close();
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<UnixConn> {
    while (!this.isClosed) {
      try {
        yield await this.accept();
      } catch (error) {
        if (!(error instanceof errors.BadResource)) throw error;
        return;
      }
    }
  }
}

export async function connectUnix(host: Host, { path }: UnixOptions): Promise<UnixConn> {
  return new UnixConn(host, await rejecting(host.connect({ path })));
}

export function listenUnix(host: Host, { path }: UnixOptions): UnixListener {
  return throwing(() => new UnixListener(host, host.listen({ path })));
}
