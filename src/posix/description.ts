/**
 * An open file description, as POSIX calls what descriptors refer to: several descriptors, of several processes, may
 * share one (`dup`, SCM_RIGHTS). It goes when the last of them is closed.
 */
import { EINVAL, ENOTTY } from "./errno.ts";
import { WaitQueue } from "./wait-queue.ts";

export abstract class Description {
  /** O_NONBLOCK and the access mode. */
  status = 0;
  readonly waiters = new WaitQueue();
  /** Who is told of urgent data (F_SETOWN): a process, a group below 0, nobody 0; and how. */
  owner = 0;
  signal: ((number: number) => void) | undefined;
  /** Who wants to know when the last descriptor is closed. */
  readonly onRelease = new Set<(description: Description) => void>();
  private references = 0;

  /** Readiness now, as poll(2) has it. */
  abstract poll(): number;

  /** The last descriptor was closed. */
  protected abstract release(): void;

  read(_into: Uint8Array): number {
    return -EINVAL;
  }

  write(_from: Uint8Array): number {
    return -EINVAL;
  }

  readv(pieces: readonly Uint8Array[]): number {
    let done = 0;
    for (const piece of pieces) {
      const n = this.read(piece);
      if (n < 0) return done || n;
      done += n;
      if (n < piece.length) break;
    }
    return done;
  }

  writev(pieces: readonly Uint8Array[]): number {
    let done = 0;
    for (const piece of pieces) {
      const n = this.write(piece);
      if (n < 0) return done || n;
      done += n;
      if (n < piece.length) break;
    }
    return done;
  }

  /** The value of a query, 0 for a command, or a negative error. */
  ioctl(_request: number, _argument: number): number {
    return -ENOTTY;
  }

  /** Does one descriptor alone refer to it? */
  get isLast(): boolean {
    return this.references === 1;
  }

  hold(): this {
    this.references++;
    return this;
  }

  /** Descriptors that refer to it, in tables and in messages. */
  get holders(): number {
    return this.references;
  }

  /** One holder less, but not the last one. */
  protected loosened(): void {}

  drop(): void {
    if (--this.references > 0) {
      this.loosened();
      return;
    }
    for (const tell of [...this.onRelease]) tell(this);
    this.release();
  }
}
