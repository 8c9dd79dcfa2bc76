/**
 * Tables that ship with the project, in columns that compress well:
 *
 *   "LOOM" | version u8 | family u8 | spare u16 | count u32 | lengths (u8 each) | hops (u8 each) | addresses
 *
 * Rows are sorted; addresses are differences to the row before, shifted right by the bits that no prefix
 * uses and written as LEB128. The whole is gzipped by the caller.
 */
import { LoomError } from "../base/errors.ts";
import type { Columns } from "../base/routes.ts";
import { RouteSet } from "../base/routes.ts";

const MAGIC = [0x4c, 0x4f, 0x4f, 0x4d];
const VERSION = 1;
const HEADER = 12;

export function looksCompact(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}

/** Rows must be sorted by address; hops at most 255. */
export function encodeCompact(columns: Columns): Uint8Array {
  const { count, lengths, hops, family } = columns;
  const out: number[] = [...MAGIC, VERSION, family, 0, 0, count & 255, (count >>> 8) & 255, (count >>> 16) & 255, count >>> 24];
  const body = new Uint8Array(2 * count);
  body.set(lengths.subarray(0, count), 0);
  for (let i = 0; i < count; i++) body[count + i] = hops[i];
  const addresses: number[] = [];
  let before = 0n;
  for (let i = 0; i < count; i++) {
    const address = columns.family === 4 ? BigInt(columns.addresses[i]) : (columns.high[i] << 64n) | columns.low[i];
    let delta = address - before;
    before = address;
    for (; delta >= 128n; delta >>= 7n) addresses.push(Number(delta & 127n) | 128);
    addresses.push(Number(delta));
  }
  const bytes = new Uint8Array(out.length + body.length + addresses.length);
  bytes.set(out, 0);
  bytes.set(body, out.length);
  bytes.set(addresses, out.length + body.length);
  return bytes;
}

export function decodeCompact(bytes: Uint8Array, name: string): RouteSet {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const fail = (what: string): never => {
    throw new LoomError("EPROTO", `${name}: ${what}`);
  };
  if (bytes.length < HEADER) fail("the table is cut off");
  if (bytes[4] !== VERSION) fail(`table version ${bytes[4]}; expected ${VERSION}`);
  if (bytes[5] !== 4 && bytes[5] !== 6) fail(`address family ${bytes[5]}; expected 4 or 6`);
  const is4 = bytes[5] === 4;
  const count = view.getUint32(8, true);
  if (bytes.length < HEADER + 3 * count) fail("the table is cut off");
  const routes = new RouteSet();
  const lengths = bytes.subarray(HEADER, HEADER + count);
  const hopsAt = HEADER + count;
  // As many next hops as are named: one too many would make every leaf two bytes.
  const most = bytes.subarray(hopsAt, hopsAt + count).reduce((a, b) => Math.max(a, b), 0);
  for (let hop = 1; hop <= most; hop++) routes.hop(String(hop));
  let at = HEADER + 2 * count;
  let address4 = 0;
  let address6 = 0n;
  for (let i = 0; i < count; i++) {
    let shift = 1;
    let low = 0;
    let byte = bytes[at++];
    // Up to 2^49 a double is exact, which all IPv4 differences are.
    for (; byte >= 128 && shift < 2 ** 42; byte = bytes[at++]) {
      low += (byte & 127) * shift;
      shift *= 128;
    }
    let delta = 0n;
    if (byte < 128) low += byte * shift;
    else {
      let bits = 42n;
      for (; byte >= 128; byte = bytes[at++]) {
        if (bits > 128n) fail(`route ${i} has an address of more than 128 bits`);
        delta |= BigInt(byte & 127) << bits;
        bits += 7n;
      }
      delta |= BigInt(byte ?? 0) << bits;
    }
    if (byte === undefined) fail(`the table is cut off at route ${i}`);
    if (lengths[i] > (is4 ? 32 : 128)) fail(`route ${i} has a length of ${lengths[i]} bits`);
    if (bytes[hopsAt + i] === 0) fail(`route ${i} has no next hop`);
    if (is4) routes.v4.add((address4 += low), lengths[i], bytes[hopsAt + i]);
    else {
      address6 += delta + BigInt(low);
      routes.v6.add(address6 >> 64n, address6 & 0xffffffffffffffffn, lengths[i], bytes[hopsAt + i]);
    }
  }
  return routes;
}
