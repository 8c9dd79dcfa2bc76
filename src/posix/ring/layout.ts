/**
 * The memory of a ring: submission and completion entries as Linux's io_uring lays them out, in typed arrays that threads
 * may share. `addr` fields are offsets into the data region at the end.
 *
 *   0         header: eight words, indices that only grow
 *   64        submissions, 64 bytes each
 *   …         completions, 16 bytes each
 *   …         data
 */

/** Words of the header. */
export const SQ_HEAD = 0;
export const SQ_TAIL = 1;
export const CQ_HEAD = 2;
export const CQ_TAIL = 3;
/** Completions that found the queue full and had to wait outside of it. */
export const CQ_OVERFLOW = 4;
export const SQ_ENTRIES = 5;
export const CQ_ENTRIES = 6;
export const DATA_BYTES = 7;
export const HEADER_SIZE = 64;

/** struct io_uring_sqe. */
export const SQE_SIZE = 64;
export const SQE_OPCODE = 0;
export const SQE_FLAGS = 1;
export const SQE_IOPRIO = 2;
export const SQE_FD = 4;
export const SQE_OFF = 8;
export const SQE_ADDR = 16;
export const SQE_LEN = 24;
export const SQE_OP_FLAGS = 28;
export const SQE_USER_DATA = 32;
export const SQE_BUF_GROUP = 40;
export const SQE_SPLICE_FD = 44;

/** struct io_uring_cqe. */
export const CQE_SIZE = 16;
export const CQE_USER_DATA = 0;
export const CQE_RES = 8;
export const CQE_FLAGS = 12;

export * from "./opcodes.ts";

export interface RingSizes {
  /** Entries of each queue, powers of two. Defaults 256, and twice as many completions. */
  submissions?: number;
  completions?: number;
  /** Bytes for what is sent, received and named. Default 1 MiB. */
  data?: number;
}

export interface RingView {
  readonly buffer: SharedArrayBuffer | ArrayBuffer;
  readonly words: Int32Array;
  readonly view: DataView;
  readonly data: Uint8Array;
  readonly submissions: number;
  readonly completions: number;
  readonly cqes: number;
}

/** Memory for a ring: shared where the runtime allows it. */
export function ringMemory({
  submissions = 256,
  completions = 2 * submissions,
  data = 1 << 20,
}: RingSizes = {}): SharedArrayBuffer | ArrayBuffer {
  const bytes = HEADER_SIZE + SQE_SIZE * submissions + CQE_SIZE * completions + data;
  const buffer = typeof SharedArrayBuffer === "function" ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  const words = new Int32Array(buffer, 0, HEADER_SIZE / 4);
  words[SQ_ENTRIES] = submissions;
  words[CQ_ENTRIES] = completions;
  words[DATA_BYTES] = data;
  return buffer;
}

export function viewRing(buffer: SharedArrayBuffer | ArrayBuffer): RingView {
  const words = new Int32Array(buffer, 0, HEADER_SIZE / 4);
  const [submissions, completions, bytes] = [words[SQ_ENTRIES], words[CQ_ENTRIES], words[DATA_BYTES]];
  const cqes = HEADER_SIZE + SQE_SIZE * submissions;
  const data = new Uint8Array(buffer, cqes + CQE_SIZE * completions, bytes);
  return { buffer, words, view: new DataView(buffer), data, submissions, completions, cqes };
}
