/** epoll(7): interest in many descriptions, and a list of those that are ready; by level, by edge, once, or one of many. */
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLERR,
  EPOLLET,
  EPOLLEXCLUSIVE,
  EPOLLHUP,
  EPOLLIN,
  EPOLLONESHOT,
  EPOLLOUT,
  EPOLLWAKEUP,
  POLLIN,
  POLLRDNORM,
} from "./constants.ts";
import { Description } from "./description.ts";
import { EEXIST, EINVAL, ELOOP, ENOENT } from "./errno.ts";
import type { Waiter } from "./wait-queue.ts";

export interface EpollEvent {
  events: number;
  /** What was given when the interest was declared. */
  data: number | bigint;
}

const MODES = (EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP) >>> 0;
const ALWAYS = EPOLLERR | EPOLLHUP;
/** What may go along with EPOLLEXCLUSIVE. */
const EXCLUSIVE = (EPOLLIN | EPOLLOUT | ALWAYS | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE) >>> 0;
/** How many epolls may watch one another in a row: Linux's EP_MAX_NESTS, and the one that is watched last. */
const MOST_IN_ROW = 5;

class Interest implements Waiter {
  readonly fd: number;
  readonly description: Description;
  event: EpollEvent;
  isReady = false;
  private readonly epoll: Epoll;

  constructor(epoll: Epoll, fd: number, description: Description, event: EpollEvent) {
    this.epoll = epoll;
    this.fd = fd;
    this.description = description;
    this.event = event;
  }

  /** Events without the bits that say how; 0 when a one-shot has fired. */
  get events(): number {
    return (this.event.events & ~MODES) >>> 0;
  }

  get exclusive(): boolean {
    return (this.event.events & EPOLLEXCLUSIVE) !== 0;
  }

  wake(_mask: number): boolean {
    if (this.events === 0) return false;
    this.epoll.ready(this);
    return true;
  }
}

export class Epoll extends Description {
  /** By description and number: a descriptor that was closed and opened again is another. */
  private readonly interests = new Map<Description, Map<number, Interest>>();
  private list: Interest[] = [];
  /** Epolls that watch this one, and by how many numbers. */
  private readonly watchers = new Map<Epoll, number>();

  /** 0, or -EEXIST, -ENOENT, -EINVAL, -ELOOP. */
  control(operation: number, fd: number, description: Description, event: EpollEvent | undefined): number {
    if (description === this) return -EINVAL;
    const there = this.interests.get(description)?.get(fd);
    if (operation === EPOLL_CTL_DEL) return there ? this.forget(there) : -ENOENT;
    if (!event) return -EINVAL;
    const asked = { events: (event.events | ALWAYS) >>> 0, data: event.data };
    if (operation === EPOLL_CTL_ADD) return there ? -EEXIST : this.addInterest(fd, description, asked);
    if (operation !== EPOLL_CTL_MOD) return -EINVAL;
    if (!there) return -ENOENT;
    if (asked.events & EPOLLEXCLUSIVE || there.exclusive) return -EINVAL;
    there.event = asked;
    this.look(there);
    return 0;
  }

  private addInterest(fd: number, description: Description, event: EpollEvent): number {
    if (event.events & EPOLLEXCLUSIVE && (event.events & ~EXCLUSIVE || description instanceof Epoll)) return -EINVAL;
    if (description instanceof Epoll) {
      const below = description.row("below", new Map());
      const above = this.row("above", new Map());
      if (below.has(this) || below.depth + above.depth > MOST_IN_ROW) return -ELOOP;
      description.watchers.set(this, (description.watchers.get(this) ?? 0) + 1);
    }
    const interest = new Interest(this, fd, description, event);
    const all = this.interests.get(description) ?? new Map<number, Interest>();
    this.interests.set(description, all.set(fd, interest));
    description.waiters.add(interest);
    description.onRelease.add(this.gone);
    this.look(interest);
    return 0;
  }

  /** The epolls that this one watches, or that watch it, itself among them, and how many stand in a row at most. Each is asked once. */
  private row(where: "below" | "above", known: Map<Epoll, number>): { depth: number; has(epoll: Epoll): boolean } {
    let most = 0;
    for (const each of where === "below" ? this.interests.keys() : this.watchers.keys()) {
      if (each instanceof Epoll) most = Math.max(most, known.get(each) ?? each.row(where, known).depth);
    }
    known.set(this, most + 1);
    return { depth: most + 1, has: (epoll) => known.has(epoll) };
  }

  private readonly gone = (description: Description) => {
    for (const interest of this.interests.get(description)?.values() ?? []) this.forget(interest);
  };

  private forget(interest: Interest): number {
    const { description, fd } = interest;
    const all = this.interests.get(description);
    description.waiters.remove(interest);
    if (description instanceof Epoll) {
      const left = (description.watchers.get(this) ?? 1) - 1;
      if (left > 0) description.watchers.set(this, left);
      else description.watchers.delete(this);
    }
    all?.delete(fd);
    if (all?.size === 0) {
      this.interests.delete(description);
      description.onRelease.delete(this.gone);
    }
    this.list = this.list.filter((each) => each !== interest);
    return 0;
  }

  private look(interest: Interest): void {
    if (interest.events && interest.description.poll() & (interest.events | ALWAYS)) this.ready(interest);
  }

  ready(interest: Interest): void {
    if (interest.isReady) return;
    interest.isReady = true;
    this.list.push(interest);
    this.waiters.wake(POLLIN | POLLRDNORM);
  }

  /** Fills `events` with what is ready now; returns how many. Who stays ready goes to the end of the line. */
  collect(events: EpollEvent[], most: number): number {
    const { list } = this;
    this.list = [];
    let n = 0;
    for (const [i, interest] of list.entries()) {
      if (n === most) {
        this.list.unshift(...list.slice(i));
        break;
      }
      interest.isReady = false;
      const { event } = interest;
      const mask = interest.events ? interest.description.poll() & (interest.events | ALWAYS) : 0;
      if (mask === 0) continue;
      events[n++] = { events: mask, data: event.data };
      if (event.events & EPOLLONESHOT) event.events = (event.events & MODES) >>> 0;
      else if (!(event.events & EPOLLET)) {
        interest.isReady = true;
        this.list.push(interest);
      }
    }
    return n;
  }

  /** Who was said to be ready and is not leaves the list: it is not asked again before something happens to it. */
  poll(): number {
    const { list } = this;
    for (let i = 0; i < list.length; i++) {
      const { events, description } = list[i];
      if (events && description.poll() & (events | ALWAYS)) {
        if (i > 0) this.list = list.slice(i);
        return POLLIN | POLLRDNORM;
      }
      list[i].isReady = false;
    }
    this.list = [];
    return 0;
  }

  protected release(): void {
    for (const all of [...this.interests.values()]) for (const interest of [...all.values()]) this.forget(interest);
  }
}
