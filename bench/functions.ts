/** Single functions: lookups, checksums, segmentation, coalescing. Timed by tinybench, a batch an iteration. */
import { Bench } from "tinybench";
import * as abi from "../assembly/abi.ts";
import { type Engine, Engine as EngineClass, PrefixMap4, PrefixMap6, Random } from "../src/index.ts";
import { destinations4, destinations6 } from "../src/measure/index.ts";
import { Rig } from "../src/measure/rig.ts";
import { addressBytes4, checksum, ETHERTYPE, serializeEthernet, serializeIpv4, serializeTcp } from "../src/wire/index.ts";
import { type Context, type Profile, result } from "./harness.ts";

/** Rates of `units` per call of `run`, one per tinybench sample quartile. */
async function rates(context: Context, units: number, run: () => void, before?: () => void): Promise<number[]> {
  const bench = new Bench({ time: context.ms * context.runs, warmupTime: context.ms, throws: true });
  bench.add("it", run, before ? { beforeEach: before } : {});
  await bench.run();
  const [task] = bench.tasks;
  const latency = (task.result as unknown as { latency: { p50: number; min: number; p75: number } }).latency;
  return [latency.p75, latency.p50, latency.min].map((ms) => (units / ms) * 1000);
}

const N = 1 << 17;

const lpm4: Profile = async (context) => {
  const routes = await context.routes();
  const rig = await Rig.create(routes, { generatorBytes: N * 32 });
  const { memory, plane } = rig.engine;
  const at = memory.base(abi.REGION_GENERATORS);
  const out = at + 4 * N;
  const random = new Random(1);
  const oracle = PrefixMap4.from(routes.v4);
  const alone = await EngineClass.create({
    routes4: routes.v4.count,
    routes6: 0,
    tables: 1,
    nextHops: Math.max(routes.nextHops.length + 1, 255),
  });
  const before = alone.tableMemory().hot;
  alone.createTable(4).load(routes.v4);
  const bytes = alone.tableMemory().hot - before;
  const results = [];
  for (const [name, addresses] of [
    ["lpm4 random", Uint32Array.from({ length: N }, () => random.u32())],
    ["lpm4 inside", destinations4(routes.v4, N, "inside", random)],
    ["lpm4 zipf", destinations4(routes.v4, N, "zipf", random)],
  ] as const) {
    memory.u32.set(addresses, at / 4);
    const measured = await rates(context, N / 1e6, () => plane.route4Lookups(0, at, out, N));
    let verified = true;
    for (let i = 0; i < N; i += 13) verified &&= memory.getU32(out + 4 * i) === oracle.lookup(addresses[i]);
    results.push(result(name, "M/s", measured, { verified, note: `${routes.v4.count} routes in ${(bytes / 1e6).toFixed(2)} MB` }));
  }
  return results;
};

const lpm6: Profile = async (context) => {
  const routes = await context.routes();
  const rig = await Rig.create(routes, { generatorBytes: N * 32 });
  const { memory, plane } = rig.engine;
  const at = memory.base(abi.REGION_GENERATORS);
  const out = at + 16 * N;
  const addresses = destinations6(routes.v6, N, "inside", new Random(1));
  const view = new DataView(addresses.buffer);
  for (let i = 0; i < 8 * N; i++) memory.u16[at / 2 + i] = view.getUint16(2 * i) ^ 0x8000;
  const measured = await rates(context, N / 1e6, () => plane.route6Lookups(1, 0, at, out, N));
  const oracle = PrefixMap6.from(routes.v6);
  let verified = true;
  for (let i = 0; i < N; i += 31)
    verified &&= memory.getU32(out + 4 * i) === oracle.lookup(view.getBigUint64(16 * i), view.getBigUint64(16 * i + 8));
  return [result("lpm6 inside", "M/s", measured, { verified, note: `${routes.v6.count} routes` })];
};

const checksums: Profile = async (context) => {
  const engine = await EngineClass.create({ appBytes: 1 << 16, tables: 0, routes4: 0, routes6: 0 });
  const at = engine.memory.base(abi.REGION_APP);
  new Random(1).fill(engine.memory.u8.subarray(at, at + 4096));
  const { plane } = engine;
  const results = [];
  for (const length of [1500, 64]) {
    let sink = 0;
    const calls = 2000;
    const run = () => {
      for (let i = 0; i < calls; i++) sink ^= plane.checksum(at, length);
    };
    const measured = await rates(context, (calls * length) / 1e9, run);
    const swapped = plane.checksum(at, length);
    const verified = (((swapped & 255) << 8) | (swapped >>> 8)) === checksum(engine.memory.u8.subarray(at, at + length));
    results.push(result(`checksum ${length} B`, "GB/s", measured, { verified: verified && sink >= 0 }));
  }
  return results;
};

const MSS = 1448;
const PAYLOAD = 45 * MSS;

/** A 64 KiB TCP packet: headers in a buffer, payload by reference in the application's memory. */
function largePacket(engine: Engine): number {
  const { memory, plane } = engine;
  const addresses = { source: addressBytes4(0x0a000001), destination: addressBytes4(0x0a000002) };
  const tcp = { sourcePort: 1, destinationPort: 2, sequence: 1, acknowledgement: 1, flags: 16, window: 1, urgentPointer: 0 };
  const options = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2);
  const upper = serializeTcp({ ...tcp, options, payload: new Uint8Array(0) }, addresses);
  const packet = serializeIpv4({ protocol: 6, source: 0x0a000001, destination: 0x0a000002, payload: upper });
  const headers = serializeEthernet({
    destination: engine.port(0).macBytes,
    source: Uint8Array.of(2, 9, 9, 9, 9, 9),
    type: ETHERTYPE.ipv4,
    payload: packet,
  });
  const head = plane.bufferTake(0) >>> 0;
  const d = memory.descriptor(head);
  memory.u8.set(headers, memory.getU32(d + abi.DESC_DATA));
  memory.setU32(d + abi.DESC_LENGTH, headers.length);
  memory.setU32(d + abi.DESC_PACKET_LENGTH, headers.length + PAYLOAD);
  memory.setU32(d + abi.DESC_L3, 14 | (34 << 16));
  memory.setU32(d + abi.DESC_FLAGS, abi.FLAG_IP4);
  memory.setU32(d + abi.DESC_GSO_SIZE, MSS | (abi.GSO_TCP4 << 16));
  const piece = plane.bareTake(0) >>> 0;
  const p = memory.descriptor(piece);
  memory.setU32(p + abi.DESC_DATA, memory.base(abi.REGION_APP));
  memory.setU32(p + abi.DESC_LENGTH, PAYLOAD);
  memory.setU32(d + abi.DESC_NEXT, piece);
  return head;
}

async function offloadEngine(): Promise<Engine> {
  const engine = await EngineClass.create({ buffers: 4096, bareDescriptors: 4096, appBytes: 1 << 17, tables: 0, routes4: 0, routes6: 0 });
  const at = engine.memory.base(abi.REGION_APP);
  new Random(2).fill(engine.memory.u8.subarray(at, at + PAYLOAD));
  return engine;
}

/** RFC 1071 over each segment's TCP: the sum with its pseudo-header must be all ones. */
function segmentsSound(engine: Engine, ids: number, n: number): boolean {
  const { memory, plane } = engine;
  for (let i = 0; i < n; i++) {
    const id = plane.packetGather(0, memory.getU32(ids + 4 * i)) >>> 0;
    memory.setU32(ids + 4 * i, id);
    const d = memory.descriptor(id);
    const data = memory.getU32(d + abi.DESC_DATA);
    const bytes = memory.u8.slice(data, data + memory.getU32(d + abi.DESC_LENGTH));
    const pseudo = [bytes.subarray(26, 30), bytes.subarray(30, 34)].reduce(
      (s, a) => s + ((a[0] << 8) | a[1]) + ((a[2] << 8) | a[3]),
      6 + bytes.length - 34,
    );
    if (checksum(bytes.subarray(34), pseudo) !== 0 || checksum(bytes.subarray(14, 34)) !== 0) return false;
  }
  return true;
}

const tso: Profile = async (context) => {
  const engine = await offloadEngine();
  const { plane, memory } = engine;
  const out = memory.base(abi.REGION_HOST);
  const id = largePacket(engine);
  const segments = plane.packetSegment(0, plane.packetClone(0, id), out, 128);
  const verified = segmentsSound(engine, out, segments);
  plane.packetsRelease(0, out, segments);
  const calls = 20;
  const run = () => {
    for (let i = 0; i < calls; i++) {
      const n = plane.packetSegment(0, plane.packetClone(0, id), out, 128);
      plane.packetsRelease(0, out, n);
    }
  };
  const measured = await rates(context, (calls * PAYLOAD * 8) / 1e9, run);
  return [result("tso", "Gbit/s", measured, { verified: verified && segments === 45 && engine.pool().inFlight === 1 })];
};

const gro: Profile = async () => {
  const engine = await offloadEngine();
  const { plane, memory } = engine;
  const out = memory.base(abi.REGION_HOST);
  const id = largePacket(engine);
  const trains = 40;
  const make = () => {
    for (let t = 0; t < trains; t++) {
      const at = out + t * 256;
      const n = plane.packetSegment(0, plane.packetClone(0, id), at, 64);
      for (let i = 0; i < n; i++) memory.setU32(at + 4 * i, plane.packetGather(0, memory.getU32(at + 4 * i)));
    }
  };
  const times: number[] = [];
  let verified = true;
  for (let round = 0; round < 40; round++) {
    make();
    const start = performance.now();
    for (let t = 0; t < trains; t++) if (plane.packetsCoalesce(0, 0, out + t * 256, 45) !== 1) verified = false;
    times.push((trains * PAYLOAD * 8) / 1e6 / (performance.now() - start));
    for (let t = 0; t < trains; t++) plane.packetRelease(0, memory.getU32(out + t * 256));
  }
  return [result("gro", "Gbit/s", times.slice(8), { verified: verified && engine.pool().inFlight === 1 })];
};

export const functions: Record<string, Profile> = { lpm4, lpm6, checksum: checksums, tso, gro };
