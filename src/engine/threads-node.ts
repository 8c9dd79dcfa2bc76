/** Threads of Node. */
import { Worker } from "node:worker_threads";
import { LoomError } from "../base/errors.ts";
import { THREAD_SOURCE, type ThreadStart } from "./thread-source.ts";
import type { Thread } from "./threads.ts";

const PRELUDE = `
const { parentPort } = require("node:worker_threads");
const receive = (callback) => parentPort.once("message", callback);
const send = (message) => parentPort.postMessage(message);
`;

export function spawnThread(start: ThreadStart): Promise<Thread> {
  const worker = new Worker(PRELUDE + THREAD_SOURCE, { eval: true });
  worker.unref();
  let failure: string | undefined;
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.on("message", (message) => {
      if (message === "ready") resolve({ end: async () => void (await worker.terminate()), failure: () => failure });
      else if (message !== "ended") {
        failure = String(message);
        reject(new LoomError("ENOTSUP", `a worker thread could not start: ${message}`));
      }
    });
    worker.postMessage(start);
  });
}
