/** `http2` of a host: Node's own sessions, over the host's sockets. */
import * as http2 from "node:http2";
import { isIP, type Server as NodeServer } from "node:net";
import process from "node:process";
import type { Duplex } from "node:stream";
import { promisify } from "node:util";
import { adopt } from "./adopt.ts";
import type { Context } from "./context.ts";
import { nodeError } from "./errors.ts";
import type { HostNet } from "./net.ts";
import { passedOn } from "./passed-on.ts";
import { Socket } from "./socket.ts";
import type { HostTls } from "./tls.ts";
import { nameSockets } from "./tls-socket.ts";

type SessionListener = (session: http2.ClientHttp2Session, socket: unknown) => void;
type SessionOptions = http2.ClientSessionOptions | http2.SecureClientSessionOptions;

export interface HostHttp2
  extends Pick<
    typeof http2,
    | "constants"
    | "getDefaultSettings"
    | "getPackedSettings"
    | "getUnpackedSettings"
    | "sensitiveHeaders"
    | "Http2ServerRequest"
    | "Http2ServerResponse"
    | "createServer"
    | "createSecureServer"
  > {
  readonly connect: HostConnect;
  /** Node 20.12 and newer. */
  readonly performServerHandshake?: (socket: Duplex, options?: http2.ServerOptions) => http2.ServerHttp2Session;
}

interface HostConnect {
  (authority: string | URL, listener?: SessionListener): http2.ClientHttp2Session;
  (authority: string | URL, options?: SessionOptions, listener?: SessionListener): http2.ClientHttp2Session;
  /** `util.promisify(connect)`: the session once it is connected. */
  [promisify.custom](authority: string | URL, options?: SessionOptions): Promise<http2.ClientHttp2Session>;
}

export function http2Of(context: Context, net: HostNet, tls: HostTls): HostHttp2 {
  const createServer = (...args: unknown[]) => {
    const server = (http2.createServer as (...all: unknown[]) => http2.Http2Server)(...args);
    return nameSessions(adopt(context, server as unknown as NodeServer)) as unknown as http2.Http2Server;
  };
  const createSecureServer = (...args: unknown[]) => {
    const server = (http2.createSecureServer as (...all: unknown[]) => http2.Http2SecureServer)(...args);
    return nameSockets(adopt(context, server as never)) as unknown as http2.Http2SecureServer;
  };
  const connect = (authority: string | URL, ...args: unknown[]) => {
    const options = (args.find((each) => typeof each === "object" && each !== null) ?? {}) as http2.SecureClientSessionOptions;
    const listener = args.find((each) => typeof each === "function") as (() => void) | undefined;
    const create = options.createConnection ?? ((url: URL) => dial(net, tls, url, options));
    let raw: unknown;
    const createConnection = (...given: [URL, http2.SessionOptions]) => {
      raw = create(...given);
      return raw as Duplex;
    };
    const session = http2.connect(authority, { ...options, createConnection }, listener as never);
    nameSession(session, raw);
    if (raw instanceof Socket && raw.connecting) waitFor(session, raw);
    answerFirst(session);
    return session;
  };
  const connected = (authority: string | URL, options?: SessionOptions) =>
    new Promise<http2.ClientHttp2Session>((resolve, reject) => {
      const session = connect(authority, options, () => {
        session.removeListener("error", reject);
        resolve(session);
      });
      session.once("error", reject);
    });
  Object.defineProperty(connect, promisify.custom, { value: connected });
  const { constants, getDefaultSettings, getPackedSettings, getUnpackedSettings, sensitiveHeaders } = http2;
  const { Http2ServerRequest, Http2ServerResponse } = http2;
  return {
    createServer: createServer as typeof http2.createServer,
    createSecureServer: createSecureServer as typeof http2.createSecureServer,
    connect: connect as unknown as HostConnect,
    ...passedOn(http2, "performServerHandshake"),
    constants,
    getDefaultSettings,
    getPackedSettings,
    getUnpackedSettings,
    sensitiveHeaders,
    Http2ServerRequest,
    Http2ServerResponse,
  };
}

function dial(net: HostNet, tls: HostTls, url: URL, options: http2.SecureClientSessionOptions) {
  const host = (url.hostname || url.host || "localhost").replace(/^\[(.*)\]$/, "$1");
  if (url.protocol === "http:") return net.connect({ port: url.port || 80, host });
  if (url.protocol !== "https:") throw nodeError("ERR_HTTP2_UNSUPPORTED_PROTOCOL", `protocol "${url.protocol}" is unsupported.`);
  const servername = isIP(host) ? undefined : host;
  return tls.connect({ ALPNProtocols: ["h2"], servername, ...options, port: Number(url.port || 443), host });
}

/** Node's wrapper of a stream counts as connected from the start: the session is not told so before the connection is. */
function waitFor(session: http2.ClientHttp2Session, raw: Socket): void {
  const { emit } = session;
  Object.defineProperty(session, "connecting", { get: () => raw.connecting, configurable: true });
  session.emit = (event: string | symbol, ...args: unknown[]) => {
    const tell = () => (emit as (event: string | symbol, ...args: unknown[]) => boolean).call(session, event, ...args);
    if (event !== "connect" || !raw.pending) return tell();
    // One that has failed meanwhile never is.
    if (raw.connecting) raw.once("connect", tell);
    return raw.connecting;
  };
}

/**
 * A response is told before its data. Node tells it in the next tick, which over sockets of its own comes between two frames, and over a stream
 * behind all that came with them.
 */
function answerFirst(session: http2.ClientHttp2Session): void {
  const { request } = session;
  session.request = (...args) => {
    const stream = request.apply(session, args);
    const { push } = stream;
    stream.push = (chunk, encoding) => {
      const pushed = () => {
        if (stream.destroyed) return;
        push.call(stream, chunk, encoding);
        // Whoever closed the stream has asked for its end already.
        if (chunk === null) stream.read(0);
      };
      // Behind that tick, and before what ends in it: one who awaits the response is told of it first.
      process.nextTick(() => queueMicrotask(pushed));
      return true;
    };
    stream.prependOnceListener("response", () => {
      stream.push = push;
    });
    return stream;
  };
}

/** Where the ends of a session without TLS are: Node's wrapper of the stream is told, as it cannot ask. */
function nameSession(session: http2.Http2Session, raw: unknown): void {
  const { socket } = session;
  const { _handle: handle } = socket as unknown as { _handle: Record<string, (out: object) => number> };
  if (!(raw instanceof Socket)) return;
  // Asked before there is a connection, it is kept all the same: what it says is looked up when it is read.
  const tell = (which: "local" | "remote") => (out: object) => {
    const value = (name: "Address" | "Port" | "Family") => ({ get: () => raw[`${which}${name}`], enumerable: true });
    Object.defineProperties(out, { address: value("Address"), port: value("Port"), family: value("Family") });
    return 0;
  };
  handle.getsockname = tell("local");
  handle.getpeername = tell("remote");
  holdBy(session, raw);
}

/** Whether the process waits for a session is for the stream below it to say. */
function holdBy(session: http2.Http2Session, raw: { ref(): unknown; unref(): unknown }): void {
  session.ref = () => void raw.ref();
  session.unref = () => void raw.unref();
}

function nameSessions(server: NodeServer): NodeServer {
  let raw: unknown;
  server.prependListener("connection", (socket) => {
    raw = socket;
  });
  server.prependListener("session" as never, ((session: http2.ServerHttp2Session) => nameSession(session, raw)) as never);
  return server;
}
