/** Who writes the code of which expression. */
import { LoomError } from "../../base/errors.ts";
import type { Expression } from "../expressions.ts";
import * as compare from "./compare.ts";
import type { Emitter } from "./emitter.ts";
import { fieldOf } from "./fields.ts";
import * as sets from "./lookup.ts";
import * as keeping from "./stateful.ts";
import * as statements from "./statements.ts";

type Op = Expression["op"];
type Of<O extends Op> = Extract<Expression, { op: O }>;
/** `kept` is where the expression keeps something. */
type Write<O extends Op> = (e: Emitter, expression: Of<O>, kept: () => keeping.At) => void;

const keeps = (e: Emitter, expression: Expression, kept: () => keeping.At) => keeping.stateful(e, expression, kept());

const WRITERS: { readonly [O in Op]?: Write<O> } = {
  immediate: compare.immediate,
  cmp: compare.cmp,
  range: compare.range,
  bitwise: compare.bitwise,
  shift: compare.shift,
  byteorder: compare.byteorder,
  verdict: sets.verdict,
  lookup: sets.lookup,
  dynset: sets.dynset,
  objref: sets.objref,
  "objref-map": sets.objrefMap,
  numgen: (e, expression, kept) => keeping.numgen(e, expression, kept()),
  counter: keeps,
  limit: keeps,
  quota: keeps,
  connlimit: keeps,
  last: keeps,
  "payload-write": statements.payloadWrite,
  exthdr: statements.exthdr,
  "exthdr-write": statements.exthdrWrite,
  "exthdr-reset": statements.exthdrReset,
  "meta-set": statements.metaSet,
  "ct-set": statements.ctSet,
  rt: statements.rt,
  socket: statements.socket,
  fib: statements.fib,
  hash: statements.hash,
  log: statements.log,
  reject: statements.reject,
  nat: statements.nat,
  masq: statements.nat,
  redir: statements.nat,
  notrack: statements.notrack,
  synproxy: statements.synproxy,
  dup: statements.dup,
  fwd: statements.fwd,
  queue: statements.queue,
};

/** Writes one expression into the rule in hand. */
export function emit(e: Emitter, expression: Expression, kept: () => keeping.At): void {
  const field = fieldOf(expression, e.family);
  if (field) {
    e.read((expression as Of<"payload" | "meta" | "ct">).dreg, field);
    return;
  }
  const write = WRITERS[expression.op] as Write<Op> | undefined;
  if (!write) throw new LoomError("ENOTSUP", `the expression ${expression.op} is not known to this engine`);
  write(e, expression, kept);
}
