/** One segment out: its header fields and options into the record, its payload by reference, and down the stack. */
import * as abi from "../../assembly/abi.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack, Path } from "../ip/stack.ts";
import { AO_WORDS } from "./ao-segment.ts";
import { departing, departingField, ECN_FLAGS, OPTION_FIELDS, optionCounter, sendsOption } from "./ecn.ts";
import type { EcnState } from "./ecn-state.ts";
import { type Signing, signingWords, signWith } from "./genuine.ts";
import { cookieWords, pairBytes, type SynOffer, writeCounters, writeEdges, writeSack, writeSyn, writeTimestamps } from "./options.ts";
import { windowToAnnounce } from "./receiver.ts";
import { ACK, RST, SYN, URG } from "./sequence.ts";
import { SIGNATURE_WORDS, sign } from "./signature.ts";
import { ESTABLISHED, SYN_SENT } from "./states.ts";
import type { Tcb } from "./tcb.ts";
import { urgentPointer } from "./urgent.ts";
import { advertises, timeoutWord } from "./user-timeout.ts";

export const OPTIONS = abi.OUT_OPTIONS / 4;
const PIECE = abi.OUT_PIECE / 4;
const edges = new Int32Array(8);
/** Forty bytes of options at most (RFC 9293 §3.1). */
const MOST_OPTION_WORDS = 10;
const TIMESTAMP_BYTES = 12;
const SACK_HEAD_BYTES = 4;
/** An acknowledgement for which there was no buffer is tried again after so long (ms). */
const RETRY_MS = 40;

/** As asked for, else what the routers of the link say (RFC 4861 §6.3.2). */
export function hopLimitOf(tcb: Tcb): number {
  return tcb.options.hopLimit || tcb.world.stack.hopLimit(tcb.remote.family, pathOf(tcb).iface);
}

/** The path to the peer, looked up again when routes or neighbours changed. */
export function pathOf(tcb: Tcb): Path {
  const { stack } = tcb.world;
  if (!tcb.path || tcb.path.generation !== stack.routes.generation) {
    const { mark } = tcb.options;
    tcb.path = stack.pathTo(tcb.remote, tcb.device, {
      source: tcb.local,
      mark,
      protocol: 6,
      sourcePort: tcb.localPort,
      destinationPort: tcb.remotePort,
    });
  }
  return tcb.path;
}

/** SACK blocks and counters of Accurate ECN (-1: no such option) that the next segment has room for. */
const plan = { blocks: 0, fields: -1 };

/** Bytes of options that every data segment carries now. */
export function optionBytes(tcb: Tcb): number {
  const fixed = (tcb.timestampsOk ? TIMESTAMP_BYTES : 0) + 4 * signatureWords(tcb) + (advertises(tcb, 0) ? 4 : 0);
  const hasSack = tcb.sackOk && (tcb.flight.recent.length > 0 || tcb.hasDsack);
  if (!hasSack && !tcb.ecn) return fixed;
  planOptions(tcb, MOST_OPTION_WORDS * 4 - fixed);
  return fixed + pairBytes(plan.fields, plan.blocks);
}

/** As many SACK blocks as fit; Accurate ECN takes the place of the third and later ones when it has something new to say. */
function planOptions(tcb: Tcb, room: number): void {
  const ranges = tcb.sackOk ? tcb.flight.recent.length + (tcb.hasDsack ? 1 : 0) : 0;
  const most = Math.min(ranges, (room - SACK_HEAD_BYTES) >> 3);
  plan.blocks = most;
  plan.fields = -1;
  if (!tcb.ecn || !sendsOption(tcb)) return;
  const { neededFields } = tcb.ecn;
  for (let blocks = most; blocks === most || (blocks >= 2 && neededFields > 0); blocks--) {
    for (let fields = OPTION_FIELDS.length; fields >= neededFields; fields--) {
      if (pairBytes(fields, blocks) > room) continue;
      plan.blocks = blocks;
      plan.fields = fields;
      return;
    }
  }
}

/** D-SACK first, then the ranges by when they were last heard of (RFC 2018 §4, RFC 2883 §4). */
function collectSack(tcb: Tcb): number {
  const most = plan.blocks;
  const { recent } = tcb.flight;
  let n = 0;
  if (tcb.hasDsack) {
    edges[0] = tcb.dsackStart;
    edges[1] = tcb.dsackEnd;
    n = 1;
  }
  for (let i = 0; i < recent.length && n < most; i++, n++) {
    edges[2 * n] = recent[i].start;
    edges[2 * n + 1] = recent[i].end;
  }
  return n;
}

export function addresses(
  stack: IpStack,
  local: IpAddress,
  remote: IpAddress,
  localPort: number,
  remotePort: number,
  hopLimit: number,
  mayBeCut = false,
): void {
  const { out } = stack;
  out[abi.SEG_FAMILY / 4] = remote.family | (6 << 8) | (hopLimit << 24);
  out[abi.SEG_FLOW_LABEL / 4] = 0;
  local.write(out, abi.SEG_SOURCE / 4);
  remote.write(out, abi.SEG_DESTINATION / 4);
  out[abi.SEG_SOURCE_PORT / 4] = localPort;
  out[abi.SEG_DESTINATION_PORT / 4] = remotePort;
  const { identifications } = stack;
  if (mayBeCut) out[abi.OUT_IDENTIFICATION / 4] = (identifications.next(local, remote, 6) & 0xffff) | abi.OUT_MAY_BE_CUT;
  else out[abi.OUT_IDENTIFICATION / 4] = remote.family === 4 ? identifications.nextAtomic(local, remote) : 0;
  out[abi.OUT_SEGMENT_SIZE / 4] = 0;
  out[abi.OUT_PIECES / 4] = 0;
  out[abi.OUT_URGENT / 4] = 0;
}

const offer: SynOffer = { mss: 0, scale: -1, sack: false, timestamps: false, tsval: 0, tsecr: 0, cookie: undefined, accEcn: false };

/** The options of a SYN; an answer offers only what the peer offered. */
function writeSynOptions(tcb: Tcb): number {
  const { options } = tcb;
  const answers = tcb.state !== SYN_SENT;
  const scaling = options.windowScaling && (!answers || tcb.scaleOffered);
  offer.mss = announcedMss(tcb);
  offer.scale = scaling ? tcb.receiveScale : -1;
  offer.sack = answers ? tcb.sackOk : options.sack;
  offer.timestamps = answers ? tcb.timestampsOk : options.timestamps;
  offer.tsval = tcb.tsval;
  offer.tsecr = answers ? tcb.tsRecent : 0;
  offer.cookie = undefined;
  // Once: a path that swallows the option lets the second SYN-ACK through (RFC 9768 §3.2.3.2.2).
  offer.accEcn = !tcb.md5Secret && !tcb.ao && answers && !tcb.answeredSyn && tcb.world.settings.ecnOption && tcb.ecn?.isAccurate === true;
  const words = writeSyn(tcb.world.stack.out, OPTIONS, offer);
  const { cookie } = tcb;
  if (!cookie || words + cookieWords(cookie) + signatureWords(tcb) > MOST_OPTION_WORDS) return words;
  offer.cookie = cookie;
  return writeSyn(tcb.world.stack.out, OPTIONS, offer);
}

function signatureWords(tcb: Tcb): number {
  if (tcb.ao) return AO_WORDS;
  return tcb.md5Secret ? SIGNATURE_WORDS : 0;
}

/** All but the signature, which is made when the rest of the segment is known; words written. */
function writeOptions(tcb: Tcb, flags: number): number {
  const { out } = tcb.world.stack;
  let n: number;
  if (flags & SYN) n = writeSynOptions(tcb);
  else n = tcb.timestampsOk ? writeTimestamps(out, OPTIONS, tcb.tsval, tcb.tsRecent) : 0;
  if (advertises(tcb, flags) && n + signatureWords(tcb) < MOST_OPTION_WORDS) out[OPTIONS + n++] = timeoutWord(tcb);
  if (flags & SYN) return n;
  const hasSack = tcb.sackOk && (tcb.flight.recent.length > 0 || tcb.hasDsack);
  if (!hasSack && !tcb.ecn) return n;
  planOptions(tcb, 4 * (MOST_OPTION_WORDS - n - signatureWords(tcb)));
  return n + (plan.fields < 0 ? writeBlocks(tcb, n) : writeWithCounters(tcb, tcb.ecn as EcnState, n));
}

function writeBlocks(tcb: Tcb, n: number): number {
  return plan.blocks === 0 ? 0 : writeSack(tcb.world.stack.out, OPTIONS + n, edges, collectSack(tcb));
}

const counters = [0, 0, 0];

function writeWithCounters(tcb: Tcb, ecn: EcnState, n: number): number {
  const { out } = tcb.world.stack;
  for (let i = 0; i < plan.fields; i++) counters[i] = optionCounter(ecn, OPTION_FIELDS[i]);
  if (plan.fields >= ecn.neededFields) ecn.neededFields = 0;
  ecn.optionWithDsack = tcb.hasDsack;
  const words = writeCounters(out, OPTIONS + n, counters, plan.fields, plan.blocks);
  if (plan.blocks === 0) return words;
  collectSack(tcb);
  return words + writeEdges(out, OPTIONS + n + words, edges, plan.blocks);
}

/** Largest payload without options that the path takes, as far as is known. */
export function ownMss(tcb: Tcb): number {
  return mssFor(pathOf(tcb).mtu, tcb.remote.family, tcb.options.maxMss);
}

/**
 * MSS to announce: what can be received, whatever the way there has learnt to take (RFC 9293 §3.7.1, RFC 1191 §3.1). Who asks on a way
 * that is known to be narrow says so, as Linux does: most ways are no wider in the other direction.
 */
export function announcedMss(tcb: Tcb): number {
  const { mtu, linkMtu } = pathOf(tcb);
  return mssFor(tcb.state === SYN_SENT ? mtu : linkMtu, tcb.remote.family, tcb.options.maxMss);
}

export function mssFor(mtu: number, family: 4 | 6, most: number): number {
  return Math.min(most, mtu - (family === 4 ? 40 : 60));
}

/** Sends `length` bytes of the queue from `seq` on (0: none) with these flags; false when no buffer was free. */
export function transmit(tcb: Tcb, seq: number, length: number, flags: number, segmentSize = 0): boolean {
  const { world } = tcb;
  const { stack } = world;
  const { out } = stack;
  const path = pathOf(tcb);
  // A segment that reflects has its ECN flags already.
  const isPlain = (flags & (SYN | ECN_FLAGS)) === 0;
  if (isPlain && tcb.ecn) flags |= departing(tcb, seq, length);
  addresses(stack, tcb.local, tcb.remote, tcb.localPort, tcb.remotePort, hopLimitOf(tcb), path.mayBeCut);
  const traffic = tcb.options.trafficClass | (tcb.ecn && (flags & SYN) === 0 ? departingField : 0);
  if (traffic !== 0) out[abi.SEG_FAMILY / 4] |= traffic << 16;
  const words = writeOptions(tcb, flags) + signatureWords(tcb);
  out[abi.OUT_OPTION_BYTES / 4] = 4 * words;
  out[abi.OUT_SEQUENCE / 4] = seq;
  out[abi.OUT_ACKNOWLEDGEMENT / 4] = flags & ACK ? tcb.received : 0;
  const pointer = tcb.urgent ? urgentPointer(tcb, tcb.urgent, seq) : 0;
  out[abi.OUT_URGENT / 4] = pointer;
  out[abi.OUT_FLAGS / 4] = pointer > 0 ? flags | URG : flags;
  out[abi.OUT_WINDOW / 4] = windowToAnnounce(tcb, flags & SYN ? announcedMss(tcb) : 0);
  // The first byte of a SYN's data stands behind the SYN.
  if (length > 0) attach(tcb, flags & SYN ? seq + 1 : seq, length, segmentSize);
  if (tcb.ao) tcb.ao.authenticate(stack, tcb, seq, (flags & (SYN | ACK)) === SYN);
  else if (tcb.md5Secret) sign(stack, tcb.md5Secret);
  const id = stack.engine.plane.tcpBuild(0, stack.outAddress) >>> 0;
  if (id === abi.NONE) {
    world.counters.memory_drops++;
    // What carries data is sent again by the sender; an acknowledgement, or a wider window, is tried again soon.
    if (length === 0 && flags === ACK && tcb.state >= ESTABLISHED) stack.timers.arm(tcb.busy().ackTimer, tcb.now + RETRY_MS);
    return false;
  }
  if (tcb.options.mark) stack.engine.memory.setU32(stack.engine.memory.descriptor(id) + abi.DESC_MARK, tcb.options.mark);
  const segments = segmentSize > 0 && length > segmentSize ? Math.ceil(length / segmentSize) : 1;
  world.counters.out_segs += segments;
  if (tcb.accounts) {
    tcb.accounts.departed(segments, length);
    if (length > 0) tcb.accounts.marks?.departed(flags & SYN ? seq + 1 : seq, length);
  }
  stack.promise(path, segments);
  stack.route(id, tcb.remote.family, path.hop, tcb.device);
  if (flags & ACK) acknowledged(tcb);
  if (tcb.timeouts && (flags & SYN) === 0) tcb.timeouts.due = false;
  return true;
}

function attach(tcb: Tcb, seq: number, length: number, segmentSize: number): void {
  const { out } = tcb.world.stack;
  const queue = tcb.queue as NonNullable<Tcb["queue"]>;
  let offset = (seq - tcb.queueStart) | 0;
  let piece = PIECE;
  for (let left = length; left > 0; piece += 3) {
    const n = Math.min(queue.run(offset), left);
    out[piece] = queue.address(offset);
    out[piece + 1] = n;
    out[piece + 2] = queue.cookie(offset);
    offset += n;
    left -= n;
  }
  out[abi.OUT_PIECES / 4] = (piece - PIECE) / 3;
  out[abi.OUT_SEGMENT_SIZE / 4] = segmentSize;
}

/** An acknowledgement went out with this segment: nothing is owed any more. */
function acknowledged(tcb: Tcb): void {
  tcb.ackNow = tcb.ackSoon = false;
  tcb.unackedBytes = 0;
  tcb.hasDsack = false;
  tcb.lastAckSent = tcb.received;
  const { ackTimer } = tcb.flight;
  if (ackTimer.armed) tcb.world.stack.timers.cancel(ackTimer);
}

/** A reset without a connection, in answer to the segment in hand (RFC 9293 §3.10.7.1). */
export function sendReset(stack: IpStack, flags: number, seq: number, ack: number, signing: Signing | undefined): void {
  const { words } = stack;
  const local = stack.destination();
  const remote = stack.source();
  if (local.isMulticast || remote.isMulticast || remote.isUnspecified) return;
  addresses(
    stack,
    local,
    remote,
    words[abi.SEG_DESTINATION_PORT / 4],
    words[abi.SEG_SOURCE_PORT / 4],
    stack.hopLimit(remote.family, stack.arrivedBy),
  );
  // Of the class of what it answers (as Linux), without its ECN field (RFC 3168 §6.1.1).
  stack.out[abi.SEG_FAMILY / 4] |= words[abi.SEG_TRAFFIC_CLASS >> 2] & 0xfc0000;
  sendBare(stack, remote, flags | RST, seq, ack, 0, 0, signing);
}

/** The interface that a link-local peer of the segment in hand is on. */
export function zoneOf(stack: IpStack, remote: IpAddress): NetInterface | undefined {
  return remote.family === 6 && remote.isLinkLocal ? stack.arrivedBy : undefined;
}

/** What rules may look at in such a segment, filled anew for each. */
const bare = { source: undefined as IpAddress | undefined, protocol: 6, sourcePort: 0, destinationPort: 0 };

/** A segment of no connection, or of one that exists only as a cookie; its options are in the record's words already. */
export function sendBare(
  stack: IpStack,
  remote: IpAddress,
  flags: number,
  seq: number,
  ack: number,
  window: number,
  optionWords: number,
  signing: Signing | undefined,
  device = zoneOf(stack, remote),
): void {
  const { out } = stack;
  out[abi.OUT_OPTION_BYTES / 4] = 4 * (optionWords + signingWords(signing));
  out[abi.OUT_SEQUENCE / 4] = seq;
  out[abi.OUT_ACKNOWLEDGEMENT / 4] = ack;
  out[abi.OUT_FLAGS / 4] = flags;
  out[abi.OUT_WINDOW / 4] = window;
  if (signing) signWith(stack, signing, seq);
  const id = stack.engine.plane.tcpBuild(0, stack.outAddress) >>> 0;
  if (id === abi.NONE) return;
  bare.source = IpAddress.read(out, abi.SEG_SOURCE / 4);
  bare.sourcePort = out[abi.SEG_SOURCE_PORT / 4];
  bare.destinationPort = out[abi.SEG_DESTINATION_PORT / 4];
  stack.route(id, remote.family, stack.pathTo(remote, device, bare).hop, device);
}
