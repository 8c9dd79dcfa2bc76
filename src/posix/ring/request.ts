/** One submission on its way: its fields, copied out of memory that its author may write again, and what it waits for. */
import type { Timer } from "../../base/timers.ts";
import type { Description } from "../description.ts";
import type { Waiter } from "../wait-queue.ts";
import * as l from "./layout.ts";

export class Request {
  readonly opcode: number;
  readonly flags: number;
  readonly ioprio: number;
  readonly fd: number;
  readonly off: number;
  readonly addr: number;
  readonly len: number;
  readonly opFlags: number;
  readonly userData: bigint;
  readonly bufferGroup: number;
  readonly spliceFd: number;
  /** What comes after it in its chain; and the request whose time limit this one is. */
  next: Request | undefined;
  limitOf: Request | undefined;
  limit: Request | undefined;
  /** Bytes that were moved already (MSG_WAITALL). */
  done = 0;
  /** A connect was begun. */
  isBegun = false;
  isOver = false;
  /** The description it was made for: a closed descriptor does not make it another. */
  description: Description | undefined;
  waiter: Waiter | undefined;
  /** The descriptor that it waits for. */
  waitsFor = -1;
  /** Called when its descriptor is closed. */
  abandon: (() => void) | undefined;
  timer: Timer | undefined;

  constructor(view: DataView, at: number) {
    this.opcode = view.getUint8(at + l.SQE_OPCODE);
    this.flags = view.getUint8(at + l.SQE_FLAGS);
    this.ioprio = view.getUint16(at + l.SQE_IOPRIO, true);
    this.fd = view.getInt32(at + l.SQE_FD, true);
    this.off = offset(view, at + l.SQE_OFF);
    this.addr = offset(view, at + l.SQE_ADDR);
    this.len = view.getUint32(at + l.SQE_LEN, true);
    this.opFlags = view.getUint32(at + l.SQE_OP_FLAGS, true);
    this.userData = view.getBigUint64(at + l.SQE_USER_DATA, true);
    this.bufferGroup = view.getUint16(at + l.SQE_BUF_GROUP, true);
    this.spliceFd = view.getInt32(at + l.SQE_SPLICE_FD, true);
  }

  get isLinked(): boolean {
    return (this.flags & (l.IOSQE_IO_LINK | l.IOSQE_IO_HARDLINK)) !== 0;
  }

  /** Completes many times: accept and recv by `ioprio`, poll by `len`. */
  get isMultishot(): boolean {
    if (this.opcode === l.IORING_OP_ACCEPT) return (this.ioprio & l.IORING_ACCEPT_MULTISHOT) !== 0;
    if (this.opcode === l.IORING_OP_RECV) return (this.ioprio & l.IORING_RECV_MULTISHOT) !== 0;
    return this.opcode === l.IORING_OP_POLL_ADD && (this.len & l.IORING_POLL_ADD_MULTI) !== 0;
  }
}

/** Offsets fit a number; what does not is no place in our memory. */
function offset(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
}
