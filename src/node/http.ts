/** `http` and `https` of a host: Node's own servers and agents, over the host's sockets. */
import * as http from "node:http";
import * as https from "node:https";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { adopt } from "./adopt.ts";
import { classOver } from "./callable.ts";
import type { Context } from "./context.ts";
import type { HostNet } from "./net.ts";
import { passedOn } from "./passed-on.ts";
import { nameSockets, overDialed, overGiven, prepare } from "./tls-socket.ts";

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
  globalAgent: http.Agent;
  createServer(options?: http.ServerOptions | Listener, listener?: Listener): http.Server;
  readonly request: HostRequest<http.RequestOptions>;
  readonly get: HostRequest<http.RequestOptions>;
  /** Node 18.8 and newer. */
  readonly setMaxIdleHTTPParsers?: (max: number) => void;
}

export interface HostHttps {
  readonly Agent: new (options?: https.AgentOptions) => https.Agent;
  readonly Server: new (options?: https.ServerOptions | Listener, listener?: Listener) => https.Server;
  globalAgent: https.Agent;
  createServer(options?: https.ServerOptions | Listener, listener?: Listener): https.Server;
  readonly request: HostRequest<https.RequestOptions>;
  readonly get: HostRequest<https.RequestOptions>;
}

/** As Node's own global agents. */
const SHARED: http.AgentOptions = { keepAlive: true, scheduling: "lifo", timeout: 5000 };

type Connect = { createConnection(...args: unknown[]): unknown };

export function httpOf(context: Context, net: HostNet): HostHttp {
  const Agent = classOver("Agent", http.Agent);
  (Agent.prototype as unknown as Connect).createConnection = (...args) => net.connect(...(args as never as [never]));
  const Server = classOver("Server", http.Server as HostHttp["Server"], (server) => adopt(context, server));
  let globalAgent: http.Agent = new Agent(SHARED);
  const agents = { shared: () => globalAgent, make: () => new Agent() };
  const { METHODS, STATUS_CODES, maxHeaderSize, IncomingMessage, OutgoingMessage, ServerResponse } = http;
  const { validateHeaderName, validateHeaderValue } = http;
  return {
    Agent,
    Server,
    get globalAgent() {
      return globalAgent;
    },
    set globalAgent(agent: http.Agent) {
      globalAgent = agent;
    },
    createServer: (options, listener) => new Server(options, listener),
    ...requests(http.request, agents),
    METHODS,
    STATUS_CODES,
    ClientRequest: clientRequest(agents),
    maxHeaderSize,
    IncomingMessage,
    OutgoingMessage,
    ServerResponse,
    validateHeaderName,
    validateHeaderValue,
    ...passedOn(http, "setMaxIdleHTTPParsers"),
  };
}

/** Node's class of requests, by the host's agent. */
function clientRequest(agents: Agents): typeof http.ClientRequest {
  const make = function (this: unknown, ...args: unknown[]): http.ClientRequest {
    return Reflect.construct(http.ClientRequest, filled(args, agents), new.target ?? make);
  } as unknown as typeof http.ClientRequest;
  (make as { prototype: unknown }).prototype = http.ClientRequest.prototype;
  Object.defineProperty(make, "name", { value: "ClientRequest" });
  return make;
}

export function httpsOf(context: Context, net: HostNet): HostHttps {
  const Agent = classOver("Agent", https.Agent);
  const { createConnection } = https.Agent.prototype as unknown as Connect;
  (Agent.prototype as unknown as Connect).createConnection = function (this: Connect, ...given) {
    const { options, callback } = connectionArguments(given);
    const dial = (to: object) => net.connect(to as never);
    const secure = (ready: object) => createConnection.call(this, ready, callback) as TLSSocket;
    if (!options.socket) return overDialed(options, dial, secure);
    prepare(options.socket);
    return overGiven(secure(options), options.socket);
  };
  const Server = classOver("Server", https.Server as HostHttps["Server"], (server) => nameSockets(adopt(context, server)));
  let globalAgent: https.Agent = new Agent(SHARED);
  return {
    Agent,
    Server,
    get globalAgent() {
      return globalAgent;
    },
    set globalAgent(agent: https.Agent) {
      globalAgent = agent;
    },
    createServer: (options, listener) => new Server(options, listener),
    ...requests(https.request, { shared: () => globalAgent, make: () => new Agent() }),
  };
}

/** What Node's agents of TLS take: options, or a port and a host in front of them. */
function connectionArguments(given: readonly unknown[]) {
  const [port, host] = given;
  const found = given.find((each) => typeof each === "object" && each !== null) as (ConnectionOptions & { timeout?: number }) | undefined;
  const options = {
    ...found,
    ...((typeof port === "number" || typeof port === "string") && { port: Number(port) }),
    ...(typeof host === "string" && { host }),
  };
  return { options, callback: given.find((each) => typeof each === "function") as ((...args: unknown[]) => void) | undefined };
}

/** The agent of requests that name none, which programs may replace; and one for a single request. */
interface Agents {
  shared(): http.Agent;
  make(): http.Agent;
}

/** The arguments of a request, with an agent. */
function filled(args: readonly unknown[], agents: Agents): unknown[] {
  const at = typeof args[0] === "string" || args[0] instanceof URL ? 1 : 0;
  const isObject = typeof args[at] === "object" && args[at] !== null;
  const options = isObject ? (args[at] as http.RequestOptions) : {};
  const agent = options.agent === false ? agents.make() : (options.agent ?? (options.createConnection ? undefined : agents.shared()));
  const rest = args.slice(isObject ? at + 1 : at).filter((each) => typeof each === "function");
  return [...args.slice(0, at), { ...options, agent }, ...rest];
}

/** `request` and `get` that go by the host's agent unless they name another. */
function requests<Options extends http.RequestOptions>(
  request: HostRequest<Options>,
  agents: Agents,
): { request: HostRequest<Options>; get: HostRequest<Options> } {
  const ours = (...args: unknown[]): http.ClientRequest => (request as (...all: unknown[]) => http.ClientRequest)(...filled(args, agents));
  const get = (...args: unknown[]): http.ClientRequest => {
    const made = ours(...args);
    made.end();
    return made;
  };
  return { request: ours, get };
}
