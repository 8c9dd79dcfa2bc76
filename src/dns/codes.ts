/** Numbers of the DNS and their names (IANA "Domain Name System (DNS) Parameters"). */

/** Record types whose data this codec knows; every other one is `TYPE` and its number (RFC 3597 §5). */
export const TYPES = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  DNAME: 39,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  CAA: 257,
} as const;

/** Types that only questions have. */
export const QUESTION_TYPES = { IXFR: 251, AXFR: 252, ANY: 255 } as const;

export type KnownType = Exclude<keyof typeof TYPES, "OPT">;
export type UnknownType = `TYPE${number}`;
export type QuestionType = KnownType | keyof typeof QUESTION_TYPES | UnknownType;
export type RecordType = KnownType | UnknownType;

const NUMBERS: Record<string, number> = { ...TYPES, ...QUESTION_TYPES };
const NAMES = new Map(Object.entries(NUMBERS).map(([name, number]) => [number, name]));

/** The number of a type; -1 for what is no type. */
export function typeNumber(name: string): number {
  if (Object.hasOwn(NUMBERS, name)) return NUMBERS[name];
  const number = /^TYPE\d{1,5}$/.test(name) ? Number(name.slice(4)) : -1;
  return number <= 0xffff ? number : -1;
}

export function typeName(number: number): string {
  return NAMES.get(number) ?? `TYPE${number}`;
}

const RCODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE"];

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;

export function rcodeName(rcode: number): string {
  return rcode === RCODE.BADVERS ? "BADVERS" : (RCODES[rcode] ?? `RCODE${rcode}`);
}

export const CLASS_IN = 1;
export const CLASS_ANY = 255;
