/**
 * A server of Node's own (`http`, `https`, `http2`, `tls`) that listens on a host. Node documents that connections may be
 * given to such a server by emitting "connection"; here a `net.Server` of the host does so, and stands in for what the
 * server would ask of its own socket.
 */
import type { Server as NodeServer } from "node:net";
import type { Context } from "./context.ts";
import { Server, type ServerOptions } from "./server.ts";
import type { Socket } from "./socket.ts";

/** What Node's constructors leave on a server for the sockets that it accepts. */
type Settings = ServerOptions & { maxConnections?: number };

type Loose = { [name: string | symbol]: unknown };

/** Makes `server` listen on the host from now on; returns it. */
export function adopt<S extends NodeServer>(context: Context, server: S): S {
  context.adopted.add(server);
  const inner = new Server(context, settingsOf(server as unknown as Settings));
  inner.maxConnections = server.maxConnections;
  const emit = server.emit.bind(server) as (event: string | symbol, ...args: unknown[]) => boolean;
  const nodeClose = server.close.bind(server) as (callback?: (error?: Error) => void) => unknown;
  // The end is for the inner server to tell; Node's part tells only of those that were asked for while nothing was open.
  let ends = 0;
  inner.on("connection", (socket: Socket) => {
    emit("connection", socket);
  });
  inner.on("listening", () => emit("listening"));
  inner.on("drop", (dropped) => emit("drop", dropped));
  inner.on("error", (error) => emit("error", error));
  inner.on("close", () => emit("close"));

  const overrides: Loose = {
    emit(event: string | symbol, ...args: unknown[]) {
      if (event === "close" && ends === 0) return false;
      if (event === "close") ends--;
      return emit(event, ...args);
    },
    listen(...args: unknown[]) {
      const callback = args.at(-1);
      const isCallback = typeof callback === "function";
      inner.listen(...((isCallback ? args.slice(0, -1) : args) as []));
      if (isCallback) server.once("listening", callback as () => void);
      return server;
    },
    close(callback?: (error?: Error) => void) {
      if (!inner.listening) {
        ends++;
        nodeClose(callback);
        return server;
      }
      if (typeof callback === "function") server.once("close", () => callback());
      inner.close();
      // Idle connections, sessions, timers: what the server closes by itself, it closes now.
      nodeClose();
      return server;
    },
    async [Symbol.asyncDispose]() {
      if (inner.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
    address: () => inner.address(),
    getConnections(callback: (error: Error | null, count: number) => void) {
      inner.getConnections(callback);
      return server;
    },
    ref() {
      inner.ref();
      return server;
    },
    unref() {
      inner.unref();
      return server;
    },
  };
  inner.shut = () => void server.close();
  for (const name of Reflect.ownKeys(overrides))
    Object.defineProperty(server, name, { value: overrides[name], writable: true, configurable: true });
  Object.defineProperty(server, "listening", { get: () => inner.listening, configurable: true, enumerable: true });
  Object.defineProperty(server, "maxConnections", {
    get: () => inner.maxConnections,
    set: (most: number | undefined) => {
      inner.maxConnections = most;
    },
    configurable: true,
    enumerable: true,
  });
  return server;
}

function settingsOf(server: Settings): ServerOptions {
  const { allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay, highWaterMark } = server;
  // Node keeps the delay in seconds.
  return { allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay: (keepAliveInitialDelay || 0) * 1000, highWaterMark };
}
