/** Which kinds of addresses go together, and which are preferred (RFC 6724 §2.1). IPv4 stands in it as ::ffff:0:0/96. */
import type { IpAddress } from "../base/ip-address.ts";
import { parseInterfaceAddress } from "../base/ip-address.ts";

export interface PolicyEntry {
  /** "2002::/16"; IPv4 as "::ffff:0:0/96" or "10.0.0.0/8". */
  readonly prefix: string;
  readonly precedence: number;
  readonly label: number;
}

export const DEFAULT_POLICY: readonly PolicyEntry[] = [
  { prefix: "::1/128", precedence: 50, label: 0 },
  { prefix: "::/0", precedence: 40, label: 1 },
  { prefix: "0.0.0.0/0", precedence: 35, label: 4 },
  { prefix: "2002::/16", precedence: 30, label: 2 },
  { prefix: "2001::/32", precedence: 5, label: 5 },
  { prefix: "fc00::/7", precedence: 3, label: 13 },
  { prefix: "::/96", precedence: 1, label: 3 },
  { prefix: "fec0::/10", precedence: 1, label: 11 },
  { prefix: "3ffe::/16", precedence: 1, label: 12 },
];

interface Row {
  readonly address: IpAddress;
  /** Of 128 bits. */
  readonly length: number;
  readonly precedence: number;
  readonly label: number;
}

export class PolicyTable {
  private rows: readonly Row[] = [];

  constructor(entries: readonly PolicyEntry[] = DEFAULT_POLICY) {
    this.set(entries);
  }

  /** Replaces the table, as an administrator may (RFC 6724 §2.1). */
  set(entries: readonly PolicyEntry[]): void {
    const rows = entries.map(({ prefix, precedence, label }) => {
      const { address, length } = parseInterfaceAddress(prefix);
      return { address, length: address.family === 4 && !prefix.includes(":") ? 96 + length : length, precedence, label };
    });
    this.rows = rows.sort((a, b) => b.length - a.length);
  }

  /** Longest match; without one, a label of its own and the lowest precedence. */
  find(address: IpAddress): { readonly precedence: number; readonly label: number } {
    return this.rows.find((row) => commonBits(row.address, address) >= row.length) ?? { precedence: 0, label: -1 };
  }
}

/** Bits in common of all 128. */
export function commonBits(a: IpAddress, b: IpAddress): number {
  if (a.a !== b.a) return Math.clz32(a.a ^ b.a);
  if (a.b !== b.b) return 32 + Math.clz32(a.b ^ b.b);
  if (a.c !== b.c) return 64 + Math.clz32(a.c ^ b.c);
  return a.d === b.d ? 128 : 96 + Math.clz32(a.d ^ b.d);
}

export const SCOPE = { link: 2, site: 5, global: 14 } as const;

/** RFC 6724 §3.1 and §3.2; groups carry theirs (RFC 4291 §2.7). */
export function scopeOf(address: IpAddress): number {
  if (address.family === 4) return address.isLinkLocal || address.isLoopback ? SCOPE.link : SCOPE.global;
  if (address.isMulticast) return (address.a >>> 16) & 15;
  if (address.isLinkLocal || address.isLoopback) return SCOPE.link;
  return address.a >>> 22 === 0x3fb ? SCOPE.site : SCOPE.global;
}
