/**
 * Several routing tables and the rules that choose among them, as `ip rule` has them.
 *
 * What this host sends is looked up by every rule in turn, until a table has a route. What it forwards is looked up by the
 * data plane, which knows one table for each port: the one of the first rule that is for everything that comes in there.
 * Rules by source, destination, protocol or ports do not reach forwarded packets, nor does a packet that its port's
 * table has no route for go on to the next rule. An action instead of a table is a table with one default route.
 */
import { parsePrefix } from "../base/address.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Engine } from "../engine/engine.ts";
import type { RouteTable } from "../engine/route-table.ts";
import type { NetInterface } from "./interface.ts";
import type { Neighbours } from "./neighbours.ts";
import { Routes } from "./routes.ts";
import { matches, matchesAllFrom, type PathHint, type Rule, type RuleAction } from "./rule.ts";

export const MAIN_TABLE = 254;
const MAIN_PRIORITY = 32_766;
/** Of no number that a person can name. */
const END_TABLES = { blackhole: 2 ** 32, unreachable: 2 ** 32 + 1, prohibit: 2 ** 32 + 2 } as const;

type Tables = { readonly 4: RouteTable; readonly 6: RouteTable };

export class PolicyRouting {
  private readonly engine: Engine;
  private readonly neighbours: Neighbours;
  private readonly interfaces: readonly NetInterface[];
  private readonly main: Routes;
  private readonly others = new Map<number, { routes: Routes; tables: Tables }>();
  private readonly mainTables: Tables;
  private readonly rules: Rule[] = [{ priority: MAIN_PRIORITY, table: MAIN_TABLE }];

  constructor(engine: Engine, neighbours: Neighbours, interfaces: readonly NetInterface[], main: Routes, tables: Tables) {
    this.engine = engine;
    this.neighbours = neighbours;
    this.interfaces = interfaces;
    this.main = main;
    this.mainTables = tables;
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

  /** A table in which everything but this host's own addresses ends, as it must for what is forwarded. */
  private endTable(action: RuleAction): number {
    const number = END_TABLES[action];
    if (!this.others.has(number)) {
      const routes = this.make(number);
      for (const all of ["0.0.0.0/0", "::/0"]) {
        routes.add({ prefix: parsePrefix(all), kind: action, nextHops: [], metric: 0, protocol: "static" });
      }
    }
    return number;
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
    this.rules.push(rule);
    this.rules.sort((a, b) => a.priority - b.priority);
    try {
      this.apply();
    } catch (error) {
      this.delete(priority); // No room for the table that its action needs.
      throw error;
    }
  }

  delete(priority: number): void {
    const at = this.rules.findIndex((rule) => rule.priority === priority);
    if (at < 0) throw new LoomError("ENOENT", `there is no rule with priority ${priority}`);
    this.rules.splice(at, 1);
    this.apply();
  }

  /** Each port gets the table that holds for it. */
  apply(): void {
    for (const iface of this.interfaces) {
      const rule = this.rules.find((each) => matchesAllFrom(each, iface));
      const number = rule?.action ? this.endTable(rule.action) : (rule?.table ?? MAIN_TABLE);
      const { tables } = this.others.get(number) ?? { tables: this.mainTables };
      iface.port.configure({ table4: tables[4], table6: tables[6] });
    }
    this.main.generation++;
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
    const all = [...this.others.values(), { routes: this.main, tables: this.mainTables }];
    for (const { routes } of all) routes.clear();
    for (const { tables } of all) for (const family of [4, 6] as const) this.engine.releaseTable(tables[family]);
    this.others.clear();
  }

  /** A next hop for what this host sends, from a socket bound to `oif` if to any; 0 for none. */
  lookup(to: IpAddress, hint?: PathHint, oif?: NetInterface): number {
    if (this.rules.length === 1 && this.rules[0].table === MAIN_TABLE) return this.main.lookup(to);
    for (const rule of this.rules) {
      if (!matches(rule, to, hint, oif)) continue;
      if (rule.action) return this.main.endHop(to.family, rule.action);
      const hop = this.table(rule.table).lookup(to);
      if (hop !== 0) return hop;
    }
    return 0;
  }
}
