/** Expressions over sets and maps: lookup, dynset, objref and objref-map; and verdicts, which maps hold too. */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { Expression, Verdict } from "../expressions.ts";
import type { Code } from "./code.ts";
import { type Emitter, tell, type Word } from "./emitter.ts";
import { BREAK, GOTO, JUMP, NEXT, RETURN, type SetLink, TOLD } from "./link.ts";
import { HELPER_SIZE } from "./state.ts";
import { counter, limit, quota, stateful } from "./stateful.ts";

type Of<Op extends Expression["op"]> = Extract<Expression, { op: Op }>;
/** Scratch: keys first, then the data of a new element. */
const DATA = 64;

function pushNow(e: Emitter, wanted: boolean): Code {
  return wanted ? e.code.get(e.worker).load64(abi.WORKER_TIME) : e.code.i64(0n);
}

/** Spills a key of the set from registers. */
function spillKey(e: Emitter, sreg: number, set: SetLink): void {
  e.spill(sreg, 4 * set.keyWords, 0);
}

function find(e: Emitter, sreg: number, set: SetLink): number {
  const element = e.temporary();
  spillKey(e, sreg, set);
  e.code.i32(set.address);
  e.scratch();
  pushNow(e, set.timeouts).call(e.program.plane("findSet")).set(element);
  return element;
}

export function lookup(e: Emitter, { sreg, set: name, dreg, invert }: Of<"lookup">): void {
  const set = e.program.table.set(name);
  const element = find(e, sreg, set);
  const c = e.code;
  if (invert) {
    // Found is what does not match, unless a catch-all element stands for the rest.
    c.get(element).if().i32(set.address).load(4, abi.SET_CATCH_ALL).eqz();
    e.failIf();
    c.end();
    return;
  }
  c.get(element).eqz();
  e.failIf();
  const data = dreg === undefined || set.kind !== "data" ? [] : Array.from({ length: set.dataWords }, () => e.temporary());
  for (const [i, local] of data.entries())
    c.get(element)
      .load(4, set.dataOffset + 4 * i)
      .set(local);
  runExpressions(e, set, element);
  // Without a register it is asked alone whether the map has the key.
  if (set.kind === "verdict" && dreg !== undefined) verdictOf(e, element, set.dataOffset);
  else if (dreg !== undefined && data.length > 0)
    e.assign(
      dreg,
      data.map((local): Word => ({ local, bytes: 4 })),
    );
}

/** What the element carries is run as part of the rule. */
function runExpressions(e: Emitter, set: SetLink, element: number): void {
  if (set.expressions.length === 0) return;
  e.code.get(element).load(4, set.expressionsOffset).if();
  for (const { expression, offset } of set.expressions) stateful(e, expression, { local: element, offset });
  e.code.end();
}

export function dynset(e: Emitter, { action, set: name, key, data, timeoutMs, invert }: Of<"dynset">): void {
  const set = e.program.table.set(name);
  spillKey(e, key, set);
  const c = e.code;
  if (action === "delete") {
    c.i32(set.address);
    e.scratch();
    pushNow(e, true).call(e.program.plane("removeSet")).pop();
    return;
  }
  const element = e.temporary();
  const words = data === undefined ? 0 : set.dataWords;
  if (data !== undefined) e.spill(data, 4 * words, DATA);
  c.i32(set.address);
  e.scratch();
  e.scratch(DATA)
    .i32(words)
    .i64(BigInt(Math.round((timeoutMs ?? 0) * 1e6)));
  c.i32(action === "update" ? 1 : 0);
  pushNow(e, true).call(e.program.plane("updateSet")).tee(element);
  if (invert) {
    // Adding is what does not match; a full set does.
    c.if();
    runExpressions(e, set, element);
    e.fail();
    c.end();
  } else {
    c.eqz();
    e.failIf();
    runExpressions(e, set, element);
  }
}

export function objref(e: Emitter, { type, name }: Of<"objref">): void {
  const { object, value } = e.program.table.object(type, name);
  const at = { offset: value };
  if (object.type === "counter") counter(e, at);
  else if (object.type === "limit") limit(e, at, object.over);
  else if (object.type === "quota") quota(e, at, object.over);
  else if (object.type === "synproxy") answerHandshake(e, object);
  else assignObject(e, type, (c) => c.i32(value));
}

/** What is offered in a server's place goes along in one word. */
export function answerHandshake(
  e: Emitter,
  { mss, wscale, flags }: { readonly mss: number; readonly wscale: number; readonly flags: number },
): void {
  const offer = mss | (wscale << 16) | (flags << 24);
  returnUnless(e, e.code.get(e.worker).get(e.position).i32(offer).call(e.program.plane("stealHandshake")), NEXT);
}

export function objrefMap(e: Emitter, { sreg, set: name }: Of<"objref-map">): void {
  const set = e.program.table.set(name);
  const element = find(e, sreg, set);
  const c = e.code.get(element).eqz();
  e.failIf();
  const value = e.temporary();
  c.get(element).load(4, set.dataOffset).set(value);
  runExpressions(e, set, element);
  const at = { local: value, offset: 0 };
  if (set.objectType === "counter") counter(e, at);
  else if (set.objectType === "limit") limit(e, at);
  else if (set.objectType === "quota") quota(e, at);
  else assignObject(e, set.objectType ?? "", (code) => code.get(value));
}

/** Gives the packet's flow what an object says, which lies where `push` says. */
function assignObject(e: Emitter, type: string, push: (c: Code) => Code): void {
  if (type !== "ct helper") throw invalid(`objects of type ${type} are not known to this engine`);
  push(e.code.get(e.worker).get(e.position).i32(abi.CTFIELD_HELPER)).i32(HELPER_SIZE).call(e.program.plane("flowStore")).pop();
}

/** Leaves the chain with the verdict on the stack, unless it is `go`. */
export function returnUnless(e: Emitter, code: Code, go: number): void {
  const verdict = e.temporary();
  code.tee(verdict).i32(go).ne().if().get(verdict).ret().end();
}

// ── Verdicts ────────────────────────────────────────────────────────────────────────────────────
/** A verdict as elements of maps hold it. */
export function encodeVerdict(verdict: Verdict, chain: (name: string) => number): number {
  if (verdict.code === "jump" || verdict.code === "goto") return (verdict.code === "jump" ? JUMP : GOTO) | (chain(verdict.chain) << 8);
  if (verdict.code === "queue") return abi.VERDICT_QUEUE | (verdict.queue << 8);
  return CODES[verdict.code];
}

const CODES = { accept: abi.VERDICT_ACCEPT, drop: abi.VERDICT_DROP, continue: NEXT, return: RETURN, break: BREAK };

/** Writes what a verdict says beside itself. */
export function argument(e: Emitter, push: () => void): void {
  e.vectorAt(4);
  push();
  e.code.store(4, abi.VEC_ARGUMENT);
}

export function verdict(e: Emitter, { verdict: v }: Of<"verdict">): void {
  const c = e.code;
  if (v.code === "continue") return;
  if (v.code === "break") e.fail();
  else if (v.code === "jump" || v.code === "goto") {
    const call = () => c.call(e.program.chainFunction(v.chain));
    const number = () => c.i32(e.program.table.chain(v.chain));
    if (v.code === "jump") jump(e, call, e.program.writes(v.chain), number);
    else go(e, call, number);
  } else {
    if (v.code === "queue") argument(e, () => c.i32(v.queue));
    c.i32(encodeVerdict(v, () => 0) & 255).ret();
  }
}

/** Runs a chain; its verdict is ours, unless it came to its end or returned: then the next rule follows, whatever else this one has (nft_do_chain). */
function jump(e: Emitter, call: () => void, writes: boolean, chain: () => void): void {
  const result = e.temporary();
  tell(e, JUMP, chain);
  e.code.get(e.worker).get(e.position);
  call();
  e.code.tee(result).i32(RETURN).ltU().if().get(result);
  if (e.traced !== undefined) e.code.i32(TOLD).or().ret().end().i32(NEXT).ret();
  else {
    e.code.ret().end();
    if (writes) e.refresh();
    e.fail();
  }
}

/** Runs a chain in our place: at its end we return. */
function go(e: Emitter, call: () => void, chain: () => void): void {
  const result = e.temporary();
  tell(e, GOTO, chain);
  e.code.get(e.worker).get(e.position);
  call();
  e.code.tee(result).i32(RETURN).get(result).i32(RETURN).ltU().select();
  if (e.traced !== undefined) e.code.i32(TOLD).or();
  e.code.ret();
}

/** The verdict that an element holds. */
function verdictOf(e: Emitter, element: number, offset: number): void {
  const value = e.temporary();
  const code = e.temporary();
  const c = e.code.get(element).load(4, offset).tee(value).i32(255).and().set(code);
  // The jump stands in a branch: what the registers share with fields is parted before.
  if (e.program.writes()) e.detach();
  const chain = () => c.get(value).i32(8).shrU();
  const indirect = () => chain().callIndirect(e.program.chainType);
  c.get(code).i32(JUMP).ltU().if();
  c.get(code).i32(abi.VERDICT_QUEUE).eq().if();
  argument(e, () => c.get(value).i32(8).shrU());
  c.end();
  c.get(code).ret().end();
  c.get(code).i32(RETURN).eq().if().i32(RETURN).ret().end();
  c.get(code).i32(BREAK).eq();
  e.failIf();
  c.get(code).i32(GOTO).eq().if();
  go(e, indirect, chain);
  c.end();
  c.get(code).i32(JUMP).eq().if();
  jump(e, indirect, e.program.writes(), chain);
  c.end();
}
