/** `Deno.serve` over a host: Node's HTTP server (`node:http`, which Deno has too) over the host's connections, requests and responses as fetch has them. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Host } from "../host/host.ts";
import { changeOf, duplexOf, nodeModule } from "./duplex-node.ts";
import { errors } from "./errors.ts";
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
  /** Connections, and how many requests of each are being answered. */
  private readonly open = new Map<Duplex, number>();
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
      // From then on it knows its connections, and watches over how long they take.
      this.server.emit("listening");
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
      addTimeout(made);
      (made as Remote).remoteAddr = conn.remoteAddr;
      this.open.set(made, 0);
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
    const body = new RequestBody(incoming);
    this.count(incoming.socket, 1);
    const response = await this.answer(() => requestOf(incoming, body, this.secure !== undefined, gone.signal), {
      remoteAddr,
      completed,
    }).catch(() => undefined);
    if (response) {
      try {
        if (this.isClosing) outgoing.setHeader("connection", "close");
        await send(response, outgoing, incoming.method === "HEAD");
      } catch (error) {
        outgoing.destroy();
        await this.bodyFailed(error);
      }
    } else outgoing.destroy();
    // The next request stands behind what nobody has read.
    await body.end();
    this.count(incoming.socket, -1);
    if (this.isClosing) this.endIdle();
  }

  private count(stream: Duplex, by: 1 | -1): void {
    const requests = this.open.get(stream);
    if (requests !== undefined) this.open.set(stream, requests + by);
  }

  /** Connections without a request that is being answered. */
  private endIdle(): void {
    for (const [stream, requests] of this.open) if (requests === 0) stream.end(() => stream.destroy());
  }

  private async answer(request: () => Request, info: ServeInfo): Promise<Response> {
    const { onError } = this.options;
    try {
      const response = await this.handler(request(), info);
      checkResponse(response);
      return response;
    } catch (error) {
      return onError ? onError(error) : new Response("Internal Server Error", { status: 500 });
    }
  }

  /** What has been sent of a response cannot be taken back: whoever looks after errors is told, and asked for no other. */
  private async bodyFailed(error: unknown): Promise<void> {
    try {
      await this.options.onError?.(error);
    } catch {}
  }

  /** No more connections; requests that are being answered are finished. */
  async shutdown(): Promise<void> {
    this.shut();
    this.endIdle();
    this.endIfIdle();
    await this.finished;
  }

  private abort(): void {
    this.shut();
    for (const stream of this.open.keys()) stream.destroy();
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

/** Streams of Node's that are no sockets have no `setTimeout`, by which its HTTP server ends idle connections. */
function addTimeout(stream: Duplex): void {
  const timed = stream as Duplex & { setTimeout?(ms: number, callback?: () => void): Duplex };
  if (timed.setTimeout) return;
  let timer: ReturnType<typeof setTimeout> | undefined;
  timed.setTimeout = (ms, callback) => {
    clearTimeout(timer);
    if (callback) stream.once("timeout", callback);
    if (ms > 0) timer = setTimeout(() => stream.emit("timeout"), ms);
    (timer as { unref?(): void } | undefined)?.unref?.();
    return stream;
  };
  stream.once("close", () => clearTimeout(timer));
}

/** What a handler gives that cannot be sent is its mistake. */
function checkResponse(response: unknown): asserts response is Response {
  if (!(response instanceof Response)) throw new TypeError("the handler of serve gave no Response");
  if (response.type === "error") throw new TypeError("the handler of serve gave a Response.error(), which cannot be sent");
  if (response.bodyUsed || response.body?.locked) throw new TypeError("the handler of serve gave a Response whose body was read already");
}

function requestOf(incoming: IncomingMessage, body: RequestBody, isSecure: boolean, signal: AbortSignal): Request {
  const { method = "GET", url = "/", rawHeaders } = incoming;
  const headers = new Headers();
  for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i], rawHeaders[i + 1]);
  const base = `${isSecure ? "https" : "http"}://${headers.get("host") ?? "localhost"}`;
  const address = /^https?:\/\//i.test(url) ? url : `${base}${url.startsWith("/") ? url : `/${url}`}`;
  const hasBody = method !== "GET" && method !== "HEAD";
  const init = { method, headers, signal, ...(hasBody && { body: body.stream, duplex: "half" }) };
  return new Request(address, init as RequestInit);
}

/** What a request brings, no faster than it is read; what is left of it can be thrown away. */
class RequestBody {
  private readonly incoming: IncomingMessage;
  private isDiscarded = false;

  constructor(incoming: IncomingMessage) {
    this.incoming = incoming;
  }

  get stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      { pull: (controller) => this.pull(controller), cancel: () => this.discard() },
      { highWaterMark: 0 },
    );
  }

  private async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const { incoming } = this;
    for (;;) {
      const chunk = this.isDiscarded ? null : (incoming.read() as Uint8Array | null);
      if (chunk) {
        controller.enqueue(new Uint8Array(chunk));
        return;
      }
      if (incoming.errored) throw incoming.errored;
      if (incoming.readableEnded || this.isDiscarded) {
        controller.close();
        return;
      }
      if (incoming.destroyed) throw new errors.ConnectionReset("the connection ended before the request");
      await changeOf(incoming);
    }
  }

  /** When all of it has come, read or not. */
  async end(): Promise<void> {
    const { incoming } = this;
    this.discard();
    while (!incoming.readableEnded && !incoming.destroyed) await changeOf(incoming, ["end", "close", "error"]);
  }

  /** The rest goes by unread. */
  private discard(): void {
    const { incoming } = this;
    if (this.isDiscarded || incoming.readableEnded || incoming.destroyed) return;
    this.isDiscarded = true;
    if (incoming.listenerCount("readable") === 0) incoming.resume();
    else {
      incoming.removeAllListeners("readable");
      // Node forgets that somebody listened in a later tick.
      setTimeout(() => incoming.resume(), 0);
    }
  }
}

/** Parts that a body may have to be told with its length. */
const MOST_AT_ONCE = 16;

type Part = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>>;

/** The end of the turn: what is ready without waiting for anything is ready by then. */
const turn = () => new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)));

/** What of a body is ready without waiting; and its next part, unless that was all. */
async function begin(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<{ parts: Uint8Array[]; rest: Promise<Part> | undefined }> {
  const parts: Uint8Array[] = [];
  const end = turn();
  for (;;) {
    const rest = reader.read();
    // Whoever waits for it hears of its failure.
    rest.catch(() => {});
    const part = await Promise.race([rest, end]).catch(() => undefined);
    if (part?.done) return { parts, rest: undefined };
    if (!part || parts.length === MOST_AT_ONCE) return { parts, rest };
    parts.push(part.value);
  }
}

/** A length may be told of it: not of what has none by its status (RFC 9110 §8.6). */
function hasLength({ status, headers }: Response): boolean {
  return status >= 200 && status !== 204 && status !== 304 && !headers.has("content-length") && !headers.has("transfer-encoding");
}

/** A body that is all there at once, a text or bytes, is told with its length; one that comes bit by bit goes in chunks. */
async function send(response: Response, outgoing: ServerResponse, isHead: boolean): Promise<void> {
  const headers: string[] = [];
  for (const [name, value] of response.headers) headers.push(name, value);
  const reader = response.body?.getReader();
  const { parts, rest } = reader ? await begin(reader) : { parts: [], rest: undefined };
  if (!rest && hasLength(response)) headers.push("content-length", String(parts.reduce((sum, { length }) => sum + length, 0)));
  if (response.statusText) outgoing.writeHead(response.status, response.statusText, headers);
  else outgoing.writeHead(response.status, headers);
  if (rest) outgoing.flushHeaders();
  // Nobody is there any more: whoever makes the body hears of it at once, not with its next part.
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) reader?.cancel().catch(() => {});
  });
  if (isHead && rest) await reader?.cancel();
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
  const write = async (bytes: Uint8Array) => {
    if (!isHead && !outgoing.destroyed && !outgoing.write(bytes)) await event("drain");
  };
  for (const part of parts) await write(part);
  // So that it has left before what comes next may turn out to be a failure.
  if (parts.length > 0 && rest) await turn();
  for (let part = isHead ? undefined : await rest; part && !part.done; part = await reader?.read()) {
    if (outgoing.destroyed) return;
    await write(part.value);
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
