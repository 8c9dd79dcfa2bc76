/**
 * The node both tries share: 64 values, run-length compressed by a bitmap.
 *
 *   block → [u32 reference k … reference 0] u64 bitmap | leaf 0 | leaf 1 …
 *
 * Bit j is set where value j differs from value j-1, so the leaf of j is number popcount(bits 0..j) - 1.
 * Leaves stand right behind the bitmap: one cache line answers most lookups, and no base pointer is stored.
 * References (only IPv4's escapes) grow downwards in front.
 */

/** popcount of bitmap bits 0..j where j = low six bits of `position`. */
@inline
export function rank(bitmap: u64, position: u32): u32 {
  return <u32>popcnt<u64>(bitmap << <u64>(~position & 63));
}

/** Fills values [from, to) of a u32 vector. */
@inline
export function fillRange(vector: usize, from: u32, to: u32, value: u32): void {
  for (let i = from; i < to; i++) store<u32>(vector + (<usize>i << 2), value);
}

/** The bitmap of up to 64 values at `vector`; `apart` never joins its neighbours (an escape). */
export function runs(vector: usize, apart: u32): u64 {
  let bitmap: u64 = 1;
  let before = load<u32>(vector);
  for (let i: u32 = 1; i < 64; i++) {
    const value = load<u32>(vector + (<usize>i << 2));
    bitmap |= <u64>(value != before || value == apart) << i;
    before = value;
  }
  return bitmap;
}

/** Writes the leaves of a bitmap: values of `vector` at its set bits, `T` bytes each. */
export function writeLeaves<T>(at: usize, vector: usize, bitmap: u64): void {
  while (bitmap != 0) {
    store<T>(at, <T>load<u32>(vector + (<usize>ctz<u64>(bitmap) << 2)));
    at += sizeof<T>();
    bitmap &= bitmap - 1;
  }
}
