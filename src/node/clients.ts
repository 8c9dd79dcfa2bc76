/** Connectors that clients ask for by name: one line each for undici and ioredis. */
import type { Socket as NodeSocket } from "node:net";
import process from "node:process";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import type { Host } from "../host/host.ts";
import { systemError } from "./errors.ts";
import { forHost } from "./for-host.ts";

/** What undici tells its connector. */
export interface UndiciTarget {
  hostname: string;
  host?: string;
  protocol: string;
  port: string;
  servername?: string;
  localAddress?: string | null;
  httpSocket?: NodeSocket;
}

export interface UndiciConnectorOptions extends ConnectionOptions {
  /** Offer HTTP/2. */
  allowH2?: boolean;
  /** Milliseconds for a connection. Default 10,000. */
  timeout?: number;
}

type UndiciCallback = (...args: [null, NodeSocket | TLSSocket] | [Error, null]) => void;

/** `new Agent({ connect: undiciConnector(host) })`. */
export function undiciConnector(host: Host, options: UndiciConnectorOptions = {}) {
  const { net, tls } = forHost(host);
  const { allowH2 = false, timeout = 10_000, ...secure } = options;
  return (target: UndiciTarget, callback: UndiciCallback): void => {
    const isSecure = target.protocol === "https:";
    const port = Number(target.port || (isSecure ? 443 : 80));
    const wanted = { host: target.hostname.replace(/^\[(.*)\]$/, "$1"), port, localAddress: target.localAddress ?? undefined };
    const servername = secure.servername ?? (target.servername || undefined);
    const ALPNProtocols = allowH2 ? ["http/1.1", "h2"] : ["http/1.1"];
    const socket = isSecure
      ? tls.connect({ ALPNProtocols, ...secure, ...wanted, servername, socket: target.httpSocket })
      : (net.connect({ ...wanted, noDelay: true } as never) as unknown as NodeSocket);
    const tooLate = setTimeout(() => socket.destroy(systemError("ETIMEDOUT", "connect", { address: wanted.host, port })), timeout);
    const done = (...args: [null, NodeSocket | TLSSocket] | [Error, null]) => {
      clearTimeout(tooLate);
      socket.off("error", failed);
      callback(...args);
    };
    const failed = (error: Error) => done(error, null);
    socket.once(isSecure ? "secureConnect" : "connect", () => done(null, socket)).once("error", failed);
  };
}

interface RedisOptions {
  port?: number | string;
  host?: string;
  family?: number;
  tls?: ConnectionOptions;
  disconnectTimeout?: number;
}

/** `new Redis({ host, port, Connector: ioredisConnector(host) })`. */
export function ioredisConnector(on: Host) {
  const { net, tls } = forHost(on);
  return class Connector {
    firstError?: Error;
    connecting = false;
    stream: NodeSocket | undefined;
    readonly options: RedisOptions;

    constructor(options: RedisOptions) {
      this.options = options;
    }

    check(_info: unknown): boolean {
      return true;
    }

    async connect(_: unknown): Promise<NodeSocket> {
      const { port = 6379, host = "localhost", family, tls: secure } = this.options;
      this.connecting = true;
      // The client sets up its listeners in this turn.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      if (!this.connecting) throw new Error("Connection is closed.");
      const wanted = { port: Number(port), host, family };
      const stream = secure ? tls.connect({ ...wanted, ...secure }) : (net.connect(wanted) as unknown as NodeSocket);
      this.stream = stream;
      stream.once("error", (error) => {
        this.firstError = error;
      });
      return stream;
    }

    disconnect(): void {
      this.connecting = false;
      const { stream } = this;
      if (!stream) return;
      const timer = setTimeout(() => stream.destroy(), this.options.disconnectTimeout ?? 2000);
      stream.on("close", () => clearTimeout(timer));
      stream.end();
    }
  };
}
