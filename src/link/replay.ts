/** Devices over captures: one replays packets into a port, one records what leaves a port. */
import type { Clock } from "../base/clock.ts";
import { checkOptions, having, oneOf, type Shape } from "../base/options.ts";
import type { Device } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { type CapturedPacket, type CaptureWriter, LINKTYPE } from "./pcap.ts";

/** The Ethernet frame of a captured packet; raw IP gets a header towards `mac`, other link types have none. */
export function frameOf(packet: CapturedPacket, mac: Uint8Array): Uint8Array | undefined {
  if (packet.linkType === LINKTYPE.ethernet) return packet.bytes;
  const isRaw = [LINKTYPE.raw, LINKTYPE.ipv4, LINKTYPE.ipv6].some((type) => type === packet.linkType);
  if (!isRaw || packet.bytes.length === 0) return undefined;
  const frame = new Uint8Array(14 + packet.bytes.length);
  frame.set(mac, 0);
  frame.set([2, 0xff, 0, 0, 0, 1], 6);
  frame.set(packet.bytes[0] >>> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00], 12);
  frame.set(packet.bytes, 14);
  return frame;
}

export interface ReplayOptions {
  /** "recorded" keeps the distances between timestamps by `clock`; "full" waits for nothing. Default "full". */
  speed?: "recorded" | "full";
  clock?: Clock;
}

const REPLAY: Shape<ReplayOptions> = { speed: oneOf("recorded", "full"), clock: having("a clock, such as engine.clock", "now") };

/** Feeds the packets of a capture into a port, each once. */
export class Replay implements Device {
  readonly name = "replay";
  /** Frames given to the port; of a link type the engine cannot take; too large for a buffer. */
  sent = 0;
  unsupported = 0;
  oversized = 0;
  private next = 0;
  private started: number | undefined;
  private readonly port: Port;
  private readonly packets: readonly CapturedPacket[];
  private readonly options: ReplayOptions;

  constructor(port: Port, packets: readonly CapturedPacket[], options: ReplayOptions = {}) {
    checkOptions("replay", REPLAY, options, options?.speed === "recorded" ? ["clock"] : []);
    this.port = port;
    this.packets = packets;
    this.options = options;
  }

  get done(): boolean {
    return this.next >= this.packets.length;
  }

  poll(budget: number): number {
    let moved = 0;
    while (moved < budget && !this.done && this.isDue()) {
      const frame = frameOf(this.packets[this.next], this.port.macBytes);
      if (frame === undefined) this.unsupported++;
      else if (frame.length > this.port.frameLimit) this.oversized++;
      else if (!this.port.receive(frame)) break;
      else this.sent++;
      this.next++;
      moved++;
    }
    return moved;
  }

  private isDue(): boolean {
    const { speed, clock } = this.options;
    if (!clock || speed !== "recorded") return true;
    this.started ??= clock.now();
    const offset = Number(this.packets[this.next].timestamp - this.packets[0].timestamp) / 1e6;
    return clock.now() - this.started >= offset;
  }
}

/** Writes what leaves a port into a capture; `stamp` gives nanoseconds. */
export class Recorder implements Device {
  readonly name = "recorder";
  recorded = 0;
  private readonly port: Port;
  private readonly writer: CaptureWriter;
  private readonly stamp: () => bigint;

  constructor(port: Port, writer: CaptureWriter, stamp: () => bigint) {
    this.port = port;
    this.writer = writer;
    this.stamp = stamp;
  }

  poll(budget: number): number {
    const n = this.port.transmitted((bytes) => this.writer.write(bytes, this.stamp()), budget);
    this.recorded += n;
    return n;
  }
}
