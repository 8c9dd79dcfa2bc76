/** `http` and `https` of a host: Node's own servers and agents, over the host's sockets. */
import * as http from "node:http";
import * as https from "node:https";
import type { TLSSocket } from "node:tls";
import { adopt } from "./adopt.ts";
import type { Context } from "./context.ts";
import type { HostNet } from "./net.ts";
import { nameSockets, overDialed } from "./tls-socket.ts";

type Listener = http.RequestListener;
type Callback = (response: http.IncomingMessage) => void;

/** `http.request` and its like. */
export interface HostRequest<Options> {
  (url: string | URL, options: Options, callback?: Callback): http.ClientRequest;
  (options: Options | string | URL, callback?: Callback): http.ClientRequest;
}

export interface HostHttp
  extends Pick<
    typeof http,
    | "METHODS"
    | "STATUS_CODES"
    | "ClientRequest"
    | "maxHeaderSize"
    | "IncomingMessage"
    | "OutgoingMessage"
    | "ServerResponse"
    | "validateHeaderName"
    | "validateHeaderValue"
  > {
  readonly Agent: new (options?: http.AgentOptions) => http.Agent;
  readonly Server: new (options?: http.ServerOptions | Listener, listener?: Listener) => http.Server;
  /** What requests use that name no agent. */
  readonly globalAgent: http.Agent;
  createServer(options?: http.ServerOptions | Listener, listener?: Listener): http.Server;
  readonly request: HostRequest<http.RequestOptions>;
  readonly get: HostRequest<http.RequestOptions>;
}

export interface HostHttps {
  readonly Agent: new (options?: https.AgentOptions) => https.Agent;
  readonly Server: new (options?: https.ServerOptions | Listener, listener?: Listener) => https.Server;
  readonly globalAgent: https.Agent;
  createServer(options?: https.ServerOptions | Listener, listener?: Listener): https.Server;
  readonly request: HostRequest<https.RequestOptions>;
  readonly get: HostRequest<https.RequestOptions>;
}

/** As Node's own global agents. */
const SHARED: http.AgentOptions = { keepAlive: true, scheduling: "lifo", timeout: 5000 };

type Connect = { createConnection(options: object, callback?: (...args: unknown[]) => void): unknown };

export function httpOf(context: Context, net: HostNet): HostHttp {
  class Agent extends http.Agent {}
  // Not in the class: the types of Node know the method only since version 22.
  (Agent.prototype as unknown as Connect).createConnection = (options) => net.connect(options as never);
  class Server extends http.Server {
    constructor(options?: http.ServerOptions | Listener, listener?: Listener) {
      super(options as http.ServerOptions, listener);
      adopt(context, this);
    }
  }
  const globalAgent = new Agent(SHARED);
  const { METHODS, STATUS_CODES, ClientRequest, maxHeaderSize, IncomingMessage, OutgoingMessage, ServerResponse } = http;
  const { validateHeaderName, validateHeaderValue } = http;
  return {
    Agent,
    Server,
    globalAgent,
    createServer: (options, listener) => new Server(options, listener),
    ...requests(http.request, globalAgent, () => new Agent()),
    METHODS,
    STATUS_CODES,
    ClientRequest,
    maxHeaderSize,
    IncomingMessage,
    OutgoingMessage,
    ServerResponse,
    validateHeaderName,
    validateHeaderValue,
  };
}

export function httpsOf(context: Context, net: HostNet): HostHttps {
  class Agent extends https.Agent {}
  const { createConnection } = https.Agent.prototype as unknown as Connect;
  (Agent.prototype as unknown as Connect).createConnection = function (this: Connect, options, callback) {
    const dial = (to: object) => net.connect(to as never);
    return overDialed(options, dial, (ready) => createConnection.call(this, ready, callback) as TLSSocket);
  };
  class Server extends https.Server {
    constructor(options?: https.ServerOptions | Listener, listener?: Listener) {
      super(options as https.ServerOptions, listener);
      nameSockets(adopt(context, this));
    }
  }
  const globalAgent = new Agent(SHARED);
  return {
    Agent,
    Server,
    globalAgent,
    createServer: (options, listener) => new Server(options, listener),
    ...requests(https.request, globalAgent, () => new Agent()),
  };
}

/** `request` and `get` that go by the host's agent unless they name another. */
function requests<Options extends http.RequestOptions>(
  request: HostRequest<Options>,
  globalAgent: http.Agent,
  newAgent: () => http.Agent,
): { request: HostRequest<Options>; get: HostRequest<Options> } {
  const ours = (...args: unknown[]): http.ClientRequest => {
    const at = typeof args[0] === "string" || args[0] instanceof URL ? 1 : 0;
    const isObject = typeof args[at] === "object" && args[at] !== null;
    const options = isObject ? (args[at] as http.RequestOptions) : {};
    const agent = options.agent === false ? newAgent() : (options.agent ?? (options.createConnection ? undefined : globalAgent));
    const rest = args.slice(isObject ? at + 1 : at).filter((each) => typeof each === "function");
    return (request as (...all: unknown[]) => http.ClientRequest)(...args.slice(0, at), { ...options, agent }, ...rest);
  };
  const get = (...args: unknown[]): http.ClientRequest => {
    const made = ours(...args);
    made.end();
    return made;
  };
  return { request: ours, get };
}
