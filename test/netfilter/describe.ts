/**
 * From bytes to the line that `packet` (packet.ts) reads. Every layer is tried: where its words would not give the same bytes back,
 * the rest is hexadecimal.
 */
import { u16, u32 } from "../../src/base/bytes.ts";
import { packet, pattern } from "./packet.ts";
import { FLAGS } from "./transports.ts";
import { addressText, toHex } from "./words.ts";

const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && Buffer.compare(a, b) === 0;

/** Protocol numbers with words of their own; "proto" says the others. */
const NAMES: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 136: "udplite" };
const EXTENSIONS: Readonly<Record<number, string>> = { 0: "hop", 43: "route", 60: "dst" };

function rest(bytes: Uint8Array): string {
  if (bytes.length === 0) return "";
  if (same(bytes, pattern(bytes.length))) return ` / data ${bytes.length}`;
  const from = (183 * (bytes[0] - 1)) & 255;
  if (same(bytes, pattern(from + bytes.length).slice(from))) return ` / data ${from + bytes.length} from ${from}`;
  return ` / hex ${toHex(bytes)}`;
}

const word = (name: string, value: number, usual: number) => (value === usual ? "" : ` ${name} ${value}`);

function tcpOptions(bytes: Uint8Array): string {
  let out = "";
  for (let at = 0; at < bytes.length; ) {
    const left = toHex(bytes.subarray(at));
    const size = left.startsWith("0204") ? 4 : left.startsWith("010303") || left.startsWith("01010402") ? 4 : 12;
    if (at + size > bytes.length) return `${out} opts ${left}`;
    if (left.startsWith("0204")) out += ` mss ${u16(bytes, at + 2)}`;
    else if (left.startsWith("010303")) out += ` ws ${bytes[at + 3]}`;
    else if (left.startsWith("01010402")) out += " sackok";
    else if (left.startsWith("0101080a")) out += ` ts ${u32(bytes, at + 4)} ${u32(bytes, at + 8)}`;
    else if (left.startsWith("0101050a")) out += ` sack ${u32(bytes, at + 4)} ${u32(bytes, at + 8)}`;
    else return `${out} opts ${left}`;
    at += size;
  }
  return out;
}

function tcp(bytes: Uint8Array): string | undefined {
  const header = (bytes[12] >>> 4) * 4;
  if (bytes.length < 20 || header < 20 || header > bytes.length) return undefined;
  const flags = FLAGS.filter((_, i) => bytes[13] & (1 << i)).join("") || ".";
  const words =
    word("seq", u32(bytes, 4), 0) + word("ack", u32(bytes, 8), 0) + word("win", u16(bytes, 14), 65535) + word("urg", u16(bytes, 18), 0);
  return `tcp ${u16(bytes, 0)} > ${u16(bytes, 2)} ${flags}${words}${tcpOptions(bytes.subarray(20, header))}SUM${rest(bytes.subarray(header))}`;
}

function udp(bytes: Uint8Array, name: string): string | undefined {
  if (bytes.length < 8) return undefined;
  const length = word("len", u16(bytes, 4), name === "udp" ? bytes.length : 0);
  return `${name} ${u16(bytes, 0)} > ${u16(bytes, 2)}${length}SUM${rest(bytes.subarray(8))}`;
}

/** Errors carry a packet. */
const isError = (name: string, type: number) => (name === "icmp" ? [3, 4, 5, 11, 12].includes(type) : type < 128);

function icmp(bytes: Uint8Array, name: string): string | undefined {
  if (bytes.length < 8) return undefined;
  const error = isError(name, bytes[0]);
  const mtu = name === "icmp" ? bytes[0] === 3 && bytes[1] === 4 && u16(bytes, 4) === 0 : bytes[0] === 2;
  const value = u32(bytes, 4);
  const field = mtu ? word("mtu", value, 0) : error ? word("rest", value, 0) : word("id", value >>> 16, 0) + word("seq", value & 0xffff, 0);
  const body = bytes.subarray(8);
  const inner = error && body.length >= 20 ? ` / ${describe(body)}` : rest(body);
  return `${name} ${bytes[0]} ${bytes[1]}${field}SUM${inner}`;
}

/** The words of a protocol's header, with SUM where its checksum may have to be said. */
function layer(protocol: number, bytes: Uint8Array): string | undefined {
  const name = NAMES[protocol];
  if (name === "tcp") return tcp(bytes);
  if (name === "udp" || name === "udplite") return udp(bytes, name);
  return name ? icmp(bytes, name) : undefined;
}

const CHECKSUM_AT: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6, 58: 2, 136: 6 };

/** The first of the ways to say what is behind `head` that gives `bytes` back. */
function continued(head: string, protocol: number, payload: Uint8Array, bytes: Uint8Array, isPiece: boolean): string {
  const words = isPiece ? undefined : layer(protocol, payload);
  const ways = [`${head} proto ${protocol}${rest(payload)}`];
  if (words) {
    const sum = u16(payload, CHECKSUM_AT[protocol]);
    ways.unshift(...["", " badsum", ` sum ${sum}`].map((said) => `${head} / ${words.replace("SUM", said)}`));
  }
  for (const way of ways) {
    try {
      if (same(packet(way), bytes)) return way;
    } catch {}
  }
  return `hex ${toHex(bytes)}`;
}

function ip4(bytes: Uint8Array): string {
  const header = (bytes[0] & 15) * 4;
  if (header < 20 || header > bytes.length) return `hex ${toHex(bytes)}`;
  const total = u16(bytes, 2);
  const flags = u16(bytes, 6);
  let head = `ip ${addressText(bytes.subarray(12, 16))} > ${addressText(bytes.subarray(16, 20))}`;
  head += word("ttl", bytes[8], 64) + word("id", u16(bytes, 4), 0) + word("tos", bytes[1], 0);
  head += (flags & 0x4000 ? " df" : "") + (flags & 0x2000 ? " mf" : "") + word("off", (flags & 0x1fff) * 8, 0);
  if (header > 20) head += ` opts ${toHex(bytes.subarray(20, header))}`;
  if (total !== bytes.length) head += ` len ${total}`;
  return continued(head, bytes[9], bytes.subarray(header), bytes, (flags & 0x1fff) > 0);
}

function ip6(bytes: Uint8Array): string {
  if (bytes.length < 40) return `hex ${toHex(bytes)}`;
  let head = `ip6 ${addressText(bytes.subarray(8, 24))} > ${addressText(bytes.subarray(24, 40))}`;
  head += word("ttl", bytes[7], 64) + word("tos", ((bytes[0] & 15) << 4) | (bytes[1] >>> 4), 0) + word("label", u32(bytes, 0) & 0xfffff, 0);
  head += word("len", u16(bytes, 4), bytes.length - 40);
  let protocol = bytes[6];
  let at = 40;
  let offset = 0;
  while ((EXTENSIONS[protocol] || protocol === 44) && at + 8 <= bytes.length) {
    const size = protocol === 44 ? 8 : (bytes[at + 1] + 1) * 8;
    if (at + size > bytes.length) break;
    if (protocol === 44) {
      offset = u16(bytes, at + 2) & 0xfff8;
      head += ` / frag ${u32(bytes, at + 4)}${word("off", offset, 0)}${bytes[at + 3] & 1 ? " mf" : ""}`;
    } else head += ` / ${EXTENSIONS[protocol]} hex ${toHex(bytes.subarray(at + 2, at + size))}`;
    protocol = bytes[at];
    at += size;
  }
  return continued(head, protocol, bytes.subarray(at), bytes, offset > 0);
}

/** A packet, from its network header on. */
export function describe(bytes: Uint8Array): string {
  const version = bytes[0] >>> 4;
  if (version === 4 && bytes.length >= 20) return ip4(bytes);
  return version === 6 ? ip6(bytes) : `hex ${toHex(bytes)}`;
}

/** A frame in hexadecimal: its packet. */
export const describeFrame = (frame: string) => describe(new Uint8Array(Buffer.from(frame.slice(28), "hex")));
