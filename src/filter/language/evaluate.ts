/** Expressions of a rule: selectors get their types and the tests they need, constants become numbers of the other side's type. */
import type { Node, SelectorNode, VerdictNode } from "./ast.ts";
import { compute, constant, ones, resolve, type Scope } from "./constants.ts";
import { baseOf, type HeaderContext, metaSelector } from "./context.ts";
import { Fault } from "./faults.ts";
import { CT, FIB, RT, SOCKET } from "./keys.ts";
import { knownField } from "./known-fields.ts";
import type { Concat, Constant, Part, Selector, Value, VerdictValue } from "./model.ts";
import { CHUNKS, EXTENSIONS, type Field, IP_OPTIONS, PROTOCOLS, type Protocol, TCP_OPTIONS, TH } from "./protocols.ts";
import { type TypeName, typeOf } from "./types.ts";
import type { Span } from "./vocabulary.ts";

const IPSEC_FAMILIES: ReadonlySet<string> = new Set(["ip", "ip6", "inet"]);
type Fields = Readonly<Record<string, readonly [TypeName, number, number]>>;

/** A selector as written, with everything nft knows of it. */
export function selector(node: SelectorNode, context: HeaderContext, scope: Scope): Selector {
  switch (node.k) {
    case "payload":
      return payload(node.protocol, node.field, node.at, context);
    case "raw":
      return raw(node, context);
    case "meta":
      if (node.key === "nfproto" && (context.family === "ip" || context.family === "ip6"))
        throw new Fault(node.at, "meta nfproto is only useful in the inet family");
      return metaSelector(node.key);
    case "ct":
      return ct(node, context);
    case "rt":
      return route(node, context);
    case "socket": {
      const { type, bits, order } = SOCKET[node.key];
      return { k: "socket", key: node.key, level: node.level, type: typeOf(type), bits, order };
    }
    case "fib": {
      checkFib(node);
      const { type, bits, order } = FIB[node.result];
      return { k: "fib", flags: node.flags, result: node.result, present: false, type: typeOf(type), bits, order };
    }
    case "numgen":
      return { k: "numgen", kind: node.kind, modulus: node.modulus, offset: node.offset, type: typeOf("integer"), bits: 32, order: "host" };
    case "symhash":
      return { k: "symhash", modulus: node.modulus, offset: node.offset, type: typeOf("integer"), bits: 32, order: "host" };
    case "jhash": {
      const e = value(node.e, context, scope);
      const { modulus, seed, offset } = node;
      return { k: "jhash", e, modulus, seed, offset, type: typeOf("integer"), bits: 32, order: "host" };
    }
    case "tcpopt":
      return tcpOption(node);
    case "ipopt":
      context.needIp(node.at, true);
      return option("ipopt", IP_OPTIONS[node.option], node.option, node.field);
    case "chunk":
      return option("sctp", CHUNKS[node.chunk], node.chunk, node.field);
    case "xfrm": {
      const { k, direction, number, key, nf } = node;
      if (!IPSEC_FAMILIES.has(context.family)) throw new Fault(node.at, "ipsec expression is only valid in ip/ip6/inet tables");
      if (number > 255) throw new Fault(node.at, "value too large");
      const type = nf === undefined ? "integer" : nf === "ip" ? "ipv4_addr" : "ipv6_addr";
      return { k, direction, number, key, nf, type: typeOf(type), bits: nf === "ip6" ? 128 : 32, order: key === "reqid" ? "host" : "big" };
    }
    case "osf":
      return { k: "osf", key: node.key, ttl: node.ttl, type: typeOf("string"), bits: 128, order: "host" };
    default:
      return extension(node, context);
  }
}

function checkFib({ flags, result, at }: SelectorNode & { k: "fib" }): void {
  const has = (flag: string) => flags.includes(flag);
  if (has("saddr") && has("daddr")) throw new Fault(at, "fib: saddr and daddr are mutually exclusive");
  if (has("iif") && has("oif")) throw new Fault(at, "fib: iif and oif are mutually exclusive");
  if (!has("saddr") && !has("daddr")) throw new Fault(at, "fib: need either saddr or daddr");
  if (result !== "type" && has("oif")) throw new Fault(at, "Could not process rule: Invalid argument");
}

function payload(name: string, field: string, at: Span, context: HeaderContext): Selector {
  const written = PROTOCOLS.get(name) as Protocol;
  // Ports of any transport are those of the one that is known.
  const protocol = written === TH && context.transport?.fields.has(field) ? context.transport : written;
  context.need(protocol, at);
  const found = protocol.fields.get(field) as Field;
  context.needMessage(protocol, found);
  return context.field(protocol, found);
}
function raw(node: SelectorNode & { k: "raw" }, context: HeaderContext): Selector {
  if (node.len < 1 || node.len > 128) throw new Fault(node.at, `invalid length ${node.len} of a raw payload, expected 1 to 128 bits`);
  const base = baseOf[node.base];
  const known = knownField(base, node.offset, node.len, context);
  const type = typeOf(known.field?.type === "inet_service" ? "inet_service" : "hexadecimal");
  return { k: "payload", ...known, base, offset: node.offset, bits: node.len, raw: true, type, order: "big" };
}
function ct(node: SelectorNode & { k: "ct" }, context: HeaderContext): Selector {
  const { key, type, bits, order } = CT[node.key];
  const shared = { k: "ct", name: node.key, direction: node.direction, order } as const;
  if (node.key !== "saddr" && node.key !== "daddr") return { ...shared, key, family: node.family, type: typeOf(type), bits };
  const known = context.network?.name as "ip" | "ip6" | undefined;
  if (node.family && known && known !== node.family)
    throw new Fault(node.at, `conflicting protocols specified: ${known} vs. ${node.family}`);
  const family = node.family ?? known;
  if (family !== "ip" && family !== "ip6") throw new Fault(node.at, "specify either ip or ip6 for address matching");
  const suffix = node.family ? (family === "ip" ? "_ip" : "_ip6") : "";
  return {
    ...shared,
    key: `${key}${suffix}`,
    family,
    type: typeOf(family === "ip" ? "ipv4_addr" : "ipv6_addr"),
    bits: family === "ip" ? 32 : 128,
  };
}
function route(node: SelectorNode & { k: "rt" }, context: HeaderContext): Selector {
  if (node.key !== "nexthop") {
    const { type, bits, order } = RT[node.key];
    return { k: "rt", key: node.key, type: typeOf(type), bits, order };
  }
  const nf = node.nf ?? (context.network?.name as "ip" | "ip6" | undefined);
  if (nf !== "ip" && nf !== "ip6") throw new Fault(node.at, "specify either ip or ip6 for nexthop matching");
  const known = context.network?.name;
  if ((known === "ip" || known === "ip6") && known !== nf) throw new Fault(node.at, `${nf} nexthop will not match`);
  const key = nf === "ip" ? "nexthop4" : "nexthop6";
  const { type, bits, order } = RT[key];
  return { k: "rt", key, nf, type: typeOf(type), bits, order };
}
function tcpOption(node: SelectorNode & { k: "tcpopt" }): Selector {
  if (node.raw) {
    const { offset, len } = node.raw;
    const words = [`@${node.kind},${offset},${len}`];
    return {
      k: "exthdr",
      header: "tcpopt",
      kind: node.kind as number,
      offset,
      bits: len,
      present: false,
      words,
      type: typeOf("integer"),
      order: "big",
    };
  }
  if (node.option === undefined) return exists("tcpopt", node.kind as number, [`${node.kind}`]);
  return option("tcpopt", TCP_OPTIONS[node.option], node.option === "sack0" ? "sack" : node.option, node.field);
}
function option(header: "tcpopt" | "ipopt" | "sctp", [kind, fields]: readonly [number, Fields], name: string, field?: string): Selector {
  if (field === undefined) return exists(header, kind, [name]);
  const [type, offset, bits] = fields[field];
  return { k: "exthdr", header, kind, offset, bits, present: false, words: [name, field], type: typeOf(type), order: "big" };
}
function exists(header: "tcpopt" | "ipopt" | "ipv6" | "sctp", kind: number, words: readonly string[]): Selector {
  return { k: "exthdr", header, kind, offset: 0, bits: 8, present: true, words, type: typeOf("boolean"), order: "big" };
}
function extension(node: SelectorNode & { k: "exthdr" }, context: HeaderContext): Selector {
  context.needIpv6(node.at);
  const [kind, fields] = EXTENSIONS[node.header];
  if (node.present || node.field === undefined) return exists("ipv6", kind, [node.header]);
  const [type, first, bits] = fields[node.field];
  const offset = first + (node.field === "addr" || node.field === "sid" ? 128 * Math.max(0, (node.index ?? 1) - 1) : 0);
  const words = node.index === undefined ? [node.header, node.field] : ["srh", `sid[${node.index}]`];
  return { k: "exthdr", header: "ipv6", kind, offset, bits, present: false, words, type: typeOf(type), order: "big" };
}

/** A left-hand side: selectors, operators with constants on their right, concatenations. */
export function value(written: Node, context: HeaderContext, scope: Scope): Value {
  const node = resolve(written, scope);
  switch (node.k) {
    case "concat":
      return concat(node.items.map((item) => value(item, context, scope)));
    case "binary": {
      const l = value(node.l, context, scope);
      return binary(node.op, l, node.r, scope);
    }
    case "symbol":
      throw new Fault(node.at, "No symbol type information");
    case "verdict":
    case "set":
    case "setref":
    case "list":
    case "prefix":
    case "range":
    case "wild":
    case "map":
    case "variable":
      throw new Fault(node.at, "expected an expression that reads from the packet");
    default:
      return selector(node, context, scope);
  }
}
export function binary(op: "&" | "|" | "^" | "<<" | ">>", l: Value, node: Node, scope: Scope): Value {
  const shift = op === "<<" || op === ">>";
  const found = resolve(node, scope);
  if (found.k !== "symbol" && found.k !== "binary" && found.k !== "list" && found.k !== "prefix")
    throw new Fault(node.at, `Right hand side of binary operation (${op}) must be constant`);
  const typing = shift ? { type: typeOf("integer"), bits: 32, order: "host" as const } : l;
  const r = constant(node, typing, scope);
  if (shift && r.from >= BigInt(l.bits))
    throw new Fault(node.at, `${op === "<<" ? "Left" : "Right"} shift of ${r.from} bits is undefined for type of ${l.bits} bits width`);
  return { k: "binary", op, l, r, type: l.type, bits: l.bits, order: l.order };
}
export function concat(items: readonly Value[]): Concat {
  const bits = items.reduce((sum, item) => sum + 32 * Math.max(1, (item.bits + 31) >> 5), 0);
  return { k: "concat", items, bits, type: items[0].type, order: "big" };
}
/** A field that is the whole key stays where it lies in its bytes, and the elements are moved there. */
export function partsOf(of: Value): readonly Part[] {
  const parts = (of.k === "concat" ? of.items : [of]).map((item) => ({
    type: item.type,
    bits: item.bits,
    order: item.order,
    selector: item,
  }));
  if ((of.k !== "payload" && of.k !== "exthdr") || (of.offset % 8 === 0 && of.bits % 8 === 0)) return parts;
  return [{ ...parts[0], shift: (8 - ((of.offset + of.bits) % 8)) % 8, loaded: 8 * (((of.offset % 8) + of.bits + 7) >> 3) }];
}

/** Operators that can be undone on the constant are: `mark ^ 3 == 1` is `mark == 2`. */
export function transfer(l: Value, r: Constant): readonly [Value, Constant] {
  let left = l;
  let right = r;
  while (left.k === "binary" && left.op === "^" && right.form === "value") {
    const from = compute("^", right.from, left.r.from, right.bits);
    right = { ...right, from, to: from };
    left = left.l;
  }
  if (left.k === "binary" && right.form === "value" && (left.op === "<<" || left.op === ">>")) {
    const by = left.r.from;
    const back = left.op === "<<" ? right.from >> by : right.from << by;
    const fits = left.op === "<<" ? back << by === right.from : back <= ones(right.bits);
    if (fits && left.l.k !== "binary") return [left.l, { ...right, from: back, to: back }];
  }
  return [left, right];
}
export function verdict(node: VerdictNode, scope: Scope): VerdictValue {
  const { code, chain } = node;
  if (code !== "jump" && code !== "goto") return { verdict: { code } };
  if (chain === undefined || typeof chain === "string") return { verdict: { code, chain: chain as string } };
  const found = resolve(chain, scope);
  if (found.k !== "symbol") throw new Fault(chain.at, "expected the name of a chain");
  return { verdict: { code, chain: found.name } };
}
