/** What lies in the queue of a Unix domain socket: bytes or a message, who sent it, and what came along. */

/** Something that travels along and must be given back when nobody takes it (a descriptor). */
export interface Passenger {
  drop(): void;
}

export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Parcel {
  data: Uint8Array;
  /** Name of the sender, "" without one. */
  readonly from: string;
  readonly credentials: Credentials;
  passengers: readonly Passenger[];
}

/** struct sk_buff and struct skb_shared_info, to whole cache lines, and the smallest and the largest piece of kmalloc. */
const SKB = 256;
const SHARED_INFO = 320;
const LEAST_PIECE = 512;
const MOST_PIECE = 8192;
const PAGE = 4096;

/** What a message costs its sender while it waits (Linux's truesize): an empty one is not for nothing. */
export function messageCost(bytes: number): number {
  const wanted = bytes + SHARED_INFO;
  if (wanted > MOST_PIECE) return SKB + LEAST_PIECE + Math.ceil(bytes / PAGE) * PAGE;
  let piece = LEAST_PIECE;
  while (piece < wanted) piece *= 2;
  return SKB + piece;
}
