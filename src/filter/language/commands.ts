/** Commands, run one after the other on a draft. What they may refer to is what stands before them, and the tables. */
import type { Family, Hook } from "../expressions.ts";
import type {
  AddCommand,
  ChainItem,
  Command,
  Comment,
  HookNode,
  InTable,
  Named,
  Node,
  RuleNode,
  SetItem,
  TableItem,
  VariableNode,
} from "./ast.ts";
import { resolve } from "./constants.ts";
import { deleteCommand, flushCommand } from "./deletions.ts";
import { Fault, type Source } from "./faults.ts";
import { selectionJson } from "./json.ts";
import { type ListOptions, listSelection } from "./list.ts";
import type { BoundChain, Element, Part, SetDefinition } from "./model.ts";
import { objectSpec } from "./objects.ts";
import { parseChainBlock, parseRuleset, parseTableBlock } from "./parse.ts";
import { chainProblem, writtenPriority } from "./priorities.ts";
import { KERNEL_MISSING, KERNEL_UNSUPPORTED, type RuleScope } from "./rule-scope.ts";
import { joined, type Run, runsOf } from "./runs.ts";
import { type Selection, select } from "./select.ts";
import { addElements, declareSet, withElements, writtenElements } from "./set-declarations.ts";
import { commentOf } from "./sets.ts";
import { evaluateRule } from "./statements.ts";
import { type Draft, type DraftTable, type HeldChain, type HeldRule, type HeldTable, objectKey, tableKey } from "./tables.ts";
import type { Names } from "./types.ts";
import type { Span } from "./vocabulary.ts";

const MOST_EXPANSIONS = 100_000;
/** Elements of a set that packets fill, where nothing is said. */
const MOST_DYNAMIC = 65_535;
const EXISTS = "Could not process rule: File exists";
type Include = (path: string) => readonly Source[];
/** Definitions of one block; those of the blocks around it are seen through it. */
class Variables {
  private readonly own = new Map<string, Node>();
  constructor(private readonly outer?: Variables) {}
  get(name: string): Node | undefined {
    return this.own.get(name) ?? this.outer?.get(name);
  }
  define(item: { readonly name: string; readonly value: Node; readonly again?: boolean; readonly at: Span }): void {
    if (this.own.has(item.name) && !item.again) throw new Fault(item.at, `redefinition of symbol '${item.name}'`);
    this.own.set(item.name, item.value);
  }
  remove(name: string, at: Span): void {
    if (!this.own.delete(name)) throw new Fault(at, `undefined symbol '${name}'`);
  }
}

export interface Listing extends ListOptions {
  /** JSON instead of text (`nft -j`). */
  readonly json?: boolean;
  /** Tables with what they have counted since they were applied; as they were applied without it. */
  readonly live?: (tables: readonly HeldTable[]) => readonly HeldTable[];
  /** A set as it stands in memory, for commands that change it; undefined for one that is not in force as it is. */
  readonly current?: (table: HeldTable, set: SetDefinition) => SetDefinition | undefined;
}

export class Transaction {
  readonly output: string[] = [];
  /** Tables whose parts a `reset` command named. */
  readonly resets: HeldTable[] = [];
  /** Sets whose elements were changed, as `family table set`. */
  readonly touched = new Set<string>();
  private expansions = 0;
  private readonly sources: Source[] = [];
  /** Where the rules stand that were added. */
  readonly places = new Map<HeldRule, { readonly source: Source; readonly at: Span }>();

  constructor(
    readonly draft: Draft,
    readonly names: Names,
    private readonly main: Source,
    private readonly include?: Include,
    private readonly listing: Listing = {},
    private variables = new Variables(),
  ) {}
  /** The text that the command being run came from. */
  get source(): Source {
    return this.sources[this.sources.length - 1] ?? this.main;
  }

  /** Commands that may be done at once; what is wrong with one of them is told as if each were alone. */
  runTogether(run: Run): void {
    if (run.length === 1 || !this.succeeds(joined(run))) for (const command of run) this.run(command);
  }
  private succeeds(command: Command): boolean {
    try {
      this.run(command);
      return true;
    } catch (error) {
      if (error instanceof Fault) return false;
      throw error;
    }
  }

  run(command: Command): void {
    switch (command.c) {
      case "define":
        this.variables.define(command);
        return;
      case "undefine":
        this.variables.remove(command.name, command.at);
        return;
      case "include":
        this.included(command.path, command.at, (source) => {
          for (const each of runsOf(parseRuleset(source).items)) this.runTogether(each);
        });
        return;
      case "delete":
        deleteCommand(command, this);
        return;
      case "flush":
        flushCommand(command, this);
        return;
      case "list":
        this.list(command);
        return;
      case "get":
        this.get(command);
        return;
      case "rename": {
        const table = this.table(command);
        const chain = table.chains.get(this.text(command.name)) ?? missing(command.name.at);
        if (table.chains.has(command.to)) throw new Fault(command.at, EXISTS);
        const from = chain.name;
        const follow = <T>(node: T): T => ledTo(node, from, command.to);
        table.chains = new Map(
          [...table.chains].map(([key, each]) => {
            const followed = follow(each);
            return each === chain ? [command.to, { ...followed, name: command.to }] : [key, followed];
          }),
        );
        table.sets = new Map([...table.sets].map(([key, each]) => [key, follow(each)]));
        return;
      }
      default:
        this.add(command);
    }
  }
  private list(command: Command & { readonly c: "list" }): void {
    const selection = select(command, [...this.draft.tables.values()]);
    if (command.op === "reset") this.resets.push(...selection.tables);
    this.show({ ...selection, tables: this.live(selection.tables) });
  }
  private live(tables: readonly HeldTable[]): readonly HeldTable[] {
    return this.listing.live?.(tables) ?? tables;
  }
  private show(selection: Selection): void {
    const { json } = this.listing;
    this.output.push(
      json ? JSON.stringify(selectionJson(selection, this.names, this.listing)) : listSelection(selection, this.names, this.listing),
    );
  }
  /** Elements that are, or hold, what is asked for. */
  private get(command: Command & { readonly c: "get" }): void {
    const found = this.draft.tables.get(tableKey(command.family, this.text(command.table))) ?? missing(command.table.at);
    const [table] = this.live([found]);
    const set = table.sets.get(this.text(command.name)) ?? missing(command.name.at);
    const asked = writtenElements({ ...set, data: undefined }, command.elements, this.scope(found));
    const elements = asked.map((each) => set.elements.find((held) => holds(held, each)) ?? missing(command.elements.at));
    const sets = new Map([[set.name, { ...set, comment: undefined, elements }]]);
    const part = { ...table, comment: undefined, flags: [], objects: new Map(), chains: new Map(), sets };
    this.show({ tables: [part], show: "parts" });
  }
  private included(path: string, at: Span, read: (source: Source) => void): void {
    const sources = this.include?.(path) ?? [];
    if (!this.include || (sources.length === 0 && !/[*?[]/.test(path))) throw new Fault(at, `File not found: ${path}`);
    if (this.sources.length >= 16) throw new Fault(at, "Include nested too deeply, max 16 levels");
    for (const source of sources) {
      this.sources.push({ name: source.name, text: source.text.endsWith("\n") ? source.text : `${source.text}\n` });
      read(source);
      this.sources.pop();
    }
  }

  text(named: Named): string {
    return typeof named.name === "string" ? named.name : this.word(named.name);
  }
  private word(variable: VariableNode): string {
    const found = resolve(variable, this.scopeOfVariables);
    if (found.k !== "symbol") throw new Fault(variable.at, "expected a variable that stands for one word");
    return found.name;
  }
  readonly scopeOfVariables = { names: undefined as never, variable: (name: string) => this.variables.get(name) };

  /** The table a command names, to be changed. */
  table(command: InTable): DraftTable {
    const found = this.draft.tables.get(tableKey(command.family, this.text(command.table)));
    return found ? this.draft.write(found) : missing(command.table.at);
  }

  private add(command: AddCommand & { readonly at: Span }): void {
    if (command.c === "table") {
      this.addTable(command);
      return;
    }
    const table = this.table(command);
    if (command.c === "chain") {
      this.addChain(table, command.name, command.block ?? [], command.op === "create");
      return;
    }
    if (command.c === "rule") {
      this.addRule(table, this.text(command.name), command.rule, command);
      return;
    }
    if (command.c === "set" || command.c === "map") {
      this.addSet(table, command.name, command.block, command.c === "map", command.op === "create");
      return;
    }
    if (command.c === "object") {
      this.addObject(table, command.type, command.name, command.block ?? [], command.op === "create");
      return;
    }
    if (command.c === "flowtable") throw new Fault(command.at, "flowtables are not supported: flows are not offloaded to hardware here");
    if (command.c !== "element") return;
    const set = table.sets.get(this.text(command.name)) ?? missing(command.name.at);
    if (set.constant) throw new Fault(command.elements.at, "Could not process rule: Too many open files in system");
    table.sets.set(set.name, addElements(this.current(table, set), command.elements, this.scope(table), command.op === "create"));
  }
  /** What commands change is what there is now, whoever has put it there. */
  current(table: DraftTable, set: SetDefinition): SetDefinition {
    const live = this.listing.current?.(table, set);
    if (!live) return set;
    this.touched.add(`${table.family} ${table.name} ${set.name}`);
    table.sets.set(set.name, live);
    return live;
  }

  private addTable(command: AddCommand & { readonly c: "table"; readonly at: Span }): void {
    const name = this.text(command.table);
    const found = this.draft.tables.get(tableKey(command.family, name));
    if (found && command.op === "create") throw new Fault(command.table.at, EXISTS);
    const table = found ? this.draft.write(found) : this.draft.create(command.family, name);
    // Flags are what this command says: a dormant table wakes when it is added again without.
    table.flags = [];
    if (command.block) this.inBlock(() => this.tableBlock(table, command.block as readonly TableItem[]));
  }
  private inBlock(run: () => void): void {
    const outer = this.variables;
    this.variables = new Variables(outer);
    run();
    this.variables = outer;
  }
  /** Chains come first, rules last, so that all a rule may name is there. */
  private tableBlock(table: DraftTable, items: readonly TableItem[]): void {
    const comment = commentOf(items.map((item) => (item.c === "comment" ? item.comment : undefined)));
    if (comment !== undefined) table.comment = comment;
    for (const item of items) {
      if (item.c === "define") this.variables.define(item);
      else if (item.c === "undefine") this.variables.remove(item.name, item.at);
      else if (item.c === "include") this.included(item.path, item.at, (source) => this.tableBlock(table, parseTableBlock(source).items));
      else if (item.c === "flags") table.flags = tableFlags(item);
      else if (item.c === "flowtable") throw new Fault(item.at, "flowtables are not supported: flows are not offloaded to hardware here");
    }
    for (const item of items) if (item.c === "chain") this.declareChain(table, item.name, item.block);
    for (const item of items) if (item.c === "object") this.addObject(table, item.type, item.name, item.block, false);
    for (const item of items) if (item.c === "set" || item.c === "map") this.addSet(table, item.name, item.block, item.c === "map", false);
    for (const item of items) if (item.c === "chain") this.chainRules(table, this.text(item.name), item.block);
  }

  private addChain(table: DraftTable, name: Named, items: readonly ChainItem[], create: boolean): void {
    if (create && table.chains.has(this.text(name))) throw new Fault(name.at, EXISTS);
    this.declareChain(table, name, items);
    this.chainRules(table, this.text(name), items);
  }
  private declareChain(table: DraftTable, named: Named, items: readonly ChainItem[]): void {
    const name = this.text(named);
    const found = table.chains.get(name);
    let base = found?.base;
    const comment = commentOf(items.map((item) => (item.c === "comment" ? item.comment : undefined))) ?? found?.comment;
    const isPlain = found !== undefined && !base;
    for (const item of items) {
      if (item.c === "hook") base = { ...this.hook(item.hook, table.family), policy: this.policy(item.policy) ?? base?.policy ?? "accept" };
      else if (item.c === "policy") {
        if (!base) throw new Fault(item.at, "a policy is for base chains only: chains with type, hook and priority");
        base = { ...base, policy: this.policy(item.policy) ?? "accept" };
      } else if (item.c === "flags") throw new Fault(item.at, "hardware offload is not supported");
    }
    const chain: HeldChain = {
      name,
      handle: found?.handle ?? table.nextHandle++,
      rules: found?.rules ?? [],
      ...(base ? { base } : {}),
      ...(comment === undefined ? {} : { comment }),
    };
    if (isPlain && base) throw new Fault(named.at, EXISTS);
    if (found?.base && base && (found.base.hook !== base.hook || found.base.type !== base.type || found.base.priority !== base.priority))
      throw new Fault(named.at, EXISTS);
    table.chains.set(name, chain);
  }
  private policy(policy: "accept" | "drop" | VariableNode | undefined): "accept" | "drop" | undefined {
    if (policy === undefined || typeof policy === "string") return policy;
    const word = this.word(policy);
    if (word !== "accept" && word !== "drop") throw new Fault(policy.at, `invalid policy expression in chain, expected accept or drop`);
    return word;
  }
  private hook(node: HookNode, family: Family): Omit<NonNullable<HeldChain["base"]>, "policy"> {
    const problem = chainProblem(node.type, family, node.hook);
    if (problem === "type") throw new Fault(node.at, `unknown chain type ${node.type}`);
    if (problem === "hook") throw new Fault(node.at, `unknown chain hook ${node.hook}`);
    if (problem) throw new Fault(node.at, KERNEL_UNSUPPORTED);
    const hook = node.hook as Hook;
    const priority = this.priority(node.priority, family, hook);
    if (node.type === "nat" && priority <= -200)
      throw new Fault(node.priority.at, `Chains of type "nat" must have a priority value above -200.`);
    const devices = node.devices === undefined ? undefined : "k" in node.devices ? this.words(node.devices) : node.devices;
    if (hook !== "ingress" && hook !== "egress" && devices) throw new Fault(node.at, "This chain type cannot be bound to device");
    if ((hook === "ingress" || hook === "egress") && !devices) throw new Fault(node.at, "missing device: expected device after the hook");
    return { type: node.type as "filter" | "nat" | "route", hook, priority, ...(devices ? { devices } : {}) };
  }
  private words(variable: VariableNode): readonly string[] {
    const found = resolve(variable, this.scopeOfVariables);
    const nodes = found.k === "set" ? found.items.map((item) => item.key) : [found];
    return nodes.map((node) => {
      if (node.k !== "symbol") throw new Fault(variable.at, "expected names of interfaces");
      return node.name;
    });
  }
  private priority(node: HookNode["priority"], family: Family, hook: Hook): number {
    const { name, offset } = node;
    if (name === undefined && (offset | 0) !== offset) throw new Fault(node.at, "the priority is too large");
    if (name === undefined) return offset;
    const word = typeof name === "string" ? name : this.word(name);
    const base = /^-?\d+$/.test(word) ? Number(word) : writtenPriority(word, family, hook);
    if (base === undefined) throw new Fault(node.at, `invalid priority expression ${word} in this context.`);
    if (((base + offset) | 0) !== base + offset) throw new Fault(node.at, "the priority is too large");
    return base + offset;
  }

  private chainRules(table: DraftTable, chain: string, items: readonly ChainItem[]): void {
    this.inBlock(() => this.chainBlock(table, chain, items));
  }
  private chainBlock(table: DraftTable, chain: string, items: readonly ChainItem[]): void {
    for (const item of items) {
      if (item.c === "define") this.variables.define(item);
      else if (item.c === "undefine") this.variables.remove(item.name, item.at);
      else if (item.c === "include")
        this.included(item.path, item.at, (source) => this.chainBlock(table, chain, parseChainBlock(source).items));
      else if (item.c === "rule") this.addRule(table, chain, item.rule);
    }
  }
  private addRule(table: DraftTable, name: string, node: RuleNode, command?: AddCommand & { readonly c: "rule" }): void {
    if (!table.chains.has(name)) throw new Fault(command?.name.at ?? node.at, KERNEL_MISSING);
    const chain = this.draft.writeChain(table, name);
    const rule = evaluateRule(node, this.scope(table));
    const { op = "add", position } = command ?? {};
    const isReplaced = op === "replace" && position?.by === "handle";
    table.nextHandle += rule.sets.length;
    // What takes another's place has its number.
    const held = { handle: isReplaced ? position.at : table.nextHandle++, rule };
    this.places.set(held, { source: this.source, at: node.at });
    if (!position) {
      if (op === "replace") throw new Fault(node.at, "replace needs the handle of a rule: replace rule … handle N");
      if (op === "insert") chain.rules.unshift(held);
      else chain.rules.push(held);
      return;
    }
    const found = position.by === "index" ? position.at : chain.rules.findIndex(({ handle }) => handle === position.at);
    if (found < 0 || found >= chain.rules.length) throw new Fault(node.at, KERNEL_MISSING);
    if (op === "replace") chain.rules.splice(found, 1, held);
    else chain.rules.splice(op === "insert" ? found : found + 1, 0, held);
  }

  private addSet(table: DraftTable, named: Named, block: readonly SetItem[], map: boolean, create: boolean): void {
    const name = this.text(named);
    const found = table.sets.get(name);
    if (found && create) throw new Fault(named.at, EXISTS);
    this.inBlock(() => {
      for (const item of block) {
        if (!("c" in item)) continue;
        if (item.c === "define") this.variables.define(item);
        else if (item.c === "undefine") this.variables.remove(item.name, item.at);
        else throw new Fault(item.at, "an include is not expected in a set");
      }
      const set = declareSet(name, found?.handle ?? table.nextHandle, block, map, this.scope(table), named.at);
      if (!found) table.nextHandle++;
      table.sets.set(name, found ? mergeDeclared(this.current(table, found), set, named.at) : set);
    });
  }
  private addObject(
    table: DraftTable,
    type: string,
    named: Named,
    block: readonly Readonly<Record<string, unknown>>[],
    create: boolean,
  ): void {
    const name = this.text(named);
    const key = objectKey(type, name);
    const found = table.objects.get(key);
    if (found) {
      if (create) throw new Fault(named.at, EXISTS);
      // The kernel updates these alone.
      if (type === "quota" || type === "synproxy") table.objects.set(key, { ...found, spec: objectSpec(type, name, block, named.at) });
      return;
    }
    const comment = commentOf(block.map((each) => each.comment as Comment | undefined));
    table.objects.set(key, {
      handle: table.nextHandle++,
      spec: objectSpec(type, name, block, named.at),
      ...(comment === undefined ? {} : { comment }),
    });
  }

  /** Definitions that name others many times over multiply: there is an end to it. */
  private variable(name: string, at: Span): Node | undefined {
    if (++this.expansions > MOST_EXPANSIONS) throw new Fault(at, `definitions are used more than ${MOST_EXPANSIONS} times`);
    return this.variables.get(name);
  }
  scope(table: DraftTable): RuleScope {
    return {
      family: table.family,
      names: this.names,
      variable: (name, at) => this.variable(name, at),
      set: (name) => table.sets.get(name),
      grows: (set) => grows(table, set),
      bind: (rules) => this.bind(table, rules),
      hasChain: (name) => table.chains.has(name),
      isBaseChain: (name) => table.chains.get(name)?.base !== undefined,
      hasObject: (type, name) => table.objects.has(objectKey(type, name)),
      anonymousName: (kind) => `__${kind}${table.nextAnonymous++}`,
      meter: (name, size, parts, timeouts, at) => this.meter(table, name, size, parts, timeouts, at),
    };
  }
  private bind(table: DraftTable, nodes: readonly RuleNode[]): BoundChain {
    const name = `__chain${table.nextAnonymous++}`;
    table.nextHandle++;
    const deeper: RuleScope = {
      ...this.scope(table),
      bind: () => {
        throw new Fault(nodes[0].at, "too many levels of nesting");
      },
    };
    const rules = nodes.map((node) => {
      const rule = evaluateRule(node, deeper);
      table.nextHandle += rule.sets.length;
      const held = { handle: table.nextHandle++, rule };
      this.places.set(held, { source: this.source, at: node.at });
      return held;
    });
    return { name, rules };
  }
  private meter(
    table: DraftTable,
    name: string,
    size: number | undefined,
    parts: readonly Part[],
    timeouts: boolean,
    at: Span,
  ): SetDefinition {
    const found = table.sets.get(name);
    if (found && !found.meter) throw new Fault(at, EXISTS);
    const set: SetDefinition = found ?? {
      name,
      anonymous: true,
      handle: table.nextHandle++,
      parts,
      interval: false,
      constant: false,
      dynamic: true,
      timeouts,
      size: size ?? MOST_DYNAMIC,
      meter: true,
      elements: [],
    };
    table.sets.set(name, set);
    return set;
  }
}

function tableFlags({ flags, at }: { readonly flags: readonly string[]; readonly at: Span }): readonly string[] {
  const other = flags.find((flag) => flag !== "dormant");
  if (other === "owner") throw new Fault(at, "flags owner is not supported: nobody owns a table here");
  if (other !== undefined) throw new Fault(at, `unknown table option ${other}`);
  return flags;
}
const holds = (held: Element, { key }: Element): boolean =>
  held.key.length === key.length && held.key.every(({ from, to }, i) => from <= key[i].from && key[i].to <= to);

function grows(table: DraftTable, set: SetDefinition): SetDefinition {
  if (set.dynamic && set.size !== undefined) return set;
  const grown: SetDefinition = { ...set, dynamic: true, size: set.size ?? MOST_DYNAMIC };
  table.sets.set(set.name, grown);
  return grown;
}

/** A set declared again gets the new elements, if it is the same in all else. */
function mergeDeclared(found: SetDefinition, set: SetDefinition, at: Span): SetDefinition {
  const types = (parts: readonly Part[]) => parts.map((part) => part.type.name).join();
  const shape = ({ parts, interval, constant, timeouts, data }: SetDefinition) => {
    const value =
      data?.kind === "data" ? `${types(data.parts)} ${data.interval === true}` : data?.kind === "object" ? data.type : data?.kind;
    return [types(parts), interval, constant, timeouts, value].join(" ");
  };
  if (shape(found) !== shape(set) || (found.constant && set.elements.length > 0)) throw new Fault(at, EXISTS);
  const { timeoutMs, gcIntervalMs = found.gcIntervalMs, size = found.size } = set;
  return withElements({ ...found, size, gcIntervalMs, timeoutMs }, set.elements, at);
}
export function missing(at: Span): never {
  throw new Fault(at, KERNEL_MISSING);
}

/** What led to a chain leads to it under its new name; what did not is the same object. */
function ledTo<T>(node: T, from: string, to: string): T {
  if (typeof node !== "object" || node === null || ArrayBuffer.isView(node)) return node;
  if (Array.isArray(node)) {
    const items = node.map((each) => ledTo(each, from, to));
    return items.some((each, i) => each !== node[i]) ? (items as T) : node;
  }
  if (Object.getPrototypeOf(node) !== Object.prototype) return node;
  const { code, chain } = node as { readonly code?: unknown; readonly chain?: unknown };
  if ((code === "jump" || code === "goto") && chain === from) return { ...node, chain: to };
  const entries = Object.entries(node).map(([key, each]) => [key, ledTo(each, from, to)] as const);
  return entries.some(([key, each]) => each !== (node as Record<string, unknown>)[key]) ? (Object.fromEntries(entries) as T) : node;
}
