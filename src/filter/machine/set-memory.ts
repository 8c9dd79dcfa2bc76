/**
 * A set or map of a ruleset in the engine's memory: hashed when its keys are exact, sorted starts when they are ranges.
 *
 * Hashed sets are changed in place, by rules too. Sets with ranges are built anew beside the old one at each change, what their elements
 * keep (counters, times of expiry) is carried over, and one word makes the new one seen.
 */
import * as abi from "../../../assembly/abi.ts";
import { invalid, LoomError } from "../../base/errors.ts";
import type { Expression, SetElement, SetSpec, Verdict } from "../expressions.ts";
import { wordAt } from "./compare.ts";
import { IntervalBuilder, placesOf } from "./intervals.ts";
import { BREAK, GOTO, JUMP, NEXT, RETURN, type SetLink } from "./link.ts";
import { encodeVerdict } from "./lookup.ts";
import { hex } from "./same.ts";
import type { Block, Space } from "./space.ts";
import { initialState, readState, stateSize } from "./state.ts";

/** Names that values of maps stand for. */
export interface Names {
  chain(name: string): number;
  chainName(number: number): string;
  object(name: string): number;
  objectName(value: number): string;
}

const MILLISECOND = 1_000_000;
/** How often expired elements are looked for, at most. */
const SEARCH_MS = 1000;

const aligned = (n: number, to: number): number => Math.ceil(n / to) * to;

/** What elements of a set look like. */
function linkOf(spec: SetSpec, carried: readonly Expression[], address: number): SetLink & { stride: number; expiry: number; end: number } {
  const fields = placesOf(spec.fields.length > 0 ? spec.fields : [spec.keyLength]);
  const keyBytes = fields.reduce((sum, { bytes }) => sum + aligned(bytes, 4), 0);
  if (keyBytes < 1 || keyBytes > 64) throw invalid(`set ${spec.name} has keys of ${keyBytes} bytes; expected 1 to 64`);
  const dataOffset = keyBytes;
  const dataWords = spec.map === undefined ? 0 : spec.map.kind === "data" ? aligned(spec.map.length, 4) / 4 : 1;
  let at = dataOffset + 4 * dataWords;
  const expiry = spec.timeouts ? aligned(at, 8) : 0;
  if (expiry !== 0) at = expiry + 16;
  const expressionsOffset = carried.length > 0 ? aligned(at, 8) : 0;
  if (carried.length > 0) at = expressionsOffset + abi.SET_EXPRESSIONS_HEAD;
  const expressions = carried.map((expression) => {
    if (stateSize(expression.op) === 0) throw invalid(`elements of set ${spec.name} cannot carry ${expression.op}`);
    const offset = at;
    at += stateSize(expression.op);
    return { expression, offset };
  });
  return {
    address,
    keyWords: keyBytes / 4,
    dataOffset,
    dataWords,
    kind: spec.map === undefined ? "set" : spec.map.kind,
    objectType: spec.map?.kind === "object" ? spec.map.type : undefined,
    timeouts: spec.timeouts,
    expressions,
    expressionsOffset,
    expiry,
    end: at,
    stride: aligned(at, expiry !== 0 || carried.length > 0 ? 8 : 4),
  };
}

/** A set with ranges that is not in force yet. */
interface Built {
  readonly root: number;
  readonly blocks: Block[];
  readonly ranges: Map<string, { element: SetElement; address: number }>;
}

export class SetMemory {
  readonly spec: SetSpec;
  readonly link: SetLink & { stride: number; expiry: number; end: number };
  readonly carried: readonly Expression[];
  private readonly space: Space;
  /** By the table that it is of now. */
  names: Names;
  private readonly header: Block;
  /** Of sets with ranges. */
  private blocks: Block[] = [];
  private catchAll: Block | undefined;
  /** Made for a change that is to come. */
  private staged: Built | undefined;
  private readonly fixed: Block[] = [];
  private ranges = new Map<string, { element: SetElement; address: number }>();

  constructor(space: Space, spec: SetSpec, carried: readonly Expression[], names: Names) {
    this.space = space;
    this.spec = spec;
    this.carried = carried;
    this.names = names;
    this.header = space.allocate(abi.SET_HEADER_SIZE);
    this.link = linkOf(spec, carried, this.header.address);
    try {
      this.writeHeader();
      this.add(spec.elements);
    } catch (error) {
      this.free();
      throw error;
    }
  }

  private writeHeader(): void {
    const { space, link, spec } = this;
    const at = link.address;
    const u32 = (offset: number, value: number) => space.setU32(at + offset, value);
    space.u8[at + abi.SET_KIND] = spec.interval ? abi.SET_INTERVALS : abi.SET_HASH;
    space.view.setUint16(at + abi.SET_KEY_WORDS, link.keyWords, true);
    u32(abi.SET_STRIDE, link.stride);
    u32(abi.SET_LIMIT, spec.size ?? 0);
    space.setU64(at + abi.SET_LIFE, BigInt((spec.timeoutMs ?? 0) * MILLISECOND));
    space.setU64(at + abi.SET_SEARCH_INTERVAL, BigInt(Math.max(spec.gcIntervalMs ?? SEARCH_MS, 100) * MILLISECOND));
    u32(abi.SET_DATA, link.dataOffset);
    u32(abi.SET_EXPIRY, link.expiry);
    if (link.expressions.length > 0) {
      const template = space.place(this.stateBytes(this.carried));
      this.fixed.push(template);
      u32(abi.SET_TEMPLATE, template.address);
      u32(abi.SET_EXPRESSIONS, link.expressionsOffset);
      u32(abi.SET_EXPRESSION_BYTES, template.size);
      u32(abi.SET_FLOWS, link.expressions.find(({ expression }) => expression.op === "connlimit")?.offset ?? 0);
    }
    if (!spec.interval && space.engine.plane.sizeSet(at, Math.max(spec.elements.length, 1)) === 0)
      throw new LoomError("ENOMEM", `the rules' memory has no room for set ${spec.name}; raise filterBytes`);
  }

  /** Expressions' state as an element has it, head included. */
  private stateBytes(expressions: readonly Expression[]): Uint8Array {
    const { end, expressionsOffset } = this.link;
    const bytes = new Uint8Array(end - expressionsOffset);
    bytes[0] = 1;
    const now = this.space.now();
    for (const [i, { expression, offset }] of this.link.expressions.entries()) {
      const own = expressions[i]?.op === expression.op ? expressions[i] : expression;
      bytes.set(initialState(own, now), offset - expressionsOffset);
    }
    return bytes;
  }

  // ── Changes ─────────────────────────────────────────────────────────────────────────────────────

  /** Makes room for a change, or throws and changes nothing. */
  prepare(removed: readonly SetElement[], added: readonly SetElement[]): void {
    const { space, spec, link } = this;
    const limit = spec.size ?? 0;
    const count = space.u32(link.address + abi.SET_COUNT);
    if (limit !== 0 && count + added.length > limit && this.sizeAfter(removed, added) > Math.max(limit, count))
      throw new LoomError("ENOBUFS", `set ${spec.name} is full: ${added.length} more elements and its size is ${limit}`);
    if (spec.interval) {
      this.staged = this.build(this.after(removed, added));
      return;
    }
    for (const element of added) this.valueOf(element);
    if (space.u32(link.address + abi.SET_LEFT) >= added.length) return;
    if (space.engine.plane.sizeSet(link.address, count + added.length) === 0)
      throw new LoomError("ENOMEM", `the rules' memory has no room for set ${spec.name}; raise filterBytes`);
  }

  private sizeAfter(removed: readonly SetElement[], added: readonly SetElement[]): number {
    const after = new Set(this.elements().map(elementKey));
    for (const element of removed) after.delete(elementKey(element));
    for (const element of added) after.add(elementKey(element));
    return after.size;
  }

  /** Removes elements and adds others; a set with ranges is built once for both. */
  change(removed: readonly SetElement[], added: readonly SetElement[]): void {
    if (!this.spec.interval) {
      this.delete(removed);
      this.add(added);
      return;
    }
    const built = this.staged ?? this.build(this.after(removed, added));
    this.staged = undefined;
    for (const { catchall } of removed) if (catchall) this.clearCatchAll();
    for (const element of added) if (element.catchall) this.setCatchAll(element);
    this.publish(built);
  }

  /** What was prepared is not to be. */
  discard(): void {
    if (this.staged) this.space.retire(this.staged.blocks);
    this.staged = undefined;
  }

  /** Ranges of a set once a change is made. */
  private after(removed: readonly SetElement[], added: readonly SetElement[]): readonly SetElement[] {
    const wanted = this.liveRanges();
    for (const element of removed) wanted.delete(rangeKey(element));
    for (const element of added) if (!element.catchall) wanted.set(rangeKey(element), element);
    return [...wanted.values()];
  }

  /** Ranges that have not expired: an expired one would hide what lies within it. */
  private liveRanges(): Map<string, SetElement> {
    const { space, link } = this;
    const now = space.now();
    const isLive = (at: number) => {
      const when = link.expiry === 0 ? 0n : space.u64(at + link.expiry);
      return when === 0n || when > now;
    };
    return new Map([...this.ranges].filter(([, { address }]) => isLive(address)).map(([key, { element }]) => [key, element]));
  }

  /** Adds elements, or sets those of the same keys anew. */
  add(elements: readonly SetElement[]): void {
    if (elements.length === 0) return;
    if (this.spec.interval) {
      this.change([], elements);
      return;
    }
    const exact = elements.filter(({ catchall }) => !catchall);
    for (const element of elements) if (element.catchall) this.setCatchAll(element);
    const { plane } = this.space.engine;
    const now = this.space.now();
    for (const element of exact) {
      if (element.key.length > 4 * this.link.keyWords) throw invalid(`an element of set ${this.spec.name} has ${element.key.length} bytes`);
      const at = plane.insertSet(this.link.address, this.space.key(element.key, this.link.keyWords), now) >>> 0;
      if (at === 0) throw new LoomError("ENOBUFS", `set ${this.spec.name} is full`);
      this.write(at, element, now);
    }
  }

  /** Removes elements by key; returns how many there were. */
  delete(elements: readonly SetElement[]): number {
    const { plane } = this.space.engine;
    let removed = 0;
    if (this.spec.interval) {
      const left = new Map(this.ranges);
      for (const element of elements) if (!element.catchall && left.delete(rangeKey(element))) removed++;
      if (removed > 0) this.publish(this.build([...left.values()].map(({ element }) => element)));
    }
    for (const { key, catchall } of elements) {
      if (catchall) removed += this.clearCatchAll() ? 1 : 0;
      else if (!this.spec.interval)
        removed += plane.removeSet(this.link.address, this.space.key(key, this.link.keyWords), this.space.now());
    }
    return removed;
  }

  clear(): void {
    this.delete(this.elements());
  }

  private setCatchAll(element: SetElement): void {
    const at = this.space.allocate(this.link.stride + 8);
    this.write(at.address, element, this.space.now());
    const old = this.catchAll;
    this.catchAll = at;
    this.space.setU32(this.link.address + abi.SET_CATCH_ALL, at.address);
    if (old) this.space.retire([old]);
  }

  /** False when there was none. */
  private clearCatchAll(): boolean {
    const old = this.catchAll;
    this.catchAll = undefined;
    this.space.setU32(this.link.address + abi.SET_CATCH_ALL, 0);
    if (old) this.space.retire([old]);
    return old !== undefined;
  }

  /** Fills an element whose key stands already. */
  private write(at: number, element: SetElement, now: bigint): void {
    const { space, link } = this;
    const { map } = this.spec;
    if (map?.kind === "data")
      for (let i = 0; i < link.dataWords; i++) space.setU32(at + link.dataOffset + 4 * i, wordAt(element.data ?? NO_DATA, i));
    else if (map) space.setU32(at + link.dataOffset, this.valueOf(element));
    if (link.expiry !== 0) {
      const life = BigInt(Math.round((element.timeoutMs ?? this.spec.timeoutMs ?? 0) * MILLISECOND));
      const left = element.expiresMs === undefined ? life : BigInt(Math.round(element.expiresMs * MILLISECOND));
      space.setU64(at + link.expiry, life === 0n ? 0n : now + left);
      space.setU64(at + link.expiry + 8, life);
    }
    if (link.expressions.length > 0) {
      const own = element.expressions;
      if (own !== undefined || this.spec.expressions !== undefined) space.u8.set(this.stateBytes(own ?? []), at + link.expressionsOffset);
      else space.setU32(at + link.expressionsOffset, 0);
    }
  }

  /** The number of what an element of a map of verdicts or objects names; throws when there is no such thing. */
  private valueOf({ verdict, object }: SetElement): number {
    const { map } = this.spec;
    if (map?.kind === "verdict") return encodeVerdict(verdict ?? { code: "continue" }, this.names.chain);
    return map?.kind === "object" ? this.names.object(object ?? "") : 0;
  }

  /** A set with ranges beside the one in force; throws when there is no memory for it. */
  private build(elements: readonly SetElement[]): Built {
    const { space, link } = this;
    const now = space.now();
    const records = elements.length === 0 ? undefined : space.allocate(aligned(elements.length * link.stride, 64));
    const ranges = new Map<string, { element: SetElement; address: number }>();
    const boxes = elements.map((element, i) => {
      const address = (records as Block).address + i * link.stride;
      const before = this.ranges.get(rangeKey(element));
      if (before?.element === element) space.u8.copyWithin(address, before.address, before.address + link.stride);
      else this.write(address, element, now);
      ranges.set(rangeKey(element), { element, address });
      return { from: element.key, to: element.keyEnd ?? element.key, element: address };
    });
    const { fields, keyLength } = this.spec;
    const builder = new IntervalBuilder(space, fields.length > 0 ? fields : [keyLength], boxes);
    try {
      const root = builder.build();
      return { root, ranges, blocks: records ? [records, ...builder.blocks] : [] };
    } catch (error) {
      if (records) space.retire([records]);
      throw error;
    }
  }

  private publish({ root, ranges, blocks }: Built): void {
    const { space, link } = this;
    const old = this.blocks;
    this.blocks = blocks;
    this.ranges = ranges;
    space.setU32(link.address + abi.SET_COUNT, ranges.size);
    space.setU32(link.address + abi.SET_TAGS, root);
    space.retire(old);
  }

  /** Gives all its memory back. */
  free(): void {
    if (!this.spec.interval) this.space.engine.plane.freeSet(this.link?.address ?? this.header.address);
    this.space.retire([this.header, ...this.fixed, ...this.blocks, ...(this.catchAll ? [this.catchAll] : [])]);
  }

  // ── Reading ─────────────────────────────────────────────────────────────────────────────────────

  /** Live elements, with what they keep and how long they live on. */
  elements(): SetElement[] {
    const { space, link } = this;
    const now = space.now();
    const out: SetElement[] = [];
    const take = (at: number, element: Pick<SetElement, "key" | "keyEnd" | "comment" | "catchall">) => {
      const when = link.expiry === 0 ? 0n : space.u64(at + link.expiry);
      if (when === 0n || when > now) out.push(this.read(at, element, now));
    };
    if (this.spec.interval) {
      for (const { element, address } of this.ranges.values()) take(address, only(element));
    } else {
      const tags = space.u32(link.address + abi.SET_TAGS);
      const first = space.u32(link.address + abi.SET_ELEMENTS);
      const places = (space.u32(link.address + abi.SET_MASK) + 1) * abi.SET_GROUP;
      const comments = this.comments();
      for (let i = 0; i < places; i++) {
        if (space.u8[tags + i] < 128) continue;
        const at = first + i * link.stride;
        const key = space.u8.slice(at, at + this.spec.keyLength);
        take(at, { key, ...comments.get(hex(key)) });
      }
    }
    const catchAll = space.u32(link.address + abi.SET_CATCH_ALL);
    if (catchAll !== 0) take(catchAll, { key: NO_DATA, catchall: true });
    return out;
  }

  private comments(): Map<string, { comment?: string }> {
    return new Map(this.spec.elements.filter(({ comment }) => comment).map(({ key, comment }) => [hex(key), { comment }]));
  }

  private read(at: number, element: Pick<SetElement, "key" | "keyEnd" | "comment" | "catchall">, now: bigint): SetElement {
    const { space, link } = this;
    const { map } = this.spec;
    const value = map === undefined ? 0 : space.u32(at + link.dataOffset);
    const life = link.expiry === 0 ? 0n : space.u64(at + link.expiry + 8);
    return {
      ...element,
      ...(map?.kind === "data" && { data: space.u8.slice(at + link.dataOffset, at + link.dataOffset + map.length) }),
      ...(map?.kind === "verdict" && { verdict: decodeVerdict(value, this.names) }),
      ...(map?.kind === "object" && { object: this.names.objectName(value) }),
      ...(life !== 0n && {
        timeoutMs: Number(life) / MILLISECOND,
        expiresMs: Number(space.u64(at + link.expiry) - now) / MILLISECOND,
      }),
      ...(link.expressions.length > 0 &&
        space.u32(at + link.expressionsOffset) !== 0 && {
          expressions: link.expressions.map(({ expression, offset }) => this.reading(expression, at + offset)),
        }),
    };
  }

  /** An expression with what it keeps now. */
  private reading(expression: Expression, at: number): Expression {
    const state = readState(expression.op, new DataView(this.space.view.buffer, at));
    if (expression.op === "counter") return { ...expression, packets: state.packets ?? 0, bytes: state.bytes ?? 0 };
    return expression.op === "quota" ? { ...expression, used: state.used ?? 0 } : expression;
  }
}

const NO_DATA = new Uint8Array(0);

const only = ({ key, keyEnd, comment, catchall }: SetElement) => ({
  key,
  ...(keyEnd && { keyEnd }),
  ...(comment !== undefined && { comment }),
  ...(catchall && { catchall }),
});

const elementKey = (element: SetElement): string => (element.catchall ? "*" : rangeKey(element));
const rangeKey = ({ key, keyEnd }: SetElement): string => `${hex(key)}-${hex(keyEnd ?? key)}`;

function decodeVerdict(value: number, names: Names): Verdict {
  const code = value & 255;
  if (code === JUMP || code === GOTO) return { code: code === JUMP ? "jump" : "goto", chain: names.chainName(value >>> 8) };
  if (code === abi.VERDICT_QUEUE) return { code: "queue", queue: value >>> 8 };
  if (code === NEXT) return { code: "continue" };
  if (code === RETURN) return { code: "return" };
  if (code === BREAK) return { code: "break" };
  return { code: code === abi.VERDICT_ACCEPT ? "accept" : "drop" };
}
