/**
 * A block of the region of queues while it is being written: offsets from its own beginning, and a note of every word that
 * is an address, so that it can be put anywhere in one piece.
 */
import type { EngineMemory } from "../engine/memory.ts";

const LINE = 64;

export class Image {
  private view = new DataView(new ArrayBuffer(1 << 14));
  private readonly pointers: number[] = [];
  /** Bytes so far. */
  size = 0;

  /** Zeroed bytes on lines of their own; their offset. */
  take(bytes: number): number {
    const at = this.size;
    this.size += Math.ceil(bytes / LINE) * LINE;
    if (this.size > this.view.byteLength) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(this.size)));
      larger.set(new Uint8Array(this.view.buffer));
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  u8(at: number, value: number): void {
    this.view.setUint8(at, value);
  }

  u16(at: number, value: number): void {
    this.view.setUint16(at, value, true);
  }

  u32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  /** A whole number of 64 bits; what has a fraction is rounded. */
  u64(at: number, value: number): void {
    this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(Math.round(value))), true);
  }

  f64(at: number, value: number): void {
    this.view.setFloat64(at, value, true);
  }

  bytes(at: number, value: Uint8Array): void {
    new Uint8Array(this.view.buffer).set(value, at);
  }

  /** The address of something else in the block. */
  pointer(at: number, target: number): void {
    this.u32(at, target);
    this.pointers.push(at);
  }

  /** Writes the block to where it will be used. */
  place(memory: EngineMemory, base: number): void {
    for (const at of this.pointers) this.u32(at, this.view.getUint32(at, true) + base);
    memory.u8.set(new Uint8Array(this.view.buffer, 0, this.size), base);
  }
}
