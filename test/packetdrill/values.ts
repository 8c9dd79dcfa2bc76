/** Arguments of system calls: expressions of a script as numbers, bytes and structures. */
import { type Expression, Mismatch, Unsupported } from "./script.ts";
import { symbol } from "./symbols.ts";

/** The int that an expression is. */
export function int(expression: Expression): number {
  switch (expression.kind) {
    case "number":
      return expression.value;
    case "word":
      return named(expression.name);
    case "or":
      return Number(expression.items.reduce((bits, item) => bits | BigInt(int(item)), 0n));
    case "call":
      return callValue(expression.name, expression.args);
    default:
      throw new Unsupported(`a number was expected, not ${describe(expression)}`);
  }
}

function named(name: string): number {
  const value = symbol(name);
  if (value === undefined) throw new Unsupported(`the constant ${name} is not known`);
  return value;
}

function callValue(name: string, args: readonly Expression[]): number {
  if ((name === "htons" || name === "ntohs") && args.length === 1) return int(args[0]);
  throw new Unsupported(`${name}() is not known`);
}

export function describe(expression: Expression): string {
  switch (expression.kind) {
    case "ellipsis":
      return "...";
    case "number":
      return String(expression.value);
    case "string":
      return JSON.stringify(expression.value);
    case "word":
      return expression.name;
    case "set":
      return `${expression.name}=${describe(expression.value)}`;
    case "call":
      return `${expression.name}(${expression.args.map(describe).join(", ")})`;
    case "or":
      return expression.items.map(describe).join("|");
    default: {
      const inside = expression.items.map(describe).join(", ");
      return expression.kind === "list" ? `[${inside}]` : `{${inside}}`;
    }
  }
}

export const isEllipsis = (expression: Expression | undefined) => expression?.kind === "ellipsis";

/** The one int in brackets: `[1]`. */
export function bracketed(expression: Expression): number {
  if (expression.kind !== "list" || expression.items.length !== 1) {
    throw new Unsupported(`a number in brackets was expected, not ${describe(expression)}`);
  }
  return int(expression.items[0]);
}

export function items(expression: Expression): readonly Expression[] {
  if (expression.kind !== "list" && expression.kind !== "struct") throw new Unsupported(`a list was expected, not ${describe(expression)}`);
  return expression.items;
}

/** Fields of `{a=1, b=2}` by name. */
export function fields(expression: Expression): Map<string, Expression> {
  const out = new Map<string, Expression>();
  for (const item of items(expression)) {
    if (item.kind !== "set") throw new Unsupported(`a field was expected, not ${describe(item)}`);
    out.set(item.name, item.value);
  }
  return out;
}

export function field(of: Map<string, Expression>, name: string): Expression {
  const value = of.get(name);
  if (!value) throw new Unsupported(`the field ${name} is missing`);
  return value;
}

export const optionalInt = (of: Map<string, Expression>, name: string, otherwise = 0) => (of.has(name) ? int(field(of, name)) : otherwise);

/** Bytes of a string, whose escapes are C's. */
export function stringBytes(text: string): Uint8Array {
  const plain = text.replace(/\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)/g, (_, code: string) => {
    if (code[0] === "x") return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8));
    return { n: "\n", t: "\t", r: "\r", "0": "\0" }[code] ?? code;
  });
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

/** What setsockopt gets: an int, or the bytes of a structure, `length` of them. */
export function optionBytes(expression: Expression, length: number): Uint8Array {
  const whole = wholeOption(expression);
  const out = new Uint8Array(Math.max(length, 0));
  out.set(whole.subarray(0, out.length));
  return out;
}

function wholeOption(expression: Expression): Uint8Array {
  if (expression.kind === "string") return stringBytes(expression.value);
  if (expression.kind === "list") return ints(bracketed(expression));
  if (expression.kind === "struct") {
    const named = fields(expression);
    if (named.has("onoff")) return ints(int(field(named, "onoff")), int(field(named, "linger")));
  }
  if (expression.kind === "call" && expression.name === "inet_addr") return inet4(expression.args[0]);
  throw new Unsupported(`an option's value ${describe(expression)}`);
}

function inet4(argument: Expression | undefined): Uint8Array {
  if (argument?.kind !== "string") throw new Unsupported("inet_addr() without an address");
  return Uint8Array.from(argument.value.split("."), Number);
}

export function ints(...values: number[]): Uint8Array {
  const out = new Uint8Array(4 * values.length);
  const view = new DataView(out.buffer);
  for (const [i, value] of values.entries()) view.setUint32(4 * i, value >>> 0, true);
  return out;
}

export function expectSame(what: string, expected: unknown, actual: unknown): void {
  if (expected !== actual) throw new Mismatch(`${what}: expected ${expected}, got ${actual}`);
}
