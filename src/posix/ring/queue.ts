/**
 * The program's side of a ring, in the thread that owns the host or in any other: entries in, completions out. Nothing
 * happens until the owner is told (`Ring.enter`, or a message to the port that `Ring.serve` listens to).
 */
import * as l from "./layout.ts";

export interface Submission {
  opcode: number;
  fd?: number;
  /** Offset in the data region. */
  addr?: number;
  len?: number;
  off?: number;
  opFlags?: number;
  ioprio?: number;
  flags?: number;
  bufferGroup?: number;
  /** Source of a splice. */
  spliceFd?: number;
  /** 64 bits that come back with the completion. */
  userData?: bigint;
}

export interface Completion {
  readonly userData: bigint;
  readonly res: number;
  readonly flags: number;
}

export class RingQueue {
  private readonly ring: l.RingView;

  constructor(buffer: SharedArrayBuffer | ArrayBuffer) {
    this.ring = l.viewRing(buffer);
  }

  get data(): Uint8Array {
    return this.ring.data;
  }

  /** Completions that had to wait outside of a full queue, in all. */
  get overflow(): number {
    return Atomics.load(this.ring.words, l.CQ_OVERFLOW) >>> 0;
  }

  /** Adds an entry; false when the queue is full. */
  push(entry: Submission): boolean {
    const { words, view, submissions } = this.ring;
    const tail = words[l.SQ_TAIL];
    if (((tail - Atomics.load(words, l.SQ_HEAD)) | 0) >= submissions) return false;
    const at = l.HEADER_SIZE + l.SQE_SIZE * ((tail >>> 0) % submissions);
    view.setUint8(at + l.SQE_OPCODE, entry.opcode);
    view.setUint8(at + l.SQE_FLAGS, entry.flags ?? 0);
    view.setUint16(at + l.SQE_IOPRIO, entry.ioprio ?? 0, true);
    view.setInt32(at + l.SQE_FD, entry.fd ?? -1, true);
    setOffset(view, at + l.SQE_OFF, entry.off ?? 0);
    setOffset(view, at + l.SQE_ADDR, entry.addr ?? 0);
    view.setUint32(at + l.SQE_LEN, entry.len ?? 0, true);
    view.setUint32(at + l.SQE_OP_FLAGS, entry.opFlags ?? 0, true);
    view.setBigUint64(at + l.SQE_USER_DATA, entry.userData ?? 0n, true);
    view.setUint16(at + l.SQE_BUF_GROUP, entry.bufferGroup ?? 0, true);
    view.setInt32(at + l.SQE_SPLICE_FD, entry.spliceFd ?? -1, true);
    Atomics.store(words, l.SQ_TAIL, (tail + 1) | 0);
    return true;
  }

  /** Completions that wait. */
  get ready(): number {
    const { words } = this.ring;
    return (Atomics.load(words, l.CQ_TAIL) - words[l.CQ_HEAD]) | 0;
  }

  /** The oldest completion, taken out; undefined when none waits. */
  pop(): Completion | undefined {
    const { words, view, completions, cqes } = this.ring;
    const head = words[l.CQ_HEAD];
    if (Atomics.load(words, l.CQ_TAIL) === head) return undefined;
    const at = cqes + l.CQE_SIZE * ((head >>> 0) % completions);
    const out = {
      userData: view.getBigUint64(at + l.CQE_USER_DATA, true),
      res: view.getInt32(at + l.CQE_RES, true),
      flags: view.getUint32(at + l.CQE_FLAGS, true),
    };
    Atomics.store(words, l.CQ_HEAD, (head + 1) | 0);
    return out;
  }

  /** Blocks a worker until a completion waits; false after `timeoutMs`. */
  wait(timeoutMs = Number.POSITIVE_INFINITY): boolean {
    const { words } = this.ring;
    for (;;) {
      const tail = Atomics.load(words, l.CQ_TAIL);
      if (tail !== words[l.CQ_HEAD]) return true;
      if (Atomics.wait(words, l.CQ_TAIL, tail, timeoutMs) === "timed-out") return false;
    }
  }
}

function setOffset(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}
