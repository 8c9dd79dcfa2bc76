/**
 * Writing the traffic class of a frame: ECN's CE (RFC 3168 §5) and DSCP (RFC 2474). IPv4's header checksum follows by
 * RFC 1624. A frame whose bytes others see gets a head of its own first, so its id may change.
 */
import { DESC_DATA, DESC_LENGTH, NONE, QLINK_SIZE } from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt } from "../core/layout";
import { update16 } from "../wire/checksum";
import { load16, store16 } from "../wire/bytes";
import { networkOf } from "./dissect";
import { linkAt } from "./link";

const CE: u32 = 3;

@inline
function tosOf(at: usize, version: u32): u32 {
  return version == 4 ? <u32>load<u8>(at, 1) : (load16(at) >>> 4) & 0xff;
}

/** Writes the bits of `mask`; the packet's id from now on, or NONE when no buffer was left (it is then as it was). */
function write(worker: usize, id: u32, network: u32, mask: u32, value: u32): u32 {
  const mine = privateHead(worker, id);
  if (mine == NONE) return NONE;
  if (mine != id) memory.copy(linkAt(mine), linkAt(id), QLINK_SIZE);
  const at = <usize>load<u32>(descriptorAt(mine), DESC_DATA) + (network & 0xffff), version = network >>> 16;
  const tos = (tosOf(at, version) & ~mask) | value;
  if (version == 4) {
    const before = load<u16>(at);
    store<u8>(at, <u8>tos, 1);
    store<u16>(at, <u16>update16(load<u16>(at, 10), before, load<u16>(at)), 10);
  } else store16(at, (load16(at) & 0xf00f) | (tos << 4));
  return mine;
}

@inline
function network(id: u32): u32 {
  const d = descriptorAt(id);
  return networkOf(<usize>load<u32>(d, DESC_DATA), load<u32>(d, DESC_LENGTH));
}

/** Marks a packet whose sender allows it (ECT or CE already). Its id from now on, or NONE: it may not be marked. */
export function markCongestion(worker: usize, id: u32): u32 {
  const where = network(id);
  if (where == 0) return NONE;
  const tos = tosOf(<usize>load<u32>(descriptorAt(id), DESC_DATA) + (where & 0xffff), where >>> 16);
  if ((tos & CE) == 0) return NONE;
  return (tos & CE) == CE ? id : write(worker, id, where, CE, CE);
}

/** Gives a packet a DSCP; its id from now on (unchanged when it is not IP, or no buffer was left). */
export function setDscp(worker: usize, id: u32, dscp: u32): u32 {
  const where = network(id);
  if (where == 0) return id;
  const mine = write(worker, id, where, 0xfc, dscp << 2);
  return mine == NONE ? id : mine;
}

/** The DSCP of a packet; 0 when it is not IP. */
export function dscpOf(id: u32): u32 {
  const where = network(id);
  return where == 0 ? 0 : tosOf(<usize>load<u32>(descriptorAt(id), DESC_DATA) + (where & 0xffff), where >>> 16) >>> 2;
}
