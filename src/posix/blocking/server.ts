/** The owner's side of a worker's blocking calls: makes each call, and where it would block waits and makes it again. */
import { Timer } from "../../base/timers.ts";
import * as c from "../constants.ts";
import { DatagramSocket } from "../datagram-socket.ts";
import type { Description } from "../description.ts";
import type { EpollEvent } from "../epoll.ts";
import { EAGAIN, EALREADY, EFAULT, EINPROGRESS, EINVAL, ENOSYS } from "../errno.ts";
import { decodeControl, encodeControl, type Message } from "../message.ts";
import { decodeName, encodeName, type Slot, type SocketName } from "../names.ts";
import { change, type PollEntry, waitFor } from "../poll.ts";
import type { Process } from "../process.ts";
import { Socket } from "../socket.ts";
import { TcpSocket } from "../tcp-socket.ts";
import * as p from "./protocol.ts";

const ALWAYS = c.POLLERR | c.POLLHUP;
/** How often a lingering connection is looked at. */
const LOOK_MS = 5;

/** What rings when a request is there: a MessagePort of the worker. */
export interface Bell {
  onmessage: ((event: never) => void) | null;
}

/** Serves a worker's calls until the returned function is called. Each worker has memory and a port of its own. */
export function serveCalls(process: Process, memory: SharedArrayBuffer, bell: Bell): () => void {
  const server = new CallServer(process, p.openChannel(memory));
  bell.onmessage = () => void server.serve();
  return () => {
    bell.onmessage = null;
    server.stop();
  };
}

class CallServer {
  private readonly process: Process;
  private readonly channel: p.Channel;
  /** What waits now: aborted when its time is over, or when the server stops. */
  private readonly waits = new Set<AbortController>();
  private isStopped = false;
  private isServing = false;

  constructor(process: Process, channel: p.Channel) {
    this.process = process;
    this.channel = channel;
  }

  stop(): void {
    this.isStopped = true;
    for (const wait of this.waits) wait.abort();
  }

  /** Runs with a signal that comes after `ms` (0: never) of the stack's time. */
  private async within(ms: number, run: (signal: AbortSignal) => Promise<unknown>): Promise<boolean> {
    const { engine, ip } = this.process.host;
    const wait = new AbortController();
    const timer = new Timer(() => wait.abort());
    this.waits.add(wait);
    ip.touch();
    if (ms > 0) ip.timers.arm(timer, ip.now + ms);
    if (ms > 0) engine.wake();
    if (this.isStopped) wait.abort();
    try {
      await run(wait.signal);
      return true;
    } catch {
      return false;
    } finally {
      ip.timers.remove(timer);
      this.waits.delete(wait);
    }
  }

  private get now(): number {
    return this.process.host.engine.clock.now();
  }

  /** One call at a time: who rings while his call waits has said nothing new. */
  async serve(): Promise<void> {
    const { words } = this.channel;
    if (this.isServing || Atomics.load(words, p.STATE) !== p.REQUEST) return;
    this.isServing = true;
    const name = p.CALLS[words[p.CALL]];
    const result = name === undefined ? -ENOSYS : await this.make(name).catch(() => -EINVAL);
    this.isServing = false;
    words[p.RESULT] = result;
    Atomics.store(words, p.STATE, p.REPLY);
    Atomics.notify(words, p.STATE);
  }

  private get args(): number[] {
    return [...this.channel.words.subarray(p.ARGUMENTS, p.ARGUMENTS + p.MOST_ARGUMENTS)];
  }

  /** A copy of the request's bytes: what was made of them may outlive the request. */
  private bytes(): Uint8Array {
    return this.channel.data.slice(0, Math.max(this.channel.words[p.DATA_BYTES], 0));
  }

  private room(size: number): Uint8Array {
    return this.channel.data.subarray(0, Math.max(size, 0));
  }

  private async make(call: p.CallName): Promise<number> {
    const { process, channel } = this;
    const { words } = channel;
    const args = this.args;
    const [fd, second, third, fourth] = args;
    switch (call) {
      case "bind":
      case "connect": {
        const name = decodeName(channel.name.slice(0, words[p.NAME_BYTES]));
        if (typeof name === "number") return name;
        return call === "bind" ? process.bind(fd, name) : this.connect(fd, name);
      }
      case "accept4": {
        const peer: Slot<SocketName> = {};
        const result = await this.repeat(fd, c.POLLIN, () => process.accept4(fd, second, peer));
        this.answerName(peer.value);
        return result;
      }
      case "getsockname":
      case "getpeername": {
        const name: Slot<SocketName> = {};
        const result = process[call](fd, name);
        this.answerName(name.value);
        return result;
      }
      case "read":
        return this.answerBytes(await this.repeat(fd, c.POLLIN, () => process.read(fd, this.room(second))));
      case "write": {
        const bytes = this.bytes();
        return this.whole(fd, bytes.length, (done) => process.write(fd, bytes.subarray(done)));
      }
      case "recvmsg":
        return this.receive(fd, second, third, fourth !== 0);
      case "sendmsg":
        return this.send(fd, second);
      case "getsockopt":
        return this.answerBytes(process.getsockopt(fd, second, third, this.room(fourth)));
      case "setsockopt":
        return process.setsockopt(fd, second, third, this.bytes());
      case "pipe2":
      case "socketpair": {
        const pair: [number, number] = [-1, -1];
        const result = call === "pipe2" ? process.pipe2(pair, fd) : process.socketpair(fd, second, third, pair);
        words.set(pair, p.ARGUMENTS);
        return result;
      }
      case "close":
        return this.close(fd);
      case "poll":
        return this.poll(fd);
      case "epollCtl": {
        const bytes = this.bytes();
        const data = bytes.length >= 8 ? new DataView(bytes.buffer).getBigUint64(0, true) : undefined;
        return process.epollCtl(fd, second, third, data === undefined ? undefined : { events: fourth >>> 0, data });
      }
      case "epollWait":
        return this.epollWait(fd, second, third);
      case "splice":
        return this.repeat(fd, c.POLLIN, () => process.splice(fd, second, third, fourth), 0, second);
      default:
        return (process as unknown as Record<string, (...args: number[]) => number>)[call](...args.slice(0, 3));
    }
  }

  /** SO_LINGER: the last close of a connection waits for what was written to arrive, for so long. */
  private async close(fd: number): Promise<number> {
    const description = this.process.descriptors.get(fd);
    const lingering = description instanceof TcpSocket && description.isLast ? description.lingering : undefined;
    const result = this.process.close(fd);
    const { clock } = this.process.host.engine;
    const until = this.now + (lingering?.ms ?? 0);
    while (lingering && !lingering.isOver() && this.now < until && !this.isStopped) await clock.sleep(LOOK_MS);
    return result;
  }

  // ── Waiting ───────────────────────────────────────────────────────────────────────────────────

  private mayBlock(fd: number, flags = 0): boolean {
    const status = this.process.fcntl(fd, c.F_GETFL);
    return status >= 0 && !(status & c.O_NONBLOCK) && !(flags & c.MSG_DONTWAIT);
  }

  /** Milliseconds that SO_RCVTIMEO or SO_SNDTIMEO leave; 0: for ever. */
  private limit(fd: number, events: number): number {
    const description = this.process.descriptors.get(fd);
    if (!(description instanceof Socket)) return 0;
    return events & c.POLLIN ? description.settings.receiveTimeout : description.settings.sendTimeout;
  }

  /** False when the time is over. */
  private wait(fd: number, events: number, ms: number): Promise<boolean> {
    return this.within(ms, (signal) => this.process.wait(fd, events, signal));
  }

  /**
   * Waits after a call that would have blocked: for what is not ready yet. What says that it is, and was of no use all the same,
   * must change first: asking it again and again would leave nobody else a turn.
   */
  private waitForChange(fd: number, events: number, ms: number, target: number | undefined): Promise<boolean> {
    const { descriptors } = this.process;
    const ends = [[descriptors.get(fd), events] as const];
    if (target !== undefined) ends.push([descriptors.get(target), c.POLLOUT]);
    for (const [description, wanted] of ends) {
      if (!description) return Promise.resolve(true);
      if (!(description.poll() & (wanted | ALWAYS))) return this.within(ms, (signal) => waitFor(description, wanted, signal));
    }
    return this.within(ms, (signal) => change(ends as (readonly [Description, number])[], signal));
  }

  /** Makes a call until it does not say EAGAIN, or the socket's time limit is over. `target`: what it writes to, when that is another. */
  private async repeat(fd: number, events: number, call: () => number, flags = 0, target?: number): Promise<number> {
    const limit = this.limit(fd, events);
    const deadline = this.now + limit;
    for (;;) {
      const result = call();
      if (result !== -EAGAIN || !this.mayBlock(fd, flags)) return result;
      const description = this.process.descriptors.get(fd);
      if (events & c.POLLIN && description instanceof DatagramSocket && description.isAtEnd) return 0;
      const left = limit > 0 ? deadline - this.now : 0;
      if ((limit > 0 && left <= 0) || !(await this.waitForChange(fd, events, left, target))) return result;
    }
  }

  /** A blocking write is over when everything is written. */
  private async whole(fd: number, length: number, call: (done: number) => number, flags = 0): Promise<number> {
    let done = 0;
    do {
      const n = await this.repeat(fd, c.POLLOUT, () => call(done), flags);
      if (n < 0) return done || n;
      done += n;
    } while (done < length && this.mayBlock(fd, flags));
    return done;
  }

  private async connect(fd: number, name: SocketName): Promise<number> {
    const first = this.process.connect(fd, name);
    if (first !== -EINPROGRESS || !this.mayBlock(fd)) return first;
    if (!(await this.wait(fd, c.POLLOUT, this.limit(fd, c.POLLOUT)))) return first;
    const result = this.process.connect(fd, name);
    return result === -EALREADY ? first : result;
  }

  // ── Messages ──────────────────────────────────────────────────────────────────────────────────

  private async receive(fd: number, size: number, flags: number, wantsControl: boolean): Promise<number> {
    const into = this.room(size);
    const message: Message = { iov: [into], control: wantsControl ? [] : undefined };
    let done = 0;
    for (;;) {
      message.iov = [into.subarray(done)];
      const n = await this.repeat(
        fd,
        flags & c.MSG_ERRQUEUE ? c.POLLERR : c.POLLIN,
        () => this.process.recvmsg(fd, message, flags),
        flags | (flags & c.MSG_ERRQUEUE ? c.MSG_DONTWAIT : 0),
      );
      if (n < 0 && done === 0) return n;
      done += Math.max(n, 0);
      if (n <= 0 || !(flags & c.MSG_WAITALL) || flags & c.MSG_PEEK || done >= size || !this.mayBlock(fd, flags)) break;
    }
    const { words, control } = this.channel;
    const { used, isWhole } = encodeControl(message.control ?? [], control);
    words[p.DATA_BYTES] = Math.min(done, size);
    words[p.CONTROL_BYTES] = used;
    words[p.FLAGS] = (message.flags ?? 0) | (isWhole ? 0 : c.MSG_CTRUNC);
    this.answerName(message.name);
    return done;
  }

  private async send(fd: number, flags: number): Promise<number> {
    const { words, name, control } = this.channel;
    const to = words[p.NAME_BYTES] > 0 ? decodeName(name.slice(0, words[p.NAME_BYTES])) : undefined;
    const along = decodeControl(control.slice(0, words[p.CONTROL_BYTES]));
    if (typeof to === "number") return to;
    if (typeof along === "number") return along;
    const bytes = this.bytes();
    const call = (done: number) =>
      this.process.sendmsg(fd, { iov: [bytes.subarray(done)], name: to, control: done === 0 ? along : [] }, flags);
    return this.whole(fd, bytes.length, call, flags);
  }

  private answerName(name: SocketName | undefined): void {
    const bytes = name ? encodeName(name) : new Uint8Array(0);
    this.channel.name.set(bytes);
    this.channel.words[p.NAME_BYTES] = bytes.length;
  }

  private answerBytes(result: number): number {
    this.channel.words[p.DATA_BYTES] = Math.max(result, 0);
    return result;
  }

  // ── Readiness ─────────────────────────────────────────────────────────────────────────────────

  private async poll(timeoutMs: number): Promise<number> {
    const bytes = this.bytes();
    const view = new DataView(bytes.buffer);
    const entries: PollEntry[] = [];
    for (let at = 0; at + p.POLLFD_SIZE <= bytes.length; at += p.POLLFD_SIZE) {
      entries.push({ fd: view.getInt32(at, true), events: view.getUint16(at + 4, true), revents: 0 });
    }
    const n = await this.until(timeoutMs, () => this.process.poll(entries), entries);
    for (const [i, { revents }] of entries.entries()) view.setUint16(p.POLLFD_SIZE * i + 6, revents, true);
    this.channel.data.set(bytes);
    return n;
  }

  private async epollWait(epfd: number, most: number, timeoutMs: number): Promise<number> {
    if (most <= 0 || most * p.EPOLL_EVENT_SIZE > this.channel.data.length) return most <= 0 ? -EINVAL : -EFAULT;
    const events: EpollEvent[] = [];
    const entry = { fd: epfd, events: c.POLLIN, revents: 0 };
    const n = await this.until(timeoutMs, () => this.process.epollWait(epfd, events, most), [entry]);
    const bytes = new Uint8Array(Math.max(n, 0) * p.EPOLL_EVENT_SIZE);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < n; i++) {
      view.setUint32(p.EPOLL_EVENT_SIZE * i, events[i].events, true);
      view.setBigUint64(p.EPOLL_EVENT_SIZE * i + 4, BigInt(events[i].data), true);
    }
    this.channel.data.set(bytes);
    return n;
  }

  private ends(entries: readonly PollEntry[]): (readonly [Description, number])[] {
    return entries.flatMap(({ fd, events }) => {
      const description = fd < 0 ? undefined : this.process.descriptors.get(fd);
      return description ? [[description, events] as const] : [];
    });
  }

  /** Asks until the answer is not 0, or the time is over; negative: for ever. */
  private async until(timeoutMs: number, ask: () => number, entries: readonly PollEntry[]): Promise<number> {
    const deadline = this.now + timeoutMs;
    for (;;) {
      const n = ask();
      const left = timeoutMs < 0 ? 0 : deadline - this.now;
      if (n !== 0 || timeoutMs === 0 || (timeoutMs > 0 && left <= 0) || this.isStopped) return n;
      // Nothing is ready now: something must happen first.
      await this.within(left, (signal) => change(this.ends(entries), signal));
    }
  }
}
