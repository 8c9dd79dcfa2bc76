/** The engine's side of the router: loads the tables, runs in slices, reports ten times a second. */
import { realClock } from "../base/clock.ts";
import { RouteSet } from "../base/routes.ts";
import { type Load, type PlainForwarder, type Reading, Rig } from "../measure/index.ts";
import { loadRoutes } from "../rib/load.ts";
import type { Figures, FromWorker, ToWorker } from "./messages.ts";

const scope = globalThis as unknown as { postMessage(message: FromWorker): void; onmessage: ((event: { data: ToWorker }) => void) | null };
const REPORT_MS = 100;
/** Of every report's time the rival gets this share; it needs little to show its rate. */
const RIVAL_SHARE = 0.15;
const WARM_UP_MS = 300;

let rig: Rig | undefined;
/** Worker threads of the rig; 1 is the loop of this worker itself. */
let workers = 1;
let routes: RouteSet | undefined;
let running = false;

async function fetchTable(url: string): Promise<Uint8Array<ArrayBuffer>> {
  const where = new URL(url, location.href).href;
  const response = await fetch(url).catch((error: Error) => {
    throw new Error(`the table ${where} could not be fetched: ${error.message}`);
  });
  if (!response.ok) throw new Error(`the table ${where} could not be fetched: the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function load(urls: string[]): Promise<void> {
  const all = new RouteSet();
  for (const url of urls) {
    const part = await loadRoutes(await fetchTable(url), url);
    for (const { name, kind } of part.nextHops) all.hop(name, kind);
    if (part.v4.count) Object.assign(all, { v4: part.v4 });
    if (part.v6.count) Object.assign(all, { v6: part.v6 });
  }
  routes = all;
  rig = await Rig.create(all);
  const { engine, table4, table6, loadMs } = rig;
  scope.postMessage({
    type: "loaded",
    routes4: table4.size,
    routes6: table6.size,
    ms: loadMs,
    bytes: engine.tableMemory().hot,
    build: engine.build,
  });
}

/** The rig for so many workers: another number is another engine. */
async function rigFor(wanted: number): Promise<Rig> {
  if (rig && wanted === workers) return rig;
  await rig?.engine.close();
  rig = undefined;
  rig = await Rig.create(routes as RouteSet, { threads: wanted === 1 ? 0 : wanted });
  workers = wanted;
  return rig;
}

/** One slice of forwarding: here, or in the threads, which then wait again. */
async function forward(on: Rig, ms: number): Promise<Reading> {
  if (workers === 1) return on.burst(ms);
  on.engine.start();
  try {
    return await on.parallel(ms);
  } finally {
    await on.engine.stop();
  }
}

async function run(wanted: Load, on: Rig): Promise<void> {
  on.offer(wanted);
  const rival = on.rival();
  // Until its code is compiled the rival would look slower than it is.
  race(rival, WARM_UP_MS);
  const out = on.engine.port(1);
  const before = out.counters().txPackets;
  const sums = { handled: 0, bytes: 0, seconds: 0, plain: 0, slices: 0 };
  let figures: Figures = { packets: 0, mpps: 0, gbps: 0, plainMpps: 0, drops: {}, punts: {}, transmitted: 0, seconds: 0 };
  const began = realClock.now();
  while (isRunning()) {
    const reading = await forward(on, REPORT_MS * (1 - RIVAL_SHARE));
    const plainMpps = race(rival, REPORT_MS * RIVAL_SHARE);
    const { drops, punts, stats } = on.counters();
    sums.handled += reading.handled;
    sums.bytes += reading.bytes;
    sums.seconds += reading.seconds;
    sums.plain += plainMpps;
    sums.slices++;
    figures = {
      packets: out.counters().txPackets - before,
      mpps: reading.handled / reading.seconds / 1e6,
      gbps: (reading.bytes * 8) / reading.seconds / 1e9,
      plainMpps,
      drops: drops as Record<string, number>,
      punts: punts as Record<string, number>,
      transmitted: stats.transmitted,
      seconds: (realClock.now() - began) / 1000,
    };
    scope.postMessage({ type: "figures", figures });
    await realClock.turn();
  }
  // What stays on the page is the whole run's, not its last moment's.
  if (sums.slices > 0) {
    const mpps = sums.handled / sums.seconds / 1e6;
    figures = { ...figures, mpps, gbps: (sums.bytes * 8) / sums.seconds / 1e9, plainMpps: sums.plain / sums.slices };
  }
  const { problem, samples } = on.verify();
  scope.postMessage({ type: "stopped", figures, verified: problem === undefined, problem, samples });
}

const isRunning = () => running;

function race(rival: PlainForwarder, ms: number): number {
  const start = realClock.now();
  const before = rival.forwarded + rival.dropped;
  let now = start;
  for (; now - start < ms; now = realClock.now()) rival.run(1024);
  return (rival.forwarded + rival.dropped - before) / (now - start) / 1000;
}

scope.onmessage = ({ data }) => {
  const fail = (error: Error) => scope.postMessage({ type: "failed", message: error.message });
  if (data.type === "load") load(data.tables).catch(fail);
  else if (data.type === "stop") running = false;
  else if (routes) {
    // Before anything is waited for: a stop may come in the meantime.
    running = true;
    rigFor(data.workers)
      .then((on) => run(data.load, on))
      .catch(fail);
  }
};
