/** DNS64 (RFC 6147): hosts that have IPv6 alone get addresses for names that have IPv4 addresses alone. */
import { IpAddress } from "../base/ip-address.ts";
import type { Answer } from "./answer.ts";
import { RCODE } from "./codes.ts";
import type { Question } from "./message.ts";
import type { DnsRecord } from "./records.ts";

/** The prefix that IPv4 addresses are behind (RFC 6052): 32, 40, 48, 56, 64 or 96 bits. */
export interface Pref64 {
  readonly prefix: IpAddress;
  readonly length: number;
}

/** The IPv6 address of an IPv4 one behind a prefix (RFC 6052 §2.2): around the byte at 64 bits, which is zero. */
export function embedded(address: IpAddress, { prefix, length }: Pref64): IpAddress {
  const bytes = prefix.bytes().slice();
  let at = length / 8;
  bytes.fill(0, at);
  for (const byte of address.bytes()) {
    if (at === 8) at++;
    bytes[at++] = byte;
  }
  return IpAddress.fromBytes(bytes);
}

/** The IPv4 address that one of IPv6 stands for behind a prefix; undefined where it is not behind it. */
export function extracted(address: IpAddress, { prefix, length }: Pref64): IpAddress | undefined {
  const bytes = address.bytes();
  if (prefix.bytes().some((byte, i) => i < length / 8 && byte !== bytes[i])) return undefined;
  const inside: number[] = [];
  for (let at = length / 8; inside.length < 4; at++) if (at !== 8) inside.push(bytes[at]);
  return IpAddress.fromBytes(Uint8Array.from(inside));
}

/** IPv4-mapped addresses are nobody's (§5.1.4): a name that has no others has none. */
const isReal = (record: DnsRecord) => record.type === "AAAA" && IpAddress.parse(record.address).family === 6;

/** The answer to a question as hosts behind a prefix want it: `ask` asks as ever. */
export async function dns64(question: Question, pref64: Pref64, ask: (question: Question) => Promise<Answer>): Promise<Answer> {
  if (question.type !== "AAAA") return ask(question);
  // Whatever goes wrong with one family says nothing of the other (§5.1.2); that there is no such name does.
  const six = await ask(question).catch((error: unknown) => ({ error }));
  if (!("error" in six) && (six.rcode === RCODE.NXDOMAIN || six.records.some(isReal))) return six;
  const four = await ask({ ...question, type: "A" }).catch(() => undefined);
  if (four?.found) return { ...four, records: four.records.map((record) => (record.type === "A" ? turned(record, pref64) : record)) };
  if ("error" in six) throw six.error;
  return six;
}

function turned(record: DnsRecord & { readonly type: "A" }, pref64: Pref64): DnsRecord {
  return { ...record, type: "AAAA", address: String(embedded(IpAddress.parse(record.address), pref64)) };
}
