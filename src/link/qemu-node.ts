/**
 * The other end of QEMU's `-netdev stream` (and of its older `-netdev socket`), over Unix or TCP sockets of Node: a
 * virtual machine is plugged into a port, without root, TAP or FFI. Whoever goes away may come back.
 *
 *   qemu-system-x86_64 -netdev stream,id=n,addr.type=unix,addr.path=/tmp/loom.sock -device virtio-net-pci,netdev=n …
 */
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";
import { invalid, LoomError, type LoomErrorCode } from "../base/errors.ts";
import { amount, anyPort, callback, checkOptions, type Shape, text, whole } from "../base/options.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { type ByteChannel, StreamLink, type StreamLinkOptions } from "./stream.ts";

/** A Unix socket's path, or a TCP port. */
export type SocketAddress = { path: string } | { port: number; hostname?: string };

export interface QemuListenOptions extends StreamLinkOptions {
  /** The socket listens; a TCP port that was left to the system (0) is known now. */
  listening?: (address: SocketAddress) => void;
}

export interface QemuConnectOptions extends StreamLinkOptions {
  /** First and longest pause (ms) before it is tried again. Defaults 100 and 5000. */
  retry?: number;
  longestRetry?: number;
}

const STREAM: Shape<StreamLinkOptions> = { highWater: whole(1), closed: callback };
const PATH = { path: text };
const PORT = { port: anyPort, hostname: text };

function checkAddress(what: string, address: SocketAddress): void {
  const hasPath = typeof address === "object" && address !== null && "path" in address;
  if (hasPath) checkOptions(what, PATH, address, ["path"]);
  else if (typeof address === "object" && address !== null && "port" in address) checkOptions(what, PORT, address, ["port"]);
  else throw invalid(`${what}: no address; expected { path: "/tmp/loom.sock" } or { port: 5555 }`);
}

/** Waits for a machine to connect: QEMU's `server=off`, its default. A second one at the same time is turned away. */
export function qemuListen(address: SocketAddress, options: QemuListenOptions = {}): (engine: Engine, port: Port) => Promise<StreamLink> {
  checkAddress("qemuListen", address);
  checkOptions("qemuListen", { ...STREAM, listening: callback }, options);
  return async (engine, port) => {
    const link = new ListeningLink(engine, port, "qemu", options);
    link.server = createServer((socket) => {
      if (link.carrier) socket.destroy();
      else plug(link, socket);
    });
    await listening(link.server, address);
    const bound = link.server.address();
    options.listening?.(typeof bound === "object" && bound ? { port: bound.port, hostname: bound.address } : address);
    return link;
  };
}

/** Connects to a machine that waits: QEMU's `server=on`. Tries again until it is there, and when it was lost. */
export function qemuConnect(address: SocketAddress, options: QemuConnectOptions = {}): (engine: Engine, port: Port) => StreamLink {
  checkAddress("qemuConnect", address);
  checkOptions("qemuConnect", { ...STREAM, retry: amount("milliseconds"), longestRetry: amount("milliseconds") }, options);
  return (engine, port) => new ConnectingLink(engine, port, address, options);
}

class ListeningLink extends StreamLink {
  server: Server | undefined;

  override close(): void {
    this.server?.close();
    super.close();
  }
}

class ConnectingLink extends StreamLink {
  private readonly address: NetConnectOpts;
  private readonly longest: number;
  private readonly first: number;
  private readonly now: () => number;
  private pause: number;
  private retryAt = Number.NEGATIVE_INFINITY;
  private socket: Socket | undefined;

  constructor(engine: Engine, port: Port, address: SocketAddress, options: QemuConnectOptions) {
    super(engine, port, "qemu", options);
    this.address = "path" in address ? address : { port: address.port, host: address.hostname ?? "127.0.0.1" };
    this.first = this.pause = options.retry ?? 100;
    this.longest = options.longestRetry ?? 5000;
    this.now = () => engine.clock.now();
  }

  override poll(budget: number): number {
    if (!this.socket && this.now() >= this.retryAt) this.connect();
    return super.poll(budget);
  }

  private connect(): void {
    const socket = connect(this.address);
    this.socket = socket;
    socket.on("error", () => {});
    socket.once("connect", () => {
      this.pause = this.first;
      plug(this, socket);
    });
    socket.once("close", () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      this.retryAt = this.now() + this.pause;
      this.pause = Math.min(2 * this.pause, this.longest);
    });
  }

  override close(): void {
    this.retryAt = Number.POSITIVE_INFINITY;
    super.close();
    this.socket?.destroy();
  }
}

function plug(link: StreamLink, socket: Socket): void {
  const channel: ByteChannel = {
    get pending() {
      return socket.writableLength;
    },
    write: (chunk) => void socket.write(chunk),
    resume: () => void socket.resume(),
    close: () => void socket.destroy(),
  };
  let failure: Error | undefined;
  socket.setNoDelay(true);
  link.attach(channel);
  socket.on("data", (chunk) => {
    if (!link.push(channel, chunk)) socket.pause();
  });
  socket.on("error", (error) => {
    failure = error;
  });
  socket.once("close", () => link.detach(channel, failure));
}

const REFUSALS: Readonly<Record<string, { code: LoomErrorCode; remedy: string }>> = {
  EADDRINUSE: { code: "EADDRINUSE", remedy: "somebody listens there, or an old socket file must be removed" },
  // What libuv makes of a directory that is not there, or that may not be written, is EACCES for both.
  EACCES: { code: "EACCES", remedy: "its directory does not exist or may not be written, or the port is below 1024 and needs root" },
  ENOENT: { code: "ENOENT", remedy: "its directory does not exist" },
  EADDRNOTAVAIL: { code: "EADDRNOTAVAIL", remedy: "this machine does not have that address" },
};

function listening(server: Server, address: SocketAddress): Promise<void> {
  const where = "path" in address ? address.path : `port ${address.port}`;
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const { code, remedy } = REFUSALS[error.code ?? ""] ?? { code: "EINVAL", remedy: error.message };
      reject(new LoomError(code, `cannot listen on ${where}: ${remedy}`, { cause: error }));
    });
    server.listen("path" in address ? address : { port: address.port, host: address.hostname ?? "127.0.0.1" }, resolve);
  });
}
