/** May a segment be believed? MD5 signatures (RFC 2385) and the Authentication Option (RFC 5925), of connections and without. */
import * as abi from "../../assembly/abi.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { IpStack } from "../ip/stack.ts";
import { type AoKey, type End, keysFor, trafficKey } from "./ao-key.ts";
import { AO_WORDS, authenticate, isAuthentic } from "./ao-segment.ts";
import type { AoCounters, Authentication, Position } from "./authentication.ts";
import type { SynOptions } from "./options.ts";
import type { Segment } from "./segment.ts";
import { ACK, RST, SYN } from "./sequence.ts";
import { isGenuine, type Md5Counters, type Md5Key, SIGNATURE_WORDS, secretFor, sign } from "./signature.ts";

/** What signs a segment that no connection sends: a secret for MD5, or what knows the keys of the Authentication Option. */
export type Signing = Uint8Array | { authenticate(stack: IpStack, seq: number): void };

/** Words of options that it takes. */
export function signingWords(signing: Signing | undefined): number {
  if (!signing) return 0;
  return signing instanceof Uint8Array ? SIGNATURE_WORDS : AO_WORDS;
}

/** Signs what stands in the stack's record; its options end with the words that were kept free. */
export function signWith(stack: IpStack, signing: Signing, seq: number): void {
  if (signing instanceof Uint8Array) sign(stack, signing);
  else signing.authenticate(stack, seq);
}

/** What a connection, or what is left of it, asks of its segments. */
export interface Signed {
  readonly md5Secret: Uint8Array | undefined;
  readonly ao: Authentication | undefined;
}

/** The segment in hand, for a connection. What is missing, wrong or not agreed on is counted, as Linux counts it. */
export function isGenuineFor(
  { md5Secret, ao }: Signed,
  at: Position,
  isOpening: boolean,
  stack: IpStack,
  id: number,
  segment: Segment,
  offered: SynOptions,
  counters: Md5Counters & AoCounters,
): boolean {
  const place = offered.authentication;
  if (!ao && place === 0) return isGenuine(stack, id, md5Secret, offered.signature, counters);
  let verdict: keyof AoCounters;
  if (!ao) verdict = "ao_key_not_found";
  else if (place === 0) verdict = "ao_required";
  else if (place < 0 || offered.signature > 0) verdict = "ao_bad";
  else {
    const { seq, flags } = segment;
    const role = (flags & (SYN | ACK)) === SYN ? "first" : isOpening && flags & (SYN | RST) ? "answer" : "other";
    verdict = ao.check(stack, id, place, at, seq, role);
  }
  counters[verdict]++;
  if (ao) ao.counters[verdict]++;
  return verdict === "ao_good";
}

/** Keys of a listener for one peer. */
export interface ListenerKeys {
  readonly md5Keys: readonly Md5Key[];
  readonly aoKeys: readonly AoKey[];
  readonly aoRequired: boolean;
}

/** What a segment for a listener has shown: it is believed, and what an answer is signed with. */
export interface Judgement {
  isGenuine: boolean;
  signing: Signing | undefined;
}

const judgement: Judgement = { isGenuine: false, signing: undefined };

/** The segment in hand, for a listener; valid until the next call. Keys of the Authentication Option come before secrets. */
export function judge(
  keys: ListenerKeys,
  peer: IpAddress,
  stack: IpStack,
  id: number,
  offered: SynOptions,
  counters: Md5Counters & AoCounters,
): Judgement {
  const own = keysFor(keys.aoKeys, peer);
  const place = offered.authentication;
  judgement.signing = undefined;
  if (own.length === 0 && place === 0 && !keys.aoRequired) {
    const secret = keys.md5Keys.length > 0 ? secretFor(keys.md5Keys, peer) : undefined;
    judgement.isGenuine = (!secret && offered.signature === 0) || isGenuine(stack, id, secret, offered.signature, counters);
    judgement.signing = secret;
    return judgement;
  }
  const verdict = own.length === 0 && place !== 0 ? "ao_key_not_found" : judgeAo(own, stack, id, offered);
  counters[verdict]++;
  judgement.isGenuine = verdict === "ao_good";
  return judgement;
}

/** A SYN shows the peer's number; what acknowledges, as answers to cookies do, shows both (RFC 5925 §7.4). */
function judgeAo(keys: readonly AoKey[], stack: IpStack, id: number, offered: SynOptions): keyof AoCounters {
  const place = offered.authentication;
  if (place === 0) return "ao_required";
  if (place < 0 || offered.signature > 0) return "ao_bad";
  const { words } = stack;
  const { u8 } = stack.engine.memory;
  const key = keys.find(({ recvId }) => recvId === u8[place + 2]);
  if (!key) return "ao_key_not_found";
  const flags = words[abi.SEG_FLAGS / 4];
  const isFirst = (flags & (SYN | ACK)) === SYN;
  if (!isFirst && (flags & (SYN | ACK)) !== ACK) return "ao_bad";
  const seq = words[abi.SEG_SEQUENCE / 4];
  const peer: End = { address: stack.source(), port: words[abi.SEG_SOURCE_PORT / 4], isn: isFirst ? seq : (seq - 1) | 0 };
  const ack = words[abi.SEG_ACKNOWLEDGEMENT / 4];
  const own: End = { address: stack.destination(), port: words[abi.SEG_DESTINATION_PORT / 4], isn: isFirst ? 0 : (ack - 1) | 0 };
  if (!isAuthentic(stack, id, { key, traffic: trafficKey(key, peer, own), sne: 0 }, place)) return "ao_bad";
  const wanted = keys.find(({ sendId }) => sendId === u8[place + 3]) ?? key;
  judgement.signing = answering(wanted, key.recvId, own, peer, isFirst);
  return "ao_good";
}

/** An answer to a SYN is signed when its own number is known: it is the one that goes out. */
function answering(key: AoKey, next: number, own: End, peer: End, toSyn: boolean): Signing {
  return {
    authenticate(stack, seq) {
      const from = toSyn ? { ...own, isn: seq } : own;
      authenticate(stack, { key, traffic: trafficKey(key, from, peer), sne: 0 }, next);
    },
  };
}
