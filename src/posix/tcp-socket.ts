/**
 * A TCP socket: the state machine of Linux's `inet_stream_*` and `tcp_sendmsg`/`tcp_recvmsg` around a connection or a
 * listener of src/tcp, and what they return when.
 */
import type { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { SHARE_MOST } from "../engine/slabs.ts";
import type { Host } from "../host/host.ts";
import { Accounts } from "../tcp/accounts.ts";
import { abort } from "../tcp/end.ts";
import { CookieKeys } from "../tcp/fast-open.ts";
import type { TcpListener } from "../tcp/listener.ts";
import { shrinkTo } from "../tcp/receiver.ts";
import { SendMarks } from "../tcp/send-marks.ts";
import { CLOSE_WAIT, CLOSED, CLOSING, ESTABLISHED, FIN_WAIT_1, LAST_ACK, SYN_RECEIVED, SYN_SENT, TIME_WAIT } from "../tcp/states.ts";
import type { Tcb, TcpOptions } from "../tcp/tcb.ts";
import { DEFAULT_OPTIONS } from "../tcp/tcb.ts";
import { toMark } from "../tcp/urgent.ts";
import * as user from "../tcp/user.ts";
import { bindingsOf } from "./bindings.ts";
import {
  AF_UNSPEC,
  FIONREAD,
  IPPROTO_TCP,
  MSG_DONTWAIT,
  MSG_EOR,
  MSG_ERRQUEUE,
  MSG_FASTOPEN,
  MSG_MORE,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  MSG_ZEROCOPY,
  O_NONBLOCK,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  POLLPRI,
  POLLRDHUP,
  POLLRDNORM,
  POLLWRNORM,
  SCM_TSTAMP_ACK,
  SCM_TSTAMP_SCHED,
  SCM_TSTAMP_SND,
  SIGURG,
  SIOCATMARK,
  SIOCOUTQNSD,
  SOCK_STREAM,
  SOF_TIMESTAMPING_OPT_ID,
  SOF_TIMESTAMPING_OPT_TSONLY,
  SOF_TIMESTAMPING_SOFTWARE,
  SOF_TIMESTAMPING_TX_ACK,
  SOF_TIMESTAMPING_TX_SCHED,
  SOF_TIMESTAMPING_TX_SOFTWARE,
  SOMAXCONN,
  TCP_CM_INQ,
  TIOCOUTQ,
} from "./constants.ts";
import {
  attempt,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EALREADY,
  ECONNABORTED,
  ECONNRESET,
  EINPROGRESS,
  EINVAL,
  EISCONN,
  ENETDOWN,
  ENETUNREACH,
  ENOTCONN,
  ENOTTY,
  EOPNOTSUPP,
  EPIPE,
  errnoOf,
} from "./errno.ts";
import { ErrorQueue } from "./error-queue.ts";
import { InetSocket } from "./inet-socket.ts";
import { gather, intMessage, type Message, sizeOf } from "./message.ts";
import type { SocketName } from "./names.ts";
import { LARGEST_UNIT, SendSpace } from "./send-space.ts";
import { newSettings, type Settings } from "./settings.ts";
import { RCV_SHUTDOWN, SEND_SHUTDOWN, shutdownMask } from "./socket.ts";
import { scmTimestamping, sendFlags, tellArrival } from "./timestamping.ts";

const DEFAULT_HOPS = 64;
const BOTH = RCV_SHUTDOWN | SEND_SHUTDOWN;
const IN = POLLIN | POLLRDNORM;
const OUT = POLLOUT | POLLWRNORM;
const NOTHING = new Uint8Array(0);
/** Linux's MAX_SKB_FRAGS. */
const MOST_FRAGMENTS = 17;
const ONE_BYTE = new Uint8Array(1);

/** The segment that ends in this byte, as far as it is still there. */
function lastBytes(tcb: Tcb, end: number): Uint8Array {
  const at = (end - tcb.queueStart) | 0;
  const length = Math.min(tcb.mss, at);
  if (!tcb.queue || length <= 0 || at > tcb.queue.length) return ONE_BYTE;
  const out = new Uint8Array(length);
  tcb.queue.copy(at - length, out);
  return out;
}

export class TcpSocket extends InetSocket {
  protected readonly bindings;
  /** Options of the connection, of the listener's future connections, or of what this socket will be. */
  options: TcpOptions;
  tcb: Tcb | undefined;
  listener: TcpListener | undefined;
  /** Where connect(2) stands: Linux's SS_UNCONNECTED, SS_CONNECTING, SS_CONNECTED. */
  private phase: "unconnected" | "connecting" | "connected" = "unconnected";
  /** Whom the first data will connect to (TCP_FASTOPEN_CONNECT). */
  private deferred: SocketName | undefined;
  readonly errors = new ErrorQueue();
  private readonly space: SendSpace;
  /** Sockets of connections that wait to be accepted: they must hear of resets before. */
  private readonly children = new Map<Tcb, TcpSocket>();

  constructor(
    host: Host,
    domain: number,
    options: TcpOptions = { ...host.tcp.defaults, urgentData: "apart" },
    settings: Settings = newSettings(),
  ) {
    super(host, domain, SOCK_STREAM, IPPROTO_TCP, settings);
    this.bindings = bindingsOf(host).tcp;
    this.options = options;
    this.space = new SendSpace(host.tcp.settings.initialSendBuffer);
  }

  protected freePort(): number {
    return this.host.tcp.freePort();
  }

  get reuseAddress(): boolean {
    return this.options.reuseAddress;
  }

  set reuseAddress(on: boolean) {
    this.options.reuseAddress = on;
  }

  get hopLimit(): number {
    return this.options.hopLimit || DEFAULT_HOPS;
  }

  set hopLimit(value: number) {
    this.options.hopLimit = value;
  }

  get trafficClass(): number {
    return this.options.trafficClass;
  }

  /** The ECN bits are the stack's. */
  set trafficClass(value: number) {
    this.options.trafficClass = (value & ~3) | (this.options.trafficClass & 3);
  }

  get peerAddress(): IpAddress | undefined {
    return this.state === CLOSED ? undefined : this.tcb?.remote;
  }

  override bufferSize(which: "receiveBuffer" | "sendBuffer"): number {
    const { settings, tcb } = this;
    if (settings[which]) return settings[which];
    // Tuned by the stack: what a fresh socket of Linux shows, or what the connection has.
    if (which === "sendBuffer") return this.space.limit(tcb, 0);
    return tcb ? tcb.receiveSpace : SHARE_MOST;
  }

  /** Half of the buffer: more might never fit (tcp_set_rcvlowat). */
  override get mostLowWater(): number {
    return (this.settings.receiveBuffer || this.options.receiveBuffer) >>> 1;
  }

  override settingChanged(which: keyof Settings): void {
    const { settings, options, tcb } = this;
    if (which === "keepAlive") {
      options.keepAlive = settings.keepAlive ? settings.keepIdle : 0;
      options.keepAliveInterval = settings.keepInterval;
      options.keepAliveProbes = settings.keepCount;
      if (tcb) user.keepAliveChanged(tcb);
    } else if (which === "receiveLowWater") this.waiters.wake(IN);
    else if (which === "sendBuffer") options.sendBuffer = settings.sendBuffer + LARGEST_UNIT;
    else if (which === "mark") {
      options.mark = settings.mark;
      // Another way may lead there now.
      if (tcb) tcb.path = undefined;
    } else if (which === "device") {
      if (this.listener) this.listener.rules.device = this.boundInterface;
      if (!tcb) return;
      tcb.device = this.boundInterface;
      tcb.path = undefined;
    } else if (which === "receiveBuffer") {
      options.receiveBuffer = settings.receiveBuffer >>> 1;
      if (tcb) shrinkTo(tcb, options.receiveBuffer);
    }
  }

  /** What close() waits for where it may block: SO_LINGER's time, and whether all that was written has arrived by then. */
  get lingering(): { readonly ms: number; isOver(): boolean } | undefined {
    const { tcb, settings } = this;
    if (!tcb || !settings.linger) return undefined;
    return { ms: settings.linger * 1000, isOver: () => tcb.state !== FIN_WAIT_1 && tcb.state !== CLOSING && tcb.state !== LAST_ACK };
  }

  override get isListening(): boolean {
    return this.listener !== undefined;
  }

  /** Linux's sk_state: a connection in TIME-WAIT is no longer the socket's. */
  get state(): number {
    const state = this.tcb?.state ?? CLOSED;
    return state === TIME_WAIT ? CLOSED : state;
  }

  // ── Opening ───────────────────────────────────────────────────────────────────────────────────

  override bind(name: SocketName): number {
    return this.state !== CLOSED || this.listener ? -EINVAL : super.bind(name);
  }

  override listen(backlog: number): number {
    // Negative backlogs are large ones (unsigned compare).
    const most = backlog < 0 ? SOMAXCONN : Math.min(backlog, SOMAXCONN);
    if (this.listener) {
      this.listener.backlog = most;
      return 0;
    }
    if (this.phase !== "unconnected" || this.state !== CLOSED) return -EINVAL;
    const taken = this.port === 0 ? this.take(this.address, 0) : this.bindings.check(this.port, this);
    if (taken < 0) return taken;
    return attempt(() => {
      const rules = { v6Only: this.v6Only, reusePort: this.reusePort, isBound: true, device: this.boundInterface };
      this.listener = this.host.tcp.listen(this.address, this.port, most, this.options, rules);
      this.options = this.listener.ownOptions;
      this.fastOpenChanged();
      this.listener.onShut = () => {
        this.stopListening();
        this.error = ENETDOWN;
        this.waiters.wake(IN | POLLERR);
      };
      this.listener.onConnection = (tcb) => {
        this.children.set(tcb, this.child(tcb));
        this.waiters.wake(IN);
      };
      return 0;
    });
  }

  /** TCP_FASTOPEN and TCP_FASTOPEN_KEY, for a socket that listens. */
  fastOpenChanged(): void {
    const { listener, settings } = this;
    if (!listener) return;
    listener.fastOpenQueue = settings.fastOpenQueue;
    listener.cookieKeys = settings.fastOpenKey && new CookieKeys(settings.fastOpenKey);
  }

  private child(tcb: Tcb): TcpSocket {
    const child = new TcpSocket(this.host, this.domain, tcb.ownOptions, { ...this.settings });
    child.port = this.port;
    child.address = tcb.local;
    child.adopt(tcb, "connected");
    return child;
  }

  override accept(): TcpSocket | number {
    if (!this.listener) return this.takeError() || -EINVAL;
    const tcb = this.listener.accept();
    const child = tcb && this.children.get(tcb);
    if (!child) return -EAGAIN;
    this.children.delete(tcb);
    return child;
  }

  private adopt(tcb: Tcb, phase: "connecting" | "connected"): void {
    this.tcb = tcb;
    this.phase = phase;
    this.options = tcb.ownOptions;
    tcb.accounts ??= new Accounts();
    if (phase === "connected") this.space.grow(tcb);
    tcb.events = {
      established: () => {
        this.space.grow(tcb);
        this.waiters.wake(OUT);
      },
      readable: () => this.waiters.wake(IN | (tcb.finReceived ? POLLRDHUP : 0)),
      writable: () => this.waiters.wake(OUT),
      hasRoom: () => this.space.opens(tcb, this.settings.sendBuffer, this.lowWater),
      urgent: (isHere) => {
        if (isHere) this.waiters.wake(IN | POLLPRI);
        else this.signal?.(SIGURG);
      },
      closed: (error) => this.closed(tcb, error),
    };
  }

  private closed(tcb: Tcb, error: LoomError | undefined): void {
    if (error) {
      const resetAfterFin = error.code === "ECONNRESET" && tcb.finReceived && !tcb.finQueued;
      this.error = resetAfterFin ? EPIPE : errnoOf(error);
    }
    this.shut = BOTH;
    this.waiters.wake(IN | OUT | POLLHUP | POLLRDHUP | (error ? POLLERR : 0));
  }

  connect(name: SocketName): number {
    if (name.family === AF_UNSPEC) return this.disconnect();
    const { state } = this;
    if (this.phase === "connected") return -EISCONN;
    if (this.deferred) return -EISCONN;
    if (this.phase === "connecting") return this.settled();
    if (state !== CLOSED || this.listener) return -EISCONN;
    return this.open(name);
  }

  /** What came of connecting: 0 once, -EALREADY while that is open, or the error. */
  private settled(): number {
    const { state } = this;
    if (state === SYN_SENT || state === SYN_RECEIVED) return -EALREADY;
    if (state === CLOSED) return this.attemptFailed();
    this.phase = "connected";
    return 0;
  }

  /** The attempt came to nothing: its error once, and the socket is as new. */
  private attemptFailed(): number {
    const error = this.takeError() || -ECONNABORTED;
    this.reset();
    return error;
  }

  /** TCP_FASTOPEN_CONNECT: with a cookie the SYN waits for the first data (RFC 7413 §4.2). */
  private open(name: SocketName): number {
    const { host, settings } = this;
    const remote = this.peerIn(name);
    if (typeof remote !== "number" && settings.fastOpenConnect && host.tcp.opensFast(remote, this.options)) {
      this.deferred = name;
      this.phase = "connecting";
      return 0;
    }
    return this.openWith(name, undefined);
  }

  /** MSG_FASTOPEN, or the first data after such a connect: bytes that travel in the SYN, else -EINPROGRESS. */
  private sendFast(message: Message, flags: number): number {
    const to = this.deferred ?? message.name;
    if (!to || to.family === AF_UNSPEC || !this.host.tcp.settings.fastOpen.client) return -EOPNOTSUPP;
    const data = gather(message.iov);
    const blocks = ((flags & MSG_DONTWAIT) | (this.status & O_NONBLOCK)) === 0;
    this.deferred = undefined;
    const result = this.openWith(to, data);
    // Who waits to write the rest lets the acknowledgement of the SYN-ACK go along with it.
    if (this.tcb && blocks && this.tcb.synData < data.length) this.tcb.wantsRoom = true;
    if (this.tcb && this.tcb.synData > 0) this.noteZeroCopy(flags);
    return result === -EINPROGRESS && this.tcb ? this.tcb.synData || result : result;
  }

  /** MSG_FASTOPEN on a socket that has a connection: like connect, but the first send after the handshake goes through. */
  private openedFast(name: SocketName | undefined): number {
    if (name?.family === AF_UNSPEC || !this.host.tcp.settings.fastOpen.client) return -EOPNOTSUPP;
    return this.phase === "connected" ? -EISCONN : this.settled();
  }

  private openWith(name: SocketName, early: Uint8Array | undefined): number {
    const remote = this.peerIn(name);
    if (typeof remote === "number") return remote;
    if (!this.address.isUnspecified && this.address.family !== remote.family) return -ENETUNREACH;
    const { host } = this;
    const device = this.zoneIn(name, remote);
    if (typeof device === "number") return device;
    const local = { address: this.address.isUnspecified ? undefined : this.address, port: this.port || undefined, device };
    const result = attempt(() => {
      host.ip.touch();
      const options = { ...this.options, fastOpen: this.options.fastOpen || early !== undefined || this.settings.fastOpenConnect };
      this.adopt(host.tcp.connect(remote, (name as { port: number }).port, local, options, early), "connecting");
      return -EINPROGRESS;
    });
    if (!this.tcb || result !== -EINPROGRESS) return result === -EADDRINUSE ? -EADDRNOTAVAIL : result;
    this.error = 0;
    this.shut = 0;
    this.port ||= this.tcb.localPort;
    return result;
  }

  /** connect(AF_UNSPEC): the connection is reset, the socket is as new. */
  private disconnect(): number {
    if (this.listener) this.stopListening();
    const { error, state } = this;
    if (this.tcb && state !== CLOSED) abort(this.tcb);
    // The error that waits stays, and one tells of what has been broken off (tcp_disconnect).
    this.error = state >= SYN_SENT && state <= CLOSE_WAIT ? ECONNRESET : error;
    this.reset();
    // tcp_disconnect: these two are the connection's, and not the socket's.
    const { rtoMin, ackDelay } = DEFAULT_OPTIONS;
    Object.assign(this.options, { rtoMin, ackDelay });
    this.settings.ackDelayMost = newSettings().ackDelayMost;
    return 0;
  }

  private reset(): void {
    if (this.tcb) {
      this.tcb.events = {};
      user.close(this.tcb);
      this.options = { ...this.tcb.options };
      this.giveBackPort();
    }
    this.tcb = undefined;
    this.deferred = undefined;
    this.phase = "unconnected";
    this.shut = 0;
  }

  // ── Ending ────────────────────────────────────────────────────────────────────────────────────

  shutdown(how: number): number {
    const mask = shutdownMask(how);
    if (mask < 0) return mask;
    if (this.listener) {
      if (mask & RCV_SHUTDOWN) this.stopListening();
      return 0;
    }
    const { state, tcb } = this;
    if (!tcb || state === CLOSED) {
      this.shut |= mask;
      return -ENOTCONN;
    }
    if (state === SYN_SENT) {
      this.disconnect();
      this.waiters.wake(POLLHUP);
      return 0;
    }
    if (this.phase === "connecting" && state >= ESTABLISHED) this.phase = "connected";
    this.shut |= mask;
    if (mask & RCV_SHUTDOWN) tcb.readShut = true;
    if (mask & SEND_SHUTDOWN) user.shutdown(tcb);
    this.waiters.wake(IN | OUT | POLLRDHUP | (this.shut === BOTH ? POLLHUP : 0));
    return 0;
  }

  private stopListening(): void {
    if (!this.listener) return;
    this.options = { ...this.listener.options };
    for (const tcb of this.listener.close()) abort(tcb);
    for (const child of this.children.values()) child.release();
    this.children.clear();
    this.listener = undefined;
    this.giveBackPort();
    this.waiters.wake(POLLHUP);
  }

  override held() {
    const { tcb } = this;
    return { unread: tcb ? user.readable(tcb) : 0, unsent: tcb?.queue?.length ?? 0, drops: 0 };
  }

  /** An orderly end; a reset when data was not read (RFC 2525 §2.17) or lingering was forbidden. */
  protected release(): void {
    this.stopListening();
    const { tcb } = this;
    if (tcb) {
      tcb.events = {};
      const isOver = tcb.state === CLOSED || tcb.state === TIME_WAIT;
      if (!isOver && (user.readable(tcb) > 0 || this.settings.linger === 0)) abort(tcb);
      else {
        if (isOver) tcb.inbox?.clear();
        user.close(tcb);
      }
    }
    this.unbind();
  }

  // ── Data ──────────────────────────────────────────────────────────────────────────────────────

  send(message: Message, flags: number): number {
    const { tcb } = this;
    if (this.deferred || (flags & MSG_FASTOPEN && this.phase === "unconnected")) return this.sendFast(message, flags);
    const opened = flags & MSG_FASTOPEN ? this.openedFast(message.name) : 0;
    if (opened < 0) return opened;
    const refusal = this.refusal();
    if (refusal < 0 || !tcb) return refusal;
    const told = sendFlags(this.settings, message.control);
    if (told < 0) return told;
    const sent = attempt(() => (told > 0 ? this.sendMarked(tcb, message.iov, flags, told) : this.sendPieces(tcb, message.iov, flags)));
    // What is sent was copied: its memory is the caller's again at once, which Linux calls a copied zerocopy.
    if (sent >= 0) this.noteZeroCopy(flags);
    return sent;
  }

  private noteZeroCopy(flags: number): void {
    if (!(flags & MSG_ZEROCOPY) || !this.settings.zeroCopy) return;
    this.errors.noteZeroCopy();
    this.waiters.wake(POLLERR);
  }

  /** Why nothing can be sent now; 0 when it can. */
  private refusal(): number {
    const { tcb, state } = this;
    if (!tcb || !this.isOpen) {
      if (this.error) return this.takeError();
      return state === SYN_SENT || state === SYN_RECEIVED ? -EAGAIN : -EPIPE;
    }
    if (this.error || this.shut & SEND_SHUTDOWN) return this.takeError() || -EPIPE;
    if (this.space.room(tcb, this.settings.sendBuffer, this.lowWater) > 0) return 0;
    tcb.wantsRoom = true;
    return -EAGAIN;
  }

  /** May data be sent? A connection that a SYN's cookie opened need not wait for the handshake's end. */
  private get isOpen(): boolean {
    const { state } = this;
    return state === ESTABLISHED || state === CLOSE_WAIT || (state === SYN_RECEIVED && (this.tcb?.isFastOpened ?? false));
  }

  private sendPieces(tcb: Tcb, iov: readonly Uint8Array[], flags: number): number {
    if (flags & MSG_OOB) {
      // The mark is behind the last byte, wherever that was.
      const whole = gather(iov);
      return user.write(tcb, whole, (flags & MSG_MORE) !== 0, false, true) || (whole.length > 0 ? -EAGAIN : 0);
    }
    const isZeroCopy = (flags & MSG_ZEROCOPY) !== 0 && this.settings.zeroCopy;
    const pieces = iov.filter((piece) => piece.length > 0);
    const size = sizeOf(pieces);
    let done = 0;
    for (let i = 0; i < pieces.length; i++) {
      // With MSG_ZEROCOPY each piece is a fragment by itself, and a segment has room for so many.
      const fillsSegment = isZeroCopy && i % MOST_FRAGMENTS === MOST_FRAGMENTS - 1;
      const taken = this.sendPiece(tcb, pieces[i], fillsSegment ? flags | MSG_EOR : flags, fillsSegment || i === pieces.length - 1);
      done += taken;
      if (taken < pieces[i].length) break;
    }
    if (done === 0 && size > 0) return -EAGAIN;
    // What was taken ends here for now, though more was wanted.
    tcb.pushesEnd = done < size || (flags & MSG_MORE) === 0;
    if (tcb.pushesEnd) tcb.pushedTo = user.writtenTo(tcb);
    if (done < size) user.endParts(tcb);
    return done;
  }

  /** As sendPieces, with the times of the last byte told. */
  private sendMarked(tcb: Tcb, iov: readonly Uint8Array[], flags: number, told: number): number {
    const accounts = tcb.accounts as Accounts;
    accounts.marks ??= new SendMarks({
      departed: ({ end, flags }) => {
        if (flags & SOF_TIMESTAMPING_TX_SCHED) this.noteTimestamp(tcb, SCM_TSTAMP_SCHED, end);
        if (flags & SOF_TIMESTAMPING_TX_SOFTWARE) this.noteTimestamp(tcb, SCM_TSTAMP_SND, end);
      },
      acknowledged: ({ end, flags }) => {
        if (flags & SOF_TIMESTAMPING_TX_ACK) this.noteTimestamp(tcb, SCM_TSTAMP_ACK, end);
      },
    });
    const { marks } = accounts;
    const start = (tcb.nxt + Math.max(tcb.unsent, 0)) | 0;
    const mark = marks.add((start + sizeOf(iov)) | 0, told);
    const sent = this.sendPieces(tcb, iov, flags);
    marks.settle(mark, sent > 0 ? (start + sent) | 0 : undefined, tcb.nxt);
    return sent;
  }

  private noteTimestamp(tcb: Tcb, what: number, end: number): void {
    const { settings, host } = this;
    const { timestamping } = settings;
    const id = timestamping & SOF_TIMESTAMPING_OPT_ID ? (end - 1 - settings.timestampKey) >>> 0 : 0;
    const payload = timestamping & SOF_TIMESTAMPING_OPT_TSONLY ? NOTHING : lastBytes(tcb, end);
    this.errors.noteTimestamp(what, id, payload, timestamping & SOF_TIMESTAMPING_SOFTWARE ? scmTimestamping(host, tcb.now) : undefined);
    this.waiters.wake(POLLERR);
  }

  override firstTimestampKey(atWrite: boolean): number | undefined {
    const { tcb } = this;
    if (!tcb || this.state === CLOSED) return undefined;
    return atWrite ? tcb.nxt + Math.max(tcb.unsent, 0) : tcb.una;
  }

  /** Unit by unit, while there is room; bytes taken. */
  private sendPiece(tcb: Tcb, piece: Uint8Array, flags: number, isLast: boolean): number {
    let at = 0;
    while (at < piece.length) {
      const room = this.space.room(tcb, this.settings.sendBuffer, this.lowWater);
      if (room === 0) {
        tcb.wantsRoom = true;
        break;
      }
      const end = Math.min(at + room, piece.length);
      const isEnd = isLast && end === piece.length;
      const unit = end - at === piece.length ? piece : piece.subarray(at, end);
      const taken = isEnd
        ? user.write(tcb, unit, (flags & MSG_MORE) !== 0, (flags & MSG_EOR) !== 0)
        : user.writePart(tcb, unit, this.space.unitStart, end - at === room);
      at += taken;
      if (at < end) break;
    }
    return at;
  }

  /** Unsent bytes above which writers wait; 0: no limit. */
  private get lowWater(): number {
    return this.options.notSentLowWater || this.host.tcp.settings.notSentLowWater;
  }

  receive(message: Message, flags: number): number {
    const { tcb } = this;
    message.flags = 0;
    if (flags & MSG_ERRQUEUE) return this.errors.read(message, this.domain);
    if (this.listener) return -ENOTCONN;
    if (flags & MSG_OOB) return this.receiveUrgent(message, flags);
    const n = tcb && user.readable(tcb) > 0 ? this.copyOut(tcb, message.iov, flags) || this.nothingFor(message) : this.nothing();
    if (n > 0 && tcb && message.control) tellArrival(message.control, this.settings, this.host, tcb.lastReceivedAt);
    if (n >= 0 && this.settings.inq && message.control) {
      message.control.push(intMessage(IPPROTO_TCP, TCP_CM_INQ, tcb ? this.unread(tcb) : 0));
    }
    return n;
  }

  /** The urgent octet, by itself (tcp_recv_urg). */
  private receiveUrgent(message: Message, flags: number): number {
    const { tcb, state } = this;
    const urgent = tcb?.urgent;
    if (!tcb || !urgent || urgent.state === "none" || urgent.state === "read" || tcb.options.urgentData === "inline") return -EINVAL;
    if (state === CLOSED && !tcb.finReceived) return -ENOTCONN;
    if (urgent.state === "awaited") return state === CLOSED || tcb.finReceived || this.shut & RCV_SHUTDOWN ? 0 : -EAGAIN;
    if (!(flags & MSG_PEEK)) urgent.state = "read";
    message.flags = MSG_OOB;
    const place = message.iov.find((piece) => piece.length > 0);
    if (!place) message.flags |= MSG_TRUNC;
    else if (!(flags & MSG_TRUNC)) place[0] = urgent.octet;
    return place ? 1 : 0;
  }

  /** Only an urgent octet was there, which is not read here; or there was no place. */
  private nothingFor(message: Message): number {
    return message.iov.some((piece) => piece.length > 0) ? this.nothing() : 0;
  }

  /** Why there is nothing to read: the end, an error, or it comes later. */
  private nothing(): number {
    if (this.tcb?.finReceived) return 0;
    if (this.error) return this.takeError();
    if (this.shut & RCV_SHUTDOWN) return 0;
    return this.state === CLOSED && !this.deferred ? -ENOTCONN : -EAGAIN;
  }

  private copyOut(tcb: Tcb, iov: readonly Uint8Array[], flags: number): number {
    let done = 0;
    // What a peek has passed over: an urgent octet that is not part of the stream.
    let hole = 0;
    for (const piece of iov) {
      const ahead = toMark(tcb, flags & MSG_PEEK ? done + hole : 0);
      if (ahead === 0 && done > 0) break;
      if (ahead === 0 && tcb.options.urgentData === "apart" && piece.length > 0) {
        if (flags & MSG_PEEK) hole = 1;
        else user.discard(tcb, 1);
      }
      const place = ahead > 0 && ahead < piece.length ? piece.subarray(0, ahead) : piece;
      const n =
        flags & MSG_PEEK ? user.peek(tcb, done + hole, place) : flags & MSG_TRUNC ? user.discard(tcb, place.length) : user.read(tcb, place);
      done += n;
      if (n < piece.length) break;
    }
    return done;
  }

  private unread(tcb: Tcb): number {
    // The FIN counts as one (TCP_INQ tells a reader that it would not block).
    return user.readable(tcb) + (tcb.finReceived && user.readable(tcb) === 0 ? 1 : 0);
  }

  sharesMemory(other: TcpSocket): boolean {
    return this.host.engine === other.host.engine;
  }

  /** Moves what has arrived to another connection's send buffer: bytes moved, 0 at the end, or a negative error. */
  moveTo(target: TcpSocket, length: number): number {
    const { tcb } = this;
    if (!tcb || this.listener || user.readable(tcb) === 0) return this.listener ? -ENOTCONN : this.nothing();
    const refusal = target.refusal();
    if (refusal < 0) return refusal;
    return attempt(() => (target.tcb && user.splice(tcb, target.tcb, length)) || -EAGAIN);
  }

  // ── What is ───────────────────────────────────────────────────────────────────────────────────

  poll(): number {
    if (this.listener) return this.listener.waiting > 0 ? IN : 0;
    const { tcb, state } = this;
    const ended = tcb?.finReceived ? this.shut | RCV_SHUTDOWN : this.shut;
    let mask = 0;
    if (ended === BOTH || state === CLOSED) mask |= POLLHUP;
    if (ended & RCV_SHUTDOWN) mask |= IN | POLLRDHUP;
    if (this.isOpen || (state !== SYN_SENT && state !== SYN_RECEIVED)) {
      const enough = Math.max(this.settings.receiveLowWater, 1);
      if (tcb && (user.readable(tcb) >= enough + this.hole(tcb) || (enough > 1 && user.isNearlyFull(tcb)))) mask |= IN;
      if (tcb?.urgent?.state === "here") mask |= POLLPRI;
      if (ended & SEND_SHUTDOWN || !tcb || state === CLOSED || this.hasRoom(tcb)) mask |= OUT;
    }
    if (this.deferred) mask = OUT;
    if (this.error || !this.errors.isEmpty) mask |= POLLERR;
    return mask;
  }

  /** A third of the buffer is free, as Linux wants it; if not, the connection tells when it is. */
  private hasRoom(tcb: Tcb): boolean {
    // Without memory a send would take nothing: `writable` comes when there is some.
    if (this.host.ip.isStarved(tcb)) return false;
    if (this.space.isWritable(tcb, this.settings.sendBuffer, this.lowWater)) return true;
    tcb.wantsRoom = true;
    return false;
  }

  /** The next byte is the urgent one (sockatmark). */
  get isAtMark(): boolean {
    return this.tcb !== undefined && toMark(this.tcb) === 0;
  }

  /** An urgent octet that a reader steps over next. */
  private hole(tcb: Tcb): number {
    return toMark(tcb) === 0 && tcb.options.urgentData === "apart" ? 1 : 0;
  }

  /** Up to the urgent mark (SIOCINQ), unless urgent data is part of the stream. */
  private inQueue(tcb: Tcb): number {
    const unread = user.readable(tcb);
    const ahead = tcb.options.urgentData === "inline" ? unread : toMark(tcb);
    return ahead < unread ? ahead : unread;
  }

  override ioctl(request: number, _argument: number): number {
    const { tcb } = this;
    switch (request) {
      case FIONREAD:
        return this.listener ? -EINVAL : tcb ? this.inQueue(tcb) : 0;
      case TIOCOUTQ:
        return this.listener ? -EINVAL : (tcb?.queue?.length ?? 0);
      case SIOCOUTQNSD:
        return this.listener ? -EINVAL : tcb ? Math.max(tcb.unsent, 0) : 0;
      case SIOCATMARK:
        return Number(this.isAtMark);
      default:
        return -ENOTTY;
    }
  }

  override localName(): SocketName {
    const { tcb } = this;
    return tcb ? this.shown(tcb.local, tcb.localPort, tcb.device) : super.localName();
  }

  peerName(): SocketName | number {
    const { tcb, state } = this;
    if (!tcb || state === CLOSED || state === SYN_SENT) return -ENOTCONN;
    return this.shown(tcb.remote, tcb.remotePort, tcb.device);
  }
}
