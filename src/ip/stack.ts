/**
 * The network layer of one host: what the data plane hands up is answered, delivered or kept; what the host sends
 * gets its route and its neighbour. RFC 1122 §3, RFC 8200, RFC 8504.
 */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { type InterfaceAddress, IpAddress, networkOf } from "../base/ip-address.ts";
import type { Random } from "../base/random.ts";
import { Timers } from "../base/timers.ts";
import type { Engine, PuntReceiver } from "../engine/engine.ts";
import { HOST_OUT, HOST_SEGMENT } from "../engine/layout.ts";
import type { Port } from "../engine/port.ts";
import type { RouteTable } from "../engine/route-table.ts";
import type { SlabPool } from "../engine/slabs.ts";
import { checksum, serializeIpv4, serializeIpv6 } from "../wire/index.ts";
import { deservesError, ICMP_ERROR, type IcmpErrorKind, type IcmpErrorReport, icmpMessage, parseError, quoted, RateLimit } from "./icmp.ts";
import { groupMac, linkLocalOf, NetInterface } from "./interface.ts";
import { LinkMessages } from "./link-messages.ts";
import { ADVERTISEMENT, SOLICITATION } from "./ndp.ts";
import { hostPrefix, type Neighbour, Neighbours, type NeighbourWorld } from "./neighbours.ts";
import { PacketIo } from "./packet-io.ts";
import { PathMtus } from "./path-mtu.ts";
import { fragmentPacket, Reassembly } from "./reassembly.ts";
import { type HopMeaning, Routes } from "./routes.ts";
import { addressOn } from "./source-address.ts";
import { type IpCounters, newCounters, type Path, type Starved, type Throttled, type Transport } from "./types.ts";

export interface IpStackOptions {
  /** Forward what is for others. Default false. */
  forwarding?: boolean;
  /** Most neighbours of both families together. Default 1024. */
  neighbours?: number;
  random: Random;
}

/** Ring places kept for what cannot wait: acknowledgements, other flows, one large segment cut up. */
const RESERVED_PLACES = 256;

export type { IpCounters, Path, Starved, Throttled, Transport };

const ECHO = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
/** Linux's icmp_msgs_per_sec and icmp_msgs_burst. */
const ICMP_RATE = 1000;
const ICMP_BURST = 50;

export class IpStack implements PuntReceiver {
  readonly engine: Engine;
  readonly timers = new Timers();
  readonly random: Random;
  readonly interfaces: NetInterface[] = [];
  readonly tables: { readonly 4: RouteTable; readonly 6: RouteTable };
  readonly neighbours: Neighbours;
  readonly routes: Routes;
  readonly reassembly: Reassembly;
  readonly mtus = new PathMtus();
  readonly slabs: SlabPool;
  readonly counters: IpCounters = newCounters();
  /** The transport record of the packet in hand, as words; `field` gives their places. */
  readonly words: Int32Array;
  readonly segment: number;
  /** The record of a packet to be built, as words. */
  readonly out: Int32Array;
  readonly outAddress: number;
  /** Time of this round (ms): read once, so that all of a burst happens at one moment. */
  now: number;
  readonly forwarding: boolean;
  private readonly io: PacketIo;
  private readonly link: LinkMessages;
  private readonly byPort: (NetInterface | undefined)[] = [];
  private readonly transports = new Map<number, Transport>();
  private readonly icmpLimit = new RateLimit(ICMP_RATE, ICMP_BURST);
  private tcp: Transport | undefined;
  private udp: Transport | undefined;
  private readonly throttled = new Set<Throttled>();
  private readonly starved = new Set<Starved>();
  private pending = false;
  private identification = 1;
  private fragmentId: number;

  constructor(engine: Engine, options: IpStackOptions) {
    this.engine = engine;
    this.random = options.random;
    this.forwarding = options.forwarding ?? false;
    this.io = new PacketIo(engine, this.counters);
    this.link = new LinkMessages(this);
    this.now = engine.clock.now();
    this.fragmentId = options.random.u32();
    this.reassembly = new Reassembly(this.timers, (first) => this.reassemblyTimedOut(first));
    this.tables = { 4: engine.createTable(4), 6: engine.createTable(6) };
    this.neighbours = new Neighbours(this.world(), options.neighbours ?? 1024);
    this.routes = new Routes(this.tables, this.neighbours);
    this.slabs = engine.slabs;
    const base = engine.memory.base(abi.REGION_HOST);
    this.segment = base + HOST_SEGMENT;
    this.outAddress = base + HOST_OUT;
    this.words = engine.memory.i32.subarray(this.segment >>> 2, (this.segment + abi.SEG_SIZE) >>> 2);
    this.out = engine.memory.i32.subarray(this.outAddress >>> 2, (this.outAddress + abi.OUT_SIZE) >>> 2);
  }

  private world(): NeighbourWorld {
    return {
      timers: this.timers,
      random: this.random,
      now: () => this.now,
      table: (family) => this.tables[family],
      solicit: (neighbour, mac) => this.link.solicit(neighbour, mac),
      release: (id) => this.sendKept(id),
      unreachable: (id) => this.failKept(id),
      drop: (id) => this.engine.plane.packetRelease(0, id),
      changed: () => {
        this.routes.generation++;
      },
    };
  }

  // ── Interfaces ────────────────────────────────────────────────────────────────────────────────

  addInterface(name: string, port: Port): NetInterface {
    if (this.interfaces.some((iface) => iface.name === name)) throw new LoomError("EEXIST", `there is an interface ${name} already`);
    const iface = new NetInterface(name, port);
    this.interfaces.push(iface);
    this.byPort[port.index] = iface;
    port.configure({ table4: this.tables[4], table6: this.tables[6], host: !this.forwarding, gro: true });
    this.engine.setReceiver(port, this);
    this.addAddress(iface, { address: linkLocalOf(iface.mac), length: 64 });
    return iface;
  }

  interface(name: string): NetInterface {
    const iface = this.interfaces.find((each) => each.name === name);
    if (!iface)
      throw new LoomError("ENOENT", `there is no interface ${name}; this host has ${this.interfaces.map((each) => each.name).join(", ")}`);
    return iface;
  }

  /** Gives an interface an address: a local route, and one to the subnet. */
  addAddress(iface: NetInterface, own: InterfaceAddress): void {
    const { address, length } = own;
    if (address.isUnspecified || address.isMulticast) throw invalid(`${address} cannot be an interface's address`);
    if (iface.owns(address)) throw new LoomError("EEXIST", `${iface.name} has ${address} already`);
    iface.addresses.push(own);
    // Link-local IPv6 addresses are the same on every link: they are told apart by interface, not by a table.
    if (address.family === 6 && address.isLinkLocal) return;
    const { family } = address;
    this.routes.add({ prefix: hostPrefix(address), kind: "local", nextHops: [], metric: 0, protocol: "kernel" });
    if (length === (family === 4 ? 32 : 128)) return;
    const network = networkOf(address, length);
    const prefix = family === 4 ? { family, address: network.v4, length } : { family, high: network.high, low: network.low, length };
    const metric = family === 4 ? 0 : 256;
    try {
      this.routes.add({ prefix: prefix as never, kind: "unicast", nextHops: [{ iface }], metric, protocol: "kernel" });
    } catch (error) {
      // A second address of the same subnet needs no second route.
      if (!(error instanceof LoomError) || error.code !== "EEXIST") throw error;
    }
    if (family === 4 && length < 31) {
      const last = (address.v4 | (0xffffffff >>> length)) >>> 0;
      this.routes.add({ prefix: { family: 4, address: last, length: 32 }, kind: "local", nextHops: [], metric: 0, protocol: "kernel" });
    }
    this.link.announce(iface, address);
  }

  isLocal(address: IpAddress): boolean {
    return address.isLoopback || this.interfaces.some((iface) => iface.owns(address));
  }

  setTransport(protocol: number, transport: Transport): void {
    this.transports.set(protocol, transport);
    if (protocol === 6) this.tcp = transport;
    if (protocol === 17) this.udp = transport;
  }

  // ── Rounds ────────────────────────────────────────────────────────────────────────────────────

  /** False while an interface's transmit ring is nearly full: bulk data waits here instead of being dropped there. */
  hasRoom(path: Path, who: Throttled): boolean {
    const { iface } = path;
    if (!iface) return true;
    const { memory, plane } = this.engine;
    const used = plane.ringUsed(memory.getU32(memory.port(iface.port.index) + abi.PORT_TX));
    if (used + RESERVED_PLACES <= memory.layout.sizes.ringCapacity) return true;
    this.throttled.add(who);
    return false;
  }

  /** A call from outside a round: the time is read anew. */
  touch(): void {
    this.now = this.engine.clock.now();
  }

  /** Time moves on: timers that are due. Returns how many. */
  tick(): number {
    this.now = this.engine.clock.now();
    let fired = this.timers.run(this.now);
    if (this.throttled.size > 0) fired += this.resume();
    if (this.starved.size > 0 && this.slabs.available > 0) fired += this.feed();
    this.flush();
    return fired;
  }

  /** Nothing was free for `who`: it is told when something is. */
  starve(who: Starved): void {
    this.starved.add(who);
  }

  private feed(): number {
    const before = this.starved.size;
    for (const who of [...this.starved]) {
      if (this.slabs.available === 0) break;
      this.starved.delete(who);
      who.memoryBack();
    }
    return before - this.starved.size;
  }

  private resume(): number {
    // What was staged must be in the ring before room is asked for.
    this.flush();
    const before = this.counters.out_requests;
    const waiting = [...this.throttled];
    this.throttled.clear();
    for (const who of waiting) who.resume();
    return this.counters.out_requests - before;
  }

  /** Sends what was staged. */
  flush(): void {
    if (!this.pending) return;
    this.pending = false;
    this.engine.plane.packetsFlush(0);
    this.engine.wake();
  }

  // ── What comes up ─────────────────────────────────────────────────────────────────────────────

  receive(id: number, reason: number, nextHop: number, port: number): void {
    const iface = this.byPort[port];
    if (!iface) this.engine.plane.packetRelease(0, id);
    else if (reason === abi.PUNT_LOCAL) this.deliver(id);
    else this.receiveOther(iface, id, reason, nextHop);
  }

  private receiveOther(iface: NetInterface, id: number, reason: number, nextHop: number): void {
    switch (reason) {
      case abi.PUNT_NEIGHBOUR:
        this.findNeighbour(id, nextHop);
        return;
      case abi.PUNT_MULTICAST:
      case abi.PUNT_BROADCAST:
      case abi.PUNT_LINK_LOCAL:
      case abi.PUNT_BEYOND_SCOPE:
        this.receiveScoped(iface, id);
        return;
      case abi.PUNT_ARP:
        this.link.receiveArp(iface, id);
        break;
      case abi.PUNT_TTL_EXCEEDED:
        this.sendErrorFor(id, "timeExceeded", 0);
        break;
      case abi.PUNT_FRAGMENTATION_NEEDED:
      case abi.PUNT_PACKET_TOO_BIG:
        this.tooBig(id, nextHop);
        break;
      case abi.PUNT_UNREACHABLE:
        this.sendErrorFor(id, "noRoute", 0);
        break;
      case abi.PUNT_PROHIBIT:
        this.sendErrorFor(id, "prohibited", 0);
    }
    this.engine.plane.packetRelease(0, id);
  }

  /** Groups, broadcasts and link-local addresses: ours when this interface says so. */
  private receiveScoped(iface: NetInterface, id: number): void {
    const destination = this.io.destinationOf(id);
    const ours = destination.isMulticast ? iface.isMember(destination) : iface.owns(destination) || iface.isBroadcast(destination);
    if (ours) this.deliver(id);
    else {
      this.counters.in_addr_errors++;
      this.engine.plane.packetRelease(0, id);
    }
  }

  private deliver(id: number): void {
    const { plane } = this.engine;
    const kind = plane.transportRead(0, id, this.segment);
    if (kind === 0) return;
    this.counters.in_delivers++;
    if (kind === abi.TRANSPORT_TCP && this.tcp) this.tcp.receive(id);
    else if (kind === abi.TRANSPORT_UDP && this.udp) this.udp.receive(id);
    else if (kind === abi.TRANSPORT_ICMP) this.receiveIcmp(id);
    else if (kind === abi.TRANSPORT_FRAGMENT) this.receiveFragment(id);
    else this.receiveUnknown(id);
    plane.packetRelease(0, id);
  }

  private receiveFragment(id: number): void {
    const whole = this.reassembly.add(this.packetBytes(id), this.now);
    const chain = whole && this.io.chainOf(whole);
    if (chain === undefined) return;
    const { memory } = this.engine;
    memory.setU16(memory.descriptor(chain) + abi.DESC_INGRESS, memory.getU16(memory.descriptor(id) + abi.DESC_INGRESS));
    this.deliver(chain);
  }

  private receiveUnknown(id: number): void {
    const transport = this.transports.get((this.words[abi.SEG_FAMILY / 4] >>> 8) & 255);
    if (transport) transport.receive(id);
    else {
      this.counters.in_unknown_protos++;
      this.sendErrorFor(id, "protocolUnreachable", 0);
    }
  }

  /** The interface by which the packet in hand came. */
  ingress(id: number): NetInterface | undefined {
    return this.byPort[this.engine.memory.getU16(this.engine.memory.descriptor(id) + abi.DESC_INGRESS)];
  }

  source(): IpAddress {
    return IpAddress.read(this.words, abi.SEG_SOURCE / 4);
  }

  destination(): IpAddress {
    return IpAddress.read(this.words, abi.SEG_DESTINATION / 4);
  }

  /** A packet's bytes from its network header on, `most` at most. */
  packetBytes(id: number, most = 65_535): Uint8Array {
    return this.io.packetBytes(id, most);
  }

  sendFrame(iface: NetInterface, frame: Uint8Array): void {
    this.io.sendFrame(iface, frame);
  }

  // ── ICMP ──────────────────────────────────────────────────────────────────────────────────────

  private receiveIcmp(id: number): void {
    const { words } = this;
    const family = words[0] & (255 as 4 | 6);
    const from = this.source();
    const to = this.destination();
    const start = words[abi.SEG_PAYLOAD / 4] - this.engine.memory.getU16(this.engine.memory.descriptor(id) + abi.DESC_L3);
    const message = this.packetBytes(id).subarray(start, start + words[abi.SEG_PAYLOAD_LENGTH / 4]);
    const iface = this.ingress(id);
    const echo = ECHO[family as 4 | 6];
    if (message[0] === echo.request) {
      // To a group or broadcast: IPv4 hosts may stay silent (RFC 1122 §3.2.2.6), IPv6 ones answer from a real address.
      if (family === 4 && !this.isLocal(to)) return;
      this.sendIcmp(iface, this.isLocal(to) ? to : undefined, from, echo.reply, 0, be32(message, 4), message.subarray(8));
    } else if (family === 6 && iface && (message[0] === SOLICITATION || message[0] === ADVERTISEMENT)) {
      this.link.receiveNeighbour(iface, from, to, message, (words[0] >>> 24) & 255);
    } else if (message[0] === echo.reply) {
      this.transports.get(family === 4 ? 1 : 58)?.receive(id);
    } else {
      const report = parseError(message, from);
      if (!report) return;
      this.counters.in_icmp_errors++;
      const transport = this.transports.get(report.protocol);
      // Only what was sent can have been too big: anybody may write an ICMP message.
      if (transport?.failed?.(report) && report.kind === "tooBig" && report.source.equals(to)) this.learnMtu(report, transport);
    }
  }

  private learnMtu(report: IcmpErrorReport, transport: Transport): void {
    const before = this.pathTo(report.destination).mtu;
    if (this.mtus.learn(report.destination, report.mtu, before, this.now)) {
      this.routes.generation++;
      transport.pathChanged?.(report);
    }
  }

  /** Sends an ICMP message; from the best address of the route when none is given. */
  sendIcmp(
    iface: NetInterface | undefined,
    from: IpAddress | undefined,
    to: IpAddress,
    type: number,
    code: number,
    rest: number,
    data: Uint8Array,
    hopLimit = 64,
  ): boolean {
    const path = this.pathTo(to, iface);
    const source = from ?? this.sourceFor(to, path);
    if (!source) return false;
    const message = icmpMessage(type, code, rest, data, source, to);
    return this.sendPacket(this.packetOf(source, to, to.family === 4 ? 1 : 58, message, hopLimit), path);
  }

  /** A whole IP packet around a payload. */
  packetOf(source: IpAddress, destination: IpAddress, protocol: number, payload: Uint8Array, hopLimit = 64): Uint8Array {
    if (source.family === 6) {
      return serializeIpv6({ source: source.bytes(), destination: destination.bytes(), protocol, payload, hopLimit });
    }
    const id = this.nextIdentification();
    return serializeIpv4({ source: source.v4, destination: destination.v4, protocol, payload, ttl: hopLimit, id });
  }

  nextIdentification(): number {
    this.identification = (this.identification + 1) & 0xffff;
    return this.identification;
  }

  private reassemblyTimedOut(first: Uint8Array): void {
    const from = IpAddress.fromBytes(first[0] >>> 4 === 4 ? first.subarray(12, 16) : first.subarray(8, 24));
    if (!this.icmpLimit.take(this.now) || from.isMulticast || from.isUnspecified) return;
    const [type, code] = ICMP_ERROR.reassemblyTime[from.family];
    this.sendIcmp(undefined, undefined, from, type, code, 0, quoted(first));
  }

  /** Tells a packet's sender what went wrong, if it deserves to know and the rate allows. */
  sendErrorFor(id: number, kind: IcmpErrorKind, rest: number): void {
    const packet = this.packetBytes(id, 1280);
    const iface = this.ingress(id);
    if (packet.length < 20) return;
    const is4 = packet[0] >>> 4 === 4;
    const to = IpAddress.fromBytes(is4 ? packet.subarray(12, 16) : packet.subarray(8, 24));
    const destination = IpAddress.fromBytes(is4 ? packet.subarray(16, 20) : packet.subarray(24, 40));
    if (!deservesError(packet, iface?.isBroadcast(destination) ?? false)) return;
    if (!this.icmpLimit.take(this.now)) {
      this.counters.out_icmp_rate_limited++;
      return;
    }
    const [type, code] = ICMP_ERROR[kind][to.family];
    const from = this.isLocal(destination) ? destination : undefined;
    this.sendIcmp(to.isLinkLocal ? iface : undefined, from, to, type, code, rest, quoted(packet));
  }

  private tooBig(id: number, nextHop: number): void {
    const packet = this.packetBytes(id, 20);
    const family = packet[0] >>> 4 === 4 ? 4 : 6;
    const mtu = this.mtuOf(family, nextHop);
    if (family === 4 && (packet[6] & 0x40) === 0) this.forwardFragments(id, nextHop, mtu);
    else this.sendErrorFor(id, "tooBig", mtu);
  }

  /** A router cuts what it may cut (RFC 1812 §5.2.6). */
  private forwardFragments(id: number, hop: number, mtu: number): void {
    const packet = this.packetBytes(id);
    packet[8]--;
    packet[10] = packet[11] = 0;
    const sum = checksum(packet.subarray(0, (packet[0] & 15) * 4));
    packet[10] = sum >>> 8;
    packet[11] = sum;
    this.sendFragments(packet, { generation: 0, hop, iface: undefined, isLocal: false, mtu, neighbour: undefined });
  }

  private mtuOf(family: 4 | 6, hop: number): number {
    const meaning = this.routes.meaning(family, hop);
    return meaning && "iface" in meaning ? meaning.iface.mtu : 1280;
  }

  // ── Neighbours ────────────────────────────────────────────────────────────────────────────────

  /** The data plane knows a hop but no MAC for it. */
  private findNeighbour(id: number, hop: number): void {
    const head = this.packetBytes(id, 40);
    const is4 = head[0] >>> 4 === 4;
    const meaning = this.routes.meaning(is4 ? 4 : 6, hop);
    let neighbour: Neighbour | undefined;
    if (meaning?.kind === "neighbour") neighbour = meaning.neighbour;
    else if (meaning?.kind === "glean") {
      neighbour = this.neighbours.entry(meaning.iface, IpAddress.fromBytes(is4 ? head.subarray(16, 20) : head.subarray(24, 40)));
    }
    if (neighbour) this.neighbours.want(neighbour, id);
    else {
      this.counters.out_no_routes++;
      this.engine.plane.packetRelease(0, id);
    }
  }

  /** A packet that waited for its neighbour: own ones are sent, others go back to where they came in. */
  private sendKept(id: number): void {
    const { memory, plane } = this.engine;
    const d = memory.descriptor(id);
    if (memory.getU16(d + abi.DESC_L3) === 0) {
      const head = this.packetBytes(id, 40);
      const to = IpAddress.fromBytes(head[0] >>> 4 === 4 ? head.subarray(16, 20) : head.subarray(24, 40));
      this.route(id, to.family, this.pathTo(to).hop);
      return;
    }
    const scratch = memory.base(abi.REGION_HOST);
    memory.setU32(scratch, id);
    const ring = memory.getU32(memory.port(memory.getU16(d + abi.DESC_INGRESS)) + abi.PORT_RX);
    if (plane.ringPush(ring, scratch, 1) === 0) plane.packetRelease(0, id);
  }

  private failKept(id: number): void {
    const { memory, plane } = this.engine;
    if (memory.getU16(memory.descriptor(id) + abi.DESC_L3) !== 0) this.sendErrorFor(id, "hostUnreachable", 0);
    else this.reportOwn(id);
    this.counters.out_unreachable++;
    plane.packetRelease(0, id);
  }

  /** A packet of our own that cannot go anywhere: its transport hears it as if a router had said so. */
  private reportOwn(id: number): void {
    const packet = this.packetBytes(id, 128);
    const is4 = packet[0] >>> 4 === 4;
    const source = IpAddress.fromBytes(is4 ? packet.subarray(12, 16) : packet.subarray(8, 24));
    const [type, code] = ICMP_ERROR.hostUnreachable[source.family];
    const report = parseError(icmpMessage(type, code, 0, packet, source, source), source);
    if (report) this.transports.get(report.protocol)?.failed?.(report);
  }

  // ── What goes down ────────────────────────────────────────────────────────────────────────────

  /** Where packets for an address go. Link-local and group addresses need an interface. */
  pathTo(to: IpAddress, iface?: NetInterface): Path {
    const { family } = to;
    const scoped = (family === 6 && to.isLinkLocal) || to.isMulticast || (family === 4 && to.v4 === 0xffffffff);
    if (scoped) return this.scopedPath(to, iface ?? this.interfaces[0]);
    const hop = to.isLoopback ? this.routes.endHop(family, "local") : this.routes.lookup(to);
    const meaning = this.routes.meaning(family, hop);
    const path = this.path(hop, meaning);
    if (!path.isLocal) path.mtu = this.mtus.get(to, path.mtu, this.now);
    return path;
  }

  private path(hop: number, meaning: HopMeaning | undefined): Path {
    const isLocal = meaning?.kind === "local";
    const iface = meaning && "iface" in meaning ? meaning.iface : undefined;
    const neighbour = meaning?.kind === "neighbour" ? meaning.neighbour : undefined;
    const mtu = isLocal ? 65_535 : (iface?.mtu ?? 0);
    return { generation: this.routes.generation, hop: meaning ? hop : 0, iface, isLocal, mtu, neighbour };
  }

  private scopedPath(to: IpAddress, iface: NetInterface | undefined): Path {
    const none = { generation: this.routes.generation, hop: 0, iface, isLocal: false, mtu: iface?.mtu ?? 0, neighbour: undefined };
    if (!iface) return none;
    if (iface.owns(to)) return { ...none, hop: this.routes.endHop(to.family, "local"), isLocal: true, mtu: 65_535 };
    const neighbour = this.neighbours.entry(iface, to);
    if (!neighbour) return none;
    if (to.isMulticast || iface.isBroadcast(to)) {
      const mac = to.isMulticast ? groupMac(to) : Uint8Array.of(255, 255, 255, 255, 255, 255);
      if (neighbour.state !== "PERMANENT") this.neighbours.setPermanent(iface, to, mac);
    }
    return { ...none, hop: neighbour.hop, neighbour };
  }

  /** Source address for a destination (RFC 6724 §5, rules 1, 2 and 8), of the interface the path leaves by. */
  sourceFor(to: IpAddress, path: Path): IpAddress | undefined {
    if (path.isLocal) return to;
    return path.iface && addressOn(path.iface, to);
  }

  /** Sends a whole IP packet, copied into a buffer. */
  sendPacket(packet: Uint8Array, path: Path): boolean {
    if (packet.length > path.mtu && !path.isLocal) return this.sendFragments(packet, path);
    const id = this.io.chainOf(packet);
    if (id === undefined) return false;
    return this.route(id, packet[0] >>> 4 === 4 ? 4 : 6, path.hop);
  }

  private sendFragments(packet: Uint8Array, path: Path): boolean {
    this.fragmentId = (this.fragmentId + 1) >>> 0;
    let sent = true;
    for (const piece of fragmentPacket(packet, path.mtu, this.fragmentId)) {
      const id = this.io.chainOf(piece);
      sent = id !== undefined && this.route(id, packet[0] >>> 4 === 4 ? 4 : 6, path.hop) && sent;
    }
    return sent;
  }

  /** Sends a built packet by a next hop; whatever happens, it is no longer the caller's. True when it is on its way. */
  route(id: number, family: 4 | 6, hop: number): boolean {
    const { plane } = this.engine;
    this.counters.out_requests++;
    this.pending = true;
    switch (plane.packetRoute(0, this.tables[family].index, hop, id)) {
      case abi.SENT:
        return true;
      case abi.SENT_LOCAL:
        return this.loopBack(id);
      case abi.SENT_NEIGHBOUR:
        this.findNeighbour(id, this.engine.memory.getU16(this.engine.memory.descriptor(id) + abi.DESC_NEXT_HOP));
        return true;
      case abi.SENT_TOO_BIG:
        this.counters.out_too_big++;
        break;
      default:
        this.counters.out_no_routes++;
    }
    plane.packetRelease(0, id);
    return false;
  }

  /** To ourselves: back up through the punt ring, without a link in between. */
  private loopBack(id: number): boolean {
    const { memory, plane } = this.engine;
    const [first] = this.interfaces;
    memory.setU16(memory.descriptor(id) + abi.DESC_INGRESS, first?.port.index ?? 0);
    if (first && plane.puntPush(id, abi.PUNT_LOCAL, 0) !== 0) return true;
    plane.packetRelease(0, id);
    this.counters.out_no_buffers++;
    return false;
  }
}

function be32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}
