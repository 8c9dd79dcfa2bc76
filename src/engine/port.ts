/** A port: where frames enter and leave the engine. Devices are attached to it; it does not know them. */
import * as abi from "../../assembly/abi.ts";
import { formatMac, parseMac } from "../base/address.ts";
import { invalid } from "../base/errors.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { bytes, checkOptions, either, having, oneOf, type Shape, shaped, text, whole, yesNo } from "../base/options.ts";
import { type PortCounters, readPortCounters } from "./counters.ts";
import { countLoss, type LinkStats, type LossReason, readLinkStats } from "./link-stats.ts";
import type { EngineMemory } from "./memory.ts";
import type { DataPlane } from "./module.ts";
import type { RouteTable } from "./route-table.ts";

export interface PortOptions {
  /** "02:00:00:00:00:01" or six bytes. */
  mac?: string | Uint8Array;
  /** Largest L3 packet, 68 to 65,535. Default 1500. */
  mtu?: number;
  up?: boolean;
  /** Accept frames for any MAC. */
  promiscuous?: boolean;
  /** Reverse-path filter (RFC 3704). */
  rpf?: "off" | "strict" | "loose";
  /** Coalesce what arrives (GRO). */
  gro?: boolean;
  /** What leaves by it comes in by it, in the other family (the device `families`). */
  families?: boolean;
  /** Keep what is for this host and drop everything else, instead of routing it on. */
  host?: boolean;
  /** Drop frames of a VLAN (IEEE 802.1Q): nothing here is in one. Priority tags (VLAN 0) are no matter. */
  untagged?: boolean;
  /** Hand packets with IPv4 options or a hop-by-hop header to the host layer. */
  puntOptions?: boolean;
  /** What the device behind the port takes as it is. */
  offload?: { chains?: boolean; segmentation?: boolean; accurateEcn?: boolean; partialChecksum?: boolean };
  /** Routing tables of a routed port. */
  table4?: RouteTable;
  table6?: RouteTable;
}

const TABLE = having("a routing table of the engine, such as engine.createTable(4)", "addNextHop", "lookup");
const OFFLOAD = { chains: yesNo, segmentation: yesNo, accurateEcn: yesNo, partialChecksum: yesNo };
const PORT: Shape<PortOptions> = {
  mac: either(text, bytes),
  mtu: whole(68, 65_535),
  up: yesNo,
  promiscuous: yesNo,
  rpf: oneOf("off", "strict", "loose"),
  gro: yesNo,
  families: yesNo,
  host: yesNo,
  untagged: yesNo,
  puntOptions: yesNo,
  offload: shaped("offload", OFFLOAD),
  table4: TABLE,
  table6: TABLE,
};

/** What the device behind a port takes as it is. */
export interface OffloadFlags {
  /** Packets of several pieces. */
  readonly chains: boolean;
  /** Segments larger than the MTU. */
  readonly segmentation: boolean;
  /** Of those, the ones whose CWR is a bit of Accurate ECN's counter (RFC 9768). */
  readonly accurateEcn: boolean;
  /** Checksums that are still open. */
  readonly partialChecksum: boolean;
}

/** Longest frame that can be received: what IPv6 can carry (RFC 8200 §3: 65,535 bytes behind 40) behind an Ethernet header with a tag. */
export const MOST_FRAME = 65_535 + 40 + 18;

/** One frame that left the engine; `bytes` are valid until the callback returns. */
export type FrameHandler = (bytes: Uint8Array) => void;

export class Port {
  readonly index: number;
  private readonly memory: EngineMemory;
  private readonly plane: DataPlane;
  private readonly scratch: number;
  private readonly mtuChanged: (port: number) => void;

  constructor(memory: EngineMemory, plane: DataPlane, index: number, scratch: number, mtuChanged: (port: number) => void) {
    this.memory = memory;
    this.plane = plane;
    this.index = index;
    this.scratch = scratch;
    this.mtuChanged = mtuChanged;
    const at = memory.port(index);
    this.useRings();
    memory.setU16(at + abi.PORT_PVID, 1);
    memory.setU16(at + abi.PORT_TABLE4, abi.NO_TABLE);
    memory.setU16(at + abi.PORT_TABLE6, abi.NO_TABLE);
    this.configure({ mac: Uint8Array.of(2, 0, 0, 0, index >> 8, index & 255), mtu: 1500, up: true });
  }

  /** Frames come and go by the port's own rings, whatever moved them before. */
  useRings(): void {
    const { memory, index } = this;
    const at = memory.port(index);
    memory.u8[at + abi.PORT_KIND] = abi.KIND_RINGS;
    for (let w = 0; w < memory.layout.workers; w++) {
      memory.setU32(at + abi.PORT_RX + 4 * w, memory.ring(index, w, false));
      memory.setU32(at + abi.PORT_TX + 4 * w, memory.ring(index, w, true));
    }
  }

  /** Changes what is given and leaves the rest. Safe while workers run. */
  configure(options: PortOptions): this {
    checkOptions("port", PORT, options);
    const { memory } = this;
    const at = memory.port(this.index);
    if (options.mac !== undefined) memory.u8.set(macOf(options.mac), at + abi.PORT_MAC);
    if (options.mtu !== undefined) {
      memory.setU32(at + abi.PORT_MTU, options.mtu);
      this.mtuChanged(this.index);
    }
    this.setFlags(at, options);
    this.setTable(at + abi.PORT_TABLE4, options.table4, 4);
    this.setTable(at + abi.PORT_TABLE6, options.table6, 6);
    return this;
  }

  /** What came from `LookupRules.write` of that family, or 0: the port's table alone holds. */
  useRules(family: 4 | 6, at: number): void {
    Atomics.store(this.memory.i32, (this.memory.port(this.index) + (family === 4 ? abi.PORT_RULES4 : abi.PORT_RULES6)) / 4, at);
  }

  /** Down, with no table: as if nobody had used it. */
  retire(): void {
    this.configure({ up: false, host: false, untagged: false, gro: false });
    const at = this.memory.port(this.index);
    this.memory.setU16(at + abi.PORT_TABLE4, abi.NO_TABLE);
    this.memory.setU16(at + abi.PORT_TABLE6, abi.NO_TABLE);
    for (const family of [4, 6] as const) this.useRules(family, 0);
  }

  private setTable(at: number, table: RouteTable | undefined, family: 4 | 6): void {
    if (!table) return;
    if (table.family !== family) throw invalid(`table${family} of a port needs a table of IPv${family}`);
    this.memory.setU16(at, table.index);
  }

  private setFlags(at: number, options: PortOptions): void {
    const { offload, rpf } = options;
    const wanted: [number, boolean | undefined][] = [
      [abi.PORT_UP, options.up],
      [abi.PORT_PROMISCUOUS, options.promiscuous],
      [abi.PORT_GRO, options.gro],
      [abi.PORT_PUNT_OPTIONS, options.puntOptions],
      [abi.PORT_HOST, options.host],
      [abi.PORT_UNTAGGED, options.untagged],
      [abi.PORT_RPF_STRICT, rpf === undefined ? undefined : rpf === "strict"],
      [abi.PORT_RPF_LOOSE, rpf === undefined ? undefined : rpf === "loose"],
      [abi.PORT_FAMILIES, options.families],
      [abi.PORT_TAKES_CHAINS, offload?.chains],
      [abi.PORT_TAKES_GSO, offload?.segmentation],
      [abi.PORT_TAKES_ACE, offload?.accurateEcn],
      [abi.PORT_TAKES_PARTIAL, offload?.partialChecksum],
    ];
    let flags = this.memory.getU16(at + abi.PORT_FLAGS);
    for (const [bit, on] of wanted) if (on !== undefined) flags = on ? flags | bit : flags & ~bit;
    this.memory.setU16(at + abi.PORT_FLAGS, flags);
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    return facts("Port", { index: this.index, mac: this.mac, mtu: this.mtu, up: this.up }, depth, options, inspect);
  }

  get mac(): string {
    const at = this.memory.port(this.index) + abi.PORT_MAC;
    return formatMac(this.memory.u8.slice(at, at + 6));
  }

  get macBytes(): Uint8Array {
    const at = this.memory.port(this.index) + abi.PORT_MAC;
    return this.memory.u8.slice(at, at + 6);
  }

  get mtu(): number {
    return this.memory.getU32(this.memory.port(this.index) + abi.PORT_MTU);
  }

  /** Administratively up: `configure({ up })`. */
  get up(): boolean {
    return this.hasFlag(abi.PORT_UP);
  }

  get offload(): OffloadFlags {
    return {
      chains: this.hasFlag(abi.PORT_TAKES_CHAINS),
      segmentation: this.hasFlag(abi.PORT_TAKES_GSO),
      accurateEcn: this.hasFlag(abi.PORT_TAKES_ACE),
      partialChecksum: this.hasFlag(abi.PORT_TAKES_PARTIAL),
    };
  }

  private hasFlag(flag: number): boolean {
    return (this.memory.getU16(this.memory.port(this.index) + abi.PORT_FLAGS) & flag) !== 0;
  }

  counters(): PortCounters {
    return readPortCounters(this.memory, this.index);
  }

  /** What passed, as `ip -s link` shows it; the same for every kind of device. */
  linkStats(): LinkStats {
    return readLinkStats(this.memory, this.index);
  }

  /** For devices: `frames` that came to grief outside the engine; `bytes` of them that had left it already. */
  countLoss(reason: LossReason, frames = 1, bytes = 0): void {
    countLoss(this.memory, this.index, reason, frames, bytes);
  }

  /** An ingress program of the imported function table, or undefined to take it off. */
  setProgram(entry: number | undefined): void {
    this.memory.setU32(this.memory.port(this.index) + abi.PORT_PROGRAM, entry === undefined ? 0 : entry + 1);
  }

  // ── Frames, from and to a device on the host's thread ─────────────────────────────────────────

  /** Largest frame that a buffer holds. */
  get frameLimit(): number {
    return this.memory.layout.stride - this.memory.layout.sizes.headroom;
  }

  /** Offers a received frame. False when no buffer or ring place is free; that is counted. */
  receive(frame: Uint8Array): boolean {
    const id = this.buffersOf(frame);
    return id === abi.NONE ? this.refuse() : this.offer(id);
  }

  /** Frames that can be offered now without finding the ring full. */
  get room(): number {
    const { memory, plane } = this;
    let used = 0;
    for (let w = 0; w < memory.layout.workers; w++) used = Math.max(used, plane.ringUsed(memory.ring(this.index, w, false)));
    return memory.layout.sizes.ringCapacity - used;
  }

  /** For devices: copies a frame into a buffer, or into several if it is longer; abi.NONE without one. */
  buffersOf(frame: Uint8Array): number {
    const { memory, plane, frameLimit } = this;
    if (frame.length > MOST_FRAME) throw invalid(`a frame of ${frame.length} bytes; expected ${MOST_FRAME} at most`);
    let first = abi.NONE;
    let last = 0;
    for (let at = 0; at < frame.length || at === 0; at += frameLimit) {
      const id = plane.bufferTake(0) >>> 0;
      if (id === abi.NONE) {
        if (first !== abi.NONE) plane.packetRelease(0, first);
        return abi.NONE;
      }
      const d = memory.descriptor(id);
      const piece = frame.length <= frameLimit ? frame : frame.subarray(at, at + frameLimit);
      memory.u8.set(piece, memory.getU32(d + abi.DESC_DATA));
      memory.setU32(d + abi.DESC_LENGTH, piece.length);
      if (first === abi.NONE) first = id;
      else memory.setU32(last + abi.DESC_NEXT, id);
      last = d;
    }
    memory.setU32(memory.descriptor(first) + abi.DESC_PACKET_LENGTH, frame.length);
    return first;
  }

  /** Offers a descriptor that a device filled. It is the engine's from now on; false when there was no place for it. */
  offer(id: number): boolean {
    if (this.push(id)) return true;
    this.plane.packetRelease(0, id);
    return this.refuse();
  }

  private refuse(): false {
    this.countLoss("rxDropped");
    return false;
  }

  private push(id: number): boolean {
    const { memory, plane } = this;
    if (!this.up) return false;
    const queue = memory.layout.workers === 1 ? 0 : plane.packetQueue(id);
    memory.setU32(this.scratch, id);
    return plane.ringPush(memory.ring(this.index, queue, false), this.scratch, 1) === 1;
  }

  /** Takes up to `most` frames that left by this port; returns how many. Call it again for those that leave later. */
  transmitted(handler: FrameHandler, most = abi.BURST): number {
    return this.takeTransmitted((id) => this.deliver(id, handler), most);
  }

  /** As `transmitted`, by descriptor: for devices that read chains, open checksums and large segments themselves. */
  takeTransmitted(handler: (id: number) => void, most = abi.BURST): number {
    const { memory, plane } = this;
    let taken = 0;
    for (let w = 0; w < memory.layout.workers && taken < most; w++) {
      const ring = memory.getU32(memory.port(this.index) + abi.PORT_TX + 4 * w);
      const n = plane.ringPop(ring, this.scratch, Math.min(most - taken, abi.BURST));
      if (n === 0) continue;
      // Copied first: the handler may itself receive or transmit, over the same scratch.
      const ids = memory.u32.slice(this.scratch / 4, this.scratch / 4 + n);
      taken += n;
      this.deliverAll(ids, handler);
    }
    return taken;
  }

  /**
   * As `takeTransmitted`, but the packets belong to the caller, who releases each: for devices that send in batches or
   * keep packets until the hardware is through. `into` bounds how many; returns how many there are in it.
   */
  popTransmitted(into: Uint32Array): number {
    const { memory, plane } = this;
    let taken = 0;
    for (let w = 0; w < memory.layout.workers && taken < into.length; w++) {
      const ring = memory.getU32(memory.port(this.index) + abi.PORT_TX + 4 * w);
      const n = plane.ringPop(ring, this.scratch, Math.min(into.length - taken, abi.BURST));
      for (let i = 0; i < n; i++) into[taken++] = memory.u32[(this.scratch >>> 2) + i];
    }
    return taken;
  }

  /** Throws away what waits in the rings: nothing old may leave or arrive later. Threads' own received frames stay theirs. */
  drain(): void {
    const { memory, plane } = this;
    if (!this.isJoined) while (this.takeTransmitted(() => {}, Number.POSITIVE_INFINITY) > 0);
    const ring = memory.getU32(memory.port(this.index) + abi.PORT_RX);
    for (let n = 1; n > 0; ) {
      n = plane.ringPop(ring, this.scratch, abi.BURST);
      plane.packetsRelease(0, this.scratch, n);
    }
  }

  /** What it sends is another port's to receive: it lies in one ring, and has left. */
  private get isJoined(): boolean {
    const { memory } = this;
    const ring = memory.getU32(memory.port(this.index) + abi.PORT_TX);
    for (let i = 0; i < memory.layout.sizes.ports; i++) if (memory.getU32(memory.port(i) + abi.PORT_RX) === ring) return true;
    return false;
  }

  /** Whatever the handler does, every packet of the batch is given back. */
  private deliverAll(ids: Uint32Array, handler: (id: number) => void): void {
    try {
      for (const id of ids) handler(id);
    } finally {
      for (const id of ids) this.plane.packetRelease(0, id);
    }
  }

  private deliver(id: number, handler: FrameHandler): void {
    const { memory } = this;
    const d = memory.descriptor(id);
    const next = memory.getU32(d + abi.DESC_NEXT);
    if (next === abi.NONE) {
      const data = memory.getU32(d + abi.DESC_DATA);
      handler(memory.u8.subarray(data, data + memory.getU32(d + abi.DESC_LENGTH)));
      return;
    }
    const whole = new Uint8Array(memory.getU32(d + abi.DESC_PACKET_LENGTH));
    copyChain(memory, id, whole);
    handler(whole);
  }
}

/** Copies a chain into `out`, as much as fits; returns the bytes written. */
export function copyChain(memory: EngineMemory, id: number, out: Uint8Array): number {
  let at = 0;
  for (let s = id, left = memory.layout.descriptors; s !== abi.NONE && left > 0; left--) {
    const d = memory.descriptor(s);
    const data = memory.getU32(d + abi.DESC_DATA);
    const n = Math.min(memory.getU32(d + abi.DESC_LENGTH), out.length - at);
    out.set(memory.u8.subarray(data, data + n), at);
    at += n;
    s = memory.getU32(d + abi.DESC_NEXT);
  }
  return at;
}

function macOf(mac: string | Uint8Array): Uint8Array {
  const bytes = typeof mac === "string" ? parseMac(mac) : mac;
  if (bytes.length !== 6) throw invalid("a MAC address has six bytes");
  if (bytes[0] & 1) throw invalid(`${formatMac(bytes)} is a group address; a port needs a unicast one`);
  return bytes;
}
