/** poll(2): what is ready now, and promises for what will be. */
import { POLLERR, POLLHUP, POLLNVAL } from "./constants.ts";
import type { Description } from "./description.ts";

export interface PollEntry {
  /** Negative: skipped. */
  fd: number;
  events: number;
  revents: number;
}

const ALWAYS = POLLERR | POLLHUP;

export function pollNow(entries: PollEntry[], find: (fd: number) => Description | undefined): number {
  let ready = 0;
  for (const entry of entries) {
    const description = entry.fd < 0 ? undefined : find(entry.fd);
    entry.revents = description ? description.poll() & (entry.events | ALWAYS) : entry.fd < 0 ? 0 : POLLNVAL;
    if (entry.revents) ready++;
  }
  return ready;
}

/** Resolves with those of `events` (errors and hang-ups always) that are there, as soon as one is. */
export function waitFor(description: Description, events: number, signal?: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const now = description.poll() & (events | ALWAYS);
    if (now) {
      resolve(now);
      return;
    }
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const done = () => {
      description.waiters.remove(waiter);
      signal?.removeEventListener("abort", stop);
    };
    const stop = () => {
      done();
      reject(signal?.reason);
    };
    const waiter = {
      events,
      wake() {
        const mask = description.poll() & (events | ALWAYS);
        if (!mask) return;
        done();
        resolve(mask);
      },
    };
    signal?.addEventListener("abort", stop, { once: true });
    description.waiters.add(waiter);
  });
}

/** Resolves as soon as something happens to one of several descriptions, ready or not; rejects with the signal's reason. */
export function change(ends: readonly (readonly [Description, number])[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const undo: (() => void)[] = [() => signal.removeEventListener("abort", stop)];
    const settle = (finish: () => void) => {
      for (const each of undo.splice(0)) each();
      finish();
    };
    const stop = () => settle(() => reject(signal.reason));
    if (signal.aborted) {
      stop();
      return;
    }
    signal.addEventListener("abort", stop, { once: true });
    for (const [description, events] of ends) {
      const wake = () => settle(resolve);
      const waiter = { events, wake };
      description.waiters.add(waiter);
      description.onRelease.add(wake);
      undo.push(() => {
        description.waiters.remove(waiter);
        description.onRelease.delete(wake);
      });
    }
  });
}
