/** Memory that workers read is reused when all of them have left the burst in which they could see it (assembly/core/arena.ts). */
import { LoomError } from "../base/errors.ts";
import type { DataPlane } from "./module.ts";

/** Waits (microseconds) until no worker can still read what went out of use at an epoch. EBUSY: one has been in its burst for too long. */
export function awaitPassed(plane: DataPlane, epoch: number): void {
  for (let turn = 0; turn < 1_000_000; turn++) if (plane.epochPassed(epoch)) return;
  throw new LoomError("EBUSY", "a worker has been in one burst for too long; try again");
}
