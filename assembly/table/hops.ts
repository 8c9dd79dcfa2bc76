/** Next hops as the data plane sees them: by address (see abi.ts), and groups that point into a bucket array. */
import {
  HOP_BUCKETS, HOP_FORWARD, HOP_GLEAN, HOP_GROUP, HOP_INCOMPLETE, HOP_KIND, HOP_MASK, HOP_PORT, TABLE_HOPS, TABLE_HOP_LIMIT,
} from "../abi";

@inline
export function hopAt(table: usize, index: u32): usize {
  return <usize>load<u32>(<usize>load<u32>(table, TABLE_HOPS) + (<usize>index << 2));
}

/**
 * Follows a group to its member by flow hash (RFC 2992's hash-threshold idea over fixed buckets, so that
 * a departing member moves only its own flows). Groups do not nest; a bad bucket yields hop 0.
 */
@inline
export function resolveHop(table: usize, index: u32, hash: u32): u32 {
  const hop = hopAt(table, index);
  if (load<u8>(hop, HOP_KIND) != HOP_GROUP) return index;
  const bucket = (hash ^ (hash >>> 16)) & load<u32>(hop, HOP_MASK);
  const member = <u32>load<u16>(<usize>load<u32>(hop, HOP_BUCKETS) + (<usize>bucket << 1));
  return member < load<u32>(table, TABLE_HOP_LIMIT) ? member : 0;
}

/** Does a next hop lead out, with `strict` by that port? A group does when one of its members does (RFC 3704). */
export function isReachable(table: usize, index: u32, strict: bool, portIndex: u32): bool {
  const hop = hopAt(table, index), kind = <u32>load<u8>(hop, HOP_KIND);
  if (kind == HOP_FORWARD || kind == HOP_GLEAN || kind == HOP_INCOMPLETE) return !strict || <u32>load<u16>(hop, HOP_PORT) == portIndex;
  if (kind != HOP_GROUP) return false;
  if (!strict) return true;
  const buckets = <usize>load<u32>(hop, HOP_BUCKETS), last = load<u32>(hop, HOP_MASK);
  for (let b: u32 = 0; b <= last; b++) {
    const member = hopAt(table, load<u16>(buckets + (<usize>b << 1)));
    if (<u32>load<u16>(member, HOP_PORT) == portIndex) return true;
  }
  return false;
}
