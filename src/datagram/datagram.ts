/** What an endpoint got: datagrams, and errors about those it sent. */
import type { IpAddress } from "../base/ip-address.ts";
import type { IcmpErrno } from "../ip/icmp-errno.ts";
import type { NetInterface } from "../ip/interface.ts";

export interface Datagram {
  readonly data: Uint8Array;
  /** Who sent it. No text is made of it before `toString()`, a template, JSON or `console.log` asks for one. */
  readonly address: IpAddress;
  readonly port: number;
  /** Where it was sent to: one of our addresses, a group, a broadcast address (IP_PKTINFO). */
  readonly destination: IpAddress;
  readonly iface: NetInterface | undefined;
  readonly hopLimit: number;
  /** TOS or traffic class: DSCP, and ECN in the low two bits. */
  readonly trafficClass: number;
  /** When it came, on the stack's clock (ms). */
  readonly at: number;
}

/** Datagrams of one flow that came together: `data` is all of them, each of `segmentSize` bytes but for the last (UDP_GRO). */
export interface DatagramBatch extends Datagram {
  readonly segmentSize: number;
}

/** How an error reached us, as `struct sock_extended_err` names it. */
export type ErrorOrigin = "local" | "icmp" | "icmp6";

/** An error about a datagram that was sent, with what is left of it (MSG_ERRQUEUE, RFC 1122 §4.1.3.3). */
export interface SocketError {
  readonly code: IcmpErrno["code"];
  readonly origin: ErrorOrigin;
  /** Type and code of the ICMP message. */
  readonly type: number;
  readonly icmpCode: number;
  /** MTU of a "too big", pointer of a parameter problem. */
  readonly info: number;
  /** Who says so. */
  readonly offender: IpAddress;
  /** Where the datagram was going. */
  readonly address: IpAddress;
  readonly port: number;
  /** The datagram's first bytes, as many as came back. */
  readonly data: Uint8Array;
}

/** Whatever is said of one datagram and not of all that a socket sends. */
export interface SendOptions {
  /** `data` is several datagrams of this size (the last may be shorter), 64 at most (UDP_SEGMENT). */
  readonly segmentSize?: number;
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  /** An own address to send from. */
  readonly source?: IpAddress;
  readonly iface?: NetInterface;
}
