/**
 * The memory map. Everything is sized once from the options; `layout` is pure, `writeHeader` puts its result
 * where the data plane looks for it.
 */
import * as abi from "../../assembly/abi.ts";
import { invalid } from "../base/errors.ts";
import { balanceRegion, writeBalanceHeader } from "./balance-region.ts";
import { type FlowSizes, flowLayout } from "./flows.ts";

/** Sizes of everything the engine will ever hold. */
export interface EngineSizes extends FlowSizes {
  /** Ports, 1 to 256. Default 2. */
  ports?: number;
  /** Worker threads beside the calling thread, 0 to 15. Default 0: the caller polls. */
  threads?: number;
  /** Packet buffers of 2 KiB. Default 4096. */
  buffers?: number;
  /** Descriptors without a buffer, for clones and payload by reference. Default: as many as buffers. */
  bareDescriptors?: number;
  /** Bytes in front of each received frame for headers to be added, a multiple of 64. Default 128. */
  headroom?: number;
  /** Entries of each port ring, a power of two. Default 1024. */
  ringCapacity?: number;
  /** Entries of the ring to the host layer, a power of two. Default 1024. */
  puntCapacity?: number;
  /** Routing tables, both families together: a host takes two, and two for each further table of its rules. Default: two a port, at most 8. */
  tables?: number;
  /** Next hops per table, at most 65,535; up to 255 (index 0 is "no route") leaves take one byte. Default 255. */
  nextHops?: number;
  /** IPv4 and IPv6 routes to make room for, over all tables. Defaults 100,000 and 20,000. */
  routes4?: number;
  routes6?: number;
  /** Bridges, each with a port of its own beside `ports`, and stations each can learn. Defaults 0 and 4096. */
  bridges?: number;
  stations?: number;
  /** Bytes for next-hop group buckets. Default 64 KiB. */
  groupBytes?: number;
  /** Bytes for generators: templates and address streams. Default 0. */
  generatorBytes?: number;
  /** Samples kept by a sink. Default 0. */
  samples?: number;
  /** Bytes for the application: what the hosts' sockets have to send and to be read, which goes by reference. Default 16 MiB. */
  appBytes?: number;
  /** Bytes for rules: their sets, maps and counters. Default 0. */
  filterBytes?: number;
  /** Services of load balancing, backends of all of them, and clients that keep theirs. Defaults 0, 16 a service, and 65,536 if there are services. */
  services?: number;
  backends?: number;
  clients?: number;
  /** Bytes for queues of output ports and policers, beside 32 for each descriptor. Default 0. */
  queueBytes?: number;
}

export interface Region {
  readonly base: number;
  readonly size: number;
}

export interface Layout {
  readonly sizes: Required<EngineSizes>;
  readonly workers: number;
  readonly descriptors: number;
  readonly stride: number;
  readonly regions: readonly Region[];
  readonly bytes: number;
  readonly ribArenaBytes: number;
  readonly limbo: number;
}

/** Bytes of a buffer behind its headroom. */
export const BUFFER_BYTES = 2048;
const LIMBO = 1 << 17;
/** Ids and punt records first, then records of bulk route changes. */
export const HOST_IDS = 8192;
/** Transport records, read and to be built. */
export const HOST_SEGMENT = HOST_IDS + 32_768;
export const HOST_OUT = HOST_SEGMENT + abi.SEG_SIZE;
const HOST_BYTES = HOST_OUT + 512;

/** Networks with rules of their own on one engine. */
export const MOST_NETWORKS = 64;

/** Each table is a few megabytes of address space. */
const MOST_DEFAULT_TABLES = 8;
/** So many flows can all have an extension (an IPv6 translation needs one) unless something else is said. */
const EVERY_FLOW = 1 << 17;

/** Those of tables and descriptors follow ports and buffers. */
const DEFAULTS: Required<EngineSizes> = {
  ports: 2,
  threads: 0,
  buffers: 4096,
  bareDescriptors: 4096,
  headroom: 128,
  ringCapacity: 1024,
  puntCapacity: 1024,
  tables: 4,
  nextHops: 255,
  routes4: 100_000,
  routes6: 20_000,
  bridges: 0,
  stations: 4096,
  groupBytes: 65_536,
  generatorBytes: 0,
  samples: 0,
  appBytes: 16 << 20,
  filterBytes: 0,
  services: 0,
  backends: 0,
  clients: 0,
  flows: 0,
  flowExtensions: 0,
  flowAccounting: 1,
  flowEvents: 0,
  queueBytes: 0,
};

/** Every size that can be chosen. */
export const SIZE_NAMES: readonly string[] = Object.keys(DEFAULTS);

function check(name: keyof EngineSizes, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw invalid(`${name} is ${JSON.stringify(value)}; expected a whole number from ${low} to ${high}`);
  }
}

function checkSizes(sizes: Required<EngineSizes>): void {
  check("ports", sizes.ports, 1, abi.MAX_PORTS);
  check("threads", sizes.threads, 0, abi.MAX_WORKERS - 1);
  check("buffers", sizes.buffers, 64, 1_000_000);
  check("bareDescriptors", sizes.bareDescriptors, 0, 1_000_000);
  check("headroom", sizes.headroom, abi.MIN_HEADROOM, 1024);
  check("tables", sizes.tables, 0, 65_535);
  check("nextHops", sizes.nextHops, 2, 65_535);
  check("routes4", sizes.routes4, 0, 16_000_000);
  check("routes6", sizes.routes6, 0, 4_000_000);
  check("bridges", sizes.bridges, 0, 256);
  check("stations", sizes.stations, 4, 1 << 20);
  for (const name of ["groupBytes", "generatorBytes", "appBytes", "filterBytes", "queueBytes"] as const)
    check(name, sizes[name], 0, 2 ** 31);
  check("services", sizes.services, 0, 4096);
  check("backends", sizes.backends, 0, abi.BALANCE_NOBODY);
  check("clients", sizes.clients, 0, 1 << 22);
  check("samples", sizes.samples, 0, 1 << 20);
  check("flows", sizes.flows, 0, 1 << 24);
  check("flowExtensions", sizes.flowExtensions, 0, 1 << 24);
  check("flowAccounting", sizes.flowAccounting, 0, 1);
  check("flowEvents", sizes.flowEvents, 0, 1 << 20);
  if (sizes.flowEvents & (sizes.flowEvents - 1)) throw invalid(`flowEvents is ${sizes.flowEvents}; expected a power of two, or 0`);
  for (const name of ["ringCapacity", "puntCapacity"] as const) {
    check(name, sizes[name], 16, 1 << 20);
    if (sizes[name] & (sizes[name] - 1)) throw invalid(`${name} is ${sizes[name]}; expected a power of two`);
  }
  if (sizes.filterBytes !== 0) check("filterBytes", sizes.filterBytes, 1 << 19, 2 ** 31);
  if (sizes.headroom % 64) throw invalid(`headroom is ${sizes.headroom}; expected a multiple of 64`);
}

/** Bytes the tries may need: several times what real tables take (IPv4 0.9 bytes a route beside its root, IPv6 8), for worse ones. */
function tableBytes(sizes: Required<EngineSizes>): { hot: number; cold: number } {
  const roots = sizes.tables * 1_100_000 + sizes.nextHops * 8_400 * Math.min(sizes.tables, 2) * 0.25;
  const hot = 1_000_000 + LIMBO * abi.LIMBO_SIZE + roots + sizes.routes4 * 10 + sizes.routes6 * 128;
  const pages = Math.min(sizes.routes6, 400) * 25_000;
  const cold = 1_000_000 + sizes.tables * (5_500_000 + sizes.nextHops * 8) + sizes.routes4 * 24 + sizes.routes6 * 72 + pages;
  return { hot: Math.ceil(hot), cold: Math.ceil(cold) };
}

/** A table's next hops: their addresses, then two versions of each. */
export function hopBytes(hops: number): number {
  return Math.ceil(hops / 16) * 64 + hops * abi.HOP_VERSIONS * abi.HOP_SIZE;
}

export function bridgeSize(stations: number): number {
  return abi.BRIDGE_BUCKETS + buckets(stations) * abi.STATION_SIZE * abi.STATIONS_PER_BUCKET;
}

/** Twice the room that the stations need, so that a bucket of four rarely overflows. */
export function buckets(stations: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(stations / 2, 16)));
}

/** What the region of queues has in front of the queues themselves. */
export function queueTables(ports: number, descriptors: number): number {
  return abi.QUEUES_LINKS + descriptors * abi.QLINK_SIZE + ports * abi.QROOT_SIZE;
}

export function layout(options: EngineSizes): Layout {
  const sizes = { ...DEFAULTS };
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && name in sizes) sizes[name as keyof EngineSizes] = value as number;
  }
  if (options.bareDescriptors === undefined) sizes.bareDescriptors = sizes.buffers;
  // Those of flows that made room in a full table are free a burst later.
  const leaving = sizes.flows > 0 ? abi.BURST : 0;
  if (options.flowExtensions === undefined)
    sizes.flowExtensions = leaving + Math.max(Math.ceil(sizes.flows / 8), Math.min(sizes.flows, EVERY_FLOW));
  if (options.tables === undefined) sizes.tables = Math.min(2 * sizes.ports, MOST_DEFAULT_TABLES);
  if (options.backends === undefined) sizes.backends = Math.min(16 * sizes.services, abi.BALANCE_NOBODY);
  if (options.clients === undefined && sizes.services > 0) sizes.clients = 65_536;
  checkSizes(sizes);
  sizes.ports += sizes.bridges;
  check("ports", sizes.ports, 1, abi.MAX_PORTS);
  const workers = sizes.threads + 1;
  const descriptors = sizes.buffers + sizes.bareDescriptors;
  // An odd number of cache lines: slots a power of two apart would fall on the same cache sets.
  const stride = (Math.ceil((sizes.headroom + BUFFER_BYTES) / 64) | 1) * 64;
  const ring = abi.RING_HEADER_SIZE + 4 * sizes.ringCapacity;
  const { hot, cold } = tableBytes(sizes);
  const scratch = 65_536 + (sizes.routes6 + 1000) * 40;
  const wanted: number[] = [];
  wanted[abi.REGION_WORKERS] = workers * abi.WORKER_SIZE;
  wanted[abi.REGION_STAGES] = workers * sizes.ports * abi.STAGE_CAPACITY * 4;
  wanted[abi.REGION_PORTS] = sizes.ports * abi.PORT_SIZE;
  wanted[abi.REGION_PORT_STATS] = workers * sizes.ports * abi.PORT_STAT_SIZE;
  wanted[abi.REGION_RINGS] = workers * sizes.ports * 2 * ring;
  wanted[abi.REGION_PUNTS] = abi.RING_HEADER_SIZE + sizes.puntCapacity * abi.PUNT_SIZE;
  wanted[abi.REGION_RESERVES] = 2 * abi.RESERVE_HEADER_SIZE + 4 * (descriptors + 32);
  wanted[abi.REGION_DESCRIPTORS] = descriptors * abi.DESC_SIZE;
  wanted[abi.REGION_BUFFERS] = sizes.buffers * stride;
  wanted[abi.REGION_TABLES] = sizes.tables * abi.TABLE_SIZE;
  wanted[abi.REGION_NEXT_HOPS] = sizes.tables * hopBytes(sizes.nextHops);
  wanted[abi.REGION_GROUPS] = sizes.groupBytes;
  wanted[abi.REGION_FIB] = hot;
  wanted[abi.REGION_RIB] = cold + scratch;
  wanted[abi.REGION_BRIDGES] = 64 + 4 * sizes.bridges + sizes.bridges * (bridgeSize(sizes.stations) + 64);
  wanted[abi.REGION_GENERATORS] = sizes.generatorBytes;
  wanted[abi.REGION_SAMPLES] = sizes.samples === 0 ? 0 : abi.SAMPLES_SLOTS + sizes.samples * abi.SAMPLE_SIZE;
  wanted[abi.REGION_APP] = sizes.appBytes;
  wanted[abi.REGION_HOST] = HOST_BYTES;
  wanted[abi.REGION_IFACES] = sizes.ports * abi.IFACE_SIZE;
  wanted[abi.REGION_NETNS] = MOST_NETWORKS * abi.NETNS_SIZE;
  wanted[abi.REGION_FILTER] = sizes.filterBytes;
  wanted[abi.REGION_BALANCE] = balanceRegion(sizes, workers).bytes;
  wanted[abi.REGION_FLOWS] = flowLayout(sizes, workers).bytes;
  wanted[abi.REGION_QUEUES] = sizes.queueBytes && queueTables(sizes.ports, descriptors) + sizes.queueBytes;
  const regions: Region[] = [];
  let at = abi.HEADER + abi.HEADER_SIZE;
  for (let i = 0; i < abi.REGION_COUNT; i++) {
    // A line between regions, so that no two of them share one.
    const base = Math.ceil(at / 64) * 64 + 64;
    const size = Math.ceil(wanted[i] / 64) * 64;
    regions.push({ base, size });
    at = base + size;
  }
  const bytes = Math.ceil((at + 64) / 65_536) * 65_536;
  if (bytes >= 2 ** 32) throw invalid(`these sizes need ${bytes} bytes of memory; expected less than 4 GiB`);
  return { sizes, workers, descriptors, stride, regions, bytes, ribArenaBytes: cold - (cold % 64), limbo: LIMBO };
}

/** First octets that leave the fast path (see assembly/node/classify.ts). */
function classes(): Uint8Array {
  const table = new Uint8Array(256);
  table[0] = 1;
  table[127] = 2;
  table[169] = 4;
  table.fill(8, 224, 240);
  table.fill(16, 240, 256);
  return table;
}

/** Microsoft's default RSS key, 40 bytes, as its verification suite uses it; the rest repeats its start. */
export const RSS_KEY = Uint8Array.from(
  ("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa" + "6d5a56da255b0ec24167253d").match(
    /../g,
  ) as string[],
  (pair) => Number.parseInt(pair, 16),
);

/** Both directions of a flow hash alike with a key that repeats every 16 bits (Woo and Park, 2012). */
export const SYMMETRIC_RSS_KEY = Uint8Array.from({ length: abi.RSS_KEY_SIZE }, (_, i) => (i % 2 === 0 ? 0x6d : 0x5a));

export function writeHeader(memory: ArrayBufferLike, map: Layout, secret: Uint8Array, rssKey: Uint8Array): void {
  const view = new DataView(memory, abi.HEADER, abi.HEADER_SIZE);
  const u32 = (offset: number, value: number) => view.setUint32(offset, value, true);
  u32(abi.HEADER_MAGIC, abi.ABI_MAGIC);
  u32(abi.HEADER_VERSION, abi.ABI_VERSION);
  u32(abi.HEADER_MEMORY, map.bytes);
  u32(abi.HEADER_WORKERS, map.workers);
  u32(abi.HEADER_PORTS, map.sizes.ports);
  u32(abi.HEADER_BUFFERS, map.sizes.buffers);
  u32(abi.HEADER_DESCRIPTORS, map.descriptors);
  u32(abi.HEADER_STRIDE, map.stride);
  u32(abi.HEADER_HEADROOM, map.sizes.headroom);
  u32(abi.HEADER_TABLES, map.sizes.tables);
  u32(abi.HEADER_BRIDGES, map.sizes.bridges);
  u32(abi.HEADER_RING_CAPACITY, map.sizes.ringCapacity);
  u32(abi.HEADER_PUNT_CAPACITY, map.sizes.puntCapacity);
  // So small that even all workers' caches together leave half of the pool to others.
  const limit = (total: number) => Math.min(Math.max(Math.floor(total / (2 * map.workers)) & ~1, 2), abi.CACHE_CAPACITY);
  u32(abi.HEADER_BUFFER_LIMIT, limit(map.sizes.buffers));
  u32(abi.HEADER_BARE_LIMIT, limit(map.sizes.bareDescriptors));
  u32(abi.HEADER_EPOCH, 1);
  const bytes = new Uint8Array(memory, abi.HEADER, abi.HEADER_SIZE);
  bytes.set(secret.subarray(0, 8), abi.HEADER_SECRET);
  bytes.set(classes(), abi.HEADER_CLASSES);
  bytes.set(rssKey.subarray(0, abi.RSS_KEY_SIZE), abi.HEADER_RSS_KEY);
  for (let i = 0; i < abi.RSS_QUEUES; i++) bytes[abi.HEADER_RSS_QUEUES + i] = i % map.workers;
  map.regions.forEach((region, i) => {
    u32(abi.HEADER_REGIONS + 8 * i, region.base);
    u32(abi.HEADER_REGIONS + 8 * i + 4, region.size);
  });
  writeBalanceHeader(new DataView(memory), map.regions[abi.REGION_BALANCE].base, map.sizes, map.workers);
  for (let w = 0; w < map.workers; w++) {
    const worker = map.regions[abi.REGION_WORKERS].base + w * abi.WORKER_SIZE;
    new DataView(memory).setUint32(worker + abi.WORKER_ID, w, true);
  }
}
