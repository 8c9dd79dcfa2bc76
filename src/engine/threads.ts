/** A thread that runs the data plane. How one is made is the runtime's affair (threads-node.ts, threads-web.ts). */
import type { ThreadStart } from "./thread-source.ts";

export interface Thread {
  /** Resolves when the thread is gone. */
  end(): Promise<void>;
  /** What stopped the thread, if a fault did. */
  failure(): string | undefined;
}

export type SpawnThread = (start: ThreadStart) => Promise<Thread>;
