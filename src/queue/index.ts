/** Queueing and policing: qdiscs in front of a port's device, policers on both sides of it, and tc's words for them. */
export * from "./options.ts";
export { attachPolicers, type ColourStats, type PoliceAction, type PolicerOptions, type PolicerStats, type Policers } from "./police.ts";
export { attachQueue, PortQueue, type QdiscReport, queueOf } from "./queue.ts";
export type { ClassStats, QueueStats, TinStats } from "./stats.ts";
export { Tc } from "./tc.ts";
