/** `http2` of a host: Node's own sessions, over the host's sockets. */
import * as http2 from "node:http2";
import { isIP, type Server as NodeServer } from "node:net";
import { adopt } from "./adopt.ts";
import type { Context } from "./context.ts";
import type { HostNet } from "./net.ts";
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
  connect(authority: string | URL, listener?: SessionListener): http2.ClientHttp2Session;
  connect(authority: string | URL, options?: SessionOptions, listener?: SessionListener): http2.ClientHttp2Session;
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
    const createConnection = options.createConnection ?? ((url: URL) => dial(net, tls, url, options));
    return http2.connect(authority, { ...options, createConnection }, listener as never);
  };
  const { constants, getDefaultSettings, getPackedSettings, getUnpackedSettings, sensitiveHeaders } = http2;
  const { Http2ServerRequest, Http2ServerResponse } = http2;
  return {
    createServer: createServer as typeof http2.createServer,
    createSecureServer: createSecureServer as typeof http2.createSecureServer,
    connect: connect as HostHttp2["connect"],
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
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1") || "localhost";
  if (url.protocol !== "https:") return net.connect({ port: url.port || 80, host });
  const servername = isIP(host) ? undefined : host;
  return tls.connect({ ALPNProtocols: ["h2"], servername, ...options, port: Number(url.port || 443), host });
}

/** Where the peer of a session without TLS is: Node's wrapper of the stream is told, as it cannot ask. */
function nameSessions(server: NodeServer): NodeServer {
  let raw: unknown;
  server.prependListener("connection", (socket) => {
    raw = socket;
  });
  server.prependListener(
    "session" as never,
    ((session: http2.ServerHttp2Session) => {
      if (!(raw instanceof Socket)) return;
      const { remoteAddress: address, remotePort: port, remoteFamily: family } = raw;
      (session.socket as unknown as { _peername: object })._peername = { address, port, family };
    }) as never,
  );
  return server;
}
