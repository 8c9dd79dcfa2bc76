/** A small engine laid out by hand in the pages below the specs' own memory: four ports, 32 buffers, one table a family. */
import {
  BRIDGE_ACTIVE, BRIDGE_AGEING, BRIDGE_BUCKETS, BRIDGE_LARGEST, BRIDGE_MASK, BRIDGE_PORTS, DESC_DATA, DESC_LENGTH,
  DESC_PACKET_LENGTH, DESC_SIZE, HEADER, HEADER_BARE_LIMIT, HEADER_BUFFERS, HEADER_BUFFER_LIMIT, HEADER_CLASSES,
  HEADER_DESCRIPTORS, HEADER_EPOCH, HEADER_HEADROOM, HEADER_PORTS, HEADER_PUNT_CAPACITY, HEADER_REGIONS,
  HEADER_RING_CAPACITY, HEADER_SIZE, HEADER_STRIDE, HEADER_TABLES, HEADER_WORKERS, HOP_FORWARD, HOP_KIND,
  HOP_L2_LENGTH, HOP_MTU, HOP_PORT, HOP_REWRITE, HOP_SIZE, KIND_RINGS, MODE_BRIDGED, POOL_BUFFERS, PORT_FLAGS,
  PORT_KIND, PORT_MAC, PORT_MEMBER, PORT_MODE, PORT_MTU, PORT_RX, PORT_SIZE, PORT_STAT_SIZE, PORT_TABLE6, PORT_TX,
  PORT_UP, PUNT_SIZE, REGION_APP, REGION_BRIDGES, REGION_BUFFERS, REGION_DESCRIPTORS, REGION_FIB, REGION_GROUPS,
  REGION_NEXT_HOPS, REGION_PORTS, REGION_PORT_STATS, REGION_PUNTS, REGION_RESERVES, REGION_RIB, REGION_RINGS,
  REGION_STAGES, REGION_TABLES, REGION_WORKERS, RESERVE_HEADER_SIZE, RING_HEADER_SIZE, STAGE_CAPACITY, TABLE_FAMILY,
  TABLE_HOPS, TABLE_HOP_LIMIT, TABLE_LEAF_BYTES, TABLE_SIZE, WORKER_BUFFER_COUNT, WORKER_COUNTERS, WORKER_PORTS,
  WORKER_PORT_COUNT, WORKER_SIZE,
} from "../abi";
import { descriptorAt, portAt, region, tableAt, workerAt } from "../core/layout";
import { freeInReserve, initPools, takeBuffer } from "../core/pool";
import { initPunts, ringPop } from "../core/ring";
import { initArena } from "../core/arena";
import { create4 } from "../table/fib4";
import { create6 } from "../table/fib6";
import { store16, store32 } from "../wire/bytes";
import { pseudo4, sum, sum20 } from "../wire/checksum";

export const BUFFERS: u32 = 32;
export const BARE: u32 = 32;
export const HOPS: u32 = 16;
const PORTS: u32 = 4;
const CAPACITY: u32 = 64;
const RING: u32 = RING_HEADER_SIZE + 4 * CAPACITY;
const LIMBO: u32 = 4096;
const FIB: u32 = 4 << 20;
const RIB: u32 = 14 << 20;

/** The port's own address, 02:00:00:00:00:01, as it lies in memory; port p has 02:00:00:00:00:(p + 1). */
export const OUR_MAC: u64 = 0x010000000002;

function place(index: u32, base: u32, size: u32): u32 {
  store<u32>(HEADER + HEADER_REGIONS + (<usize>index << 3), base);
  store<u32>(HEADER + HEADER_REGIONS + 4 + (<usize>index << 3), size);
  return (base + size + 127) & ~63;
}

function set(offset: usize, value: u32): void {
  store<u32>(HEADER + offset, value);
}

/** Lays everything out anew; after it, nothing is in flight and no counter has counted. */
export function layOut(): void {
  memory.fill(HEADER, 0, 24 << 20);
  set(HEADER_WORKERS, 1);
  set(HEADER_PORTS, PORTS);
  set(HEADER_BUFFERS, BUFFERS);
  set(HEADER_DESCRIPTORS, BUFFERS + BARE);
  set(HEADER_STRIDE, 2240);
  set(HEADER_HEADROOM, 128);
  set(HEADER_TABLES, 2);
  set(HEADER_RING_CAPACITY, CAPACITY);
  set(HEADER_PUNT_CAPACITY, CAPACITY);
  set(HEADER_BUFFER_LIMIT, 8);
  set(HEADER_BARE_LIMIT, 8);
  set(HEADER_EPOCH, 1);
  let at: u32 = HEADER + HEADER_SIZE + 64;
  at = place(REGION_WORKERS, at, WORKER_SIZE);
  at = place(REGION_STAGES, at, PORTS * STAGE_CAPACITY * 4);
  at = place(REGION_PORTS, at, PORTS * PORT_SIZE);
  at = place(REGION_PORT_STATS, at, PORTS * PORT_STAT_SIZE);
  at = place(REGION_RINGS, at, PORTS * 2 * RING);
  at = place(REGION_PUNTS, at, RING_HEADER_SIZE + CAPACITY * PUNT_SIZE);
  at = place(REGION_RESERVES, at, 2 * RESERVE_HEADER_SIZE + 4 * (BUFFERS + BARE + 32));
  at = place(REGION_DESCRIPTORS, at, (BUFFERS + BARE) * DESC_SIZE);
  at = place(REGION_BUFFERS, at, BUFFERS * 2240);
  at = place(REGION_TABLES, at, 2 * TABLE_SIZE);
  at = place(REGION_NEXT_HOPS, at, 2 * HOPS * (64 + HOP_SIZE));
  at = place(REGION_GROUPS, at, 1024);
  at = place(REGION_FIB, at, FIB);
  at = place(REGION_RIB, at, RIB + 65536);
  at = place(REGION_BRIDGES, at, 128 + BRIDGE_BUCKETS + 16 * 64);
  place(REGION_APP, at, 65536);
  classes();
  initPools();
  initPunts();
  initArena(region(REGION_FIB), FIB, LIMBO);
  initArena(region(REGION_RIB), RIB, 16);
  scratch();
  for (let p: u32 = 0; p < PORTS; p++) initPort(p);
  store<u32>(workerAt(0), PORTS, WORKER_PORT_COUNT);
  initTable(0, 4);
  initTable(1, 6);
}

function classes(): void {
  const at = <usize>HEADER + HEADER_CLASSES;
  store<u8>(at, 1, 0);
  store<u8>(at, 2, 127);
  store<u8>(at, 4, 169);
  memory.fill(at + 224, 8, 16);
  memory.fill(at + 240, 16, 16);
}

/** What the cold arena leaves of its region is scratch for building nodes. */
function scratch(): void {
  const cold = region(REGION_RIB);
  store<u32>(cold, <u32>cold + RIB, 32);
  store<u32>(cold, 65536, 36);
}

function initPort(p: u32): void {
  const port = portAt(p), rings = <u32>region(REGION_RINGS);
  store<u8>(port, KIND_RINGS, PORT_KIND);
  store<u16>(port, PORT_UP, PORT_FLAGS);
  store<u32>(port, 1500, PORT_MTU);
  store<u64>(port, OUR_MAC + (<u64>p << 40), PORT_MAC);
  store<u16>(port, 1, PORT_TABLE6);
  store<u32>(port, rings + 2 * p * RING, PORT_RX);
  store<u32>(port, rings + (2 * p + 1) * RING, PORT_TX);
  store<u16>(workerAt(0) + (<usize>p << 1), <u16>p, WORKER_PORTS);
}

function initTable(index: u32, family: u32): void {
  const table = tableAt(index), hops = region(REGION_NEXT_HOPS) + <usize>index * HOPS * (64 + HOP_SIZE);
  store<u32>(table, family, TABLE_FAMILY);
  store<u32>(table, 1, TABLE_LEAF_BYTES);
  store<u32>(table, <u32>hops, TABLE_HOPS);
  store<u32>(table, HOPS, TABLE_HOP_LIMIT);
  for (let h: u32 = 0; h < HOPS; h++) store<u32>(hops + (<usize>h << 2), <u32>hops + HOPS * 64 + h * HOP_SIZE);
  if (family == 4) create4(table);
  else create6(table);
}

/** Gives hop `index` a kind; "forward" hops go out of `port` behind 14 bytes of 0xee. */
export function setHop(table: u32, index: u32, kind: u32, port: u32, mtu: u32): usize {
  const hop = <usize>load<u32>(<usize>load<u32>(tableAt(table), TABLE_HOPS) + (<usize>index << 2));
  store<u8>(hop, <u8>kind, HOP_KIND);
  store<u16>(hop, <u16>port, HOP_PORT);
  store<u32>(hop, mtu, HOP_MTU);
  if (kind == HOP_FORWARD) {
    store<u8>(hop, 14, HOP_L2_LENGTH);
    memory.fill(hop + HOP_REWRITE + 18, 0xee, 14);
  }
  return hop;
}

/** Ports 0 to `members - 1` joined by bridge 0, with 16 buckets. */
export function setBridge(members: u32): usize {
  const bridge = region(REGION_BRIDGES) + 64;
  store<u32>(region(REGION_BRIDGES), <u32>bridge);
  store<u32>(bridge, 15, BRIDGE_MASK);
  store<u32>(bridge, 300, BRIDGE_AGEING);
  store<u64>(bridge, (<u64>1 << <u64>members) - 1, BRIDGE_ACTIVE);
  store<u32>(bridge, 1518, BRIDGE_LARGEST);
  for (let m: u32 = 0; m < members; m++) {
    store<u16>(bridge + (<usize>m << 1), <u16>m, BRIDGE_PORTS);
    store<u16>(portAt(m), <u16>m, PORT_MEMBER);
    store<u8>(portAt(m), MODE_BRIDGED, PORT_MODE);
  }
  return bridge;
}

/** A buffer with `length` zero bytes of frame, to `destination` from 02:00:00:00:00:99. */
export function frame(destination: u64, type: u32, length: u32): u32 {
  const id = takeBuffer(workerAt(0)), d = descriptorAt(id), at = dataOf(id);
  memory.fill(at, 0, length);
  store<u64>(at, destination);
  store<u64>(at, <u64>0x990000000002, 6);
  store16(at + 12, type);
  store<u32>(d, length, DESC_LENGTH);
  store<u32>(d, length, DESC_PACKET_LENGTH);
  return id;
}

/** IPv4 and UDP (or TCP) from 192.0.2.1:1000 to `to`:2000 with `payload` bytes of 0x5a; all checksums right. */
export function packet4(to: u32, protocol: u32, payload: u32): u32 {
  const l4: u32 = protocol == 6 ? 20 : 8;
  const id = frame(OUR_MAC, 0x0800, 34 + l4 + payload), at = dataOf(id) + 14;
  store<u8>(at, 0x45);
  store16(at + 2, 20 + l4 + payload);
  store<u8>(at, 64, 8);
  store<u8>(at, <u8>protocol, 9);
  store32(at + 12, 0xc0000201);
  store32(at + 16, to);
  memory.fill(at + 20 + l4, 0x5a, payload);
  store16(at + 20, 1000);
  store16(at + 22, 2000);
  if (protocol == 6) store16(at + 32, 0x5010);
  else store16(at + 24, l4 + payload);
  return sealed4(id);
}

/** Computes both checksums of an IPv4 packet anew. */
export function sealed4(id: u32): u32 {
  const at = dataOf(id) + 14, tcp = load<u8>(at, 9) == 6, field = at + (tcp ? 36 : 26);
  const length = load<u32>(descriptorAt(id), DESC_LENGTH) - 34;
  store<u16>(at, 0, 10);
  store<u16>(at, <u16>~sum20(at), 10);
  store<u16>(field, 0);
  const l4 = pseudo4(at + 12, load<u8>(at, 9), length) + sum(at + 20, length);
  store<u16>(field, <u16>~((l4 & 0xffff) + (l4 >>> 16)));
  return id;
}

/** IPv6 and UDP from 2001:db8::1 to an address in 2001:db8::/32 that ends in `to`, hop limit 64. */
export function packet6(to: u32, payload: u32): u32 {
  const id = frame(OUR_MAC, 0x86dd, 62 + payload), at = dataOf(id) + 14;
  store<u8>(at, 0x60);
  store16(at + 4, 8 + payload);
  store<u8>(at, 17, 6);
  store<u8>(at, 64, 7);
  store32(at + 8, 0x20010db8);
  store<u8>(at, 1, 23);
  store32(at + 24, 0x20010db8);
  store32(at + 36, to);
  store16(at + 44, 8 + payload);
  return id;
}

/** Where a packet's bytes begin. */
export function dataOf(id: u32): usize {
  return <usize>load<u32>(descriptorAt(id), DESC_DATA);
}

export function counter(index: u32): u32 {
  return <u32>load<u64>(workerAt(0) + WORKER_COUNTERS + (<usize>index << 3));
}

/** Buffers that are in nobody's free list. */
export function inFlight(): u32 {
  return BUFFERS - freeInReserve(POOL_BUFFERS) - load<u32>(workerAt(0), WORKER_BUFFER_COUNT);
}

/** Takes one packet from a port's output ring; -1 when it is empty. */
export function sent(port: u32): i32 {
  const out = region(REGION_APP);
  return ringPop(<usize>load<u32>(portAt(port), PORT_TX), out, 1) == 1 ? load<i32>(out) : -1;
}

/** True when the header at `at` sums to what it should. */
export function headerGood(at: usize): bool {
  return sum20(at) == 0xffff;
}
