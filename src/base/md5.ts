/** MD5 (RFC 1321) and HMAC-MD5 (RFC 2104), for protocols that ask for nothing better and say little by it. */

const SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
const SINES = Int32Array.from({ length: 64 }, (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32) | 0);
const BLOCK = 64;

/** The message with a one bit, zeros, and its length in bits (little endian) behind it. */
function padded(bytes: Uint8Array): DataView {
  const out = new Uint8Array(Math.ceil((bytes.length + 9) / BLOCK) * BLOCK);
  out.set(bytes);
  out[bytes.length] = 0x80;
  const view = new DataView(out.buffer);
  view.setUint32(out.length - 8, (bytes.length * 8) >>> 0, true);
  view.setUint32(out.length - 4, Math.floor(bytes.length / 2 ** 29), true);
  return view;
}

function round(state: Int32Array, view: DataView, at: number): void {
  let [a, b, c, d] = state;
  for (let i = 0; i < 64; i++) {
    const turn = i >>> 4;
    const mixed = turn === 0 ? (b & c) | (~b & d) : turn === 1 ? (d & b) | (~d & c) : turn === 2 ? b ^ c ^ d : c ^ (b | ~d);
    const word = turn === 0 ? i : turn === 1 ? 5 * i + 1 : turn === 2 ? 3 * i + 5 : 7 * i;
    const sum = (a + mixed + SINES[i] + view.getInt32(at + 4 * (word & 15), true)) | 0;
    const shift = SHIFTS[4 * turn + (i & 3)];
    [a, d, c, b] = [d, c, b, (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0];
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}

/** Sixteen bytes. */
export function md5(bytes: Uint8Array): Uint8Array {
  const view = padded(bytes);
  const state = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476);
  for (let at = 0; at < view.byteLength; at += BLOCK) round(state, view, at);
  const out = new DataView(new ArrayBuffer(16));
  for (const [i, word] of state.entries()) out.setInt32(4 * i, word, true);
  return new Uint8Array(out.buffer);
}

/** Sixteen bytes. */
export function hmacMd5(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const short = key.length > BLOCK ? md5(key) : key;
  const keyed = (pad: number, rest: Uint8Array) => {
    const out = new Uint8Array(BLOCK + rest.length).fill(pad, 0, BLOCK);
    for (const [i, byte] of short.entries()) out[i] ^= byte;
    out.set(rest, BLOCK);
    return md5(out);
  };
  return keyed(0x5c, keyed(0x36, bytes));
}
