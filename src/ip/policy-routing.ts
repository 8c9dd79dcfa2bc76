/**
 * Several routing tables and the rules that choose among them, as `ip rule` has them.
 *
 * Every rule is asked in turn, until a table has a route: here for what this host sends, by the data plane for what comes in
 * (engine/lookup-rules.ts). This host's own addresses come before all rules.
 */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Engine } from "../engine/engine.ts";
import type { LookupRule, LookupRules } from "../engine/lookup-rules.ts";
import type { RouteTable } from "../engine/route-table.ts";
import type { NetInterface } from "./interface.ts";
import type { Neighbours } from "./neighbours.ts";
import { Routes } from "./routes.ts";
import { isOf, lookupRule, matches, type PathHint, type Rule } from "./rule.ts";

export const MAIN_TABLE = 254;
const MAIN_PRIORITY = 32_766;
const FAMILIES = [4, 6] as const;
/** The rule of every host that nobody has changed. */
const MAIN_RULE: Rule = { priority: MAIN_PRIORITY, table: MAIN_TABLE };

type Tables = { readonly 4: RouteTable; readonly 6: RouteTable };

export class PolicyRouting {
  private readonly engine: Engine;
  private readonly neighbours: Neighbours;
  private readonly interfaces: readonly NetInterface[];
  private readonly main: Routes;
  private readonly others = new Map<number, { routes: Routes; tables: Tables }>();
  private readonly mainTables: Tables;
  /** What all ports have. */
  private readonly shared: { readonly 4: LookupRules; readonly 6: LookupRules };
  private readonly rules: Rule[] = [MAIN_RULE];

  constructor(engine: Engine, neighbours: Neighbours, interfaces: readonly NetInterface[], main: Routes, tables: Tables) {
    this.engine = engine;
    this.neighbours = neighbours;
    this.interfaces = interfaces;
    this.main = main;
    this.mainTables = tables;
    this.shared = { 4: engine.createLookupRules(4), 6: engine.createLookupRules(6) };
  }

  /** The routes of a table, made when new. ENOMEM: create the engine with more `tables`. */
  table(number: number): Routes {
    if (number === MAIN_TABLE) return this.main;
    if (!(Number.isInteger(number) && number >= 1 && number <= 0xffffffff)) {
      throw new LoomError("EINVAL", `table ${number}; expected a number from 1, 254 being the main one`);
    }
    const known = this.others.get(number);
    return known ? known.routes : this.make(number);
  }

  private make(number: number): Routes {
    // The same next hops in every table: a neighbour is one neighbour.
    const tables = { 4: this.engine.createTable(4, this.mainTables[4]), 6: this.engine.createTable(6, this.mainTables[6]) };
    const routes = new Routes(tables, this.neighbours, this.main);
    this.others.set(number, { routes, tables });
    return routes;
  }

  /** Tables that there are beside the main one. */
  numbers(): number[] {
    return [...this.others.keys()];
  }

  /** The data plane's tables of a family, the main one first. */
  tablesOf(family: 4 | 6): RouteTable[] {
    return [this.mainTables[family], ...[...this.others.values()].map(({ tables }) => tables[family])];
  }

  list(): readonly Rule[] {
    return this.rules;
  }

  add(rule: Rule): void {
    const { from, to, priority } = rule;
    if (from && to && from.address.family !== to.address.family) throw new LoomError("EINVAL", "a rule from one family to another");
    if (this.rules.some((other) => other.priority === priority)) {
      throw new LoomError("EEXIST", `there is a rule with priority ${priority} already`);
    }
    this.table(rule.table);
    const before = [...this.rules];
    this.rules.push(rule);
    this.rules.sort((a, b) => a.priority - b.priority);
    try {
      this.apply();
    } catch (error) {
      // No room for it in the data plane, where nothing has changed.
      this.rules.splice(0, this.rules.length, ...before);
      throw error;
    }
  }

  delete(priority: number): void {
    const at = this.rules.findIndex((rule) => rule.priority === priority);
    if (at < 0) throw new LoomError("ENOENT", `there is no rule with priority ${priority}`);
    this.rules.splice(at, 1);
    this.apply();
  }

  /** Each port gets the rules; where the main table alone does, none. A list that became no longer needs no memory. */
  apply(): void {
    const rules = FAMILIES.map((family) => (this.isPlain ? undefined : this.lookupRules(family)));
    // Room for both before either is written, so that there are new lists of both families or of none.
    for (const [i, family] of FAMILIES.entries()) if (rules[i]) this.shared[family].reserve(rules[i].length);
    const lists = FAMILIES.map((family, i) => (rules[i] ? this.shared[family].write(rules[i]) : 0));
    for (const { port } of this.interfaces) {
      // Never a table without its rules.
      for (const [i, family] of FAMILIES.entries()) port.useRules(family, lists[i]);
      port.configure({ table4: this.mainTables[4], table6: this.mainTables[6] });
    }
    for (const family of FAMILIES) this.shared[family].written();
    this.main.generation++;
  }

  private get isPlain(): boolean {
    return this.rules.length === 1 && this.rules[0] === MAIN_RULE;
  }

  /** The rules of a family as the data plane has them. */
  private lookupRules(family: 4 | 6): LookupRule[] {
    const rules = this.rules.filter((rule) => isOf(rule, family));
    return rules.map((rule) => {
      const tables = this.others.get(rule.table)?.tables ?? this.mainTables;
      return { ...lookupRule(rule), table: tables[family], hop: rule.action && this.main.endHop(family, rule.action) };
    });
  }

  /** An interface goes, with its routes in every table and the rules that name it. */
  withdraw(iface: NetInterface): void {
    for (let i = this.rules.length - 1; i >= 0; i--)
      if (this.rules[i].iif === iface || this.rules[i].oif === iface) this.rules.splice(i, 1);
    for (const { routes } of this.others.values()) routes.withdraw(iface, false);
    this.apply();
  }

  /** Gives every table back to the engine. */
  close(): void {
    for (const family of FAMILIES) this.shared[family].close();
    const all = [...this.others.values(), { routes: this.main, tables: this.mainTables }];
    for (const { routes } of all) routes.clear();
    for (const { tables } of all) for (const family of FAMILIES) this.engine.releaseTable(tables[family]);
    this.others.clear();
  }

  /** A next hop for what this host sends, from a socket bound to `oif` if to any; 0 for none. */
  lookup(to: IpAddress, hint?: PathHint, oif?: NetInterface): number {
    const own = this.main.lookup(to);
    if (this.isPlain || this.main.meaning(to.family, own)?.kind === "local") return own;
    const rule = this.ruleFor(to, hint, oif);
    if (!rule) return 0;
    return rule.action ? this.main.endHop(to.family, rule.action) : this.table(rule.table).lookup(to);
  }

  /** The rule by which a packet finds its way. */
  ruleFor(to: IpAddress, hint?: PathHint, oif?: NetInterface): Rule | undefined {
    return this.rules.find(
      (rule) => matches(rule, to, hint, oif) && (rule.action !== undefined || this.table(rule.table).lookup(to) !== 0),
    );
  }
}
