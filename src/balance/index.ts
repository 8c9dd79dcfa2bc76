/** Load balancing: schedulers, services and their backends, health checks (docs/balance.md). */
export { Affinity } from "./affinity.ts";
export type { Changes } from "./apply.ts";
export { Backend, type BackendStats } from "./backend.ts";
export { type BackendEvent, type BackendState, nextState } from "./backend-state.ts";
export { Balancer, type BalancerOptions } from "./balancer.ts";
export { EnginePlane, enginePlane } from "./engine-plane.ts";
export type { Rates } from "./estimator.ts";
export { type CheckResult, type Connect, type ConnectTarget, type HealthOptions, type HealthStream, probe } from "./health.ts";
export { Ketama, MOST_LOAD, type Ring, VIRTUAL_NODES } from "./ketama.ts";
export { type Listing, listServices } from "./listing.ts";
export type { BackendOptions, ServiceOptions } from "./options.ts";
export type { BackendRecord, BalancePlane, Mode, ServiceRecord, Traffic } from "./plane.ts";
export { type Member, NOBODY, type PickRule, type PickTable, type Scheduler, SLOTS } from "./scheduler.ts";
export { createScheduler, SCHEDULERS, type SchedulerName, type SchedulerOptions } from "./schedulers.ts";
export { Service, type ServiceEvent } from "./service.ts";
export type { ServiceStats } from "./stats.ts";
