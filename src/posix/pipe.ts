/** A pipe (pipe(7)): a bounded queue of bytes between two descriptors. */
import { FIONREAD, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "./constants.ts";
import { Description } from "./description.ts";
import { EAGAIN, EBADF, EBUSY, EINVAL, ENOTTY, EPERM, EPIPE } from "./errno.ts";

const CAPACITY = 65_536;
/** Linux's fs.pipe-max-size, and fs.pipe-user-pages-soft in bytes: who has more gets small pipes. */
const MOST_CAPACITY = 1 << 20;
const PAGE = 4096;
const SOFT_LIMIT = 16_384 * PAGE;
const SMALL = 2 * PAGE;
/** Writes up to this size are whole or not at all. */
const ATOMIC = 4096;
const IN = POLLIN | POLLRDNORM;
const OUT = POLLOUT | POLLWRNORM;

/** Bytes of the pipes that somebody has made. */
export interface PipeAccount {
  bytes: number;
}

/** A ring of bytes. */
export class PipeBuffer {
  length = 0;
  reader: Description | undefined;
  writer: Description | undefined;
  private bytes: Uint8Array;
  private head = 0;

  private readonly account: PipeAccount;

  constructor(account: PipeAccount = { bytes: 0 }) {
    const capacity = account.bytes + CAPACITY > SOFT_LIMIT ? SMALL : CAPACITY;
    this.account = account;
    this.bytes = new Uint8Array(capacity);
    account.bytes += capacity;
  }

  /** One end is gone; with the other one the memory. */
  ended(): void {
    if (this.reader || this.writer) return;
    this.account.bytes -= this.bytes.length;
    this.bytes = new Uint8Array(0);
    this.length = this.head = 0;
  }

  get capacity(): number {
    return this.bytes.length;
  }

  get room(): number {
    return this.bytes.length - this.length;
  }

  put(from: Uint8Array): number {
    const n = Math.min(from.length, this.room);
    const tail = (this.head + this.length) % this.bytes.length;
    const first = Math.min(n, this.bytes.length - tail);
    this.bytes.set(from.subarray(0, first), tail);
    this.bytes.set(from.subarray(first, n), 0);
    this.length += n;
    if (n > 0) this.reader?.waiters.wake(IN);
    return n;
  }

  /** The first bytes, as far as they lie in one piece. */
  front(most: number): Uint8Array {
    return this.bytes.subarray(this.head, Math.min(this.head + Math.min(most, this.length), this.bytes.length));
  }

  drop(n: number): void {
    this.head = (this.head + n) % this.bytes.length;
    this.length -= n;
    if (n > 0) this.writer?.waiters.wake(OUT);
  }

  take(into: Uint8Array): number {
    let done = 0;
    while (done < into.length && this.length > 0) {
      const piece = this.front(into.length - done);
      into.set(piece, done);
      done += piece.length;
      this.drop(piece.length);
    }
    return done;
  }

  /** F_SETPIPE_SZ: whole pages, a power of two; -EBUSY when what is there does not fit. */
  resize(asked: number): number {
    if (!(asked >= 0)) return -EINVAL;
    if (asked > MOST_CAPACITY) return -EPERM;
    let size = PAGE;
    while (size < asked) size *= 2;
    if (size < this.length) return -EBUSY;
    const more = size - this.bytes.length;
    if (more > 0 && this.account.bytes + more > SOFT_LIMIT) return -EPERM;
    this.account.bytes += more;
    const bytes = new Uint8Array(size);
    const n = this.take(bytes);
    this.bytes = bytes;
    this.head = 0;
    this.length = n;
    return size;
  }
}

export class PipeReader extends Description {
  readonly buffer: PipeBuffer;

  constructor(buffer: PipeBuffer) {
    super();
    this.buffer = buffer;
    buffer.reader = this;
  }

  override read(into: Uint8Array): number {
    if (into.length === 0) return 0;
    return this.buffer.take(into) || (this.buffer.writer ? -EAGAIN : 0);
  }

  override write(): number {
    return -EBADF;
  }

  poll(): number {
    return (this.buffer.length > 0 ? IN : 0) | (this.buffer.writer ? 0 : POLLHUP);
  }

  override ioctl(request: number): number {
    return request === FIONREAD ? this.buffer.length : -ENOTTY;
  }

  protected release(): void {
    this.buffer.reader = undefined;
    this.buffer.ended();
    this.buffer.writer?.waiters.wake(OUT | POLLERR);
  }
}

export class PipeWriter extends Description {
  readonly buffer: PipeBuffer;

  constructor(buffer: PipeBuffer) {
    super();
    this.buffer = buffer;
    buffer.writer = this;
  }

  override read(): number {
    return -EBADF;
  }

  override write(from: Uint8Array): number {
    const { buffer } = this;
    if (!buffer.reader) return -EPIPE;
    if (from.length === 0) return 0;
    if (buffer.room === 0 || (from.length <= ATOMIC && buffer.room < from.length)) return -EAGAIN;
    return buffer.put(from);
  }

  poll(): number {
    const { buffer } = this;
    // A page must be free: what fits less is not worth a wake.
    return (buffer.room >= ATOMIC ? OUT : 0) | (buffer.reader ? 0 : OUT | POLLERR);
  }

  override ioctl(request: number): number {
    return request === FIONREAD ? this.buffer.length : -ENOTTY;
  }

  protected release(): void {
    this.buffer.writer = undefined;
    this.buffer.ended();
    this.buffer.reader?.waiters.wake(IN | POLLHUP);
  }
}
