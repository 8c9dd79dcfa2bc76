/** Statistics of ports, which each worker keeps by itself. */
import * as abi from "../../assembly/abi.ts";
import type { EngineMemory } from "./memory.ts";

/** A counter of a port, by its offset among them, summed over workers. */
export function portStat(memory: EngineMemory, port: number): (offset: number) => number {
  const { workers, sizes } = memory.layout;
  return (offset) => {
    let value = 0;
    for (let w = 0; w < workers; w++) {
      value += memory.getU64(memory.base(abi.REGION_PORT_STATS) + (w * sizes.ports + port) * abi.PORT_STAT_SIZE + offset);
    }
    return value;
  };
}
