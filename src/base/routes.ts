/**
 * Routes by the hundred thousand: columns instead of objects. A hop is an index into `nextHops`, plus one,
 * so that it can become the number of a next hop in a table.
 */
import { format4, format6, type Prefix } from "./address.ts";
import { LoomError } from "./errors.ts";

/** IPv4 routes: address (host order), length and hop of row i stand at index i. */
export class Columns4 {
  readonly family = 4 as const;
  addresses: Uint32Array;
  lengths: Uint8Array;
  hops: Uint16Array;
  count = 0;

  constructor(capacity = 1024) {
    this.addresses = new Uint32Array(capacity);
    this.lengths = new Uint8Array(capacity);
    this.hops = new Uint16Array(capacity);
  }

  add(address: number, length: number, hop: number): void {
    if (this.count === this.addresses.length) this.grow();
    this.addresses[this.count] = address;
    this.lengths[this.count] = length;
    this.hops[this.count++] = hop;
  }

  private grow(): void {
    const size = this.count * 2;
    this.addresses = copyInto(new Uint32Array(size), this.addresses);
    this.lengths = copyInto(new Uint8Array(size), this.lengths);
    this.hops = copyInto(new Uint16Array(size), this.hops);
  }

  prefix(row: number): string {
    return `${format4(this.addresses[row])}/${this.lengths[row]}`;
  }
}

/** IPv6 routes: the address as two halves. */
export class Columns6 {
  readonly family = 6 as const;
  high: BigUint64Array;
  low: BigUint64Array;
  lengths: Uint8Array;
  hops: Uint16Array;
  count = 0;

  constructor(capacity = 1024) {
    this.high = new BigUint64Array(capacity);
    this.low = new BigUint64Array(capacity);
    this.lengths = new Uint8Array(capacity);
    this.hops = new Uint16Array(capacity);
  }

  add(high: bigint, low: bigint, length: number, hop: number): void {
    if (this.count === this.high.length) this.grow();
    this.high[this.count] = high;
    this.low[this.count] = low;
    this.lengths[this.count] = length;
    this.hops[this.count++] = hop;
  }

  private grow(): void {
    const size = this.count * 2;
    this.high = copyInto(new BigUint64Array(size), this.high);
    this.low = copyInto(new BigUint64Array(size), this.low);
    this.lengths = copyInto(new Uint8Array(size), this.lengths);
    this.hops = copyInto(new Uint16Array(size), this.hops);
  }

  prefix(row: number): string {
    return `${format6(this.high[row], this.low[row])}/${this.lengths[row]}`;
  }
}

/** Hops are 16 bits; 0 is "no route" and the last one marks an escape. */
const MOST_HOPS = 65_534;

export type Columns = Columns4 | Columns6;

function copyInto<T extends { set(from: T): void }>(to: T, from: T): T {
  to.set(from);
  return to;
}

/** What a route file says about where packets go. */
export interface HopSpec {
  readonly kind: "forward" | "local" | "blackhole" | "unreachable" | "prohibit" | "broadcast" | "group";
  /** Hop numbers and shares of a group. */
  readonly members?: readonly { readonly hop: number; readonly weight: number }[];
  /** As written: an address, a device, an id; unique within a RouteSet. */
  readonly name: string;
}

/** Routes of both families and the next hops they name. */
export class RouteSet {
  readonly v4 = new Columns4();
  readonly v6 = new Columns6();
  readonly nextHops: HopSpec[] = [];
  /** What was odd about the input but not fatal, one sentence each. */
  readonly warnings: string[] = [];
  private readonly byName = new Map<string, number>();

  get size(): number {
    return this.v4.count + this.v6.count;
  }

  /** The hop number of a next hop, added when new. */
  hop(name: string, kind: HopSpec["kind"] = "forward"): number {
    const key = `${kind} ${name}`;
    const known = this.byName.get(key);
    if (known !== undefined) return known;
    if (this.nextHops.length === MOST_HOPS)
      throw new LoomError("ENOMEM", `more than ${MOST_HOPS} different next hops; a table holds no more`);
    this.nextHops.push({ kind, name });
    this.byName.set(key, this.nextHops.length);
    return this.nextHops.length;
  }

  /** The hop number of a group (multipath), added when new. */
  group(members: NonNullable<HopSpec["members"]>): number {
    const hop = this.hop(members.map((member) => `${member.hop}×${member.weight}`).join(" "), "group");
    this.nextHops[hop - 1] = { ...this.nextHops[hop - 1], members };
    return hop;
  }

  add(prefix: Prefix, hop: number): void {
    if (prefix.family === 4) this.v4.add(prefix.address, prefix.length, hop);
    else this.v6.add(prefix.high, prefix.low, prefix.length, hop);
  }
}
