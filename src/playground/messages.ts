/** What the page and its workers tell each other. */
import type { Load } from "../measure/index.ts";

// ── The router ──────────────────────────────────────────────────────────────────────────────────

export type ToWorker = { type: "load"; tables: string[] } | { type: "run"; load: Load; workers: number } | { type: "stop" };

export interface Figures {
  readonly packets: number;
  /** Packets handled: those that ended in a drop or at the host are among them. */
  readonly mpps: number;
  /** Forwarded. */
  readonly gbps: number;
  /** The rival's rate: handled as well. */
  readonly plainMpps: number;
  readonly drops: Record<string, number>;
  readonly punts: Record<string, number>;
  /** The engine's own count of transmitted packets since the traffic was set. */
  readonly transmitted: number;
  /** Seconds since the first reading. */
  readonly seconds: number;
}

export type FromWorker =
  | { type: "loaded"; routes4: number; routes6: number; ms: number; bytes: number; build: string }
  | { type: "figures"; figures: Figures }
  | { type: "stopped"; figures: Figures; verified: boolean; problem?: string; samples: number }
  | { type: "failed"; message: string };

// ── Two hosts ───────────────────────────────────────────────────────────────────────────────────

export type ToTcp = { type: "run"; congestion: string; cut: boolean } | { type: "stop" };

export type FromTcp =
  | { type: "bulk"; at: number; gbps: number; cwnd: number; srtt: number; mode: string; retransmissions: number }
  | { type: "rtt"; us: number; trips: number }
  | { type: "connections"; perSecond: number; done: number }
  | { type: "done"; stopped: boolean }
  | { type: "failed"; message: string };

// ── The lab ─────────────────────────────────────────────────────────────────────────────────────

export interface Path {
  /** One way (ms), share that is lost, bits a second. */
  readonly delay: number;
  readonly loss: number;
  readonly rate: number;
  readonly seed: number;
}

export type ToLab = { type: "run"; path: Path; seconds: number };

export interface LabResult {
  readonly name: string;
  readonly mbps: number;
  readonly srtt: number;
  readonly retransmissions: number;
}

export type FromLab =
  | { type: "row"; at: number; mbps: number[] }
  | { type: "done"; results: LabResult[]; ms: number }
  | { type: "failed"; message: string };

// ── The gateway ─────────────────────────────────────────────────────────────────────────────────

export type ToGateway = { type: "run"; rules: string } | { type: "apply"; rules: string } | { type: "stop" };

/** What came of one machine's attempt to reach another. */
export interface Try {
  readonly name: string;
  readonly result: string;
  readonly isReached: boolean;
  readonly ms: number;
}

export type FromGateway =
  /** `rules`: what `nft list ruleset` prints; `flows`: lines of conntrack, the newest of `count`. */
  | { type: "state"; tries: Try[]; rules: string; flows: string[]; count: number }
  | { type: "applied"; ms: number }
  | { type: "refused"; message: string; hasRules: boolean }
  | { type: "stopped" }
  | { type: "failed"; message: string };

// ── Tabs ────────────────────────────────────────────────────────────────────────────────────────

export type ToTab = { type: "join" } | { type: "say"; text: string } | { type: "fetch"; address: string };

export type FromTab =
  | { type: "joined"; address: string }
  | { type: "peers"; peers: { address: string; ms?: number }[] }
  | { type: "said"; address: string; text: string }
  | { type: "heard"; address: string; bytes: number }
  | { type: "fetched"; address: string; mbytes: number; gbps: number }
  | { type: "failed"; message: string };
