/** What the grammar asks while it reads: which words are protocols, fields and keys. Imported by the generated parser. */
import { CT, KNOWN_META, META, UNQUALIFIED } from "./keys.ts";
import { integer } from "./numbers.ts";
import { CHUNKS, EXTENSIONS, IP_OPTIONS, PROTOCOLS, TCP_OPTIONS } from "./protocols.ts";
import { milliseconds } from "./times.ts";

export interface Span {
  readonly start: number;
  readonly end: number;
}
/** A mistake the grammar itself cannot express: thrown while parsing, shown like every other. */
export class SyntaxFault extends Error {
  constructor(
    readonly at: Span,
    message: string,
  ) {
    super(message);
  }
}
const unexpected = (word: string, at: Span, known: Iterable<string>): never => {
  throw new SyntaxFault(at, `syntax error, unexpected ${word === "" ? "newline" : "string"}, expecting ${[...known].join(" or ")}`);
};

/** The word at a place of a text, without a look at what may come instead: most statements are told by their first word. */
const FIRST_WORD = /[a-z0-9]+(?![A-Za-z0-9_/.\\-])/y;
function wordAt(text: string, offset: number): string | undefined {
  FIRST_WORD.lastIndex = offset;
  return FIRST_WORD.exec(text)?.[0];
}
const PLAIN_PROTOCOLS = new Set([...PROTOCOLS.keys()].filter((name) => !["ip", "tcp", "arp", "sctp"].includes(name)));
const FIRST_OF_MATCHES = new Set([...PROTOCOLS.keys(), ...UNQUALIFIED, "meta"]);
export function isPlainProtocol(text: string, offset: number): boolean {
  const word = wordAt(text, offset);
  if (word === undefined) return false;
  if (PLAIN_PROTOCOLS.has(word)) return true;
  if (word === "sctp") return !text.startsWith("chunk", offset + word.length + 1);
  return (word === "ip" || word === "tcp") && !text.startsWith("option", offset + word.length + 1);
}
export function startsMatch(text: string, offset: number): boolean {
  const word = wordAt(text, offset);
  return word !== undefined && FIRST_OF_MATCHES.has(word);
}
/** Words of nft's scanner (1.0.6) wherever they stand: no table, chain, set, object or definition can be called so. */
const RESERVED = new Set(
  (
    "accept add ah all and arp auto-merge bridge cgroup chain comment comp constant continue counter cpu create ct day dccp define " +
    "delete describe device devices dnat drop dst dup dynamic ecn element elements eq esp ether exists expires export exthdr fib " +
    "flags flow flowtable flush frag fwd gc-interval ge get goto gt handle hbh hook hour ibriport ibrname icmp icmpv6 igmp iif " +
    "iifgroup iifname iiftype import include index inet insert interval ip ip6 ipsec jhash jump le limit list log lshift lt map mark " +
    "masquerade meta meter mh missing monitor ne netdev nftrace not notrack numgen obriport obrname offload oif oifgroup oifname " +
    "oiftype or osf pkttype policy position priority queue quota random redefine redirect reject rename replace reset return rshift " +
    "rt rt0 rt2 rtclassid rule ruleset sctp secmark set size skgid skuid snat socket srh symhash synproxy table tcp th time timeout " +
    "tproxy type typeof udp udplite undefine update vlan vmap xor xt"
  ).split(" "),
);
export const isReserved = (word: string) => RESERVED.has(word);
/** Reserved words that may be values all the same: of types, protocols, and what is there or not. */
const VALUES = new Set(
  "ah arp comp dccp dnat ecn esp ether exists icmp icmpv6 igmp ip ip6 missing redirect reset sctp snat tcp udp udplite vlan".split(" "),
);
export const isValue = (word: string) => word !== "neq" && (!RESERVED.has(word) || VALUES.has(word));
export const isProtocol = (word: string) => PROTOCOLS.has(word);
export const isUnqualifiedMeta = (word: string) => UNQUALIFIED.has(word);
const PSEUDO_FIELDS: Readonly<Record<string, readonly string[]>> = { arp: ["saddr", "daddr"] };
export function payload(protocol: string, field: string, at: Span) {
  const { fields } = PROTOCOLS.get(protocol) as { fields: ReadonlyMap<string, unknown> };
  if (!fields.has(field) && !PSEUDO_FIELDS[protocol]?.includes(field)) unexpected(field, at, fields.keys());
  return { k: "payload", protocol, field: field === "cfi" ? "dei" : field };
}
export function meta(key: string, at: Span) {
  if (!(key in META))
    throw new SyntaxFault({ start: at.start - 5, end: at.end }, `syntax error, unexpected ${key}, known keys are ${KNOWN_META}`);
  return { k: "meta", key: key === "secpath" ? "ipsec" : key };
}
/** Of these each direction has its own. */
const DIRECTED: ReadonlySet<string> = new Set([
  "saddr",
  "daddr",
  "l3proto",
  "protocol",
  "proto-src",
  "proto-dst",
  "bytes",
  "packets",
  "avgpkt",
  "zone",
]);
export function ct(direction: string | undefined, family: string | undefined, key: string, at: Span) {
  if (!(key in CT) || (direction !== undefined && !DIRECTED.has(key)))
    unexpected(key, at, direction === undefined ? Object.keys(CT) : DIRECTED);
  if (family !== undefined && key !== "saddr" && key !== "daddr") unexpected(key, at, ["saddr", "daddr"]);
  return { k: "ct", key, direction, family };
}
const TCP_OPTION_FIELDS = new Set(Object.values(TCP_OPTIONS).flatMap(([, fields]) => Object.keys(fields)));
const IP_OPTION_FIELDS = new Set(Object.values(IP_OPTIONS).flatMap(([, fields]) => Object.keys(fields)));
export const isTcpOptionField = (word: string) => TCP_OPTION_FIELDS.has(word) && word !== "kind";
export const isIpOptionField = (word: string) => IP_OPTION_FIELDS.has(word);
export function tcpOption(option: string | number, field: string | undefined, at: Span) {
  if (typeof option === "number") {
    if (option > 255) throw new SyntaxFault({ start: at.start + "tcp option ".length, end: at.end }, "value too large");
    return { k: "tcpopt", kind: option };
  }
  const known = TCP_OPTIONS[option];
  if (!known) return unexpected(option, at, Object.keys(TCP_OPTIONS));
  if (field !== undefined && !(field in known[1])) unexpected(field, at, Object.keys(known[1]));
  return { k: "tcpopt", option, field };
}
export function ipOption(option: string, field: string | undefined, at: Span) {
  const known = IP_OPTIONS[option];
  if (!known) return unexpected(option, at, Object.keys(IP_OPTIONS));
  if (field !== undefined && !(field in known[1])) unexpected(field, at, Object.keys(known[1]));
  return { k: "ipopt", option, field };
}
export const isChunkField = (chunk: string, word: string) => Object.hasOwn(CHUNKS, chunk) && Object.hasOwn(CHUNKS[chunk][1], word);
export function chunk(name: string, field: string | undefined, at: Span) {
  if (!Object.hasOwn(CHUNKS, name)) unexpected(name, at, Object.keys(CHUNKS));
  return { k: "chunk", chunk: name, field };
}
export function exthdr(header: string, field: string, index: number | undefined, at: Span) {
  if (!(field in EXTENSIONS[header][1])) unexpected(field, at, Object.keys(EXTENSIONS[header][1]));
  return { k: "exthdr", header, field, index };
}

const GROUP = /^[0-9a-fA-F]{1,4}$/;
/** What may stand behind a handle of tc. */
const AFTER_HANDLE = /[ \t\r\n:\-},]/;
/** Whether a run of hexadecimal digits and colons, with `next` behind it, is one token: a MAC address, a handle of tc, or an IPv6 address. */
export function isColonToken(text: string, next: string | undefined): boolean {
  const groups = text.split(":");
  if (groups.length > 2 && /:::|^:[^:]|[^:]:$/.test(text)) return false;
  if (groups.length === 2) return GROUP.test(groups[0]) && GROUP.test(groups[1]) && (next === undefined || AFTER_HANDLE.test(next));
  if (/^([0-9a-fA-F]{1,2}:){5}[0-9a-fA-F]{1,2}$/.test(text)) return true;
  const last = groups[groups.length - 1];
  const dotted = last.includes(".");
  if (dotted && !/^\d+\.\d+\.\d+\.\d+$/.test(last)) return false;
  const words = (dotted ? groups.slice(0, -1) : groups).filter((group) => group !== "");
  if (!words.every((group) => GROUP.test(group))) return false;
  const count = words.length + (dotted ? 2 : 0);
  const gaps = text.split("::").length - 1;
  return gaps === 0 ? count === 8 : gaps === 1 && count < 8;
}

export const LOG_LEVELS = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
export function logLevel(word: string): number | undefined {
  const level = LOG_LEVELS.indexOf(word);
  return level < 0 ? undefined : level;
}
export function logOptions(options: readonly Record<string, unknown>[]) {
  const all = Object.assign({}, ...options);
  const flags = options.reduce((sum, each) => sum | ((each.flags as number | undefined) ?? 0), 0);
  return flags === 0 ? all : { ...all, flags };
}

const tooLarge = (what: string, { start, end }: Span) => new SyntaxFault({ start, end }, `${what} is too large`);
export function wholeNumber(text: string, at: Span): number {
  const number = integer(text);
  if (number === undefined) throw new SyntaxFault(at, `${text} is no number: those that begin with 0 are octal`);
  const value = Number(number);
  if (!Number.isSafeInteger(value)) throw tooLarge("the number", at);
  return value;
}
const utf8 = new TextEncoder();
export function comment(text: string, at: Span, longest: number): string {
  if (utf8.encode(text).length > longest) throw new SyntaxFault(at, `comment too long, ${longest} characters maximum allowed`);
  return text;
}
/** Milliseconds of a span of time: some thousands of years at most. */
export function span(text: string, at: Span): number {
  const value = milliseconds(text);
  if (!(value < 2 ** 47)) throw tooLarge("the time", at);
  return value;
}
