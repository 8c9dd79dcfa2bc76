/**
 * A table of a ruleset in memory: numbers of its chains, its sets, its objects, and what its rules keep.
 *
 * Made from the table of the same name that was in force before, if there was one: what stays is taken over, what is new is made beside
 * it, and nothing of the old one changes until `commit`. Afterwards `retire` gives back what the new one did not take.
 */
import * as abi from "../../../assembly/abi.ts";
import { invalid, LoomError } from "../../base/errors.ts";
import type { ChainSpec, Expression, ObjectSpec, ObjectType, SetElement, SetSpec, TableSpec } from "../expressions.ts";
import type { ObjectLink, TableLink } from "./link.ts";
import { checkJumps } from "./order.ts";
import type { Registry, Statement, User } from "./registry.ts";
import { hex, same } from "./same.ts";
import { SetMemory } from "./set-memory.ts";
import type { Block, Space } from "./space.ts";
import { helperBytes, initialState, type ObjectState, type RuleState, readState, stateSize } from "./state.ts";

interface RuleMemory {
  readonly chain: string;
  readonly handle: number;
  readonly expressions: readonly Expression[];
  /** What all of them keep, one behind the other. */
  readonly block: Block;
}

interface ObjectMemory {
  readonly spec: ObjectSpec;
  /** State, or nothing where the data plane knows the object by number. */
  readonly block?: Block;
  readonly value: number;
}

/** What two definitions have in common when what they keep may stay: all but the numbers they begin with. */
const shape = (expression: Expression): Expression => {
  if (expression.op === "counter") return { op: "counter", packets: 0, bytes: 0 };
  return expression.op === "quota" ? { ...expression, used: 0 } : expression;
};

export class LoadedTable implements User {
  readonly spec: TableSpec;
  readonly link: TableLink;
  readonly statementNumbers = new Set<number>();
  private readonly space: Space;
  private readonly before: LoadedTable | undefined;
  private readonly registry: Registry;
  private readonly chains = new Map<string, number>();
  private readonly sets = new Map<string, SetMemory>();
  private readonly objects = new Map<string, ObjectMemory>();
  private readonly rules = new Map<string, RuleMemory>();
  /** Elements to be removed and added when the table is in force. */
  private readonly changes: { readonly set: SetMemory; readonly removed: SetElement[]; readonly added: SetElement[] }[] = [];
  private readonly touched: ReadonlySet<string>;

  constructor(
    space: Space,
    registry: Registry,
    spec: TableSpec,
    before: LoadedTable | undefined,
    touched: ReadonlySet<string> = new Set(),
  ) {
    this.touched = touched;
    this.space = space;
    this.registry = registry;
    this.spec = spec;
    this.before = before;
    try {
      for (const { name } of spec.chains) this.chains.set(name, registry.chain(this.chainKey(name)));
      for (const object of spec.objects) this.makeObject(object);
      for (const set of spec.sets) this.makeSet(set);
      for (const chain of spec.chains) for (let i = 0; i < chain.rules.length; i++) this.makeRule(chain, i);
    } catch (error) {
      this.abandon();
      throw error;
    }
    this.link = this.makeLink();
  }

  // ── Parts ───────────────────────────────────────────────────────────────────────────────────────

  private chainKey(name: string): string {
    return `${this.spec.family} ${this.spec.name} ${name}`;
  }

  get chainKeys(): string[] {
    return this.spec.chains.map(({ name }) => this.chainKey(name));
  }

  private makeObject(spec: ObjectSpec): void {
    const key = objectKey(spec.object.type, spec.name);
    const old = this.before?.objects.get(key);
    if (old && same(objectShape(old.spec), objectShape(spec))) {
      this.objects.set(key, { ...old, spec });
      if (!old.block) this.statementNumbers.add(old.value);
      return;
    }
    const bytes = this.bytesOf(spec);
    const block = bytes && this.space.place(bytes);
    this.objects.set(key, { spec, block, value: block?.address ?? this.number({ op: "object", object: spec }) });
  }

  /** What an object's memory begins with; undefined where the host alone knows it, by number. */
  private bytesOf({ object }: ObjectSpec): Uint8Array | undefined {
    if (object.type === "ct helper") return helperBytes(object);
    const expression = { ...object, op: object.type } as unknown as Expression;
    return stateSize(object.type) > 0 ? initialState(expression, this.space.now()) : undefined;
  }

  private makeSet(spec: SetSpec): void {
    const carried = carriedBy(this.spec, spec);
    const old = this.before?.sets.get(spec.name);
    // Those of one rule are never changed: it has the same ones, or others of another name.
    const isOther = (spec.anonymous && !same(this.before?.declared(spec.name), spec.elements)) || this.namesOthers(spec);
    if (old && !isOther && same(setShape(old.spec), setShape(spec)) && same(old.carried, carried)) {
      this.sets.set(spec.name, old);
      const [added, removed] = difference(this.present(spec, old), spec.elements);
      if (added.length > 0 || removed.length > 0) this.changes.push({ set: old, removed, added });
      return;
    }
    this.sets.set(spec.name, new SetMemory(this.space, spec, carried, this.names(spec)));
  }

  /** What a set's elements have to be compared with: what there is, where a command has changed that, else what was declared. */
  private present(spec: SetSpec, old: SetMemory): readonly SetElement[] {
    const { family, name } = this.spec;
    return this.touched.has(`${family} ${name} ${spec.name}`) ? old.elements() : (this.before?.declared(spec.name) ?? []);
  }

  /** Do elements of a map name objects that are other ones now? */
  private namesOthers({ map, elements }: SetSpec): boolean {
    if (map?.kind !== "object") return false;
    const valueIn = (table: LoadedTable | undefined, name: string) => table?.objects.get(objectKey(map.type, name))?.value;
    return elements.some(({ object }) => object !== undefined && valueIn(this, object) !== valueIn(this.before, object));
  }

  private declared(name: string): readonly SetElement[] {
    return this.spec.sets.find((set) => set.name === name)?.elements ?? [];
  }

  private names(spec: SetSpec) {
    const { chains } = this;
    const type = spec.map?.kind === "object" ? spec.map.type : "counter";
    return {
      chain: (name: string) => this.chainNumber(name),
      chainName: (number: number) => [...chains].find(([, n]) => n === number)?.[0] ?? "",
      object: (name: string) => this.object(type, name).value,
      objectName: (value: number) =>
        [...this.objects.values()].find((object) => object.spec.object.type === type && object.value === value)?.spec.name ?? "",
    };
  }

  private makeRule(chain: ChainSpec, index: number): void {
    const { handle, expressions } = chain.rules[index];
    const size = sizeOf(expressions);
    if (size === 0) return;
    const key = ruleKey(chain, index);
    const old = this.before?.rules.get(key);
    if (old && (old.expressions === expressions || same(old.expressions.map(shape), expressions.map(shape)))) {
      this.rules.set(key, { ...old, expressions });
      return;
    }
    const block = this.space.allocate(size);
    this.rules.set(key, { chain: chain.name, handle, expressions, block });
    let at = block.address;
    for (const expression of expressions) {
      if (!beginsAtZero(expression)) this.space.u8.set(initialState(expression, this.space.now()), at);
      at += stateSize(expression.op);
    }
  }

  private makeLink(): TableLink {
    return {
      family: this.spec.family,
      chain: (name) => this.chainNumber(name),
      set: (name) => this.set(name).link,
      object: (type, name) => this.object(type, name),
      state: (chain, rule, index) => this.state(chain, rule, index),
      statement: (expression) => this.number(expression as Statement),
      traced: (chain, handle) => this.number({ op: "trace", family: this.spec.family, table: this.spec.name, chain, handle }),
    };
  }

  /** Address of what an expression of a rule keeps. */
  private state(chain: ChainSpec, rule: number, index: number): number {
    const memory = this.rules.get(ruleKey(chain, rule)) as RuleMemory;
    return memory.block.address + sizeOf(memory.expressions, index);
  }

  /** Before a program is made anew: numbers of statements are given by it. Until the next ruleset the old ones are still known. */
  forgetNumbers(): void {
    for (const number of this.statementNumbers) if (this.registry.statement(number)?.op !== "object") this.statementNumbers.delete(number);
  }

  private number(statement: Statement): number {
    const number = this.registry.add(statement);
    this.statementNumbers.add(number);
    return number;
  }

  private chainNumber(name: string): number {
    const number = this.chains.get(name);
    if (number === undefined) throw invalid(`table ${this.spec.name} has no chain ${name}`);
    return number;
  }

  setIfAny(name: string): SetMemory | undefined {
    return this.sets.get(name);
  }

  set(name: string): SetMemory {
    const set = this.sets.get(name);
    if (!set) throw new LoomError("ENOENT", `table ${this.spec.name} has no set ${name}`);
    return set;
  }

  private object(type: ObjectType, name: string): ObjectLink {
    const object = this.objects.get(objectKey(type, name));
    if (!object) throw new LoomError("ENOENT", `table ${this.spec.name} has no ${type} ${name}`);
    return { object: object.spec.object, value: object.value };
  }

  // ── In force and out of it ──────────────────────────────────────────────────────────────────────

  /** Makes sure of room for what changes in the sets that stay, and that what they name is there; throws where it is not, and then nothing has changed. */
  prepare(): void {
    this.nameSets();
    for (const { set, removed, added } of this.changes) set.prepare(removed, added);
  }

  /** What sets name (chains, objects) is looked up in this table: those that stay have known another. */
  private nameSets(): void {
    for (const set of this.sets.values()) set.names = this.names(set.spec);
  }

  /** Changes the sets that stay. */
  commit(): void {
    for (const { set, removed, added } of this.changes) set.change(removed, added);
  }

  /** The functions in force speak of statements by the numbers they were compiled with. */
  keepNumbersOf(other: LoadedTable): void {
    for (const number of other.statementNumbers) this.statementNumbers.add(number);
  }

  /** Would its rules be compiled to the same functions: the same chains, over the same sets, objects and state? */
  hasProgramOf(other: LoadedTable): boolean {
    const { spec } = this;
    if (spec.dormant !== other.spec.dormant || !same(spec.chains, other.spec.chains)) return false;
    const isSame = <T>(mine: ReadonlyMap<string, T>, theirs: ReadonlyMap<string, T>, part: (each: T) => unknown) =>
      mine.size === theirs.size && [...mine].every(([key, each]) => theirs.has(key) && part(theirs.get(key) as T) === part(each));
    return (
      isSame(this.sets, other.sets, (set) => set) &&
      isSame(this.objects, other.objects, ({ value }) => value) &&
      isSame(this.rules, other.rules, ({ block }) => block.address)
    );
  }

  /** Gives back what was made for a table that does not come into force. */
  abandon(): void {
    for (const { set } of this.changes) set.discard();
    this.before?.nameSets();
    this.releaseAllBut(this.before);
  }

  /** Gives back what its successor did not take. */
  retire(successor: LoadedTable | undefined): void {
    this.releaseAllBut(successor);
  }

  private releaseAllBut(other: LoadedTable | undefined): void {
    for (const [name, set] of this.sets) if (other?.sets.get(name) !== set) set.free();
    for (const [key, { block }] of this.objects) if (block && other?.objects.get(key)?.block !== block) this.space.retire([block]);
    for (const [key, rule] of this.rules) {
      if (other?.rules.get(key)?.block === rule.block) continue;
      for (const { expression, block } of statesOf(rule))
        if (expression.op === "connlimit") this.space.engine.plane.freeList(block.address);
      this.space.retire([rule.block]);
    }
  }

  addElements(name: string, elements: readonly SetElement[]): void {
    const set = this.set(name);
    if (set.spec.map?.kind === "verdict") {
      const others = this.spec.sets.filter((spec) => spec.name !== name);
      checkJumps({ ...this.spec, sets: [...others, { ...set.spec, elements: [...set.elements(), ...elements] }] });
    }
    set.prepare([], elements);
    set.add(elements);
  }

  /** Counters, quotas and times of a rule as if no packet had come by. */
  resetRule(chain: string, handle: number): void {
    const rule = this.rules.get(`${chain} ${handle}`);
    if (rule) for (const { expression, block } of statesOf(rule)) this.reset(expression.op, block);
  }

  resetObject(type: ObjectType, name: string): void {
    const object = this.objects.get(objectKey(type, name));
    if (object?.block) this.reset(type, object.block);
  }

  private reset(op: string, { address }: Block): void {
    const bytes = op === "counter" || op === "last" ? stateSize(op) : 0;
    this.space.u8.fill(0, address, address + bytes);
    if (op === "quota") this.space.setU64(address + abi.QUOTA_USED, 0n);
  }

  // ── Reading ─────────────────────────────────────────────────────────────────────────────────────

  private reading(op: string, block: Block) {
    return readState(op, new DataView(this.space.view.buffer, block.address, block.size));
  }

  ruleStates(): RuleState[] {
    const { family, name: table } = this.spec;
    return [...this.rules.values()].flatMap((rule) =>
      statesOf(rule).map(({ index, expression, block }) => ({
        family,
        table,
        chain: rule.chain,
        handle: rule.handle,
        index,
        ...this.reading(expression.op, block),
      })),
    );
  }

  objectStates(): ObjectState[] {
    const { family, name: table } = this.spec;
    return [...this.objects.values()].flatMap(({ spec, block }) =>
      block ? [{ family, table, name: spec.name, ...this.reading(spec.object.type, block) }] : [],
    );
  }
}

/** Bytes that the first `count` expressions keep. */
function sizeOf(expressions: readonly Expression[], count = expressions.length): number {
  let size = 0;
  for (let i = 0; i < count; i++) size += stateSize(expressions[i].op);
  return size;
}

/** Expressions that keep something, and where. */
function statesOf({ expressions, block }: RuleMemory): { index: number; expression: Expression; block: Block }[] {
  return expressions.flatMap((expression, index) => {
    const size = stateSize(expression.op);
    return size === 0 ? [] : [{ index, expression, block: { address: block.address + sizeOf(expressions, index), size } }];
  });
}

/** Memory that is given out is zero: so are most counters at first. */
const beginsAtZero = (e: Expression): boolean =>
  e.op === "numgen" || e.op === "last" || (e.op === "counter" && e.packets === 0 && e.bytes === 0) || stateSize(e.op) === 0;

const objectKey = (type: ObjectType, name: string): string => `${type} ${name}`;
const ruleKey = (chain: ChainSpec, index: number): string => `${chain.name} ${chain.rules[index].handle || `#${index}`}`;

function objectShape({ object }: ObjectSpec): unknown {
  if (object.type === "counter") return { type: object.type };
  return object.type === "quota" ? { ...object, used: 0 } : object;
}

/** A set but for its elements. */
function setShape({ elements: _, ...rest }: SetSpec): unknown {
  return rest;
}

/** What elements of a set carry: as the set says, or as the rules that fill it say, or as its elements do. */
function carriedBy(table: TableSpec, set: SetSpec): readonly Expression[] {
  if (set.expressions) return set.expressions;
  for (const { rules } of table.chains)
    for (const { expressions } of rules)
      for (const e of expressions) if (e.op === "dynset" && e.set === set.name && e.expressions.length > 0) return e.expressions;
  return set.elements.find(({ expressions }) => expressions && expressions.length > 0)?.expressions ?? [];
}

const elementKey = ({ key, keyEnd, catchall }: SetElement): string => (catchall ? "*" : `${hex(key)}-${keyEnd ? hex(keyEnd) : ""}`);

/** Elements of a new list that the old one has not, and of the old one that the new one has not. */
function difference(before: readonly SetElement[], now: readonly SetElement[]): [SetElement[], SetElement[]] {
  if (before === now) return [[], []];
  const old = new Map(before.map((element) => [elementKey(element), element]));
  const fresh = new Map(now.map((element) => [elementKey(element), element]));
  // What was read from memory stays there as it is.
  const added = now.filter((element) => !element.live && !same(old.get(elementKey(element)), element));
  return [added, before.filter((element) => !fresh.has(elementKey(element)))];
}
