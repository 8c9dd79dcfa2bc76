/** Many writers on one near path: each has its turns; who pauses, aborts or ends in between holds nobody up. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { Host } from "../src/host/host.ts";
import { Engine, joinPorts, type Random } from "../src/index.ts";
import type { TcpSocket } from "../src/socket/stream.ts";
import { random } from "./support.ts";

const FLOWS = 60;
const [BULK, OTHERS] = [20, 3];
const CHUNK = new Uint8Array(65_536);
const LITTLE = new Uint8Array(1000);

/** Owners who are told of room and go on later, or who write little at a time. */
const WAYS: Readonly<Record<string, (socket: TcpSocket) => Promise<unknown>>> = {
  "a thousand bytes at a time": (socket) => socket.write(LITTLE),
  "16 KiB at a time": (socket) => socket.write(CHUNK.subarray(0, 16_384)),
  "in place": async ({ inPlace }) => {
    const space = await inPlace.reserve(65_536);
    inPlace.commit(space.length);
  },
};

/** Two hosts on one engine; segments are cut, so that a few writers fill a ring. */
async function hosts(ringCapacity: number) {
  const engine = await Engine.create({ ports: 2, tables: 4, buffers: 4096, bareDescriptors: 8192, ringCapacity, puntCapacity: 4096 });
  const host = (i: 0 | 1) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${1 + i}/24`] }] });
  const [a, b] = [await host(0), await host(1)];
  joinPorts(engine, engine.port(0), engine.port(1));
  for (const i of [0, 1]) engine.port(i).configure({ offload: { chains: false, segmentation: false, partialChecksum: false } });
  engine.start();
  return { engine, a, b };
}

/** Writes random amounts, with pauses; resolves with the digest of what was written, or undefined when it has aborted. */
async function talk(socket: TcpSocket, chance: Random, aborts: boolean): Promise<string | undefined> {
  const hash = createHash("sha256");
  const pieces = 10 + chance.below(20);
  for (let i = 0; i < pieces; i++) {
    const bytes = new Uint8Array(1 + chance.below(chance.below(3) === 0 ? 200 : 150_000)).map((_, at) => at * 31 + i);
    await socket.write(bytes);
    hash.update(bytes);
    if (chance.below(6) === 0) await new Promise((resolve) => setTimeout(resolve, chance.below(15)));
    if (aborts && i === pieces >> 1) {
      socket.abort();
      return undefined;
    }
  }
  await socket.closeWrite();
  return hash.digest("hex");
}

async function listen(socket: TcpSocket, chance: Random): Promise<string | undefined> {
  const hash = createHash("sha256");
  const space = new Uint8Array(1 + chance.below(100_000));
  try {
    for (let n = await socket.read(space); n !== null; n = await socket.read(space)) hash.update(space.subarray(0, n));
    return hash.digest("hex");
  } catch {
    return undefined;
  }
}

describe("many writers on one near path", () => {
  for (const ringCapacity of [512, 2048]) {
    it(`each byte of ${FLOWS} arrives, whoever pauses, aborts and ends (rings of ${ringCapacity})`, { timeout: 60_000 }, async (t) => {
      const chance = random(t);
      const { engine, a, b } = await hosts(ringCapacity);
      t.after(() => engine.close());
      let crowded = 0;
      const isCrowded = a.ip.isCrowded.bind(a.ip);
      a.ip.isCrowded = (path) => {
        const is = isCrowded(path);
        if (is) crowded++;
        return is;
      };
      const listener = b.listen({ port: 80, backlog: FLOWS });
      const ends: [TcpSocket, TcpSocket][] = [];
      for (let i = 0; i < FLOWS; i++) ends.push(await Promise.all([a.connect({ hostname: "10.0.0.2", port: 80 }), listener.accept()]));
      const results = await Promise.all(
        ends.map(async ([near, far], i) => {
          const said = talk(near, chance, i % 10 === 9);
          return Promise.all([said, listen(far, chance)]);
        }),
      );
      for (const [i, [said, heard]] of results.entries()) assert.equal(heard, said, `flow ${i}`);
      assert.equal(results.filter(([said]) => said === undefined).length, FLOWS / 10);
      assert.ok(crowded > FLOWS, `the path was crowded ${crowded} times`);
    });
  }

  for (const [name, write] of Object.entries(WAYS)) {
    it(`who writes ${name} gets its share beside twenty who write 64 KiB at once`, { timeout: 60_000 }, async (t) => {
      const { engine, a, b } = await hosts(2048);
      t.after(() => engine.close());
      const listener = b.listen({ port: 80, backlog: FLOWS });
      const received: number[] = [];
      let enough = () => {};
      const reached = new Promise<void>((resolve) => {
        enough = resolve;
      });
      for (let i = 0; i < BULK + OTHERS; i++) {
        const [near, far] = await Promise.all([a.connect({ hostname: "10.0.0.2", port: 80 }), listener.accept()]);
        const way = i < BULK ? () => near.write(CHUNK) : write;
        (async () => {
          for (;;) await way(near);
        })().catch(() => {});
        received.push(0);
        (async () => {
          const space = new Uint8Array(65_536);
          for (let n = await far.read(space); n !== null; n = await far.read(space)) {
            received[i] += n;
            if (i === 0 && received[0] > 20e6) enough();
          }
        })().catch(() => {});
      }
      await reached;
      const [bulk, others] = [received.slice(0, BULK), received.slice(BULK)];
      t.diagnostic(`bulk ${bulk.map((n) => (n / 1e6).toFixed(0))} MB, ${name} ${others.map((n) => (n / 1e6).toFixed(0))} MB`);
      // A connection that waits for its turns in vain gets a hundredth.
      const mean = bulk.reduce((sum, n) => sum + n, 0) / BULK;
      for (const n of others) assert.ok(n > mean / 5, `${n} bytes, while those beside it had ${mean}`);
      assert.ok(Math.min(...bulk) > mean / 2);
    });
  }
});
