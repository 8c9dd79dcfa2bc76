/** `net.Server` of a host: listens, accepts, counts, and closes when the last of its sockets is gone, as Node's does. */
import { EventEmitter } from "node:events";
import process from "node:process";
import { promisify } from "node:util";
import { abort } from "../tcp/end.ts";
import type { TcpListener } from "../tcp/listener.ts";
import { calledOn } from "./callable.ts";
import { checkNumber, wrongType } from "./checks.ts";
import type { Context } from "./context.ts";
import { codeOf, explainedError, nodeError } from "./errors.ts";
import type { Teller } from "./events.ts";
import { type Handle, TcpHandle } from "./handle.ts";
import { type HandleOwner, Held } from "./held.ts";
import { type ListenArguments, type ListenOptions, listenArguments } from "./listen-arguments.ts";
import { PipeAcceptor } from "./pipe.ts";
import type { Socket, SocketClass } from "./socket.ts";

export interface ServerOptions {
  allowHalfOpen?: boolean;
  /** Sockets do not read until they are resumed. */
  pauseOnConnect?: boolean;
  noDelay?: boolean;
  keepAlive?: boolean;
  /** Milliseconds of silence before the first probe. */
  keepAliveInitialDelay?: number;
  highWaterMark?: number;
}

export type ConnectionListener = (socket: Socket) => void;

export class Server extends calledOn(EventEmitter) {
  /** More than so many sockets at a time are dropped, with a "drop" event. */
  maxConnections?: number;
  readonly #context: Context;
  readonly #options: ServerOptions;
  #acceptor: Acceptor | PipeAcceptor | undefined;
  #connections = 0;
  #isUnref = false;
  /** Which call of `listen` a lookup belongs to. */
  #calls = 0;

  constructor(context: Context, options?: ServerOptions | ConnectionListener, listener?: ConnectionListener) {
    super();
    if (options != null && typeof options !== "object" && typeof options !== "function")
      throw wrongType("options", "of type object", options);
    this.#context = context;
    this.#options = typeof options === "function" ? {} : { ...options };
    const onConnection = typeof options === "function" ? options : listener;
    if (onConnection) this.on("connection", onConnection);
    const { keepAliveInitialDelay } = this.#options;
    if (keepAliveInitialDelay !== undefined) checkNumber(keepAliveInitialDelay, "options.keepAliveInitialDelay");
  }

  get listening(): boolean {
    return this.#acceptor !== undefined;
  }

  // ── Listening ─────────────────────────────────────────────────────────────────────────────────

  /** `listen([port[, host[, backlog]]][, callback])` or `listen(options[, callback])`. */
  listen(...args: ListenArguments): this {
    const [options, callback] = listenArguments(args);
    if (this.#acceptor) throw nodeError("ERR_SERVER_ALREADY_LISTEN", "Listen method has been called more than once without closing.");
    if (callback) this.once("listening", callback);
    const call = ++this.#calls;
    this.#obey(options.signal);
    if (options.fd !== undefined) {
      this.#fail(explainedError("EINVAL", "listen", {}));
      return this;
    }
    if (options.path !== undefined) {
      this.#openPath(options.path, options.backlog);
      return this;
    }
    if (!options.host) {
      this.#open("::", options);
      return this;
    }
    this.#context.lookup(options.host, {}, (error, address) => {
      if (call !== this.#calls) return;
      if (error) this.emit("error", error);
      else this.#open(address as string, options);
    });
    return this;
  }

  #obey(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const stop = () => this.close();
    if (signal.aborted) process.nextTick(stop);
    else {
      signal.addEventListener("abort", stop, { once: true });
      this.once("close", () => signal.removeEventListener("abort", stop));
    }
  }

  #open(address: string, options: ListenOptions): void {
    const { host, events } = this.#context;
    try {
      const tcp = { noDelay: this.#options.noDelay ?? false };
      const { address: local, iface } = host.ip.parse(address);
      const listener = host.tcp.listen(local, options.port, options.backlog, tcp, { v6Only: options.ipv6Only, device: iface });
      const acceptor = new Acceptor(this.#context, listener, options, (make) => this.#accept(make));
      this.#acceptor = acceptor;
      listener.onShut = () => this.shut();
      listener.onConnection = () => events.note(acceptor);
    } catch (error) {
      this.#fail(explainedError(codeOf(error), "listen", { address, port: options.port }));
      return;
    }
    this.#opened();
  }

  #openPath(path: string, backlog = BACKLOG): void {
    try {
      this.#acceptor = new PipeAcceptor(
        this.#context,
        path,
        backlog,
        (make) => this.#accept(make),
        () => this.shut(),
      );
    } catch (error) {
      this.#fail(explainedError(codeOf(error), "listen", { address: path, port: -1 }));
      return;
    }
    this.#opened();
  }

  #fail(error: Error): void {
    process.nextTick(() => this.emit("error", error));
  }

  #opened(): void {
    if (this.#isUnref) this.#acceptor?.unref();
    process.nextTick(() => this.#acceptor && this.emit("listening"));
  }

  /** The host was closed: whoever stands in front of this server closes. @internal */
  shut(): void {
    this.close();
  }

  /** A path for a Unix domain socket. */
  address(): { address: string; family: string; port: number } | string | null {
    return this.#acceptor?.address ?? null;
  }

  // ── Accepting ─────────────────────────────────────────────────────────────────────────────────

  #accept(make: (owner: HandleOwner) => Handle): void {
    const options = this.#options;
    if (this.maxConnections !== undefined && this.#connections >= this.maxConnections) {
      this.#drop(make(NOBODY));
      return;
    }
    const HostSocket = this.#context.socketClass as SocketClass;
    const socket = new HostSocket(
      { ...options, readableHighWaterMark: options.highWaterMark, writableHighWaterMark: options.highWaterMark },
      {
        handle: make,
        pause: Boolean(options.pauseOnConnect),
        left: () => this.#leave(),
      },
    );
    this.#connections++;
    socket.server = this;
    this.emit("connection", socket);
  }

  #drop(handle: Handle): void {
    const { local, remote } = handle;
    const names = local &&
      remote && {
        localAddress: local.address,
        localPort: local.port,
        localFamily: local.family,
        remoteAddress: remote.address,
        remotePort: remote.port,
        remoteFamily: remote.family,
      };
    // As Node: a pipe that is dropped has nothing to be told by.
    this.emit("drop", names);
    handle.close();
  }

  /** What an `async` listener throws, where somebody asked to hear of it (`captureRejections`). */
  [Symbol.for("nodejs.rejection")](error: Error, event: string | symbol, socket?: Socket): void {
    if (event === "connection") socket?.destroy(error);
    else this.emit("error", error);
  }

  #leave(): void {
    this.#connections--;
    this.#closeIfDrained();
  }

  getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this.#connections);
    return this;
  }

  // ── Closing ───────────────────────────────────────────────────────────────────────────────────

  /** No more connections; "close" when those there are have ended. */
  close(callback?: (error?: Error) => void): this {
    this.#calls++;
    if (typeof callback === "function") {
      if (this.#acceptor) this.once("close", () => callback());
      else this.once("close", () => callback(nodeError("ERR_SERVER_NOT_RUNNING", "Server is not running.")));
    }
    this.#acceptor?.close();
    this.#acceptor = undefined;
    this.#closeIfDrained();
    return this;
  }

  #closeIfDrained(): void {
    if (!this.#acceptor && this.#connections === 0) process.nextTick(() => this.emit("close"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#acceptor) await promisify(this.close).call(this);
  }

  ref(): this {
    this.#isUnref = false;
    this.#acceptor?.ref();
    return this;
  }

  unref(): this {
    this.#isUnref = true;
    this.#acceptor?.unref();
    return this;
  }
}

/** Node's own. */
const BACKLOG = 511;
const NOBODY = { opened: () => {}, readable: () => {}, ended: () => {}, failed: () => {} };

/** A listening port as an event loop's handle. */
class Acceptor extends Held implements Teller {
  private readonly context: Context;
  private readonly listener: TcpListener;
  private readonly v6Only: boolean;
  private readonly accept: (make: (owner: HandleOwner) => Handle) => void;

  constructor(context: Context, listener: TcpListener, options: ListenOptions, accept: Acceptor["accept"]) {
    super("LOOMTCPSERVER", context.host);
    this.context = context;
    this.listener = listener;
    this.v6Only = options.ipv6Only ?? false;
    this.accept = accept;
  }

  tell(): void {
    this.runInAsyncScope(this.acceptOne, this);
  }

  private acceptOne(): void {
    const { host, events } = this.context;
    const mapped = this.listener.local.family === 6 && !this.v6Only;
    const accepted = this.listener.accept();
    if (!accepted) return;
    try {
      this.accept((owner) => new TcpHandle(host, events, accepted, owner, { accepted: true, mapped }));
    } finally {
      // A listener that throws does not lose the connections behind it.
      if (this.listener.waiting > 0) events.note(this);
    }
  }

  get address(): { address: string; family: string; port: number } {
    const { local, port } = this.listener;
    return { address: String(local), family: `IPv${local.family}`, port };
  }

  close(): void {
    for (const tcb of this.listener.close()) abort(tcb);
    this.unref();
  }
}
