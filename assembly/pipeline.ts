/** The nodes, joined: what one worker does in one call. Prose: docs/packet-life.md. */
import {
  BURST, DROP_NO_ROUTE, DROP_PROGRAM, HEADER, HEADER_EPOCH, HEADER_QUEUES, KIND_GENERATOR, KIND_RINGS, MODE_BRIDGED, NEXT_DONE,
  NEXT_PENDING, PORT_FAMILIES, PORT_FLAGS, PORT_GRO, PORT_HOST, PORT_KIND, PORT_MODE, PORT_POLICE_IN, PORT_PROGRAM, PORT_RX, PORT_STAT_RX_BYTES,
  PORT_STAT_RX_PACKETS, PORT_TABLE4, PORT_TABLE6, PORT_TX, PORT_UP, STAT_BURSTS, STAT_EMPTY_POLLS, STAT_RECEIVED, STAT_RECEIVED_BYTES, VEC_ADDR4,
  VEC_ADDR6, VEC_IDS, VEC_LIST4, VEC_LIST6, VEC_NEXT, VEC_SRC4, VEC_SRC6, WORKER_BURST_BYTES, WORKER_EPOCH, WORKER_ID, WORKER_NEXT_PORT, WORKER_NOW,
  WORKER_PORTS, WORKER_PORT_COUNT, WORKER_TICKS, WORKER_TIME,
} from "./abi";
import { add64, count, hasTable, header, networkOf, portAt, portStats, tableAt } from "./core/layout";
import { drop } from "./core/packet";
import { puntsCrowded } from "./core/ring";
import { loadAcquire, storeRelease } from "./core/sync";
import { generateBurst } from "./device/generate";
import { policeInput, serveQueues } from "./device/queued";
import { receiveBurst } from "./device/receive";
import { flush, stageBurst } from "./device/transmit";
import { classifyBurst } from "./node/classify";
import { coalesceBurst } from "./node/coalesce";
import { translateFamilies } from "./node/nat64";
import { deliverBurst, rewrite4Burst, rewrite6Burst } from "./node/rewrite";
import { hasOwnSource, route4Burst, route6Burst } from "./node/route";
import { bridgeBurst, hasBridgeRules } from "./bridge";
import { switchBurst } from "./node/switch";
import { travel } from "./road";

/** Polls every port of a worker until `budget` packets have been handled or nothing is left; returns how many. */
export function pollWorker(worker: usize, now: f64, budget: u32, waits: bool = false): u32 {
  tell(worker, now);
  const sent = header(HEADER_QUEUES) == 0 ? 0 : serveQueues(worker);
  return sent + pollPorts(worker, budget, waits);
}

/**
 * A burst of each port in turn; the next time begins where this one ends, so that many busy ports share the budget. If it `waits` for the host, it
 * takes no more than there is room for among what goes there: the rest stays in its port's ring, and a port that is flooded loses packets of
 * its own, not of the others.
 */
function pollPorts(worker: usize, budget: u32, waits: bool): u32 {
  const ports = load<u32>(worker, WORKER_PORT_COUNT);
  let done: u32 = 0, idle: u32 = 0, p = load<u32>(worker, WORKER_NEXT_PORT);
  while (done < budget && idle < ports && !(waits && puntsCrowded())) {
    if (p >= ports) p = 0;
    const n = pollPort(worker, <u32>load<u16>(worker + (<usize>p << 1), WORKER_PORTS), min<u32>(budget - done, BURST));
    done += n;
    idle = n == 0 ? idle + 1 : 0;
    p++;
  }
  store<u32>(worker, p, WORKER_NEXT_PORT);
  if (done == 0) count(worker, STAT_EMPTY_POLLS, 1);
  return done;
}

/** The time as nodes want it: whole seconds, wrapping milliseconds, nanoseconds. */
function tell(worker: usize, now: f64): void {
  store<u32>(worker, <u32>now, WORKER_NOW);
  store<u32>(worker, <u32><u64>(now * 1e3), WORKER_TICKS);
  store<u64>(worker, <u64>(now * 1e9), WORKER_TIME);
}

/** One burst of one port, from reception to transmission. */
function pollPort(worker: usize, portIndex: u32, wanted: u32): u32 {
  const port = portAt(portIndex);
  if ((load<u16>(port, PORT_FLAGS) & PORT_UP) == 0) return 0;
  let taken = receive(worker, port, wanted);
  const turns = taken == 0 && (load<u16>(port, PORT_FLAGS) & PORT_FAMILIES) != 0;
  // What has left by a way between the families comes in by it.
  if (turns) taken = receiveBurst(worker, <usize>load<u32>(port + (<usize>load<u32>(worker, WORKER_ID) << 2), PORT_TX), wanted);
  if (taken == 0) return 0;
  // While this is set, tables keep what this burst may be reading.
  storeRelease(worker + WORKER_EPOCH, loadAcquire(HEADER + HEADER_EPOCH));
  // Nothing of a table may be read before that store is seen: an acquire behind it (needed on ARM).
  loadAcquire(HEADER + HEADER_EPOCH);
  const came = turns ? translateFamilies(worker, port, networkOf(port), taken) : taken;
  const n = load<u32>(port, PORT_POLICE_IN) == 0 ? came : policeInput(worker, port, portIndex, came);
  if (load<u8>(port, PORT_MODE) == MODE_BRIDGED) bridged(worker, port, portIndex, n);
  else routeBurst(worker, port, portIndex, n);
  countReceived(worker, portIndex, n);
  stageBurst(worker, n);
  flush(worker);
  storeRelease(worker + WORKER_EPOCH, 0);
  return taken;
}

function bridged(worker: usize, port: usize, portIndex: u32, n: u32): void {
  const net = networkOf(port);
  if (net != 0 && hasBridgeRules(net)) bridgeBurst(worker, port, portIndex, net, n);
  else switchBurst(worker, port, portIndex, n);
}

function receive(worker: usize, port: usize, wanted: u32): u32 {
  const kind = <u32>load<u8>(port, PORT_KIND), id = <usize>load<u32>(worker, WORKER_ID);
  if (kind == KIND_RINGS) return receiveBurst(worker, <usize>load<u32>(port + (id << 2), PORT_RX), wanted);
  if (kind != KIND_GENERATOR) return 0;
  // A generator per worker: PORT_RX holds their addresses.
  const generator = <usize>load<u32>(port + (id << 2), PORT_RX);
  return generator == 0 ? 0 : generateBurst(worker, generator, wanted);
}

function countReceived(worker: usize, portIndex: u32, n: u32): void {
  const stats = portStats(worker, portIndex), bytes = load<u64>(worker, WORKER_BURST_BYTES);
  add64(stats + PORT_STAT_RX_PACKETS, n);
  add64(stats + PORT_STAT_RX_BYTES, bytes);
  count(worker, STAT_RECEIVED, n);
  count(worker, STAT_RECEIVED_BYTES, bytes);
  count(worker, STAT_BURSTS, 1);
}

function routeBurst(worker: usize, port: usize, portIndex: u32, n: u32): void {
  const lists = classifyBurst(worker, port, portIndex, n);
  let on4 = lists & 0xffff, on6 = lists >>> 16;
  const program = load<u32>(port, PORT_PROGRAM);
  if (program != 0) {
    markPending(worker, VEC_LIST4, on4);
    markPending(worker, VEC_LIST6, on6);
    // Code compiled at run time over the same memory: it may shorten the lists, never lengthen them.
    const kept = call_indirect<u32>(program - 1, worker, on4 | (on6 << 16));
    on4 = min<u32>(on4, kept & 0xffff);
    on6 = min<u32>(on6, kept >>> 16);
  }
  if ((load<u16>(port, PORT_FLAGS) & PORT_GRO) != 0) {
    on4 = coalesceBurst(worker, VEC_LIST4, VEC_ADDR4, VEC_SRC4, 4, on4);
    on6 = coalesceBurst(worker, VEC_LIST6, VEC_ADDR6, VEC_SRC6, 16, on6);
  }
  const net = networkOf(port);
  if (net != 0) {
    if (on4 != 0) travel(worker, port, portIndex, net, on4, true);
    if (on6 != 0) travel(worker, port, portIndex, net, on6, false);
    if (program != 0) dropPending(worker, n);
    return;
  }
  const isHost = (load<u16>(port, PORT_FLAGS) & PORT_HOST) != 0;
  if (on4 != 0) {
    const index = <u32>load<u16>(port, PORT_TABLE4);
    if (hasTable(index, 4)) leave4(worker, tableAt(index), isHost, route4Burst(worker, port, portIndex, on4, hasOwnSource(worker, tableAt(index), on4)));
    else dropList(worker, VEC_LIST4, on4);
  }
  if (on6 != 0) {
    const index = <u32>load<u16>(port, PORT_TABLE6);
    if (hasTable(index, 6)) leave6(worker, tableAt(index), isHost, route6Burst(worker, port, portIndex, on6));
    else dropList(worker, VEC_LIST6, on6);
  }
  if (program != 0) dropPending(worker, n);
}

/** A router rewrites and sends on, a host keeps what is its own. */
function leave4(worker: usize, table: usize, isHost: bool, n: u32): void {
  if (isHost) deliverBurst(worker, table, VEC_LIST4, n);
  else rewrite4Burst(worker, table, n);
}

function leave6(worker: usize, table: usize, isHost: bool, n: u32): void {
  if (isHost) deliverBurst(worker, table, VEC_LIST6, n);
  else rewrite6Burst(worker, table, n);
}

function dropList(worker: usize, list: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const i = <usize>load<u16>(worker + list + (<usize>k << 1));
    drop(worker, load<u32>(worker + (i << 2), VEC_IDS), DROP_NO_ROUTE);
    store<u16>(worker + (i << 1), NEXT_DONE, VEC_NEXT);
  }
}

function markPending(worker: usize, list: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const i = <usize>load<u16>(worker + list + (<usize>k << 1));
    store<u16>(worker + (i << 1), NEXT_PENDING, VEC_NEXT);
  }
}

/** What the program took off the lists ends here, by name. */
function dropPending(worker: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const next = worker + (<usize>i << 1);
    if (<u32>load<u16>(next, VEC_NEXT) != NEXT_PENDING) continue;
    drop(worker, load<u32>(worker + (<usize>i << 2), VEC_IDS), DROP_PROGRAM);
    store<u16>(next, NEXT_DONE, VEC_NEXT);
  }
}
