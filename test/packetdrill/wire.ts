/**
 * The host under test in virtual time, and the other end of its only link: packets are put in and taken out as IP
 * packets. The gateway is a neighbour that needs no asking, so that nothing but the script's packets is on the wire.
 */
import * as abi from "../../assembly/abi.ts";
import { VirtualClock } from "../../src/base/clock.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { Port } from "../../src/engine/port.ts";
import { Host } from "../../src/host/host.ts";
import { ETHERTYPE, parseEthernet, serializeEthernet } from "../../src/wire/index.ts";
import type { Config } from "./config.ts";
import { decodePacket, encodePacket, type Packet } from "./packet.ts";

export interface Sent {
  /** Milliseconds on the run's clock. */
  readonly at: number;
  readonly packet: Packet;
}

const GATEWAY_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0xfe);
const HOST_MAC = "02:00:00:00:00:01";
/** Slabs that hold the largest packet. */
const RUN = 18;
/** The run does not begin at the beginning of time: a clock at zero hides mistakes. */
const START = 1_000_000;
const MOST_ROUNDS = 100_000;

export class Wire {
  readonly host: Host;
  readonly sent: Sent[] = [];
  /** Files that the script's commands made, by their size. */
  readonly files = new Map<string, number>();
  /** Called whenever everything that could happen at this moment has happened. */
  settled: () => void = () => {};
  /** When `settled` wants to be called, whatever else happens (ms). */
  alarm = Number.POSITIVE_INFINITY;
  private readonly engine: Engine;
  private readonly plane: Engine["plane"];
  private isBlocked = false;
  private readonly port: Port;
  private readonly clock: VirtualClock;

  private constructor(engine: Engine, clock: VirtualClock, host: Host) {
    this.engine = engine;
    this.plane = engine.plane;
    this.clock = clock;
    this.host = host;
    this.port = engine.port(0);
  }

  static async create(config: Config, seed = 1): Promise<Wire> {
    const clock = new VirtualClock();
    await clock.advance(START);
    const engine = await Engine.create({
      build: "plain",
      ports: 1,
      buffers: 256,
      bareDescriptors: 1024,
      ringCapacity: 512,
      puntCapacity: 512,
      stations: 4,
      routes4: 100,
      routes6: 100,
      appBytes: 8 << 20,
      secret: new Uint8Array(8),
      clock,
    });
    const length = config.local.family === 4 ? 16 : 48;
    const host = await Host.create({
      engine,
      seed,
      interfaces: [
        {
          name: "tun0",
          port: engine.port(0),
          mac: HOST_MAC,
          mtu: config.mtu,
          addresses: [`${config.local}/${length}`],
          gateway: String(config.gateway),
        },
      ],
    });
    // Scripts begin where Linux does: it probes no path unless it is told to.
    host.tcp.settings.mtuProbing = 0;
    const iface = host.ip.interface("tun0");
    for (const address of [config.gateway, config.remote]) host.ip.neighbours.setPermanent(iface, address, GATEWAY_MAC);
    return new Wire(engine, clock, host);
  }

  /** Nothing leaves, and whoever sends is told so (a queue without room): there are no buffers for segments. */
  block(on: boolean): void {
    const { plane } = this;
    this.isBlocked = on;
    Object.defineProperty(this.engine, "plane", { value: on ? { ...plane, tcpBuild: () => abi.NONE } : plane, configurable: true });
  }

  get now(): number {
    return this.clock.now();
  }

  /** The host receives a packet; `mss`: it is many in one, each with so much payload (GRO). */
  inject(packet: Packet, mss = 0): void {
    const type = packet.ip.family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
    const payload = encodePacket(packet);
    const frame = serializeEthernet({ destination: this.port.macBytes, source: GATEWAY_MAC, type, payload });
    const fits = frame.length <= this.port.frameLimit;
    if (!(fits ? this.port.receive(frame) : this.injectLarge(frame, packet, mss))) throw new Error("no room for an inbound packet");
    this.settle();
  }

  /** A packet larger than a buffer lies in the application's region, as from a device that coalesces. */
  private injectLarge(frame: Uint8Array, { ip, transport }: Packet, mss: number): boolean {
    const { memory, plane, slabs } = this.engine;
    const place = slabs.takeRun(RUN);
    const id = plane.bareTake(0) >>> 0;
    if (place === 0 || id === abi.NONE) return false;
    memory.u8.set(frame, place);
    const d = memory.descriptor(id);
    memory.setU32(d + abi.DESC_DATA, place);
    memory.setU32(d + abi.DESC_COOKIE, slabs.cookie(place));
    memory.setU32(slabs.cookie(place), 1);
    memory.setU32(d + abi.DESC_LENGTH, frame.length);
    memory.setU32(d + abi.DESC_PACKET_LENGTH, frame.length);
    memory.setU32(d + abi.DESC_FLAGS, 0);
    const isTcp = transport.protocol === "tcp";
    memory.setU16(d + abi.DESC_GSO_SIZE, isTcp ? mss : 0);
    memory.setU16(d + abi.DESC_GSO_KIND, isTcp && mss ? (ip.family === 4 ? abi.GSO_TCP4 : abi.GSO_TCP6) : 0);
    return this.port.offer(id);
  }

  /** Works until nothing is left to do at this moment. */
  settle(): void {
    for (let round = 0; ; round++) {
      const moved = this.engine.poll() + this.collect();
      if (moved > 0) {
        if (round > MOST_ROUNDS) throw new Error("the host does not come to rest");
        continue;
      }
      this.settled();
      if (this.engine.poll() + this.collect() === 0) return;
    }
  }

  private collect(): number {
    return this.port.transmitted((frame) => {
      const { type, payload } = parseEthernet(frame);
      if (this.isBlocked || (type !== ETHERTYPE.ipv4 && type !== ETHERTYPE.ipv6)) return;
      const packet = decodePacket(payload.slice());
      if (packet) this.sent.push({ at: this.now, packet });
    });
  }

  /** Lets time pass until `at`, or until `done`. */
  async run(at: number, done: () => boolean = () => false): Promise<void> {
    for (;;) {
      this.settle();
      if (done() || this.now >= at) return;
      const next = Math.min(Math.max(Math.min(this.host.ip.timers.next(), this.alarm), this.now), at);
      await this.clock.advance(next - this.now);
    }
  }

  async close(): Promise<void> {
    await this.host.close();
    await this.engine.close();
  }
}
