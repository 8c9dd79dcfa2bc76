/** What a router needs of the engine of rules and of tracking. */
import type { Host } from "../host/host.ts";
import { Conntrack } from "../track/conntrack.ts";

export interface RuleEngine {
  /** Commands of nft, all of them or none. Throws a LoomError with nft's own words. */
  apply(text: string): void;
  /** `nft list ruleset`. */
  list(): string;
  /** `nft -j list ruleset`. */
  json(): unknown;
}

export function ruleEngineOf(host: Host): RuleEngine | undefined {
  return (host as { firewall?: RuleEngine }).firewall;
}

export function trackingOf(host: Host): Conntrack | undefined {
  return host.engine.memory.layout.sizes.flows > 0 ? new Conntrack(host.engine) : undefined;
}
