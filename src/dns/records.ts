/**
 * Record data, type by type: RFC 1035 §3.3, 3596 (AAAA), 2782 (SRV), 3403 (NAPTR), 6672 (DNAME), 8659 (CAA),
 * 9460 (SVCB, HTTPS), and bytes as they are for every other type (RFC 3597). Names are compressed only in the types of
 * RFC 1035 (RFC 3597 §4); read they may be in SRV and NAPTR too.
 */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import { malformed, type Reader, type Writer } from "./bytes.ts";
import type { UnknownType } from "./codes.ts";

/** One parameter of a service binding (RFC 9460 §2.1); keys rise. `serviceParameters` explains them. */
export interface SvcParameter {
  readonly key: number;
  readonly value: Uint8Array;
}

export interface RecordHead {
  readonly name: string;
  /** Seconds. */
  readonly ttl: number;
  /** Default 1, IN. */
  readonly class?: number;
}

/** A record's type and what it says. Strings inside NAPTR and CAA hold one character for each byte. */
export type RecordData =
  | { readonly type: "A"; readonly address: string }
  | { readonly type: "AAAA"; readonly address: string }
  | { readonly type: "CNAME" | "DNAME" | "NS" | "PTR"; readonly target: string }
  | {
      readonly type: "SOA";
      readonly primary: string;
      readonly mailbox: string;
      readonly serial: number;
      readonly refresh: number;
      readonly retry: number;
      readonly expire: number;
      /** How long (s) "there is no such thing" holds (RFC 2308 §4). */
      readonly minimum: number;
    }
  | { readonly type: "MX"; readonly preference: number; readonly exchange: string }
  | { readonly type: "TXT"; readonly entries: readonly Uint8Array[] }
  | { readonly type: "SRV"; readonly priority: number; readonly weight: number; readonly port: number; readonly target: string }
  | {
      readonly type: "NAPTR";
      readonly order: number;
      readonly preference: number;
      readonly flags: string;
      readonly services: string;
      readonly regexp: string;
      readonly replacement: string;
    }
  | { readonly type: "CAA"; readonly critical: boolean; readonly tag: string; readonly value: string }
  | { readonly type: "SVCB" | "HTTPS"; readonly priority: number; readonly target: string; readonly parameters: readonly SvcParameter[] }
  | { readonly type: UnknownType; readonly data: Uint8Array };

export type DnsRecord = RecordHead & RecordData;

const latin = (bytes: Uint8Array) => String.fromCharCode(...bytes);
const bytesOf = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Reads the data of a record; the reader ends where the data does. */
export function readData(type: string, reader: Reader): RecordData {
  switch (type) {
    case "A":
      return { type, address: String(IpAddress.fromBytes(reader.raw(4))) };
    case "AAAA":
      return { type, address: addressText(reader.raw(16)) };
    case "CNAME":
    case "DNAME":
    case "NS":
    case "PTR":
      return { type, target: reader.name() };
    case "SOA": {
      const [primary, mailbox] = [reader.name(), reader.name()];
      const [serial, refresh, retry, expire, minimum] = [reader.u32(), reader.u32(), reader.u32(), reader.u32(), reader.u32()];
      return { type, primary, mailbox, serial, refresh, retry, expire, minimum };
    }
    case "MX":
      return { type, preference: reader.u16(), exchange: reader.name() };
    case "TXT": {
      const entries: Uint8Array[] = [];
      do entries.push(reader.counted());
      while (reader.at < reader.end);
      return { type, entries };
    }
    case "SRV":
      return { type, priority: reader.u16(), weight: reader.u16(), port: reader.u16(), target: reader.name() };
    case "NAPTR": {
      const [order, preference] = [reader.u16(), reader.u16()];
      const [flags, services, regexp] = [latin(reader.counted()), latin(reader.counted()), latin(reader.counted())];
      return { type, order, preference, flags, services, regexp, replacement: reader.name() };
    }
    case "CAA": {
      const critical = (reader.u8() & 128) !== 0;
      return { type, critical, tag: latin(reader.counted()), value: latinLong(reader.raw()) };
    }
    case "SVCB":
    case "HTTPS":
      return { type, priority: reader.u16(), target: reader.name(false), parameters: readParameters(reader) };
  }
  return { type: type as UnknownType, data: reader.raw() };
}

/** An AAAA record may hold an IPv4-mapped address, which text must not turn into another type. */
function addressText(bytes: Uint8Array): string {
  const address = IpAddress.fromBytes(bytes);
  return address.family === 6 ? String(address) : `::ffff:${address}`;
}

function latinLong(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) text += latin(bytes.subarray(at, at + 4096));
  return text;
}

function readParameters(reader: Reader): SvcParameter[] {
  const parameters: SvcParameter[] = [];
  while (reader.at < reader.end) {
    const key = reader.u16();
    if (parameters.length > 0 && parameters[parameters.length - 1].key >= key) throw malformed("service parameters out of order");
    parameters.push({ key, value: reader.raw(reader.u16()) });
  }
  return parameters;
}

export function writeData(record: RecordData, writer: Writer): void {
  switch (record.type) {
    case "A":
      writer.raw(addressBytes(record.address, 4));
      return;
    case "AAAA":
      writer.raw(addressBytes(record.address, 16));
      return;
    case "CNAME":
    case "NS":
    case "PTR":
      writer.name(record.target);
      return;
    case "DNAME":
      writer.name(record.target, false);
      return;
    case "SOA":
      writer.name(record.primary);
      writer.name(record.mailbox);
      for (const key of ["serial", "refresh", "retry", "expire", "minimum"] as const) writer.u32(record[key]);
      return;
    case "MX":
      writer.u16(record.preference);
      writer.name(record.exchange);
      return;
    case "TXT":
      for (const entry of record.entries.length ? record.entries : [new Uint8Array()]) writer.counted(entry);
      return;
    case "SRV":
      for (const key of ["priority", "weight", "port"] as const) writer.u16(record[key]);
      writer.name(record.target, false);
      return;
    case "NAPTR":
      for (const key of ["order", "preference"] as const) writer.u16(record[key]);
      for (const key of ["flags", "services", "regexp"] as const) writer.counted(bytesOf(record[key]));
      writer.name(record.replacement, false);
      return;
    case "CAA":
      writer.u8(record.critical ? 128 : 0);
      writer.counted(bytesOf(record.tag));
      writer.raw(bytesOf(record.value));
      return;
    case "SVCB":
    case "HTTPS":
      writer.u16(record.priority);
      writer.name(record.target, false);
      writeParameters(record.parameters, writer);
      return;
    default:
      writer.raw(record.data);
  }
}

function addressBytes(text: string, length: 4 | 16): Uint8Array {
  const address = IpAddress.parse(text);
  if (length === 4 && address.family === 4) return address.bytes();
  if (length === 4) throw new LoomError("EINVAL", `${text} in an A record; expected an IPv4 address`);
  if (address.family === 6) return address.bytes();
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...address.bytes());
}

function writeParameters(parameters: readonly SvcParameter[], writer: Writer): void {
  for (const { key, value } of [...parameters].sort((a, b) => a.key - b.key)) {
    writer.u16(key);
    writer.u16(value.length);
    writer.raw(value);
  }
}
