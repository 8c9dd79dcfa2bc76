/**
 * The send buffer as Linux counts it (sk_sndbuf, sk_wmem_queued): data lies in units of up to half the peer's largest window,
 * each of which costs something of its own; a new unit is begun while the limit is not reached, and then filled. Without
 * SO_SNDBUF the limit follows the congestion window.
 */
import { distance } from "../tcp/sequence.ts";
import type { Tcb } from "../tcp/tcb.ts";

/** What a struct sk_buff of TCP takes besides its data (Linux 6.18, x86-64). */
const UNIT_OVERHEAD = 832;
/** MAX_TCP_HEADER with struct skb_shared_info, and struct sk_buff: what tcp_sndbuf_expand reckons for a segment. */
const SEGMENT_HEAD = 640;
const SEGMENT_BUFFER = 256;
const INITIAL_SEGMENTS = 10;
/** Windows that the buffer holds: one under way, one behind it. */
const WINDOWS = 2;
/** sk_gso_max_size. */
export const LARGEST_UNIT = 65_215;
const DEFAULT_MSS = 536;

/** Bytes of a whole unit (tcp_xmit_size_goal). */
export function unitSize(tcb: Tcb): number {
  const { mss, maxWindow } = tcb;
  const half = maxWindow > DEFAULT_MSS ? maxWindow >>> 1 : maxWindow;
  const most = half > 0 ? Math.min(half, LARGEST_UNIT) : LARGEST_UNIT;
  return Math.max(mss, most - (most % mss));
}

/** What waits to be acknowledged or sent, with what it costs (sk_wmem_queued). */
export function charged(tcb: Tcb): number {
  const bytes = tcb.queue?.length ?? 0;
  if (bytes === 0) return 0;
  const unit = unitSize(tcb);
  const unsent = Math.max(tcb.unsent, 0);
  return bytes + UNIT_OVERHEAD * (Math.ceil(unsent / unit) + Math.ceil((bytes - unsent) / unit));
}

export class SendSpace {
  /** The limit by itself; grows only. */
  private grown: number;
  /** Where the last unit began. */
  unitStart = 0;

  constructor(initial: number) {
    this.grown = initial;
  }

  /** Bytes that may be charged before writers wait (sk_sndbuf); `fixed`: what SO_SNDBUF says, 0: nothing. */
  limit(tcb: Tcb | undefined, fixed: number): number {
    const limit = fixed || this.grown;
    // The queue below must not be in the way.
    if (tcb && tcb.sendSpace < limit + LARGEST_UNIT) tcb.sendSpace = limit + LARGEST_UNIT;
    return limit;
  }

  /** With the congestion window (tcp_sndbuf_expand): when the connection is open, and when a writer who waits hears of an acknowledgement. */
  grow(tcb: Tcb): void {
    let segment = 1;
    while (segment < tcb.mss + SEGMENT_HEAD) segment *= 2;
    const segments = Math.max(INITIAL_SEGMENTS, Math.floor(tcb.cwnd / tcb.mss), tcb.reordering + 1);
    const wanted = WINDOWS * segments * (segment + SEGMENT_BUFFER);
    this.grown = Math.max(this.grown, Math.min(wanted, tcb.options.sendBuffer));
  }

  /** Bytes that a writer may add now: what the last unit lacks, or a new one; 0: it waits (sk_stream_memory_free). */
  room(tcb: Tcb, fixed: number, lowWater: number): number {
    const unit = unitSize(tcb);
    const { unsent } = tcb;
    const tail = (tcb.nxt + unsent) | 0;
    // What of the last unit was sent is a unit of its own now.
    const begun = Math.min(distance(tail, this.unitStart), unsent);
    if (begun > 0 && begun < unit) return unit - begun;
    if (lowWater > 0 && unsent >= lowWater) return 0;
    if (charged(tcb) >= this.limit(tcb, fixed)) return 0;
    this.unitStart = tail;
    return unit;
  }

  /** Something was acknowledged: is it worth waking the writer who waits? Who fills the congestion window gets no more room. */
  opens(tcb: Tcb, fixed: number, lowWater: number): boolean {
    if (tcb.underWay < tcb.cwnd) this.grow(tcb);
    return this.isWritable(tcb, fixed, lowWater);
  }

  /** Is it worth waking a writer? A third is free (sk_stream_is_writeable). */
  isWritable(tcb: Tcb, fixed: number, lowWater: number): boolean {
    if (lowWater > 0 && tcb.unsent >= lowWater) return false;
    const used = charged(tcb);
    return this.limit(tcb, fixed) - used >= used >>> 1;
  }
}
