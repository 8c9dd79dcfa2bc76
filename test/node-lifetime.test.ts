/** A process whose engine is `unref`ed lives as long as something is open, and no longer: as with Node's own sockets. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";

const main = new URL("node/lifetime.js", import.meta.url).pathname;

/** What it printed, and its exit code; "still alive" so many milliseconds after it has printed something. */
async function live(name: string, patience: number): Promise<[string, number | null | "still alive"]> {
  const child = spawn(process.execPath, [main, name], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  let isAlive = false;
  let timer: NodeJS.Timeout | undefined;
  child.stdout.on("data", (chunk) => {
    out += chunk;
    timer ??= setTimeout(() => {
      isAlive = true;
      child.kill();
    }, patience);
  });
  const [code] = await once(child, "close");
  clearTimeout(timer);
  return [out.trim(), isAlive ? "still alive" : code];
}

describe("the life of a process", { concurrency: 2 }, () => {
  for (const [name, expected] of [
    ["nothing", "nothing"],
    ["unref", "listening"],
    ["exchange", "got 3000000"],
    ["last", "got 200000"],
    ["idle", "bye"],
    ["paused", "accepted"],
    ["lookup", "address 10.0.0.9"],
    ["datagram", "datagram"],
  ]) {
    it(`ends: ${name}`, async () => assert.deepEqual(await live(name, 10_000), [expected, 0]));
  }

  it("goes on while a server listens", async () => assert.deepEqual(await live("server", 1500), ["listening", "still alive"]));
});
