/**
 * The road of packets through a network with rules: the hooks of netfilter and what stands between them, in the kernel's order
 * (docs/filter.md).
 *
 *   raw → track → prerouting → destinations → late → route ─┬→ forward → postrouting → sources → late → confirm → link
 *                                                           └→ input → sources → late → confirm → host
 *
 * What tracking knows goes through together. What it does not know goes one by one behind it, to the end of the road, so that
 * a second packet of a new flow meets the first one's flow; and so one list can serve every step.
 */
import {
  ATTACHED_FLOW, CT_INVALID, CT_RELATED, CT_RELATED_REPLY, CT_UNTRACKED, DESC_DATA, DESC_FLAGS, DESC_HASH, DESC_INGRESS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_PROTOCOL, DESC_VLAN,
  DESC_NEXT_HOP, DESC_SHIFT, DROP_FILTER, DROP_NO_ROUTE, DROP_VLAN_NOT_MEMBER, FLAG_ATTACHED, FLAG_FIRST_FRAGMENT, FLAG_FRAGMENT, FLAG_IP4, FLAG_IP6, FLAG_PASSED, FLAG_REASSEMBLED, FLAG_VLAN, FLOWS_CAPACITY, FLOW_PROTOCOL, FLOW_STATUS, HEADER_PORTS, HOP_FORWARD, HOP_GLEAN,
  HOP_INCOMPLETE, HOP_KIND, HOP_PORT, IPS_CONFIRMED, IPS_DST_NAT, IPS_DYING, IPS_SRC_NAT, NAT_DESTINATION, NAT_SOURCE, NETNS_BALANCE, NETNS_DEFRAG, NETNS_FLAGS,
  NETNS_HELPERS, NETNS_NAT, NETNS_SYNPROXY, NETNS_TRACK, NETNS_TRACK6, NEXT_DONE, NONE, NO_PORT, ODD, ODD_FOREIGN, PARKED_CHAIN, PARKED_CTINFO, PARKED_FLOW, PARKED_OUT, PARKED_SEGMENT, PARKED_TABLE, PARKED_ZONE, PORT_FLAGS, PORT_HOST,
  PORT_RPF_LOOSE, PORT_RPF_STRICT, PORT_TABLE4, PORT_TABLE6, PUNT_FRAGMENT, REGION_DESCRIPTORS, SEGMENT_EGRESS, SEGMENT_FORWARD, SEGMENT_INGRESS, SEGMENT_INPUT,
  SEGMENT_INPUT_LATE, SEGMENT_INPUT_NAT, SEGMENT_OUTPUT, SEGMENT_OUTPUT_LATE, SEGMENT_OUTPUT_NAT, SEGMENT_OUTPUT_RAW,
  SEGMENT_POSTROUTING, SEGMENT_POSTROUTING_LATE, SEGMENT_POSTROUTING_NAT, SEGMENT_PREROUTING, SEGMENT_PREROUTING_LATE,
  SEGMENT_PREROUTING_NAT, SEGMENT_PREROUTING_FIRST, SEGMENT_PREROUTING_RAW, VEC_ADDR4, VEC_ADDR6, VEC_CTINFO, VEC_FLOW, VEC_IDS, VEC_LIST4, VEC_LIST6, VEC_LOCAL,
  TUPLE_SIZE, VEC_MISSES, VEC_NEXT, VEC_OIF, VEC_SEGMENT, VEC_SRC4, VEC_SRC6, VEC_VERDICT, VEC_ZONE, VERDICT_ACCEPT, VERDICT_FILTERED, WORKER_IS_ODD, WORKER_RESUME, WORKER_SCRATCH, WORKER_TICKS, WORKER_TUPLES, WORKER_TURNS,
} from "./abi";
import { descriptorAt, hasProgram, hasTable, header, networkOf, portAt, region, tableAt } from "./core/layout";
import { drop, punt } from "./core/packet";
import { serve, SERVED_BY_NAT, steerBurst, tunnelBurst } from "./node/balance";
import { admitBurst, confirmBurst, handUp, helpBurst, linkBurst, setAside } from "./node/forward";
import { MAPPED, NOT_MAPPED } from "./flow/mapping";
import { abandon } from "./flow/begin";
import { close } from "./flow/tcp";
import { setUp, setUpMapped, setUpNothing, translateBurst, wantsSetup, wasExpected, wasMapped } from "./node/nat";
import { hasPairs, translateIn, translateOut } from "./node/npt";
import { route4Burst, route6Burst } from "./node/route";
import { end, leave, runSegment } from "./node/rules";
import { forget, trackBurst, trackOne } from "./node/track";
import { followAgain } from "./node/trace";
import { proxyBurst } from "./synproxy";
import { lookup4 } from "./table/fib4";
import { lookup6, toQuery } from "./table/fib6";
import { flowAt, flows, tupleOf } from "./table/flow";
import { hopAt, resolveHop } from "./table/hops";
import { hasMappings } from "./table/mappings";
import { mayBeOwn } from "./table/own";
import { load32 } from "./wire/bytes";
import { walkExtensions } from "./wire/ipv6";
import { examineL4, TCP } from "./wire/l4";

/** The packet has ended already. */
const VERDICT_GONE: u32 = 0xff;

/** Takes the classified packets of one family (VEC_LIST4 or VEC_LIST6) to the end of their road. */
export function travel(worker: usize, port: usize, portIndex: u32, net: usize, n: u32, is4: bool): void {
  const list = worker + (is4 ? VEC_LIST4 : VEC_LIST6), flags = load<u32>(net, NETNS_FLAGS);
  const tracks = (flags & (is4 ? NETNS_TRACK : NETNS_TRACK6)) != 0;
  forget(worker, net, list, n);
  n = enter(worker, net, list, n);
  if (!is4 && hasPairs(net)) n = translateIn(worker, net, portIndex, list, n);
  if (tracks && (flags & NETNS_DEFRAG) != 0) n = withoutFragments(worker, list, n);
  tracked(worker, port, portIndex, net, list, runSegment(worker, net, SEGMENT_PREROUTING_RAW, list, n), is4, tracks);
}

/** From behind the first rules on: what is known of flows goes on together, what is not one by one. */
function tracked(worker: usize, port: usize, portIndex: u32, net: usize, list: usize, n: u32, is4: bool, tracks: bool): void {
  if (!tracks) { onward(worker, port, portIndex, net, list, n, is4, false); return; }
  const found = trackBurst(worker, net, list, n, is4), missed = found >>> 16;
  onward(worker, port, portIndex, net, list, found & 0xffff, is4, false);
  for (let m: u32 = 0; m < missed; m++) {
    const p = <u32>load<u16>(worker + (<usize>m << 1), VEC_MISSES), reason = trackOne(worker, net, p, is4);
    if (reason != 0) { lost(worker, p, reason); continue; }
    store<u16>(list, <u16>p);
    onward(worker, port, portIndex, net, list, 1, is4, true);
  }
}

/** Chains at ingress, and the first of prerouting, meet fragments, not what was put together from them: that comes by for the second time. */
function enter(worker: usize, net: usize, list: usize, n: u32): u32 {
  if (n == 0 || !(hasProgram(net, SEGMENT_INGRESS) || hasProgram(net, SEGMENT_PREROUTING_FIRST))) return n;
  let fresh: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), d = descriptorAt(load<u32>(worker + (<usize>p << 2), VEC_IDS));
    store<u16>(worker + (<usize>p << 1), 0, VEC_NEXT);
    if ((load<u32>(d, DESC_FLAGS) & FLAG_REASSEMBLED) != 0) continue;
    store<u16>(worker + (<usize>fresh << 1), <u16>p, VEC_SEGMENT);
    fresh++;
  }
  if (fresh == n) return runFirst(worker, net, list, n);
  runFirst(worker, net, worker + VEC_SEGMENT, fresh);
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = load<u16>(list + (<usize>k << 1));
    if (<u32>load<u16>(worker + (<usize>p << 1), VEC_NEXT) == NEXT_DONE) continue;
    store<u16>(list + (<usize>kept << 1), p);
    kept++;
  }
  return kept;
}

function runFirst(worker: usize, net: usize, list: usize, n: u32): u32 {
  const seen = runSegment(worker, net, SEGMENT_INGRESS, list, n);
  const own = (load<u32>(worker, WORKER_IS_ODD) & ODD_FOREIGN) == 0 ? seen : withoutForeign(worker, list, seen);
  return runSegment(worker, net, SEGMENT_PREROUTING_FIRST, list, own);
}

/** The port is in no VLAN. */
function withoutForeign(worker: usize, list: usize, n: u32): u32 {
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), d = descriptorAt(load<u32>(worker + (<usize>p << 2), VEC_IDS));
    if ((load<u32>(d, DESC_FLAGS) & FLAG_VLAN) != 0 && (<u32>load<u16>(d, DESC_VLAN) & 0xfff) != 0) { lost(worker, p, DROP_VLAN_NOT_MEMBER); continue; }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

/** Where flows are tracked, the host layer puts fragments together before other rules see them (−400). */
function withoutFragments(worker: usize, list: usize, n: u32): u32 {
  if (load<u32>(worker, WORKER_IS_ODD) == 0) return n;
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1)), id = load<u32>(worker + (<usize>p << 2), VEC_IDS);
    const isUntracked = <u32>load<u8>(worker + <usize>p, VEC_CTINFO) == CT_UNTRACKED;
    if (!isUntracked && (load<u32>(descriptorAt(id), DESC_FLAGS) & (FLAG_FRAGMENT | FLAG_FIRST_FRAGMENT)) != 0) {
      store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
      punt(worker, id, PUNT_FRAGMENT, 0);
      continue;
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

function lost(worker: usize, p: u32, reason: u32): void {
  drop(worker, load<u32>(worker + (<usize>p << 2), VEC_IDS), reason);
  store<u16>(worker + (<usize>p << 1), NEXT_DONE, VEC_NEXT);
}

/** From tracking to the end. `fresh`: it may be the first packet of a flow. `from`: the segment at which to begin, 0 for all. */
function onward(worker: usize, port: usize, portIndex: u32, net: usize, list: usize, n: u32, is4: bool, fresh: bool, from: u32 = 0): void {
  if (n == 0) return;
  if (from <= <u32>SEGMENT_PREROUTING) {
    n = runSegment(worker, net, SEGMENT_PREROUTING, list, n);
    n = translation(worker, net, SEGMENT_PREROUTING_NAT, list, n, NAT_DESTINATION, fresh);
  }
  n = runSegment(worker, net, SEGMENT_PREROUTING_LATE, list, n);
  let sorted = load<u32>(worker, WORKER_IS_ODD) == 0 ? n : setAside(worker, port, list, n);
  n = sorted & 0xffff;
  const balances = (load<u32>(net, NETNS_FLAGS) & NETNS_BALANCE) != 0;
  if (n != 0) sorted = routeAll(worker, port, portIndex, list, n, sorted >>> 16, is4, balances);
  through(worker, port, net, list, sorted & 0xffff, is4, fresh, 0);
  if (sorted >>> 16 != 0) arrive(worker, net, worker + VEC_LOCAL, sorted >>> 16, fresh, 0);
}

/** Routed packets that are not for this host. */
function through(worker: usize, port: usize, net: usize, list: usize, n: u32, is4: bool, fresh: bool, from: u32): void {
  if (from <= <u32>SEGMENT_FORWARD) n = runSegment(worker, net, SEGMENT_FORWARD, list, n);
  if (n == 0) return;
  const table = tableAt(<u32>load<u16>(port + (is4 ? PORT_TABLE4 : PORT_TABLE6)));
  n = leaving(worker, net, list, n, fresh, from);
  if ((load<u32>(net, NETNS_FLAGS) & NETNS_BALANCE) != 0) n = tunnelBurst(worker, table, list, n);
  if ((load<u32>(net, NETNS_FLAGS) & NETNS_HELPERS) != 0) n = helpBurst(worker, list, n);
  linkBurst(worker, table, list, n);
}

/** Where everything goes; lengths of the list that is forwarded and of VEC_LOCAL, as admitBurst returns them. */
function routeAll(worker: usize, port: usize, portIndex: u32, list: usize, n: u32, local: u32, is4: bool, balances: bool): u32 {
  const index = <u32>load<u16>(port + (is4 ? PORT_TABLE4 : PORT_TABLE6));
  if (!hasTable(index, is4 ? 4 : 6)) { unroutable(worker, list, n); return local << 16; }
  const isHost = (load<u16>(port, PORT_FLAGS) & PORT_HOST) != 0;
  n = routed(worker, port, portIndex, list, n, is4, gather(worker, tableAt(index), list, n, is4));
  if (balances) steerBurst(worker, port, tableAt(index), list, n, is4);
  return admitBurst(worker, tableAt(index), list, n, local, is4, isHost);
}

/** Looks up a list; what checks of its source take off it takes its flow along. */
function routed(worker: usize, port: usize, portIndex: u32, list: usize, n: u32, is4: bool, suspicious: bool): u32 {
  if (!suspicious && (load<u16>(port, PORT_FLAGS) & (PORT_RPF_STRICT | PORT_RPF_LOOSE)) == 0) {
    return is4 ? route4Burst(worker, port, portIndex, n, false) : route6Burst(worker, port, portIndex, n);
  }
  memory.copy(worker + VEC_SEGMENT, list, <usize>n << 1);
  for (let k: u32 = 0; k < n; k++) store<u16>(worker + (<usize>load<u16>(list + (<usize>k << 1)) << 1), 0, VEC_NEXT);
  const kept = is4 ? route4Burst(worker, port, portIndex, n, suspicious) : route6Burst(worker, port, portIndex, n);
  for (let k: u32 = 0; kept != n && k < n; k++) {
    const p = <u32>load<u16>(worker + (<usize>k << 1), VEC_SEGMENT);
    if (<u32>load<u16>(worker + (<usize>p << 1), VEC_NEXT) == NEXT_DONE) leave(worker, p);
  }
  return kept;
}

/** Out by a port: forwarded packets, and this host's own. */
function leaving(worker: usize, net: usize, list: usize, n: u32, fresh: bool, from: u32): u32 {
  if (from <= <u32>SEGMENT_POSTROUTING) {
    n = runSegment(worker, net, SEGMENT_POSTROUTING, list, n);
    n = translation(worker, net, SEGMENT_POSTROUTING_NAT, list, n, NAT_SOURCE, fresh);
  }
  if (from <= <u32>SEGMENT_POSTROUTING_LATE) {
    n = runSegment(worker, net, SEGMENT_POSTROUTING_LATE, list, n);
    n = settle(worker, net, list, n, fresh);
    if (hasPairs(net)) n = translateOut(worker, net, list, n);
  }
  return runSegment(worker, net, SEGMENT_EGRESS, list, n);
}

/** To this host. */
function arrive(worker: usize, net: usize, list: usize, n: u32, fresh: bool, from: u32): void {
  if (from <= <u32>SEGMENT_INPUT) {
    n = runSegment(worker, net, SEGMENT_INPUT, list, n);
    n = translation(worker, net, SEGMENT_INPUT_NAT, list, n, NAT_SOURCE, fresh);
  }
  n = runSegment(worker, net, SEGMENT_INPUT_LATE, list, n);
  handUp(worker, list, settle(worker, net, list, n, fresh));
}

/** All rules have let these through: new flows are the table's, numbers of proxied ones are moved. Returns how many remain. */
function settle(worker: usize, net: usize, list: usize, n: u32, fresh: bool): u32 {
  const proxies = (load<u32>(net, NETNS_FLAGS) & NETNS_SYNPROXY) != 0;
  // A rule of proxies begins flows behind the place where `fresh` was found out.
  if (fresh || proxies) n = confirmBurst(worker, list, n);
  return proxies ? proxyBurst(worker, list, n) : n;
}

/** First packets meet the chains of type nat, one by one; then all are rewritten by what their flows say. */
function translation(worker: usize, net: usize, segment: u32, list: usize, n: u32, kind: u32, fresh: bool): u32 {
  if (n == 0 || (load<u32>(net, NETNS_FLAGS) & (NETNS_TRACK | NETNS_TRACK6)) == 0) return n;
  if ((load<u32>(net, NETNS_FLAGS) & (NETNS_NAT | NETNS_BALANCE)) == 0 && !hasMappings()) return n;
  if (!fresh && (load<u32>(worker, WORKER_TURNS) & <u32>(kind == NAT_SOURCE ? IPS_SRC_NAT : IPS_DST_NAT)) == 0) return n;
  if (fresh) n = setUpAll(worker, net, segment, list, n, kind);
  return translateBurst(worker, list, n, kind);
}

function setUpAll(worker: usize, net: usize, segment: u32, list: usize, n: u32, kind: u32): u32 {
  let kept: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1));
    if (wantsSetup(worker, p, kind)) {
      const verdict = setUpOne(worker, net, segment, p, kind);
      if (verdict == VERDICT_GONE) continue;
      if (verdict != VERDICT_ACCEPT) { end(worker, p, verdict); continue; }
    }
    store<u16>(list + (<usize>kept << 1), <u16>p);
    kept++;
  }
  return kept;
}

function setUpOne(worker: usize, net: usize, segment: u32, p: u32, kind: u32): u32 {
  if (kind == NAT_DESTINATION && wasExpected(worker, p, worker + WORKER_SCRATCH)) return setUp(worker, p, worker + WORKER_SCRATCH);
  if (hasProgram(net, segment)) {
    store<u16>(worker, <u16>p, VEC_SEGMENT);
    store<u8>(worker + <usize>p, VERDICT_ACCEPT, VEC_VERDICT);
    if (runSegment(worker, net, segment, worker + VEC_SEGMENT, 1) == 0) return VERDICT_GONE;
  }
  if (!wantsSetup(worker, p, kind)) return VERDICT_ACCEPT;
  if (kind == NAT_SOURCE) return setUpNothing(worker, p);
  if (segment != SEGMENT_PREROUTING_NAT) return VERDICT_ACCEPT;
  // What no rule has sent elsewhere may be for somebody's mapping, or for a service.
  const mapped = wasMapped(worker, p, worker + WORKER_SCRATCH);
  if (mapped != NOT_MAPPED) return mapped == MAPPED ? setUpMapped(worker, p, worker + WORKER_SCRATCH) : VERDICT_FILTERED;
  if ((load<u32>(net, NETNS_FLAGS) & NETNS_BALANCE) == 0) return VERDICT_ACCEPT;
  const verdict = serve(worker, p, worker + WORKER_SCRATCH);
  return verdict == SERVED_BY_NAT ? setUp(worker, p, worker + WORKER_SCRATCH) : verdict;
}

/**
 * A packet of this host on its way out by a next hop: the hooks of output, then those of every packet that leaves. The next hop
 * that remains, or NONE when the rules ended the packet (it is gone then); it may have another id now, in VEC_IDS.
 */
export function sendThrough(worker: usize, tableIndex: u32, hopIndex: u32, id: u32): u32 {
  const table = tableAt(tableIndex), d = descriptorAt(id), chosen = resolveHop(table, hopIndex, load<u32>(d, DESC_HASH));
  const hop = hopAt(table, chosen), kind = <u32>load<u8>(hop, HOP_KIND), flags = load<u32>(d, DESC_FLAGS);
  store<u32>(worker, id, VEC_IDS);
  if (kind != HOP_FORWARD && kind != HOP_GLEAN && kind != HOP_INCOMPLETE) return chosen;
  const port = <u32>load<u16>(hop, HOP_PORT), net = port < header(HEADER_PORTS) ? networkOf(portAt(port)) : 0;
  if (net == 0 || (flags & FLAG_PASSED) != 0) return chosen;
  const is4 = describe(d), list = worker + (is4 ? VEC_LIST4 : VEC_LIST6);
  store<u16>(d, NO_PORT, DESC_INGRESS);
  store<u16>(d, <u16>chosen, DESC_NEXT_HOP);
  store<u16>(d, <u16>tableIndex, PARKED_TABLE);
  store<u16>(list, 0);
  forget(worker, net, list, 1);
  store<u16>(worker, <u16>port, VEC_OIF);
  return outward(worker, net, tableIndex, chosen, is4, SEGMENT_OUTPUT_RAW);
}

/** A packet of this host through the hooks of output from one on: the next hop that remains, or NONE. */
function outward(worker: usize, net: usize, tableIndex: u32, chosen: u32, is4: bool, from: u32): u32 {
  const list = worker + (is4 ? VEC_LIST4 : VEC_LIST6);
  let n: u32 = 1, way = chosen;
  if (from <= <u32>SEGMENT_OUTPUT_RAW) {
    n = runSegment(worker, net, SEGMENT_OUTPUT_RAW, list, n);
    if (n != 0 && (load<u32>(net, NETNS_FLAGS) & (is4 ? NETNS_TRACK : NETNS_TRACK6)) != 0) n = trackOwn(worker, net, is4);
  }
  if (from <= <u32>SEGMENT_OUTPUT) {
    n = runSegment(worker, net, SEGMENT_OUTPUT, list, n);
    n = translation(worker, net, SEGMENT_OUTPUT_NAT, list, n, NAT_DESTINATION, true);
  }
  if (from <= <u32>SEGMENT_OUTPUT_LATE) {
    n = runSegment(worker, net, SEGMENT_OUTPUT_LATE, list, n);
    if (n == 0) return NONE;
    way = rerouted(worker, tableIndex, chosen, is4);
    store<u16>(worker, load<u16>(hopAt(tableAt(tableIndex), way), HOP_PORT), VEC_OIF);
    store<u16>(descriptorAt(load<u32>(worker, VEC_IDS)), <u16>way, DESC_NEXT_HOP);
  }
  n = leaving(worker, net, list, n, true, from);
  if (n == 0) return NONE;
  const out = descriptorAt(load<u32>(worker, VEC_IDS));
  store<u32>(out, load<u32>(out, DESC_FLAGS) | FLAG_PASSED, DESC_FLAGS);
  return way;
}

/**
 * A packet that has waited for a verdict goes on behind the chain that sent it to wait, as far as its road leads. Results as of sendThrough for one of this host:
 * the next hop that it is to be sent by; NONE for all that has ended, or is staged (`VEC_NEXT` of position 0).
 */
export function resume(worker: usize, id: u32): u32 {
  const d = descriptorAt(id), segment = <u32>load<u8>(d, PARKED_SEGMENT), flags = load<u32>(d, DESC_FLAGS), is4 = (flags & FLAG_IP4) != 0;
  const ingress = <u32>load<u16>(d, DESC_INGRESS), isOwn = ingress == NO_PORT, outPort = <u32>load<u16>(d, PARKED_OUT), portIndex = isOwn ? outPort : ingress;
  const port = portIndex < header(HEADER_PORTS) ? portAt(portIndex) : 0, net = port == 0 ? 0 : networkOf(port), list = worker + (is4 ? VEC_LIST4 : VEC_LIST6);
  followAgain(worker, d);
  store<u32>(worker, id, VEC_IDS);
  store<u16>(list, 0);
  store<u16>(worker, NEXT_DONE, VEC_NEXT);
  store<u32>(worker, ODD, WORKER_IS_ODD);
  store<u32>(worker, IPS_SRC_NAT | IPS_DST_NAT, WORKER_TURNS);
  if (net == 0) { lost(worker, 0, DROP_NO_ROUTE); return NONE; }
  forget(worker, net, list, 1);
  const parked = load<u32>(d, PARKED_FLOW), ref = still(worker, d, parked, is4, false);
  store<u32>(worker, ref, VEC_FLOW);
  const hasEnded = ref == 0 && parked != 0 && (parked & PARKED_ZONE) == 0;
  if ((parked & PARKED_ZONE) != 0) store<u32>(worker, parked ^ PARKED_ZONE, VEC_ZONE);
  store<u8>(worker, hasEnded ? <u8>CT_INVALID : load<u8>(d, PARKED_CTINFO), VEC_CTINFO);
  store<u16>(worker, <u16>outPort, VEC_OIF);
  store<u32>(d, 0, PARKED_FLOW);
  store<u32>(worker, <u32>load<u8>(d, PARKED_CHAIN) | ((segment + 1) << 8), WORKER_RESUME);
  const fresh = ref != 0 && (load<u32>(flowAt(ref >>> 1), FLOW_STATUS) & IPS_CONFIRMED) == 0;
  let way: u32 = NONE;
  if (isOwn) way = outward(worker, net, <u32>load<u16>(d, PARKED_TABLE), <u32>load<u16>(d, DESC_NEXT_HOP), is4, segment);
  else onwardFrom(worker, port, portIndex, net, list, is4, fresh, segment);
  store<u32>(worker, 0, WORKER_RESUME);
  return way;
}

function onwardFrom(worker: usize, port: usize, portIndex: u32, net: usize, list: usize, is4: bool, fresh: bool, segment: u32): void {
  if (segment == SEGMENT_PREROUTING_RAW || segment == SEGMENT_INGRESS || segment == SEGMENT_PREROUTING_FIRST) {
    const flags = load<u32>(net, NETNS_FLAGS), tracks = (flags & (is4 ? NETNS_TRACK : NETNS_TRACK6)) != 0;
    let n: u32 = 1;
    if (segment == SEGMENT_INGRESS) n = runSegment(worker, net, SEGMENT_INGRESS, list, n);
    if (segment != SEGMENT_PREROUTING_RAW) n = runSegment(worker, net, SEGMENT_PREROUTING_FIRST, list, n);
    if (segment != SEGMENT_PREROUTING_RAW && tracks && (flags & NETNS_DEFRAG) != 0) n = withoutFragments(worker, list, n);
    tracked(worker, port, portIndex, net, list, runSegment(worker, net, SEGMENT_PREROUTING_RAW, list, n), is4, tracks);
  } else if (segment >= <u32>SEGMENT_FORWARD) through(worker, port, net, list, 1, is4, fresh, segment);
  else if (segment >= <u32>SEGMENT_INPUT) arrive(worker, net, list, 1, fresh, segment);
  else onward(worker, port, portIndex, net, list, 1, is4, fresh, segment);
}

/**
 * The flow `ref` of a packet that has waited, if it still lives; 0 without one. One that has begun with it waits as long as it does. `isError`: it
 * tells the sender of that flow's packet, from wherever.
 */
function still(worker: usize, d: usize, ref: u32, is4: bool, isError: bool): u32 {
  if (ref == 0 || (ref & PARKED_ZONE) != 0) return 0;
  const hot = flowAt(ref >>> 1), status = load<u32>(hot, FLOW_STATUS);
  if ((status & IPS_DYING) != 0) return 0;
  if ((status & IPS_CONFIRMED) == 0) return ref;
  // The record may be another flow's by now: its addresses, as they were or as they are translated, are in the packet.
  const l3 = <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L3), mine = worker + WORKER_TUPLES, theirs = mine + TUPLE_SIZE, width: usize = is4 ? 4 : 16;
  tupleOf(ref >>> 1, ref & 1, mine);
  tupleOf(ref >>> 1, 1 - (ref & 1), theirs);
  const source = l3 + (is4 ? 12 : 8), destination = source + width;
  const from = memory.compare(source, mine, width) == 0 || memory.compare(source, theirs + width, width) == 0;
  const to = memory.compare(destination, mine + width, width) == 0 || memory.compare(destination, theirs, width) == 0;
  return to && (isError || (from && <u32>load<u8>(hot, FLOW_PROTOCOL) == <u32>load<u8>(d, DESC_PROTOCOL))) ? ref : 0;
}

/** A packet that has waited ends here, and with it the flow that it would have begun. */
export function discardParked(worker: usize, id: u32): void {
  const ref = load<u32>(descriptorAt(id), PARKED_FLOW);
  store<u32>(descriptorAt(id), 0, PARKED_FLOW);
  if (ref != 0 && (ref & PARKED_ZONE) == 0) abandon(ref >>> 1);
  drop(worker, id, DROP_FILTER);
}

function trackOwn(worker: usize, net: usize, is4: bool): u32 {
  if (attach(worker, descriptorAt(load<u32>(worker, VEC_IDS)), is4)) return 1;
  if (<u32>load<u8>(worker, VEC_CTINFO) == CT_UNTRACKED || (load<u32>(descriptorAt(load<u32>(worker, VEC_IDS)), DESC_FLAGS) & FLAG_FRAGMENT) != 0) return 1;
  const reason = trackOne(worker, net, 0, is4);
  if (reason == 0) {
    // What this host says about a packet that got no further is about that packet's flow, which nobody may know any more.
    const isAttached = (load<u32>(descriptorAt(load<u32>(worker, VEC_IDS)), DESC_FLAGS) & FLAG_ATTACHED) != 0;
    if (isAttached && <u32>load<u8>(worker, VEC_CTINFO) == CT_INVALID) store<u8>(worker, CT_RELATED, VEC_CTINFO);
    return 1;
  }
  lost(worker, 0, reason);
  return 0;
}

/** A reset that a rule has sent is of the connection that it ends, an error of the one that it is about, and neither is tracked by itself (nf_ct_attach). */
function attach(worker: usize, d: usize, is4: bool): bool {
  if ((load<u32>(d, DESC_FLAGS) & FLAG_ATTACHED) == 0) return false;
  const about = load<u32>(d, ATTACHED_FLOW);
  if (about == 0 || about >>> 1 > load<u32>(flows(), FLOWS_CAPACITY) || (load<u32>(flowAt(about >>> 1), FLOW_STATUS) & IPS_CONFIRMED) == 0) return false;
  const isError = <u32>load<u8>(d, DESC_PROTOCOL) != TCP, ref = still(worker, d, about, is4, isError);
  if (ref == 0) return false;
  examineL4(d);
  store<u32>(worker, ref, VEC_FLOW);
  store<u8>(worker, (ref & 1) == 0 ? CT_RELATED : CT_RELATED_REPLY, VEC_CTINFO);
  if (!isError) close(ref >>> 1, load<u32>(worker, WORKER_TICKS));
  return true;
}

/** Where a packet goes whose destination was changed on its way out. */
function rerouted(worker: usize, tableIndex: u32, hop: u32, is4: bool): u32 {
  const ref = load<u32>(worker, VEC_FLOW);
  if (ref == 0) return hop;
  const status = load<u32>(flowAt(ref >>> 1), FLOW_STATUS);
  if ((status & ((ref & 1) == 0 ? IPS_DST_NAT : IPS_SRC_NAT)) == 0) return hop;
  const table = tableAt(tableIndex);
  gather(worker, table, worker + (is4 ? VEC_LIST4 : VEC_LIST6), 1, is4);
  const found = is4 ? lookup4(table, load<u32>(worker, VEC_ADDR4)) : lookup6(table, worker + VEC_ADDR6);
  return resolveHop(table, found, load<u32>(descriptorAt(load<u32>(worker, VEC_IDS)), DESC_HASH));
}

/** One packet through one segment of a port's rules: its id now, or NONE when it is gone. Where nothing is said it came from here, and leaves by the port. */
export function filterOne(worker: usize, port: u32, segment: u32, id: u32): u32 {
  const net = networkOf(portAt(port)), list = worker + VEC_LIST4;
  if (net == 0 || !hasProgram(net, segment)) return id;
  store<u32>(worker, id, VEC_IDS);
  store<u16>(list, 0);
  forget(worker, net, list, 1);
  if (<u32>load<u16>(descriptorAt(id), DESC_INGRESS) == NO_PORT) store<u16>(worker, <u16>port, VEC_OIF);
  return runSegment(worker, net, segment, list, 1) == 0 ? NONE : load<u32>(worker, VEC_IDS);
}

/** What a packet is that begins with its network header and was not classified; true for IPv4. */
function describe(d: usize): bool {
  const flags = load<u32>(d, DESC_FLAGS), at = <usize>load<u32>(d, DESC_DATA);
  if ((flags & (FLAG_IP4 | FLAG_IP6)) != 0) return (flags & FLAG_IP4) != 0;
  const is4 = load<u8>(at) >>> 4 == 4;
  store<u16>(d, 0, DESC_L3);
  if (is4) {
    const cut = load<u16>(at, 6) & 0xff3f;
    store<u16>(d, (load<u8>(at) & 15) << 2, DESC_L4);
    store<u8>(d, load<u8>(at, 9), DESC_PROTOCOL);
    store<u32>(d, flags | FLAG_IP4 | (cut != 0 ? FLAG_FRAGMENT : 0), DESC_FLAGS);
    return true;
  }
  const walk = walkExtensions(at, load<u32>(d, DESC_LENGTH));
  store<u16>(d, <u16>walk, DESC_L4);
  store<u8>(d, <u8>(walk >> 16), DESC_PROTOCOL);
  store<u32>(d, flags | FLAG_IP6 | (<u32>(walk >> 32) & 0xffffff), DESC_FLAGS);
  return false;
}

/** Addresses of a list, where lookups want them. May a source be this host's own (IPv4)? */
function gather(worker: usize, table: usize, list: usize, n: u32, is4: bool): bool {
  const descriptors = region(REGION_DESCRIPTORS);
  let own: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = <usize>load<u16>(list + (<usize>k << 1)), d = descriptors + (<usize>load<u32>(worker + (p << 2), VEC_IDS) << DESC_SHIFT);
    const at = <usize>load<u32>(d, DESC_DATA) + <usize>load<u16>(d, DESC_L3);
    if (is4) {
      store<u32>(worker + (<usize>k << 2), load32(at + 16), VEC_ADDR4);
      const source = load<u32>(at, 12);
      store<u32>(worker + (<usize>k << 2), source, VEC_SRC4);
      own |= mayBeOwn(table, source);
    } else {
      v128.store(worker + (<usize>k << 4), toQuery(at + 24), VEC_ADDR6);
      v128.store(worker + (<usize>k << 4), toQuery(at + 8), VEC_SRC6);
    }
  }
  return (own & 1) != 0;
}

function unroutable(worker: usize, list: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const p = <u32>load<u16>(list + (<usize>k << 1));
    leave(worker, p);
    lost(worker, p, DROP_NO_ROUTE);
  }
}
