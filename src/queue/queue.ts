/**
 * A port's queue.
 *
 *   const queue = attachQueue(engine, engine.port(1), { kind: "fq_codel" });
 *   queue.stats().dropped;
 *   queue.replace({ kind: "htb", default: 10, classes: [{ id: 10, rateBps: 50e6 }] });
 *   queue.remove();
 *
 * A tree is made beside the old one and takes its place under the port's lock: what waits goes over to it. Qdiscs and
 * classes that have the same handle and kind keep their statistics.
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { planTree } from "./build.ts";
import { checkQdisc, type QdiscOptions } from "./options.ts";
import type { Node } from "./plan.ts";
import { type QueueSpace, spaceOf } from "./space.ts";
import { type ClassStats, type QueueStats, readClass, readOwn, readQdisc, readRed, readTins, type TinStats } from "./stats.ts";

export interface QdiscReport extends QueueStats {
  readonly options: QdiscOptions;
  readonly handle: number;
  /** What it hangs on; undefined at the root. */
  readonly parent: { readonly handle: number; readonly class: number } | undefined;
  /** Numbers that only this kind keeps, by tc's names. */
  readonly own: Record<string, number>;
  readonly classes: readonly ClassStats[];
  readonly tins: readonly TinStats[];
  readonly red: { readonly average: number; readonly probability: number } | undefined;
}

const queues = new WeakMap<Engine, Map<number, PortQueue>>();

function queuesOf(engine: Engine): Map<number, PortQueue> {
  const known = queues.get(engine) ?? new Map<number, PortQueue>();
  queues.set(engine, known);
  return known;
}

/** The queue that a port has, if it has one. */
export function queueOf(engine: Engine, port: Port): PortQueue | undefined {
  return queuesOf(engine).get(port.index);
}

/** Puts a queue in front of a port's device; one that is there already is replaced. */
export function attachQueue(engine: Engine, port: Port, options: QdiscOptions): PortQueue {
  const known = queuesOf(engine);
  const there = known.get(port.index);
  if (there) return there.replace(options);
  const queue = new PortQueue(engine, port, options);
  known.set(port.index, queue);
  return queue;
}

export class PortQueue {
  readonly port: Port;
  private readonly engine: Engine;
  private readonly space: QueueSpace;
  private nodes: readonly Node[] = [];
  private block = { at: 0, size: 0 };
  private current: QdiscOptions;

  /** For `attachQueue`. */
  constructor(engine: Engine, port: Port, options: QdiscOptions) {
    this.engine = engine;
    this.port = port;
    this.current = options;
    this.space = spaceOf(engine);
    this.replace(options);
    this.countPorts(1);
  }

  get options(): QdiscOptions {
    return this.current;
  }

  /** Another tree. Throws, and changes nothing, when the options are wrong or there is no room. */
  replace(options: QdiscOptions): this {
    checkQdisc(options);
    const { engine, port, space } = this;
    const { image, nodes, split } = planTree(options, port.mtu);
    const at = space.take(image.size);
    image.place(engine.memory, at);
    for (const node of nodes) {
      node.at += at;
      node.classes.forEach((each) => (each.at += at));
      for (let i = 0; i < node.tins.length; i++) node.tins[i] += at;
      this.inherit(node);
    }
    engine.memory.setU32(space.root(port.index) + abi.QROOT_SPLIT, split);
    engine.plane.queueSet(0, port.index, nodes[0].at);
    if (this.block.size > 0) space.give(this.block.at, this.block.size);
    this.block = { at, size: image.size };
    this.nodes = nodes;
    this.current = options;
    return this;
  }

  /** Takes the queue away; what waits is given back (`drops.queue_removed`). */
  remove(): void {
    const { engine, port, space } = this;
    if (this.block.size === 0) return;
    engine.plane.queueSet(0, port.index, 0);
    space.give(this.block.at, this.block.size);
    this.block = { at: 0, size: 0 };
    this.nodes = [];
    queuesOf(engine).delete(port.index);
    this.countPorts(-1);
  }

  /** Statistics of what was there before under the same name. */
  private inherit(node: Node): void {
    const before = this.nodes.find(({ handle, options, parent }) => {
      const isSame = handle === node.handle && options.kind === node.options.kind;
      return isSame && parent?.handle === node.parent?.handle && parent?.class === node.parent?.class;
    });
    if (!before) return;
    const { u8 } = this.engine.memory;
    const copy = (from: number, to: number, first: number, end: number) => u8.copyWithin(to + first, from + first, from + end);
    copy(before.at, node.at, abi.QDISC_SENT_BYTES, abi.QDISC_FILTERS);
    for (const cls of node.classes) {
      const was = before.classes.find(({ id }) => id === cls.id);
      if (was) copy(was.at, cls.at, abi.HCLASS_LENDS, abi.HCLASS_DEFICIT);
    }
  }

  private countPorts(change: 1 | -1): void {
    const { memory } = this.engine;
    const at = abi.HEADER + abi.HEADER_QUEUES;
    memory.setU32(at, memory.getU32(at) + change);
  }

  /** The root qdisc's statistics. */
  stats(): QdiscReport {
    const [root] = this.report();
    if (!root) throw new LoomError("ENOENT", `port ${this.port.index} has no queue any more`);
    return root;
  }

  /** Every qdisc of the tree, the root first. */
  report(): QdiscReport[] {
    const { memory } = this.engine;
    return this.nodes.map(({ options, handle, parent, at, classes, tins }) => ({
      ...readQdisc(memory, at),
      options,
      handle,
      parent,
      own: readOwn(memory, options.kind, at),
      classes: classes.map((each) => readClass(memory, each.at)),
      tins: options.kind === "cake" ? readTins(memory, options, tins) : [],
      red: options.kind === "red" ? readRed(memory, at) : undefined,
    }));
  }
}
