/** The layers of packet.ts that have a checksum of their own: TCP, UDP, UDP-Lite, ICMP. */
import { put16, put32 } from "../../src/base/bytes.ts";
import { checksum, pseudoSum } from "../../src/wire/checksum.ts";
import { fromHex, type Words } from "./words.ts";

export const FLAGS = ["F", "S", "R", "P", "A", "U", "E", "C"] as const;

/** What a transport needs of the layer around it. */
export interface Outer {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

/** Fills in the checksum at `at` over the pseudo-header, or leaves what was said. */
function seal(out: Uint8Array, at: number, protocol: number, said: { sum: number; spoil: number; cover?: number }, outer?: Outer): void {
  if (said.sum >= 0) {
    put16(out, at, said.sum);
    return;
  }
  const covered = out.subarray(0, said.cover ?? out.length);
  const sum = checksum(covered, outer ? pseudoSum(outer.source, outer.destination, protocol, out.length) : 0);
  put16(out, at, (sum === 0 && protocol !== 6 && protocol !== 1 ? 0xffff : sum) ^ said.spoil);
}

export function tcp(words: Words, payload: Uint8Array, outer?: Outer): Uint8Array {
  const source = words.number("a port");
  words.expect(">");
  const destination = words.number("a port");
  const flags = words.next("flags or .");
  const set = { seq: 0, ack: 0, win: 65535, urg: 0, doff: -1, sum: -1 };
  let spoil = 0;
  const options: number[] = [];
  while (words.more()) {
    const word = words.next("an option");
    if (word === "badsum") spoil = 0x5555;
    else if (word === "mss") options.push(2, 4, ...split(words.number(), 2));
    else if (word === "ws") options.push(1, 3, 3, words.number());
    else if (word === "sackok") options.push(1, 1, 4, 2);
    else if (word === "ts") options.push(1, 1, 8, 10, ...split(words.number(), 4), ...split(words.number(), 4));
    else if (word === "sack") options.push(1, 1, 5, 10, ...split(words.number(), 4), ...split(words.number(), 4));
    else if (word === "opts") options.push(...fromHex(words.next("options")));
    else if (word === "seq" || word === "ack" || word === "win" || word === "urg" || word === "doff" || word === "sum")
      set[word] = words.number();
    else words.unknown(word);
  }
  const header = 20 + options.length;
  const out = new Uint8Array(header + payload.length);
  put16(out, 0, source);
  put16(out, 2, destination);
  put32(out, 4, set.seq);
  put32(out, 8, set.ack);
  out[12] = (set.doff >= 0 ? set.doff : header / 4) << 4;
  out[13] = FLAGS.reduce((bits, letter, i) => bits | (flags.includes(letter) ? 1 << i : 0), 0);
  put16(out, 14, set.win);
  put16(out, 18, set.urg);
  out.set(options, 20);
  out.set(payload, header);
  seal(out, 16, 6, { ...set, spoil }, outer);
  return out;
}

const split = (value: number, bytes: number) => Array.from({ length: bytes }, (_, i) => (value >>> (8 * (bytes - 1 - i))) & 255);

/** UDP, and UDP-Lite, whose length field says how much the checksum covers. */
export function udp(words: Words, payload: Uint8Array, outer: Outer | undefined, lite: boolean): Uint8Array {
  const out = new Uint8Array(8 + payload.length);
  put16(out, 0, words.number("a port"));
  words.expect(">");
  put16(out, 2, words.number("a port"));
  const set = { len: lite ? 0 : out.length, sum: -1 };
  let spoil = 0;
  while (words.more()) {
    const word = words.next("an option");
    if (word === "badsum") spoil = 0x5555;
    else if (word === "len" || word === "sum") set[word] = words.number();
    else words.unknown(word);
  }
  put16(out, 4, set.len);
  out.set(payload, 8);
  const cover = lite && set.len > 0 ? Math.min(set.len, out.length) : out.length;
  seal(out, 6, lite ? 136 : 17, { sum: set.sum, spoil, cover }, outer);
  return out;
}

const CHUNKS: Readonly<Record<string, number>> = {
  data: 0,
  init: 1,
  initack: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatack: 5,
  abort: 6,
  shutdown: 7,
  shutdownack: 8,
  error: 9,
  echo: 10,
  cookieack: 11,
  complete: 14,
};

/** "1 > 2 tag N CHUNK…": a chunk is a name, `+T` behind it for its flag; init and initack are followed by their tag. */
export function sctp(words: Words): Uint8Array {
  const source = words.number("a port");
  words.expect(">");
  const destination = words.number("a port");
  words.expect("tag");
  const tag = words.number("a tag");
  let spoil = 0;
  const chunks: number[] = [];
  while (words.more()) {
    const word = words.next("a chunk");
    if (word === "badsum") spoil = 1;
    else {
      const [name, flag] = word.split("+");
      const type = CHUNKS[name];
      if (type === undefined) words.unknown(word);
      const said = name === "init" || name === "initack" ? words.number("a tag") : 0;
      const body = new Uint8Array(name.startsWith("init") ? 16 : 8);
      put32(body, 0, said);
      chunks.push(type, flag ? 1 : 0, 0, 4 + body.length, ...body);
    }
  }
  const out = new Uint8Array(12 + chunks.length);
  put16(out, 0, source);
  put16(out, 2, destination);
  put32(out, 4, tag);
  out.set(chunks, 12);
  new DataView(out.buffer).setUint32(8, crc32c(out) ^ spoil, true);
  return out;
}

/** RFC 9260 appendix A, bit by bit. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return ~crc >>> 0;
}

export function icmp(words: Words, payload: Uint8Array, outer?: Outer): Uint8Array {
  const out = new Uint8Array(8 + payload.length);
  out[0] = words.number("a type");
  out[1] = words.number("a code");
  let sum = -1;
  let spoil = 0;
  while (words.more()) {
    const word = words.next("an option");
    if (word === "badsum") spoil = 0x5555;
    else if (word === "sum") sum = words.number();
    else if (word === "id") put16(out, 4, words.number());
    else if (word === "seq" || word === "mtu") {
      if (word === "mtu" && outer) put32(out, 4, words.number());
      else put16(out, 6, words.number());
    } else if (word === "rest") put32(out, 4, words.number());
    else words.unknown(word);
  }
  out.set(payload, 8);
  seal(out, 2, outer ? 58 : 1, { sum, spoil }, outer);
  return out;
}
