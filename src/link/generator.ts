/**
 * Traffic made inside the data plane: a port that receives what its generator writes and swallows what is
 * sent to it. It measures the engine, not JavaScript.
 */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { checksum } from "../wire/checksum.ts";
import { ETHERTYPE, serializeEthernet } from "../wire/ethernet.ts";
import { addressBytes4, PROTOCOL, serializeIpv4 } from "../wire/ipv4.ts";
import { serializeIpv6 } from "../wire/ipv6.ts";
import { serializeUdp } from "../wire/l4.ts";

/** Frame sizes as RFC 2544 counts them: with the four bytes of FCS, which are not in memory. */
const FCS = 4;
/** Seven small, four middling, one large: the simple IMIX. */
const IMIX = [64, 64, 64, 64, 64, 64, 64, 594, 594, 594, 594, 1518];
/** Ethernet + IPv6 + UDP do not fit into 64 bytes; RFC 5180 §5.2 lets the smallest frame grow. */
const SMALLEST6 = 14 + 40 + 8 + FCS;

export interface GeneratorOptions {
  family: 4 | 6;
  /** Frame size with FCS, or the IMIX. IPv6 frames are at least 66 bytes. */
  frameSize: number | "imix";
  /** Different flows (5-tuples). Default 1024. */
  flows?: number;
  /** Destinations: u32 each in host order, or 16 bytes each. Flows take them in turn. */
  destinations: Uint32Array | Uint8Array;
  /** Every packet takes the next destination, not every flow. */
  everyPacket?: boolean;
  /** Link-layer destination; default the port's own MAC (it is addressed to this router). */
  destinationMac?: Uint8Array;
  sourceMac?: Uint8Array;
  /** Stations behind the port and behind the others: flow i is from `sources[i]` to `targets[i]` (a switch's load). */
  stations?: { sources: readonly Uint8Array[]; targets: readonly Uint8Array[] };
  /** Packets to make per worker; default endless. */
  count?: bigint;
  /** Seed of the order in which flows take turns; default: by their numbers. */
  shuffle?: number;
}

interface Span {
  readonly at: number;
  readonly end: number;
  readonly port: Port;
}

/** What is taken of the generators' region, in order. */
const taken = new WeakMap<Engine, Span[]>();

const spansOf = (engine: Engine) => taken.get(engine) ?? [];

/** The first gap that is large enough. */
function take(engine: Engine, port: Port, bytes: number): number {
  const size = Math.ceil(bytes / 64) * 64;
  const spans = spansOf(engine);
  let at = engine.memory.base(abi.REGION_GENERATORS);
  let place = 0;
  while (place < spans.length && spans[place].at - at < size) at = spans[place++].end;
  if (at + size > engine.memory.base(abi.REGION_GENERATORS) + engine.memory.size(abi.REGION_GENERATORS))
    throw new LoomError("ENOMEM", `a generator needs ${bytes} bytes more; raise generatorBytes`);
  taken.set(engine, spans.toSpliced(place, 0, { at, end: at + size, port }));
  return at;
}

function give(engine: Engine, port: Port): void {
  taken.set(
    engine,
    spansOf(engine).filter((span) => span.port !== port),
  );
}

/** The port generates no more, its memory is for others; it moves frames by its rings again. */
export function detachGenerator(engine: Engine, port: Port): void {
  port.useRings();
  give(engine, port);
}

/** Bytes that `attachGenerator` will take at most, for sizing the engine. */
export function generatorBytes(options: SizedBy, workers = 1): number {
  const stream = options.everyPacket ? options.destinations.byteLength + 64 : 0;
  const templates = templateCount(options) * abi.TEMPLATE_SIZE;
  return 256 + stream + workers * (abi.GENERATOR_SIZE + templates + (options.flows ?? DEFAULT_FLOWS) * abi.GENFLOW6_SIZE + 192);
}

type SizedBy = Pick<GeneratorOptions, "flows" | "destinations" | "everyPacket" | "stations"> & { frameSize?: number | "imix" };

const DEFAULT_FLOWS = 1024;

/** Flow i is written over template i modulo this. */
function templateCount({ stations, frameSize, flows = DEFAULT_FLOWS }: SizedBy): number {
  return stations ? flows : frameSize === "imix" ? IMIX.length : 1;
}

/**
 * Makes a port generate, instead of what it generated until now. Each worker of `workers` (default all that poll it: worker 0) gets flows of
 * its own. Throws ENOMEM when the engine's `generatorBytes` are used up.
 */
export function attachGenerator(engine: Engine, port: Port, options: GeneratorOptions, workers: readonly number[] = [0]): void {
  const { memory } = engine;
  const load = loadOf(options, port);
  give(engine, port);
  try {
    const stream = options.everyPacket ? writeStream(engine, port, options) : 0;
    const shares = workers.map((_, share) => {
      const at = writeShare(engine, port, load, share);
      memory.setU32(at + abi.GEN_STREAM, stream);
      memory.setU32(at + abi.GEN_STREAM_LENGTH, stream === 0 ? 1 : load.destinations);
      memory.setU32(at + abi.GEN_NEXT_STREAM, stream === 0 ? 0 : Math.floor((load.destinations * share) / workers.length));
      return at;
    });
    for (let w = 0; w < memory.layout.workers; w++) {
      memory.setU32(memory.port(port.index) + abi.PORT_RX + 4 * w, shares[workers.indexOf(w)] ?? 0);
    }
  } catch (error) {
    detachGenerator(engine, port);
    throw error;
  }
  memory.u8[memory.port(port.index) + abi.PORT_KIND] = abi.KIND_GENERATOR;
}

/** What is asked for, with everything that is left out. */
interface Load {
  readonly options: GeneratorOptions;
  readonly flows: number;
  readonly destinations: number;
  /** In the order in which flows take turns. */
  readonly order: Uint32Array;
  readonly templates: readonly Uint8Array[];
}

function loadOf(options: GeneratorOptions, port: Port): Load {
  const { flows = DEFAULT_FLOWS, family, shuffle } = options;
  const destinations = family === 4 ? options.destinations.length : options.destinations.length / 16;
  if (flows < 1 || destinations < 1) throw invalid("a generator needs at least one flow and one destination");
  const lengths = frameLengths(options);
  const order = Uint32Array.from({ length: flows }, (_, i) => i);
  if (shuffle !== undefined) shuffled(order, new Random(shuffle));
  const templates = Array.from({ length: templateCount(options) }, (_, i) =>
    flowFrame(options, port.macBytes, i, lengths[i % lengths.length], destinationOf(options, i % destinations)),
  );
  return { options, flows, destinations, order, templates };
}

function shuffled(order: Uint32Array, random: Random): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
}

function destinationOf({ family, destinations }: GeneratorOptions, turn: number): number | Uint8Array {
  return family === 4 ? (destinations[turn] as number) : (destinations as Uint8Array).subarray(16 * turn, 16 * turn + 16);
}

/** One worker's flows, and where it is among them. */
function writeShare(engine: Engine, port: Port, load: Load, share: number): number {
  const { memory } = engine;
  const { options, flows, order, templates, destinations } = load;
  const { family } = options;
  const frames = take(engine, port, templates.length * abi.TEMPLATE_SIZE);
  for (const [i, frame] of templates.entries()) {
    const at = frames + i * abi.TEMPLATE_SIZE;
    memory.setU32(at + abi.TEMPLATE_LENGTH, frame.length);
    memory.u8.set(frame.subarray(0, abi.TEMPLATE_FRAME_SIZE), at + abi.TEMPLATE_FRAME);
  }
  const size = family === 4 ? abi.GENFLOW4_SIZE : abi.GENFLOW6_SIZE;
  const records = take(engine, port, flows * size);
  const view = new DataView(memory.buffer);
  const bases = templates.map(family === 4 ? base4 : base6);
  for (let i = 0; i < flows; i++) {
    const flow = share * flows + order[i];
    const destination = destinationOf(options, flow % destinations);
    const write = family === 4 ? writeFlow4 : writeFlow6;
    write(view, records + i * size, flow, bases[i % bases.length], destination as number & Uint8Array, options.everyPacket ?? false);
  }
  const generator = take(engine, port, abi.GENERATOR_SIZE);
  memory.setU32(generator + abi.GEN_TEMPLATES, frames);
  memory.setU32(generator + abi.GEN_TEMPLATE_COUNT, templates.length);
  memory.setU32(generator + abi.GEN_FLOWS, records);
  memory.setU32(generator + abi.GEN_FLOW_COUNT, flows);
  memory.setU32(generator + abi.GEN_NEXT_TEMPLATE, 0);
  memory.setU32(generator + abi.GEN_NEXT_FLOW, 0);
  memory.setU32(generator + abi.GEN_FAMILY, family);
  memory.u64[(generator + abi.GEN_LEFT) / 8] = options.count ?? 0xffffffffffffffffn;
  return generator;
}

/** Bytes in memory of the frames a load is made of, in turn. */
export function frameLengths(options: Pick<GeneratorOptions, "frameSize" | "family">): number[] {
  const sizes = options.frameSize === "imix" ? IMIX : [options.frameSize];
  for (const size of sizes) {
    if (!(size >= 64 && size <= 1518)) throw invalid(`frame size ${size}; expected 64 to 1518 bytes, or "imix"`);
  }
  return sizes.map((size) => Math.max(size, options.family === 6 ? SMALLEST6 : 64) - FCS);
}

/** The address stream in network order. */
function writeStream(engine: Engine, port: Port, options: GeneratorOptions): number {
  const { u8 } = engine.memory;
  const at = take(engine, port, options.destinations.byteLength);
  if (options.family === 6) u8.set(options.destinations as Uint8Array, at);
  else {
    const view = new DataView(engine.memory.buffer, at, options.destinations.byteLength);
    options.destinations.forEach((address, i) => view.setUint32(4 * i, address));
  }
  return at;
}

/** Sources from the benchmarking ranges (RFC 2544: 198.18.0.0/15, RFC 5180: 2001:2::/48). */
function source4(flow: number): number {
  return 0xc6120000 + (flow & 0x1ffff);
}

function source6(flow: number): Uint8Array {
  return Uint8Array.of(0x20, 0x01, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, flow >>> 16, flow >>> 8, flow);
}

/** One frame of a flow, as the templates are cut from and the oracle is fed. */
export function flowFrame(
  options: GeneratorOptions,
  mac: Uint8Array,
  flow: number,
  length: number,
  destination: number | Uint8Array,
): Uint8Array {
  const ports = portsOf(flow);
  const { stations } = options;
  const link = {
    destination: stations?.targets[flow % stations.targets.length] ?? options.destinationMac ?? mac,
    source: stations?.sources[flow % stations.sources.length] ?? options.sourceMac ?? Uint8Array.of(2, 0xff, 0, 0, 0, 1),
  };
  if (typeof destination === "number") {
    const addresses = { source: addressBytes4(source4(flow)), destination: addressBytes4(destination) };
    const udp = serializeUdp({ ...ports, payload: new Uint8Array(length - 42) }, addresses);
    // No checksum: RFC 768 allows it over IPv4, and the payload need not be written.
    udp[6] = 0;
    udp[7] = 0;
    const packet = serializeIpv4({ protocol: PROTOCOL.udp, source: source4(flow), destination, payload: udp, id: flow & 0xffff });
    return serializeEthernet({ ...link, type: ETHERTYPE.ipv4, payload: packet });
  }
  const addresses = { source: source6(flow), destination };
  const udp = serializeUdp({ ...ports, payload: new Uint8Array(length - 62) }, addresses);
  const packet = serializeIpv6({ protocol: PROTOCOL.udp, ...addresses, payload: udp });
  return serializeEthernet({ ...link, type: ETHERTYPE.ipv6, payload: packet });
}

const portsOf = (flow: number) => ({ sourcePort: 1024 + (flow % 60_000), destinationPort: 9 });

/** Sum of the IPv4 header without addresses, identification and checksum. */
function base4(frame: Uint8Array): number {
  const header = frame.slice(14, 34);
  header.fill(0, 4, 6);
  header.fill(0, 10, 20);
  return ~checksum(header) & 0xffff;
}

/** Sum of pseudo-header and UDP over IPv6 without addresses, ports and checksum; the payload is zeros. */
function base6(frame: Uint8Array): number {
  const length = frame.length - 54;
  return PROTOCOL.udp + 2 * length;
}

/** Without the destination where that comes from a stream. */
function writeFlow4(view: DataView, at: number, flow: number, base: number, destination: number, streams: boolean): void {
  const { sourcePort, destinationPort } = portsOf(flow);
  const source = source4(flow);
  view.setUint32(at, source);
  view.setUint32(at + 4, destination);
  view.setUint16(at + abi.GENFLOW4_PORTS, sourcePort);
  view.setUint16(at + abi.GENFLOW4_PORTS + 2, destinationPort);
  view.setUint16(at + abi.GENFLOW4_ID, flow & 0xffff);
  const sum = folded(base + (flow & 0xffff) + words(view, at, streams ? 4 : 8));
  view.setUint16(at + abi.GENFLOW4_SUM, streams ? sum : ~sum);
}

function writeFlow6(view: DataView, at: number, flow: number, base: number, destination: Uint8Array, streams: boolean): void {
  const { sourcePort, destinationPort } = portsOf(flow);
  const bytes = new Uint8Array(view.buffer);
  bytes.set(source6(flow), at);
  bytes.set(destination, at + 16);
  view.setUint16(at + abi.GENFLOW6_PORTS, sourcePort);
  view.setUint16(at + abi.GENFLOW6_PORTS + 2, destinationPort);
  const sum = folded(base + sourcePort + destinationPort + words(view, at, streams ? 16 : 32));
  view.setUint16(at + abi.GENFLOW6_SUM, streams || sum === 0xffff ? sum : ~sum);
}

function words(view: DataView, at: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i += 2) sum += view.getUint16(at + i);
  return sum;
}

function folded(sum: number): number {
  const once = (sum >>> 16) + (sum & 0xffff);
  return (once >>> 16) + (once & 0xffff);
}

/** Copies of every n-th packet that a generator port swallowed, of one worker. */
export class Samples {
  private readonly engine: Engine;
  private readonly at: number;

  constructor(engine: Engine, ports: readonly Port[], stride: number, worker = 0) {
    const { memory } = engine;
    const { samples } = memory.layout.sizes;
    if (samples === 0) throw new LoomError("ENOMEM", "this engine keeps no samples; create it with samples");
    this.engine = engine;
    this.at = memory.base(abi.REGION_SAMPLES);
    memory.setU32(this.at + abi.SAMPLES_STRIDE, stride);
    memory.setU32(this.at + abi.SAMPLES_COUNTDOWN, 0);
    memory.setU32(this.at + abi.SAMPLES_CAPACITY, samples);
    memory.setU32(this.at + abi.SAMPLES_WRITTEN, 0);
    memory.setU32(this.at + abi.SAMPLES_WORKER, worker);
    for (const port of ports) memory.setU32(memory.port(port.index) + abi.PORT_SINK_SAMPLES, this.at);
  }

  /** Every sample still there: the port, the packet's length, and its first 128 bytes at most. */
  read(): { port: number; length: number; bytes: Uint8Array }[] {
    const { memory } = this.engine;
    const n = Math.min(memory.getU32(this.at + abi.SAMPLES_WRITTEN), memory.layout.sizes.samples);
    return Array.from({ length: n }, (_, i) => {
      const slot = this.at + abi.SAMPLES_SLOTS + i * abi.SAMPLE_SIZE;
      const length = memory.getU32(slot + abi.SAMPLE_LENGTH);
      const from = slot + abi.SAMPLE_BYTES;
      const bytes = memory.u8.slice(from, from + Math.min(length, abi.SAMPLE_BYTES_SIZE));
      return { port: memory.getU32(slot + abi.SAMPLE_PORT), length, bytes };
    });
  }
}
