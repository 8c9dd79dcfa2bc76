/** What a connection remembers about explicit congestion notification (RFC 3168, RFC 9768); what is done with it stands in ecn.ts. */

/** The two bits of the IP header (RFC 3168 §5). */
export const NOT_ECT = 0;
export const ECT1 = 1;
export const ECT0 = 2;
export const CE = 3;

/** What a host asks for, or grants to those who ask. */
export type EcnKind = "off" | "ecn" | "accecn";

export class EcnState {
  readonly isAccurate: boolean;
  /** RFC 3168: a mark is to be echoed; the sender has to say that it slowed down. */
  echo = false;
  slowedDown = false;
  /** RFC 9768 §3.2: packets that came marked, and payload bytes by IP field. */
  ceReceived = 0;
  readonly bytesReceived = [0, 0, 0, 0];
  /** Marked packets and bytes by IP field that arrived at the peer. */
  ceDelivered = 0;
  readonly bytesDelivered = [0, 0, 0, 0];
  /** IP field of the peer's SYN or SYN-ACK, to be reflected. */
  reflect = NOT_ECT;
  /** A packet that may be marked has come (RFC 3168). */
  wasSeen = false;
  /** Fields that the next option must have, so that nothing new goes unsaid. */
  neededFields = 0;
  /** The peer sends the option. */
  hasOption = false;
  /** Our options, or marks on our packets, do not get through. */
  optionFails = false;
  marksFail = false;
  /** The first packet after the handshake was looked at: its ACE field cannot be zero (RFC 9768 §3.2.2.4). */
  isChecked = false;
  /** An option went out together with a D-SACK: if the duplicate comes again, the option was what got lost. */
  optionWithDsack = false;
  /** Marked packets that came since something was acknowledged. */
  ackedSinceMark = 0;
  /** Packets that an acknowledgement covers, on average. */
  perAck = 0;

  constructor(isAccurate: boolean) {
    this.isAccurate = isAccurate;
  }
}
