/** Memory of a router's own engine. */
import type { EngineOptions } from "../engine/engine.ts";
import type { RouterConfig } from "./schema.ts";

const DEFAULT_FLOWS = 65_536;

/** Room in memory for what the configuration has, and for as much again to be added while it runs. */
export function sizesOf({ interfaces, routes, policyRules, balancers = [], conntrack = {}, memory = {} }: RouterConfig): EngineOptions {
  const { neighbours: _, ...sizes } = memory;
  const tables = new Set([...(routes ?? []), ...(policyRules ?? [])].map(({ table }) => table).filter((each) => each !== undefined));
  const isGenerating = interfaces.filter(({ device }) => device?.kind === "generator");
  const backends = balancers.reduce((sum, each) => sum + (each.backends?.length ?? 0), 0);
  return {
    ports: Math.max(8, 2 * interfaces.length),
    bridges: Math.max(1, 2 * interfaces.filter(({ device }) => device?.kind === "bridge").length),
    tables: 2 + 2 * (tables.size + 3),
    buffers: 16_384,
    ringCapacity: 4096,
    puntCapacity: 8192,
    bareDescriptors: 16_384,
    nextHops: 4096,
    routes4: 100_000,
    routes6: 20_000,
    appBytes: 64 << 20,
    filterBytes: 16 << 20,
    queueBytes: 16 << 20,
    flows: conntrack.max ?? DEFAULT_FLOWS,
    flowEvents: conntrack.events ?? 4096,
    flowAccounting: (conntrack.accounting ?? true) ? 1 : 0,
    services: Math.max(4, 2 * balancers.length),
    backends: Math.max(256, 4 * backends),
    clients: 4096,
    generatorBytes: isGenerating.length * (4 << 20),
    ...sizes,
  };
}
