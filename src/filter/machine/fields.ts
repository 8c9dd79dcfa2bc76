/** The fields that expressions read: made once for each family and key. */
import type { Expression, Family } from "../expressions.ts";
import { ctOf } from "./ct.ts";
import type { Field } from "./emitter.ts";
import { metaOf } from "./meta.ts";
import { BASE_NUMBERS, payload } from "./payload.ts";
import { type Known, wordsOf } from "./reading.ts";

function known(key: string, { bytes, certain, emit }: Known): Field {
  return { key, words: wordsOf(bytes), certain, emit };
}

/** The field that an expression reads, if it is one that reads. Each is made once: rulesets ask for the same ones again and again. */
export function fieldOf(expression: Expression, family: Family): Field | undefined {
  if (expression.op !== "payload" && expression.op !== "meta" && expression.op !== "ct") return undefined;
  let fields = made.get(family);
  if (!fields) made.set(family, (fields = new Map()));
  const key = keyOf(expression);
  let field = fields.get(key);
  if (!field) {
    field = makeField(expression, family);
    if (fields.size < MOST_FIELDS) fields.set(key, field);
  }
  return field;
}

type Reading = Extract<Expression, { op: "payload" | "meta" | "ct" }>;
const made = new Map<Family, Map<number | string, Field>>();
const MOST_FIELDS = 4096;

/** Tells fields of a family apart: a number for bytes of the packet, a name for the rest. */
function keyOf(expression: Reading): number | string {
  if (expression.op === "meta") return expression.key;
  if (expression.op === "ct") return `ct ${expression.key} ${expression.direction ?? ""}`;
  return (((expression.offset & 0xffff) << 8) | (expression.len & 0xff)) * 4 + BASE_NUMBERS[expression.base];
}

function makeField(expression: Reading, family: Family): Field {
  if (expression.op === "payload") return payload(family, expression.base, expression.offset, expression.len);
  if (expression.op === "meta") return known(`meta ${expression.key}`, metaOf(expression.key, family));
  const { key, direction } = expression;
  return known(`ct ${key} ${direction ?? ""}`, ctOf(key, family, direction));
}

/** Reading it once is as good as reading it again, and cheap where nobody wants it. */
export function canHoist(expression: Expression, field: Field): boolean {
  if (expression.op === "payload") return expression.base !== "inner" && field.words.length <= 4;
  if (expression.op === "ct") return expression.key === "state" || expression.key === "mark" || expression.key === "status";
  return expression.op === "meta" && expression.key !== "random" && !["skuid", "skgid", "cgroup"].includes(expression.key);
}
