/**
 * What the host may call. Everything else is reached through memory at the offsets of abi.ts.
 *
 * Workers and ports are named by index, blocks of memory by address. No function allocates, throws or
 * calls back; all of them check the indices they are given.
 */
import {
  SEGMENT_COUNT,
  ABI_VERSION as VERSION, ARENA_SCRATCH, ARENA_SCRATCH_SIZE, BACKEND_ADDRESS, BACKEND_MODE, BACKEND_MTU, BACKEND_TUNNEL,
  BALANCE_BACKENDS, BALANCE_NOBODY, BALANCE_SERVICES, BALANCE_SERVICES_AT, BURST, DESC_INGRESS, DESC_NEXT_HOP, DROP_NO_ROUTE, HEADER, HEADER_BRIDGES, HEADER_DESCRIPTORS,
  HEADER_EPOCH, HEADER_PORTS, HEADER_QUEUES, HEADER_RSS_QUEUES, HEADER_TABLES, HEADER_WORKERS, HOP_PORT, NEXT_DONE, NONE, NO_PORT, PARKED_TABLE, POOL_BARE,
  POOL_BUFFERS, PORT_QUEUE, PUNT_NEIGHBOUR, QLINK_DEPARTURE, REGION_BALANCE, REGION_FIB, REGION_FILTER, REGION_QUEUES, REGION_RIB, ROUTE_ADDED, ROUTE_BAD_ARGUMENT, RSS_QUEUES, SENT, SENT_FILTERED, SENT_NEIGHBOUR, SENT_NO_ROUTE, SERVICE_SIZE,
  TABLE_DEFERRED, TABLE_DIRTY, TABLE_FAMILY, TABLE_HOP_LIMIT, TABLE_ROOT, VEC_ADDR4, VEC_ADDR6, VEC_IDS, VEC_LIST4, VEC_LIST6, VEC_NEXT, VEC_SRC4, VEC_SRC6,
  VEC_WORK, WORKER_EPOCH, WORKER_PARKED,
} from "./abi";
import { advanceEpoch, collect, hasPassed, initArena } from "./core/arena";
import { descriptorAt, header, portAt, region, regionSize, tableAt, workerAt } from "./core/layout";
import { privateHead } from "./core/head";
import { drop, punt } from "./core/packet";
import { loadAcquire, storeRelease } from "./core/sync";
import { clonePacket, freeInReserve, initPools, release, takeBare, takeBuffer } from "./core/pool";
import { initPunts, puntPop, puntPush, ringPop, ringPush, ringUsed } from "./core/ring";
import { buildTcp, buildUdp, sendByHop } from "./device/send";
import { gather } from "./device/output";
import { nextDeparture, setTree } from "./device/queued";
import { flush, stage, stageBurst } from "./device/transmit";
import { linkAt } from "./queue/link";
import { classifyBurst } from "./node/classify";
import { coalesceBurst } from "./node/coalesce";
import { copyOut, readTransport } from "./node/deliver";
import { bridgeAt } from "./node/switch";
import { discardParked, filterOne, resume, sendThrough } from "./road";
import { pollWorker } from "./pipeline";
import { chooseBackend, forgetClients } from "./table/affinity";
import { addService, backendAt, countBackend, findService, flowClosed, flowOpened, removeService } from "./table/balance";
import { create4, exact4, insert4, uses4, lookup4, lookup4Burst, rebuild4 } from "./table/fib4";
import { create6, exact6, insert6, uses6, lookup6, lookup6Burst, rebuild6 } from "./table/fib6";
import { hopAt } from "./table/hops";
import { findStation, forgetMembers, setStation, stationKey } from "./table/stations";
import { checksum, pseudo4, pseudo6, sum, update16, update32 } from "./wire/checksum";
import { encapPacket } from "./wire/encap";
import { segmentPacket } from "./wire/segment";
import { frameHash } from "./wire/rss";
import { toeplitz } from "./wire/toeplitz";

/** Blocks of rules that readers may still see, at most. */
const FILTER_LIMBO: u32 = 1 << 14;

export function abiVersion(): u32 {
  return VERSION;
}

/** Lays out what the header describes; once per memory, before any worker runs. */
export function init(limbo: u32, fibBytes: u32, ribBytes: u32): void {
  initPools();
  initPunts();
  initArena(region(REGION_FIB), fibBytes, limbo);
  const cold = region(REGION_RIB);
  initArena(cold, ribBytes, 16);
  // What the arena leaves of its region is scratch for building nodes.
  store<u32>(cold, <u32>cold + ribBytes, ARENA_SCRATCH);
  store<u32>(cold, regionSize(REGION_RIB) - ribBytes, ARENA_SCRATCH_SIZE);
  const rules = regionSize(REGION_FILTER);
  if (rules != 0) initArena(region(REGION_FILTER), rules, FILTER_LIMBO);
}

/** Handles up to `budget` packets of a worker's ports at `now` (seconds of the engine's clock); returns how many. */
export function poll(worker: u32, now: f64, budget: u32): u32 {
  return worker < header(HEADER_WORKERS) ? pollWorker(workerAt(worker), now, budget) : 0;
}

/** As `poll`, for a caller who takes what goes to the host right after: no more is begun than there is room for. */
export function pollHosted(worker: u32, now: f64, budget: u32): u32 {
  return worker < header(HEADER_WORKERS) ? pollWorker(workerAt(worker), now, budget, true) : 0;
}

// ── Buffers ─────────────────────────────────────────────────────────────────────────────────────
export function bufferTake(worker: u32): u32 {
  return takeBuffer(workerAt(worker));
}

export function bareTake(worker: u32): u32 {
  return takeBare(workerAt(worker));
}

export function packetRelease(worker: u32, id: u32): void {
  if (id < header(HEADER_DESCRIPTORS)) release(workerAt(worker), id);
}

export function packetsRelease(worker: u32, ids: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) packetRelease(worker, load<u32>(ids + (<usize>i << 2)));
}

export function packetClone(worker: u32, id: u32): u32 {
  return id < header(HEADER_DESCRIPTORS) ? clonePacket(workerAt(worker), id) : NONE;
}

/** The packet in one piece: itself, or a copy (counted); NONE when it does not fit into a buffer. */
export function packetGather(worker: u32, id: u32): u32 {
  return id < header(HEADER_DESCRIPTORS) ? gather(workerAt(worker), id) : NONE;
}

/** Ids of the segments go to `out` (`most` words). Number of segments, -1 invalid, -2 no buffers. */
export function packetSegment(worker: u32, id: u32, out: usize, most: u32): i32 {
  return id < header(HEADER_DESCRIPTORS) ? segmentPacket(workerAt(worker), id, out, most, false) : -1;
}

/** Hands a packet to a port's output at once. */
export function packetSend(worker: u32, port: u32, id: u32): void {
  if (port >= header(HEADER_PORTS) || id >= header(HEADER_DESCRIPTORS)) return;
  stage(workerAt(worker), port, id);
  flush(workerAt(worker));
}

/** The same for a port with a queue of kind fq: the packet leaves at `seconds` of the engine's clock at the earliest. */
export function packetSendAt(worker: u32, port: u32, id: u32, seconds: f64): void {
  if (port >= header(HEADER_PORTS) || id >= header(HEADER_DESCRIPTORS)) return;
  stage(workerAt(worker), port, id);
  if (load<u32>(portAt(port), PORT_QUEUE) != 0) store<u64>(linkAt(id), <u64>(seconds * 1e9), QLINK_DEPARTURE);
  flush(workerAt(worker));
}

// ── Queues ──────────────────────────────────────────────────────────────────────────────────────
/** Gives a port another tree of qdiscs (0: none). What waits goes over to it, or is given back. */
export function queueSet(worker: u32, port: u32, tree: usize): void {
  if (port < header(HEADER_PORTS) && regionSize(REGION_QUEUES) != 0) setTree(workerAt(worker), port, tree);
}

/** When the worker's queues have something to send next (seconds of the engine's clock), or infinity. */
export function queuesNext(worker: u32): f64 {
  return header(HEADER_QUEUES) == 0 ? Infinity : nextDeparture(workerAt(worker));
}

// ── Counts ──────────────────────────────────────────────────────────────────────────────────────
export function reserveCount(bare: u32): u32 {
  return freeInReserve(bare != 0 ? POOL_BARE : POOL_BUFFERS);
}

/**
 * Classifies and coalesces `n` packets at `ids` as if they had come in on `port`, without forwarding them;
 * the heads that remain are written back to `ids`. Returns their number.
 */
export function packetsCoalesce(worker: u32, port: u32, ids: usize, n: u32): u32 {
  const w = workerAt(worker);
  if (port >= header(HEADER_PORTS)) return n;
  n = min<u32>(n, BURST);
  memory.copy(w + VEC_IDS, ids, <usize>n << 2);
  memory.fill(w + VEC_NEXT, 0, BURST * 2);
  const lists = classifyBurst(w, portAt(port), port, n);
  coalesceBurst(w, VEC_LIST4, VEC_ADDR4, VEC_SRC4, 4, lists & 0xffff);
  coalesceBurst(w, VEC_LIST6, VEC_ADDR6, VEC_SRC6, 16, lists >>> 16);
  let kept: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    if (load<u16>(w + (<usize>i << 1), VEC_NEXT) == NEXT_DONE) continue;
    store<u32>(ids + (<usize>kept << 2), load<u32>(w + (<usize>i << 2), VEC_IDS));
    kept++;
  }
  return kept;
}

// ── The host's own packets ──────────────────────────────────────────────────────────────────────
/** Reads a packet for this host into a transport record; one of TRANSPORT_*, 0 when it was dropped. */
export function transportRead(worker: u32, id: u32, out: usize): u32 {
  return id < header(HEADER_DESCRIPTORS) ? readTransport(workerAt(worker), id, out) : 0;
}

/** Copies bytes of a packet, from `offset` of its frame on, to `to`; returns how many there were. */
export function packetCopy(id: u32, offset: u32, to: usize, n: u32): u32 {
  return id < header(HEADER_DESCRIPTORS) ? copyOut(id, offset, to, n) : 0;
}

/** Builds a TCP segment (UDP datagram) from a record; NONE when descriptors run out. */
export function tcpBuild(worker: u32, record: usize): u32 {
  return buildTcp(workerAt(worker), record);
}

export function udpBuild(worker: u32, record: usize): u32 {
  return buildUdp(workerAt(worker), record);
}

/** Stages a packet that begins with its network header for a next hop; one of SENT_*. `packetsFlush` sends. */
export function packetRoute(worker: u32, table: u32, hop: u32, id: u32): u32 {
  if (table >= header(HEADER_TABLES) || id >= header(HEADER_DESCRIPTORS)) return SENT_NO_ROUTE;
  if (hop >= load<u32>(tableAt(table), TABLE_HOP_LIMIT)) return SENT_NO_ROUTE;
  const w = workerAt(worker);
  store<u32>(w, 0, WORKER_PARKED);
  const way = sendThrough(w, table, hop, id);
  // What waits for a verdict is on its way.
  if (way == NONE) return load<u32>(w, WORKER_PARKED) != 0 ? SENT : SENT_FILTERED;
  const now = load<u32>(w, VEC_IDS), result = sendByHop(w, tableAt(table), way, now);
  if (now == id || result == SENT) return result;
  // The caller knows another packet, which is gone.
  release(w, now);
  return SENT_FILTERED;
}

/** Runs the rules of a port's network for something that the host layer takes or sends itself (ARP): its id now, or NONE when it is gone. */
export function packetFilter(worker: u32, port: u32, segment: u32, id: u32): u32 {
  if (port >= header(HEADER_PORTS) || id >= header(HEADER_DESCRIPTORS) || segment >= <u32>SEGMENT_COUNT) return id;
  return filterOne(workerAt(worker), port, segment, id);
}

/** A packet that has waited for a verdict (PUNT_QUEUE) goes on, behind the chain that sent it to wait. It is no longer the caller's. */
export function packetResume(worker: u32, id: u32): void {
  if (id >= header(HEADER_DESCRIPTORS)) return;
  const w = workerAt(worker), own = <u32>load<u16>(descriptorAt(id), DESC_INGRESS) == NO_PORT, table = <u32>load<u16>(descriptorAt(id), PARKED_TABLE);
  storeRelease(w + WORKER_EPOCH, loadAcquire(HEADER + HEADER_EPOCH));
  const way = resume(w, id);
  if (!own) stageBurst(w, 1);
  else if (way != NONE && table < header(HEADER_TABLES)) {
    const now = load<u32>(w, VEC_IDS), result = sendByHop(w, tableAt(table), way, now);
    if (result == SENT_NEIGHBOUR) {
      // The host layer knows whose it is by the port.
      store<u16>(descriptorAt(now), load<u16>(hopAt(tableAt(table), <u32>load<u16>(descriptorAt(now), DESC_NEXT_HOP)), HOP_PORT), DESC_INGRESS);
      punt(w, now, PUNT_NEIGHBOUR, load<u16>(descriptorAt(now), DESC_NEXT_HOP));
    } else if (result != SENT) drop(w, now, DROP_NO_ROUTE);
  }
  flush(w);
  storeRelease(w + WORKER_EPOCH, 0);
}

/** A packet that has waited for a verdict ends, and with it the flow that it would have begun. */
export function packetDiscard(worker: u32, id: u32): void {
  if (id < header(HEADER_DESCRIPTORS)) discardParked(workerAt(worker), id);
}

export function packetsFlush(worker: u32): void {
  flush(workerAt(worker));
}

// ── Rules and flows ─────────────────────────────────────────────────────────────────────────────
export {
  askFib, countFlows, duplicatePacket, expireSet, filterAllocate, filterRetire, findSet, followPacket, forwardPacket, freeList, freeSet, insertSet, jhash,
  loadOption, loadPayload, logPacket, removeSet, resetOption, segmentLimit, sizeSet, stealHandshake, symmetricHash, takeTokens, tracePacket, updateSet,
  writeOption, writePayload,
} from "./filter-api";
export { flowEnd, flowExpect, flowFind, flowHelper, flowLiberal, flowLoad, flowMap, flowProlong, flowStore, flowTuple, flowUpdate, flowsTurn, natSetup } from "./rules-api";

// ── Rings ───────────────────────────────────────────────────────────────────────────────────────
export { ringPop, ringPush, ringUsed, puntPop, puntPush };

// ── Tables ──────────────────────────────────────────────────────────────────────────────────────
/** Makes the empty trie of a table whose family, leaf width and hops are set. */
export function tableCreate(index: u32): i32 {
  if (index >= header(HEADER_TABLES)) return ROUTE_BAD_ARGUMENT;
  const table = tableAt(index);
  return load<u32>(table, TABLE_FAMILY) == 4 ? create4(table) : create6(table);
}

/** While deferred, routes are recorded but not yet seen by lookups; ending it builds all nodes in one pass. */
export function tableDefer(index: u32, deferred: u32): i32 {
  if (index >= header(HEADER_TABLES)) return ROUTE_BAD_ARGUMENT;
  const table = tableAt(index);
  const was = load<u32>(table, TABLE_DEFERRED);
  store<u32>(table, deferred, TABLE_DEFERRED);
  if (was == 0 || deferred != 0) return ROUTE_ADDED;
  return rebuild(table);
}

/** Builds all nodes anew; when memory runs out the table is marked and the next change tries again first. */
function rebuild(table: usize): i32 {
  const result = load<u32>(table, TABLE_FAMILY) == 4 ? rebuild4(table) : rebuild6(table);
  store<u32>(table, <u32>(result < 0), TABLE_DIRTY);
  return result;
}

/** A table that exists and whose nodes agree with its routes (made so now, if they do not), else a negative result. */
function changeable(index: u32, family: u32): i32 {
  if (!exists(index, family)) return ROUTE_BAD_ARGUMENT;
  const table = tableAt(index);
  return load<u32>(table, TABLE_DIRTY) != 0 && load<u32>(table, TABLE_DEFERRED) == 0 ? rebuild(table) : ROUTE_ADDED;
}

function exists(index: u32, family: u32): bool {
  if (index >= header(HEADER_TABLES)) return false;
  const table = tableAt(index);
  return load<u32>(table, TABLE_FAMILY) == family && load<u32>(table, TABLE_ROOT) != 0;
}

/** Sets a route (hop 0 removes it); one of ROUTE_*. ROUTE_BUSY: workers hold old nodes, try again. */
export function route4Set(index: u32, prefix: u32, length: u32, hop: u32): i32 {
  const ready = changeable(index, 4);
  return ready < 0 ? ready : insert4(tableAt(index), prefix, length, hop);
}

export function route6Set(index: u32, high: u64, low: u64, length: u32, hop: u32): i32 {
  const ready = changeable(index, 6);
  return ready < 0 ? ready : insert6(tableAt(index), high, low, length, hop);
}

/** Applies `n` IPv4 changes of 8 bytes {prefix u32, length u8, spare, hop u16}; returns how many were done before a negative result. */
export function routes4Set(index: u32, records: usize, n: u32): u32 {
  if (changeable(index, 4) < 0) return 0;
  const table = tableAt(index);
  for (let i: u32 = 0; i < n; i++) {
    const r = records + (<usize>i << 3);
    if (insert4(table, load<u32>(r), load<u8>(r, 4), load<u16>(r, 6)) < 0) return i;
  }
  return n;
}

/** Applies `n` IPv6 changes of 24 bytes {high u64, low u64, length u8, spare, hop u16, spare u32}. */
export function routes6Set(index: u32, records: usize, n: u32): u32 {
  if (changeable(index, 6) < 0) return 0;
  const table = tableAt(index);
  for (let i: u32 = 0; i < n; i++) {
    const r = records + <usize>i * 24;
    if (insert6(table, load<u64>(r), load<u64>(r, 8), load<u8>(r, 16), load<u16>(r, 18)) < 0) return i;
  }
  return n;
}

/** The hop of exactly this route, or 0. */
export function route4Get(index: u32, prefix: u32, length: u32): u32 {
  return exists(index, 4) ? exact4(tableAt(index), prefix, length) : 0;
}

export function route6Get(index: u32, high: u64, low: u64, length: u32): u32 {
  return exists(index, 6) ? exact6(tableAt(index), high, low, length) : 0;
}

export function route4Lookup(index: u32, address: u32): u32 {
  return exists(index, 4) ? lookup4(tableAt(index), address) : 0;
}

/** The 16 bytes at `query` are words in host order, biased by 0x8000. */
export function route6Lookup(index: u32, query: usize): u32 {
  return exists(index, 6) ? lookup6(tableAt(index), query) : 0;
}

/** `n` lookups in bursts; addresses u32 in host order, results u32. */
export function route4Lookups(index: u32, addresses: usize, out: usize, n: u32): void {
  if (!exists(index, 4)) return;
  for (let i: u32 = 0; i < n; i += BURST) lookup4Burst(tableAt(index), addresses + (<usize>i << 2), out + (<usize>i << 2), min<u32>(n - i, BURST));
}

export function route6Lookups(index: u32, worker: u32, queries: usize, out: usize, n: u32): void {
  if (!exists(index, 6)) return;
  const work = workerAt(worker) + VEC_WORK;
  for (let i: u32 = 0; i < n; i += BURST) {
    lookup6Burst(tableAt(index), queries + (<usize>i << 4), out + (<usize>i << 2), work, min<u32>(n - i, BURST));
  }
}

/** How many routes name a hop; looks at every route. */
export function hopUses(index: u32, hop: u32): u32 {
  if (exists(index, 4)) return uses4(tableAt(index), hop);
  return exists(index, 6) ? uses6(tableAt(index), hop) : 0;
}

/** Ends an epoch and returns it: what was unpublished before may be written again once `epochPassed`. */
export function epochEnd(): u32 {
  const epoch = header(HEADER_EPOCH);
  advanceEpoch();
  return epoch;
}

export function epochPassed(epoch: u32): u32 {
  return <u32>hasPassed(epoch);
}

/** Frees what no reader holds any more; the tables do it by themselves when they need the room. */
export function tablesCollect(): void {
  collect(region(REGION_FIB));
}

// ── Bridges ─────────────────────────────────────────────────────────────────────────────────────
export function stationSet(bridge: u32, mac: u64, vlan: u32, member: u32, now: u32): u32 {
  return bridge < header(HEADER_BRIDGES) ? <u32>setStation(bridgeAt(bridge), stationKey(mac, vlan), member, now) : 0;
}

export function stationFind(bridge: u32, mac: u64, vlan: u32, now: u32): u32 {
  return bridge < header(HEADER_BRIDGES) ? findStation(bridgeAt(bridge), stationKey(mac, vlan), now) : NONE;
}

/** Forgets the stations behind some members of a bridge (a bit each); `pinned` 1: those that were pinned there too. */
export function stationsForget(bridge: u32, members: u64, pinned: u32): void {
  if (bridge < header(HEADER_BRIDGES)) forgetMembers(bridgeAt(bridge), members, pinned != 0);
}

// ── Load balancing ──────────────────────────────────────────────────────────────────────────────
function serviceAt(index: u32): usize {
  return <usize>load<u32>(region(REGION_BALANCE), BALANCE_SERVICES_AT) + <usize>index * SERVICE_SIZE;
}

function serviceExists(index: u32): bool {
  return index < load<u32>(region(REGION_BALANCE), BALANCE_SERVICES);
}

function backendExists(index: u32): bool {
  return index < load<u32>(region(REGION_BALANCE), BALANCE_BACKENDS);
}

/** Shows a service, whose record is written, to packets; 0 when its address, port and protocol are another's, or there is no place. */
export function serviceAdd(index: u32): u32 {
  if (!serviceExists(index)) return 0;
  // Now, when every worker has left the burst in which it could have noted one of the service before.
  forgetClients(serviceAt(index));
  return <u32>addService(serviceAt(index));
}

/** Hides it again; the record may be written anew once the epoch has passed. */
export function serviceRemove(index: u32): u32 {
  return serviceExists(index) ? <u32>removeService(serviceAt(index)) : 0;
}

/** The service of a destination (16 bytes in network order), or NONE. */
export function serviceFind(address: usize, protocol: u32, port: u32): u32 {
  const service = findService(load<u64>(address), load<u64>(address, 8), protocol, port);
  return service == 0 ? NONE : <u32>(service - serviceAt(0)) / SERVICE_SIZE;
}

/** The backend for a new flow of a client (16 bytes of address, and its port), or BALANCE_NOBODY. */
export function serviceChoose(index: u32, client: usize, port: u32, now: u32): u32 {
  return serviceExists(index) ? chooseBackend(serviceAt(index), load<u64>(client), load<u64>(client, 8), port, now) : <u32>BALANCE_NOBODY;
}

export function backendOpened(worker: u32, backend: u32): void {
  if (backendExists(backend)) flowOpened(workerAt(worker), backend);
}

export function backendClosed(backend: u32): void {
  if (backendExists(backend)) flowClosed(backend);
}

export function backendCount(worker: u32, backend: u32, outward: u32, packets: u32, bytes: u32): void {
  if (backendExists(backend)) countBackend(workerAt(worker), backend, outward != 0, packets, bytes);
}

/** Puts a packet into the tunnel to a backend; it then begins with its network header (`packetRoute`). NONE when it does not fit or no buffer is left. */
export function packetTunnel(worker: u32, id: u32, backend: u32): u32 {
  if (id >= header(HEADER_DESCRIPTORS) || !backendExists(backend)) return NONE;
  const own = privateHead(workerAt(worker), id);
  if (own == NONE) return NONE;
  const b = backendAt(backend);
  const bytes = encapPacket(own, descriptorAt(own), load<u8>(b, BACKEND_MODE), b + BACKEND_TUNNEL, b + BACKEND_ADDRESS, load<u32>(b, BACKEND_MTU));
  return bytes == 0 ? <u32>NONE : own;
}

// ── Checksums and hashes ────────────────────────────────────────────────────────────────────────
export { checksum, sum, update16, update32, pseudo4, pseudo6, toeplitz };

/** Receive queue of a frame: Toeplitz over addresses and ports, then the indirection table; 0 for what is not IP. */
export function packetQueue(id: u32): u32 {
  return id < header(HEADER_DESCRIPTORS) ? rssQueue(frameHash(descriptorAt(id))) : 0;
}

/** Queue of an RSS hash by the indirection table. */
function rssQueue(hash: u32): u32 {
  return load<u8>(<usize>HEADER + HEADER_RSS_QUEUES + (hash & (RSS_QUEUES - 1)));
}
