/**
 * Equal pieces of an address range, given by chance: what comes next must not be guessed (RFC 8415 §22). A range hardly
 * larger than what may be given keeps a list of what is free; in a larger one a few guesses find a free piece.
 */
import { parsePrefix } from "../base/address.ts";
import { invalid } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Random } from "../base/random.ts";

/** Guesses in a range of which at least half is free: one in 2⁶⁴ fails with all of them. */
const MOST_GUESSES = 64;

export class Range6 {
  readonly length: number;
  private readonly first: bigint;
  private readonly count: bigint;
  /** Free pieces in any order, and where each one stands in it; made when `most` entries could take half of them. */
  private readonly free: Uint32Array | undefined;
  private readonly places: Uint32Array | undefined;
  private left = 0;

  /** `most`: entries that there are at most at once. */
  constructor(first: bigint, count: bigint, length: number, most: number) {
    this.first = first;
    this.count = count;
    this.length = length;
    if (count > 2n * BigInt(most)) return;
    this.left = Number(count);
    this.free = Uint32Array.from({ length: this.left }, (_, i) => i);
    this.places = this.free.slice();
  }

  /** A range from one address to another. */
  static of([first, last]: readonly [string, string], most: number): Range6 {
    const count = numberOf(last) - numberOf(first) + 1n;
    if (count < 1n) throw invalid(`the range ${first} to ${last} ends before it begins`);
    return new Range6(numberOf(first), count, 128, most);
  }

  /** Prefixes of `length` bits out of a shorter one. */
  static within({ prefix, length }: { readonly prefix: string; readonly length: number }, most: number): Range6 {
    const parsed = parsePrefix(prefix);
    if (parsed.family !== 6 || length < parsed.length || length > 64) {
      throw invalid(`prefixes of ${length} bits out of ${prefix}; expected an IPv6 prefix and a length from its own to 64`);
    }
    return new Range6((parsed.high << 64n) | parsed.low, 1n << BigInt(length - parsed.length), length, most);
  }

  private at(index: bigint): string {
    const value = this.first + (index << BigInt(128 - this.length));
    return String(IpAddress.v6(value >> 64n, value & 0xffffffffffffffffn));
  }

  /** The place of an address in the range; -1n when it has none. */
  private indexOf(address: string): bigint {
    const distance = numberOf(address) - this.first;
    const index = distance >> BigInt(128 - this.length);
    return distance >= 0n && index < this.count && index << BigInt(128 - this.length) === distance ? index : -1n;
  }

  /** Whether the range has an address among its own (§18.3.3). */
  holds(address: string): boolean {
    const value = numberOf(address);
    return value >= this.first && value - this.first < this.count << BigInt(128 - this.length);
  }

  /** A free piece; `isTaken` says which ones are not. */
  choose(random: Random, isTaken: (address: string) => boolean): string | undefined {
    if (this.free) return this.left === 0 ? undefined : this.at(BigInt(this.free[Math.floor(random.float() * this.left)]));
    for (let i = 0; i < MOST_GUESSES; i++) {
      const address = this.at(((BigInt(random.u32()) << 32n) | BigInt(random.u32())) % this.count);
      if (!isTaken(address)) return address;
    }
    return undefined;
  }

  /** A piece has an entry from now on, or has none any more. */
  mark(address: string, isTaken: boolean): void {
    const { free, places } = this;
    const index = free ? Number(this.indexOf(address)) : -1;
    if (!free || !places || index < 0 || places[index] < this.left !== isTaken) return;
    // The free ones are in front: the piece changes places with the one at the border.
    const border = isTaken ? --this.left : this.left++;
    const other = free[border];
    const place = places[index];
    free[place] = other;
    places[other] = place;
    free[border] = index;
    places[index] = border;
  }
}

function numberOf(address: string): bigint {
  const { high, low } = IpAddress.parse(address);
  return (high << 64n) | low;
}
