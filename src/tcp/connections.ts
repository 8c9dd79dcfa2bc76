/**
 * Which connection a segment belongs to (RFC 9293 §3.10.7): a hash table over addresses and ports, chained through its
 * entries, so that a connection costs no object here. The hash is keyed and takes every word in turn: whoever has a whole IPv6
 * prefix to choose addresses from does not know which of them share a chain.
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

  /** Hash of an entry: the four words of its peer's address, the last of its own, both ports. */
  hash(a: number, b: number, c: number, d: number, localLow: number, ports: number): number {
    const [first, second] = this.keys;
    let h = mix(first, a, second);
    h = mix(h, b, second);
    h = mix(h, c, second);
    h = mix(h, d, second);
    h = mix(h, localLow, second);
    return mix(h, ports, second);
  }

  /** The first entry that may be meant; the others follow by `hashNext`. Not all of them have this hash. */
  first(hash: number): Demultiplexed | undefined {
    return this.buckets[hash & (this.buckets.length - 1)];
  }

  add(entry: Demultiplexed): void {
    if (2 * this.size >= this.buckets.length) this.resize(2 * this.buckets.length);
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

/** Takes a word into a hash: the key is added between two multiplications, so that no difference of words is known to cancel another. */
function mix(hash: number, word: number, key: number): number {
  let h = Math.imul(hash ^ word, 0x9e3779b1);
  h = Math.imul((h ^ (h >>> 15)) + key, 0x85ebca6b);
  return h ^ (h >>> 13);
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
