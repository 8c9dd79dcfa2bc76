/**
 * The sending half of an AF_XDP socket: each piece of a packet is a descriptor that names it where it lies. A packet is
 * held until the kernel says by the completion ring that its last piece is gone.
 *
 * Completions come in any order and name only addresses, and many pieces may lie in one slab. With unaligned chunks an
 * address is a base of 48 bits plus an offset of 16: the offset carries the number of our record, and the base is that
 * much less.
 */
import * as abi from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { LossReason } from "../engine/link-stats.ts";
import type { Port } from "../engine/port.ts";
import type { Libc } from "./libc-symbols.ts";
import type { XdpRing } from "./xdp-rings.ts";

const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;
const XDP_PKT_CONTD = 1;
/** Pieces of a packet: fragments of a kernel's buffer and its head (MAX_SKB_FRAGS). */
const MOST_PIECES = 17;
/** Packets looked at together. */
const BATCH = 256;
/** A call sends 32 descriptors at most. */
const DESCRIPTORS_A_CALL = 32;

export interface XdpSenderParts {
  readonly completion: XdpRing;
  readonly tx: XdpRing;
  readonly umem: number;
}

export class XdpSender {
  private readonly libc: Libc;
  private readonly fd: number;
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly parts: XdpSenderParts;
  private readonly ids = new Uint32Array(BATCH);
  private count = 0;
  private done = 0;
  /** Records: the packet whose last piece it is, or NONE; and the free ones. */
  private readonly packets: Uint32Array;
  private readonly free: Uint16Array;
  private freeCount: number;
  /** Descriptors that the kernel has not taken yet. */
  private isBehind = false;

  constructor(libc: Libc, fd: number, engine: Engine, port: Port, parts: XdpSenderParts) {
    this.libc = libc;
    this.fd = fd;
    this.engine = engine;
    this.port = port;
    this.parts = parts;
    const { entries } = parts.tx;
    this.packets = new Uint32Array(entries).fill(abi.NONE);
    this.free = Uint16Array.from({ length: entries }, (_, i) => i);
    this.freeCount = entries;
  }

  transmit(budget: number): number {
    this.complete();
    let moved = 0;
    while (moved < budget) {
      if (this.done === this.count) {
        this.done = 0;
        this.count = this.port.popTransmitted(this.ids);
        if (this.count === 0) break;
      }
      const before = this.done;
      while (this.done < this.count && this.write(this.ids[this.done])) this.done++;
      moved += this.done - before;
      if (this.done < this.count) break;
    }
    if (moved > 0) {
      this.parts.tx.publish();
      this.isBehind = true;
    }
    if (this.isBehind) this.kick();
    return moved;
  }

  /** Writes a packet's descriptors; false when there is no room for all of them now. */
  private write(id: number): boolean {
    const { memory, plane } = this.engine;
    const { tx } = this.parts;
    const most = memory.layout.stride;
    let pieces = 0;
    for (let s = id; s !== abi.NONE; s = memory.getU32(memory.descriptor(s) + abi.DESC_NEXT)) {
      pieces += Math.ceil(memory.getU32(memory.descriptor(s) + abi.DESC_LENGTH) / most);
    }
    if (pieces === 0 || pieces > MOST_PIECES) {
      this.port.countLoss("txErrors", 1, memory.getU32(memory.descriptor(id) + abi.DESC_PACKET_LENGTH));
      plane.packetRelease(0, id);
      return true;
    }
    if (pieces > this.freeCount || pieces > tx.room) return false;
    for (let s = id; s !== abi.NONE; ) {
      const d = memory.descriptor(s);
      let at = memory.getU32(d + abi.DESC_DATA);
      for (let left = memory.getU32(d + abi.DESC_LENGTH); left > 0; ) {
        const n = Math.min(left, most);
        pieces--;
        this.put(at, n, pieces > 0, pieces === 0 ? id : abi.NONE);
        at += n;
        left -= n;
      }
      s = memory.getU32(d + abi.DESC_NEXT);
    }
    return true;
  }

  private put(at: number, length: number, more: boolean, packet: number): void {
    const { tx, umem } = this.parts;
    const record = this.free[--this.freeCount];
    this.packets[record] = packet;
    const entry = tx.next();
    tx.words[entry] = at - umem - record;
    tx.words[entry + 1] = record << 16;
    tx.words[entry + 2] = length;
    tx.words[entry + 3] = more ? XDP_PKT_CONTD : 0;
  }

  /** In copy mode the kernel sends only when it is called. */
  private kick(): void {
    const { libc, fd, parts } = this;
    if (parts.tx.needsWakeup) {
      for (let calls = 2 * Math.ceil(parts.tx.entries / DESCRIPTORS_A_CALL); calls > 0 && parts.tx.room < parts.tx.entries; calls--) {
        if (libc.sendto(fd, 0, 0, MSG_DONTWAIT, 0, 0) >= 0) continue;
        // Some are sent; the rest wants another call. Anything else is tried again in the next round.
        if (libc.errno() !== EAGAIN) break;
      }
    }
    this.complete();
    this.isBehind = parts.tx.room < parts.tx.entries;
  }

  /** Packets that are gone are given back. */
  private complete(): void {
    const { completion } = this.parts;
    const { plane } = this.engine;
    const n = completion.available;
    for (let i = 0; i < n; i++) {
      const record = completion.words[completion.next() + 1] >>> 16;
      if (record >= this.packets.length) continue;
      const packet = this.packets[record];
      this.packets[record] = abi.NONE;
      this.free[this.freeCount++] = record;
      if (packet !== abi.NONE) plane.packetRelease(0, packet);
    }
    if (n > 0) completion.release();
  }

  /** The socket is closed: what it had not sent is lost. */
  close(): void {
    for (; this.done < this.count; this.done++) this.lose("txCarrier", this.ids[this.done]);
    for (const packet of this.packets) if (packet !== abi.NONE) this.lose("txDropped", packet);
    this.packets.fill(abi.NONE);
  }

  private lose(reason: LossReason, id: number): void {
    const { memory, plane } = this.engine;
    this.port.countLoss(reason, 1, memory.getU32(memory.descriptor(id) + abi.DESC_PACKET_LENGTH));
    plane.packetRelease(0, id);
  }
}
