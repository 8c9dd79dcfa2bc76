/**
 * The application's region of memory in slabs: what sockets keep until it is acknowledged or read.
 *
 * Packets refer to bytes in a slab; the word in front of it counts them. A slab that is given back while packets
 * still name it waits until the last of them is gone, so that a late copy on a slow link never changes.
 *
 * Neither direction can take everything, or what is sent could not arrive. Three parts: one is shared among all who receive (`share`), one
 * is borrowed by those who receive over paths that need more (`borrow`), and what is sent has the rest, half of all at the most.
 */
import * as abi from "../../assembly/abi.ts";
import type { EngineMemory } from "./memory.ts";

/** Bytes of data in a slab. */
export const SLAB_BYTES = 16_384;
/** Not a power of two, so that slabs do not fall on the same cache sets. */
const STRIDE = SLAB_BYTES + 64;

/** Parts of all slabs: for whoever receives, for those who borrow beyond that (at the most), and for what is sent (at the most). */
const SHARED = 1 / 4;
const BORROWED_MOST = 1 / 2;
const SENDING_MOST = 1 / 2;

/** Bytes of the largest share: what a receive buffer begins with. */
export const SHARE_MOST = 131_072;

/** Milliseconds in which who receives counts as a receiver. */
const PERIOD = 1000;

/** What a slab is taken for. */
export type SlabUse = "sending" | "receiving";

export class SlabPool {
  readonly total: number;
  /** Slabs that what is sent holds. */
  private sending = 0;
  /** Queues that hold received bytes, connections that may; and what is borrowed of the bytes that may be. */
  private receivers = 0;
  private connections = 0;
  /** Receivers in this period and in the one before; a reader who keeps up holds nothing, but may stop. */
  private active = 0;
  private lately = 0;
  private period = 0;
  private periodEnd = 0;
  private borrowed = 0;
  /** Bytes that each of those who receive may keep without borrowing: less the more they are, a slab at the least. */
  share = SHARE_MOST;
  /** Slabs that what is sent may hold: half of all, or less what is borrowed. */
  sendMost = 0;
  /** So many have the largest share. */
  private readonly few: number;
  private readonly memory: EngineMemory;
  private readonly free: Int32Array;
  private count: number;
  /** Given back, but still named by packets. */
  private readonly waiting: number[] = [];

  constructor(memory: EngineMemory) {
    this.memory = memory;
    const base = memory.base(abi.REGION_APP);
    this.total = Math.floor(memory.size(abi.REGION_APP) / STRIDE);
    this.free = Int32Array.from({ length: this.total }, (_, i) => base + i * STRIDE + 64);
    this.count = this.total;
    this.few = Math.floor((this.total * SHARED * SLAB_BYTES) / SHARE_MOST);
    this.shareOut();
    this.divide();
  }

  /** Slabs that nobody holds. */
  get available(): number {
    return this.count + this.waiting.length;
  }

  /** Slabs that may still be taken for what is sent. */
  get sendRoom(): number {
    return Math.max(0, Math.min(this.available, this.sendMost - this.sending));
  }

  /** Address of a slab's data, or 0 when none is free for this. */
  take(use: SlabUse): number {
    if (use === "sending" && this.sending >= this.sendMost) return 0;
    if (this.count === 0) this.sweep();
    if (this.count === 0) return 0;
    if (use === "sending") this.sending++;
    return this.free[--this.count];
  }

  /** A slab is for something else from now on; false when that has its part already. */
  turn(from: SlabUse, to: SlabUse): boolean {
    if (from === to) return true;
    if (to === "sending" && this.sending >= this.sendMost) return false;
    this.sending += to === "sending" ? 1 : -1;
    return true;
  }

  /** A queue begins to hold received bytes (1), or holds none any more (-1). */
  countReceiver(by: 1 | -1): void {
    this.receivers += by;
    this.shareOut();
  }

  /** Something arrives for one that was counted in period `counted` last; returns the period it is counted in now. `now` in ms. */
  countArrival(counted: number, now: number): number {
    if (now >= this.periodEnd) {
      this.lately = now < this.periodEnd + PERIOD ? this.active : 0;
      this.active = 0;
      this.period++;
      this.periodEnd = now + PERIOD;
    }
    if (counted === this.period) return counted;
    this.active++;
    this.shareOut();
    return this.period;
  }

  private shareOut(): void {
    this.share = this.among(Math.max(this.receivers, this.active, this.lately));
  }

  /** A connection begins (1), or is over (-1). */
  countConnection(by: 1 | -1): void {
    this.connections += by;
  }

  /** As `share`, for those who hold nothing yet: all of them may at once. */
  get firstShare(): number {
    return Math.min(this.share, this.among(this.connections));
  }

  private among(others: number): number {
    return others < this.few ? SHARE_MOST : Math.max(1, Math.floor((this.total * SHARED) / (others + 1))) * SLAB_BYTES;
  }

  private divide(): void {
    this.sendMost = Math.ceil(Math.min(this.total * SENDING_MOST, this.total * (1 - SHARED) - this.borrowed / SLAB_BYTES));
  }

  /** Borrows up to `bytes` beyond one's share; returns how many there were. `repay` gives them back. */
  borrow(bytes: number): number {
    const most = Math.min(this.total * BORROWED_MOST, this.total * (1 - SHARED) - this.sending);
    const granted = Math.max(0, Math.min(bytes, Math.floor(most) * SLAB_BYTES - this.borrowed));
    this.borrowed += granted;
    this.divide();
    return granted;
  }

  repay(bytes: number): void {
    this.borrowed -= bytes;
    this.divide();
  }

  /** Address of the first of `n` slabs that lie side by side, as one piece of `runBytes(n)`; 0 when there is no such run. */
  takeRun(n: number): number {
    const free = this.free.subarray(0, this.count).sort();
    for (let i = 0; i + n <= free.length; i++) {
      if (free[i + n - 1] - free[i] !== (n - 1) * STRIDE) continue;
      const first = free[i];
      free.copyWithin(i, i + n);
      this.count -= n;
      return first;
    }
    return 0;
  }

  runBytes(n: number): number {
    return n * STRIDE - 64;
  }

  giveRun(first: number, n: number): void {
    for (let i = 0; i < n; i++) this.put(first + i * STRIDE);
  }

  give(slab: number, use: SlabUse): void {
    if (use === "sending") this.sending--;
    this.put(slab);
  }

  private put(slab: number): void {
    if (this.references(slab) === 0) this.free[this.count++] = slab;
    else this.waiting.push(slab);
  }

  /** Address of the word that counts the packets that name a slab. */
  cookie(slab: number): number {
    return slab - 64;
  }

  /** A plain read: only this thread counts up, so a nought is one, and a worker's last word may come a little late (`Atomics.load` is a call). */
  private references(slab: number): number {
    return this.memory.i32[(slab - 64) >>> 2];
  }

  private sweep(): void {
    const { waiting } = this;
    let kept = 0;
    for (const slab of waiting) {
      if (this.references(slab) === 0) this.free[this.count++] = slab;
      else waiting[kept++] = slab;
    }
    waiting.length = kept;
  }
}

/** A slab's place that nothing was written to yet. */
const HOLE = 0;

/**
 * Bytes of a stream in slabs, addressed by their distance from the first that is still kept. What lies behind the
 * end may be written too (a segment that overtook another): `length` is moved by whoever knows that the gap is closed.
 */
export class ByteQueue {
  length = 0;
  private readonly slabs: number[] = [];
  /** Offset of the first kept byte in the first slab. */
  private head = 0;
  /** End of what was reserved: beyond `length` when something came early. */
  private extent = 0;
  private holds = false;
  private readonly pool: SlabPool;
  private readonly memory: EngineMemory;
  private readonly use: SlabUse;

  constructor(pool: SlabPool, memory: EngineMemory, use: SlabUse) {
    this.pool = pool;
    this.memory = memory;
    this.use = use;
  }

  /**
   * Makes room for the bytes from `start` to `end`, and for nothing in front of them: a byte far ahead costs one slab.
   * False when the pool is empty.
   */
  reserve(start: number, end: number): boolean {
    const first = Math.floor((this.head + start) / SLAB_BYTES);
    const last = Math.ceil((this.head + end) / SLAB_BYTES);
    while (this.slabs.length < last) this.slabs.push(HOLE);
    this.noteHolding();
    for (let i = first; i < last; i++) {
      if (this.slabs[i] !== HOLE) continue;
      const slab = this.pool.take(this.use);
      if (slab === 0) return false;
      this.slabs[i] = slab;
    }
    this.extent = Math.max(this.extent, end);
    return true;
  }

  /** Bytes that lie in one piece from `offset` on, in a slab that exists. */
  run(offset: number): number {
    return SLAB_BYTES - ((this.head + offset) % SLAB_BYTES);
  }

  /** Address in memory of the byte at `offset`. */
  address(offset: number): number {
    const at = this.head + offset;
    return this.slabs[Math.floor(at / SLAB_BYTES)] + (at % SLAB_BYTES);
  }

  /** Address of the reference count of the slab that holds the byte at `offset`. */
  cookie(offset: number): number {
    return this.pool.cookie(this.slabs[Math.floor((this.head + offset) / SLAB_BYTES)]);
  }

  /** Appends what fits; returns how many bytes that was. */
  append(bytes: Uint8Array): number {
    let done = 0;
    while (done < bytes.length && this.reserve(this.length, this.length + 1)) {
      const n = Math.min(this.run(this.length), bytes.length - done);
      this.memory.u8.set(n === bytes.length ? bytes : bytes.subarray(done, done + n), this.address(this.length));
      this.length += n;
      this.extent = Math.max(this.extent, this.length);
      done += n;
    }
    return done;
  }

  /** Up to `most` bytes in place behind the end, to be filled and then taken in by `extend`; none when the pool is empty. */
  space(most: number): Uint8Array {
    if (most <= 0 || !this.reserve(this.length, this.length + 1)) return this.memory.u8.subarray(0, 0);
    const at = this.address(this.length);
    return this.memory.u8.subarray(at, at + Math.min(this.run(this.length), most));
  }

  /** The first `n` bytes behind the end, all of them in one piece of `space`, belong to the queue now. */
  extend(n: number): void {
    this.length += n;
    this.extent = Math.max(this.extent, this.length);
  }

  /** Up to `most` of the first bytes, in place, as far as they lie in one piece. */
  front(most: number): Uint8Array {
    const n = Math.min(this.run(0), this.length, most);
    const at = n > 0 ? this.address(0) : 0;
    return this.memory.u8.subarray(at, at + n);
  }

  /** Copies bytes from `offset` on into `out`; returns how many there were. */
  copy(offset: number, out: Uint8Array): number {
    const n = Math.min(out.length, this.length - offset);
    for (let done = 0; done < n; ) {
      const piece = Math.min(this.run(offset + done), n - done);
      const at = this.address(offset + done);
      out.set(this.memory.u8.subarray(at, at + piece), done);
      done += piece;
    }
    return n;
  }

  /**
   * Moves up to `n` of the first bytes to the end of another queue over the same pool: full slabs change hands where their
   * place in both queues is the same, other bytes are copied once. Returns how many; fewer when the pool is empty.
   */
  moveTo(to: ByteQueue, n: number): number {
    let done = 0;
    while (done < Math.min(n, this.length + done)) {
      const most = Math.min(n - done, this.length);
      const full = SLAB_BYTES - this.head;
      if (to.slabs.length === 0) to.head = this.head;
      const isAligned = to.head + to.length === to.slabs.length * SLAB_BYTES + (to.slabs.length === 0 ? this.head : 0);
      if (most >= full && isAligned && (this.head === 0 || to.slabs.length === 0)) {
        if (!this.pool.turn(this.use, to.use)) break;
        to.slabs.push(this.slabs.shift() as number);
        this.head = 0;
        this.length -= full;
        this.extent -= full;
        to.length += full;
        done += full;
      } else {
        if (!to.reserve(to.length, to.length + 1)) break;
        const piece = Math.min(most, this.run(0), to.run(to.length));
        this.memory.u8.copyWithin(to.address(to.length), this.address(0), this.address(0) + piece);
        to.length += piece;
        this.drop(piece);
        done += piece;
      }
      to.extent = Math.max(to.extent, to.length);
    }
    to.noteHolding();
    if (this.length === 0 && this.extent <= 0) this.trim();
    if (to.length === 0) to.trim();
    return done;
  }

  /** Forgets the first `n` bytes. */
  drop(n: number): void {
    this.head += n;
    this.length -= n;
    this.extent -= n;
    while (this.head >= SLAB_BYTES && this.slabs.length > 0) {
      this.giveBack(this.slabs.shift() as number);
      this.head -= SLAB_BYTES;
    }
    // An empty queue holds nothing: idle connections cost no slab.
    if (this.length === 0 && this.extent <= 0) this.trim();
  }

  private giveBack(slab: number): void {
    if (slab !== HOLE) this.pool.give(slab, this.use);
  }

  private noteHolding(): void {
    const holds = this.slabs.length > 0;
    if (holds === this.holds) return;
    this.holds = holds;
    if (this.use === "receiving") this.pool.countReceiver(holds ? 1 : -1);
  }

  /** Gives everything back that lies behind the end. */
  trim(): void {
    const wanted = this.length === 0 ? 0 : Math.ceil((this.head + this.length) / SLAB_BYTES);
    while (this.slabs.length > wanted) this.giveBack(this.slabs.pop() as number);
    if (this.slabs.length === 0) this.head = 0;
    this.extent = this.length;
    this.noteHolding();
  }

  clear(): void {
    this.length = 0;
    this.trim();
  }
}
