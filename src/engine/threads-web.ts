/** Threads where `Worker` is a global: browsers, Deno, Bun. */
import { LoomError } from "../base/errors.ts";
import { THREAD_SOURCE, type ThreadStart } from "./thread-source.ts";
import type { Thread } from "./threads.ts";

const PRELUDE = `
const receive = (callback) => { self.onmessage = (event) => callback(event.data); };
const send = (message) => self.postMessage(message);
`;

export function spawnThread(start: ThreadStart): Promise<Thread> {
  if (typeof Worker === "undefined") throw new LoomError("ENOTSUP", "this runtime has no Worker; create the engine with threads: 0");
  const url = URL.createObjectURL(new Blob([PRELUDE + THREAD_SOURCE], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  let failure: string | undefined;
  return new Promise((resolve, reject) => {
    const fail = (why: unknown) => reject(new LoomError("ENOTSUP", `a worker thread could not start: ${String(why)}`));
    worker.onerror = (event) => fail(event.message);
    worker.onmessage = (event) => {
      URL.revokeObjectURL(url);
      if (event.data === "ready") resolve({ end: async () => worker.terminate(), failure: () => failure });
      else if (event.data !== "ended") {
        failure = String(event.data);
        fail(event.data);
      }
    };
    worker.postMessage(start);
  });
}
