/**
 * What compiled rules ask of the road and of the host: routes (fib), copies for logs and other ports (log, dup, fwd).
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_INGRESS, DESC_L3, DESC_L4, DESC_LENGTH, DESC_PACKET_LENGTH, FIB_OIF,
  DESC_LOG_OUT, FLAG_IP4, FLAG_IP6, HEADER_PORTS, HEADER_TABLES, HOP_BROADCAST, HOP_FORWARD, HOP_GLEAN, HOP_INCOMPLETE, HOP_KIND, HOP_LOCAL, HOP_PORT,
  IFACE_INDEX, IFACE_SIZE, NONE, NO_PORT, PORT_TABLE4, PORT_TABLE6, PUNT_LOG, REGION_IFACES, SENT, TABLE_FAMILY,
  TABLE_ROOT, VERDICT_STOLEN, VEC_IDS, VEC_OIF,
  WORKER_TUPLES, DESC_HASH, DESC_MARK, PORT_MTU, HOP_BLACKHOLE, HOP_PROHIBIT, HOP_UNREACHABLE,
} from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt, header, portAt, region, tableAt } from "../core/layout";
import { punt } from "../core/packet";
import { clonePacket, release } from "../core/pool";
import { sendByHop } from "../device/send";
import { stage } from "../device/transmit";
import { hopAt, resolveHop } from "../table/hops";
import { lookUpAddress } from "../table/lookup-rules";
import { swap32 } from "../wire/bytes";

/** linux/rtnetlink.h, RTN_*. */
const UNICAST: u32 = 1;
const LOCAL: u32 = 2;
const BROADCAST: u32 = 3;
const MULTICAST: u32 = 5;
const BLACKHOLE: u32 = 6;
const UNREACHABLE: u32 = 7;
const PROHIBIT: u32 = 8;
/** linux/netfilter/nf_tables.h, NFTA_FIB_F_*. */
const BY_SOURCE: u32 = 1;
const BY_MARK: u32 = 4;
const BY_INPUT: u32 = 8;
const BY_OUTPUT: u32 = 16;

@inline
function idOf(worker: usize, position: u32): u32 {
  return load<u32>(worker + (<usize>position << 2), VEC_IDS);
}

function hasTable(index: u32, family: u32): bool {
  if (index >= header(HEADER_TABLES)) return false;
  const table = tableAt(index);
  return load<u32>(table, TABLE_FAMILY) == family && load<u32>(table, TABLE_ROOT) != 0;
}

/** The port that knows the road: where the packet came in, or where it leaves when it is our own. */
function viewport(worker: usize, position: u32, d: usize): u32 {
  const ingress = <u32>load<u16>(d, DESC_INGRESS);
  return ingress < header(HEADER_PORTS) ? ingress : <u32>load<u16>(worker + (<usize>position << 1), VEC_OIF);
}

/** Next hop of an address by a port's table and rules, or 0: there is no route. */
function hopTo(worker: usize, port: u32, is4: bool, at: usize, from: usize, mark: u32, hash: u32): usize {
  if (port >= header(HEADER_PORTS)) return 0;
  const index = <u32>load<u16>(portAt(port) + (is4 ? PORT_TABLE4 : PORT_TABLE6));
  if (!hasTable(index, is4 ? 4 : 6)) return 0;
  const table = tableAt(index);
  return hopAt(table, resolveHop(table, lookUpAddress(portAt(port), table, worker + WORKER_TUPLES, is4, at, from, mark), hash));
}

@inline
function isRoad(kind: u32): bool {
  return kind == HOP_FORWARD || kind == HOP_GLEAN || kind == HOP_INCOMPLETE;
}

/** What the table says of a packet's source or destination: what the port it is behind is called (address of IFACE_*; 0: none), or its type. */
export function askFib(worker: usize, position: u32, flags: u32, result: u32): u32 {
  const d = descriptorAt(idOf(worker, position)), kinds = load<u32>(d, DESC_FLAGS);
  if ((kinds & (FLAG_IP4 | FLAG_IP6)) == 0) return 0;
  const is4 = (kinds & FLAG_IP4) != 0, source = (flags & BY_SOURCE) != 0;
  const network = <usize>load<u32>(d, DESC_DATA) + load<u16>(d, DESC_L3);
  const at = network + (is4 ? (source ? 12 : 16) : source ? 8 : 24);
  const out = <u32>load<u16>(worker + (<usize>position << 1), VEC_OIF), ingress = <u32>load<u16>(d, DESC_INGRESS);
  const port = (flags & BY_OUTPUT) != 0 ? out : viewport(worker, position, d);
  const other = network + (is4 ? (source ? 16 : 12) : source ? 24 : 8), mark = (flags & BY_MARK) != 0 ? load<u32>(d, DESC_MARK) : 0;
  const hop = hopTo(worker, port, is4, at, other, mark, load<u32>(d, DESC_HASH)), kind = hop == 0 ? 0 : <u32>load<u8>(hop, HOP_KIND);
  const bound: u32 = (flags & BY_INPUT) != 0 ? ingress : (flags & BY_OUTPUT) != 0 ? out : NO_PORT;
  if (result == FIB_OIF) {
    if (!isRoad(kind)) return 0;
    const through = <u32>load<u16>(hop, HOP_PORT);
    if (through >= header(HEADER_PORTS) || (bound != NO_PORT && through != bound)) return 0;
    return <u32>(region(REGION_IFACES) + <usize>through * IFACE_SIZE);
  }
  return typeOf(is4, at, kind);
}

function typeOf(is4: bool, at: usize, kind: u32): u32 {
  if (is4) {
    const address = swap32(load<u32>(at));
    if (address == 0xffffffff || address >>> 24 == 0) return BROADCAST;
    if (address >>> 28 == 14) return MULTICAST;
  } else if (<u32>load<u8>(at) == 0xff) return MULTICAST;
  if (kind == HOP_LOCAL) return LOCAL;
  if (kind == HOP_BROADCAST) return BROADCAST;
  if (is4 || kind == 0) return is4 ? UNICAST : UNREACHABLE;
  return kind == HOP_BLACKHOLE ? BLACKHOLE : kind == HOP_UNREACHABLE ? UNREACHABLE : kind == HOP_PROHIBIT ? PROHIBIT : UNICAST;
}

/** A copy of the packet for the host, with the number of the statement that wants it. */
export function logPacket(worker: usize, position: u32, number: u32): void {
  const copy = clonePacket(worker, idOf(worker, position));
  if (copy == NONE) return;
  store<u16>(descriptorAt(copy), load<u16>(worker + (<usize>position << 1), VEC_OIF), DESC_LOG_OUT);
  punt(worker, copy, PUNT_LOG, number);
}

/** The port of an interface index, or NO_PORT. */
function portOf(index: u32): u32 {
  const first = region(REGION_IFACES), ports = header(HEADER_PORTS);
  for (let p: u32 = 0; index != 0 && p < ports; p++) if (load<u32>(first + <usize>p * IFACE_SIZE, IFACE_INDEX) == index) return p;
  return NO_PORT;
}

/** Takes `bytes` of headers off the front. */
function strip(d: usize, bytes: u32): void {
  store<u32>(d, load<u32>(d, DESC_DATA) + bytes, DESC_DATA);
  store<u32>(d, load<u32>(d, DESC_LENGTH) - bytes, DESC_LENGTH);
  store<u32>(d, load<u32>(d, DESC_PACKET_LENGTH) - bytes, DESC_PACKET_LENGTH);
  store<u16>(d, <u16>(<u32>load<u16>(d, DESC_L4) - bytes), DESC_L4);
  store<u16>(d, 0, DESC_L3);
}

/** Sends a packet to the neighbour or gateway at `address` (family 4 or 6), or as it is to a port (family 0); false: it stays the caller's. */
function sendTo(worker: usize, position: u32, id: u32, family: u32, address: usize, device: u32): bool {
  const port = portOf(device), d = descriptorAt(id);
  if (family == 0) {
    if (port == NO_PORT) return false;
    stage(worker, port, id);
    return true;
  }
  const from = port != NO_PORT ? port : viewport(worker, position, d);
  if (from >= header(HEADER_PORTS)) return false;
  const index = <u32>load<u16>(portAt(from) + (family == 4 ? PORT_TABLE4 : PORT_TABLE6));
  if (!hasTable(index, family)) return false;
  const table = tableAt(index), hop = lookUpAddress(portAt(from), table, worker + WORKER_TUPLES, family == 4, address, 0, 0);
  // The next hop's link header goes in front of the network header: into a head of our own, never over what a clone shows.
  const own = privateHead(worker, id);
  if (own == NONE) return false;
  strip(descriptorAt(own), load<u16>(descriptorAt(own), DESC_L3));
  if (sendByHop(worker, table, hop, own) != SENT) release(worker, own);
  return true;
}

/** Sends a copy (dup); nothing happens when there is no road or no descriptor for it. */
export function duplicatePacket(worker: usize, position: u32, family: u32, address: usize, device: u32): void {
  const copy = clonePacket(worker, idOf(worker, position));
  if (copy != NONE && !sendTo(worker, position, copy, family, address, device)) release(worker, copy);
}

/** Sends the packet itself (fwd): VERDICT_STOLEN, or a drop when there is no road. */
export function forwardPacket(worker: usize, position: u32, family: u32, address: usize, device: u32): u32 {
  return sendTo(worker, position, idOf(worker, position), family, address, device) ? VERDICT_STOLEN : 0;
}

/** Largest TCP segment that both ends' ports take. */
export function segmentLimit(worker: usize, position: u32): u32 {
  const d = descriptorAt(idOf(worker, position)), ports = header(HEADER_PORTS);
  const out = <u32>load<u16>(worker + (<usize>position << 1), VEC_OIF), ingress = <u32>load<u16>(d, DESC_INGRESS);
  if (out >= ports) return 0;
  let mtu = load<u32>(portAt(out), PORT_MTU);
  if (ingress < ports) mtu = min<u32>(mtu, load<u32>(portAt(ingress), PORT_MTU));
  const headers: u32 = (load<u32>(d, DESC_FLAGS) & FLAG_IP4) != 0 ? 40 : 60;
  return mtu > headers ? min<u32>(mtu - headers, 0xffff) : 0;
}
