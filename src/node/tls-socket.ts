/**
 * What Node's TLS sockets cannot know of a stream below them that is not Node's own: where it is, that it connects, when it may go.
 */
import type { Socket as NodeSocket } from "node:net";
import type * as tls from "node:tls";
import { createSecureContext } from "node:tls";
import { nodeError } from "./errors.ts";
import { Socket } from "./socket.ts";

const NAMES = ["remoteAddress", "remotePort", "remoteFamily", "localAddress", "localPort", "localFamily"] as const;
/** What a socket tells while it connects, besides "connect". */
const DIALING = ["lookup", "connectionAttempt", "connectionAttemptFailed", "connectionAttemptTimeout"] as const;

/** Before there is a TLS socket over a stream that a program gave: a handshake begins at once, also over one that connects later. */
export function prepare(raw: unknown): void {
  if (!(raw instanceof Socket) || !isUnused(raw)) return;
  const write = raw.write as (...args: unknown[]) => boolean;
  raw.write = ((...args: unknown[]) => {
    if (!isUnused(raw)) return write.apply(raw, args);
    raw.once("connect", () => write.apply(raw, args));
    return false;
  }) as typeof raw.write;
}

/** A TLS socket over a stream that a program gave. */
export function overGiven(socket: tls.TLSSocket, raw: unknown): tls.TLSSocket {
  if (!(raw instanceof Socket)) return socket;
  carry(raw);
  for (const name of NAMES) Object.defineProperty(socket, name, { get: () => raw[name], configurable: true, enumerable: true });
  socket.address = () => raw.address();
  if (raw.connecting || isUnused(raw)) awaitConnection(socket, raw);
  return socket;
}

/** A socket that is to connect later. */
const isUnused = (raw: Socket) => raw.pending && !raw.connecting && !raw.destroyed;

type Options = tls.ConnectionOptions & { timeout?: number; signal?: AbortSignal };

/**
 * A TLS socket (`secure`) over one that is made for it (`dial`), and that nobody else knows: what that one tells is the TLS socket's to
 * tell. What is wrong with the options throws before anybody is called.
 */
export function overDialed(
  options: Options,
  dial: (options: Options) => Socket,
  secure: (options: Options) => tls.TLSSocket,
): tls.TLSSocket {
  const secureContext = options.secureContext ?? createSecureContext(options);
  const raw = dial({ ...options, timeout: undefined, signal: undefined });
  try {
    const socket = joined(secure({ ...options, secureContext, socket: raw as unknown as NodeSocket }), raw, options.timeout);
    // One that was aborted before it began does nothing to what is below.
    if (options.signal?.aborted) {
      raw.removeAllListeners("close").destroy();
      (socket as { connecting: boolean }).connecting = false;
    }
    return socket;
  } catch (error) {
    raw.on("error", () => {}).destroy();
    throw error;
  }
}

function joined(socket: tls.TLSSocket, raw: Socket, timeout: number | undefined): tls.TLSSocket {
  overGiven(socket, raw);
  for (const event of DIALING) raw.on(event, (...rest) => socket.emit(event, ...rest));
  raw.once("ready", () => socket.emit("ready"));
  // Node's wrapper tells of an error, and closes later as if there had been none.
  raw.removeAllListeners("error").on("error", (error) => socket.destroy(error));
  if (timeout) socket.setTimeout(timeout);
  return socket;
}

function awaitConnection(socket: tls.TLSSocket, raw: Socket): void {
  const state = socket as { connecting: boolean };
  state.connecting = true;
  raw.once("connect", () => {
    state.connecting = false;
    if (!socket.destroyed) socket.emit("connect");
  });
}

/**
 * TLS goes over this socket from now on. Whether to end when the peer has ended is for TLS to say, which may have more to send; and what
 * has come may still lie in TLS, unread, when both have ended: TLS destroys what is below when it has been read.
 */
function carry(raw: Socket): void {
  const state = (raw as unknown as { _readableState: { autoDestroy: boolean } })._readableState;
  if (!state.autoDestroy) return;
  state.autoDestroy = false;
  raw.allowHalfOpen = true;
  const write = raw.write as (...args: unknown[]) => boolean;
  // What a handshake still has to say after `end` fails as a write to the kernel would, which is no error of the stream.
  raw.write = ((chunk: unknown, ...rest: unknown[]) => {
    if (!raw.writableEnded) return write.call(raw, chunk, ...rest);
    const callback = rest.at(-1);
    if (typeof callback === "function") queueMicrotask(() => callback(nodeError("EPIPE", "write EPIPE")));
    return false;
  }) as typeof raw.write;
}

/**
 * The sockets of a server. Which stream is below, only Node's own wrapper knows; where it no longer says so, the addresses are
 * undefined, as with any stream that is not Node's.
 */
export function nameSockets<S extends tls.Server>(server: S): S {
  const name = (socket: tls.TLSSocket) => {
    const { _handle } = socket as unknown as { _handle?: { _parentWrap?: { stream?: unknown } } };
    overGiven(socket, _handle?._parentWrap?.stream);
  };
  // Behind Node's own listener, which has asked the socket by then.
  server.on("connection", (raw) => {
    if ((raw as unknown) instanceof Socket) carry(raw as unknown as Socket);
  });
  server.prependListener("secureConnection", name);
  server.prependListener("tlsClientError", (_error, socket) => name(socket));
  return server;
}
