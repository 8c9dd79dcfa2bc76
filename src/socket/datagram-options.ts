/** What a datagram socket can be told, and what each option has to be. */
import { listOf, type Shape, text, whole, yesNo } from "../base/options.ts";

export interface DatagramSettings {
  hopLimit?: number;
  /** What rules and policy routing know its packets by (SO_MARK). */
  mark?: number;
  trafficClass?: number;
  broadcast?: boolean;
  /** False: what is larger than the path's MTU is an error. */
  fragment?: boolean;
  /** Bytes that may wait to be read. */
  receiveBuffer?: number;
  multicastTtl?: number;
  multicastLoop?: boolean;
  multicastInterface?: string;
}

/** What a group is joined with. */
export interface MembershipOptions {
  /** Name of an interface; default: the one that the route to the group names, else the first. */
  readonly interface?: string;
  /** Only these sources (RFC 4607). */
  readonly sources?: readonly string[];
}

export const SETTINGS: Shape<DatagramSettings> = {
  hopLimit: whole(0, 255),
  mark: whole(0, 2 ** 32 - 1),
  trafficClass: whole(0, 255),
  broadcast: yesNo,
  fragment: yesNo,
  receiveBuffer: whole(1),
  multicastTtl: whole(0, 255),
  multicastLoop: yesNo,
  multicastInterface: text,
};

export const MEMBERSHIP: Shape<MembershipOptions> = { interface: text, sources: listOf(text) };
