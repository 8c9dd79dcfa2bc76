/**
 * Routes as text: "prefix next-hop" lines, and what `ip route` and `ip -6 route` print. `#` begins a comment.
 *
 * Read as bytes, because a full table is fourteen megabytes; a line that is not understood is an error that
 * names it.
 */
import { tryParse6, tryParsePrefix } from "../base/address.ts";
import { LoomError } from "../base/errors.ts";
import { type HopSpec, RouteSet } from "../base/routes.ts";

export type Progress = (done: number, total: number) => void;

const NEWLINE = 10;
const SPACE = 32;
const HASH = 35;
const DOT = 46;
const SLASH = 47;

export function parseText(bytes: Uint8Array, name: string, progress?: Progress): RouteSet {
  const routes = new RouteSet();
  const hops = new Map<number, number>();
  let line = 0;
  let last = "";
  for (let at = 0; at < bytes.length; ) {
    line++;
    if (progress && (line & 0xffff) === 0) progress(at, bytes.length);
    const row = fastLine(bytes, at);
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
    let end = bytes.indexOf(NEWLINE, at);
    if (end < 0) end = bytes.length;
    const text = decodeLine(bytes, at, end);
    if (/^\s+nexthop\s/.test(text)) last = continueRoute(routes, text, last, name, line);
    else last = slowLine(routes, text, name, line);
    at = end + 1;
  }
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

const TYPES: Record<string, HopSpec["kind"]> = {
  unicast: "forward",
  local: "local",
  broadcast: "broadcast",
  anycast: "local",
  blackhole: "blackhole",
  unreachable: "unreachable",
  prohibit: "prohibit",
  throw: "unreachable",
};

function fail(name: string, line: number, what: string): never {
  throw new LoomError("EINVAL", `${name}, line ${line}: ${what}`);
}

/** Any line of either form; returns the prefix that "nexthop" lines would continue. */
function slowLine(routes: RouteSet, text: string, name: string, line: number): string {
  const comment = text.indexOf("#");
  const words = (comment >= 0 ? text.slice(0, comment) : text).split(/\s+/).filter(Boolean);
  if (words.length === 0) return "";
  const kind = TYPES[words[0]];
  if (kind) words.shift();
  const target = words.shift();
  if (!target) fail(name, line, `"${text.trim().slice(0, 60)}" names no prefix`);
  if (target === "multicast") return "";
  const prefix = prefixOf(target, words, text, name, line);
  if (words.length === 0 && !kind) fail(name, line, `"${target}" has no next hop; expected "prefix next-hop" or a line of \`ip route\``);
  if (words.length === 0 && kind === undefined) return target;
  const hop = hopName(words, kind);
  if (hop === undefined) return target; // its nexthop lines follow
  routes.add(prefix, routes.hop(hop, kind ?? "forward"));
  return "";
}

function prefixOf(target: string, words: string[], text: string, name: string, line: number) {
  const isDefault = target === "default" || target === "any";
  const wants6 = words.some((word) => word.includes(":") && tryParse6(word) !== undefined);
  const prefix = tryParsePrefix(isDefault ? (wants6 ? "::/0" : "0.0.0.0/0") : target);
  if (typeof prefix === "string") {
    fail(name, line, `${prefix}; expected "prefix next-hop" or a line of \`ip route\`, found "${text.trim().slice(0, 60)}"`);
  }
  return prefix;
}

/** "via X dev Y" → "X dev Y", "dev Y" → "dev Y", a single word → itself. */
function hopName(words: string[], kind: HopSpec["kind"] | undefined): string | undefined {
  const after = (key: string) => {
    const at = words.indexOf(key);
    return at >= 0 ? words[at + 1] : undefined;
  };
  let via = after("via");
  if (via === "inet6" || via === "inet") via = words[words.indexOf("via") + 2];
  const device = after("dev");
  if (via) return device ? `${via} dev ${device}` : via;
  if (device) return `dev ${device}`;
  if (kind && kind !== "forward") return kind;
  if (words.length === 0 || words[0] === "proto" || words[0] === "metric" || words[0] === "nhid") return undefined;
  return words[0];
}

/** The first "nexthop" line of a multipath route gives its hop; the others are noted. */
function continueRoute(routes: RouteSet, text: string, target: string, name: string, line: number): string {
  if (target === "") return "";
  const words = text.split(/\s+/).filter(Boolean).slice(1);
  const prefix = tryParsePrefix(target === "default" ? (text.includes(":") ? "::/0" : "0.0.0.0/0") : target);
  const hop = hopName(words, "forward");
  if (typeof prefix === "string" || hop === undefined) fail(name, line, "a nexthop line without a next hop");
  routes.add(prefix, routes.hop(hop));
  routes.warnings.push(`${name}, line ${line}: ${target} has several next hops; the first is used`);
  return "";
}

/** True for the bytes that begin a line of text. */
export function looksLikeText(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, 512);
  return head.every((b) => b >= SPACE || b === NEWLINE || b === 13 || b === 9) && (head.length > 0 || bytes[0] === HASH);
}
