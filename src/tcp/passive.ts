/**
 * A SYN for a listener (RFC 9293 §3.10.7.2): a connection in SYN-RECEIVED; one that is open at once, with the SYN's data,
 * when the peer shows a Fast Open cookie (RFC 7413 §4.2); or a SYN cookie when there are too many (RFC 4987).
 */
import * as abi from "../../assembly/abi.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { SipHash } from "../base/siphash.ts";
import type { NetInterface } from "../ip/interface.ts";
import { COOKIE_LIFE, checkCookie, flow, makeCookie, stampOptions } from "./cookies.ts";
import { arrival, synAckFlags, takeSyn } from "./ecn.ts";
import type { CookieKeys, CookieOption } from "./fast-open.ts";
import type { Signing } from "./genuine.ts";
import { agree, options as offered, readSegment, receive, takeSynData } from "./input.ts";
import type { TcpListener } from "./listener.ts";
import { writeSyn } from "./options.ts";
import { announcedMss, mssFor, sendBare, transmit, zoneOf } from "./output.ts";
import { wholeSegments } from "./receiver.ts";
import { ACK, SYN } from "./sequence.ts";
import { SYN_RECEIVED } from "./states.ts";
import type { Demultiplexed, Tcb, TcpOptions, TcpWorld } from "./tcb.ts";

/** What a passive open needs of the layer. */
export interface PassiveWorld extends TcpWorld {
  readonly hash: SipHash;
  readonly cookieKeys: CookieKeys;
  fillFlow(local: IpAddress, remote: IpAddress, localPort: number, remotePort: number): void;
  create(
    ends: { local: IpAddress; localPort: number; remote: IpAddress; remotePort: number; device?: NetInterface },
    options: Readonly<TcpOptions>,
  ): Tcb;
  find(local: IpAddress, remote: IpAddress, localPort: number, remotePort: number, device?: NetInterface): Demultiplexed | undefined;
  begin(tcb: Tcb): void;
  launch(tcb: Tcb): void;
}

/** What a cookie promises, of which nobody keeps a note: as much as the buffer has, and as much as a SYN can say. */
const cookieWindow = ({ receiveBuffer, windowClamp }: Readonly<TcpOptions>, mss: number): number =>
  Math.min(65_535, wholeSegments(Math.min(receiveBuffer, windowClamp || Number.POSITIVE_INFINITY), mss));

/** How a SYN opens: not fast, or with the data it carries; and the cookie that goes back. */
const verdict = { fast: false, reply: undefined as CookieOption | undefined };

export class PassiveOpen {
  private readonly world: PassiveWorld;
  /** Handshakes kept for each listener before cookies are used instead. */
  private readonly handshakes: number;

  constructor(world: PassiveWorld, handshakes: number) {
    this.world = world;
    this.handshakes = handshakes;
  }

  /** `signing`: what the answer is signed with, if no connection is made of it. */
  receiveSyn(listener: TcpListener, id: number, signing: Signing | undefined): void {
    if (listener.handshakes >= this.handshakes) this.sendCookie(listener, signing);
    else this.answer(listener, id);
  }

  private answer(listener: TcpListener, id: number): void {
    const { words } = this.world.stack;
    const length = words[abi.SEG_PAYLOAD_LENGTH / 4];
    const tcb = this.passive(listener, words[abi.SEG_SEQUENCE / 4]);
    if (!tcb) return;
    tcb.state = SYN_RECEIVED;
    listener.began(tcb);
    takeSyn(tcb, words[abi.SEG_FLAGS / 4], arrival.field);
    // Beside a signature there is room for timestamps or for SACK blocks; SACK is worth more, as Linux has it too.
    if (tcb.md5Secret && tcb.options.sack && offered.sackPermitted) tcb.ownOptions.timestamps = false;
    agree(tcb);
    if (tcb.options.saveSyn > 0) tcb.savedSyn = this.headersOf(id, tcb.options.saveSyn === 2);
    this.judge(listener, tcb, length);
    tcb.cookie = verdict.reply;
    if (verdict.fast) takeSynData(tcb, id);
    transmit(tcb, tcb.iss, 0, SYN | ACK | synAckFlags(tcb));
    tcb.cookie = undefined;
    tcb.answeredSyn = true;
    this.world.launch(tcb);
    if (verdict.fast) this.openFast(listener, tcb);
  }

  /** The headers of a SYN, from IP's on or from the link's. */
  private headersOf(id: number, withLink: boolean): Uint8Array {
    const { stack } = this.world;
    const frame = stack.frameBytes(id, stack.words[abi.SEG_PAYLOAD / 4]);
    return withLink ? frame : frame.subarray(stack.engine.memory.getU16(stack.engine.memory.descriptor(id) + abi.DESC_L3));
  }

  private passive(listener: TcpListener, irs: number): Tcb | undefined {
    const { stack } = this.world;
    const remote = stack.source();
    const ends = {
      local: stack.destination(),
      localPort: stack.words[abi.SEG_DESTINATION_PORT / 4],
      remote,
      remotePort: stack.words[abi.SEG_SOURCE_PORT / 4],
      device: listener.rules.device ?? zoneOf(stack, remote),
    };
    if (remote.isMulticast || remote.isUnspecified) return undefined;
    // By another interface than that of a connection which is bound to one: it has its tuple to itself.
    if (this.world.find(ends.local, remote, ends.localPort, ends.remotePort, ends.device)) return undefined;
    const hint = { source: ends.local, protocol: 6, sourcePort: ends.localPort, destinationPort: ends.remotePort };
    if (stack.pathTo(remote, ends.device, hint).hop === 0) return undefined;
    const tcb = this.world.create(ends, listener.inherited);
    tcb.listener = listener;
    if (tcb.ao) tcb.ao.follow(stack.engine.memory.u8, offered.authentication);
    this.world.begin(tcb);
    tcb.irs = irs;
    tcb.received = tcb.announced = tcb.lastAckSent = (irs + 1) | 0;
    return tcb;
  }

  // ── Fast Open (RFC 7413 §4.2) ─────────────────────────────────────────────────────────────────

  /** Is the cookie good, is one due, is there room for another that is open before its handshake? */
  private judge(listener: TcpListener, tcb: Tcb, length: number): void {
    const { counters, settings } = this.world;
    const { fastOpen } = settings;
    verdict.fast = false;
    verdict.reply = undefined;
    const queue = listener.fastOpenQueue || (fastOpen.everyListener ? listener.backlog : 0);
    if (!fastOpen.server || queue === 0) return;
    const { cookie } = offered;
    if (length > 0 && fastOpen.serverWithoutCookie) verdict.fast = true;
    else if (!cookie) return;
    else {
      if (cookie.cookie.length === 0) counters.fastopen_cookie_reqd++;
      const keys = listener.cookieKeys ?? this.world.cookieKeys;
      const match = keys.check(cookie.cookie, tcb.remote, tcb.local);
      verdict.fast = match > 0;
      if (match !== 1) verdict.reply = { cookie: keys.make(tcb.remote, tcb.local), experimental: cookie.experimental };
      if (match === 0 && cookie.cookie.length > 0) counters.fastopen_passive_fail++;
    }
    if (verdict.fast && listener.fastOpenPending >= queue) {
      counters.fastopen_listen_overflow++;
      verdict.fast = false;
      verdict.reply = undefined;
    }
  }

  private openFast(listener: TcpListener, tcb: Tcb): void {
    this.world.counters.fastopen_passive++;
    tcb.isFastOpened = true;
    listener.fastOpenPending++;
    listener.put(tcb);
  }

  // ── SYN cookies (RFC 4987 §3.6) ───────────────────────────────────────────────────────────────

  private sendCookie(listener: TcpListener, signing: Signing | undefined): void {
    const { world } = this;
    const { stack } = world;
    const { words, out } = stack;
    const remote = stack.source();
    const local = stack.destination();
    world.fillFlow(local, remote, listener.port, words[abi.SEG_SOURCE_PORT / 4]);
    const seq = words[abi.SEG_SEQUENCE / 4];
    flow[9] = seq;
    const s = readSegment(words, stack.engine.memory.u8);
    const device = listener.rules.device ?? zoneOf(stack, remote);
    const { linkMtu, hop, iface } = stack.pathTo(remote, device, {
      source: local,
      protocol: 6,
      sourcePort: listener.port,
      destinationPort: words[abi.SEG_SOURCE_PORT / 4],
    });
    if (hop === 0) return;
    const cookie = makeCookie(world.hash, stack.now, offered.mss || 536);
    world.counters.syncookies_sent++;
    listener.lastCookieAt = stack.now;
    out[abi.SEG_FAMILY / 4] = remote.family | (6 << 8) | ((listener.options.hopLimit || stack.hopLimit(remote.family, iface)) << 24);
    local.write(out, abi.SEG_SOURCE / 4);
    remote.write(out, abi.SEG_DESTINATION / 4);
    out[abi.SEG_FLOW_LABEL / 4] = 0;
    out[abi.SEG_SOURCE_PORT / 4] = listener.port;
    out[abi.SEG_DESTINATION_PORT / 4] = words[abi.SEG_SOURCE_PORT / 4];
    out[abi.OUT_SEGMENT_SIZE / 4] = out[abi.OUT_PIECES / 4] = out[abi.OUT_URGENT / 4] = 0;
    const own = listener.options;
    const stamped = s.hasTimestamps && own.timestamps;
    const mss = mssFor(linkMtu, remote.family, own.maxMss);
    // What has no place in the sequence number travels in the timestamp, and without timestamps not at all.
    const options = writeSyn(out, abi.OUT_OPTIONS / 4, {
      mss,
      scale: stamped && own.windowScaling && offered.windowScale >= 0 ? 7 : -1,
      sack: stamped && own.sack && offered.sackPermitted,
      timestamps: stamped,
      tsval: stampOptions(Math.floor(stack.now) | 0, offered.windowScale, offered.sackPermitted),
      tsecr: s.tsval,
      cookie: undefined,
      accEcn: false,
    });
    sendBare(stack, remote, SYN | ACK, cookie, (seq + 1) | 0, cookieWindow(own, mss), options, signing, device);
  }

  /** The third segment of a handshake that was never remembered. */
  acceptCookie(listener: TcpListener, id: number): boolean {
    const { world } = this;
    const { stack, counters } = world;
    // Who guesses has nothing to guess while there is no flood (Linux's tcp_synq_no_recent_overflow).
    if (stack.now - listener.lastCookieAt > COOKIE_LIFE) return false;
    const s = readSegment(stack.words, stack.engine.memory.u8);
    const { seq, ack, tsecr, hasTimestamps, window } = s;
    world.fillFlow(stack.destination(), stack.source(), listener.port, stack.words[abi.SEG_SOURCE_PORT / 4]);
    flow[9] = (seq - 1) | 0;
    const mss = checkCookie(world.hash, stack.now, (ack - 1) | 0);
    if (mss === 0) {
      counters.syncookies_failed++;
      return false;
    }
    if (listener.isFull) {
      counters.listen_overflows++;
      return true;
    }
    counters.syncookies_received++;
    offered.mss = mss;
    offered.windowScale = hasTimestamps && ((tsecr >>> 1) & 15) !== 15 ? (tsecr >>> 1) & 15 : -1;
    offered.sackPermitted = hasTimestamps && (tsecr & 1) === 1;
    const tcb = this.passive(listener, (seq - 1) | 0);
    if (!tcb) return true;
    tcb.iss = (ack - 1) | 0;
    tcb.una = tcb.iss;
    tcb.nxt = tcb.queueStart = ack;
    tcb.smallEnd = tcb.iss;
    tcb.flight.begin(tcb);
    tcb.tsOffset = 0;
    tcb.announced = (tcb.received + cookieWindow(tcb.options, announcedMss(tcb))) | 0;
    tcb.state = SYN_RECEIVED;
    listener.began(tcb);
    agree(tcb);
    tcb.receiveScale = tcb.options.windowScaling && offered.windowScale >= 0 ? 7 : 0;
    tcb.sent.append(tcb.iss, tcb.nxt, stack.now, tcb.mss).isSyn = true;
    tcb.window = window;
    receive(tcb, id);
    return true;
  }
}
