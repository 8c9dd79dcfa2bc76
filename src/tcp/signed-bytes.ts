/** What signatures of segments are made over: pseudo-header, header, payload where it lies (RFC 2385 §2.0, RFC 5925 §5.1). */
import * as abi from "../../assembly/abi.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { IpStack } from "../ip/stack.ts";

export const HEADER_BYTES = 20;
const CHECKSUM = 16;
const TCP = 6;

/** A hash or a MAC in the making. */
export interface Sink {
  update(bytes: Uint8Array): unknown;
}

const header = new Uint8Array(HEADER_BYTES);
const view = new DataView(header.buffer);

/** Addresses, protocol, and the segment's length with its header. `record`: the stack's, of what came or what goes. */
export function addPseudoHeader(record: Int32Array, length: number, sink: Sink): void {
  const source = IpAddress.read(record, abi.SEG_SOURCE / 4);
  const is4 = source.family === 4;
  const tail = new Uint8Array(is4 ? 4 : 8);
  const tailView = new DataView(tail.buffer);
  // RFC 9293 §3.1 has 16 bits of length, RFC 8200 §8.1 has 32, and the protocol behind them.
  if (is4) tailView.setUint32(0, (TCP << 16) | length);
  else {
    tailView.setUint32(0, length);
    tailView.setUint32(4, TCP);
  }
  sink.update(source.bytes());
  sink.update(IpAddress.read(record, abi.SEG_DESTINATION / 4).bytes());
  sink.update(tail);
}

/** The header of what goes out, its checksum zero; valid until the next call. */
export function headerToSend(out: Int32Array): Uint8Array {
  const words = out[abi.OUT_OPTION_BYTES / 4] >>> 2;
  view.setUint16(0, out[abi.SEG_SOURCE_PORT / 4]);
  view.setUint16(2, out[abi.SEG_DESTINATION_PORT / 4]);
  view.setInt32(4, out[abi.OUT_SEQUENCE / 4]);
  view.setInt32(8, out[abi.OUT_ACKNOWLEDGEMENT / 4]);
  view.setUint16(12, ((5 + words) << 12) | (out[abi.OUT_FLAGS / 4] & 0x1ff));
  view.setUint16(14, out[abi.OUT_WINDOW / 4]);
  view.setUint32(16, out[abi.OUT_URGENT / 4] & 0xffff);
  return header;
}

/** The header of what came, its checksum zero; valid until the next call. */
export function headerReceived(stack: IpStack): Uint8Array {
  const start = stack.words[abi.SEG_OPTIONS / 4] - HEADER_BYTES;
  header.set(stack.engine.memory.u8.subarray(start, start + HEADER_BYTES));
  view.setUint16(CHECKSUM, 0);
  return header;
}

/** Bytes of payload in the pieces of what goes out. */
export function lengthToSend(out: Int32Array): number {
  const pieces = out[abi.OUT_PIECES / 4];
  let length = 0;
  for (let i = 0; i < pieces; i++) length += out[abi.OUT_PIECE / 4 + 3 * i + 1];
  return length;
}

export function addPayloadToSend(stack: IpStack, sink: Sink): void {
  const { out } = stack;
  const { u8 } = stack.engine.memory;
  const pieces = out[abi.OUT_PIECES / 4];
  for (let i = 0; i < pieces; i++) {
    const at = out[abi.OUT_PIECE / 4 + 3 * i] >>> 0;
    sink.update(u8.subarray(at, at + out[abi.OUT_PIECE / 4 + 3 * i + 1]));
  }
}

/** The payload of the packet `id`, through its chain. */
export function addPayloadReceived(stack: IpStack, id: number, sink: Sink): void {
  const { memory } = stack.engine;
  let offset = stack.words[abi.SEG_PAYLOAD / 4];
  for (let next = id, left = stack.words[abi.SEG_PAYLOAD_LENGTH / 4]; left > 0 && next !== abi.NONE; ) {
    const d = memory.descriptor(next);
    const have = memory.getU32(d + abi.DESC_LENGTH);
    next = memory.getU32(d + abi.DESC_NEXT);
    const n = Math.min(Math.max(have - offset, 0), left);
    const at = memory.getU32(d + abi.DESC_DATA) + offset;
    if (n > 0) sink.update(memory.u8.subarray(at, at + n));
    offset = Math.max(offset - have, 0);
    left -= n;
  }
}
