/** What compiled rules call with the address of a worker and a position of its burst, and the host for sets; part of index.ts. */
import { REGION_FILTER } from "./abi";
import { allocate, retire } from "./core/arena";
import { region, regionSize } from "./core/layout";

export { loadOption, loadPayload, resetOption, symmetricHash, writeOption, writePayload } from "./node/filter";
export { askFib, duplicatePacket, forwardPacket, logPacket, segmentLimit } from "./node/filter-road";
export { followPacket, tracePacket } from "./node/trace";
export { stealHandshake } from "./synproxy";
export { countFlows, freeList, takeTokens } from "./table/limit";
export { expireSet, findSet, freeSet, insertSet, removeSet, sizeSet, updateSet } from "./table/set";
export { jhash } from "./wire/jhash";

/** A block of the rules' memory, zeroed, or 0. */
export function filterAllocate(size: u32): u32 {
  if (regionSize(REGION_FILTER) == 0) return 0;
  const block = allocate(region(REGION_FILTER), size);
  if (block != 0) memory.fill(<usize>block, 0, size);
  return block;
}

/** Gives a block back when no worker can be reading it any more. */
export function filterRetire(block: u32, size: u32): void {
  retire(region(REGION_FILTER), block, size);
}
