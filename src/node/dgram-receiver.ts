/** A UDP endpoint as an event loop's handle: its datagrams and errors are told in ticks of their own. */

import { Buffer } from "node:buffer";
import type { EventEmitter } from "node:events";
import type { IpAddress } from "../base/ip-address.ts";
import type { Datagram } from "../datagram/datagram.ts";
import type { NetInterface } from "../ip/interface.ts";
import { formatZoned } from "../ip/zone.ts";
import type { UdpEndpoint } from "../udp/endpoint.ts";
import type { Context } from "./context.ts";
import { codeOf, systemError } from "./errors.ts";
import type { Teller } from "./events.ts";
import { Held } from "./held.ts";

/** A udp6 socket shows IPv4 peers as IPv4-mapped addresses. */
export function shown(address: IpAddress, type: "udp4" | "udp6", iface?: NetInterface): { address: string; family: "IPv4" | "IPv6" } {
  if (type === "udp4") return { address: String(address), family: "IPv4" };
  return { address: address.family === 4 ? `::ffff:${address}` : formatZoned(address, iface), family: "IPv6" };
}

export class Receiver extends Held implements Teller {
  readonly endpoint: UdpEndpoint;
  private readonly context: Context;
  private readonly socket: EventEmitter & { readonly type: "udp4" | "udp6"; close(): void };

  constructor(context: Context, endpoint: UdpEndpoint, socket: Receiver["socket"]) {
    super("LOOMUDP", context.host);
    this.context = context;
    this.endpoint = endpoint;
    this.socket = socket;
    endpoint.onEvent = () => context.events.note(this);
  }

  tell(): void {
    this.runInAsyncScope(this.readAll, this);
  }

  private readAll(): void {
    if (this.endpoint.closed) {
      // With its host; one that its owner has closed meanwhile has nothing to tell.
      if (this.endpoint.onEvent) this.socket.close();
      return;
    }
    try {
      const next = this.next();
      if (next instanceof Error) this.socket.emit("error", next);
      else if (next)
        this.socket.emit("message", asBuffer(next.data), {
          ...shown(next.address, this.socket.type, next.iface),
          port: next.port,
          size: next.data.length,
        });
    } finally {
      // A listener that throws does not lose what is behind.
      if (!this.endpoint.closed && this.endpoint.readable) this.context.events.note(this);
    }
  }

  private next(): Datagram | Error | undefined {
    if (this.endpoint.closed) return undefined;
    try {
      return this.endpoint.read();
    } catch (error) {
      return systemError(codeOf(error), "recvmsg");
    }
  }

  close(): void {
    this.endpoint.onEvent = undefined;
    this.endpoint.close();
    this.unref();
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
