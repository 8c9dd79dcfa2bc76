/**
 * The receiving half of an AF_XDP socket: buffers of the engine's pool go to the kernel by the fill ring and come back by
 * the receive ring with a frame in them.
 */
import * as abi from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import type { XdpRing } from "./xdp-rings.ts";

/** What the kernel leaves free at the start of a chunk (XDP_PACKET_HEADROOM). */
const KERNEL_HEADROOM = 256;
/** The frame goes on in the next descriptor. */
const XDP_PKT_CONTD = 1;
const MOST_PIECES = 64;

export interface XdpReceiverParts {
  readonly fill: XdpRing;
  readonly rx: XdpRing;
  /** Where in the engine's memory the kernel's addresses begin. */
  readonly umem: number;
  readonly trusted: boolean;
}

export class XdpReceiver {
  /** Bytes of a frame that one buffer takes. */
  readonly frameLimit: number;
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly parts: XdpReceiverParts;
  private readonly buffers: number;
  private readonly stride: number;
  /** 1 for each buffer that the kernel has. */
  private readonly lent: Uint8Array;
  private waiting = 0;
  /** The frame whose pieces are coming, its last piece's descriptor and its length. */
  private first = abi.NONE;
  private last = 0;
  private length = 0;
  private pieces = 0;

  constructor(engine: Engine, port: Port, parts: XdpReceiverParts) {
    const { memory } = engine;
    this.engine = engine;
    this.port = port;
    this.parts = parts;
    this.buffers = memory.base(abi.REGION_BUFFERS);
    this.stride = memory.layout.stride;
    this.frameLimit = this.stride - KERNEL_HEADROOM;
    this.lent = new Uint8Array(memory.layout.sizes.buffers);
    this.refill();
  }

  /** Lends the kernel as many buffers as the ring holds, but never the last half of the pool. */
  private refill(): void {
    const { fill, umem } = this.parts;
    const { plane } = this.engine;
    const wanted = Math.min(fill.entries, this.lent.length >>> 1) - this.waiting;
    if (wanted <= 0) return;
    let n = 0;
    for (; n < wanted; n++) {
      const id = plane.bufferTake(0) >>> 0;
      if (id === abi.NONE) break;
      const at = fill.next();
      fill.words[at] = this.buffers + id * this.stride - umem;
      fill.words[at + 1] = 0;
      this.lent[id] = 1;
    }
    if (n === 0) return;
    this.waiting += n;
    fill.publish();
  }

  receive(budget: number): number {
    const { rx } = this.parts;
    const n = Math.min(rx.available, budget, this.port.room);
    for (let i = 0; i < n; i++) {
      const at = rx.next();
      this.accept(rx.words[at] >>> 0, rx.words[at + 1] >>> 16, rx.words[at + 2] >>> 0, rx.words[at + 3]);
    }
    if (n > 0) rx.release();
    this.refill();
    return n;
  }

  /** A buffer comes back: its address in the low 48 bits, where in it the frame begins in the upper 16. */
  private accept(address: number, offset: number, length: number, options: number): void {
    const { memory, plane } = this.engine;
    const home = address + this.parts.umem;
    const id = (home - this.buffers) / this.stride;
    if (this.lent[id] !== 1 || offset + length > this.stride) {
      this.port.countLoss("rxErrors");
      return;
    }
    this.lent[id] = 0;
    this.waiting--;
    const d = memory.descriptor(id);
    memory.setU32(d + abi.DESC_DATA, home + offset);
    memory.setU32(d + abi.DESC_LENGTH, length);
    memory.setU32(d + abi.DESC_FLAGS, this.parts.trusted ? abi.FLAG_CSUM_GOOD : 0);
    if (this.first === abi.NONE) {
      this.first = id;
      this.length = 0;
      this.pieces = 0;
    } else memory.setU32(this.last + abi.DESC_NEXT, id);
    this.last = d;
    this.length += length;
    this.pieces++;
    if (options & XDP_PKT_CONTD) return;
    const whole = this.first;
    this.first = abi.NONE;
    memory.setU32(memory.descriptor(whole) + abi.DESC_PACKET_LENGTH, this.length);
    if (this.pieces <= MOST_PIECES) this.port.offer(whole);
    else {
      this.port.countLoss("rxErrors");
      plane.packetRelease(0, whole);
    }
  }

  /** The socket is closed: what the kernel had is the pool's again. */
  close(): void {
    const { plane } = this.engine;
    if (this.first !== abi.NONE) plane.packetRelease(0, this.first);
    this.first = abi.NONE;
    for (let id = 0; id < this.lent.length; id++) if (this.lent[id] === 1) plane.packetRelease(0, id);
    this.lent.fill(0);
    this.waiting = 0;
  }
}
