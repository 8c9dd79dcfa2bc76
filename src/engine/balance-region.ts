/** What lies where in the region of load balancing (BALANCE_* in abi.ts): offsets from its start. */
import * as abi from "../../assembly/abi.ts";

export interface BalanceSizes {
  readonly services: number;
  readonly backends: number;
  readonly clients: number;
}

export interface BalanceRegion {
  readonly directory: number;
  /** Places of the directory, a power of two. */
  readonly places: number;
  readonly services: number;
  readonly backends: number;
  readonly stats: number;
  readonly picks: number;
  readonly tables: number;
  readonly clients: number;
  readonly buckets: number;
  readonly bytes: number;
}

const line = (bytes: number) => Math.ceil(bytes / 64) * 64;
const powerOfTwo = (n: number) => 2 ** Math.ceil(Math.log2(Math.max(n, 1)));

/** A directory a quarter full, so that services stand near their own places; tables to spare, which changes are written to. */
export function balanceRegion({ services, backends, clients }: BalanceSizes, workers: number): BalanceRegion {
  const places = powerOfTwo(4 * Math.max(services, 4));
  const tables = services + 1 + (services >>> 3);
  const buckets = powerOfTwo(clients / abi.AFFINITY_ENTRIES);
  const directory = abi.BALANCE_HEADER_SIZE;
  const servicesAt = directory + line(4 * (places + abi.BALANCE_REACH_MOST));
  const backendsAt = servicesAt + services * abi.SERVICE_SIZE;
  const stats = backendsAt + backends * abi.BACKEND_SIZE;
  const picks = stats + workers * backends * abi.BACKEND_STAT_SIZE;
  const clientsAt = picks + tables * abi.PICK_SIZE;
  const bytes = services === 0 ? 0 : clientsAt + buckets * abi.AFFINITY_ENTRIES * abi.AFFINITY_SIZE;
  return { directory, places, services: servicesAt, backends: backendsAt, stats, picks, tables, clients: clientsAt, buckets, bytes };
}

/** The header that the data plane reads; nothing without services. */
export function writeBalanceHeader(view: DataView, base: number, sizes: BalanceSizes, workers: number): void {
  if (sizes.services === 0) return;
  const map = balanceRegion(sizes, workers);
  const u32 = (offset: number, value: number) => view.setUint32(base + offset, value, true);
  u32(abi.BALANCE_SERVICES, sizes.services);
  u32(abi.BALANCE_BACKENDS, sizes.backends);
  u32(abi.BALANCE_MASK, map.places - 1);
  u32(abi.BALANCE_DIRECTORY_AT, base + map.directory);
  u32(abi.BALANCE_SERVICES_AT, base + map.services);
  u32(abi.BALANCE_BACKENDS_AT, base + map.backends);
  u32(abi.BALANCE_STATS_AT, base + map.stats);
  u32(abi.BALANCE_PICKS_AT, base + map.picks);
  u32(abi.BALANCE_PICKS, map.tables);
  u32(abi.BALANCE_CLIENTS_AT, base + map.clients);
  u32(abi.BALANCE_CLIENTS_MASK, map.buckets - 1);
}
