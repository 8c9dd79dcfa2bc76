/**
 * Entries by the time at which they end: the one that ends first is found at once, so that nobody looks at all of them to
 * learn that none is free. Entries that were replaced meanwhile stay until they come to the top, or until they are the most.
 */
export class ExpiryHeap<E extends { readonly expires: number }> {
  private heap: E[] = [];
  private readonly isCurrent: (entry: E) => boolean;

  constructor(isCurrent: (entry: E) => boolean) {
    this.isCurrent = isCurrent;
  }

  /** `live`: how many entries are current now. */
  push(entry: E, live: number): void {
    if (this.heap.length > 2 * live + 64) {
      const current = this.heap.filter(this.isCurrent);
      this.heap = [];
      for (const each of current) this.insert(each);
    }
    this.insert(entry);
  }

  private insert(entry: E): void {
    const { heap } = this;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (heap[above].expires <= entry.expires) break;
      heap[at] = heap[above];
      at = above;
    }
    heap[at] = entry;
  }

  /** The current entry that ends first, if it has ended by `now`. It stays. */
  ended(now: number): E | undefined {
    for (let top = this.heap[0]; top && top.expires <= now; top = this.heap[0]) {
      if (this.isCurrent(top)) return top;
      this.removeTop();
    }
    return undefined;
  }

  private removeTop(): void {
    const { heap } = this;
    const last = heap.pop() as E;
    if (heap.length === 0) return;
    let at = 0;
    for (let below = 1; below < heap.length; below = 2 * at + 1) {
      if (below + 1 < heap.length && heap[below + 1].expires < heap[below].expires) below++;
      if (heap[below].expires >= last.expires) break;
      heap[at] = heap[below];
      at = below;
    }
    heap[at] = last;
  }
}
