/**
 * A TCP connection as WHATWG streams (the shape of the WinterTC Sockets API and of Deno's `connect`): `readable` gives
 * chunks of up to 64 KiB or fills a caller's buffer (BYOB), `writable` takes any, both with back-pressure to the wire.
 */
import { invalid, LoomError } from "../base/errors.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { shown } from "../base/options.ts";
import { endText, formatZoned } from "../ip/zone.ts";
import { abort } from "../tcp/end.ts";
import { brokenBefore } from "../tcp/listener.ts";
import { CLOSED, ESTABLISHED } from "../tcp/states.ts";
import type { Tcb, TcpEvents } from "../tcp/tcb.ts";
import * as user from "../tcp/user.ts";
import { Deadline, late } from "./deadline.ts";
import { InPlace } from "./in-place.ts";

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

export interface SocketInfo {
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
}

/** Largest chunk that `readable` makes by itself. */
const CHUNK = 65_536;

/** What a connection says, passed on without a closure for each. */
class Events implements TcpEvents {
  private readonly socket: TcpSocket;

  constructor(socket: TcpSocket) {
    this.socket = socket;
  }

  established(): void {
    this.socket.established();
  }

  readable(): void {
    this.socket.wake("reader");
  }

  writable(): void {
    this.socket.wake("writer");
  }

  closed(error: LoomError | undefined): void {
    this.socket.finish(error);
  }
}

interface Ends<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A read that waits for bytes: to be put into `into`, or (without it) only to be heard of. Reads are served in their order. */
interface Reading extends Ends<number | null> {
  readonly into: Uint8Array | undefined;
  next: Reading | undefined;
}

/** A write whose bytes from `done` on wait for room; without bytes, the end of the stream. */
interface Writing extends Ends<number> {
  readonly bytes: Uint8Array | undefined;
  done: number;
  next: Writing | undefined;
}

/** A promise with its ends, settled at once when it is asked for late. Whoever does not wait for it is not told by a crash. */
class Settled<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: unknown) => void;

  constructor(value: (() => T) | undefined, error: unknown) {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => {});
    if (error) this.reject(error);
    else if (value) this.resolve(value());
  }
}

export class TcpSocket {
  /** Settles when the handshake did. */
  get opened(): Promise<SocketInfo> {
    this.whenOpened ??= new Settled(this.tcb.state >= ESTABLISHED || this.wasOpened ? () => this.info : undefined, this.error);
    return this.whenOpened.promise;
  }

  /** Settles when both directions are closed; rejects when the connection broke. */
  get closed(): Promise<void> {
    this.whenClosed ??= new Settled(this.isOver ? () => {} : undefined, this.error);
    return this.whenClosed.promise;
  }

  private readonly tcb: Tcb;
  // Promises are made for those who ask.
  private whenOpened: Settled<SocketInfo> | undefined;
  private whenClosed: Settled<void> | undefined;
  private wasOpened = false;
  private isOver = false;
  private readableStream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  private writableStream: WritableStream<Uint8Array> | undefined;
  private reader: ReadableByteStreamController | undefined;
  private writer: WritableStreamDefaultController | undefined;
  /** Whoever waits: for bytes, for room, for the handshake. */
  private reading: Reading | undefined;
  private writing: Writing | undefined;
  private connecting: Ends<TcpSocket> | undefined;
  private roomWaiter: (() => void) | undefined;
  private roomRefusal: ((error: LoomError) => void) | undefined;
  private inPlaceAccess: InPlace | undefined;
  private error: LoomError | undefined;
  private deadlines: { readonly read: Deadline; readonly write: Deadline } | undefined;
  private readEnded = false;
  /** This side has closed both directions: who waits for bytes has reached the end. */
  private isShut = false;
  /** The end is to follow what was written; and the FIN is on its way. */
  private isEnding = false;
  private writeEnded = false;

  constructor(tcb: Tcb) {
    this.tcb = tcb;
    this.wasOpened = tcb.state >= ESTABLISHED;
    tcb.events = new Events(this);
    if (tcb.state !== CLOSED) return;
    // It broke while it waited to be accepted; what came before that can be read.
    this.wasOpened = this.isOver = true;
    this.error = brokenBefore(tcb);
  }

  /** For `Events` alone. @internal */
  established(): void {
    this.wasOpened = true;
    this.whenOpened?.resolve(this.info);
    this.connecting?.resolve(this);
    this.connecting = undefined;
  }

  /** This socket, when its handshake is over. @internal */
  whenConnected(): Promise<TcpSocket> {
    return new Promise((resolve, reject) => {
      if (this.error) reject(this.error);
      else if (this.wasOpened) resolve(this);
      else this.connecting = { resolve, reject };
    });
  }

  /** What arrives, as a byte stream: made on first use. */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.readableStream ??= new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.reader = controller;
      },
      pull: (controller) => this.pull(controller),
      cancel: () => this.stopReading(),
    }) as ReadableStream<Uint8Array<ArrayBuffer>>;
    return this.readableStream;
  }

  /** What is sent, with back-pressure from the peer's window: made on first use. */
  get writable(): WritableStream<Uint8Array> {
    this.writableStream ??= new WritableStream(
      {
        start: (controller) => {
          this.writer = controller;
        },
        write: async (chunk) => {
          await this.write(chunk);
        },
        close: () => this.endWriting(),
        abort: () => abort(this.tcb),
      },
      { highWaterMark: 1 },
    );
    return this.writableStream;
  }

  /**
   * Reads into `into` without a stream in between (the shape of `Deno.Conn`): bytes read, or null at the end. Not together
   * with `readable`.
   */
  read(into: Uint8Array): Promise<number | null> {
    return this.arrival(into);
  }

  /** Sends all of `bytes`, or waits until the peer has taken enough of it. Not together with `writable`. */
  write(bytes: Uint8Array): Promise<number> {
    if (!(bytes instanceof Uint8Array)) return Promise.reject(new TypeError("a socket takes Uint8Array chunks"));
    if (this.isEnding) return Promise.reject(this.error ?? new LoomError("EPIPE", "the connection cannot be written any more"));
    return this.queue(bytes);
  }

  /** Sending and reading without a copy. Not together with `readable`, `read`, `writable` and `write` in the same direction. */
  get inPlace(): InPlace {
    this.inPlaceAccess ??= new InPlace(this.tcb, this);
    return this.inPlaceAccess;
  }

  /** For `InPlace` alone. @internal */
  async whenReadable(): Promise<void> {
    if (!this.isReadable) await this.arrival(undefined);
    if (user.readable(this.tcb) === 0 && this.error) throw this.error;
  }

  /** For `InPlace` alone. @internal */
  whenRoomy(): Promise<void> {
    if (this.deadlines?.write.isOver) return Promise.reject(late());
    return new Promise((resolve, reject) => {
      this.roomRefusal = reject;
      this.roomWaiter = resolve;
    });
  }

  get info(): SocketInfo {
    const { local, localPort, remote, remotePort, device } = this.tcb;
    return {
      localAddress: { address: formatZoned(local, device), port: localPort },
      remoteAddress: { address: formatZoned(remote, device), port: remotePort },
    };
  }

  get localAddress(): SocketAddress {
    return this.info.localAddress;
  }

  get remoteAddress(): SocketAddress {
    return this.info.remoteAddress;
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const text = ({ address, port }: SocketAddress) => endText(address, port);
    const { state } = this.status();
    const ends = { local: text(this.localAddress), remote: text(this.remoteAddress) };
    return facts("TcpSocket", { state, ...ends }, depth, options, inspect);
  }

  /** What `ss -i` shows: state, windows, RTT, congestion control. */
  status(): ReturnType<typeof user.status> {
    return user.status(this.tcb);
  }

  /** Sends a FIN when what was written is out; reading goes on (`shutdown(SHUT_WR)`). Whoever holds a writer of `writable` can write no more. */
  closeWrite(): Promise<void> {
    return this.writableStream && !this.writableStream.locked ? this.writableStream.close() : this.endWriting();
  }

  /** Ends both directions, the one of writing when what was written is out. Resolves when the connection is closed. */
  async close(): Promise<void> {
    if (this.writing) user.leave(this.tcb);
    this.isShut = true;
    this.wake("reader");
    await this.endWriting().catch(() => {});
    if (!this.readEnded) user.close(this.tcb);
    await this.closed.catch(() => {});
  }

  /** Closes at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * By when reads and writes (or one of the two) have to be done, in milliseconds from now on the host's clock: those that wait then, and those that would have to wait
   * later, reject with ETIMEDOUT, until there is another deadline. Undefined: none. What was sent of a write by then is sent. The connection goes on; a stream
   * (`readable`, `writable`) that meets it is broken, as a stream is by any error.
   */
  setDeadline(ms: number | undefined, which: "read" | "write" | "both" = "both"): void {
    if (ms !== undefined && !(typeof ms === "number" && ms >= 0))
      throw invalid(`a deadline in ${shown(ms)}; expected milliseconds, or undefined for none`);
    if (which !== "read" && which !== "write" && which !== "both")
      throw invalid(`a deadline of ${shown(which)}; expected "read", "write" or "both"`);
    const { stack } = this.tcb.world;
    this.deadlines ??= {
      read: new Deadline(stack, (error) => this.endReads(error)),
      write: new Deadline(stack, (error) => this.endWrites(error)),
    };
    for (const each of ["read", "write"] as const) if (which === "both" || which === each) this.deadlines[each].set(ms);
  }

  private endReads(error: LoomError): void {
    let { reading } = this;
    this.reading = undefined;
    for (; reading; reading = reading.next) reading.reject(error);
  }

  private endWrites(error: LoomError): void {
    this.roomRefusal?.(error);
    this.roomRefusal = this.roomWaiter = undefined;
    let { writing } = this;
    this.writing = undefined;
    for (; writing; writing = writing.next) {
      // An end that was to follow what is not written now can be asked for again.
      if (!writing.bytes) this.isEnding = false;
      writing.reject(error);
    }
  }

  /** Resets the connection. */
  abort(): void {
    abort(this.tcb);
  }

  /** Seconds of silence before probes, or false (RFC 9293 §3.8.4). */
  setKeepAlive(seconds: number | false): void {
    this.tcb.ownOptions.keepAlive = seconds === false ? 0 : seconds;
    user.keepAliveChanged(this.tcb);
  }

  /** Another congestion control from now on; window and threshold stay (TCP_CONGESTION). EINVAL: no such name. */
  setCongestion(name: string): void {
    user.setCongestion(this.tcb, name);
  }

  setNoDelay(on = true): void {
    user.setNoDelay(this.tcb, on);
  }

  /** For `Events` alone. @internal */
  wake(which: "reader" | "writer"): void {
    if (which === "writer") {
      if (this.writing) this.writeOn(this.writing);
      this.roomWaiter?.();
      this.roomWaiter = undefined;
      return;
    }
    for (let { reading } = this; reading && this.isReadable; reading = reading.next) {
      this.reading = reading.next;
      this.settle(reading);
    }
  }

  // ── Reading ───────────────────────────────────────────────────────────────────────────────────

  /** Something can be read, or nothing ever will. */
  private get isReadable(): boolean {
    const { tcb } = this;
    return user.readable(tcb) > 0 || this.error !== undefined || this.hasEnded;
  }

  /** For `InPlace` and reads alone: nothing more will be there, by whichever side's doing. @internal */
  get hasEnded(): boolean {
    const { tcb } = this;
    return this.isShut || tcb.state === CLOSED || (tcb.finReceived && user.readable(tcb) === 0);
  }

  /** One promise for a read, however long it waits: who reads small pieces of many connections makes few objects. */
  private arrival(into: Uint8Array | undefined): Promise<number | null> {
    if (into && !this.reading && user.readable(this.tcb) > 0) return Promise.resolve(user.read(this.tcb, into));
    if (this.deadlines?.read.isOver && !this.isReadable) return Promise.reject(late());
    return new Promise((resolve, reject) => {
      const reading: Reading = { into, resolve, reject, next: undefined };
      let last = this.reading;
      while (last?.next) last = last.next;
      if (last) last.next = reading;
      else if (this.isReadable) this.settle(reading);
      else this.reading = reading;
    });
  }

  private settle({ into, resolve, reject }: Reading): void {
    if (into === undefined) resolve(null);
    else if (user.readable(this.tcb) > 0) resolve(user.read(this.tcb, into));
    else if (this.error) reject(this.error);
    else {
      this.readToEnd();
      resolve(null);
    }
  }

  /** For `InPlace` and reads alone. @internal */
  readToEnd(): void {
    this.readEnded = true;
    if (this.writeEnded) user.close(this.tcb);
  }

  private async pull(controller: ReadableByteStreamController): Promise<void> {
    if (!this.isReadable) await this.arrival(undefined);
    if (this.readEnded) return;
    const available = user.readable(this.tcb);
    if (available === 0) {
      if (this.error) throw this.error;
      this.endReading(controller);
      return;
    }
    const request = controller.byobRequest;
    if (request?.view) {
      const { buffer, byteOffset, byteLength } = request.view;
      request.respond(user.read(this.tcb, new Uint8Array(buffer, byteOffset, byteLength)));
    } else {
      const chunk = new Uint8Array(Math.min(available, CHUNK));
      user.read(this.tcb, chunk);
      controller.enqueue(chunk);
    }
  }

  private endReading(controller: ReadableByteStreamController): void {
    this.readEnded = true;
    controller.close();
    controller.byobRequest?.respond(0);
    if (this.writeEnded) user.close(this.tcb);
  }

  private stopReading(): void {
    this.readEnded = true;
    if (this.writeEnded) user.close(this.tcb);
  }

  // ── Writing ───────────────────────────────────────────────────────────────────────────────────

  /** This write and those behind it, as far as there is room. */
  private writeOn(first: Writing): void {
    this.writing = first;
    for (let writing: Writing | undefined = first; writing; writing = this.writing) {
      const { bytes, resolve, reject } = writing;
      try {
        if (this.error) throw this.error;
        if (!bytes) {
          this.finishWriting();
          resolve(0);
          this.writing = writing.next;
          continue;
        }
        writing.done += user.writeInTurn(this.tcb, writing.done === 0 ? bytes : bytes.subarray(writing.done));
        if (writing.done < bytes.length) return;
        resolve(bytes.length);
      } catch (error) {
        reject(error);
      }
      this.writing = writing.next;
    }
  }

  /** The FIN follows what was written before; later writes are refused. */
  private endWriting(): Promise<void> {
    if (this.error) return Promise.reject(this.error);
    if (this.isEnding) return Promise.resolve();
    this.isEnding = true;
    if (this.writing) return this.queue(undefined).then(() => {});
    try {
      this.finishWriting();
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Behind what is being written; at once, and without a record of it, when that is nothing and there is room. */
  private queue(bytes: Uint8Array | undefined): Promise<number> {
    let done = 0;
    if (bytes && !this.writing) {
      if (this.error) return Promise.reject(this.error);
      try {
        done = user.writeInTurn(this.tcb, bytes);
      } catch (error) {
        return Promise.reject(error);
      }
      if (done === bytes.length) return Promise.resolve(done);
    }
    if (this.deadlines?.write.isOver) return Promise.reject(late());
    return new Promise((resolve, reject) => {
      const writing: Writing = { bytes, done, resolve, reject, next: undefined };
      let last = this.writing;
      while (last?.next) last = last.next;
      if (last) last.next = writing;
      else this.writing = writing;
    });
  }

  private finishWriting(): void {
    this.writeEnded = true;
    user.shutdown(this.tcb);
    if (this.readEnded) user.close(this.tcb);
  }

  /** For `Events` alone. @internal */
  finish(error: LoomError | undefined): void {
    this.error = error;
    this.isOver = true;
    if (this.deadlines) for (const each of ["read", "write"] as const) this.deadlines[each].set(undefined);
    if (error) {
      user.close(this.tcb);
      this.whenOpened?.reject(error);
      this.whenClosed?.reject(error);
      this.connecting?.reject(error);
      this.connecting = undefined;
      // A stream that is asked for later says the same.
      if (!this.readEnded && this.readableStream) {
        this.readEnded = true;
        this.reader?.error(error);
      }
      this.writer?.error(error);
    } else this.whenClosed?.resolve();
    this.wake("reader");
    this.wake("writer");
  }
}
