/** What a next hop makes of a packet, once it is known: the kinds that end its road, what fits, and the link-layer header. */
import {
  DESC_DATA, DESC_GSO_KIND, DESC_GSO_SIZE, DESC_L4, DESC_LENGTH, DESC_PACKET_LENGTH, DROP_BAD_NEXT_HOP, DROP_BLACKHOLE,
  DROP_DIRECTED_BROADCAST, GSO_TCP4, GSO_TCP6, HOP_BLACKHOLE, HOP_BROADCAST, HOP_GLEAN, HOP_INCOMPLETE, HOP_KIND, HOP_LOCAL,
  HOP_NO_ROUTE, HOP_PROHIBIT, HOP_REWRITE, HOP_UNREACHABLE, PUNT_LOCAL, PUNT_NEIGHBOUR, PUNT_PROHIBIT, PUNT_UNREACHABLE,
} from "../abi";
import { moveOffsets } from "../core/head";
import { descriptorAt } from "../core/layout";
import { drop, punt } from "../core/packet";
import { examineL4 } from "../wire/l4";

/** Ends the road of a packet whose next hop is not "forward". */
export function finish(worker: usize, id: u32, hop: usize, index: u32): void {
  const kind = <u32>load<u8>(hop, HOP_KIND);
  if (kind == HOP_LOCAL) {
    examineL4(descriptorAt(id));
    punt(worker, id, PUNT_LOCAL, index);
  }
  else if (kind == HOP_GLEAN || kind == HOP_INCOMPLETE) punt(worker, id, PUNT_NEIGHBOUR, index);
  else if (kind == HOP_BLACKHOLE) drop(worker, id, DROP_BLACKHOLE);
  else if (kind == HOP_NO_ROUTE || kind == HOP_UNREACHABLE) punt(worker, id, PUNT_UNREACHABLE, index);
  else if (kind == HOP_PROHIBIT) punt(worker, id, PUNT_PROHIBIT, index);
  else if (kind == HOP_BROADCAST) drop(worker, id, DROP_DIRECTED_BROADCAST);
  else drop(worker, id, DROP_BAD_NEXT_HOP);
}

/** Bytes a receiver would have to take at once: the packet, or one segment of it if it will be segmented. */
@inline
export function largestPiece(d: usize, l3: u32): u32 {
  const gso = <u32>load<u16>(d, DESC_GSO_SIZE);
  const whole = load<u32>(d, DESC_PACKET_LENGTH) - l3;
  if (gso == 0) return whole;
  const l4 = <u32>load<u16>(d, DESC_L4), kind = <u32>load<u16>(d, DESC_GSO_KIND);
  const tcp = kind == GSO_TCP4 || kind == GSO_TCP6;
  if (tcp && l4 + 13 > load<u32>(d, DESC_LENGTH)) return whole;
  const header = tcp ? <u32>(load<u8>(<usize>load<u32>(d, DESC_DATA) + l4, 12) >>> 4) << 2 : 8;
  return min<u32>(whole, l4 - l3 + header + gso);
}

/** Writes the prebuilt link-layer header in front of L3; one store for up to 16 bytes, two beyond. */
@inline
export function rewriteLink(d: usize, at: usize, hop: usize, l2: u32, l3: u32): void {
  v128.store(at - 16, v128.load(hop, HOP_REWRITE + 16));
  if (l2 > 16) v128.store(at - 32, v128.load(hop, HOP_REWRITE));
  if (l2 != l3) {
    store<u32>(d, <u32>at - l2, DESC_DATA);
    store<u32>(d, load<u32>(d, DESC_LENGTH) + l2 - l3, DESC_LENGTH);
    store<u32>(d, load<u32>(d, DESC_PACKET_LENGTH) + l2 - l3, DESC_PACKET_LENGTH);
    moveOffsets(d, l2 - l3);
  }
}
