/**
 * Expressions that keep something: counter, limit, quota, connlimit, last, numgen. What they keep lies in memory (state.ts) at an
 * address the program knows, or at an offset of a set's element.
 */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { Expression } from "../expressions.ts";
import { type Code, I64 } from "./code.ts";
import type { Emitter } from "./emitter.ts";
import { pushLength } from "./meta.ts";

/** Where state is: a fixed address, or a local's plus an offset. */
export interface At {
  readonly local?: number;
  readonly offset: number;
}

function push(e: Emitter, at: At): { code: Code; offset: number } {
  if (at.local === undefined) return { code: e.code.i32(at.offset), offset: 0 };
  return { code: e.code.get(at.local), offset: at.offset };
}

function pushAddress(e: Emitter, at: At): Code {
  const { code, offset } = push(e, at);
  return offset === 0 ? code : code.i32(offset).add();
}

/** Adds what `amount` pushes (64 bits) to a number of the state. */
function add(e: Emitter, at: At, field: number, amount: () => void): void {
  push(e, at);
  const { code, offset } = push(e, at);
  code.load64(offset + field);
  amount();
  code.add64().store64(offset + field);
}

export function counter(e: Emitter, at: At): void {
  add(e, at, abi.COUNTER_PACKETS, () => e.code.i64(1n));
  add(e, at, abi.COUNTER_BYTES, () => pushLength(e).extend());
}

/** The rule ends when what is on the stack (0 or 1) equals what the state says of `over`. */
function failLike(e: Emitter, at: At, over: boolean | undefined, field: number): void {
  if (over === undefined) {
    const { code, offset } = push(e, at);
    code.load(4, offset + field).eq();
  } else if (!over) e.code.eqz();
  e.failIf();
}

export function limit(e: Emitter, at: At, over?: boolean): void {
  pushAddress(e, at);
  pushLength(e);
  e.code.get(e.worker).load64(abi.WORKER_TIME).call(e.program.plane("takeTokens"));
  failLike(e, at, over, abi.LIMIT_OVER);
}

export function quota(e: Emitter, at: At, over?: boolean): void {
  const used = e.temporary(I64);
  const first = push(e, at);
  const c = push(e, at).code.load64(first.offset + abi.QUOTA_USED);
  pushLength(e)
    .extend()
    .add64()
    .tee(used)
    .store64(first.offset + abi.QUOTA_USED);
  push(e, at);
  c.load64(first.offset + abi.QUOTA_BYTES)
    .get(used)
    .geU64();
  // On the stack: within the quota.
  failLike(e, at, over, abi.QUOTA_OVER);
}

export function connlimit(e: Emitter, at: At, count: number, over: boolean): void {
  const n = e.temporary();
  pushAddress(e, at);
  const c = e.vector(abi.VEC_FLOW, 4).i32(1).shrU().call(e.program.plane("countFlows")).tee(n);
  c.i32(-1).eq().if().i32(abi.VERDICT_DROP).ret().end();
  c.get(n).i32(count).gtU();
  if (over) c.eqz();
  e.failIf();
}

export function last(e: Emitter, at: At): void {
  const { code, offset } = push(e, at);
  code.i32(1).store(4, offset + abi.LAST_SEEN);
  push(e, at);
  code
    .get(e.worker)
    .load64(abi.WORKER_TIME)
    .store64(offset + abi.LAST_TIME);
}

/** (number × modulus) >> 32, plus the offset: what the kernel makes of a hash or a random number. */
export function scale(e: Emitter, modulus: number, offset: number): Code {
  if (modulus < 1) throw invalid(`modulus is ${modulus}; expected at least 1`);
  const c = e.code.extend().i64(BigInt(modulus)).mul64().i64(32n).shrU64().wrap();
  return offset === 0 ? c : c.i32(offset).add();
}

export function numgen(e: Emitter, { dreg, kind, modulus, offset }: Extract<Expression, { op: "numgen" }>, at: At): void {
  const c = e.code;
  if (kind === "random") {
    c.call(e.program.random());
    scale(e, modulus, offset);
  } else {
    if (modulus < 1) throw invalid(`modulus is ${modulus}; expected at least 1`);
    // What was given out last, counted from one, so that memory that is zero begins at the first.
    const value = e.temporary();
    const from = push(e, at).offset;
    push(e, at).code.load(4, from).tee(value).i32(1).add().i32(0).get(value).i32(1).add().i32(modulus).ltU().select().store(4, from);
    c.get(value);
    if (offset !== 0) c.i32(offset).add();
  }
  const [to] = e.fresh(dreg, [4]);
  c.set(to);
}

/** Runs one, wherever its state is. */
export function stateful(e: Emitter, expression: Expression, at: At): void {
  if (expression.op === "counter") counter(e, at);
  else if (expression.op === "limit") limit(e, at, expression.over);
  else if (expression.op === "quota") quota(e, at, expression.over);
  else if (expression.op === "connlimit") connlimit(e, at, expression.count, expression.over);
  else if (expression.op === "last") last(e, at);
  else throw invalid(`elements of a set cannot carry ${expression.op}`);
}
