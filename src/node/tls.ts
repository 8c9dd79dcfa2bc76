/** `tls` of a host: Node's own, over the host's sockets. */
import type { Socket as NodeSocket } from "node:net";
import * as tls from "node:tls";
import { adopt } from "./adopt.ts";
import type { Context } from "./context.ts";
import type { HostNet } from "./net.ts";
import { nameSockets, overDialed, overGiven } from "./tls-socket.ts";

type SecureListener = (socket: tls.TLSSocket) => void;

export interface HostTls
  extends Pick<
    typeof tls,
    | "TLSSocket"
    | "createSecureContext"
    | "checkServerIdentity"
    | "getCiphers"
    | "rootCertificates"
    | "CLIENT_RENEG_LIMIT"
    | "CLIENT_RENEG_WINDOW"
    | "DEFAULT_CIPHERS"
    | "DEFAULT_ECDH_CURVE"
    | "DEFAULT_MAX_VERSION"
    | "DEFAULT_MIN_VERSION"
  > {
  readonly SecureContext: new (...args: never) => tls.SecureContext;
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
    if (wanted.socket) return overGiven(tls.connect(wanted, callback), wanted.socket);
    const dial = (to: object) => net.connect({ ...to, port: wanted.port ?? "" } as never);
    return overDialed(wanted, dial, (ready) => tls.connect(ready, callback));
  };
  class TLSSocket extends tls.TLSSocket {
    constructor(socket: NodeSocket, options?: tls.TLSSocketOptions) {
      super(socket, options);
      overGiven(this, socket);
    }
    // Those that Node's own `connect` and servers make are such sockets, too.
    static override [Symbol.hasInstance](value: unknown): boolean {
      return value instanceof tls.TLSSocket;
    }
  }
  const { createSecureContext, checkServerIdentity, getCiphers, rootCertificates, CLIENT_RENEG_LIMIT, CLIENT_RENEG_WINDOW } = tls;
  const { DEFAULT_CIPHERS, DEFAULT_ECDH_CURVE, DEFAULT_MAX_VERSION, DEFAULT_MIN_VERSION } = tls;
  return {
    Server,
    createServer: (options, listener) => new Server(options, listener),
    connect: connect as typeof tls.connect,
    TLSSocket,
    // Which Node's types know as an interface alone.
    SecureContext: (tls as unknown as HostTls).SecureContext,
    createSecureContext,
    checkServerIdentity,
    getCiphers,
    rootCertificates,
    CLIENT_RENEG_LIMIT,
    CLIENT_RENEG_WINDOW,
    DEFAULT_CIPHERS,
    DEFAULT_ECDH_CURVE,
    DEFAULT_MAX_VERSION,
    DEFAULT_MIN_VERSION,
  };
}
