/**
 * The rules of a network, in nftables' language: text in, packets through, text out.
 *
 *   const firewall = new Firewall(engine, network);
 *   firewall.apply("table inet filter { chain forward { type filter hook forward priority 0; policy drop; ct state established accept } }");
 *   firewall.list();
 *
 * A text is applied as a whole or not at all, and comes into force between two bursts: no packet meets half of it. What
 * stays the same keeps its counters and its elements. Tracking runs while something asks for it, as in the kernel.
 */

import * as abi from "../../assembly/abi.ts";
import type { Clock } from "../base/clock.ts";
import { LoomError } from "../base/errors.ts";
import { anything, checkOptions, oneOf, type Shape, text, yesNo } from "../base/options.ts";
import type { Engine } from "../engine/engine.ts";
import type { Network, Tracked } from "../engine/network.ts";
import type { Expression, Family, LogSpec, RulesetSpec, SetElement } from "./expressions.ts";
import {
  existingRules,
  fromJson,
  isJson,
  type ListOptions,
  listRuleset,
  parseRuleset,
  Ruleset,
  type RulesetJson,
  type RulesetOptions,
  rulesetJson,
  type Source,
  type TranslateOptions,
  translated,
} from "./language/index.ts";
import { showRule } from "./language/list.ts";
import type { SetDefinition } from "./language/model.ts";
import type { HeldTable } from "./language/tables.ts";
import { liveSet, liveTables } from "./live.ts";
import { traceVerdict } from "./machine/link.ts";
import { Machine, type MachineOptions } from "./machine/machine.ts";
import type { TracePoint } from "./machine/registry.ts";
import type { ObjectState, RuleState, TableName } from "./machine/state.ts";
import { checkSupported } from "./supported.ts";
import type { Traced } from "./trace.ts";

/** What rules may ask of a socket (nft's `socket`). */
export interface SocketFacts {
  readonly transparent: boolean;
  /** SO_MARK; undefined where it is none any more, or not yet (TIME-WAIT). */
  readonly mark: number | undefined;
  /** It listens on every address. */
  readonly wildcard: boolean | undefined;
}

export interface FirewallOptions extends RulesetOptions {
  readonly random?: MachineOptions["random"];
  /** The socket that a packet is for, or of; none where nothing is said. */
  readonly socketOf?: (id: number) => SocketFacts | undefined;
}

export interface FirewallApplyOptions extends ListOptions {
  /** What errors call the text. */
  readonly file?: string;
  /** Commands may be JSON, and listings are (`nft -j`). */
  readonly json?: boolean;
  /** Only find out whether it could be applied (`nft -c`). */
  readonly check?: boolean;
  /** In place of all rules there are. */
  readonly replace?: boolean;
}

export interface IptablesOptions extends Omit<TranslateOptions, "existing"> {
  /** Only find out whether it could be applied (`iptables-restore --test`). */
  readonly check?: boolean;
}

const APPLY: Shape<FirewallApplyOptions> = {
  file: text,
  json: yesNo,
  check: yesNo,
  replace: yesNo,
  handles: yesNo,
  stateless: yesNo,
  terse: yesNo,
  numeric: yesNo,
  numericPriority: yesNo,
  numericTime: yesNo,
  numericProtocol: yesNo,
  userNames: yesNo,
  serviceNames: yesNo,
};
const IPTABLES: Shape<IptablesOptions> = {
  check: yesNo,
  family: oneOf("ip", "ip6"),
  file: text,
  lines: anything,
  columns: anything,
  restore: yesNo,
};

export class Firewall {
  private readonly clock: Clock;
  private readonly hasBridges: boolean;
  private readonly network: Network;
  private readonly machine: Machine;
  private ruleset: Ruleset;
  /** Rules that have told of a packet, as text: a rule that changes is another point. */
  private readonly texts = new WeakMap<TracePoint, string>();
  private tracked: Tracked = { 4: false, 6: false, defrag: false };

  constructor(engine: Engine, network: Network, options: FirewallOptions = {}) {
    if (engine.memory.layout.sizes.filterBytes === 0) {
      throw new LoomError("ENOTSUP", "this engine has no room for rules; create it with `filterBytes` (a megabyte does for most)");
    }
    this.clock = engine.clock;
    this.hasBridges = engine.memory.layout.sizes.bridges > 0;
    this.network = network;
    const { random, socketOf } = options;
    this.machine = new Machine(engine, network, { random, ...(socketOf && { plane: { socketField: socketField(engine, socketOf) } }) });
    this.ruleset = new Ruleset(options);
  }

  /**
   * Commands as nft takes them, of one text or several, all or none. Returns what `list` and `reset` commands among them print. Throws an {@link NftError}
   * (EINVAL) of nft's own kind.
   */
  apply(commands: string | readonly Source[], options: FirewallApplyOptions = {}): string {
    checkOptions("apply", APPLY, options);
    const { file = "ruleset", json, check, replace, ...listing } = options;
    const next = replace ? this.ruleset.empty() : this.ruleset.fork();
    const sources = typeof commands === "string" ? [{ name: file, text: commands }] : commands;
    const applied = sources.map((source) =>
      next.apply(parseRuleset(json && isJson(source.text) ? fromJson(source) : source), {
        ...listing,
        json,
        live: (tables) => this.live(tables),
        current: (table, set) => this.current(table, set),
      }),
    );
    if (check) {
      const spec = next.spec();
      checkSupported(spec, this.hasBridges, (rule, why) => next.blame(rule, why));
      this.machine.check(spec, new Set(applied.flatMap(({ touched }) => [...touched])));
      return "";
    }
    if (!next.isSame(this.ruleset)) this.load(next, new Set(applied.flatMap(({ touched }) => [...touched])));
    for (const table of applied.flatMap(({ resets }) => resets)) this.reset(table);
    return applied.flatMap(({ output }) => output).join(json ? "\n" : "");
  }

  /**
   * Commands as iptables or ip6tables takes them, or what iptables-save prints: all or none. `-D`, `-C` and `-X` mean the rules in force. Throws an
   * {@link NftError} (EINVAL) with the place of what cannot be translated, or is not there.
   */
  applyIptables(commands: string, options: IptablesOptions = {}): void {
    checkOptions("applyIptables", IPTABLES, options);
    const { check, ...rest } = options;
    this.apply([translated(commands, { ...rest, existing: existingRules(this.ruleset) })], { check });
  }

  /** Only of a set that is the very one in force: what this text has made or changed already is as it says. */
  private current({ family, name, handle }: HeldTable, set: SetDefinition): SetDefinition | undefined {
    const inForce = this.ruleset.tables.find((each) => each.family === family && each.name === name);
    if (inForce?.handle !== handle || inForce.sets.get(set.name) !== set) return undefined;
    return liveSet(set, this.machine.elementsIfAny({ family, table: name, set: set.name }));
  }

  private live(tables: readonly HeldTable[]): readonly HeldTable[] {
    return liveTables(tables, this.machine, this.clock.now());
  }

  private reset({ family, name: table, chains, objects }: HeldTable): void {
    for (const { name, rules } of chains.values()) for (const { handle } of rules) this.machine.resetRule({ family, table }, name, handle);
    for (const { spec } of objects.values()) this.machine.resetObject({ family, table }, spec.object.type, spec.name);
  }

  private load(next: Ruleset, touched: ReadonlySet<string>): void {
    const spec = next.spec();
    checkSupported(spec, this.hasBridges, (rule, why) => next.blame(rule, why));
    const [before, wanted] = [this.tracked, trackedBy(spec)];
    // Flows are tracked before a rule asks for them, and no longer when none does any more.
    this.track({ 4: before[4] || wanted[4], 6: before[6] || wanted[6], defrag: before.defrag || wanted.defrag });
    try {
      this.machine.load(spec, touched);
    } catch (error) {
      this.track(before);
      throw error;
    }
    next.forgetTexts();
    this.ruleset = next;
    this.track(wanted);
    this.network.configure({
      nat: hasNat(spec),
      helpers: hasHelpers(spec) || undefined,
      proxies: hasProxies(spec) || undefined,
      zones: hasZones(spec),
    });
  }

  private track(wanted: Tracked): void {
    this.network.track("rules", wanted);
    this.tracked = wanted;
  }

  /** What `nft list ruleset` prints, with what has been counted. */
  list(options: ListOptions = {}): string {
    return listRuleset(this.live(this.ruleset.tables), this.ruleset.names, options);
  }

  /** What `nft -j list ruleset` prints, as an object. */
  json(): RulesetJson {
    return rulesetJson(this.live(this.ruleset.tables), this.ruleset.names);
  }

  /** No rules any more: what they held of the engine's memory is free again when no worker can see it. */
  close(): void {
    this.ruleset = this.ruleset.empty();
    this.machine.close();
  }

  has(family: Family, table: string): boolean {
    return this.ruleset.tables.some((each) => each.family === family && each.name === table);
  }

  get spec(): RulesetSpec {
    return this.machine.spec;
  }

  /** What rules have counted. */
  counters(): RuleState[] {
    return this.machine.counters();
  }

  objects(): ObjectState[] {
    return this.machine.objects();
  }

  elements(set: TableName & { set: string }): SetElement[] {
    return this.machine.elements(set);
  }

  /** Puts elements into a named set, without a new ruleset: for programs that feed sets. */
  addElements(set: TableName & { set: string }, elements: readonly SetElement[]): void {
    this.machine.addElements(set, elements);
  }

  deleteElements(set: TableName & { set: string }, elements: readonly SetElement[]): number {
    return this.machine.deleteElements(set, elements);
  }

  /** So many listen to queues. */
  listening(count: number): void {
    this.machine.listening(count);
  }

  /** Whether somebody hears of packets that are followed. */
  tracing(isHeard: boolean): void {
    this.machine.tracing(isHeard);
  }

  /** What was told of a packet that is followed (PUNT_TRACE's number, TRACE_VERDICT, TRACE_CHAIN), while that rule or policy is in force. */
  traced(number: number, verdict: number, to: number): Traced | undefined {
    const point = this.machine.statement(number);
    if (point?.op !== "trace") return undefined;
    const { family, table, chain, handle } = point;
    const said = traceVerdict(verdict, () => this.machine.chainName(to));
    return { family, table, chain, verdict: said, ...(handle !== undefined && { handle, rule: this.ruleText(point) }) };
  }

  /** A rule as `nft list` shows it; undefined when it is there no longer. */
  private ruleText(point: TracePoint): string | undefined {
    const known = this.texts.get(point);
    if (known !== undefined) return known;
    const { family, table, chain, handle } = point;
    const rule = handle === undefined ? undefined : this.ruleset.rule({ family, table, chain, handle });
    if (!rule) return undefined;
    const text = showRule(rule.rule, family, this.ruleset.names);
    this.texts.set(point, text);
    return text;
  }

  /** The log statement that a number names (PUNT_LOG), while it is in force. */
  logStatement(number: number): LogSpec | undefined {
    const statement = this.machine.statement(number);
    return statement?.op === "log" ? statement : undefined;
  }
}

/** What cannot be answered without tracking. */
const TRACKED: ReadonlySet<Expression["op"]> = new Set(["ct", "ct-set", "nat", "masq", "redir", "notrack", "connlimit", "synproxy"]);

/** (worker, position, key, out): writes what a rule asks of a packet's socket; 0 where it has none, or none that says so. */
function socketField({ memory }: Engine, socketOf: (id: number) => SocketFacts | undefined) {
  return (worker: number, position: number, key: number, out: number): number => {
    const facts = socketOf(memory.getU32(worker + abi.VEC_IDS + 4 * position));
    const value = facts && [facts.transparent, facts.mark, facts.wildcard][key];
    if (value === undefined) return 0;
    memory.setU32(out, Number(value));
    return 1;
  };
}

/** Each family is tracked when a rule of it asks for that, as in the kernel: a chain of type nat alone does not. */
function trackedBy({ tables }: RulesetSpec): Tracked {
  const asking = tables.filter(({ dormant, chains, objects }) => {
    const rules = chains.flatMap((chain) => chain.rules);
    return (
      !dormant &&
      (rules.some(({ expressions }) => expressions.some(({ op }) => TRACKED.has(op))) ||
        objects.some(({ object }) => object.type.startsWith("ct ")))
    );
  });
  const has = (family: string) => asking.some((table) => table.family === family || table.family === "inet");
  return { 4: has("ip"), 6: has("ip6"), defrag: asking.length > 0 };
}

function hasNat({ tables }: RulesetSpec): boolean {
  return tables.some(({ chains, dormant }) => !dormant && chains.some(({ base }) => base?.type === "nat"));
}

function hasHelpers({ tables }: RulesetSpec): boolean {
  return tables.some(({ objects }) => objects.some(({ object }) => object.type === "ct helper"));
}

const someExpression = ({ tables }: RulesetSpec, isOne: (e: Expression) => boolean): boolean =>
  tables.some(({ chains }) => chains.some(({ rules }) => rules.some(({ expressions }) => expressions.some(isOne))));

const hasProxies = (spec: RulesetSpec) => someExpression(spec, (e) => e.op === "synproxy" || (e.op === "objref" && e.type === "synproxy"));

const hasZones = (spec: RulesetSpec) => someExpression(spec, (e) => e.op === "ct-set" && e.key === "zone");
