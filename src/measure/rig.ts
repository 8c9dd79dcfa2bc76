/**
 * A router under load: a table, a generator on port 0, a sink behind port 1, and a check of what comes out.
 * The command line, the benchmarks and the page in the browser all measure with it.
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import type { HopSpec, RouteSet } from "../base/routes.ts";
import type { Counters } from "../engine/counters.ts";
import { Engine, type EngineOptions } from "../engine/engine.ts";
import type { RouteTable } from "../engine/route-table.ts";
import { attachGenerator, flowFrame, frameLengths, type GeneratorOptions, Samples } from "../link/generator.ts";
import { PrefixMap4, PrefixMap6 } from "../rib/prefix-map.ts";
import { type OracleHop, route } from "../wire/forward.ts";
import { type Distribution, destinations4, destinations6 } from "./destinations.ts";
import { MultibitTrie, PlainForwarder } from "./plain-forwarder.ts";

export interface Load {
  family: 4 | 6;
  frameSize: number | "imix";
  flows: number;
  /** Every packet another destination of the stream, or 1,024 flows that stay. */
  everyPacket: boolean;
  distribution: Distribution;
}

/** Length of a stream of destinations: more than any cache holds answers for. */
const STREAM = 1 << 19;
const SAMPLE_SLOTS = 2048;
const SAMPLE_STRIDE = 20_011;
const CORE_MAC = (hop: number) => Uint8Array.of(2, 1, 0, 0, hop >>> 8, hop & 255);
const OWN_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);

export interface RigOptions extends EngineOptions {
  seed?: number;
}

export interface Reading {
  /** Packets forwarded and bytes (RFC 2544 frame sizes, FCS included) since the load began. */
  readonly packets: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Packets handled, those that ended in a drop or at the host included. */
  readonly handled: number;
}

export interface Check {
  readonly samples: number;
  /** The first difference, or undefined. */
  readonly problem?: string;
  readonly generated: number;
  readonly accounted: number;
}

export class Rig {
  readonly engine: Engine;
  readonly routes: RouteSet;
  readonly table4: RouteTable;
  readonly table6: RouteTable;
  /** Milliseconds that loading the tables took. */
  readonly loadMs: number;
  private readonly random: Random;
  private readonly workers: number[];
  private samples: Samples | undefined;
  private load: GeneratorOptions | undefined;
  private oracle4: PrefixMap4 | undefined;
  private oracle6: PrefixMap6 | undefined;
  private before: Counters;
  private readonly tries: { [family: number]: MultibitTrie | undefined } = {};
  private readonly streams = new Map<string, Uint32Array | Uint8Array>();

  private constructor(engine: Engine, routes: RouteSet, tables: [RouteTable, RouteTable], loadMs: number, seed: number) {
    this.engine = engine;
    this.routes = routes;
    [this.table4, this.table6] = tables;
    this.loadMs = loadMs;
    this.random = new Random(seed);
    const { workers } = engine.memory.layout;
    this.workers = workers === 1 ? [0] : Array.from({ length: workers - 1 }, (_, i) => i + 1);
    this.before = engine.counters();
  }

  static async create(routes: RouteSet, { seed, ...options }: RigOptions = {}): Promise<Rig> {
    const hops = routes.nextHops.length + 1;
    if (hops > 65_535) throw new LoomError("ENOMEM", `the routes name ${hops - 1} next hops; a table holds 65,534`);
    const threads = options.threads ?? 0;
    const engine = await Engine.create({
      ports: 2,
      buffers: 2048 * (threads + 1),
      bareDescriptors: 64,
      routes4: routes.v4.count + 20_000,
      routes6: routes.v6.count + 5_000,
      nextHops: Math.max(hops, 255),
      generatorBytes: STREAM * 16 + 65_536 + 2048 * abi.TEMPLATE_SIZE * (threads + 1),
      samples: SAMPLE_SLOTS,
      ...options,
    });
    const started = engine.clock.now();
    const [table4, table6] = [engine.createTable(4), engine.createTable(6)];
    for (const table of [table4, table6]) {
      for (const [i, spec] of routes.nextHops.entries()) table.addNextHop(nextHop(spec, i + 1));
      table.load(table.family === 4 ? routes.v4 : routes.v6);
    }
    const loadMs = engine.clock.now() - started;
    engine.port(0).configure({ mac: OWN_MAC, table4, table6 });
    engine.memory.u8[engine.memory.port(1) + abi.PORT_KIND] = abi.KIND_GENERATOR;
    for (let w = 0; w < engine.memory.layout.workers; w++) engine.memory.setU32(engine.memory.port(1) + abi.PORT_RX + 4 * w, 0);
    return new Rig(engine, routes, [table4, table6], loadMs, seed ?? 1);
  }

  /** Sets the traffic; counters are taken as zero from here. */
  offer(load: Load): void {
    const destinations = this.stream(load);
    this.load = {
      family: load.family,
      frameSize: load.frameSize,
      // The mix has twelve sizes, one for each flow: fewer flows would not be the mix.
      flows: load.frameSize === "imix" ? Math.ceil(load.flows / 12) * 12 : load.flows,
      destinations,
      everyPacket: load.everyPacket,
      sourceMac: Uint8Array.of(2, 0xff, 0, 0, 0, 1),
    };
    attachGenerator(this.engine, this.engine.port(0), this.load, this.workers);
    this.samples = new Samples(this.engine, [this.engine.port(1)], SAMPLE_STRIDE, this.workers[0]);
    this.before = this.engine.counters();
  }

  private stream({ family, distribution }: Load): Uint32Array | Uint8Array {
    const key = `${family} ${distribution}`;
    let stream = this.streams.get(key);
    if (!stream) {
      const count = family === 4 ? this.routes.v4.count : this.routes.v6.count;
      if (count === 0 && distribution !== "uniform") throw new LoomError("ENOENT", `the routes hold no IPv${family} prefix to send to`);
      stream =
        family === 4
          ? destinations4(this.routes.v4, STREAM, distribution, this.random)
          : destinations6(this.routes.v6, STREAM, distribution, this.random);
      this.streams.set(key, stream);
    }
    return stream;
  }

  /** The same load for the plain-JavaScript rival. */
  rival(): PlainForwarder {
    const load = this.load as GeneratorOptions;
    const { family, destinations } = load;
    const frames = this.framesOf(load);
    this.tries[family] ??= family === 4 ? MultibitTrie.from4(this.routes.v4) : MultibitTrie.from6(this.routes.v6);
    const stream = load.everyPacket ? networkOrder(destinations) : undefined;
    return new PlainForwarder(this.tries[family] as MultibitTrie, this.routes.nextHops.length, OWN_MAC, frames, stream, family);
  }

  /** The frames of a load, one for each flow, as they enter. */
  frames(load: Load): Uint8Array[] {
    this.offer(load);
    return this.framesOf(this.load as GeneratorOptions);
  }

  private framesOf(load: GeneratorOptions): Uint8Array[] {
    const { family, destinations } = load;
    const sizes = frameLengths(load);
    const at = (i: number) => (family === 4 ? (destinations[i] as number) : (destinations as Uint8Array).slice(16 * i, 16 * i + 16));
    return Array.from({ length: load.flows ?? 1024 }, (_, i) => flowFrame(load, OWN_MAC, i, sizes[i % sizes.length], at(i)));
  }

  /** Forwards for `ms` milliseconds on the calling thread without a pause; returns what was done. */
  burst(ms: number): Reading {
    const { plane, clock } = this.engine;
    const from = this.mark();
    const start = clock.now();
    let now = start;
    while (now - start < ms) {
      plane.poll(0, now / 1000, 16_384);
      now = clock.now();
    }
    return this.since(from, (now - start) / 1000);
  }

  /** Lets the threads forward for `ms` milliseconds. */
  async parallel(ms: number): Promise<Reading> {
    const { clock } = this.engine;
    const from = this.mark();
    const start = clock.now();
    await clock.sleep(ms);
    return this.since(from, (clock.now() - start) / 1000);
  }

  private mark(): { txPackets: number; txBytes: number; received: number } {
    const { txPackets, txBytes } = this.engine.port(1).counters();
    return { txPackets, txBytes, received: this.engine.counters().stats.received };
  }

  private since(from: ReturnType<Rig["mark"]>, seconds: number): Reading {
    const to = this.mark();
    const packets = to.txPackets - from.txPackets;
    return { packets, bytes: to.txBytes - from.txBytes + 4 * packets, seconds, handled: to.received - from.received };
  }

  /** Counters since the traffic was set. */
  counters(): Counters {
    return difference(this.engine.counters(), this.before);
  }

  /** Compares the samples with the oracle and the totals with each other. Nothing may be running. */
  verify(): Check {
    const { stats, dropped, punted } = this.counters();
    this.engine.poll(0);
    const generated = stats.generated;
    const accounted = stats.sunk + dropped + punted;
    const samples = (this.samples as Samples).read();
    let problem = generated === accounted ? undefined : `${generated} packets went in and ${accounted} are accounted for`;
    if (generated === 0) problem ??= "not one packet was made";
    for (const sample of samples) problem ??= this.compare(sample);
    if (samples.length === 0 && stats.sunk > SAMPLE_STRIDE * 2) problem ??= "no sample was taken";
    return { samples: samples.length, problem, generated, accounted };
  }

  /** The oracle forwards the same flow's packet to the same address; the bytes must be the same. */
  private compare({ bytes, length }: { bytes: Uint8Array; length: number }): string | undefined {
    const load = this.load as GeneratorOptions;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const flow = load.family === 4 ? view.getUint32(26) - 0xc6120000 : view.getUint32(34) & 0xffffff;
    const destination = load.family === 4 ? view.getUint32(30) : bytes.slice(38, 54);
    const input = flowFrame(load, OWN_MAC, flow, length, destination);
    const verdict = route(input, { mac: OWN_MAC, lookup4: (a) => this.hop4(a), lookup6: (a) => this.hop6(a) });
    if (verdict.verdict !== "forward") return `a packet was forwarded that the oracle would ${verdict.verdict} (${verdict.reason})`;
    const expected = verdict.bytes.subarray(0, bytes.length);
    const at = expected.findIndex((byte, i) => byte !== bytes[i]);
    return at < 0 && verdict.bytes.length === length ? undefined : `a forwarded packet differs from the oracle's at byte ${at}`;
  }

  private hop4(address: number): OracleHop | undefined {
    this.oracle4 ??= PrefixMap4.from(this.routes.v4);
    return this.oracleHop(this.oracle4.lookup(address));
  }

  private hop6(address: Uint8Array): OracleHop | undefined {
    this.oracle6 ??= PrefixMap6.from(this.routes.v6);
    const view = new DataView(address.buffer, address.byteOffset, 16);
    return this.oracleHop(this.oracle6.lookup(view.getBigUint64(0), view.getBigUint64(8)));
  }

  private oracleHop(hop: number): OracleHop | undefined {
    if (hop === 0) return undefined;
    const spec = this.routes.nextHops[hop - 1];
    const kind = spec.kind === "group" ? "forward" : spec.kind;
    return { kind, port: 1, mtu: 1500, destinationMac: CORE_MAC(hop), sourceMac: OWN_MAC };
  }
}

/** Each next hop of a table gets a MAC of its own, so that the output shows which route was taken. */
export function nextHop(spec: HopSpec, hop: number) {
  // A measurement takes a group for one next hop.
  if (spec.kind !== "forward" && spec.kind !== "group") return { kind: spec.kind };
  return { kind: "forward" as const, port: 1, destinationMac: CORE_MAC(hop), sourceMac: OWN_MAC };
}

function networkOrder(destinations: Uint32Array | Uint8Array): Uint8Array {
  if (destinations instanceof Uint8Array) return destinations;
  const out = new Uint8Array(destinations.length * 4);
  const view = new DataView(out.buffer);
  destinations.forEach((address, i) => view.setUint32(4 * i, address));
  return out;
}

function difference(now: Counters, then: Counters): Counters {
  const minus = (a: Record<string, number>, b: Record<string, number>) =>
    Object.fromEntries(
      Object.entries(a)
        .map(([name, n]) => [name, n - (b[name] ?? 0)])
        .filter(([, n]) => n !== 0),
    );
  const stats = Object.fromEntries(Object.entries(now.stats).map(([name, n]) => [name, n - then.stats[name as keyof typeof then.stats]]));
  return {
    drops: minus(now.drops as Record<string, number>, then.drops as Record<string, number>),
    punts: minus(now.punts as Record<string, number>, then.punts as Record<string, number>),
    stats: stats as Counters["stats"],
    dropped: now.dropped - then.dropped,
    punted: now.punted - then.punted,
  };
}
