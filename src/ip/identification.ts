/**
 * Identifications of packets: counters that are shared by the flows of one keyed hash, so that what one peer sees tells nothing
 * about what is sent to others (RFC 7739 §5.3, RFC 6864 §4; as Linux's ip_select_ident).
 */
import type { IpAddress } from "../base/ip-address.ts";
import type { Random } from "../base/random.ts";
import { SipHash } from "../base/siphash.ts";

const COUNTERS = 2048;

export class Identifications {
  private readonly hash: SipHash;
  private readonly key: number;
  private readonly counters = new Uint32Array(COUNTERS);
  /** For packets that nobody may cut, whose identifications mean nothing: those of others are not touched. */
  private readonly atomic = new Uint16Array(COUNTERS);
  private readonly words = new Int32Array(10);

  constructor(random: Random) {
    this.hash = new SipHash(random.fill(new Uint8Array(16)));
    this.key = random.u32();
    for (let i = 0; i < COUNTERS; i++) this.counters[i] = random.u32();
    for (let i = 0; i < COUNTERS; i++) this.atomic[i] = random.u32();
  }

  /** Thirty-two bits for a packet that may be cut, or is; IPv4 takes the low sixteen. */
  next(source: IpAddress, destination: IpAddress, protocol: number): number {
    const { words } = this;
    source.write(words, 0);
    destination.write(words, 4);
    words[8] = protocol;
    const at = this.hash.hash(words, 10) & (COUNTERS - 1);
    this.counters[at]++;
    return this.counters[at];
  }

  /** Sixteen bits for a packet with DF: cheap, for every segment has one. */
  nextAtomic(source: IpAddress, destination: IpAddress): number {
    const mixed = Math.imul(destination.d ^ this.key, 0x9e3779b1) ^ Math.imul(source.d, 0x85ebca6b);
    const at = (mixed ^ (mixed >>> 15)) & (COUNTERS - 1);
    this.atomic[at]++;
    return this.atomic[at];
  }
}
