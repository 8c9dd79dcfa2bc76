/** Whole paths: generator, data plane, sink, in one worker, against DPDK and plain JavaScript. */
import { spawn } from "node:child_process";
import * as abi from "../assembly/abi.ts";
import { Engine, type RouteSet } from "../src/index.ts";
import { attachGenerator } from "../src/link/generator.ts";
import { type Load, Rig } from "../src/measure/index.ts";
import { dpdkRate } from "./compare/dpdk.ts";
import { type Context, type Profile, repeat, result } from "./harness.ts";

const LOADS: Record<string, Load> = {
  "ip4-64": { family: 4, frameSize: 64, flows: 1024, everyPacket: false, distribution: "inside" },
  "ip4-64-random": { family: 4, frameSize: 64, flows: 1024, everyPacket: true, distribution: "inside" },
  "ip6-64-random": { family: 6, frameSize: 64, flows: 1024, everyPacket: true, distribution: "inside" },
};

function plainRate(rig: Rig, ms: number): number {
  const rival = rig.rival();
  rival.run(200_000);
  const start = performance.now();
  const before = rival.forwarded;
  while (performance.now() - start < ms) rival.run(4096);
  return (rival.forwarded - before) / (performance.now() - start) / 1000;
}

function forwarding(name: string): Profile {
  return async (context) => {
    const rig = await Rig.create(await context.routes());
    rig.offer(LOADS[name]);
    rig.burst(500);
    const rates = repeat(context, () => rateOf(rig.burst(context.ms)));
    const check = rig.verify();
    const vs: Record<string, number> = { "plain-js": result(name, "", rates).value / plainRate(rig, context.ms) };
    const dpdk = name === "ip4-64" ? await dpdkRate(rig, LOADS[name]) : undefined;
    if (dpdk?.mpps) vs["dpdk-testpmd-csum"] = result(name, "", rates).value / dpdk.mpps;
    return [
      result(name, "Mpps", rates, { vs, verified: check.problem === undefined && check.samples > 0, note: check.problem ?? dpdk?.note }),
    ];
  };
}

const rateOf = ({ packets, seconds }: { packets: number; seconds: number }) => packets / seconds / 1e6;

const station = (side: number, i: number) => Uint8Array.of(2, 0xaa, side, 0, i >>> 8, i & 255);

const bridge: Profile = async (context) => {
  const stations = 1024;
  const engine = await Engine.create({ ports: 2, buffers: 2048, bridges: 1, stations: 4 * stations, tables: 0, generatorBytes: 1 << 20 });
  const joined = engine.createBridge();
  joined.add(engine.port(0)).add(engine.port(1));
  const sources = Array.from({ length: stations }, (_, i) => station(0, i));
  const targets = Array.from({ length: stations }, (_, i) => station(1, i));
  // Every target speaks once, so that the bridge knows where it is.
  for (const mac of targets) {
    engine.port(1).receive(Uint8Array.from([...station(0, 0), ...mac, 0x88, 0xb5, ...new Array(46).fill(0)]));
    engine.poll();
    engine.port(0).transmitted(() => {});
  }
  attachGenerator(engine, engine.port(0), {
    family: 4,
    frameSize: 64,
    flows: stations,
    destinations: Uint32Array.of(0x0a000001),
    stations: { sources, targets },
  });
  engine.memory.u8[engine.memory.port(1) + abi.PORT_KIND] = abi.KIND_GENERATOR;
  for (let w = 0; w < engine.memory.layout.workers; w++) engine.memory.setU32(engine.memory.port(1) + abi.PORT_RX + 4 * w, 0);
  const flooded = engine.counters().stats.flooded;
  const run = () => {
    const from = engine.port(1).counters().txPackets;
    const start = performance.now();
    while (performance.now() - start < context.ms) engine.plane.poll(0, Math.floor(performance.now() / 1000), 16_384);
    return (engine.port(1).counters().txPackets - from) / (performance.now() - start) / 1000;
  };
  const rates = repeat(context, run);
  const { stats, dropped } = engine.counters();
  const verified =
    stats.flooded === flooded &&
    dropped === 0 &&
    targets.every((_, i) => joined.find(`02:aa:01:00:${hex(i >>> 8)}:${hex(i & 255)}`) === engine.port(1));
  return [result("l2-64", "Mpps", rates, { verified })];
};

const hex = (byte: number) => byte.toString(16).padStart(2, "0");

/** Updates a second that forwarding has to bear. */
const CHURN_RATE = 300_000;

/** Changes of real routes: 32 scattered ones are withdrawn, then put back, so that lookups see every change. */
class Churn {
  private row = 0;
  changes = 0;

  constructor(
    private readonly rig: Rig,
    private readonly routes: RouteSet["v4"],
  ) {}

  round(): void {
    const { memory, plane } = this.rig.engine;
    const { addresses, lengths, hops, count } = this.routes;
    const stage = memory.base(abi.REGION_HOST);
    for (const withdraw of [true, false]) {
      for (let i = 0; i < 32; i++) {
        const at = (this.row + i * 7919) % count;
        memory.setU32(stage + 8 * i, addresses[at]);
        memory.u8[stage + 8 * i + 4] = lengths[at];
        memory.setU16(stage + 8 * i + 6, withdraw ? 0 : hops[at]);
      }
      for (let done = 0; done < 32; ) done += plane.routes4Set(0, stage + 8 * done, 32 - done);
      this.changes += 32;
    }
    this.row = (this.row + 32 * 7919) % count;
  }
}

/** Updates by the calling thread while a worker thread forwards: as many as go, and at 300,000 a second. */
const churn: Profile = async (context) => {
  const routes = await context.routes();
  const rig = await Rig.create(routes, { threads: 1 });
  rig.offer(LOADS["ip4-64-random"]);
  rig.engine.start();
  // Without the runner: the calling thread belongs to the updates.
  await rig.parallel(1000);
  const alone: number[] = [];
  const most: number[] = [];
  const paced: number[] = [];
  const during: number[] = [];
  const work = new Churn(rig, routes.v4);
  for (let run = 0; run < context.runs; run++) {
    alone.push(rateOf(await rig.parallel(context.ms)));
    most.push(updates(rig, work, context.ms, Number.POSITIVE_INFINITY).rate);
    const at = updates(rig, work, context.ms, CHURN_RATE);
    paced.push(at.rate);
    during.push(at.mpps);
  }
  await rig.engine.stop();
  const { punts } = rig.counters();
  const problem = rig.verify().problem;
  await rig.engine.close();
  const share = result("", "", during).value / result("", "", alone).value;
  // While a route is away its packets meet the next shorter one or none at all: nothing else may happen to them.
  const verified = problem === undefined && Object.keys(punts).every((name) => name === "unreachable") && sampleEqual(rig, routes);
  const note = `at ${Math.round(result("", "", paced).value).toLocaleString("en-US")}/s forwarding keeps ${(100 * share).toFixed(0)}%`;
  return [result("route-churn", "updates/s", most, { vs: { "forwarding alone": share }, verified, note })];
};

function updates(rig: Rig, work: Churn, ms: number, rate: number): { rate: number; mpps: number } {
  const from = rig.engine.port(1).counters().txPackets;
  const start = performance.now();
  work.changes = 0;
  for (let now = start; now - start < ms; now = performance.now()) if (work.changes < ((now - start) / 1000) * rate) work.round();
  const took = performance.now() - start;
  return { rate: (work.changes / took) * 1000, mpps: (rig.engine.port(1).counters().txPackets - from) / took / 1000 };
}

/** One worker in a process of its own: waits for "go" on stdin, prints its rate. */
export async function soloWorker(context: Context): Promise<void> {
  const rig = await Rig.create(await context.routes());
  rig.offer(LOADS["ip4-64-random"]);
  rig.burst(500);
  process.stdout.write("ready\n");
  await new Promise((resolve) => process.stdin.once("data", resolve));
  process.stdout.write(`${rateOf(rig.burst(context.ms * context.runs))}\n`);
  process.exit(0);
}

async function twoProcesses(args: string[]): Promise<number> {
  const children = [0, 1].map(() => spawn(process.execPath, [process.argv[1], "--solo", ...args], { stdio: ["pipe", "pipe", "inherit"] }));
  const outputs = children.map(() => "");
  const ready = children.map(
    (child, i) =>
      new Promise<void>((resolve) => {
        child.stdout.on("data", (chunk) => {
          outputs[i] += chunk;
          if (outputs[i].includes("ready")) resolve();
        });
      }),
  );
  const ended = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
  await Promise.all(ready);
  for (const child of children) child.stdin.write("go\n");
  await Promise.all(ended);
  return outputs.reduce((sum, text) => sum + Number(text.split("\n")[1]), 0);
}

const workers: Profile = async (context) => {
  const apart: number[] = [];
  for (let i = 0; i < 3; i++)
    apart.push(
      await twoProcesses([
        "--ms",
        String(context.ms),
        "--runs",
        String(context.runs),
        ...process.argv.slice(2).filter((word, at, all) => word === "--routes" || all[at - 1] === "--routes"),
      ]),
    );
  const rig = await Rig.create(await context.routes(), { threads: 2 });
  rig.offer(LOADS["ip4-64-random"]);
  rig.engine.start();
  await rig.parallel(1000);
  const rates: number[] = [];
  for (let i = 0; i < 3; i++) rates.push(rateOf(await rig.parallel(context.ms * context.runs)));
  await rig.engine.stop();
  const problem = rig.verify().problem;
  await rig.engine.close();
  const sum = result("", "", apart).value;
  return [
    result("workers", "Mpps", rates, {
      vs: { "two processes": result("", "", rates).value / sum },
      verified: problem === undefined,
      note: `two processes together ${sum.toFixed(1)} Mpps`,
    }),
  ];
};

const loadTables: Profile = async (context) => {
  const routes = await context.routes();
  let verified = true;
  const times: number[] = [];
  for (let i = 0; i < context.runs; i++) {
    const rig = await Rig.create(routes);
    times.push(rig.loadMs);
    verified &&= rig.table4.size > 0.99 * routes.v4.count && rig.table6.size > 0.99 * routes.v6.count && sampleEqual(rig, routes);
  }
  return [result("load-tables", "ms", times, { verified, note: `${routes.v4.count} + ${routes.v6.count} routes` })];
};

function sampleEqual(rig: Rig, routes: RouteSet): boolean {
  for (let i = 0; i < routes.v4.count; i += 997) {
    const found = rig.table4.get({ family: 4, address: routes.v4.addresses[i], length: routes.v4.lengths[i] });
    if (found === 0) return false;
  }
  return true;
}

export const paths: Record<string, Profile> = {
  "ip4-64": forwarding("ip4-64"),
  "ip4-64-random": forwarding("ip4-64-random"),
  "ip6-64-random": forwarding("ip6-64-random"),
  "l2-64": bridge,
  "route-churn": churn,
  workers,
  "load-tables": loadTables,
};
