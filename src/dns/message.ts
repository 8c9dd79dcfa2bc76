/** Whole messages (RFC 1035 §4, RFC 6891): bytes to an object and back. Reading throws EPROTO and nothing else. */

import { invalid } from "../base/errors.ts";
import { Reader, Writer } from "./bytes.ts";
import { CLASS_IN, type QuestionType, TYPES, typeName, typeNumber } from "./codes.ts";
import { type DnsRecord, readData, writeData } from "./records.ts";

export interface Question {
  readonly name: string;
  readonly type: QuestionType;
  /** Default 1, IN. */
  readonly class?: number;
}

/** What an OPT record says (RFC 6891 §6.1). */
export interface Edns {
  /** Largest datagram that the sender takes. */
  readonly udpSize: number;
  readonly version?: number;
  readonly dnssecOk?: boolean;
  readonly options?: readonly { readonly code: number; readonly data: Uint8Array }[];
}

export interface DnsMessage {
  readonly id: number;
  /** True for an answer. */
  readonly response?: boolean;
  readonly opcode?: number;
  readonly authoritative?: boolean;
  readonly truncated?: boolean;
  readonly recursionDesired?: boolean;
  readonly recursionAvailable?: boolean;
  readonly authenticData?: boolean;
  readonly checkingDisabled?: boolean;
  /** With the upper bits of an OPT record. */
  readonly rcode?: number;
  readonly questions: readonly Question[];
  readonly answers?: readonly DnsRecord[];
  readonly authorities?: readonly DnsRecord[];
  readonly additionals?: readonly DnsRecord[];
  readonly edns?: Edns;
}

/** A message as it was read: nothing is left out. */
export type ParsedMessage = Required<Omit<DnsMessage, "edns">> & Pick<DnsMessage, "edns">;

const FLAGS = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authenticData: 0x0020,
  checkingDisabled: 0x0010,
} as const;
const HEADER = 12;

export function decodeMessage(bytes: Uint8Array): ParsedMessage {
  const reader = new Reader(bytes);
  const [id, flags] = [reader.u16(), reader.u16()];
  const [questionCount, ...counts] = [reader.u16(), reader.u16(), reader.u16(), reader.u16()];
  const questions: Question[] = [];
  for (let i = 0; i < questionCount; i++) questions.push(readQuestion(reader));
  let opt: { edns: Edns; upper: number } | undefined;
  const sections = counts.map((count) => {
    const records: DnsRecord[] = [];
    for (let i = 0; i < count; i++) {
      const record = readRecord(reader);
      if (!("edns" in record)) records.push(record);
      // A second one is an error of the sender (RFC 6891 §6.1.1); the first counts.
      else opt ??= record;
    }
    return records;
  });
  const [answers, authorities, additionals] = sections;
  const on = (key: keyof typeof FLAGS) => (flags & FLAGS[key]) !== 0;
  return {
    id,
    response: on("response"),
    opcode: (flags >>> 11) & 15,
    authoritative: on("authoritative"),
    truncated: on("truncated"),
    recursionDesired: on("recursionDesired"),
    recursionAvailable: on("recursionAvailable"),
    authenticData: on("authenticData"),
    checkingDisabled: on("checkingDisabled"),
    rcode: (flags & 15) | ((opt?.upper ?? 0) << 4),
    questions,
    answers,
    authorities,
    additionals,
    edns: opt?.edns,
  };
}

function readQuestion(reader: Reader): Question {
  return { name: reader.name(), type: typeName(reader.u16()) as QuestionType, class: reader.u16() };
}

function readRecord(reader: Reader): DnsRecord | { edns: Edns; upper: number } {
  const name = reader.name();
  const number = reader.u16();
  const klass = reader.u16();
  const ttl = reader.u32();
  const length = reader.u16();
  const whole = reader.end;
  const end = reader.at + length;
  if (end > whole) reader.raw(length);
  reader.end = end;
  // A TTL with its top bit set counts as none (RFC 2181 §8).
  const record =
    number === TYPES.OPT
      ? readOpt(reader, klass, ttl)
      : { name, ttl: ttl > 0x7fffffff ? 0 : ttl, class: klass, ...readData(typeName(number), reader) };
  if (reader.at !== end) reader.raw(whole + 1);
  reader.end = whole;
  return record;
}

function readOpt(reader: Reader, udpSize: number, ttl: number): { edns: Edns; upper: number } {
  const options: { code: number; data: Uint8Array }[] = [];
  while (reader.at < reader.end) options.push({ code: reader.u16(), data: reader.raw(reader.u16()) });
  return { edns: { udpSize, version: (ttl >>> 16) & 255, dnssecOk: (ttl & 0x8000) !== 0, options }, upper: ttl >>> 24 };
}

/**
 * The bytes of a message. With `limit` what does not fit is left out from the end, and the message says that it is
 * cut (RFC 2181 §9). Throws EBADNAME and EINVAL for what cannot be written.
 */
export function encodeMessage(message: DnsMessage, limit = 65_535): Uint8Array {
  const writer = new Writer();
  const { questions, answers = [], authorities = [], additionals = [], edns, rcode = 0 } = message;
  let flags = ((message.opcode ?? 0) << 11) | (rcode & 15);
  for (const key of Object.keys(FLAGS) as (keyof typeof FLAGS)[]) if (message[key]) flags |= FLAGS[key];
  for (const word of [message.id, flags, questions.length, 0, 0, 0]) writer.u16(word);
  for (const question of questions) {
    writer.name(question.name);
    writer.u16(numberOf(question.type));
    writer.u16(question.class ?? CLASS_IN);
  }
  const room = limit - (edns ? optLength(edns) : 0);
  const counts = [0, 0, 0];
  let cut = false;
  [answers, authorities, additionals].forEach((records, section) => {
    for (const record of records) {
      if (cut) return;
      const before = writer.length;
      writeRecord(record, writer);
      if (writer.length > room) {
        writer.rewind(before);
        cut = true;
        // Additional records are a courtesy: without them nothing is missing.
        if (section < 2) flags |= FLAGS.truncated;
      } else counts[section]++;
    }
  });
  if (edns) {
    writeOpt(edns, rcode >>> 4, writer);
    counts[2]++;
  }
  writer.set16(2, flags);
  counts.forEach((count, i) => writer.set16(HEADER - 6 + 2 * i, count));
  return writer.finish();
}

function numberOf(type: string): number {
  const number = typeNumber(type);
  if (number < 0) throw invalid(`"${type}" is no record type; expected one like A, AAAA or TYPE65280`);
  return number;
}

function writeRecord(record: DnsRecord, writer: Writer): void {
  writer.name(record.name);
  writer.u16(numberOf(record.type));
  writer.u16(record.class ?? CLASS_IN);
  writer.u32(record.ttl);
  const at = writer.length;
  writer.u16(0);
  writeData(record, writer);
  writer.set16(at, writer.length - at - 2);
}

function optLength({ options = [] }: Edns): number {
  return options.reduce((sum, option) => sum + 4 + option.data.length, 11);
}

function writeOpt(edns: Edns, upper: number, writer: Writer): void {
  writer.u8(0);
  writer.u16(TYPES.OPT);
  writer.u16(edns.udpSize);
  writer.u32(((upper << 24) | ((edns.version ?? 0) << 16) | (edns.dnssecOk ? 0x8000 : 0)) >>> 0);
  writer.u16(optLength(edns) - 11);
  for (const { code, data } of edns.options ?? []) {
    writer.u16(code);
    writer.u16(data.length);
    writer.raw(data);
  }
}
