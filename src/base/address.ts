/**
 * Addresses as people write them and as tables want them.
 *
 * IPv4 is a u32 in host order, IPv6 a pair of u64 (bigint), MAC six bytes. Text forms follow RFC 4291 §2.2
 * (IPv6 in), RFC 5952 (IPv6 out) and dotted quads without leading zeros (RFC 6943 §3.1.1).
 */
import { invalid } from "./errors.ts";

export interface Prefix4 {
  readonly family: 4;
  readonly address: number;
  readonly length: number;
}

export interface Prefix6 {
  readonly family: 6;
  readonly high: bigint;
  readonly low: bigint;
  readonly length: number;
}

export type Prefix = Prefix4 | Prefix6;

/** The address, or -1 when the text is none. */
export function tryParse4(text: string): number {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 46) {
      if (octet < 0 || ++dots > 3) return -1;
      value = value * 256 + octet;
      octet = -1;
    } else if (c >= 48 && c <= 57) {
      if (octet === 0) return -1;
      octet = octet < 0 ? c - 48 : octet * 10 + c - 48;
      if (octet > 255) return -1;
    } else return -1;
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : -1;
}

export function parse4(text: string): number {
  const value = tryParse4(text);
  if (value < 0) throw invalid(`"${text}" is not an IPv4 address; expected four numbers from 0 to 255, like 192.0.2.1`);
  return value;
}

export function format4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Eight 16-bit words, or undefined when the text is no IPv6 address. */
export function tryParse6(text: string): Uint16Array | undefined {
  const words = new Uint16Array(8);
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const front = wordsOf(halves[0], halves.length === 1);
  const back = halves.length === 2 ? wordsOf(halves[1], true) : [];
  if (!front || !back) return undefined;
  const n = front.length + back.length;
  if (halves.length === 2 ? n > 7 : n !== 8) return undefined;
  words.set(front, 0);
  words.set(back, 8 - back.length);
  return words;
}

function wordsOf(text: string, mayEndIn4: boolean): number[] | undefined {
  if (text === "") return [];
  const words: number[] = [];
  const parts = text.split(":");
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    if (mayEndIn4 && i === parts.length - 1 && part.includes(".")) {
      const four = tryParse4(part);
      if (four < 0) return undefined;
      words.push(four >>> 16, four & 0xffff);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) words.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return words;
}

export function parse6(text: string): { high: bigint; low: bigint } {
  const words = tryParse6(text);
  if (!words) throw invalid(`"${text}" is not an IPv6 address; expected groups of hexadecimal digits, like 2001:db8::1`);
  return halves6(words);
}

function halves6(words: Uint16Array): { high: bigint; low: bigint } {
  return { high: join64(words, 0), low: join64(words, 4) };
}

function join64(words: Uint16Array, from: number): bigint {
  const high = words[from] * 65536 + words[from + 1];
  const low = words[from + 2] * 65536 + words[from + 3];
  return (BigInt(high) << 32n) | BigInt(low);
}

/** RFC 5952: lower case, no leading zeros, the longest run of zero words (two at least) as "::". */
export function format6(high: bigint, low: bigint): string {
  const words: number[] = [];
  for (const half of [high, low]) for (let s = 48n; s >= 0n; s -= 16n) words.push(Number((half >> s) & 0xffffn));
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && words[j] === 0) j++;
    if (j - i > bestLength) {
      best = i;
      bestLength = j - i;
    }
    if (j > i) i = j;
  }
  const hex = (part: number[]) => part.map((w) => w.toString(16)).join(":");
  if (best < 0) return hex(words);
  return `${hex(words.slice(0, best))}::${hex(words.slice(best + bestLength))}`;
}

/** "10.0.0.0/8", "2001:db8::/32", or a bare address (/32, /128). Host bits must be zero. */
export function parsePrefix(text: string): Prefix {
  const prefix = tryParsePrefix(text);
  if (typeof prefix === "string") throw invalid(prefix);
  return prefix;
}

/** As parsePrefix, but a sentence instead of an error: the caller knows the line. */
export function tryParsePrefix(text: string): Prefix | string {
  const slash = text.indexOf("/");
  const head = slash < 0 ? text : text.slice(0, slash);
  const tail = slash < 0 ? "" : text.slice(slash + 1);
  const is6 = head.includes(":");
  const width = is6 ? 128 : 32;
  const length = slash < 0 ? width : /^\d{1,3}$/.test(tail) ? Number(tail) : -1;
  if (length < 0 || length > width) return `"${text}" has no valid length; expected a number from 0 to ${width} after the slash`;
  if (!is6) {
    const address = tryParse4(head);
    if (address < 0) return `"${head}" is not an IPv4 or IPv6 address`;
    if ((address & mask4(length)) >>> 0 !== address) return `"${text}" has bits set behind its length`;
    return { family: 4, address, length };
  }
  const words = tryParse6(head);
  if (!words) return `"${head}" is not an IPv6 address`;
  const { high, low } = halves6(words);
  if ((high & mask64(Math.min(length, 64))) !== high || (low & mask64(Math.max(length - 64, 0))) !== low) {
    return `"${text}" has bits set behind its length`;
  }
  return { family: 6, high, low, length };
}

export function mask4(length: number): number {
  return length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
}

export function mask64(length: number): bigint {
  return length === 0 ? 0n : (0xffffffffffffffffn << BigInt(64 - length)) & 0xffffffffffffffffn;
}

export function formatPrefix(prefix: Prefix): string {
  return prefix.family === 4 ? `${format4(prefix.address)}/${prefix.length}` : `${format6(prefix.high, prefix.low)}/${prefix.length}`;
}

/** "02:00:00:00:00:01" (or with dashes) to six bytes. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text)) {
    throw invalid(`"${text}" is not a MAC address; expected six pairs of hexadecimal digits, like 02:00:00:00:00:01`);
  }
  return Uint8Array.from(text.split(/[:-]/), (part) => Number.parseInt(part, 16));
}

export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (b) => b.toString(16).padStart(2, "0")).join(":");
}

/** 16 bytes in network order. */
export function bytes6(high: bigint, low: bigint, out = new Uint8Array(16), at = 0): Uint8Array {
  const view = new DataView(out.buffer, out.byteOffset + at, 16);
  view.setBigUint64(0, high);
  view.setBigUint64(8, low);
  return out;
}
