/**
 * The transmission control block: everything one connection remembers (RFC 9293 §3.3.1), and nothing it does. What is
 * done with it stands by concern in sender, receiver, recovery, input and timers.
 */

import type { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import { type ByteQueue, SHARE_MOST, type SlabUse } from "../engine/slabs.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack, Path, Starved, Throttled } from "../ip/stack.ts";
import type { Accounts } from "./accounts.ts";
import type { AoKey } from "./ao-key.ts";
import type { Authentication } from "./authentication.ts";
import type { CongestionControl, Flow } from "./congestion/control.ts";
import type { TcpCounters } from "./counters.ts";
import type { EcnKind, EcnState } from "./ecn-state.ts";
import type { CookieCache, CookieOption } from "./fast-open.ts";
import { AT_REST, type Flight, type Flights } from "./flight.ts";
import type { Signing } from "./genuine.ts";
import type { MtuSearch } from "./mtu-search.ts";
import { RateSampler } from "./rate.ts";
import { RTO_MAX, RTO_MIN, RttEstimator } from "./rtt.ts";
import type { Scoreboard } from "./scoreboard.ts";
import type { TcpSettings } from "./settings.ts";
import type { Md5Key } from "./signature.ts";
import { CLOSED } from "./states.ts";
import type { Urgent, UrgentData } from "./urgent-state.ts";

export interface TcpOptions {
  /** A name of `CONGESTION_NAMES`. Default "cubic". */
  congestion: string;
  /** Spread segments over the round trip, whatever the congestion control; BBR does it always. Default false. */
  pacing: boolean;
  /** Most bytes a second that may leave, paced (Linux's SO_MAX_PACING_RATE); 0: no limit. */
  maxPacingRate: number;
  noDelay: boolean;
  sack: boolean;
  timestamps: boolean;
  windowScaling: boolean;
  /** Segments that a connection begins with, as a route may say; 0: RFC 6928's ten, or less when they are large. */
  initialWindow: number;
  /** Largest MSS to announce, whatever the MTU would allow. */
  maxMss: number;
  /** Bytes that may wait unacknowledged, and the most that may wait unread. */
  sendBuffer: number;
  receiveBuffer: number;
  /** Seconds of silence before the first keepalive probe (RFC 1122 §4.2.3.6); 0: none. */
  keepAlive: number;
  keepAliveInterval: number;
  keepAliveProbes: number;
  /** Milliseconds that a retransmission timeout adds to the round trip at least, and that it is at most (RFC 6298 §2.4, §2.5). */
  rtoMin: number;
  rtoMax: number;
  /** Milliseconds that an acknowledgement waits for data to go with at most (RFC 9293 §3.8.6.3). */
  ackDelay: number;
  /** While fewer than four segments are under way, the first six timeouts do not double (Linux's TCP_THIN_LINEAR_TIMEOUTS). */
  thinLinearTimeouts: boolean;
  /** A listener keeps the headers of the SYN for who accepts: of IP and TCP (1), and of the link (2) (TCP_SAVE_SYN). */
  saveSyn: 0 | 1 | 2;
  /** Milliseconds that data may stay unacknowledged; 0: until the retransmissions are used up, or as the ends advertise. */
  userTimeout: number;
  /** Seconds to tell the peer that data may stay unacknowledged, and to take its word for (RFC 5482); 0: no such option. */
  advertisedTimeout: number;
  /** 0: what routers of the link say, else 64. */
  hopLimit: number;
  /** Send data in the SYN to peers that take it, and ask the others for a cookie (RFC 7413). */
  fastOpen: boolean;
  /** ECN that is asked for when connecting, and that is granted to who asks: none, RFC 3168's, or Accurate ECN (RFC 9768). */
  ecnRequest: EcnKind;
  ecnAccept: EcnKind;
  /** Segments with fewer hops left are dropped: with 255 only who is on the link is heard (RFC 5082, IP_MINTTL). 0: all are taken. */
  minHopLimit: number;
  /** Type of service or traffic class without ECN's two bits (IP_TOS). */
  trafficClass: number;
  /** Data in the SYN without a cookie, between ends that agreed on that otherwise (RFC 7413 §4.1.3.1). */
  fastOpenWithoutCookie: boolean;
  /** Small segments wait for more (TCP_CORK), 200 ms at most. */
  cork: boolean;
  /** SYNs sent again before an attempt is given up; 0: as the host has it. */
  synRetries: number;
  /** Milliseconds that a closed connection waits for the peer's FIN; 0: as the host has it; below 0 it is reset instead. */
  finTimeout: number;
  /** A listener's connections are accepted when they have data; so many SYN-ACK timeouts are waited for it. 0: at once. */
  deferAccept: number;
  /** Most bytes to announce as window; 0: what the buffer gives. */
  windowClamp: number;
  /** Bytes not yet sent above which the owner is not asked for more (TCP_NOTSENT_LOWAT); 0: no limit. */
  notSentLowWater: number;
  /** What routing rules may look at (SO_MARK); 0: nothing. */
  mark: number;
  /** Another socket may bind the port while this connection lives (SO_REUSEADDR). */
  reuseAddress: boolean;
  /** Peers whose segments are signed with MD5 (RFC 2385); the longest prefix holds. Segments of others are not. */
  md5Keys: readonly Md5Key[];
  /** Keys of peers whose segments are authenticated (RFC 5925); they come before `md5Keys`. The first for a peer is used first. */
  aoKeys: readonly AoKey[];
  /** Peers without a key may not connect; and what ICMP says of peers with one is believed (Linux's TCP_AO_INFO). */
  aoRequired: boolean;
  aoAcceptIcmps: boolean;
  /** What a peer calls urgent is data like any other, has a mark before it, or can be read apart from the rest. */
  urgentData: UrgentData;
}

export const DEFAULT_OPTIONS: Readonly<TcpOptions> = {
  congestion: "cubic",
  pacing: false,
  maxPacingRate: 0,
  noDelay: false,
  sack: true,
  timestamps: true,
  windowScaling: true,
  initialWindow: 0,
  maxMss: 65_535,
  minHopLimit: 0,
  sendBuffer: 4 << 20,
  receiveBuffer: 6 << 20,
  keepAlive: 0,
  keepAliveInterval: 75,
  keepAliveProbes: 9,
  rtoMin: RTO_MIN,
  rtoMax: RTO_MAX,
  ackDelay: 40,
  thinLinearTimeouts: false,
  saveSyn: 0,
  userTimeout: 0,
  advertisedTimeout: 0,
  hopLimit: 0,
  fastOpen: false,
  ecnRequest: "off",
  ecnAccept: "ecn",
  trafficClass: 0,
  fastOpenWithoutCookie: false,
  cork: false,
  synRetries: 0,
  finTimeout: 0,
  deferAccept: 0,
  windowClamp: 0,
  notSentLowWater: 0,
  mark: 0,
  reuseAddress: false,
  md5Keys: [],
  aoKeys: [],
  aoRequired: false,
  aoAcceptIcmps: false,
  urgentData: "ignored",
};

/** Counters by the names of `nstat`, lower case. */
/** What the connection's owner wants to hear of. */
export interface TcpEvents {
  established?(): void;
  /** Bytes can be read, or the end of the stream was reached. */
  readable?(): void;
  /** The peer has announced urgent data, or the urgent octet is here. Never where it is ignored. */
  urgent?(isHere: boolean): void;
  /** The send buffer has room again. */
  writable?(): void;
  /** Is there enough of it to say so? Without this: when a third of the buffer is free. */
  hasRoom?(): boolean;
  /** The connection is gone; with an error when it did not end in order. */
  closed?(error: LoomError | undefined): void;
}

/** What a connection needs of its host. */
export interface TcpWorld {
  readonly stack: IpStack;
  readonly counters: TcpCounters;
  readonly settings: TcpSettings;
  /** What peers said about Fast Open. */
  readonly cookies: CookieCache;
  readonly flights: Flights;
  /** A queue for the bytes of one direction. */
  newQueue(use: SlabUse): ByteQueue;
  /** Connections that receive nothing give back what they have borrowed; false when they were asked a moment ago. */
  reclaim(): boolean;
  /** The connection is over: out of the demultiplexer. */
  remove(tcb: Tcb): void;
  /** Keepalive is due, or the wait in FIN-WAIT-2 is over. */
  readonly stateExpired: (tcb: Tcb) => void;
  /** An interface that was full has room again. */
  readonly roomAgain: (tcb: Tcb) => void;
  /** It entered TIME-WAIT. */
  timeWait(tcb: Tcb): void;
  /** Answers the segment in hand with a reset, as if there were no connection; signed, if something signs. */
  resetUnknown(flags: number, signing: Signing | undefined): void;
  isFromAfar(least: number): boolean;
  /** Its owner has let go. False: there are too many of these. */
  orphaned(tcb: Tcb): boolean;
  /** Sends what is owed to the peer at once. */
  acknowledgeNow(tcb: Tcb): void;
  /** Progress was made over this path: its neighbour is alive. */
  confirm(path: Path): void;
  /** A passive connection finished its handshake. */
  accepted(tcb: Tcb): void;
}

/** What the demultiplexer finds by addresses and ports: a connection, or what is left of one in TIME-WAIT. */
export interface Demultiplexed {
  readonly local: IpAddress;
  readonly remote: IpAddress;
  readonly localPort: number;
  readonly remotePort: number;
  /** The only interface, both ways: of a link-local peer, or asked for (SO_BINDTODEVICE). */
  readonly device: NetInterface | undefined;
  readonly hash: number;
  hashNext: Demultiplexed | undefined;
}

export class Tcb implements Flow, Starved, Throttled {
  readonly world: TcpWorld;
  /** What TCP_INFO counts, for an owner that may ask. */
  accounts: Accounts | undefined;
  readonly local: IpAddress;
  readonly remote: IpAddress;
  readonly localPort: number;
  readonly remotePort: number;
  device: NetInterface | undefined;
  /** Many connections may have the same object: `ownOptions` is what is changed. */
  options: Readonly<TcpOptions>;
  private ownsOptions = false;
  events: TcpEvents = {};
  state = CLOSED;
  /** Set by a listener: whose connection this is until it is accepted. */
  listener: { readonly closed: boolean; readonly isFull: boolean } | undefined;
  isAccepted = false;
  /** Its listener counts its handshake. */
  inHandshake = false;
  hashNext: Demultiplexed | undefined;
  hash = 0;
  path: Path | undefined;
  /** What is under way; shared while nothing is. */
  flight: Flight = AT_REST;

  // ── Sending (RFC 9293 §3.3.1: SND.*) ──
  iss = 0;
  una = 0;
  nxt = 0;
  /** The peer's window in bytes, and the segment that said so. */
  window = 0;
  wl1 = 0;
  wl2 = 0;
  maxWindow = 0;
  sendScale = 0;
  scaleOffered = false;
  /** Largest payload of a segment without options beyond timestamps. */
  mss = 536;
  /** What the peer announced; and the search for what the path takes, while there is one. */
  peerMss = 536;
  search: MtuSearch | undefined;
  queue: ByteQueue | undefined;
  /** Bytes that the queue takes now; grows with the path up to `options.sendBuffer`. */
  sendSpace = 262_144;
  /** Sequence number of the queue's first byte. */
  queueStart = 0;
  finQueued = false;
  finSent = false;
  /** End of the last small segment sent (Minshall's variant of Nagle). */
  smallEnd = 0;

  // ── Receiving (RCV.*) ──
  irs = 0;
  received = 0;
  /** Right edge of the window that was announced. */
  announced = 0;
  receiveScale = 0;
  inbox: ByteQueue | undefined;
  /** Duplicate to be reported (RFC 2883), start and end. */
  dsackStart = 0;
  dsackEnd = 0;
  hasDsack = false;
  finReceived = false;
  finSequence = 0;
  hasFinSequence = false;
  /** Announced buffer size, grown as the application reads. */
  receiveSpace = SHARE_MOST;
  /** Bytes of it that it has beyond its share of the engine's memory. */
  borrowed = 0;
  /** Its share until something has arrived: a SYN says the same each time. */
  openingShare = 0;
  /** When memory was shared out with this one among those who receive. */
  arrivalPeriod = -1;
  measuredAt = 0;
  readInRtt = 0;
  /** Segments to be acknowledged at once. */
  quickAcks = 0;
  /** What is sent answers what was received: acknowledgements go along with it (Linux's pingpong mode). */
  pingPong = false;
  lastTextAt = Number.NEGATIVE_INFINITY;
  unackedBytes = 0;
  ackNow = false;
  /** An acknowledgement goes with the next round, if nothing takes it along before. */
  ackSoon = false;
  lastAckSent = 0;
  receivedMss = 536;
  /** Size of the last segment that was smaller. */
  lastPiece = 0;

  // ── Options in use ──
  sackOk = false;
  timestampsOk = false;
  tsRecent = 0;
  tsRecentAt = 0;
  tsOffset = 0;
  /** Timestamp of our first SYN. */
  synStamp = 0;
  /** Times that our SYN or SYN-ACK was sent again. */
  synRepeats = 0;
  /** A SYN-ACK went out. */
  answeredSyn = false;
  /** Headers of the SYN that it came of, where its listener keeps them (`saveSyn`). */
  savedSyn: Uint8Array | undefined;

  /** What signs every segment, both ways (RFC 2385). */
  md5Secret: Uint8Array | undefined;
  /** What authenticates every segment, both ways (RFC 5925). */
  ao: Authentication | undefined;

  /** User timeouts are exchanged (RFC 5482): seconds that the peer advertises, and whether ours is to be said again. */
  timeouts: { remote: number; due: boolean } | undefined;
  /** Urgent data, once there was some. */
  urgent: Urgent | undefined;

  // ── Congestion notification ──
  /** Flags of our first SYN that ask for it. */
  askedEcn = 0;
  ecn: EcnState | undefined;

  // ── Fast Open (RFC 7413) ──
  /** The option of the next SYN or SYN-ACK; none when it is repeated. */
  cookie: CookieOption | undefined;
  /** What our SYN asked for. */
  asked: CookieOption | undefined;
  /** Bytes of data in our SYN. */
  synData = 0;
  /** All data in a SYN, ours or the peer's, was taken. */
  synDataTaken = false;
  /** Passive, and handed to its owner before the handshake was over. */
  isFastOpened = false;

  // ── Loss and congestion ──
  readonly rtt: RttEstimator;
  readonly rate = new RateSampler();
  control: CongestionControl;
  cwnd = 0;
  ssthresh = Number.MAX_SAFE_INTEGER;
  /** Bytes a second, 0: not paced; when the next may leave, and whether that held something back. */
  pacingRate = 0;
  releaseAt = 0;
  /** Acknowledgements that showed that the network reorders. */
  reorderings = 0;
  /** Duplicates that name a segment lost; grows with the reordering seen. */
  reordering = 3;
  /** RACK's window in quarters of the smallest RTT, and recoveries until it is one again (RFC 8985 §6.2 step 4). */
  reorderWindowMult = 1;
  reorderWindowPersist = 0;
  /** Until more than so many bytes are acknowledged, a D-SACK does not widen it again. */
  dsackRound = -1;
  /** The peer finished the handshake, but sent nothing yet (TCP_DEFER_ACCEPT). */
  deferred = false;
  /** The last write announced more: it waits for it as if corked (MSG_MORE). */
  more = false;
  /** The last write did not announce more: the segment that ends it says PSH. */
  pushesEnd = true;
  /** End of the last segment that said PSH, or that will. */
  pushedTo = 0;
  /** Sequence numbers at which units of larger writes end that say PSH. */
  pushMarks: number[] | undefined;
  /** Sequence numbers at which segments end, whatever follows (MSG_EOR). */
  recordEnds: number[] | undefined;
  /** The owner waits for room in the send buffer. */
  wantsRoom = false;
  /** What ICMP said while the connection was trying; its error if it never succeeds. */
  softError: LoomError | undefined;
  /** The owner has let go: nobody reads any more. */
  orphan = false;
  /** The owner will read no more (SHUT_RD): what comes once our own direction is at its end, too, is answered with a reset, as Linux does. */
  readShut = false;
  /** When that was (ms), while it is on its way to an orderly end; else below 0. */
  orphanedAt = -1;
  /** When its owner asked for its end while it still waited to write; -1: not so. */
  leftAt = -1;
  bytesAcked = 0;
  /** Segments that arrived, the SYN and the FIN among them. */
  packetsDelivered = 0;
  bytesReceived = 0;
  /** Segments that were sent again, SYNs among them. */
  retransmissions = 0;
  /** When new data was last sent. */
  lastSentAt = 0;
  /** When data or an acknowledgement last came that was acceptable in every way: a sign of life. */
  lastReceivedAt = 0;
  keepProbes = 0;
  /** When something unacceptable was last answered. */
  lastAnswerAt = Number.NEGATIVE_INFINITY;

  // ── Timers ──
  /** Keepalive or FIN-WAIT-2, by state; made when it is first needed. */
  private ownStateTimer: Timer | undefined;

  constructor(
    world: TcpWorld,
    ends: { local: IpAddress; localPort: number; remote: IpAddress; remotePort: number; device?: NetInterface },
    options: Readonly<TcpOptions>,
    control: CongestionControl,
  ) {
    this.world = world;
    this.local = ends.local;
    this.remote = ends.remote;
    this.localPort = ends.localPort;
    this.remotePort = ends.remotePort;
    this.device = ends.device;
    this.options = options;
    this.control = control;
    this.rtt = new RttEstimator(options.rtoMin, options.rtoMax);
  }

  /** What is under way, to be written to: from now on it is this connection's own. */
  busy(): Flight {
    if (this.flight === AT_REST) this.flight = this.world.flights.take(this);
    return this.flight;
  }

  /** Lets go of it if nothing is under way any more. */
  rest(): void {
    if (this.flight !== AT_REST && this.flight.isOver && this.unsent <= 0 && this.finQueued === this.finSent) this.endFlight();
  }

  /** Lets go of it, whatever is under way. */
  endFlight(): void {
    const { flight } = this;
    if (flight === AT_REST) return;
    this.flight = AT_REST;
    this.world.flights.give(flight);
  }

  get sent(): Scoreboard {
    return this.flight.sent;
  }

  get stateTimer(): Timer {
    this.ownStateTimer ??= new Timer(this.world.stateExpired, this);
    return this.ownStateTimer;
  }

  get hasStateTimer(): boolean {
    return this.ownStateTimer !== undefined;
  }

  /** The options as its alone, to be changed. */
  get ownOptions(): TcpOptions {
    if (!this.ownsOptions) this.options = { ...this.options };
    this.ownsOptions = true;
    return this.options as TcpOptions;
  }

  /** The interface has room again. */
  resume(): void {
    this.world.roomAgain(this);
  }

  /** There are slabs again. */
  memoryBack(): void {
    if (!this.wantsRoom) return;
    this.wantsRoom = false;
    this.events.writable?.();
  }

  get inRecovery(): boolean {
    return this.flight.inRecovery;
  }

  get cwndLimited(): boolean {
    return this.flight.cwndLimited;
  }

  get usedMost(): number {
    return this.flight.usedMost;
  }

  get pipe(): number {
    return this.sent.pipe;
  }

  get delivered(): number {
    return this.rate.delivered;
  }

  get lost(): number {
    return this.rate.lost;
  }

  get srtt(): number {
    return this.rtt.srtt;
  }

  get appLimited(): boolean {
    return this.rate.appLimited;
  }

  markAppLimited(): void {
    this.rate.markAppLimited(this.sent.pipe);
  }

  random(): number {
    return this.world.stack.random.float();
  }

  /** Bytes that are still under way. Without SACK each duplicate acknowledgement stands for a segment that arrived. */
  get underWay(): number {
    const { pipe } = this.sent;
    return this.sackOk ? pipe : pipe - Math.min(this.flight.duplicateAcks * this.mss, pipe);
  }

  get now(): number {
    return this.world.stack.now;
  }

  /** Value of the timestamp clock: milliseconds, shifted by connection (RFC 7323 §5.4). */
  get tsval(): number {
    return (Math.floor(this.now) + this.tsOffset) | 0;
  }

  /** Bytes that wait in the queue and were never sent. */
  get unsent(): number {
    return this.queue ? this.queue.length - ((this.nxt - this.queueStart) | 0) + (this.finSent ? 1 : 0) : 0;
  }
}
