/** A listening socket: `accept()`, or `for await (const socket of listener)`. */
import { LoomError } from "../base/errors.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { endText, formatZoned } from "../ip/zone.ts";
import { abort } from "../tcp/end.ts";
import type { TcpListener } from "../tcp/listener.ts";
import { type SocketAddress, TcpSocket } from "./stream.ts";

export class TcpListenerSocket implements AsyncIterable<TcpSocket> {
  private readonly listener: TcpListener;
  /** Called once when it is closed, by whomever. */
  onClose: (() => void) | undefined;
  private readonly waiters: { resolve: (socket: TcpSocket | undefined) => void }[] = [];

  constructor(listener: TcpListener) {
    this.listener = listener;
    listener.onConnection = () => this.serve();
    listener.onShut = () => this.close();
  }

  get address(): SocketAddress {
    return { address: formatZoned(this.listener.local, this.listener.rules.device), port: this.listener.port };
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const { address, port } = this.address;
    return facts("TcpListenerSocket", { local: endText(address, port), closed: this.listener.closed }, depth, options, inspect);
  }

  /** The next connection. Rejects when the listener is closed. */
  async accept(): Promise<TcpSocket> {
    const socket = await this.next();
    if (!socket) throw new LoomError("ECONNABORTED", "the listener is closed");
    return socket;
  }

  private next(): Promise<TcpSocket | undefined> {
    const tcb = this.listener.accept();
    if (tcb) return Promise.resolve(new TcpSocket(tcb));
    if (this.listener.closed) return Promise.resolve(undefined);
    return new Promise((resolve) => this.waiters.push({ resolve }));
  }

  private serve(): void {
    while (this.waiters.length > 0) {
      const tcb = this.listener.accept();
      if (!tcb) return;
      this.waiters.shift()?.resolve(new TcpSocket(tcb));
    }
  }

  /** No more connections; those that nobody accepted are reset. */
  close(): void {
    for (const tcb of this.listener.close()) abort(tcb);
    for (const waiter of this.waiters.splice(0)) waiter.resolve(undefined);
    this.onClose?.();
    this.onClose = undefined;
  }

  [Symbol.asyncIterator](): AsyncIterator<TcpSocket, undefined> {
    const result = (value: TcpSocket | undefined): IteratorResult<TcpSocket, undefined> =>
      value ? { done: false, value } : { done: true, value };
    return { next: () => this.next().then(result), return: async () => ({ done: true, value: undefined }) };
  }
}
