/**
 * From verdicts to ports: packets are staged per port in arrival order and every touched port is flushed
 * once per burst: to its device (output.ts), or to what waits in front of it (queued.ts).
 */
import {
  DROP_BAD_PORT, DROP_PORT_DOWN, HEADER_PORTS, NEXT_DONE, PORT_FLAGS, PORT_QUEUE, PORT_TX, PORT_UP, REGION_STAGES, STAGE_CAPACITY,
  STAGE_COUNTS, VEC_IDS, VEC_NEXT, VEC_TOUCHED, WORKER_ID, WORKER_TOUCHED,
} from "../abi";
import { header, portAt, portStats, region } from "../core/layout";
import { drop } from "../core/packet";
import { dropAll, output } from "./output";
import { outputQueued, ready, readyRun } from "./queued";

@inline
function stageAt(worker: usize, port: u32): usize {
  return region(REGION_STAGES) + (<usize>load<u32>(worker, WORKER_ID) * header(HEADER_PORTS) + port) * (STAGE_CAPACITY * 4);
}

/** Stages one packet; a full stage is flushed first. */
export function stage(worker: usize, port: u32, id: u32): void {
  const counter = worker + (<usize>port << 2);
  let waiting = load<u32>(counter, STAGE_COUNTS);
  if (waiting == 0) touch(worker, port);
  else if (waiting == STAGE_CAPACITY) {
    flushPort(worker, port, waiting);
    store<u32>(counter, 0, STAGE_COUNTS);
    waiting = 0;
  }
  if (load<u32>(portAt(port), PORT_QUEUE) != 0) ready(id, 0);
  store<u32>(stageAt(worker, port) + (<usize>waiting << 2), id);
  store<u32>(counter, waiting + 1, STAGE_COUNTS);
}

@inline
function touch(worker: usize, port: u32): void {
  const touched = load<u32>(worker, WORKER_TOUCHED);
  // A port flushed in mid-burst may come again: it is on the list already and flushing it twice is harmless.
  if (touched < 256) {
    store<u16>(worker + (<usize>touched << 1), <u16>port, VEC_TOUCHED);
    store<u32>(worker, touched + 1, WORKER_TOUCHED);
  }
}

/** Stages all packets of the burst that have a port in VEC_NEXT. */
export function stageBurst(worker: usize, n: u32): void {
  const ports = header(HEADER_PORTS);
  let i: u32 = 0;
  while (i < n) {
    const next = <u32>load<u16>(worker + (<usize>i << 1), VEC_NEXT);
    // The run of packets that leave by the same port.
    let j = i + 1;
    while (j < n && <u32>load<u16>(worker + (<usize>j << 1), VEC_NEXT) == next) j++;
    if (next != NEXT_DONE) {
      if (next < ports) stageRun(worker, next, i, j - i);
      else for (let k = i; k < j; k++) drop(worker, load<u32>(worker + (<usize>k << 2), VEC_IDS), DROP_BAD_PORT);
    }
    i = j;
  }
}

function stageRun(worker: usize, port: u32, first: u32, n: u32): void {
  const waiting = load<u32>(worker + (<usize>port << 2), STAGE_COUNTS);
  if (waiting + n > <u32>STAGE_CAPACITY) {
    for (let k: u32 = 0; k < n; k++) stage(worker, port, load<u32>(worker + (<usize>(first + k) << 2), VEC_IDS));
    return;
  }
  if (waiting == 0) touch(worker, port);
  if (load<u32>(portAt(port), PORT_QUEUE) != 0) readyRun(worker, first, n);
  memory.copy(stageAt(worker, port) + (<usize>waiting << 2), worker + VEC_IDS + (<usize>first << 2), <usize>n << 2);
  store<u32>(worker + (<usize>port << 2), waiting + n, STAGE_COUNTS);
}

/** Sends everything that is staged. */
export function flush(worker: usize): void {
  const touched = load<u32>(worker, WORKER_TOUCHED);
  if (touched == 0) return;
  store<u32>(worker, 0, WORKER_TOUCHED);
  for (let t: u32 = 0; t < touched; t++) {
    const port = <u32>load<u16>(worker + (<usize>t << 1), VEC_TOUCHED);
    const waiting = load<u32>(worker + (<usize>port << 2), STAGE_COUNTS);
    store<u32>(worker + (<usize>port << 2), 0, STAGE_COUNTS);
    if (waiting != 0) flushPort(worker, port, waiting);
  }
}

function flushPort(worker: usize, portIndex: u32, n: u32): void {
  const port = portAt(portIndex), ids = stageAt(worker, portIndex);
  if ((<u32>load<u16>(port, PORT_FLAGS) & PORT_UP) == 0) { dropAll(worker, portStats(worker, portIndex), ids, n, DROP_PORT_DOWN); return; }
  // A queue, policers, or nothing of the kind: one load.
  const waits = load<u64>(port, PORT_QUEUE);
  if (waits != 0) { outputQueued(worker, port, portIndex, waits, ids, n); return; }
  output(worker, port, portIndex, <usize>load<u32>(port + (<usize>load<u32>(worker, WORKER_ID) << 2), PORT_TX), ids, n);
}
