/** The four rings of an AF_XDP socket, mapped: one producer and one consumer each (Documentation/networking/af_xdp.rst). */
import { struct, systemError } from "./libc.ts";
import type { Libc } from "./libc-symbols.ts";

export const SOL_XDP = 283;
const XDP_MMAP_OFFSETS = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const NEED_WAKEUP = 1;

/** Their options, where they are mapped, and bytes of an entry: descriptors {address u64, length u32, options u32} or addresses. */
const KINDS = {
  rx: { option: 2, page: 0, entry: 16, offsets: 0 },
  tx: { option: 3, page: 0x80000000, entry: 16, offsets: 32 },
  fill: { option: 5, page: 0x100000000, entry: 8, offsets: 64 },
  completion: { option: 6, page: 0x180000000, entry: 8, offsets: 96 },
} as const;

export type RingKind = keyof typeof KINDS;

/** Asks the kernel for a ring; all four must be there before any is mapped. */
export function sizeRing(libc: Libc, fd: number, kind: RingKind, entries: number): void {
  if (libc.setsockopt(fd, SOL_XDP, KINDS[kind].option, struct(4, [[0, 4, entries]]), 4) < 0) {
    throw systemError(`cannot make the ${kind} ring`, libc.errno());
  }
}

export class XdpRing {
  /** Words of the mapping; entry `i` of ours begins at `slot(i)`. */
  readonly words: Int32Array;
  private readonly libc: Libc;
  private readonly address: number;
  private readonly bytes: number;
  private readonly mask: number;
  private readonly entryWords: number;
  private readonly producerAt: number;
  private readonly consumerAt: number;
  private readonly flagsAt: number;
  private readonly entriesAt: number;
  /** Our side's index. */
  private index = 0;
  readonly entries: number;

  constructor(libc: Libc, fd: number, kind: RingKind, entries: number) {
    const { entry, page, offsets } = KINDS[kind];
    const places = new DataView(new ArrayBuffer(128));
    const room = struct(4, [[0, 4, 128]]);
    if (libc.getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, new Uint8Array(places.buffer), room) < 0) {
      throw systemError("cannot find the rings", libc.errno());
    }
    const place = (i: number) => Number(places.getBigUint64(offsets + 8 * i, true));
    this.libc = libc;
    this.bytes = place(2) + entries * entry;
    this.address = libc.mmap(0, this.bytes, PROT_READ_WRITE, MAP_SHARED_POPULATE, fd, page);
    if (this.address < 0) throw systemError(`cannot map the ${kind} ring`, libc.errno());
    this.words = new Int32Array(libc.view(this.address, this.bytes));
    this.producerAt = place(0) >>> 2;
    this.consumerAt = place(1) >>> 2;
    this.entriesAt = place(2) >>> 2;
    this.flagsAt = place(3) >>> 2;
    this.mask = entries - 1;
    this.entries = entries;
    this.entryWords = entry / 4;
  }

  /** Consumer: entries that the kernel wrote and we have not taken. */
  get available(): number {
    return (Atomics.load(this.words, this.producerAt) - this.index) >>> 0;
  }

  /** Producer: places that are free. */
  get room(): number {
    return this.entries - ((this.index - Atomics.load(this.words, this.consumerAt)) >>> 0);
  }

  /** Word of the next entry of our side, which is passed by. */
  next(): number {
    return this.entriesAt + (this.index++ & this.mask) * this.entryWords;
  }

  /** Producer: the kernel may take what was written up to here. */
  publish(): void {
    Atomics.store(this.words, this.producerAt, this.index | 0);
  }

  /** Consumer: the kernel may write over what was taken up to here. */
  release(): void {
    Atomics.store(this.words, this.consumerAt, this.index | 0);
  }

  /** The kernel sleeps and wants a call. */
  get needsWakeup(): boolean {
    return (Atomics.load(this.words, this.flagsAt) & NEED_WAKEUP) !== 0;
  }

  close(): void {
    this.libc.munmap(this.address, this.bytes);
  }
}
