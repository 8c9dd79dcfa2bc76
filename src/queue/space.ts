/** Room for trees and policers in the region of queues, behind the records of descriptors and ports. First fit, one user: the calling thread. */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import type { Engine } from "../engine/engine.ts";
import { queueTables } from "../engine/layout.ts";

/** Of the buffers, what all queues together may hold: the rest keeps receiving. */
const SHARE = 0.75;
const LINE = 64;

interface Block {
  at: number;
  size: number;
}

export class QueueSpace {
  private readonly engine: Engine;
  private free: Block[];
  /** Blocks that a worker may still read, and the epoch in which they were taken out of sight. */
  private readonly limbo: { block: Block; epoch: number }[] = [];

  constructor(engine: Engine) {
    const { memory } = engine;
    if (memory.size(abi.REGION_QUEUES) === 0)
      throw new LoomError("ENOMEM", "this engine has no room for queues; create it with queueBytes (1 MiB holds some trees)");
    this.engine = engine;
    const { sizes, descriptors } = memory.layout;
    const base = memory.base(abi.REGION_QUEUES);
    const first = Math.ceil((base + queueTables(sizes.ports, descriptors)) / LINE) * LINE;
    this.free = [{ at: first, size: base + memory.size(abi.REGION_QUEUES) - first }];
    memory.setU32(base + abi.QUEUES_SHARE, Math.floor(sizes.buffers * SHARE));
    for (let port = 0; port < sizes.ports; port++) this.initRoot(this.root(port), port);
  }

  private initRoot(at: number, port: number): void {
    const { memory } = this.engine;
    const chance = new Random(port ^ memory.getU32(abi.HEADER + abi.HEADER_SECRET));
    memory.setU32(at + abi.QROOT_PORT, port);
    memory.setU32(at + abi.QROOT_CHANCE, chance.u32() | 1);
    memory.setU32(at + abi.QROOT_CHANCE + 4, chance.u32());
    memory.u64[(at + abi.QROOT_NEXT) / 8] = 2n ** 64n - 1n;
  }

  /** Address of a port's root. */
  root(port: number): number {
    const { memory } = this.engine;
    const links = memory.base(abi.REGION_QUEUES) + abi.QUEUES_LINKS;
    return links + memory.layout.descriptors * abi.QLINK_SIZE + port * abi.QROOT_SIZE;
  }

  take(size: number): number {
    this.collect();
    const i = this.free.findIndex((block) => block.size >= size);
    if (i < 0) {
      const largest = Math.max(0, ...this.free.map((block) => block.size));
      throw new LoomError(
        "ENOMEM",
        `a queue of ${size} bytes does not fit into the ${largest} that are left in one piece; raise queueBytes`,
      );
    }
    const block = this.free[i];
    const at = block.at;
    block.at += size;
    block.size -= size;
    if (block.size === 0) this.free.splice(i, 1);
    return at;
  }

  /** Gives a block back; neighbours become one. */
  give(at: number, size: number): void {
    this.free.push({ at, size });
    this.free.sort((a, b) => a.at - b.at);
    this.free = this.free.reduce<Block[]>((kept, block) => {
      const last = kept[kept.length - 1];
      if (last && last.at + last.size === block.at) last.size += block.size;
      else kept.push({ ...block });
      return kept;
    }, []);
  }

  /** Gives a block back when no worker can be reading it any more. */
  giveLater(at: number, size: number): void {
    this.limbo.push({ block: { at, size }, epoch: this.engine.plane.epochEnd() });
    this.collect();
  }

  private collect(): void {
    while (this.limbo.length > 0 && this.engine.plane.epochPassed(this.limbo[0].epoch)) {
      const [{ block }] = this.limbo.splice(0, 1);
      this.give(block.at, block.size);
    }
  }
}

const spaces = new WeakMap<Engine, QueueSpace>();

/** The engine's; made when it is asked for first. */
export function spaceOf(engine: Engine): QueueSpace {
  let space = spaces.get(engine);
  if (!space) {
    space = new QueueSpace(engine);
    spaces.set(engine, space);
  }
  return space;
}
