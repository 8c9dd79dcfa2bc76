/**
 * Unix domain sockets where Node has "pipes": `net.connect({ path })`, `server.listen({ path })`. Names are the host's own
 * (src/unix), and nothing goes through the stack.
 */
import process from "node:process";
import type { Host } from "../host/host.ts";
import { UnixEndpoint } from "../unix/index.ts";
import type { Dial, Dialer } from "./connect.ts";
import type { Context } from "./context.ts";
import { codeOf, systemError } from "./errors.ts";
import type { EventQueue, Teller } from "./events.ts";
import type { Handle } from "./handle.ts";
import { type HandleOwner, Held, StreamHandle } from "./held.ts";

const PROGRAM = { pid: process.pid, uid: 0, gid: 0 };

export class PipeHandle extends StreamHandle implements Handle {
  readonly local = undefined;
  readonly remote = undefined;
  private readonly endpoint: UnixEndpoint;
  private isShut = false;

  constructor(host: Host, events: EventQueue, endpoint: UnixEndpoint, owner: HandleOwner) {
    super("LOOMPIPE", host, events, owner);
    this.endpoint = endpoint;
    endpoint.onEvent = () => events.note(this);
  }

  protected tellAll(): void {
    const { endpoint } = this;
    if (endpoint.isClosed) this.unref();
    const hasData = this.reading && endpoint.available > 0;
    while (this.reading && endpoint.available > 0) this.owner?.readable(endpoint.available);
    if (this.writing) this.advance();
    const { error } = endpoint;
    // Both directions have ended in order: whatever comes later is nobody's loss.
    const isOver = this.toldEnd && this.isShut;
    if (error && !isOver && (this.reading || endpoint.isClosed)) this.fail(error);
    else if (this.reading && endpoint.receiveEnded && endpoint.available === 0 && !this.toldEnd) {
      // What came before the end is dealt with before the end is told.
      if (hasData) this.events.note(this);
      else this.tellEnd();
    }
  }

  readStart(): void {
    if (this.reading || this.toldEnd) return;
    this.setReading(true);
    if (this.endpoint.available > 0 || this.endpoint.receiveEnded || this.endpoint.error) this.events.note(this);
  }

  read(out: Uint8Array): number {
    const { endpoint } = this;
    let done = 0;
    for (let parcel = endpoint.first(); parcel && done < out.length; parcel = endpoint.first()) {
      const part = parcel.data.subarray(0, out.length - done);
      out.set(part, done);
      done += part.length;
      // Descriptors that came along are nothing that Node's sockets take.
      for (const passenger of parcel.passengers) passenger.drop();
      parcel.passengers = [];
      endpoint.consume(part.length);
    }
    this.bytesRead += done;
    return done;
  }

  protected send(bytes: Uint8Array): number {
    const { endpoint } = this;
    const canFail = endpoint.sendEnded || !endpoint.peer || endpoint.peer.isClosed;
    return bytes.length === 0 || (endpoint.room === 0 && !canFail) ? 0 : endpoint.send(bytes);
  }

  shutdown(): void {
    this.isShut = true;
    if (!this.endpoint.isClosed) this.endpoint.shutdown(false, true);
  }

  close(): void {
    this.leave();
    this.endpoint.close();
    this.unref();
  }

  reset(): void {
    this.close();
  }

  setNoDelay(): void {}

  setKeepAlive(): void {}

  protected override get isAlive(): boolean {
    return !(this.endpoint?.isClosed ?? false);
  }
}

/** Connects in the next tick: all errors come as events. */
export function dialPath(context: Context, path: string, dialer: Dialer): Dial {
  let isOver = false;
  let isUnref = false;
  process.nextTick(() => {
    if (isOver) return;
    const { host, events } = context;
    try {
      const endpoint = new UnixEndpoint(host.unix, "stream", PROGRAM);
      try {
        endpoint.connect(path);
      } catch (error) {
        endpoint.close();
        throw error;
      }
      const handle = new PipeHandle(host, events, endpoint, dialer.ears());
      if (isUnref) handle.unref();
      dialer.done(handle);
    } catch (error) {
      dialer.done(systemError(codeOf(error), "connect", { address: path }));
    }
  });
  return {
    cancel: () => {
      isOver = true;
    },
    ref: () => {
      isUnref = false;
    },
    unref: () => {
      isUnref = true;
    },
  };
}

/** A listening path as an event loop's handle; the path goes when it is closed, as libuv does it. */
export class PipeAcceptor extends Held implements Teller {
  readonly address: string;
  private readonly endpoint: UnixEndpoint;
  private readonly context: Context;
  private readonly accept: (make: (owner: HandleOwner) => Handle) => void;

  /** Throws EADDRINUSE. `shut`: the host was closed. */
  constructor(context: Context, path: string, backlog: number, accept: (make: (owner: HandleOwner) => Handle) => void, shut: () => void) {
    super("LOOMPIPESERVER", context.host);
    this.context = context;
    this.accept = accept;
    this.address = path;
    try {
      this.endpoint = new UnixEndpoint(context.host.unix, "stream", PROGRAM);
      this.endpoint.bind(path);
    } catch (error) {
      this.unref();
      throw error;
    }
    this.endpoint.listen(backlog);
    this.endpoint.onEvent = () => {
      if (this.endpoint.isClosed) shut();
      else context.events.note(this);
    };
  }

  tell(): void {
    this.runInAsyncScope(this.acceptAll, this);
  }

  private acceptAll(): void {
    const { host, events } = this.context;
    for (let arrival = this.endpoint.accept(); arrival; arrival = this.endpoint.accept()) {
      const peer = arrival;
      try {
        this.accept((owner) => new PipeHandle(host, events, peer, owner));
      } finally {
        if (this.endpoint.waiting > 0) events.note(this);
      }
    }
  }

  close(): void {
    const { endpoint } = this;
    endpoint.close();
    if (!this.address.startsWith("\0")) endpoint.namespace.unlinkOwn(this.address, endpoint);
    this.unref();
  }
}
