/**
 * Network prefix translation (RFC 6296) at the edge of a network: what leaves by an interface has another prefix than inside, what comes
 * in by it has the inner one before anything else looks at it. Nothing is remembered, and no checksum is touched: one word of the address
 * takes up the difference of the prefixes.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_L3, DESC_L4, DESC_LENGTH, DROP_NPT_UNMAPPABLE, FLAG_IP4, NETNS_PAIRS, NETNS_PAIR_COUNT, NEXT_DONE, NONE, NPT_ADJUST,
  NPT_INSIDE, NPT_LENGTH, NPT_OUTSIDE, NPT_PORT, NPT_SIZE, VEC_IDS, VEC_NEXT, VEC_OIF,
} from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt } from "../core/layout";
import { drop } from "../core/packet";
import { isError } from "../flow/tuples";
import { load16, store16 } from "../wire/bytes";

/** Offsets within an IPv6 header. */
const SOURCE: usize = 8;
const DESTINATION: usize = 24;
/** An error cites what it is about behind its own eight bytes. */
const CITED: usize = 8;

@inline
function isWithin(address: usize, prefix: usize, length: u32): bool {
  const other = bswap<u64>(load<u64>(address) ^ load<u64>(prefix));
  return other >> (64 - length) == 0;
}

/** The word that takes up the difference (§3.1, §3.5): the subnet's, or one of the interface identifier that is not all ones; 0 without one. */
function wordOf(address: usize, length: u32): usize {
  if (length <= 48) return load16(address + 6) == 0xffff ? 0 : 6;
  for (let word: usize = 8; word < 16; word += 2) if (load16(address + word) != 0xffff) return word;
  return 0;
}

/** Gives an address another prefix; false when it cannot have one (§3.7). `adjust` is added in ones' complement. */
function map(address: usize, prefix: usize, length: u32, adjust: u32): bool {
  const word = wordOf(address, length);
  if (word == 0) return false;
  const host = length == 64 ? 0 : ~(<u64>0) >> length;
  store<u64>(address, bswap<u64>((bswap<u64>(load<u64>(address)) & host) | bswap<u64>(load<u64>(prefix))));
  let sum = load16(address + word) + adjust;
  sum = (sum & 0xffff) + (sum >>> 16);
  // Of the two zeros the one that is no -0.
  store16(address + word, sum == 0xffff ? 0 : sum);
  return true;
}

@inline
function outward(address: usize, pair: usize): bool {
  return map(address, pair + NPT_OUTSIDE, load<u8>(pair, NPT_LENGTH), load<u16>(pair, NPT_ADJUST));
}

@inline
function inward(address: usize, pair: usize): bool {
  return map(address, pair + NPT_INSIDE, load<u8>(pair, NPT_LENGTH), <u32>~load<u16>(pair, NPT_ADJUST) & 0xffff);
}

@inline
function pairAt(net: usize, index: u32): usize {
  return net + NETNS_PAIRS + <usize>index * NPT_SIZE;
}

/** Which pair has an address inside, or outside; 0 for none. `port`: of that interface alone, or NONE. */
function pairOf(net: usize, address: usize, side: usize, port: u32): usize {
  const count = load<u32>(net, NETNS_PAIR_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const pair = pairAt(net, i);
    if ((port == NONE || <u32>load<u16>(pair, NPT_PORT) == port) && isWithin(address, pair + side, load<u8>(pair, NPT_LENGTH))) return pair;
  }
  return 0;
}

@inline
export function hasPairs(net: usize): bool {
  return load<u32>(net, NETNS_PAIR_COUNT) != 0;
}

/** IPv6 packets that have come in by a port: outer destinations become inner ones. Returns the list's new length. */
export function translateIn(worker: usize, net: usize, port: u32, list: usize, n: u32): u32 {
  return translate(worker, net, port, list, n, true);
}

/** Packets that leave: inner sources become outer ones. */
export function translateOut(worker: usize, net: usize, list: usize, n: u32): u32 {
  return translate(worker, net, 0, list, n, false);
}

function translate(worker: usize, net: usize, port: u32, list: usize, n: u32, comesIn: bool): u32 {
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1));
    if (!(comesIn ? arriving(worker, net, port, p) : departing(worker, net, p))) {
      drop(worker, load<u32>(worker + (<usize>p << 2), VEC_IDS), DROP_NPT_UNMAPPABLE);
      store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
      continue;
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

@inline
function headerOf(worker: usize, p: u32): usize {
  const d = descriptorAt(load<u32>(worker + (<usize>p << 2), VEC_IDS));
  return <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L3);
}

/** The header in bytes of the packet's own, or 0. */
function ownHeader(worker: usize, p: u32): usize {
  const at = worker + (<usize>p << 2), mine = privateHead(worker, load<u32>(at, VEC_IDS));
  if (mine == NONE) return 0;
  store<u32>(at, mine, VEC_IDS);
  return headerOf(worker, p);
}

/** What an error cites, if its addresses are there to be changed; else 0. */
function citedBy(worker: usize, p: u32): usize {
  const id = load<u32>(worker + (<usize>p << 2), VEC_IDS), d = descriptorAt(id);
  if (!isError(id)) return 0;
  const at = <u32>load<u16>(d, DESC_L4) + <u32>CITED;
  return at + 40 <= load<u32>(d, DESC_LENGTH) ? <usize>load<u32>(d, DESC_DATA) + at : 0;
}

function arriving(worker: usize, net: usize, port: u32, p: u32): bool {
  const pair = pairOf(net, headerOf(worker, p) + DESTINATION, NPT_OUTSIDE, NONE);
  if (pair == 0) return true;
  const header = ownHeader(worker, p);
  if (header == 0 || !inward(header + DESTINATION, pair)) return false;
  const cited = citedBy(worker, p), own = cited == 0 ? 0 : pairOf(net, cited + SOURCE, NPT_OUTSIDE, NONE);
  if (own != 0) inward(cited + SOURCE, own);
  // From inside to an outer address (§2.4, hairpinning): as if it had gone out and come back.
  const source = <u32>load<u16>(pair, NPT_PORT) == port ? 0 : pairOf(net, header + SOURCE, NPT_INSIDE, <u32>load<u16>(pair, NPT_PORT));
  return source == 0 || outward(header + SOURCE, source);
}

function departing(worker: usize, net: usize, p: u32): bool {
  const flags = load<u32>(descriptorAt(load<u32>(worker + (<usize>p << 2), VEC_IDS)), DESC_FLAGS);
  if ((flags & FLAG_IP4) != 0) return true;
  const port = <u32>load<u16>(worker + (<usize>p << 1), VEC_OIF), pair = pairOf(net, headerOf(worker, p) + SOURCE, NPT_INSIDE, port);
  const cited = citedBy(worker, p), theirs = cited == 0 ? 0 : pairOf(net, cited + DESTINATION, NPT_INSIDE, port);
  if (pair == 0 && theirs == 0) return true;
  const header = ownHeader(worker, p);
  if (header == 0) return false;
  if (theirs != 0) {
    // The head of its own may be too short to hold it.
    const own = citedBy(worker, p);
    if (own == 0) return false;
    outward(own + DESTINATION, theirs);
  }
  return pair == 0 || outward(header + SOURCE, pair);
}
