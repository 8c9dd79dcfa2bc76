/**
 * What an event loop's handles share: they keep the process while they are open, unless they are unreferenced; a stream's
 * is told in ticks of its own, and takes one write at a time, piece by piece as there is room.
 */
import { AsyncResource } from "node:async_hooks";
import type { LoomError } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import type { EventQueue, Teller } from "./events.ts";

/** The process waits for what is open, unless it is told not to. */
export abstract class Held extends AsyncResource {
  noted = false;
  protected readonly host: Host;
  protected holds = false;
  private isReferenced = true;

  constructor(type: string, host: Host) {
    super(type);
    this.host = host;
    this.update();
  }

  ref(): void {
    this.isReferenced = true;
    this.update();
  }

  unref(): void {
    this.isReferenced = false;
    this.update();
  }

  /** What it waits for has changed. */
  protected update(): void {
    const holds = this.isReferenced && this.isAlive;
    if (holds === this.holds) return;
    this.holds = holds;
    if (holds) this.host.engine.hold();
    else this.host.engine.letGo();
  }

  /** Whether there is something to wait for. */
  protected get isAlive(): boolean {
    return true;
  }
}

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

interface Writing {
  readonly chunks: readonly Uint8Array[];
  index: number;
  offset: number;
  readonly done: (error?: LoomError) => void;
}

export abstract class StreamHandle extends Held implements Teller {
  bytesRead = 0;
  /** Bytes that the send buffer took. */
  bytesWritten = 0;
  protected readonly events: EventQueue;
  protected owner: HandleOwner | undefined;
  protected reading = false;
  protected toldEnd = false;
  protected writing: Writing | undefined;
  protected failure: LoomError | undefined;

  constructor(type: string, host: Host, events: EventQueue, owner: HandleOwner) {
    super(type, host);
    this.events = events;
    this.owner = owner;
  }

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

  protected abstract tellAll(): void;

  protected tellEnd(): void {
    this.toldEnd = true;
    this.setReading(false);
    this.owner?.ended();
  }

  /** As in libuv, a connection is waited for while it is read, written or made: one that nobody reads is nobody's concern. */
  protected override get isAlive(): boolean {
    return this.reading || this.writing !== undefined;
  }

  protected setReading(on: boolean): void {
    this.reading = on;
    this.update();
  }

  /** Nobody hears of it after that. */
  protected fail(error: LoomError): void {
    const { owner } = this;
    this.owner = undefined;
    owner?.failed(error);
  }

  readStop(): void {
    this.setReading(false);
  }

  /** Writes all of the chunks; `done` when the last byte is in the send buffer. One call at a time. */
  write(chunks: readonly Uint8Array[], done: (error?: LoomError) => void): void {
    // None is empty: the last one says that no more follows.
    const full = chunks.length > 1 ? chunks.filter((chunk) => chunk.length > 0) : chunks;
    this.writing = { chunks: full, index: 0, offset: 0, done };
    this.update();
    this.advance();
  }

  protected advance(): void {
    const writing = this.writing as Writing;
    let error = this.failure;
    try {
      if (!error && !this.fill(writing)) return;
    } catch (thrown) {
      error = thrown as LoomError;
    }
    this.writing = undefined;
    this.update();
    writing.done(error);
  }

  /** True when everything was taken. */
  private fill(writing: Writing): boolean {
    const { chunks } = writing;
    for (; writing.index < chunks.length; writing.index++, writing.offset = 0) {
      const chunk = chunks[writing.index];
      const rest = writing.offset === 0 ? chunk : chunk.subarray(writing.offset);
      const taken = this.send(rest, writing.index < chunks.length - 1);
      writing.offset += taken;
      this.bytesWritten += taken;
      if (taken < rest.length) return false;
    }
    return true;
  }

  /** Bytes that there was room for; `more`: others follow at once. */
  protected abstract send(bytes: Uint8Array, more: boolean): number;

  /** Nobody hears of it any more. */
  protected leave(): void {
    this.owner = undefined;
    const { writing } = this;
    this.writing = undefined;
    this.setReading(false);
    // Whoever waits for it hears that it is over, as of a request that libuv has cancelled: without an error, in a turn of its own.
    if (writing) process.nextTick(() => writing.done());
  }
}
