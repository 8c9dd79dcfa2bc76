/** Many flows out of one interface: each gets its turn in the transmit ring, whoever's acknowledgements come first. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Lab } from "../src/lab/lab.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { SEED } from "./support.ts";

const FLOWS = 80;

/** Bytes that each of many endless flows brings over in so many rounds, a microsecond each. */
async function share(rounds: number): Promise<number[]> {
  const lab = await Lab.create({ seed: SEED, memory: { ringCapacity: 1024 } });
  const host = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`] }] });
  const [a, b] = [await host(1), await host(2)];
  lab.join(a, b);
  for (const port of [0, 1]) {
    lab.engine.port(port).configure({ offload: { chains: false, segmentation: false, partialChecksum: false } });
  }
  const got = new Array<number>(FLOWS).fill(0);
  const clients: Tcb[] = [];
  const chunk = new Uint8Array(65_536);
  const fill = (tcb: Tcb) => {
    while (user.write(tcb, chunk) === chunk.length);
  };
  for (let i = 0; i < FLOWS; i++) {
    const listener = b.tcp.listen(undefined, 1000 + i);
    listener.onConnection = () => {
      const tcb = listener.accept() as Tcb;
      tcb.events = {
        readable: () => {
          got[i] += user.discard(tcb, Number.POSITIVE_INFINITY);
        },
      };
    };
    const client = a.tcp.connect(IpAddress.parse("10.0.0.2"), 1000 + i);
    client.events = { writable: () => fill(client) };
    clients.push(client);
  }
  // Handshakes, with those that the neighbour's queue had no room for.
  lab.runNow(4000);
  clients.forEach(fill);
  for (let round = 0; round < rounds; round++) {
    lab.engine.poll();
    lab.clock.skip(0.001);
  }
  await lab.engine.close();
  return got;
}

describe("flows that share a transmit ring", () => {
  it("get their turns one after the other", async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    const got = await share(500);
    const sum = got.reduce((x, y) => x + y, 0);
    const jain = sum ** 2 / (FLOWS * got.reduce((x, y) => x + y * y, 0));
    assert.ok(Math.min(...got) > sum / FLOWS / 4, `the least got ${Math.min(...got)} of ${sum}`);
    assert.ok(jain >= 0.9, `Jain's index ${jain.toFixed(3)}`);
  });
});
