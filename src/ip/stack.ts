/**
 * The network layer of one host: interfaces, and the parts that bring packets in and out. RFC 1122 §3, RFC 8200, RFC 8504.
 *
 * | part | what |
 * |---|---|
 * | `Input` | what the data plane hands up |
 * | `Output` | the way to an address, and packets on it |
 * | `IcmpIo` | ICMP in and out |
 * | `LinkMessages`, `Neighbours`, `KeptPackets` | ARP and NDP, and what waits for them |
 * | `Routes`, `PathMtus`, `Reassembly` | as their names say |
 */

import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { type InterfaceAddress, IpAddress } from "../base/ip-address.ts";
import type { Random } from "../base/random.ts";
import { Timers } from "../base/timers.ts";
import type { Engine, PuntReceiver } from "../engine/engine.ts";
import { HOST_OUT, HOST_SEGMENT } from "../engine/layout.ts";
import type { Network } from "../engine/network.ts";
import type { Port } from "../engine/port.ts";
import type { RouteTable } from "../engine/route-table.ts";
import type { SlabPool } from "../engine/slabs.ts";
import { serializeIpv4, serializeIpv6 } from "../wire/index.ts";
import { Addresses, type AddressOptions } from "./addresses.ts";
import { Advertiser } from "./advertiser.ts";
import { Cuts } from "./cuts.ts";
import { DuplicateDetection } from "./dad.ts";
import { Holdback } from "./holdback.ts";
import type { IcmpErrorKind } from "./icmp.ts";
import { IcmpIo } from "./icmp-io.ts";
import { Identifications } from "./identification.ts";
import { Input } from "./input.ts";
import { linkLocalOf, NetInterface, type OwnAddress, solicitedNode } from "./interface.ts";
import { KeptPackets } from "./kept.ts";
import { LinkChanges } from "./link-changes.ts";
import { LinkMessages } from "./link-messages.ts";
import { EVERYTHING } from "./multicast/filter.ts";
import { Multicast } from "./multicast/multicast.ts";
import { Neighbours, type NeighbourWorld } from "./neighbours.ts";
import { Output } from "./output.ts";
import { PacketIo } from "./packet-io.ts";
import { PathMtus } from "./path-mtu.ts";
import { PolicyRouting } from "./policy-routing.ts";
import { PolicyTable } from "./policy-table.ts";
import { Reassembly } from "./reassembly.ts";
import { Redirects } from "./redirects.ts";
import { RouterDiscovery } from "./router-discovery.ts";
import { Routes } from "./routes.ts";
import type { PathHint } from "./rule.ts";
import type { PacketNote } from "./types.ts";
import {
  type IcmpHandler,
  type IpCounters,
  newCounters,
  type Path,
  type RawReceiver,
  type Starved,
  type Throttled,
  type Transport,
} from "./types.ts";
import { Verdicts } from "./verdicts.ts";
import type { World } from "./world.ts";
import { parseZoned, type ZonedAddress } from "./zone.ts";

export interface IpStackOptions {
  /** Forward what is for others. Default false. */
  forwarding?: boolean;
  /** Most neighbours of both families together. Default 1024. */
  neighbours?: number;
  random: Random;
}

export type { IpCounters, Path, Starved, Throttled, Transport };

export class IpStack implements PuntReceiver, World {
  readonly engine: Engine;
  readonly timers = new Timers();
  readonly random: Random;
  readonly interfaces: NetInterface[] = [];
  readonly tables: { readonly 4: RouteTable; readonly 6: RouteTable };
  readonly neighbours: Neighbours;
  readonly routes: Routes;
  /** Other tables, and which is asked when. */
  readonly rules: PolicyRouting;
  readonly reassembly: Reassembly;
  readonly mtus: PathMtus;
  readonly addresses: Addresses;
  readonly multicast: Multicast;
  /** What routers say, and what this router says. */
  readonly discovery: RouterDiscovery;
  readonly advertiser: Advertiser;
  readonly policy = new PolicyTable();
  preferPublic = false;
  /** Ports that who asks for none is given, first and last, by TCP and UDP (Linux's ip_local_port_range). */
  localPorts = { first: 32_768, last: 60_999 };
  /** Routers have routes and believe them; they tell hosts better ones. */
  acceptRedirects: boolean;
  sendRedirects: boolean;
  readonly slabs: SlabPool;
  readonly counters: IpCounters = newCounters();
  readonly cuts = new Cuts();
  /** The transport record of the packet in hand, as words; `field` gives their places. */
  readonly words: Int32Array;
  readonly segment: number;
  /** The record of a packet to be built, as words. */
  readonly out: Int32Array;
  readonly outAddress: number;
  /** Time of this round (ms): read once, so that all of a burst happens at one moment. */
  now: number;
  /** The last in which time moved on. */
  private round = -1;
  readonly forwarding: boolean;
  inHand = 0;
  readonly transports = new Map<number, Transport>();
  raw: RawReceiver | undefined;
  /** What happens to interfaces while the host runs. */
  readonly changes: LinkChanges;
  private readonly io: PacketIo;
  private readonly link: LinkMessages;
  private readonly icmp: IcmpIo;
  /** What rules leave to this layer. */
  readonly verdicts: Verdicts;
  private network: Network | undefined;
  private readonly input: Input;
  private readonly output: Output;
  private readonly kept: KeptPackets;
  private readonly redirects: Redirects;
  private readonly holdback: Holdback;
  private readonly byPort: (NetInterface | undefined)[] = [];
  readonly identifications: Identifications;

  constructor(engine: Engine, options: IpStackOptions) {
    this.engine = engine;
    this.random = options.random;
    this.identifications = new Identifications(options.random);
    this.forwarding = options.forwarding ?? false;
    this.acceptRedirects = !this.forwarding;
    this.sendRedirects = this.forwarding;
    this.now = engine.clock.now();
    this.slabs = engine.slabs;
    const base = engine.memory.base(abi.REGION_HOST);
    this.segment = base + HOST_SEGMENT;
    this.outAddress = base + HOST_OUT;
    this.words = engine.memory.i32.subarray(this.segment >>> 2, (this.segment + abi.SEG_SIZE) >>> 2);
    this.out = engine.memory.i32.subarray(this.outAddress >>> 2, (this.outAddress + abi.OUT_SIZE) >>> 2);
    this.tables = { 4: engine.createTable(4), 6: engine.createTable(6) };
    this.mtus = new PathMtus(
      this.timers,
      () => this.now,
      () => {
        this.routes.generation++;
        for (const transport of this.transports.values()) transport.pathChanged?.();
      },
    );
    this.io = new PacketIo(engine, this.counters);
    this.icmp = new IcmpIo(this);
    this.link = new LinkMessages(this);
    this.multicast = new Multicast(this);
    this.addresses = new Addresses(this, new DuplicateDetection(this, this.link));
    this.addresses.listeners.add((_event, _own, iface) => this.tellAddress(iface));
    this.discovery = new RouterDiscovery(this, this.addresses);
    this.advertiser = new Advertiser(this, this.multicast);
    this.addresses.listeners.add((_event, { address }, iface) => address.family === 6 && this.advertiser.changed(iface));
    this.output = new Output(this);
    this.redirects = new Redirects(this);
    this.kept = new KeptPackets(this, this.redirects);
    this.holdback = new Holdback(engine);
    this.reassembly = new Reassembly(this.timers, (first) => this.icmp.reassemblyTimedOut(first));
    // Each neighbour has a next hop of its own in its family's table; a quarter of them stays for routes.
    const hops = Math.floor((engine.memory.layout.sizes.nextHops * 3) / 4);
    this.neighbours = new Neighbours(this.neighbourWorld(), Math.min(options.neighbours ?? 1024, hops));
    this.routes = new Routes(this.tables, this.neighbours);
    this.rules = new PolicyRouting(engine, this.neighbours, this.interfaces, this.routes, this.tables);
    this.changes = new LinkChanges({
      routes: this.routes,
      neighbours: this.neighbours,
      transports: this.transports,
      announce: (iface, address) => this.link.announce(iface, address),
      removeAddress: (iface, address) => this.removeAddress(iface, address),
    });
    this.verdicts = new Verdicts(this, this.icmp, this.reassembly);
    this.input = new Input(this, this.link, this.icmp, this.reassembly, this.verdicts);
  }

  private neighbourWorld(): NeighbourWorld {
    return {
      timers: this.timers,
      random: this.random,
      now: () => this.now,
      table: (family) => this.tables[family],
      tables: (family) => this.rules.tablesOf(family),
      solicit: (neighbour, mac) => this.link.solicit(neighbour, mac),
      release: (id, neighbour) => this.kept.send(id, neighbour),
      unreachable: (id, neighbour) => this.kept.fail(id, neighbour),
      drop: (id) => this.engine.plane.packetRelease(0, id),
      bytes: (id) => this.engine.memory.getU32(this.engine.memory.descriptor(id) + abi.DESC_PACKET_LENGTH),
      mostKept: Math.max(this.engine.memory.layout.sizes.buffers >>> 2, 16),
      noRouter: (neighbour, isGone) => {
        this.discovery.lost(neighbour, isGone);
        this.redirects.lost(neighbour.iface, neighbour.address);
      },
      changed: () => {
        this.routes.generation++;
      },
    };
  }

  // ── Interfaces ────────────────────────────────────────────────────────────────────────────────

  /** `probes`: how often others are asked before the link-local address is used. One that will be a bridge's port at once has none. */
  addInterface(name: string, port: Port, probes = 0, isPort = false): NetInterface {
    if (this.interfaces.some((iface) => iface.name === name)) throw new LoomError("EEXIST", `there is an interface ${name} already`);
    const iface = new NetInterface(name, port);
    this.interfaces.push(iface);
    this.byPort[port.index] = iface;
    this.multicast.attach(iface);
    port.configure({ host: !this.forwarding, untagged: true, gro: true });
    this.rules.apply();
    this.engine.setReceiver(port, this);
    if (this.network) this.enter(iface, this.network);
    if (!isPort) this.addAddress(iface, { address: linkLocalOf(iface.mac), length: 64 }, { origin: "kernel", probes });
    return iface;
  }

  /**
   * An interface becomes a port of the bridge that another one is, or of none any more: addresses, routes and neighbours go; of none it has its link-local address
   * again. Frames are the engine's to switch.
   */
  setMaster(iface: NetInterface, master: NetInterface | undefined): void {
    if (master) {
      this.discovery.stop(iface);
      this.redirects.lost(iface);
      this.advertiser.stop(iface);
      this.flush();
      this.changes.clear(iface);
      this.flush();
      iface.master = master;
      return;
    }
    iface.master = undefined;
    this.network?.describe(iface.port.index, { bridge: null });
    this.multicast.attach(iface);
    this.addAddress(iface, { address: linkLocalOf(iface.mac), length: 64 }, { origin: "kernel", probes: 0 });
  }

  /** What rules see of a bridge's port: whose it is and its VLAN. A bridge's own port is told of by itself. */
  tellPort(port: Port, bridge: string, pvid: number): void {
    this.network?.add(port).describe(port.index, { bridge: { name: bridge, pvid } });
  }

  forgetPort(port: Port): void {
    this.network?.remove(port);
  }

  /** Takes an interface away with everything that hangs on it. Connections stay, and go on when there is a way again. */
  removeInterface(iface: NetInterface): void {
    const at = this.interfaces.indexOf(iface);
    if (at < 0) throw new LoomError("ENOENT", `${iface.name} is not an interface of this host`);
    this.discovery.stop(iface);
    this.redirects.lost(iface);
    this.advertiser.stop(iface);
    this.flush();
    this.rules.withdraw(iface);
    this.changes.clear(iface);
    // Staged packets reach the ring, and are thrown away there.
    this.flush();
    this.interfaces.splice(at, 1);
    this.byPort[iface.port.index] = undefined;
    this.engine.setReceiver(iface.port, undefined);
    this.network?.remove(iface.port);
    iface.port.retire();
    iface.port.drain();
  }

  /** Gives everything back: interfaces with what hangs on them, packets that wait, tables, timers. */
  close(): void {
    for (const iface of [...this.interfaces]) this.removeInterface(iface);
    for (const neighbour of this.neighbours.list()) this.neighbours.remove(neighbour);
    this.rules.close();
    this.timers.close();
  }

  interface(name: string): NetInterface {
    const iface = this.interfaces.find((each) => each.name === name);
    if (!iface)
      throw new LoomError("ENOENT", `there is no interface ${name}; this host has ${this.interfaces.map((each) => each.name).join(", ")}`);
    return iface;
  }

  /** Gives an interface an address, with its routes and groups. */
  addAddress(iface: NetInterface, own: InterfaceAddress, options?: AddressOptions): OwnAddress {
    if (iface.master)
      throw invalid(`${iface.name} is a port of ${iface.master.name} and has no addresses; give ${own.address} to ${iface.master.name}`);
    return this.addresses.add(iface, own, options);
  }

  removeAddress(iface: NetInterface, address: IpAddress): void {
    this.addresses.remove(iface, address);
  }

  /** Answers for one address of somebody else on an interface, wherever it is (`ip neigh add proxy`). */
  addProxy(iface: NetInterface, address: IpAddress): void {
    iface.proxied.set(address.key, address);
    if (address.family === 6) this.multicast.want(iface, solicitedNode(address), iface.proxied, EVERYTHING);
    this.flush();
  }

  isLocal(address: IpAddress): boolean {
    return address.isLoopback || this.interfaces.some((iface) => iface.owns(address));
  }

  /** May packets of this host come from it: an address of an interface, or one of those that a route says are here? */
  isSource(address: IpAddress): boolean {
    if (this.isLocal(address)) return true;
    const { routes, rules } = this;
    return routes.meaning(address.family, rules.lookup(address))?.kind === "local" && !this.isBroadcast(address);
  }

  /** May a socket be bound to it: all addresses, a group, one of ours, a broadcast address of our links? */
  isBindable(address: IpAddress): boolean {
    return address.isUnspecified || address.isMulticast || this.isSource(address) || this.isBroadcast(address);
  }

  /** Is it the broadcast address of one of our links? */
  isBroadcast(address: IpAddress): boolean {
    return this.interfaces.some((iface) => iface.isBroadcast(address));
  }

  setTransport(protocol: number, transport: Transport): void {
    this.transports.set(protocol, transport);
    if (protocol === 6) this.input.tcp = transport;
    if (protocol === 17) this.input.udp = transport;
  }

  /** Somebody hears of all packets from now on, or nobody does any more. */
  setRaw(raw: RawReceiver | undefined): void {
    this.raw = raw;
  }

  handleIcmp(family: 4 | 6, type: number, handler: IcmpHandler): void {
    this.icmp.handle(family, type, handler);
  }

  /** All interfaces, those to come too, belong to a network with rules from now on. */
  useNetwork(network: Network): void {
    this.network = network;
    for (const iface of this.interfaces) this.enter(iface, network);
  }

  /** A port has its first socket (1) or lost its last (-1), of whatever protocol. */
  ownPort(port: number, by: 1 | -1): void {
    this.network?.ownPort(port, by);
  }

  private enter(iface: NetInterface, network: Network): void {
    network.describe(iface.port.index, { name: iface.name, index: iface.port.index + 1, type: 1, bridge: null }).add(iface.port);
    this.tellAddress(iface);
  }

  /** The address that masquerade and redirect put in: the first of each family that reaches beyond the link. */
  private tellAddress(iface: NetInterface): void {
    const first = (family: 4 | 6) =>
      iface.addresses.find((own) => own.address.family === family && own.state === "usable" && !own.address.isLinkLocal)?.address ?? null;
    this.network?.describe(iface.port.index, { address4: first(4), address6: first(6) });
  }

  // ── Rounds ────────────────────────────────────────────────────────────────────────────────────

  hasRoom(path: Path, who: Throttled): boolean {
    return this.holdback.hasRoom(path, who);
  }

  /** A flow waits for its turn on this path with nothing to send yet. */
  queueUp(path: Path, who: Throttled): void {
    this.holdback.queueUp(path, who);
  }

  /** Is it this flow's turn? */
  hasTurn(who: Throttled): boolean {
    return this.holdback.hasTurn(who);
  }

  /** Do many flows wait for room on this path? */
  isCrowded(path: Path): boolean {
    return this.holdback.isCrowded(path);
  }

  /** A packet on its way by this path will be `segments` of them. */
  promise(path: Path, segments: number): void {
    this.holdback.promise(path, segments);
  }

  starve(who: Starved): void {
    this.holdback.starve(who);
  }

  isStarved(who: Starved): boolean {
    return this.holdback.isStarved(who);
  }

  /** A call from outside a round: the time is read anew. */
  touch(): void {
    this.now = this.engine.clock.now();
  }

  /** Time moves on, once a round: timers that are due. What waits for room or memory is given it. Returns how many. */
  tick(): number {
    let fired = 0;
    if (this.round !== this.engine.rounds) {
      this.round = this.engine.rounds;
      this.touch();
      fired = this.timers.run(this.now);
    }
    if (this.holdback.isThrottling) {
      // What was staged must be in the ring before room is asked for.
      this.flush();
      const before = this.counters.out_requests;
      this.holdback.resume();
      fired += this.counters.out_requests - before;
    }
    fired += this.holdback.feed();
    this.flush();
    return fired;
  }

  /** Sends what was staged. */
  flush(): void {
    this.output.flush();
    this.holdback.flushed();
  }

  // ── What comes up ─────────────────────────────────────────────────────────────────────────────

  receive(id: number, reason: number, nextHop: number, port: number): void {
    const iface = this.byPort[port];
    if (iface) this.input.receive(iface, id, reason, nextHop);
    else this.engine.plane.packetRelease(0, id);
  }

  deliver(id: number): void {
    this.input.deliver(id);
  }

  /** The interface by which the packet in hand came. */
  ingress(id: number): NetInterface | undefined {
    return this.byPort[this.engine.memory.getU16(this.engine.memory.descriptor(id) + abi.DESC_INGRESS)];
  }

  /** The interface by which the packet that is being delivered came. */
  get arrivedBy(): NetInterface | undefined {
    return this.ingress(this.inHand);
  }

  /** Of what leaves by an interface, unless something else is asked for: as routers say (RFC 4861 §6.3.2), else 64. */
  hopLimit(family: 4 | 6, iface: NetInterface | undefined): number {
    return family === 6 && iface ? iface.hopLimit : 64;
  }

  /** "192.0.2.1", or a link-local address with its interface: "fe80::1%eth0". */
  parse(text: string): ZonedAddress {
    return parseZoned(text, this.interfaces);
  }

  source(): IpAddress {
    return IpAddress.read(this.words, abi.SEG_SOURCE / 4);
  }

  destination(): IpAddress {
    return IpAddress.read(this.words, abi.SEG_DESTINATION / 4);
  }

  /** A packet's bytes from its network header on, `most` at most. */
  packetBytes(id: number, most?: number): Uint8Array {
    return this.io.packetBytes(id, most);
  }

  /** As `packetBytes`, with what the link has in front. */
  frameBytes(id: number, most: number): Uint8Array {
    return this.io.frameBytes(id, most);
  }

  // ── What goes down ────────────────────────────────────────────────────────────────────────────

  chainOf(packet: Uint8Array): number | undefined {
    return this.io.chainOf(packet);
  }

  pathTo(to: IpAddress, iface?: NetInterface, hint?: PathHint): Path {
    return this.output.pathTo(to, iface, hint);
  }

  sourceFor(to: IpAddress, path: Path): IpAddress | undefined {
    return this.output.sourceFor(to, path);
  }

  sourceOn(iface: NetInterface, to: IpAddress): IpAddress | undefined {
    return this.output.choose(to, iface);
  }

  /** Destinations in the order in which they should be tried (RFC 6724 §6): for resolvers. */
  orderDestinations(addresses: readonly IpAddress[]): IpAddress[] {
    return this.output.order(addresses);
  }

  /** A copy for ourselves, as if it had come in by an interface; the packet is no longer the caller's. */
  loopBack(id: number, iface: NetInterface): boolean {
    return this.output.loopBack(id, iface);
  }

  sendPacket(packet: Uint8Array, path: Path, note?: PacketNote): boolean {
    return this.output.sendPacket(packet, path, note);
  }

  sendFragments(packet: Uint8Array, path: Pick<Path, "hop" | "mtu">, note?: PacketNote): boolean {
    return this.output.sendFragments(packet, path, note);
  }

  sendFrame(iface: NetInterface, frame: Uint8Array, segment?: number): void {
    this.io.sendFrame(iface, frame, segment);
  }

  route(id: number, family: 4 | 6, hop: number, iface?: NetInterface): boolean {
    return this.output.route(id, family, hop, iface);
  }

  findNeighbour(id: number, hop: number, backend = 0): void {
    this.kept.findNeighbour(id, hop, backend);
  }

  sendErrorFor(id: number, kind: IcmpErrorKind, rest: number): void {
    this.icmp.sendErrorFor(id, kind, rest);
  }

  /** Sends an ICMP message; from the best address of the route when none is given. */
  sendIcmp(...message: Parameters<IcmpIo["send"]>): boolean {
    return this.icmp.send(...message);
  }

  /** A whole IP packet around a payload. */
  packetOf(
    source: IpAddress,
    destination: IpAddress,
    protocol: number,
    payload: Uint8Array,
    hopLimit = 64,
    tos = 0,
    options?: Uint8Array,
  ): Uint8Array {
    if (source.family === 6) {
      return serializeIpv6({ source: source.bytes(), destination: destination.bytes(), protocol, payload, hopLimit, trafficClass: tos });
    }
    const id = this.identifications.next(source, destination, protocol) & 0xffff;
    return serializeIpv4({ source: source.v4, destination: destination.v4, protocol, payload, ttl: hopLimit, id, tos, options });
  }
}
