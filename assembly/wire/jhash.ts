/** Bob Jenkins' lookup3 (public domain) as the kernel's jhash uses it, so that `jhash` of a rule gives the same numbers. */

/** Hash of `length` bytes at `at`. */
export function jhash(at: usize, length: u32, seed: u32): u32 {
  let a: u32 = 0xdeadbeef + length + seed, b = a, c = a;
  for (; length > 12; length -= 12, at += 12) {
    a += load<u32>(at);
    b += load<u32>(at, 4);
    c += load<u32>(at, 8);
    a -= c; a ^= rotl<u32>(c, 4); c += b;
    b -= a; b ^= rotl<u32>(a, 6); a += c;
    c -= b; c ^= rotl<u32>(b, 8); b += a;
    a -= c; a ^= rotl<u32>(c, 16); c += b;
    b -= a; b ^= rotl<u32>(a, 19); a += c;
    c -= b; c ^= rotl<u32>(b, 4); b += a;
  }
  if (length == 0) return c;
  a += tail(at, length);
  if (length > 4) b += tail(at + 4, length - 4);
  if (length > 8) c += tail(at + 8, length - 8);
  c ^= b; c -= rotl<u32>(b, 14);
  a ^= c; a -= rotl<u32>(c, 11);
  b ^= a; b -= rotl<u32>(a, 25);
  c ^= b; c -= rotl<u32>(b, 16);
  a ^= c; a -= rotl<u32>(c, 4);
  b ^= a; b -= rotl<u32>(a, 14);
  c ^= b; c -= rotl<u32>(b, 24);
  return c;
}

/** Up to four bytes as the low ones of a word. */
function tail(at: usize, length: u32): u32 {
  let word: u32 = 0;
  for (let i: u32 = 0; i < min<u32>(length, 4); i++) word |= <u32>load<u8>(at + i) << (i << 3);
  return word;
}
