/** Addresses to send to, drawn from a table: inside its prefixes (uniform or Zipf over prefixes) or anywhere. */
import { invalid } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { Columns4, Columns6 } from "../base/routes.ts";

export type Distribution = "inside" | "zipf" | "uniform";

export function distributionOf(text: string): Distribution {
  if (text === "inside" || text === "zipf" || text === "uniform") return text;
  throw invalid(`"${text}" is no distribution of destinations; expected inside, zipf or uniform`);
}

/** Picks a row: each alike, or row k of a random order with weight 1 / k. */
function picker(count: number, distribution: Distribution, random: Random): () => number {
  if (distribution !== "zipf") return () => random.below(count);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  // The inverse of H(k) ≈ ln k: exponent one, the shape that traffic to prefixes is known for.
  return () => order[Math.min(Math.floor(count ** random.float()) - 1, count - 1)];
}

export function destinations4(columns: Columns4, n: number, distribution: Distribution, random: Random): Uint32Array {
  const pick = picker(columns.count, distribution, random);
  return Uint32Array.from({ length: n }, () => {
    if (distribution === "uniform") return unicast4(random);
    const row = pick();
    return columns.addresses[row] + Math.floor(random.float() * 2 ** (32 - columns.lengths[row]));
  });
}

/** Any address that a router forwards: not 0/8, 127/8, 169.254/16 (by its octet), 224/3. */
function unicast4(random: Random): number {
  for (;;) {
    const address = random.u32();
    const octet = address >>> 24;
    if (octet !== 0 && octet !== 127 && octet !== 169 && octet < 224) return address;
  }
}

export function destinations6(columns: Columns6, n: number, distribution: Distribution, random: Random): Uint8Array {
  const pick = picker(columns.count, distribution, random);
  const out = new Uint8Array(16 * n);
  const view = new DataView(out.buffer);
  for (let i = 0; i < n; i++) {
    const row = distribution === "uniform" ? -1 : pick();
    const length = row < 0 ? 3 : columns.lengths[row];
    const words = row < 0 ? [0x20000000, 0, 0, 0] : wordsOf(columns.high[row], columns.low[row]);
    for (let w = 0; w < 4; w++) {
      const kept = Math.min(Math.max(length - 32 * w, 0), 32);
      const mask = kept === 32 ? 0 : 0xffffffff >>> kept;
      view.setUint32(16 * i + 4 * w, (words[w] | (random.u32() & mask)) >>> 0);
    }
  }
  return out;
}

function wordsOf(high: bigint, low: bigint): number[] {
  return [high >> 32n, high & 0xffffffffn, low >> 32n, low & 0xffffffffn].map(Number);
}
