/**
 * A link over a WebSocket (RFC 6455): one frame is one binary message, as websockproxy, v86 and jslinux speak it; or, between
 * two links of ours, what a port sends in one poll is one message. Takes a browser's WebSocket, Node's own, or a socket of
 * npm's `ws` on either side.
 */
import { amount, checkArgument, checkOptions, type Expectation, having, oneOf, type Shape } from "../base/options.ts";
import type { Device, Engine } from "../engine/engine.ts";
import { MOST_FRAME, type Port } from "../engine/port.ts";
import { Inbox, LEAST_FRAME, Outbox } from "./frames.ts";

/** What a WebSocket has everywhere. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(type: "open" | "close" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
}

export interface WebSocketLinkOptions {
  /**
   * "frames" (default), or "batches": what a port sends in one poll is one message, several times as fast where the other
   * side is a link of ours. Both are understood always.
   */
  format?: "frames" | "batches";
  /** Bytes that may wait in the socket; then packets stay in the port's ring. Default 1 MiB. */
  highWater?: number;
  /** With a function that makes sockets: first and longest pause (ms) before it is called again. Defaults 250 and 10,000. */
  retry?: number;
  longestRetry?: number;
}

const SHAPE: Shape<WebSocketLinkOptions> = {
  format: oneOf("frames", "batches"),
  highWater: amount("bytes"),
  retry: amount("milliseconds"),
  longestRetry: amount("milliseconds"),
};
const isSocket = having("a WebSocket, or a function that makes one", "send", "close", "addEventListener");
const SOCKET: Expectation = (value) => (typeof value === "function" ? undefined : isSocket(value));
const OPEN = 1;
/**
 * A batch begins so, and goes on with frames behind their lengths (32 bits, big-endian). No Ethernet frame for anybody does:
 * its source would be a group address (IEEE 802.3 §3.2.3), which none may be.
 */
const MAGIC = Uint8Array.of(0x6c, 0x6f, 0x6f, 0x6d, 0x2f, 0x31, 0xff, 0xff);
/** Bytes of batches that may wait for room in the port: as much as a sender may have under way, and more. */
const INBOX_BYTES = 4 << 20;

/** A link over a socket, or over sockets that a function makes: then a lost connection is made again. */
export function webSocketLink(
  socket: WebSocketLike | (() => WebSocketLike),
  options: WebSocketLinkOptions = {},
): (engine: Engine, port: Port) => WebSocketLink {
  checkArgument("webSocketLink", "socket", socket, SOCKET);
  checkOptions("webSocketLink", SHAPE, options);
  return (engine, port) => {
    const link = new WebSocketLink(engine, port, typeof socket === "function" ? socket : undefined, options);
    // The first time a wrong address is the caller's to hear.
    link.attach(typeof socket === "function" ? socket() : socket);
    return link;
  };
}

export class WebSocketLink implements Device {
  readonly name = "websocket";
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly outbox: Outbox;
  private readonly inbox: Inbox;
  private readonly isBatched: boolean;
  private readonly connect: (() => WebSocketLike) | undefined;
  private readonly highWater: number;
  private readonly longestRetry: number;
  private readonly firstRetry: number;
  private socket: WebSocketLike | undefined;
  private pause: number;
  private retryAt = Number.NEGATIVE_INFINITY;

  constructor(engine: Engine, port: Port, connect: (() => WebSocketLike) | undefined, options: WebSocketLinkOptions) {
    this.engine = engine;
    this.port = port;
    this.connect = connect;
    this.highWater = options.highWater ?? 1 << 20;
    this.firstRetry = this.pause = options.retry ?? 250;
    this.longestRetry = options.longestRetry ?? 10_000;
    this.outbox = new Outbox(engine, port);
    this.inbox = new Inbox(port, INBOX_BYTES, true);
    this.isBatched = options.format === "batches";
    port.configure({ offload: { chains: true, segmentation: false, partialChecksum: false } });
  }

  get carrier(): boolean {
    return this.socket?.readyState === OPEN;
  }

  /** Uses a socket from now on, open or about to be; the one before is closed. */
  attach(socket: WebSocketLike): void {
    const before = this.socket;
    this.socket = socket;
    before?.close();
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.socket === socket && this.receive(data));
    socket.addEventListener("open", () => {
      this.pause = this.firstRetry;
      this.engine.wake();
    });
    const gone = () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      this.wait();
    };
    socket.addEventListener("close", gone);
    // `close` follows; an error without a listener would end a program that uses `ws`.
    socket.addEventListener("error", () => {});
  }

  private wait(): void {
    this.retryAt = this.engine.clock.now() + this.pause;
    this.pause = Math.min(2 * this.pause, this.longestRetry);
  }

  private reconnect(connect: () => WebSocketLike): void {
    try {
      this.attach(connect());
    } catch {
      this.wait();
    }
  }

  /** A WebSocket cannot be told to wait: what the port has no place for is dropped and counted. */
  private receive(data: unknown): void {
    const frame = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
    if (frame instanceof Uint8Array && isBatch(frame)) this.receiveBatch(frame);
    else if (frame instanceof Uint8Array && frame.length >= LEAST_FRAME && frame.length <= MOST_FRAME) this.port.receive(frame);
    else this.port.countLoss("rxErrors");
    this.engine.wake();
  }

  private receiveBatch(batch: Uint8Array): void {
    if (this.inbox.isFull) this.port.countLoss("rxMissed");
    else this.inbox.push(batch.subarray(MAGIC.length));
  }

  private drain(budget: number): number {
    try {
      return this.inbox.drain(budget);
    } catch {
      // What is left of a batch that is no row of frames is nobody's.
      this.port.countLoss("rxErrors");
      this.inbox.skip();
      return 1;
    }
  }

  poll(budget: number): number {
    if (!this.socket && this.connect && this.engine.clock.now() >= this.retryAt) this.reconnect(this.connect);
    return this.drain(budget) + this.transmit(budget);
  }

  private transmit(budget: number): number {
    let moved = 0;
    while (moved < budget) {
      const { socket, outbox } = this;
      if (socket && this.carrier && socket.bufferedAmount >= this.highWater) break;
      const n = outbox.take(budget - moved);
      if (n === 0) break;
      moved += n;
      if (!socket || !this.carrier) outbox.discard();
      else if (this.isBatched) socket.send(outbox.pack(MAGIC));
      else outbox.each((frame) => socket.send(frame));
    }
    return moved;
  }

  close(): void {
    const { socket } = this;
    this.socket = undefined;
    this.inbox.clear();
    // Nothing is tried again.
    this.retryAt = Number.POSITIVE_INFINITY;
    socket?.close();
  }
}

function isBatch(bytes: Uint8Array): boolean {
  for (let i = 0; i < MAGIC.length; i++) if (bytes[i] !== MAGIC[i]) return false;
  return true;
}
