/** A plain mutating fuzzer: corpus in, small damages, findings written down. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Random } from "../../src/index.ts";
import type { Target } from "./targets.ts";

export const CORPUS = "test/fuzz/corpus";

/** Inputs that came before: one small file for each kind of input a parser knows, and what broke something once. */
export function corpusOf(folder: string): Uint8Array[] {
  const at = join(CORPUS, folder);
  return readdirSync(at).map((file) => new Uint8Array(readFileSync(join(at, file))));
}

const INTERESTING = [0, 1, 4, 20, 40, 60, 63, 64, 127, 128, 254, 255];

/** A few random damages: bytes, words, cuts, repeats, splices. */
export function mutate(random: Random, pool: readonly Uint8Array[]): Uint8Array {
  let bytes = Array.from(pool[random.below(pool.length)]);
  for (let n = 1 + random.below(5); n > 0; n--) {
    const at = random.below(bytes.length + 1);
    const kind = random.below(6);
    if (kind === 0) bytes[at] = random.below(256);
    else if (kind === 1) bytes[at] = INTERESTING[random.below(INTERESTING.length)];
    else if (kind === 2) bytes.length = Math.min(bytes.length, at);
    else if (kind === 3) bytes.splice(at, 0, ...bytes.slice(at, at + random.below(64)));
    else if (kind === 4) bytes.splice(at, random.below(16));
    else {
      const other = pool[random.below(pool.length)];
      bytes = bytes.slice(0, at).concat(Array.from(other.subarray(random.below(other.length + 1))));
    }
  }
  return Uint8Array.from(bytes.slice(0, 4096), (b) => b ?? 0);
}

export interface Found {
  readonly runs: number;
  readonly failure?: { readonly input: Uint8Array; readonly error: Error; readonly path: string };
}

/** Runs until the time is over or something breaks; a finding goes into the corpus folder. */
export async function fuzz(target: Target, seed: number, milliseconds: number): Promise<Found> {
  const random = new Random(seed);
  const pool = corpusOf(target.corpus);
  const end = Date.now() + milliseconds;
  let runs = 0;
  const all = [...pool];
  while (runs < all.length || Date.now() < end) {
    const input = runs < all.length ? all[runs] : mutate(random, pool);
    runs++;
    try {
      await target.run(input);
    } catch (error) {
      const path = join(CORPUS, target.corpus, `found-${seed}-${runs}`);
      writeFileSync(path, input);
      return { runs, failure: { input, error: error as Error, path } };
    }
    if (runs > all.length && random.below(50) === 0 && pool.length < 2000) pool.push(input);
  }
  return { runs };
}
