/**
 * Links between workers, frames and tabs: a MessagePort joins two engines, a BroadcastChannel is a LAN for all that have
 * its name. What a port sends in one poll is one message, its bytes transferred where they can be.
 *
 * Messages have no back-pressure of their own, so receivers say how far they are, and a sender stays within a window of
 * the slowest of them. One that says nothing for a second is not waited for.
 */

import { amount, checkArgument, checkOptions, having, oneOf, type Shape } from "../base/options.ts";
import { secret } from "../base/random.ts";
import type { Device, Engine } from "../engine/engine.ts";
import { MOST_FRAME, type Port } from "../engine/port.ts";
import { Inbox, LEAST_FRAME, Outbox } from "./frames.ts";

/** What MessagePort and BroadcastChannel have in common; workers and their `self` fit as well. */
export interface MessageChannelLike {
  postMessage(message: unknown, transfer?: never): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  removeEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  start?(): void;
  close?(): void;
}

export interface ChannelLinkOptions {
  /** Bytes that may be under way to the slowest receiver. Default 1 MiB. */
  window?: number;
  /**
   * "batches" (default), or "frames": one frame is one Uint8Array and nobody is waited for, as v86 speaks over its
   * BroadcastChannel. Both are understood always.
   */
  format?: "batches" | "frames";
}

/** Frames behind their lengths; `total` is what `from` has sent up to here. */
interface Batch {
  readonly loom: "frames";
  readonly from: number;
  readonly total: number;
  readonly frames: ArrayBuffer;
}

/** `from` has taken what `to` sent up to `total`. */
interface Progress {
  readonly loom: "progress";
  readonly to: number;
  readonly from: number;
  readonly total: number;
}

interface Member {
  total: number;
  heardAt: number;
}

const SHAPE: Shape<ChannelLinkOptions> = { window: amount("bytes"), format: oneOf("batches", "frames") };
const CHANNEL = having("a MessagePort or a BroadcastChannel", "postMessage", "addEventListener", "removeEventListener");
/** Silence (ms) after which a receiver is not waited for. */
const PATIENCE_MS = 1000;
/** Receivers that are kept in mind. */
const MOST_MEMBERS = 256;
/** Bytes of all senders together that may wait here; windows keep honest ones far below. */
const INBOX_BYTES = 16 << 20;

/** A link over a MessagePort or a BroadcastChannel, as a host's interface wants it for its `device`. */
export function channelLink(channel: MessageChannelLike, options: ChannelLinkOptions = {}): (engine: Engine, port: Port) => ChannelLink {
  checkArgument("channelLink", "channel", channel, CHANNEL);
  checkOptions("channelLink", SHAPE, options);
  return (engine, port) => new ChannelLink(engine, port, channel, options);
}

export class ChannelLink implements Device {
  readonly name = "channel";
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly channel: MessageChannelLike;
  private readonly inbox: Inbox;
  private readonly outbox: Outbox;
  private readonly window: number;
  private readonly isPlain: boolean;
  private readonly id: number;
  private readonly members = new Map<number, Member>();
  private readonly listener = ({ data }: { data: unknown }) => this.receive(data);
  /** Bytes sent; those of them that nobody is waited for any more; when the window was last open. */
  private total = 0;
  private settled = 0;
  private openAt: number;

  constructor(engine: Engine, port: Port, channel: MessageChannelLike, options: ChannelLinkOptions = {}) {
    this.engine = engine;
    this.port = port;
    this.channel = channel;
    this.window = options.window ?? 1 << 20;
    this.isPlain = options.format === "frames";
    // Only tells members apart; no run depends on it.
    this.id = new DataView(secret(4).buffer).getUint32(0);
    this.openAt = engine.clock.now();
    this.inbox = new Inbox(port, INBOX_BYTES, true);
    this.outbox = new Outbox(engine, port);
    port.configure({ offload: { chains: true, segmentation: false, partialChecksum: false } });
    channel.addEventListener("message", this.listener);
    channel.start?.();
  }

  // ── In ────────────────────────────────────────────────────────────────────────────────────────

  private receive(data: unknown): void {
    if (data instanceof Uint8Array) {
      if (data.length >= LEAST_FRAME && data.length <= MOST_FRAME) this.port.receive(data);
      else this.port.countLoss("rxErrors");
    } else if (isBatch(data)) this.receiveBatch(data);
    else if (isProgress(data)) this.heard(data);
    else this.port.countLoss("rxErrors");
    this.engine.wake();
  }

  private receiveBatch({ from, total, frames }: Batch): void {
    const done = () => this.channel.postMessage({ loom: "progress", to: from, from: this.id, total } satisfies Progress);
    if (this.inbox.isFull) {
      this.port.countLoss("rxMissed");
      done();
    } else this.inbox.push(new Uint8Array(frames), done);
  }

  private heard({ to, from, total }: Progress): void {
    if (to !== this.id) return;
    const member = this.members.get(from);
    if (member) {
      // Only who gets on is waited for.
      if (total > member.total) member.heardAt = this.engine.clock.now();
      member.total = Math.min(Math.max(member.total, total), this.total);
    } else if (total > this.settled && this.members.size < MOST_MEMBERS) {
      this.members.set(from, { total: Math.min(total, this.total), heardAt: this.engine.clock.now() });
    }
  }

  // ── Rounds ────────────────────────────────────────────────────────────────────────────────────

  poll(budget: number): number {
    return this.drain(budget) + this.transmit(budget);
  }

  private drain(budget: number): number {
    try {
      return this.inbox.drain(budget);
    } catch {
      // A batch that is no row of frames: what is left of it is nobody's.
      this.port.countLoss("rxErrors");
      this.inbox.skip();
      return 1;
    }
  }

  private transmit(budget: number): number {
    let moved = 0;
    while (moved < budget && this.isOpen()) {
      const n = this.outbox.take(budget - moved);
      if (n === 0) break;
      moved += n;
      if (this.isPlain) this.outbox.each((frame) => this.channel.postMessage(frame));
      else this.post(this.outbox.pack().buffer);
    }
    return moved;
  }

  private post(frames: ArrayBuffer): void {
    this.total += frames.byteLength;
    const message: Batch = { loom: "frames", from: this.id, total: this.total, frames };
    // A BroadcastChannel has several receivers and copies; a second argument means nothing to it.
    this.channel.postMessage(message, [frames] as never);
  }

  /** True while the slowest receiver that is still there is within the window. */
  private isOpen(): boolean {
    if (this.isPlain || this.outstanding() < this.window) {
      this.openAt = this.engine.clock.now();
      return true;
    }
    const now = this.engine.clock.now();
    if (now - this.openAt < PATIENCE_MS) return false;
    for (const [id, member] of this.members) if (now - member.heardAt >= PATIENCE_MS) this.members.delete(id);
    // Who comes back must have taken something since, or it would stop everybody again.
    this.settled = this.total;
    this.openAt = now;
    return this.outstanding() < this.window;
  }

  private outstanding(): number {
    let least = this.total;
    for (const member of this.members.values()) least = Math.min(least, member.total);
    if (this.members.size === 0) least = this.settled;
    return this.total - least;
  }

  close(): void {
    this.channel.removeEventListener("message", this.listener);
    this.inbox.clear();
    this.channel.close?.();
  }
}

function isBatch(data: unknown): data is Batch {
  const batch = data as Partial<Batch> | null;
  return batch?.loom === "frames" && batch.frames instanceof ArrayBuffer && isCount(batch.from) && isCount(batch.total);
}

function isProgress(data: unknown): data is Progress {
  const progress = data as Partial<Progress> | null;
  return progress?.loom === "progress" && isCount(progress.from) && isCount(progress.to) && isCount(progress.total);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && value >= 0;
}
