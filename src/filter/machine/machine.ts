/**
 * The rules of a network: a ruleset is compiled, linked to memory that holds its sets, counters and objects, and put in force at once.
 *
 *   const machine = new Machine(engine, 0);
 *   machine.load(ruleset);            // replaces what was in force, between two bursts
 *   machine.counters();
 *
 * What stays the same across a load keeps its contents: a rule with the same handle and expressions its counters, a named set of the same
 * shape the elements that rules put into it (those that the ruleset itself names are added and removed as it changed), an object its state.
 */
import * as abi from "../../../assembly/abi.ts";
import { LoomError } from "../../base/errors.ts";
import { type Random, secret } from "../../base/random.ts";
import type { Engine } from "../../engine/engine.ts";
import { HELPER_NAMES } from "../../engine/helper-names.ts";
import type { Family, ObjectType, RulesetSpec, SetElement, TableSpec } from "../expressions.ts";
import { compile, mayTrace } from "./compile.ts";
import { HELPER_NAME } from "./ct.ts";
import type { Places, PlaneFunction } from "./link.ts";
import { arrange, checkJumps } from "./order.ts";
import { Registry, type Statement } from "./registry.ts";
import { type Block, Space } from "./space.ts";
import type { ObjectState, RuleState, TableName } from "./state.ts";
import { LoadedTable } from "./table.ts";

export interface MachineOptions {
  /** Functions in place of the data plane's own, or beside them. */
  readonly plane?: Readonly<Record<string, (...args: never[]) => unknown>>;
  /** Where numgen and meta random come from; unpredictable unless given. */
  readonly random?: Random;
  /** Tables of these families are in force here. Default: all. */
  readonly families?: readonly Family[];
}

const ALL: readonly Family[] = ["ip", "ip6", "inet", "netdev", "arp", "bridge"];
/** `ct state` by CT_*: bits of linux/netfilter/nf_conntrack_common.h; nothing tracked is invalid. */
function helperNames(): Uint8Array {
  const bytes = new Uint8Array(HELPER_NAME * (HELPER_NAMES.length + 1));
  for (const [i, name] of HELPER_NAMES.entries()) bytes.set(new TextEncoder().encode(name), HELPER_NAME * (i + 1));
  return bytes;
}

const STATES = Uint8Array.of(2, 4, 8, 2, 4, 1, 1, 64, 1, 1, 1, 1, 1, 1, 1, 1);
const tableKey = (family: Family, name: string): string => `${family} ${name}`;

export class Machine {
  private readonly engine: Engine;
  private readonly network: number;
  private readonly families: readonly Family[];
  private readonly functions: Readonly<Record<string, unknown>>;
  private readonly space: Space;
  private readonly places: Places;
  private readonly listeners: { readonly address: number };
  /** Blocks that programs refer to, whatever the ruleset. */
  private readonly own: Block[] = [];
  private isClosed = false;
  private readonly registry = new Registry();
  private tables = new Map<string, LoadedTable>();
  private entries = new Map<number, number>();
  private ruleset: RulesetSpec = { tables: [] };
  private traced = false;

  /** `network`: of the engine's (engine.createNetwork), or its number. */
  constructor(engine: Engine, network: number | { readonly index: number }, options: MachineOptions = {}) {
    this.engine = engine;
    this.network = typeof network === "number" ? network : network.index;
    this.families = options.families ?? ALL;
    this.functions = { socketField: () => 0, ...(engine.plane as unknown as Record<string, unknown>), ...options.plane };
    this.space = new Space(engine);
    this.listeners = this.keep(this.space.allocate(16));
    this.places = this.place(options.random);
  }

  private keep(block: Block): Block {
    this.own.push(block);
    return block;
  }

  /** What every program refers to. */
  private place(random: Random | undefined): Places {
    const { memory } = this.engine;
    const { space } = this;
    const seed = this.keep(space.allocate(16));
    const bytes = random ? random.fill(new Uint8Array(8)) : secret(8);
    bytes[0] |= 1;
    space.u8.set(bytes, seed.address);
    space.setU64(seed.address + 8, BigInt(Math.round((this.engine.clock.epoch ?? 0) * 1e6)));
    return {
      descriptors: memory.base(abi.REGION_DESCRIPTORS),
      interfaces: memory.base(abi.REGION_IFACES),
      ports: memory.layout.sizes.ports,
      flows: memory.base(abi.REGION_FLOWS),
      nothing: this.keep(space.allocate(abi.IFACE_SIZE)).address,
      listeners: this.listeners.address,
      states: this.keep(space.place(STATES)).address,
      helpers: this.keep(space.place(helperNames())).address,
      random: seed.address,
      epoch: seed.address + 8,
    };
  }

  // ── Rulesets ────────────────────────────────────────────────────────────────────────────────────

  /** How many listen to queues: while nobody does, `queue flags bypass` sends nothing to wait. */
  listening(count: number): void {
    if (!this.isClosed) this.space.setU32(this.listeners.address, count);
  }

  /** Whether somebody hears of packets that are followed: while nobody does, rules are compiled as if none followed any. */
  tracing(isHeard: boolean): void {
    if (isHeard === this.traced || this.isClosed) return;
    this.traced = isHeard;
    const tables = [...this.tables.values()];
    if (!tables.some(mayTrace)) return;
    for (const table of tables) table.forgetNumbers();
    this.publish(this.build(tables));
  }

  /** The ruleset in force. */
  get spec(): RulesetSpec {
    return this.ruleset;
  }

  /** Whether it could be loaded: throws what `load` would, and changes nothing. */
  check(ruleset: RulesetSpec, touched: ReadonlySet<string> = new Set()): void {
    const tables = new Map<string, LoadedTable>();
    try {
      this.make(ruleset, touched, tables);
    } finally {
      for (const table of tables.values()) table.abandon();
      this.registry.prune([...this.tables.values()]);
    }
  }

  /** Tables and programs as they would be in force. */
  private make(ruleset: RulesetSpec, touched: ReadonlySet<string>, tables: Map<string, LoadedTable>) {
    const specs = ruleset.tables.filter(({ family }) => this.families.includes(family));
    for (const spec of specs) checkJumps(spec);
    for (const spec of specs) {
      const key = tableKey(spec.family, spec.name);
      tables.set(key, new LoadedTable(this.space, this.registry, spec, this.predecessor(key, spec), touched));
    }
    const isSame = this.isSameProgram(tables);
    if (isSame) for (const [key, table] of tables) table.keepNumbersOf(this.tables.get(key) as LoadedTable);
    const programs = isSame ? undefined : this.build([...tables.values()]);
    for (const table of tables.values()) table.prepare();
    return programs;
  }

  /**
   * Puts a ruleset in force in place of the one that is. When it cannot be, nothing has changed. `touched`: sets (`family table set`)
   * whose elements the ruleset has as they shall be; of others only what differs from the last ruleset is changed.
   */
  load(ruleset: RulesetSpec, touched: ReadonlySet<string> = new Set()): void {
    if (this.isClosed) throw new LoomError("ENETDOWN", "these rules are closed, with the host that they were of");
    const tables = new Map<string, LoadedTable>();
    try {
      const programs = this.make(ruleset, touched, tables);
      for (const table of tables.values()) table.commit();
      if (programs) this.publish(programs);
    } catch (error) {
      for (const table of tables.values()) table.abandon();
      throw error;
    }
    const old = this.tables;
    this.tables = tables;
    this.ruleset = ruleset;
    for (const [key, table] of old) table.retire(this.isSame(table.spec, tables.get(key)?.spec) ? tables.get(key) : undefined);
    this.registry.prune([...tables.values()]);
  }

  /** Where only elements of sets change, the functions that are in force stay so. */
  private isSameProgram(tables: ReadonlyMap<string, LoadedTable>): boolean {
    const [before, now] = [[...this.tables], [...tables]];
    return before.length === now.length && now.every(([key, table], i) => before[i][0] === key && table.hasProgramOf(before[i][1]));
  }

  /** The table in force that a new one goes on from. */
  private predecessor(key: string, spec: TableSpec): LoadedTable | undefined {
    const old = this.tables.get(key);
    return old && this.isSame(old.spec, spec) ? old : undefined;
  }

  private isSame(a: TableSpec, b: TableSpec | undefined): boolean {
    return b !== undefined && a.handle === b.handle;
  }

  /** No rules any more. */
  flush(): void {
    this.load({ tables: [] });
  }

  /** No rules any more, and none to come: what programs refer to is given back as well. */
  close(): void {
    if (this.isClosed) return;
    this.flush();
    this.isClosed = true;
    this.space.retire(this.own);
  }

  /** Compiles; functions by segment. */
  private build(tables: readonly LoadedTable[]): Map<number, () => void> {
    const segments = arrange(tables);
    if (segments.size === 0) return new Map();
    const { buffer } = this.engine.memory;
    const { bytes, imports } = compile({
      memory: { pages: buffer.byteLength / 65_536, shared: this.engine.build === "shared" },
      places: this.places,
      tables,
      segments,
      traced: this.traced,
    });
    const missing = imports.find((name) => typeof this.functions[name] !== "function");
    if (missing) throw new LoomError("ENOTSUP", `the ruleset needs ${NEEDS[missing] ?? missing}, which this engine does not have`);
    const plane = new Proxy(this.functions, { get: (all, name: string) => all[name] ?? nobody });
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory: this.engine.wasmMemory },
      plane: plane as unknown as WebAssembly.ModuleImports,
    });
    return new Map([...segments.keys()].map((segment) => [segment, instance.exports[`s${segment}`] as () => void]));
  }

  /** One word for each segment; the functions that were there may be called until the burst in hand is over. */
  private publish(programs: ReadonlyMap<number, () => void>): void {
    const old = this.entries;
    this.entries = new Map();
    for (let segment = 0; segment < abi.SEGMENT_COUNT; segment++) {
      const program = programs.get(segment);
      if (program) this.entries.set(segment, this.engine.addProgram(program));
      this.space.setU32(this.word(segment), program ? (this.entries.get(segment) as number) + 1 : 0);
    }
    for (const entry of old.values()) this.engine.removeProgram(entry);
  }

  private word(segment: number): number {
    return this.engine.memory.base(abi.REGION_NETNS) + this.network * abi.NETNS_SIZE + abi.NETNS_PROGRAMS + 4 * segment;
  }

  // ── State ───────────────────────────────────────────────────────────────────────────────────────

  /** What rules keep: counters, quotas, connections counted, times. */
  counters(): RuleState[] {
    return [...this.tables.values()].flatMap((table) => table.ruleStates());
  }

  /** What named objects keep. */
  objects(): ObjectState[] {
    return [...this.tables.values()].flatMap((table) => table.objectStates());
  }

  elements({ family, table, set }: TableName & { set: string }): SetElement[] {
    return this.table(family, table).set(set).elements();
  }

  /** The same of a table that is not in force, or a set that is not there yet: nothing. */
  elementsIfAny({ family, table, set }: TableName & { set: string }): SetElement[] | undefined {
    return this.tables.get(tableKey(family, table))?.setIfAny(set)?.elements();
  }

  /** What a rule keeps begins again. */
  resetRule({ family, table }: TableName, chain: string, handle: number): void {
    this.tables.get(tableKey(family, table))?.resetRule(chain, handle);
  }

  resetObject({ family, table }: TableName, type: ObjectType, name: string): void {
    this.tables.get(tableKey(family, table))?.resetObject(type, name);
  }

  addElements({ family, table, set }: TableName & { set: string }, elements: readonly SetElement[]): void {
    this.table(family, table).addElements(set, elements);
  }

  /** Returns how many there were. */
  deleteElements({ family, table, set }: TableName & { set: string }, elements: readonly SetElement[]): number {
    return this.table(family, table).set(set).delete(elements);
  }

  /** What a number names that the data plane hands up with a packet: a `log` or `synproxy` statement, an object. */
  statement(number: number): Statement | undefined {
    return this.registry.statement(number);
  }

  /** The name of the chain that a number leads to. */
  chainName(number: number): string | undefined {
    return this.registry.chainKey(number)?.split(" ").at(-1);
  }

  private table(family: Family, name: string): LoadedTable {
    const table = this.tables.get(tableKey(family, name));
    if (!table) throw new LoomError("ENOENT", `there is no table ${family} ${name}`);
    return table;
  }
}

const NEEDS: Partial<Record<PlaneFunction, string>> = {
  natSetup: "address translation",
  flowLoad: "connection tracking",
  flowStore: "connection tracking",
};

/** Stands where a program imports what it never calls. */
function nobody(): never {
  throw new Error("a program called a function it does not use");
}
