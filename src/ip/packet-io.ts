/** Packets as bytes, in and out of buffers: for what is rare enough to be looked at in JavaScript. */
import * as abi from "../../assembly/abi.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Engine } from "../engine/engine.ts";
import { copyChain } from "../engine/port.ts";
import { upperLayer } from "./extensions.ts";
import type { NetInterface } from "./interface.ts";
import type { IpCounters } from "./types.ts";

const ETHERNET = 14;
/** IPv6 does not count its own header (RFC 8200 §3). */
const LARGEST_PACKET = 65_535 + 40;

/** For what is said of a packet that got no further: which flow that was of (abi.REJECTED_FLOW); undefined where it had none. */
export function aboutOf({ memory }: Engine, id: number): { readonly about: number } | undefined {
  const d = memory.descriptor(id);
  return memory.getU32(d + abi.DESC_FLAGS) & abi.FLAG_ATTACHED ? { about: memory.getU32(d + abi.REJECTED_FLOW) } : undefined;
}

export class PacketIo {
  private readonly engine: Engine;
  private readonly counters: IpCounters;

  constructor(engine: Engine, counters: IpCounters) {
    this.engine = engine;
    this.counters = counters;
  }

  /** A packet's bytes in as many buffers as it takes; undefined without buffers. */
  chainOf(packet: Uint8Array): number | undefined {
    const first = this.fill(packet);
    if (first !== undefined) this.describe(first, packet);
    return first;
  }

  private fill(packet: Uint8Array): number | undefined {
    const { memory, plane } = this.engine;
    const size = memory.layout.stride - memory.layout.sizes.headroom - 64;
    let first: number | undefined;
    let last = 0;
    for (let at = 0; at < packet.length; at += size) {
      const id = plane.bufferTake(0) >>> 0;
      if (id === abi.NONE) {
        if (first !== undefined) plane.packetRelease(0, first);
        this.counters.out_no_buffers++;
        return undefined;
      }
      const d = memory.descriptor(id);
      const piece = packet.subarray(at, at + size);
      memory.u8.set(piece, memory.getU32(d + abi.DESC_DATA));
      memory.setU32(d + abi.DESC_LENGTH, piece.length);
      if (first === undefined) first = id;
      else memory.setU32(last + abi.DESC_NEXT, id);
      last = d;
    }
    return first;
  }

  /** What the data plane would have found out about a packet that begins with its network header. */
  private describe(id: number, packet: Uint8Array): void {
    const { memory } = this.engine;
    const d = memory.descriptor(id);
    const is4 = packet[0] >>> 4 === 4;
    memory.setU32(d + abi.DESC_PACKET_LENGTH, packet.length);
    memory.setU16(d + abi.DESC_L3, 0);
    const { offset, protocol } = is4 ? { offset: (packet[0] & 15) * 4, protocol: packet[9] } : upperLayer(packet);
    const options = offset > (is4 ? 20 : 40) ? abi.FLAG_OPTIONS : 0;
    memory.setU16(d + abi.DESC_L4, offset);
    memory.setU32(d + abi.DESC_FLAGS, (is4 ? abi.FLAG_IP4 : abi.FLAG_IP6) | options);
    memory.u8[d + abi.DESC_PROTOCOL] = protocol;
  }

  /** A packet's bytes from its network header on, `most` at most. */
  packetBytes(id: number, most = LARGEST_PACKET): Uint8Array {
    const { memory } = this.engine;
    const skip = memory.getU16(memory.descriptor(id) + abi.DESC_L3);
    const whole = this.frameBytes(id, skip + most);
    return whole.subarray(Math.min(skip, whole.length));
  }

  /** As `packetBytes`, with what the link has in front. */
  frameBytes(id: number, most: number): Uint8Array {
    const { memory } = this.engine;
    const whole = new Uint8Array(Math.min(memory.getU32(memory.descriptor(id) + abi.DESC_PACKET_LENGTH), most));
    return whole.subarray(0, copyChain(memory, id, whole));
  }

  /** Sends a whole frame by an interface; one that is larger than the interface takes is dropped. `segment`: rules that it meets (abi.SEGMENT_*). */
  sendFrame(iface: NetInterface, frame: Uint8Array, segment?: number): void {
    const { memory, plane } = this.engine;
    if (frame.length > iface.mtu + ETHERNET) {
      this.counters.out_too_big++;
      return;
    }
    const id = this.fill(frame);
    if (id === undefined) return;
    const d = memory.descriptor(id);
    memory.setU32(d + abi.DESC_PACKET_LENGTH, frame.length);
    memory.setU16(d + abi.DESC_INGRESS, abi.NO_PORT);
    memory.setU16(d + abi.DESC_L3, ETHERNET);
    memory.setU32(d + abi.DESC_FLAGS, 0);
    const passed = segment === undefined ? id : plane.packetFilter(0, iface.port.index, segment, id) >>> 0;
    if (passed === abi.NONE) return;
    plane.packetSend(0, iface.port.index, passed);
    this.engine.wake();
  }
}

/** Source and destination of a packet, from its first forty bytes. */
export function sourceOf(packet: Uint8Array): IpAddress {
  return IpAddress.fromBytes(packet[0] >>> 4 === 4 ? packet.subarray(12, 16) : packet.subarray(8, 24));
}

export function destinationOf(packet: Uint8Array): IpAddress {
  return IpAddress.fromBytes(packet[0] >>> 4 === 4 ? packet.subarray(16, 20) : packet.subarray(24, 40));
}
