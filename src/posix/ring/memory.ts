/** What submissions point to in the data region: bytes, names, struct msghdr, and buffers that were provided. Every offset is checked. */
import { EFAULT, EINVAL } from "../errno.ts";
import { type ControlMessage, decodeControl, encodeControl, type Message } from "../message.ts";
import { decodeName, encodeName, type SocketName } from "../names.ts";
import { ProvidedBuffers } from "./buffers.ts";

/** struct msghdr with 64-bit pointers, struct iovec. */
const MSGHDR_SIZE = 56;
const IOVEC_SIZE = 16;
const MOST_PIECES = 1024;

export class RingData {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  readonly buffers = new ProvidedBuffers();

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** A piece of the region, or -EFAULT. */
  piece(addr: number, len: number): Uint8Array | number {
    return addr + len <= this.bytes.length ? this.bytes.subarray(addr, addr + len) : -EFAULT;
  }

  name(addr: number, len: number): SocketName | number {
    const bytes = this.piece(addr, len);
    return typeof bytes === "number" ? bytes : decodeName(bytes.slice());
  }

  /** Seconds and nanoseconds (struct __kernel_timespec), in milliseconds; or -EFAULT, -EINVAL. */
  timespec(addr: number): number {
    if (addr + 16 > this.bytes.length) return -EFAULT;
    const [seconds, nanos] = [this.view.getBigInt64(addr, true), this.view.getBigInt64(addr + 8, true)];
    return seconds < 0n || nanos < 0n || nanos >= 1_000_000_000n ? -EINVAL : Number(seconds) * 1000 + Number(nanos) / 1e6;
  }

  // ── Messages ──────────────────────────────────────────────────────────────────────────────────

  /** The message at `addr`; to be sent it has its name and control messages. */
  message(addr: number, isSent: boolean): Message | number {
    if (addr + MSGHDR_SIZE > this.bytes.length) return -EFAULT;
    const iov = this.iovec(this.at(addr + 16), this.at(addr + 24));
    if (typeof iov === "number") return iov;
    if (!isSent) return { iov, control: [] };
    const nameLength = this.view.getUint32(addr + 8, true);
    const name = nameLength > 0 ? this.name(this.at(addr), nameLength) : undefined;
    if (typeof name === "number") return name;
    const control = this.control(this.at(addr + 32), this.at(addr + 40));
    return typeof control === "number" ? control : { iov, name, control };
  }

  private iovec(addr: number, count: number): Uint8Array[] | number {
    if (count > MOST_PIECES) return -EINVAL;
    if (addr + IOVEC_SIZE * count > this.bytes.length) return -EFAULT;
    const out: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const piece = this.piece(this.at(addr + IOVEC_SIZE * i), this.at(addr + IOVEC_SIZE * i + 8));
      if (typeof piece === "number") return piece;
      out.push(piece);
    }
    return out;
  }

  private control(addr: number, length: number): ControlMessage[] | number {
    if (length === 0) return [];
    if (addr + length > this.bytes.length) return -EFAULT;
    return decodeControl(this.bytes.subarray(addr, addr + length));
  }

  /** Writes name, control messages and flags of a received message back into its struct msghdr; returns its flags. */
  writeBack(addr: number, message: Message, truncatedControl: number): void {
    const { view } = this;
    const name = message.name ? encodeName(message.name) : new Uint8Array(0);
    const nameRoom = this.piece(this.at(addr), Math.min(view.getUint32(addr + 8, true), name.length));
    if (typeof nameRoom !== "number") nameRoom.set(name.subarray(0, nameRoom.length));
    view.setUint32(addr + 8, name.length, true);
    const [start, room] = [this.at(addr + 32), this.at(addr + 40)];
    const into = this.piece(start, room);
    const control = message.control ?? [];
    const { used, isWhole } = typeof into === "number" ? { used: 0, isWhole: control.length === 0 } : encodeControl(control, into);
    const flags = (message.flags ?? 0) | (isWhole ? 0 : truncatedControl);
    view.setBigUint64(addr + 40, BigInt(used), true);
    view.setInt32(addr + 48, flags, true);
  }

  private at(addr: number): number {
    return this.view.getUint32(addr, true) + this.view.getUint32(addr + 4, true) * 0x1_0000_0000;
  }

  // ── Provided buffers ──────────────────────────────────────────────────────────────────────────

  /** Buffers of the region: 0, or -EINVAL, -EFAULT, -ENOMEM. */
  provide(group: number, addr: number, len: number, count: number, first: number): number {
    if (len === 0 || count <= 0) return -EINVAL;
    if (addr + len * count > this.bytes.length) return -EFAULT;
    return this.buffers.provide(group, addr, len, count, first);
  }
}
