/** ARP for IPv4 over Ethernet (RFC 826). */
import { need, put16, put32, u16, u32, WireError } from "./bytes.ts";

export interface ArpPacket {
  readonly operation: "request" | "reply";
  readonly senderMac: Uint8Array;
  readonly senderAddress: number;
  readonly targetMac: Uint8Array;
  readonly targetAddress: number;
}

export function parseArp(bytes: Uint8Array): ArpPacket {
  need(bytes, 28, "ARP packet");
  if (u16(bytes, 0) !== 1 || u16(bytes, 2) !== 0x0800 || bytes[4] !== 6 || bytes[5] !== 4) {
    throw new WireError("ARP packet: not for IPv4 over Ethernet");
  }
  const operation = u16(bytes, 6);
  if (operation !== 1 && operation !== 2) throw new WireError(`ARP packet: operation ${operation}, expected 1 or 2`);
  return {
    operation: operation === 1 ? "request" : "reply",
    senderMac: bytes.subarray(8, 14),
    senderAddress: u32(bytes, 14),
    targetMac: bytes.subarray(18, 24),
    targetAddress: u32(bytes, 24),
  };
}

export function serializeArp(packet: ArpPacket): Uint8Array {
  const out = new Uint8Array(28);
  put16(out, 0, 1);
  put16(out, 2, 0x0800);
  out[4] = 6;
  out[5] = 4;
  put16(out, 6, packet.operation === "request" ? 1 : 2);
  out.set(packet.senderMac, 8);
  put32(out, 14, packet.senderAddress);
  out.set(packet.targetMac, 18);
  put32(out, 24, packet.targetAddress);
  return out;
}
