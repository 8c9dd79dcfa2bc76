/** A port with a queue in virtual time: packets go in by flow, and come out with the moment at which they left. */
import * as abi from "../assembly/abi.ts";
import { Engine, type EngineOptions, type Port, VirtualClock } from "../src/index.ts";
import { attachQueue, type PortQueue, type QdiscOptions } from "../src/queue/index.ts";
import { addressBytes4, ETHERTYPE, serializeEthernet, serializeIpv4, serializeUdp } from "../src/wire/index.ts";

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const HEADERS = 42;

export interface Given {
  /** Of the whole frame. */
  bytes?: number;
  /** The source port, and so the flow. */
  flow?: number;
  /** The last byte of 10.0.0.x and 10.0.1.x. */
  from?: number;
  to?: number;
  tos?: number;
  mark?: number;
  priority?: number;
}

export interface Departure {
  readonly ms: number;
  readonly bytes: number;
  readonly flow: number;
  readonly from: number;
  readonly tos: number;
  /** Number of the packet in the order of `send`. */
  readonly number: number;
}

export class Shaped {
  readonly engine: Engine;
  readonly clock: VirtualClock;
  readonly port: Port;
  readonly departures: Departure[] = [];
  queue: PortQueue;
  sent = 0;
  sentBytes = 0;
  private readonly frames = new Map<string, Uint8Array>();

  private constructor(engine: Engine, clock: VirtualClock, options: QdiscOptions) {
    this.engine = engine;
    this.clock = clock;
    this.port = engine.port(0);
    this.queue = attachQueue(engine, this.port, options);
    engine.poll();
  }

  static async of(options: QdiscOptions, memory: EngineOptions = {}): Promise<Shaped> {
    const clock = new VirtualClock();
    const engine = await Engine.create({
      build: "plain",
      ports: 1,
      buffers: 16_384,
      bareDescriptors: 64,
      routes4: 100,
      routes6: 100,
      appBytes: 0,
      queueBytes: 8 << 20,
      secret: new Uint8Array(8),
      clock,
      ...memory,
    });
    return new Shaped(engine, clock, options);
  }

  private frame({ bytes = 1000, flow = 1, from = 1, to = 1, tos = 0 }: Given): Uint8Array {
    const name = `${bytes} ${flow} ${from} ${to} ${tos}`;
    const known = this.frames.get(name);
    if (known) return known;
    const [source, destination] = [0x0a000000 + from, 0x0a000100 + to];
    const payload = new Uint8Array(bytes - HEADERS);
    const addresses = { source: addressBytes4(source), destination: addressBytes4(destination) };
    const udp = serializeUdp({ sourcePort: flow, destinationPort: 2000, payload }, addresses);
    const packet = serializeIpv4({ protocol: 17, source, destination, payload: udp, tos });
    const made = serializeEthernet({ destination: MAC, source: MAC, type: ETHERTYPE.ipv4, payload: packet });
    this.frames.set(name, made);
    return made;
  }

  /** Sends a packet now. Its payload begins with its number. */
  send(given: Given = {}, count = 1): void {
    const { engine } = this;
    const { memory, plane } = engine;
    const frame = this.frame(given);
    for (let i = 0; i < count; i++) {
      const id = this.port.buffersOf(frame);
      if (id === abi.NONE) throw new Error("the test ran out of buffers");
      const d = memory.descriptor(id);
      memory.setU32(d + abi.DESC_MARK, given.mark ?? 0);
      if (frame.length >= HEADERS + 4) new DataView(memory.buffer).setUint32(memory.getU32(d + abi.DESC_DATA) + HEADERS, this.sent);
      this.sent++;
      this.sentBytes += frame.length;
      plane.packetSend(0, this.port.index, id);
      this.collect();
    }
  }

  /** Notes what has left. */
  collect(): void {
    const ms = this.clock.now();
    while (
      this.port.transmitted((bytes) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        const number = bytes.length >= HEADERS + 4 ? view.getUint32(HEADERS) : -1;
        this.departures.push({ ms, bytes: bytes.length, flow: view.getUint16(34), from: bytes[29], tos: bytes[15], number });
      }) > 0
    );
  }

  poll(): void {
    this.engine.poll();
    this.collect();
  }

  /** Lets time pass, and polls whenever the queue wants it (or every `step` ms). `each` is called before every poll. */
  run(ms: number, { step = 0, each = () => {} }: { step?: number; each?: () => void } = {}): void {
    const end = this.clock.now() + ms;
    while (this.clock.now() < end) {
      const due = step > 0 ? this.clock.now() + step : Math.min(this.engine.nextDeparture(), end);
      this.clock.skip(Math.max(Math.min(due, end) - this.clock.now(), 0));
      each();
      this.poll();
    }
  }

  /** Keeps at least `depth` packets of each kind waiting while time passes. */
  saturate(ms: number, kinds: readonly Given[], { step = 0.1, depth = 20 } = {}): void {
    const waiting = kinds.map(() => 0);
    const seen = { at: this.departures.length };
    const fill = () => {
      for (; seen.at < this.departures.length; seen.at++) {
        const { flow, from } = this.departures[seen.at];
        const which = kinds.findIndex((kind) => (kind.flow ?? 1) === flow && (kind.from ?? 1) === from);
        if (which >= 0) waiting[which]--;
      }
      kinds.forEach((kind, i) => {
        for (; waiting[i] < depth; waiting[i]++) this.send(kind);
      });
    };
    fill();
    this.run(ms, { step, each: fill });
  }

  /** Bytes that left from `fromMs` on, by what `key` says. */
  bytesBy(key: (departure: Departure) => number, fromMs = 0): Map<number, number> {
    const sums = new Map<number, number>();
    for (const each of this.departures) if (each.ms >= fromMs) sums.set(key(each), (sums.get(key(each)) ?? 0) + each.bytes);
    return sums;
  }

  get leftBytes(): number {
    return this.departures.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async close(): Promise<void> {
    await this.engine.close();
  }
}

/** Jain's index of fairness: 1 when all are equal. */
export function jain(shares: readonly number[]): number {
  const sum = shares.reduce((a, b) => a + b, 0);
  return sum ** 2 / (shares.length * shares.reduce((a, b) => a + b * b, 0));
}
