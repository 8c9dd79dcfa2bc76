/** `Deno.serve` over a host: Node's HTTP server (`node:http`, which Deno has too) over the host's connections, requests and responses as fetch has them. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Host } from "../host/host.ts";
import { duplexOf, nodeModule } from "./duplex-node.ts";
import { listen, type NetAddr, type TcpConn } from "./tcp.ts";
import { secured } from "./tls-node.ts";
import { listenUnix, type UnixAddr, type UnixConn } from "./unix.ts";

export interface ServeInfo {
  readonly remoteAddr: NetAddr | UnixAddr;
  /** Settles when the response was sent, or could not be. */
  readonly completed: Promise<void>;
}

export type ServeHandler = (request: Request, info: ServeInfo) => Response | Promise<Response>;

export interface ServeOptions {
  /** Default 8000; 0: a free one. */
  port?: number;
  /** Default "0.0.0.0". */
  hostname?: string;
  /** A Unix domain socket of the host instead of a port. */
  path?: string;
  /** HTTPS: a certificate and its key, in PEM. */
  cert?: string;
  key?: string;
  /** Ends the server at once. */
  signal?: AbortSignal;
  onListen?(addr: NetAddr | UnixAddr): void;
  /** The response to a request whose handler threw. Default: status 500. */
  onError?(error: unknown): Response | Promise<Response>;
  handler?: ServeHandler;
}

interface Accepted {
  readonly conn: TcpConn | UnixConn;
  readonly stream: Promise<Duplex>;
}

type Remote = { remoteAddr?: NetAddr | UnixAddr };

export class HttpServer implements AsyncDisposable {
  readonly addr: NetAddr | UnixAddr;
  /** Settles when the server has ended and the last response was sent. */
  readonly finished: Promise<void>;
  private readonly listener: { close(): void; ref(): void; unref(): void } & AsyncIterable<TcpConn | UnixConn>;
  private readonly secure: ((conn: TcpConn | UnixConn) => Promise<Duplex>) | undefined;
  private readonly options: ServeOptions;
  private readonly handler: ServeHandler;
  private readonly open = new Set<Duplex>();
  private server: Server | undefined;
  private isClosing = false;
  private settle = () => {};

  constructor(host: Host, options: ServeOptions, handler: ServeHandler) {
    this.options = options;
    this.handler = handler;
    const { port = 8000, hostname, path, cert, key, signal } = options;
    const isSecure = cert !== undefined || key !== undefined;
    const listener = path === undefined ? listen(host, { port, hostname }) : listenUnix(host, { transport: "unix", path });
    this.listener = listener;
    this.addr = listener.addr;
    this.secure = isSecure ? (conn) => secured(conn, { cert, key, alpnProtocols: ["http/1.1"] }) : undefined;
    const ended = new Promise<void>((resolve) => {
      this.settle = resolve;
    });
    this.finished = this.run().then(() => ended);
    this.finished.catch(() => {});
    signal?.addEventListener("abort", () => this.abort(), { once: true });
    if (signal?.aborted) this.abort();
    options.onListen?.(this.addr);
  }

  private async run(): Promise<void> {
    try {
      const { createServer } = await nodeModule(() => import("node:http"), "HTTP (node:http)");
      this.server = createServer((request, response) => void this.serve(request, response));
      // What is no HTTP is answered with status 400 by Node, and ends.
      for await (const conn of this.listener) void this.take({ conn, stream: this.secure ? this.secure(conn) : duplexOf(conn) });
    } catch (error) {
      this.shut();
      throw error;
    }
    this.shut();
    this.endIfIdle();
  }

  private async take({ conn, stream }: Accepted): Promise<void> {
    try {
      const made = await stream;
      made.on("error", () => {});
      (made as Remote).remoteAddr = conn.remoteAddr;
      this.open.add(made);
      made.once("close", () => {
        this.open.delete(made);
        this.endIfIdle();
      });
      this.server?.emit("connection", made);
    } catch {
      conn.close();
    }
  }

  private async serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const gone = new AbortController();
    const completed = new Promise<void>((resolve, reject) => {
      outgoing.once("finish", resolve);
      outgoing.once("close", () => {
        gone.abort();
        reject(new Error("the connection ended before the response"));
      });
    });
    completed.catch(() => {});
    const remoteAddr = (incoming.socket as Remote).remoteAddr as NetAddr | UnixAddr;
    try {
      const response = await this.answer(() => requestOf(incoming, this.secure !== undefined, gone.signal), { remoteAddr, completed });
      if (this.isClosing) outgoing.setHeader("connection", "close");
      await send(response, outgoing, incoming.method === "HEAD");
    } catch {
      outgoing.destroy();
    }
    if (this.isClosing) this.server?.closeIdleConnections();
  }

  private async answer(request: () => Request, info: ServeInfo): Promise<Response> {
    const { onError } = this.options;
    try {
      return await this.handler(request(), info);
    } catch (error) {
      return onError ? onError(error) : new Response("Internal Server Error", { status: 500 });
    }
  }

  /** No more connections; requests that are being answered are finished. */
  async shutdown(): Promise<void> {
    this.shut();
    this.server?.closeIdleConnections();
    this.endIfIdle();
    await this.finished;
  }

  private abort(): void {
    this.shut();
    for (const stream of this.open) stream.destroy();
    this.endIfIdle();
  }

  private shut(): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.listener.close();
  }

  private endIfIdle(): void {
    if (!this.isClosing || this.open.size > 0) return;
    // Its own timers end with it.
    this.server?.close();
    this.settle();
  }

  ref(): void {
    this.listener.ref();
  }

  unref(): void {
    this.listener.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}

function requestOf(incoming: IncomingMessage, isSecure: boolean, signal: AbortSignal): Request {
  const { method = "GET", url = "/", rawHeaders } = incoming;
  const headers = new Headers();
  for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i], rawHeaders[i + 1]);
  const base = `${isSecure ? "https" : "http"}://${headers.get("host") ?? "localhost"}`;
  const address = /^https?:\/\//i.test(url) ? url : `${base}${url.startsWith("/") ? url : `/${url}`}`;
  const hasBody = method !== "GET" && method !== "HEAD";
  const init = { method, headers, signal, ...(hasBody && { body: bodyOf(incoming), duplex: "half" }) };
  return new Request(address, init as RequestInit);
}

/** What a request brings, no faster than it is read. */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  const chunks = incoming[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(new Uint8Array(value));
      },
      cancel: () => void incoming.resume(),
    },
    { highWaterMark: 0 },
  );
}

async function send(response: Response, outgoing: ServerResponse, isHead: boolean): Promise<void> {
  const headers: string[] = [];
  for (const [name, value] of response.headers) headers.push(name, value);
  if (response.statusText) outgoing.writeHead(response.status, response.statusText, headers);
  else outgoing.writeHead(response.status, headers);
  const reader = isHead ? undefined : response.body?.getReader();
  if (isHead) await response.body?.cancel();
  /** An event, or the end: nothing is left behind by a wait. */
  const event = (name: "drain" | "finish") =>
    new Promise<void>((resolve) => {
      const over = () => {
        outgoing.off(name, over);
        outgoing.off("close", over);
        resolve();
      };
      outgoing.on(name, over);
      outgoing.on("close", over);
    });
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    if (outgoing.destroyed) {
      await reader?.cancel();
      return;
    }
    if (!outgoing.write(part.value)) await event("drain");
  }
  if (outgoing.destroyed) return;
  const finished = event("finish");
  outgoing.end();
  await finished;
}

/** `serve(handler)`, `serve(options, handler)` or `serve({ handler, … })`. */
export function serve(host: Host, first: ServeOptions | ServeHandler, second?: ServeHandler): HttpServer {
  const options = typeof first === "function" ? {} : first;
  const handler = typeof first === "function" ? first : (second ?? options.handler);
  if (!handler) throw new TypeError("serve needs a handler: a function from a Request to a Response");
  return new HttpServer(host, options, handler);
}
