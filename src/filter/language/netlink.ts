/** Expressions and sets as text, word for word what `nft --debug=netlink` shows. Values are 32-bit words of a little-endian machine. */
import type { Expression, Family, LimitSpec, Register, Verdict } from "../expressions.ts";
import { CT, FIB_FLAGS, META } from "./keys.ts";
import type { Element, SetDefinition } from "./model.ts";
import { dataBytes, isCatchAll, keyBytes } from "./sets.ts";

function hexWords(bytes: Uint8Array): string[] {
  const out: string[] = [];
  for (let i = 0; i < bytes.length; i += 4) {
    let word = 0;
    for (let j = Math.min(3, bytes.length - 1 - i); j >= 0; j--) word = word * 256 + bytes[i + j];
    out.push(word.toString(16).padStart(8, "0"));
  }
  return out;
}
const data = (bytes: Uint8Array): string =>
  hexWords(bytes)
    .map((word) => `0x${word}`)
    .join(" ");
const reg = (name: string, register: Register | undefined): string => (register === undefined ? "" : ` ${name} ${register}`);
const shown = (keys: Readonly<Record<string, { readonly key: string; readonly shown?: string }>>): ReadonlyMap<string, string> =>
  new Map(Object.values(keys).map((each) => [each.key, each.shown ?? each.key]));
const META_NAMES = shown(META);
const CT_NAMES = shown(CT);
const FLAG_NAMES = Object.entries(FIB_FLAGS);
const PER: Readonly<Record<number, string>> = { 1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week" };
const OBJECT_TYPES: Readonly<Record<string, number>> = {
  counter: 1,
  quota: 2,
  "ct helper": 3,
  limit: 4,
  "ct timeout": 7,
  secmark: 8,
  "ct expectation": 9,
  synproxy: 10,
};
const HEADERS = { ipv6: "ipv6 ", tcpopt: "tcpopt ", ipopt: "ipv4 ", sctp: "" } as const;
const REJECT = { "icmp-unreach": 0, "tcp-rst": 1, "icmpx-unreach": 2 } as const;
const LOG_FLAGS: readonly (readonly [number, string])[] = [
  [1, "tcpseq"],
  [2, "tcpopt"],
  [4, "ipopt"],
  [8, "uid"],
  [32, "macdecode"],
];

function verdictText(verdict: Verdict): string {
  if ("chain" in verdict) return `${verdict.code} -> ${verdict.chain}`;
  return verdict.code;
}
const limitText = (limit: LimitSpec): string =>
  `limit rate ${limit.rate}/${PER[limit.per]} burst ${limit.burst} type ${limit.unit} flags 0x${limit.over ? 1 : 0}`;
function logText(log: Expression & { op: "log" }): string {
  const parts = ["log"];
  if (log.prefix !== undefined) parts.push(`prefix ${log.prefix}`);
  if (log.group !== undefined) parts.push(`group ${log.group} snaplen ${log.snaplen ?? 0} qthreshold ${log.queueThreshold ?? 0}`);
  else {
    if (log.level !== undefined) parts.push(`level ${log.level}`);
    for (const [bit, name] of LOG_FLAGS) if (((log.flags ?? 0) & bit) !== 0) parts.push(name);
  }
  return parts.join(" ");
}
function queueText(queue: Expression & { op: "queue" }): string {
  const range =
    queue.sreg === undefined
      ? queue.total > 1
        ? `num ${queue.from}-${queue.from + queue.total - 1}`
        : `num ${queue.from}`
      : `sreg_qnum ${queue.sreg}`;
  return `queue ${range}${queue.flags & 1 ? " bypass" : ""}${queue.flags & 2 ? " fanout" : ""}`;
}
const flagText = (flags: number): string => (flags === 0 ? "" : ` flags 0x${flags.toString(16)}`);
const familyName = (family: 4 | 6 | 0 | undefined): string => (family === 6 ? " ip6" : family === 4 ? " ip" : "");

function expressionText(e: Expression): string {
  switch (e.op) {
    case "immediate":
      return `immediate reg ${e.dreg} ${data(e.data)}`;
    case "verdict":
      return `immediate reg 0 ${verdictText(e.verdict)}`;
    case "cmp":
      return `cmp ${e.cmp} reg ${e.sreg} ${data(e.data)}`;
    case "range":
      return `range ${e.cmp} reg ${e.sreg} ${data(e.from)} ${data(e.to)}`;
    case "bitwise":
      return `bitwise reg ${e.dreg} = ( reg ${e.sreg} & ${data(e.mask)} ) ^ ${data(e.xor)}`;
    case "shift":
      return `bitwise reg ${e.dreg} = ( reg ${e.sreg} ${e.left ? "<<" : ">>"} 0x${e.bits.toString(16).padStart(8, "0")} )`;
    case "byteorder":
      return `byteorder reg ${e.dreg} = ${e.to}(reg ${e.sreg}, ${e.len}, ${e.size})`;
    case "payload":
      return `payload load ${e.len}b @ ${e.base} header + ${e.offset} => reg ${e.dreg}`;
    case "payload-write": {
      const { kind, offset, pseudo } = e.csum;
      const csum = `csum_type ${kind === "inet" ? 1 : 0} csum_off ${offset} csum_flags 0x${pseudo ? 1 : 0}`;
      return `payload write reg ${e.sreg} => ${e.len}b @ ${e.base} header + ${e.offset} ${csum}`;
    }
    case "xfrm":
      return `xfrm load ${e.direction} ${e.number} ${e.key} => reg ${e.dreg}`;
    case "osf":
      return `osf dreg ${e.dreg}`;
    case "exthdr":
      return `exthdr load ${HEADERS[e.header]}${e.len}b @ ${e.type} + ${e.offset}${e.present ? " present" : ""} => reg ${e.dreg}`;
    case "exthdr-write":
      return `exthdr write tcpopt reg ${e.sreg} => ${e.len}b @ ${e.type} + ${e.offset}`;
    case "exthdr-reset":
      return `exthdr reset tcpopt ${e.type}`;
    case "meta":
      return `meta load ${META_NAMES.get(e.key)} => reg ${e.dreg}`;
    case "meta-set":
      return `meta set ${META_NAMES.get(e.key)} with reg ${e.sreg}`;
    case "ct":
      return `ct load ${CT_NAMES.get(e.key) ?? e.key} => reg ${e.dreg}${e.direction ? ` , dir ${e.direction}` : ""}`;
    case "ct-set":
      return `ct set ${CT_NAMES.get(e.key) ?? e.key} with reg ${e.sreg}${e.direction ? ` , dir ${e.direction}` : ""}`;
    case "rt":
      return `rt load ${e.key} => reg ${e.dreg}`;
    case "socket":
      return `socket load ${e.key}${e.level === undefined ? "" : ` level ${e.level}`} => reg ${e.dreg}`;
    case "fib": {
      const flags = FLAG_NAMES.filter(([, bit]) => (e.flags & bit) !== 0).map(([name]) => name);
      return `fib ${flags.join(" . ")} ${e.result}${e.present ? " present" : ""} => reg ${e.dreg}`;
    }
    default:
      return actionText(e);
  }
}
function actionText(e: Expression): string {
  const offset = (count: number) => (count === 0 ? "" : ` offset ${count}`);
  switch (e.op) {
    case "numgen":
      return `numgen reg ${e.dreg} = ${e.kind} mod ${e.modulus}${offset(e.offset)}`;
    case "hash":
      if (e.kind === "symhash") return `hash reg ${e.dreg} = symhash() % mod ${e.modulus}${offset(e.offset)}`;
      return `hash reg ${e.dreg} = jhash(reg ${e.sreg}, ${e.len}, 0x${e.seed.toString(16)}) % mod ${e.modulus}${offset(e.offset)}`;
    case "lookup":
      return `lookup reg ${e.sreg} set ${e.set}${e.dreg === undefined ? "" : ` dreg ${e.dreg}`}${e.invert ? " 0x1" : ""}`;
    case "dynset": {
      const timeout = e.timeoutMs === undefined ? "" : ` timeout ${e.timeoutMs}ms`;
      const inner = e.expressions.map((each) => ` expr [ ${expressionText(each)} ]`).join("");
      return `dynset ${e.action} reg_key ${e.key} set ${e.set}${reg("sreg_data", e.data)}${timeout}${inner}`;
    }
    case "objref":
      return `objref type ${OBJECT_TYPES[e.type]} name ${e.name}`;
    case "objref-map":
      return `objref sreg ${e.sreg} set ${e.set}`;
    case "counter":
      return `counter pkts ${e.packets} bytes ${e.bytes}`;
    case "limit":
      return limitText(e);
    case "quota":
      return `quota bytes ${e.bytes} consumed ${e.used} flags ${e.over ? 1 : 0}`;
    case "connlimit":
      return `connlimit count ${e.count} flags ${e.over ? 1 : 0}`;
    case "log":
      return logText(e);
    case "reject":
      return `reject type ${REJECT[e.type]} code ${e.code}`;
    case "nat": {
      const addresses = `${reg("addr_min reg", e.addrMin)}${reg("addr_max reg", e.addrMax)}`;
      return `nat ${e.kind}${familyName(e.family)}${addresses}${reg("proto_min reg", e.protoMin)}${reg("proto_max reg", e.protoMax)}${flagText(e.flags)}`;
    }
    case "masq":
    case "redir":
      return `${e.op}${reg("proto_min reg", e.protoMin)}${reg("proto_max reg", e.protoMax)}${flagText(e.flags)}`;
    case "synproxy":
      return `synproxy mss ${e.mss} wscale ${e.wscale}`;
    case "tproxy":
      return `tproxy${familyName(e.family)}${reg("addr reg", e.addr)}${reg("port reg", e.port)}`;
    case "dup":
      return `dup${reg("sreg_addr", e.addr)}${reg("sreg_dev", e.device)}`;
    case "fwd":
      return `fwd sreg_dev ${e.device}${reg("sreg_addr", e.addr)}${e.family === undefined ? "" : ` nfproto ${e.family === 4 ? 2 : 10}`}`;
    case "queue":
      return queueText(e);
    default:
      return e.op;
  }
}
export function printExpressions(expressions: readonly Expression[], table: Family): string {
  return expressions.map((each) => `  [ ${inTable(each, table)} ]\n`).join("");
}
/** New ports alone are of both families in a table of both. */
function inTable(e: Expression, table: Family): string {
  const text = expressionText(e);
  return e.op === "nat" && table === "inet" && e.addrMin === undefined ? text.replace(" ip ", " inet ") : text;
}

/** Flags of sets, linux/netfilter/nf_tables.h: NFT_SET_*. */
function setFlags(set: SetDefinition): number {
  const bits = [set.anonymous, set.constant, set.interval, set.data && set.data.kind !== "object", set.timeouts, set.dynamic];
  const sum = bits.reduce((all, each, i) => all | (each ? 1 << i : 0), 0);
  return sum | (set.data?.kind === "object" ? 64 : 0) | (set.interval && set.parts.length > 1 ? 128 : 0);
}
const element = (key: string, value: string): string => `\telement ${key === "" ? "" : `${key} `} : ${value} [end]`;
/** The value, and the flags: 2 of the rest (NFT_SET_ELEM_CATCHALL). */
function elementData(each: Element, set: SetDefinition): string {
  const { data: value } = each;
  const flags = isCatchAll(each) ? "2" : "0";
  if (value === undefined || typeof value === "string") return flags;
  if ("verdict" in value) return `${verdictText(value.verdict)} ${flags}`;
  return `${hexWords(dataBytes(value, set.data?.kind === "data" && set.data.interval === true)).join(" ")} ${flags}`;
}
/** Intervals as the kernel's tree has them: where each begins, and where the gap behind it does. */
function intervalText(set: SetDefinition): string {
  const out: string[] = [];
  const { bits } = set.parts[0];
  const elements = set.elements.filter((each) => !isCatchAll(each));
  const key = (number: bigint, from: Element) =>
    hexWords(keyBytes([{ ...from.key[0], from: number }], "from", true, set.parts[0])).join(" ");
  if (elements.length > 0 && elements[0].key[0].from > 0n) out.push(element(key(0n, elements[0]), "1"));
  elements.forEach((each, i) => {
    const { from, to } = each.key[0];
    out.push(element(key(from, each), elementData(each, set)));
    const next = elements[i + 1]?.key[0].from;
    const last = to === (1n << BigInt(bits)) - 1n;
    if (last) out.push("  userdata = { \\x01\\x04\\x01\\x00\\x00\\x00 }");
    else if (next !== to + 1n) out.push(element(key(to + 1n, each), "1"));
  });
  for (const each of set.elements.filter(isCatchAll)) out.push(element("", elementData(each, set)));
  return out.join("");
}
export function printSet(set: SetDefinition, table: string): string {
  const size = set.size === undefined ? "" : ` size ${set.size}`;
  const head = `${set.name} ${table} ${setFlags(set).toString(16)}${size}\n${set.name} ${table} 0\n`;
  return `${head}${elementsText(set)}\n`;
}
function elementsText(set: SetDefinition): string {
  if (set.interval && set.parts.length === 1) return intervalText(set);
  const key = (each: Element, end: "from" | "to") => hexWords(keyBytes(each.key, end, set.interval, set.parts[0])).join(" ");
  return set.elements
    .map((each) =>
      element(
        isCatchAll(each) ? "" : set.interval ? `${key(each, "from")}  - ${key(each, "to")}` : key(each, "from"),
        elementData(each, set),
      ),
    )
    .join("");
}
/** What the userdata of a rule looks like: its comment. */
export function printComment(comment: string | undefined): string {
  if (comment === undefined) return "";
  const bytes = [...new TextEncoder().encode(comment)];
  const text = (byte: number) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`);
  return `  userdata = { ${text(0)}${text(bytes.length + 1)}${bytes.map(text).join("")}\\x00 }\n`;
}
