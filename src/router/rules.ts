/** A router's rules and what it tracks: the user's ruleset, the tables of the shortcuts, names that were opened by answers. */

import { LoomError } from "../base/errors.ts";
import type { DnsRecord } from "../dns/records.ts";
import { DEFAULT_TIMEOUTS } from "../engine/flows.ts";
import type { Family } from "../filter/expressions.ts";
import type { Firewall } from "../filter/firewall.ts";
import type { Host } from "../host/host.ts";
import type { AddressListener } from "../ip/addresses.ts";
import type { Conntrack } from "../track/conntrack.ts";
import { EGRESS_TABLE, type EgressPolicy, type Opening, openingKey } from "./egress.ts";
import { firewallOf, trackingOf } from "./ports.ts";
import { ownTables, rulesOf, transaction } from "./ruleset.ts";
import type { RouterConfig } from "./schema.ts";

type AddressRecord = DnsRecord & { readonly type: "A" | "AAAA" };
/** As many as a set of the policy holds. */
const MOST_ANSWERS = 65_535;
const OPENED_SETS = ["names4", "names6", "ports4", "ports6"];

export class Rules {
  readonly engine: Firewall | undefined;
  /** Undefined where the engine has no room for flows. */
  readonly conntrack: Conntrack | undefined;
  /** What went wrong when rules were made again for an address that came or went. */
  problem: LoomError | undefined;
  private readonly host: Host;
  private config: RouterConfig = { interfaces: [] };
  private user: string | undefined;
  private userTables: readonly { readonly family: Family; readonly name: string }[] = [];
  private tables: ReadonlyMap<string, string> = new Map();
  private isWaiting = false;
  private policy: EgressPolicy | undefined;
  /** What answers have brought, by name and address, while they live. */
  private readonly answers = new Map<string, { name: string; record: AddressRecord; until: number }>();
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
    this.apply(config, true);
    this.config = config;
  }

  /** Made again where they name addresses that changed. */
  refresh(): void {
    this.apply(this.config, false);
  }

  /** `whole`: the user's tables that somebody has taken away by hand come back, too. */
  private apply(config: RouterConfig, whole: boolean): void {
    const tables = ownTables(config, this.host.addresses());
    const source = rulesOf(config);
    const user = source.map(({ text }) => text).join("");
    // Tables of the shortcuts that somebody has taken away by hand (`nft flush ruleset`) come back.
    const there = new Map([...this.tables].filter(([name]) => this.engine?.has("inet", name) ?? false));
    const isGone = whole && this.userTables.some(({ family, name }) => !this.engine?.has(family, name));
    const changed = isGone || user !== (this.user ?? "");
    const sources = transaction(changed ? source : undefined, tables, there);
    const isNew = changed || sources.length > 0;
    if (isNew) this.use().apply(sources, { replace: changed });
    if (changed) this.userTables = this.use().spec.tables.filter(({ family, name }) => family !== "inet" || !tables.has(name));
    this.user = user;
    this.tables = tables;
    if (isNew) this.reopen();
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

  /** The policy for names from now on. What answers have opened stays so for as long as they said, as far as it allows their names. */
  setPolicy(policy: EgressPolicy | undefined): void {
    this.policy = policy;
    this.reopen();
  }

  /** An answer to a question for a name: what it allows is open for as long as it says, before it goes to who asked. */
  answered(name: string, records: readonly DnsRecord[]): void {
    if (!this.policy?.allows(name)) return;
    const now = this.host.engine.clock.now();
    for (const record of records) {
      if (record.type !== "A" && record.type !== "AAAA") continue;
      if (this.answers.size >= MOST_ANSWERS) this.forget(now);
      if (this.answers.size < MOST_ANSWERS) this.answers.set(`${name} ${record.address}`, { name, record, until: now + record.ttl * 1000 });
    }
    this.open(this.policy.openings(name, records));
  }

  private forget(now: number): void {
    for (const [key, { until, name }] of this.answers) if (until <= now || !this.policy?.allows(name)) this.answers.delete(key);
  }

  /** Sets of the policy hold what is allowed now, and nothing else: rules that were made anew know of no answers, and others of too many. */
  private reopen(): void {
    const { engine, policy } = this;
    if (!engine?.has("inet", EGRESS_TABLE)) return;
    for (const set of OPENED_SETS) {
      const where = { family: "inet", table: EGRESS_TABLE, set } as const;
      engine.deleteElements(where, engine.elements(where));
    }
    const now = this.host.engine.clock.now();
    this.forget(now);
    for (const { name, record, until } of this.answers.values())
      this.open(policy?.openings(name, [{ ...record, ttl: Math.ceil((until - now) / 1000) }]) ?? []);
  }

  /** Those that are open already stay so for that long from now. A full set opens no more: who asked gets the answer and is refused. */
  private open(openings: readonly Opening[]): void {
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
