/**
 * Layer 2: learn where senders are, send known unicast to its port, everything else to all members by
 * reference. VLAN rules as IEEE 802.1Q §8.6: a frame belongs to the VLAN of its tag or, untagged (or priority
 * tagged), to its port's; it enters and leaves only through members, tagged or not as the VLAN says.
 * Without filtering, tags are payload, as in a Linux bridge with vlan_filtering 0.
 */
import {
  BRIDGE_ACTIVE, BRIDGE_FILTERING, BRIDGE_HOST, BRIDGE_LARGEST, BRIDGE_PORTS, BRIDGE_VLANS, BRIDGE_VLAN_SIZE, DESC_DATA, DESC_FLAGS, DESC_GSO_KIND, DESC_INGRESS,
  DESC_LENGTH, DESC_PACKET_LENGTH, DESC_SHIFT, DESC_VLAN, DROP_BRIDGE_NO_PORT, DROP_BRIDGE_SAME_PORT,
  DROP_BRIDGE_SOURCE_INVALID, DROP_ETHER_TOO_SHORT, DROP_NO_BUFFER, DROP_PORT_DOWN, DROP_TOO_LARGE, DROP_VLAN_NOT_MEMBER, DROP_VLAN_TOO_SHORT, FLAG_IP4, FLAG_IP6,
  NEXT_DONE, NONE, PORT_BRIDGE, PORT_MEMBER, PORT_MTU, PORT_PVID, PORT_STAT_RX_MULTICAST, PUNT_LINK_CONTROL, REGION_BRIDGES,
  REGION_DESCRIPTORS, SEEN_STATIC, STATION_SEEN, STAT_BRIDGE_FULL, STAT_FLOODED, STAT_LEARNED, VEC_IDS, VEC_NEXT, WORKER_BURST_BYTES, WORKER_NOW, WORKER_SCRATCH,
} from "../abi";
import { moveOffsets, privateHead } from "../core/head";
import { add64, count, descriptorAt, portAt, portStats, region } from "../core/layout";
import { drop, punt } from "../core/packet";
import { clonePacket } from "../core/pool";
import { stage } from "../device/transmit";
import { findEntry, findStation, hasExpired, learnStation, stationKey, UNKNOWN } from "../table/stations";
import { load16, store16 } from "../wire/bytes";
import { describeFrame } from "../wire/frame";

const MAC_MASK: u64 = 0xffffffffffff;
const UNTAGGED: u32 = 0xffffffff;

/** Addresses of the bridges stand at the start of their region. */
@inline
export function bridgeAt(index: u32): usize {
  return <usize>load<u32>(region(REGION_BRIDGES) + (<usize>index << 2));
}

export function switchBurst(worker: usize, port: usize, portIndex: u32, n: u32): void {
  const bridge = bridgeAt(load<u16>(port, PORT_BRIDGE));
  const filtering = load<u32>(bridge, BRIDGE_FILTERING) != 0;
  const isOpen = ((load<u64>(bridge, BRIDGE_ACTIVE) >> <u64>load<u16>(port, PORT_MEMBER)) & 1) != 0;
  store<u64>(worker, 0, WORKER_BURST_BYTES);
  for (let i: u32 = 0; ; i++) {
    if (!filtering && isOpen) i = switchRun(worker, port, portIndex, bridge, i, n);
    if (i == n) break;
    switchOne(worker, port, portIndex, bridge, filtering, i);
  }
}

/**
 * The common road: a known sender heard within this second, a known unicast destination elsewhere. Stops at the
 * first frame that needs more. No call stands in this loop (see classifyRun).
 */
function switchRun(worker: usize, port: usize, portIndex: u32, bridge: usize, i: u32, n: u32): u32 {
  const descriptors = region(REGION_DESCRIPTORS), now = load<u32>(worker, WORKER_NOW);
  const here = <u64>now | (<u64>load<u16>(port, PORT_MEMBER) << 32), pinned = here | SEEN_STATIC, largest = load<u32>(bridge, BRIDGE_LARGEST);
  let bytes = load<u64>(worker, WORKER_BURST_BYTES);
  for (; i < n; i++) {
    const d = descriptors + (<usize>load<u32>(worker + (<usize>i << 2), VEC_IDS) << DESC_SHIFT);
    const data = <usize>load<u32>(d, DESC_DATA);
    if (load<u32>(d, DESC_LENGTH) < 14 || <u32>load<u16>(d, DESC_GSO_KIND) != 0 || load<u32>(d, DESC_PACKET_LENGTH) > largest) break;
    const destination = load<u64>(data) & MAC_MASK, source = load<u64>(data, 6) & MAC_MASK;
    if (((destination | source) & 1) != 0) break;
    const from = findEntry(bridge, stationKey(source, 0)), to = findEntry(bridge, stationKey(destination, 0));
    if (from == 0 || to == 0) break;
    // {seen, member} of the sender: exactly here and now, or here for good.
    const heard = load<u64>(from, STATION_SEEN);
    if (heard != here && heard != pinned) break;
    const target = load<u64>(to, STATION_SEEN);
    if (<u32>(target >> 32) == <u32>(here >> 32) || hasExpired(bridge, <u32>target, now)) break;
    store<u32>(d, portIndex, DESC_INGRESS);
    bytes += load<u32>(d, DESC_PACKET_LENGTH);
    store<u16>(worker + (<usize>i << 1), load<u16>(bridge + ((<usize>(target >> 32)) << 1), BRIDGE_PORTS), VEC_NEXT);
  }
  store<u64>(worker, bytes, WORKER_BURST_BYTES);
  return i;
}

/** VLAN and tag (or UNTAGGED) of the frame that was admitted last, at the worker. */
export const FRAME_VLAN: usize = WORKER_SCRATCH;
export const FRAME_TCI: usize = WORKER_SCRATCH + 4;

/** One frame with every rule. */
function switchOne(worker: usize, port: usize, portIndex: u32, bridge: usize, filtering: bool, i: u32): void {
  const targets = admitFrame(worker, port, portIndex, bridge, filtering, i);
  if (targets == 0) return;
  const id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
  const vlan = load<u32>(worker, FRAME_VLAN), tci = load<u32>(worker, FRAME_TCI);
  if ((targets & (targets - 1)) != 0) { flood(worker, bridge, id, targets, filtering, vlan, tci); return; }
  const member = <u32>ctz<u64>(targets);
  if (filtering || !fits(bridge, member, id)) leaveBridge(worker, bridge, id, member, filtering, vlan, tci);
  // Behind what the common road has let through before it.
  else store<u16>(worker + (<usize>i << 1), load<u16>(bridge + (<usize>member << 1), BRIDGE_PORTS), VEC_NEXT);
}

/**
 * Learns who a frame is from and finds which members it goes to, a bit each; 0: none, and it is gone. What it belongs to is at FRAME_VLAN and
 * FRAME_TCI.
 */
export function admitFrame(worker: usize, port: usize, portIndex: u32, bridge: usize, filtering: bool, i: u32): u64 {
  const ingress = <u32>load<u16>(port, PORT_MEMBER), now = load<u32>(worker, WORKER_NOW);
  const id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
  const d = descriptorAt(id);
  store<u32>(d, portIndex, DESC_INGRESS);
  add64(worker + WORKER_BURST_BYTES, load<u32>(d, DESC_PACKET_LENGTH));
  store<u16>(worker + (<usize>i << 1), NEXT_DONE, VEC_NEXT);
  if (((load<u64>(bridge, BRIDGE_ACTIVE) >> <u64>ingress) & 1) == 0) { drop(worker, id, DROP_PORT_DOWN); return 0; }
  if (load<u32>(d, DESC_LENGTH) < 14) { drop(worker, id, DROP_ETHER_TOO_SHORT); return 0; }
  // What may have to be cut for a port that takes no large segments is looked at now.
  if (<u32>load<u16>(d, DESC_GSO_KIND) != 0 && (load<u32>(d, DESC_FLAGS) & (FLAG_IP4 | FLAG_IP6)) == 0) describeFrame(d, 0, 0);
  const data = <usize>load<u32>(d, DESC_DATA);
  const destination = load<u64>(data) & MAC_MASK, source = load<u64>(data, 6) & MAC_MASK;
  if ((destination & 1) != 0 && destination != MAC_MASK) add64(portStats(worker, portIndex) + PORT_STAT_RX_MULTICAST, 1);
  // A group address or zero cannot send.
  if ((source & 1) != 0 || source == 0) { drop(worker, id, DROP_BRIDGE_SOURCE_INVALID); return 0; }
  if ((destination & 0x00ffffffffff) == 0xc28001 && (destination >> 40) < 16) { punt(worker, id, PUNT_LINK_CONTROL, 0); return 0; }
  let vlan: u32 = 0, tci: u32 = UNTAGGED;
  if (filtering) {
    if (load<u16>(data, 12) == 0x0081) {
      if (load<u32>(d, DESC_LENGTH) < 18) { drop(worker, id, DROP_VLAN_TOO_SHORT); return 0; }
      tci = load16(data + 14);
      vlan = tci & 0xfff;
    }
    if (vlan == 0) vlan = <u32>load<u16>(port, PORT_PVID);
    if (((members(bridge, vlan) >> <u64>ingress) & 1) == 0) { drop(worker, id, DROP_VLAN_NOT_MEMBER); return 0; }
  }
  store<u32>(worker, vlan, FRAME_VLAN);
  store<u32>(worker, tci, FRAME_TCI);
  const outcome = learnStation(bridge, stationKey(source, vlan), ingress, now);
  if (outcome == 1) count(worker, STAT_LEARNED, 1);
  else if (outcome == 2) count(worker, STAT_BRIDGE_FULL, 1);
  const member = (destination & 1) != 0 ? UNKNOWN : findStation(bridge, stationKey(destination, vlan), now);
  if (member == ingress) { drop(worker, id, DROP_BRIDGE_SAME_PORT); return 0; }
  if (member != UNKNOWN) return (<u64>1) << <u64>member;
  const targets = others(bridge, ingress, filtering, vlan, (destination & 1) != 0);
  if (targets == 0) drop(worker, id, DROP_BRIDGE_NO_PORT);
  else count(worker, STAT_FLOODED, 1);
  return targets;
}

@inline
function members(bridge: usize, vlan: u32): u64 {
  return load<u64>(bridge + <usize>vlan * BRIDGE_VLAN_SIZE, BRIDGE_VLANS);
}

/** Every other member (of a VLAN). The bridge's own host is known by its address: what is for somebody unknown is not for it. */
function others(bridge: usize, ingress: u32, filtering: bool, vlan: u32, isGroup: bool): u64 {
  let targets = load<u64>(bridge, BRIDGE_ACTIVE);
  if (!isGroup) targets &= ~load<u64>(bridge, BRIDGE_HOST);
  if (filtering) targets &= members(bridge, vlan);
  return targets & ~(<u64>1 << <u64>ingress);
}

/** A frame to several members: clones for all but the last, which gets the packet itself. */
function flood(worker: usize, bridge: usize, id: u32, targets: u64, filtering: bool, vlan: u32, tci: u32): void {
  while (targets != 0) {
    const member = <u32>ctz<u64>(targets);
    targets &= targets - 1;
    const copy = copyFor(worker, id, targets);
    if (copy != NONE) leaveBridge(worker, bridge, copy, member, filtering, vlan, tci);
  }
}

/** What one member gets while others (`rest`) wait: a clone, the frame itself for the last; NONE, counted, where there is no room. */
export function copyFor(worker: usize, id: u32, rest: u64): u32 {
  if (rest == 0) return id;
  const copy = clonePacket(worker, id);
  if (copy == NONE) count(worker, DROP_NO_BUFFER, 1);
  return copy;
}

/** Does a member take a frame? With a tag it may be four bytes longer; what is large is cut to size (Linux's is_skb_forwardable). */
function fits(bridge: usize, member: u32, id: u32): bool {
  const d = descriptorAt(id), port = portAt(<u32>load<u16>(bridge + (<usize>member << 1), BRIDGE_PORTS));
  return <u32>load<u16>(d, DESC_GSO_KIND) != 0 || load<u32>(d, DESC_PACKET_LENGTH) <= load<u32>(port, PORT_MTU) + 18;
}

/** Out through one member. */
export function leaveBridge(worker: usize, bridge: usize, id: u32, member: u32, filtering: bool, vlan: u32, tci: u32): void {
  if (!fits(bridge, member, id)) { drop(worker, id, DROP_TOO_LARGE); return; }
  const egress = <u32>load<u16>(bridge + (<usize>member << 1), BRIDGE_PORTS);
  if (filtering) leave(worker, bridge, id, member, egress, vlan, tci);
  else stage(worker, egress, id);
}

/** Out through one member, with the tag that member wants. */
function leave(worker: usize, bridge: usize, id: u32, member: u32, egress: u32, vlan: u32, tci: u32): void {
  const entry = bridge + BRIDGE_VLANS + <usize>vlan * BRIDGE_VLAN_SIZE;
  if (((load<u64>(entry) >> <u64>member) & 1) == 0) { drop(worker, id, DROP_VLAN_NOT_MEMBER); return; }
  const untagged = ((load<u64>(entry, 8) >> <u64>member) & 1) != 0;
  const isTagged = tci != UNTAGGED;
  if (untagged == !isTagged && (untagged || (tci & 0xfff) != 0)) { stage(worker, egress, id); return; }
  const mine = privateHead(worker, id);
  if (mine == NONE) { drop(worker, id, DROP_NO_BUFFER); return; }
  const d = descriptorAt(mine);
  if (untagged) popTag(d);
  else if (isTagged) store16(<usize>load<u32>(d, DESC_DATA) + 14, (tci & 0xf000) | vlan);
  else pushTag(d, vlan);
  stage(worker, egress, mine);
}

function popTag(d: usize): void {
  const data = <usize>load<u32>(d, DESC_DATA);
  memory.copy(data + 4, data, 12);
  grow(d, -4);
}

function pushTag(d: usize, vlan: u32): void {
  const data = <usize>load<u32>(d, DESC_DATA) - 4;
  memory.copy(data, data + 4, 12);
  store<u16>(data, 0x0081, 12);
  store16(data + 14, vlan);
  store<u16>(d, <u16>vlan, DESC_VLAN);
  grow(d, 4);
}

/** The frame begins `bytes` earlier. */
@inline
function grow(d: usize, bytes: i32): void {
  store<u32>(d, load<u32>(d, DESC_DATA) - bytes, DESC_DATA);
  store<u32>(d, load<u32>(d, DESC_LENGTH) + bytes, DESC_LENGTH);
  store<u32>(d, load<u32>(d, DESC_PACKET_LENGTH) + bytes, DESC_PACKET_LENGTH);
  moveOffsets(d, <u32>bytes);
}
