/** Records in the shapes that `node:dns` documents, and which call asks for which. */
import { Buffer } from "node:buffer";
import type { QuestionType } from "../dns/codes.ts";
import type { DnsRecord } from "../dns/records.ts";

/** A type that can be asked for: the name of its method, and of the "system call" in errors. */
export interface Query {
  readonly type: QuestionType;
  readonly method: string;
  readonly syscall: string;
  shape(records: readonly DnsRecord[], ttl: boolean): unknown;
}

const text = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");

/** One record, as the call for its type returns it. */
function plain(record: DnsRecord): unknown {
  switch (record.type) {
    case "A":
    case "AAAA":
      return record.address;
    case "CNAME":
    case "NS":
    case "PTR":
      return record.target;
    case "MX":
      return { exchange: record.exchange, priority: record.preference };
    case "TXT":
      return record.entries.map(text);
    case "SRV":
      return { name: record.target, port: record.port, priority: record.priority, weight: record.weight };
    case "NAPTR":
      return {
        flags: record.flags,
        service: record.services,
        regexp: record.regexp,
        replacement: record.replacement,
        order: record.order,
        preference: record.preference,
      };
    case "SOA":
      return {
        nsname: record.primary,
        hostmaster: record.mailbox,
        serial: record.serial,
        refresh: record.refresh,
        retry: record.retry,
        expire: record.expire,
        minttl: record.minimum,
      };
    case "CAA":
      return { critical: record.critical ? 128 : 0, [record.tag]: record.value };
  }
  return undefined;
}

/** One record among those of all types (`resolveAny`); undefined for types that Node does not show. */
function typed(record: DnsRecord): object | undefined {
  const value = plain(record);
  if (value === undefined) return undefined;
  const { type, ttl } = record;
  if (type === "A" || type === "AAAA") return { address: value, ttl, type };
  if (type === "TXT") return { entries: value, type };
  if (type === "CNAME" || type === "NS" || type === "PTR") return { value, type };
  return { ...(value as object), type };
}

const all = (records: readonly DnsRecord[]) => records.map(plain);
const addresses = (records: readonly DnsRecord[], ttl: boolean) =>
  ttl ? records.map((record) => ({ address: plain(record), ttl: record.ttl })) : all(records);
const query = (type: QuestionType, method: string, shape: Query["shape"] = all, syscall = method.replace("resolve", "query")): Query => ({
  type,
  method,
  shape,
  syscall,
});

export const QUERIES: readonly Query[] = [
  query("A", "resolve4", addresses, "queryA"),
  query("AAAA", "resolve6", addresses, "queryAaaa"),
  query("ANY", "resolveAny", (records) => records.map(typed).filter((each) => each !== undefined)),
  query("CAA", "resolveCaa"),
  query("CNAME", "resolveCname"),
  query("MX", "resolveMx"),
  query("NAPTR", "resolveNaptr"),
  query("NS", "resolveNs"),
  query("PTR", "resolvePtr"),
  query("SOA", "resolveSoa", (records) => plain(records[0])),
  query("SRV", "resolveSrv"),
  query("TXT", "resolveTxt"),
];
