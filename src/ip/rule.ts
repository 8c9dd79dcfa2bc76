/**
 * One rule of `ip rule`, and what it says of a packet.
 *
 * Selectors are joined by "and"; `not` turns round what they say together. A rule with an address is for that address's
 * family alone, turned round or not, since Linux has a list of rules a family. For a packet that is forwarded the
 * interface it will leave by is not known yet and its mark is 0, so those two say the same of every such packet.
 */
import type { InterfaceAddress, IpAddress } from "../base/ip-address.ts";
import { covers, type NetInterface } from "./interface.ts";

export type RuleAction = "blackhole" | "unreachable" | "prohibit";

/** Both ends belong to it. */
export interface PortRange {
  readonly low: number;
  readonly high: number;
}

export interface Rule {
  /** Lower ones are asked first. */
  readonly priority: number;
  /** The rule holds for what its selectors do not describe. */
  readonly not?: boolean;
  readonly from?: InterfaceAddress;
  readonly to?: InterfaceAddress;
  /** The interface that forwarded packets come in by; what this host sends comes in by none. */
  readonly iif?: NetInterface;
  /** The interface that the socket is bound to. */
  readonly oif?: NetInterface;
  readonly mark?: number;
  /** The bits of the mark that count; all of them by default. */
  readonly markMask?: number;
  /** Protocol above IP, 0 to 255. */
  readonly protocol?: number;
  readonly sourcePorts?: PortRange;
  readonly destinationPorts?: PortRange;
  readonly table: number;
  /** Instead of looking into a table. */
  readonly action?: RuleAction;
}

/** What a rule may look at beside the destination. */
export interface PathHint {
  readonly source?: IpAddress;
  readonly mark?: number;
  readonly protocol?: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

/** Whether a rule is for a packet that this host sends, from a socket bound to `oif` or to no interface. */
export function matches(rule: Rule, to: IpAddress, hint: PathHint | undefined, oif: NetInterface | undefined): boolean {
  const family = (rule.from ?? rule.to)?.address.family;
  if (family !== undefined && family !== to.family) return false;
  return describes(rule, to, hint, oif) !== (rule.not ?? false);
}

function describes(rule: Rule, destination: IpAddress, hint: PathHint | undefined, oif: NetInterface | undefined): boolean {
  const { from, to, iif, protocol, sourcePorts, destinationPorts } = rule;
  if (iif || (rule.oif && rule.oif !== oif) || !isMarked(rule, hint?.mark ?? 0)) return false;
  if (from && !(hint?.source && covers(from, hint.source))) return false;
  if (to && !covers(to, destination)) return false;
  if (protocol !== undefined && hint?.protocol !== protocol) return false;
  return isWithin(sourcePorts, hint?.sourcePort) && isWithin(destinationPorts, hint?.destinationPort);
}

/** Whether a rule is for everything, nothing or (undefined) some of what comes in by an interface to be forwarded. */
export function matchesAllFrom(rule: Rule, iface: NetInterface): boolean | undefined {
  const { from, to, iif, oif, protocol, sourcePorts, destinationPorts } = rule;
  const isElsewhere = (iif && iif !== iface) || oif || !isMarked(rule, 0);
  const depends = from || to || protocol !== undefined || sourcePorts || destinationPorts;
  // With an address a rule turned round is for one family only, and ports have a table for each.
  if (depends && !(isElsewhere && !(from ?? to))) return isElsewhere && !rule.not ? false : undefined;
  return !isElsewhere !== (rule.not ?? false);
}

function isMarked({ mark, markMask }: Rule, of: number): boolean {
  return mark === undefined || ((mark ^ of) & (markMask ?? -1)) === 0;
}

function isWithin(range: PortRange | undefined, port: number | undefined): boolean {
  return !range || (port !== undefined && port >= range.low && port <= range.high);
}
