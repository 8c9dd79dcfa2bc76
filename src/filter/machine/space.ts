/** The rules' memory as the host writes it: blocks of REGION_FILTER, and a place to hand keys over at. */
import * as abi from "../../../assembly/abi.ts";
import { LoomError } from "../../base/errors.ts";
import type { Engine } from "../../engine/engine.ts";

export interface Block {
  readonly address: number;
  readonly size: number;
}

export class Space {
  readonly engine: Engine;
  readonly view: DataView;
  readonly u8: Uint8Array;

  constructor(engine: Engine) {
    this.engine = engine;
    this.view = new DataView(engine.memory.buffer);
    this.u8 = engine.memory.u8;
    if (engine.memory.size(abi.REGION_FILTER) === 0)
      throw new LoomError("EINVAL", "the engine has no memory for rules; give it filterBytes");
  }

  /** A block of zeros, or ENOMEM. */
  allocate(size: number): Block {
    const address = this.engine.plane.filterAllocate(size) >>> 0;
    if (address === 0) throw new LoomError("ENOMEM", `the rules' memory has no ${size} bytes left; raise filterBytes`);
    return { address, size };
  }

  /** A block that holds these bytes. */
  place(bytes: Uint8Array): Block {
    const block = this.allocate(bytes.length);
    this.u8.set(bytes, block.address);
    return block;
  }

  /** Gives blocks back; they are used again when no worker can be reading them. */
  retire(blocks: Iterable<Block>): void {
    for (const { address, size } of blocks) this.engine.plane.filterRetire(address, size);
  }

  /** Now, in nanoseconds of the engine's clock, as workers are told it. */
  now(): bigint {
    return BigInt(Math.round(this.engine.clock.now() * 1e6));
  }

  /** Puts a key where the data plane's functions find it; the address. The worker is at rest while the host has the thread. */
  key(bytes: Uint8Array, words: number): number {
    const at = this.engine.memory.worker(0) + abi.WORKER_SCRATCH;
    this.u8.fill(0, at, at + 4 * words);
    this.u8.set(bytes.subarray(0, 4 * words), at);
    return at;
  }

  u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  setU32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  u64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }

  setU64(at: number, value: bigint): void {
    this.view.setBigUint64(at, value, true);
  }
}
