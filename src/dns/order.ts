/** In which order a host tries the addresses of a name: RFC 6724 §6, for what a host in user space knows of itself. */
import { IpAddress, networkOf } from "../base/ip-address.ts";

/** The default policy table (RFC 6724 §2.1): prefix, its length of 128 bits, precedence, label. Longest first. */
const POLICIES = (
  [
    ["::1", 128, 50, 0],
    ["::ffff:0:0", 96, 35, 4],
    ["::", 96, 1, 3],
    ["2001::", 32, 5, 5],
    ["2002::", 16, 30, 2],
    ["3ffe::", 16, 1, 12],
    ["fec0::", 10, 1, 11],
    ["fc00::", 7, 3, 13],
    ["::", 0, 40, 1],
  ] as const
).map(([prefix, length, precedence, label]) => ({ prefix: rawV6(prefix), length, precedence, label }));

function rawV6(text: string): IpAddress {
  return text === "::ffff:0:0" ? new IpAddress(0, 0, 0xffff, 0) : IpAddress.parse(text);
}

function policyOf(address: IpAddress): { precedence: number; label: number } {
  const found = POLICIES.find(({ prefix, length }) => matches(address, prefix, length));
  return found ?? { precedence: 40, label: 1 };
}

function matches(address: IpAddress, prefix: IpAddress, length: number): boolean {
  if (address.family !== prefix.family) return false;
  return address.family === 4 || networkOf(address, length).equals(prefix);
}

/** RFC 6724 §3.1: link-local 2, site-local 5, everything else global 14; IPv4 by §3.2. */
function scopeOf(address: IpAddress): number {
  if (address.isMulticast) return address.family === 4 ? 14 : (address.a >>> 16) & 15;
  if (address.isLoopback || address.isLinkLocal) return 2;
  return address.family === 6 && address.a >>> 22 === 0x3fb ? 5 : 14;
}

interface Candidate {
  readonly address: IpAddress;
  readonly source: IpAddress | undefined;
}

/** Negative: `a` is tried first. */
function compare(a: Candidate, b: Candidate): number {
  // Rule 1: what cannot be reached comes last.
  if (!a.source || !b.source) return Number(!a.source) - Number(!b.source);
  const [policyA, policyB] = [policyOf(a.address), policyOf(b.address)];
  const [scopeA, scopeB] = [scopeOf(a.address), scopeOf(b.address)];
  return (
    // Rule 2: matching scope. Rule 5: matching label. Rule 6: precedence. Rule 8: smaller scope.
    Number(scopeB === scopeOf(b.source)) - Number(scopeA === scopeOf(a.source)) ||
    Number(policyB.label === policyOf(b.source).label) - Number(policyA.label === policyOf(a.source).label) ||
    policyB.precedence - policyA.precedence ||
    scopeA - scopeB ||
    // Rule 9: longest matching prefix, of IPv6 only and of its network half: further bits say nothing about nearness.
    prefixOf(b) - prefixOf(a)
  );
}

function prefixOf({ address, source }: Candidate): number {
  return address.family === 6 && source?.family === 6 ? Math.min(address.commonPrefix(source), 64) : 0;
}

/** Sorts addresses by whether and how well the host reaches them; equals keep their order (rule 10). */
export function sortAddresses(addresses: readonly IpAddress[], sourceFor: (address: IpAddress) => IpAddress | undefined): IpAddress[] {
  return addresses
    .map((address) => ({ address, source: sourceFor(address) }))
    .sort(compare)
    .map(({ address }) => address);
}
