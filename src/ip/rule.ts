/**
 * One rule of `ip rule`, and what it says of a packet.
 *
 * Selectors are joined by "and"; `not` turns round what they say together. A rule with an address is for that address's
 * family alone, turned round or not, since Linux has a list of rules a family. For a packet that comes in the interface it
 * will leave by is not known yet, so `oif` describes none of those.
 */
import type { InterfaceAddress, IpAddress } from "../base/ip-address.ts";
import type { Bits, LookupRule } from "../engine/lookup-rules.ts";
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
  /** Of a packet that comes in by it; this host's own come in by none. */
  readonly iif?: NetInterface;
  readonly mark?: number;
  readonly protocol?: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

/** Whether a rule is in the list of a family. */
export function isOf(rule: Rule, family: 4 | 6): boolean {
  const own = (rule.from ?? rule.to)?.address.family;
  return own === undefined || own === family;
}

/** Whether a rule is for a packet that this host sends, from a socket bound to `oif` or to no interface; or for one that comes in. */
export function matches(rule: Rule, to: IpAddress, hint: PathHint | undefined, oif: NetInterface | undefined): boolean {
  return isOf(rule, to.family) && describes(rule, to, hint, oif) !== (rule.not ?? false);
}

function describes(rule: Rule, destination: IpAddress, hint: PathHint | undefined, oif: NetInterface | undefined): boolean {
  const { from, to, iif, protocol, sourcePorts, destinationPorts } = rule;
  if ((iif && iif !== hint?.iif) || (rule.oif && (hint?.iif || rule.oif !== oif)) || !isMarked(rule, hint?.mark ?? 0)) return false;
  if (from && !(hint?.source && covers(from, hint.source))) return false;
  if (to && !covers(to, destination)) return false;
  if (protocol !== undefined && hint?.protocol !== protocol) return false;
  return isWithin(sourcePorts, hint?.sourcePort) && isWithin(destinationPorts, hint?.destinationPort);
}

/** What a rule looks at in what comes in. */
export function lookupRule(rule: Rule): Omit<LookupRule, "table" | "hop"> {
  const { not, from, to, iif, oif, mark, markMask, protocol, sourcePorts, destinationPorts } = rule;
  return {
    not,
    never: oif !== undefined,
    iif: iif?.port.index,
    from: from && bitsOf(from),
    to: to && bitsOf(to),
    mark,
    markMask,
    protocol,
    sourcePorts: sourcePorts && [sourcePorts.low, sourcePorts.high],
    destinationPorts: destinationPorts && [destinationPorts.low, destinationPorts.high],
  };
}

function bitsOf({ address, length }: InterfaceAddress): Bits {
  return { bytes: address.bytes(), length };
}

function isMarked({ mark, markMask }: Rule, of: number): boolean {
  return mark === undefined || ((mark ^ of) & (markMask ?? -1)) === 0;
}

function isWithin(range: PortRange | undefined, port: number | undefined): boolean {
  return !range || (port !== undefined && port >= range.low && port <= range.high);
}
