/** Addresses as numbers and back, for constants of rules. */
import { integer } from "./numbers.ts";

const BYTE = "(0|[1-9]\\d?|1\\d\\d|2[0-4]\\d|25[0-5])";
const QUAD = new RegExp(`^${BYTE}\\.${BYTE}\\.${BYTE}\\.${BYTE}$`);
const FAMILY = "Could not resolve hostname: Address family for hostname not supported";

export function parseIpv4(text: string): bigint | string {
  const usual = QUAD.exec(text);
  if (usual) {
    const [, a, b, c, d] = usual;
    return BigInt(Number(a) * 2 ** 24 + ((Number(b) << 16) | (Number(c) << 8) | Number(d)));
  }
  const number = integer(text);
  if (number !== undefined) return number;
  if (text.includes(":")) return FAMILY;
  const parts = text.split(".").map(integer);
  if (parts.length !== 4 || !parts.every((part) => part !== undefined && part < 256n))
    return "Could not resolve hostname: names of hosts are not looked up";
  return (parts as bigint[]).reduce((sum, part) => (sum << 8n) | part, 0n);
}
export const formatIpv4 = (value: bigint): string => [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");

function wordsOf(text: string): readonly number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const [a, b, c, d] = group.split(".").map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}
export function parseIpv6(text: string): bigint | string {
  if (!text.includes(":")) return text.includes(".") ? FAMILY : "Could not resolve hostname: names of hosts are not looked up";
  const [head, tail] = text.split("::");
  const front = wordsOf(head);
  const back = tail === undefined ? [] : wordsOf(tail);
  const gap = 8 - front.length - back.length;
  if (tail === undefined ? gap !== 0 : gap < 1) return "Could not resolve hostname: Name or service not known";
  return [...front, ...Array<number>(gap).fill(0), ...back].reduce((sum, word) => (sum << 16n) | BigInt(word), 0n);
}
/** RFC 5952, with the last 32 bits as an IPv4 address where all before them is 0 (inet_ntop of the GNU C library). */
export function formatIpv6(value: bigint): string {
  const words = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && words[i + length] === 0) length++;
    if (length > best.length) best = { at: i, length };
  }
  const mapped = best.at === 0 && best.length === 5 && words[5] === 0xffff;
  const text = (list: readonly number[]) => list.map((word) => word.toString(16)).join(":");
  if (best.at === 0 && best.length === 6) return `::${formatIpv4(value & 0xffffffffn)}`;
  if (mapped) return `::ffff:${formatIpv4(value & 0xffffffffn)}`;
  if (best.at < 0) return text(words);
  return `${text(words.slice(0, best.at))}::${text(words.slice(best.at + best.length))}`;
}
