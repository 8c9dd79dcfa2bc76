/**
 * What is left of a connection in TIME-WAIT (RFC 9293 §3.3.2): enough to answer its peer and to tell old segments from a new
 * connection. The block itself is garbage by then: a host that opens and closes 30,000 connections a second keeps thousands of
 * these (kept as whole blocks they cost a quarter of its time in the collector: 26,400 connections a second instead of 36,000),
 * and uses those again whose wait is over (made anew each time, they are what the collector moves: 4.6 ms of 24 instead of 1.2).
 */
import type { IpAddress } from "../base/ip-address.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack } from "../ip/stack.ts";
import type { Authentication, Position } from "./authentication.ts";
import type { Signing } from "./genuine.ts";
import { writeTimestamps } from "./options.ts";
import { addresses, hopLimitOf, OPTIONS, sendBare } from "./output.ts";
import type { Segment } from "./segment.ts";
import { ACK, after, before, distance, FIN, RST, SYN } from "./sequence.ts";
import type { Demultiplexed, Tcb } from "./tcb.ts";

/** Answers to what is unacceptable come this far apart at least (ms). */
const ANSWER_MS = 500;

/** Who opens a connection again waits so long at least (ms; Linux's tcp_tw_reuse_delay). */
const REOPEN_MS = 1000;

const NOWHERE: Position = { iss: 0, irs: 0, una: 0, bytesAcked: 0, received: 0, bytesReceived: 0, finReceived: false };

function positionOf({ iss, irs, una, bytesAcked, received, bytesReceived, finReceived }: Tcb): Position {
  return { iss, irs, una, bytesAcked, received, bytesReceived, finReceived };
}

export class TimeWait implements Demultiplexed {
  local!: IpAddress;
  remote!: IpAddress;
  localPort = 0;
  remotePort = 0;
  device: NetInterface | undefined;
  hash = 0;
  hashNext: Demultiplexed | undefined;
  /** Neighbours in the list of those that wait. */
  earlier: TimeWait | undefined;
  later: TimeWait | undefined;
  /** What signs its segments (RFC 2385). */
  md5Secret: Uint8Array | undefined;
  ao: Authentication | undefined;
  /** What extensions of sequence numbers count from, where segments are authenticated. */
  position = NOWHERE;
  /** Its owner lets others bind the address (SO_REUSEADDR). */
  reuseAddress = false;
  /** When it ends (ms). */
  until = 0;
  /** What we would have sent next. */
  nxt = 0;
  private received = 0;
  private window = 0;
  private scale = 0;
  private hopLimit = 0;
  private timestampsOk = false;
  private tsOffset = 0;
  private tsRecent = 0;
  private tsRecentAt = 0;
  private lastAnswerAt = Number.NEGATIVE_INFINITY;

  /** Takes the place of a connection. */
  begin(tcb: Tcb): this {
    this.local = tcb.local;
    this.remote = tcb.remote;
    this.localPort = tcb.localPort;
    this.remotePort = tcb.remotePort;
    this.device = tcb.device;
    this.hash = tcb.hash;
    this.md5Secret = tcb.md5Secret;
    this.ao = tcb.ao;
    this.position = tcb.ao ? positionOf(tcb) : NOWHERE;
    this.reuseAddress = tcb.options.reuseAddress;
    this.nxt = tcb.nxt;
    this.received = tcb.received;
    this.scale = tcb.receiveScale;
    this.window = Math.min(Math.max(distance(tcb.announced, tcb.received), 0) >>> tcb.receiveScale, 0xffff);
    this.hopLimit = hopLimitOf(tcb);
    this.timestampsOk = tcb.timestampsOk;
    this.tsOffset = tcb.tsOffset;
    this.tsRecent = tcb.tsRecent;
    this.tsRecentAt = tcb.tsRecentAt;
    this.lastAnswerAt = Number.NEGATIVE_INFINITY;
    return this;
  }

  /** Timestamps tell the peer new from old, once their clock has moved on (Linux's tcp_twsk_unique). */
  isReopenable(now: number): boolean {
    return this.timestampsOk && now - this.tsRecentAt > REOPEN_MS;
  }

  /** May this SYN begin a new connection (RFC 6191, RFC 9293 §3.10.7.4)? */
  isReopenedBy(s: Segment): boolean {
    if ((s.flags & (SYN | ACK | RST | FIN)) !== SYN) return false;
    const isStamped = this.timestampsOk && s.hasTimestamps;
    if (isStamped && before(s.tsval, this.tsRecent)) return false;
    return after(s.seq, this.received) || (isStamped && after(s.tsval, this.tsRecent));
  }

  /** A segment for it; true when the wait begins anew, because the peer has sent its FIN again. */
  receive(stack: IpStack, s: Segment): boolean {
    // RFC 1337: a reset does not cut the wait short.
    if (s.flags & RST) return false;
    const size = s.length + (s.flags & FIN ? 1 : 0);
    const isOld = this.timestampsOk && s.hasTimestamps && before(s.tsval, this.tsRecent);
    const repeats = !isOld && (s.flags & FIN) !== 0 && !after((s.seq + size) | 0, this.received);
    const offset = distance(s.seq, this.received);
    const isInside = offset >= 0 && offset < Math.max(this.window * 2 ** this.scale, 1);
    if (repeats && s.hasTimestamps) {
      this.tsRecent = s.tsval;
      this.tsRecentAt = stack.now;
    }
    if (isOld || repeats || s.flags & SYN || !isInside) this.answer(stack, s.length > 0 || repeats);
    return repeats;
  }

  private get signing(): Signing | undefined {
    const { ao, position } = this;
    return ao ? { authenticate: (stack, seq) => ao.authenticate(stack, position, seq, false) } : this.md5Secret;
  }

  private answer(stack: IpStack, always: boolean): void {
    if (!always && stack.now - this.lastAnswerAt < ANSWER_MS) return;
    this.lastAnswerAt = stack.now;
    addresses(stack, this.local, this.remote, this.localPort, this.remotePort, this.hopLimit);
    const tsval = (Math.floor(stack.now) + this.tsOffset) | 0;
    const words = this.timestampsOk ? writeTimestamps(stack.out, OPTIONS, tsval, this.tsRecent) : 0;
    sendBare(stack, this.remote, ACK, this.nxt, this.received, this.window, words, this.signing);
  }
}

/** Of those whose wait is over, so many are kept for others. */
const MOST_SPARE = 1024;

/** Those that wait, by when their wait ends. A list through its members: a Set looks for its first one among all that have left it. */
export class WaitList implements Iterable<TimeWait> {
  size = 0;
  oldest: TimeWait | undefined;
  private newest: TimeWait | undefined;
  private readonly spare: TimeWait[] = [];

  /** One in the place of a connection, to be added. */
  take(tcb: Tcb): TimeWait {
    return (this.spare.pop() ?? new TimeWait()).begin(tcb);
  }

  /** Its wait is over: nobody refers to it any more. */
  give(wait: TimeWait): void {
    this.delete(wait);
    if (this.spare.length < MOST_SPARE) this.spare.push(wait);
  }

  add(wait: TimeWait): void {
    wait.earlier = this.newest;
    wait.later = undefined;
    if (this.newest) this.newest.later = wait;
    else this.oldest = wait;
    this.newest = wait;
    this.size++;
  }

  delete(wait: TimeWait): void {
    if (wait.earlier) wait.earlier.later = wait.later;
    else this.oldest = wait.later;
    if (wait.later) wait.later.earlier = wait.earlier;
    else this.newest = wait.earlier;
    wait.earlier = wait.later = undefined;
    this.size--;
  }

  *[Symbol.iterator](): Iterator<TimeWait> {
    for (let each = this.oldest; each; each = each.later) yield each;
  }
}
