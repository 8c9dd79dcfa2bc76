/**
 * Commands as libnftables takes them in JSON (libnftables-json(5)), into nft's own language, one a line: what `nft -j list ruleset` prints can be
 * read again. What is wrong with a command is told of its place in the array.
 */
import { invalid } from "../../base/index.ts";
import { NftError, type Source } from "./faults.ts";

type Json = unknown;
type Fields = Readonly<Record<string, Json>>;

/** What is wrong at one place, which those who called know. */
class Misfit extends Error {}
const misfit = (message: string): never => {
  throw new Misfit(message);
};

function fields(value: Json, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return misfit(`${what} is ${shown(value)}; expected an object`);
  return value as Fields;
}
function shown(value: Json): string {
  const text = JSON.stringify(value) ?? "missing";
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
/** The one member of an object. */
function member(value: Json, what: string): [string, Json] {
  const all = Object.entries(fields(value, what));
  return all.length === 1 ? all[0] : misfit(`${what} has ${all.length} members; expected one`);
}
const list = (value: Json): readonly Json[] => (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]);

/** A word of the language: a name, or a key, which may have several (`saddr ip`). */
function word(value: Json, what: string): string {
  if (typeof value !== "string" || !/^\w[\w/.\\-]*(\[\d+\])?$/.test(value)) return misfit(`${what} is ${shown(value)}; expected a name`);
  return value;
}
const phrase = (value: Json, what: string): string =>
  String(value)
    .split(" ")
    .map((each) => word(typeof value === "string" ? each : value, what))
    .join(" ");
const optional = (value: Json, head: string, write: (value: Json, what: string) => string = word): string =>
  value === undefined || value === null ? "" : ` ${head}${write(value, head.trim() || "a word")}`;

function whole(value: Json, what: string): string {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) return misfit(`${what} is ${shown(value)}; expected a whole number`);
  return String(value);
}
/** Text in quotes, which the language has no way to put into text. */
function quoted(value: Json, what: string): string {
  if (typeof value !== "string" || /["\n]/.test(value))
    return misfit(`${what} is ${shown(value)}; expected text without quotes and ends of lines`);
  return `"${value}"`;
}

// ── Expressions ─────────────────────────────────────────────────────────────────────────────────
const UNITS: ReadonlySet<Json> = new Set(["bytes", "kbytes", "mbytes"]);
const unit = (value: Json): string =>
  value === undefined ? "bytes" : UNITS.has(value) ? String(value) : misfit(`${shown(value)} is no unit of bytes`);

function symbol(value: Json): string {
  if (typeof value === "number") return whole(value, "the number");
  if (typeof value === "boolean") return value ? "exists" : "missing";
  if (typeof value !== "string") return misfit(`${shown(value)} is no expression`);
  if (value === "*") return value;
  return value.startsWith("@") ? `@${word(value.slice(1), "a set")}` : quoted(value, "a value");
}

const BINARY: ReadonlySet<string> = new Set(["&", "|", "^", "<<", ">>"]);
const at = (raw: Fields, base: string) => `@${base},${whole(raw.offset, "offset")},${whole(raw.len, "len")}`;

const SELECTORS: Readonly<Record<string, (fields: Fields) => string>> = {
  payload: (e) => (e.base === undefined ? `${word(e.protocol, "protocol")} ${phrase(e.field, "field")}` : at(e, word(e.base, "base"))),
  exthdr: (e) => (e.field === undefined ? `exthdr ${word(e.name, "name")}` : `${word(e.name, "name")} ${phrase(e.field, "field")}`),
  "tcp option": (e) => {
    if (e.base === undefined) return `tcp option ${word(e.name, "name")}${optional(e.field, "")}`;
    const isWhole = e.offset === 0 && e.len === 8;
    return isWhole ? `tcp option ${whole(e.base, "base")}` : `tcp option ${at(e, whole(e.base, "base"))}`;
  },
  "ip option": (e) => `ip option ${word(e.name, "name")}${optional(e.field, "")}`,
  "sctp chunk": (e) => `sctp chunk ${word(e.name, "name")}${optional(e.field, "")}`,
  meta: (e) => `meta ${phrase(e.key, "key")}`,
  ct: (e) => `ct${optional(e.dir, "")}${optional(e.family, "")} ${phrase(e.key, "key")}`,
  rt: (e) => `rt${optional(e.family, "")} ${phrase(e.key, "key")}`,
  ipsec: (e) => `ipsec ${word(e.dir, "dir")}${optional(e.spnum, "spnum ", whole)}${optional(e.family, "")} ${phrase(e.key, "key")}`,
  osf: (e) => `osf${optional(e.ttl, "ttl ")} ${phrase(e.key, "key")}`,
  fib: (e) =>
    `fib ${list(e.flags)
      .map((flag) => word(flag, "a flag"))
      .join(" . ")} ${word(e.result, "result")}`,
  socket: (e) => `socket ${phrase(e.key, "key")}`,
  numgen: (e) => `numgen ${word(e.mode, "mode")} mod ${whole(e.mod, "mod")}${optional(e.offset, "offset ", whole)}`,
  symhash: (e) => `symhash mod ${whole(e.mod, "mod")}${optional(e.offset, "offset ", whole)}`,
  jhash: (e) =>
    `jhash ${expression(e.expr)} mod ${whole(e.mod, "mod")}${optional(e.seed, "seed ", whole)}${optional(e.offset, "offset ", whole)}`,
};

function expression(value: Json): string {
  if (Array.isArray(value)) return value.map((each) => expression(each)).join(",");
  if (typeof value !== "object" || value === null) return symbol(value);
  const [kind, inner] = member(value, "an expression");
  if (Object.hasOwn(SELECTORS, kind)) return SELECTORS[kind](fields(inner, kind));
  if (BINARY.has(kind)) return binary(kind, list(inner));
  switch (kind) {
    case "concat":
      return list(inner)
        .map((each) => expression(each))
        .join(" . ");
    case "set":
      return `{ ${list(inner)
        .map((each) => element(each))
        .join(", ")} }`;
    case "map":
    case "vmap":
      return mapping(kind, fields(inner, kind));
    case "prefix": {
      const { addr, len } = fields(inner, kind);
      return `${expression(addr)}/${whole(len, "len")}`;
    }
    case "range": {
      const [from, to] = list(inner);
      return `${expression(from)}-${expression(to)}`;
    }
    case "elem":
      return element(value);
    default:
      return verdict(kind, inner) ?? misfit(`there is no expression ${kind}`);
  }
}
function binary(op: string, operands: readonly Json[]): string {
  if (operands.length < 2) misfit(`${op} has ${operands.length} operands; expected two or more`);
  // A list is of flags, all of them.
  const operand = (each: Json) => (Array.isArray(each) ? (each.length > 1 ? binary("|", each) : expression(each[0])) : expression(each));
  return `(${operands.map(operand).join(` ${op} `)})`;
}
const mapping = (kind: string, { key, data }: Fields) => `${expression(key)} ${kind} ${expression(data)}`;

function element(value: Json): string {
  if (Array.isArray(value) && value.length === 2) return `${element(value[0])} : ${expression(value[1])}`;
  if (typeof value !== "object" || value === null || !("elem" in value)) return expression(value);
  const { val, timeout, expires, comment, ...statements } = fields(value.elem, "elem");
  const all = Object.entries(statements).map(([kind, inner]) => ` ${statement({ [kind]: inner })}`);
  const times = `${optional(timeout, "timeout ", seconds)}${optional(expires, "expires ", seconds)}`;
  return `${expression(val)}${all.join("")}${times}${optional(comment, "comment ", quoted)}`;
}
const seconds = (value: Json, what: string): string => `${whole(value, what)}s`;

const VERDICTS: ReadonlySet<string> = new Set(["accept", "drop", "continue", "return"]);
function verdict(kind: string, inner: Json): string | undefined {
  if (VERDICTS.has(kind)) return kind;
  return kind === "jump" || kind === "goto" ? `${kind} ${word(fields(inner, kind).target, "target")}` : undefined;
}

// ── Statements ──────────────────────────────────────────────────────────────────────────────────
/** Statements of what they say themselves, or by the name of an object, or by a map of names. */
const named = (kind: string, inner: Json, head: string, own: (fields: Fields) => string): string => {
  if (typeof inner === "string") return `${head} ${quoted(inner, kind)}`;
  if (inner === null) return own({});
  const all = fields(inner, kind);
  return "map" in all ? `${head} ${expression(inner)}` : own(all);
};
const flags = (value: Json): string =>
  list(value)
    .map((each) => word(each, "a flag"))
    .join(",");
const after = (text: string) => (text === "" ? "" : ` ${text}`);

function limit(all: Fields): string {
  const inBytes = all.rate_unit !== undefined && all.rate_unit !== "packets";
  const rate = `${whole(all.rate, "rate")}${inBytes ? ` ${unit(all.rate_unit)}` : ""}/${word(all.per ?? "second", "per")}`;
  const hasBurst = all.burst !== undefined && !(inBytes && all.burst === 0);
  return `rate ${all.inv ? "over " : ""}${rate}${hasBurst ? ` burst ${whole(all.burst, "burst")} ${inBytes ? unit(all.burst_unit) : "packets"}` : ""}`;
}
function quota(all: Fields): string {
  const used = all.used ? ` used ${whole(all.used, "used")} ${unit(all.used_unit)}` : "";
  return `${all.inv ? "over " : ""}${whole(all.val ?? all.bytes, "val")} ${unit(all.val_unit)}${used}`;
}
const packetsAndBytes = ({ packets, bytes }: Fields) =>
  packets === undefined && bytes === undefined ? "" : ` packets ${whole(packets ?? 0, "packets")} bytes ${whole(bytes ?? 0, "bytes")}`;

/** An address and a port: one of IPv6 stands in brackets where a port can follow. */
function target({ addr, port }: Fields): string {
  const bare = (value: Json) => expression(value).replace(/^"(.*:.*)"$/, "[$1]");
  const range = typeof addr === "object" && addr !== null && "range" in addr ? list(addr.range).map(bare).join("-") : undefined;
  const prefix = typeof addr === "object" && addr !== null && "prefix" in addr ? fields(addr.prefix, "prefix") : undefined;
  const where = addr === undefined ? "" : (range ?? (prefix ? `${bare(prefix.addr)}/${whole(prefix.len, "len")}` : bare(addr)));
  return `${where}${port === undefined ? "" : `:${expression(port)}`}`;
}
const NAT_TYPES: Readonly<Record<string, string>> = { prefix: " prefix", interval: " interval", concat: " addr . port" };
function nat(kind: string, all: Fields): string {
  const words = flags(list(all.flags).filter((flag) => flag !== "netmap"));
  const types = list(all.type_flags).map((type) => NAT_TYPES[word(type, "type_flags")] ?? misfit(`there is no type ${shown(type)} of NAT`));
  return `${kind}${optional(all.family, "")}${types.join("")} to ${target(all)}${after(words)}`;
}
function dynset(kind: "set" | "map", all: Fields): string {
  const data = all.data === undefined ? "" : ` : ${expression(all.data)}`;
  const each = list(all.stmt)
    .map((inner) => ` ${statement(inner)}`)
    .join("");
  return `${word(all.op, "op")} ${symbol(all[kind])} { ${element(all.elem)}${each}${data} }`;
}
function meter(all: Fields): string {
  return `meter ${word(all.name, "name")}${optional(all.size, "size ", whole)} { ${element(all.key)} ${statement(all.stmt)} }`;
}
function log(all: Fields): string {
  const each = list(all.flags).map((flag) => ` flags ${phrase(flag, "a flag")}`);
  const numbers = `${optional(all.group, "group ", whole)}${optional(all.snaplen, "snaplen ", whole)}${optional(all["queue-threshold"], "queue-threshold ", whole)}`;
  return `log${optional(all.prefix, "prefix ", quoted)}${numbers}${optional(all.level, "level ")}${each.join("")}`;
}
function queue({ num, flags: words }: Fields): string {
  const isPlain = num === undefined || typeof num === "number" || "range" in fields(num, "num");
  return `queue${optional(words, "flags ", flags)}${num === undefined ? "" : ` ${isPlain ? "num" : "to"} ${expression(num)}`}`;
}
function synproxy({ mss, wscale, flags: words }: Fields): string {
  const each = list(words).map((flag) => ` ${word(flag, "a flag")}`);
  return `${optional(mss, "mss ", whole)}${optional(wscale, "wscale ", whole)}${each.join("")}`;
}
function match({ op, left, right }: Fields): string {
  if (left === undefined || right === undefined) misfit(`match has no ${left === undefined ? "left" : "right"}`);
  const by =
    op === undefined || op === "in" ? "" : /^([=!<>]=|[<>!])$/.test(String(op)) ? ` ${op}` : misfit(`match has no op ${shown(op)}`);
  return `${expression(left)}${by} ${expression(right)}`;
}
function reject({ type, expr }: Fields): string {
  if (type === undefined) return "reject";
  return type === "tcp reset" ? "reject with tcp reset" : `reject with ${word(type, "type")} ${expression(expr)}`;
}

const STATEMENTS: Readonly<Record<string, (inner: Json, kind: string) => string>> = {
  match: (inner, kind) => match(fields(inner, kind)),
  vmap: (inner, kind) => mapping(kind, fields(inner, kind)),
  mangle: (inner, kind) => {
    const { key, value } = fields(inner, kind);
    return `${expression(key)} set ${expression(value)}`;
  },
  counter: (inner, kind) => named(kind, inner, "counter name", (all) => `counter${packetsAndBytes(all)}`),
  quota: (inner, kind) => named(kind, inner, "quota name", (all) => `quota ${quota(all)}`),
  limit: (inner, kind) => named(kind, inner, "limit name", (all) => `limit ${limit(all)}`),
  "ct helper": (inner, kind) => named(kind, inner, "ct helper set", () => misfit(`${kind} has no name`)),
  "ct timeout": (inner, kind) => named(kind, inner, "ct timeout set", () => misfit(`${kind} has no name`)),
  "ct expectation": (inner, kind) => named(kind, inner, "ct expectation set", () => misfit(`${kind} has no name`)),
  synproxy: (inner, kind) => named(kind, inner, "synproxy name", (all) => `synproxy${synproxy(all)}`),
  "ct count": (inner, kind) => {
    const { val, inv } = fields(inner, kind);
    return `ct count ${inv ? "over " : ""}${whole(val, "val")}`;
  },
  snat: (inner, kind) => nat(kind, fields(inner, kind)),
  dnat: (inner, kind) => nat(kind, fields(inner, kind)),
  masquerade: (inner, kind) => ported(kind, fields(inner ?? {}, kind)),
  redirect: (inner, kind) => ported(kind, fields(inner ?? {}, kind)),
  tproxy: (inner, kind) => {
    const all = fields(inner, kind);
    return `tproxy${optional(all.family, "")} to ${target(all)}`;
  },
  reject: (inner, kind) => reject(fields(inner ?? {}, kind)),
  dup: (inner, kind) => {
    const { addr, dev } = fields(inner, kind);
    return `dup to ${expression(addr)}${optional(dev, "device ", expression)}`;
  },
  fwd: (inner, kind) => {
    const { dev, family, addr } = fields(inner, kind);
    return addr === undefined ? `fwd to ${expression(dev)}` : `fwd${optional(family, "")} to ${expression(addr)} device ${expression(dev)}`;
  },
  set: (inner) => dynset("set", fields(inner, "set")),
  map: (inner) => dynset("map", fields(inner, "map")),
  meter: (inner, kind) => meter(fields(inner, kind)),
  log: (inner, kind) => log(fields(inner ?? {}, kind)),
  queue: (inner, kind) => queue(fields(inner ?? {}, kind)),
  notrack: () => "notrack",
  last: () => "last",
  reset: (inner, kind) => {
    const { name, base } = fields(fields(inner, kind)["tcp option"], "tcp option");
    return `reset tcp option ${base === undefined ? word(name, "name") : whole(base, "base")}`;
  },
};
function ported(kind: string, { port, flags: words }: Fields): string {
  return `${kind}${port === undefined ? "" : ` to :${expression(port)}`}${after(flags(words))}`;
}

function statement(value: Json): string {
  const [kind, inner] = member(value, "a statement");
  if (Object.hasOwn(STATEMENTS, kind)) return STATEMENTS[kind](inner, kind);
  return verdict(kind, inner) ?? misfit(`there is no statement ${kind}`);
}
function statements(value: Json): string {
  if (!Array.isArray(value)) return misfit(`expr is ${shown(value)}; expected an array of statements`);
  return value.map((each, i) => within(`expr[${i}]`, () => statement(each))).join(" ");
}
function within<T>(place: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof Misfit) throw new Misfit(`${place}${/^[a-z]+\[/.test(error.message) ? "." : ": "}${error.message}`);
    throw error;
  }
}

// ── Commands ────────────────────────────────────────────────────────────────────────────────────
const family = (all: Fields) => word(all.family, "family");
const table = (all: Fields) => `${family(all)} ${word(all.table, "table")}`;
const place = (all: Fields, name: Json = all.name) => `${table(all)} ${word(name, "name")}`;
const block = (parts: readonly string[]) =>
  `{ ${parts
    .filter(Boolean)
    .map((part) => `${part.trim()}; `)
    .join("")}}`;
const commentOf = (all: Fields) => optional(all.comment, "comment ", quoted);

function typeWords(value: Json): string {
  if (typeof value === "object" && value !== null && "typeof" in value) return `typeof ${expression(value.typeof)}`;
  // Types of several are listed as an array, or as the language has them.
  const types = typeof value === "string" ? value.split(" . ") : list(value);
  return `type ${types.map((each) => word(each, "type")).join(" . ")}`;
}
const OBJECT_MAPS: ReadonlySet<Json> = new Set(["counter", "quota", "limit", "secmark", "synproxy"]);
function set(kind: string, all: Fields): string {
  const elements = list(all.elem);
  const types = typeWords(all.type);
  const data =
    all.map === undefined ? "" : OBJECT_MAPS.has(all.map) ? ` : ${all.map}` : ` : ${typeWords(all.map).replace(/^type(of)? /, "")}`;
  return `${kind} ${place(all)} ${block([
    `${types}${data}`,
    optional(all.flags, "flags ", flags),
    optional(all.timeout, "timeout ", seconds),
    optional(all["gc-interval"], "gc-interval ", seconds),
    optional(all.size, "size ", whole),
    optional(all.policy, "policy "),
    all["auto-merge"] === true ? "auto-merge" : "",
    commentOf(all),
    ...list(all.stmt).map((each) => statement(each)),
    elements.length > 0 ? `elements = ${expression({ set: elements })}` : "",
  ])}`;
}
const policyTimes = (value: Json) =>
  `policy = { ${Object.entries(fields(value, "policy"))
    .map(([state, time]) => `${word(state, "a state")} : ${seconds(time, state)}`)
    .join(", ")} }`;

/** Objects that commands add, by what they are called. */
const OBJECTS: Readonly<Record<string, (all: Fields, kind: string) => string>> = {
  table: (all) => `table ${family(all)} ${word(all.name, "name")} ${block([optional(all.flags, "flags ", flags), commentOf(all)])}`,
  chain: (all) => {
    const devices = list(all.dev).map((each) => quoted(each, "dev"));
    const device = devices.length === 0 ? "" : devices.length === 1 ? ` device ${devices[0]}` : ` devices = { ${devices.join(", ")} }`;
    const hook =
      all.hook === undefined
        ? ""
        : `type ${word(all.type, "type")} hook ${word(all.hook, "hook")}${device} priority ${whole(all.prio ?? 0, "prio")}`;
    return `chain ${place(all)} ${block([hook, optional(all.policy, "policy "), commentOf(all)])}`;
  },
  rule: (all) => `rule ${place(all, all.chain)}${optional(all.index, "index ", whole)} ${statements(all.expr)}${commentOf(all)}`,
  set: (all, kind) => set(kind, all),
  map: (all, kind) => set(kind, all),
  element: (all) => `element ${place(all)} ${expression({ set: list(all.elem) })}`,
  counter: (all) => `counter ${place(all)} ${block([packetsAndBytes(all), commentOf(all)])}`,
  quota: (all) => `quota ${place(all)} ${block([quota(all), commentOf(all)])}`,
  limit: (all) => `limit ${place(all)} ${block([limit(all), commentOf(all)])}`,
  synproxy: (all) =>
    `synproxy ${place(all)} ${block([optional(all.mss, "mss ", whole), optional(all.wscale, "wscale ", whole), synproxy({ flags: all.flags })])}`,
  "ct helper": (all, kind) =>
    `${kind} ${place(all)} ${block([`type ${quoted(all.type, "type")} protocol ${word(all.protocol, "protocol")}`, optional(all.l3proto, "l3proto ")])}`,
  "ct timeout": (all, kind) =>
    `${kind} ${place(all)} ${block([`protocol ${word(all.protocol, "protocol")}`, optional(all.l3proto, "l3proto "), all.policy ? policyTimes(all.policy) : ""])}`,
  "ct expectation": (all, kind) =>
    `${kind} ${place(all)} ${block([
      `protocol ${word(all.protocol, "protocol")}`,
      optional(all.dport, "dport ", whole),
      optional(all.timeout, "timeout ", (value, what) => `${whole(value, what)}ms`),
      optional(all.size, "size ", whole),
      optional(all.l3proto, "l3proto "),
    ])}`,
};

function added(op: string, value: Json): string {
  const [kind, inner] = member(value, op);
  if (!Object.hasOwn(OBJECTS, kind)) return misfit(`there is no ${kind} to ${op}`);
  return `${op} ${within(kind, () => OBJECTS[kind](fields(inner, kind), kind))}`;
}
/** A rule in front of, or in place of, one that is there. */
function placed(op: string, value: Json): string {
  const [kind, inner] = member(value, op);
  const all = fields(inner, kind);
  if (kind !== "rule" || all.handle === undefined) return added(op, value);
  return within(
    kind,
    () => `${op} rule ${place(all, all.chain)} handle ${whole(all.handle, "handle")} ${statements(all.expr)}${commentOf(all)}`,
  );
}
function meant(op: string, value: Json): string {
  const [kind, inner] = member(value, op);
  if (kind === "ruleset") return `${op} ruleset${optional((inner as Fields | null)?.family, "")}`;
  const all = fields(inner ?? {}, kind);
  if (kind === "element") return `${op} ${OBJECTS.element(all, kind)}`;
  if (kind === "rule") return `${op} rule ${place(all, all.chain)} handle ${whole(all.handle, "handle")}`;
  // Many of a kind: of all families, of one, or of a table.
  if (kind.endsWith("s") && all.name === undefined)
    return `${op} ${kind}${optional(all.family, "")}${all.table === undefined ? "" : ` ${word(all.table, "table")}`}`;
  if (kind === "table")
    return all.name === undefined
      ? `${op} table ${family(all)} handle ${whole(all.handle, "handle")}`
      : `${op} table ${family(all)} ${word(all.name, "name")}`;
  if (all.name === undefined) return `${op} ${word(kind, "kind")} ${table(all)} handle ${whole(all.handle, "handle")}`;
  return `${op} ${word(kind, "kind")} ${place(all)}`;
}

const COMMANDS: Readonly<Record<string, (inner: Json, op: string) => string>> = {
  metainfo: (inner) => {
    const version = fields(inner, "metainfo").json_schema_version;
    return version === undefined || Number(version) <= 1 ? "" : misfit(`json_schema_version is ${shown(version)}; expected 1`);
  },
  add: (inner, op) => added(op, inner),
  create: (inner, op) => added(op, inner),
  insert: (inner, op) => placed(op, inner),
  replace: (inner, op) => placed(op, inner),
  delete: (inner, op) => meant(op, inner),
  destroy: (inner, op) => meant(op, inner),
  flush: (inner, op) => meant(op, inner),
  list: (inner, op) => meant(op, inner),
  reset: (inner, op) => meant(op, inner),
  rename: (inner) => {
    const all = fields(fields(inner, "rename").chain, "chain");
    return `rename chain ${place(all)} ${word(all.newname, "newname")}`;
  },
};
/** Without a verb, as listings have it, a thing is added. */
function command(value: Json): string {
  const [kind, inner] = member(value, "a command");
  if (Object.hasOwn(COMMANDS, kind)) return within(kind, () => COMMANDS[kind](inner, kind));
  return Object.hasOwn(OBJECTS, kind) ? added("add", value) : misfit(`there is no command ${kind}`);
}

/** Is this JSON, and not nft's language, in which nothing begins so? */
export const isJson = (text: string): boolean => /^\s*\{/.test(text);

/** The commands of a text in JSON. Throws an {@link NftError} with the place in it of what cannot be read. */
export function fromJson({ name, text }: Source): Source {
  const array = commandsOf(name, text);
  const lines = array.map((each, i) => {
    try {
      return command(each);
    } catch (error) {
      throw error instanceof Misfit ? told(name, i, error.message, each) : error;
    }
  });
  const blame = ({ line, reason }: NftError) => told(name, line - 1, reason, array[line - 1]);
  return { name, text: lines.map((line) => `${line}\n`).join(""), blame };
}
function commandsOf(name: string, text: string): readonly Json[] {
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`${name}: ${(error as Error).message}`);
  }
  const commands = (value as Fields | null)?.nftables;
  if (!Array.isArray(commands)) throw invalid(`${name}: nftables is ${shown(commands)}; expected an array of commands`);
  return commands;
}
function told(name: string, index: number, reason: string, value: Json): NftError {
  const line = JSON.stringify(value) ?? "";
  return new NftError(
    `${name}: nftables[${index}]: Error: ${reason}\n${line.length > 300 ? `${line.slice(0, 300)}…` : line}`,
    index + 1,
    1,
    line.length,
    reason,
  );
}
