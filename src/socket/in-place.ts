/**
 * Bytes of a connection where they lie: a program writes into the send buffer itself and reads out of the receive buffer
 * itself, so that nothing is copied between the program and the packets (what MSG_ZEROCOPY and io_uring's registered
 * buffers are for). The memory is the engine's: a view is good until the call that gives it back.
 */
import { LoomError } from "../base/errors.ts";
import { SLAB_BYTES } from "../engine/slabs.ts";
import { Accounts } from "../tcp/accounts.ts";
import { SendMarks } from "../tcp/send-marks.ts";
import type { Tcb } from "../tcp/tcb.ts";
import * as user from "../tcp/user.ts";

/** The socket whose bytes they are. */
export interface InPlaceOwner {
  readonly closed: Promise<void>;
  whenReadable(): Promise<unknown>;
  /** Nothing will be there to be read any more. */
  readonly hasEnded: boolean;
  whenRoomy(): Promise<void>;
  /** The end of what is read was reached. */
  readToEnd(): void;
}

interface Completion {
  resolve(): void;
  reject(error: unknown): void;
}

export class InPlace {
  private readonly tcb: Tcb;
  private readonly owner: InPlaceOwner;
  private reserved = 0;
  private readonly completions: Completion[] = [];
  private marks: SendMarks | undefined;

  constructor(tcb: Tcb, owner: InPlaceOwner) {
    this.tcb = tcb;
    this.owner = owner;
  }

  /**
   * Room in the send buffer, one byte at least and `most` bytes at the most (never more than 16 KiB), to be filled and sent
   * with `commit`. Waits until there is some. Not while a `write` waits. Rejects when nothing can be sent any more.
   */
  async reserve(most = SLAB_BYTES): Promise<Uint8Array> {
    if (!(most >= 1)) throw new LoomError("EINVAL", `room for ${most} bytes; expected a number from 1`);
    for (;;) {
      const space = user.reserve(this.tcb, most);
      this.reserved = space.length;
      if (space.length > 0) return space;
      await this.owner.whenRoomy();
    }
  }

  /** Sends the first `bytes` of what `reserve` gave last; the view is not to be touched any more. EINVAL: more than was reserved. */
  commit(bytes: number): void {
    if (!(Number.isInteger(bytes) && bytes >= 1 && bytes <= this.reserved)) {
      throw new LoomError("EINVAL", `${bytes} bytes of ${this.reserved} that are reserved`);
    }
    this.reserved = 0;
    user.commit(this.tcb, bytes);
  }

  /** Resolves when the peer has acknowledged everything that was sent so far; rejects when it never will. */
  delivered(): Promise<void> {
    const { tcb } = this;
    const end = user.writtenTo(tcb);
    if (((end - tcb.una) | 0) <= 0) return Promise.resolve();
    const arrived = new Promise<void>((resolve, reject) => this.completions.push({ resolve, reject }));
    arrived.catch(() => {});
    this.marksOf().add(end, 0);
    return arrived;
  }

  /**
   * Shows what arrived to `look`, as it lies in the receive buffer, and gives it back when that returns; waits until there is
   * something. Bytes, or null at the end.
   */
  async read(look: (bytes: Uint8Array) => void, most = SLAB_BYTES): Promise<number | null> {
    for (;;) {
      await this.owner.whenReadable();
      const bytes = user.arrivedInPlace(this.tcb, most);
      if (bytes?.length) {
        look(bytes);
        return user.discard(this.tcb, bytes.length);
      }
      // Another read may have taken what came.
      if (this.owner.hasEnded) break;
    }
    this.owner.readToEnd();
    return null;
  }

  private marksOf(): SendMarks {
    if (this.marks) return this.marks;
    const { tcb, owner, completions } = this;
    tcb.accounts ??= new Accounts();
    this.marks = new SendMarks({ departed: () => {}, acknowledged: () => completions.shift()?.resolve() });
    tcb.accounts.marks = this.marks;
    const end = (error: unknown) => {
      for (const { reject } of completions.splice(0)) reject(error);
    };
    owner.closed.then(() => end(new LoomError("ECONNRESET", "the connection ended before these bytes were acknowledged")), end);
    return this.marks;
  }
}
