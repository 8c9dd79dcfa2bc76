/**
 * The sending half of a packet socket: up to 64 packets a call of sendmmsg, their pieces gathered by the kernel from
 * where they lie in the engine's memory. What the kernel has no room for is kept and tried again.
 *
 *   mmsghdr  name, its length | iovec*, how many | control, its length | flags u32 | (56) bytes sent u32; 64 bytes
 */
import * as abi from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { LossReason } from "../engine/link-stats.ts";
import type { Port } from "../engine/port.ts";
import type { Libc } from "./libc-symbols.ts";
import { VNET_BYTES, writeVnet } from "./vnet.ts";

const BATCH = 64;
const HEADER = 64;
/** Pieces of a batch together; one packet of 64 KiB has no more than a third of them. */
const PIECES = 1024;
/** Bytes between virtio headers. */
const VNET_STRIDE = 16;
const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;
const ENETDOWN = 100;
const ENOBUFS = 105;
const REASONS: Record<number, LossReason> = { [ENETDOWN]: "txCarrier", [ENOBUFS]: "txDropped" };

export class PacketSender {
  private readonly libc: Libc;
  private readonly fd: number;
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly offload: boolean;
  private readonly base: bigint;
  private readonly ids = new Uint32Array(BATCH);
  private readonly headers = new BigUint64Array((BATCH * HEADER) / 8);
  private readonly iov = new BigUint64Array(2 * PIECES);
  private readonly vnet = new Uint8Array(BATCH * VNET_STRIDE);
  private readonly headersAt: number;
  private readonly iovAt: bigint;
  private readonly vnetAt: bigint;
  /** Packets in hand, and how many of them are gone. */
  private count = 0;
  private done = 0;

  constructor(libc: Libc, fd: number, engine: Engine, port: Port, offload: boolean) {
    this.libc = libc;
    this.fd = fd;
    this.engine = engine;
    this.port = port;
    this.offload = offload;
    this.base = libc.address(engine.memory.buffer);
    this.headersAt = Number(libc.address(this.headers.buffer));
    this.iovAt = libc.address(this.iov.buffer);
    this.vnetAt = libc.address(this.vnet.buffer);
  }

  transmit(budget: number): number {
    let moved = 0;
    do {
      if (this.done === this.count) {
        this.done = 0;
        this.count = this.port.popTransmitted(this.ids);
      }
      const n = this.count - this.done;
      if (n === 0) break;
      const gone = this.send(n);
      moved += gone;
      if (gone === 0) break;
    } while (moved < budget);
    return moved;
  }

  /** Sends what is in hand; returns how many packets are gone, sent or lost. */
  private send(n: number): number {
    const { libc, fd } = this;
    const ready = this.describe(n);
    let gone = 0;
    if (ready === 0) {
      // More pieces than one call takes.
      this.lose("txErrors");
      return 1;
    }
    while (gone < ready) {
      const sent = libc.sendmmsg(fd, this.headersAt + gone * HEADER, ready - gone, MSG_DONTWAIT);
      if (sent > 0) {
        for (let i = 0; i < sent; i++) this.release();
        gone += sent;
        continue;
      }
      const errno = libc.errno();
      if (errno === EAGAIN) break;
      this.lose(REASONS[errno] ?? "txErrors");
      gone++;
    }
    return gone;
  }

  /** Writes headers and pieces of the packets in hand, as many as there are pieces for; returns how many. */
  private describe(n: number): number {
    let pieces = 0;
    for (let i = 0; i < n; i++) {
      const end = this.gather(this.ids[this.done + i], i, pieces);
      if (end > PIECES) return i;
      const at = (i * HEADER) / 8;
      this.headers[at + 2] = this.iovAt + BigInt(16 * pieces);
      this.headers[at + 3] = BigInt(end - pieces);
      pieces = end;
    }
    return n;
  }

  /** Writes a packet's pieces from `at` on; returns where they end, beyond PIECES when they do not fit. */
  private gather(id: number, slot: number, at: number): number {
    const { memory } = this.engine;
    let end = at;
    if (this.offload) {
      const header = slot * VNET_STRIDE;
      writeVnet(memory, memory.descriptor(id), this.vnet, header);
      this.put(end++, this.vnetAt + BigInt(header), VNET_BYTES);
    }
    for (let s = id; s !== abi.NONE && end <= PIECES; ) {
      const d = memory.descriptor(s);
      this.put(end++, this.base + BigInt(memory.getU32(d + abi.DESC_DATA)), memory.getU32(d + abi.DESC_LENGTH));
      s = memory.getU32(d + abi.DESC_NEXT);
    }
    return end;
  }

  /** What lies beyond the last place is not written: it is counted only. */
  private put(piece: number, address: bigint, bytes: number): void {
    this.iov[2 * piece] = address;
    this.iov[2 * piece + 1] = BigInt(bytes);
  }

  private lose(reason: LossReason): void {
    const { memory } = this.engine;
    this.port.countLoss(reason, 1, memory.getU32(memory.descriptor(this.ids[this.done]) + abi.DESC_PACKET_LENGTH));
    this.release();
  }

  private release(): void {
    this.engine.plane.packetRelease(0, this.ids[this.done++]);
  }

  close(): void {
    while (this.done < this.count) this.lose("txCarrier");
  }
}
