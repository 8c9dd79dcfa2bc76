/**
 * virtio_net_hdr, which TAP devices and packet sockets put in front of a frame: what is left to do for it (a checksum to
 * complete, segments to cut), as the descriptor's fields say the same.
 *
 *   flags u8 | gso type u8 | header length u16 | gso size u16 | checksum start u16 | checksum offset u16
 */
import * as abi from "../../assembly/abi.ts";
import type { EngineMemory } from "../engine/memory.ts";

const NEEDS_CSUM = 1;
const DATA_VALID = 2;
const GSO_ECN = 0x80;
const UDP_L4 = 5;
const GSO_TO_VNET = [0, 1, 4, UDP_L4, UDP_L4];
const VNET_TO_GSO = [0, abi.GSO_TCP4, 0, 0, abi.GSO_TCP6, 0];

/** Bytes that every version of the header has; what lies behind them is not used. */
export const VNET_BYTES = 10;

/** Writes what the header at `at` of `bytes` says into a descriptor. `is6`: the frame is IPv6. */
export function readVnet(bytes: Uint8Array, at: number, is6: boolean, memory: EngineMemory, d: number): void {
  const u16 = (offset: number) => bytes[at + offset] | (bytes[at + offset + 1] << 8);
  const flags = bytes[at];
  memory.setU32(d + abi.DESC_FLAGS, flags & NEEDS_CSUM ? abi.FLAG_CSUM_PARTIAL : flags & DATA_VALID ? abi.FLAG_CSUM_GOOD : 0);
  memory.setU16(d + abi.DESC_CSUM_START, u16(6));
  memory.setU16(d + abi.DESC_CSUM_OFFSET, u16(8));
  const type = bytes[at + 1] & ~GSO_ECN;
  const kind = type === UDP_L4 ? (is6 ? abi.GSO_UDP6 : abi.GSO_UDP4) : (VNET_TO_GSO[type] ?? 0);
  memory.setU16(d + abi.DESC_GSO_SIZE, kind ? u16(4) : 0);
  memory.setU16(d + abi.DESC_GSO_KIND, kind);
}

/** Writes the header of a packet's descriptor to `at` of `bytes`. */
export function writeVnet(memory: EngineMemory, d: number, bytes: Uint8Array, at: number): void {
  const u16 = (offset: number, value: number) => {
    bytes[at + offset] = value;
    bytes[at + offset + 1] = value >>> 8;
  };
  const kind = memory.getU16(d + abi.DESC_GSO_KIND);
  const open = (memory.getU32(d + abi.DESC_FLAGS) & abi.FLAG_CSUM_PARTIAL) !== 0;
  bytes[at] = open ? NEEDS_CSUM : 0;
  bytes[at + 1] = GSO_TO_VNET[kind];
  u16(2, kind ? memory.getU32(d + abi.DESC_LENGTH) : 0);
  u16(4, kind ? memory.getU16(d + abi.DESC_GSO_SIZE) : 0);
  u16(6, open ? memory.getU16(d + abi.DESC_CSUM_START) : 0);
  u16(8, open ? memory.getU16(d + abi.DESC_CSUM_OFFSET) : 0);
}
