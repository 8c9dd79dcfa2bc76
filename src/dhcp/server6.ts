/** A DHCPv6 server of one link and of those behind relays (RFC 8415 §18.3, §19): addresses, delegated prefixes, or stateless. */

import type { Alarms } from "../base/alarms.ts";
import type { Random } from "../base/random.ts";
import { Callers6 } from "./callers6.ts";
import { ExpiryHeap } from "./expiry.ts";
import {
  type Association6,
  type Dhcp6Message,
  decodeDhcp6,
  decodeRelay6,
  encodeDhcp6,
  encodeRelay6,
  type Grant6,
  isRelay,
  STATUS6,
  TYPE6,
} from "./message6.ts";
import { Range6 } from "./range6.ts";

export interface Dhcp6ServerOptions {
  /** The server's identifier (§11). */
  readonly duid: Uint8Array;
  readonly alarms: Alarms;
  readonly random: Random;
  /** First and last address to give; none: stateless. */
  readonly range?: readonly [string, string];
  /** Prefixes of `length` bits out of this one are delegated. */
  readonly delegate?: { readonly prefix: string; readonly length: number };
  /** Default 3600 and 7200. */
  readonly preferredSeconds?: number;
  readonly validSeconds?: number;
  readonly dns?: readonly string[];
  readonly search?: readonly string[];
  /** 0 to 255: a client takes the server with the highest, 255 at once. */
  readonly preference?: number;
  /** Answer in two messages where the client can. Default true. */
  readonly rapidCommit?: boolean;
  /** Addresses and prefixes given at once at most. Default 4096. */
  readonly leases?: number;
  /**
   * Call clients for a renewal (`reconfigure`): those that can are shown a key, and this sends to an address of theirs. Without
   * it no client is called.
   */
  call?(message: Uint8Array, address: string): void;
  leased?(entry: Lease6Entry): void;
}

/** A line of the lease database. */
export interface Lease6Entry {
  readonly kind: "na" | "pd";
  readonly address: string;
  readonly length: number;
  /** DUID, hexadecimal; "" for a declined address. */
  readonly client: string;
  readonly iaid: number;
  readonly state: "bound" | "declined" | "released";
  /** On the server's clock (ms). */
  readonly expires: number;
}

const DECLINED_MS = 600_000;
/** Relays in front of one another at most (§7.6, HOP_COUNT_LIMIT). */
const MOST_RELAYS = 8;
/** Associations of one message that are looked at, and grants of each. */
const MOST_ASSOCIATIONS = 16;
const MOST_GRANTS = 16;
/** A UDP datagram holds no more. */
const MOST_REPLY = 65_487;
const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const same = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && hex(a) === hex(b);

export class Dhcp6Server {
  readonly counters = { received: 0, sent: 0, ignored: 0, no_address: 0, declined: 0 };
  private readonly options: Dhcp6ServerOptions;
  /** Of the datagram in hand, when no relay is between. */
  private source: string | undefined;
  private readonly ranges: { readonly na?: Range6; readonly pd?: Range6 };
  private readonly byClient = new Map<string, Lease6Entry>();
  private readonly byAddress = new Map<string, Lease6Entry>();
  private readonly callers: Callers6 | undefined;
  private readonly ends = new ExpiryHeap<Lease6Entry>((entry) => this.byAddress.get(entry.address) === entry);

  constructor(options: Dhcp6ServerOptions) {
    this.options = options;
    const { range, delegate, duid, alarms, call } = options;
    this.callers = call && new Callers6({ duid, alarms, call, most: this.most });
    this.ranges = { na: range && Range6.of(range, this.most), pd: delegate && Range6.within(delegate, this.most) };
  }

  /** The lease database. Times are what is left of them (ms). */
  export(): Lease6Entry[] {
    const now = this.options.alarms.now();
    return [...this.byAddress.values()].map((entry) => ({ ...entry, expires: entry.expires - now }));
  }

  import(entries: readonly Lease6Entry[]): void {
    const now = this.options.alarms.now();
    for (const entry of entries.slice(0, this.most)) this.set({ ...entry, expires: now + entry.expires });
  }

  /**
   * Calls clients to renew, to rebind, or to ask what there is to know (§18.3.11); all that can be called, or one by its DUID
   * (hexadecimal). Returns how many. Those that do not answer are called again, eight times in all.
   */
  reconfigure(what: "renew" | "rebind" | "information" = "renew", client?: string): number {
    return this.callers?.call(what, client, (each) => this.addressOf(each)) ?? 0;
  }

  /** An address that a client has of this server. */
  private addressOf(client: string): string | undefined {
    for (const entry of this.byClient.values()) {
      if (entry.client === client && entry.kind === "na" && entry.state === "bound") return entry.address;
    }
    return undefined;
  }

  private get most(): number {
    return this.options.leases ?? 4096;
  }

  /** A datagram to port 547: the answer, for the sender (a relay's goes to its port 547), or undefined. */
  receive(bytes: Uint8Array, source?: string): Uint8Array | undefined {
    this.counters.received++;
    let answer: Uint8Array | undefined;
    try {
      this.source = isRelay(bytes) ? undefined : source;
      answer = this.through(bytes, MOST_RELAYS);
    } catch {}
    if (answer && answer.length > MOST_REPLY) answer = undefined;
    if (answer) this.counters.sent++;
    else this.counters.ignored++;
    return answer;
  }

  private through(bytes: Uint8Array, relays: number): Uint8Array | undefined {
    if (!isRelay(bytes)) {
      const message = decodeDhcp6(bytes);
      const associations = message.associations.slice(0, MOST_ASSOCIATIONS);
      return this.answer({
        ...message,
        associations: associations.map((each) => ({ ...each, grants: each.grants.slice(0, MOST_GRANTS) })),
      });
    }
    if (relays === 0 || bytes[0] !== TYPE6.RELAY_FORWARD) return undefined;
    const relay = decodeRelay6(bytes);
    const inner = this.through(relay.message, relays - 1);
    return inner && encodeRelay6({ ...relay, type: TYPE6.RELAY_REPLY, message: inner });
  }

  private answer(message: Dhcp6Message): Uint8Array | undefined {
    const { type, serverId, clientId } = message;
    if (clientId) this.callers?.heard(hex(clientId), type);
    const toUs = same(serverId, this.options.duid);
    if (type === TYPE6.INFORMATION_REQUEST) return serverId && !toUs ? undefined : this.reply(message, {});
    if (!clientId) return undefined;
    const toAll = serverId === undefined;
    if (type === TYPE6.SOLICIT && toAll) return this.solicited(message);
    if (type === TYPE6.CONFIRM && toAll) return this.confirm(message);
    if (type === TYPE6.REBIND && toAll) return this.reply(message, { associations: this.renew(message) });
    if (!toUs) return undefined;
    if (type === TYPE6.REQUEST) return this.reply(message, { associations: this.grantAll(message, true) });
    if (type === TYPE6.RENEW) return this.reply(message, { associations: this.renew(message) });
    if (type === TYPE6.RELEASE || type === TYPE6.DECLINE) {
      this.end(message, type === TYPE6.RELEASE ? "released" : "declined");
      return this.reply(message, { status: STATUS6.Success });
    }
    return undefined;
  }

  private solicited(message: Dhcp6Message): Uint8Array | undefined {
    if (!this.ranges.na && !this.ranges.pd) return undefined;
    const rapid = message.rapidCommit === true && this.options.rapidCommit !== false;
    const associations = this.grantAll(message, rapid);
    if (rapid) return this.reply(message, { associations, rapidCommit: true });
    return this.reply(message, { type: TYPE6.ADVERTISE, associations, preference: this.options.preference });
  }

  /** Whether addresses still are of this link (§18.3.3). */
  private confirm(message: Dhcp6Message): Uint8Array | undefined {
    const { na } = this.ranges;
    const addresses = message.associations.filter(({ kind }) => kind === "na").flatMap(({ grants }) => grants);
    if (!na || addresses.length === 0) return undefined;
    const here = addresses.every(({ address }) => na.holds(address));
    return this.reply(message, { status: here ? STATUS6.Success : STATUS6.NotOnLink });
  }

  private grantAll(message: Dhcp6Message, commit: boolean): Association6[] {
    const client = hex(message.clientId as Uint8Array);
    return message.associations.map((asked) => this.grant(client, asked, commit));
  }

  private grant(client: string, asked: Association6, commit: boolean): Association6 {
    const range = this.ranges[asked.kind];
    const address = range && this.choose(range, client, asked);
    if (!range || address === undefined) {
      this.counters.no_address++;
      return { ...asked, t1: 0, t2: 0, grants: [], status: asked.kind === "na" ? STATUS6.NoAddrsAvail : STATUS6.NoPrefixAvail };
    }
    if (commit) this.bind(client, asked, address, range.length);
    return this.granted(asked, { address, length: range.length });
  }

  private granted(asked: Association6, what: { address: string; length: number }): Association6 {
    const { preferredSeconds: preferred = 3600, validSeconds: valid = 7200 } = this.options;
    const grants: Grant6[] = [{ ...what, preferred, valid }];
    // What the client has beside it is not to be used any more (§18.3.4).
    for (const { address, length } of asked.grants) {
      if (address !== what.address) grants.push({ address, length, preferred: 0, valid: 0 });
    }
    return { kind: asked.kind, iaid: asked.iaid, t1: Math.floor(preferred / 2), t2: Math.floor(preferred * 0.8), grants };
  }

  /** The one it has, the one it wishes for, or any. */
  private choose(range: Range6, client: string, asked: Association6): string | undefined {
    const now = this.options.alarms.now();
    const key = keyOf(client, asked);
    const isFree = (address: string) => {
      const entry = this.byAddress.get(address);
      return !entry || entry.expires <= now || (entry.client === client && keyOf(entry.client, entry) === key);
    };
    const known = this.byClient.get(key);
    if (known && isFree(known.address)) return known.address;
    const wish = asked.grants.find(({ address, length }) => length === range.length && range.holds(address) && isFree(address));
    if (this.byAddress.size >= this.most) this.sweep(now);
    if (this.byAddress.size >= this.most) return undefined;
    if (wish) return wish.address;
    // Whose lease is over may have it again, as long as nobody else needs the address.
    return this.any(range) ?? (this.sweep(now) ? this.any(range) : undefined);
  }

  private any(range: Range6): string | undefined {
    return range.choose(this.options.random, (address) => this.byAddress.has(address));
  }

  /** Forgets what is over, and looks at nothing else; false when that is nothing. */
  private sweep(now: number): boolean {
    const before = this.byAddress.size;
    for (let entry = this.ends.ended(now); entry; entry = this.ends.ended(now)) this.forget(entry);
    return this.byAddress.size < before;
  }

  private renew(message: Dhcp6Message): Association6[] {
    const client = hex(message.clientId as Uint8Array);
    return message.associations.map((asked) => {
      const known = this.byClient.get(keyOf(client, asked));
      if (known?.state !== "bound") return { ...asked, t1: 0, t2: 0, grants: [], status: STATUS6.NoBinding };
      this.bind(client, asked, known.address, known.length);
      return this.granted(asked, known);
    });
  }

  private end(message: Dhcp6Message, state: "released" | "declined"): void {
    const client = hex(message.clientId as Uint8Array);
    const now = this.options.alarms.now();
    for (const asked of message.associations) {
      const known = this.byClient.get(keyOf(client, asked));
      if (!known || !asked.grants.some(({ address }) => address === known.address)) continue;
      this.forget(known);
      const ended = { ...known, state, expires: now };
      if (state === "declined") {
        this.counters.declined++;
        this.set({ ...ended, client: "", expires: now + DECLINED_MS });
      } else this.options.leased?.(ended);
    }
  }

  private bind(client: string, { kind, iaid }: Association6, address: string, length: number): void {
    const expires = this.options.alarms.now() + (this.options.validSeconds ?? 7200) * 1000;
    const entry: Lease6Entry = { kind, address, length, client, iaid, state: "bound", expires };
    this.set(entry);
    this.options.leased?.(entry);
  }

  private set(entry: Lease6Entry): void {
    const before = [this.byAddress.get(entry.address), this.byClient.get(keyOf(entry.client, entry))];
    for (const each of before) if (each) this.forget(each);
    this.byAddress.set(entry.address, entry);
    this.ranges[entry.kind]?.mark(entry.address, true);
    this.ends.push(entry, this.byAddress.size);
    if (entry.client !== "") this.byClient.set(keyOf(entry.client, entry), entry);
  }

  private forget(entry: Lease6Entry): void {
    this.byAddress.delete(entry.address);
    this.ranges[entry.kind]?.mark(entry.address, false);
    const key = keyOf(entry.client, entry);
    if (this.byClient.get(key) === entry) this.byClient.delete(key);
  }

  private reply(message: Dhcp6Message, fields: Partial<Dhcp6Message>): Uint8Array {
    const { duid, dns, search } = this.options;
    const isReply = (fields.type ?? TYPE6.REPLY) === TYPE6.REPLY && fields.status === undefined;
    const shown = message.clientId && message.reconfigureAccept && isReply ? this.callers?.show(message, this.source) : undefined;
    return encodeDhcp6({
      ...(this.callers && message.reconfigureAccept && { reconfigureAccept: true }),
      ...(shown && { auth: shown }),
      type: TYPE6.REPLY,
      xid: message.xid,
      serverId: duid,
      clientId: message.clientId,
      dns,
      search,
      ...fields,
    });
  }
}

function keyOf(client: string, { kind, iaid }: { kind: string; iaid: number }): string {
  return `${kind} ${iaid} ${client}`;
}
