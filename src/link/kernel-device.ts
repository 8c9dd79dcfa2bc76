/**
 * A device on an interface of the kernel's, whatever kind of socket it reads and writes by: the interface's carrier and
 * MTU, and turns in which the kernel is asked now and then for what it dropped.
 */
import type { Device, Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { KernelLink } from "./kernel-link.ts";
import type { Libc } from "./libc-symbols.ts";

/** How often (ms) the kernel is asked for what it dropped. */
const STATISTICS_MS = 200;

export abstract class KernelDevice implements Device {
  readonly name: string;
  /** @internal */
  protected readonly libc: Libc;
  /** @internal */
  protected readonly engine: Engine;
  /** @internal */
  protected readonly port: Port;
  /** @internal */
  protected readonly kernel: KernelLink;
  /** The socket; -1 when it is closed. @internal */
  protected fd = -1;
  private askAt = 0;

  constructor(libc: Libc, engine: Engine, port: Port, options: { readonly interface: string; readonly namespace?: string }) {
    this.libc = libc;
    this.engine = engine;
    this.port = port;
    this.kernel = new KernelLink(libc, options.namespace, options.interface, () => engine.wake());
    this.name = this.kernel.name;
  }

  /** The interface is up and has a carrier. */
  get carrier(): boolean {
    return this.kernel.running;
  }

  get mtu(): number {
    return this.kernel.mtu;
  }

  poll(budget: number): number {
    if (this.fd < 0) return 0;
    this.kernel.poll();
    const now = this.engine.clock.now();
    if (now >= this.askAt) {
      this.askAt = now + STATISTICS_MS;
      this.countLosses();
    }
    return this.exchange(budget);
  }

  abstract changed(): void;
  abstract close(): void;
  /** Adds what the kernel dropped to the port's counters. @internal */
  protected abstract countLosses(): void;
  /** Receives and sends so many packets at most; returns how many it were. @internal */
  protected abstract exchange(budget: number): number;
}
