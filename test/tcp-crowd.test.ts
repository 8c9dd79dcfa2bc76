/** Many writers on one near path: each has its turns; who pauses, aborts or ends in between holds nobody up. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { Host } from "../src/host/host.ts";
import { Engine, joinPorts, type Random } from "../src/index.ts";
import type { TcpSocket } from "../src/socket/stream.ts";
import { random } from "./support.ts";

const FLOWS = 60;

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
});
