/** The main job: real tables, real packets, one worker and all cores, beside plain JavaScript, verified. */
import { availableParallelism } from "node:os";
import { realClock } from "../base/clock.ts";
import type { RouteSet } from "../base/routes.ts";
import { type Load, type PlainForwarder, type Reading, Rig } from "../measure/index.ts";
import { progress } from "./output.ts";
import { shippedTables, userTables } from "./tables.ts";

export interface DemoOptions {
  routes?: string[];
  /** Seconds for each row. */
  seconds: number;
  cores: number;
  seed: number;
  quiet: boolean;
}

export interface Row {
  readonly name: string;
  readonly family: 4 | 6;
  readonly frameSize: string;
  readonly workers: number;
  readonly mpps: number;
  /** Slowest and fastest tenth of the row's time, million packets a second. */
  readonly spread: [number, number];
  readonly gbps: number;
  readonly nsPerPacket: number;
  /** Packetloom's rate over plain JavaScript's, one worker each. */
  readonly plainMpps?: number;
  readonly ratio?: number;
  readonly drops: Record<string, number>;
  readonly punts: Record<string, number>;
  readonly copiedBytesPerPacket: number;
  readonly samples: number;
  readonly verified: boolean;
  readonly problem?: string;
  /** Rates over time, for a chart. */
  readonly series: number[];
}

export interface DemoResult {
  readonly routes4: number;
  readonly routes6: number;
  readonly loadMs: number;
  readonly decodeMs: number;
  readonly trieBytes: number;
  readonly memory: Record<string, number>;
  readonly build: string;
  readonly rows: Row[];
  readonly verified: boolean;
  readonly warnings: string[];
}

const SLICES = 10;

/** Every row: family × frame size, every packet to another destination inside the table. */
function loads(routes: RouteSet): { name: string; load: Load }[] {
  const families = ([4, 6] as const).filter((family) => (family === 4 ? routes.v4.count : routes.v6.count) > 0);
  return families.flatMap((family) =>
    ([64, "imix", 1518] as const).map((frameSize) => ({
      name: `IPv${family} ${frameSize === "imix" ? "IMIX" : `${family === 6 && frameSize === 64 ? 66 : frameSize} B`}`,
      load: { family, frameSize, flows: 1024, everyPacket: true, distribution: "inside" as const },
    })),
  );
}

const median = (values: number[]) => [...values].sort((a, b) => a - b)[values.length >> 1];

function rowOf(name: string, load: Load, rig: Rig, workers: number, readings: Reading[], plainMpps?: number): Row {
  const rates = readings.map((r) => r.packets / r.seconds / 1e6);
  const bits = readings.map((r) => (r.bytes * 8) / r.seconds / 1e9);
  const { drops, punts, stats } = rig.counters();
  const check = rig.verify();
  const mpps = median(rates);
  return {
    name,
    family: load.family,
    frameSize: String(load.frameSize),
    workers,
    mpps,
    spread: [Math.min(...rates), Math.max(...rates)],
    gbps: median(bits),
    nsPerPacket: (1000 * workers) / mpps,
    plainMpps,
    ratio: plainMpps && mpps / plainMpps,
    drops: drops as Record<string, number>,
    punts: punts as Record<string, number>,
    copiedBytesPerPacket: stats.transmitted ? stats.copied_bytes / stats.transmitted : 0,
    samples: check.samples,
    verified: check.problem === undefined,
    problem: check.problem,
    series: rates,
  };
}

/** Runs the rival for a share of the row's time, warm-up included. */
function race(rival: PlainForwarder, ms: number): number {
  const clock = realClock;
  // Half a second at least: before that the compiler is still at work, and the rival would look slower than it is.
  for (let start = clock.now(); clock.now() - start < Math.max(ms / 3, 500); ) rival.run(4096);
  const start = clock.now();
  const before = rival.forwarded;
  let now = start;
  for (; now - start < ms; now = clock.now()) rival.run(4096);
  return (rival.forwarded - before) / (now - start) / 1000;
}

async function oneWorker(routes: RouteSet, options: DemoOptions, say: (text: string) => void): Promise<{ rig: Rig; rows: Row[] }> {
  const rig = await Rig.create(routes, { seed: options.seed });
  const rows: Row[] = [];
  const ms = options.seconds * 1000;
  for (const { name, load } of loads(routes)) {
    say(`${name}, one worker`);
    rig.offer(load);
    await realClock.turn();
    rig.burst(ms / 5);
    const readings: Reading[] = [];
    for (let i = 0; i < SLICES; i++) {
      readings.push(rig.burst(ms / SLICES));
      await realClock.turn();
    }
    say(`${name}, plain JavaScript`);
    const plain = race(rig.rival(), ms / 3);
    rows.push(rowOf(name, load, rig, 1, readings, plain));
    say("");
  }
  return { rig, rows };
}

async function allCores(routes: RouteSet, options: DemoOptions, say: (text: string) => void): Promise<Row[]> {
  const rig = await Rig.create(routes, { seed: options.seed, threads: options.cores });
  const rows: Row[] = [];
  const ms = options.seconds * 1000;
  for (const { name, load } of loads(routes)) {
    say(`${name}, ${options.cores} workers`);
    rig.offer(load);
    rig.engine.start();
    await rig.parallel(ms / 5);
    const readings: Reading[] = [];
    for (let i = 0; i < SLICES; i++) readings.push(await rig.parallel(ms / SLICES));
    await rig.engine.stop();
    rows.push(rowOf(name, load, rig, options.cores, readings));
  }
  await rig.engine.close();
  return rows;
}

export function coresOf(wanted: number | undefined): number {
  return Math.min(wanted ?? availableParallelism(), 15);
}

export async function demo(options: DemoOptions): Promise<DemoResult> {
  const steps = progress(1 + 6 * 3, options.quiet);
  try {
    steps.set(options.routes ? "reading routes" : "reading the Internet's routes");
    const start = realClock.now();
    const routes = options.routes ? await userTables(options.routes, steps) : await shippedTables();
    const decodeMs = realClock.now() - start;
    steps.step("loading tables");
    const say = (text: string) => {
      if (text) steps.set(text);
      steps.step(text);
    };
    const { rig, rows } = await oneWorker(routes, options, say);
    if (options.cores > 1) rows.push(...(await allCores(routes, options, say)));
    return {
      routes4: rig.table4.size,
      routes6: rig.table6.size,
      decodeMs,
      loadMs: rig.loadMs,
      trieBytes: rig.engine.tableMemory().hot,
      memory: rig.engine.regions(),
      build: rig.engine.build,
      rows,
      verified: rows.every((row) => row.verified),
      warnings: routes.warnings,
    };
  } finally {
    steps.stop();
  }
}
