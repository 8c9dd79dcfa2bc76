/** A tree of htb's classes, in memory. */
import * as abi from "../../assembly/abi.ts";
import { invalid } from "../base/errors.ts";
import type { HtbClass, HtbOptions } from "./options.ts";
import { bytesOf, NANO, type Node, type Plan, type WriteQdisc, writeFilters } from "./plan.ts";

const LEAST_QUANTUM = 1000;
const MOST_QUANTUM = 200_000;
/** What tc gives a bucket on a machine with fine timers: one packet. */
export const LEAST_BURST = 1600;

/** Bytes of a class's turn when nobody chose them. */
export function quantumOf(cls: HtbClass, r2q = 10): number {
  return cls.quantumBytes ?? Math.min(Math.max(Math.floor(bytesOf(cls.rateBps) / r2q), LEAST_QUANTUM), MOST_QUANTUM);
}

export const burstOf = (bytes: number | undefined, mtu: number) => bytes ?? Math.max(LEAST_BURST, mtu + 100);

/** Levels as the kernel counts them: leaves 0, inner classes from 7 at the root downwards. */
export function levelOf(cls: HtbClass, classes: ReadonlyMap<number, HtbClass>, parents: ReadonlySet<number>): number {
  let above = 0;
  for (let each = cls; each.parent !== undefined; above++) {
    const parent = classes.get(each.parent);
    if (!parent) throw invalid(`htb: class ${each.id.toString(16)} hangs on ${each.parent.toString(16)}, which is no class`);
    if (above >= abi.HTB_LEVELS)
      throw invalid(`htb: class ${cls.id.toString(16)} is deeper than ${abi.HTB_LEVELS} classes, or above itself`);
    each = parent;
  }
  if (above >= abi.HTB_LEVELS) throw invalid(`htb: class ${cls.id.toString(16)} is deeper than ${abi.HTB_LEVELS} classes`);
  return parents.has(cls.id) ? abi.HTB_LEVELS - 1 - above : 0;
}

export function writeHtb(plan: Plan, node: Node, options: HtbOptions, mtu: number, writeQdisc: WriteQdisc): void {
  const { image } = plan;
  const { at } = node;
  const list = options.classes ?? [];
  const classes = new Map(list.map((cls) => [cls.id, cls]));
  if (classes.size < list.length) throw invalid("htb: two classes have one id");
  const parents = new Set(list.flatMap((cls) => (cls.parent === undefined ? [] : [cls.parent])));
  const offsets = new Map(list.map((cls) => [cls.id, image.take(abi.HCLASS_SIZE)]));
  const slots = Math.max(2, 2 ** Math.ceil(Math.log2(2 * list.length + 1)));
  const directory = image.take(slots * 4);
  image.u32(at + abi.QHTB_MASK, slots - 1);
  image.pointer(at + abi.QHTB_DIRECTORY, directory);
  image.pointer(at + abi.QHTB_HEAP, image.take(Math.max(list.length, 1) * 4));
  image.u32(at + abi.QHTB_CLASSES, list.length);
  image.u32(at + abi.QDISC_MOST_PACKETS, options.directPackets ?? 1000);
  const taken = new Set<number>();
  for (const cls of list) {
    const where = offsets.get(cls.id) as number;
    writeClass(plan, cls, where, levelOf(cls, classes, parents), options, mtu);
    if (cls.parent !== undefined) image.pointer(where + abi.HCLASS_PARENT, offsets.get(cls.parent) as number);
    let slot = cls.id & (slots - 1);
    while (taken.has(slot)) slot = (slot + 1) & (slots - 1);
    taken.add(slot);
    image.pointer(directory + 4 * slot, where);
    node.classes.push({ id: cls.id, at: where });
    if (parents.has(cls.id)) {
      if (cls.qdisc) throw invalid(`htb: class ${cls.id.toString(16)} has classes below it; only a leaf has a qdisc`);
      continue;
    }
    const leaf = writeQdisc(plan, cls.qdisc ?? { kind: "pfifo" }, { parent: node, classId: cls.id, classAt: where }, mtu);
    image.pointer(where + abi.HCLASS_QDISC, leaf);
  }
  // As the kernel: a default that is no class means "past all classes".
  const usual = options.default ? offsets.get(options.default) : undefined;
  if (usual !== undefined) image.pointer(at + abi.QHTB_DEFAULT, usual);
  writeFilters(plan, node, options.filters, (id) => {
    const where = offsets.get(id);
    if (where === undefined) throw invalid(`htb: a filter sends to class ${id.toString(16)}, which is no class`);
    return where;
  });
}

function writeClass({ image }: Plan, cls: HtbClass, at: number, level: number, options: HtbOptions, mtu: number): void {
  const ceil = cls.ceilBps ?? cls.rateBps;
  if (ceil < cls.rateBps) throw invalid(`htb: class ${cls.id.toString(16)} has a ceilBps below its rateBps`);
  const [burst, cburst] = [burstOf(cls.burstBytes, mtu) * NANO, burstOf(cls.cburstBytes, mtu) * NANO];
  image.u32(at + abi.HCLASS_MODE, abi.HTB_CAN_SEND);
  image.u32(at + abi.HCLASS_MINOR, cls.id);
  image.u32(at + abi.HCLASS_LEVEL, level);
  image.u32(at + abi.HCLASS_PRIORITY, cls.prio ?? 0);
  image.u32(at + abi.HCLASS_QUANTUM, quantumOf(cls, options.r2q));
  image.u64(at + abi.HCLASS_RATE, bytesOf(cls.rateBps));
  image.u64(at + abi.HCLASS_CEIL, bytesOf(ceil));
  image.u64(at + abi.HCLASS_DEPTH, burst);
  image.u64(at + abi.HCLASS_CEIL_DEPTH, cburst);
  image.u64(at + abi.HCLASS_TOKENS, burst);
  image.u64(at + abi.HCLASS_CEIL_TOKENS, cburst);
}
