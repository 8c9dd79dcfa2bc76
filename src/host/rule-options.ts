/** A rule as a person writes it, put in the network layer's words. */
import { LoomError } from "../base/errors.ts";
import { parseInterfaceAddress } from "../base/ip-address.ts";
import type { NetInterface } from "../ip/interface.ts";
import { MAIN_TABLE } from "../ip/policy-routing.ts";
import type { PortRange, Rule, RuleAction } from "../ip/rule.ts";

export interface RuleOptions {
  /** Lower ones are asked first; the main table has 32766. */
  priority: number;
  /** The rule holds for what the rest does not describe. */
  not?: boolean;
  /** Of the packet's source and destination. */
  from?: string;
  to?: string;
  /** The interface that forwarded packets come in by (`iif`). */
  interface?: string;
  /** The interface that the socket is bound to (`oif`). */
  boundTo?: string;
  /** Of the socket, or of the forwarded packet behind the prerouting hook (`fwmark`). */
  mark?: number;
  /** The bits of the mark that count; default all. */
  markMask?: number;
  /** `ipproto`: a number, or one of the usual names. */
  protocol?: number | keyof typeof PROTOCOLS;
  /** `sport` and `dport`: a port, or the first and the last. */
  sourcePort?: number | readonly [number, number];
  destinationPort?: number | readonly [number, number];
  /** Default 254, the main one. */
  table?: number;
  action?: RuleAction;
}

/** Names of protocols where a number may stand. */
export const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

export function ruleOf(options: RuleOptions, interfaceOf: (name: string) => NetInterface): Rule {
  const { priority, not, from, to, mark, markMask, protocol, table = MAIN_TABLE, action } = options;
  return {
    priority,
    not,
    from: from === undefined ? undefined : parseInterfaceAddress(from),
    to: to === undefined ? undefined : parseInterfaceAddress(to),
    iif: options.interface === undefined ? undefined : interfaceOf(options.interface),
    oif: options.boundTo === undefined ? undefined : interfaceOf(options.boundTo),
    mark,
    markMask,
    protocol: typeof protocol === "string" ? PROTOCOLS[protocol] : protocol,
    sourcePorts: rangeOf(options.sourcePort),
    destinationPorts: rangeOf(options.destinationPort),
    table,
    action,
  };
}

function rangeOf(ports: number | readonly [number, number] | undefined): PortRange | undefined {
  if (ports === undefined) return undefined;
  const range = typeof ports === "number" ? [ports, ports] : ports;
  const [low, high] = range;
  if (range.length !== 2 || low > high) {
    throw new LoomError("EINVAL", `rule: ports ${range.join(", ")}; expected one port, or the first and the last`);
  }
  return { low, high };
}
