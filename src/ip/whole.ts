/** Packets of several segments in the hands of the host layer, which sees them in one piece: their sum, and how they are cut. */
import * as abi from "../../assembly/abi.ts";
import type { EngineMemory } from "../engine/memory.ts";
import { l4Checksum } from "../wire/checksum.ts";
import { upperLayer } from "./extensions.ts";

const TCP = 6;
const UDP = 17;

/** Completes the checksum of TCP or UDP in a copy of a packet that had left it to its device (FLAG_CSUM_PARTIAL); of others it changes nothing. */
export function completeSum(memory: EngineMemory, id: number, packet: Uint8Array): void {
  if (!(memory.getU32(memory.descriptor(id) + abi.DESC_FLAGS) & abi.FLAG_CSUM_PARTIAL)) return;
  const is4 = packet[0] >>> 4 === 4;
  const { protocol, offset } = is4 ? { protocol: packet[9], offset: (packet[0] & 15) * 4 } : upperLayer(packet);
  const at = offset + (protocol === TCP ? 16 : 6);
  if ((protocol !== TCP && protocol !== UDP) || at + 2 > packet.length) return;
  const [source, destination] = is4
    ? [packet.subarray(12, 16), packet.subarray(16, 20)]
    : [packet.subarray(8, 24), packet.subarray(24, 40)];
  packet.fill(0, at, at + 2);
  const sum = l4Checksum(source, destination, protocol, packet.subarray(offset)) || (protocol === UDP ? 0xffff : 0);
  packet[at] = sum >>> 8;
  packet[at + 1] = sum;
}

/** A packet of `length` bytes from its network header on that stands for another is cut as that would be, if it has to be. */
export function keepSegments(memory: EngineMemory, from: number, to: number, length: number): void {
  const [d, f] = [memory.descriptor(from), memory.descriptor(to)];
  const size = memory.getU16(d + abi.DESC_GSO_SIZE);
  const headers = memory.getU16(f + abi.DESC_L4) - memory.getU16(f + abi.DESC_L3);
  memory.setU32(f + abi.DESC_GSO_SIZE, size > 0 && length > headers + size ? memory.getU32(d + abi.DESC_GSO_SIZE) : 0);
}
