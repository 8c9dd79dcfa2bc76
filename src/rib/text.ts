/**
 * Routes as text: "prefix next-hop" lines, and what `ip route` and `ip -6 route` print. `#` begins a comment.
 *
 * Read as bytes, because a full table is fourteen megabytes; a line that is not understood is an error that
 * names it.
 */
import { formatPrefix, type Prefix, tryParse6, tryParsePrefix } from "../base/address.ts";
import { LoomError } from "../base/errors.ts";
import { type HopSpec, RouteSet } from "../base/routes.ts";

export type Progress = (done: number, total: number) => void;

const NEWLINE = 10;
const RETURN = 13;
const SPACE = 32;
const HASH = 35;
const DOT = 46;
const SLASH = 47;

/** Routes as they are read, with what lines say about each other. */
class Lines {
  readonly routes = new RouteSet();
  /** A route whose next hops stand on the lines that follow. */
  pending: { prefix: Prefix; text: string; line: number; kind: HopSpec["kind"]; members: { hop: number; weight: number }[] } | undefined;
  private readonly metrics = new Map<string, number>();

  /** False when the same prefix has been seen with a better (lower) metric; the kernel would not use this one. */
  isBest(prefix: Prefix, metric: number): boolean {
    const key = formatPrefix(prefix);
    const known = this.metrics.get(key);
    if (known !== undefined && known <= metric) return false;
    this.metrics.set(key, metric);
    return true;
  }
}

export function parseText(bytes: Uint8Array, name: string, progress?: Progress): RouteSet {
  const lines = new Lines();
  const { routes } = lines;
  const hops = new Map<number, number>();
  // Lines end in \n; files of old Macs have \r alone.
  const end0 = bytes.includes(NEWLINE) ? NEWLINE : RETURN;
  let line = 0;
  for (let at = 0; at < bytes.length; ) {
    line++;
    if (progress && (line & 0xffff) === 0) progress(at, bytes.length);
    const row = lines.pending ? undefined : fastLine(bytes, at);
    if (row) {
      let hop = hops.get(row.id);
      if (hop === undefined) {
        hop = routes.hop(String(row.id));
        hops.set(row.id, hop);
      }
      routes.v4.add(row.address, row.length, hop);
      at = row.end;
      continue;
    }
    let end = bytes.indexOf(end0, at);
    if (end < 0) end = bytes.length;
    slowLine(lines, decodeLine(bytes, at, end), name, line);
    at = end + 1;
  }
  finishPending(lines, name);
  progress?.(bytes.length, bytes.length);
  return routes;
}

const decoder = new TextDecoder("utf-8", { fatal: false });

function decodeLine(bytes: Uint8Array, from: number, to: number): string {
  // A line longer than any route is no route: do not decode megabytes of something else.
  return decoder.decode(bytes.subarray(from, Math.min(to, from + 1000)));
}

const row = { address: 0, length: 0, id: 0, end: 0 };

/** "a.b.c.d/n id" with a numeric id, the form of large files; undefined for any other line. */
function fastLine(bytes: Uint8Array, at: number): typeof row | undefined {
  let address = 0;
  for (let part = 0; part < 4; part++) {
    let value = bytes[at] - 48;
    if (!(value >= 0 && value <= 9)) return undefined;
    at++;
    for (let digit = bytes[at] - 48; digit >= 0 && digit <= 9; digit = bytes[++at] - 48) {
      if (value === 0) return undefined;
      value = value * 10 + digit;
    }
    if (value > 255 || bytes[at] !== (part === 3 ? SLASH : DOT)) return undefined;
    address = address * 256 + value;
    at++;
  }
  const length = number(bytes, at);
  if (length < 0 || length > 32 || (length < 32 && address % 2 ** (32 - length) !== 0)) return undefined;
  at = stop;
  while (bytes[at] === SPACE || bytes[at] === 9 || bytes[at] === 13) at++;
  const id = number(bytes, at);
  if (id < 0) return undefined;
  at = stop;
  while (bytes[at] === SPACE || bytes[at] === 13) at++;
  if (at < bytes.length && bytes[at] !== NEWLINE) return undefined;
  row.address = address;
  row.length = length;
  row.id = id;
  row.end = at + 1;
  return row;
}

/** Where `number` stopped reading. */
let stop = 0;

function number(bytes: Uint8Array, at: number): number {
  let value = bytes[at] - 48;
  if (!(value >= 0 && value <= 9)) return -1;
  at++;
  for (let digit = bytes[at] - 48; digit >= 0 && digit <= 9; digit = bytes[++at] - 48) value = value * 10 + digit;
  stop = at;
  return value < 1e9 ? value : -1;
}

const TYPES = new Map<string, HopSpec["kind"]>([
  ["unicast", "forward"],
  ["local", "local"],
  ["broadcast", "broadcast"],
  ["anycast", "local"],
  ["blackhole", "blackhole"],
  ["unreachable", "unreachable"],
  ["prohibit", "prohibit"],
  ["throw", "unreachable"],
]);
/** Words of `ip route` that are followed by something else than a next hop. */
const KEYWORDS = new Set([
  "via",
  "dev",
  "proto",
  "metric",
  "scope",
  "src",
  "nhid",
  "table",
  "pref",
  "mtu",
  "advmss",
  "error",
  "weight",
  "onlink",
  "linkdown",
  "expires",
]);

function fail(name: string, line: number, what: string): never {
  throw new LoomError("EINVAL", `${name}, line ${line}: ${what}`);
}

const shorten = (text: string) => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

function finishPending(lines: Lines, name: string): void {
  const { pending } = lines;
  lines.pending = undefined;
  if (!pending) return;
  const { members, prefix } = pending;
  if (members.length === 0) fail(name, pending.line, `"${shorten(pending.text)}" has no next hop`);
  if (lines.isBest(prefix, 0)) lines.routes.add(prefix, members.length === 1 ? members[0].hop : lines.routes.group(members));
}

/** Any line of either form. */
function slowLine(lines: Lines, text: string, name: string, line: number): void {
  const comment = text.indexOf("#");
  const words = (comment >= 0 ? text.slice(0, comment) : text).split(/\s+/).filter(Boolean);
  if (words.length === 0) return;
  if (words[0] === "nexthop") {
    nextHopLine(lines, words.slice(1), name, line);
    return;
  }
  finishPending(lines, name);
  const kind = TYPES.get(words[0]);
  if (kind) words.shift();
  const target = words.shift();
  if (!target) fail(name, line, `"${shorten(text.trim())}" names no prefix`);
  if (target === "multicast") return;
  const prefix = prefixOf(target, words, text, name, line);
  const hop = hopName(words, kind);
  if (hop === undefined) {
    if (words.length === 0 && !kind)
      fail(name, line, `"${shorten(target)}" has no next hop; expected "prefix next-hop" or a line of \`ip route\``);
    // Its nexthop lines must follow.
    lines.pending = { prefix, text: text.trim(), line, kind: kind ?? "forward", members: [] };
    return;
  }
  if (hop === "") fail(name, line, `"${shorten(text.trim())}" has no next hop behind "via" or "dev"`);
  const at = words.indexOf("metric");
  const metric = at >= 0 ? Number(words[at + 1]) : 0;
  if (KEYWORDS.has(words[0]) || kind ? lines.isBest(prefix, metric) : true)
    lines.routes.add(prefix, lines.routes.hop(hop, kind ?? "forward"));
}

function prefixOf(target: string, words: string[], text: string, name: string, line: number): Prefix {
  const isDefault = target === "default" || target === "any";
  // `pref` is printed for IPv6 routes only.
  const wants6 = words.includes("pref") || words.some((word) => word.includes(":") && tryParse6(word) !== undefined);
  const prefix = tryParsePrefix(isDefault ? (wants6 ? "::/0" : "0.0.0.0/0") : target);
  if (typeof prefix === "string") {
    fail(
      name,
      line,
      `${prefix.length > 200 ? shorten(prefix) : prefix}; expected "prefix next-hop" or a line of \`ip route\`, found "${shorten(text.trim())}"`,
    );
  }
  return prefix;
}

/** "via X dev Y" → "X dev Y", "dev Y" → "dev Y", a single word → itself; undefined without one, "" when it is missing. */
function hopName(words: string[], kind: HopSpec["kind"] | undefined): string | undefined {
  const after = (key: string) => {
    const at = words.indexOf(key);
    return at >= 0 ? (words[at + 1] ?? "") : undefined;
  };
  let via = after("via");
  if (via === "inet6" || via === "inet") via = words[words.indexOf("via") + 2] ?? "";
  const device = after("dev");
  if (via === "" || device === "") return "";
  if (via) return device ? `${via} dev ${device}` : via;
  if (device) return `dev ${device}`;
  if (kind && kind !== "forward") return kind;
  if (words.length === 0 || KEYWORDS.has(words[0])) return undefined;
  return words[0];
}

/** A "nexthop" line of a multipath route: one member and its share. */
function nextHopLine(lines: Lines, words: string[], name: string, line: number): void {
  const { pending } = lines;
  if (!pending) fail(name, line, "a nexthop line that follows no route");
  const hop = hopName(words, undefined);
  if (!hop) fail(name, line, "a nexthop line without a next hop");
  const at = words.indexOf("weight");
  const weight = at >= 0 ? Number(words[at + 1]) : 1;
  if (!(Number.isInteger(weight) && weight >= 1 && weight <= 256)) fail(name, line, `weight ${words[at + 1]}; expected 1 to 256`);
  pending.members.push({ hop: lines.routes.hop(hop, pending.kind), weight });
}

/** True for the bytes that begin a line of text. */
export function looksLikeText(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, 512);
  return head.every((b) => b >= SPACE || b === NEWLINE || b === 13 || b === 9) && (head.length > 0 || bytes[0] === HASH);
}
