/**
 * SYNPROXY in the road: who sends a SYN is answered here, without a note of it; who comes back with the cookie is believed, and only then the
 * server hears of him, with a flow; and numbers are moved from then on. docs/nat.md says how rules ask for it.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_INGRESS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_MARK, DESC_NEXT, DESC_PACKET_LENGTH, DESC_PROTOCOL,
  EXTENSION_COOKIE, EXTENSION_SEQUENCE, EXTENSION_STAMP, EXTENSION_WINDOW, FLAG_CSUM_PARTIAL, FLAG_FRAGMENT, FLAG_IP4, FLOW_EXTENSION,
  FLOW_PHASE, FLOW_STATUS, HEADER_PORTS, IPS_CONFIRMED, IPS_SEQ_ADJUST, NONE, PHASE_PROXIED, PORT_MAC, PUNT_SYNPROXY, TUPLE_SIZE, VEC_FLOW,
  VEC_IDS, VEC_OIF, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_STOLEN, WORKER_SCRATCH, WORKER_TICKS, WORKER_TUPLES,
} from "./abi";
import { privateHead } from "./core/head";
import { descriptorAt, header, networkOf, portAt } from "./core/layout";
import { punt } from "./core/packet";
import { isExclusive, release, releaseSegment, takeBuffer } from "./core/pool";
import { fetchOr } from "./core/sync";
import { stage } from "./device/transmit";
import { abandon } from "./flow/begin";
import { ACK, answerSyn, FIN, makeSegment, moveNumbers, OFFER_SIZE, OPTION_SCALE, OPTION_STAMP, readOffer, repeatSyn, RST, SYN, turnRound } from "./flow/synproxy";
import { afterSyn } from "./flow/tcp";
import { isSound, readTuple } from "./flow/tuples";
import { end } from "./node/rules";
import { kindOf, trackOne } from "./node/track";
import { extend, extensionAt, find, flowAt, hashTuple, lockFlow, setStatus, unlockFlow, isOver } from "./table/flow";
import { destroy } from "./table/wheel";
import { load16, load32 } from "./wire/bytes";
import { copyBytes, readTcp } from "./wire/find";
import { TCP } from "./wire/l4";

/** Headers longer than this are of nobody who means it. */
const MOST_HEADERS: u32 = 512;
/** "the rule does not concern this packet" */
const NEXT: u32 = 255;

@inline
function offerOf(worker: usize): usize {
  return worker + WORKER_TUPLES + 8 * TUPLE_SIZE;
}

/**
 * For compiled rules (`synproxy`): SYNs are answered, ACKs with a cookie of ours go on as the SYN that was answered, with a flow, others
 * are dropped. `wanted`: mss | window scale << 16 | OPTION_* << 24.
 */
export function stealHandshake(worker: usize, position: u32, wanted: u32): u32 {
  const at = worker + (<usize>position << 2), header20 = worker + WORKER_SCRATCH, size = readTcp(load<u32>(at, VEC_IDS), header20);
  if (size == 0) return NEXT;
  const flags = <u32>load<u8>(header20, 13) & (SYN | ACK | RST | FIN), ticks = load<u32>(worker, WORKER_TICKS);
  if (flags != SYN && flags != ACK) return NEXT;
  const ingress = <u32>load<u16>(descriptorAt(load<u32>(at, VEC_IDS)), DESC_INGRESS), id = ingress < header(HEADER_PORTS) ? ownHeaders(worker, load<u32>(at, VEC_IDS), size) : NONE;
  if (id == NONE) return VERDICT_DROP;
  const d = descriptorAt(id);
  store<u32>(at, id, VEC_IDS);
  if (!isSound(id, d, <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L3), (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0, TCP, true)) return VERDICT_DROP;
  if (flags == SYN) {
    endOld(worker, position, ingress, id, ticks);
    answerSyn(worker, id, wanted, ticks, offerOf(worker));
    stage(worker, ingress, id);
    return VERDICT_STOLEN;
  }
  const cookie = load32(header20 + 8) - 1, window = load16(header20 + 14), echo = offerOf(worker) + OFFER_SIZE;
  readOffer(header20, size, echo);
  if (!repeatSyn(worker, id, wanted, ticks, offerOf(worker))) return VERDICT_DROP;
  return begin(worker, position, ingress, d, cookie, load<u32>(echo, 16), window) ? VERDICT_ACCEPT : VERDICT_DROP;
}

/** The packet's headers in one buffer of its own, with a TCP header of `size` bytes; text may be gone. NONE: as it was. */
function ownHeaders(worker: usize, id: u32, size: u32): u32 {
  const d = descriptorAt(id), length = <u32>load<u16>(d, DESC_L4) + size;
  if (isExclusive(id) && length <= load<u32>(d, DESC_LENGTH)) return id;
  const fresh = length <= MOST_HEADERS ? takeBuffer(worker) : NONE;
  if (fresh == NONE) return NONE;
  const f = descriptorAt(fresh);
  if (!copyBytes(id, 0, <usize>load<u32>(f, DESC_DATA), length)) { releaseSegment(worker, fresh); return NONE; }
  memory.copy(f + DESC_PACKET_LENGTH, d + DESC_PACKET_LENGTH, 36);
  store<u32>(f, load<u32>(d, DESC_MARK), DESC_MARK);
  store<u32>(f, length, DESC_LENGTH);
  store<u32>(f, length, DESC_PACKET_LENGTH);
  store<u32>(f, NONE, DESC_NEXT);
  release(worker, id);
  return fresh;
}

/** A flow of the same ends that is over makes room for the one that begins: its client's ACK must not be taken for one of it. */
function endOld(worker: usize, position: u32, ingress: u32, id: u32, ticks: u32): void {
  const net = networkOf(portAt(ingress)), tuple = worker + WORKER_TUPLES;
  if (net == 0 || readTuple(id, kindOf(worker, net, position, 0), false, tuple) != 0) return;
  hashTuple(tuple);
  const ref = find(tuple);
  if (ref != 0 && (ref & 1) == 0 && (load<u32>(flowAt(ref >>> 1), FLOW_PHASE) & PHASE_PROXIED) != 0 && isOver(ref >>> 1)) destroy(ref >>> 1, ticks, tuple + TUPLE_SIZE);
}

/** The flow of a SYN that is sent in its sender's place. */
function begin(worker: usize, position: u32, ingress: u32, d: usize, cookie: u32, stamp: u32, window: u32): bool {
  const net = networkOf(portAt(ingress)), at = worker + (<usize>position << 2), is4 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0;
  leaveFlow(at);
  if (net == 0 || trackOne(worker, net, position, is4) != 0) return false;
  let flow = load<u32>(at, VEC_FLOW) >>> 1;
  if ((load<u32>(at, VEC_FLOW) & 1) != 0) return false;
  if (flow != 0 && isAnother(flow, cookie) && destroy(flow, load<u32>(worker, WORKER_TICKS), worker + WORKER_TUPLES)) {
    // Its client has shown a cookie that was given after it began: it began again.
    store<u32>(at, 0, VEC_FLOW);
    if (trackOne(worker, net, position, is4) != 0) return false;
    flow = load<u32>(at, VEC_FLOW) >>> 1;
  }
  if (flow == 0) return false;
  const hot = flowAt(flow), isNew = (load<u32>(hot, FLOW_STATUS) & IPS_CONFIRMED) == 0, extension = extend(flow);
  if (extension == 0) { leaveFlow(at); return false; }
  lockFlow(hot);
  // A server that has answered already needs no second SYN; one of a flow that somebody else began gets none.
  const wants = isNew || ((load<u32>(hot, FLOW_PHASE) & PHASE_PROXIED) != 0 && (load<u32>(hot, FLOW_STATUS) & IPS_SEQ_ADJUST) == 0);
  if (wants) {
    const e = extensionAt(extension);
    store<u32>(e, cookie, EXTENSION_COOKIE);
    store<u32>(e, cookie, EXTENSION_SEQUENCE);
    store<u32>(e, stamp, EXTENSION_STAMP);
    store<u16>(e, <u16>window, EXTENSION_WINDOW);
    fetchOr(hot + FLOW_PHASE, PHASE_PROXIED);
  }
  unlockFlow(hot);
  return wants;
}

/** A packet has no flow any more; one that was begun for it and nobody knows ends. */
function leaveFlow(at: usize): void {
  const flow = load<u32>(at, VEC_FLOW) >>> 1;
  if (flow != 0 && (load<u32>(flowAt(flow), FLOW_STATUS) & IPS_CONFIRMED) == 0) abandon(flow);
  store<u32>(at, 0, VEC_FLOW);
}

/** Is it a proxied flow that began with another cookie? */
function isAnother(flow: u32, cookie: u32): bool {
  const hot = flowAt(flow);
  if ((load<u32>(hot, FLOW_PHASE) & PHASE_PROXIED) == 0 || (load<u32>(hot, FLOW_STATUS) & IPS_SEQ_ADJUST) == 0) return false;
  return load<u32>(extensionAt(load<u32>(hot, FLOW_EXTENSION)), EXTENSION_COOKIE) != cookie;
}

/**
 * Packets of proxied flows that leave, or arrive: the server's first answer completes both handshakes, others have their numbers moved. Returns
 * how many remain: what cannot be moved must not go on.
 */
export function proxyBurst(worker: usize, list: usize, n: u32): u32 {
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
    if (ref != 0 && (load<u32>(flowAt(ref >>> 1), FLOW_PHASE) & PHASE_PROXIED) != 0 && !proxyOne(worker, p, ref)) {
      end(worker, p, VERDICT_DROP);
      continue;
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

function proxyOne(worker: usize, p: u32, ref: u32): bool {
  const at = worker + (<usize>p << 2), id = privateHead(worker, load<u32>(at, VEC_IDS));
  if (id == NONE) return false;
  store<u32>(at, id, VEC_IDS);
  const d = descriptorAt(id), l4 = <u32>load<u16>(d, DESC_L4), have = load<u32>(d, DESC_LENGTH);
  if (<u32>load<u8>(d, DESC_PROTOCOL) != TCP) return true;
  if ((load<u32>(d, DESC_FLAGS) & FLAG_FRAGMENT) != 0 || l4 + 20 > have) return false;
  const tcp = <usize>load<u32>(d, DESC_DATA) + l4, size = <u32>(load<u8>(tcp, 12) >>> 4) << 2, flags = <u32>load<u8>(tcp, 13);
  if (size < 20 || l4 + size > have) return false;
  const hot = flowAt(ref >>> 1), e = extensionAt(load<u32>(hot, FLOW_EXTENSION)), isOpen = (load<u32>(d, DESC_FLAGS) & FLAG_CSUM_PARTIAL) != 0;
  const isReply = (ref & 1) != 0, isSettled = (load<u32>(hot, FLOW_STATUS) & IPS_SEQ_ADJUST) != 0;
  if (isReply && (flags & (SYN | ACK | RST)) == (SYN | ACK)) return complete(worker, p, id, tcp, size, ref >>> 1, e);
  if (!isSettled) {
    // A server that refuses: its reset has to be where the client looks for it.
    if (isReply && (flags & RST) != 0) moveNumbers(tcp, size, load<u32>(e, EXTENSION_SEQUENCE) + 1 - load32(tcp + 4), 0, 0, 0, isOpen);
    return true;
  }
  const sequence = load<u32>(e, EXTENSION_SEQUENCE), stamp = load<u32>(e, EXTENSION_STAMP);
  if (isReply) moveNumbers(tcp, size, 0 - sequence, 0, 0 - stamp, 0, isOpen);
  else moveNumbers(tcp, size, 0, sequence, 0, stamp, isOpen);
  return true;
}

/** The server's SYN-ACK: the server gets the ACK that it waits for, by way of the host layer, and the client hears how much it may send. */
function complete(worker: usize, p: u32, id: u32, tcp: usize, size: u32, flow: u32, e: usize): bool {
  const offer = offerOf(worker), number = load32(tcp + 4), acknowledged = load32(tcp + 8), window = load16(tcp + 14);
  readOffer(tcp, size, offer);
  const stamped = (load<u32>(offer) & OPTION_STAMP) != 0, scale = (load<u32>(offer) & OPTION_SCALE) != 0 ? load<u32>(offer, 8) : 0, tsval = load<u32>(offer, 12);
  const hot = flowAt(flow);
  lockFlow(hot);
  const isSettled = (load<u32>(hot, FLOW_STATUS) & IPS_SEQ_ADJUST) != 0, fits = isSettled || acknowledged == afterSyn(flow);
  if (fits && !isSettled) {
    store<u32>(e, number - load<u32>(e, EXTENSION_SEQUENCE), EXTENSION_SEQUENCE);
    store<u32>(e, stamped ? tsval - load<u32>(e, EXTENSION_STAMP) : 0, EXTENSION_STAMP);
    setStatus(hot, IPS_SEQ_ADJUST);
  }
  unlockFlow(hot);
  // An answer to another SYN: what was learned from it is of another connection. The client asks again.
  if (!fits) { destroy(flow, load<u32>(worker, WORKER_TICKS), worker + WORKER_TUPLES); return false; }
  const sequence = load<u32>(e, EXTENSION_SEQUENCE), stamp = load<u32>(e, EXTENSION_STAMP), tsecr = load<u32>(offer, 16);
  store<u32>(offer, stamped ? OPTION_STAMP : 0);
  acknowledge(worker, p, id, acknowledged, number + 1 - sequence, <u32>load<u16>(e, EXTENSION_WINDOW), tsecr, tsval - stamp, offer);
  store<u32>(offer, tsval - stamp, 12);
  store<u32>(offer, tsecr, 16);
  makeSegment(worker, id, number + 1 - sequence, acknowledged, ACK, window >>> scale, offer);
  return true;
}

/** The client's ACK, as it would have sent it: it comes in by the client's port. */
function acknowledge(worker: usize, p: u32, id: u32, sequence: u32, acknowledgement: u32, window: u32, tsval: u32, tsecr: u32, offer: usize): void {
  const port = <u32>load<u16>(worker + (<usize>p << 1), VEC_OIF), d = descriptorAt(id), length = load<u32>(d, DESC_LENGTH), fresh = port < header(HEADER_PORTS) ? takeBuffer(worker) : NONE;
  if (fresh == NONE) return;
  const f = descriptorAt(fresh), l3 = <u32>load<u16>(d, DESC_L3), shift: u32 = 14 - l3, from = <usize>load<u32>(f, DESC_DATA);
  if (length < l3 || length - l3 > 1024) { releaseSegment(worker, fresh); return; }
  memory.copy(from + 14, <usize>load<u32>(d, DESC_DATA) + l3, length - l3);
  memory.copy(f + DESC_PACKET_LENGTH, d + DESC_PACKET_LENGTH, 36);
  store<u32>(f, length + shift, DESC_LENGTH);
  store<u32>(f, length + shift, DESC_PACKET_LENGTH);
  store<u32>(f, NONE, DESC_NEXT);
  store<u16>(f, 14, DESC_L3);
  store<u16>(f, <u16>(<u32>load<u16>(d, DESC_L4) + shift), DESC_L4);
  store<u16>(f, <u16>port, DESC_INGRESS);
  turnRound(fresh);
  memory.copy(from, portAt(port) + PORT_MAC, 6);
  store<u32>(from, 0x00000002, 6);
  store<u16>(from, 0x5950, 10);
  store<u16>(from, (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0 ? 0x0008 : 0xdd86, 12);
  store<u32>(offer, tsval, 12);
  store<u32>(offer, tsecr, 16);
  makeSegment(worker, fresh, sequence, acknowledgement, ACK, window, offer);
  store<u32>(f, 0, DESC_FLAGS);
  punt(worker, fresh, PUNT_SYNPROXY, 0);
}
