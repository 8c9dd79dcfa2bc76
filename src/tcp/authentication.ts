/**
 * A connection under the TCP Authentication Option (RFC 5925): its keys, which of them is used now and which the peer is to
 * use next, and how the peer asks for another (§6.1).
 */
import type { IpAddress } from "../base/ip-address.ts";
import type { IpStack } from "../ip/stack.ts";
import { type AoKey, trafficKey } from "./ao-key.ts";
import { authenticate, isAuthentic } from "./ao-segment.ts";
import { distance } from "./sequence.ts";

const EXTENSION = 2 ** 32;

/** Segments by what their authentication was; those that are not good are dropped. */
export interface AoCounters {
  ao_good: number;
  ao_bad: number;
  ao_key_not_found: number;
  ao_required: number;
  ao_dropped_icmps: number;
}

/** A key of the connection, with the traffic keys that are known by now. */
export interface ConnectionKey {
  readonly key: AoKey;
  send: Uint8Array | undefined;
  receive: Uint8Array | undefined;
  /** Segments that came with it. */
  good: number;
  bad: number;
}

/** Where a connection is: its initial sequence numbers, and how far both ends have come from there. */
export interface Position {
  readonly iss: number;
  readonly irs: number;
  /** Acknowledged by the peer, and the bytes and SYN that this is from `iss`. */
  readonly una: number;
  readonly bytesAcked: number;
  /** Received in order, and the bytes of data that this is. */
  readonly received: number;
  readonly bytesReceived: number;
  readonly finReceived: boolean;
}

/** The high half of the 64 bits that a sequence number of ours stands for (§6.2). */
export function sendExtension(at: Position, seq: number): number {
  return Math.floor(((at.iss >>> 0) + at.bytesAcked + distance(seq, at.una)) / EXTENSION);
}

/** The same for one of the peer's. */
export function receiveExtension(at: Position, seq: number): number {
  const arrived = 1 + at.bytesReceived + (at.finReceived ? 1 : 0);
  return Math.floor(((at.irs >>> 0) + arrived + distance(seq, at.received)) / EXTENSION);
}

export class Authentication {
  readonly keys: ConnectionKey[];
  /** Used for what is sent; and the one that the peer is asked to use. */
  current: ConnectionKey;
  next: ConnectionKey;
  readonly counters: AoCounters = { ao_good: 0, ao_bad: 0, ao_key_not_found: 0, ao_required: 0, ao_dropped_icmps: 0 };
  /** Errors that ICMP reports are believed (Linux's accept_icmps). */
  acceptIcmps = false;
  private readonly local: IpAddress;
  private readonly remote: IpAddress;
  private readonly localPort: number;
  private readonly remotePort: number;

  constructor(ends: { local: IpAddress; localPort: number; remote: IpAddress; remotePort: number }, keys: readonly AoKey[]) {
    this.local = ends.local;
    this.remote = ends.remote;
    this.localPort = ends.localPort;
    this.remotePort = ends.remotePort;
    this.keys = keys.map((key) => ({ key, send: undefined, receive: undefined, good: 0, bad: 0 }));
    this.current = this.keys.find(({ key }) => key.isCurrent) ?? this.keys[0];
    this.next = this.keys.find(({ key }) => key.isNext) ?? this.keys[0];
  }

  /** A passive connection: it answers with the key that the SYN asked for, and asks for the one that the SYN has. */
  follow(u8: Uint8Array, place: number): void {
    this.current = this.sending(u8[place + 3]) ?? this.current;
    this.next = this.receiving(u8[place + 2]) ?? this.next;
  }

  /** A key for a connection that is open already. */
  add(key: AoKey): ConnectionKey {
    const added = { key, send: undefined, receive: undefined, good: 0, bad: 0 };
    this.keys.unshift(added);
    if (key.isCurrent) this.current = added;
    if (key.isNext) this.next = added;
    return added;
  }

  sending(id: number): ConnectionKey | undefined {
    return this.keys.find(({ key }) => key.sendId === id);
  }

  receiving(id: number): ConnectionKey | undefined {
    return this.keys.find(({ key }) => key.recvId === id);
  }

  /** Authenticates what stands in the stack's record. `isFirst`: a SYN that answers none. */
  authenticate(stack: IpStack, at: Position, seq: number, isFirst: boolean): void {
    const { current } = this;
    const traffic = isFirst ? this.derive(current.key, true, at.iss, 0) : (current.send ??= this.derive(current.key, true, at.iss, at.irs));
    const sne = isFirst ? 0 : sendExtension(at, seq);
    authenticate(stack, { key: current.key, traffic, sne }, this.next.key.recvId);
  }

  /** The segment in hand, its option at `place` in memory: the peer's first SYN, an answer to ours, or what comes later. */
  check(stack: IpStack, id: number, place: number, at: Position, seq: number, role: "first" | "answer" | "other"): keyof AoCounters {
    const { u8 } = stack.engine.memory;
    const found = this.receiving(u8[place + 2]);
    if (!found) return "ao_key_not_found";
    const { key } = found;
    let traffic: Uint8Array;
    if (role === "first") traffic = this.derive(key, false, seq, 0);
    else if (role === "answer") traffic = this.derive(key, false, seq, at.iss);
    else traffic = found.receive ??= this.derive(key, false, at.irs, at.iss);
    const sne = role === "other" ? receiveExtension(at, seq) : 0;
    if (!isAuthentic(stack, id, { key, traffic, sne }, place)) {
      found.bad++;
      return "ao_bad";
    }
    found.good++;
    // The peer is ready for another key (§6.1): what goes out from now on has it.
    const wanted = u8[place + 3];
    if (role !== "first" && wanted !== this.current.key.sendId) this.current = this.sending(wanted) ?? this.current;
    return "ao_good";
  }

  private derive(key: AoKey, isSent: boolean, sourceIsn: number, destinationIsn: number): Uint8Array {
    const [address, port, peer, peerPort] = isSent
      ? [this.local, this.localPort, this.remote, this.remotePort]
      : [this.remote, this.remotePort, this.local, this.localPort];
    return trafficKey(key, { address, port, isn: sourceIsn }, { address: peer, port: peerPort, isn: destinationIsn });
  }
}
