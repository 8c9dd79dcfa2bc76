/** What the network layer and those above it say to each other. */

import type { IpAddress } from "../base/ip-address.ts";
import type { IcmpErrorReport } from "./icmp.ts";
import type { NetInterface } from "./interface.ts";
import type { Neighbour } from "./neighbours.ts";

/** An upper layer. The record of the packet in hand stands in `IpStack.words` and `IpStack.bytes8`. */
export interface Transport {
  /** A packet for this protocol: its id is the stack's again when this returns. */
  receive(id: number): void;
  /** Something that this protocol sent came to grief. False when it never sent such a thing (RFC 5927). */
  failed?(report: IcmpErrorReport): boolean;
  /** The path to the report's destination takes less than before; without a report: any path may. */
  pathChanged?(report?: IcmpErrorReport): void;
  /** The endpoint that a packet between these ends is for, or of. */
  endpoint?(ends: Ends): EndpointFacts | undefined;
}

/** What a packet is to carry along that is not in it. */
export interface PacketNote {
  /** abi.FLAG_* more. */
  readonly flags?: number;
  /** It is about a packet that had a flow: the one that it is a packet of itself (its number × 2 + direction), or 0. */
  readonly about?: number;
  /** SO_MARK of who sends it. */
  readonly mark?: number;
  /** Where it is cut, if those pieces fit: what each carries. */
  readonly cuts?: readonly number[];
}

/** Both ends of a packet, as this host sees them. */
export interface Ends {
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  readonly iface: NetInterface | undefined;
}

/** What others may know of an endpoint. */
export interface EndpointFacts {
  /** SO_MARK; undefined where its socket is gone (TIME-WAIT). */
  readonly mark: number | undefined;
  /** Bound to every address; undefined as the mark. */
  readonly isWildcard: boolean | undefined;
}

/** Who hears of every packet for this host, beside its protocol. */
export interface RawReceiver {
  /** True when somebody is there for the packet in hand: its protocol is not unknown here. The packet stays the stack's. */
  receive(id: number): boolean;
  failed(report: IcmpErrorReport): boolean;
}

/** An ICMP message whose checksum is right. */
export interface IncomingIcmp {
  /** The packet, for whoever wants more of it. */
  readonly id: number;
  readonly iface: NetInterface | undefined;
  readonly from: IpAddress;
  readonly to: IpAddress;
  readonly hopLimit: number;
  /** From its type on. */
  readonly message: Uint8Array;
}

export type IcmpHandler = (incoming: IncomingIcmp) => void;

export interface IpCounters {
  /** Names of RFC 4293 and of `nstat`, lower case. */
  in_delivers: number;
  in_addr_errors: number;
  in_unknown_protos: number;
  in_icmp_errors: number;
  out_requests: number;
  out_no_routes: number;
  out_no_buffers: number;
  out_too_big: number;
  /** Ended by a rule on their way out. */
  out_filtered: number;
  out_icmp_rate_limited: number;
  out_unreachable: number;
  /** IPv4 packets from the link with a source that is ours, or a subnet's broadcast address. */
  in_martian_sources: number;
  /** Packets for us with options or extension headers that forbid to take them, source routes among them. */
  in_header_errors: number;
  /** Redirects from others than the first hop in use. */
  in_redirects_refused: number;
  /** Addresses that somebody else had when they were to be used. */
  duplicate_addresses: number;
  /** Others that spoke for an address of ours. */
  address_conflicts: number;
}

/** Where packets for a destination go. Good while `generation` is the routes' own. */
export interface Path {
  generation: number;
  hop: number;
  iface: NetInterface | undefined;
  isLocal: boolean;
  /** What the whole way takes, as far as is known; and what the interface does, which is what can be received. */
  mtu: number;
  linkMtu: number;
  /** Routers may cut what goes there: the way takes less than packets are made for its sake (IPv4). */
  mayBeCut: boolean;
  /** Whom packets are handed to, once that is known. */
  neighbour: Neighbour | undefined;
}

/** Somebody who holds back because an interface's transmit ring is nearly full. */
export interface Throttled {
  resume(): void;
}

/** Somebody who had bytes to send and found no slab for them. */
export interface Starved {
  memoryBack(): void;
}

export function newCounters(): IpCounters {
  return {
    in_delivers: 0,
    in_addr_errors: 0,
    in_unknown_protos: 0,
    in_icmp_errors: 0,
    out_requests: 0,
    out_no_routes: 0,
    out_no_buffers: 0,
    out_too_big: 0,
    out_filtered: 0,
    out_icmp_rate_limited: 0,
    out_unreachable: 0,
    in_martian_sources: 0,
    in_header_errors: 0,
    in_redirects_refused: 0,
    duplicate_addresses: 0,
    address_conflicts: 0,
  };
}
