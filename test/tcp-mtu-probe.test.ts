/** The search for the largest segment that a path takes (RFC 4821, RFC 8899), over links that drop larger frames in silence. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Random } from "../src/index.ts";
import { Lab } from "../src/lab/lab.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { SEED } from "./support.ts";

/** Ethernet, IPv4 and TCP with timestamps. */
const HEADERS = 14 + 20 + 32;

/** Two hosts over a link that carries frames of so many bytes at most; `client` has connected and writes without end. */
async function connected(largestFrame: number, mtuProbing: number) {
  const lab = await Lab.create({ seed: SEED });
  const [a, b] = [1, 2].map((n) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`] }] }));
  const hosts = [await a, await b] as const;
  const link = lab.link(hosts[0], hosts[1], { delay: 5, rate: 50e6, largestFrame });
  hosts[0].tcp.settings.mtuProbing = mtuProbing;
  const expected = new Random(SEED).fill(new Uint8Array(1 << 16));
  const state = { received: 0, wrong: 0, closed: false };
  const listener = hosts[1].tcp.listen(undefined, 80);
  listener.onConnection = () => {
    const server = listener.accept() as Tcb;
    const chunk = new Uint8Array(65_536);
    const drain = () => {
      for (let n = user.read(server, chunk); n > 0; n = user.read(server, chunk)) {
        for (let i = 0; i < n; i++) if (chunk[i] !== expected[(state.received + i) & 0xffff]) state.wrong++;
        state.received += n;
      }
    };
    server.events = { readable: drain };
    drain();
  };
  const client = hosts[0].tcp.connect(IpAddress.parse("10.0.0.2"), 80);
  let sent = 0;
  const pump = () => {
    for (let n = 1; n > 0; sent += n) n = user.write(client, expected.subarray(sent & 0xffff));
  };
  client.events = { established: pump, writable: pump, closed: () => (state.closed = true) };
  return { lab, link, client, state, counters: hosts[0].tcp.counters };
}

describe("packetization layer path MTU discovery", () => {
  it("gets out of a black hole, and finds how large it is", async () => {
    const { lab, client, state, counters } = await connected(1300, 1);
    await lab.run(60_000, () => state.received > 20_000_000);
    assert.ok(state.received > 20_000_000, `SEED=${SEED}: ${state.received} bytes`);
    assert.equal(state.wrong, 0);
    assert.equal(counters.mtu_black_holes, 1);
    assert.ok(counters.mtu_probe_failures > 0 && counters.mtu_probe_successes > 0, JSON.stringify(counters));
    const largest = 1300 - HEADERS;
    assert.ok(client.mss <= largest && client.mss > largest - 8, `MSS ${client.mss} of ${largest}`);
  });

  it("goes below the base where not even that passes", async () => {
    const { lab, client, state } = await connected(600, 1);
    await lab.run(120_000, () => state.received > 3_000_000);
    assert.ok(state.received > 3_000_000, `SEED=${SEED}: ${state.received} bytes`);
    assert.equal(state.wrong, 0);
    const largest = 600 - HEADERS;
    assert.ok(client.mss <= largest && client.mss > largest - 8, `MSS ${client.mss} of ${largest}`);
  });

  it("stays in the black hole when it is told not to look", async () => {
    const { lab, state, counters } = await connected(1300, 0);
    await lab.run(60_000);
    assert.equal(state.received, 0);
    assert.equal(counters.mtu_black_holes, 0);
  });

  it("begins small and grows without a timeout or a reduction when it always searches", async () => {
    const { lab, client, state, counters } = await connected(1300, 2);
    await lab.run(60_000, () => state.received > 2_000_000);
    assert.equal(state.wrong, 0);
    assert.equal(counters.timeouts + counters.fast_retrans, 0, JSON.stringify(counters));
    assert.ok(counters.mtu_probe_failures > 0);
    const largest = 1300 - HEADERS;
    assert.ok(client.mss <= largest && client.mss > largest - 8, `MSS ${client.mss} of ${largest}`);
  });

  it("asks anew in time, and finds that the path takes more", async () => {
    const { lab, link, client, state } = await connected(1300, 2);
    await lab.run(60_000, () => state.received > 2_000_000);
    const before = client.mss;
    link.set({ delay: 5, rate: 5e6 });
    client.world.settings.mtuProbeIntervalMs = 5000;
    await lab.run(10_000);
    assert.equal(state.closed, false);
    assert.ok(client.mss > before && client.mss > 1448 - 8, `MSS ${before}, then ${client.mss}`);
  });
});
