/** Which own address speaks to a destination (RFC 6724 §5), and which destination is tried first (§6). */
import { type IpAddress, networkOf } from "../base/ip-address.ts";
import type { NetInterface, OwnAddress } from "./interface.ts";
import { commonBits, type PolicyTable, scopeOf } from "./policy-table.ts";

export interface Candidate {
  readonly own: OwnAddress;
  readonly iface: NetInterface;
}

/** What the choice depends on beside the addresses. */
export interface Choice {
  readonly to: IpAddress;
  /** The interface packets leave by, and the router they go to. */
  readonly iface: NetInterface | undefined;
  readonly router: IpAddress | undefined;
  readonly policy: PolicyTable;
  readonly now: number;
  /** Prefer public addresses to temporary ones (the reverse of rule 7's default). */
  readonly preferPublic?: boolean;
}

/** Positive when `a` is better, negative when `b` is, 0 when the rule does not tell. */
type SourceRule = (a: Candidate, b: Candidate, choice: Choice) => number;

const prefer = (a: boolean, b: boolean) => Number(a) - Number(b);

const SOURCE_RULES: readonly SourceRule[] = [
  // 1: the destination itself.
  (a, b, { to }) => prefer(a.own.address.equals(to), b.own.address.equals(to)),
  // 2: appropriate scope.
  (a, b, { to }) => byScope(scopeOf(a.own.address), scopeOf(b.own.address), scopeOf(to)),
  // 3: not deprecated.
  (a, b, { now }) => prefer(a.own.preferredUntil > now, b.own.preferredUntil > now),
  // 4: home addresses: this host is not mobile.
  // 5: of the interface packets leave by.
  (a, b, { iface }) => prefer(a.iface === iface, b.iface === iface),
  // 5.5: of a prefix that the next hop advertises.
  (a, b, { router }) => prefer(isOf(a.own, router), isOf(b.own, router)),
  // 6: matching label.
  (a, b, { policy, to }) => {
    const { label } = policy.find(to);
    return prefer(policy.find(a.own.address).label === label, policy.find(b.own.address).label === label);
  },
  // 7: temporary rather than public (RFC 8981 §3.1).
  (a, b, { preferPublic }) => prefer(a.own.origin === "temporary", b.own.origin === "temporary") * (preferPublic ? -1 : 1),
  // 8: longest matching prefix, as far as the subnet's own goes; of IPv4 the subnet that the next hop is on (inet_select_addr).
  (a, b, { to, router }) =>
    to.family === 4 ? prefer(isOnLink(a.own, router ?? to), isOnLink(b.own, router ?? to)) : matching(a.own, to) - matching(b.own, to),
];

function isOnLink({ address, length }: OwnAddress, hop: IpAddress): boolean {
  return hop.family === 4 && networkOf(hop, length).equals(networkOf(address, length));
}

function byScope(a: number, b: number, to: number): number {
  if (a === b) return 0;
  if (a < b) return a < to ? -1 : 1;
  return b < to ? 1 : -1;
}

function isOf(own: OwnAddress, router: IpAddress | undefined): boolean {
  return router !== undefined && (own.advertisedBy?.has(router.key) ?? false);
}

function matching({ address, length }: OwnAddress, to: IpAddress): number {
  return Math.min(commonBits(address, to), length);
}

/** The best of the usable candidates of the destination's family. */
export function chooseSource(candidates: Iterable<Candidate>, choice: Choice): IpAddress | undefined {
  let best: Candidate | undefined;
  for (const each of candidates) {
    if (each.own.state !== "usable" || each.own.address.family !== choice.to.family) continue;
    if (!best || isBetter(each, best, choice)) best = each;
  }
  return best?.own.address;
}

function isBetter(a: Candidate, b: Candidate, choice: Choice): boolean {
  for (const rule of SOURCE_RULES) {
    const order = rule(a, b, choice);
    if (order !== 0) return order > 0;
  }
  return false;
}

// ── Destinations ────────────────────────────────────────────────────────────────────────────────

/** A destination and the source that would speak to it; without one it cannot be reached. */
export interface Destination {
  readonly address: IpAddress;
  readonly source: IpAddress | undefined;
  /** Of the source's prefix, as it is configured. */
  readonly sourceLength?: number;
  readonly isDeprecated: boolean;
}

type DestinationRule = (a: Destination, b: Destination, policy: PolicyTable) => number;

const DESTINATION_RULES: readonly DestinationRule[] = [
  // 1: usable.
  (a, b) => prefer(a.source !== undefined, b.source !== undefined),
  // 2: matching scope.
  (a, b) => prefer(sameScope(a), sameScope(b)),
  // 3: source not deprecated.
  (a, b) => prefer(!a.isDeprecated, !b.isDeprecated),
  // 4 and 7 (home addresses, native transport) do not arise here.
  // 5: matching label.
  (a, b, policy) => prefer(sameLabel(a, policy), sameLabel(b, policy)),
  // 6: precedence.
  (a, b, policy) => policy.find(a.address).precedence - policy.find(b.address).precedence,
  // 8: smaller scope.
  (a, b) => scopeOf(b.address) - scopeOf(a.address),
  // 9: longest matching prefix, within a family.
  (a, b) => {
    if (a.address.family !== b.address.family || !a.source || !b.source) return 0;
    return matchingSource(a) - matchingSource(b);
  },
];

/** Behind the source's prefix nothing is common (RFC 6724 §2.2); of IPv4 only one's own subnet counts, as getaddrinfo(3) has it. */
function matchingSource({ source, sourceLength = 128, address }: Destination): number {
  const { family } = address;
  const length = Math.min(sourceLength, family === 4 ? 32 : 128);
  const common = source ? source.commonPrefix(address) : 0;
  return family === 4 && common < length ? 0 : Math.min(common, family === 4 ? 32 : length);
}

function sameScope({ address, source }: Destination): boolean {
  return source !== undefined && scopeOf(address) === scopeOf(source);
}

function sameLabel({ address, source }: Destination, policy: PolicyTable): boolean {
  return source !== undefined && policy.find(address).label === policy.find(source).label;
}

/** In the order in which they should be tried; otherwise as they were given (rule 10). */
export function orderDestinations(destinations: readonly Destination[], policy: PolicyTable): Destination[] {
  return [...destinations].sort((a, b) => {
    for (const rule of DESTINATION_RULES) {
      const order = rule(a, b, policy);
      if (order !== 0) return -order;
    }
    return 0;
  });
}
