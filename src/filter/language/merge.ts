/**
 * Comparisons of neighbouring fields of one header become one load and one comparison. As nft 1.0.6 does it: comparisons are gathered
 * over the whole rule and sorted by where they lie; above the link header only up to 4 bytes are joined.
 */
import type { Constant, Selector, Statement } from "./model.ts";
import { typeOf } from "./types.ts";

type Match = Statement & { readonly k: "match"; readonly l: Selector & { readonly k: "payload" }; readonly r: Constant };
const BASES = ["link", "network", "transport", "inner"];

function isMergeable(each: Statement): each is Match {
  if (each.k !== "match" || each.l.k !== "payload" || each.r.k !== "constant" || each.r.form !== "value") return false;
  return each.op === "==" || each.op === "!=";
}
const isNext = ({ l }: Match): boolean => l.field !== undefined && l.field.name === l.protocol?.next;
function canJoin(a: Match, b: Match): boolean {
  const { l: x } = a;
  const { l: y } = b;
  if (a.op !== b.op || x.base !== y.base || x.offset + x.bits !== y.offset) return false;
  if (x.offset % 8 !== 0 || x.bits % 8 !== 0 || y.offset % 8 !== 0 || y.bits % 8 !== 0) return false;
  const total = x.bits + y.bits;
  // A word is loaded faster than more: two of them stay two, but in the link header.
  return total <= 128 && (total <= 32 || x.base === "link" || x.bits > 32 || y.bits > 32);
}
function join(a: Match, b: Match): Match {
  const bits = a.l.bits + b.l.bits;
  const shape = { bits, type: typeOf("integer"), order: "big" } as const;
  const from = (a.r.from << BigInt(b.l.bits)) | b.r.from;
  return {
    k: "match",
    op: a.op,
    l: { k: "payload", base: a.l.base, offset: a.l.offset, ...shape },
    r: { k: "constant", form: "value", from, to: from, ...shape },
    parts: [...(a.parts ?? [a]), ...(b.parts ?? [b])],
  };
}

export function mergePayloads(statements: readonly Statement[]): readonly Statement[] {
  const found = statements.flatMap((each, at) => (isMergeable(each) ? [{ each, at }] : []));
  if (found.length < 2) return statements;
  found.sort((a, b) => BASES.indexOf(a.each.l.base) - BASES.indexOf(b.each.l.base) || a.each.l.offset - b.each.l.offset);
  const result: (Statement | undefined)[] = [...statements];
  let last = found[0];
  for (const next of found.slice(1)) {
    if (canJoin(last.each, next.each)) {
      const each = join(last.each, next.each);
      // Where the header that follows is named, it stays named.
      const at = isNext(next.each) ? next.at : last.at;
      result[last.at] = result[next.at] = undefined;
      result[at] = each;
      last = { each, at };
    } else last = next;
  }
  return result.filter((each) => each !== undefined);
}
