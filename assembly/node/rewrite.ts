/**
 * What happens to a packet once its next hop is known: groups, kinds that end here, hop limit, MTU, and the
 * new link-layer header. RFC 1812 §5.3.1 (TTL), RFC 1624 (checksum), RFC 8200 §3 (hop limit).
 */
import {
  DESC_DATA, DESC_HASH, DESC_L3, DESC_NEXT_HOP, DESC_OWNER, DESC_PACKET_LENGTH, DESC_SHIFT, DROP_NOT_FORWARDING, DROP_NO_BUFFER,
  HOP_FORWARD, HOP_KIND, HOP_L2_LENGTH, HOP_LOCAL, HOP_MTU, HOP_PORT, HOP_REWRITE, NEXT_DONE, NONE, PUNT_FRAGMENTATION_NEEDED,
  PUNT_PACKET_TOO_BIG, PUNT_TTL_EXCEEDED, REGION_DESCRIPTORS, TABLE_HOPS, VEC_IDS, VEC_LIST4, VEC_LIST6, VEC_NEXT, VEC_RESULT,
} from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt, region } from "../core/layout";
import { drop, punt } from "../core/packet";
import { finish, largestPiece, rewriteLink } from "../device/outcome";
import { hopAt, resolveHop } from "../table/hops";
import { update16 } from "../wire/checksum";

export function rewrite4Burst(worker: usize, table: usize, n: u32): void {
  for (let k: u32 = 0; (k = rewrite4Run(worker, table, k, n)) < n; k++) rewriteSlow(worker, table, k, VEC_LIST4, true);
}

export function rewrite6Burst(worker: usize, table: usize, n: u32): void {
  for (let k: u32 = 0; (k = rewrite6Run(worker, table, k, n)) < n; k++) rewriteSlow(worker, table, k, VEC_LIST6, false);
}

/** At a host that is not a router: own addresses are delivered, everything else ends here (RFC 1122 §3.3.1.1). */
export function deliverBurst(worker: usize, table: usize, list: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const i = <usize>load<u16>(worker + list + (<usize>k << 1));
    const id = load<u32>(worker + (i << 2), VEC_IDS), index = load<u32>(worker + (<usize>k << 2), VEC_RESULT);
    const hop = hopAt(table, index);
    if (<u32>load<u8>(hop, HOP_KIND) == HOP_LOCAL) finish(worker, id, hop, index);
    else drop(worker, id, DROP_NOT_FORWARDING);
    store<u16>(worker + (i << 1), NEXT_DONE, VEC_NEXT);
  }
}

/** Kind, header length, port and MTU of a hop in one word: an untagged "forward" hop has this in its low half-word. */
const PLAIN_FORWARD: u32 = HOP_FORWARD | (14 << 8);

/** The common road (plain hop, exclusive untagged packet that fits, TTL left); stops at the first that needs more. */
function rewrite4Run(worker: usize, table: usize, k: u32, n: u32): u32 {
  const descriptors = region(REGION_DESCRIPTORS), hops = <usize>load<u32>(table, TABLE_HOPS);
  for (; k < n; k++) {
    const i = <u32>load<u16>(worker + (<usize>k << 1), VEC_LIST4);
    const id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
    const d = descriptors + (<usize>id << DESC_SHIFT);
    const index = load<u32>(worker + (<usize>k << 2), VEC_RESULT);
    const hop = <usize>load<u32>(hops + (<usize>index << 2));
    const what = load<u64>(hop), at = <usize>load<u32>(d, DESC_DATA) + 14, ttl = load<u32>(at, 8);
    const odd = ((<u32>what & 0xffff) ^ PLAIN_FORWARD) | (<u32>load<u16>(d, DESC_L3) ^ 14)
      | <u32>(load<u32>(d, DESC_PACKET_LENGTH) - 14 > <u32>(what >> 32)) | <u32>((ttl & 0xff) < 2);
    if ((<u64>odd | (load<u64>(d, DESC_OWNER) ^ (<u64>id | ((<u64>1) << 32)))) != 0) break;
    // TTL is the low byte of its word in memory, so the word falls by one and, by RFC 1624 eqn. 3 with
    // m' = m - 1, the checksum rises by one modulo 0xffff: 0xfffe becomes 0 and 0xffff becomes 1.
    let field = (ttl >>> 16) + 1;
    field += (field + 1) >>> 16;
    store<u32>(at, ((ttl & 0xffff) - 1) | (field << 16), 8);
    v128.store(at - 16, v128.load(hop, HOP_REWRITE + 16));
    store<u16>(d, <u16>index, DESC_NEXT_HOP);
    store<u16>(worker + (<usize>i << 1), <u16>(what >> 16), VEC_NEXT);
  }
  return k;
}

function rewrite6Run(worker: usize, table: usize, k: u32, n: u32): u32 {
  const descriptors = region(REGION_DESCRIPTORS), hops = <usize>load<u32>(table, TABLE_HOPS);
  for (; k < n; k++) {
    const i = <u32>load<u16>(worker + (<usize>k << 1), VEC_LIST6);
    const id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
    const d = descriptors + (<usize>id << DESC_SHIFT);
    const index = load<u32>(worker + (<usize>k << 2), VEC_RESULT);
    const hop = <usize>load<u32>(hops + (<usize>index << 2));
    const what = load<u64>(hop), at = <usize>load<u32>(d, DESC_DATA) + 14, limit = <u32>load<u8>(at, 7);
    const odd = ((<u32>what & 0xffff) ^ PLAIN_FORWARD) | (<u32>load<u16>(d, DESC_L3) ^ 14)
      | <u32>(load<u32>(d, DESC_PACKET_LENGTH) - 14 > <u32>(what >> 32)) | <u32>(limit < 2);
    if ((<u64>odd | (load<u64>(d, DESC_OWNER) ^ (<u64>id | ((<u64>1) << 32)))) != 0) break;
    store<u8>(at, <u8>(limit - 1), 7);
    v128.store(at - 16, v128.load(hop, HOP_REWRITE + 16));
    store<u16>(d, <u16>index, DESC_NEXT_HOP);
    store<u16>(worker + (<usize>i << 1), <u16>(what >> 16), VEC_NEXT);
  }
  return k;
}

/** One packet with every rule: groups, ends of the road, hop limit, MTU, shared bytes, tags. */
function rewriteSlow(worker: usize, table: usize, k: u32, list: usize, is4: bool): void {
  const i = <u32>load<u16>(worker + list + (<usize>k << 1));
  const next = worker + (<usize>i << 1);
  let id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
  let d = descriptorAt(id);
  const index = resolveHop(table, load<u32>(worker + (<usize>k << 2), VEC_RESULT), load<u32>(d, DESC_HASH));
  const hop = hopAt(table, index);
  store<u16>(next, NEXT_DONE, VEC_NEXT);
  if (<u32>load<u8>(hop, HOP_KIND) != HOP_FORWARD) { finish(worker, id, hop, index); return; }
  const l3 = <u32>load<u16>(d, DESC_L3), mtu = load<u32>(hop, HOP_MTU);
  const limit = <u32>load<u8>(<usize>load<u32>(d, DESC_DATA) + l3 + (is4 ? 8 : 7));
  if (limit <= 1) { punt(worker, id, PUNT_TTL_EXCEEDED, index); return; }
  if (load<u32>(d, DESC_PACKET_LENGTH) - l3 > mtu && largestPiece(d, l3) > mtu) {
    // IPv4 with DF: the sender is told (RFC 1191); without, the host layer fragments. Both need thought.
    punt(worker, id, is4 ? PUNT_FRAGMENTATION_NEEDED : PUNT_PACKET_TOO_BIG, index);
    return;
  }
  const mine = privateHead(worker, id);
  if (mine == NONE) { drop(worker, id, DROP_NO_BUFFER); return; }
  id = mine;
  store<u32>(worker + (<usize>i << 2), id, VEC_IDS);
  d = descriptorAt(id);
  const at = <usize>load<u32>(d, DESC_DATA) + l3;
  if (is4) {
    const word = <u32>load<u16>(at, 8);
    store<u16>(at, <u16>(word - 1), 8);
    store<u16>(at, <u16>update16(<u32>load<u16>(at, 10), word, word - 1), 10);
  } else store<u8>(at, <u8>(limit - 1), 7);
  rewriteLink(d, at, hop, <u32>load<u8>(hop, HOP_L2_LENGTH), l3);
  store<u16>(d, <u16>index, DESC_NEXT_HOP);
  store<u16>(next, load<u16>(hop, HOP_PORT), VEC_NEXT);
}
