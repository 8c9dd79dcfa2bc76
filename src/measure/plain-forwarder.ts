/**
 * The rival: the same router in plain JavaScript, as one would write it for speed without WebAssembly: typed
 * arrays, a multibit trie with leaf pushing, no object per packet. Same rules, same frames, same tables.
 */
import type { Columns4, Columns6 } from "../base/routes.ts";

const SLOT = 1536;
const RING = 256;

/** A trie of strides 16, 8, 8, …: entries above zero are hops, below zero (negated) nodes. */
export class MultibitTrie {
  private entries = new Int32Array(1 << 20);
  private used = 1 << 16;

  static from4(columns: Columns4): MultibitTrie {
    const trie = new MultibitTrie();
    const octets = new Uint8Array(4);
    const view = new DataView(octets.buffer);
    for (const row of byLength(columns.lengths, columns.count)) {
      view.setUint32(0, columns.addresses[row]);
      trie.insert(octets, columns.lengths[row], columns.hops[row]);
    }
    return trie;
  }

  static from6(columns: Columns6): MultibitTrie {
    const trie = new MultibitTrie();
    const octets = new Uint8Array(16);
    const view = new DataView(octets.buffer);
    for (const row of byLength(columns.lengths, columns.count)) {
      view.setBigUint64(0, columns.high[row]);
      view.setBigUint64(8, columns.low[row]);
      trie.insert(octets, columns.lengths[row], columns.hops[row]);
    }
    return trie;
  }

  /** Shorter prefixes must come first. */
  private insert(octets: Uint8Array, length: number, hop: number): void {
    let base = 0;
    let bits = 16;
    let index = (octets[0] << 8) | octets[1];
    let octet = 2;
    while (length > bits) {
      base = this.child(base + index);
      index = octets[octet++];
      bits += 8;
    }
    const span = 1 << (bits - length);
    this.fill(base + (index & ~(span - 1)), span, hop);
  }

  private fill(from: number, span: number, hop: number): void {
    for (let i = from; i < from + span; i++) {
      const entry = this.entries[i];
      if (entry < 0) this.fill(-entry, 256, hop);
      else this.entries[i] = hop;
    }
  }

  private child(at: number): number {
    const entry = this.entries[at];
    if (entry < 0) return -entry;
    const node = this.used;
    this.used += 256;
    if (this.used > this.entries.length) {
      const larger = new Int32Array(this.entries.length * 2);
      larger.set(this.entries);
      this.entries = larger;
    }
    this.entries.fill(entry, node, node + 256);
    this.entries[at] = -node;
    return node;
  }

  /** Longest match for the address at `at`; 0 is none. */
  lookup(bytes: Uint8Array, at: number): number {
    const { entries } = this;
    let entry = entries[(bytes[at] << 8) | bytes[at + 1]];
    for (at += 2; entry < 0; at++) entry = entries[bytes[at] - entry];
    return entry;
  }
}

/** Rows in order of prefix length. */
function byLength(lengths: Uint8Array, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => lengths[a] - lengths[b]);
}

export class PlainForwarder {
  forwarded = 0;
  bytes = 0;
  dropped = 0;
  private readonly memory = new Uint8Array(SLOT * RING);
  private readonly templates: Uint8Array[];
  private readonly mac: Uint8Array;
  private readonly rewrites: Uint8Array;
  private readonly trie: MultibitTrie;
  private readonly stream: Uint8Array | undefined;
  private readonly width: number;
  private turn = 0;
  private next = 0;

  /** `templates` are whole frames; a stream (network order, 4 or 16 bytes each) replaces destinations. */
  constructor(trie: MultibitTrie, hops: number, mac: Uint8Array, templates: Uint8Array[], stream: Uint8Array | undefined, family: 4 | 6) {
    this.trie = trie;
    this.mac = mac;
    this.templates = templates;
    this.stream = stream;
    this.width = family === 4 ? 4 : 16;
    this.rewrites = new Uint8Array((hops + 1) * 12);
    for (let hop = 0; hop <= hops; hop++) {
      this.rewrites.set([2, 1, 0, 0, hop >>> 8, hop & 255], hop * 12);
      this.rewrites.set(mac, hop * 12 + 6);
    }
  }

  /** Makes and forwards `n` packets. */
  run(n: number): void {
    for (let i = 0; i < n; i++) {
      const slot = (i & (RING - 1)) * SLOT;
      const length = this.write(slot);
      if (this.forward(slot, length)) {
        this.forwarded++;
        this.bytes += length + 4;
      } else this.dropped++;
    }
  }

  private write(slot: number): number {
    const { memory, stream, width } = this;
    const template = this.templates[this.turn];
    if (++this.turn === this.templates.length) this.turn = 0;
    const copied = Math.min(template.length, 80);
    for (let i = 0; i < copied; i++) memory[slot + i] = template[i];
    if (stream) {
      const at = slot + (width === 4 ? 30 : 38);
      for (let i = 0; i < width; i++) memory[at + i] = stream[this.next + i];
      this.next += width;
      if (this.next === stream.length) this.next = 0;
      if (width === 4) this.checksum4(slot + 14);
    }
    return template.length;
  }

  private sum4(at: number): number {
    const m = this.memory;
    let sum = 0;
    for (let i = at; i < at + 20; i += 2) sum += (m[i] << 8) | m[i + 1];
    sum = (sum & 0xffff) + (sum >>> 16);
    return (sum & 0xffff) + (sum >>> 16);
  }

  private checksum4(at: number): void {
    const m = this.memory;
    m[at + 10] = 0;
    m[at + 11] = 0;
    const field = ~this.sum4(at) & 0xffff;
    m[at + 10] = field >>> 8;
    m[at + 11] = field & 255;
  }

  private forward(slot: number, length: number): boolean {
    const { memory: m, mac } = this;
    for (let i = 0; i < 6; i++) if (m[slot + i] !== mac[i]) return false;
    const type = (m[slot + 12] << 8) | m[slot + 13];
    if (type === 0x0800) return this.forward4(slot, length);
    return type === 0x86dd && this.forward6(slot, length);
  }

  private forward4(slot: number, length: number): boolean {
    const m = this.memory;
    const at = slot + 14;
    if (m[at] !== 0x45) return false;
    const total = (m[at + 2] << 8) | m[at + 3];
    if (total < 20 || total + 14 > length || total > 1500 || this.sum4(at) !== 0xffff) return false;
    if (odd4(m[at + 12], m[at + 13]) || odd4(m[at + 16], m[at + 17])) return false;
    const hop = this.trie.lookup(m, at + 16);
    if (hop === 0 || m[at + 8] <= 1) return false;
    m[at + 8]--;
    // RFC 1624: the TTL is the high byte of its word.
    let field = ((m[at + 10] << 8) | m[at + 11]) + 0x100;
    field = (field & 0xffff) + (field >>> 16);
    m[at + 10] = field >>> 8;
    m[at + 11] = field & 255;
    this.rewrite(slot, hop);
    return true;
  }

  private forward6(slot: number, length: number): boolean {
    const m = this.memory;
    const at = slot + 14;
    if (m[at] >>> 4 !== 6) return false;
    const total = ((m[at + 4] << 8) | m[at + 5]) + 40;
    if (total + 14 > length || total > 1500) return false;
    if ((m[at + 8] & 0xe0) !== 0x20 || (m[at + 24] & 0xe0) !== 0x20) return false;
    const hop = this.trie.lookup(m, at + 24);
    if (hop === 0 || m[at + 7] <= 1) return false;
    m[at + 7]--;
    this.rewrite(slot, hop);
    return true;
  }

  private rewrite(slot: number, hop: number): void {
    const { memory: m, rewrites } = this;
    const from = hop * 12;
    for (let i = 0; i < 12; i++) m[slot + i] = rewrites[from + i];
  }
}

const odd4 = (octet: number, second: number) => octet === 0 || octet === 127 || octet >= 224 || (octet === 169 && second === 254);
