/**
 * Packets and every way to change one or two of their fields: seeds by program for each state of a connection, and
 * mutations that keep their checksums right, so that they reach the code behind them.
 */
import { checksum, ETHERTYPE, l4Checksum, serializeEthernet, serializeIpv4, serializeIpv6, serializeTcp } from "../src/wire/index.ts";

/** What a seed knows of the connection it is for. */
export interface Numbers {
  /** What the connection expects next, and what it has sent and had acknowledged. */
  readonly received: number;
  readonly una: number;
  readonly nxt: number;
  readonly tsval: number;
  readonly tsecr: number;
  readonly timestamps: boolean;
}

export interface Ends {
  readonly family: 4 | 6;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly mac: Uint8Array;
}

const FIN = 1;
const SYN = 2;
const RST = 4;
const PSH = 8;
const ACK = 16;
const URG = 32;

type Shape = (n: Numbers) => {
  seq?: number;
  ack?: number;
  flags: number;
  bytes?: number;
  window?: number;
  urgent?: number;
  options?: number[];
};

const be32 = (x: number) => [x >>> 24, (x >>> 16) & 255, (x >>> 8) & 255, x & 255];
const sackBlocks = (una: number, edges: number[]) => [1, 1, 5, 2 + 4 * edges.length, ...edges.flatMap((edge) => be32((una + edge) >>> 0))];
const SYN_OPTIONS = [2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7];

/** What may come in any state: in place, early, late, twice, too much, with every flag that means something. */
export const SHAPES: readonly Shape[] = [
  () => ({ flags: ACK }),
  () => ({ flags: ACK | PSH, bytes: 100 }),
  () => ({ flags: ACK, bytes: 1000, seq: 500 }),
  () => ({ flags: ACK, bytes: 1000, seq: -500 }),
  () => ({ flags: ACK | FIN }),
  () => ({ flags: ACK | FIN | PSH, bytes: 10 }),
  () => ({ flags: ACK | FIN, seq: 2000 }),
  () => ({ flags: RST }),
  () => ({ flags: RST | ACK, seq: 100 }),
  () => ({ flags: SYN, options: SYN_OPTIONS }),
  () => ({ flags: SYN, seq: 1000, options: [...SYN_OPTIONS, 34, 2] }),
  () => ({ flags: SYN | ACK, options: SYN_OPTIONS }),
  ({ una }) => ({ flags: ACK, ack: 0, options: sackBlocks(una, [1000, 2000]) }),
  ({ una }) => ({ flags: ACK, ack: 0, options: sackBlocks(una, [-1000, -500, 3000, 4000, 1000, 2000]) }),
  () => ({ flags: ACK, ack: 1000 }),
  () => ({ flags: ACK, window: 0 }),
  () => ({ flags: ACK, ack: 1_000_000 }),
  () => ({ flags: ACK, ack: -100_000 }),
  () => ({ flags: ACK | URG | PSH, bytes: 50, urgent: 20 }),
  () => ({ flags: 0, bytes: 20 }),
  () => ({ flags: 0xff, bytes: 20 }),
];

/** The frame of a shape for a connection. */
export function frameOf(shape: Shape, numbers: Numbers, ends: Ends): Uint8Array {
  const { seq = 0, ack, flags, bytes = 0, window = 60_000, urgent = 0, options = [] } = shape(numbers);
  const stamps = numbers.timestamps ? [1, 1, 8, 10, ...be32(numbers.tsval), ...be32(numbers.tsecr)] : [];
  const all = [...stamps, ...options];
  const segment = {
    sourcePort: ends.sourcePort,
    destinationPort: ends.destinationPort,
    sequence: (numbers.received + seq) >>> 0,
    acknowledgement: ((ack === undefined ? numbers.nxt : numbers.una + ack) & -1) >>> 0,
    flags,
    window,
    urgentPointer: urgent,
    options: Uint8Array.from({ length: Math.ceil(all.length / 4) * 4 }, (_, i) => all[i] ?? 0),
    payload: new Uint8Array(bytes).fill(0x61),
  };
  const { source, destination } = ends;
  const payload = serializeTcp(segment, { source, destination });
  const word = (address: Uint8Array) => new DataView(address.buffer, address.byteOffset).getUint32(0);
  const packet =
    ends.family === 4
      ? serializeIpv4({ protocol: 6, source: word(source), destination: word(destination), payload })
      : serializeIpv6({ protocol: 6, source, destination, payload });
  const type = ends.family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
  return serializeEthernet({ destination: ends.mac, source: Uint8Array.of(2, 0, 0, 0, 0, 9), type, payload: packet });
}

export interface Field {
  readonly name: string;
  /** Byte of the frame, bits from its most significant, and how many. */
  readonly at: number;
  readonly bit: number;
  readonly bits: number;
}

const IP = 14;

/** Every field of a frame's headers, options byte by byte. */
export function fieldsOf(frame: Uint8Array): Field[] {
  const out: Field[] = [];
  const field = (name: string, at: number, bits: number, bit = 0) => out.push({ name, at, bit, bits });
  const is4 = frame[12] === 8;
  if (is4) {
    field("version", IP, 4);
    field("header length", IP, 4, 4);
    field("tos", IP + 1, 8);
    field("total length", IP + 2, 16);
    field("identification", IP + 4, 16);
    field("flags", IP + 6, 3);
    field("fragment offset", IP + 6, 13, 3);
    field("ttl", IP + 8, 8);
    field("protocol", IP + 9, 8);
    field("header checksum", IP + 10, 16);
    field("source", IP + 12, 32);
    field("destination", IP + 16, 32);
  } else {
    field("version", IP, 4);
    field("traffic class", IP, 8, 4);
    field("flow label", IP + 1, 20, 4);
    field("payload length", IP + 4, 16);
    field("next header", IP + 6, 8);
    field("hop limit", IP + 7, 8);
    field("source", IP + 8, 32);
    field("source end", IP + 20, 32);
    field("destination", IP + 24, 32);
    field("destination end", IP + 36, 32);
  }
  const tcp = IP + (is4 ? 20 : 40);
  field("source port", tcp, 16);
  field("destination port", tcp + 2, 16);
  field("sequence", tcp + 4, 32);
  field("acknowledgement", tcp + 8, 32);
  field("data offset", tcp + 12, 4);
  field("reserved", tcp + 12, 4, 4);
  field("flags", tcp + 13, 8);
  field("window", tcp + 14, 16);
  field("checksum", tcp + 16, 16);
  field("urgent pointer", tcp + 18, 16);
  const end = tcp + (frame[tcp + 12] >>> 4) * 4;
  for (let at = tcp + 20; at < end; at++) field(`option byte ${at - tcp - 20}`, at, 8);
  return out;
}

const get = (frame: Uint8Array, { at, bit, bits }: Field): number => {
  let value = 0n;
  for (let i = 0; i < 8 && at + i < frame.length; i++) value |= BigInt(frame[at + i]) << BigInt(56 - 8 * i);
  return Number((value >> BigInt(64 - bit - bits)) & ((1n << BigInt(bits)) - 1n));
};

function put(frame: Uint8Array, { at, bit, bits }: Field, value: number): void {
  for (let i = bits - 1, rest = value; i >= 0; i--, rest = Math.floor(rest / 2)) {
    const place = at * 8 + bit + i;
    const mask = 0x80 >>> (place & 7);
    if (rest % 2 >= 1) frame[place >>> 3] |= mask;
    else frame[place >>> 3] &= ~mask;
  }
}

/** Values at the edges of a field and around what stands there; narrow fields get them all. */
export function valuesOf(frame: Uint8Array, field: Field): number[] {
  const size = 2 ** field.bits;
  const now = get(frame, field);
  if (field.bits <= 4) return Array.from({ length: size }, (_, i) => i).filter((value) => value !== now);
  const wanted = [0, 1, 2, size - 1, size / 2, size / 2 - 1, now + 1, now - 1, now ^ (size / 2), now + 1000, now - 1000];
  return [...new Set(wanted.map((value) => (((value % size) + size) % size) >>> 0))].filter((value) => value !== now);
}

/** A copy with some fields changed; checksums are made right again unless they are what was changed. */
export function mutate(frame: Uint8Array, changes: readonly { field: Field; value: number }[]): Uint8Array {
  const out = frame.slice();
  for (const { field, value } of changes) put(out, field, value);
  const kept = (name: string) => changes.some(({ field }) => field.name === name);
  fixChecksums(out, !kept("header checksum"), !kept("checksum"));
  return out;
}

function fixChecksums(frame: Uint8Array, header: boolean, transport: boolean): void {
  const is4 = frame[12] === 8;
  const start = IP + (is4 ? Math.max((frame[IP] & 15) * 4, 20) : 40);
  if (is4 && header && start <= frame.length) {
    frame[IP + 10] = frame[IP + 11] = 0;
    const sum = checksum(frame.subarray(IP, start));
    frame[IP + 10] = sum >>> 8;
    frame[IP + 11] = sum;
  }
  if (!transport) return;
  const length = (frame[IP + (is4 ? 2 : 4)] << 8) | frame[IP + (is4 ? 3 : 5)];
  const end = Math.min(IP + length + (is4 ? 0 : 40), frame.length);
  if (start + 18 > end) return;
  const source = frame.subarray(IP + (is4 ? 12 : 8), IP + (is4 ? 16 : 24));
  const destination = frame.subarray(IP + (is4 ? 16 : 24), IP + (is4 ? 20 : 40));
  frame[start + 16] = frame[start + 17] = 0;
  const sum = l4Checksum(source, destination, 6, frame.subarray(start, end));
  frame[start + 16] = sum >>> 8;
  frame[start + 17] = sum;
}
