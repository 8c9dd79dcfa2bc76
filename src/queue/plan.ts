/** What is made of options: a block of memory and what stands where in it; and the pieces that several kinds write. */
import * as abi from "../../assembly/abi.ts";
import type { Image } from "./image.ts";
import { writeMatch } from "./match.ts";
import type { Filter, QdiscOptions } from "./options.ts";

/** A qdisc of the tree, or a class of htb. */
export interface Node {
  readonly options: QdiscOptions;
  readonly handle: number;
  /** Handle and class id of what it hangs on; undefined at the root. */
  readonly parent: { handle: number; class: number } | undefined;
  /** Offset in the block, then its address. */
  at: number;
  readonly classes: { id: number; at: number }[];
  readonly tins: number[];
}

export interface Plan {
  readonly image: Image;
  readonly nodes: Node[];
  /** Large segments are cut before they wait when they are longer (bytes). */
  split: number;
}

/** Where a qdisc hangs: its parent's block, the class of htb in it, and both as a person knows them. */
export interface Place {
  readonly parent: Node;
  readonly classId: number;
  readonly classAt?: number;
}

export const NANO = 1e9;
/** A rate of bits a second as the data plane has it. */
export const bytesOf = (bitsPerSecond: number) => Math.max(1, Math.round(bitsPerSecond / 8));
/** Writes a qdisc and everything below it; its offset. */
export type WriteQdisc = (plan: Plan, options: QdiscOptions, place: Place | undefined, mtu: number) => number;

/** Largest frame of Ethernet, its header included: the kernel's psched_mtu. */
export const FRAME = 1514;

/** Filters of a classful qdisc; `target` gives the offset of what a class id means. */
export function writeFilters(plan: Plan, node: Node, filters: readonly Filter[] | undefined, target: (id: number) => number): void {
  if (!filters || filters.length === 0) return;
  const { image } = plan;
  const at = image.take(filters.length * abi.QFILTER_SIZE);
  image.pointer(node.at + abi.QDISC_FILTERS, at);
  image.u32(node.at + abi.QDISC_FILTER_COUNT, filters.length);
  filters.forEach((filter, i) => {
    writeMatch(image, at + i * abi.QFILTER_SIZE, filter.match);
    image.pointer(at + i * abi.QFILTER_SIZE + abi.QFILTER_CLASS, target(filter.class));
  });
}

/** Flows that are found by their place: all empty. */
export function writeFlows(image: Image, count: number): number {
  const at = image.take(count * abi.QFLOW_SIZE);
  for (let i = 0; i < count; i++) image.u32(at + i * abi.QFLOW_SIZE + abi.QFLOW_FIRST, abi.NONE);
  return at;
}
