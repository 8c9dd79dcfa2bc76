/**
 * Packets as one line of text: layers from the outside in, separated by " / ", each a name and words. What is not said is
 * filled in (lengths, checksums); `badsum` spoils a checksum, `sum N` and `len N` set what would be computed.
 *
 *   ip 192.168.1.10 > 198.51.100.7 ttl 9 id 7 df / tcp 40000 > 80 S seq 1 win 100 mss 1460 / data 3
 *   ip 10.0.0.1 > 10.0.0.2 / icmp 3 4 mtu 1400 / ip … / udp 1 > 2 / data 8
 *   ip 10.0.0.1 > 10.0.0.2 / sctp 1 > 2 tag 0 init 77
 *   ip6 fd00::1 > fd00::2 / frag 1 off 0 mf proto 17 / udp 53 > 53 / text hello
 *
 * `describe` (describe.ts) is the way back.
 */
import { put16, put32 } from "../../src/base/bytes.ts";
import { checksum } from "../../src/wire/checksum.ts";
import { icmp, type Outer, sctp, tcp, udp } from "./transports.ts";
import { addressBytes, fromHex, toHex, Words } from "./words.ts";

/** Bytes of "data N": easy to tell apart by their place. */
export const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + 1) & 255);

export const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmp6: 58, sctp: 132, udplite: 136, none: 59 };
const EXTENSIONS: Readonly<Record<string, number>> = { hop: 0, dst: 60, route: 43, frag: 44 };

/** A layer of which only the bytes inside are needed. */
const build = (layers: readonly string[], outer?: Outer): Uint8Array => {
  if (layers.length === 0) return new Uint8Array(0);
  const words = new Words(layers[0]);
  const kind = words.next("a layer");
  const inner = layers.slice(1);
  switch (kind) {
    case "ip":
      return ip4(words, inner);
    case "ip6":
      return ip6(words, inner);
    case "hop":
    case "dst":
    case "route":
      return extension(words, kind, inner, outer);
    case "frag":
      return fragment(words, inner, outer);
    case "tcp":
      return tcp(words, build(inner), outer);
    case "udp":
      return udp(words, build(inner), outer, false);
    case "udplite":
      return udp(words, build(inner), outer, true);
    case "sctp":
      return sctp(words);
    case "icmp":
      return icmp(words, build(inner));
    case "icmp6":
      return icmp(words, build(inner), outer);
    case "data":
      return cutFrom(words, pattern(words.number()));
    case "text":
      return new TextEncoder().encode(layers[0].trim().slice(5));
    case "hex":
      return fromHex(words.next("hexadecimal digits"));
    default:
      throw new Error(`"${layers[0]}": no layer is called "${kind}"`);
  }
};

function cutFrom(words: Words, bytes: Uint8Array): Uint8Array {
  if (!words.more()) return bytes;
  words.expect("from");
  return bytes.slice(words.number());
}

/** Protocol number of the layer inside, unless it was said. */
const protocolOf = (layers: readonly string[], said: number) =>
  said >= 0 ? said : (PROTOCOLS[layers[0]?.trim().split(" ")[0] ?? "none"] ?? EXTENSIONS[layers[0].trim().split(" ")[0]] ?? 253);

function ip4(words: Words, inner: readonly string[]): Uint8Array {
  const source = addressBytes(words.next("a source address"));
  words.expect(">");
  const destination = addressBytes(words.next("a destination address"));
  const set = { ttl: 64, id: 0, tos: 0, flags: 0, off: 0, proto: -1, len: -1, spoil: 0, cut: -1 };
  let options = new Uint8Array(0);
  while (words.more()) {
    const word = words.next("an option");
    if (word === "df") set.flags |= 0x4000;
    else if (word === "mf") set.flags |= 0x2000;
    else if (word === "badsum") set.spoil = 0x5555;
    else if (word === "opts") options = fromHex(words.next("options"));
    else if (word === "ttl" || word === "id" || word === "tos" || word === "off" || word === "proto" || word === "len" || word === "cut")
      set[word] = words.number();
    else words.unknown(word);
  }
  const payload = build(inner, { source, destination });
  const header = 20 + options.length;
  const out = new Uint8Array(header + payload.length);
  out[0] = 0x40 | (header / 4);
  out[1] = set.tos;
  put16(out, 2, set.len >= 0 ? set.len : out.length);
  put16(out, 4, set.id);
  put16(out, 6, set.flags | (set.off / 8));
  out[8] = set.ttl;
  out[9] = protocolOf(inner, set.proto);
  out.set(source, 12);
  out.set(destination, 16);
  out.set(options, 20);
  put16(out, 10, checksum(out.subarray(0, header)) ^ set.spoil);
  out.set(payload, header);
  return set.cut >= 0 ? out.slice(0, set.cut) : out;
}

function ip6(words: Words, inner: readonly string[]): Uint8Array {
  const source = addressBytes(words.next("a source address"));
  words.expect(">");
  const destination = addressBytes(words.next("a destination address"));
  const set = { ttl: 64, tos: 0, label: 0, proto: -1, len: -1, cut: -1 };
  while (words.more()) {
    const word = words.next("an option");
    if (word === "ttl" || word === "tos" || word === "label" || word === "proto" || word === "len" || word === "cut")
      set[word] = words.number();
    else words.unknown(word);
  }
  const payload = build(inner, { source, destination });
  const out = new Uint8Array(40 + payload.length);
  put32(out, 0, 0x60000000 | (set.tos << 20) | set.label);
  put16(out, 4, set.len >= 0 ? set.len : payload.length);
  out[6] = protocolOf(inner, set.proto);
  out[7] = set.ttl;
  out.set(source, 8);
  out.set(destination, 24);
  out.set(payload, 40);
  return set.cut >= 0 ? out.slice(0, set.cut) : out;
}

function extension(words: Words, kind: string, inner: readonly string[], outer?: Outer): Uint8Array {
  let proto = -1;
  // A padding option fills the least header; a routing header has no segments left.
  let body = fromHex(kind === "route" ? "000400000000" : "010400000000");
  while (words.more()) {
    const word = words.next("an option");
    if (word === "proto") proto = words.number();
    else if (word === "hex") body = fromHex(words.next("hexadecimal digits"));
    else words.unknown(word);
  }
  if (kind === "route" && body.length === 6 && body[1] === 4) body = fromHex("fd0000000000");
  const rest = build(inner, outer);
  const out = new Uint8Array(2 + body.length + rest.length);
  out[0] = protocolOf(inner, proto);
  out[1] = (2 + body.length) / 8 - 1;
  out.set(body, 2);
  out.set(rest, 2 + body.length);
  return out;
}

function fragment(words: Words, inner: readonly string[], outer?: Outer): Uint8Array {
  const set = { id: words.number("an id"), off: 0, proto: -1 };
  let more = 0;
  while (words.more()) {
    const word = words.next("an option");
    if (word === "mf") more = 1;
    else if (word === "off" || word === "proto") set[word] = words.number();
    else words.unknown(word);
  }
  const rest = build(inner, outer);
  const out = new Uint8Array(8 + rest.length);
  out[0] = protocolOf(inner, set.proto);
  put16(out, 2, set.off | more);
  put32(out, 4, set.id);
  out.set(rest, 8);
  return out;
}

/** A packet, from its network header on. */
export function packet(text: string): Uint8Array {
  try {
    return build(text.split(" / "));
  } catch (error) {
    throw new Error(`cannot build "${text}": ${(error as Error).message}`);
  }
}

/** The EtherType that goes with a packet. */
export const etherTypeOf = (bytes: Uint8Array) => (bytes[0] >>> 4 === 6 ? 0x86dd : 0x0800);

/** A frame for the router as a host of the port sends it, in hexadecimal. */
export const frameOf = (bytes: Uint8Array, destination: string, source: string) =>
  (destination + source).replaceAll(":", "") + etherTypeOf(bytes).toString(16).padStart(4, "0") + toHex(bytes);
