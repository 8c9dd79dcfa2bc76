/**
 * Longest-prefix match, slow and obvious: one map per prefix length, asked from the longest down. Nothing of
 * it is shared with the data plane, which is why the data plane is tested against it.
 */
import { mask4, mask64 } from "../base/address.ts";
import type { Columns4, Columns6 } from "../base/routes.ts";

export class PrefixMap4 {
  private readonly byLength: Map<number, number>[] = Array.from({ length: 33 }, () => new Map());

  static from(columns: Columns4): PrefixMap4 {
    const map = new PrefixMap4();
    for (let i = 0; i < columns.count; i++) map.set(columns.addresses[i], columns.lengths[i], columns.hops[i]);
    return map;
  }

  set(address: number, length: number, hop: number): void {
    this.byLength[length].set((address & mask4(length)) >>> 0, hop);
  }

  delete(address: number, length: number): void {
    this.byLength[length].delete((address & mask4(length)) >>> 0);
  }

  /** The hop of the longest prefix that holds the address, or 0. */
  lookup(address: number): number {
    for (let length = 32; length >= 0; length--) {
      const map = this.byLength[length];
      if (map.size === 0) continue;
      const hop = map.get((address & mask4(length)) >>> 0);
      if (hop !== undefined) return hop;
    }
    return 0;
  }
}

export class PrefixMap6 {
  private readonly byLength: Map<string, number>[] = Array.from({ length: 129 }, () => new Map());

  static from(columns: Columns6): PrefixMap6 {
    const map = new PrefixMap6();
    for (let i = 0; i < columns.count; i++) map.set(columns.high[i], columns.low[i], columns.lengths[i], columns.hops[i]);
    return map;
  }

  private key(high: bigint, low: bigint, length: number): string {
    return `${high & mask64(Math.min(length, 64))}/${low & mask64(Math.max(length - 64, 0))}`;
  }

  set(high: bigint, low: bigint, length: number, hop: number): void {
    this.byLength[length].set(this.key(high, low, length), hop);
  }

  delete(high: bigint, low: bigint, length: number): void {
    this.byLength[length].delete(this.key(high, low, length));
  }

  lookup(high: bigint, low: bigint): number {
    for (let length = 128; length >= 0; length--) {
      const map = this.byLength[length];
      if (map.size === 0) continue;
      const hop = map.get(this.key(high, low, length));
      if (hop !== undefined) return hop;
    }
    return 0;
  }
}
