/** IPv4 addresses within IPv6 ones (RFC 6052 §2.2): behind a prefix of 32, 40, 48, 56, 64 or 96 bits, around the byte at 64, which is zero. */

/** Does an address begin with a prefix of that length (whole bytes)? */
export function isEmbedded(address: usize, prefix: usize, length: u32): bool {
  return memory.compare(address, prefix, length >>> 3) == 0;
}

/** The IPv4 address in an IPv6 one, as it lies in packets. */
export function extract4(address: usize, length: u32): u32 {
  let value: u32 = 0, at = length >>> 3;
  for (let i: u32 = 0; i < 32; i += 8, at++) {
    if (at == 8) at++;
    value |= <u32>load<u8>(address + at) << i;
  }
  return value;
}

/** Writes the IPv6 address of an IPv4 one. */
export function embed4(out: usize, prefix: usize, length: u32, value: u32): void {
  let at = length >>> 3;
  memory.fill(out, 0, 16);
  memory.copy(out, prefix, at);
  for (let i: u32 = 0; i < 32; i += 8, at++) {
    if (at == 8) at++;
    store<u8>(out + at, <u8>(value >>> i));
  }
}
