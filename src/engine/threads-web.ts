/** Threads where `Worker` is a global: browsers, Deno, Bun. */
import { LoomError } from "../base/errors.ts";
import { THREAD_SOURCE, type ThreadStart } from "./thread-source.ts";
import type { Thread } from "./threads.ts";

const PRELUDE = `
const receive = (callback) => { self.onmessage = (event) => callback(event.data); };
const send = (message) => self.postMessage(message);
`;

/** What is behind a worker that fails before its first line. */
const FORBIDDEN = "its script was not let in; under a Content-Security-Policy, worker-src must have blob:";

export function spawnThread(start: ThreadStart): Promise<Thread> {
  if (typeof Worker === "undefined") throw new LoomError("ENOTSUP", "this runtime has no Worker; create the engine with threads: 0");
  const url = URL.createObjectURL(new Blob([PRELUDE + THREAD_SOURCE], { type: "text/javascript" }));
  let failure: string | undefined;
  return new Promise((resolve, reject) => {
    const refuse = (why: unknown) => reject(new LoomError("ENOTSUP", `a worker thread could not start: ${String(why)}`));
    let worker: Worker;
    try {
      worker = new Worker(url, { type: "module" });
    } catch {
      // Some browsers refuse here, others by an event without a word.
      URL.revokeObjectURL(url);
      return refuse(FORBIDDEN);
    }
    const fail = (why: unknown) => {
      URL.revokeObjectURL(url);
      worker.terminate();
      refuse(why);
    };
    worker.onerror = (event) => fail(event.message || FORBIDDEN);
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
