/** What is gathered of one rule before it is written: iptables gives its parts in any order, nft wants matches before the target. */
import { Fault } from "../faults.ts";
import { number, type Word, type Words } from "./words.ts";

export interface Gathered {
  readonly family: "ip" | "ip6";
  iif?: string;
  oif?: string;
  fragment?: string;
  protocol?: { readonly name: string; readonly not: boolean };
  sources: readonly string[];
  destinations: readonly string[];
  notSource: boolean;
  notDestination: boolean;
  /** Matches of the protocol itself make `ip protocol …` needless. */
  protocolUsed: boolean;
  readonly matches: string[];
  /** One of these as well: a rule for each, no packet meets two. */
  ways: readonly string[];
  comment?: string;
  target: string;
  /** Sets that the rule keeps something in: a name of this text's own, and what it holds. */
  readonly sets: { readonly name: string; readonly body: string }[];
  readonly setName: (kind: string) => string;
  /** What the match that `-m` named last said so far, by its name: each that is named begins anew. */
  readonly said: Map<string, object>;
  /** Words of a limit or a set of addresses that are complete only when all options are read. */
  readonly late: (() => string)[];
}
/** What nft calls the numbers of ECN. */
export const ECN_NAMES = ["not-ect", "ect1", "ect0", "ce"];
/** What an option does to the rule in hand. */
export type Option = (rule: Gathered, words: Words, option: Word, not: boolean) => void;
export const eq = (not: boolean): string => (not ? "!= " : "");
/** An option with one value that becomes one match. */
export const match =
  (make: (value: string, not: string, rule: Gathered, option: Word) => string): Option =>
  (rule, words, option, not) => {
    rule.matches.push(make(words.value(option), eq(not), rule, option));
  };
export const gathered = (family: "ip" | "ip6", setName: (kind: string) => string): Gathered => ({
  family,
  sets: [],
  setName,
  sources: [],
  destinations: [],
  notSource: false,
  notDestination: false,
  protocolUsed: false,
  matches: [],
  ways: [""],
  target: "",
  said: new Map(),
  late: [],
});

const PROTOCOLS: Readonly<Record<string, string>> = {
  icmpv6: "ipv6-icmp",
  mh: "mobility-header",
  "ipv6-mh": "mobility-header",
  "1": "icmp",
  "6": "tcp",
  "17": "udp",
  "33": "dccp",
  "50": "esp",
  "51": "ah",
  "58": "ipv6-icmp",
  "132": "sctp",
  "135": "mobility-header",
  "136": "udplite",
};
export const protocolName = (text: string): string => PROTOCOLS[text.toLowerCase()] ?? text.toLowerCase();
/** `eth+` is every name that begins so; an asterisk is one. */
export const interfaceName = (text: string): string => `"${text.replace(/\*$/, "\\*").replace(/\+$/, "*")}"`;
const BYTES_OF_ADDRESS = 4;
const NUMBERS = /^(0x[0-9a-f]+|\d+)(\.(0x[0-9a-f]+|\d+))*$/i;
/** Bytes that are left out are zeros behind the others: 10.1 is 10.1.0.0. */
export function fourBytes(host: string, option: Word): string {
  if (!NUMBERS.test(host)) return host;
  const bytes = host.split(".").map((byte) => number(byte, option));
  if (bytes.length > BYTES_OF_ADDRESS || bytes.some((byte) => byte > MOST_OF_BYTE))
    throw new Fault(option.at, `${option.text} is "${host}"; expected an address of up to four bytes`);
  return [...bytes, 0, 0, 0].slice(0, BYTES_OF_ADDRESS).join(".");
}
const MOST_OF_BYTE = 255;
export function address(text: string, option: Word): string {
  const [said, mask] = text.split("/");
  const host = fourBytes(said, option);
  const length = mask?.includes(".") ? lengthOf(mask) : mask;
  const plain = `${host}${mask === undefined ? "" : `/${length ?? mask}`}`;
  return plain.replace(/\/(32|128)$/, (all, bits) => (bits === "32" && text.includes(":") ? all : ""));
}
/** One source or destination: a mask with gaps is laid over the field. */
function sideOf(field: string, not: string, address: string): string {
  const [host, mask] = address.split("/");
  if (!mask?.includes(".")) return `${field} ${not}${address}`;
  const [bits, ones] = [host, mask].map((each) => each.split(".").map(Number));
  return `${field} & ${mask} ${not === "" ? "==" : "!="} ${bits.map((byte, i) => byte & ones[i]).join(".")}`;
}
/** Bits of a mask as iptables prints some: 255.255.0.0 is 16; undefined where they are not all at the front. */
function lengthOf(mask: string): number | undefined {
  const bits = mask
    .split(".")
    .map((part) => Number(part).toString(2).padStart(8, "0"))
    .join("");
  return /^1*0*$/.test(bits) && bits.length === 32 ? bits.lastIndexOf("1") + 1 : undefined;
}
/** `80:90`; an end that is left out is the last there is (of ports, and of all else that is written so). */
export function ranges(text: string, most = 65_535): string {
  const [from, to] = text.split(":");
  if (to === undefined || (from === to && to !== "")) return from;
  return `${from || 0}-${to || most}`;
}

/** One rule for each pair of a source and a destination, and each of the ways. */
export function written(rule: Gathered): readonly string[] {
  const { family, protocol } = rule;
  const before = [
    rule.iif === undefined ? "" : `iifname ${rule.iif}`,
    rule.oif === undefined ? "" : `oifname ${rule.oif}`,
    rule.fragment ?? "",
    protocol && !rule.protocolUsed ? `${family === "ip" ? "ip protocol" : "meta l4proto"} ${eq(protocol.not)}${protocol.name}` : "",
  ];
  const side = (list: readonly string[], key: string, negated: boolean) =>
    list.length === 0 ? [""] : list.map((each) => sideOf(`${family} ${key}`, eq(negated), each));
  const after = [
    ...rule.matches,
    ...rule.late.map((make) => make()),
    "counter",
    rule.target,
    rule.comment === undefined ? "" : `comment "${rule.comment}"`,
  ];
  return side(rule.sources, "saddr", rule.notSource).flatMap((source) =>
    side(rule.destinations, "daddr", rule.notDestination).flatMap((destination) =>
      rule.ways.map((way) => [...before, source, destination, way, ...after].filter((part) => part !== "").join(" ")),
    ),
  );
}
