/** Statements of one rule, evaluated in order: each may put tests for headers before itself, and make anonymous sets. */
import type { LimitSpec, LogSpec, ObjectType } from "../expressions.ts";
import type { ElementOption, Mappings, Node, RelationOp, RuleNode, SelectorNode, SetNode, StatementNode, VerdictNode } from "./ast.ts";
import { constant, resolve, type Typing } from "./constants.ts";
import { constantFor, HeaderContext } from "./context.ts";
import { binary, concat, partsOf, selector, transfer, value, verdict } from "./evaluate.ts";
import { Fault } from "./faults.ts";
import { isWrittenTogether } from "./linearize.ts";
import { mergePayloads } from "./merge.ts";
import type { Constant, Element, EvaluatedRule, MatchOp, Part, Selector, SetData, SetDefinition, Statement, Value } from "./model.ts";
import { natStatement, portsStatement, tproxyStatement } from "./nat.ts";
import { TCP_OPTIONS } from "./protocols.ts";
import { rejectStatement } from "./reject.ts";
import { addressTyping, type Evaluation, KERNEL_MISSING, KERNEL_UNSUPPORTED, type RuleScope } from "./rule-scope.ts";
import {
  type ElementContext,
  elementsOf,
  isCatchAll,
  isInterval,
  isSameData,
  keyText,
  mergeIntervals,
  objectData,
  overlap,
  overlappingBoxes,
  sortElements,
} from "./sets.ts";
import { typeOf } from "./types.ts";
import type { Span } from "./vocabulary.ts";

const FAMILIES: ReadonlyMap<string, bigint> = new Map([
  ["ip", 0x0800n],
  ["ip6", 0x86ddn],
]);
/** What a socket is or is not. */
const SWITCHES = new Set(["transparent", "wildcard"]);
const TERMINAL = new Set(["bind", "reject", "nat", "masquerade", "redirect", "queue"]);
type MatchNode = StatementNode & { readonly k: "match" };
/** Operators for which one side has to be the smaller one. */
const ORDERS: ReadonlySet<string> = new Set(["<", ">", "<=", ">="]);
const undefinedFor = (each: MatchNode, what: string): Fault =>
  new Fault(each.r.at, `Relational expression (${each.op}) is undefined for ${what} expressions`, each.by);
const isTerminal = (each: StatementNode): boolean => TERMINAL.has(each.k) || (each.k === "verdict" && each.verdict.code !== "continue");

export function evaluateRule(rule: RuleNode, scope: RuleScope): EvaluatedRule {
  const evaluator = new RuleEvaluator(scope, rule.at, rule.statements.length === 1);
  let terminal: StatementNode | undefined;
  for (const each of rule.statements) {
    if (terminal) throw new Fault(each.at, "Statement after terminal statement has no effect", terminal.at);
    evaluator.statement(each);
    if (isTerminal(each)) terminal = each;
  }
  return {
    statements: mergePayloads(evaluator.out),
    sets: evaluator.sets,
    ...(rule.comment === undefined ? {} : { comment: rule.comment }),
  };
}

export class RuleEvaluator implements ElementContext, Evaluation {
  readonly out: Statement[] = [];
  readonly sets: SetDefinition[] = [];
  readonly headers: HeaderContext;

  constructor(
    readonly scope: RuleScope,
    /** Where the rule stands. */
    private readonly at?: Span,
    /** It is all that the rule says. */
    private readonly isAlone = false,
  ) {
    this.headers = new HeaderContext(
      scope.family,
      (each) => this.out.push(each),
      (l, values) => this.impliedSet(l, values),
    );
  }
  get names() {
    return this.scope.names;
  }
  variable(name: string, at: Span) {
    return this.scope.variable(name, at);
  }
  verdict(node: Node) {
    const found = resolve(node, this.scope);
    if (found.k !== "verdict") throw new Fault(node.at, "syntax error, expecting verdict");
    this.chain(found);
    return verdict(found, this.scope);
  }
  private chain(node: VerdictNode): void {
    const { verdict: v } = verdict(node, this.scope);
    if (!("chain" in v)) return;
    const at = { start: node.at.end - v.chain.length, end: node.at.end };
    if (!this.scope.hasChain(v.chain)) throw new Fault(at, KERNEL_MISSING);
    if (this.scope.isBaseChain(v.chain)) throw new Fault(at, KERNEL_UNSUPPORTED);
  }
  private impliedSet(l: Selector, values: readonly bigint[]): void {
    const set = this.anonymous(
      partsOf(l),
      undefined,
      values.map((each) => ({ key: [constantFor(l, each)] })),
      { start: 0, end: 0 },
    );
    this.out.push({ k: "match", op: "==", l, r: { k: "set", set }, implied: true });
  }

  statement(each: StatementNode): void {
    switch (each.k) {
      case "match":
        this.match(each);
        return;
      case "verdict":
        this.out.push({ k: "verdict", ...this.verdict(each.verdict) });
        return;
      case "bind":
        this.out.push({ k: "bind", code: each.code, chain: this.scope.bind(each.rules) });
        return;
      case "vmap": {
        const e = value(each.e, this.headers, this.scope);
        this.out.push({ k: "vmap", e, set: this.mappings(each.mappings, e, { kind: "verdict" }, each.e.at) });
        return;
      }
      case "mangle":
        this.mangle(each.target, each.value, each.at);
        return;
      case "objref":
        this.object(each.type as ObjectType, each.name);
        return;
      case "reject":
        this.out.push(rejectStatement(each, this));
        return;
      case "nat":
        this.out.push(natStatement(each, this));
        return;
      case "masquerade":
      case "redirect":
        this.out.push(portsStatement(each, this));
        return;
      case "tproxy":
        this.out.push(tproxyStatement(each, this));
        return;
      case "queue":
        this.queue(each);
        return;
      case "dynset":
        this.dynset(each);
        return;
      case "meter":
        this.meter(each);
        return;
      case "dup":
      case "fwd":
        this.forward(each);
        return;
      case "synproxy": {
        const { mss, wscale, timestamp, sackPerm } = each;
        const flags = (mss === undefined ? 0 : 1) | (wscale === undefined ? 0 : 2) | (sackPerm ? 4 : 0) | (timestamp ? 8 : 0);
        this.out.push({ k: "synproxy", mss: mss ?? 0, wscale: wscale ?? 0, flags });
        return;
      }
      case "reset":
        this.out.push({ k: "reset", ...resetOption(each.option) });
        return;
      case "refused":
        throw new Fault(each.at, `${each.what} is not supported`);
      case "log":
        this.out.push(plain(each.prefix === undefined ? each : { ...each, prefix: this.expanded(each.prefix, each.at) }));
        return;
      default:
        this.out.push(plain(each));
    }
  }
  /** `$name` within a text stands for what was defined. */
  private expanded(text: string, at: Span): string {
    return text.replace(/\$([A-Za-z0-9_]*)/g, (_, name: string) => {
      const found = resolve({ k: "variable", name, at }, this.scope);
      if (found.k !== "symbol") throw new Fault(at, `expected $${name} to stand for one word`);
      return found.name;
    });
  }

  private queue(each: StatementNode & { k: "queue" }): void {
    const num = each.num && this.argument(each.num, QUEUE);
    if (each.flags & FANOUT && (num?.k !== "constant" || num.form !== "range"))
      throw new Fault(each.num?.at ?? each.at, "fanout requires a range to be specified");
    const last = num && "modulus" in num ? num.modulus + num.offset - 1 : 0;
    if (last > 0xffff) throw new Fault((each.num as Node).at, "queue expression max value exceeds 65535");
    this.out.push({ k: "queue", flags: each.flags, ...(num ? { num } : {}) });
  }

  private match(each: MatchNode): void {
    const l = value(each.l, this.headers, this.scope);
    const r = resolve(each.r, this.scope);
    this.checkTracked(each.l, l, r);
    this.checkOperator(each, l, r);
    if (each.mask) {
      this.masked(l, each);
      return;
    }
    if (r.k === "set") {
      this.inSet(l, r, each.op, each);
      return;
    }
    if (r.k === "setref") {
      this.inNamedSet(l, r.name, each.op, each);
      return;
    }
    if (l.k === "concat") throw new Fault(each.l.at, "Use concatenations with sets and maps, not singleton values", each.r.at);
    if (l.k === "fib" && r.k === "symbol" && (r.name === "exists" || r.name === "missing")) {
      const present = { ...l, present: true, type: typeOf("boolean"), bits: 8 };
      this.compare(present, constant(r, present, this.scope), each.op);
      return;
    }
    const found = constant(each.r, l, this.scope);
    if (ORDERS.has(each.op) && found.form !== "value") throw undefinedFor(each, found.form);
    // In a table of one family that says nothing.
    const { family } = this.scope;
    if (l.k === "meta" && l.key === "protocol" && FAMILIES.get(family) === found.from && each.op !== "!=" && !this.isAlone) return;
    if (l.k === "payload" && l.field && l.type.name === "hexadecimal") {
      const type = typeOf(l.field.type);
      this.compare({ ...l, type }, { ...found, type }, each.op === "implicit" ? "==" : each.op);
      return;
    }
    if (l.k === "socket" && SWITCHES.has(l.key) && found.to > 1n) throw new Fault(r.at, `Value ${found.to} exceeds valid range 0-1`);
    this.compare(l, found, each.op);
  }
  /** Which operators there are for what stands on both sides. */
  private checkOperator(each: MatchNode, l: Value, r: Node): void {
    if (each.op === "!") {
      if (l.k === "binary") throw new Fault(each.l.at, "cannot combine negation with binary expression", each.r.at);
      const single = r.k === "set" && r.items.length === 1 ? r.items[0].at : each.r.at;
      const isFlags = l.type.kind === "bitmask" && r.k !== "setref" && !(r.k === "set" && r.items.length > 1);
      if (!isFlags && !each.mask) throw new Fault(each.l.at, "negation can only be used with singleton bitmask values", single);
    }
    if (each.mask && (each.op === "!" || ORDERS.has(each.op))) throw new Fault(each.at, "either == or != is allowed");
    if (r.k === "setref" && ORDERS.has(each.op)) throw undefinedFor(each, "set reference");
  }
  /** Addresses and ports of connections have a type only where the rule or the other side tells it. */
  private checkTracked(node: Node, l: Value, r: Node): void {
    const first = node.k === "concat" ? node.items[0] : node;
    if (first.k !== "ct") return;
    const address = (first.key === "saddr" || first.key === "daddr") && first.family === undefined;
    if (address && (r.k === "set" || r.k === "setref")) throw new Fault(first.at, "specify either ip or ip6 for address matching");
    if (l.k === "ct" && first.key.startsWith("proto-") && !this.headers.transport && !this.headers.tracked)
      throw new Fault(r.at, "Can't parse symbolic invalid expressions");
  }
  private compare(l: Value, r: Constant, op: RelationOp): void {
    if (r.from > r.to) {
      this.compare(l, { ...r, from: r.to, to: r.from }, op === "!=" ? "==" : "!=");
      return;
    }
    const [left, right] = transfer(l, r);
    this.out.push({ k: "match", op: plainOp(op, left, right), l: left, r: right });
    if (
      right.form === "value" &&
      (op === "implicit" || op === "==") &&
      left.k !== "binary" &&
      left.k !== "concat" &&
      left.k !== "constant" &&
      left.k !== "map"
    )
      this.headers.learn(left, right.from);
    else if (left.k === "meta" || left.k === "payload") this.headers.learnSome(left);
  }
  /** `tcp flags syn / syn,ack`: these flags of those. */
  private masked(l: Value, each: MatchNode): void {
    if (l.type.kind !== "bitmask") throw new Fault(each.at, `${l.type.title} has no flags to be masked`);
    const mask = constant(each.mask as Node, l, this.scope);
    const r = constant(each.r, l, this.scope);
    const masked: Value = { k: "binary", op: "&", l, r: mask, type: l.type, bits: l.bits, order: l.order };
    this.out.push({ k: "match", op: each.op === "!=" ? "!=" : "==", l: masked, r });
  }
  private inSet(l: Value, node: SetNode, op: RelationOp, each: MatchNode): void {
    const parts = partsOf(l);
    const elements = elementsOf(node, parts, undefined, this);
    if (ORDERS.has(op) && elements.length > 1) throw undefinedFor(each, "set");
    if (elements.length === 0) throw new Fault(node.at, "Set is empty");
    if (elements.length === 1 && l.k !== "concat" && elements[0].key.length === 1) {
      this.compare(l, elements[0].key[0], op);
      return;
    }
    const set = this.anonymous(parts, undefined, elements, node.at);
    this.out.push({ k: "match", op: op === "!=" ? "!=" : "==", l, r: { k: "set", set } });
    if (l.k === "meta" || l.k === "payload")
      this.headers.learnSome(
        l,
        elements.filter((each) => !isCatchAll(each)).map((each) => each.key[0].from),
      );
  }
  private inNamedSet(l: Value, name: string, op: RelationOp, each: MatchNode): void {
    const set = this.namedSet(name, each.r.at);
    sameTypes(partsOf(l), set.parts, each.l.at, each.r.at);
    this.out.push({ k: "match", op: op === "!=" ? "!=" : "==", l, r: { k: "set", set } });
  }
  namedSet(name: string, at: Span): SetDefinition {
    const set = this.scope.set(name);
    if (!set) throw new Fault(at, "No such file or directory");
    return set;
  }

  /** The map behind `map` or `vmap`: anonymous, or one of the table's. */
  mappings(written: Mappings, key: Value, data: SetData, at: Span): SetDefinition {
    const node = resolve(written, this.scope);
    const parts = partsOf(key);
    if (node.k === "set") {
      const shaped = data.kind === "data" ? this.dataShape(node, data) : data;
      return this.anonymous(parts, shaped, elementsOf(node, parts, shaped, this), node.at);
    }
    if (node.k !== "setref") throw new Fault(written.at, "expected a map: { key : value, … } or the name of one");
    const set = this.namedSet(node.name, node.at);
    if (!set.data) throw new Fault({ start: node.at.start + 1, end: node.at.end }, "Expression is not a map");
    if (set.data.kind !== data.kind) throw new Fault(node.at, `the map has values of another kind, expected ${data.kind}`);
    sameTypes(parts, set.parts, at, node.at);
    return set;
  }
  /** Values that are intervals or concatenations show it only in their elements. */
  private dataShape(node: SetNode, data: SetData & { kind: "data" }): SetData {
    const first = node.items[0]?.data && resolve(node.items[0].data, this.scope);
    const interval = node.items.some((item) => item.data && this.isInterval(item.data));
    const parts = first?.k === "concat" ? data.parts : data.parts.slice(0, 1);
    return { ...data, parts, interval: interval && data.parts[0].type.order === "big" && data.parts[0].bits >= 32 };
  }

  private isInterval(written: Node): boolean {
    const node = resolve(written, this.scope);
    return node.k === "concat" ? node.items.some((item) => this.isInterval(item)) : node.k === "range" || node.k === "prefix";
  }

  anonymous(parts: readonly Part[], data: SetData | undefined, written: readonly Element[], at: Span): SetDefinition {
    const interval = isInterval(written);
    const single = parts.length === 1;
    const distinct = withoutTwins(written);
    if ((data && hasTwins(written)) || (interval && !single && overlappingBoxes(distinct)))
      throw new Fault(at, "Could not process rule: File exists");
    const elements = interval && single ? (data ? sortElements(distinct) : mergeIntervals(written)) : written;
    if (interval && single && data && overlap(elements)) throw new Fault(at, "conflicting intervals specified");
    const ranges = elements.filter((each) => !isCatchAll(each));
    const rest = elements.length - ranges.length;
    const size = interval && single ? 2 * ranges.length + rest + (ranges[0]?.key[0].from === 0n ? 0 : 1) : written.length;
    const set: SetDefinition = {
      name: this.scope.anonymousName(data === undefined ? "set" : data.kind === "object" ? "objmap" : "map"),
      anonymous: true,
      handle: 0,
      parts,
      ...(data ? { data } : {}),
      interval,
      constant: true,
      dynamic: false,
      timeouts: false,
      size,
      elements,
    };
    this.sets.push(set);
    return set;
  }

  first(needs: () => void): void {
    const before = this.out.length;
    needs();
    this.out.unshift(...this.out.splice(before));
  }

  /** What a statement takes: a constant of its type, something computed, or a map's value. */
  argument(written: Node, typing: Typing, parts: readonly Part[] = [{ ...typing }]): Value {
    const node = resolve(written, this.scope);
    if (node.k === "map") {
      const e = value(node.e, this.headers, this.scope);
      const set = this.mappings(node.mappings, e, { kind: "data", parts }, node.e.at);
      checkValues(set, parts, node.at);
      return { k: "map", e, set, type: typing.type, bits: typing.bits, order: typing.order };
    }
    if (node.k === "binary") {
      const l = this.argument(node.l, typing);
      if (l.k === "constant") return constant(node, typing, this.scope);
      return binary(node.op, l, node.r, this.scope);
    }
    if (node.k === "concat") return concat(node.items.map((item) => value(item, this.headers, this.scope)));
    if (isSelector(node)) return selector(node, this.headers, this.scope);
    return constant(written, typing, this.scope);
  }
  private mangle(node: SelectorNode, written: Node, at: Span): void {
    const target = selector(node, this.headers, this.scope);
    if (!isSettable(target)) throw new Fault(at, `${titleOf(node)} cannot be set`);
    const argument = this.argument(written, target);
    assignable(target, argument, written.at, node.at);
    if (argument.k !== "constant" && target.k === "payload" && isWrittenTogether(target))
      throw new Fault(node.at, "this field is written together with others: it takes a constant alone", written.at);
    const type = target.k === "payload" && target.field ? typeOf(target.field.type) : target.type;
    this.out.push({ k: "mangle", target: { ...target, type }, value: argument.k === "constant" ? { ...argument, type } : argument });
  }

  private object(type: ObjectType, written: Node): void {
    const node = resolve(written, this.scope);
    if (node.k === "map") {
      const e = value(node.e, this.headers, this.scope);
      this.out.push({ k: "objmap", type, e, set: this.mappings(node.mappings, e, objectData(type), node.e.at) });
      return;
    }
    if (node.k !== "symbol") throw new Fault(written.at, `expected the name of a ${type}`);
    if (!this.scope.hasObject(type, node.name)) throw new Fault(written.at, KERNEL_MISSING);
    this.out.push({ k: "objref", type, name: node.name });
  }

  private dynset(each: StatementNode & { k: "dynset" }): void {
    const ref = resolve(each.set, this.scope);
    if (ref.k !== "setref") throw new Fault(each.set.at, "expected a set: @ and its name");
    const found = this.namedSet(ref.name, each.set.at);
    const key = this.keyOf(each.key, found.parts);
    sameTypes(partsOf(key), found.parts, each.key.at, each.set.at);
    const options = this.options(each.options);
    if (each.options.some(({ o }) => o === "comment")) throw new Fault(each.key.at, "Key expression comments are not supported");
    if (each.data && found.data?.kind !== "data") throw new Fault(each.set.at, "the set has no values: expected a map of data");
    if (!each.data && found.data) throw new Fault(this.at ?? each.at, "Could not process rule: Invalid argument");
    if (found.interval || (options.timeoutMs !== undefined && !found.timeouts)) throw new Fault(this.at ?? each.at, KERNEL_UNSUPPORTED);
    this.checkCounted(options.statements, found, each.at);
    const set = this.scope.grows(found);
    const data = each.data && set.data?.kind === "data" ? this.argument(each.data, set.data.parts[0]) : undefined;
    this.out.push({ k: "dynset", op: each.op, set, key, ...(data ? { data } : {}), ...options });
  }
  /** As the kernel: what a set's elements carry is the set's to say. */
  private checkCounted(own: readonly Statement[], { statements = [] }: SetDefinition, at: Span): void {
    if (own.length === 0 || statements.length === 0) return;
    if (own.length > statements.length) throw new Fault(this.at ?? at, "Could not process rule: Invalid argument");
    if (own.length < statements.length || own.some(({ k }, i) => k !== statements[i].k)) throw new Fault(this.at ?? at, KERNEL_UNSUPPORTED);
  }
  private meter(each: StatementNode & { k: "meter" }): void {
    if (!each.options.some(({ o }) => o === "statement"))
      throw new Fault(each.at, "a meter counts or limits: expected a statement behind its key");
    const key = this.keyOf(each.key, []);
    const options = this.options(each.options);
    const set = this.scope.meter(each.name, each.size, partsOf(key), options.timeoutMs !== undefined, each.at);
    this.out.push({ k: "dynset", op: options.timeoutMs === undefined ? "add" : "update", set, key, ...options });
  }
  /** What becomes an element: constants in it have the types of the set's fields. */
  private keyOf(written: Node, parts: readonly Part[]): Value {
    const node = resolve(written, this.scope);
    if (node.k === "concat") return concat(node.items.map((item, i) => this.fieldOf(item, parts[i])));
    return this.fieldOf(node, parts.length === 1 ? parts[0] : undefined);
  }
  private fieldOf(node: Node, part: Part | undefined): Value {
    if (!part || resolve(node, this.scope).k !== "symbol") return value(node, this.headers, this.scope);
    const found = constant(node, part, this.scope);
    if (found.form !== "value") throw new Fault(node.at, "packets add single values, expected no prefix or pattern");
    return found;
  }
  private options(options: readonly ElementOption[]): { readonly timeoutMs?: number; readonly statements: readonly Statement[] } {
    const timeout = options.find((each) => each.o === "timeout");
    const statements = options.flatMap((each) => (each.o === "statement" ? [plain(each.statement)] : []));
    return { ...(timeout?.o === "timeout" ? { timeoutMs: timeout.ms } : {}), statements };
  }
  /** Statements that elements of sets carry. */
  elementStatement(node: StatementNode): Statement {
    return plain(node);
  }

  private forward(each: StatementNode & { k: "dup" | "fwd" }): void {
    const device = { type: typeOf("iface_index"), bits: 32, order: "host" } as const;
    const { family } = this.scope;
    if (each.k === "dup" && family !== "ip" && family !== "ip6" && family !== "netdev") throw new Fault(each.at, "unsupported family");
    const address = addressTyping(each.k === "fwd" ? (each.family ?? "ip") : family);
    if (family === "netdev" && !each.device) {
      const to = this.argument(each.to, device);
      this.out.push(each.k === "dup" ? { k: "dup", device: to } : { k: "fwd", device: to });
      return;
    }
    const addr = this.argument(each.to, address);
    const out = each.device && this.argument(each.device, device);
    if (each.k === "dup") this.out.push({ k: "dup", addr, ...(out ? { device: out } : {}) });
    else if (out) this.out.push({ k: "fwd", device: out, addr, family: each.family === "ip6" ? 6 : 4 });
    else throw new Fault(each.at, "fwd to an address needs a device");
  }
}

/** What the kernel sets: fields of headers, options of TCP of two or four bytes, and some of what it keeps for itself. */
const SETTABLE: Readonly<Record<string, ReadonlySet<string>>> = {
  meta: new Set(["mark", "priority", "pkttype", "nftrace"]),
  ct: new Set(["mark", "label", "zone", "event"]),
};
function isSettable(target: Selector): boolean {
  if (target.k === "exthdr") return target.header === "tcpopt" && !target.present && (target.bits === 16 || target.bits === 32);
  return target.k === "payload" || (target.k === "meta" || target.k === "ct" ? SETTABLE[target.k].has(target.key) : false);
}
const TITLES: Readonly<Record<string, string>> = {
  tcpopt: "this option of TCP",
  ipopt: "an option of IP",
  chunk: "a chunk of SCTP",
  exthdr: "an extension header",
};
const titleOf = (node: SelectorNode): string => ("key" in node ? `${node.k} ${node.key}` : (TITLES[node.k] ?? node.k));

const FANOUT = 2;
const QUEUE: Typing = { type: typeOf("integer"), bits: 16, order: "host" };
const SELECTORS = new Set("payload raw meta ct rt tcpopt ipopt exthdr fib socket numgen jhash symhash".split(" "));
export const isSelector = (node: Node): node is SelectorNode => SELECTORS.has(node.k);

/** Each key once. */
function withoutTwins(elements: readonly Element[]): readonly Element[] {
  return [...new Map(elements.map((each) => [keyText(each), each])).values()];
}
/** One key with two values. */
function hasTwins(elements: readonly Element[]): boolean {
  const known = new Map<string, Element>();
  return elements.some((each) => {
    const text = keyText(each);
    const twin = known.get(text);
    known.set(text, each);
    return twin !== undefined && !isSameData(twin.data, each.data);
  });
}
/** What a map gives is what the statement takes: the same types, or numbers as long. */
function checkValues({ data }: SetDefinition, wanted: readonly Part[], at: Span): void {
  if (data?.kind !== "data") return;
  const fits = (part: Part, other: Part | undefined) =>
    other !== undefined &&
    (part.type.name === other.type.name || (part.bits === other.bits && [part, other].some(({ type }) => type.name === "integer")));
  if (data.parts.every((part, i) => fits(part, wanted[i]))) return;
  const [expected, found] = [wanted[0].type.title, data.parts.map(({ type }) => type.title).join(" . ")];
  throw new Fault(at, `datatype mismatch: expected ${expected}, expression has type ${found}`);
}
function plainOp(op: RelationOp, l: Value, r: Constant): MatchOp {
  if (op === "implicit" && (r.type.kind !== "bitmask" || l.k === "binary" || r.form !== "value")) return "==";
  return op === "implicit" && l.type.name === "ct_label" ? "implicit" : op;
}
function sameTypes(l: readonly Part[], r: readonly Part[], at: Span, set: Span): void {
  const same = l.length === r.length && l.every((part, i) => part.type.name === r[i].type.name && part.bits === r[i].bits);
  if (same) return;
  const title = (parts: readonly Part[]) =>
    parts.length === 1 ? parts[0].type.title : `concatenation of (${parts.map((part) => part.type.title).join(", ")})`;
  throw new Fault({ start: set.start + 1, end: set.end }, `datatype mismatch, expected ${title(l)}, expression has type ${title(r)}`, at);
}
function assignable(target: Selector, argument: Value, at: Span, other: Span): void {
  if (argument.k === "constant" || argument.k === "map" || argument.type.name === target.type.name) {
    if (argument.bits === target.bits || argument.k === "map") return;
  }
  const integers = argument.type.name === "integer";
  if (integers && argument.bits === target.bits) return;
  const suffix = integers ? ` with length ${argument.bits}` : "";
  throw new Fault(at, `datatype mismatch: expected ${target.type.title}, expression has type ${argument.type.title}${suffix}`, {
    start: other.start,
    end: at.start,
  });
}
function resetOption(option: { readonly option?: string; readonly kind?: number }): { readonly kind: number; readonly option: string } {
  const found = selector({ k: "tcpopt", ...option, at: { start: 0, end: 0 } }, undefined as never, undefined as never);
  if (found.k !== "exthdr") throw new Error("no option of TCP");
  const name = option.option ?? Object.entries(TCP_OPTIONS).find(([, [kind]]) => kind === found.kind)?.[0];
  return { kind: found.kind, option: name ?? `${found.kind}` };
}
/** Statements that are the same before and after. */
export function plain(each: StatementNode): Statement {
  const { at: _, ...rest } = each;
  const problem = rest.k === "limit" ? limitProblem(rest) : rest.k === "log" ? logProblem(rest) : undefined;
  if (problem) throw new Fault(each.at, problem);
  switch (rest.k) {
    case "counter":
    case "limit":
    case "quota":
    case "log":
    case "connlimit":
    case "notrack":
    case "last":
      return rest;
    default:
      throw new Fault(each.at, `${rest.k} cannot be used here`);
  }
}
function limitProblem({ rate, burst, unit, per }: LimitSpec): string | undefined {
  if (rate === 0) return "a limit of nothing: expected a rate of 1 or more";
  // The kernel counts tokens in nanoseconds (nft_limit_init).
  const tokens = unit === "bytes" ? BigInt(per) * 1_000_000_000n * BigInt(rate + burst) : 0n;
  if (tokens >= 1n << 64n) return "Could not process rule: Value too large for defined data type";
  return unit === "packets" && burst === 0 ? "packet limit burst must be > 0" : undefined;
}
const AUDIT = 8;
function logProblem({ prefix, group, level, snaplen, queueThreshold, flags }: LogSpec): string | undefined {
  if (prefix !== undefined && prefix.length > 127) return `a prefix of ${prefix.length} characters: expected 127 at most`;
  if (group !== undefined && group > 0xffff) return `group ${group}: expected 0 to 65535`;
  if (group !== undefined && flags !== undefined) return "flags and group are mutually exclusive";
  if (group !== undefined && level !== undefined) return "level and group are mutually exclusive";
  const isMore = [prefix, group, snaplen, queueThreshold, flags].some((each) => each !== undefined);
  return level === AUDIT && isMore ? "log level audit doesn't support any further options" : undefined;
}
