/** Those who wait: for room in a transmit ring, or for memory. */
import * as abi from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { Path, Starved, Throttled } from "./types.ts";

/** Ring places kept for what cannot wait: acknowledgements, other flows, one large segment cut up. */
const RESERVED_PLACES = 256;
/** Packets in a ring at which bulk data waits in its queue: more of them leave the cache before they are taken (100 flows: 12 Gbit/s instead of 9). */
const MOST_WAITING = 128;
/** So many that wait are a crowd. */
const CROWD = 4;

/** Segments that one sends in its turn while others wait: those of 64 KiB, and what was left over the last time. */
const TURN = 46;

/** Those who wait for room in one ring, first come, first served. */
class Line {
  private queue: Throttled[] = [];
  private head = 0;
  private readonly members = new Set<Throttled>();

  get length(): number {
    return this.members.size;
  }

  join(who: Throttled): void {
    if (this.members.has(who)) return;
    this.members.add(who);
    this.queue.push(who);
  }

  next(): Throttled | undefined {
    const who = this.queue[this.head++];
    if (who) this.members.delete(who);
    // What is behind the head goes now and then, all at once.
    if (this.head >= this.queue.length) this.queue.length = this.head = 0;
    else if (this.head > 64 && this.head * 2 > this.queue.length) {
      this.queue = this.queue.slice(this.head);
      this.head = 0;
    }
    return who;
  }
}

export class Holdback {
  private readonly engine: Engine;
  /** By port. */
  private readonly lines: Line[];
  private readonly starved = new Set<Starved>();
  /** By port, places that what is staged will take in the ring. */
  private readonly promised: Uint32Array;
  private hasPromised = false;
  /** So many places of a ring are taken before what may wait does. */
  private readonly most: number;
  /** Whose turn it is, and the segments it has sent in it. */
  private turn: Throttled | undefined;
  private segments = 0;

  constructor(engine: Engine) {
    this.engine = engine;
    this.promised = new Uint32Array(engine.memory.layout.sizes.ports);
    const { ringCapacity } = engine.memory.layout.sizes;
    this.most = Math.min(Math.max(ringCapacity - RESERVED_PLACES, ringCapacity / 2), MOST_WAITING);
    this.lines = Array.from(this.promised, () => new Line());
  }

  /**
   * May `who` send another unit? False while an interface's transmit ring is nearly full: bulk data waits here instead of
   * being dropped there. False, too, while others wait: a flow whose acknowledgements come would leave no room for those
   * that wait for it (of a hundred flows some got nothing for seconds).
   */
  hasRoom({ iface }: Path, who: Throttled): boolean {
    if (!iface) return true;
    const { index } = iface.port;
    const line = this.lines[index];
    const mayGoOn = line.length === 0 || (who === this.turn && this.segments < TURN);
    if (mayGoOn && this.makesRoom(index)) return true;
    line.join(who);
    return false;
  }

  /** `who` has nothing to send yet: it asks its owner when its turn comes. */
  queueUp({ iface }: Path, who: Throttled): void {
    if (iface) this.lines[iface.port.index].join(who);
  }

  hasTurn(who: Throttled): boolean {
    return who === this.turn;
  }

  /** Do many wait for this path's ring? */
  isCrowded({ iface }: Path): boolean {
    return iface !== undefined && this.lines[iface.port.index].length > CROWD;
  }

  /** A packet that will be `segments` of them was staged. */
  promise({ iface }: Path, segments: number): void {
    this.segments += segments;
    if (!iface) return;
    this.promised[iface.port.index] += segments;
    this.hasPromised = true;
  }

  private makesRoom(port: number): boolean {
    if (this.fits(port)) return true;
    // What is staged may have taken less than was promised for it.
    this.engine.plane.packetsFlush(0);
    this.flushed();
    return this.fits(port);
  }

  private fits(port: number): boolean {
    const { memory } = this.engine;
    const ring = memory.getU32(memory.port(port) + abi.PORT_TX);
    // What this thread has put in; what others take out meanwhile makes more room, not less.
    const waiting = (memory.getU32(ring + abi.RING_TAIL) - memory.getU32(ring + abi.RING_HEAD)) >>> 0;
    // Indices that a device has written may say anything.
    const used = waiting > memory.layout.sizes.ringCapacity ? 0 : waiting;
    return used + this.promised[port] <= this.most;
  }

  /** Nothing is staged any more. */
  flushed(): void {
    if (!this.hasPromised) return;
    // By hand: `fill` is a call out of compiled code, and most have few ports.
    for (let port = 0; port < this.promised.length; port++) this.promised[port] = 0;
    this.hasPromised = false;
  }

  /** Nothing was free for `who`: it is told when something is. */
  starve(who: Starved): void {
    this.starved.add(who);
  }

  /** Whether somebody waits for memory still. */
  isStarved(who: Starved): boolean {
    return this.starved.has(who);
  }

  get isThrottling(): boolean {
    for (const line of this.lines) if (line.length > 0) return true;
    return false;
  }

  /** Gives those who wait their turns, while there is room. */
  resume(): void {
    for (const [port, line] of this.lines.entries()) {
      while (line.length > 0 && this.makesRoom(port)) {
        this.turn = line.next();
        this.segments = 0;
        this.turn?.resume();
      }
    }
    this.turn = undefined;
  }

  /** Tells those who starved, while there is memory; returns how many. */
  feed(): number {
    const { slabs } = this.engine;
    if (this.starved.size === 0 || slabs.sendRoom === 0) return 0;
    const before = this.starved.size;
    for (const who of [...this.starved]) {
      if (slabs.sendRoom === 0) break;
      this.starved.delete(who);
      who.memoryBack();
    }
    return before - this.starved.size;
  }
}
