/** `node:net` of a host: classes that know it, and what does not depend on any. */
import { BlockList, isIP, isIPv4, isIPv6, Socket as NodeSocket, SocketAddress } from "node:net";
import { callable } from "./callable.ts";
import { checkBoolean, checkInteger } from "./checks.ts";
import type { ConnectArguments } from "./connect.ts";
import { connectArguments } from "./connect.ts";
import type { Context } from "./context.ts";
import { type ConnectionListener, Server, type ServerOptions } from "./server.ts";
import { type Accepted, Socket, type SocketClass, type SocketOptions } from "./socket.ts";

/** As in Node: less is no attempt. */
const LEAST_ATTEMPT_MS = 10;

export interface HostNet {
  /** `new net.Socket(options)`. */
  readonly Socket: new (
    options?: SocketOptions,
  ) => Socket;
  /** The old name. */
  readonly Stream: new (
    options?: SocketOptions,
  ) => Socket;
  readonly Server: new (options?: ServerOptions | ConnectionListener, listener?: ConnectionListener) => Server;
  connect(...args: ConnectArguments): Socket;
  createConnection(...args: ConnectArguments): Socket;
  createServer(options?: ServerOptions | ConnectionListener, listener?: ConnectionListener): Server;
  readonly isIP: typeof isIP;
  readonly isIPv4: typeof isIPv4;
  readonly isIPv6: typeof isIPv6;
  readonly BlockList: typeof BlockList;
  readonly SocketAddress: typeof SocketAddress;
  setDefaultAutoSelectFamily(value: boolean): void;
  getDefaultAutoSelectFamily(): boolean;
  setDefaultAutoSelectFamilyAttemptTimeout(ms: number): void;
  getDefaultAutoSelectFamilyAttemptTimeout(): number;
}

/** The class of a host's sockets. */
export function socketsOf(context: Context): SocketClass {
  const HostSocket = class Socket_ extends Socket {
    constructor(options?: SocketOptions, accepted?: Accepted) {
      super(context, options, accepted);
    }

    /** Sockets of TLS, and what Node's HTTP/2 shows of one, are Node's own, and sockets all the same. */
    static override [Symbol.hasInstance](this: { prototype: object }, value: unknown): boolean {
      if (typeof value !== "object" || value === null) return false;
      return (
        Object.prototype.isPrototypeOf.call(this.prototype, value) ||
        (this.prototype === HostSocket.prototype && value instanceof NodeSocket)
      );
    }
  };
  Object.defineProperty(HostSocket, "name", { value: "Socket" });
  return HostSocket;
}

export function netOf(context: Context, HostSocket: SocketClass): HostNet {
  const HostServer = class Server_ extends Server {
    constructor(options?: ServerOptions | ConnectionListener, listener?: ConnectionListener) {
      super(context, options, listener);
    }

    /** Servers of `http` and its like are servers of `net`, too. */
    static override [Symbol.hasInstance](this: { prototype: object }, value: unknown): boolean {
      if (typeof value !== "object" || value === null) return false;
      return (
        Object.prototype.isPrototypeOf.call(this.prototype, value) ||
        (this.prototype === HostServer.prototype && context.adopted.has(value))
      );
    }
  };
  Object.defineProperty(HostServer, "name", { value: "Server" });
  const connect = (...args: ConnectArguments): Socket => {
    const [options] = connectArguments(args);
    const socket = new HostSocket(options as SocketOptions);
    const { timeout } = options as { timeout?: number };
    if (timeout) socket.setTimeout(timeout);
    return socket.connect(...args);
  };
  const shownSocket = callable(HostSocket);
  return {
    Socket: shownSocket,
    Stream: shownSocket,
    Server: callable(HostServer),
    connect,
    createConnection: connect,
    createServer: (options, listener) => new HostServer(options, listener),
    isIP,
    isIPv4,
    isIPv6,
    BlockList,
    SocketAddress,
    ...attemptsOf(context),
  };
}

/** How connections of this host try several addresses. */
function attemptsOf({ attempts }: Context) {
  return {
    setDefaultAutoSelectFamily(value: boolean): void {
      checkBoolean(value, "value");
      attempts.autoSelectFamily = value;
    },
    getDefaultAutoSelectFamily: () => attempts.autoSelectFamily,
    setDefaultAutoSelectFamilyAttemptTimeout(ms: number): void {
      checkInteger(ms, "value", 1, 2 ** 31 - 1);
      attempts.timeoutMs = Math.max(ms, LEAST_ATTEMPT_MS);
    },
    getDefaultAutoSelectFamilyAttemptTimeout: () => attempts.timeoutMs,
  };
}
