/** `tls` of a host: Node's own, over the host's sockets. */
import nodeTls, * as tls from "node:tls";
import { adopt } from "./adopt.ts";
import { classOver } from "./callable.ts";
import type { Context } from "./context.ts";
import type { HostNet } from "./net.ts";
import { nameSockets, overDialed, overGiven, prepare } from "./tls-socket.ts";

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
  const Server = classOver("Server", tls.Server as HostTls["Server"], (server) => nameSockets(adopt(context, server)));
  const connect = (...args: unknown[]): tls.TLSSocket => {
    const callback = args.find((each) => typeof each === "function") as (() => void) | undefined;
    const options = args.find((each) => typeof each === "object" && each !== null) as tls.ConnectionOptions | undefined;
    const host = args.slice(1).find((each) => typeof each === "string");
    const wanted: tls.ConnectionOptions = { ...(options !== args[0] && { port: Number(args[0]), host: host as string }), ...options };
    if (wanted.socket) {
      prepare(wanted.socket);
      return overGiven(tls.connect(wanted, callback), wanted.socket);
    }
    const dial = (to: object) => net.connect({ ...to, port: wanted.port ?? "" } as never);
    return overDialed(wanted, dial, (ready) => tls.connect(ready, callback));
  };
  const TLSSocket = classOver("TLSSocket", tls.TLSSocket, overGiven, prepare);
  // Those that Node's own `connect` and servers make are such sockets, too.
  Object.defineProperty(TLSSocket, Symbol.hasInstance, { value: (value: unknown) => value instanceof tls.TLSSocket });
  const { createSecureContext, checkServerIdentity, getCiphers, rootCertificates } = tls;
  const made: Omit<HostTls, (typeof SETTINGS)[number]> = {
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
  };
  return Object.defineProperties(made as HostTls, Object.fromEntries(SETTINGS.map((name) => [name, settingOf(name)])));
}

/** What holds for all that names nothing else: one value, Node's, which programs may set. */
const SETTINGS = [
  "CLIENT_RENEG_LIMIT",
  "CLIENT_RENEG_WINDOW",
  "DEFAULT_CIPHERS",
  "DEFAULT_ECDH_CURVE",
  "DEFAULT_MAX_VERSION",
  "DEFAULT_MIN_VERSION",
] as const;

function settingOf(name: (typeof SETTINGS)[number]): PropertyDescriptor {
  const node = nodeTls as unknown as Record<string, unknown>;
  return {
    get: () => node[name],
    set: (value: unknown) => {
      node[name] = value;
    },
    enumerable: true,
    configurable: true,
  };
}
