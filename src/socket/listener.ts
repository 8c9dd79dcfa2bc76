/** A listening socket: `accept()`, or `for await (const socket of listener)`. */
import { LoomError } from "../base/errors.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { endText, formatZoned } from "../ip/zone.ts";
import { abort } from "../tcp/end.ts";
import type { TcpListener } from "../tcp/listener.ts";
import { type SocketAddress, TcpSocket } from "./stream.ts";

interface Waiter {
  resolve(socket: TcpSocket | undefined): void;
  reject(reason: unknown): void;
}

export interface AcceptOptions {
  /** Gives up: rejects with its reason. */
  signal?: AbortSignal;
}

export class TcpListenerSocket implements AsyncIterable<TcpSocket> {
  private readonly listener: TcpListener;
  /** Called once when it is closed, by whomever. */
  onClose: (() => void) | undefined;
  private readonly waiters: Waiter[] = [];

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
  async accept({ signal }: AcceptOptions = {}): Promise<TcpSocket> {
    signal?.throwIfAborted();
    const socket = await this.next(signal);
    if (!socket) throw new LoomError("ECONNABORTED", "the listener is closed");
    return socket;
  }

  private next(signal?: AbortSignal): Promise<TcpSocket | undefined> {
    const tcb = this.listener.accept();
    if (tcb) return Promise.resolve(new TcpSocket(tcb));
    if (this.listener.closed) return Promise.resolve(undefined);
    const waiting = new Promise<TcpSocket | undefined>((resolve, reject) => this.waiters.push({ resolve, reject }));
    return signal ? this.until(signal, waiting, this.waiters.at(-1) as Waiter) : waiting;
  }

  private async until(signal: AbortSignal, waiting: Promise<TcpSocket | undefined>, waiter: Waiter): Promise<TcpSocket | undefined> {
    const stop = () => {
      const at = this.waiters.indexOf(waiter);
      if (at >= 0) this.waiters.splice(at, 1);
      waiter.reject(signal.reason);
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await waiting;
    } finally {
      signal.removeEventListener("abort", stop);
    }
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
