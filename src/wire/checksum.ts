/** The Internet checksum (RFC 1071), plainly: 16-bit big-endian words, one at a time. */
export function checksum(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
  if (bytes.length & 1) sum += bytes[bytes.length - 1] << 8;
  while (sum > 0xffff) sum = Math.floor(sum / 65_536) + (sum & 0xffff);
  return ~sum & 0xffff;
}

/** Sum (not folded) of a pseudo-header: addresses (4 or 16 bytes each), protocol, upper-layer length. */
export function pseudoSum(source: Uint8Array, destination: Uint8Array, protocol: number, length: number): number {
  let sum = protocol + (length >>> 16) + (length & 0xffff);
  for (const address of [source, destination]) {
    for (let i = 0; i < address.length; i += 2) sum += (address[i] << 8) | address[i + 1];
  }
  return sum;
}

/** The checksum of an upper-layer message with its pseudo-header; its own checksum field must be zero. */
export function l4Checksum(source: Uint8Array, destination: Uint8Array, protocol: number, message: Uint8Array): number {
  return checksum(message, pseudoSum(source, destination, protocol, message.length));
}
