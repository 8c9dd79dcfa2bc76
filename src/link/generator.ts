/**
 * Traffic made inside the data plane: a port that receives what its generator writes and swallows what is
 * sent to it. It measures the engine, not JavaScript.
 */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { checksum, pseudoSum } from "../wire/checksum.ts";
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

/** Bytes that `attachGenerator` will take, for sizing the engine. */
export function generatorBytes(options: Pick<GeneratorOptions, "flows" | "destinations" | "everyPacket">, workers = 1): number {
  const stream = options.everyPacket ? options.destinations.byteLength + 64 : 0;
  return 256 + stream + workers * (abi.GENERATOR_SIZE + (options.flows ?? 1024) * abi.TEMPLATE_SIZE + 128);
}

/**
 * Makes a port generate, instead of what it generated until now. Each worker of `workers` (default all that poll it: worker 0) gets flows of
 * its own. Throws ENOMEM when the engine's `generatorBytes` are used up.
 */
export function attachGenerator(engine: Engine, port: Port, options: GeneratorOptions, workers: readonly number[] = [0]): void {
  const destinations = options.family === 4 ? options.destinations.length : options.destinations.length / 16;
  if ((options.flows ?? 1024) < 1 || destinations < 1) throw invalid("a generator needs at least one flow and one destination");
  const frames = frameLengths(options);
  give(engine, port);
  try {
    const stream = options.everyPacket ? writeStream(engine, port, options) : 0;
    const shares = workers.map((_, share) =>
      writeShare(engine, port, options, frames, { stream, destinations, share, of: workers.length }),
    );
    for (let w = 0; w < engine.memory.layout.workers; w++) {
      engine.memory.setU32(engine.memory.port(port.index) + abi.PORT_RX + 4 * w, shares[workers.indexOf(w)] ?? 0);
    }
  } catch (error) {
    detachGenerator(engine, port);
    throw error;
  }
  engine.memory.u8[engine.memory.port(port.index) + abi.PORT_KIND] = abi.KIND_GENERATOR;
}

interface Share {
  readonly stream: number;
  readonly destinations: number;
  readonly share: number;
  readonly of: number;
}

/** One worker's flows, and what it knows of where it is among them. */
function writeShare(engine: Engine, port: Port, options: GeneratorOptions, frames: readonly number[], part: Share): number {
  const { memory } = engine;
  const { flows = 1024, everyPacket } = options;
  const { stream, destinations, share, of } = part;
  const templates = take(engine, port, flows * abi.TEMPLATE_SIZE);
  for (let flow = 0; flow < flows; flow++) {
    const frame = frames[flow % frames.length];
    writeTemplate(engine, port, options, templates + flow * abi.TEMPLATE_SIZE, share * flows + flow, frame, destinations);
  }
  const generator = take(engine, port, abi.GENERATOR_SIZE);
  memory.setU32(generator + abi.GEN_TEMPLATES, templates);
  memory.setU32(generator + abi.GEN_TEMPLATE_COUNT, flows);
  memory.setU32(generator + abi.GEN_STREAM, stream);
  memory.setU32(generator + abi.GEN_STREAM_LENGTH, everyPacket ? destinations : 1);
  memory.setU32(generator + abi.GEN_NEXT_TEMPLATE, 0);
  memory.setU32(generator + abi.GEN_NEXT_STREAM, everyPacket ? Math.floor((destinations * share) / of) : 0);
  memory.setU32(generator + abi.GEN_FAMILY, everyPacket ? options.family : 0);
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
  const ports = { sourcePort: 1024 + (flow % 60_000), destinationPort: 9 };
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

function writeTemplate(
  engine: Engine,
  port: Port,
  options: GeneratorOptions,
  at: number,
  flow: number,
  length: number,
  destinations: number,
): void {
  const { memory } = engine;
  const turn = flow % destinations;
  const destination =
    options.family === 4 ? (options.destinations[turn] as number) : (options.destinations as Uint8Array).slice(16 * turn, 16 * turn + 16);
  const frame = flowFrame(options, port.macBytes, flow, length, destination);
  memory.u8.set(frame.subarray(0, abi.TEMPLATE_FRAME_SIZE), at + abi.TEMPLATE_FRAME);
  memory.setU32(at + abi.TEMPLATE_LENGTH, length);
  memory.setU32(at + abi.TEMPLATE_SUM, options.family === 4 ? sum4(frame) : sum6(frame));
}

/** Sum of the IPv4 header without checksum and destination, in memory order: the generator adds the rest. */
function sum4(frame: Uint8Array): number {
  const header = frame.slice(14, 34);
  header.fill(0, 10, 12);
  header.fill(0, 16, 20);
  return swapped(~checksum(header) & 0xffff);
}

/** Sum of pseudo-header and UDP without checksum and destination. */
function sum6(frame: Uint8Array): number {
  const udp = frame.slice(54);
  udp.fill(0, 6, 8);
  const pseudo = pseudoSum(frame.subarray(22, 38), new Uint8Array(16), PROTOCOL.udp, udp.length);
  return swapped(~checksum(udp, pseudo) & 0xffff);
}

const swapped = (word: number) => ((word & 255) << 8) | (word >>> 8);

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
