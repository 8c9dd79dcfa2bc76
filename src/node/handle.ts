/**
 * One TCP connection as an event loop's handle: reads, writes, end and errors of its control block, told in ticks of
 * their own. `Socket` is a stream around it.
 */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import { formatZoned } from "../ip/zone.ts";
import { abort } from "../tcp/end.ts";
import { brokenBefore } from "../tcp/listener.ts";
import { CLOSED, CLOSING, FIN_WAIT_1, LAST_ACK } from "../tcp/states.ts";
import type { Tcb } from "../tcp/tcb.ts";
import * as user from "../tcp/user.ts";
import type { EventQueue } from "./events.ts";
import { type HandleOwner, StreamHandle } from "./held.ts";

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

/** How long a closed connection may hold the process for its last bytes, and how often it is looked at (ms). */
const LINGER_MS = 5000;
const LOOK_MS = 20;

export class TcpHandle extends StreamHandle implements Handle {
  private readonly tcb: Tcb;
  private isOpen = false;
  private toldOpen: boolean;
  private isMapped = false;
  private isEndDue = false;
  private isLooking = false;
  /** Its owner has left it: it is waited for as `linger` says. */
  private isClosing = false;

  /** `mapped`: the peer's IPv4 address is shown as a dual-stack socket shows it, ::ffff:192.0.2.1 (RFC 4291 §2.5.5.2). */
  constructor(host: Host, events: EventQueue, tcb: Tcb, owner: HandleOwner, options: { accepted?: boolean; mapped?: boolean } = {}) {
    super("LOOMTCP", host, events, owner);
    this.tcb = tcb;
    this.toldOpen = options.accepted ?? false;
    this.isMapped = options.mapped ?? false;
    const note = () => events.note(this);
    tcb.events = {
      established: () => {
        this.isOpen = true;
        note();
      },
      readable: note,
      writable: note,
      closed: (error) => {
        // Behind the peer's end a reset is about what is written (tcp_reset): EPIPE.
        const isPipe = error?.code === "ECONNRESET" && tcb.finReceived && !tcb.finQueued;
        this.failure = isPipe ? new LoomError("EPIPE", error.message) : error;
        this.unref();
        note();
      },
    };
    this.update();
    // It may have broken while it waited to be accepted.
    if (tcb.state !== CLOSED) return;
    this.failure = brokenBefore(tcb);
    this.unref();
  }

  // ── What happens ──────────────────────────────────────────────────────────────────────────────

  protected tellAll(): void {
    if (!this.toldOpen && !this.tellOpen()) return;
    if (this.reading) this.tellData();
    // A socket that reads hears of a reset by that, and not by what it writes; one that does not, when it reads; of its host's end, at once.
    if (this.failure && (this.reading || this.failure.code === "ENETDOWN")) this.fail(this.failure);
    else if (this.writing) this.advance();
  }

  /** False while there is no connection. */
  private tellOpen(): boolean {
    if (!this.isOpen && this.tcb.state !== CLOSED) return false;
    this.toldOpen = true;
    this.update();
    this.owner?.opened(this.isOpen ? undefined : this.failure);
    return this.isOpen;
  }

  private tellData(): void {
    const { tcb } = this;
    let isTold = false;
    for (let n = user.readable(tcb); n > 0 && this.reading; n = user.readable(tcb)) {
      isTold = true;
      this.owner?.readable(n);
    }
    if (!this.reading || this.toldEnd) return;
    if (!this.isEndDue && (this.failure || !(user.ended(tcb) || tcb.state === CLOSED))) return;
    // What came before the end is dealt with before the end is told, whatever has happened by then.
    this.isEndDue = true;
    if (isTold) this.events.note(this);
    else this.tellEnd();
  }

  // ── What is done ──────────────────────────────────────────────────────────────────────────────

  readStart(): void {
    if (this.reading || this.toldEnd) return;
    this.setReading(true);
    // What is there already is told like the rest: not within the call.
    if (user.readable(this.tcb) > 0 || this.tcb.finReceived || this.tcb.state === CLOSED) this.events.note(this);
  }

  /** Bytes copied into `out`. */
  read(out: Uint8Array): number {
    const n = user.read(this.tcb, out);
    this.bytesRead += n;
    return n;
  }

  protected send(bytes: Uint8Array, more: boolean): number {
    return user.write(this.tcb, bytes, more);
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
    this.isClosing = true;
    this.leave();
    this.tcb.events = { closed: () => this.unref() };
    how();
    this.linger();
  }

  setNoDelay(on: boolean): void {
    user.setNoDelay(this.tcb, on);
  }

  /** Seconds of silence before the first probe; 0: Linux's two hours. Ten probes, a second apart: libuv's. */
  setKeepAlive(on: boolean, seconds: number): void {
    const options = this.tcb.ownOptions;
    options.keepAlive = on ? seconds || 7200 : 0;
    options.keepAliveInterval = 1;
    options.keepAliveProbes = 10;
    user.keepAliveChanged(this.tcb);
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

  protected override get isAlive(): boolean {
    const { tcb } = this;
    if (!tcb) return true;
    return tcb.state !== CLOSED && (!this.toldOpen || super.isAlive || this.isClosing || this.isSending);
  }

  /** Bytes, or the end, that the peer has not acknowledged: when the process is gone nobody sends them again. */
  private get isSending(): boolean {
    return this.tcb.nxt !== this.tcb.una || this.tcb.unsent > 0;
  }

  /** One that is waited for because of that alone is looked at now and then: nobody tells when all has arrived. */
  protected override update(): void {
    super.update();
    if (!this.holds || !this.tcb || !this.toldOpen || super.isAlive || this.isClosing || this.isLooking) return;
    this.isLooking = true;
    this.host.names.alarms.after(LOOK_MS, () => {
      this.isLooking = false;
      this.update();
    });
  }

  /** An operating system sends what is left when the process is gone. Here the process waits for it, but not for ever. */
  private linger(left = LINGER_MS / LOOK_MS): void {
    const { state } = this.tcb;
    const isSending = state === FIN_WAIT_1 || state === CLOSING || state === LAST_ACK;
    const isStopped = this.host.engine.workerState(0) === "stopped";
    if (!isSending || isStopped || left === 0) this.unref();
    else if (this.holds) this.host.names.alarms.after(LOOK_MS, () => this.linger(left - 1));
  }
}
