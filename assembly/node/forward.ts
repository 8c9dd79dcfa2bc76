/**
 * Forwarding in two halves, for ports with rules: what a router decides before its rules are asked (hop limit, MTU; RFC 1812
 * §5.3.1, as ip_forward does) and the link-layer header after them. Between the two the packet still shows the header
 * it came with, which rules may look at.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_HASH, DESC_L3, DESC_LENGTH, DESC_NEXT_HOP, DESC_OWNER, DESC_PACKET_LENGTH, DESC_SHIFT, DROP_BAD_NEXT_HOP,
  DROP_FLOW_CLASH, DROP_FLOW_TABLE_FULL, DROP_IP4_MARTIAN_SOURCE, DROP_NOT_FORWARDING, DROP_NO_BUFFER, FLAG_FORWARDED, FLAG_PASSED, FLAG_REASSEMBLED,
  FLAG_SCOPED, FLOW_BACKEND, FLOW_PHASE, FLOW_STATUS, FLOW_STAT_DROP, FLOW_STAT_INSERT_FAILED, HOP_FORWARD, HOP_GLEAN, HOP_INCOMPLETE,
  HOP_KIND, HOP_L2_LENGTH, HOP_LOCAL, HOP_MTU, HOP_PORT, HOP_REWRITE, IPS_CONFIRMED, IPS_DYING, IPS_HELPER, LARGEST_FRAGMENT, NEXT_DONE,
  NONE, PHASE_ONE_SIDED, PORT_FAMILIES, PORT_FLAGS, PORT_MTU, PUNT_FRAGMENTATION_NEEDED, PUNT_HELPER, PUNT_LOCAL, PUNT_NEIGHBOUR, PUNT_PACKET_TOO_BIG,
  PUNT_TTL_EXCEEDED, REGION_DESCRIPTORS, TABLE_HOPS, VEC_FLOW, VEC_IDS, VEC_LOCAL, VEC_NEXT, VEC_OIF, VEC_RESULT, WORKER_TICKS,
  WORKER_TUPLES,
} from "../abi";
import { moveOffsets, privateHead } from "../core/head";
import { descriptorAt, portAt, region } from "../core/layout";
import { drop, punt } from "../core/packet";
import { finish, largestPiece, rewriteLink } from "../device/outcome";
import { abandon, confirm, resolveClash } from "../flow/begin";
import { restore } from "../flow/restore";
import { flowOpened } from "../table/balance";
import { CLASH, countFlow, flowAt, INSERTED } from "../table/flow";
import { hopAt, resolveHop } from "../table/hops";
import { isFromHere } from "../table/own";
import { update16 } from "../wire/checksum";
import { examineL4 } from "../wire/l4";

/**
 * Sorts a routed list (next hops in VEC_RESULT, in order): what is for this host goes to VEC_LOCAL, what can be forwarded
 * stays, with one hop less to live and its output port known; the rest ends here. VEC_LOCAL has `local` packets already. Returns both
 * lengths: forward | local << 16.
 */
export function admitBurst(worker: usize, table: usize, list: usize, n: u32, local: u32, is4: bool, isHost: bool): u32 {
  let kept: u32 = isHost ? 0 : is4 ? admitRun4(worker, table, list, n) : admitRun6(worker, table, list, n);
  for (let k: u32 = kept; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id);
    const index = resolveHop(table, load<u32>(worker + (<usize>k << 2), VEC_RESULT), load<u32>(d, DESC_HASH)), hop = hopAt(table, index);
    const kind = <u32>load<u8>(hop, HOP_KIND);
    store<u16>(d, <u16>index, DESC_NEXT_HOP);
    if (kind == HOP_LOCAL) {
      store<u16>(worker + (<usize>local << 1), <u16>p, VEC_LOCAL);
      local++;
    } else if (isHost) ended(worker, p, id, DROP_NOT_FORWARDING);
    else if (kind != HOP_FORWARD && kind != HOP_GLEAN && kind != HOP_INCOMPLETE) {
      const told = retrace(worker, p);
      finish(worker, told, hop, index);
    } else if (admit(worker, p, id, d, hop, index, is4)) {
      store<u16>(list + (<usize>kept << 1), <u16>p);
      kept++;
    }
  }
  return kept | (local << 16);
}

/**
 * The common road of admitBurst from the list's start: whole packets of their own with a plain next hop that they fit. Returns how many
 * there were before the first that needs more; those stay where they are in the list. No call stands in this loop.
 */
@inline
function admitRun(worker: usize, table: usize, list: usize, n: u32, is4: bool): u32 {
  const descriptors = region(REGION_DESCRIPTORS), hops = <usize>load<u32>(table, TABLE_HOPS);
  let k: u32 = 0;
  for (; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptors + (<usize>id << DESC_SHIFT);
    const index = load<u32>(worker + (<usize>k << 2), VEC_RESULT), what = load<u64>(<usize>load<u32>(hops + (<usize>index << 2)));
    const l3 = <u32>load<u16>(d, DESC_L3), at = <usize>load<u32>(d, DESC_DATA) + l3;
    const ttl = is4 ? load<u32>(at, 8) : <u32>load<u8>(at, 7);
    const odd = (<u32>what & 0xff) ^ HOP_FORWARD | <u32>(load<u32>(d, DESC_PACKET_LENGTH) - l3 > <u32>(what >> 32)) | <u32>((ttl & 0xff) < 2);
    if ((<u64>odd | (load<u64>(d, DESC_OWNER) ^ (<u64>id | ((<u64>1) << 32)))) != 0) break;
    if (is4) {
      // As in rewrite.ts: the word falls by one, the checksum rises by one modulo 0xffff (RFC 1624 eqn. 3).
      let field = (ttl >>> 16) + 1;
      field += (field + 1) >>> 16;
      store<u32>(at, ((ttl & 0xffff) - 1) | (field << 16), 8);
    } else store<u8>(at, <u8>(ttl - 1), 7);
    store<u16>(d, <u16>index, DESC_NEXT_HOP);
    store<u16>(worker + (<usize>p << 1), <u16>(what >> 16), VEC_OIF);
  }
  return k;
}

function admitRun4(worker: usize, table: usize, list: usize, n: u32): u32 {
  return admitRun(worker, table, list, n, true);
}

function admitRun6(worker: usize, table: usize, list: usize, n: u32): u32 {
  return admitRun(worker, table, list, n, false);
}

/** Takes what is never forwarded off a list, to VEC_LOCAL; what says that it is from here ends. Returns both lengths as admitBurst does. */
export function setAside(worker: usize, port: usize, list: usize, n: u32): u32 {
  let kept: u32 = 0, local: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = load<u16>(list + (<usize>k << 1));
    const id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id);
    if ((load<u32>(d, DESC_FLAGS) & FLAG_SCOPED) != 0) {
      if (isFromHere(port, d)) { ended(worker, p, id, DROP_IP4_MARTIAN_SOURCE); continue; }
      store<u16>(worker + (<usize>local << 1), p, VEC_LOCAL);
      local++;
    } else {
      store<u16>(list + (<usize>kept << 1), p);
      kept++;
    }
  }
  return kept | (local << 16);
}

/** One hop less; too old and too large ones go to the host layer, which tells the sender. */
function admit(worker: usize, p: u32, id: u32, d: usize, hop: usize, index: u32, is4: bool): bool {
  const l3 = <u32>load<u16>(d, DESC_L3), mtu = mtuOf(hop);
  const limit = <u32>load<u8>(<usize>load<u32>(d, DESC_DATA) + l3 + (is4 ? 8 : 7));
  if (limit <= 1) { punt(worker, retrace(worker, p), PUNT_TTL_EXCEEDED, index); return false; }
  if (!fits(d, l3, mtu) && !mayBeCut(d, l3, mtu, is4)) {
    punt(worker, retrace(worker, p), is4 ? PUNT_FRAGMENTATION_NEEDED : PUNT_PACKET_TOO_BIG, index);
    return false;
  }
  const mine = privateHead(worker, id);
  if (mine == NONE) { ended(worker, p, id, DROP_NO_BUFFER); return false; }
  store<u32>(worker + (<usize>p << 2), mine, VEC_IDS);
  const at = <usize>load<u32>(descriptorAt(mine), DESC_DATA) + l3;
  if (is4) {
    const word = <u32>load<u16>(at, 8);
    store<u16>(at, <u16>(word - 1), 8);
    store<u16>(at, <u16>update16(<u32>load<u16>(at, 10), word, word - 1), 10);
  } else store<u8>(at, <u8>(limit - 1), 7);
  store<u16>(worker + (<usize>p << 1), load<u16>(hop, HOP_PORT), VEC_OIF);
  return true;
}

/** Next hops that are not known yet say nothing of their MTU: it is their port's. */
function mtuOf(hop: usize): u32 {
  const mtu = load<u32>(hop, HOP_MTU);
  return mtu != 0 ? mtu : load<u32>(portAt(load<u16>(hop, HOP_PORT)), PORT_MTU);
}

@inline
function fits(d: usize, l3: u32, mtu: u32): bool {
  return load<u32>(d, DESC_PACKET_LENGTH) - l3 <= mtu || largestPiece(d, l3) <= mtu;
}

/** Did it come in several fragments, and leaves in several? */
@inline
function isCut(d: usize): bool {
  return (load<u32>(d, DESC_FLAGS) & FLAG_REASSEMBLED) != 0 && load<u16>(d, LARGEST_FRAGMENT) != 0;
}

/** IPv4 without DF, and what came in fragments: cut behind the rules (RFC 1812 §5.2.6). */
function mayBeCut(d: usize, l3: u32, mtu: u32, is4: bool): bool {
  if (isCut(d) && <u32>load<u16>(d, LARGEST_FRAGMENT) <= mtu) return true;
  return is4 && (load<u8>(<usize>load<u32>(d, DESC_DATA) + l3, 6) & 0x40) == 0;
}

function ended(worker: usize, p: u32, id: u32, reason: u32): void {
  forgetFlow(worker, p);
  drop(worker, id, reason);
}

/** A packet whose sender will be told: with the destination it came with. Its id, and its flow is forgotten. */
function retrace(worker: usize, p: u32): u32 {
  restore(worker, p);
  forgetFlow(worker, p);
  return load<u32>(worker + (<usize>p << 2), VEC_IDS);
}

/** The packet leaves the road here: with it the flow that it would have begun. */
function forgetFlow(worker: usize, p: u32): void {
  const ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
  store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
  if (ref != 0) abandon(ref >>> 1);
}

/** First packets that have passed everything make their flows known. What finds no place is dropped. */
export function confirmBurst(worker: usize, list: usize, n: u32): u32 {
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
    if (ref != 0 && (load<u32>(flowAt(ref >>> 1), FLOW_STATUS) & (IPS_CONFIRMED | IPS_DYING)) == 0) {
      const result = confirm(ref >>> 1, load<u32>(worker, WORKER_TICKS), worker + WORKER_TUPLES);
      if (result == INSERTED) {
        const backend = <u32>load<u16>(flowAt(ref >>> 1), FLOW_BACKEND);
        if (backend != 0) flowOpened(worker, backend - 1);
      } else if (!joins(worker, p, ref >>> 1, result)) {
        ended(worker, p, load<u32>(worker + (<usize>p << 2), VEC_IDS), result == CLASH ? DROP_FLOW_CLASH : DROP_FLOW_TABLE_FULL);
        continue;
      }
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

/** A packet whose flow another worker has made meanwhile belongs to that one; false when it cannot. */
function joins(worker: usize, p: u32, flow: u32, result: u32): bool {
  const winner = result == CLASH ? resolveClash(flow, worker + WORKER_TUPLES) : 0;
  if (winner == 0) { countFlow(FLOW_STAT_INSERT_FAILED); countFlow(FLOW_STAT_DROP); return false; }
  store<u32>(worker + (<usize>p << 2), winner, VEC_FLOW);
  abandon(flow);
  return true;
}

/** Link-layer headers for a list that may leave. What has no neighbour yet goes to the host layer without one. */
export function linkBurst(worker: usize, table: usize, list: usize, n: u32): void {
  for (let k: u32 = 0; (k = linkRun(worker, table, list, k, n)) < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id);
    const index = <u32>load<u16>(d, DESC_NEXT_HOP), hop = hopAt(table, index), l3 = <u32>load<u16>(d, DESC_L3);
    const kind = <u32>load<u8>(hop, HOP_KIND), next = worker + (<usize>p << 1);
    const tooLarge = (isCut(d) && !takesWhole(hop)) || !fits(d, l3, mtuOf(hop));
    if (kind == HOP_FORWARD && !tooLarge) {
      rewriteLink(d, <usize>load<u32>(d, DESC_DATA) + l3, hop, <u32>load<u8>(hop, HOP_L2_LENGTH), l3);
      store<u16>(next, load<u16>(hop, HOP_PORT), VEC_NEXT);
      continue;
    }
    store<u16>(next, NEXT_DONE, VEC_NEXT);
    if (kind != HOP_FORWARD && kind != HOP_GLEAN && kind != HOP_INCOMPLETE) { drop(worker, id, DROP_BAD_NEXT_HOP); continue; }
    bare(d, l3);
    punt(worker, id, tooLarge ? PUNT_FRAGMENTATION_NEEDED : PUNT_NEIGHBOUR, tooLarge ? index : index | steeredTo(worker, p) << 16);
  }
}

/** A way between the families wants what was put together as it is: cut again, much of it has no counterpart. */
function takesWhole(hop: usize): bool {
  return (load<u16>(portAt(load<u16>(hop, HOP_PORT)), PORT_FLAGS) & PORT_FAMILIES) != 0;
}

/** Backend + 1 that a packet goes to instead of its destination (direct server return), or 0. */
function steeredTo(worker: usize, p: u32): u32 {
  const ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW), hot = flowAt(ref >>> 1);
  return ref == 0 || (ref & 1) != 0 || (load<u32>(hot, FLOW_PHASE) & PHASE_ONE_SIDED) == 0 ? 0 : <u32>load<u16>(hot, FLOW_BACKEND);
}

/** The common road of linkBurst: an untagged header for one of the same size. */
function linkRun(worker: usize, table: usize, list: usize, k: u32, n: u32): u32 {
  const descriptors = region(REGION_DESCRIPTORS), hops = <usize>load<u32>(table, TABLE_HOPS);
  for (; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptors + (<usize>id << DESC_SHIFT);
    const hop = <usize>load<u32>(hops + (<usize>load<u16>(d, DESC_NEXT_HOP) << 2)), what = load<u64>(hop);
    const odd = (<u32>what & 0xffff) ^ (HOP_FORWARD | (14 << 8)) | (<u32>load<u16>(d, DESC_L3) ^ 14)
      | <u32>(load<u32>(d, DESC_PACKET_LENGTH) - 14 > <u32>(what >> 32)) | (load<u32>(d, DESC_FLAGS) & FLAG_REASSEMBLED);
    if (odd != 0) break;
    v128.store(<usize>load<u32>(d, DESC_DATA) - 2, v128.load(hop, HOP_REWRITE + 16));
    store<u16>(worker + (<usize>p << 1), <u16>(what >> 16), VEC_NEXT);
  }
  return k;
}

/** Takes the link-layer header off: the packet begins with its network header, as this host's own do. */
function bare(d: usize, l3: u32): void {
  store<u32>(d, load<u32>(d, DESC_DATA) + l3, DESC_DATA);
  store<u32>(d, load<u32>(d, DESC_LENGTH) - l3, DESC_LENGTH);
  store<u32>(d, load<u32>(d, DESC_PACKET_LENGTH) - l3, DESC_PACKET_LENGTH);
  moveOffsets(d, 0 - l3);
  store<u32>(d, load<u32>(d, DESC_FLAGS) | FLAG_PASSED | FLAG_FORWARDED, DESC_FLAGS);
}

/** What flows with a helper carry goes by the host layer, without a link-layer header; the argument is the flow × 2 + direction. */
export function helpBurst(worker: usize, list: usize, n: u32): u32 {
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
    if (ref != 0 && (load<u32>(flowAt(ref >>> 1), FLOW_STATUS) & IPS_HELPER) != 0) {
      const id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id);
      store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
      bare(d, <u32>load<u16>(d, DESC_L3));
      punt(worker, id, PUNT_HELPER, ref);
      continue;
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

/** Packets for this host that have passed. */
export function handUp(worker: usize, list: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id);
    store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
    examineL4(d);
    const hop = <u32>load<u16>(d, DESC_NEXT_HOP);
    if ((load<u32>(d, DESC_FLAGS) & FLAG_SCOPED) != 0) punt(worker, id, hop, 0);
    else punt(worker, id, PUNT_LOCAL, hop);
  }
}
