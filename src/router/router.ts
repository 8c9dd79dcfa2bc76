/**
 * A router as one object: interfaces, routes, rules, queues, balancers, DHCP and DNS by one configuration, which can be changed
 * while it runs.
 *
 *   const router = await Router.create(config, { device: deviceOf });
 *   router.status().interfaces;
 *   await router.reload(other);
 *   await router.close();
 *
 * Without `device` nothing of a runtime is needed: ready devices are given by the interface's name, on an engine of the router's
 * own or one that is shared (a lab's, a page's).
 */
import { Balancer } from "../balance/balancer.ts";
import type { BackendOptions, ServiceOptions } from "../balance/options.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { callback, checkOptions, having, type Shape, whole } from "../base/options.ts";
import type { Engine } from "../engine/engine.ts";
import { Host } from "../host/host.ts";
import { same } from "./changes.ts";
import { checkConfig } from "./config.ts";
import { egressPolicy } from "./egress.ts";
import { type InterfaceSources, Interfaces } from "./interfaces.ts";
import { NAT64_INTERFACE, Nat64, pref64Of } from "./nat64.ts";
import type { Opening } from "./opening.ts";
import { PortMapping } from "./port-mapping.ts";
import { Queues } from "./queues.ts";
import { Routing } from "./routing.ts";
import { Rules } from "./rules.ts";
import { checkRules } from "./ruleset.ts";
import type { RouterConfig } from "./schema.ts";
import { Services } from "./services.ts";
import { sizesOf } from "./sizes.ts";
import { type RouterStatus, statusOf } from "./status.ts";

export interface RouterOptions extends InterfaceSources {
  /** An engine that is shared; its owner runs and sizes it. Default: one of the router's own. */
  engine?: Engine;
  /** Seed of everything left to chance, for runs that can be repeated. */
  seed?: number;
}

const ROUTER: Shape<RouterOptions> = {
  engine: having("an engine (await Engine.create())", "attach", "poll"),
  seed: whole(0, 2 ** 32 - 1),
  device: callback,
  devices: having("an object of devices by interface"),
  ports: having("an object of ports by interface"),
  macOf: callback,
};

/** What a change did not reach, because memory is laid out once. */
const FIXED = [
  "name",
  "forwarding",
  "memory",
  "conntrack.max",
  "conntrack.events",
  "conntrack.accounting",
  "control",
  "metrics",
  "log.to",
] as const;

export class Router {
  readonly host: Host;
  readonly rules: Rules;
  readonly balancer: Balancer | undefined;
  readonly services: Services;
  readonly portMapping: PortMapping;
  private readonly nat64: Nat64;
  readonly queues: Queues;
  private current: RouterConfig;
  private readonly interfaces: Interfaces;
  private readonly routing: Routing;
  private changing: Promise<unknown> = Promise.resolve();
  private readonly startedAt: number;

  private constructor(host: Host, options: RouterOptions) {
    this.host = host;
    this.current = { interfaces: [] };
    this.interfaces = new Interfaces(host, options);
    this.routing = new Routing(host);
    this.rules = new Rules(host);
    this.queues = new Queues(host);
    this.services = new Services(host);
    this.portMapping = new PortMapping(host);
    this.nat64 = new Nat64(host, options.ports?.[NAT64_INTERFACE]);
    this.startedAt = host.engine.clock.now();
    if (host.engine.memory.layout.sizes.services > 0)
      this.balancer = new Balancer({ engine: host.engine, connect: (target) => host.connect(target) });
  }

  static async create(given: RouterConfig, options: RouterOptions = {}): Promise<Router> {
    checkOptions("router", ROUTER, options);
    const config = checkConfig(given);
    const { engine, seed } = options;
    const host = await Host.create({
      ...(engine ? { engine } : { memory: sizesOf(config) }),
      seed,
      forwarding: config.forwarding ?? true,
      neighbours: config.memory?.neighbours,
      dns: config.dns?.upstreams,
    });
    const router = new Router(host, options);
    try {
      await router.apply(config);
    } catch (error) {
      await router.close();
      throw error;
    }
    return router;
  }

  get config(): RouterConfig {
    return this.current;
  }

  /** Milliseconds since it was made. */
  get uptimeMs(): number {
    return this.host.engine.clock.now() - this.startedAt;
  }

  /**
   * Becomes what another configuration says: only what differs is touched, tracked connections live on. When something of it cannot
   * be, everything is as before. Resolves with the names of what takes a new start (sizes of memory).
   */
  reload(given: RouterConfig): Promise<string[]> {
    const change = this.changing.then(async () => {
      const next = checkConfig(given);
      // Before anything is touched: what is refused later has to be taken back.
      checkRules(next);
      const before = this.current;
      try {
        await this.apply(next);
      } catch (error) {
        // What was wrong is told, not what went wrong on the way back.
        if (this.current === before) throw error;
        await this.apply(before).catch((second) => {
          if (error instanceof Error) error.cause ??= second;
        });
        throw error;
      }
      return FIXED.filter((path) => !same(at(next, path), at(before, path)));
    });
    this.changing = change.catch(() => {});
    return change;
  }

  private async apply(next: RouterConfig): Promise<void> {
    const before = this.current;
    const opening = await this.interfaces.open(next.interfaces, before.interfaces);
    try {
      await this.become(next, before, opening);
    } finally {
      opening.close();
    }
  }

  private async become(next: RouterConfig, before: RouterConfig, opening: Opening): Promise<void> {
    // Whatever happens on the way, the next change compares with what was attempted.
    this.current = next;
    this.interfaces.remove(next.interfaces, before.interfaces, (iface) => this.queues.remove(iface));
    // Rules before interfaces: nothing passes a new interface without them.
    this.rules.set(next);
    await this.interfaces.set(next.interfaces, before.interfaces, opening);
    await this.nat64.set(next);
    this.rules.refresh();
    this.routing.set(next, before);
    this.queues.set(next.interfaces);
    this.balancer?.apply((next.balancers ?? []).map(serviceOf));
    const policy = next.egress && egressPolicy(next.egress, next.nat64 && pref64Of(next));
    this.rules.setPolicy(policy);
    this.portMapping.set(next);
    this.services.set(next, before, policy, (name, records) => this.rules.answered(name, records));
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    return facts("Router", { host: this.host, tracked: this.rules.conntrack?.count ?? 0 }, depth, options, inspect);
  }

  status(): RouterStatus {
    return statusOf(this);
  }

  async close(): Promise<void> {
    await this.changing;
    this.portMapping.close();
    this.services.close();
    this.balancer?.close();
    this.rules.close();
    await this.host.close();
  }
}

function at(config: RouterConfig, path: string): unknown {
  return path.split(".").reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], config);
}

function serviceOf({ backends, health, ...service }: NonNullable<RouterConfig["balancers"]>[number]): ServiceOptions {
  return { ...service, health, backends: backends as readonly BackendOptions[] | undefined } as ServiceOptions;
}
