/** Datagrams that wait to be read: as they came, one or many in a batch, and bounded. */
import type { Datagram, DatagramBatch } from "./datagram.ts";

/** Charged for each batch beside its bytes, so that empty datagrams are bounded too. */
const OVERHEAD = 256;
/** Taken entries in front of the array before it is cut. */
const SLACK = 1024;

export class ReceiveQueue {
  private entries: DatagramBatch[] = [];
  private first = 0;
  /** Bytes of the first batch that were read. */
  private at = 0;
  private charged = 0;

  get isEmpty(): boolean {
    return this.first === this.entries.length;
  }

  /** Bytes of data that wait. */
  get bytes(): number {
    return this.charged - OVERHEAD * (this.entries.length - this.first) - this.at;
  }

  /** False when more than `limit` bytes are waiting already: what is not gets a batch in, whatever its size, as on Linux. */
  push(batch: DatagramBatch, limit: number): boolean {
    if (this.charged > limit) return false;
    this.entries.push(batch);
    this.charged += batch.data.length + OVERHEAD;
    return true;
  }

  /** Bytes of the next datagram; -1 when none waits. */
  get nextLength(): number {
    const head = this.entries[this.first];
    return head ? Math.min(head.segmentSize, head.data.length - this.at) : -1;
  }

  take(): Datagram | undefined {
    const head = this.entries[this.first];
    if (!head) return undefined;
    const { data, segmentSize } = head;
    if (this.at === 0 && segmentSize >= data.length) return this.drop(head);
    const { address, port, destination, iface, hopLimit, trafficClass, at } = head;
    const piece = data.subarray(this.at, this.at + segmentSize);
    this.at += segmentSize;
    if (this.at >= data.length) this.drop(head);
    return { data: piece, address, port, destination, iface, hopLimit, trafficClass, at };
  }

  /** All that is left of the first batch. */
  takeBatch(): DatagramBatch | undefined {
    const head = this.entries[this.first];
    if (!head) return undefined;
    const { at } = this;
    this.drop(head);
    return at === 0 ? head : { ...head, data: head.data.subarray(at) };
  }

  /** Hands up to `most` datagrams over, one view each; returns how many. */
  drain(handler: (data: Uint8Array, from: DatagramBatch) => void, most: number): number {
    let n = 0;
    while (n < most) {
      const head = this.entries[this.first];
      if (!head) break;
      n++;
      const { data, segmentSize } = head;
      if (this.at === 0 && segmentSize >= data.length) {
        this.drop(head);
        handler(data, head);
        continue;
      }
      const piece = data.subarray(this.at, this.at + segmentSize);
      this.at += segmentSize;
      if (this.at >= data.length) this.drop(head);
      handler(piece, head);
    }
    return n;
  }

  private drop(head: DatagramBatch): DatagramBatch {
    this.charged -= head.data.length + OVERHEAD;
    this.at = 0;
    this.first++;
    if (this.isEmpty) {
      this.entries.length = 0;
      this.first = 0;
    } else if (this.first > SLACK) {
      this.entries = this.entries.slice(this.first);
      this.first = 0;
    }
    return head;
  }

  clear(): void {
    this.entries.length = 0;
    this.first = this.at = this.charged = 0;
  }
}
