/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012) of three words: for what others choose and must not be able to steer. The host layer's
 * src/base/siphash.ts gives the same.
 *
 * Wasm functions return one value, so the state is in locals and the rounds are written as a loop: a block goes in before
 * every second of them.
 */

/** Lower half of the hash of 24 bytes. */
export function sipHash3(key0: u64, key1: u64, a: u64, b: u64, c: u64): u32 {
  let v0 = key0 ^ 0x736f6d6570736575, v1 = key1 ^ 0x646f72616e646f6d;
  let v2 = key0 ^ 0x6c7967656e657261, v3 = key1 ^ 0x7465646279746573;
  // Three words, a last block with the length alone, and four rounds more.
  for (let round: u32 = 0; round < 12; round++) {
    const block: u64 = round < 2 ? a : round < 4 ? b : round < 6 ? c : <u64>24 << 56;
    const opens = (round & 1) == 0 && round < 8;
    if (opens) v3 ^= block;
    else if (round == 8) v2 ^= 0xff;
    v0 += v1; v1 = rotl<u64>(v1, 13) ^ v0; v0 = rotl<u64>(v0, 32);
    v2 += v3; v3 = rotl<u64>(v3, 16) ^ v2;
    v0 += v3; v3 = rotl<u64>(v3, 21) ^ v0;
    v2 += v1; v1 = rotl<u64>(v1, 17) ^ v2; v2 = rotl<u64>(v2, 32);
    if ((round & 1) == 1 && round < 8) v0 ^= block;
  }
  return <u32>(v0 ^ v1 ^ v2 ^ v3);
}
