/** A router's rules and what it tracks: the user's ruleset, the tables of the shortcuts, names that were opened by answers. */

import { LoomError } from "../base/errors.ts";
import { DEFAULT_TIMEOUTS } from "../engine/flows.ts";
import type { Firewall } from "../filter/firewall.ts";
import type { Host } from "../host/host.ts";
import type { AddressListener } from "../ip/addresses.ts";
import type { Conntrack } from "../track/conntrack.ts";
import { EGRESS_TABLE, type Opening, openingKey } from "./egress.ts";
import { firewallOf, trackingOf } from "./ports.ts";
import { ownTables, rulesOf, transaction } from "./ruleset.ts";
import type { RouterConfig } from "./schema.ts";

export class Rules {
  readonly engine: Firewall | undefined;
  /** Undefined where the engine has no room for flows. */
  readonly conntrack: Conntrack | undefined;
  /** What went wrong when rules were made again for an address that came or went. */
  problem: LoomError | undefined;
  private readonly host: Host;
  private config: RouterConfig = { interfaces: [] };
  private user: string | undefined;
  private tables: ReadonlyMap<string, string> = new Map();
  private isWaiting = false;
  private readonly listener: AddressListener = () => this.later();

  constructor(host: Host) {
    this.host = host;
    this.conntrack = trackingOf(host);
    this.engine = firewallOf(host);
    host.ip.addresses.listeners.add(this.listener);
  }

  /** The rules of a configuration, all of them or none. */
  set(config: RouterConfig): void {
    const { tcpBeLiberal, tcpLoose, timeouts } = config.conntrack ?? {};
    this.conntrack?.configure({
      tcpBeLiberal: tcpBeLiberal ?? false,
      tcpLoose: tcpLoose ?? true,
      timeouts: { ...DEFAULT_TIMEOUTS, ...(timeouts as Record<string, number> | undefined) },
    });
    this.apply(config);
    this.config = config;
  }

  /** Made again where they name addresses that changed. */
  refresh(): void {
    this.apply(this.config);
  }

  private apply(config: RouterConfig): void {
    const tables = ownTables(config, this.host.addresses());
    const source = rulesOf(config);
    const user = source.map(({ text }) => text).join("");
    // Tables of the shortcuts that somebody has taken away by hand (`nft flush ruleset`) come back.
    const there = new Map([...this.tables].filter(([name]) => this.engine?.has("inet", name) ?? false));
    const changed = user !== (this.user ?? "");
    const sources = transaction(changed ? source : undefined, tables, there);
    if (changed || sources.length > 0) this.use().apply(sources, { replace: changed });
    this.user = user;
    this.tables = tables;
  }

  private use(): Firewall {
    if (!this.engine) throw new LoomError("ENOTSUP", "this router's engine has no room for rules; create it with filterBytes and flows");
    return this.engine;
  }

  /** After whatever happens to addresses now. */
  private later(): void {
    if (this.isWaiting) return;
    this.isWaiting = true;
    queueMicrotask(() => {
      this.isWaiting = false;
      try {
        this.refresh();
        this.problem = undefined;
      } catch (error) {
        this.problem = error as LoomError;
      }
    });
  }

  /**
   * Addresses that an answer allowed, for as long as it says; those that are open already stay so for that long from now. A full set
   * opens no more: who asked gets the answer and is refused.
   */
  open(openings: readonly Opening[]): void {
    for (const opening of openings) {
      const elements = [{ key: openingKey(opening), timeoutMs: opening.timeoutSeconds * 1000 }];
      try {
        this.use().addElements({ family: "inet", table: EGRESS_TABLE, set: opening.set }, elements);
      } catch (error) {
        this.problem = error as LoomError;
      }
    }
  }

  close(): void {
    this.host.ip.addresses.listeners.delete(this.listener);
  }
}
