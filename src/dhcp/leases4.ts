/**
 * Who has which address of a pool: dynamic leases, fixed ones, addresses that turned out to be somebody else's. As
 * many entries as the pool has addresses, never more; for a client the address that it had before, where possible
 * (RFC 2131 §4.3.1).
 */
import { format4, mask4, parse4, parsePrefix } from "../base/address.ts";
import { invalid } from "../base/errors.ts";
import { ExpiryHeap } from "./expiry.ts";
import type { Dhcp4Config } from "./options4.ts";

export interface Pool4Options extends Dhcp4Config {
  /** "10.0.0.0/24": clients of this subnet. */
  readonly subnet: string;
  /** First and last address to give; at most 65,536 of them. None: fixed leases alone. */
  readonly range?: readonly [string, string];
  /** Default 3600. */
  readonly leaseSeconds?: number;
  /** Addresses of certain clients, by MAC address or client identifier (hexadecimal). */
  readonly fixed?: readonly { readonly mac?: string; readonly clientId?: string; readonly address: string; readonly hostname?: string }[];
  /** Further options, by number. */
  readonly options?: Readonly<Record<number, Uint8Array>>;
}

/** A line of the lease database. */
export interface LeaseEntry {
  readonly address: string;
  /** Client identifier or hardware address, hexadecimal; "" for a declined address. */
  readonly client: string;
  readonly mac: string;
  readonly hostname?: string;
  readonly state: "offered" | "bound" | "declined" | "released";
  /** On the server's clock (ms). */
  readonly expires: number;
}

const MOST_ADDRESSES = 65_536;

export class Pool4 {
  readonly options: Pool4Options;
  readonly leaseSeconds: number;
  readonly prefixLength: number;
  private readonly network: number;
  private readonly first: number;
  private readonly count: number;
  /** Addresses below were given once; those whose entry went away since are in `returned`. */
  private next = 0;
  private readonly returned = new Set<string>();
  private readonly fixed: ReadonlySet<string>;
  private readonly byAddress = new Map<string, LeaseEntry>();
  private readonly byClient = new Map<string, LeaseEntry>();
  /** Entries of the range by their end. */
  private readonly ends = new ExpiryHeap<LeaseEntry>((entry) => this.byAddress.get(entry.address) === entry);

  /** Throws EINVAL when range or fixed addresses lie outside of the subnet. */
  constructor(options: Pool4Options) {
    const prefix = parsePrefix(options.subnet);
    if (prefix.family !== 4) throw invalid(`${options.subnet} is no IPv4 subnet`);
    this.options = options;
    this.leaseSeconds = options.leaseSeconds ?? 3600;
    this.prefixLength = prefix.length;
    this.network = prefix.address;
    this.fixed = new Set((options.fixed ?? []).map(({ address }) => address));
    const [first, last] = options.range ?? [];
    this.first = first === undefined ? 0 : parse4(first);
    this.count = first === undefined || last === undefined ? 0 : parse4(last) - this.first + 1;
    const inside = [first, last, ...(options.fixed ?? []).map(({ address }) => address)].filter((each) => each !== undefined);
    for (const each of inside) if (!this.holds(each)) throw invalid(`${each} is not in ${options.subnet}`);
    if (this.count < 0 || this.count > MOST_ADDRESSES)
      throw invalid(`the range ${first} to ${last}; expected 1 to ${MOST_ADDRESSES} addresses`);
  }

  /** Whether an address is of this subnet. */
  holds(address: string): boolean {
    return (parse4(address) & mask4(this.prefixLength)) >>> 0 === this.network;
  }

  /** The address fixed for a client; not while another's lease of it runs, who had it before it was fixed (RFC 2131 §2.2). */
  fixedFor(client: string, mac: string, now: number): string | undefined {
    const found = this.options.fixed?.find((each) => each.clientId?.toLowerCase() === client || each.mac?.toLowerCase() === mac)?.address;
    return found === undefined || this.isHeld(found, client, now) ? undefined : found;
  }

  get(client: string): LeaseEntry | undefined {
    return this.byClient.get(client);
  }

  list(): LeaseEntry[] {
    return [...this.byAddress.values()];
  }

  /** Whether a client may have an address now. */
  isFree(address: string, client: string, now: number): boolean {
    return !this.isHeld(address, client, now) && this.isDynamic(address);
  }

  /** By another. */
  private isHeld(address: string, client: string, now: number): boolean {
    const entry = this.byAddress.get(address);
    return entry !== undefined && entry.client !== client && entry.expires > now;
  }

  /** Of the range, and nobody's for ever. */
  private isDynamic(address: string): boolean {
    const index = parse4(address) - this.first;
    return index >= 0 && index < this.count && !this.fixed.has(address);
  }

  /** An address for a client: fixed, as before, as it wishes, or any that is free; those never used and longest unused come first. */
  choose(client: string, mac: string, wish: string | undefined, now: number): string | undefined {
    const fixed = this.fixedFor(client, mac, now);
    if (fixed !== undefined) return fixed;
    const before = this.get(client)?.address;
    for (const each of [before, wish]) if (each !== undefined && this.isFree(each, client, now)) return each;
    return this.fresh() ?? this.returned.values().next().value ?? this.ends.ended(now)?.address;
  }

  /** An address that never had an entry. */
  private fresh(): string | undefined {
    for (; this.next < this.count; this.next++) {
      const address = format4(this.first + this.next);
      if (!this.byAddress.has(address) && !this.fixed.has(address)) return address;
    }
    return undefined;
  }

  /** Writes a lease down, instead of any other of this client or address. */
  set(entry: LeaseEntry): void {
    this.forget(this.byAddress.get(entry.address));
    if (entry.client !== "") this.forget(this.byClient.get(entry.client));
    this.byAddress.set(entry.address, entry);
    this.returned.delete(entry.address);
    if (entry.client !== "") this.byClient.set(entry.client, entry);
    if (this.isDynamic(entry.address)) this.ends.push(entry, this.byAddress.size);
  }

  private forget(entry: LeaseEntry | undefined): void {
    if (!entry) return;
    this.byAddress.delete(entry.address);
    if (this.isDynamic(entry.address)) this.returned.add(entry.address);
    if (this.byClient.get(entry.client) === entry) this.byClient.delete(entry.client);
  }
}
