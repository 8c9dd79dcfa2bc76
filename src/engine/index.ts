/** The engine: one Wasm data plane over one memory, and the objects that write its tables and move its packets. */
export * from "./bridge.ts";
export * from "./counters.ts";
export * from "./engine.ts";
export type { GroupMember } from "./groups.ts";
export type { EngineSizes, Layout, Region } from "./layout.ts";
export type { LinkStats, LossReason } from "./link-stats.ts";
export { EngineMemory } from "./memory.ts";
export { type Build, canShare, compile, type DataPlane } from "./module.ts";
export { type FrameHandler, MOST_FRAME, type OffloadFlags, Port, type PortOptions } from "./port.ts";
export { type NextHop, type RouteResult, RouteTable } from "./route-table.ts";
export type { RunnerState } from "./runner.ts";
export { ByteQueue, SLAB_BYTES, SlabPool, type SlabUse } from "./slabs.ts";
export type { SpawnThread, Thread } from "./threads.ts";
