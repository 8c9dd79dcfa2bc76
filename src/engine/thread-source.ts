/**
 * What runs in a worker thread, as text: bundlers need no second entry point and pages no second file.
 * A prelude of the runtime defines `receive(callback)` and `send(message)`.
 */
import * as abi from "../../assembly/abi.ts";

/** Empty polls before a worker sleeps, and how long (ms) until it looks again unasked. */
const SPINS = 2000;
const NAP_MS = 1;
/** Packets per call: long enough to amortise the call, short enough to notice a pause within a millisecond. */
const BUDGET = 16_384;

export interface ThreadStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly worker: number;
  /** Address of the worker's struct. */
  readonly at: number;
  /** The engine's clock at this moment (ms), so that all workers count the same seconds. */
  readonly now: number;
}

export const THREAD_SOURCE = `
receive(async ({ module, memory, worker, at, now }) => {
  const words = new Int32Array(memory.buffer);
  const started = performance.now();
  try {
    const table = new WebAssembly.Table({ initial: 16, element: "anyfunc" });
    const { exports } = await WebAssembly.instantiate(module, { env: { memory, table } });
    const RUN = ${(abi.HEADER + abi.HEADER_RUN) / 4}, WAKE = ${(abi.HEADER + abi.HEADER_WAKE) / 4};
    const STATE = (at + ${abi.WORKER_STATE}) / 4, SLEEPS = (at + ${abi.WORKER_SLEEPS}) / 4;
    send("ready");
    let idle = 0;
    for (;;) {
      const run = Atomics.load(words, RUN);
      if (run === ${abi.RUN_ENDED}) break;
      if (run === ${abi.RUN_PAUSED}) {
        Atomics.store(words, STATE, ${abi.STATE_STOPPED});
        Atomics.notify(words, STATE);
        Atomics.wait(words, RUN, ${abi.RUN_PAUSED});
        continue;
      }
      Atomics.store(words, STATE, ${abi.STATE_POLLING});
      // Looked at again: whoever paused us in between has seen the old state.
      if (Atomics.load(words, RUN) !== ${abi.RUN_POLLING}) continue;
      const wake = Atomics.load(words, WAKE);
      if (exports.poll(worker, (now + performance.now() - started) / 1000, ${BUDGET}) !== 0) { idle = 0; continue; }
      if (++idle < ${SPINS}) continue;
      const left = exports.queuesNext(worker) * 1000 - (now + performance.now() - started);
      if (left <= 0) continue;
      Atomics.store(words, STATE, ${abi.STATE_SLEEPING});
      words[SLEEPS]++;
      Atomics.wait(words, WAKE, wake, Math.min(${NAP_MS}, left));
    }
    Atomics.store(words, STATE, ${abi.STATE_STOPPED});
    send("ended");
  } catch (error) {
    // Tables must not wait for a burst that will never end, nor the engine for a thread that is gone.
    Atomics.store(words, (at + ${abi.WORKER_EPOCH}) / 4, 0);
    Atomics.store(words, (at + ${abi.WORKER_STATE}) / 4, ${abi.STATE_FAILED});
    send("failed: " + (error && error.message || error));
  }
});
`;
