/**
 * Buffers that a program has provided, by group: as the pieces in which they came, so that a submission costs the same
 * whether it provides one buffer or all of them.
 */
import { EINVAL, ENOBUFS, ENOENT, ENOMEM } from "../errno.ts";

/** Buffers of one group at most (MAX_BIDS_PER_BGID), and pieces of all groups together. */
const MOST_BUFFERS = 65_536;
const MOST_PIECES = 65_536;
/** Used-up pieces in front of a list before it is cut. */
const SLACK = 64;

export interface Buffer {
  readonly id: number;
  readonly addr: number;
  readonly len: number;
}

/** Buffers side by side with consecutive numbers. */
interface Piece {
  id: number;
  addr: number;
  readonly len: number;
  count: number;
}

interface Group {
  pieces: Piece[];
  first: number;
  count: number;
}

export class ProvidedBuffers {
  private readonly groups = new Map<number, Group>();
  private pieces = 0;

  /** Adds `count` buffers of `len` bytes from `addr` on; 0, -EINVAL for too many in a group, -ENOMEM for too many pieces. */
  provide(id: number, addr: number, len: number, count: number, first: number): number {
    const group = this.groups.get(id) ?? { pieces: [], first: 0, count: 0 };
    if (group.count + count > MOST_BUFFERS) return -EINVAL;
    if (this.pieces >= MOST_PIECES) return -ENOMEM;
    this.groups.set(id, group);
    group.pieces.push({ id: first & 0xffff, addr, len, count });
    group.count += count;
    this.pieces++;
    return 0;
  }

  /** Takes up to `count` buffers of a group away; how many, or -ENOENT. */
  withdraw(id: number, count: number): number {
    const group = this.groups.get(id);
    if (!group || count <= 0) return -ENOENT;
    let left = Math.min(count, group.count);
    const gone = left;
    while (left > 0) {
      const n = Math.min(left, group.pieces[group.first].count);
      this.advance(id, group, n);
      left -= n;
    }
    return gone;
  }

  take(id: number): Buffer | number {
    const group = this.groups.get(id);
    if (!group) return -ENOBUFS;
    const { id: number, addr, len } = group.pieces[group.first];
    this.advance(id, group, 1);
    return { id: number, addr, len };
  }

  /** A buffer that was not used after all: it is the next again. */
  giveBack(id: number, buffer: Buffer): void {
    const group = this.groups.get(id) ?? { pieces: [], first: 0, count: 0 };
    this.groups.set(id, group);
    const next = group.pieces[group.first];
    group.count++;
    if (next?.len === buffer.len && next.addr === buffer.addr + buffer.len && next.id === ((buffer.id + 1) & 0xffff)) {
      next.addr = buffer.addr;
      next.id = buffer.id;
      next.count++;
      return;
    }
    this.pieces++;
    const piece = { ...buffer, count: 1 };
    if (group.first > 0) group.pieces[--group.first] = piece;
    else group.pieces.unshift(piece);
  }

  /** The first `n` buffers of the first piece are gone; an empty group too. */
  private advance(id: number, group: Group, n: number): void {
    const piece = group.pieces[group.first];
    piece.id = (piece.id + n) & 0xffff;
    piece.addr += n * piece.len;
    piece.count -= n;
    group.count -= n;
    if (piece.count > 0) return;
    this.pieces--;
    group.first++;
    if (group.count === 0) this.groups.delete(id);
    else if (group.first >= SLACK && 2 * group.first >= group.pieces.length) {
      group.pieces = group.pieces.slice(group.first);
      group.first = 0;
    }
  }
}
