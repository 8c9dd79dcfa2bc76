/** What a service shows of itself, in ipvsadm's words. */
import type { BackendStats } from "./backend.ts";
import type { Rates } from "./estimator.ts";
import type { Mode } from "./plane.ts";
import type { SchedulerName } from "./schedulers.ts";

export interface ServiceStats extends Rates {
  readonly name: string;
  readonly scheduler: SchedulerName;
  readonly mode: Mode;
  readonly activeConns: number;
  readonly conns: number;
  readonly inPkts: number;
  readonly outPkts: number;
  readonly inBytes: number;
  readonly outBytes: number;
  readonly backends: readonly BackendStats[];
}
