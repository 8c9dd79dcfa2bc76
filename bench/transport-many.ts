/** Many connections between two hosts, and one for long: fairness, memory, timers, and whether speed lasts. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Host } from "../src/host/host.ts";
import { Engine, joinPorts } from "../src/index.ts";
import type { TcpSocket } from "../src/socket/stream.ts";
import { type Profile, result } from "./harness.ts";
import { ADDRESS, several, twoHosts } from "./transport.ts";

const FLOWS = 100;
const IDLE = 100_000;
const CHUNK = new Uint8Array(65_536).map((_, i) => i * 7);

/** A full collection, so that what is left is what is held. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

async function connect(a: Host, b: Host, port: number): Promise<{ near: TcpSocket; far: TcpSocket }> {
  const listener = b.listen({ port });
  const [near, far] = await Promise.all([a.connect({ hostname: ADDRESS[1], port }), listener.accept()]);
  listener.close();
  return { near, far };
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

/** Jain's index: 1 when all got the same, 1/n when one got everything. */
function jain(shares: readonly number[]): number {
  return sum(shares) ** 2 / (shares.length * shares.reduce((a, b) => a + b * b, 0));
}

/** A stream that never ends, by plain reads and writes of 64 KiB; all of them send the same bytes. Gbit/s of what arrived. */
function plain(from: TcpSocket, to: TcpSocket): (ms: number) => Promise<number> {
  void (async () => {
    for (;;) await from.write(CHUNK);
  })().catch(() => {});
  const space = new Uint8Array(CHUNK.length);
  let position = 0;
  return async (ms) => {
    const start = performance.now();
    const first = position;
    while (performance.now() - start < ms) {
      const n = (await to.read(space)) as number;
      const probe = position % n;
      if (space[probe] !== CHUNK[(position + probe) % CHUNK.length]) throw new Error(`a wrong byte at ${position + probe}`);
      position += n;
    }
    return ((position - first) * 8) / (performance.now() - start) / 1e6;
  };
}

/**
 * 100 flows at once against one alone, both over real segments: what of its rate they reach together, and how fairly. The two take turns, so
 * that each round's ratio is of the same second or so of the machine.
 */
const flows: Profile = async (context) => {
  const [one, hundred] = [await endless(1), await endless(FLOWS)];
  const fairness: number[] = [];
  const alone: number[] = [];
  const rates = await several(context, async () => {
    const ms = Math.max(context.ms, 1000);
    alone.push(sum(await one.measure(ms)));
    const each = await hundred.measure(ms);
    fairness.push(jain(each));
    return sum(each);
  });
  await one.close();
  await hundred.close();
  const ratios = rates.map((rate, i) => rate / alone[i + 1]);
  return [
    result("tcp-100", "Gbit/s", rates, {
      vs: { "one flow": result("", "", ratios).value },
      note: `one flow ${result("", "", alone.slice(1)).value.toFixed(1)} Gbit/s; Jain index ${Math.min(...fairness).toFixed(3)} at the least`,
    }),
    result("tcp-100-fairness", "Jain index", fairness.slice(1)),
  ];
};

/** Two hosts with so many flows between them; `measure` runs them all for some milliseconds, and says Gbit/s of each. */
async function endless(count: number) {
  const { a, b, engine } = await twoHosts(true);
  const pairs = await Promise.all(Array.from({ length: count }, (_, i) => connect(a, b, 1000 + i)));
  const measures = pairs.map(({ near, far }) => plain(near, far));
  return { measure: (ms: number) => Promise.all(measures.map((measure) => measure(ms))), close: () => engine.close() };
}

/** 100,000 connections that do nothing but keep alive: memory of each end, and what their timers cost. */
const idle: Profile = async () => {
  const gc = collector();
  const engine = await Engine.create({
    ports: 2,
    tables: 4,
    buffers: 8192,
    bareDescriptors: 16_384,
    ringCapacity: 4096,
    puntCapacity: 8192,
    appBytes: 64 << 20,
  });
  const host = (i: 0 | 1) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`${ADDRESS[i]}/24`] }] });
  const [a, b] = [await host(0), await host(1)];
  joinPorts(engine, engine.port(0), engine.port(1));
  engine.start();
  const none = await idleShare();
  gc();
  const held = () => process.memoryUsage().heapUsed + process.memoryUsage().external;
  const before = { memory: held(), rss: process.memoryUsage().rss };
  const near: TcpSocket[] = [];
  const far: TcpSocket[] = [];
  for (let port = 80; near.length < IDLE; port++) await fill(a, b, port, near, far);
  gc();
  const bytes = (held() - before.memory) / (2 * IDLE);
  const rss = (process.memoryUsage().rss - before.rss) / (2 * IDLE);
  const slabs = engine.slabs.total - engine.slabs.available;
  const all = await idleShare();
  await verify(near, far);
  await engine.close();
  return [
    result("tcp-idle", "bytes/connection", [bytes], {
      note: `${IDLE} connections, both ends here; ${rss.toFixed(0)} bytes of rss an end, ${slabs} slabs held`,
    }),
    result("tcp-idle-cpu", "% CPU", [Math.max(all - none, 0)], {
      note: `${all.toFixed(2)} %, and ${none.toFixed(2)} % without a connection`,
    }),
  ];
};

/** Connections to one port: as many as there are ephemeral ports for, some at a time. */
async function fill(a: Host, b: Host, port: number, near: TcpSocket[], far: TcpSocket[]): Promise<void> {
  const listener = b.listen({ port, backlog: 1000, keepAlive: 75 });
  const end = Math.min(near.length + 20_000, IDLE);
  while (near.length < end) {
    const some = Math.min(500, end - near.length);
    const accepting = Promise.all(Array.from({ length: some }, () => listener.accept()));
    const connecting = Promise.all(Array.from({ length: some }, () => a.connect({ hostname: ADDRESS[1], port, keepAlive: 75 })));
    near.push(...(await connecting));
    far.push(...(await accepting));
  }
  listener.close();
}

/** Share of a core that this process uses while nothing happens: the middle one of some seconds, for what compiles or collects in the background. */
async function idleShare(): Promise<number> {
  const shares: number[] = [];
  for (let second = 0; second < 7; second++) {
    const [start, cpu] = [performance.now(), process.cpuUsage()];
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { user, system } = process.cpuUsage(cpu);
    shares.push((user + system) / 10 / (performance.now() - start));
  }
  return shares.sort((a, b) => a - b)[3];
}

/** A thousand of them still work. */
async function verify(near: readonly TcpSocket[], far: readonly TcpSocket[]): Promise<void> {
  const byPort = new Map(far.map((socket) => [`${socket.remoteAddress.port} ${socket.localAddress.port}`, socket]));
  const space = new Uint8Array(1);
  for (let i = 0; i < near.length; i += near.length / 1000) {
    const socket = near[i];
    const other = byPort.get(`${socket.localAddress.port} ${socket.remoteAddress.port}`);
    await socket.write(Uint8Array.of(i & 255));
    if ((await other?.read(space)) !== 1 || space[0] !== (i & 255)) throw new Error(`connection ${i} does not work`);
  }
}

/** 1 GB through one connection: the last 100 MB against the first, and the memory at every 100 MB. */
const soak: Profile = async () => {
  const gc = collector();
  const { a, b, engine } = await twoHosts(true);
  const { near, far } = await connect(a, b, 80);
  const PART = 100 << 20;
  const chunk = new Uint8Array(262_144).map((_, i) => i * 7);
  const space = new Uint8Array(262_144);
  let position = 0;
  const part = async () => {
    const start = performance.now();
    const end = position + PART;
    const writing = (async () => {
      for (let sent = 0; sent < PART; sent += chunk.length) await near.write(chunk.subarray(0, Math.min(chunk.length, PART - sent)));
    })();
    while (position < end) {
      const n = (await far.read(space)) as number;
      const probe = position % n;
      if (space[probe] !== chunk[(position + probe) % chunk.length]) throw new Error(`a wrong byte at ${position + probe}`);
      position += n;
    }
    await writing;
    return PART / (performance.now() - start) / 1000;
  };
  await part();
  const rates: number[] = [];
  const memory: { heap: number; rss: number }[] = [];
  for (let i = 0; i < 10; i++) {
    rates.push(await part());
    gc();
    const { heapUsed, external, rss } = process.memoryUsage();
    memory.push({ heap: heapUsed + external, rss });
  }
  await engine.close();
  const [first, last] = [memory[0], memory[9]];
  const mega = (bytes: number) => `${(bytes / (1 << 20)).toFixed(1)} MB`;
  return [
    result("tcp-soak", "MB/s", rates, {
      vs: { "the first 100 MB": rates[9] / rates[0] },
      note: `heap ${mega(first.heap)} → ${mega(last.heap)}, rss ${mega(first.rss)} → ${mega(last.rss)}`,
    }),
  ];
};

export const many: Record<string, Profile> = { "tcp-100": flows, "tcp-idle": idle, "tcp-soak": soak };
