/** ICMP messages in and out: echo, errors about what this host sent, errors about what it got (RFC 1122 §3.2.2, RFC 4443). */

import * as abi from "../../assembly/abi.ts";
import { u32 } from "../base/bytes.ts";
import { IpAddress } from "../base/ip-address.ts";
import { checksum } from "../wire/index.ts";
import { checkExtensions, upperLayer } from "./extensions.ts";
import {
  deservesError,
  ICMP_ERROR,
  type IcmpErrorKind,
  type IcmpErrorReport,
  icmpMessage,
  parseError,
  quoted,
  RateLimit,
  RateLimits,
} from "./icmp.ts";
import type { NetInterface } from "./interface.ts";
import { answeredOptions4, checkOptions4 } from "./options4.ts";
import { aboutOf, destinationOf, sourceOf } from "./packet-io.ts";
import type { IcmpHandler, IncomingIcmp, PacketNote, Path, Transport } from "./types.ts";
import type { World } from "./world.ts";

/** Linux's icmp_msgs_per_sec and icmp_msgs_burst. */
const ICMP_RATE = 1000;
const ICMP_BURST = 50;
/** To one destination: Linux's icmp_ratelimit of one a second, six at once. */
const PER_DESTINATION = 1;
const PER_DESTINATION_BURST = 6;

const ECHO_REPLY = { 4: 0, 6: 129 } as const;
const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const TIMESTAMP = 13;
/** RFC 8200 §5. */
const SMALLEST_MTU6 = 1280;
const TIMESTAMP_REPLY = 14;

const LARGEST_HEADER4 = 60;

const hopsTo = (to: IpAddress, { iface }: Path) => (to.family === 6 ? (iface?.hopLimit ?? 64) : 64);

export class IcmpIo {
  private readonly world: World;
  private readonly limit = new RateLimit(ICMP_RATE, ICMP_BURST);
  private readonly limits = new RateLimits(PER_DESTINATION, PER_DESTINATION_BURST);
  private readonly handlers = { 4: new Map<number, IcmpHandler>(), 6: new Map<number, IcmpHandler>() };

  constructor(world: World) {
    this.world = world;
    for (const family of [4, 6] as const) {
      this.handle(family, ECHO_REQUEST[family], (incoming) => this.echo(incoming));
      this.handle(family, ECHO_REPLY[family], ({ id }) => world.transports.get(family === 4 ? 1 : 58)?.receive(id));
    }
    this.handle(4, TIMESTAMP, (incoming) => this.timestamp(incoming));
  }

  handle(family: 4 | 6, type: number, handler: IcmpHandler): void {
    this.handlers[family].set(type, handler);
  }

  receive(id: number): void {
    const { world } = this;
    const { words, engine } = world;
    const start = words[abi.SEG_PAYLOAD / 4] - engine.memory.getU16(engine.memory.descriptor(id) + abi.DESC_L3);
    const message = world.packetBytes(id).subarray(start, start + words[abi.SEG_PAYLOAD_LENGTH / 4]);
    const from = world.source();
    const to = world.destination();
    const handler = this.handlers[(words[0] & 255) as 4 | 6].get(message[0]);
    if (handler) handler({ id, iface: world.ingress(id), from, to, hopLimit: (words[0] >>> 24) & 255, message });
    else this.receiveError(message, from, to, world.ingress(id));
  }

  /** To a group or broadcast: IPv4 hosts may stay silent (RFC 1122 §3.2.2.6), IPv6 ones answer from a real address. */
  private echo(request: IncomingIcmp): void {
    const { to, message } = request;
    if (to.family === 4 && !this.world.isSource(to)) return;
    this.answer(request, ECHO_REPLY[to.family], message.subarray(8));
  }

  /** A host's clock knows no midnight: the high bit says that the time is of another kind (RFC 792, RFC 1122 §3.2.2.8). */
  private get time(): number {
    return (Math.floor(this.world.now) | 0x80000000) >>> 0;
  }

  private timestamp(request: IncomingIcmp): void {
    const { to, message } = request;
    if (message.length < 20 || message[1] !== 0 || !this.world.isSource(to)) return;
    const data = message.slice(8, 20);
    const view = new DataView(data.buffer);
    view.setUint32(4, this.time);
    view.setUint32(8, this.time);
    this.answer(request, TIMESTAMP_REPLY, data);
  }

  /** To the packet in hand: with its type of service and its records of the way (RFC 1122 §3.2.2.6). */
  private answer(request: IncomingIcmp, type: number, data: Uint8Array): void {
    const { iface, from, to, message } = request;
    const { world } = this;
    const path = world.pathTo(from, from.isLinkLocal ? iface : undefined);
    const source = world.isSource(to) ? to : world.sourceFor(from, path);
    if (!source) return;
    const tos = (world.words[0] >>> 16) & 255;
    const options = from.family === 4 ? this.answeredOptions(request) : undefined;
    const bytes = icmpMessage(type, 0, u32(message, 4), data, source, from);
    world.sendPacket(world.packetOf(source, from, from.family === 4 ? 1 : 58, bytes, hopsTo(from, path), tos, options), path);
  }

  private answeredOptions({ id, to }: IncomingIcmp): Uint8Array | undefined {
    const { world } = this;
    const { memory } = world.engine;
    if ((memory.getU32(memory.descriptor(id) + abi.DESC_FLAGS) & abi.FLAG_OPTIONS) === 0) return undefined;
    const header = world.packetBytes(id, LARGEST_HEADER4);
    return answeredOptions4(header, to, (address) => world.isSource(IpAddress.fromBytes(address)), this.time);
  }

  private receiveError(message: Uint8Array, from: IpAddress, to: IpAddress, iface: NetInterface | undefined): void {
    const parsed = parseError(message, from);
    if (!parsed) return;
    const report = { ...parsed, iface };
    this.world.counters.in_icmp_errors++;
    // Nobody's link takes less, so that it is a mistake or a lie (RFC 8201 §4).
    if (report.kind === "tooBig" && report.source.family === 6 && report.mtu < SMALLEST_MTU6) return;
    const transport = this.world.transports.get(report.protocol);
    const ofRaw = this.world.raw?.failed(report) ?? false;
    // Only what was sent can have been too big: anybody may write an ICMP message. Who knows its connections knows it better than a raw socket.
    const wasSent = transport ? transport.failed?.(report) : ofRaw;
    if (wasSent && report.kind === "tooBig" && report.source.equals(to)) this.learnMtu(report, transport);
  }

  private learnMtu(report: IcmpErrorReport, transport: Transport | undefined): void {
    const { world } = this;
    const before = world.pathTo(report.destination).mtu;
    if (world.mtus.learn(report.destination, report.mtu, before, world.now, report.length)) {
      world.routes.generation++;
      transport?.pathChanged?.(report);
    }
  }

  /** Sends an ICMP message; from the best address of the route when none is given. */
  send(
    iface: NetInterface | undefined,
    from: IpAddress | undefined,
    to: IpAddress,
    type: number,
    code: number,
    rest: number,
    data: Uint8Array,
    hopLimit?: number,
    tos = 0,
    note?: PacketNote,
  ): boolean {
    const { world } = this;
    const path = world.pathTo(to, iface);
    const source = from ?? world.sourceFor(to, path);
    if (!source) return false;
    const message = icmpMessage(type, code, rest, data, source, to);
    return world.sendPacket(world.packetOf(source, to, to.family === 4 ? 1 : 58, message, hopLimit ?? hopsTo(to, path), tos), path, note);
  }

  reassemblyTimedOut(first: Uint8Array): void {
    const from = sourceOf(first);
    if (!this.limit.take(this.world.now) || from.isMulticast || from.isUnspecified) return;
    const [type, code] = ICMP_ERROR.reassemblyTime[from.family];
    this.send(undefined, undefined, from, type, code, 0, quoted(first));
  }

  /** Tells a packet's sender what went wrong, if it deserves to know and the rates allow. */
  sendErrorFor(id: number, kind: IcmpErrorKind, rest: number): void {
    const packet = this.world.packetBytes(id, 1280);
    if (packet.length < 20) return;
    const [type, code] = ICMP_ERROR[kind][packet[0] >>> 4 === 4 ? 4 : 6];
    this.sendError(id, packet, type, code, rest, false);
  }

  /** Destination unreachable with a code of somebody's choice: a rule's reject. */
  sendUnreachable(id: number, packet: Uint8Array, type: number, code: number): void {
    this.sendError(id, packet, type, code, 0, false);
  }

  private sendError(id: number, packet: Uint8Array, type: number, code: number, rest: number, toGroups: boolean): void {
    const { world } = this;
    const iface = world.ingress(id);
    const to = sourceOf(packet);
    const destination = destinationOf(packet);
    if (!deservesError(packet, iface?.isBroadcast(destination) ?? false, toGroups)) return;
    // What a path takes must be told at once, or connections stand still.
    const isTooBig = to.family === 4 ? type === 3 && code === 4 : type === 2;
    if (!this.limit.take(world.now) || (!isTooBig && !this.limits.take(to.key, world.now))) {
      world.counters.out_icmp_rate_limited++;
      return;
    }
    const from = world.isLocal(destination) ? destination : undefined;
    // RFC 1812 §4.3.2.5: precedence "internetwork control", the rest as it came.
    const tos = to.family === 4 ? (packet[1] & 0x1e) | 0xc0 : 0;
    const note = aboutOf(world.engine, id);
    this.send(to.isLinkLocal ? iface : undefined, from, to, type, code, rest, quoted(packet), undefined, tos, note);
  }

  /** Options and extension headers of a packet for us: true when the packet may go on (RFC 1122 §3.2.1.8, RFC 8200 §4). */
  checkHeaders(id: number): boolean {
    const packet = this.world.packetBytes(id, 1280);
    const is4 = packet[0] >>> 4 === 4;
    const problem = is4 ? checkOptions4(packet) : checkExtensions(packet);
    if (!problem) return true;
    this.world.counters.in_header_errors++;
    const { error, toGroups = false } = problem;
    if (error) this.sendError(id, packet, is4 ? 12 : 4, error.code, is4 ? error.pointer << 24 : error.pointer, toGroups);
    return false;
  }

  /** A protocol that nobody here speaks: IPv6 points at the field that names it (RFC 4443 §3.4). */
  unknownProtocol(id: number): void {
    const packet = this.world.packetBytes(id, 1280);
    if (packet.length < 20) return;
    this.sendErrorFor(id, "protocolUnreachable", packet[0] >>> 4 === 4 ? 0 : upperLayer(packet).pointer);
  }

  /** A fragment whose numbers cannot be right, or a first one without all headers (RFC 8200 §4.5). */
  fragmentProblem(id: number, packet: Uint8Array, pointer: number, code: number): void {
    if (packet[0] >>> 4 === 6) this.sendError(id, packet, 4, code, pointer, false);
  }

  /** A packet to be forwarded that the next link does not take. */
  tooBig(id: number, nextHop: number): void {
    const packet = this.world.packetBytes(id, 20);
    const family = packet[0] >>> 4 === 4 ? 4 : 6;
    const mtu = this.mtuOf(family, nextHop);
    const { memory } = this.world.engine;
    const flags = memory.getU32(memory.descriptor(id) + abi.DESC_FLAGS);
    if ((flags & abi.FLAG_PASSED) !== 0) this.cut(id, nextHop, mtu);
    else if (family === 4 && (packet[6] & 0x40) === 0) this.forwardFragments(id, nextHop, mtu);
    else this.sendErrorFor(id, "tooBig", mtu);
  }

  /** What has been through the rules already: it is cut as it is, and its pieces meet no rule again. */
  private cut(id: number, hop: number, most: number): void {
    const { memory } = this.world.engine;
    const d = memory.descriptor(id);
    const wasCut = (memory.getU32(d + abi.DESC_FLAGS) & abi.FLAG_REASSEMBLED) !== 0;
    // To the size that it came in, so that who finds the path's MTU by fragments finds it.
    const mtu = wasCut ? Math.min(most, memory.getU16(d + abi.LARGEST_FRAGMENT) || most) : most;
    const cuts = wasCut ? this.world.cuts.of(memory.getU16(d + abi.CUT_NUMBER)) : undefined;
    this.world.sendFragments(this.world.packetBytes(id), { hop, mtu }, { flags: abi.FLAG_PASSED | abi.FLAG_FORWARDED, cuts });
  }

  /** A router cuts what it may cut (RFC 1812 §5.2.6). */
  private forwardFragments(id: number, hop: number, mtu: number): void {
    const packet = this.world.packetBytes(id);
    packet[8]--;
    packet[10] = packet[11] = 0;
    const sum = checksum(packet.subarray(0, (packet[0] & 15) * 4));
    packet[10] = sum >>> 8;
    packet[11] = sum;
    this.world.sendFragments(packet, { hop, mtu });
  }

  private mtuOf(family: 4 | 6, hop: number): number {
    const meaning = this.world.routes.meaning(family, hop);
    return meaning && "iface" in meaning ? meaning.iface.mtu : 1280;
  }
}
