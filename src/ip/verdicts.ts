/**
 * What rules leave to the host layer: answers to what they reject (RFC 792, RFC 4443 §3.1, RFC 9293 §3.5.2), fragments that must be whole
 * before they are tracked, packets to be logged or decided about.
 */
import * as abi from "../../assembly/abi.ts";
import { checksum, ETHERTYPE, pseudoSum, serializeIpv4, serializeTcp } from "../wire/index.ts";
import { upperLayer } from "./extensions.ts";
import type { IcmpIo } from "./icmp-io.ts";
import { aboutOf, destinationOf, sourceOf } from "./packet-io.ts";
import type { Reassembly } from "./reassembly.ts";
import { completeSum, keepSegments } from "./whole.ts";
import type { World } from "./world.ts";

const ETHERNET = 14;
const UNREACHABLE = { 4: 3, 6: 1 } as const;
const [FIN, SYN, RST, ACK] = [1, 2, 4, 16];

/** Who hears of packets that rules log or follow, or that a helper is to read. The packet is released when `log` or `trace` returns. */
export interface RuleListener {
  /** `statement`: number of the log statement. */
  log?(id: number, statement: number): void;
  /** What a rule, or a policy, does with a packet that is followed; `point`: its number. */
  trace?(id: number, point: number): void;
  /** What is to be sent in place of a packet of a flow with a helper. `flow`: its number × 2 + direction. */
  help?(packet: Uint8Array, flow: number): Uint8Array;
  /** A packet that waits for a verdict, with its queue and the flags of the statement: it is the listener's from then on. */
  queue?(id: number, queue: number, flags: number): void;
}

export class Verdicts {
  listener: RuleListener = {};
  private readonly world: World;
  private readonly icmp: IcmpIo;
  private readonly reassembly: Reassembly;
  /** By reason; the packet is released behind it. */
  private readonly answers: Readonly<Record<number, (id: number, argument: number) => void>> = {
    [abi.PUNT_REJECT]: (id, argument) => this.reject(id, argument >>> 8, argument & 255),
    [abi.PUNT_FRAGMENT]: (id) => this.assemble(id),
    [abi.PUNT_LOG]: (id, argument) => this.listener.log?.(id, argument),
    [abi.PUNT_TRACE]: (id, argument) => this.listener.trace?.(id, argument),
    [abi.PUNT_HELPER]: (id, argument) => this.help(id, argument),
  };

  constructor(world: World, icmp: IcmpIo, reassembly: Reassembly) {
    this.world = world;
    this.icmp = icmp;
    this.reassembly = reassembly;
  }

  /** A packet with the reason a rule had; false when it is none of theirs. What is not kept is released. */
  receive(id: number, reason: number, argument: number): boolean {
    const { plane } = this.world.engine;
    if (reason === abi.PUNT_SYNPROXY) this.comeIn(id);
    else if (reason === abi.PUNT_QUEUE) {
      if (this.listener.queue) this.listener.queue(id, argument & 0xffff, argument >>> 16);
      else plane.packetDiscard(0, id);
    } else {
      const answer = this.answers[reason];
      if (!answer) return false;
      // Whatever who listens does with it.
      try {
        answer(id, argument);
      } finally {
        plane.packetRelease(0, id);
      }
    }
    return true;
  }

  /** A segment that was made in a client's place comes in as if from there. */
  private comeIn(id: number): void {
    const { memory, plane } = this.world.engine;
    const scratch = memory.base(abi.REGION_HOST);
    memory.setU32(scratch, id);
    const ring = memory.getU32(memory.port(memory.getU16(memory.descriptor(id) + abi.DESC_INGRESS)) + abi.PORT_RX);
    if (plane.ringPush(ring, scratch, 1) === 0) plane.packetRelease(0, id);
    this.world.engine.wake();
  }

  private help(id: number, flow: number): void {
    const { world } = this;
    const { memory } = world.engine;
    const packet = world.packetBytes(id);
    completeSum(memory, id, packet);
    const hop = memory.getU16(memory.descriptor(id) + abi.DESC_NEXT_HOP);
    const out = this.listener.help?.(packet, flow) ?? packet;
    const fresh = world.chainOf(out);
    if (fresh === undefined) return;
    const d = memory.descriptor(fresh);
    this.mark(d, abi.FLAG_PASSED | abi.FLAG_FORWARDED);
    memory.setU16(d + abi.DESC_INGRESS, memory.getU16(memory.descriptor(id) + abi.DESC_INGRESS));
    keepSegments(memory, id, fresh, out.length);
    world.route(fresh, out[0] >>> 4 === 4 ? 4 : 6, hop);
  }

  private mark(descriptor: number, flags: number): void {
    const { memory } = this.world.engine;
    memory.setU32(descriptor + abi.DESC_FLAGS, memory.getU32(descriptor + abi.DESC_FLAGS) | flags);
  }

  private reject(id: number, kind: number, code: number): void {
    const packet = this.world.packetBytes(id, 1280);
    // What was broken on its way is not answered; a checksum that is left to a device, or known to be right, is not looked at.
    const { memory } = this.world.engine;
    const isKnown = memory.getU32(memory.descriptor(id) + abi.DESC_FLAGS) & (abi.FLAG_CSUM_PARTIAL | abi.FLAG_CSUM_GOOD);
    if (packet.length < 20 || (!isKnown && !isSound(this.world.packetBytes(id)))) return;
    if (kind === abi.REJECT_TCP_RESET) this.reset(packet, id);
    else this.icmp.sendUnreachable(id, packet, UNREACHABLE[packet[0] >>> 4 === 4 ? 4 : 6], code);
  }

  /** RFC 9293 §3.5.2: with the sequence number that was acknowledged, or acknowledging what came. `id`: of the packet that it answers. */
  private reset(packet: Uint8Array, id: number): void {
    const { world } = this;
    const [from, to] = [sourceOf(packet), destinationOf(packet)];
    const upper = packet[0] >>> 4 === 4 ? { protocol: packet[9], offset: (packet[0] & 15) * 4 } : upperLayer(packet);
    const { protocol, offset } = upper;
    if (protocol !== 6 || packet.length < offset + 20) return;
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    const flags = packet[offset + 13];
    if (flags & RST) return;
    const ends = packet[0] >>> 4 === 4 ? view.getUint16(2) : view.getUint16(4) + 40;
    const length = ends - offset - (packet[offset + 12] >>> 4) * 4 + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    const answer = serializeTcp(
      {
        sourcePort: view.getUint16(offset + 2),
        destinationPort: view.getUint16(offset),
        sequence: flags & ACK ? view.getUint32(offset + 8) : 0,
        acknowledgement: flags & ACK ? 0 : (view.getUint32(offset + 4) + length) >>> 0,
        flags: flags & ACK ? RST : RST | ACK,
        window: 0,
        urgentPointer: 0,
        options: new Uint8Array(),
        payload: new Uint8Array(),
      },
      { source: to.bytes(), destination: from.bytes() },
    );
    const path = world.pathTo(from);
    const addressed = { source: to.v4, destination: from.v4, protocol: 6, payload: answer };
    const whole = from.family === 4 ? serializeIpv4({ ...addressed, dontFragment: true }) : world.packetOf(to, from, 6, answer);
    world.sendPacket(whole, path, aboutOf(world.engine, id));
  }

  /** The last fragment brings the whole packet back to the port by which it came, with that fragment's link-layer header. */
  private assemble(id: number): void {
    const { world } = this;
    const packet = world.packetBytes(id);
    const { memory, plane } = world.engine;
    const d = memory.descriptor(id);
    const mark = memory.getU32(d + abi.DESC_MARK);
    const whole = this.reassembly.add(packet, world.now, (pointer, code) => this.icmp.fragmentProblem(id, packet, pointer, code), mark);
    if (!whole) return;
    const port = memory.getU16(d + abi.DESC_INGRESS);
    const frame = new Uint8Array(ETHERNET + whole.length);
    const data = memory.getU32(d + abi.DESC_DATA);
    frame.set(memory.u8.subarray(data, data + 12));
    new DataView(frame.buffer).setUint16(12, whole[0] >>> 4 === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6);
    frame.set(whole, ETHERNET);
    const fresh = world.engine.port(port).buffersOf(frame);
    if (fresh === abi.NONE) {
      world.counters.out_no_buffers++;
      return;
    }
    const f = memory.descriptor(fresh);
    memory.setU32(f + abi.DESC_FLAGS, memory.getU32(f + abi.DESC_FLAGS) | abi.FLAG_REASSEMBLED);
    memory.setU32(f + abi.DESC_MARK, this.reassembly.mark);
    memory.setU16(f + abi.LARGEST_FRAGMENT, this.reassembly.largest);
    memory.setU16(f + abi.CUT_NUMBER, world.cuts.add(this.reassembly.cuts));
    const scratch = memory.base(abi.REGION_HOST);
    memory.setU32(scratch, fresh);
    if (plane.ringPush(memory.getU32(memory.port(port) + abi.PORT_RX), scratch, 1) === 0) plane.packetRelease(0, fresh);
    world.engine.wake();
  }
}

/** GRE, ESP, AH, SCTP, UDP-Lite, DCCP: with none, another, or one over a part of them (nf_reject_verify_csum). */
const WITHOUT_SUM = new Set([47, 50, 51, 132, 136, 33]);

/**
 * Is the transport's checksum right? Whatever is not known to have none is summed up, as the kernel does: over all that the network layer carries,
 * whatever UDP says of its length.
 */
function isSound(packet: Uint8Array): boolean {
  const is4 = packet[0] >>> 4 === 4;
  const { protocol, offset } = is4 ? { protocol: packet[9], offset: (packet[0] & 15) * 4 } : upperLayer(packet);
  if (WITHOUT_SUM.has(protocol)) return true;
  const segment = packet.subarray(offset);
  if (protocol === 17 && segment[6] === 0 && segment[7] === 0) return true;
  const isPlain = is4 && protocol !== 6 && protocol !== 17;
  const [from, to] = is4 ? [packet.subarray(12, 16), packet.subarray(16, 20)] : [packet.subarray(8, 24), packet.subarray(24, 40)];
  return checksum(segment, isPlain ? 0 : pseudoSum(from, to, protocol, segment.length)) === 0;
}
