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

type Loose = { [name: string]: unknown };

/** Makes `server` listen on the host from now on; returns it. */
export function adopt<S extends NodeServer>(context: Context, server: S): S {
  const inner = new Server(context, settingsOf(server as unknown as Settings));
  inner.maxConnections = server.maxConnections;
  const emit = server.emit.bind(server) as (event: string | symbol, ...args: unknown[]) => boolean;
  const nodeClose = server.close.bind(server) as (callback?: (error?: Error) => void) => unknown;
  // While sockets are open, what Node's part says of its end is too early.
  let isOpen = false;
  inner.on("connection", (socket: Socket) => {
    emit("connection", socket);
  });
  inner.on("listening", () => emit("listening"));
  inner.on("drop", (dropped) => emit("drop", dropped));
  inner.on("error", (error) => {
    isOpen = false;
    emit("error", error);
  });
  inner.on("close", () => {
    isOpen = false;
    emit("close");
  });

  const overrides: Loose = {
    emit: (event: string | symbol, ...args: unknown[]) => (event === "close" && isOpen ? false : emit(event, ...args)),
    listen(...args: unknown[]) {
      const callback = args.at(-1);
      const isCallback = typeof callback === "function";
      inner.listen(...((isCallback ? args.slice(0, -1) : args) as []));
      if (isCallback) server.once("listening", callback as () => void);
      isOpen = true;
      return server;
    },
    close(callback?: (error?: Error) => void) {
      if (!inner.listening) {
        nodeClose(callback);
        return server;
      }
      if (typeof callback === "function") server.once("close", () => callback());
      inner.close();
      // Idle connections, sessions, timers: what the server closes by itself, it closes now.
      nodeClose();
      return server;
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
  for (const [name, value] of Object.entries(overrides)) Object.defineProperty(server, name, { value, writable: true, configurable: true });
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
