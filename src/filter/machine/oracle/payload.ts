/** Bytes of packets read and written, with the checksums that a write changes: nft_payload and nft_exthdr over a plain packet. */
import type { Expression } from "../../expressions.ts";
import { baseOf, extensionAt, has, mend, mendTransport, optionAt, optionLength, type Packet, tcpLength, tcpOption, u16 } from "./packet.ts";

const SCTP = 132;

/** False: the rule ends. */
export function write(packet: Packet, e: Extract<Expression, { op: "payload-write" }>, value: Uint8Array): boolean {
  const { bytes } = packet;
  const start = baseOf(packet, e.base);
  const at = start + e.offset;
  if (start < 0 || !has(packet, at, e.len)) return false;
  const before = bytes.slice(at, at + e.len);
  const upper = e.base === "transport" || e.base === "inner";
  if (e.csum.kind === "inet" && !(packet.openChecksum && upper)) {
    if (!has(packet, start + e.csum.offset, 2)) return false;
    mend(bytes, start + e.csum.offset, before, value);
  }
  if (e.csum.pseudo && !mendTransport(packet, before, value)) return false;
  bytes.set(value, at);
  return true;
}

/** The bytes asked for (empty when only presence is), null when absent, undefined for a packet of another family. */
export function exthdr(packet: Packet, e: Extract<Expression, { op: "exthdr" }>): Uint8Array | null | undefined {
  const { bytes, l3 } = packet;
  const length = e.present ? 0 : e.len;
  let at = -1;
  if (e.header === "ipv6") {
    if (packet.family !== 6) return undefined;
    at = extensionAt(packet, e.type);
  } else if (e.header === "ipopt") {
    if (packet.family !== 4) return undefined;
    const header = (bytes[l3] & 15) * 4;
    at = header > 20 ? optionAt(bytes, l3 + 20, l3 + header, e.type) : -1;
  } else if (e.header === "sctp") at = chunkAt(packet, e.type);
  else {
    at = tcpOption(packet, e.type);
    if (at >= 0 && e.offset + length > optionLength(bytes, at)) at = -1;
  }
  return at >= 0 && has(packet, at + (length === 0 ? 0 : e.offset), length) ? bytes.slice(at + e.offset, at + e.offset + length) : null;
}

/** The first chunk of a type in an SCTP packet. */
/** Of IPv4 in any fragment, as in the kernel; of IPv6's later ones in none: the kernel looks for their chunks among the addresses. */
function chunkAt(packet: Packet, type: number): number {
  if (packet.protocol !== SCTP || packet.l4 < 0 || (packet.family === 6 && packet.laterFragment)) return -1;
  for (let at = packet.l4 + 12; has(packet, at, 4); ) {
    if (packet.bytes[at] === type) return at;
    const length = u16(packet.bytes, at + 2);
    if (length === 0) return -1;
    at += Math.ceil(length / 4) * 4;
  }
  return -1;
}

export function writeOption(packet: Packet, e: Extract<Expression, { op: "exthdr-write" }>, value: Uint8Array): boolean {
  if (tcpLength(packet) === 0) return false;
  const { bytes, l4 } = packet;
  const at = tcpOption(packet, e.type);
  if (at < 0) return true;
  if (e.offset + e.len > optionLength(bytes, at)) return false;
  const from = at + e.offset;
  const before = bytes.slice(from, from + e.len);
  // The maximum segment size may only be lowered.
  if (e.len === 2 && e.type === 2 && u16(before, 0) <= u16(value, 0)) return true;
  if (!packet.openChecksum) mend(bytes, l4 + 16, before, value, true);
  bytes.set(value, from);
  return true;
}

export function resetOption(packet: Packet, type: number): boolean {
  if (tcpLength(packet) === 0) return false;
  const { bytes, l4 } = packet;
  const at = tcpOption(packet, type);
  if (at < 0) return true;
  const end = at + optionLength(bytes, at);
  const first = at - ((at - l4) % 2);
  const last = end + ((end - l4) % 2);
  const before = bytes.slice(first, last);
  bytes.fill(1, at, end);
  if (!packet.openChecksum) mend(bytes, l4 + 16, before, bytes.slice(first, last), true);
  return true;
}
