/**
 * What a message answers to a question: the chain of aliases from the name asked for and the records at its end
 * (RFC 1034 §3.6.2), or that there is no such thing and for how long that holds (RFC 2308). Everything else in the
 * message is nobody's business: a stub believes only what it asked for.
 */
import { LoomError } from "../base/errors.ts";
import { CLASS_IN, RCODE, rcodeName } from "./codes.ts";
import { nameKey } from "./hosts.ts";
import type { ParsedMessage, Question } from "./message.ts";
import { ancestors } from "./name.ts";
import type { DnsRecord } from "./records.ts";

/** Aliases followed: more are a loop or a joke. */
export const MOST_ALIASES = 16;
/** Longest time (s) that "there is no such thing" is believed (RFC 2308 §5). */
const MOST_NEGATIVE = 10_800;

export interface Answer {
  /** NOERROR or NXDOMAIN. */
  readonly rcode: number;
  /** Aliases in order, then the records. */
  readonly records: readonly DnsRecord[];
  /** The SOA of a negative answer. */
  readonly authority: readonly DnsRecord[];
  /** The name at the end of the aliases. */
  readonly canonical: string;
  /** Whether there are records of the type asked for. */
  readonly found: boolean;
  /** Seconds that it may be kept. */
  readonly ttl: number;
}

export function answerOf(message: ParsedMessage, question: Question): Answer {
  const ours = message.answers.filter((record) => record.class === CLASS_IN);
  const records: DnsRecord[] = [];
  let canonical = question.name;
  for (let aliases = 0; ; aliases++) {
    const here = ours.filter((record) => nameKey(record.name) === nameKey(canonical));
    const ends = here.filter((record) => record.type === question.type || question.type === "ANY");
    if (ends.length > 0) return positive(records.concat(ends), canonical, true);
    const alias = here.find((record) => record.type === "CNAME");
    if (alias?.type !== "CNAME") break;
    if (aliases === MOST_ALIASES) throw new LoomError("EBADRESP", `"${question.name}" leads through more than ${MOST_ALIASES} aliases`);
    records.push(alias);
    canonical = alias.target;
  }
  const soa = soaFor(message, canonical);
  if (message.rcode === RCODE.NOERROR && records.length > 0 && !soa) return positive(records, canonical, false);
  const minimum = soa?.type === "SOA" ? Math.min(soa.minimum, soa.ttl, MOST_NEGATIVE) : 0;
  const ttl = records.reduce((least, record) => Math.min(least, record.ttl), minimum);
  return { rcode: message.rcode, records, authority: soa ? [soa] : [], canonical, found: false, ttl };
}

function positive(records: readonly DnsRecord[], canonical: string, found: boolean): Answer {
  const ttl = records.reduce((least, record) => Math.min(least, record.ttl), Number.POSITIVE_INFINITY);
  return { rcode: RCODE.NOERROR, records, authority: [], canonical, found, ttl };
}

/** The SOA of the zone that would hold the name: of nothing else may it speak. */
function soaFor(message: ParsedMessage, name: string): DnsRecord | undefined {
  const above = new Set(ancestors(nameKey(name)));
  return message.authorities.find((record) => record.type === "SOA" && record.class === CLASS_IN && above.has(nameKey(record.name)));
}

/** The error of an answer without what was asked for; codes as c-ares has them. */
export function failureOf(rcode: number, { name, type }: Question): LoomError {
  if (rcode === RCODE.NOERROR) return new LoomError("ENODATA", `"${name}" has no ${type} record`);
  if (rcode === RCODE.NXDOMAIN) return new LoomError("ENOTFOUND", `"${name}" does not exist`);
  const code = rcode === RCODE.SERVFAIL ? "ESERVFAIL" : rcode === RCODE.REFUSED ? "EREFUSED" : "EBADRESP";
  return new LoomError(code, `the name server answered ${rcodeName(rcode)} for ${type} of "${name}"`);
}
