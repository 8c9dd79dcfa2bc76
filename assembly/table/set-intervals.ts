/**
 * Sets with ranges: one level of sorted starts for each field of the key. Each start says what holds from there to the next one: nothing,
 * a node over the next field, or (last field) an element. The host builds them; a lookup is one search without branches a field.
 */
import { NODE_COUNT, NODE_FIELD, NODE_IS_LAST, NODE_IS_WIDE, NODE_KIND, NODE_MASKS, NODE_STARTS, SET_TAGS } from "../abi";
import { swap32 } from "../wire/bytes";
import { hasExpired } from "./set-hash";

export function findInterval(set: usize, key: usize, now: u64): usize {
  let at = <usize>load<u32>(set, SET_TAGS);
  while (at != 0) {
    const field = key + <usize>load<u16>(at, NODE_FIELD), kind = <u32>load<u16>(at, NODE_KIND);
    const high = load<u64>(at, NODE_MASKS), low = load<u64>(at, NODE_MASKS + 8);
    if (kind & NODE_IS_WIDE) at = searchWide(at, bswap<u64>(load<u64>(field)) & high, bswap<u64>(load<u64>(field, 8)) & low);
    else at = searchWord(at, swap32(load<u32>(field)) & <u32>(high >> 32));
    if (kind & NODE_IS_LAST) return at == 0 || hasExpired(set, at, now) ? 0 : at;
  }
  return 0;
}

/** The value of the last start that is not above `value`. */
function searchWord(node: usize, value: u32): usize {
  const first = node + NODE_STARTS;
  let base = first, n = load<u32>(node, NODE_COUNT);
  const values = first + (<usize>n << 2);
  while (n > 1) {
    const half = n >>> 1, middle = base + (<usize>half << 2);
    base = select<usize>(middle, base, load<u32>(middle) <= value);
    n -= half;
  }
  return <usize>load<u32>(values + (base - first));
}

function searchWide(node: usize, high: u64, low: u64): usize {
  const first = node + NODE_STARTS;
  let base = first, n = load<u32>(node, NODE_COUNT);
  const values = first + (<usize>n << 4);
  while (n > 1) {
    const half = n >>> 1, middle = base + (<usize>half << 4);
    const h = load<u64>(middle);
    base = select<usize>(middle, base, <i32>(h < high) | (<i32>(h == high) & <i32>(load<u64>(middle, 8) <= low)));
    n -= half;
  }
  return <usize>load<u32>(values + ((base - first) >> 2));
}
