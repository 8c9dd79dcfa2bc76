/** DHCP on the interfaces of a host: which clients run, and who waits for them. */

import { LoomError } from "../base/errors.ts";
import type { Dhcp4Lease } from "../dhcp/client4.ts";
import type { Dhcp6Lease } from "../dhcp/client6.ts";
import type { DhcpHost } from "./dhcp-link.ts";
import { type Dhcp4HostOptions, InterfaceDhcp4 } from "./dhcp4.ts";
import { type Dhcp6HostOptions, InterfaceDhcp6 } from "./dhcp6.ts";

export interface DhcpOptions extends Dhcp4HostOptions, Dhcp6HostOptions {
  /** Default: both. */
  family?: 4 | 6;
  /** Gives up waiting; the client goes on. */
  signal?: AbortSignal;
}

/** What DHCP has brought so far. */
export interface DhcpLeases {
  readonly v4?: Dhcp4Lease;
  /** Stateless: without addresses and prefixes. */
  readonly v6?: Partial<Dhcp6Lease>;
}

interface Running {
  v4?: InterfaceDhcp4;
  v6?: InterfaceDhcp6;
  leases: DhcpLeases;
  /** Why nobody need wait any more. */
  ended?: LoomError;
  readonly waiting: Set<() => void>;
}

export class HostDhcp {
  private readonly host: DhcpHost;
  private readonly running = new Map<string, Running>();
  /** Interfaces that gave their leases back. */
  private readonly leaving = new Map<string, InterfaceDhcp4>();

  constructor(host: DhcpHost) {
    this.host = host;
  }

  /** Starts the clients of an interface that do not run yet. */
  start(name: string, options: DhcpOptions = {}): void {
    const iface = this.host.ip.interface(name);
    this.leaving.get(name)?.finish();
    this.leaving.delete(name);
    const running = this.running.get(name) ?? { leases: {}, waiting: new Set() };
    this.running.set(name, running);
    const told = (leases: DhcpLeases) => {
      running.leases = { ...running.leases, ...leases };
      for (const wake of running.waiting) wake();
    };
    if (options.family !== 6 && !running.v4) {
      running.v4 = new InterfaceDhcp4(this.host, iface, options, (v4) => told({ v4 }));
      running.v4.client.start();
    }
    if (options.family !== 4 && !running.v6) {
      running.v6 = new InterfaceDhcp6(this.host, iface, options, (v6) => told({ v6 }));
      running.v6.client.start();
    }
    this.host.ip.flush();
  }

  /** Resolves when there is a lease: of the family asked for, or of any. */
  async wait(name: string, family: 4 | 6 | undefined, signal?: AbortSignal): Promise<DhcpLeases> {
    const running = this.running.get(name);
    if (!running) throw new LoomError("ENOENT", `DHCP does not run on ${name}`);
    const isThere = () => (family !== 6 && running.leases.v4 !== undefined) || (family !== 4 && running.leases.v6 !== undefined);
    signal?.throwIfAborted();
    while (!isThere()) {
      if (running.ended) throw running.ended;
      await new Promise<void>((resolve, reject) => {
        const stop = () => done(() => reject(signal?.reason));
        const wake = () => done(resolve);
        const done = (settle: () => void) => {
          running.waiting.delete(wake);
          signal?.removeEventListener("abort", stop);
          settle();
        };
        running.waiting.add(wake);
        signal?.addEventListener("abort", stop, { once: true });
      });
    }
    return running.leases;
  }

  /** An interface is up again, perhaps on another link. */
  linkUp(name: string): void {
    this.running.get(name)?.v6?.client.linkChanged();
  }

  /** Ends the clients of an interface; with `giveBack` the servers are told. */
  stop(name: string, giveBack: boolean, why = new LoomError("ECONNABORTED", `DHCP was stopped on ${name}`)): void {
    const running = this.running.get(name);
    this.running.delete(name);
    if (running) {
      running.ended = why;
      for (const wake of running.waiting) wake();
    }
    running?.v4?.end(giveBack);
    running?.v6?.end(giveBack);
    if (running?.v4 && giveBack) this.leaving.set(name, running.v4);
    else this.leaving.get(name)?.finish();
    this.host.ip.flush();
  }

  close(why: LoomError): void {
    for (const name of [...this.running.keys()]) this.stop(name, false, why);
  }
}
