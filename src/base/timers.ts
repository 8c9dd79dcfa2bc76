/**
 * Timers over a `Clock`: a heap ordered by deadline, ties by age, so that a run with one seed fires them in one order.
 *
 * Nothing is allocated after a `Timer` exists. Moving a deadline later (what a retransmission timer does with every
 * acknowledgement) touches one number: the heap learns of it when the old deadline comes up.
 */
export class Timer {
  /** Milliseconds on the clock, Infinity while not armed. */
  at = Number.POSITIVE_INFINITY;
  /** Where the heap believes it is. */
  queued = 0;
  index = -1;
  order = 0;
  private readonly action: (owner: never) => void;
  /** With whom the action is called; another one while it is not armed. */
  owner: unknown;

  /** Calls `action` with `owner`: whoever has thousands of timers needs no closure for each. */
  constructor(action: () => void);
  constructor(action: (owner: never) => void, owner: unknown);
  constructor(action: (owner: never) => void, owner?: unknown) {
    this.action = action;
    this.owner = owner;
  }

  fire(): void {
    this.action(this.owner as never);
  }

  get armed(): boolean {
    return this.at !== Number.POSITIVE_INFINITY;
  }
}

export class Timers {
  private readonly heap: Timer[] = [];
  private orders = 0;
  private isOver = false;

  /** Nothing fires any more, whatever is armed later. */
  close(): void {
    this.isOver = true;
    for (const timer of this.heap.splice(0)) {
      timer.at = Number.POSITIVE_INFINITY;
      timer.index = -1;
    }
  }

  /** Fires once at `at` (ms), instead of whenever it was to fire before. */
  arm(timer: Timer, at: number): void {
    timer.at = at;
    if (timer.index >= 0 && timer.queued <= at) return;
    if (this.isOver) {
      timer.at = Number.POSITIVE_INFINITY;
      return;
    }
    timer.queued = at;
    timer.order = this.orders++;
    if (timer.index < 0) {
      timer.index = this.heap.length;
      this.heap.push(timer);
    }
    this.up(timer.index);
  }

  cancel(timer: Timer): void {
    timer.at = Number.POSITIVE_INFINITY;
  }

  /** Takes a timer out of the heap, so that nothing refers to it any more. */
  remove(timer: Timer): void {
    timer.at = Number.POSITIVE_INFINITY;
    if (timer.index < 0) return;
    const last = this.heap.pop() as Timer;
    const { index } = timer;
    timer.index = -1;
    if (last === timer) return;
    this.heap[index] = last;
    last.index = index;
    this.down(index);
    this.up(last.index);
  }

  /** When something may be due (ms); Infinity when nothing is armed. Never later than the first deadline. */
  next(): number {
    for (let top = this.heap[0]; top; top = this.heap[0]) {
      if (top.at === top.queued) return top.at;
      this.requeue(top);
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Fires what is due at `now`; returns how many. A timer may arm itself again. */
  run(now: number): number {
    let fired = 0;
    for (let top = this.heap[0]; top && top.queued <= now; top = this.heap[0]) {
      if (top.at > top.queued) {
        this.requeue(top);
        continue;
      }
      this.remove(top);
      fired++;
      top.fire();
    }
    return fired;
  }

  get size(): number {
    return this.heap.length;
  }

  private requeue(timer: Timer): void {
    if (timer.at === Number.POSITIVE_INFINITY) {
      this.remove(timer);
      return;
    }
    timer.queued = timer.at;
    timer.order = this.orders++;
    this.down(timer.index);
  }

  private up(index: number): void {
    const { heap } = this;
    const timer = heap[index];
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(timer, heap[parent])) break;
      heap[index] = heap[parent];
      heap[index].index = index;
      index = parent;
    }
    heap[index] = timer;
    timer.index = index;
  }

  private down(index: number): void {
    const { heap } = this;
    const timer = heap[index];
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], timer)) break;
      heap[index] = heap[child];
      heap[index].index = index;
      index = child;
    }
    heap[index] = timer;
    timer.index = index;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.queued < b.queued || (a.queued === b.queued && a.order < b.order);
}
