/**
 * Rules of one function, with what neighbours have in common asked once.
 *
 * Rules that follow each other and begin with the same comparison share it. Where they begin with the same field but other values, a
 * search among the values says first whether any of them can match: a packet that none of them is about passes them in a few steps. A
 * rule that changes the packet ends such a group, since those behind it have to look again.
 */
import type { Expression, Family } from "../expressions.ts";
import { cmp, wordAt } from "./compare.ts";
import { type Emitter, type Field, slotOf } from "./emitter.ts";
import { canHoist, fieldOf } from "./fields.ts";
import { MATCHED } from "./link.ts";

export interface Item {
  readonly expressions: readonly Expression[];
  /** Place in its chain. */
  readonly index: number;
}

type Cmp = Extract<Expression, { op: "cmp" }>;
interface Head {
  readonly field: Field;
  readonly dreg: number;
  readonly cmp: Cmp;
}

/** So few values are compared one by one. */
const FEW = 4;

export class Piece {
  private readonly e: Emitter;
  private readonly family: Family;
  private readonly writes: (item: Item) => boolean;
  private readonly emit: (expression: Expression, item: Item, place: number) => void;

  constructor(
    e: Emitter,
    family: Family,
    writes: (item: Item) => boolean,
    emit: (expression: Expression, item: Item, place: number) => void,
  ) {
    this.e = e;
    this.family = family;
    this.writes = writes;
    this.emit = emit;
  }

  /** Fields that more than one expression reads are read at the head of the function. */
  hoist(items: readonly Item[]): void {
    const seen = new Set<string>();
    for (const { expressions } of items) {
      for (const expression of expressions) {
        const field = fieldOf(expression, this.family);
        if (!field || !canHoist(expression, field)) continue;
        if (seen.has(field.key)) this.e.hoist(field);
        else seen.add(field.key);
      }
    }
  }

  /** Writes rules whose first `depth` expressions are known to match. */
  rules(items: readonly Item[], depth: number): void {
    const heads = items.map((item) => this.head(item, depth));
    for (let i = 0; i < items.length; ) {
      const { field } = heads[i] ?? {};
      const end = field ? this.endOf(items, i, (at) => heads[at]?.field === field) : i + 1;
      if (field && end - i > 1) this.sameField(items.slice(i, end), heads.slice(i, end) as Head[], depth);
      else this.rule(items[i], depth);
      i = end;
    }
  }

  /** What a rule begins with, if it is a field read at the head of the function that has to have a value. */
  private head({ expressions }: Item, depth: number): Head | undefined {
    const field = depth + 1 < expressions.length ? fieldOf(expressions[depth], this.family) : undefined;
    const next = expressions[depth + 1];
    if (!field || next.op !== "cmp" || next.cmp !== "eq" || !this.e.isHoisted(field)) return undefined;
    const { dreg } = expressions[depth] as { dreg: number };
    const bytes = field.words.reduce((sum, n) => sum + n, 0);
    return slotOf(dreg) === slotOf(next.sreg) && next.data.length === bytes ? { field, dreg, cmp: next } : undefined;
  }

  /** Where a run of rules ends that are alike and leave the packet as it is (the last of them may change it). */
  private endOf(items: readonly Item[], first: number, alike: (at: number) => boolean): number {
    let end = first + 1;
    while (end < items.length && !this.writes(items[end - 1]) && alike(end)) end++;
    return end;
  }

  private sameField(items: readonly Item[], heads: readonly Head[], depth: number): void {
    const { e } = this;
    const { field } = heads[0];
    e.attempt(() => {
      const [local] = e.checkHoisted(field);
      const values = new Set(heads.map(({ cmp: { data } }) => wordAt(data, 0) >>> 0));
      if (values.size > FEW)
        this.among(
          local,
          [...values].sort((a, b) => a - b),
        );
      for (let i = 0; i < items.length; ) {
        const head = heads[i];
        const end = this.endOf(items, i, (at) => equal(heads[at].cmp.data, head.cmp.data));
        e.attempt(() => {
          e.alias(head.dreg, field);
          cmp(e, head.cmp);
          if (end - i > 1) this.rules(items.slice(i, end), depth + 2);
          else this.rule(items[i], depth + 2);
        });
        i = end;
      }
    });
  }

  /** Leaves the group unless the field's first word is one of these. */
  private among(local: number, values: readonly number[]): void {
    const { e } = this;
    const c = e.code.block();
    const found = c.depth;
    const search = (from: number, to: number) => {
      if (to - from <= FEW) {
        for (let i = from; i < to; i++) c.get(local).i32(values[i]).eq().brIf(found);
        e.fail();
        return;
      }
      const middle = (from + to) >> 1;
      c.get(local).i32(values[middle]).ltU().if();
      search(from, middle);
      c.else();
      search(middle, to);
      c.end();
    };
    search(0, values.length);
    c.end();
  }

  /** One rule; of its first `depth` expressions only the registers are left to be set. */
  private rule(item: Item, depth: number): void {
    const { e } = this;
    e.rule(() => {
      for (const [place, expression] of item.expressions.entries()) {
        if (place >= depth) this.emit(expression, item, place);
        else {
          const field = fieldOf(expression, this.family);
          if (field) e.alias((expression as { dreg: number }).dreg, field);
        }
      }
      if (e.traced !== undefined) e.code.i32(MATCHED).ret();
    });
  }
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);
