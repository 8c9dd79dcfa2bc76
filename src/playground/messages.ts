/** What the page and its worker tell each other. */
import type { Load } from "../measure/index.ts";

export type ToWorker = { type: "load"; tables: string[] } | { type: "run"; load: Load } | { type: "stop" };

export interface Figures {
  readonly packets: number;
  readonly mpps: number;
  readonly gbps: number;
  readonly plainMpps: number;
  readonly drops: Record<string, number>;
  readonly punts: Record<string, number>;
  /** The engine's own count of transmitted packets since the traffic was set. */
  readonly transmitted: number;
}

export type FromWorker =
  | { type: "loaded"; routes4: number; routes6: number; ms: number; bytes: number; build: string }
  | { type: "figures"; figures: Figures }
  | { type: "stopped"; figures: Figures; verified: boolean; problem?: string; samples: number }
  | { type: "failed"; message: string };
