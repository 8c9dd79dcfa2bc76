/**
 * Least connections, weighted: a new flow goes where (flows + 1) / weight is smallest, that is where the load behind it will be
 * least. Of equals, whoever was chosen longest ago.
 *
 * Here a binary heap finds it exactly: picking looks at its top, a flow's begin and end move one member. The data plane, where
 * several workers count at once and a heap would need a lock, looks at a few members instead (rule "least").
 */
import { type Member, NOBODY, TableScheduler } from "./scheduler.ts";

interface Load {
  readonly member: Member;
  flows: number;
  /** When it was chosen last. */
  stamp: number;
  /** Place in the heap, -1 outside of it. */
  index: number;
}

export class LeastConnections extends TableScheduler {
  protected readonly rule = "least";
  private readonly loads = new Map<number, Load>();
  private heap: Load[] | undefined;
  private stamps = 0;

  override add(id: number, name: string, weight = 1): void {
    super.add(id, name, weight);
    this.loads.set(id, { member: this.member(id), flows: 0, stamp: 0, index: -1 });
  }

  override remove(id: number): void {
    super.remove(id);
    this.loads.delete(id);
  }

  pick(_hash: number): number {
    const heap = this.ordered();
    return heap.length === 0 ? NOBODY : heap[0].member.id;
  }

  override opened(id: number): void {
    const load = this.loads.get(id);
    if (!load) return;
    load.flows++;
    load.stamp = ++this.stamps;
    if (this.heap && load.index >= 0) this.down(this.heap, load);
  }

  override closed(id: number): void {
    const load = this.loads.get(id);
    if (!load || load.flows === 0) return;
    load.flows--;
    if (this.heap && load.index >= 0) this.up(this.heap, load);
  }

  flows(id: number): number {
    return this.loads.get(id)?.flows ?? 0;
  }

  /** Each member once: the weights are in the comparison. */
  protected fill(): Uint16Array {
    return Uint16Array.from(this.available(), ({ id }) => id);
  }

  protected override changed(): void {
    super.changed();
    this.heap = undefined;
  }

  private ordered(): Load[] {
    if (this.heap) return this.heap;
    for (const load of this.loads.values()) load.index = -1;
    const heap = this.available().map(({ id }) => this.loads.get(id) as Load);
    for (const [i, load] of heap.entries()) load.index = i;
    for (let i = heap.length >> 1; i >= 0; i--) if (heap[i]) this.down(heap, heap[i]);
    this.heap = heap;
    return heap;
  }

  private up(heap: Load[], load: Load): void {
    let { index } = load;
    while (index > 0) {
      const above = (index - 1) >> 1;
      if (!before(load, heap[above])) break;
      place(heap, heap[above], index);
      index = above;
    }
    place(heap, load, index);
  }

  private down(heap: Load[], load: Load): void {
    let { index } = load;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && before(heap[below + 1], heap[below])) below++;
      if (!before(heap[below], load)) break;
      place(heap, heap[below], index);
      index = below;
    }
    place(heap, load, index);
  }
}

function place(heap: Load[], load: Load, index: number): void {
  heap[index] = load;
  load.index = index;
}

/** Compared crosswise: no division, no rounding. */
function before(a: Load, b: Load): boolean {
  const left = (a.flows + 1) * b.member.weight * b.member.fraction;
  const right = (b.flows + 1) * a.member.weight * a.member.fraction;
  return left === right ? a.stamp < b.stamp : left < right;
}
