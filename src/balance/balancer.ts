/**
 * Load balancing: services, each an address with backends behind it.
 *
 *   const balancer = new Balancer({ engine, connect: (target) => host.connect(target) });
 *   const web = balancer.add({
 *     address: "192.0.2.80", port: 80, scheduler: "maglev",
 *     health: { kind: "http", path: "/health" },
 *     backends: [{ address: "10.0.0.1" }, { address: "10.0.0.2", weight: 2 }],
 *   });
 *   await web.backend("10.0.0.2:80").drain();
 *
 * With an engine (created with `services`) packets are balanced in its data plane. Without one the same services answer
 * `choose` for programs that carry connections themselves.
 */
import { type Clock, realClock } from "../base/clock.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { checkOptions } from "../base/options.ts";
import { Random, secret } from "../base/random.ts";
import type { Engine } from "../engine/engine.ts";
import type { Network } from "../engine/network.ts";
import { after } from "./after.ts";
import { applyServices, type Changes } from "./apply.ts";
import { enginePlane } from "./engine-plane.ts";
import { ESTIMATE_MS } from "./estimator.ts";
import type { Connect } from "./health.ts";
import { LocalPlane } from "./local-plane.ts";
import { BALANCER, type ServiceOptions } from "./options.ts";
import type { BalancePlane } from "./plane.ts";
import { Service, type ServiceWorld } from "./service.ts";

export interface BalancerOptions {
  readonly engine?: Engine;
  /** Whose connections are balanced: `host.network`. Flows are tracked there from now on. */
  readonly network?: Network;
  /** Default: the engine's, else the runtime's. */
  readonly clock?: Clock;
  /** For the moments of health checks. */
  readonly random?: Random;
  /** Without an engine: eight bytes that key the hash of clients; who has the same chooses alike. Default: random. */
  readonly secret?: Uint8Array;
  /** Where health checks get their connections. */
  readonly connect?: Connect;
}

export class Balancer {
  private readonly clock: Clock;
  private readonly plane: BalancePlane;
  private readonly world: ServiceWorld;
  private readonly known = new Map<string, Service>();
  private departing: { number: number; gone: () => void }[] = [];
  private stopTimer: (() => void) | undefined;

  constructor(options: BalancerOptions = {}) {
    checkOptions("balancer", BALANCER, options);
    const { engine, connect, network } = options;
    network?.configure({ track: true, defrag: true, balance: true });
    if (options.secret && options.secret.length < 8) throw invalid(`balancer: secret has ${options.secret.length} bytes; expected 8`);
    this.clock = options.clock ?? engine?.clock ?? realClock;
    this.plane = engine ? enginePlane(engine) : new LocalPlane(this.clock, options.secret ?? secret(8));
    const random = options.random ?? new Random(new DataView(secret(4).buffer).getUint32(0));
    this.world = { plane: this.plane, clock: this.clock, random, connect, depart: (number, gone) => this.depart(number, gone) };
    this.tick();
  }

  /** By name, "tcp 192.0.2.80:80". */
  get services(): ReadonlyMap<string, Service> {
    return this.known;
  }

  add(options: ServiceOptions): Service {
    const service = new Service(options, this.world);
    this.known.set(service.name, service);
    return service;
  }

  service(name: string): Service {
    const service = this.known.get(name);
    if (!service) throw new LoomError("ENOENT", `there is no service ${name}; there is ${[...this.known.keys()].join(", ") || "none"}`);
    return service;
  }

  /** These services and no others; those that stay the same keep states, counts and flows. For reloading a configuration. */
  apply(services: readonly ServiceOptions[]): Changes {
    return applyServices(this, services);
  }

  /** Services and backends that can still be added. */
  get room(): { readonly services: number; readonly backends: number } {
    this.release();
    return this.plane.room;
  }

  /** New flows to its address are not balanced any more; established ones live on. */
  remove(name: string): void {
    const service = this.service(name);
    this.known.delete(name);
    service.close();
    this.release();
  }

  close(): void {
    for (const name of [...this.known.keys()]) this.remove(name);
    this.stopTimer?.();
    for (const { number } of this.departing.splice(0)) this.plane.abandonBackend(number);
  }

  private tick(): void {
    this.stopTimer = after(this.clock, ESTIMATE_MS, () => {
      this.tick();
      this.release();
      for (const service of this.known.values()) service.estimate(this.clock.now());
    });
  }

  private depart(number: number, gone: () => void): void {
    this.plane.retireBackend(number);
    this.departing.push({ number, gone });
  }

  /** Numbers of backends that are gone come back when no flow remembers them. */
  private release(): void {
    this.departing = this.departing.filter(({ number, gone }) => {
      if (!this.plane.isForgotten(number)) return true;
      gone();
      this.plane.removeBackend(number);
      return false;
    });
  }
}
