/**
 * TCP of one host: which connection a segment belongs to, ports, initial sequence numbers (RFC 6528), and what is
 * answered when there is no connection.
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import { IpAddress, LOOPBACK } from "../base/ip-address.ts";
import { secret } from "../base/random.ts";
import { SipHash } from "../base/siphash.ts";
import { Timer } from "../base/timers.ts";
import { ByteQueue, SHARE_MOST, type SlabUse } from "../engine/slabs.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";

import { icmpErrno } from "../ip/icmp-errno.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack, Path, Transport } from "../ip/stack.ts";
import type { EndpointFacts, Ends } from "../ip/types.ts";
import { keysFor } from "./ao-key.ts";
import { Authentication } from "./authentication.ts";
import { congestionControl } from "./congestion/index.ts";
import { Connections } from "./connections.ts";
import { flow } from "./cookies.ts";
import { newCounters } from "./counters.ts";
import { synFlags } from "./ecn.ts";
import { abort, destroy, peerOf } from "./end.ts";
import { CookieCache, CookieKeys } from "./fast-open.ts";
import { Flights } from "./flight.ts";
import { isGenuineFor, judge, type Signing } from "./genuine.ts";
import { options as offered, readSegment, receive, takeTurn } from "./input.ts";
import { chooseListener, conflicts, type ListenRules, TcpListener } from "./listener.ts";
import { largestPayload } from "./mtu-probe.ts";
import { OptionSets } from "./option-sets.ts";
import { ownMss, sendReset, transmit } from "./output.ts";
import { noteDeparture } from "./pacing.ts";
import { PassiveOpen } from "./passive.ts";
import { giveBack } from "./receiver.ts";
import { shrink } from "./recovery.ts";
import { arm, resend, send } from "./sender.ts";
import { ACK, distance, FIN, RST, SYN } from "./sequence.ts";
import { defaultSettings, type TcpSettings } from "./settings.ts";
import { secretFor } from "./signature.ts";
import { ESTABLISHED, SYN_RECEIVED, SYN_SENT, TIME_WAIT } from "./states.ts";
import { type Demultiplexed, Tcb, type TcpOptions, type TcpWorld } from "./tcb.ts";
import { TimeWait, WaitList } from "./time-wait.ts";
import { ackExpired, retransmitExpired, stateExpired } from "./timers.ts";

const ANY = new IpAddress(0, 0, 0, 0);
/** Connections that wait in TIME-WAIT at most; the oldest goes when there are more. */
const MOST_TIME_WAIT = 16_384;
/** Who has received nothing for so long gives back what it borrowed, when others ask for it; they may ask so often (ms). */
const IDLE_MS = 5000;
const RECLAIM_MS = 1000;
/** So far beyond its last number a connection begins that takes the place of one in TIME-WAIT: a window without scaling, and more (as Linux has it). */
const REOPENING = 65_537;
/** What ends a handshake that a listener keeps. */
const HARD: ReadonlySet<string> = new Set(["hostUnreachable", "noRoute"]);
/** What an authenticated connection does not believe. */
const UNPROVEN: ReadonlySet<string> = new Set(["protocolUnreachable", "portUnreachable"]);
/** Options that a SYN with data is thought to have, at most (RFC 9293 §3.1). */
const MOST_OPTION_BYTES = 40;
const actions = { retransmit: retransmitExpired, ack: ackExpired, pace: send };

export interface TcpLayerOptions {
  /** Defaults of new connections. */
  defaults?: Partial<TcpOptions>;
  /** Sixteen bytes that key sequence numbers and cookies; random unless given. */
  secret?: Uint8Array;
  /** Handshakes kept per listener before cookies are used instead. Default 1024; 0: always cookies. */
  handshakes?: number;
}

/** A peer that was connected to last, and where ports towards it begin (0 to 2^32 − 1). */
interface Lately {
  readonly local: IpAddress;
  readonly remote: IpAddress;
  readonly port: number;
  readonly first: number;
}

export class TcpLayer implements Transport, TcpWorld {
  readonly stack: IpStack;
  private readonly optionSets: OptionSets;
  readonly settings: TcpSettings = defaultSettings();
  readonly cookies = new CookieCache();
  readonly flights = new Flights(actions);
  readonly stateExpired = stateExpired;
  readonly roomAgain = takeTurn;
  /** Keys of the Fast Open cookies that this host hands out; may be replaced. */
  cookieKeys: CookieKeys;
  readonly counters = newCounters();
  private readonly connections: Connections;
  private readonly listeners = new Map<number, TcpListener[]>();
  /** Ports that were bound and have no other user yet, and by how many: nobody is given one by chance. */
  readonly bound = new Map<number, number>();
  /** In TIME-WAIT, those first whose wait ends first. */
  private readonly waiting = new WaitList();
  private readonly waitTimer = new Timer(() => this.endWaits());
  /** So many are closed by their owners, and not at their end yet. */
  private orphans = 0;
  readonly hash: SipHash;
  private readonly passive: PassiveOpen;
  /** Why nothing can be opened any more. */
  private over: LoomError | undefined;

  constructor(stack: IpStack, options: TcpLayerOptions = {}) {
    this.stack = stack;
    this.optionSets = new OptionSets(options.defaults);
    const key = options.secret ?? secret(16);
    this.hash = new SipHash(key);
    flow.fill(-1);
    this.connections = new Connections([this.hash.hash(flow, 12), this.hash.high]);
    // Another key than that of sequence numbers: cookies are shown to everybody.
    this.cookieKeys = new CookieKeys(key.map((byte, i) => byte ^ (0x5a + i)));
    this.passive = new PassiveOpen(this, options.handshakes ?? 1024);
    stack.setTransport(6, this);
  }

  /** Options of new connections. */
  get defaults(): Readonly<TcpOptions> {
    return this.optionSets.common;
  }

  setDefaults(changed: Partial<TcpOptions>): void {
    this.optionSets.change(changed);
  }

  /** Connections in any state. */
  get size(): number {
    return this.connections.size;
  }

  /** Ends everything: peers are sent resets, owners told `why`; nothing can be opened afterwards. */
  close(why: LoomError): void {
    if (this.over) return;
    this.over = why;
    const listeners = [...this.listeners.values()].flat();
    const waiting = listeners.flatMap((listener) => listener.close());
    for (const tcb of [...waiting, ...this.list()]) abort(tcb, why.code, why.message);
    for (const wait of [...this.waiting]) this.endWait(wait);
    this.stack.timers.remove(this.waitTimer);
    for (const listener of listeners) listener.onShut?.();
  }

  // ── Opening ───────────────────────────────────────────────────────────────────────────────────

  /**
   * Begins a connection (RFC 9293 §3.10.1, active OPEN); events tell how it goes. With `fastOpen`, the first bytes of
   * `early` travel in the SYN when the peer has shown a cookie (RFC 7413); `tcb.queue` holds what was taken of them.
   */
  connect(
    to: IpAddress,
    remotePort: number,
    local: { address?: IpAddress; port?: number; device?: NetInterface } = {},
    options: Partial<TcpOptions> = {},
    early?: Uint8Array,
  ): Tcb {
    if (this.over) throw this.over;
    if (!(Number.isInteger(remotePort) && remotePort >= 0 && remotePort <= 65_535)) {
      throw new LoomError("EINVAL", `port ${remotePort}; expected a whole number from 1 to 65535`);
    }
    const own = local.address?.isUnspecified ? undefined : local.address;
    // "Any" of the addresses to connect to is this host, as the socket is bound or by loopback.
    const remote = to.isUnspecified ? (own ?? LOOPBACK[to.family]) : to;
    if (own && own.family !== remote.family) throw new LoomError("EINVAL", `${own} and ${remote} are of different families`);
    if (remote.isMulticast) throw new LoomError("ENETUNREACH", `${remote} is a group; TCP connects to one host`);
    for (const iface of this.stack.interfaces) {
      if (iface.isBroadcast(remote)) throw new LoomError("ENETUNREACH", `${remote} is a broadcast address; TCP connects to one host`);
    }
    // A link-local peer is on one link, whatever the routes are later.
    const isZoned = remote.family === 6 && remote.isLinkLocal;
    const path = this.stack.pathTo(remote, local.device, {
      source: own,
      mark: options.mark,
      protocol: 6,
      sourcePort: local.port,
      destinationPort: remotePort,
    });
    if (path.hop === 0) {
      if (own && !this.stack.isSource(own))
        throw new LoomError("EINVAL", `${own}, which the socket is bound to, is not an address of this host`);
      throw new LoomError("ENETUNREACH", `there is no route to ${remote}`);
    }
    const source = own ?? this.stack.sourceFor(remote, path);
    if (!source) throw new LoomError("EADDRNOTAVAIL", `no address of this host can reach ${remote}`);
    // RFC 1122 §3.2.1.3 (g), RFC 4291 §2.5.3: no such address leaves the host.
    if (source.isLoopback && !path.isLocal)
      throw new LoomError("EINVAL", `${source} reaches nobody but this host, and ${remote} is not of it`);
    const device = local.device ?? (isZoned ? path.iface : undefined);
    const localPort = local.port || this.ephemeral(source, remote, remotePort, device);
    const other = this.connections.usesOf(localPort) === 0 ? undefined : this.find(source, remote, localPort, remotePort, device);
    const reopenedAt = other && this.takeOver(other);
    if (other && reopenedAt === undefined)
      throw new LoomError("EADDRINUSE", `${source} port ${localPort} is connected to ${peerOf(other)} already`);
    const tcb = this.create({ local: source, localPort, remote: remote.shared, remotePort, device }, this.optionSets.with(options));
    tcb.state = SYN_SENT;
    this.counters.active_opens++;
    this.reopenedAt = reopenedAt;
    this.begin(tcb);
    this.reopenedAt = undefined;
    // A signature leaves a SYN no room for a cookie.
    if (tcb.options.fastOpen && this.settings.fastOpen.client && !tcb.md5Secret && !tcb.ao) this.openFast(tcb, early);
    tcb.synStamp = tcb.tsval;
    tcb.askedEcn = synFlags(tcb);
    transmit(tcb, tcb.iss, tcb.synData, SYN | tcb.askedEcn);
    tcb.cookie = undefined;
    this.launch(tcb);
    return tcb;
  }

  /** True when data would travel in a SYN to this peer now. */
  opensFast(remote: IpAddress, options: Partial<TcpOptions> = {}): boolean {
    const { fastOpen } = this.settings;
    if (!fastOpen.client) return false;
    if (fastOpen.clientWithoutCookie || (options.fastOpenWithoutCookie ?? this.defaults.fastOpenWithoutCookie)) return true;
    return (this.cookies.option(remote, this.stack.now)?.cookie.length ?? 0) > 0;
  }

  /** What the SYN asks for, and how much data goes along. */
  private openFast(tcb: Tcb, early: Uint8Array | undefined): void {
    const without = tcb.options.fastOpenWithoutCookie || this.settings.fastOpen.clientWithoutCookie;
    tcb.cookie = tcb.asked = without ? undefined : this.cookies.option(tcb.remote, this.stack.now);
    if (!early?.length || !(without || tcb.cookie?.cookie.length)) return;
    const known = this.cookies.mss(tcb.remote);
    const mss = Math.min(ownMss(tcb), known || Number.POSITIVE_INFINITY) - MOST_OPTION_BYTES;
    tcb.queue ??= this.newQueue("sending");
    tcb.synData = tcb.queue.append(early.subarray(0, Math.max(mss, 0)));
    tcb.nxt = (tcb.nxt + tcb.synData) | 0;
    this.counters.fastopen_active++;
  }

  /** Sequence numbers, window scale and the record of the SYN. */
  begin(tcb: Tcb): void {
    this.fillFlow(tcb.local, tcb.remote, tcb.localPort, tcb.remotePort);
    const random = this.hash.hash(flow, 10);
    // RFC 6528: a 4 µs clock plus a keyed hash of the connection.
    tcb.iss = this.reopenedAt ?? (random + Math.floor(this.stack.now * 250)) | 0;
    tcb.tsOffset = Math.imul(random, 0x9e3779b1);
    tcb.una = tcb.iss;
    tcb.nxt = (tcb.iss + 1) | 0;
    tcb.queueStart = tcb.nxt;
    tcb.smallEnd = tcb.pushedTo = tcb.iss;
    tcb.busy();
    tcb.reordering = this.settings.reordering;
    if (tcb.options.windowScaling)
      while (tcb.receiveScale < 14 && tcb.options.receiveBuffer >>> tcb.receiveScale > 65_535) tcb.receiveScale++;
    tcb.receiveSpace = Math.min(tcb.receiveSpace, tcb.options.receiveBuffer);
  }

  launch(tcb: Tcb): void {
    const first = (tcb.iss + 1) | 0;
    const record = tcb.sent.append(tcb.iss, first, this.stack.now, tcb.mss);
    record.isSyn = true;
    noteDeparture(tcb, record);
    if (tcb.synData > 0) {
      const data = tcb.sent.append(first, tcb.nxt, this.stack.now, tcb.synData);
      data.pushes = true;
      noteDeparture(tcb, data);
    }
    arm(tcb, true);
    this.stack.flush();
  }

  fillFlow(local: IpAddress, remote: IpAddress, localPort: number, remotePort: number): void {
    local.write(flow, 0);
    remote.write(flow, 4);
    flow[8] = (localPort << 16) | remotePort;
    flow[9] = 0;
  }

  /** A connection where none is: whoever calls has looked. */
  create(ends: ConstructorParameters<typeof Tcb>[1], options: Readonly<TcpOptions>): Tcb {
    const { local, remote, localPort, remotePort } = ends;
    const tcb = new Tcb(this, ends, options, congestionControl(options.congestion));
    tcb.hash = this.hashOf(local, remote, localPort, remotePort);
    const keys = keysFor(options.aoKeys, ends.remote);
    if (keys.length > 0) {
      tcb.ao = new Authentication(ends, keys);
      tcb.ao.acceptIcmps = options.aoAcceptIcmps;
    } else tcb.md5Secret = secretFor(options.md5Keys, ends.remote);
    if (options.advertisedTimeout > 0) tcb.timeouts = { remote: 0, due: true };
    this.connections.add(tcb);
    this.stack.slabs.countConnection(1);
    tcb.openingShare = this.stack.slabs.firstShare;
    return tcb;
  }

  private hashOf(local: IpAddress, remote: IpAddress, localPort: number, remotePort: number): number {
    return this.connections.hash(remote.a, remote.b, remote.c, remote.d, local.d, (localPort << 16) | remotePort);
  }

  /** RFC 6056 algorithm 3: a keyed start, then one after the other; the four-tuple must be free, not the port. */
  private ephemeral(local: IpAddress, remote: IpAddress, remotePort: number, device?: NetInterface): number {
    const { first, last } = this.stack.localPorts;
    const span = last - first + 1;
    const start = this.firstPort(local, remote, remotePort) + this.nextPort++;
    for (let i = 0; i < span; i++) {
      const port = first + ((start + i) % span);
      if (this.bound.has(port) || this.listeners.has(port)) continue;
      if (this.connections.usesOf(port) === 0) return port;
      const other = this.find(local, remote, port, remotePort, device);
      if (!other || this.mayTakeOver(other)) return port;
    }
    throw new LoomError("EADDRNOTAVAIL", `all dynamic ports towards ${remote} port ${remotePort} are in use`);
  }

  /** Where ports towards a peer begin. Who opens many connections opens them to one, again and again. */
  private firstPort(local: IpAddress, remote: IpAddress, remotePort: number): number {
    const { lately } = this;
    if (!lately || lately.port !== remotePort || !lately.remote.equals(remote) || !lately.local.equals(local)) {
      this.fillFlow(local, remote, 0, remotePort);
      this.lately = { local, remote, port: remotePort, first: this.hash.hash(flow, 10) >>> 0 };
    }
    return (this.lately as Lately).first;
  }

  /** May a connection that begins here take the place of this one (RFC 6191 §2, the side that opens)? */
  private mayTakeOver(other: Demultiplexed): other is TimeWait {
    const { timeWaitReuse } = this.settings;
    if (!(other instanceof TimeWait) || timeWaitReuse === 0) return false;
    return (timeWaitReuse === 1 || other.remote.isLoopback) && other.isReopenable(this.stack.now);
  }

  /** Ends a wait that may end for it; the first sequence number of who takes its place. */
  private takeOver(other: Demultiplexed): number | undefined {
    if (!this.mayTakeOver(other)) return undefined;
    this.endWait(other);
    return (other.nxt + REOPENING) | 0;
  }

  private nextPort = 0;
  private reclaimedAt = Number.NEGATIVE_INFINITY;
  private lately: Lately | undefined;
  /** Where the connection begins that the SYN in hand makes of one in TIME-WAIT. */
  private reopenedAt: number | undefined;

  /** Listens on a port (0: a free one) of one address, or of all. */
  listen(
    local: IpAddress | undefined,
    port: number,
    backlog = 511,
    options: Partial<TcpOptions> = {},
    rules: ListenRules = {},
  ): TcpListener {
    if (this.over) throw this.over;
    const address = local ?? ANY;
    if (local && !local.isUnspecified && !rules.isBound && !this.stack.isSource(local))
      throw new LoomError("EADDRNOTAVAIL", `${local} is not an address of this host`);
    const chosen = port || this.freePort();
    const there = this.listeners.get(chosen) ?? [];
    const isTaken = this.bound.has(chosen) && !rules.isBound;
    if (isTaken || there.some((other) => conflicts(other, address, rules))) {
      throw new LoomError("EADDRINUSE", `TCP port ${chosen} is in use`);
    }
    const listener = new TcpListener(address, chosen, backlog, { ...this.optionSets.with(options) }, (self) => this.unlisten(self), rules);
    this.listeners.set(chosen, [...there, listener]);
    if (there.length === 0) this.stack.ownPort(chosen, 1);
    return listener;
  }

  /** Connections of any state whose own port this is, and listeners there. */
  users(port: number): { listeners: readonly TcpListener[]; connections: readonly (Tcb | TimeWait)[] } {
    const connections =
      this.connections.usesOf(port) > 0 ? [...this.list(), ...this.waiting].filter((each) => each.localPort === port) : [];
    return { listeners: this.listeners.get(port) ?? [], connections };
  }

  /** Is it anybody's port here? */
  uses(port: number): boolean {
    return this.listeners.has(port) || this.bound.has(port) || this.connections.usesOf(port) > 0;
  }

  /** A dynamic port that nobody uses. */
  freePort(): number {
    for (let tries = 0; tries < 65_536; tries++) {
      const { first, last } = this.stack.localPorts;
      const port = first + this.stack.random.below(last - first + 1);
      if (!this.uses(port)) return port;
    }
    throw new LoomError("EADDRINUSE", "all dynamic TCP ports are in use");
  }

  private unlisten(listener: TcpListener): void {
    const rest = (this.listeners.get(listener.port) ?? []).filter((other) => other !== listener);
    if (rest.length) this.listeners.set(listener.port, rest);
    else if (this.listeners.delete(listener.port)) this.stack.ownPort(listener.port, -1);
    // Handshakes end with their listener; the peer's next segment is answered as any without a connection.
    if (listener.handshakes > 0) for (const tcb of this.list()) if (isHandshakeOf(tcb, listener)) destroy(tcb, undefined);
  }

  /** Every connection, as `ss` would list them. */
  list(): Tcb[] {
    const out: Tcb[] = [];
    for (const each of this.connections) if (each instanceof Tcb) out.push(each);
    return out;
  }

  /** Connections in TIME-WAIT. */
  get timeWaiting(): number {
    return this.waiting.size;
  }

  // ── Demultiplexing ────────────────────────────────────────────────────────────────────────────

  receive(id: number): void {
    const { words } = this.stack;
    this.counters.in_segs++;
    const remotePort = words[abi.SEG_SOURCE_PORT / 4];
    const localPort = words[abi.SEG_DESTINATION_PORT / 4];
    const source = abi.SEG_SOURCE / 4;
    const destination = abi.SEG_DESTINATION / 4;
    const ports = (localPort << 16) | remotePort;
    const a = words[source];
    const b = words[source + 1];
    const c = words[source + 2];
    const hash = this.connections.hash(a, b, c, words[source + 3], words[destination + 3], ports);
    for (let tcb = this.connections.first(hash); tcb; tcb = tcb.hashNext) {
      if (tcb.remotePort !== remotePort || tcb.localPort !== localPort) continue;
      if (!tcb.remote.matches(words, source) || !tcb.local.matches(words, destination)) continue;
      if (tcb.device && tcb.device !== this.stack.arrivedBy) continue;
      if (tcb instanceof Tcb) receive(tcb, id);
      else if (tcb instanceof TimeWait && this.receiveWaiting(tcb, id)) break;
      return;
    }
    this.receiveUnconnected(id, localPort);
    this.reopenedAt = undefined;
  }

  /** A segment for a connection in TIME-WAIT. True when it is a SYN that begins a new one. */
  private receiveWaiting(wait: TimeWait, id: number): boolean {
    const segment = readSegment(this.stack.words, this.stack.engine.memory.u8);
    const isSigned = (wait.md5Secret ?? wait.ao) !== undefined || (offered.signature | offered.authentication) !== 0;
    if (isSigned && !isGenuineFor(wait, wait.position, false, this.stack, id, segment, offered, this.counters)) return false;
    if (wait.isReopenedBy(segment)) {
      this.endWait(wait);
      // The new connection begins beyond whatever of the old one is still under way (RFC 9293 §3.10.7.4).
      this.reopenedAt = (wait.nxt + REOPENING) | 0;
      return true;
    }
    if (wait.receive(this.stack, segment)) {
      this.waiting.delete(wait);
      this.beginWait(wait);
    }
    return false;
  }

  find(
    local: IpAddress,
    remote: IpAddress,
    localPort: number,
    remotePort: number,
    device: NetInterface | undefined,
  ): Demultiplexed | undefined {
    const hash = this.hashOf(local, remote, localPort, remotePort);
    for (let tcb = this.connections.first(hash); tcb; tcb = tcb.hashNext) {
      if (tcb.remotePort !== remotePort || tcb.localPort !== localPort || !meets(tcb.device, device)) continue;
      if (tcb.remote.equals(remote) && tcb.local.equals(local)) return tcb;
    }
    return undefined;
  }

  endpoint({ local, localPort, remote, remotePort, iface }: Ends): EndpointFacts | undefined {
    const known = this.find(local, remote, localPort, remotePort, iface);
    if (known)
      return known instanceof Tcb ? { mark: known.options.mark ?? 0, isWildcard: false } : { mark: undefined, isWildcard: undefined };
    const listener = chooseListener(this.listeners.get(localPort), local, remotePort, remote.d, iface);
    return listener && { mark: listener.options.mark ?? 0, isWildcard: listener.local.isUnspecified };
  }

  /** LISTEN and CLOSED (RFC 9293 §3.10.7.1, §3.10.7.2). */
  private receiveUnconnected(id: number, port: number): void {
    const { words } = this.stack;
    const { flags } = readSegment(words, this.stack.engine.memory.u8);
    const destination = this.stack.destination();
    const remoteWord = words[abi.SEG_SOURCE / 4 + 3];
    const { arrivedBy } = this.stack;
    const listener = chooseListener(this.listeners.get(port), destination, words[abi.SEG_SOURCE_PORT / 4], remoteWord, arrivedBy);
    // TCP speaks with one host: what is for several is not answered, a reset included (RFC 1122 §4.2.3.10).
    if (destination.isMulticast || arrivedBy?.isBroadcast(destination)) {
      this.counters.in_errs++;
      return;
    }
    if (!listener) {
      this.resetUnknown(flags, undefined);
      return;
    }
    if (this.isFromAfar(listener.options.minHopLimit)) return;
    const { isGenuine, signing } = judge(listener.options, this.stack.source(), this.stack, id, offered, this.counters);
    if (!isGenuine) return;
    if (flags & RST) return;
    if (flags & ACK) {
      if (!(flags & SYN) && this.passive.acceptCookie(listener, id)) return;
      this.resetUnknown(flags, signing);
      return;
    }
    if (!(flags & SYN) || flags & FIN) return;
    if (listener.isFull) this.counters.listen_overflows++;
    else this.passive.receiveSyn(listener, id, signing);
  }

  /** Has the segment in hand passed more routers than its owner allows (RFC 5082)? Counted. */
  isFromAfar(least: number): boolean {
    if (least === 0 || this.stack.words[0] >>> 24 >= least) return false;
    this.counters.min_hop_limit_drops++;
    return true;
  }

  resetUnknown(flags: number, signing: Signing | undefined): void {
    if (flags & RST) return;
    const { words } = this.stack;
    this.counters.out_rsts++;
    const seq = words[abi.SEG_SEQUENCE / 4];
    const size = words[abi.SEG_PAYLOAD_LENGTH / 4] + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    if (flags & ACK) sendReset(this.stack, 0, words[abi.SEG_ACKNOWLEDGEMENT / 4], 0, signing);
    else sendReset(this.stack, ACK, 0, (seq + size) | 0, signing);
  }

  // ── TcpWorld ──────────────────────────────────────────────────────────────────────────────────

  newQueue(use: SlabUse): ByteQueue {
    return new ByteQueue(this.stack.slabs, this.stack.engine.memory, use);
  }

  reclaim(): boolean {
    const { now } = this.stack;
    if (now < this.reclaimedAt + RECLAIM_MS) return false;
    this.reclaimedAt = now;
    for (const tcb of this.list()) {
      if (tcb.borrowed === 0 || now - tcb.lastReceivedAt < IDLE_MS) continue;
      giveBack(tcb);
      tcb.receiveSpace = Math.min(tcb.receiveSpace, SHARE_MOST);
    }
    return true;
  }

  remove(tcb: Tcb): void {
    this.connections.delete(tcb);
    this.stack.slabs.countConnection(-1);
    this.forgetOrphan(tcb);
    const { listener } = tcb;
    if (!(listener instanceof TcpListener)) return;
    listener.finished(tcb);
  }

  timeWait(tcb: Tcb): void {
    this.forgetOrphan(tcb);
    this.stack.slabs.countConnection(-1);
    const wait = this.waiting.take(tcb);
    this.connections.replace(tcb, wait);
    this.beginWait(wait);
    if (this.waiting.size <= MOST_TIME_WAIT) return;
    this.counters.time_wait_overflow++;
    this.endWait(this.waiting.oldest as TimeWait);
  }

  private beginWait(wait: TimeWait): void {
    this.waiting.add(wait);
    wait.until = this.stack.now + this.settings.timeWaitMs;
    if (!this.waitTimer.armed) this.stack.timers.arm(this.waitTimer, wait.until);
  }

  private endWait(wait: TimeWait): void {
    this.connections.delete(wait);
    this.waiting.give(wait);
  }

  private endWaits(): void {
    const { waiting, stack } = this;
    while (waiting.oldest && waiting.oldest.until <= stack.now) this.endWait(waiting.oldest);
    if (waiting.oldest) stack.timers.arm(this.waitTimer, waiting.oldest.until);
  }

  acknowledgeNow(tcb: Tcb): void {
    transmit(tcb, tcb.nxt, 0, ACK);
  }

  orphaned(tcb: Tcb): boolean {
    tcb.orphanedAt = this.stack.now;
    return ++this.orphans <= this.settings.maxOrphans;
  }

  private forgetOrphan(tcb: Tcb): void {
    if (tcb.orphanedAt < 0) return;
    tcb.orphanedAt = -1;
    this.orphans--;
  }

  confirm(path: Path): void {
    const { stack } = this;
    if (path.isLocal || !path.iface) return;
    const { neighbour } = path;
    if (neighbour) stack.neighbours.confirm(neighbour);
  }

  accepted(tcb: Tcb): void {
    const listener = tcb.listener as TcpListener;
    listener.finished(tcb);
    this.counters.passive_opens++;
    if (tcb.isFastOpened) return;
    listener.put(tcb);
  }

  failed(report: IcmpErrorReport): boolean {
    const view = new DataView(report.transport.buffer, report.transport.byteOffset, report.transport.length);
    const tcb = this.find(report.source, report.destination, view.getUint16(0), view.getUint16(2), report.iface);
    // RFC 5927 §4.1: the quoted sequence number must be one that is in flight.
    const seq = view.getInt32(4);
    if (!(tcb instanceof Tcb)) return false;
    if (distance(seq, tcb.una) < 0 || distance(seq, tcb.nxt) >= 0) {
      this.counters.out_of_window_icmps++;
      return false;
    }
    // RFC 5082 §3: nor is who tells of it heard from afar, as Linux has it by what is quoted.
    if ((report.hopsLeft ?? 255) < tcb.options.minHopLimit) {
      this.counters.min_hop_limit_drops++;
      return false;
    }
    // RFC 5925 §7.8: what anybody can say does not end what only the peer may.
    if (tcb.ao && !tcb.ao.acceptIcmps && tcb.state > SYN_SENT && UNPROVEN.has(report.kind)) {
      this.counters.ao_dropped_icmps++;
      tcb.ao.counters.ao_dropped_icmps++;
      return true;
    }
    // The smaller MTU is looked up by whoever learnt it; `pathChanged` follows.
    if (report.kind !== "tooBig") this.report(tcb, report);
    return true;
  }

  pathChanged(report?: IcmpErrorReport): void {
    for (const tcb of this.list()) {
      if (report && !tcb.remote.equals(report.destination)) continue;
      // The SYN was too big for its data: it goes again at once, without (RFC 7413 §4.1.3.1).
      if (tcb.state === SYN_SENT && tcb.synData > 0 && tcb.synRepeats === 0 && tcb.sent.first) {
        resend(tcb, tcb.sent.first, true);
        continue;
      }
      if (tcb.state < ESTABLISHED || tcb.state === TIME_WAIT) continue;
      const mss = largestPayload(tcb);
      // The path takes more: a connection that does not probe believes it (RFC 1191 §6.3).
      if (mss > tcb.mss && !tcb.search) tcb.mss = mss;
      if (mss >= tcb.mss) continue;
      shrink(tcb, mss);
      send(tcb);
    }
  }

  /** RFC 1122 §4.2.3.9: hard errors end a handshake; later ones are remembered. */
  private report(tcb: Tcb, report: IcmpErrorReport): void {
    const error = new LoomError(
      icmpErrno(report.source.family, report.type, report.code).code,
      `${peerOf(tcb)} cannot be reached (ICMP type ${report.type} code ${report.code} from ${report.from})`,
    );
    const isOpening = tcb.state === SYN_SENT || (tcb.isFastOpened && !tcb.isAccepted && tcb.una === tcb.iss);
    // Whatever it says: nobody has answered yet. Only that the way was too long (RFC 1122 §4.2.3.9) may pass.
    if (isOpening && report.kind !== "timeExceeded" && report.kind !== "reassemblyTime") destroy(tcb, error);
    else if (tcb.state === SYN_RECEIVED && tcb.listener && !tcb.isFastOpened && HARD.has(report.kind)) destroy(tcb, error);
    else tcb.softError = error;
  }
}

function isHandshakeOf(tcb: Tcb, listener: TcpListener): boolean {
  return tcb.listener === listener && tcb.state === SYN_RECEIVED && !tcb.isFastOpened;
}

/** One of the two is bound to no interface, or both to one. */
function meets(a: NetInterface | undefined, b: NetInterface | undefined): boolean {
  return !a || !b || a === b;
}
