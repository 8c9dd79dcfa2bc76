/**
 * Frames in a stream of bytes: each behind its length, 32 bits, big-endian. The format of QEMU's `-netdev stream` and
 * `-netdev socket`. Frames may begin and end anywhere in the chunks that a stream happens to bring.
 */
import * as abi from "../../assembly/abi.ts";
import { u32 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { MOST_FRAME, type Port } from "../engine/port.ts";

const PREFIX = 4;
const NO_BYTES = new Uint8Array(0);
/** An Ethernet header: what is shorter is no frame. */
export const LEAST_FRAME = 14;

/** Cuts chunks into frames. `next` gives a view that is valid until it is called again. */
export class FrameReader {
  private chunk: Uint8Array = new Uint8Array(0);
  private at = 0;
  /** A frame that began in an earlier chunk, with its prefix. */
  private partial: Uint8Array | undefined;
  private have = 0;

  /** True when the chunk is used up. */
  get isEmpty(): boolean {
    return this.at === this.chunk.length;
  }

  /** Bytes of a frame whose end is still to come. */
  get pending(): number {
    return this.have;
  }

  /** Gives the next chunk; the one before must be used up. */
  feed(chunk: Uint8Array): void {
    this.chunk = chunk;
    this.at = 0;
  }

  /** The next whole frame; undefined when more bytes are needed. Throws EPROTO when a length cannot be one. */
  next(): Uint8Array | undefined {
    const { chunk, at } = this;
    const left = chunk.length - at;
    if (this.have > 0 || left < PREFIX) return this.piece();
    const length = lengthAt(chunk, at);
    if (left - PREFIX < length) return this.piece();
    this.at = at + PREFIX + length;
    return chunk.subarray(at + PREFIX, this.at);
  }

  /** Takes what there is towards a frame that lies in several chunks. */
  private piece(): Uint8Array | undefined {
    if (!this.fill(PREFIX)) return undefined;
    const whole = PREFIX + lengthAt(this.partial as Uint8Array, 0);
    if (!this.fill(whole)) return undefined;
    this.have = 0;
    return this.partial?.subarray(PREFIX, whole);
  }

  private fill(wanted: number): boolean {
    const n = Math.min(wanted - this.have, this.chunk.length - this.at);
    if (n > 0) {
      this.partial ??= new Uint8Array(PREFIX + MOST_FRAME);
      this.partial.set(this.chunk.subarray(this.at, this.at + n), this.have);
      this.have += n;
      this.at += n;
    }
    return this.have >= wanted;
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  const length = u32(bytes, at);
  if (length > MOST_FRAME) throw new LoomError("EPROTO", `a frame of ${length} bytes was announced; expected ${MOST_FRAME} at most`);
  return length;
}

/** What a port transmitted in one poll: packed into one chunk, or thrown away with a count. */
export class Outbox {
  private readonly engine: Engine;
  private readonly port: Port;
  private readonly ids = new Uint32Array(abi.BURST);
  private count = 0;

  constructor(engine: Engine, port: Port) {
    this.engine = engine;
    this.port = port;
  }

  /** Packets that were taken; they are given back by `pack`, `each` or `discard`. */
  take(most: number): number {
    this.count = this.port.popTransmitted(most < this.ids.length ? this.ids.subarray(0, most) : this.ids);
    return this.count;
  }

  /** All of them behind each other, each behind its length; `header` before the first. */
  pack(header: Uint8Array = NO_BYTES): Uint8Array<ArrayBuffer> {
    let bytes = header.length;
    for (let i = 0; i < this.count; i++) bytes += PREFIX + this.length(i);
    const out = new Uint8Array(bytes);
    out.set(header);
    let at = header.length;
    for (let i = 0; i < this.count; i++) {
      const n = this.length(i);
      out[at] = n >>> 24;
      out[at + 1] = n >>> 16;
      out[at + 2] = n >>> 8;
      out[at + 3] = n;
      this.copy(i, out, at + PREFIX);
      at += PREFIX + n;
    }
    this.release();
    return out;
  }

  /** One after the other, each in bytes of its own. */
  each(handler: (frame: Uint8Array<ArrayBuffer>) => void): void {
    try {
      for (let i = 0; i < this.count; i++) {
        const frame = new Uint8Array(this.length(i));
        this.copy(i, frame, 0);
        handler(frame);
      }
    } finally {
      this.release();
    }
  }

  /** There was nobody to take them. */
  discard(): void {
    let bytes = 0;
    for (let i = 0; i < this.count; i++) bytes += this.length(i);
    if (this.count > 0) this.port.countLoss("txCarrier", this.count, bytes);
    this.release();
  }

  private length(i: number): number {
    const { memory } = this.engine;
    return memory.getU32(memory.descriptor(this.ids[i]) + abi.DESC_PACKET_LENGTH);
  }

  private copy(i: number, out: Uint8Array, at: number): void {
    const { memory } = this.engine;
    for (let id = this.ids[i]; id !== abi.NONE; ) {
      const d = memory.descriptor(id);
      const data = memory.getU32(d + abi.DESC_DATA);
      const n = memory.getU32(d + abi.DESC_LENGTH);
      out.set(memory.u8.subarray(data, data + n), at);
      at += n;
      id = memory.getU32(d + abi.DESC_NEXT);
    }
  }

  private release(): void {
    for (let i = 0; i < this.count; i++) this.engine.plane.packetRelease(0, this.ids[i]);
    this.count = 0;
  }
}

interface Waiting {
  readonly chunk: Uint8Array;
  readonly done: (() => void) | undefined;
}

/** What a chunk takes beside its bytes: many small ones must not go unnoticed. */
const CHUNK_COST = 64;

/** Chunks that came and frames that are still in them, until the port has room: bounded by bytes. */
export class Inbox {
  private readonly port: Port;
  private readonly limit: number;
  private readonly isWhole: boolean;
  private readonly waiting: Waiting[] = [];
  private reader = new FrameReader();
  private current: Waiting | undefined;
  private bytes = 0;

  /** `isWhole`: each chunk holds whole frames, and one that does not is nobody else's loss. */
  constructor(port: Port, limit: number, isWhole = false) {
    this.port = port;
    this.limit = limit;
    this.isWhole = isWhole;
  }

  /** No more than this should come now. */
  get isFull(): boolean {
    return this.bytes >= this.limit;
  }

  /** `done` is called when every frame of the chunk is with the port. */
  push(chunk: Uint8Array, done?: () => void): void {
    this.waiting.push({ chunk, done });
    this.bytes += chunk.length + CHUNK_COST;
  }

  /** Hands frames to the port while it has room; returns how many. Throws EPROTO when what came is no stream of frames. */
  drain(budget: number): number {
    const { port } = this;
    let moved = 0;
    while (moved < budget && port.room > 0) {
      const frame = this.reader.next();
      if (frame) {
        moved++;
        if (frame.length < LEAST_FRAME) port.countLoss("rxErrors");
        else port.receive(frame);
      } else if (!this.advance()) break;
    }
    return moved;
  }

  private advance(): boolean {
    this.finish();
    this.current = this.waiting.shift();
    if (!this.current) return false;
    this.reader.feed(this.current.chunk);
    return true;
  }

  private finish(): void {
    if (!this.current) return;
    if (this.isWhole && this.reader.pending > 0) {
      this.reader = new FrameReader();
      this.port.countLoss("rxErrors");
    }
    this.bytes -= this.current.chunk.length + CHUNK_COST;
    this.current.done?.();
    this.current = undefined;
  }

  /** Ends the chunk in hand, whatever is left of it: for chunks that hold whole frames. */
  skip(): void {
    this.reader = new FrameReader();
    this.finish();
  }

  clear(): void {
    this.reader = new FrameReader();
    this.current = undefined;
    this.waiting.length = 0;
    this.bytes = 0;
  }
}
