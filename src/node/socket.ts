/**
 * `net.Socket` of a host: a Duplex straight on the control block, without a stream of another kind in between. Events,
 * properties and errors are those that Node documents for its own.
 */
import process from "node:process";
import { addAbortSignal, Duplex, type DuplexOptions } from "node:stream";
import { Timer } from "../base/timers.ts";
import { calledOn } from "./callable.ts";
import { checkFunction, checkInteger, checkNumber, outOfRange, wrongValue } from "./checks.ts";
import { type ConnectArguments, type ConnectOptions, connectArguments, type Dial, type Dialer, dial } from "./connect.ts";
import type { Context } from "./context.ts";
import { nodeError, systemError } from "./errors.ts";
import type { Handle, Name } from "./handle.ts";
import type { HandleOwner } from "./held.ts";
import { dialPath } from "./pipe.ts";
import { buffer } from "./read-buffer.ts";

export interface SocketOptions extends DuplexOptions {
  allowHalfOpen?: boolean;
  noDelay?: boolean;
  keepAlive?: boolean;
  /** Milliseconds of silence before the first probe. */
  keepAliveInitialDelay?: number;
  /** Reads go into this buffer, and `callback` is told instead of "data" being emitted. */
  onread?: { buffer: Uint8Array | (() => Uint8Array); callback(bytes: number, buffer: Uint8Array): boolean | void };
  signal?: AbortSignal;
}

/** What a server gives the socket of a connection that it accepted. */
export interface Accepted {
  readonly handle: (owner: HandleOwner) => Handle;
  readonly pause: boolean;
  /** The socket is gone. */
  readonly left: () => void;
}

/** The class of a host's sockets, which knows it. */
export type SocketClass = new (options?: SocketOptions, accepted?: Accepted) => Socket;

type Chunk = { chunk: Uint8Array; encoding: BufferEncoding };
type Done = (error?: Error | null) => void;

export class Socket extends calledOn(Duplex) {
  connecting = false;
  timeout?: number;
  /** Set by a server for its sockets. */
  server: unknown = null;
  autoSelectFamilyAttemptedAddresses?: string[];
  readonly #context: Context;
  readonly #onread: SocketOptions["onread"];
  readonly #left: (() => void) | undefined;
  readonly #signal: AbortSignal | undefined;
  #handle: Handle | undefined;
  #dialing: Dial | undefined;
  /** On the host's clock. */
  #timer: Timer | undefined;
  #noDelay: boolean;
  #keepAlive: boolean;
  #keepAliveSeconds: number;
  #isReset = false;
  #isUnref = false;
  /** Bytes of the write in hand, and of all that were handed down. */
  #inHand = 0;
  #handedDown = 0;
  #readInAll = 0;
  /** What the send buffer had taken when the timer last looked. */
  #written = 0;
  #lastNames: { local?: Name; remote?: Name } = {};

  constructor(context: Context, given: SocketOptions | number | null = {}, accepted?: Accepted) {
    const options: Given = typeof given === "number" ? { fd: given } : { ...given };
    checkOptions(options);
    const { signal, ...others } = options;
    super({ ...others, allowHalfOpen: Boolean(options.allowHalfOpen), emitClose: false, autoDestroy: true, decodeStrings: true });
    this.#signal = signal;
    this.#context = context;
    this.#onread = options.onread;
    this.#left = accepted?.left;
    this.#noDelay = Boolean(options.noDelay);
    this.#keepAlive = Boolean(options.keepAlive);
    this.#keepAliveSeconds = Math.trunc(Math.max(options.keepAliveInitialDelay ?? 0, 0) / 1000);
    this.on("end", () => this.#refuseWrites());
    // Here and not by the Duplex: one that is aborted already destroys at once.
    if (signal) addAbortSignal(signal, this);
    if (!accepted) return;
    this.#handle = accepted.handle(this.#ears());
    this.#applyOptions();
    if (accepted.pause) this.pause();
    else if ((options as { readable?: boolean }).readable !== false) this.read(0);
  }

  /** What the handle tells. */
  #ears(): HandleOwner {
    return {
      opened: () => {},
      readable: (bytes) => this.#take(bytes),
      ended: () => {
        this.#touchTimer();
        this.push(null);
        // Without this a socket that nobody reads would never see its end.
        this.read(0);
      },
      failed: (error) => this.destroy(systemError(error.code, "read")),
    };
  }

  // ── Connecting ────────────────────────────────────────────────────────────────────────────────

  connect(...args: ConnectArguments): this {
    const [options, callback] = connectArguments(args);
    if (callback) this.once("connect", callback);
    if (this.#signal?.aborted) return this;
    if (this.destroyed) this.#revive();
    if (this.#dialing || this.#handle) {
      process.nextTick(() => this.#connectTwice(options));
      return this;
    }
    // A socket that connects again may be written again.
    delete (this as { write?: unknown }).write;
    this.#touchTimer();
    this.connecting = true;
    const dialer: Dialer = {
      emit: (event, ...rest) => this.emit(event, ...rest),
      ears: () => this.#ears(),
      tried: (names) => {
        this.autoSelectFamilyAttemptedAddresses = names;
      },
      done: (result) => this.#dialed(result),
      touch: () => this.#touchTimer(),
    };
    this.#dialing = options.path ? dialPath(this.#context, options.path, dialer) : dial(this.#context, options, dialer);
    return this;
  }

  /** As Node does: twice at a time fails; one that is connected says so again. */
  #connectTwice({ host: address, port, path }: ConnectOptions): void {
    if (!this.#handle) this.destroy(systemError("EALREADY", "connect", path ? { address: path } : { address, port: Number(port) }));
    else {
      this.emit("connect");
      this.emit("ready");
    }
  }

  /** After "close", a socket may be used for another connection. */
  #revive(): void {
    (this as unknown as { _undestroy(): void })._undestroy();
    this.#lastNames = {};
    this.#isReset = false;
    this.#handedDown = this.#inHand = this.#readInAll = 0;
  }

  #dialed(result: Handle | Error): void {
    if (result instanceof Error) {
      this.destroy(result);
      return;
    }
    this.#dialing = undefined;
    this.#handle = result;
    this.connecting = false;
    if (this.#isUnref) result.unref();
    this.#applyOptions();
    this.#touchTimer();
    this.emit("connect");
    this.emit("ready");
    if (!this.destroyed && !this.isPaused()) this.read(0);
  }

  #applyOptions(): void {
    if (this.#noDelay) this.#handle?.setNoDelay(true);
    if (this.#keepAlive) this.#handle?.setKeepAlive(true, this.#keepAliveSeconds);
  }

  // ── Reading ───────────────────────────────────────────────────────────────────────────────────

  override _read(): void {
    if (this.connecting || !this.#handle) this.once("connect", () => this._read());
    else this.#handle.readStart();
  }

  #take(bytes: number): void {
    const handle = this.#handle;
    if (!handle) return;
    this.#touchTimer();
    if (this.#onread) {
      this.#takeInto(this.#onread, handle);
      return;
    }
    const chunk = buffer(bytes);
    handle.read(chunk);
    if (!this.push(chunk)) handle.readStop();
  }

  #takeInto(onread: NonNullable<SocketOptions["onread"]>, handle: Handle): void {
    const into = typeof onread.buffer === "function" ? onread.buffer() : onread.buffer;
    const bytes = handle.read(into);
    // A buffer without room would be asked for for ever.
    if (bytes === 0 || onread.callback.call(this, bytes, into) === false) handle.readStop();
  }

  override pause(): this {
    if (this.#onread) this.#handle?.readStop();
    return super.pause();
  }

  override resume(): this {
    if (this.#onread && !this.connecting) this.#handle?.readStart();
    return super.resume();
  }

  // ── Writing ───────────────────────────────────────────────────────────────────────────────────

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.#send([chunk], chunk.length, done);
  }

  override _writev(chunks: Chunk[], done: Done): void {
    let bytes = 0;
    for (const { chunk } of chunks) bytes += chunk.length;
    this.#send(
      chunks.map(({ chunk }) => chunk),
      bytes,
      done,
    );
  }

  #send(chunks: readonly Uint8Array[], bytes: number, done: Done): void {
    if (this.connecting) {
      this.#whenConnected(() => this.#send(chunks, bytes, done), done);
      return;
    }
    const handle = this.#handle;
    if (!handle) {
      done(nodeError("ERR_SOCKET_CLOSED", "Socket is closed"));
      return;
    }
    this.#touchTimer();
    this.#inHand = bytes;
    this.#handedDown += bytes;
    handle.write(chunks, (error) => {
      this.#inHand = 0;
      this.#touchTimer();
      done(error && systemError(error.code, "write"));
    });
  }

  #whenConnected(then: () => void, done: Done): void {
    const closed = () => {
      this.off("connect", connected);
      done(nodeError("ERR_SOCKET_CLOSED_BEFORE_CONNECTION", "Socket closed before the connection was established"));
    };
    const connected = () => {
      this.off("close", closed);
      then();
    };
    this.once("connect", connected);
    this.once("close", closed);
  }

  override _final(done: Done): void {
    if (this.pending) {
      this.once("connect", () => this._final(done));
      return;
    }
    this.#handle?.shutdown();
    // After whatever the program does about what is told now (it may write, and is told an error), before the peer can have answered.
    queueMicrotask(() => process.nextTick(done));
  }

  /** The peer has ended and half-open is not allowed: what is written now says why it fails. */
  #refuseWrites(): void {
    if (this.allowHalfOpen) return;
    const refuse = (chunk: unknown, encoding?: unknown, done?: unknown): boolean => {
      if (!this.writableEnded) return super.write(chunk, encoding as BufferEncoding, done as Done);
      const error = nodeError("EPIPE", "This socket has been ended by the other party");
      const callback = typeof encoding === "function" ? encoding : done;
      if (typeof callback === "function") process.nextTick(callback as Done, error);
      this.destroy(error);
      return false;
    };
    this.write = refuse as typeof this.write;
  }

  // ── Ending ────────────────────────────────────────────────────────────────────────────────────

  /** Ends when everything is written, then destroys. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  /** Sends a reset and destroys. */
  resetAndDestroy(): this {
    if (!this.#handle && !this.connecting) this.destroy(nodeError("ERR_SOCKET_CLOSED", "Socket is closed"));
    else if (this.connecting) this.once("connect", () => this.resetAndDestroy());
    else {
      this.#isReset = true;
      this.destroy();
    }
    return this;
  }

  override _destroy(error: Error | null, done: Done): void {
    const handle = this.#handle;
    const dialing = this.#dialing;
    this.connecting = false;
    this.#stopTimer();
    dialing?.cancel();
    this.#dialing = undefined;
    if (handle) {
      this.#readInAll = handle.bytesRead;
      this.#lastNames = { remote: handle.remote };
      if (this.#isReset) handle.reset();
      else handle.close();
      this.#handle = undefined;
    }
    done(error);
    if (handle || dialing) setImmediate(() => this.emit("close", Boolean(error)));
    else process.nextTick(() => this.emit("close"));
    this.#left?.();
  }

  // ── Settings ──────────────────────────────────────────────────────────────────────────────────

  /** Emits "timeout" after so many milliseconds without a byte either way; 0 ends it. */
  setTimeout(milliseconds: number, callback?: () => void): this {
    if (this.destroyed) return this;
    checkNumber(milliseconds, "msecs");
    if (!(milliseconds >= 0 && Number.isFinite(milliseconds))) throw outOfRange("msecs", "a non-negative finite number", milliseconds);
    if (callback !== undefined) checkFunction(callback, "callback");
    this.timeout = milliseconds;
    this.#stopTimer();
    if (milliseconds === 0) {
      if (callback) this.removeListener("timeout", callback);
      return this;
    }
    // Told in a tick of its own: a listener may do anything, and this is in the middle of a round.
    const timer = new Timer(() => process.nextTick(() => timer === this.#timer && this.#timedOut()));
    this.#timer = timer;
    this.#touchTimer();
    if (callback) this.once("timeout", callback);
    return this;
  }

  /** A write that still makes progress is no silence. */
  #timedOut(): void {
    const before = this.#written;
    this.#written = this.#handle?.bytesWritten ?? 0;
    if (this.#inHand > 0 && this.#written !== before) this.#touchTimer();
    else this.emit("timeout");
  }

  /** By the name that Node's own modules use. */
  _unrefTimer(): void {
    this.#touchTimer();
  }

  #touchTimer(): void {
    if (!this.#timer) return;
    const { ip, engine } = this.#context.host;
    ip.timers.arm(this.#timer, engine.clock.now() + (this.timeout ?? 0));
  }

  #stopTimer(): void {
    if (this.#timer) this.#context.host.ip.timers.remove(this.#timer);
    this.#timer = undefined;
  }

  setNoDelay(on = true): this {
    this.#noDelay = Boolean(on);
    this.#handle?.setNoDelay(this.#noDelay);
    return this;
  }

  setKeepAlive(on = false, initialDelay = 0): this {
    this.#keepAlive = Boolean(on);
    this.#keepAliveSeconds = Math.trunc(initialDelay / 1000);
    this.#handle?.setKeepAlive(this.#keepAlive, this.#keepAliveSeconds);
    return this;
  }

  ref(): this {
    this.#isUnref = false;
    this.#handle?.ref();
    this.#dialing?.ref();
    return this;
  }

  /** The process need not wait for this socket (after `engine.unref()`, without which it waits for the engine). */
  unref(): this {
    this.#isUnref = true;
    this.#handle?.unref();
    this.#dialing?.unref();
    return this;
  }

  // ── State ─────────────────────────────────────────────────────────────────────────────────────

  get pending(): boolean {
    return !this.#handle || this.connecting;
  }

  get readyState(): "opening" | "open" | "readOnly" | "writeOnly" | "closed" {
    if (this.connecting) return "opening";
    if (this.readable) return this.writable ? "open" : "readOnly";
    return this.writable ? "writeOnly" : "closed";
  }

  get bufferSize(): number {
    return this.writableLength;
  }

  get bytesRead(): number {
    if (!(#handle in this)) return undefined as never;
    return this.#handle?.bytesRead ?? this.#readInAll;
  }

  get bytesWritten(): number {
    if (!(#handle in this)) return undefined as never;
    return this.#handedDown + Math.max(this.writableLength - this.#inHand, 0);
  }

  address(): { address: string; family: string; port: number } | Record<string, never> {
    return this.#names("local") ?? {};
  }

  /** The prototype, and what has it without being a socket, is asked by those who look at objects: it knows nothing. */
  static #namesOf(value: object, which: "local" | "remote"): Name | undefined {
    return #handle in value ? (value as Socket).#names(which) : undefined;
  }

  #names(which: "local" | "remote"): Name | undefined {
    if (this.#handle && !this.connecting) this.#lastNames[which] ??= this.#handle[which];
    return this.#lastNames[which];
  }

  get localAddress(): string | undefined {
    return Socket.#namesOf(this, "local")?.address;
  }

  get localPort(): number | undefined {
    return Socket.#namesOf(this, "local")?.port;
  }

  get localFamily(): string | undefined {
    return Socket.#namesOf(this, "local")?.family;
  }

  get remoteAddress(): string | undefined {
    return Socket.#namesOf(this, "remote")?.address;
  }

  get remotePort(): number | undefined {
    return Socket.#namesOf(this, "remote")?.port;
  }

  get remoteFamily(): string | undefined {
    return Socket.#namesOf(this, "remote")?.family;
  }
}

/** What may be given in place of a new connection: a descriptor of the process, which is none of the host's. */
type Given = SocketOptions & { readonly fd?: unknown };

function checkOptions(options: Given): void {
  for (const name of ["objectMode", "readableObjectMode", "writableObjectMode"] as const) {
    if (options[name]) throw wrongValue(`options.${name}`, options[name], "is not supported");
  }
  if (options.keepAliveInitialDelay !== undefined) checkNumber(options.keepAliveInitialDelay, "options.keepAliveInitialDelay");
  const { fd } = options;
  if (fd === undefined) return;
  checkInteger(fd, "fd", 0, 2 ** 31 - 1);
  throw nodeError("ERR_INVALID_FD_TYPE", "Unsupported fd type: UNKNOWN", TypeError);
}
