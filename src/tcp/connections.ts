/**
 * Which connection a segment belongs to (RFC 9293 §3.10.7): a hash table over addresses and ports, chained through its
 * entries, so that a connection costs no object here. The hash is keyed: who can choose addresses and ports cannot choose a
 * chain. A Map took 4% of the time of short connections, most of it making itself anew as thousands wait in TIME-WAIT.
 */
import type { Demultiplexed } from "./tcb.ts";

const LEAST = 64;
const PAGE = 256;

export class Connections implements Iterable<Demultiplexed> {
  size = 0;
  private buckets: (Demultiplexed | undefined)[] = empty(LEAST);
  private readonly keys: readonly [number, number];
  private readonly ports = new PortUse();

  /** Two secret words. */
  constructor(keys: readonly [number, number]) {
    this.keys = [keys[0] | 0, keys[1] | 0];
  }

  /** Hash of an entry: of words of its addresses and both ports. */
  hash(remoteHigh: number, remoteLow: number, localLow: number, ports: number): number {
    const [first, second] = this.keys;
    let h = Math.imul(remoteLow ^ (remoteHigh << 7) ^ first, 0x9e3779b1) ^ Math.imul(localLow ^ second, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15) ^ ports, 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 13) ^ second, 0x27d4eb2f);
    return h ^ (h >>> 16);
  }

  /** The first entry that may be meant; the others follow by `hashNext`. Not all of them have this hash. */
  first(hash: number): Demultiplexed | undefined {
    return this.buckets[hash & (this.buckets.length - 1)];
  }

  add(entry: Demultiplexed): void {
    if (this.size >= this.buckets.length) this.resize(2 * this.buckets.length);
    this.put(entry);
    this.size++;
    this.ports.change(entry.localPort, 1);
  }

  delete(entry: Demultiplexed): void {
    this.replace(entry, undefined);
    this.size--;
    this.ports.change(entry.localPort, -1);
    if (this.buckets.length > LEAST && this.size < this.buckets.length / 8) this.resize(this.buckets.length / 2);
  }

  /** Puts `by`, which has the same addresses and ports, in the place of an entry. */
  replace(entry: Demultiplexed, by: Demultiplexed | undefined): void {
    const at = entry.hash & (this.buckets.length - 1);
    const next = entry.hashNext;
    if (by) by.hashNext = next;
    const instead = by ?? next;
    if (this.buckets[at] === entry) this.buckets[at] = instead;
    else for (let before = this.buckets[at]; before; before = before.hashNext) if (before.hashNext === entry) before.hashNext = instead;
    entry.hashNext = undefined;
  }

  /** Entries whose own port this is. */
  usesOf(port: number): number {
    return this.ports.of(port);
  }

  *[Symbol.iterator](): Iterator<Demultiplexed> {
    for (const first of this.buckets) for (let each = first; each; each = each.hashNext) yield each;
  }

  private put(entry: Demultiplexed): void {
    const at = entry.hash & (this.buckets.length - 1);
    entry.hashNext = this.buckets[at];
    this.buckets[at] = entry;
  }

  private resize(length: number): void {
    const entries = [...this];
    this.buckets = empty(length);
    for (const entry of entries) this.put(entry);
  }
}

function empty(length: number): undefined[] {
  return new Array(length).fill(undefined);
}

/** How many entries have a port as their own; memory for those 256 ports only that are in use. */
class PortUse {
  private readonly pages: (Uint32Array | undefined)[] = empty(65_536 / PAGE);

  of(port: number): number {
    return this.pages[Math.floor(port / PAGE)]?.[port % PAGE] ?? 0;
  }

  change(port: number, by: 1 | -1): void {
    const page = Math.floor(port / PAGE);
    this.pages[page] ??= new Uint32Array(PAGE);
    (this.pages[page] as Uint32Array)[port % PAGE] += by;
  }
}
