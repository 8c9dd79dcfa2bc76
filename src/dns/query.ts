/**
 * What comes to a server, looked at before any of it is read (RFC 1035 §4.1.1): how many records a query may name
 * is known from its header alone, so that the work it makes is bounded by its kind and not by what a sender puts in.
 */
import { u16 } from "../base/bytes.ts";
import { type DnsMessage, decodeMessage, encodeMessage, type ParsedMessage } from "./message.ts";

const HEADER = 12;
/** IXFR has an SOA record there (RFC 1995 §3); OPT and a signature are additional ones (RFC 6891, RFC 8945). */
const MOST_AUTHORITIES = 1;
const MOST_ADDITIONALS = 2;

/** A query; or what is wrong with a message: "answer" is none, "malformed" deserves FORMERR, "opcode" NOTIMP. */
export type Received = ParsedMessage | "answer" | "malformed" | "opcode";

export function readQuery(bytes: Uint8Array): Received {
  if (bytes.length < HEADER || bytes[2] & 0x80) return "answer";
  if ((bytes[2] >>> 3) & 15) return "opcode";
  const count = (at: number) => u16(bytes, at);
  if (count(4) !== 1 || count(6) !== 0 || count(8) > MOST_AUTHORITIES || count(10) > MOST_ADDITIONALS) return "malformed";
  try {
    return decodeMessage(bytes);
  } catch {
    return "malformed";
  }
}

/** An answer that repeats nothing but who asked: twelve bytes, whatever came. */
export function bareAnswer(bytes: Uint8Array, rcode: number): Uint8Array {
  const head: DnsMessage = { id: u16(bytes, 0), opcode: (bytes[2] >>> 3) & 15, response: true, questions: [] };
  return encodeMessage({ ...head, recursionDesired: (bytes[2] & 1) !== 0, rcode });
}
