/** Where things lie: the region table of the header, and addresses derived from it. */
import {
  DESC_SIZE, HEADER, HEADER_HEADROOM, HEADER_PORTS, HEADER_REGIONS, HEADER_STRIDE, HEADER_TABLES, NETNS_PROGRAMS, NETNS_SIZE, PORT_NETNS,
  PORT_SIZE, PORT_STAT_SIZE, REGION_BUFFERS, REGION_DESCRIPTORS, REGION_NETNS, REGION_PORTS, REGION_PORT_STATS, REGION_TABLES,
  REGION_WORKERS, TABLE_FAMILY, TABLE_ROOT, TABLE_SIZE, WORKER_COUNTERS, WORKER_ID, WORKER_SIZE,
} from "../abi";

@inline
export function header(offset: usize): u32 {
  return load<u32>(<usize>HEADER + offset);
}

@inline
export function region(index: u32): usize {
  return <usize>load<u32>(<usize>HEADER + HEADER_REGIONS + (<usize>index << 3));
}

@inline
export function regionSize(index: u32): u32 {
  return load<u32>(<usize>HEADER + HEADER_REGIONS + 4 + (<usize>index << 3));
}

@inline
export function workerAt(index: u32): usize {
  return region(REGION_WORKERS) + <usize>index * WORKER_SIZE;
}

@inline
export function portAt(index: u32): usize {
  return region(REGION_PORTS) + <usize>index * PORT_SIZE;
}

@inline
export function tableAt(index: u32): usize {
  return region(REGION_TABLES) + <usize>index * TABLE_SIZE;
}

/** A port may have no table for a family, and a table may not be made yet. */
export function hasTable(index: u32, family: u32): bool {
  if (index >= header(HEADER_TABLES)) return false;
  const table = tableAt(index);
  return load<u32>(table, TABLE_FAMILY) == family && load<u32>(table, TABLE_ROOT) != 0;
}

@inline
export function descriptorAt(id: u32): usize {
  return region(REGION_DESCRIPTORS) + (<usize>id) * DESC_SIZE;
}

/** First byte of a buffer slot, headroom included. */
@inline
export function bufferAt(id: u32): usize {
  return region(REGION_BUFFERS) + <usize>id * header(HEADER_STRIDE);
}

/** Where a received frame starts in a fresh buffer. */
@inline
export function frameAt(id: u32): usize {
  return bufferAt(id) + header(HEADER_HEADROOM);
}

@inline
export function portStats(worker: usize, port: u32): usize {
  return region(REGION_PORT_STATS)
    + (<usize>load<u32>(worker, WORKER_ID) * header(HEADER_PORTS) + port) * PORT_STAT_SIZE;
}

/** Adds to one of the worker's own counters; plain memory, read by others without asking. */
@inline
export function count(worker: usize, counter: u32, amount: u64): void {
  const at = worker + WORKER_COUNTERS + (<usize>counter << 3);
  store<u64>(at, load<u64>(at) + amount);
}

@inline
export function add64(at: usize, amount: u64): void {
  store<u64>(at, load<u64>(at) + amount);
}

/** The network with rules that a port belongs to, or 0. */
@inline
export function networkOf(port: usize): usize {
  const number = <u32>load<u16>(port, PORT_NETNS);
  return number == 0 ? 0 : region(REGION_NETNS) + <usize>(number - 1) * NETNS_SIZE;
}

/** Whether a network has rules at a segment of the road. */
@inline
export function hasProgram(net: usize, segment: u32): bool {
  return load<u32>(net + (<usize>segment << 2), NETNS_PROGRAMS) != 0;
}
