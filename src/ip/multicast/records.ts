/** What members tell routers, in the terms that IGMPv3 and MLDv2 share (RFC 3376 §4.2.12, RFC 3810 §5.2.12). */
import type { IpAddress } from "../../base/ip-address.ts";

export const RECORD = { isInclude: 1, isExclude: 2, toInclude: 3, toExclude: 4, allow: 5, block: 6 } as const;

export interface GroupRecord {
  readonly type: (typeof RECORD)[keyof typeof RECORD];
  readonly group: IpAddress;
  readonly sources: readonly IpAddress[];
}

/** A question of a router. */
export interface GroupQuery {
  /** Of the protocol: IGMP 1 to 3, MLD 1 and 2. */
  readonly version: number;
  /** Answers are spread over this time. */
  readonly maxResponseMs: number;
  /** Absent: about all groups. */
  readonly group?: IpAddress;
  readonly sources: readonly IpAddress[];
  /** 0: not said. */
  readonly robustness: number;
  readonly intervalMs: number;
}

/** Codes of eight bits with an exponent above 127: times and intervals (RFC 3376 §4.1.1). */
export function decode8(code: number): number {
  return code < 128 ? code : ((code & 15) | 16) << (((code >>> 4) & 7) + 3);
}

/** The sixteen-bit one of MLDv2 (RFC 3810 §5.1.3). */
export function decode16(code: number): number {
  return code < 32_768 ? code : ((code & 0xfff) | 0x1000) << (((code >>> 12) & 7) + 3);
}

/** Records in messages of at most `room` bytes each; a record with too many sources is cut (RFC 3376 §4.2.16). */
export function packed(records: readonly GroupRecord[], addressBytes: number, room: number): GroupRecord[][] {
  const most = Math.max(1, Math.floor((room - 4 - addressBytes) / addressBytes));
  const messages: GroupRecord[][] = [];
  let free = 0;
  for (const record of records.flatMap((each) => cut(each, most))) {
    const size = 4 + addressBytes * (1 + record.sources.length);
    if (size > free) {
      messages.push([]);
      free = room;
    }
    messages[messages.length - 1].push(record);
    free -= size;
  }
  return messages;
}

/** Lists of excluded sources lose their tail, others go on in another record. */
function cut(record: GroupRecord, most: number): GroupRecord[] {
  const { type, group, sources } = record;
  if (sources.length <= most) return [record];
  if (type === RECORD.isExclude || type === RECORD.toExclude) return [{ type, group, sources: sources.slice(0, most) }];
  const pieces: GroupRecord[] = [];
  for (let at = 0; at < sources.length; at += most) pieces.push({ type, group, sources: sources.slice(at, at + most) });
  return pieces;
}

/** The records of a report, as both protocols write them behind its first eight bytes. */
export function recordBytes(records: readonly GroupRecord[]): Uint8Array {
  const out: number[] = [];
  for (const { type, group, sources } of records) {
    out.push(type, 0, sources.length >>> 8, sources.length & 255, ...group.bytes());
    for (const source of sources) out.push(...source.bytes());
  }
  return Uint8Array.from(out);
}
