/** Expressions over registers alone: cmp, range, bitwise, shift, byteorder, immediate. Bytes compare as memcmp does: network order. */
import { invalid } from "../../base/errors.ts";
import type { Bytes, CompareOp, Expression } from "../expressions.ts";
import type { Code } from "./code.ts";
import type { Emitter, Word } from "./emitter.ts";

type Of<Op extends Expression["op"]> = Extract<Expression, { op: Op }>;

/** Word `index` of bytes, as little-endian memory has it; zero behind their end. */
export function wordAt(bytes: Bytes, index: number): number {
  const at = 4 * index;
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
}

const swapped = (x: number): number => ((x & 0xff) << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24);

/** Turns the word on the stack round; one of a single byte is only moved to the top. `copy` is a local to use. */
function swap(code: Code, bytes: number, copy: number): Code {
  if (bytes === 1) return code.i32(24).shl();
  if (bytes === 2) return code.tee(copy).i32(8).shl().get(copy).i32(8).shrU().or().i32(16).shl();
  code.tee(copy).i32(0x00ff00ff).and().i32(24).rotl();
  return code
    .get(copy)
    .i32(0xff00ff00 | 0)
    .and()
    .i32(8)
    .rotl()
    .or();
}

/** Pushes word `index` of `length` compared bytes so that unsigned order is the order of the bytes. */
function pushOrdered(e: Emitter, sreg: number, index: number, length: number): Code {
  const bytes = Math.min(4, length - 4 * index);
  const word = e.word(sreg, index);
  if (word.local === undefined) return e.code.i32(swapped((word.constant ?? 0) & (bytes === 4 ? -1 : (1 << (8 * bytes)) - 1)));
  e.pushBytes(word, bytes);
  // A half word that is turned round lies at the top already; of two bytes the upper half is zero.
  return swap(e.code, bytes === 3 ? 4 : bytes, e.temporary());
}

function words(length: number): number {
  if (length < 1 || length > 64) throw invalid(`${length} bytes are compared; registers hold 1 to 64`);
  return Math.ceil(length / 4);
}

export function cmp(e: Emitter, { sreg, cmp: op, data }: Of<"cmp">): void {
  if (op === "eq") {
    for (let i = 0; i < words(data.length); i++) {
      pushDifference(e, sreg, i, data);
      e.failIf();
    }
    return;
  }
  if (op === "neq") {
    for (let i = 0; i < words(data.length); i++) {
      pushDifference(e, sreg, i, data);
      if (i > 0) e.code.or();
    }
    e.code.eqz();
  } else if (data.length <= 4) {
    pushOrdered(e, sreg, 0, data.length).i32(swapped(wordAt(data, 0)));
    BROKEN[op](e.code);
  } else {
    pushOrder(e, sreg, data).i32(1);
    BROKEN[op](e.code);
  }
  e.failIf();
}

/** Not 0 when word `i` is not that of the data. */
function pushDifference(e: Emitter, sreg: number, i: number, data: Bytes): void {
  e.pushBytes(e.word(sreg, i), Math.min(4, data.length - 4 * i));
  const value = wordAt(data, i);
  if (value !== 0) e.code.i32(value).xor();
}

type Ordered = Exclude<CompareOp, "eq" | "neq">;
/** Not 0 when `register op data` is false. */
const BROKEN: Record<Ordered, (code: Code) => Code> = {
  lt: (c) => c.geU(),
  lte: (c) => c.gtU(),
  gt: (c) => c.leU(),
  gte: (c) => c.ltU(),
};
/** Pushes 0, 1 or 2: the register is below the data, equal, above. Later words count only where all before are equal. */
function pushOrder(e: Emitter, sreg: number, data: Bytes): Code {
  const c = e.code;
  const order = e.temporary();
  const difference = e.temporary();
  for (let i = words(data.length) - 1, last = true; i >= 0; i--, last = false) {
    const value = e.temporary();
    const against = swapped(wordAt(data, i));
    pushOrdered(e, sreg, i, data.length).set(value);
    c.get(value).i32(against).gtU().get(value).i32(against).ltU().sub().set(difference);
    if (last) c.get(difference).set(order);
    else c.get(difference).get(order).get(difference).select().set(order);
  }
  return c.get(order).i32(1).add();
}

export function range(e: Emitter, { sreg, cmp: op, from, to }: Of<"range">): void {
  const c = e.code;
  if (from.length !== to.length) throw invalid("a range's ends have different lengths");
  if (from.length <= 4) {
    const low = swapped(wordAt(from, 0));
    pushOrdered(e, sreg, 0, from.length)
      .i32(low)
      .sub()
      .i32((swapped(wordAt(to, 0)) - low) | 0);
    if (op === "eq") c.gtU();
    else c.leU();
    e.failIf();
    return;
  }
  pushOrder(e, sreg, from).i32(1).geU();
  pushOrder(e, sreg, to).i32(1).leU().and();
  if (op === "eq") c.eqz();
  e.failIf();
}

export function bitwise(e: Emitter, { sreg, dreg, len, mask, xor }: Of<"bitwise">): void {
  const out: Word[] = [];
  for (let i = 0; i < words(len); i++) {
    const bytes = Math.min(4, len - 4 * i);
    const keep = bytes === 4 ? -1 : (1 << (8 * bytes)) - 1;
    const and = wordAt(mask, i) & keep;
    const turn = wordAt(xor, i) & keep;
    const word = e.word(sreg, i);
    if (word.local === undefined) {
      out.push({ constant: ((word.constant ?? 0) & and) ^ turn, bytes });
      continue;
    }
    const local = e.temporary();
    e.push(word).i32(and).and();
    if (turn !== 0) e.code.i32(turn).xor();
    e.code.set(local);
    out.push({ local, bytes });
  }
  e.assign(dreg, out);
}

/** Words shift as numbers of the machine, what leaves one enters the next: to the left from the last word, to the right from the first. */
export function shift(e: Emitter, { sreg, dreg, len, left, bits }: Of<"shift">): void {
  if (bits < 0 || bits > 31) throw invalid(`a shift by ${bits} bits; expected 0 to 31`);
  const n = words(len);
  const out: Word[] = Array.from({ length: n }, () => ({ local: e.temporary(), bytes: 4 }));
  for (let i = 0; i < n; i++) {
    const c = e.push(e.word(sreg, i)).i32(bits);
    if (left) c.shl();
    else c.shrU();
    const before = left ? i + 1 : i - 1;
    if (bits !== 0 && before >= 0 && before < n) {
      e.push(e.word(sreg, before)).i32(32 - bits);
      if (left) c.shrU().or();
      else c.shl().or();
    }
    c.set(out[i].local as number);
  }
  e.assign(dreg, out);
}

export function byteorder(e: Emitter, { sreg, dreg, len, size }: Of<"byteorder">): void {
  const n = words(len);
  const out: Word[] = [];
  for (let i = 0; i < n; i++) {
    // Of 8 bytes, the words change places too.
    const word = e.word(sreg, size === 8 ? i ^ 1 : i);
    const local = e.temporary();
    const c = e.push(word);
    if (size === 2) {
      const copy = e.temporary();
      c.tee(copy).i32(0x00ff00ff).and().i32(8).shl().get(copy).i32(8).shrU().i32(0x00ff00ff).and().or();
    } else if (size === 4 || size === 8) swap(c, 4, e.temporary());
    else throw invalid(`byte order of ${size} bytes; expected 2, 4 or 8`);
    c.set(local);
    out.push({ local, bytes: size === 2 && len === 2 ? 2 : 4 });
  }
  e.assign(dreg, out);
}

export function immediate(e: Emitter, { dreg, data }: Of<"immediate">): void {
  e.assign(
    dreg,
    Array.from({ length: words(data.length) }, (_, i) => ({ constant: wordAt(data, i), bytes: Math.min(4, data.length - 4 * i) })),
  );
}
