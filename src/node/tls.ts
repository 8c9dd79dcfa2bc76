/** `tls` of a host: Node's own, over the host's sockets. */
import type { Socket as NodeSocket } from "node:net";
import * as tls from "node:tls";
import { adopt } from "./adopt.ts";
import type { Context } from "./context.ts";
import type { HostNet } from "./net.ts";
import { Socket } from "./socket.ts";

type SecureListener = (socket: tls.TLSSocket) => void;

export interface HostTls
  extends Pick<
    typeof tls,
    "TLSSocket" | "createSecureContext" | "checkServerIdentity" | "getCiphers" | "rootCertificates" | "DEFAULT_ECDH_CURVE"
  > {
  readonly Server: new (options?: tls.TlsOptions | SecureListener, listener?: SecureListener) => tls.Server;
  createServer(options?: tls.TlsOptions | SecureListener, listener?: SecureListener): tls.Server;
  connect: typeof tls.connect;
}

export function tlsOf(context: Context, net: HostNet): HostTls {
  class Server extends tls.Server {
    constructor(options?: tls.TlsOptions | SecureListener, listener?: SecureListener) {
      super(options as tls.TlsOptions, listener);
      nameSockets(adopt(context, this));
    }
  }
  const connect = (...args: unknown[]): tls.TLSSocket => {
    const callback = args.find((each) => typeof each === "function") as (() => void) | undefined;
    const options = args.find((each) => typeof each === "object" && each !== null) as tls.ConnectionOptions | undefined;
    const host = args.slice(1).find((each) => typeof each === "string");
    const wanted: tls.ConnectionOptions = { ...(options !== args[0] && { port: Number(args[0]), host: host as string }), ...options };
    const raw = wanted.socket ?? (net.connect({ ...wanted, port: wanted.port ?? "" } as never) as unknown as NodeSocket);
    return named(tls.connect({ ...wanted, socket: raw }, callback), raw);
  };
  const { TLSSocket, createSecureContext, checkServerIdentity, getCiphers, rootCertificates, DEFAULT_ECDH_CURVE } = tls;
  return {
    Server,
    createServer: (options, listener) => new Server(options, listener),
    connect: connect as typeof tls.connect,
    TLSSocket,
    createSecureContext,
    checkServerIdentity,
    getCiphers,
    rootCertificates,
    DEFAULT_ECDH_CURVE,
  };
}

const NAMES = ["remoteAddress", "remotePort", "remoteFamily", "localAddress", "localPort", "localFamily"] as const;

/**
 * A TLS socket over a stream that is not Node's does not know where it is: it asks the one below. And whether to end when
 * the peer has ended is for TLS to say, which may have more to send: the one below stays open for it.
 */
export function named(socket: tls.TLSSocket, raw: unknown): tls.TLSSocket {
  if (!(raw instanceof Socket)) return socket;
  raw.allowHalfOpen = true;
  for (const name of NAMES) Object.defineProperty(socket, name, { get: () => raw[name], configurable: true, enumerable: true });
  return socket;
}

/**
 * The same for the sockets of a server. Which stream is below, only Node's own wrapper knows; where it no longer says so,
 * the addresses are undefined, as with any stream that is not Node's.
 */
export function nameSockets<S extends tls.Server>(server: S): S {
  const name = (socket: tls.TLSSocket) => {
    const { _handle } = socket as unknown as { _handle?: { _parentWrap?: { stream?: unknown } } };
    named(socket, _handle?._parentWrap?.stream);
  };
  // Behind Node's own listener, which has asked the socket by then.
  server.on("connection", (raw) => {
    if ((raw as unknown) instanceof Socket) raw.allowHalfOpen = true;
  });
  server.prependListener("secureConnection", name);
  server.prependListener("tlsClientError", (_error, socket) => name(socket));
  return server;
}
