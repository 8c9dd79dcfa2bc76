/** What a router needs of the engine of rules and of tracking. */

import type { Network } from "../engine/network.ts";
import type { Host } from "../host/host.ts";
import type { NetInterface } from "../ip/interface.ts";
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

/** What is tracked and balanced where nobody brings rules. */
export class Tracking {
  readonly conntrack: Conntrack | undefined;
  private readonly network: Network | undefined;

  constructor({ engine }: Host) {
    const { flows } = engine.memory.layout.sizes;
    this.conntrack = flows > 0 ? new Conntrack(engine) : undefined;
    this.network = flows > 0 ? engine.createNetwork().configure({ track: true, defrag: true, balance: true }) : undefined;
  }

  attach({ name, index, port }: NetInterface): void {
    this.network?.add(port).describe(port.index, { name, index, type: 1 });
  }

  detach({ port }: NetInterface): void {
    this.network?.remove(port);
  }
}
