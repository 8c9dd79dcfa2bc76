/** Two threads over one memory choose at once: turns are exact, a client's flows agree, no flow is counted twice or lost. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import * as abi from "../assembly/abi.ts";
import { Balancer } from "../src/balance/index.ts";
import { VirtualClock } from "../src/base/index.ts";
import type { Engine, EngineOptions, SpawnThread } from "../src/engine/index.ts";
import { engineOf } from "./support.ts";

/** An instance of its own, which chooses for `flows` clients from `first` on, opening and closing a flow of each. */
const PROGRAM = `
const { parentPort, workerData } = require("node:worker_threads");
const { module, memory, worker, service, scratch, flows, clients } = workerData;
const table = new WebAssembly.Table({ initial: 16, element: "anyfunc" });
WebAssembly.instantiate(module, { env: { memory, table } }).then(({ exports: plane }) => {
  const view = new DataView(memory.buffer, scratch, 16);
  view.setUint16(10, 0xffff);
  const chosen = new Uint16Array(flows);
  // Both begin within the same microsecond.
  const gate = new Int32Array(memory.buffer, workerData.gate, 1);
  Atomics.add(gate, 0, 1);
  while (Atomics.load(gate, 0) < 2) {}
  for (let i = 0; i < flows; i++) {
    view.setUint32(12, 0x0a000000 + (i % clients));
    const backend = plane.serviceChoose(service, scratch, i & 0xffff, 100);
    plane.backendOpened(worker, backend);
    plane.backendCount(worker, backend, 0, 1, 60);
    if (i % 2 === 0) plane.backendClosed(backend);
    chosen[i] = backend;
  }
  parentPort.postMessage(chosen);
});`;

interface Shared {
  readonly engine: Engine;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

/** An engine with room for a second worker, which the test runs itself. */
async function shared(options: EngineOptions): Promise<Shared> {
  let given: { module: WebAssembly.Module; memory: WebAssembly.Memory } | undefined;
  const spawn: SpawnThread = async ({ module, memory }) => {
    given = { module, memory };
    return { end: async () => {}, failure: () => undefined };
  };
  const engine = await engineOf("shared", { threads: 1, spawn, ...options });
  assert.ok(given);
  return { engine, ...given };
}

/** What two threads choose at the same time. */
async function together({ engine, module, memory }: Shared, service: number, flows: number, clients: number): Promise<Uint16Array[]> {
  const app = engine.memory.base(abi.REGION_APP);
  const gate = app + 128;
  engine.memory.setU32(gate, 0);
  const threads = [0, 1].map((worker) => {
    const workerData = { module, memory, worker, service, scratch: app + 64 * worker, gate, flows, clients };
    return new Worker(PROGRAM, { eval: true, workerData });
  });
  const next = (thread: Worker) => new Promise((resolve, reject) => thread.once("message", resolve).once("error", reject));
  const chosen = (await Promise.all(threads.map(next))) as Uint16Array[];
  await Promise.all(threads.map((thread) => thread.terminate()));
  return chosen;
}

const BACKENDS = Array.from({ length: 3 }, (_, i) => ({ address: `10.0.0.${i + 1}` }));
const FLOWS = 300_000;

describe("two workers on one service", () => {
  it("take turns exactly, and lose no flow", async () => {
    const both = await shared({ services: 1, backends: 4 });
    const options = { address: "192.0.2.80", port: 80, scheduler: "round-robin", backends: BACKENDS } as const;
    const service = new Balancer({ engine: both.engine, clock: new VirtualClock() }).add(options);
    const chosen = await together(both, service.number, FLOWS, 1000);
    for (const { number, name } of service.backends.values()) {
      const count = chosen.reduce((sum, each) => sum + each.filter((backend) => backend === number).length, 0);
      assert.equal(count, (2 * FLOWS) / 3, name);
    }
    const { conns, activeConns, inPkts, inBytes } = service.stats();
    assert.deepEqual([conns, activeConns, inPkts, inBytes], [2 * FLOWS, FLOWS, 2 * FLOWS, 120 * FLOWS]);
    await both.engine.close();
  });

  it("agree about every client's backend", async () => {
    const both = await shared({ services: 1, backends: 4, clients: 65_536 });
    const options = { address: "192.0.2.80", port: 80, scheduler: "round-robin", affinityMs: 60_000, backends: BACKENDS } as const;
    const service = new Balancer({ engine: both.engine, clock: new VirtualClock() }).add(options);
    const chosen = await together(both, service.number, FLOWS, 5000);
    for (const each of chosen) assert.ok(each.every((backend, i) => backend === chosen[0][i % 5000]));
    await both.engine.close();
  });
});
