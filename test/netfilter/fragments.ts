/** A packet cut into fragments by chance: in order or not, with a piece missing, repeated or overlapping now and then. */
import { put16, put32, u16 } from "../../src/base/bytes.ts";
import { checksum } from "../../src/wire/checksum.ts";
import type { Dice } from "./dice.ts";

/** One piece of an IPv4 packet. */
function piece4(whole: Uint8Array, from: number, to: number, id: number): Uint8Array {
  const header = (whole[0] & 15) * 4;
  const last = to >= whole.length - header;
  const out = new Uint8Array(header + Math.min(to, whole.length - header) - from);
  out.set(whole.subarray(0, header));
  out.set(whole.subarray(header + from, header + to), header);
  put16(out, 2, out.length);
  put16(out, 4, id);
  put16(out, 6, (u16(whole, 6) & 0x4000) | (last ? 0 : 0x2000) | (from / 8));
  put16(out, 10, 0);
  put16(out, 10, checksum(out.subarray(0, header)));
  return out;
}

/** One piece of an IPv6 packet; all of its extension headers count as what can be cut. */
function piece6(whole: Uint8Array, from: number, to: number, id: number): Uint8Array {
  const last = to >= whole.length - 40;
  const part = whole.subarray(40 + from, 40 + to);
  const out = new Uint8Array(48 + part.length);
  out.set(whole.subarray(0, 40));
  put16(out, 4, 8 + part.length);
  out[6] = 44;
  out[40] = whole[6];
  put16(out, 42, from | (last ? 0 : 1));
  put32(out, 44, id);
  out.set(part, 48);
  return out;
}

export function fragmentsOf(dice: Dice, whole: Uint8Array, id: number): Uint8Array[] {
  const six = whole[0] >>> 4 === 6;
  const body = whole.length - (six ? 40 : (whole[0] & 15) * 4);
  const piece = six ? piece6 : piece4;
  const size = 8 * dice.between(6, Math.max(6, Math.ceil(body / 16)));
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < body; at += size) pieces.push(piece(whole, at, at + size, id));
  return dice.weighted<() => Uint8Array[]>([
    [5, () => pieces],
    [3, () => [...pieces].reverse()],
    [2, () => dice.some(pieces, pieces.length)],
    [1, () => [pieces[0], ...pieces]],
    [0.3, () => pieces.slice(1)],
    [0.3, () => pieces.slice(0, -1)],
    [0.5, () => [pieces[0], piece(whole, size - 8, Math.min(size + 16, body - 8), id), ...pieces.slice(1)]],
  ])();
}
