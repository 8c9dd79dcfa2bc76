/** Classifiers of tc as filters: u32 by its named fields, fw, flower's common keys, matchall. */
import { invalid } from "../base/errors.ts";
import type { Match } from "./options.ts";
import type { PolicerOptions } from "./police.ts";
import { parseId, parseNumber, parseRate, parseSize } from "./units.ts";
import type { Words } from "./words.ts";

const PROTOCOLS: Record<string, number> = { icmp: 1, tcp: 6, udp: 17, gre: 47, esp: 50, icmpv6: 58, sctp: 132 };
const FAMILIES: Record<string, 4 | 6 | undefined> = { ip: 4, ipv6: 6, all: undefined };

export interface ReadFilter {
  match: Match;
  prio?: number;
  target?: { major: number; minor: number };
  police?: PolicerOptions;
}

export function readFamily(word: string): 4 | 6 | undefined {
  if (!Object.hasOwn(FAMILIES, word)) throw invalid(`tc: "${word}" is no protocol of filters; expected ip, ipv6 or all`);
  return FAMILIES[word];
}

const protocolOf = (word: string) => PROTOCOLS[word] ?? parseNumber(word);

function portsOf(word: string): number | [number, number] {
  const [low, high] = word.split("-").map(parseNumber);
  return high === undefined ? low : [low, high];
}

/** Everything behind a classifier's name. */
export function readFilter(kind: string, words: Words, family: 4 | 6 | undefined): ReadFilter {
  const filter: ReadFilter = { match: family === undefined ? {} : { family } };
  while (words.next !== undefined) {
    if (words.takeIf("flowid", "classid")) filter.target = parseId(words.take("the class"));
    else if (words.takeIf("action")) filter.police = readAction(words);
    else if (words.takeIf("police")) filter.police = readPolice(words);
    else if (kind === "u32") readU32(words, filter.match);
    else if (kind === "fw") readFw(words, filter.match);
    else if (kind === "flower") readFlower(words, filter.match);
    else throw invalid(`tc: "${words.next}" is no word of ${kind}; there are u32, fw, flower and matchall`);
  }
  return filter;
}

function readU32(words: Words, match: Match): void {
  const word = words.take("match");
  if (word !== "match") throw invalid(`tc: "${word}" is no word of u32; expected match, flowid or action`);
  const family = words.take("ip or ip6");
  if (family !== "ip" && family !== "ip6") throw invalid(`tc: u32 matches ip or ip6 by name; "${family}" is neither`);
  const field = words.take("the field");
  const value = words.take(`the value of ${field}`);
  if (field === "src") match.source = value;
  else if (field === "dst") match.destination = value;
  else if (field === "sport") match.sourcePort = masked(parseNumber(value), words, 0xffff);
  else if (field === "dport") match.destinationPort = masked(parseNumber(value), words, 0xffff);
  else if (field === "protocol") match.protocol = masked(protocolOf(value), words, 0xff);
  else if (field === "tos" || field === "dsfield" || field === "priority") {
    match.tos = parseNumber(value);
    match.tosMask = parseNumber(words.take("the mask"));
  } else throw invalid(`tc: u32 has no field "${field}" here; expected src, dst, sport, dport, protocol or tos`);
}

/** Fields that are compared whole have a mask in tc's words all the same. */
function masked(value: number, words: Words, whole: number): number {
  const mask = parseNumber(words.take("the mask"));
  if (mask !== whole) throw invalid(`tc: the mask is 0x${mask.toString(16)}; expected 0x${whole.toString(16)}`);
  return value;
}

function readFw(words: Words, match: Match): void {
  const word = words.take("handle");
  if (word !== "handle") throw invalid(`tc: "${word}" is no word of fw; expected handle MARK[/MASK]`);
  setMark(words.take("the mark"), match);
}

export function setMark(text: string, match: Match): void {
  const [mark, mask] = text.split("/").map(parseNumber);
  match.mark = mark;
  if (mask !== undefined) match.markMask = mask;
}

function readFlower(words: Words, match: Match): void {
  const word = words.take("a key");
  const value = words.take(`the value of ${word}`);
  if (word === "src_ip") match.source = value;
  else if (word === "dst_ip") match.destination = value;
  else if (word === "ip_proto") match.protocol = protocolOf(value);
  else if (word === "src_port") match.sourcePort = portsOf(value);
  else if (word === "dst_port") match.destinationPort = portsOf(value);
  else if (word === "ip_tos") {
    const [tos, mask] = value.split("/").map(parseNumber);
    match.tos = tos;
    if (mask !== undefined) match.tosMask = mask;
  } else throw invalid(`tc: flower has no key "${word}" here; expected src_ip, dst_ip, ip_proto, src_port, dst_port or ip_tos`);
}

function readAction(words: Words): PolicerOptions {
  const kind = words.take("the action");
  if (kind !== "police") throw invalid(`tc: there is no action "${kind}" here; expected police`);
  return readPolice(words);
}

/** tc's policer has one rate and one bucket: what is over it is red. */
function readPolice(words: Words): PolicerOptions {
  const options: PolicerOptions = { kind: "srtcm", rateBps: 0, burstBytes: 0 };
  while (words.next !== undefined && words.next !== "flowid" && words.next !== "classid") {
    const word = words.take("a word");
    if (word === "rate") options.rateBps = parseRate(words.take("the rate"));
    else if (word === "burst") options.burstBytes = parseSize(words.take("the burst"));
    else if (word === "mtu") words.take("the mtu");
    else if (word === "drop") options.red = "drop";
    else if (word === "pass" || word === "ok") options.red = "pass";
    else if (word === "conform-exceed") setConform(words.take("what happens to what exceeds"), options);
    else throw invalid(`tc: "${word}" is no word of police; expected rate, burst, mtu, conform-exceed, drop or pass`);
  }
  return options;
}

function setConform(text: string, options: PolicerOptions): void {
  const [exceed, conform = "pass"] = text.split("/");
  for (const each of [exceed, conform])
    if (!["drop", "pass", "ok"].includes(each)) throw invalid(`tc: "${each}" is no control of police; expected drop or pass`);
  options.red = exceed === "drop" ? "drop" : "pass";
  options.green = conform === "drop" ? "drop" : "pass";
}
