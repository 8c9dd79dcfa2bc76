/**
 * A service (ipvsadm's "virtual server"): an address, port and protocol that clients know, and the backends that answer there.
 *
 * It decides about new flows alone. What is established belongs to the flow table, which remembers the backend: adding, removing or
 * losing backends breaks no flow that its backend still answers.
 */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import { Accounts } from "./accounts.ts";
import { Backend, type BackendChange } from "./backend.ts";
import type { BackendEvent, BackendState } from "./backend-state.ts";
import { type CheckResult, HealthCheck, type HealthWorld } from "./health.ts";
import {
  type BackendOptions,
  backendName,
  backendRecord,
  checkBackend,
  checkService,
  PROTOCOLS,
  type ServiceOptions,
  serviceName,
} from "./options.ts";
import type { BalancePlane } from "./plane.ts";
import { NOBODY, type Scheduler } from "./scheduler.ts";
import { createScheduler } from "./schedulers.ts";
import type { ServiceStats } from "./stats.ts";

/** A backend's state changed, and why. */
export interface ServiceEvent {
  readonly service: Service;
  readonly backend: Backend;
  readonly from: BackendState;
  readonly to: BackendState;
  readonly because: BackendEvent;
  /** The check that said so, where one did. */
  readonly check: CheckResult | undefined;
}

export interface ServiceWorld extends Omit<HealthWorld, "connect"> {
  readonly plane: BalancePlane;
  readonly connect: HealthWorld["connect"] | undefined;
  /** Takes a backend that was removed, calls `gone` when its last flow has ended, and gives its number back. */
  depart(number: number, gone: () => void): void;
}

export class Service {
  /** "tcp 192.0.2.80:80" */
  readonly name: string;
  readonly address: IpAddress;
  readonly port: number;
  readonly protocol: keyof typeof PROTOCOLS;
  readonly options: ServiceOptions;
  /** By which the plane knows it. */
  readonly number: number;
  private readonly world: ServiceWorld;
  private readonly scheduler: Scheduler;
  private readonly members = new Map<string, Backend>();
  private readonly listeners = new Set<(event: ServiceEvent) => void>();
  private readonly byNumber = new Map<number, Backend>();
  private readonly accounts: Accounts;
  /** Removed, though the table that packets see may name them until the next one. */
  private readonly leaving: number[] = [];
  private isClosed = false;
  private isHeld = false;
  private isDirty = false;

  constructor(options: ServiceOptions, world: ServiceWorld) {
    checkService(options);
    const { protocol = "tcp", scheduler = "maglev", hash = scheduler === "source-hash" ? "client" : "flow", affinityMs = 0 } = options;
    if (options.health && !world.connect)
      throw new LoomError(
        "EINVAL",
        "service: health checks need connections; give the balancer connect, like (target) => host.connect(target)",
      );
    this.options = options;
    this.world = world;
    this.address = IpAddress.parse(options.address);
    this.port = options.port;
    this.protocol = protocol;
    this.name = serviceName(options);
    this.scheduler = createScheduler(scheduler, options);
    this.accounts = new Accounts(world.plane, world.clock.now());
    const { address, port } = this;
    const affinitySeconds = Math.ceil(affinityMs / 1000);
    this.number = world.plane.addService({ address, port, protocol: PROTOCOLS[protocol], byClient: hash === "client", affinitySeconds });
    try {
      this.together(() => {
        for (const each of options.backends ?? []) this.add(each);
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  // ── Backends ──────────────────────────────────────────────────────────────────────────────────

  /** By name, "10.0.0.1:80". */
  get backends(): ReadonlyMap<string, Backend> {
    return this.members;
  }

  add(options: BackendOptions): Backend {
    if (this.isClosed) throw new LoomError("EINVAL", `${this.name} is closed`);
    const address = checkBackend(options, this.options, this.address);
    const port = options.port ?? this.port;
    const name = backendName(address, options, this.options);
    if (this.members.has(name)) throw new LoomError("EEXIST", `${this.name} has a backend ${name} already`);
    const { weight = 1, nextHop = 0 } = options;
    const number = this.world.plane.addBackend(
      backendRecord(this.number, this.options, { address, port: options.port ?? 0, weight, nextHop, fraction: 1 }),
    );
    this.scheduler.add(number, name, weight);
    const backend = new Backend(this.owner, { name, address, port: options.port ?? 0, number, nextHop, weight }, (made) =>
      this.checkOf(made, port),
    );
    this.members.set(name, backend);
    this.byNumber.set(number, backend);
    this.accounts.add(number);
    this.publish();
    return backend;
  }

  backend(name: string): Backend {
    const backend = this.members.get(name);
    if (!backend)
      throw new LoomError("ENOENT", `${this.name} has no backend ${name}; it has ${[...this.members.keys()].join(", ") || "none"}`);
    return backend;
  }

  /** No new flows from now on; those it has live on, known to the flow table. */
  remove(name: string): void {
    const backend = this.backend(name);
    const { number } = backend;
    this.members.delete(name);
    this.byNumber.delete(number);
    this.scheduler.remove(number);
    backend.close();
    this.world.plane.writeBackend(number, backendRecord(this.number, this.options, backend));
    this.leaving.push(number);
    this.publish();
  }

  /** Several changes at once: packets see all of them or none, and the table is built once. */
  together(change: () => void): void {
    const isInner = this.isHeld;
    this.isHeld = true;
    try {
      change();
    } finally {
      this.isHeld = isInner;
      if (this.isDirty) this.publish();
    }
  }

  // ── Flows ─────────────────────────────────────────────────────────────────────────────────────

  /** The backend for a new flow of a client; undefined when none takes one. */
  choose(client: IpAddress, port: number): Backend | undefined {
    const number = this.world.plane.choose(this.number, client, port);
    return number === NOBODY ? undefined : this.byNumber.get(number);
  }

  /** A flow began at a backend. Call what it returns when the flow has ended. */
  opened(backend: Backend): () => void {
    const { plane } = this.world;
    plane.opened(this.number, backend.number);
    let isOver = false;
    return () => {
      if (!isOver) plane.closed(this.number, backend.number);
      isOver = true;
    };
  }

  count(backend: Backend, direction: "in" | "out", packets: number, bytes: number): void {
    this.world.plane.count(backend.number, direction, packets, bytes);
  }

  stats(): ServiceStats {
    const { flows, inPackets, outPackets, inBytes, outBytes } = this.accounts.traffic;
    const backends = [...this.members.values()].map((backend) => backend.stats());
    const { scheduler = "maglev", mode = "nat" } = this.options;
    const counts = { activeConns: this.accounts.live, conns: flows, inPkts: inPackets, outPkts: outPackets, inBytes, outBytes };
    return { name: this.name, scheduler, mode, ...counts, ...this.accounts.rates, backends };
  }

  /** Calls `listener` when a backend's state changes, until what is returned is called. */
  listen(listener: (event: ServiceEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Every two seconds. */
  estimate(now: number): void {
    const { plane } = this.world;
    for (const { estimator, number } of this.members.values()) estimator.sample(plane.traffic(number), now);
    this.accounts.estimate(now);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.world.plane.removeService(this.number);
    for (const name of [...this.members.keys()]) this.remove(name);
  }

  // ── What follows from changes ─────────────────────────────────────────────────────────────────

  private get owner() {
    const { world, options } = this;
    return {
      clock: world.clock,
      slowStartMs: options.slowStartMs ?? 0,
      changed: (backend: Backend, before: BackendState, event: BackendEvent | BackendChange) => this.changed(backend, before, event),
      live: (number: number) => world.plane.live(number),
      traffic: (number: number) => world.plane.traffic(number),
    };
  }

  private changed(backend: Backend, from: BackendState, because: BackendEvent | BackendChange): void {
    if (because === "weight") this.scheduler.reweigh(backend.number, backend.weight);
    this.scheduler.scale(backend.number, backend.fraction);
    this.world.plane.writeBackend(backend.number, backendRecord(this.number, this.options, backend));
    this.publish();
    if (because === "weight" || because === "step" || because === "next hop") return;
    const check = because === "failed" || because === "passed" ? backend.health : undefined;
    const event = { service: this, backend, from, to: backend.state, because, check };
    for (const listener of [...this.listeners]) listener(event);
  }

  private publish(): void {
    this.isDirty = this.isHeld;
    if (this.isHeld) return;
    if (!this.isClosed) this.world.plane.schedule(this.number, this.scheduler);
    for (const number of this.leaving.splice(0)) this.world.depart(number, () => this.accounts.gone(number));
  }

  private checkOf(backend: Backend, port: number): HealthCheck | undefined {
    const { health } = this.options;
    const { connect } = this.world;
    if (!health || !connect) return undefined;
    const target = { hostname: String(backend.address), port: health.port ?? port };
    return new HealthCheck(health, target, { ...this.world, connect }, (event) => backend.happen(event));
  }
}
