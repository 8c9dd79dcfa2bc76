/**
 * Packets that rules send to wait for a verdict (`queue to 5`), as programs see them: libnetfilter_queue's place in a kernel.
 *
 *   const stop = host.onQueue(5, ({ bytes }) => (isGood(bytes) ? "accept" : "drop"));
 *
 * What is accepted goes on behind the chain that sent it, with its flow, whatever that chain would have said. While it waits, others of its
 * flow may overtake it.
 */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { SEGMENTS } from "../engine/network.ts";
import { completeSum, keepSegments } from "../ip/whole.ts";

export interface QueuedPacket {
  readonly queue: number;
  /** Hook of the chain: "prerouting", "input", "forward", "output", "postrouting", "ingress" or "egress". */
  readonly hook: string;
  /** Interfaces, as far as they are known there; empty otherwise. */
  readonly in: string;
  readonly out: string;
  /** From the IP header on: a copy. */
  readonly bytes: Uint8Array;
  readonly mark: number;
}

/** Accepted, dropped; or accepted as other bytes (whose checksums are right) or with another mark. */
export type QueueVerdict = "accept" | "drop" | { readonly bytes?: Uint8Array; readonly mark?: number };
export type QueueHandler = (packet: QueuedPacket) => QueueVerdict | Promise<QueueVerdict>;

export interface QueueOptions {
  /** Packets that may wait at once; more are dropped. Default 1024, as in the kernel. */
  readonly most?: number;
}

/** What `/proc/net/netfilter/nfnetlink_queue` counts. */
export interface QueueCounters {
  readonly waiting: number;
  readonly accepted: number;
  readonly dropped: number;
  /** For want of room, or because the handler failed. */
  readonly lost: number;
}

const BYPASS = 1;
const ETHERNET_MOST = 22;
const MOST_BYTES = 65_535;

interface Queue {
  readonly number: number;
  readonly handler: QueueHandler;
  readonly most: number;
  readonly waiting: Set<number>;
  accepted: number;
  dropped: number;
  lost: number;
}

export class PacketQueues {
  private readonly engine: Engine;
  private readonly names: (port: number) => string;
  private readonly changed: (count: number) => void;
  private readonly queues = new Map<number, Queue>();

  /** `names`: of interfaces by their port. `changed`: hears how many listen. */
  constructor(engine: Engine, names: (port: number) => string, changed: (count: number) => void) {
    this.engine = engine;
    this.names = names;
    this.changed = changed;
  }

  /** Hears of a queue's packets. Throws EBUSY when somebody does already. Returns what ends it: packets that wait are dropped then. */
  listen(number: number, handler: QueueHandler, { most = 1024 }: QueueOptions = {}): () => void {
    if (!Number.isInteger(number) || number < 0 || number > 0xffff)
      throw invalid(`queue is ${number}; expected a whole number from 0 to 65535`);
    if (typeof handler !== "function") throw invalid("onQueue: expected a function that says what becomes of a packet");
    if (!Number.isInteger(most) || most < 1) throw invalid(`most is ${most}; expected a whole number, 1 or more`);
    if (this.queues.has(number)) throw new LoomError("EBUSY", `somebody listens to queue ${number} already`);
    const queue: Queue = { number, handler, most, waiting: new Set(), accepted: 0, dropped: 0, lost: 0 };
    this.queues.set(number, queue);
    this.changed(this.queues.size);
    return () => {
      if (this.queues.get(number) !== queue) return;
      this.queues.delete(number);
      this.changed(this.queues.size);
      for (const id of queue.waiting) this.engine.plane.packetDiscard(0, id);
      queue.waiting.clear();
    };
  }

  counters(): ReadonlyMap<number, QueueCounters> {
    const of = ({ waiting, accepted, dropped, lost }: Queue) => ({ waiting: waiting.size, accepted, dropped, lost });
    return new Map([...this.queues].map(([number, queue]) => [number, of(queue)]));
  }

  /** A packet that waits; it is this object's from now on. */
  receive(id: number, number: number, flags: number): void {
    const { plane } = this.engine;
    const queue = this.queues.get(number);
    if (!queue) {
      if (flags & BYPASS) plane.packetResume(0, id);
      else plane.packetDiscard(0, id);
      return;
    }
    if (queue.waiting.size >= queue.most) {
      queue.lost++;
      plane.packetDiscard(0, id);
      return;
    }
    queue.waiting.add(id);
    void this.ask(queue, id);
  }

  private async ask(queue: Queue, id: number): Promise<void> {
    let verdict: QueueVerdict | undefined;
    try {
      const answer = queue.handler(this.packet(queue.number, id));
      // At once where the answer is there: a burst is not torn apart for nothing.
      verdict = answer instanceof Promise ? await answer : answer;
      if (queue.waiting.has(id)) this.settle(queue, id, verdict);
    } catch {
      // A handler that fails lets nothing pass.
      if (!queue.waiting.delete(id)) return;
      queue.lost++;
      this.engine.plane.packetDiscard(0, id);
    }
  }

  private packet(queue: number, id: number): QueuedPacket {
    const { memory, plane } = this.engine;
    const d = memory.descriptor(id);
    const l3 = memory.getU16(d + abi.DESC_L3);
    const length = memory.getU32(d + abi.DESC_PACKET_LENGTH) - l3;
    const bytes = new Uint8Array(length);
    const scratch = memory.base(abi.REGION_HOST);
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, 4096);
      plane.packetCopy(id, l3 + done, scratch, n);
      bytes.set(memory.u8.subarray(scratch, scratch + n), done);
      done += n;
    }
    completeSum(memory, id, bytes);
    const hook = SEGMENTS[memory.u8[d + abi.PARKED_SEGMENT]].replace(/_.*$/, "");
    const mark = memory.getU32(d + abi.DESC_MARK);
    return { queue, hook, in: this.nameAt(d + abi.DESC_INGRESS), out: this.nameAt(d + abi.PARKED_OUT), bytes, mark };
  }

  private nameAt(at: number): string {
    const port = this.engine.memory.getU16(at);
    return port === abi.NO_PORT ? "" : this.names(port);
  }

  private settle(queue: Queue, id: number, verdict: QueueVerdict): void {
    const { memory, plane } = this.engine;
    const isObject = typeof verdict === "object" && verdict !== null;
    if (verdict !== "accept" && verdict !== "drop" && !isObject) throw invalid('expected "accept", "drop" or { bytes, mark }');
    if (verdict === "drop") {
      queue.waiting.delete(id);
      queue.dropped++;
      plane.packetDiscard(0, id);
      return;
    }
    const { bytes, mark }: { bytes?: Uint8Array; mark?: number } = isObject ? verdict : {};
    const goes = bytes === undefined ? id : this.replace(id, bytes);
    queue.waiting.delete(id);
    if (mark !== undefined) memory.setU32(memory.descriptor(goes) + abi.DESC_MARK, mark >>> 0);
    queue.accepted++;
    plane.packetResume(0, goes);
    this.engine.wake();
  }

  /** Another packet in place of one that waits, with all that is known of it. Throws EINVAL for what is none, ENOBUFS without room. */
  private replace(id: number, bytes: Uint8Array): number {
    const { memory, plane } = this.engine;
    const d = memory.descriptor(id);
    const l3 = memory.getU16(d + abi.DESC_L3);
    const version = memory.getU32(d + abi.DESC_FLAGS) & abi.FLAG_IP4 ? 4 : 6;
    if (
      !(bytes instanceof Uint8Array) ||
      bytes.length < (version === 4 ? 20 : 40) ||
      bytes.length > MOST_BYTES ||
      bytes[0] >>> 4 !== version
    )
      throw invalid(`${bytes?.length} bytes are no packet of IPv${version}`);
    if (l3 > ETHERNET_MOST) throw invalid("the packet's own header is in the way");
    const data = memory.getU32(d + abi.DESC_DATA);
    const frame = new Uint8Array(l3 + bytes.length);
    frame.set(memory.u8.subarray(data, data + l3));
    frame.set(bytes, l3);
    const fresh = this.engine.port(0).buffersOf(frame);
    if (fresh === abi.NONE) throw new LoomError("ENOBUFS", "no buffer is left for the packet");
    const f = memory.descriptor(fresh);
    // Ingress, hash, offsets, flags, next hop, what waits, mark: all but the bytes themselves.
    memory.u8.copyWithin(f + abi.DESC_INGRESS, d + abi.DESC_INGRESS, d + abi.DESC_SIZE);
    const l4 = version === 4 ? l3 + 4 * (bytes[0] & 15) : memory.getU16(d + abi.DESC_L4);
    memory.setU16(f + abi.DESC_L4, l4);
    memory.setU32(f + abi.DESC_FLAGS, memory.getU32(d + abi.DESC_FLAGS) & ~(abi.FLAG_CSUM_PARTIAL | abi.FLAG_CSUM_GOOD));
    keepSegments(memory, id, fresh, bytes.length);
    memory.setU32(d + abi.PARKED_FLOW, 0);
    plane.packetRelease(0, id);
    return fresh;
  }

  close(): void {
    const { plane } = this.engine;
    for (const { waiting } of this.queues.values()) for (const id of waiting) plane.packetDiscard(0, id);
    this.queues.clear();
  }
}
