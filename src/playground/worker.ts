/** The engine's side of the page: loads the tables, runs in slices, reports ten times a second. */
import { realClock } from "../base/clock.ts";
import { RouteSet } from "../base/routes.ts";
import { type Load, type PlainForwarder, Rig } from "../measure/index.ts";
import { loadRoutes } from "../rib/load.ts";
import type { Figures, FromWorker, ToWorker } from "./messages.ts";

const scope = globalThis as unknown as { postMessage(message: FromWorker): void; onmessage: ((event: { data: ToWorker }) => void) | null };
const REPORT_MS = 100;
/** Of every report's time the rival gets this share; it needs little to show its rate. */
const RIVAL_SHARE = 0.15;
const WARM_UP_MS = 300;

let rig: Rig | undefined;
let running = false;

async function load(urls: string[]): Promise<void> {
  const routes = new RouteSet();
  for (const url of urls) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    const part = await loadRoutes(new Uint8Array(await response.arrayBuffer()), url);
    for (const { name, kind } of part.nextHops) routes.hop(name, kind);
    if (part.v4.count) Object.assign(routes, { v4: part.v4 });
    if (part.v6.count) Object.assign(routes, { v6: part.v6 });
  }
  rig = await Rig.create(routes);
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

async function run(on: Rig, wanted: Load): Promise<void> {
  running = true;
  on.offer(wanted);
  const rival = on.rival();
  // Until its code is compiled the rival would look slower than it is.
  race(rival, WARM_UP_MS);
  const sums = { packets: 0, handled: 0, bytes: 0, seconds: 0, plain: 0, slices: 0 };
  let figures: Figures = { packets: 0, mpps: 0, gbps: 0, plainMpps: 0, drops: {}, punts: {}, transmitted: 0 };
  while (isRunning()) {
    const reading = on.burst(REPORT_MS * (1 - RIVAL_SHARE));
    const plainMpps = race(rival, REPORT_MS * RIVAL_SHARE);
    const { drops, punts, stats } = on.counters();
    sums.packets += reading.packets;
    sums.handled += reading.handled;
    sums.bytes += reading.bytes;
    sums.seconds += reading.seconds;
    sums.plain += plainMpps;
    sums.slices++;
    figures = {
      packets: sums.packets,
      mpps: reading.handled / reading.seconds / 1e6,
      gbps: (reading.bytes * 8) / reading.seconds / 1e9,
      plainMpps,
      drops: drops as Record<string, number>,
      punts: punts as Record<string, number>,
      transmitted: stats.transmitted,
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
  else if (rig) run(rig, data.load).catch(fail);
};
