/**
 * TCP of one host: which connection a segment belongs to, ports, initial sequence numbers (RFC 6528), and what is
 * answered when there is no connection.
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import { secret } from "../base/random.ts";
import { SipHash } from "../base/siphash.ts";
import { ByteQueue } from "../engine/slabs.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import { RateLimit } from "../ip/icmp.ts";
import type { IpStack, Path, Transport } from "../ip/stack.ts";
import { congestionControl } from "./congestion/index.ts";
import { checkCookie, flow, makeCookie, stampOptions } from "./cookies.ts";
import { destroy, peerOf } from "./end.ts";
import { agree, options as offered, readSegment, receive } from "./input.ts";
import { TcpListener } from "./listener.ts";
import { writeSyn } from "./options.ts";
import { ownMss, sendBare, sendReset, transmit } from "./output.ts";
import { noteDeparture } from "./pacing.ts";
import { shrink } from "./recovery.ts";
import { arm, send } from "./sender.ts";
import { ACK, after, distance, FIN, RST, SYN } from "./sequence.ts";
import {
  DEFAULT_OPTIONS,
  ESTABLISHED,
  STATES,
  SYN_RECEIVED,
  SYN_SENT,
  Tcb,
  type TcpCounters,
  type TcpOptions,
  type TcpWorld,
  TIME_WAIT,
} from "./tcb.ts";
import { ackExpired, retransmitExpired, stateExpired } from "./timers.ts";

const ANY = new IpAddress(0, 0, 0, 0);
const FIRST_EPHEMERAL = 32_768;
const LAST_EPHEMERAL = 60_999;
/** Connections that wait in TIME-WAIT at most; the oldest goes when there are more. */
const MOST_TIME_WAIT = 16_384;
/** Linux's tcp_challenge_ack_limit was 1000 a second. */
const CHALLENGES = 1000;
const timers = { retransmit: retransmitExpired, ack: ackExpired, state: stateExpired, room: send };

export interface TcpLayerOptions {
  /** Defaults of new connections. */
  defaults?: Partial<TcpOptions>;
  /** Sixteen bytes that key sequence numbers and cookies; random unless given. */
  secret?: Uint8Array;
  /** Handshakes kept per listener before cookies are used instead. Default 1024; 0: always cookies. */
  handshakes?: number;
}

export class TcpLayer implements Transport, TcpWorld {
  readonly stack: IpStack;
  readonly defaults: TcpOptions;
  readonly counters: TcpCounters = {
    active_opens: 0,
    passive_opens: 0,
    attempt_fails: 0,
    estab_resets: 0,
    in_segs: 0,
    out_segs: 0,
    retrans_segs: 0,
    out_rsts: 0,
    timeouts: 0,
    loss_probes: 0,
    fast_retrans: 0,
    challenge_acks: 0,
    paws_rejected: 0,
    dsack_received: 0,
    ofo_queued: 0,
    ofo_dropped: 0,
    listen_overflows: 0,
    syncookies_sent: 0,
    syncookies_received: 0,
    syncookies_failed: 0,
    time_wait_overflow: 0,
    spurious_rtos: 0,
    memory_drops: 0,
  };
  private readonly connections = new Map<number, Tcb>();
  private readonly listeners = new Map<number, TcpListener[]>();
  private readonly portUse = new Map<number, number>();
  private readonly waiting = new Set<Tcb>();
  private readonly challenges = new RateLimit(CHALLENGES, CHALLENGES);
  private readonly hash: SipHash;
  private readonly handshakes: number;
  private count = 0;

  constructor(stack: IpStack, options: TcpLayerOptions = {}) {
    this.stack = stack;
    this.defaults = { ...DEFAULT_OPTIONS, ...options.defaults };
    this.hash = new SipHash(options.secret ?? secret(16));
    this.handshakes = options.handshakes ?? 1024;
    stack.setTransport(6, this);
  }

  /** Connections in any state. */
  get size(): number {
    return this.count;
  }

  // ── Opening ───────────────────────────────────────────────────────────────────────────────────

  /** Begins a connection (RFC 9293 §3.10.1, active OPEN); events tell how it goes. */
  connect(
    remote: IpAddress,
    remotePort: number,
    local: { address?: IpAddress; port?: number } = {},
    options: Partial<TcpOptions> = {},
  ): Tcb {
    if (!(Number.isInteger(remotePort) && remotePort >= 1 && remotePort <= 65_535)) {
      throw new LoomError("EINVAL", `port ${remotePort}; expected a whole number from 1 to 65535`);
    }
    if (remote.isMulticast || remote.isUnspecified) throw new LoomError("EADDRNOTAVAIL", `${remote} cannot be connected to`);
    const path = this.stack.pathTo(remote);
    if (path.hop === 0) throw new LoomError("ENETUNREACH", `there is no route to ${remote}`);
    const source = local.address ?? this.stack.sourceFor(remote, path);
    if (!source) throw new LoomError("EADDRNOTAVAIL", `no address of this host can reach ${remote}`);
    const localPort = local.port || this.ephemeral(source, remote, remotePort);
    const tcb = this.create({ local: source, localPort, remote, remotePort }, { ...this.defaults, ...options });
    tcb.state = SYN_SENT;
    this.counters.active_opens++;
    this.begin(tcb);
    transmit(tcb, tcb.iss, 0, SYN);
    this.launch(tcb);
    return tcb;
  }

  /** Sequence numbers, window scale and the record of the SYN. */
  private begin(tcb: Tcb): void {
    this.fillFlow(tcb.local, tcb.remote, tcb.localPort, tcb.remotePort);
    const random = this.hash.hash(flow, 10);
    // RFC 6528: a 4 µs clock plus a keyed hash of the connection.
    tcb.iss = (random + Math.floor(this.stack.now * 250)) | 0;
    tcb.tsOffset = Math.imul(random, 0x9e3779b1);
    tcb.una = tcb.iss;
    tcb.nxt = (tcb.iss + 1) | 0;
    tcb.queueStart = tcb.nxt;
    tcb.smallEnd = tcb.iss;
    tcb.rackEnd = tcb.forwardAck = tcb.iss;
    tcb.stalledSince = this.stack.now;
    if (tcb.options.windowScaling)
      while (tcb.receiveScale < 14 && tcb.options.receiveBuffer >>> tcb.receiveScale > 65_535) tcb.receiveScale++;
    tcb.receiveSpace = Math.min(tcb.receiveSpace, tcb.options.receiveBuffer);
  }

  private launch(tcb: Tcb): void {
    const record = tcb.sent.append(tcb.iss, tcb.nxt, this.stack.now);
    record.isSyn = true;
    noteDeparture(tcb, record);
    arm(tcb, true);
    this.stack.flush();
  }

  private fillFlow(local: IpAddress, remote: IpAddress, localPort: number, remotePort: number): void {
    local.write(flow, 0);
    remote.write(flow, 4);
    flow[8] = (localPort << 16) | remotePort;
    flow[9] = 0;
  }

  private create(ends: ConstructorParameters<typeof Tcb>[1], options: TcpOptions): Tcb {
    const tcb = new Tcb(this, ends, options, congestionControl(options.congestion), timers);
    tcb.hash = hashOf(ends.remote.c ^ ends.remote.a, ends.remote.d, ends.local.d, (ends.localPort << 16) | ends.remotePort);
    for (let other = this.connections.get(tcb.hash); other; other = other.hashNext) {
      if (
        other.remotePort === ends.remotePort &&
        other.localPort === ends.localPort &&
        other.remote.equals(ends.remote) &&
        other.local.equals(ends.local)
      ) {
        throw new LoomError("EADDRINUSE", `${ends.local} port ${ends.localPort} is connected to ${peerOf(other)} already`);
      }
    }
    tcb.hashNext = this.connections.get(tcb.hash);
    this.connections.set(tcb.hash, tcb);
    this.portUse.set(ends.localPort, (this.portUse.get(ends.localPort) ?? 0) + 1);
    this.count++;
    return tcb;
  }

  /** RFC 6056 algorithm 3: a keyed start, then one after the other; the four-tuple must be free, not the port. */
  private ephemeral(local: IpAddress, remote: IpAddress, remotePort: number): number {
    const span = LAST_EPHEMERAL - FIRST_EPHEMERAL + 1;
    this.fillFlow(local, remote, 0, remotePort);
    const start = (this.hash.hash(flow, 10) >>> 0) + this.nextPort++;
    for (let i = 0; i < span; i++) {
      const port = FIRST_EPHEMERAL + ((start + i) % span);
      if (!this.portUse.has(port) || !this.find(local, remote, port, remotePort)) return port;
    }
    throw new LoomError("EADDRINUSE", `all dynamic ports towards ${remote} port ${remotePort} are in use`);
  }

  private nextPort = 0;

  /** Listens on a port (0: a free one) of one address, or of all. */
  listen(local: IpAddress | undefined, port: number, backlog = 511, options: Partial<TcpOptions> = {}): TcpListener {
    const address = local ?? ANY;
    if (local && !local.isUnspecified && !this.stack.isLocal(local))
      throw new LoomError("EADDRNOTAVAIL", `${local} is not an address of this host`);
    const chosen = port || this.freePort();
    const there = this.listeners.get(chosen) ?? [];
    if (there.some((other) => other.local.isUnspecified || address.isUnspecified || other.local.equals(address))) {
      throw new LoomError("EADDRINUSE", `TCP port ${chosen} is in use`);
    }
    const listener = new TcpListener(address, chosen, backlog, { ...this.defaults, ...options }, (self) => this.unlisten(self));
    this.listeners.set(chosen, [...there, listener]);
    return listener;
  }

  private freePort(): number {
    for (let tries = 0; tries < 65_536; tries++) {
      const port = FIRST_EPHEMERAL + this.stack.random.below(LAST_EPHEMERAL - FIRST_EPHEMERAL + 1);
      if (!this.listeners.has(port) && !this.portUse.has(port)) return port;
    }
    throw new LoomError("EADDRINUSE", "all dynamic TCP ports are in use");
  }

  private unlisten(listener: TcpListener): void {
    const rest = (this.listeners.get(listener.port) ?? []).filter((other) => other !== listener);
    if (rest.length) this.listeners.set(listener.port, rest);
    else this.listeners.delete(listener.port);
  }

  /** Every connection, as `ss` would list them. */
  list(): Tcb[] {
    const out: Tcb[] = [];
    for (const first of this.connections.values()) for (let tcb: Tcb | undefined = first; tcb; tcb = tcb.hashNext) out.push(tcb);
    return out;
  }

  // ── Demultiplexing ────────────────────────────────────────────────────────────────────────────

  receive(id: number): void {
    const { words } = this.stack;
    this.counters.in_segs++;
    const remotePort = words[abi.SEG_SOURCE_PORT / 4];
    const localPort = words[abi.SEG_DESTINATION_PORT / 4];
    const source = abi.SEG_SOURCE / 4;
    const destination = abi.SEG_DESTINATION / 4;
    const hash = hashOf(words[source + 2] ^ words[source], words[source + 3], words[destination + 3], (localPort << 16) | remotePort);
    for (let tcb = this.connections.get(hash); tcb; tcb = tcb.hashNext) {
      if (tcb.remotePort !== remotePort || tcb.localPort !== localPort) continue;
      if (!tcb.remote.matches(words, source) || !tcb.local.matches(words, destination)) continue;
      if (tcb.state === TIME_WAIT && this.mayReopen(tcb)) break;
      receive(tcb, id);
      return;
    }
    this.receiveUnconnected(id, localPort);
  }

  /** A new SYN ends TIME-WAIT when it cannot be an old one (RFC 6191, RFC 9293 §3.10.7.4 eighth). */
  private mayReopen(tcb: Tcb): boolean {
    const { words } = this.stack;
    const s = readSegment(words, this.stack.engine.memory.u8);
    if ((s.flags & (SYN | ACK | RST | FIN)) !== SYN) return false;
    const isNew = tcb.timestampsOk && s.hasTimestamps ? after(s.tsval, tcb.tsRecent) : after(s.seq, tcb.received);
    if (isNew) destroy(tcb, undefined);
    return isNew;
  }

  private find(local: IpAddress, remote: IpAddress, localPort: number, remotePort: number): Tcb | undefined {
    const hash = hashOf(remote.c ^ remote.a, remote.d, local.d, (localPort << 16) | remotePort);
    for (let tcb = this.connections.get(hash); tcb; tcb = tcb.hashNext) {
      if (tcb.remotePort === remotePort && tcb.localPort === localPort && tcb.remote.equals(remote) && tcb.local.equals(local)) return tcb;
    }
    return undefined;
  }

  /** LISTEN and CLOSED (RFC 9293 §3.10.7.1, §3.10.7.2). */
  private receiveUnconnected(id: number, port: number): void {
    const { words } = this.stack;
    const { flags } = readSegment(words, this.stack.engine.memory.u8);
    const destination = this.stack.destination();
    const listener = this.listeners.get(port)?.find((each) => each.local.isUnspecified || each.local.equals(destination));
    if (!listener || destination.isMulticast) {
      this.resetUnknown(flags);
      return;
    }
    if (flags & RST) return;
    if (flags & ACK) {
      if (!(flags & SYN) && this.acceptCookie(listener, id)) return;
      this.resetUnknown(flags);
      return;
    }
    if (!(flags & SYN) || flags & FIN) return;
    if (listener.isFull) {
      this.counters.listen_overflows++;
      return;
    }
    if (listener.handshakes >= this.handshakes) this.sendCookie(listener);
    else this.answer(listener);
  }

  /** A SYN for a listener with room: a connection in SYN-RECEIVED. */
  private answer(listener: TcpListener): void {
    const { words } = this.stack;
    const tcb = this.passive(listener, words[abi.SEG_SEQUENCE / 4]);
    if (!tcb) return;
    tcb.state = SYN_RECEIVED;
    listener.handshakes++;
    agree(tcb);
    transmit(tcb, tcb.iss, 0, SYN | ACK);
    this.launch(tcb);
  }

  private passive(listener: TcpListener, irs: number): Tcb | undefined {
    const { words } = this.stack;
    const ends = {
      local: this.stack.destination(),
      localPort: words[abi.SEG_DESTINATION_PORT / 4],
      remote: this.stack.source(),
      remotePort: words[abi.SEG_SOURCE_PORT / 4],
    };
    if (ends.remote.isMulticast || ends.remote.isUnspecified || this.stack.pathTo(ends.remote).hop === 0) return undefined;
    const tcb = this.create(ends, { ...listener.options });
    tcb.listener = listener;
    this.begin(tcb);
    tcb.irs = irs;
    tcb.received = tcb.announced = tcb.lastAckSent = (irs + 1) | 0;
    return tcb;
  }

  private sendCookie(listener: TcpListener): void {
    const { stack } = this;
    const { words, out } = stack;
    const remote = stack.source();
    const local = stack.destination();
    this.fillFlow(local, remote, listener.port, words[abi.SEG_SOURCE_PORT / 4]);
    const seq = words[abi.SEG_SEQUENCE / 4];
    flow[9] = seq;
    const s = readSegment(words, stack.engine.memory.u8);
    const { mtu, hop } = stack.pathTo(remote);
    if (hop === 0) return;
    const cookie = makeCookie(this.hash, stack.now, offered.mss || 536);
    this.counters.syncookies_sent++;
    out[abi.SEG_FAMILY / 4] = remote.family | (6 << 8) | (64 << 24);
    local.write(out, abi.SEG_SOURCE / 4);
    remote.write(out, abi.SEG_DESTINATION / 4);
    out[abi.SEG_FLOW_LABEL / 4] = 0;
    out[abi.SEG_SOURCE_PORT / 4] = listener.port;
    out[abi.SEG_DESTINATION_PORT / 4] = words[abi.SEG_SOURCE_PORT / 4];
    out[abi.OUT_SEGMENT_SIZE / 4] = out[abi.OUT_PIECES / 4] = out[abi.OUT_URGENT / 4] = 0;
    const tsval = stampOptions(Math.floor(stack.now) | 0, offered.windowScale, offered.sackPermitted);
    const mss = mtu - (remote.family === 4 ? 40 : 60);
    const scale = s.hasTimestamps && offered.windowScale >= 0 ? 7 : -1;
    const options = writeSyn(
      out,
      abi.OUT_OPTIONS / 4,
      mss,
      scale,
      s.hasTimestamps && offered.sackPermitted,
      s.hasTimestamps,
      tsval,
      s.tsval,
    );
    sendBare(stack, remote, SYN | ACK, cookie, (seq + 1) | 0, 65_535, options);
  }

  /** The third segment of a handshake that was never remembered. */
  private acceptCookie(listener: TcpListener, id: number): boolean {
    const { stack } = this;
    const s = readSegment(stack.words, stack.engine.memory.u8);
    const { seq, ack, tsecr, hasTimestamps, window } = s;
    this.fillFlow(stack.destination(), stack.source(), listener.port, stack.words[abi.SEG_SOURCE_PORT / 4]);
    flow[9] = (seq - 1) | 0;
    const mss = checkCookie(this.hash, stack.now, (ack - 1) | 0);
    if (mss === 0) {
      this.counters.syncookies_failed++;
      return false;
    }
    if (listener.isFull) {
      this.counters.listen_overflows++;
      return true;
    }
    this.counters.syncookies_received++;
    offered.mss = mss;
    offered.windowScale = hasTimestamps && ((tsecr >>> 1) & 15) !== 15 ? (tsecr >>> 1) & 15 : -1;
    offered.sackPermitted = hasTimestamps && (tsecr & 1) === 1;
    const tcb = this.passive(listener, (seq - 1) | 0);
    if (!tcb) return true;
    tcb.iss = (ack - 1) | 0;
    tcb.una = tcb.iss;
    tcb.nxt = tcb.queueStart = ack;
    tcb.smallEnd = tcb.rackEnd = tcb.forwardAck = tcb.iss;
    tcb.tsOffset = 0;
    tcb.receiveScale = offered.windowScale >= 0 ? 7 : 0;
    tcb.announced = (tcb.received + 65_535) | 0;
    tcb.state = SYN_RECEIVED;
    listener.handshakes++;
    agree(tcb);
    tcb.receiveScale = offered.windowScale >= 0 ? 7 : 0;
    tcb.sent.append(tcb.iss, tcb.nxt, stack.now).isSyn = true;
    tcb.window = window;
    receive(tcb, id);
    return true;
  }

  resetUnknown(flags: number): void {
    if (flags & RST) return;
    const { words } = this.stack;
    this.counters.out_rsts++;
    const seq = words[abi.SEG_SEQUENCE / 4];
    const size = words[abi.SEG_PAYLOAD_LENGTH / 4] + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    if (flags & ACK) sendReset(this.stack, 0, words[abi.SEG_ACKNOWLEDGEMENT / 4], 0);
    else sendReset(this.stack, ACK, 0, (seq + size) | 0);
  }

  // ── TcpWorld ──────────────────────────────────────────────────────────────────────────────────

  newQueue(): ByteQueue {
    return new ByteQueue(this.stack.slabs, this.stack.engine.memory);
  }

  remove(tcb: Tcb): void {
    const first = this.connections.get(tcb.hash);
    if (first === tcb) {
      if (tcb.hashNext) this.connections.set(tcb.hash, tcb.hashNext);
      else this.connections.delete(tcb.hash);
    } else for (let before = first; before; before = before.hashNext) if (before.hashNext === tcb) before.hashNext = tcb.hashNext;
    tcb.hashNext = undefined;
    this.waiting.delete(tcb);
    this.count--;
    const uses = (this.portUse.get(tcb.localPort) ?? 1) - 1;
    if (uses > 0) this.portUse.set(tcb.localPort, uses);
    else this.portUse.delete(tcb.localPort);
    const { listener } = tcb;
    if (listener instanceof TcpListener) {
      if (tcb.una === tcb.iss) listener.handshakes--;
      else listener.forget(tcb);
    }
  }

  timeWait(tcb: Tcb): void {
    this.waiting.add(tcb);
    if (this.waiting.size <= MOST_TIME_WAIT) return;
    const [oldest] = this.waiting;
    this.counters.time_wait_overflow++;
    destroy(oldest, undefined);
  }

  mayChallenge(): boolean {
    return this.challenges.take(this.stack.now);
  }

  keepAlive(tcb: Tcb): void {
    const { keepAlive } = tcb.options;
    if (keepAlive > 0) this.stack.timers.arm(tcb.stateTimer, this.stack.now + keepAlive * 1000);
  }

  confirm(path: Path): void {
    const { stack } = this;
    if (path.isLocal || !path.iface) return;
    const { neighbour } = path;
    if (neighbour) stack.neighbours.confirm(neighbour);
  }

  accepted(tcb: Tcb): void {
    const listener = tcb.listener as TcpListener;
    listener.handshakes--;
    this.counters.passive_opens++;
    if (listener.closed) {
      destroy(tcb, undefined);
      return;
    }
    listener.put(tcb);
  }

  failed(report: IcmpErrorReport): boolean {
    const view = new DataView(report.transport.buffer, report.transport.byteOffset, report.transport.length);
    const tcb = this.find(report.source, report.destination, view.getUint16(0), view.getUint16(2));
    // RFC 5927 §4.1: the quoted sequence number must be one that is in flight.
    const seq = view.getInt32(4);
    if (!tcb || distance(seq, tcb.una) < 0 || distance(seq, tcb.nxt) >= 0) return false;
    // The smaller MTU is looked up by whoever learnt it; `pathChanged` follows.
    if (report.kind !== "tooBig") this.report(tcb, report);
    return true;
  }

  pathChanged(report: IcmpErrorReport): void {
    for (const tcb of this.list()) {
      if (!tcb.remote.equals(report.destination) || tcb.state < ESTABLISHED || tcb.state === TIME_WAIT) continue;
      const mss = ownMss(tcb) - (tcb.timestampsOk ? 12 : 0);
      if (mss >= tcb.mss) continue;
      shrink(tcb, mss);
      send(tcb);
    }
  }

  /** RFC 1122 §4.2.3.9: hard errors end a handshake; later ones are remembered. */
  private report(tcb: Tcb, report: IcmpErrorReport): void {
    const code = report.kind === "portUnreachable" || report.kind === "protocolUnreachable" ? "ECONNREFUSED" : "EHOSTUNREACH";
    const error = new LoomError(
      code,
      `${peerOf(tcb)} cannot be reached (ICMP type ${report.type} code ${report.code} from ${report.from})`,
    );
    if (tcb.state === SYN_SENT && report.kind !== "timeExceeded" && report.kind !== "other") destroy(tcb, error);
    else tcb.softError = error;
  }
}

/** State's name as RFC 9293 spells it. */
export function stateName(tcb: Tcb): (typeof STATES)[number] {
  return STATES[tcb.state];
}

function hashOf(a: number, b: number, c: number, ports: number): number {
  let h = Math.imul(b ^ (a << 7), 0x9e3779b1) ^ Math.imul(c, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15) ^ ports, 0xc2b2ae35);
  return h ^ (h >>> 13);
}
