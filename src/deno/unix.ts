/** `transport: "unix"` of Deno's `connect` and `listen`: Unix domain sockets of the host, with Deno's methods and errors. */
import type { Host } from "../host/host.ts";
import type { UnixAddress, UnixListenerSocket, UnixStreamSocket } from "../socket/unix.ts";
import { rejecting, throwing } from "./errors.ts";
import { StreamConn, StreamListener } from "./resource.ts";

export interface UnixAddr {
  readonly transport: "unix";
  readonly path: string;
}

export interface UnixOptions {
  transport: "unix";
  path: string;
}

const addressOf = ({ path }: UnixAddress): UnixAddr => ({ transport: "unix", path });

export class UnixConn extends StreamConn<UnixStreamSocket, UnixAddr> {
  constructor(host: Host, socket: UnixStreamSocket) {
    super(host, socket, addressOf(socket.localAddress), addressOf(socket.remoteAddress));
  }
}

export class UnixListener extends StreamListener<UnixConn, UnixStreamSocket, UnixAddr> {
  constructor(host: Host, listener: UnixListenerSocket) {
    super(host, listener, addressOf(listener.address), (socket) => new UnixConn(host, socket));
  }
}

export async function connectUnix(host: Host, { path }: UnixOptions): Promise<UnixConn> {
  return new UnixConn(host, await rejecting(host.connect({ path })));
}

export function listenUnix(host: Host, { path }: UnixOptions): UnixListener {
  return throwing(() => new UnixListener(host, host.listen({ path })));
}
