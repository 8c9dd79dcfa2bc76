/**
 * One TCP connection as an event loop's handle: reads, writes, end and errors of its control block, told in ticks of
 * their own. `Socket` is a stream around it.
 */
import { AsyncResource } from "node:async_hooks";
import type { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import { formatZoned } from "../ip/zone.ts";
import { abort } from "../tcp/end.ts";
import { CLOSED, CLOSING, FIN_WAIT_1, LAST_ACK, type Tcb } from "../tcp/tcb.ts";
import * as user from "../tcp/user.ts";
import type { EventQueue, Teller } from "./events.ts";

/** Who hears of a connection. */
export interface HandleOwner {
  /** The handshake is over: established, or not. */
  opened(error: LoomError | undefined): void;
  /** So many bytes can be read now, by `read`. */
  readable(bytes: number): void;
  /** The peer will send no more. */
  ended(): void;
  /** The connection broke. */
  failed(error: LoomError): void;
}

export interface Name {
  address: string;
  family: "IPv4" | "IPv6";
  port: number;
}

/** What a `Socket` stands on. */
export interface Handle {
  readonly bytesRead: number;
  /** Bytes that the send buffer took. */
  readonly bytesWritten: number;
  /** Undefined where an end has no address of IP. */
  readonly local: Name | undefined;
  readonly remote: Name | undefined;
  readStart(): void;
  readStop(): void;
  /** Bytes copied into `out`. */
  read(out: Uint8Array): number;
  /** Writes all of the chunks; `done` when the last byte is in the send buffer. One call at a time. */
  write(chunks: readonly Uint8Array[], done: (error?: LoomError) => void): void;
  shutdown(): void;
  /** Nobody hears of it any more. */
  close(): void;
  reset(): void;
  setNoDelay(on: boolean): void;
  setKeepAlive(on: boolean, seconds: number): void;
  ref(): void;
  unref(): void;
}

interface Writing {
  readonly chunks: readonly Uint8Array[];
  index: number;
  offset: number;
  readonly done: (error?: LoomError) => void;
}

/** How long a closed connection may hold the process for its last bytes, and how often it is looked at (ms). */
const LINGER_MS = 5000;
const LOOK_MS = 20;

export class TcpHandle extends AsyncResource implements Handle, Teller {
  noted = false;
  bytesRead = 0;
  /** Bytes that the send buffer took. */
  bytesWritten = 0;
  private readonly tcb: Tcb;
  private readonly host: Host;
  private readonly events: EventQueue;
  private owner: HandleOwner | undefined;
  private reading = false;
  private isOpen = false;
  private toldOpen: boolean;
  private toldEnd = false;
  private writing: Writing | undefined;
  private failure: LoomError | undefined;
  private wantsRef = true;
  private holds = false;
  private isMapped = false;

  /** `mapped`: the peer's IPv4 address is shown as a dual-stack socket shows it, ::ffff:192.0.2.1 (RFC 4291 §2.5.5.2). */
  constructor(host: Host, events: EventQueue, tcb: Tcb, owner: HandleOwner, options: { accepted?: boolean; mapped?: boolean } = {}) {
    super("LOOMTCP");
    this.host = host;
    this.events = events;
    this.tcb = tcb;
    this.owner = owner;
    this.toldOpen = options.accepted ?? false;
    this.isMapped = options.mapped ?? false;
    this.hold();
    const note = () => events.note(this);
    tcb.events = {
      established: () => {
        this.isOpen = true;
        note();
      },
      readable: note,
      writable: note,
      closed: (error) => {
        this.failure = error;
        this.letGo();
        note();
      },
    };
    // It may have broken while it waited to be accepted.
    if (tcb.state === CLOSED) this.letGo();
  }

  // ── What happens ──────────────────────────────────────────────────────────────────────────────

  tell(): void {
    let isTold = false;
    try {
      this.runInAsyncScope(this.tellAll, this);
      isTold = true;
    } finally {
      // A listener that throws does not stop what follows.
      if (!isTold) this.events.note(this);
    }
  }

  private tellAll(): void {
    if (!this.toldOpen && !this.tellOpen()) return;
    if (this.reading) this.tellData();
    if (this.writing) this.advance();
    // A socket that does not read hears of a reset when it reads; of its host's end, at once.
    if (this.failure && (this.reading || this.failure.code === "ENETDOWN")) this.fail(this.failure);
  }

  /** False while there is no connection. */
  private tellOpen(): boolean {
    if (!this.isOpen && this.tcb.state !== CLOSED) return false;
    this.toldOpen = true;
    this.owner?.opened(this.isOpen ? undefined : this.failure);
    return this.isOpen;
  }

  private tellData(): void {
    const { tcb } = this;
    for (let n = user.readable(tcb); n > 0 && this.reading; n = user.readable(tcb)) this.owner?.readable(n);
    if (!this.reading || this.toldEnd || this.failure) return;
    if (user.ended(tcb) || tcb.state === CLOSED) {
      this.toldEnd = true;
      this.reading = false;
      this.owner?.ended();
    }
  }

  private fail(error: LoomError): void {
    const { owner } = this;
    this.owner = undefined;
    owner?.failed(error);
  }

  // ── What is done ──────────────────────────────────────────────────────────────────────────────

  readStart(): void {
    if (this.reading || this.toldEnd) return;
    this.reading = true;
    // What is there already is told like the rest: not within the call.
    if (user.readable(this.tcb) > 0 || this.tcb.finReceived || this.tcb.state === CLOSED) this.events.note(this);
  }

  readStop(): void {
    this.reading = false;
  }

  /** Bytes copied into `out`. */
  read(out: Uint8Array): number {
    const n = user.read(this.tcb, out);
    this.bytesRead += n;
    return n;
  }

  /** Writes all of the chunks; `done` when the last byte is in the send buffer. One call at a time. */
  write(chunks: readonly Uint8Array[], done: (error?: LoomError) => void): void {
    // None is empty: the last one says that no more follows.
    const full = chunks.length > 1 ? chunks.filter((chunk) => chunk.length > 0) : chunks;
    this.writing = { chunks: full, index: 0, offset: 0, done };
    this.advance();
  }

  private advance(): void {
    const writing = this.writing as Writing;
    let error = this.failure;
    try {
      if (!error && !this.fill(writing)) return;
    } catch (thrown) {
      error = thrown as LoomError;
    }
    this.writing = undefined;
    writing.done(error);
  }

  /** True when everything was taken. */
  private fill(writing: Writing): boolean {
    const { chunks } = writing;
    for (; writing.index < chunks.length; writing.index++, writing.offset = 0) {
      const chunk = chunks[writing.index];
      const rest = writing.offset === 0 ? chunk : chunk.subarray(writing.offset);
      const taken = user.write(this.tcb, rest, writing.index < chunks.length - 1);
      writing.offset += taken;
      this.bytesWritten += taken;
      if (taken < rest.length) return false;
    }
    return true;
  }

  /** The FIN follows the last byte. */
  shutdown(): void {
    user.shutdown(this.tcb);
  }

  /** Nobody hears of it any more: an orderly end, or a reset when bytes are left unread. */
  close(): void {
    this.end(() => user.close(this.tcb));
  }

  reset(): void {
    this.end(() => abort(this.tcb));
  }

  private end(how: () => void): void {
    this.owner = undefined;
    this.reading = false;
    this.writing = undefined;
    this.tcb.events = { closed: () => this.letGo() };
    how();
    this.linger();
  }

  setNoDelay(on: boolean): void {
    this.tcb.ownOptions.noDelay = on;
  }

  /** Seconds of silence before the first probe; 0: Linux's two hours. Ten probes, a second apart: libuv's. */
  setKeepAlive(on: boolean, seconds: number): void {
    const options = this.tcb.ownOptions;
    options.keepAlive = on ? seconds || 7200 : 0;
    options.keepAliveInterval = 1;
    options.keepAliveProbes = 10;
    if (this.tcb.state !== CLOSED) this.tcb.world.keepAlive(this.tcb);
  }

  get local(): Name {
    return { ...this.shown(this.tcb.local), port: this.tcb.localPort };
  }

  get remote(): Name {
    return { ...this.shown(this.tcb.remote), port: this.tcb.remotePort };
  }

  private shown(address: IpAddress): { address: string; family: "IPv4" | "IPv6" } {
    if (address.family === 4 && !this.isMapped) return { address: String(address), family: "IPv4" };
    return { address: address.family === 4 ? `::ffff:${address}` : formatZoned(address, this.tcb.device), family: "IPv6" };
  }

  // ── Keeping the process alive ─────────────────────────────────────────────────────────────────

  ref(): void {
    this.wantsRef = true;
    if (this.tcb.state !== CLOSED) this.hold();
  }

  unref(): void {
    this.wantsRef = false;
    this.letGo();
  }

  private hold(): void {
    if (this.holds || !this.wantsRef) return;
    this.holds = true;
    this.host.engine.hold();
  }

  private letGo(): void {
    if (!this.holds) return;
    this.holds = false;
    this.host.engine.letGo();
  }

  /** An operating system sends what is left when the process is gone. Here the process waits for it, but not for ever. */
  private linger(left = LINGER_MS / LOOK_MS): void {
    const { state } = this.tcb;
    const isSending = state === FIN_WAIT_1 || state === CLOSING || state === LAST_ACK;
    const isStopped = this.host.engine.workerState(0) === "stopped";
    if (!isSending || isStopped || left === 0) this.letGo();
    else if (this.holds) this.host.names.alarms.after(LOOK_MS, () => this.linger(left - 1));
  }
}
