/**
 * Who waits for something to happen to a description: pollers, epoll entries, promises. A wake names the kind of
 * readiness (POLLIN, POLLOUT …), so that nobody is woken for what he did not ask for.
 */
export interface Waiter {
  /** Kinds of readiness of interest; errors and hang-ups always are. */
  readonly events: number;
  /** Of these only one is woken at a time (EPOLLEXCLUSIVE). */
  readonly exclusive?: boolean;
  /** Returns true when the event was taken over by somebody. */
  wake(mask: number): boolean | void;
}

const ALWAYS = 0x8 | 0x10;

export class WaitQueue {
  private readonly waiters = new Set<Waiter>();

  add(waiter: Waiter): void {
    this.waiters.add(waiter);
  }

  remove(waiter: Waiter): void {
    this.waiters.delete(waiter);
  }

  wake(mask: number): void {
    if (this.waiters.size === 0) return;
    let taken = false;
    for (const waiter of [...this.waiters]) {
      if (!(mask & (waiter.events | ALWAYS)) || (waiter.exclusive && taken)) continue;
      if (waiter.wake(mask) && waiter.exclusive) taken = true;
    }
  }
}
