/**
 * The records of a zone and what they answer: aliases inside the zone followed, delegations referred to, wildcards
 * (RFC 1034 §4.3.2, RFC 4592), names that exist only because something is below them (RFC 8020).
 */
import { invalid } from "../base/errors.ts";
import { anything, checkArgument, listOf, text, whole } from "../base/options.ts";
import { MOST_ALIASES } from "./answer.ts";
import { CLASS_IN, type QuestionType, RCODE } from "./codes.ts";
import { nameKey } from "./hosts.ts";
import { encodeMessage, type Question } from "./message.ts";
import { ancestors, isBelow, labelsOf, parentOf } from "./name.ts";
import type { DnsRecord, RecordData } from "./records.ts";

/** A record of a zone. Names are whole ones; `ttl` is the zone's unless given. */
export type ZoneRecord = { readonly name: string; readonly ttl?: number } & RecordData;

export interface ZoneAnswer {
  readonly rcode: number;
  /** False for a referral. */
  readonly authoritative: boolean;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

/** Seconds. */
const DEFAULT_TTL = 300;
/** RFC 2181 §8. */
const seconds = whole(0, 0x7fffffff);

export class Zone {
  readonly origin: string;
  readonly ttl: number;
  private readonly names = new Map<string, DnsRecord[]>();
  /** Names that exist because a record is there or below, and how many records that are. */
  private readonly below = new Map<string, number>();

  /** A zone without an SOA record is given one. */
  constructor(origin: string, records: readonly ZoneRecord[] = [], ttl = DEFAULT_TTL) {
    checkArgument("zone", "origin", origin, text);
    checkArgument("zone", "records", records, listOf(anything));
    checkArgument("zone", "ttl", ttl, seconds);
    labelsOf(origin);
    this.origin = nameKey(origin);
    this.ttl = ttl;
    for (const record of records) this.add(record);
    if (!this.at(this.origin, "SOA").length) {
      const [primary, mailbox] = [this.child("ns"), this.child("hostmaster")];
      this.add({ name: this.origin, type: "SOA", primary, mailbox, serial: 1, refresh: 3600, retry: 600, expire: 604_800, minimum: ttl });
    }
  }

  private child(label: string): string {
    return this.origin === "." ? label : `${label}.${this.origin}`;
  }

  /** Throws EINVAL or EBADNAME for a record that no zone, or another one, could hold. */
  add(record: ZoneRecord): this {
    const key = nameKey(record.name);
    if (!this.holds(key)) throw invalid(`${record.name} is not in the zone ${this.origin}`);
    const whole: DnsRecord = { ...record, ttl: record.ttl ?? this.ttl, class: CLASS_IN };
    // What cannot be written is found out now, not when somebody asks.
    encodeMessage({ id: 0, questions: [], answers: [whole] });
    this.names.set(key, [...(this.names.get(key) ?? []), whole]);
    this.count(key, 1);
    return this;
  }

  /** Takes the records of a name away; of one type, or all. */
  remove(name: string, type?: string): void {
    const key = nameKey(name);
    const before = this.names.get(key) ?? [];
    const rest = before.filter((record) => type !== undefined && record.type !== type);
    if (rest.length) this.names.set(key, rest);
    else this.names.delete(key);
    this.count(key, rest.length - before.length);
  }

  private count(key: string, n: number): void {
    for (const each of ancestors(key)) {
      const now = (this.below.get(each) ?? 0) + n;
      if (now > 0) this.below.set(each, now);
      else this.below.delete(each);
    }
  }

  /** Whether a name lies in this zone. */
  holds(name: string): boolean {
    return this.origin === "." || isBelow(nameKey(name), this.origin);
  }

  private at(name: string, type: QuestionType): DnsRecord[] {
    return this.of(this.names.get(nameKey(name)) ?? [], type);
  }

  private of(records: readonly DnsRecord[], type: QuestionType): DnsRecord[] {
    return records.filter((record) => record.type === type || type === "ANY");
  }

  answer({ name, type }: Question): ZoneAnswer {
    const answers: DnsRecord[] = [];
    let at = name;
    for (let aliases = 0; aliases <= MOST_ALIASES; aliases++) {
      const cut = this.delegation(at);
      if (cut) return this.referral(cut, answers);
      const records = this.recordsAt(at);
      if (!records) return this.negative(RCODE.NXDOMAIN, answers);
      const found = this.of(records, type);
      const alias = records.find((record) => record.type === "CNAME");
      if (found.length === 0 && alias?.type !== "CNAME") return this.negative(RCODE.NOERROR, answers);
      answers.push(...(found.length || alias?.type !== "CNAME" ? found : [alias]));
      // The end, or an alias to somewhere else: the one who asks goes on from there.
      if (found.length > 0 || alias?.type !== "CNAME" || !this.holds(alias.target)) break;
      at = alias.target;
    }
    return { rcode: RCODE.NOERROR, authoritative: true, answers, authorities: [], additionals: this.glue(answers) };
  }

  /** Records of a name, its own or a wildcard's; undefined when there is no such name. */
  private recordsAt(name: string): readonly DnsRecord[] | undefined {
    const key = nameKey(name);
    if (this.below.has(key)) return this.names.get(key) ?? [];
    // The wildcard of the closest name that exists, and of no other (RFC 4592 §3.3.1).
    const closest = ancestors(parentOf(key)).find((each) => this.below.has(each)) ?? ".";
    const wild = this.names.get(closest === "." ? "*" : `*.${closest}`);
    return wild?.map((record) => ({ ...record, name }));
  }

  /** NS records of a zone cut at or above a name, and below the origin. */
  private delegation(name: string): DnsRecord[] | undefined {
    const above = ancestors(nameKey(name));
    const inside = above.slice(0, above.indexOf(this.origin));
    return inside
      .reverse()
      .map((each) => this.at(each, "NS"))
      .find((records) => records.length > 0);
  }

  private referral(cut: readonly DnsRecord[], answers: readonly DnsRecord[]): ZoneAnswer {
    return { rcode: RCODE.NOERROR, authoritative: answers.length > 0, answers, authorities: cut, additionals: this.glue(cut) };
  }

  private negative(rcode: number, answers: readonly DnsRecord[]): ZoneAnswer {
    const authorities = this.at(this.origin, "SOA").map((soa) =>
      soa.type === "SOA" ? { ...soa, ttl: Math.min(soa.ttl, soa.minimum) } : soa,
    );
    return { rcode, authoritative: true, answers, authorities, additionals: [] };
  }

  /** Addresses that whoever got these records asks for next. */
  private glue(records: readonly DnsRecord[]): DnsRecord[] {
    const targets = records.flatMap((record) => {
      if (record.type === "MX") return [record.exchange];
      return record.type === "NS" || record.type === "SRV" ? [record.target] : [];
    });
    return [...new Set(targets.map(nameKey))].flatMap((each) => [...this.at(each, "A"), ...this.at(each, "AAAA")]);
  }
}
