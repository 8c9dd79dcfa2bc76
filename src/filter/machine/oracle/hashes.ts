/** lookup3 as the kernel's jhash has it (linux/jhash.h), and its way to make an index of 32 bits. */
const rotl = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));

export function jhash(bytes: Uint8Array, seed: number): number {
  let a = (0xdeadbeef + bytes.length + seed) | 0;
  let b = a;
  let c = a;
  const at = (i: number): number =>
    (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8) | ((bytes[i + 2] ?? 0) << 16) | ((bytes[i + 3] ?? 0) << 24);
  let i = 0;
  for (; bytes.length - i > 12; i += 12) {
    a = (a + at(i)) | 0;
    b = (b + at(i + 4)) | 0;
    c = (c + at(i + 8)) | 0;
    a = (a - c) ^ rotl(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rotl(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rotl(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rotl(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rotl(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rotl(b, 4);
    b = (b + a) | 0;
  }
  if (i === bytes.length) return c >>> 0;
  a = (a + at(i)) | 0;
  b = (b + at(i + 4)) | 0;
  c = (c + at(i + 8)) | 0;
  c = (c ^ b) - rotl(b, 14);
  a = (a ^ c) - rotl(c, 11);
  b = (b ^ a) - rotl(a, 25);
  c = (c ^ b) - rotl(b, 16);
  a = (a ^ c) - rotl(c, 4);
  b = (b ^ a) - rotl(a, 14);
  c = (c ^ b) - rotl(b, 24);
  return c >>> 0;
}

/** (value × modulus) >> 32. */
export const scale = (value: number, modulus: number): number => Number((BigInt(value >>> 0) * BigInt(modulus)) >> 32n);
