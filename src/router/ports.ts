/** What a router needs of a host's rules and of what it tracks. */
import type { Host } from "../host/host.ts";
import { Conntrack } from "../track/conntrack.ts";

export interface RuleEngine {
  /** Commands of nft, all of them or none; what `list` commands among them print. Throws a LoomError with nft's own words. */
  apply(text: string): string;
  /** `nft -j list ruleset`. */
  json(): unknown;
}

/** A packet that a rule logged. */
export interface LogEntry {
  readonly statement: { readonly prefix?: string };
  readonly in: string;
  readonly out: string;
  /** From the IP header on. */
  readonly packet: Uint8Array;
  /** Link-layer header, where there is one. */
  readonly link: Uint8Array;
  readonly mark: number;
}

interface HostWithRules {
  readonly firewall?: RuleEngine;
  readonly network?: { configure(options: { track?: boolean; defrag?: boolean; balance?: boolean }): unknown };
  onLog?(listener: (entry: LogEntry) => void): () => void;
}

const sizesOf = (host: Host) => host.engine.memory.layout.sizes;

/** Undefined where the engine has no room for rules. */
export function ruleEngineOf(host: Host): RuleEngine | undefined {
  return sizesOf(host).filterBytes > 0 ? (host as HostWithRules).firewall : undefined;
}

/** What is tracked even without a rule that asks for it: a listing of connections is part of the appliance, balancing needs them. */
export function trackingOf(host: Host): Conntrack | undefined {
  if (sizesOf(host).flows === 0) return undefined;
  (host as HostWithRules).network?.configure({ track: true, defrag: true, balance: sizesOf(host).services > 0 });
  return new Conntrack(host.engine);
}

export function logOf(host: Host, listener: (entry: LogEntry) => void): () => void {
  return ruleEngineOf(host) ? ((host as HostWithRules).onLog?.(listener) ?? (() => {})) : () => {};
}
