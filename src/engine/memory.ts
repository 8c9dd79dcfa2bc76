/** Typed views of the engine's memory. It never grows, so they are made once. */
import * as abi from "../../assembly/abi.ts";
import type { Layout } from "./layout.ts";

export class EngineMemory {
  readonly buffer: ArrayBufferLike;
  readonly layout: Layout;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;

  constructor(buffer: ArrayBufferLike, layout: Layout) {
    this.buffer = buffer;
    this.layout = layout;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
  }

  base(region: number): number {
    return this.layout.regions[region].base;
  }

  size(region: number): number {
    return this.layout.regions[region].size;
  }

  worker(index: number): number {
    return this.base(abi.REGION_WORKERS) + index * abi.WORKER_SIZE;
  }

  port(index: number): number {
    return this.base(abi.REGION_PORTS) + index * abi.PORT_SIZE;
  }

  table(index: number): number {
    return this.base(abi.REGION_TABLES) + index * abi.TABLE_SIZE;
  }

  descriptor(id: number): number {
    return this.base(abi.REGION_DESCRIPTORS) + id * abi.DESC_SIZE;
  }

  /** The ring of a port and worker; `out` false for what the port received. */
  ring(port: number, worker: number, out: boolean): number {
    const size = abi.RING_HEADER_SIZE + 4 * this.layout.sizes.ringCapacity;
    const index = (worker * this.layout.sizes.ports + port) * 2 + (out ? 1 : 0);
    return this.base(abi.REGION_RINGS) + index * size;
  }

  getU32(at: number): number {
    return this.u32[at >>> 2];
  }

  setU32(at: number, value: number): void {
    this.u32[at >>> 2] = value;
  }

  getU16(at: number): number {
    return this.u16[at >>> 1];
  }

  setU16(at: number, value: number): void {
    this.u16[at >>> 1] = value;
  }

  /** A counter; exact up to 2^53. */
  getU64(at: number): number {
    return Number(this.u64[at >>> 3]);
  }
}
