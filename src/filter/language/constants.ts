/** Constants: from what was written to numbers of the type that the other side has. */
import type { Node } from "./ast.ts";
import { Fault } from "./faults.ts";
import type { Order } from "./keys.ts";
import type { Constant } from "./model.ts";
import { type DataType, type Names, stringValue } from "./types.ts";
import type { Span } from "./vocabulary.ts";

export interface Typing {
  readonly type: DataType;
  readonly bits: number;
  readonly order: Order;
}
export interface Scope {
  readonly names: Names;
  /** What `define` gave a name. */
  variable(name: string, at: Span): Node | undefined;
}

export const ones = (bits: number): bigint => (1n << BigInt(bits)) - 1n;
const value = (typing: Typing, from: bigint): Constant => ({ k: "constant", form: "value", from, to: from, ...pick(typing) });
const pick = ({ type, bits, order }: Typing): Typing => ({ type, bits, order });

/** Follows variables to what they stand for. */
export function resolve(node: Node, scope: Scope): Node {
  for (let depth = 0; node.k === "variable"; depth++) {
    const found = scope.variable(node.name, node.at);
    if (!found || depth > 64) throw new Fault(node.at, `unknown identifier '${node.name}'`);
    node = found;
  }
  return node;
}

/** Where the written thing stands: of a variable, its use. */
export function constant(written: Node, typing: Typing, scope: Scope, at: Span = written.at): Constant {
  const node = resolve(written, scope);
  const where = node === written ? node.at : at;
  switch (node.k) {
    case "symbol":
      return symbol(node.name, node.quoted === true, typing, scope, where);
    case "prefix":
      return prefix(constant(node.e, typing, scope, where), node.len, typing, where);
    case "range":
      return range(constant(node.l, typing, scope, where), constant(node.r, typing, scope, where), where);
    case "binary":
      return fold(node.op, constant(node.l, typing, scope, where), constant(node.r, typing, scope, where), where);
    case "list":
      return listed(
        node.items.map((item) => constant(item, typing, scope, where)),
        typing,
        where,
      );
    case "wild":
      return { k: "constant", form: "prefix", prefix: 0, from: 0n, to: ones(typing.bits), ...pick(typing) };
    default:
      throw new Fault(where, `expected a constant of type ${typing.type.title}`);
  }
}

function symbol(name: string, quoted: boolean, typing: Typing, scope: Scope, at: Span): Constant {
  if (typing.type.kind === "string") return text(name, typing, at);
  const parsed = typing.type.parse(name, scope.names);
  if (typeof parsed === "string") throw new Fault(at, quoted && typing.type.name === "integer" ? `Could not parse integer` : parsed);
  if (parsed > ones(typing.bits)) throw new Fault(at, `Value ${parsed} exceeds valid range 0-${ones(typing.bits)}`);
  return value(typing, parsed);
}
/** Strings may end in `*`, which stands for whatever follows. */
function text(name: string, typing: Typing, at: Span): Constant {
  if (name === "") throw new Fault(at, "Empty string is not allowed");
  const escaped = name.endsWith("\\*");
  const wild = name.endsWith("*") && !escaped;
  const plain = escaped ? `${name.slice(0, -2)}*` : wild ? name.slice(0, -1) : name;
  if (plain.length > typing.bits / 8) throw new Fault(at, `String exceeds maximum length of ${typing.bits / 8}`);
  const from = stringValue(plain, typing.bits);
  if (!wild) return value(typing, from);
  if (plain === "") throw new Fault(at, "All-wildcard strings are not supported");
  const length = 8 * plain.length;
  return { k: "constant", form: "prefix", prefix: length, from, to: from | ones(typing.bits - length), ...pick(typing) };
}
function prefix(base: Constant, length: number, typing: Typing, at: Span): Constant {
  if (length > typing.bits) throw new Fault(at, `Prefix length ${length} is invalid for type of ${typing.bits} bits width`);
  if (length === typing.bits) return base;
  const host = ones(typing.bits - length);
  const from = base.from & ~host;
  return { ...base, form: "prefix", prefix: length, from, to: from | host };
}
function range(l: Constant, r: Constant, at: Span): Constant {
  if (l.form !== "value" || r.form !== "value") throw new Fault(at, "expected a constant on both sides of the range");
  // An hour's range that goes over midnight is what lies outside the other one (compare() says so).
  if (l.from > r.from && l.type.name === "hour") return { ...l, form: "range", to: r.from };
  if (l.from > r.from) throw new Fault(at, "Range has zero or negative size");
  return { ...l, form: "range", to: r.from };
}
export function compute(op: string, l: bigint, r: bigint, bits: number): bigint {
  switch (op) {
    case "&":
      return l & r;
    case "|":
      return l | r;
    case "^":
      return l ^ r;
    case "<<":
      return (l << r) & ones(bits);
    default:
      return l >> r;
  }
}
function fold(op: string, l: Constant, r: Constant, at: Span): Constant {
  if (l.form !== "value" || r.form !== "value") throw new Fault(at, "expected constants on both sides of the operator");
  return value(l, compute(op, l.from, r.from, l.bits));
}
function listed(items: readonly Constant[], typing: Typing, at: Span): Constant {
  if (typing.type.kind !== "bitmask") throw new Fault(at, `${typing.type.title} values cannot be listed with commas: use a set, { … }`);
  return value(
    typing,
    items.reduce((sum, item) => sum | item.from, 0n),
  );
}

/** Bytes as they stand in a register. */
export function bytesOf(number: bigint, bits: number, order: Order, type?: DataType): Uint8Array {
  const bytes = new Uint8Array((bits + 7) >> 3);
  const big = order === "big" || type?.kind === "string";
  let rest = number;
  if (bits <= 32) {
    let small = Number(number);
    for (let i = 0; i < bytes.length; i++, small = Math.floor(small / 256)) bytes[big ? bytes.length - 1 - i : i] = small & 255;
    return bytes;
  }
  for (let i = 0; i < bytes.length; i++, rest >>= 8n) bytes[big ? bytes.length - 1 - i : i] = Number(rest & 255n);
  return bytes;
}
/** The number that bytes in that order are: the way back from `bytesOf`. */
export function numberOf(bytes: Uint8Array, order: Order, type?: DataType): bigint {
  const big = order === "big" || type?.kind === "string";
  let number = 0n;
  for (let i = 0; i < bytes.length; i++) number = (number << 8n) | BigInt(bytes[big ? i : bytes.length - 1 - i]);
  return number;
}
