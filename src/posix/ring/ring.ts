/**
 * A submission and completion ring in the manner of io_uring(7): a program puts many calls into memory and tells the owner
 * once; what would block waits here and completes when it can. Calls may be linked, repeat themselves, be cancelled, and
 * have time limits.
 *
 *   const ring = new Ring(process);
 *   ring.queue.push({ opcode: IORING_OP_ACCEPT, fd, ioprio: IORING_ACCEPT_MULTISHOT, userData: 1n });
 *   ring.enter();
 *   const completion = await ring.next();
 */
import { Timer } from "../../base/timers.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP } from "../constants.ts";
import { EBADF, EBUSY, ECANCELED, EINVAL, ENOENT, ETIME } from "../errno.ts";
import type { Process } from "../process.ts";
import * as l from "./layout.ts";
import { RingData } from "./memory.ts";
import { type Outcome, operate, WAIT_IN, WAIT_OUT } from "./operations.ts";
import { PendingRequests } from "./pending.ts";
import { type Completion, RingQueue } from "./queue.ts";
import { Request } from "./request.ts";

/** Requests that wait at most; more submissions are not taken until some are done. */
const MOST_PENDING = 65_536;

/** What tells an owner that another thread has submitted: a MessagePort, a worker. */
export interface Doorbell {
  onmessage: ((event: never) => void) | null;
}

/** A request that is over, and what its completion says. */
interface Ended {
  readonly request: Request;
  readonly result: number;
  readonly flags: number;
}

export class Ring {
  readonly queue: RingQueue;
  private readonly process: Process;
  private readonly ring: l.RingView;
  private readonly data: RingData;
  private readonly pending = new PendingRequests();
  /** Completions that found the queue full. */
  private readonly overflow: Completion[] = [];
  /** Completions in all, and time limits that end when there are so many. */
  private completed = 0;
  private readonly counted = new Map<number, Set<Request>>();
  /** Requests whose end is not told yet: one after the other, since each may end or begin others. */
  private ended: Ended[] = [];
  private isTelling = false;
  private readonly woken = new Set<Request>();
  private readonly outcome: Outcome = { flags: 0 };
  private sleepers: (() => void)[] = [];
  private isClosed = false;

  /** Over memory of its own, or over memory that another thread has too (`ringMemory`). */
  constructor(process: Process, memory: l.RingSizes | SharedArrayBuffer | ArrayBuffer = {}) {
    this.process = process;
    const isBuffer = "byteLength" in memory;
    this.ring = l.viewRing(isBuffer ? memory : l.ringMemory(memory));
    this.data = new RingData(this.ring.data);
    this.queue = new RingQueue(this.ring.buffer);
  }

  get buffer(): SharedArrayBuffer | ArrayBuffer {
    return this.ring.buffer;
  }

  /** Begins what was submitted; returns how many entries, or -EBUSY while completions wait outside of a full queue. */
  enter(): number {
    this.drain();
    if (this.overflow.length > 0) return -EBUSY;
    const { words, view, submissions } = this.ring;
    const tail = Atomics.load(words, l.SQ_TAIL);
    let head = words[l.SQ_HEAD];
    const count = Math.min((tail - head) >>> 0, submissions);
    let taken = 0;
    for (let first: Request | undefined, last: Request | undefined; taken < count && this.pending.size < MOST_PENDING; taken++) {
      const request = new Request(view, l.HEADER_SIZE + l.SQE_SIZE * ((head >>> 0) % submissions));
      head = (head + 1) | 0;
      if (last) last.next = request;
      first ??= request;
      last = request.isLinked && taken + 1 < count ? request : undefined;
      if (!last) {
        this.start(first);
        first = undefined;
      }
    }
    Atomics.store(words, l.SQ_HEAD, head);
    return taken;
  }

  /** Enters whenever the doorbell rings: the other thread posts anything after it has submitted. */
  serve(doorbell: Doorbell): void {
    doorbell.onmessage = () => void this.enter();
  }

  /** The next completion, taken out of the queue as soon as there is one. */
  async next(): Promise<Completion> {
    for (;;) {
      const completion = this.queue.pop();
      if (completion) {
        this.drain();
        return completion;
      }
      this.drain();
      if (this.queue.ready === 0) await new Promise<void>((resolve) => this.sleepers.push(resolve));
    }
  }

  /** Cancels everything that waits. */
  close(): void {
    this.isClosed = true;
    for (const request of [...this.pending]) this.finish(request, -ECANCELED, 0);
  }

  // ── Requests ──────────────────────────────────────────────────────────────────────────────────

  private start(request: Request): void {
    this.pending.add(request);
    const { next } = request;
    if (next?.opcode === l.IORING_OP_LINK_TIMEOUT && request.isLinked) this.limit(request, next);
    this.advance(request);
  }

  /** The next in the chain is the time that this one has. */
  private limit(request: Request, limit: Request): void {
    request.next = limit.next;
    limit.next = undefined;
    limit.limitOf = request;
    request.limit = limit;
    this.pending.add(limit);
    const ms = this.data.timespec(limit.addr);
    if (ms < 0) this.finish(limit, ms, 0);
    else this.arm(limit, ms, () => this.limitReached(limit));
  }

  private limitReached(limit: Request): void {
    const { limitOf } = limit;
    this.finish(limit, -ETIME, 0);
    if (limitOf) this.finish(limitOf, -ECANCELED, 0);
  }

  /** Does as much of a request as can be done now. */
  private advance(request: Request): void {
    while (!request.isOver) {
      this.outcome.flags = 0;
      const result = this.run(request);
      if (result === WAIT_IN || result === WAIT_OUT) {
        this.await(request, result === WAIT_IN ? POLLIN | POLLRDHUP : POLLOUT);
        return;
      }
      if (result === undefined) return;
      const { flags } = this.outcome;
      if (!request.isMultishot || result < 0 || (result === 0 && request.opcode === l.IORING_OP_RECV)) this.finish(request, result, flags);
      // What repeats itself ends when nobody takes its completions.
      else if (!this.post(request, result, flags | l.IORING_CQE_F_MORE)) this.finish(request, -ECANCELED, 0);
      else {
        request.done = 0;
        if (request.opcode === l.IORING_OP_POLL_ADD) return;
      }
    }
  }

  private run(request: Request): number | undefined {
    switch (request.opcode) {
      case l.IORING_OP_POLL_ADD:
        return this.poll(request);
      case l.IORING_OP_TIMEOUT:
        return this.timeout(request);
      case l.IORING_OP_LINK_TIMEOUT:
        return -EINVAL;
      case l.IORING_OP_ASYNC_CANCEL:
      case l.IORING_OP_POLL_REMOVE:
      case l.IORING_OP_TIMEOUT_REMOVE:
        return this.cancel(request);
      default:
        return operate(request, this.process, this.data, this.outcome);
    }
  }

  /** Waits by the description, so that the number may be closed meanwhile. */
  private await(request: Request, events: number): void {
    const isSplice = request.opcode === l.IORING_OP_SPLICE;
    const fd = isSplice && events & POLLIN ? request.spliceFd : request.fd;
    if (isSplice && request.waitsFor !== fd) this.leave(request);
    request.waitsFor = fd;
    request.description ??= this.process.descriptors.get(fd);
    const { description } = request;
    if (!description) {
      this.finish(request, -EBADF, 0);
      return;
    }
    if (request.waiter) return;
    request.waiter = { events, wake: () => this.wake(request) };
    description.waiters.add(request.waiter);
    // Who closes a descriptor cancels what waits for it.
    request.abandon = () => this.finish(request, -ECANCELED, 0);
    description.onRelease.add(request.abandon);
  }

  /** Waits for nothing any more. */
  private leave(request: Request): void {
    const { description, waiter, abandon } = request;
    if (waiter) description?.waiters.remove(waiter);
    if (abandon) description?.onRelease.delete(abandon);
    request.description = request.waiter = request.abandon = undefined;
  }

  /** Later, and together with others: a wake comes out of the middle of a packet. */
  private wake(request: Request): void {
    if (this.woken.size === 0) queueMicrotask(() => this.work());
    this.woken.add(request);
  }

  private work(): void {
    const requests = [...this.woken];
    this.woken.clear();
    for (const request of requests) {
      const { description } = request;
      if (request.isOver || !description) continue;
      if (this.process.descriptors.get(request.waitsFor) !== description) this.finish(request, -EBADF, 0);
      else this.advance(request);
    }
  }

  private poll(request: Request): number | undefined {
    const description = request.description ?? this.process.descriptors.get(request.fd);
    if (!description) return -EBADF;
    const mask = description.poll() & (request.opFlags | POLLERR | POLLHUP);
    if (mask === 0 || request.isMultishot) this.await(request, request.opFlags);
    return mask === 0 ? undefined : mask;
  }

  private timeout(request: Request): number | undefined {
    const ms = this.data.timespec(request.addr);
    if (ms < 0) return ms;
    const { ip } = this.process.host;
    ip.touch();
    const wait = request.opFlags & l.IORING_TIMEOUT_ABS ? ms - ip.now : ms;
    if (request.off > 0) this.count(request);
    this.arm(request, wait, () => this.finish(request, -ETIME, 0));
    return undefined;
  }

  /** Ends a time limit with the completion that is `off` from now. */
  private count(request: Request): void {
    request.done = this.completed + request.off;
    const known = this.counted.get(request.done);
    if (known) known.add(request);
    else this.counted.set(request.done, new Set([request]));
  }

  private uncount(request: Request): void {
    const known = this.counted.get(request.done);
    if (known?.delete(request) && known.size === 0) this.counted.delete(request.done);
  }

  private arm(request: Request, ms: number, fire: () => void): void {
    const { ip } = this.process.host;
    ip.touch();
    request.timer = new Timer(fire);
    ip.timers.arm(request.timer, ip.now + Math.max(ms, 0));
    this.process.host.engine.wake();
  }

  /** By user data, or by descriptor; one or all. */
  private cancel(request: Request): number {
    const flags = request.opcode === l.IORING_OP_ASYNC_CANCEL ? request.opFlags : 0;
    const isMany = (flags & (l.IORING_ASYNC_CANCEL_ALL | l.IORING_ASYNC_CANCEL_ANY)) !== 0;
    const meant =
      flags & l.IORING_ASYNC_CANCEL_ANY
        ? this.pending
        : flags & l.IORING_ASYNC_CANCEL_FD
          ? this.pending.of(request.fd)
          : this.pending.named(BigInt(request.addr));
    const chosen: Request[] = [];
    for (const each of meant) {
      if (each !== request) chosen.push(each);
      if (chosen.length > 0 && !isMany) break;
    }
    for (const each of chosen) this.finish(each, -ECANCELED, 0);
    if (isMany) return chosen.length;
    return chosen.length > 0 ? 0 : -ENOENT;
  }

  // ── Completions ───────────────────────────────────────────────────────────────────────────────

  private finish(request: Request, result: number, flags: number): void {
    if (request.isOver) return;
    this.detach(request);
    this.ended.push({ request, result, flags });
    this.tell();
  }

  /** Tells of all ends, and of those that come of them: in a loop, since a chain may be as long as the queue. */
  private tell(): void {
    if (this.isTelling) return;
    this.isTelling = true;
    try {
      for (let i = 0; i < this.ended.length; i++) this.tellOf(this.ended[i]);
    } finally {
      this.ended = [];
      this.isTelling = false;
    }
  }

  /** From now on nothing reaches the request. */
  private detach(request: Request): void {
    request.isOver = true;
    this.pending.delete(request);
    this.woken.delete(request);
    this.leave(request);
    if (request.opcode === l.IORING_OP_TIMEOUT) this.uncount(request);
    if (request.timer) this.process.host.ip.timers.remove(request.timer);
  }

  private tellOf({ request, result, flags }: Ended): void {
    const { limit } = request;
    if (limit && !limit.isOver) {
      this.detach(limit);
      this.post(limit, -ECANCELED, 0);
    }
    const isQuiet = result >= 0 && (request.flags & l.IOSQE_CQE_SKIP_SUCCESS) !== 0;
    const isZeroCopy = request.opcode === l.IORING_OP_SEND_ZC && result >= 0;
    if (!isQuiet) this.post(request, result, isZeroCopy ? flags | l.IORING_CQE_F_MORE : flags);
    // The bytes were copied: their memory is free at once.
    if (isZeroCopy) this.post(request, 0, l.IORING_CQE_F_NOTIF);
    const { next } = request;
    if (!next || request.opcode === l.IORING_OP_LINK_TIMEOUT) return;
    const goesOn = result >= 0 || (request.flags & l.IOSQE_IO_HARDLINK) !== 0;
    if (goesOn && !this.isClosed) this.start(next);
    else this.finish(next, -ECANCELED, 0);
  }

  /** Puts a completion into the queue; false when it has to wait outside. */
  private post({ userData }: Request, res: number, flags: number): boolean {
    const completion = { userData, res, flags };
    this.drain();
    this.completed++;
    const fits = this.overflow.length === 0 && this.put(completion);
    if (!fits) {
      this.overflow.push(completion);
      Atomics.add(this.ring.words, l.CQ_OVERFLOW, 1);
    }
    for (const wake of this.sleepers.splice(0)) wake();
    for (const each of [...(this.counted.get(this.completed) ?? [])]) this.finish(each, 0, 0);
    return fits;
  }

  private put({ userData, res, flags }: Completion): boolean {
    const { words, view, completions, cqes } = this.ring;
    const tail = words[l.CQ_TAIL];
    if (((tail - Atomics.load(words, l.CQ_HEAD)) | 0) >= completions) return false;
    const at = cqes + l.CQE_SIZE * ((tail >>> 0) % completions);
    view.setBigUint64(at + l.CQE_USER_DATA, userData, true);
    view.setInt32(at + l.CQE_RES, res, true);
    view.setUint32(at + l.CQE_FLAGS, flags, true);
    Atomics.store(words, l.CQ_TAIL, (tail + 1) | 0);
    Atomics.notify(words, l.CQ_TAIL);
    return true;
  }

  private drain(): void {
    let n = 0;
    while (n < this.overflow.length && this.put(this.overflow[n])) n++;
    if (n > 0) this.overflow.splice(0, n);
  }
}
