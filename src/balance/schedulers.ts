/** Schedulers by name; in brackets what ipvsadm calls them. */
import { invalid } from "../base/errors.ts";
import { Ketama } from "./ketama.ts";
import { LeastConnections } from "./least-connections.ts";
import { Maglev } from "./maglev.ts";
import { RoundRobin } from "./round-robin.ts";
import type { Scheduler } from "./scheduler.ts";
import { SourceHash } from "./source-hash.ts";
import { WeightedRoundRobin } from "./weighted-round-robin.ts";

export interface SchedulerOptions {
  /** Ketama's points for weight 1. Default 150; 160 are libketama's. */
  readonly virtualNodes?: number;
  /** Ketama: how much of its share a backend gets at most. Default 1.05; Infinity never bounds (docs/balance.md). */
  readonly mostLoad?: number;
}

const MAKERS = {
  /** (rr) */
  "round-robin": () => new RoundRobin(),
  /** (wrr) */
  "weighted-round-robin": () => new WeightedRoundRobin(),
  /** (wlc) */
  "least-connections": () => new LeastConnections(),
  /** (sh) */
  "source-hash": () => new SourceHash(),
  ketama: ({ virtualNodes, mostLoad }: SchedulerOptions) => new Ketama(virtualNodes, mostLoad),
  /** (mh) */
  maglev: () => new Maglev(),
};

export type SchedulerName = keyof typeof MAKERS;

export const SCHEDULERS = Object.keys(MAKERS) as readonly SchedulerName[];

export function createScheduler(name: SchedulerName, options: SchedulerOptions = {}): Scheduler {
  if (!Object.hasOwn(MAKERS, name)) throw invalid(`there is no scheduler "${name}"; expected one of ${SCHEDULERS.join(", ")}`);
  return MAKERS[name](options);
}
