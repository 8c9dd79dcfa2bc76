/**
 * The code between %{ and }%: the statements of Python that scripts use (assert, print, assignment) over the fields of
 * TCP_INFO, in a grammar of its own. Numbers are JavaScript's.
 */
import peggy from "peggy";
import { Mismatch, Unsupported } from "./script.ts";

const GRAMMAR = String.raw`
{{
  const binary = (first, rest) => rest.reduce((left, [op, right]) => ({ op, left, right }), first);
}}
program = (blank / ";")* statements:(@statement end)* { return statements; }
end = _ ((eol / ";") (blank / ";")* / !.)
statement
  = _ "assert" !letter _ test:tuple _ message:("," _ @tuple)? { return { kind: "assert", test, message, text: text().trim() }; }
  / _ "print" !letter _ "(" _ values:list? _ ")" { return { kind: "print", values: values ?? [] }; }
  / _ "print" !letter _ values:list { return { kind: "print", values }; }
  / _ ("import" / "pass") !letter (!eol !";" .)* { return { kind: "pass" }; }
  / _ name:name _ op:$("=" / "+=" / "-=" / "*=") !"=" _ value:tuple { return { kind: "set", name, op, value }; }
tuple = or
list = first:or rest:(_ "," _ @or)* (_ ",")? { return [first, ...rest]; }
or = first:and rest:(_ @"or" !letter _ @and)* { return binary(first, rest); }
and = first:not rest:(_ @"and" !letter _ @not)* { return binary(first, rest); }
not = "not" !letter _ value:not { return { op: "not", value }; } / comparison
comparison = first:bitor rest:(_ @comparator _ @bitor)* { return rest.length === 0 ? first : { op: "compare", first, rest }; }
comparator = "==" / "!=" / "<=" / ">=" / "<" !"<" { return "<"; } / ">" !">" { return ">"; } / "is" !letter { return "=="; }
  / "in" !letter { return "in"; } / "not" _ "in" !letter { return "not in"; }
bitor = first:bitxor rest:(_ @"|" _ @bitxor)* { return binary(first, rest); }
bitxor = first:bitand rest:(_ @"^" _ @bitand)* { return binary(first, rest); }
bitand = first:shift rest:(_ @"&" _ @shift)* { return binary(first, rest); }
shift = first:sum rest:(_ @$("<<" / ">>") _ @sum)* { return binary(first, rest); }
sum = first:product rest:(_ @$[+-] !"=" _ @product)* { return binary(first, rest); }
product = first:unary rest:(_ @$("//" / "*" !"*" / "/" / "%") _ @unary)* { return binary(first, rest); }
unary = op:$[-+~] _ value:unary { return { op: "unary " + op, value }; } / power
power = base:call rest:(_ "**" _ @unary)? { return rest ? { op: "**", left: base, right: rest } : base; }
call = name:name _ "(" _ args:list? _ ")" { return { op: "call", name, args: args ?? [] }; } / atom
atom
  = "(" __ first:or rest:(__ "," __ @or)* __ ","? __ ")" { return rest.length === 0 ? first : { op: "tuple", items: [first, ...rest] }; }
  / "[" __ items:list? __ "]" { return { op: "tuple", items: items ?? [] }; }
  / digits:$("0x"i [0-9a-f]i+) { return { op: "value", value: Number.parseInt(digits, 16) }; }
  / digits:$([0-9]+ ("." [0-9]+)? ("e"i [+-]? [0-9]+)?) { return { op: "value", value: Number(digits) }; }
  / first:string rest:(_ @string)* { return { op: "value", value: [first, ...rest].join("") }; }
  / ("True" / "False") !letter { return { op: "value", value: text() === "True" ? 1 : 0 }; }
  / name:name { return { op: "name", name }; }
string = "'" text:$("\\" . / [^'])* "'" { return text; } / '"' text:$("\\" . / [^"])* '"' { return text; }
name = $([a-zA-Z_] [a-zA-Z0-9_]*)
letter = [a-zA-Z0-9_]
eol = "\r"? "\n"
comment = "#" (!eol .)*
blank = [ \t\r\n] / comment / "\\" [ \t]* eol
_ = ([ \t] / "\\" [ \t]* eol / comment)*
__ = ([ \t\r\n] / "\\" / comment)*
`;

type Value = number | string | Value[];
type Node = { op: string; [key: string]: unknown };
interface Statement {
  kind: "assert" | "print" | "set" | "pass";
  test: Node;
  message: Node | null;
  text: string;
  values: Node[];
  name: string;
  value: Node;
  op: string;
}

let parser: peggy.Parser | undefined;

/** Names that keep their values from one block to the next. */
export type Names = Map<string, Value>;

/** Runs a block. A failed assertion is a Mismatch; what it prints goes to `print`. */
export function runPython(code: string, names: Names, print: (text: string) => void): void {
  parser ??= peggy.generate(GRAMMAR);
  let statements: Statement[];
  try {
    statements = parser.parse(code) as Statement[];
  } catch (error) {
    if (error instanceof parser.SyntaxError) throw new Unsupported(`this Python is not understood: ${error.message}`);
    throw error;
  }
  for (const statement of statements) execute(statement, names, print);
}

function execute(statement: Statement, names: Names, print: (text: string) => void): void {
  const value = (node: Node) => evaluate(node, names);
  if (statement.kind === "print") print(statement.values.map((node) => show(value(node))).join(" "));
  if (statement.kind === "set") {
    const { name, op, value: node } = statement;
    names.set(name, op === "=" ? value(node) : arithmetic(op[0], lookUp(name, names), value(node)));
  }
  if (statement.kind !== "assert" || truth(value(statement.test))) return;
  const used = [...namesIn(statement.test)].filter((name) => names.has(name)).map((name) => `${name} = ${show(lookUp(name, names))}`);
  const said = statement.message ? show(value(statement.message)) : "";
  const detail = used.length > 0 ? used.join(", ") : said;
  throw new Mismatch(`assertion failed: ${statement.text.replace(/^assert\s*/, "")}${detail === "" ? "" : ` (${detail})`}`);
}

function namesIn(node: unknown): Set<string> {
  const out = new Set<string>();
  const walk = (part: unknown): void => {
    if (Array.isArray(part)) part.forEach(walk);
    else if (typeof part === "object" && part !== null) {
      if ((part as Node).op === "name") out.add((part as Node).name as string);
      Object.values(part).forEach(walk);
    }
  };
  walk(node);
  return out;
}

const show = (value: Value): string => (Array.isArray(value) ? `(${value.map(show).join(", ")})` : String(value));
const truth = (value: Value) => (Array.isArray(value) ? value.length > 0 : value !== 0 && value !== "");

function lookUp(name: string, names: Names): Value {
  const value = names.get(name);
  if (value === undefined) throw new Unsupported(`the code uses ${name}, which has no value here`);
  return value;
}

function evaluate(node: Node, names: Names): Value {
  const value = (key: string) => evaluate(node[key] as Node, names);
  switch (node.op) {
    case "value":
      return node.value as Value;
    case "name":
      return lookUp(node.name as string, names);
    case "tuple":
      return (node.items as Node[]).map((item) => evaluate(item, names));
    case "or":
      return truth(value("left")) ? value("left") : value("right");
    case "and":
      return truth(value("left")) ? value("right") : value("left");
    case "not":
      return Number(!truth(value("value")));
    case "compare":
      return Number(compareChain(node, names));
    case "call":
      return call(
        node.name as string,
        (node.args as Node[]).map((arg) => evaluate(arg, names)),
      );
    case "unary -":
      return -(value("value") as number);
    case "unary +":
      return value("value");
    case "unary ~":
      return -(value("value") as number) - 1;
    default:
      return arithmetic(node.op, value("left"), value("right"));
  }
}

/** a < b <= c. */
function compareChain(node: Node, names: Names): boolean {
  let left = evaluate(node.first as Node, names);
  for (const [op, next] of node.rest as [string, Node][]) {
    const right = evaluate(next, names);
    if (!holds(op, left, right)) return false;
    left = right;
  }
  return true;
}

function holds(op: string, a: Value, b: Value): boolean {
  const same = (x: Value, y: Value) => show(x) === show(y) && typeof x === typeof y;
  const inside = () => (Array.isArray(b) ? b.some((item) => same(item, a)) : String(b).includes(String(a)));
  switch (op) {
    case "==":
      return same(a, b);
    case "!=":
      return !same(a, b);
    case "in":
      return inside();
    case "not in":
      return !inside();
    case "<":
      return a < b;
    case "<=":
      return a <= b;
    case ">":
      return a > b;
    default:
      return a >= b;
  }
}

function call(name: string, args: Value[]): Value {
  const numbers = (args.length === 1 && Array.isArray(args[0]) ? args[0] : args) as number[];
  if (name === "abs") return Math.abs(numbers[0]);
  if (name === "min") return Math.min(...numbers);
  if (name === "max") return Math.max(...numbers);
  if (name === "int") return Math.trunc(Number(args[0]));
  if (name === "float") return Number(args[0]);
  if (name === "round") return Math.round(numbers[0]);
  if (name === "str" || name === "hex") return name === "hex" ? `0x${numbers[0].toString(16)}` : show(args[0]);
  throw new Unsupported(`the code calls ${name}(), which is not known here`);
}

function arithmetic(op: string, left: Value, right: Value): Value {
  if (op === "%" && typeof left === "string") return format(left, Array.isArray(right) ? right : [right]);
  if (op === "+" && typeof left === "string") return left + show(right);
  const [a, b] = [left as number, right as number];
  switch (op) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return a / b;
    case "//":
      return Math.floor(a / b);
    case "%":
      return a - b * Math.floor(a / b);
    case "**":
      return a ** b;
    default:
      // Bits of numbers beyond 2^31 too.
      return Number(bits(op, BigInt(Math.trunc(a)), BigInt(Math.trunc(b))));
  }
}

function bits(op: string, a: bigint, b: bigint): bigint {
  if (op === "&") return a & b;
  if (op === "|") return a | b;
  if (op === "^") return a ^ b;
  return op === "<<" ? a << b : a >> b;
}

/** "cwnd=%d" % value. */
function format(text: string, values: Value[]): string {
  let next = 0;
  return text.replace(/%(?:[-+ 0#]*\d*(?:\.\d+)?)([dsfxiu%])/g, (_, kind) => {
    if (kind === "%") return "%";
    const value = values[next++];
    return kind === "x"
      ? Number(value).toString(16)
      : kind === "f"
        ? String(value)
        : kind === "s"
          ? show(value)
          : String(Math.trunc(Number(value)));
  });
}
