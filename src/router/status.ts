/** A router at one moment, as plain data: for the live view, metrics, and programs. */

import type { Balancer } from "../balance/balancer.ts";
import type { ServiceStats } from "../balance/stats.ts";
import type { Host, LinkInfo } from "../host/host.ts";
import { queueOf } from "../queue/queue.ts";
import type { QueueStats } from "../queue/stats.ts";
import type { FlowStats } from "../track/conntrack.ts";
import type { Rules } from "./rules.ts";
import type { Services } from "./services.ts";

export interface RouterStatus {
  readonly uptimeMs: number;
  readonly interfaces: readonly (LinkInfo & {
    readonly addresses: readonly string[];
    readonly queue?: QueueStats & { readonly kind: string };
  })[];
  readonly drops: Readonly<Record<string, number>>;
  readonly punts: Readonly<Record<string, number>>;
  readonly forwarded: number;
  readonly conntrack?: FlowStats & { readonly max: number };
  readonly routes: number;
  readonly neighbours: number;
  readonly buffers: { readonly total: number; readonly free: number };
  readonly services: readonly ServiceStats[];
  readonly dns?: Readonly<Record<string, number>>;
  readonly dhcpLeases: Readonly<Record<string, number>>;
  /** What does not work at present, in a sentence each. */
  readonly problems: readonly string[];
}

/** What a router is made of. */
export interface Parts {
  readonly host: Host;
  readonly rules: Rules;
  readonly balancer: Balancer | undefined;
  readonly services: Services;
  readonly uptimeMs: number;
}

export function statusOf({ host, rules, balancer, services, uptimeMs }: Parts): RouterStatus {
  const { engine, ip } = host;
  const { drops, punts, stats } = engine.counters();
  const addresses = host.addresses();
  const { conntrack } = rules;
  const dns = services.dnsServer;
  return {
    uptimeMs,
    interfaces: host.links().map((link) => {
      const queue = queueOf(engine, ip.interface(link.name).port);
      return {
        ...link,
        addresses: addresses.filter((each) => each.interface === link.name).map(({ address, length }) => `${address}/${length}`),
        ...(queue && { queue: { ...queue.stats(), kind: queue.options.kind } }),
      };
    }),
    drops: drops as Record<string, number>,
    punts: punts as Record<string, number>,
    forwarded: stats.transmitted,
    ...(conntrack && { conntrack: { ...conntrack.stats(), max: conntrack.capacity } }),
    routes: ip.routes.list().filter(({ kind }) => kind !== "local").length,
    neighbours: ip.neighbours.list().filter(({ mac }) => mac !== undefined).length,
    buffers: engine.pool(),
    services: balancer ? [...balancer.services.values()].map((each) => each.stats()) : [],
    ...(dns && { dns: { ...dns.counters } }),
    dhcpLeases: Object.fromEntries(
      [...services.dhcpServers].map(([name, { server }]) => [name, server.export().filter(({ state }) => state === "bound").length]),
    ),
    problems: rules.problem ? [`rules: ${rules.problem.message}`] : [],
  };
}
