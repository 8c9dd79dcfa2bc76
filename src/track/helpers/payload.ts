/** The payload of a packet in hand, and a packet with another payload: lengths, checksums, TCP's numbers shifted by what changed before. */
import { checksum, pseudoSum } from "../../wire/checksum.ts";

export interface Opened {
  readonly packet: Uint8Array;
  readonly family: 4 | 6;
  readonly protocol: number;
  /** Where the transport's header begins, and its payload. */
  readonly l4: number;
  readonly payloadAt: number;
}

const [TCP, UDP] = [6, 17];

/** Reads a whole IP packet that carries TCP or UDP without extension headers in front; undefined for others. */
export function open(packet: Uint8Array): Opened | undefined {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  if (packet.length < (family === 4 ? 20 : 40)) return undefined;
  const protocol = packet[family === 4 ? 9 : 6];
  const l4 = family === 4 ? (packet[0] & 15) * 4 : 40;
  const payloadAt = protocol === TCP ? l4 + (packet[l4 + 12] >>> 4) * 4 : l4 + 8;
  if ((protocol !== TCP && protocol !== UDP) || payloadAt > packet.length) return undefined;
  return { packet, family, protocol, l4, payloadAt };
}

export const payloadOf = ({ packet, payloadAt }: Opened): Uint8Array => packet.subarray(payloadAt);

/** Bytes as letters of the same number, and back. */
export function decodeText(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return text;
}
export const encodeText = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** A SYN that begins a connection. */
export const isOpening = ({ packet, l4 }: Opened): boolean => (packet[l4 + 13] & 0x12) === 2;
/** A SYN of either side. */
export const isSynchronizing = ({ packet, l4 }: Opened): boolean => (packet[l4 + 13] & 2) !== 0;
export const sequenceOf = ({ packet, l4 }: Opened): number => view(packet).getUint32(l4 + 4);
export const acknowledgementOf = ({ packet, l4 }: Opened): number => view(packet).getUint32(l4 + 8);

/** The same packet around another payload. */
export function withPayload(opened: Opened, payload: Uint8Array): Opened {
  const packet = new Uint8Array(opened.payloadAt + payload.length);
  packet.set(opened.packet.subarray(0, opened.payloadAt));
  packet.set(payload, opened.payloadAt);
  const at = view(packet);
  if (opened.family === 4) at.setUint16(2, packet.length);
  else at.setUint16(4, packet.length - 40);
  if (opened.protocol === UDP) at.setUint16(opened.l4 + 4, packet.length - opened.l4);
  return { ...opened, packet };
}

/** Adds to the sequence and acknowledgement numbers, selective ones too (RFC 2018 §3). */
export function shift(opened: Opened, sequence: number, acknowledgement: number): void {
  const at = view(opened.packet);
  const add = (offset: number, by: number) => at.setUint32(offset, (at.getUint32(offset) + by) >>> 0);
  add(opened.l4 + 4, sequence);
  if (opened.packet[opened.l4 + 13] & 16) add(opened.l4 + 8, acknowledgement);
  for (let option = opened.l4 + 20; option + 1 < opened.payloadAt; ) {
    const kind = opened.packet[option];
    if (kind === 0) return;
    const size = kind === 1 ? 1 : opened.packet[option + 1];
    if (size < 1 || (kind !== 1 && size < 2) || option + size > opened.payloadAt) return;
    if (kind === 5) for (let block = option + 2; block + 8 <= option + size; block += 4) add(block, acknowledgement);
    option += size;
  }
}

/** Writes the checksums anew. */
export function seal({ packet, family, protocol, l4 }: Opened): Uint8Array {
  const at = view(packet);
  if (family === 4) {
    at.setUint16(10, 0);
    at.setUint16(10, checksum(packet.subarray(0, l4)));
  }
  const [source, destination] =
    family === 4 ? [packet.subarray(12, 16), packet.subarray(16, 20)] : [packet.subarray(8, 24), packet.subarray(24, 40)];
  const field = l4 + (protocol === TCP ? 16 : 6);
  at.setUint16(field, 0);
  const segment = packet.subarray(l4);
  const sum = checksum(segment, pseudoSum(source, destination, protocol, segment.length));
  at.setUint16(field, protocol === UDP && sum === 0 ? 0xffff : sum);
  return packet;
}
