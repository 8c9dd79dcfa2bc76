/**
 * The receive ring of a packet socket: TPACKET_V3 (Documentation/networking/packet_mmap.rst). The kernel fills a block of
 * many frames and hands it over whole; it goes back when its last frame is with the port.
 *
 *   block  version u32 | offset of private u32 | status u32 | frames u32 | offset of the first u32 | …
 *   frame  next u32 | seconds u32 | nanoseconds u32 | captured u32 | length u32 | status u32 | link header at u16 |
 *          network header at u16 | hash u32 | tag u32 | tag's type u16 | …
 */
import * as abi from "../../assembly/abi.ts";
import { invalid } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { MOST_FRAME, type Port } from "../engine/port.ts";
import { LEAST_FRAME } from "./frames.ts";
import { struct, systemError } from "./libc.ts";
import type { Libc } from "./libc-symbols.ts";
import { readVnet, VNET_BYTES } from "./vnet.ts";

export interface PacketRingOptions {
  bytes?: number;
  retire?: number;
  offload: boolean;
}

const SOL_PACKET = 263;
const PACKET_RX_RING = 5;
const PACKET_VERSION = 10;
const TPACKET_V3 = 2;
/** Room for the largest frame, and a multiple of every page size. */
const BLOCK = 256 << 10;
const FRAME = 2048;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

const BLOCK_STATUS = 8;
const BLOCK_FRAMES = 12;
const BLOCK_FIRST = 16;
const FRAME_CAPTURED = 12;
const FRAME_LENGTH = 16;
const FRAME_STATUS = 20;
const FRAME_LINK = 24;
const FRAME_TAG = 32;
const FRAME_TAG_TYPE = 36;
/** The block is ours; the frame's tag was taken off; its checksum is open or was found good. */
const STATUS_USER = 1;
const STATUS_VLAN_VALID = 1 << 4;
const STATUS_CSUM_NOT_READY = 1 << 3;
const STATUS_VLAN_TYPE_VALID = 1 << 6;
const STATUS_CSUM_VALID = 1 << 7;

export class PacketRing {
  private readonly libc: Libc;
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly offload: boolean;
  private readonly bytes: number;
  private readonly address: number;
  private readonly u8: Uint8Array;
  private readonly u32: Int32Array;
  private block = 0;
  /** Frames of the block in hand that are left, and where the next is. */
  private left = 0;
  private at = 0;

  constructor(libc: Libc, fd: number, engine: Engine, port: Port, options: PacketRingOptions) {
    const { bytes = 4 << 20, retire = 1, offload } = options;
    if (!(Number.isInteger(bytes / BLOCK) && bytes > 0 && bytes <= 1 << 30)) {
      throw invalid(`ringBytes is ${bytes}; expected a multiple of ${BLOCK} up to 1 GiB`);
    }
    this.libc = libc;
    this.engine = engine;
    this.port = port;
    this.offload = offload;
    this.bytes = bytes;
    libc.setsockopt(fd, SOL_PACKET, PACKET_VERSION, struct(4, [[0, 4, TPACKET_V3]]), 4);
    const request = [BLOCK, bytes / BLOCK, FRAME, bytes / FRAME, retire, 0, 0].map((value, i) => [4 * i, 4, value] as const);
    if (libc.setsockopt(fd, SOL_PACKET, PACKET_RX_RING, struct(28, request), 28) < 0) {
      throw systemError("cannot make a receive ring", libc.errno(), "CAP_NET_RAW");
    }
    this.address = libc.mmap(0, bytes, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    if (this.address < 0) throw systemError("cannot map the receive ring", libc.errno());
    const ring = libc.view(this.address, bytes);
    this.u8 = new Uint8Array(ring);
    this.u32 = new Int32Array(ring);
  }

  /** Hands up to `budget` frames to the port; none while it has no room, so that what is lost is lost in the ring. */
  receive(budget: number): number {
    const { u32, port } = this;
    let moved = 0;
    let room = port.room;
    while (moved < budget && room > 0) {
      if (this.left === 0 && !this.nextBlock()) break;
      this.accept(this.at);
      this.at += u32[this.at >>> 2];
      moved++;
      room--;
      if (--this.left === 0) this.giveBack();
    }
    return moved;
  }

  private nextBlock(): boolean {
    const { u32, block } = this;
    for (;;) {
      const start = this.block * BLOCK;
      if ((Atomics.load(u32, (start + BLOCK_STATUS) >>> 2) & STATUS_USER) === 0) return false;
      this.left = u32[(start + BLOCK_FRAMES) >>> 2];
      this.at = start + u32[(start + BLOCK_FIRST) >>> 2];
      if (this.left > 0) return true;
      // Handed over because its time was up.
      this.giveBack();
      if (this.block === block) return false;
    }
  }

  private giveBack(): void {
    Atomics.store(this.u32, (this.block * BLOCK + BLOCK_STATUS) >>> 2, 0);
    this.block = (this.block + 1) % (this.bytes / BLOCK);
  }

  private accept(frame: number): void {
    const { u8, u32, port } = this;
    const { memory } = this.engine;
    const captured = u32[(frame + FRAME_CAPTURED) >>> 2];
    const start = frame + (u8[frame + FRAME_LINK] | (u8[frame + FRAME_LINK + 1] << 8));
    if (captured < LEAST_FRAME || captured > MOST_FRAME - 4 || captured < u32[(frame + FRAME_LENGTH) >>> 2]) {
      port.countLoss("rxErrors");
      return;
    }
    const id = port.buffersOf(u8.subarray(start, start + captured));
    if (id === abi.NONE) {
      port.countLoss("rxDropped");
      return;
    }
    const d = memory.descriptor(id);
    const status = u32[(frame + FRAME_STATUS) >>> 2];
    if (this.offload) readVnet(u8, start - VNET_BYTES, u8[start + 12] === 0x86, memory, d);
    else if (status & STATUS_CSUM_VALID || status & STATUS_CSUM_NOT_READY) memory.setU32(d + abi.DESC_FLAGS, abi.FLAG_CSUM_GOOD);
    if (status & STATUS_VLAN_VALID) this.putTag(d, frame, status);
    port.offer(id);
  }

  /** The kernel takes an 802.1Q tag off before it hands a frame over: it is put back into the headroom. */
  private putTag(d: number, frame: number, status: number): void {
    const { u8 } = this;
    const { memory } = this.engine;
    const data = memory.getU32(d + abi.DESC_DATA);
    memory.u8.copyWithin(data - 4, data, data + 12);
    const tag = u8[frame + FRAME_TAG] | (u8[frame + FRAME_TAG + 1] << 8);
    const typeAt = frame + FRAME_TAG_TYPE;
    const type = status & STATUS_VLAN_TYPE_VALID ? u8[typeAt] | (u8[typeAt + 1] << 8) : 0x8100;
    memory.u8.set([type >>> 8, type, tag >>> 8, tag], data + 8);
    memory.setU32(d + abi.DESC_DATA, data - 4);
    for (const field of [abi.DESC_LENGTH, abi.DESC_PACKET_LENGTH]) memory.setU32(d + field, memory.getU32(d + field) + 4);
    if (memory.getU32(d + abi.DESC_FLAGS) & abi.FLAG_CSUM_PARTIAL) {
      memory.setU16(d + abi.DESC_CSUM_START, memory.getU16(d + abi.DESC_CSUM_START) + 4);
    }
  }

  close(): void {
    this.libc.munmap(this.address, this.bytes);
  }
}
